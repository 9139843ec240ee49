// Makes elements. Always: text is text, whatever the Hub sent; never HTML from a string.

/** An element with properties, attributes (those with a dash, and `role`) and children. */
export function element(tag, properties = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(properties)) {
    if (name.includes("-") || name === "role") made.setAttribute(name, value);
    else made[name] = value;
  }
  made.append(...children);
  return made;
}

/** A button in the Hub's style. */
export function button(label, accessibleLabel, run, style = "btn-default btn-secondary") {
  const made = element("button", { type: "button", className: `btn btn-sm ${style}`, textContent: label });
  if (accessibleLabel) made.setAttribute("aria-label", accessibleLabel);
  made.addEventListener("click", run);
  return made;
}

/** Writes `text` only if it is another one: a live region speaks at every write. */
export function write(where, text) {
  if (where.textContent !== text) where.textContent = text;
}
