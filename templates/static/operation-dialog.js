// One operation's dialog: asks, then shows that the operation is under way. Its structure is in hubwarden_dialog.html.
//
// Always: opens with the focus on Cancel; Escape and Cancel close it and change nothing; while the operation runs the same
// button reads Close. The browser's own modal dialog keeps the focus inside and gives it back at the end; once the operation
// was confirmed, the focus goes to the notice that tells its end.
// Never: runs the operation, and never closes by a click beside it, which is too easily made by mistake.

import { words } from "./words.js";

/** Wraps the <dialog> element; `text` is the operation's part of words.js, `notice` where its end is told. */
export class OperationDialog {
  #element;
  #parts;
  #text;
  #confirmed = () => {};

  constructor(element, text, notice) {
    this.#element = element;
    this.#text = text;
    this.#parts = Object.fromEntries(
      Array.from(element.querySelectorAll("[data-part]"), (part) => [part.dataset.part, part]),
    );
    this.#parts.confirm.textContent = text.confirm;
    this.#parts.note.textContent = text.progressNote;
    this.#parts.explanation.replaceChildren(...text.explanation.map((sentence) => withText("p", sentence)));
    this.#parts.cancel.addEventListener("click", () => this.close());
    this.#parts.confirm.addEventListener("click", () => this.#confirmed());
    element.addEventListener("close", () => this.#showsProgress && notice.focus());
  }

  get isOpen() {
    return this.#element.open;
  }

  /** Asks; `facts` are pairs of label and value, `confirmed` is called for each click on the confirming button. */
  ask(facts, confirmed) {
    this.#confirmed = confirmed;
    this.#parts.facts.replaceChildren(
      ...facts.flatMap(([label, value]) => [withText("dt", label), withText("dd", value)]),
    );
    this.#showProgress(false);
    this.#element.showModal();
    this.#element.scrollTop = 0; // on a small screen the focus on Cancel has scrolled past what is to be read first
  }

  /** Shows what is under way instead of the question. */
  progress(sentence) {
    const focusMoves = !this.#showsProgress;
    this.#parts.sentence.textContent = sentence;
    this.#showProgress(true);
    // Not to Close: a second press of Enter would close what the first one started.
    if (focusMoves) this.#parts.progress.focus();
  }

  close() {
    this.#element.close();
  }

  get #showsProgress() {
    return !this.#parts.progress.classList.contains("hidden");
  }

  #showProgress(running) {
    this.#parts.question.classList.toggle("hidden", running);
    this.#parts.progress.classList.toggle("hidden", !running);
    // Invisible, not gone: the second half of a double click would meet Close in its place.
    this.#parts.confirm.classList.toggle("invisible", running);
    this.#parts.confirm.disabled = running;
    this.#parts.title.textContent = running ? this.#text.progressTitle : this.#text.title;
    this.#parts.cancel.textContent = running ? words.close : words.cancel;
  }
}

function withText(tag, text) {
  const element = document.createElement(tag);
  element.textContent = text;
  return element;
}
