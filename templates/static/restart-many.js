// Restarting many servers: those of a few users at a time, each under a request id of its own, until all have ended or somebody stops it.
//
// Always: every server ends as done, failed or skipped, and the counts add up; one whose answer is lost is asked for again
// under its id, so nothing is done twice; stopping begins no more and waits for those under way.
// Never: shows anything.

import { runBounded } from "./bounded.js";
import { sessionEndedInWords } from "./failure.js";
import { HubRefusal, SessionEnded } from "./hub-api.js";
import { untilAnswered } from "./operation.js";
import { newRequestId } from "./request-id.js";
import { phrase, words } from "./words.js";

const AT_ONCE = 3;

/** The key of one user's server. */
export function keyOf({ user, server }) {
  return JSON.stringify([user, server]);
}

/** `targets`: {user, server}; `restart(target, requestId)` resolves to whether it answers; `changed()` at every step. */
export class RestartMany {
  /** How each stands: {state, message}, where state is waiting, running, done, failed or skipped. */
  standings = new Map();
  stopped = false;
  ended = false;
  #targets;
  #restart;
  #changed;

  constructor(targets, restart, changed) {
    this.#targets = targets;
    this.#restart = restart;
    this.#changed = changed;
    for (const target of targets) this.standings.set(keyOf(target), { target, state: "waiting" });
  }

  async run() {
    const users = [...new Set(this.#targets.map(({ user }) => user))];
    await runBounded(users.map((user) => () => this.#allOf(user)), AT_ONCE, () => this.stopped);
    for (const [key, { target, state }] of this.standings) {
      if (state === "waiting") this.standings.set(key, { target, state: "skipped" });
    }
    this.ended = true;
    this.#changed();
  }

  stop() {
    this.stopped = true;
    this.#changed();
  }

  /** How many are in `state`. */
  count(state) {
    return this.in(state).length;
  }

  /** Those in any of these states. */
  in(...states) {
    return [...this.standings.values()].filter(({ state }) => states.includes(state));
  }

  get total() {
    return this.#targets.length;
  }

  // One after the other: the Hub lets only one of a user's operations wait.
  async #allOf(user) {
    for (const target of this.#targets.filter((target) => target.user === user)) {
      if (!this.stopped) await this.#one(target);
    }
  }

  async #one(target) {
    const requestId = newRequestId();
    this.#set(target, { state: "running" });
    try {
      const answers = await untilAnswered(() => this.#restart(target, requestId), () => {});
      this.#set(target, answers ? { state: "done" } : { state: "failed", message: referring(words.others.many.silent, requestId) });
    } catch (error) {
      if (error instanceof SessionEnded) this.stopped = true;
      this.#set(target, { state: "failed", message: messageOf(error, requestId) });
    }
  }

  #set(target, standing) {
    this.standings.set(keyOf(target), { target, ...standing });
    this.#changed();
  }
}

function messageOf(error, requestId) {
  if (error instanceof SessionEnded) return referring(sessionEndedInWords(error), requestId);
  const message = error instanceof HubRefusal ? error.message : words.unreachable;
  return referring(message, error.requestId ?? requestId);
}

function referring(message, requestId) {
  return `${message} ${phrase(words.reference, { requestId })}`;
}
