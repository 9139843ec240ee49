// The panel of restarting many: asks first, then shows how far it is, with a button to stop, and a summary.
//
// Always: one at a time; a page that is about to be left in the middle asks back, because the rest would not be restarted.
// Never: hides a failure: each is listed with its reference.

import { element, write } from "./element.js";
import { nameInWords } from "./others-operations.js";
import { RestartMany } from "./restart-many.js";
import { phrase, words } from "./words.js";

const text = words.others.many;
const NAMES_SHOWN = 5;

/** `parts`: panel, sentence, bar, stop, again, close, failures; `dialog` asks; `began()` once confirmed; `changed()` at every step; `closed()` once put away, with the focus. */
export class ManyPanel {
  #parts;
  #dialog;
  #restart;
  #began;
  #changed;
  #closed;
  #many = null;

  constructor(parts, dialog, restart, { began, changed, closed }) {
    this.#parts = parts;
    this.#dialog = dialog;
    this.#restart = restart;
    this.#began = began;
    this.#changed = changed;
    this.#closed = closed;
    parts.stop.addEventListener("click", () => this.#many.stop());
    parts.again.addEventListener("click", () => this.ask(this.#many.in("failed", "skipped").map(({ target }) => target)));
    parts.close.addEventListener("click", () => this.#close());
    window.addEventListener("beforeunload", (event) => this.running && event.preventDefault());
  }

  get running() {
    return this.#many !== null && !this.#many.ended;
  }

  /** How the server of a key stands in it, or undefined. */
  of(key) {
    return this.#many?.standings.get(key);
  }

  /** Asks whether to restart `targets`. */
  ask(targets) {
    const names = [...new Set(targets.map(({ user }) => user))];
    const more = names.length - NAMES_SHOWN;
    const shown = names.slice(0, NAMES_SHOWN).join(", ");
    const facts = [
      [text.count, String(targets.length)],
      [text.names, more > 0 ? phrase(text.more, { names: shown, count: more }) : shown],
    ];
    this.#dialog.ask({ owner: this, facts, obstacle: null, toType: null, confirmed: () => this.#confirmed(targets) });
  }

  #confirmed(targets) {
    if (this.running) return;
    this.#many = new RestartMany(targets, this.#restart, () => this.#show());
    this.#parts.panel.classList.remove("hidden");
    this.#dialog.close(this);
    this.#parts.panel.focus();
    this.#began();
    this.#many.run();
  }

  #close() {
    this.#many = null;
    this.#parts.panel.classList.add("hidden");
    this.#changed();
    this.#closed();
  }

  #show() {
    const many = this.#many;
    const [done, failed, skipped, running] = ["done", "failed", "skipped", "running"].map((state) => many.count(state));
    const values = { done, failed, skipped, running, total: many.total, left: many.total - done - failed };
    const stopping = many.stopped && !many.ended;
    write(this.#parts.sentence, phrase(many.ended ? text.finished : stopping ? text.stopping : text.standing, values));
    const percent = Math.round((100 * (done + failed)) / many.total);
    this.#parts.bar.style.width = `${percent}%`;
    this.#parts.bar.setAttribute("aria-valuenow", String(percent));
    this.#parts.stop.classList.toggle("hidden", many.ended);
    this.#parts.stop.disabled = many.stopped;
    this.#parts.again.classList.toggle("hidden", !many.ended || failed + skipped === 0);
    this.#parts.close.classList.toggle("hidden", !many.ended);
    if (many.ended && document.activeElement === document.body) this.#parts.panel.focus(); // Stop had it, and is gone
    this.#parts.failures.replaceChildren(...many.in("failed").map(failureLine));
    this.#changed();
  }
}

function failureLine({ target, message }) {
  const values = { user: target.user, server: nameInWords(target.server), message };
  return element("li", { textContent: phrase(text.failure, values) });
}
