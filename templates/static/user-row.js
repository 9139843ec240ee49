// One user's row: name, servers, home, last operation, and what can be done.
//
// Always: updated in place, so that focus and ticks stay where they are; offers only what the Hub said may be done here, and
// Restart only for a server that is ready, Reset only for a home that can be reset.
// Never: asks the Hub.

import { button, element, write } from "./element.js";
import { whyNot } from "./offer.js";
import { nameInWords } from "./others-operations.js";
import { keyOf } from "./restart-many.js";
import { agoInWords, phrase, sizeInWords, words } from "./words.js";

const text = words.others;

/** Makes a row for `username`; `page`: restart(user, server), forget(user, server), reset(user), history(user), select(target, ticked). */
export class UserRow {
  element;
  #username;
  #page;
  #lines = new Map();
  #servers = element("ul", { className: "hubwarden-servers" });
  #home = element("span");
  #last = element("span");
  #reset;
  #history;

  constructor(username, page) {
    this.#username = username;
    this.#page = page;
    const label = (sentence) => phrase(sentence, { user: username });
    this.#reset = button(text.resetButton, label(text.resetLabel), () => page.reset(username));
    this.#history = button(text.historyButton, label(text.historyLabel), () => page.history(username));
    const actions = element("div", { className: "hubwarden-actions" }, this.#reset, this.#history);
    const name = element("th", { scope: "row", role: "rowheader", className: "hubwarden-name", textContent: username });
    const cells = [
      [text.text.servers, this.#servers],
      [text.text.home, this.#home],
      [text.text.lastOperation, this.#last],
      [text.text.actions, actions],
    ].map(([label, content]) => element("td", { role: "cell", "data-label": label, className: content === this.#last ? "hubwarden-long" : "" }, content));
    this.element = element("tr", { role: "row" }, name, ...cells);
  }

  /** Shows `row` of the Hub's list; `context`: home, selected (keys), manyOf(key), busyWith(username), historyReadable. */
  update(row, context) {
    for (const [name, server] of Object.entries(row.servers)) {
      if (!this.#lines.has(name)) this.#addLine(name);
      this.#lines.get(name).update(server, Object.keys(row.servers).length > 1, context);
    }
    for (const [name, line] of this.#lines) {
      if (name in row.servers) continue;
      line.element.remove();
      this.#lines.delete(name);
    }
    const { home } = context;
    write(this.#home, row.may_reset ? homeInWords(home, Object.values(row.servers)) : "");
    write(this.#last, row.may_reset ? lastInWords(row.last_operation, context.historyReadable) : "");
    const resettable = row.may_reset && home?.kind === "known" && home.resettable && !context.busyWith(row.name);
    this.#reset.classList.toggle("hidden", !resettable);
    this.#history.classList.toggle("hidden", !row.may_reset);
  }

  #addLine(name) {
    const line = new ServerLine(this.#username, name, this.#page);
    this.#lines.set(name, line);
    this.#servers.append(line.element);
  }
}

/** One server within a row. */
class ServerLine {
  element;
  #target;
  #tick;
  #name = element("span", { className: "hubwarden-server-name" });
  #state = element("span");
  #restart;
  #forget;

  constructor(user, server, page) {
    this.#target = { user, server };
    const names = { user, server: nameInWords(server) };
    this.#tick = element("input", { type: "checkbox", "aria-label": phrase(text.select, names) });
    this.#tick.addEventListener("change", () => page.select(this.#target, this.#tick.checked));
    this.#restart = button(text.restartButton, phrase(text.restartLabel, names), () => page.restart(user, server));
    this.#forget = button(text.forget.button, phrase(text.forget.label, names), () => page.forget(user, server));
    this.element = element("li", {}, this.#tick, this.#name, this.#state, this.#restart, this.#forget);
  }

  update(server, named, { selected, manyOf, busyWith }) {
    const key = keyOf(this.#target);
    const mayRestart = server.may_restart && server.ready;
    this.#tick.checked = selected.has(key);
    this.#tick.classList.toggle("hubwarden-unseen", !mayRestart && !this.#tick.checked);
    const many = manyOf(key)?.state;
    const busy = many === "waiting" || many === "running" || busyWith(this.#target.user);
    this.#restart.classList.toggle("hidden", !mayRestart || busy);
    this.#forget.classList.toggle("hidden", !(server.may_forget && server.waiting_for));
    write(this.#name, named ? nameInWords(this.#target.server) : "");
    const standing = serverInWords(server);
    const told = many && !(many === "running" && server.pending === "restart");
    write(this.#state, told ? `${standing} (${text.states[many]})` : standing);
    this.#state.className = `hubwarden-state hubwarden-state-${server.ready ? "ready" : server.pending ? "pending" : "stopped"}`;
  }
}

function serverInWords({ pending, waiting_for: waitingFor, ready, stopped, restart }) {
  if (waitingFor) return text.stopWaits[waitingFor];
  if (pending === "restart") return `${text.states.restart}: ${text.phases[restart?.phase] ?? text.phases.queued}`;
  if (pending) return text.states[pending] ?? pending;
  return ready ? text.states.ready : stopped ? text.states.stopped : text.states.unknown;
}

// A server that runs is told beside it: only what else is in the way of a reset is said here.
function homeInWords(home, servers) {
  if (home === null) return text.home.unasked;
  if (home.kind !== "known") return text.home.unknown;
  if (!home.exists) return text.home.none;
  const size = Number.isFinite(home.size_bytes) ? sizeInWords(home.size_bytes) : text.home.exists;
  const isHindered = !home.resettable && servers.every(({ stopped }) => stopped);
  return isHindered ? phrase(text.home.notNow, { home: size, why: whyNot(home) }) : size;
}

function lastInWords(entry, readable) {
  if (!readable) return text.historyUnreadable;
  if (!entry) return text.noOperation;
  const result = text.results[entry.result ?? "none"];
  return phrase(text.sentence, { what: operationInWords(entry), result, ago: agoInWords(entry.began_at), actor: entry.actor });
}

/** What was done, for people. */
export function operationInWords({ kind, server_name: server }) {
  if (kind === "restart" && server) return phrase(text.operations.restartOf, { server });
  return text.operations[kind] ?? kind;
}
