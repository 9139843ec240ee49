// One operation from the question to its end: dialog, request, progress, and the notice that says how it ended.
//
// Always: one operation per confirmation, however often it is clicked; the same request id until the Hub has given a
// definite answer, so that asking again, by itself or by "Try again", cannot do the work twice; "Try again" opens the dialog
// first, because the world may have changed.
// Never: leaves a person who closes the dialog without a word: the notice in the page says the same as the dialog.

import { failureNotice } from "./failure.js";
import { HubUnreachable, SessionEnded } from "./hub-api.js";
import { newRequestId } from "./request-id.js";
import { words } from "./words.js";

// Not only bad networks lose answers: a browser on the Hub's own host drops its connections when a container restarts.
const PAUSES_MILLISECONDS = [500, 2_000, 5_000];

/** What restart and reset have in common. */
export class Operation {
  running = false;
  #requestId = null;
  #dialog;
  #notice;
  #steps;

  /**
   * @param {{dialog: OperationDialog, notice: Notice}} surfaces where it shows
   * @param {object} steps what differs between operations:
   *   facts(): pairs of label and value for the dialog; toType: what to type before confirming, or null;
   *   obstacle(): the sentence that says why it cannot be done now, or null;
   *   progress(): the sentence while it begins; progressPath: where the Hub tells how it stands;
   *   send(requestId, ended): does it, resolves to the answer; `ended` resolves when the progress tells of its end;
   *   succeeded(answer, report): ends it, and returns the notice to show, or null when the page is being left;
   *   failedSentence, startUrl: for the failure notice; changed(): called when `running` changes.
   */
  constructor({ dialog, notice }, steps) {
    this.#dialog = dialog;
    this.#notice = notice;
    this.#steps = steps;
  }

  /** Opens the dialog; nothing happens before it is confirmed. */
  ask() {
    const { toType = null, facts, obstacle } = this.#steps;
    this.#dialog.ask({ owner: this, facts: facts(), obstacle: obstacle(), toType, confirmed: () => this.#confirmed() });
  }

  /** The world may have changed: an open question says so, and cannot be confirmed while something is in the way. */
  reconsider() {
    if (this.isShown && !this.running) this.#dialog.hinder(this.#steps.obstacle());
  }

  /** Whether this operation's dialog is what the person looks at. */
  get isShown() {
    return this.#dialog.isOpenFor(this);
  }

  async #confirmed() {
    if (this.running) return;
    this.#setRunning(true);
    const isRepeated = this.#requestId !== null;
    this.#requestId ??= newRequestId();
    const report = (standing) => this.#report(standing);
    report({ sentence: this.#steps.progress() });
    const following = this.#follow(report);
    try {
      const send = () => this.#steps.send(this.#requestId, following.ended);
      const again = () => report({ sentence: words.askingAgain });
      const answer = await untilAnswered(isRepeated ? () => onceSent(send) : send, again);
      this.#requestId = null;
      following.stop();
      this.#end(this.#steps.succeeded(answer, report));
    } catch (error) {
      following.stop();
      this.#fail(error);
    }
  }

  // The phases are told on a stream of their own, which knows the operation as soon as the Hub has begun it; what is told
  // about another request is another operation's.
  #follow(report) {
    const requestId = this.#requestId;
    let ended;
    const following = { ended: new Promise((resolve) => (ended = resolve)) };
    following.stop = this.#steps.hub.follow(this.#steps.progressPath, ({ request_id: told, phase, progress }) => {
      if (told !== requestId) return false;
      if (phase === "done") ended();
      const sentence = this.#steps.phases[phase];
      if (sentence) report({ sentence, phase, progress });
      return true;
    });
    return following;
  }

  #fail(error) {
    const requestId = error.requestId ?? this.#requestId;
    if (error.outcomeUnknown === false) this.#requestId = null;
    this.#end(failureNotice(error, { ...this.#steps, requestId, retry: () => this.ask() }));
  }

  #report(standing) {
    this.#dialog.progress(this, standing);
    this.#notice.show({ kind: "progress", sentences: [standing.sentence], progress: standing.progress });
  }

  #end(notice) {
    if (notice === null) return; // the page is being left: offer nothing any more
    this.#notice.show(notice);
    this.#dialog.close(this);
    this.#setRunning(false);
  }

  #setRunning(running) {
    this.running = running;
    this.#steps.changed();
  }
}

/** What `send` resolves to, sent again, within bounds, while the Hub is not reached; `again` is told each time. */
export async function untilAnswered(send, again) {
  let attempt = send;
  for (const pause of PAUSES_MILLISECONDS) {
    try {
      return await attempt();
    } catch (error) {
      if (!(error instanceof HubUnreachable)) throw error;
      attempt = () => onceSent(send);
      again();
      await new Promise((resolve) => setTimeout(resolve, pause));
    }
  }
  return attempt();
}

/** What `ask` resolves to, after the request may have reached the Hub: a login that ends then does not undo it. */
export async function onceSent(ask) {
  try {
    return await ask();
  } catch (error) {
    throw error instanceof SessionEnded ? new SessionEnded({ outcomeUnknown: true }) : error;
  }
}
