// What is known about the user's home volume while the server is stopped:
// null (not known yet), {kind: "known", ...the Hub's answer}, {kind: "withheld"} or {kind: "unavailable", message}.
//
// Always: asked when the server turns out to be stopped, then every 15 seconds, on the beat of the server watch: the
// answer costs the agent a look at Docker, and nothing is asked while the tab is hidden.
// Never: decides; the agent checks again before it deletes anything.

import { HubRefusal } from "./hub-api.js";
import { words } from "./words.js";

const FRESH_MILLISECONDS = 15_000;
// JupyterHub's answers to somebody without the scope, and without it for this user.
const WITHHELD_STATUSES = new Set([403, 404]);

/** Follows the server's state and tells `changed` whenever `current` changes. */
export class HomeVolume {
  current = null;
  #hub;
  #changed;
  #askedAt = -Infinity;
  #turn = 0;

  constructor(hub, changed) {
    this.#hub = hub;
    this.#changed = changed;
  }

  follow(server) {
    if (server.kind === "stopped") {
      if (performance.now() - this.#askedAt > FRESH_MILLISECONDS) this.#ask();
    } else if (server.kind !== "unreachable") {
      this.forget(); // a server that ran may have changed everything
    }
  }

  /** What was known is no longer true. */
  forget() {
    this.current = null;
    this.#askedAt = -Infinity;
    this.#turn += 1;
  }

  async #ask() {
    this.#askedAt = performance.now();
    const turn = this.#turn;
    const answer = await readHomeVolume(this.#hub);
    if (turn !== this.#turn) return;
    this.current = answer;
    this.#changed();
  }
}

/** Asks the Hub; never rejects. */
export async function readHomeVolume(hub) {
  try {
    return { kind: "known", ...(await hub.homeVolume()) };
  } catch (error) {
    if (!(error instanceof HubRefusal)) return { kind: "unavailable", message: words.reset.cannotTell };
    return WITHHELD_STATUSES.has(error.status) ? { kind: "withheld" } : { kind: "unavailable", message: error.message };
  }
}
