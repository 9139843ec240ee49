// One kind of operation's dialog: asks, then shows how the operation goes. Its structure is in hubwarden_dialog.html.
//
// Always: opens with the focus on Cancel; Escape and Cancel close it and change nothing; while the operation runs the same
// button reads Close. The browser's own modal dialog keeps the focus inside and gives it back at the end; once the operation
// was confirmed, the focus goes to the notice that tells its end. The last question owns the dialog: an operation that
// still runs in the background no longer shows in it.
// Never: runs the operation, and never closes by a click beside it, which is too easily made by mistake.

import { phrase, words } from "./words.js";

/** Wraps the <dialog> element; `text` is the operation's part of words.js, `notice` where its end is told. */
export class OperationDialog {
  #element;
  #parts;
  #text;
  #question = null;

  constructor(element, text, notice) {
    this.#element = element;
    this.#text = text;
    this.#parts = Object.fromEntries(
      Array.from(element.querySelectorAll("[data-part]"), (part) => [part.dataset.part, part]),
    );
    const { confirm, note, explanation, steps, cancel, typed } = this.#parts;
    confirm.textContent = text.confirm;
    note.textContent = text.progressNote;
    explanation.replaceChildren(...text.explanation.map((sentence) => withText("p", sentence)));
    steps.replaceChildren(...text.steps.map(({ label }) => withText("li", label)));
    cancel.addEventListener("click", () => this.#element.close());
    confirm.addEventListener("click", () => this.#question.confirmed());
    typed.addEventListener("input", () => this.#allowConfirming());
    element.addEventListener("close", () => this.#showsProgress && notice.focus());
  }

  /** Whether `owner` asked last, and the dialog is still there. */
  isOpenFor(owner) {
    return this.#element.open && this.#question.owner === owner;
  }

  /**
   * Asks.
   *
   * @param {{owner: object, facts: string[][], obstacle: string|null, confirmed: Function, toType: string|null}} question
   *   facts: pairs of label and value; obstacle: why it cannot be confirmed; confirmed: called for each click on the
   *   confirming button; toType: what has to be typed before that.
   */
  ask(question) {
    this.#question = question;
    this.#parts.facts.replaceChildren(
      ...question.facts.flatMap(([label, value]) => [withText("dt", label), withText("dd", value)]),
    );
    this.#parts.typing.classList.toggle("hidden", !question.toType);
    this.#parts.typedLabel.textContent = phrase(words.typeToConfirm, { name: question.toType });
    this.#parts.typed.value = "";
    this.#showProgress(false);
    this.hinder(question.obstacle);
    this.#element.showModal();
    this.#element.scrollTop = 0; // on a small screen the focus on Cancel has scrolled past what is to be read first
  }

  /** Says why the question cannot be confirmed at the moment; null: nothing is in the way. */
  hinder(obstacle) {
    const { obstacle: place } = this.#parts;
    const sentence = obstacle ?? "";
    if (place.textContent !== sentence) place.textContent = sentence; // a live region speaks at every write
    place.classList.toggle("alert", Boolean(obstacle));
    this.#question.obstacle = obstacle;
    this.#allowConfirming();
  }

  /** Shows how `owner`'s operation stands: {sentence, phase, progress}, the latter two where they are known. */
  progress(owner, { sentence, phase, progress }) {
    if (this.#question?.owner !== owner) return;
    const focusMoves = !this.#showsProgress;
    if (this.#parts.sentence.textContent !== sentence) this.#parts.sentence.textContent = sentence;
    if (focusMoves) this.#showStanding(null, 0);
    if (phase) this.#showStanding(phase, progress);
    this.#showProgress(true);
    // Not to Close: a second press of Enter would close what the first one started.
    if (focusMoves) this.#parts.progress.focus();
  }

  /** Closes, if it still is `owner`'s. */
  close(owner) {
    if (this.isOpenFor(owner)) this.#element.close();
  }

  get #showsProgress() {
    return !this.#parts.progress.classList.contains("hidden");
  }

  #allowConfirming() {
    const { toType, obstacle } = this.#question;
    const isTyped = !toType || this.#parts.typed.value.trim() === toType;
    this.#parts.confirm.disabled = Boolean(obstacle) || !isTyped;
  }

  #showStanding(phase, percent) {
    this.#parts.bar.style.width = `${percent}%`;
    this.#parts.bar.setAttribute("aria-valuenow", String(percent));
    const present = this.#text.steps.findIndex(({ phases }) => phases.includes(phase));
    for (const [index, step] of Array.from(this.#parts.steps.children).entries()) {
      step.classList.toggle("hubwarden-step-past", index < present);
      if (index === present) step.setAttribute("aria-current", "step");
      else step.removeAttribute("aria-current");
    }
  }

  #showProgress(running) {
    this.#parts.question.classList.toggle("hidden", running);
    this.#parts.progress.classList.toggle("hidden", !running);
    this.#element.classList.toggle("hubwarden-dialog-running", running);
    this.#parts.confirm.classList.toggle("hidden", running);
    if (running) this.#parts.confirm.disabled = true;
    this.#parts.title.textContent = running ? this.#text.progressTitle : this.#text.title;
    this.#parts.cancel.textContent = running ? words.close : words.cancel;
  }
}

function withText(tag, text) {
  const element = document.createElement(tag);
  element.textContent = text;
  return element;
}
