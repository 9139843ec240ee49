// The homes of the rows in view: each answer costs the agent a look at Docker, so nobody asks about a row nobody sees.
//
// Always: a few questions at a time; an answer that was overtaken by an operation on that user, one that nobody could give,
// and one that says "not now" about a user whose servers are stopped, are asked for again.
// Never: asks while the tab is hidden, or twice for a row that stays as it is.

import { readHomeVolume } from "./home-volume.js";

const AT_ONCE = 3;
const AGAIN_MILLISECONDS = 15_000;

/** Asks through `hubOf(username)`, and tells `changed(username)` when `of(username)` has an answer. */
export class HomesInView {
  #hubOf;
  #changed;
  #homes = new Map(); // username -> {key, home, askedAt}; key: of the user's servers and operations then
  #inView = new Map(); // username -> standing
  #asking = 0;
  #rows = new WeakMap();
  #observer = new IntersectionObserver((entries) => this.#seen(entries), { rootMargin: "50px" });

  constructor(hubOf, changed) {
    this.#hubOf = hubOf;
    this.#changed = changed;
    document.addEventListener("visibilitychange", () => this.#ask());
  }

  /** What is known about a user's home, or null. */
  of(username) {
    return this.#homes.get(username)?.home ?? null;
  }

  /**
   * Asks about `username` when `row` comes into view, and again when `standing` is another one than before: `{key,
   * stopped}`, where `stopped` says that no server is in the way of a reset.
   */
  watch(row, username, standing) {
    this.#rows.set(row, { username, standing });
    if (this.#inView.has(username)) this.#inView.set(username, standing);
    this.#observer.observe(row);
    this.#ask();
  }

  unwatch(row) {
    this.#observer.unobserve(row);
    this.#inView.delete(this.#rows.get(row)?.username);
  }

  #seen(entries) {
    for (const { target, isIntersecting } of entries) {
      const { username, standing } = this.#rows.get(target);
      if (isIntersecting) this.#inView.set(username, standing);
      else this.#inView.delete(username);
    }
    this.#ask();
  }

  #ask() {
    if (document.hidden) return;
    for (const [username, standing] of this.#inView) {
      if (this.#asking >= AT_ONCE) return;
      if (this.#isFresh(this.#homes.get(username), standing)) continue;
      this.#homes.set(username, { key: standing.key, home: this.of(username), askedAt: performance.now() });
      this.#askAbout(username, standing.key);
    }
  }

  #isFresh(known, { key, stopped }) {
    if (known?.key !== key) return false;
    const { kind, exists, resettable } = known.home ?? {};
    const mayPass = kind === "unavailable" || (stopped && kind === "known" && exists && !resettable);
    return !mayPass || performance.now() - known.askedAt < AGAIN_MILLISECONDS;
  }

  async #askAbout(username, key) {
    this.#asking += 1;
    const home = await readHomeVolume(this.#hubOf(username));
    this.#asking -= 1;
    const known = this.#homes.get(username);
    if (known.key === key) {
      this.#homes.set(username, { ...known, home });
      this.#changed(username);
    }
    this.#ask();
  }
}
