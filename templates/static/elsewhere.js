// Operations that this page did not begin: another tab's, an admin's, or this tab's own before it was loaded again.
//
// Invariants: the page shows an operation that it saw under way until its end. It does not show one that had ended before the
// page was opened. The end of an operation of this page is shown by that operation.
// Must not: leave the page for a server: nobody here asked for that.

import { toldFailureNotice } from "./failure.js";
import { doneElsewhereNotice } from "./reset.js";
import { endNotice } from "./restart.js";
import { DEFAULT_SERVER } from "./server-state.js";
import { words } from "./words.js";

/** Tells through `notice` what a state shows; `operationOf(kind, name)` is this page's own operation, where it has one. */
export class Elsewhere {
  #notice;
  #operationOf;
  #startUrlOf;
  #seen = new Map();

  constructor(notice, startUrlOf, operationOf) {
    this.#notice = notice;
    this.#startUrlOf = startUrlOf;
    this.#operationOf = operationOf;
  }

  follow(state) {
    if (state.kind !== "known") return;
    for (const [name, { restart, url }] of state.servers) {
      const context = { text: words.restart, startUrl: this.#startUrlOf(name), success: (ready) => endNotice(url, ready) };
      this.#tell(`restart ${name}`, restart, this.#operationOf("restart", name), context);
    }
    const context = { text: words.reset, startUrl: this.#startUrlOf(DEFAULT_SERVER), success: doneElsewhereNotice };
    this.#tell("reset", state.reset, this.#operationOf("reset"), context);
  }

  #tell(key, standing, operation, { text, startUrl, success }) {
    const ended = standing?.phase === "done";
    if (!standing || operation?.running || (ended && operation?.awaits(standing))) {
      const wasSeen = this.#seen.delete(key);
      if (wasSeen && !standing && this.#notice.topic === key) this.#notice.clear(); // the Hub no longer knows of it
      return;
    }
    const { phase, progress, ready, failed } = standing;
    if (this.#seen.get(key) === phase || (ended && !this.#seen.has(key))) return;
    if (ended) this.#seen.delete(key);
    else this.#seen.set(key, phase);
    if (failed) this.#notice.show(toldFailureNotice(standing, { failedSentence: text.failed, startUrl }));
    else if (ended) this.#notice.show(success(ready));
    else this.#notice.show({ kind: "progress", sentences: [text.phases[phase] ?? text.progressTitle], progress, topic: key });
  }
}
