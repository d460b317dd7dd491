// Elements of the document, found and made. Everything from users becomes text or an attribute, never markup.

import { language } from "/words.js";

export const $ = (id) => document.getElementById(id);

export function make(tag, properties, ...children) {
  const element = Object.assign(document.createElement(tag), properties);
  element.append(...children.filter((child) => child !== null && child !== undefined));
  return element;
}

export function icon(name) {
  const svg = document.createElementNS("http://www.w3.org/2000/svg", "svg");
  svg.setAttribute("viewBox", "0 0 24 24");
  svg.setAttribute("aria-hidden", "true");
  const line = document.createElementNS(svg.namespaceURI, "path");
  line.setAttribute("d", ICONS[name]);
  svg.append(line);
  return svg;
}

const ICONS = {
  bin: "M5 7h14M10 11v6M14 11v6M7 7l1 12h8l1-12M9.500 7V4.500h5V7",
  close: "M6 6l12 12M18 6L6 18",
  picture: "M6 5h12a3 3 0 0 1 3 3v8a3 3 0 0 1-3 3H6a3 3 0 0 1-3-3V8a3 3 0 0 1 3-3zM4 17l5-4 3 2 4-4 4 4M8.500 9.500v.1",
  share: "M12 15V4M8 7.500L12 3.500l4 4M6 11H5v9h14v-9h-1",
  words: "M5 6.500h14M5 12h14M5 17.500h8",
};

/** The same user has the same colour everywhere: from sea green to red, since dark yellow looks dirty. */
export function dress(element, user) {
  const sum = [...user].reduce((sum, letter) => (sum * 31 + letter.codePointAt(0)) % 3600, 7);
  // The golden ratio spreads similar names.
  element.style.setProperty("--hue", String(185 + (Math.round(sum * 0.618034 * 200) % 200)));
  return element;
}

export function avatarOf(user, properties = {}) {
  const letter = [...user][0]?.toLocaleUpperCase(language) ?? "";
  return dress(make("span", { className: "avatar", ariaHidden: "true", textContent: letter, ...properties }), user);
}

/** A busy button does nothing but keeps the focus, which a disabled one would lose. */
export function setBusy(button, busy) {
  button.setAttribute("aria-disabled", String(busy));
}

export function isBusy(button) {
  return button.getAttribute("aria-disabled") === "true";
}

/** A button for choosing a file, usable with the keyboard. */
export function fileButton(className, take, ...inside) {
  const input = make("input", { type: "file", accept: "image/*" });
  input.addEventListener("change", () => {
    if (input.files[0]) take(input.files[0]);
    input.value = "";
  });
  return make("label", { className }, input, ...inside);
}
