// Operations that this page did not begin: another tab's, an admin's, or this tab's own before it was loaded again.
//
// Always: one that was seen under way is told to its end; one that had ended when the page was opened is past, and not told.
// Never: leaves the page for a server: nobody here asked for that.

import { toldFailureNotice } from "./failure.js";
import { endNotice } from "./restart.js";
import { DEFAULT_SERVER } from "./server-state.js";
import { words } from "./words.js";

/** Tells through `notice` what a state shows; `isOwn(kind, name)` says whether this page tells it already. */
export class Elsewhere {
  #notice;
  #isOwn;
  #startUrlOf;
  #seen = new Map();

  constructor(notice, startUrlOf, isOwn) {
    this.#notice = notice;
    this.#startUrlOf = startUrlOf;
    this.#isOwn = isOwn;
  }

  follow(state) {
    if (state.kind !== "known") return;
    for (const [name, { restart, url }] of state.servers) {
      const context = { text: words.restart, startUrl: this.#startUrlOf(name), success: (ready) => endNotice(url, ready) };
      this.#tell(`restart ${name}`, restart, this.#isOwn("restart", name), context);
    }
    const success = () => ({ kind: "success", sentences: [words.reset.doneElsewhere, words.reset.doneNext] });
    const context = { text: words.reset, startUrl: this.#startUrlOf(DEFAULT_SERVER), success };
    this.#tell("reset", state.reset, this.#isOwn("reset"), context);
  }

  #tell(key, standing, isOwn, { text, startUrl, success }) {
    if (!standing || isOwn) {
      const wasSeen = this.#seen.delete(key);
      if (wasSeen && !standing && this.#notice.topic === key) this.#notice.clear(); // the Hub no longer knows of it
      return;
    }
    const { phase, progress, ready, failed } = standing;
    const ended = phase === "done";
    if (this.#seen.get(key) === phase || (ended && !this.#seen.has(key))) return;
    if (ended) this.#seen.delete(key);
    else this.#seen.set(key, phase);
    if (failed) this.#notice.show(toldFailureNotice(standing, { failedSentence: text.failed, startUrl }));
    else if (ended) this.#notice.show(success(ready));
    else this.#notice.show({ kind: "progress", sentences: [text.phases[phase] ?? text.progressTitle], progress, topic: key });
  }
}
