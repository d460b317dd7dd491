// Addresses and history: links change the view without loading the page again, and back and forward restore lists where
// they were.

import { viewAt } from "/address.js";
import { load, supersede } from "/feed.js";
import { closeBox, leaveBox, syncBox } from "/lightbox.js";
import { changed, PAGE, state } from "/state.js";
import { $ } from "/elements.js";

/** The lists of the views left last, by the number of their place in the history. */
const kept = new Map();
const MOST_KEPT = 20;
/** A restored place is settled after as many frames without a change, and given up after as many frames. */
const [STEADY_FRAMES, MOST_FRAMES] = [5, 120];
let place = 0;
let path = location.pathname;

/** Shows the view at a path. */
export function go(to, { replace = false } = {}) {
  if (to === path && !replace) {
    leaveBox();
    scrollTo({ top: 0 });
    return load();
  }
  const shown = state.posts?.find((post) => to.endsWith(`/${post.id}`));
  if (!replace) {
    keep();
    place += 1;
  }
  // An open picture is a place of its own in the history, which the new view takes.
  const how = replace || history.state?.box ? "replaceState" : "pushState";
  closeBox();
  history[how]({ place }, "", to);
  enter(shown && { posts: [shown], next: null, shown: PAGE });
  scrollTo({ top: 0, behavior: "instant" });
  $("heading").focus({ preventScroll: true });
}

export function start() {
  history.scrollRestoration = "manual";
  place = history.state?.place ?? 0;
  // A picture that was open when the page was reloaded is closed.
  history.replaceState({ place }, "");
  state.view = viewAt(path);
  addEventListener("popstate", arrive);
  document.addEventListener("click", follow);
}

/** Back or forward: to another view, or from an open picture to the view below it. */
function arrive() {
  // A link within the page, such as the one that skips to the posts.
  if (!history.state) return history.replaceState({ place }, "");
  if (location.pathname === path && (history.state.place ?? 0) === place) return syncBox();
  closeBox();
  keep();
  place = history.state.place ?? 0;
  const memory = kept.get(place);
  enter(memory?.path === location.pathname ? memory : null);
  restoreScroll(memory?.path === location.pathname ? memory.top : null);
}

function enter(memory) {
  path = location.pathname;
  supersede();
  const { posts = null, next = null, shown = PAGE } = memory ?? {};
  Object.assign(state, { view: viewAt(path), posts, next, shown, problem: null, partial: false, newer: null, missing: false });
  $("more-problem").textContent = "";
  changed();
  load();
}

function keep() {
  kept.set(place, { path, posts: state.partial ? null : state.posts, next: state.next, shown: state.shown, top: topPost() });
  if (kept.size > MOST_KEPT) kept.delete(kept.keys().next().value);
}

/** The first visible post and its distance from the top: heights of posts that were never drawn are estimates. */
function topPost() {
  for (const element of $("posts").children) {
    const { top, bottom } = element.getBoundingClientRect();
    if (bottom > 80 && element.dataset.id) return scrollY > 0 ? { id: element.dataset.id, top } : null;
  }
  return null;
}

/** Puts a post where it was, again until it stays there: what is above is drawn frame by frame, and changes in height. */
function restoreScroll(wanted) {
  const find = () => wanted && $("posts").querySelector(`[data-id="${CSS.escape(wanted.id)}"]`);
  if (!find()) return scrollTo({ top: 0, behavior: "instant" });
  const reader = new AbortController();
  const takeOver = () => reader.abort();
  for (const input of ["wheel", "touchmove", "pointerdown", "keydown", "popstate", "click"]) {
    addEventListener(input, takeOver, { signal: reader.signal, passive: true });
  }
  let [steady, frames] = [0, 0];
  const settle = () => {
    const element = find();
    if (!element || reader.signal.aborted) return takeOver();
    const distance = element.getBoundingClientRect().top - wanted.top;
    steady = Math.abs(distance) < 1 ? steady + 1 : 0;
    scrollBy({ top: distance, behavior: "instant" });
    if (steady === STEADY_FRAMES || ++frames === MOST_FRAMES) return takeOver();
    requestAnimationFrame(settle);
  };
  settle();
}

/** Follows a link to one of our views; leaves all others, and those for a new tab, to the browser. */
function follow(event) {
  const link = event.target.closest?.("a[href]");
  const plain = event.button === 0 && !event.metaKey && !event.ctrlKey && !event.shiftKey && !event.altKey;
  if (!link || !plain || link.target || link.origin !== location.origin || link.hash) return;
  if (viewAt(link.pathname).kind === "missing") return;
  event.preventDefault();
  go(link.pathname);
}
