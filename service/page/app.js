// The page: `render` derives what is shown from `state`, and is called after every change of `state`.
//
// Browser tests rely on these selectors:
//   #enter, #login, #login-form, #login-name    log in by name or token        #logout    log out, in one's own profile
//   #new, #compose, #post-form, #post-title, #post-body, #post-alt, #post-file   write a post, optionally with a picture
//   #posts                              the list, aria-busy while it loads
//   article.post[data-id="<uuid>"]      a post, with .author, .when, h2, .text, .picture img
//     input[type=file]                  in each of the user's posts without a picture
//     .labels a                         the labels, once there are any
//     .share, .describe, .delete        the actions on it
//   .gone[data-id="<uuid>"]             a deleted post, with .undo and .dismiss
//   a.tile[data-id="<uuid>"]            a post in the grid of an author
//   #lightbox                           a picture as a whole
//   #newer                              shows newer posts, once there are any
//   #problem, #retry                    the list could not be loaded      #empty    it has no posts
//   #more                               shows older posts, while there are any
//   #notice                             the result of the last action, for screen readers

import { authorPath } from "/address.js";
import { drawPost, ghosts, lookOf, titleOf } from "/card.js";
import * as composer from "/composer.js";
import { $, avatarOf } from "/elements.js";
import { commitAll } from "/erase.js";
import { load, showNewer, showOlder, watch } from "/feed.js";
import { hashtag } from "/labels.js";
import * as lightbox from "/lightbox.js";
import * as login from "/login.js";
import * as navigation from "/navigation.js";
import { explain } from "/notice.js";
import * as offline from "/offline.js";
import { pictureIn } from "/picture.js";
import * as session from "/session.js";
import { share } from "/share.js";
import { isReady, onChange, PAGE, state } from "/state.js";
import { keepTimes } from "/times.js";
import { attach, resume, stopUploads } from "/upload.js";
import { say, translate } from "/words.js";

/** How many pages are added by scrolling; the rest by the button, so that the foot of the page can be reached. */
const PAGES_BY_SCROLLING = 5;
/** How far below the window older posts are loaded, in pixels. */
const AHEAD = 1200;

/* Drawing */

function render() {
  const { user, view, posts, problem, newer } = state;
  const missing = view.kind === "missing" || state.missing;
  renderNavigation();
  renderHeading(missing);
  // From the beginning where possible: what appears later would move the list.
  $("intro").hidden = Boolean(user) || !session.isVisitor() || view.kind !== "feed" || posts?.length === 0;
  $("problem").hidden = !problem;
  // With posts to read, it is a note rather than an error.
  $("problem").classList.toggle("mild", Boolean(posts));
  const why = problem ? `${explain(problem)}${posts ? ` ${say("stillShown")}` : ""}` : "";
  // Written only if it is another one: it would be read out again.
  if ($("problem-text").textContent !== why) $("problem-text").textContent = why;
  $("newer").hidden = !newer;
  $("newer").textContent = newer ? say("newer", newer.count) : "";
  renderEmpty(missing);
  $("more").hidden = missing || !posts || (posts.length <= state.shown && !state.next);
  $("posts").hidden = missing;
  $("posts").setAttribute("aria-busy", String(!posts && !problem && !missing));
  for (const element of [$("posts"), $("posts").parentElement]) element.classList.toggle("grid", view.kind === "author");
  renderPosts();
}

function renderNavigation() {
  const { view } = state;
  const user = state.user || session.likelyName();
  $("enter").hidden = Boolean(user) || !session.isVisitor();
  $("me").hidden = !user;
  if (user && $("who-name").textContent !== user) {
    $("who-name").textContent = user;
    $("me").href = authorPath(user);
    $("me").querySelector(".avatar").replaceWith(avatarOf(user));
  }
  if (!user) $("who-name").textContent = "";
  mark($("home"), view.kind === "feed");
  mark($("me"), view.kind === "author" && Boolean(user) && session.isName(view.user, user));
}

function mark(link, isHere) {
  if (isHere) link.setAttribute("aria-current", "page");
  else link.removeAttribute("aria-current");
}

/** The heading of the view, and the title of the window. */
function renderHeading(missing) {
  const { user, view, posts } = state;
  const post = view.kind === "post" ? posts?.[0] : null;
  const name = missing ? say("missing") : post ? titleOf(post) : { author: view.user, label: view.label && hashtag(view.label), post: say("posts") }[view.kind];
  document.title = name ? `${name} · Postagram` : "Postagram";
  $("heading").textContent = name ?? say("posts");
  $("heading").classList.toggle("unseen", !["author", "label"].includes(view.kind));
  $("profile").hidden = !["author", "label"].includes(view.kind);
  $("profile").classList.toggle("of-label", view.kind === "label");
  if (view.kind === "author" && $("profile-avatar").dataset.user !== view.user) {
    const avatar = avatarOf(view.user, { id: "profile-avatar" });
    avatar.dataset.user = view.user;
    $("profile-avatar").replaceWith(avatar);
  }
  $("profile-avatar").hidden = view.kind !== "author";
  $("profile-count").textContent = view.kind === "label" ? say("labelMore") : posts ? say("count", posts.length, state.partial || Boolean(state.next)) : "\u00a0";
  $("logout").hidden = !(view.kind === "author" && user && session.isName(view.user, user));
}

function renderEmpty(missing) {
  const { user, view, posts, problem, next } = state;
  $("empty").hidden = !missing && (Boolean(problem) || posts?.length !== 0);
  const mine = view.kind === "author" && user && session.isName(view.user, user);
  const key = missing ? "missing" : view.kind === "label" ? "emptyLabel" : view.kind === "author" ? (mine ? "emptyMine" : "emptyOther") : "emptyAll";
  $("empty-text").textContent = say(key);
  $("empty-more").textContent = key === "emptyLabel" && !next ? "" : say(`${key}More`);
  $("empty-write").hidden = !["emptyAll", "emptyMine"].includes(key);
  $("empty-home").hidden = !["missing", "emptyLabel", "emptyOther"].includes(key);
}

const drawn = new Map(); // post id → { element, look }
let drawnFor = null; // the view of these elements

/** Replaces only posts that have changed, so that focus, scroll position and loaded pictures stay. */
function renderPosts() {
  const list = $("posts");
  if (!state.posts || drawnFor !== state.view) {
    drawn.clear();
    list.replaceChildren(...(state.posts || state.problem ? [] : ghosts()));
    drawnFor = state.view;
    if (!state.posts) return;
  }
  for (const element of [...list.children]) if (!element.dataset.id) element.remove();
  const wanted = state.posts.slice(0, state.shown).filter((post) => state.view.kind !== "author" || !state.going.has(post.id));
  const ids = new Set(wanted.map((post) => post.id));
  for (const [id, { element }] of drawn) {
    if (ids.has(id)) continue;
    element.remove();
    drawn.delete(id);
  }
  let last = null;
  wanted.forEach((post, place) => {
    const element = elementOf(post, place);
    const next = last ? last.nextElementSibling : list.firstElementChild;
    if (next !== element) list.insertBefore(element, next);
    last = element;
  });
}

function elementOf(post, place) {
  const look = lookOf(post);
  const known = drawn.get(post.id);
  if (known?.look === look) return known.element;
  const element = drawPost(post, place < 2);
  if (known) {
    const focused = known.element.contains(document.activeElement) ? document.activeElement : null;
    // What is being written stays.
    const form = known.element.querySelector(".describing");
    if (form && element.querySelector(".describe")) element.querySelector(".post-actions").after(form);
    known.element.replaceWith(element);
    if (focused) counterpart(element, focused).focus({ preventScroll: true });
  }
  element.classList.toggle("fresh", !known && post.fresh === true);
  drawn.set(post.id, { element, look });
  return element;
}

/** The element of a replaced post that corresponds to the one that had the focus. */
function counterpart(element, focused) {
  if (element.contains(focused)) return focused;
  const same = ["delete", "describe", "share", "unfold", "picture"].find((name) => focused.classList.contains(name));
  return element.querySelector(same ? `.${same}` : focused.closest(".describing") ? ".describe" : ".state button, .drop input") ?? element;
}

/* Actions */

function logOut() {
  commitAll();
  session.logOut();
  state.user = "";
  stopUploads();
  state.troubles.clear();
  composer.clear();
  navigation.go("/");
  $("enter").focus();
}

function loadAgain() {
  Object.assign(state, { problem: null });
  render();
  load();
  // The focused button is gone.
  $("posts").focus({ preventScroll: true });
}

/** Adds a pasted picture to the focused post, if it can have one, or else to a new post. */
function paste(event) {
  const file = pictureIn(event.clipboardData);
  if (!file || !state.user || $("login").open || $("lightbox").open) return;
  event.preventDefault();
  const card = document.activeElement?.closest("article.post");
  if (card?.querySelector("input[type=file]") && !$("compose").open) attach(card.dataset.id, file);
  else composer.compose({ file });
}

/** Shows older posts before the end is reached. */
function addByScrolling() {
  // Entries are not looked at: they may be of a moment ago, and a busy browser delivers several at a time.
  const isNear = () => $("end").getBoundingClientRect().top < innerHeight + AHEAD;
  const near = new IntersectionObserver(() => {
    if (isNear() && !$("more").hidden && state.shown < PAGES_BY_SCROLLING * PAGE) showOlder({ focus: false });
  }, { rootMargin: `${AHEAD}px` });
  // Once observed again, the end is reported if it is still near: a page of posts may be too short to move it away.
  const observe = () => {
    near.unobserve($("end"));
    near.observe($("end"));
  };
  onChange(() => {
    render();
    // What could not be loaded is tried again when the user scrolls, or asks for it.
    if (!$("more-problem").textContent) observe();
  });
  observe();
}

/* Start */

function on(id, event, act) {
  $(id).addEventListener(event, act);
}

async function start() {
  translate(document);
  navigation.start();
  login.start();
  lightbox.start();
  composer.start();
  onChange(render);
  on("enter", "click", () => login.askToLogIn());
  on("intro-enter", "click", () => login.askToLogIn());
  on("logout", "click", logOut);
  for (const id of ["new", "empty-write"]) on(id, "click", () => composer.compose());
  on("profile-share", "click", () => share(location.pathname, $("heading").textContent, $("profile-share")));
  on("newer", "click", showNewer);
  on("retry", "click", loadAgain);
  on("more", "click", () => showOlder());
  document.addEventListener("paste", paste);
  addEventListener("pagehide", commitAll);
  // On phones, a hidden page may end without another event.
  document.addEventListener("visibilitychange", () => document.visibilityState === "hidden" && commitAll());
  // A file dropped outside a drop zone must not replace the page.
  for (const event of ["dragover", "drop"]) addEventListener(event, (drag) => drag.preventDefault());
  keepTimes($("posts"));
  offline.start();
  resume();
  render();
  load();
  state.user = await session.begin();
  isReady();
  if (session.byToken()) login.askForToken();
  render();
  watch();
  addByScrolling();
}

start();
