// A picture as a whole, over the page: with the keyboard, by swiping, and closed by going back.

import { authorPath, postPath } from "/address.js";
import { $, make } from "/elements.js";
import { altOf } from "/card.js";
import { MOST_TRIES, renew } from "/feed.js";
import { state } from "/state.js";
import { say } from "/words.js";

/** How far a finger has to move, in pixels. */
const SWIPE = 48;

let shown = null;
/** How often the picture that is shown has not loaded. */
let failures = 0;

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

/** Closes the picture by going back to the view below it. */
export function leaveBox() {
  // Going back takes a moment, in which a second click must not go further.
  if (!shown) return;
  shown = null;
  history.back();
}

export function start() {
  const box = $("lightbox");
  box.addEventListener("cancel", (event) => {
    event.preventDefault();
    leaveBox();
  });
  // Some browsers close it on a second Escape even so.
  box.addEventListener("close", () => shown && history.state?.box && leaveBox());
  $("lightbox-close").addEventListener("click", leaveBox);
  $("lightbox-before").addEventListener("click", () => step(-1));
  $("lightbox-next").addEventListener("click", () => step(1));
  box.addEventListener("keydown", (event) => {
    const way = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
    if (way) step(way);
  });
  $("lightbox-stage").addEventListener("click", (event) => event.target === $("lightbox-stage") && leaveBox());
  $("lightbox-image").addEventListener("error", () => {
    failures += 1;
    if (shown && failures <= MOST_TRIES) renew($("lightbox-image"), shown);
  });
  swipe($("lightbox-stage"));
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
  failures = 0;
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

function isZoomed() {
  return (window.visualViewport?.scale ?? 1) > 1.05;
}

/** Sideways to the next picture, down to close. With two fingers, the browser zooms; then one finger moves the picture. */
function swipe(stage) {
  let start = null;
  window.visualViewport?.addEventListener("resize", () => stage.classList.toggle("zoomed", isZoomed()));
  stage.addEventListener("pointerdown", (event) => (start = event.isPrimary && event.pointerType !== "mouse" ? event : null));
  stage.addEventListener("pointercancel", () => (start = null));
  stage.addEventListener("pointerup", (event) => {
    if (!start || isZoomed()) return;
    const [x, y] = [event.clientX - start.clientX, event.clientY - start.clientY];
    start = null;
    if (Math.abs(x) > SWIPE && Math.abs(x) > Math.abs(y)) step(x < 0 ? 1 : -1);
    else if (y > 2 * SWIPE) leaveBox();
  });
}
