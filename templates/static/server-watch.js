// Keeps the page true: reads the server's state every second and a half and notifies its listeners.
//
// JupyterHub's own page says nothing when a server starts, stops or dies, so the page asks the Hub's memory: an answer that
// has not changed is empty (304).
// Always: one read at a time counts, the latest; a tab that comes back asks at once.
// Never: asks while the tab is hidden; nor after the login has ended, because only a new page has a
// new XSRF token.

export const INTERVAL_MILLISECONDS = 1_500;

/** Watches what `read` resolves to; `read` must not reject. `interval()`: milliseconds until the next read. */
export class ServerWatch {
  #read;
  #listeners = new Set();
  #turn = 0;
  #timer = null;
  #interval;

  constructor(read, interval = () => INTERVAL_MILLISECONDS) {
    this.#read = read;
    this.#interval = interval;
  }

  start() {
    document.addEventListener("visibilitychange", () => this.refresh());
    this.refresh();
  }

  /** Calls `listener` with every state read from now on. */
  listen(listener) {
    this.#listeners.add(listener);
  }

  /** Reads now, unless nobody can see it; what an earlier read still brings is out of date and dropped. */
  async refresh() {
    clearTimeout(this.#timer);
    const turn = ++this.#turn;
    if (document.hidden) return;
    const state = await this.#read();
    if (turn !== this.#turn) return;
    for (const listener of this.#listeners) listener(state);
    if (state.kind !== "signed-out") this.#timer = setTimeout(() => this.refresh(), this.#interval());
  }
}
