// Builds elements and updates the page. Text is always a text node: no text of a client or a file becomes markup.

/** An element: `properties` are attributes; children are elements, texts, or nothing. */
export function el(tag, properties = {}, ...children) {
  const [name, ...classes] = tag.split(".");
  const element = document.createElement(name);
  if (classes.length > 0) element.className = classes.join(" ");
  for (const [attribute, value] of Object.entries(properties)) {
    if (value !== null && value !== undefined && value !== false) element.setAttribute(attribute, value);
  }
  element.append(...children.flat(Infinity).filter((child) => child !== null && child !== undefined && child !== ""));
  return element;
}

/** Makes the children of `target` equal to `fresh`; equal children stay, so that selections and focus survive. */
export function show(target, ...fresh) {
  const holder = document.createElement("div");
  holder.append(...fresh.flat(Infinity).filter((child) => child !== null && child !== undefined));
  patch(target, holder);
}

function patch(old, fresh) {
  const [before, after] = [[...old.childNodes], [...fresh.childNodes]];
  after.forEach((child, at) => {
    const known = before[at];
    if (known === undefined) old.append(child);
    else if (known.nodeName !== child.nodeName) known.replaceWith(child);
    else if (known.nodeType === Node.TEXT_NODE) {
      if (known.data !== child.data) known.data = child.data;
    } else {
      for (const { name } of [...known.attributes]) if (!child.hasAttribute(name)) known.removeAttribute(name);
      for (const { name, value } of [...child.attributes]) {
        if (known.getAttribute(name) !== value) known.setAttribute(name, value);
      }
      patch(known, child);
    }
  });
  before.slice(after.length).forEach((child) => child.remove());
}
