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

/** Shows the next picture, or the one before; returns whether there is one. */
function step(way) {
  const all = pictures();
  const post = all[all.findIndex((post) => post.id === shown) + way];
  if (!post) return false;
  history.replaceState({ ...history.state, box: post.id }, "");
  show(post);
  return true;
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

/**
 * Sideways to the next picture, down to close; the picture follows the finger. With two fingers, the browser zooms; then one
 * finger moves the picture.
 */
function swipe(stage) {
  const image = $("lightbox-image");
  let start = null;
  const wayTo = (event) => [event.clientX - start.clientX, event.clientY - start.clientY];
  const letGo = ({ slides }) => {
    start = null;
    image.classList.toggle("sliding", slides);
    image.style.translate = "";
  };
  window.visualViewport?.addEventListener("resize", () => stage.classList.toggle("zoomed", isZoomed()));
  stage.addEventListener("pointerdown", (event) => {
    letGo({ slides: false });
    if (event.isPrimary && event.pointerType !== "mouse") start = event;
  });
  stage.addEventListener("pointercancel", () => letGo({ slides: true }));
  stage.addEventListener("pointermove", (event) => {
    if (!start || !event.isPrimary || isZoomed()) return;
    const [x, y] = wayTo(event);
    image.style.translate = Math.abs(x) > Math.abs(y) ? `${x}px 0` : `0 ${Math.max(0, y)}px`;
  });
  stage.addEventListener("pointerup", (event) => {
    if (!start) return;
    const [x, y] = isZoomed() ? [0, 0] : wayTo(event);
    const sideways = Math.abs(x) > SWIPE && Math.abs(x) > Math.abs(y);
    const down = !sideways && y > 2 * SWIPE;
    // Beyond the first and the last picture there is none: it slides back.
    letGo({ slides: !down && !(sideways && step(x < 0 ? 1 : -1)) });
    if (down) leaveBox();
  });
}
