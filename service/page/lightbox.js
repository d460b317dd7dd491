// A picture as a whole, over the page: with the keyboard, by swiping, and closed by going back.

import { authorPath, postPath } from "/address.js";
import { $, make } from "/elements.js";
import { altOf } from "/card.js";
import { state } from "/state.js";
import { say } from "/words.js";

/** How far a finger has to move, in pixels. */
const SWIPE = 48;

let shown = null;

export function openBox(id) {
  history.pushState({ ...history.state, box: id }, "");
  syncBox();
}

/** Shows the picture that the place in the history names, or none. */
export function syncBox() {
  const post = pictures().find((post) => post.id === history.state?.box);
  if (!post) return closeBox();
  show(post);
}

export function closeBox() {
  shown = null;
  if ($("lightbox").open) $("lightbox").close();
}

export function start() {
  const box = $("lightbox");
  // Going back takes a moment, in which a second click must not go further.
  const leave = () => {
    if (!shown) return;
    shown = null;
    history.back();
  };
  box.addEventListener("cancel", (event) => {
    event.preventDefault();
    leave();
  });
  // Some browsers close it on a second Escape even so.
  box.addEventListener("close", () => shown && history.state?.box && leave());
  $("lightbox-close").addEventListener("click", leave);
  $("lightbox-before").addEventListener("click", () => step(-1));
  $("lightbox-next").addEventListener("click", () => step(1));
  box.addEventListener("keydown", (event) => {
    const way = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
    if (way) step(way);
  });
  $("lightbox-stage").addEventListener("click", (event) => event.target === $("lightbox-stage") && leave());
  swipe($("lightbox-stage"), leave);
}

function pictures() {
  return (state.posts ?? []).slice(0, state.shown).filter((post) => post.image && !state.going.has(post.id));
}

function step(way) {
  const all = pictures();
  const post = all[all.findIndex((post) => post.id === shown) + way];
  if (!post) return;
  history.replaceState({ ...history.state, box: post.id }, "");
  show(post);
}

function show(post) {
  const all = pictures();
  const place = all.indexOf(post);
  shown = post.id;
  const image = $("lightbox-image");
  Object.assign(image, { src: post.image, alt: altOf(post) });
  const author = make("a", { className: "author", href: authorPath(post.user), textContent: post.user, dir: "auto" });
  const title = post.title ? make("a", { href: postPath(post), textContent: post.title, dir: "auto" }) : null;
  const words = post.alt ? make("p", { textContent: post.alt, dir: "auto" }) : null;
  $("lightbox-caption").replaceChildren(...[author, title, words].filter(Boolean));
  $("lightbox-before").hidden = place <= 0;
  $("lightbox-next").hidden = place === all.length - 1;
  $("lightbox").setAttribute("aria-label", say("pictureOf", post.title || post.user));
  if (!$("lightbox").open) $("lightbox").showModal();
  else if (document.activeElement?.hidden || document.activeElement === document.body) $("lightbox-close").focus();
  // The neighbours are likely to be wanted next.
  for (const other of [all[place - 1], all[place + 1]]) if (other) new Image().src = other.image;
}

/** Sideways to the next picture, down to close. With two fingers, the browser zooms. */
function swipe(stage, leave) {
  let start = null;
  stage.addEventListener("pointerdown", (event) => (start = event.isPrimary && event.pointerType !== "mouse" ? event : null));
  stage.addEventListener("pointercancel", () => (start = null));
  stage.addEventListener("pointerup", (event) => {
    if (!start || (window.visualViewport?.scale ?? 1) > 1.05) return;
    const [x, y] = [event.clientX - start.clientX, event.clientY - start.clientY];
    start = null;
    if (Math.abs(x) > SWIPE && Math.abs(x) > Math.abs(y)) step(x < 0 ? 1 : -1);
    else if (y > 2 * SWIPE) leave();
  });
}
