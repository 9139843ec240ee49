// The line in the page that says what is under way, how it ended, and what can be done next.
//
// Always: one notice at a time, the latest; a live region, so that a screen reader says it; text only, whatever the Hub sent.
// Never: an alert(), and never a failure without a next step.

const LOOKS = { progress: "alert-info", success: "alert-success", failure: "alert-danger" };

/** Wraps the element that holds the notice. */
export class Notice {
  /** What the present notice is about, where it said so. */
  topic = null;
  #element;

  constructor(element) {
    this.#element = element;
  }

  /**
   * Shows `sentences`, each its own paragraph, and `actions`: {label, run} is a button, {label, href} a link. What is under
   * way can have a bar: `progress` is its percentage.
   *
   * @param {{kind: "progress"|"success"|"failure", sentences: string[], actions?: object[], progress?: number, topic?: string}} notice
   */
  show({ kind, sentences, actions = [], progress, topic = null }) {
    this.topic = topic;
    const box = document.createElement("div");
    box.className = `alert ${LOOKS[kind]} hubwarden-notice`;
    if (kind === "failure") box.setAttribute("role", "alert");
    box.append(...sentences.map(paragraph), ...actions.map(control));
    if (kind === "progress") box.firstElementChild.prepend(spinner());
    if (progress !== undefined) box.append(bar(progress, sentences[0]));
    this.#element.replaceChildren(box);
  }

  get isEmpty() {
    return this.#element.childElementCount === 0;
  }

  clear() {
    this.topic = null;
    this.#element.replaceChildren();
  }

  focus() {
    this.#element.focus();
  }
}

function paragraph(sentence) {
  const element = document.createElement("p");
  element.textContent = sentence;
  return element;
}

function control({ label, run, href }) {
  const element = document.createElement(href ? "a" : "button");
  element.className = "btn btn-default btn-secondary";
  element.textContent = label;
  if (href) {
    element.href = href;
  } else {
    element.type = "button";
    element.addEventListener("click", run);
  }
  return element;
}

function bar(percent, label) {
  const outer = document.createElement("div");
  outer.className = "progress";
  const inner = document.createElement("div");
  inner.className = "progress-bar";
  inner.style.width = `${percent}%`;
  const attributes = { role: "progressbar", "aria-label": label, "aria-valuemin": 0, "aria-valuemax": 100, "aria-valuenow": percent };
  for (const [name, value] of Object.entries(attributes)) inner.setAttribute(name, value);
  outer.append(inner);
  return outer;
}

function spinner() {
  const element = document.createElement("span");
  element.className = "hubwarden-spinner";
  element.setAttribute("aria-hidden", "true");
  return element;
}
