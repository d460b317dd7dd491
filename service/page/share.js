// Shares the address of a post or an author: by the device's own menu, or else by the clipboard.

import { make } from "/elements.js";
import { announce } from "/notice.js";
import { say } from "/words.js";

/** Shares a path of this site; the button shows that its address was copied. */
export async function share(path, title, button) {
  const url = new URL(path, location.origin).href;
  if (navigator.share) {
    // Leaving the menu is not an error.
    return navigator.share({ title, url }).catch((error) => error.name !== "AbortError" && copy(url, button));
  }
  return copy(url, button);
}

async function copy(url, button) {
  const copied = await navigator.clipboard?.writeText(url).then(() => true, () => false);
  const done = copied || copyBySelection(url);
  showResult(button.querySelector("span") ?? button, say(done ? "copied" : "notCopied"));
}

/** Elements that show a result → their own text, and the timer that restores it. */
const results = new WeakMap();

function showResult(element, text) {
  const { own = element.textContent, timer } = results.get(element) ?? {};
  clearTimeout(timer);
  element.textContent = text;
  announce(text);
  const restore = () => {
    results.delete(element);
    element.textContent = own;
  };
  results.set(element, { own, timer: setTimeout(restore, 2500) });
}

/** The clipboard's own API exists only at addresses with HTTPS. */
function copyBySelection(text) {
  const field = make("textarea", { value: text, className: "unseen", readOnly: true });
  const focused = document.activeElement;
  (document.querySelector("dialog[open]") ?? document.body).append(field);
  field.select();
  const done = document.execCommand("copy");
  field.remove();
  focused?.focus({ preventScroll: true });
  return done;
}
