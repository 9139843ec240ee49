// Which page of which users: the form, the address of the page, and the Hub's query are kept the same.
//
// Always: a closed set of names; what an address brings that the form does not know is dropped.
// Never: asks the Hub.

const LIMIT = 50;
const TYPING_PAUSE_MILLISECONDS = 250;
const FIELDS = ["search", "state", "sort"];

/** Wraps the form with the fields; `changed()` is called when there is something else to ask for. */
export class ListQuery {
  #form;
  #offset;
  #changed;
  #timer = null;

  constructor(form, changed) {
    this.#form = form;
    this.#changed = changed;
    const address = new URLSearchParams(window.location.search);
    for (const name of FIELDS) {
      const field = form.elements[name];
      const value = address.get(name) ?? field.value;
      if (!field.options || Array.from(field.options).some((option) => option.value === value)) field.value = value;
    }
    this.#offset = Math.max(0, Math.floor(Number(address.get("offset")) / LIMIT) * LIMIT || 0);
    form.addEventListener("submit", (event) => (event.preventDefault(), this.#restart()));
    form.addEventListener("change", () => this.#restart());
    form.elements.search.addEventListener("input", () => {
      clearTimeout(this.#timer);
      this.#timer = setTimeout(() => this.#restart(), TYPING_PAUSE_MILLISECONDS);
    });
  }

  /** The query of the page that is looked at. */
  get current() {
    return { ...this.filter, offset: this.#offset, limit: LIMIT };
  }

  /** The query without the page. */
  get filter() {
    const entries = FIELDS.map((name) => [name, this.#form.elements[name].value.trim()]);
    return Object.fromEntries(entries.filter(([, value]) => value));
  }

  /** Goes `pages` on, or back. */
  turn(pages) {
    this.#move(Math.max(0, this.#offset + pages * LIMIT));
  }

  /** Goes back to the last page there is, when users went away meanwhile. */
  keepWithin(total) {
    if (this.#offset > 0 && this.#offset >= total) this.#move(Math.max(0, Math.ceil(total / LIMIT) - 1) * LIMIT);
  }

  #restart() {
    clearTimeout(this.#timer);
    this.#move(0);
  }

  #move(offset) {
    this.#offset = offset;
    const address = new URLSearchParams({ ...this.filter, ...(offset && { offset }) });
    window.history.replaceState(null, "", `?${address}`);
    this.#changed();
  }
}
