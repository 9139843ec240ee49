// One operation from the question to its end: dialog, request, progress, and the notice that says how it ended.
//
// Invariants: one operation per confirmation, however often it is clicked. A click on the operation's button gets a new
// request id. Only automatic retries and "Try again" repeat an id, and "Try again" only while the outcome of that request is
// unknown. When the Hub's state shows that the request has ended, the page shows how, and drops its id. "Try again" opens the
// dialog first, because the situation may have changed.
// Must not: leave a person who closes the dialog without a result: the notice in the page says the same as the dialog.

import { failureNotice } from "./failure.js";
import { HubRefusal, HubUnreachable, SessionEnded } from "./hub-api.js";
import { newRequestId } from "./request-id.js";
import { words } from "./words.js";

// Not only bad networks lose answers: a browser on the Hub's own host drops its connections when a container restarts.
const PAUSES_MILLISECONDS = [500, 2_000, 5_000];
const LOOK_AGAIN_MILLISECONDS = 1_000;

/** What restart and reset have in common. */
export class Operation {
  running = false;
  #requestId = null; // of the request that runs
  #waits = false; // whether the notice offers to cancel it
  #repeats = null; // the request id that the next confirmation repeats; null: it gets a new one
  #unanswered = null; // the id of the request that the Hub has not answered, until its state shows how that ended
  #dialog;
  #notice;
  #steps;

  /**
   * @param {{dialog: OperationDialog, notice: Notice}} surfaces where it shows
   * @param {object} steps what differs between operations:
   *   facts(): pairs of label and value for the dialog; toType: what to type before confirming, or null;
   *   obstacle(): the sentence that says why it cannot be done now, or null;
   *   progress(): the sentence while it begins; progressPath: where the Hub tells how it stands;
   *   send(requestId): does it, resolves to the final answer;
   *   succeeded(answer, report): ends it, and returns the notice to show, or null when the page is being left;
   *   endedUnanswered(outcome): the notice for a success that only the Hub's state tells;
   *   failedSentence, startUrl: for the failure notice; changed(): called when `running` changes.
   */
  constructor({ dialog, notice }, steps) {
    this.#dialog = dialog;
    this.#notice = notice;
    this.#steps = steps;
  }

  /** Opens the dialog for a new request; nothing happens before it is confirmed. */
  ask() {
    this.#ask(null);
  }

  #ask(repeats) {
    this.#repeats = repeats;
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

  /** Whether the Hub has not answered the request that `outcome`, a part of its state, is about. */
  awaits(outcome) {
    return this.#unanswered !== null && outcome?.request_id === this.#unanswered;
  }

  /** Shows the end of an unanswered request, once the Hub's state tells it. A question that would repeat it is closed. */
  learn(outcome) {
    if (this.running || !this.awaits(outcome) || outcome.phase !== "done") return;
    this.#unanswered = null;
    const { request_id: requestId } = outcome;
    const refusal = outcome.failed ? new HubRefusal(null, outcome, null) : null;
    this.#notice.show(refusal ? this.#failed(refusal, requestId) : this.#steps.endedUnanswered(outcome));
    if (refusal?.outcomeUnknown || this.#repeats !== requestId) return;
    this.#repeats = null;
    if (!this.isShown) return;
    this.#dialog.close(this);
    this.#notice.focus(); // "Try again" had it, and is gone
  }

  /** While the request waits for its turn (`waiting`: that part of the Hub's state), the notice offers to cancel it. */
  offerToCancel(waiting) {
    const waits = this.running && waiting?.request_id === this.#requestId;
    if (waits && !this.#waits) this.#notice.show(this.#waitingNotice(this.#requestId));
    this.#waits = waits;
  }

  // What comes of it is told by the request itself: it ends as cancelled, or goes on because it has begun.
  #waitingNotice(requestId) {
    const cancel = () => this.#steps.hub.cancelWaiting(requestId).catch(() => {});
    return { kind: "progress", sentences: [words.waits], actions: [{ label: words.cancelWaiting, run: cancel }] };
  }

  async #confirmed() {
    if (this.running) return;
    this.#setRunning(true);
    this.#unanswered = null;
    const isRepeated = this.#repeats !== null;
    const requestId = this.#repeats ?? newRequestId();
    this.#requestId = requestId;
    const report = (standing) => this.#report(standing);
    report({ sentence: this.#steps.progress() });
    const stopFollowing = this.#follow(requestId, report);
    try {
      const send = () => this.#steps.send(requestId);
      const again = () => report({ sentence: words.askingAgain });
      const answer = await untilAnswered(isRepeated ? () => onceSent(send) : send, again);
      stopFollowing();
      this.#end(this.#steps.succeeded(answer, report));
    } catch (error) {
      stopFollowing();
      if (error instanceof HubUnreachable) this.#unanswered = requestId;
      this.#end(this.#failed(error, requestId));
    }
  }

  // The phases are told on a stream of their own, which knows the operation as soon as the Hub has begun it; what is told
  // about another request is another operation's.
  #follow(requestId, report) {
    return this.#steps.hub.follow(this.#steps.progressPath, ({ request_id: told, phase, progress }) => {
      if (told !== requestId) return false;
      const sentence = this.#steps.phases[phase];
      if (sentence) report({ sentence, phase, progress });
      return true;
    });
  }

  #failed(error, requestId) {
    const repeats = error.outcomeUnknown === false ? null : requestId;
    const reference = error.requestId ?? requestId;
    return failureNotice(error, { ...this.#steps, requestId: reference, retry: () => this.#ask(repeats) });
  }

  #report(standing) {
    this.#dialog.progress(this, standing);
    if (this.#waits && standing.phase === "queued") return; // the notice says that, with a button
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

/**
 * The final answer to a request, which the Hub answers first with "accepted" when it takes long: once the Hub's state tells the
 * end of the operation, `ask`, under the same id, gets its outcome.
 *
 * @param {{hub: HubApi, requestId: string, ask: Function, isFinal: Function, partOf: Function}} request isFinal(answer): whether
 *   it is the outcome; partOf(state): the part of the state that is about this kind of operation.
 */
export async function untilKnown({ hub, requestId, ask, isFinal, partOf }) {
  for (let answer = await ask(); ; answer = await onceSent(ask)) {
    if (isFinal(answer)) return answer;
    for (let ended = false; !ended; ) {
      await new Promise((resolve) => setTimeout(resolve, LOOK_AGAIN_MILLISECONDS));
      const outcome = await onceSent(() => hub.state()).then(partOf, unreadable);
      ended = outcome?.request_id !== requestId || outcome.phase === "done"; // another one's: the Hub was restarted
    }
  }
}

// Who may act but not see the state asks again.
function unreadable(error) {
  if (error instanceof HubRefusal) return null;
  throw error;
}

/** What `ask` resolves to, after the request may have reached the Hub: a login that ends then does not undo it. */
export async function onceSent(ask) {
  try {
    return await ask();
  } catch (error) {
    throw error instanceof SessionEnded ? new SessionEnded({ outcomeUnknown: true }) : error;
  }
}
