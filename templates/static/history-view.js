// The history of operations: of one user, or of everybody for those who may see that; who, what, when and how it ended.
//
// Always: newest first, a page at a time; what the form says is what the Hub is asked.
// Never: keeps an answer that a later question has overtaken.

import { HubRefusal, SessionEnded } from "./hub-api.js";
import { element, write } from "./element.js";
import { operationInWords } from "./user-row.js";
import { phrase, words } from "./words.js";

const text = words.others;
const LIMIT = 25;

/** `parts`: form, rows, table, status, older, title; `everybodys`: whether it may be asked for without a name. */
export class HistoryView {
  #hub;
  #parts;
  #everybodys;
  #oldest = null;
  #turn = 0;

  constructor(hub, parts, everybodys) {
    this.#hub = hub;
    this.#parts = parts;
    this.#everybodys = everybodys;
    parts.form.addEventListener("submit", (event) => (event.preventDefault(), this.show()));
    parts.form.addEventListener("change", () => this.show());
    parts.older.addEventListener("click", () => this.#ask(this.#oldest));
  }

  /** Shows one user's. */
  showOf(username) {
    this.#parts.form.elements.username.value = username;
    this.#parts.title.focus();
    this.show();
  }

  /** Shows what the form asks for. */
  show() {
    this.#ask(null);
  }

  /** Shows what is new, unless somebody is reading older entries. */
  refresh() {
    if (this.#parts.rows.children.length <= LIMIT) this.show();
  }

  async #ask(before) {
    const turn = (this.#turn += 1);
    const { username, query } = this.#query();
    if (username === null && !this.#everybodys) return this.#say(text.history.choose);
    try {
      const entries = await this.#hub.history(this.#everybodys ? null : username, {
        ...query,
        ...(this.#everybodys && username !== null && { username }),
        ...(before !== null && { before }),
      });
      if (turn === this.#turn) this.#showEntries(entries, before === null);
    } catch (error) {
      if (turn === this.#turn) this.#say(sentenceFor(error), before !== null);
    }
  }

  #query() {
    const { username, actor, kind, result, since, until } = this.#parts.form.elements;
    const by = actor.value.trim();
    const query = {
      actor: by && !by.includes(":") ? `user:${by}` : by,
      kind: kind.value,
      result: result.value,
      since: since.value && moment(new Date(`${since.value}T00:00`)),
      until: until.value && moment(dayAfter(until.value)),
      limit: LIMIT,
    };
    const asked = Object.fromEntries(Object.entries(query).filter(([, value]) => value));
    return { username: username.value.trim() || null, query: asked };
  }

  #showEntries(entries, first) {
    const rows = entries.map(rowOf);
    if (first) this.#parts.rows.replaceChildren(...rows);
    else this.#parts.rows.append(...rows);
    this.#oldest = entries.at(-1)?.id ?? this.#oldest;
    const count = this.#parts.rows.children.length;
    this.#parts.table.classList.toggle("hidden", count === 0);
    this.#parts.older.classList.toggle("hidden", entries.length < LIMIT);
    write(this.#parts.status, count ? phrase(text.history.shown, { count }) : text.history.none);
  }

  #say(sentence, keep = false) {
    if (!keep) {
      this.#parts.rows.replaceChildren();
      this.#parts.table.classList.add("hidden");
      this.#parts.older.classList.add("hidden");
    }
    write(this.#parts.status, sentence);
  }
}

function rowOf(entry) {
  const format = new Intl.DateTimeFormat(document.documentElement.lang || "en", { dateStyle: "medium", timeStyle: "medium" });
  const outcome = text.results[entry.result ?? "none"];
  return element(
    "tr",
    { role: "row" },
    cell(text.text.when, format.format(new Date(entry.began_at))),
    cell(text.text.user, entry.username, "hubwarden-long"),
    cell(text.text.what, operationInWords(entry)),
    cell(text.text.result, entry.reason ? `${outcome}: ${entry.reason}` : outcome),
    cell(text.text.who, entry.actor, "hubwarden-long"),
    cell(text.text.reference, element("code", { textContent: entry.request_id }), "hubwarden-long"),
  );
}

function cell(label, content, className = "") {
  return element("td", { role: "cell", "data-label": label, className }, content);
}

function moment(date) {
  return date.toISOString().replace(/\.\d+Z$/, "Z");
}

// Midnight to midnight here, also on the days that have 23 or 25 hours.
function dayAfter(day) {
  const date = new Date(`${day}T00:00`);
  date.setDate(date.getDate() + 1);
  return date;
}

function sentenceFor(error) {
  if (error instanceof SessionEnded) return words.sessionEnded;
  if (error instanceof HubRefusal && error.status === 404) return text.history.noUser;
  return error instanceof HubRefusal && error.status === 400 ? error.message : text.history.failed;
}
