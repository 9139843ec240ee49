// The table of users: rows of the Hub's present page, the selection, and paging.
//
// Always: the selection survives paging and searching, until it is cleared; a row that stays keeps its place in the document.
// Never: asks the Hub; homes are asked for by homes-in-view.js.

import { write } from "./element.js";
import { keyOf } from "./restart-many.js";
import { UserRow } from "./user-row.js";
import { phrase, words } from "./words.js";

const text = words.others;

/** Shows listings in `parts`: rows, count, page, previous, next. */
export class UserList {
  selected = new Map(); // key -> {user, server}
  #parts;
  #page;
  #homes;
  #rows = new Map();
  #listing = null;

  constructor(parts, page, homes) {
    this.#parts = parts;
    this.#homes = homes;
    this.#page = { ...page, select: (target, ticked) => this.#select([target], ticked) };
  }

  /** Shows a listing of the Hub. */
  show(listing) {
    this.#listing = listing;
    const present = new Set(listing.users.map(({ name }) => name));
    for (const [name, row] of this.#rows) {
      if (present.has(name)) continue;
      this.#homes.unwatch(row.element);
      row.element.remove();
      this.#rows.delete(name);
    }
    for (const [index, user] of listing.users.entries()) this.#place(user, index);
    this.#showPaging(listing);
    this.render();
  }

  /** Shows again what is known. */
  render() {
    if (this.#listing === null) return;
    const { users, history_readable: historyReadable } = this.#listing;
    for (const user of users) {
      const context = { ...this.#page, selected: this.selected, home: this.#homes.of(user.name), historyReadable };
      this.#rows.get(user.name).update(user, context);
      this.#homes.watch(this.#rows.get(user.name).element, user.name, standingOf(user));
    }
  }

  selectAll(targets) {
    this.#select(targets, true);
  }

  clearSelection() {
    this.selected.clear();
    this.#page.selectionChanged();
  }

  #place(user, index) {
    if (!this.#rows.has(user.name)) this.#rows.set(user.name, new UserRow(user.name, this.#page));
    const { element } = this.#rows.get(user.name);
    const there = this.#parts.rows.children[index];
    if (there !== element) this.#parts.rows.insertBefore(element, there ?? null);
  }

  #select(targets, ticked) {
    for (const target of targets) {
      if (ticked) this.selected.set(keyOf(target), target);
      else this.selected.delete(keyOf(target));
    }
    this.#page.selectionChanged();
  }

  #showPaging({ total, offset, limit, users }) {
    const language = document.documentElement.lang || "en";
    const inWords = (number) => new Intl.NumberFormat(language).format(number);
    const values = { first: inWords(offset + 1), last: inWords(offset + users.length), total: inWords(total) };
    write(this.#parts.count, users.length ? phrase(text.count, values) : text.countNone);
    const pages = Math.max(1, Math.ceil(total / limit));
    write(this.#parts.page, phrase(text.page, { page: inWords(Math.floor(offset / limit) + 1), pages: inWords(pages) }));
    this.#parts.previous.disabled = offset === 0;
    this.#parts.next.disabled = offset + users.length >= total;
  }
}

/** The servers of a listing's users that can be restarted now. */
export function restartable(users) {
  return users.flatMap(({ name, servers }) =>
    Object.entries(servers)
      .filter(([, { ready, may_restart: mayRestart }]) => ready && mayRestart)
      .map(([server]) => ({ user: name, server })),
  );
}

// What makes an earlier answer about a home old, and whether a server is in its way.
function standingOf({ servers, last_operation: last }) {
  const stopped = Object.entries(servers).map(([name, { stopped }]) => [name, stopped]);
  const key = JSON.stringify([stopped, last?.id, last?.result]);
  return { key, stopped: stopped.every(([, isStopped]) => isStopped) };
}
