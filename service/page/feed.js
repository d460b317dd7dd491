// The list of posts of a view: loaded in pages, refreshed, and notified of newer posts.

import * as api from "/api.js";
import { $, isBusy, setBusy } from "/elements.js";
import { announce, explain } from "/notice.js";
import { isKeeping } from "/offline.js";
import { changed, PAGE, state } from "/state.js";
import { timeOf } from "/times.js";
import { finish, lastLookedAt } from "/upload.js";
import { say } from "/words.js";

/** The most posts that the service returns at a time. */
const LARGEST = 1000;
/** Milliseconds between checks for newer posts, while the page is visible. */
const CHECK_MS = 30_000;
/** The most pages that are read to fill one of a label: few posts may have it. */
const PAGES_OF_LABEL = 5;

/** A post as the page uses it: with its bare id and its time. */
export function read(post) {
  const id = post.id.split("#")[1];
  return { ...post, id, time: timeOf(id), labels: post.labels ?? null };
}

const removed = new Set();

/** The posts that any view has loaded, by id: what can still be read without the service. */
const loaded = new Map();
const MOST_LOADED = 2000;

function keep(posts) {
  for (const post of posts) {
    loaded.delete(post.id);
    loaded.set(post.id, post);
  }
  for (const id of loaded.keys()) {
    if (loaded.size <= MOST_LOADED) return;
    loaded.delete(id);
  }
}

/** Leaves a deleted post out of every further answer: older ones may still have it. */
export function forget(id) {
  removed.add(id);
  loaded.delete(id);
  if (state.posts) state.posts = state.posts.filter((post) => post.id !== id);
}

/** The part of all posts that the view shows. */
function query({ kind, user, label } = state.view) {
  return kind === "author" ? { user } : kind === "label" ? { label } : {};
}

async function pageOf(view, limit, cursor) {
  if (view.kind === "post") return api.read(view.user, view.id);
  const first = await api.list(query(view), limit, cursor);
  let { posts, next } = first;
  for (let pages = 1; view.kind === "label" && next && posts.length < limit && pages < PAGES_OF_LABEL; pages += 1) {
    const more = await api.list(query(view), limit, next);
    [posts, next] = [[...posts, ...more.posts], more.next];
  }
  return { ...first, posts, next };
}

let newest = 0;

/** Makes answers to earlier requests obsolete. */
export function supersede() {
  newest += 1;
}

/**
 * Loads the list; drops the answer if a later request was made meanwhile. If it fails, posts that are shown stay, or else
 * those that other views have loaded are shown.
 */
export async function load() {
  const { view } = state;
  if (view.kind === "missing") return;
  const turn = ++newest;
  try {
    const part = await pageOf(view, Math.min(LARGEST, state.shown));
    if (turn !== newest) return;
    state.problem = part.problem ?? null;
    // An older answer adds nothing to a visible list.
    if (!state.problem || !state.posts || state.partial) accept(part);
    if (!state.problem) tryPicturesAgain();
  } catch (problem) {
    if (turn !== newest) return;
    if (view.kind === "post" && problem.status === 404) Object.assign(state, { posts: [], missing: true });
    else {
      if (!state.posts) await recall();
      if (turn !== newest) return;
      state.problem = problem;
      showLoaded(view);
    }
  }
  changed();
}

/** Adds what an earlier visit has loaded of all posts, if it is kept. */
async function recall() {
  if (loaded.size || !isKeeping()) return;
  const { posts } = await api.list({}, PAGE).catch(() => ({ posts: [] }));
  keep(posts.map(read));
}

/** Shows what other views have loaded of this one, if there is any. */
function showLoaded({ kind, user, label, id }) {
  if (state.posts) return;
  const isHere = {
    feed: () => true,
    author: (post) => post.user === user,
    label: (post) => post.labels?.some((other) => other.toLowerCase() === label),
    post: (post) => post.id === id,
  }[kind];
  const posts = [...loaded.values()].filter(isHere).sort((a, b) => (a.id < b.id ? 1 : -1));
  if (posts.length) Object.assign(state, { posts, next: null, partial: true });
}

function accept(answer) {
  const { posts, next } = answer;
  api.remember(answer);
  const known = state.posts && new Set(state.posts.map((post) => post.id));
  const part = posts.map(read).filter((post) => !removed.has(post.id));
  keep(part);
  // Posts shown beyond this page stay, unless posts between both are missing.
  const [shown, last] = [(!state.partial && state.posts) || [], part.at(-1)?.id];
  state.partial = false;
  const joins = !last || last <= (shown[0]?.id ?? "");
  const older = next && joins ? shown.filter((post) => !last || post.id < last) : [];
  if (!older.length) state.next = next;
  state.posts = [...part, ...older];
  state.newer = null;
  for (const post of part) {
    post.fresh = known ? !known.has(post.id) : false;
    const upload = state.uploads.get(post.id);
    const looked = lastLookedAt(post);
    if (!upload || !looked || looked === upload.before) continue;
    // One that arrives while another is being sent is the other's predecessor.
    if (upload.phase === "sending") upload.before = looked;
    else finish(post, upload);
  }
}

/** Shows one more page, which may have to be loaded; returns whether it could. */
export async function showOlder({ focus = true } = {}) {
  const { view, shown: first } = state;
  if (isBusy($("more")) || !state.posts) return false;
  $("more-problem").textContent = "";
  if (state.next && state.posts.length < first + PAGE) {
    setBusy($("more"), true);
    try {
      const { posts, next } = await pageOf(view, PAGE, state.next);
      if (view !== state.view || !state.posts) return false;
      const last = state.posts.at(-1)?.id ?? "~";
      const older = posts.map(read).filter((post) => post.id < last && !removed.has(post.id));
      keep(older);
      state.posts.push(...older);
      state.next = next;
    } catch (problem) {
      if (view === state.view) $("more-problem").textContent = explain(problem);
      return false;
    } finally {
      setBusy($("more"), false);
      // The view that has taken its place could not add posts meanwhile.
      if (view !== state.view) changed();
    }
  }
  state.shown += PAGE;
  changed();
  if (!focus) return true;
  // The button has moved or is gone: move the keyboard focus to the first new post.
  const next = state.posts[first];
  if (next) document.querySelector(`#posts [data-id="${CSS.escape(next.id)}"]`)?.focus({ preventScroll: true });
  return true;
}

/* Newer posts */

let timer = null;

/** Checks for newer posts from now on: now and then while the page is visible, and when it becomes visible. */
export function watch() {
  document.addEventListener("visibilitychange", () => document.visibilityState === "visible" && check());
  addEventListener("online", check);
  schedule();
}

function schedule() {
  clearTimeout(timer);
  timer = setTimeout(check, CHECK_MS);
}

/** Costs little if nothing has changed: the answer is then empty. A list that could not be loaded is tried again. */
async function check() {
  schedule();
  const { view, posts, problem } = state;
  if (document.visibilityState !== "visible") return;
  if (problem) return load();
  if (!posts || ["post", "missing"].includes(view.kind)) return;
  const turn = newest;
  const part = await api.listIfChanged(query(), PAGE).catch(() => undefined);
  if (part === undefined || part?.problem) return;
  if (tryPicturesAgain()) changed();
  if (!part || turn !== newest || view !== state.view) return;
  const top = state.posts[0]?.id ?? "";
  const count = part.posts.map(read).filter((post) => post.id > top && !removed.has(post.id)).length;
  if (count && top) {
    state.newer = { ...part, count };
    api.remember(part);
    announce(say("newer", count));
  } else accept(part);
  changed();
}

/** Shows the newer posts that were found. */
export function showNewer() {
  if (!state.newer) return;
  accept(state.newer);
  changed();
  scrollTo({ top: 0 });
  $("posts").firstElementChild?.focus({ preventScroll: true });
}

/* Pictures */

/** How many URLs are tried for a picture that does not load: the one that a later list has had, and a new one. */
export const MOST_TRIES = 2;

/** Posts whose pictures could not be loaded because the service cannot be reached: they may not be broken. */
const unreached = new Set();

/** Has them drawn again; returns whether there are any. */
function tryPicturesAgain() {
  const ids = [...unreached];
  unreached.clear();
  for (const id of ids) state.tries.set(id, (state.tries.get(id) ?? 0) + 1);
  return ids.length > 0;
}

/**
 * Loads a post's image from a newer URL: on a page that has been open for long, URLs expire. Returns whether there is
 * one; otherwise the picture is broken, or is loaded again once the service can be reached.
 */
export async function renew(image, id) {
  const failed = image.getAttribute("src");
  const known = state.posts?.find((post) => post.id === id)?.image;
  const urls = known && known !== failed ? new Map([[id, known]]) : await renewedPictures();
  if (!urls) unreached.add(id);
  const url = urls?.get(id);
  if (!url || url === failed) return false;
  // It may show another picture by now.
  if (image.getAttribute("src") === failed) image.src = url;
  return true;
}

let renewal = null; // of the pictures of a view: { view, urls }

/**
 * Returns the new URLs of the view's pictures by post; null if the service cannot be reached. They expire at about the
 * same time, and share a list.
 */
function renewedPictures() {
  const { view } = state;
  if (renewal?.view === view) return renewal.urls;
  const found = pageOf(view, Math.min(LARGEST, state.shown)).catch((problem) => ({ posts: [], problem }));
  const urls = found.then(({ posts, problem }) => {
    if (problem) return null;
    const urls = new Map(posts.map(read).map((post) => [post.id, post.image]));
    if (view === state.view) for (const post of state.posts ?? []) post.image = urls.get(post.id) ?? post.image;
    return urls;
  });
  const own = { view, urls };
  renewal = own;
  urls.finally(() => setTimeout(() => renewal === own && (renewal = null), 1000));
  return urls;
}
