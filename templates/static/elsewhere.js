// Operations that this page did not begin: another tab's, an admin's, or this tab's own before it was loaded again.
//
// Always: one that was seen under way is told to its end; one that had ended when the page was opened is past, and not told.
// Never: leaves the page for a server: nobody here asked for that.

import { doneNotice } from "./restart.js";
import { phrase, words } from "./words.js";

/** Tells through `notice` what `state` shows; `isOwn(kind, name)` says whether this page tells it already. */
export class Elsewhere {
  #notice;
  #isOwn;
  #seen = new Map();

  constructor(notice, isOwn) {
    this.#notice = notice;
    this.#isOwn = isOwn;
  }

  follow(state) {
    if (state.kind !== "known") return;
    for (const [name, { restart, url }] of state.servers) {
      this.#tell(`restart ${name}`, restart, words.restart, this.#isOwn("restart", name), () => doneNotice(url));
    }
    const resetNotice = () => ({ kind: "success", sentences: [words.reset.doneElsewhere, words.reset.doneNext] });
    this.#tell("reset", state.reset, words.reset, this.#isOwn("reset"), resetNotice);
  }

  #tell(key, standing, text, isOwn, success) {
    if (!standing || isOwn) {
      this.#seen.delete(key);
      return;
    }
    const { phase, ready, failed } = standing;
    const ended = ready || failed;
    if (this.#seen.get(key) === phase || (ended && !this.#seen.has(key))) return;
    if (ended) this.#seen.delete(key);
    else this.#seen.set(key, phase);
    if (ready) this.#notice.show(success());
    else if (failed) this.#notice.show(failureOf(standing, text));
    else this.#notice.show({ kind: "progress", sentences: [text.phases[phase] ?? text.progressTitle] });
  }
}

function failureOf({ message, request_id: requestId }, text) {
  return { kind: "failure", sentences: [text.failed, message, phrase(words.reference, { requestId })] };
}
