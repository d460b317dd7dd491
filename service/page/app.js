// The page: `render` derives what is shown from `state`, and is called after every change of `state`.
//
// Browser tests rely on these selectors:
//   #login-form, #login-name            log in by name or token   #logout         log out
//   #post-form, #post-title, #post-body, #post-file             write a post, optionally with a picture
//   #show-all, #show-mine               which posts             #posts            the list, aria-busy while it loads
//   article.post[data-id="<uuid>"]      a post, with .author, h3, .text, .picture img
//     input[type=file]                  in each of the user's posts without a picture
//     .labels li                        the labels, once there are any
//     button.delete                     opens #confirm: #confirm-delete deletes, #cancel-delete does not
//   #problem, #retry                    the list could not be loaded      #empty    it has no posts
//   #more                               shows older posts, while there are any
//   #notice                             the result of the last action

import * as api from "/api.js";
import { pictureIn, prepare } from "/picture.js";
import * as session from "/session.js";
import { has, language, say, translate } from "/words.js";

const $ = (id) => document.getElementById(id);
/** Posts requested and shown at a time. */
const PAGE = 40;
/** The most posts that the service returns at a time. */
const LARGEST = 1000;
/** Seconds between checks for labels, until they stop: usually the second one finds them. */
const LOOKS = [1, 1, 1.5, 2, 3, 4, 6, 8, 10, 12, 15, 20];

const state = {
  user: "",
  view: "all", // or "mine"
  posts: null, // the newest first; null until loaded
  next: null, // the cursor of the older posts; null if there are none
  problem: null,
  shown: PAGE,
  // post id → { phase: sending | looking | late | failed, percent, preview, file, before }; for a picture that was sent
  // before the page was reloaded, only { phase: looking | late, before }
  uploads: new Map(),
  going: new Set(), // ids of posts that are being deleted
};

/* Drawing */

function render() {
  const { user, view, posts, problem } = state;
  $("login").hidden = Boolean(user) || !session.hasBegun();
  $("compose").hidden = $("who").hidden = $("views").hidden = !user;
  $("who-name").textContent = user;
  dress($("who-avatar"), user);
  $("show-all").setAttribute("aria-pressed", String(view === "all"));
  $("show-mine").setAttribute("aria-pressed", String(view === "mine"));
  $("problem").hidden = !problem;
  $("problem-text").textContent = problem ? explain(problem) : "";
  $("empty").hidden = Boolean(problem) || posts?.length !== 0;
  $("empty-text").textContent = say(view === "mine" ? "emptyMine" : "emptyAll");
  $("more").hidden = !posts || (posts.length <= state.shown && !state.next);
  $("posts").setAttribute("aria-busy", String(!posts && !problem));
  renderPosts();
}

const cards = new Map(); // post id → { element, look }

/** Replaces only cards that have changed, so that focus, scroll position and loaded pictures stay. */
function renderPosts() {
  const list = $("posts");
  if (!state.posts) {
    cards.clear();
    list.replaceChildren(...(state.problem ? [] : [ghost(), ghost()]));
    return;
  }
  for (const element of [...list.children]) if (!element.dataset.id) element.remove();
  const wanted = state.posts.slice(0, state.shown);
  const ids = new Set(wanted.map((post) => post.id));
  for (const [id, card] of cards) {
    if (ids.has(id)) continue;
    card.element.remove();
    cards.delete(id);
  }
  wanted.forEach((post, place) => {
    const card = cardOf(post);
    if (list.children[place] !== card) list.insertBefore(card, list.children[place] ?? null);
  });
}

function cardOf(post) {
  const mine = Boolean(state.user) && session.isName(post.user, state.user);
  const upload = mine ? state.uploads.get(post.id) : undefined;
  const look = JSON.stringify([post.title, post.body, picturePath(post), post.labels, post.reason, mine, upload?.phase, upload?.preview]);
  const known = cards.get(post.id);
  if (known?.look === look) {
    known.element.classList.toggle("going", state.going.has(post.id));
    if (upload) showPercent(known.element, upload);
    return known.element;
  }
  const element = drawCard(post, mine, upload);
  if (known) {
    const focused = known.element.contains(document.activeElement) ? document.activeElement : null;
    known.element.replaceWith(element);
    if (focused) counterpart(element, focused).focus({ preventScroll: true });
  }
  element.classList.toggle("fresh", !known && post.fresh === true);
  cards.set(post.id, { element, look });
  return element;
}

/** The element of a replaced card that corresponds to the one that had the focus. */
function counterpart(card, focused) {
  const same = ["delete", "unfold"].find((name) => focused.classList.contains(name));
  return card.querySelector(same ? `.${same}` : ".state button, .drop input") ?? card;
}

/** The query of a signed URL changes from time to time; only another path is another picture. */
function picturePath(post) {
  return post.image?.split("?")[0];
}

/** The picture analysed last, even if it was then removed. */
function lastLookedAt(post) {
  return picturePath(post) ?? post.removed;
}

function drawCard(post, mine, upload) {
  const title = post.title || say("untitled");
  const heading = make("h3", { id: `t-${post.id}`, textContent: title, dir: "auto" });
  const words = make("div", { className: "words" }, heading);
  if (post.body) words.append(...drawText(post.body));
  words.append(...drawLabels(post));
  const wanting = mine && (!post.image || post.reason);
  if (wanting && !upload) words.append(drawDrop(post));
  const article = make("article", { className: "post card" }, drawHeader(post, mine, title));
  const picture = upload ? [drawUpload(post, title, upload)] : post.image ? [drawPicture(post, title)] : [];
  article.append(...picture, words);
  article.dataset.id = post.id;
  article.setAttribute("aria-labelledby", heading.id);
  article.tabIndex = -1;
  if (wanting) acceptDrops(article, (file) => attach(post.id, file));
  return article;
}

/** Folds a text that is too long. */
function drawText(body) {
  const text = make("p", { className: "text", textContent: body, dir: "auto" });
  if (body.length <= 600 && body.split("\n").length <= 9) return [text];
  const button = make("button", { className: "quiet unfold", type: "button", textContent: say("unfold"), ariaExpanded: "false" });
  text.classList.add("folded");
  button.addEventListener("click", () => {
    const folded = text.classList.toggle("folded");
    button.textContent = say(folded ? "unfold" : "fold");
    button.ariaExpanded = String(!folded);
  });
  return [text, button];
}

function drawHeader(post, mine, title) {
  const avatar = make("span", { className: "avatar", ariaHidden: "true" });
  dress(avatar, post.user);
  const by = make("div", { className: "by" }, make("span", { className: "author", textContent: post.user, dir: "auto" }));
  if (post.time) by.append(make("time", { dateTime: post.time.toISOString(), title: post.time.toLocaleString(language), textContent: ago(post.time) }));
  const header = make("header", {}, avatar, by);
  if (mine) {
    const button = make("button", { className: "delete round", type: "button", ariaLabel: say("deletePost", title), title: say("delete") }, icon("M5 7h14M10 11v6M14 11v6M7 7l1 12h8l1-12M9.500 7V4.500h5V7"));
    button.addEventListener("click", () => askToDelete(post, title));
    header.append(button);
  }
  return header;
}

function drawPicture(post, title) {
  const alt = post.labels?.length ? say("labelled", post.labels.join(", ")) : say("pictureOf", title);
  const image = make("img", { alt, loading: "lazy", decoding: "async", src: post.image });
  const figure = make("figure", { className: "picture" }, image);
  image.addEventListener("error", () => renewPicture(post.id, figure, image), { once: true });
  return figure;
}

/** A picture in progress, with its status. After a reload of the page it has no preview. */
function drawUpload(post, title, upload) {
  const preview = upload.preview ? make("img", { alt: say("pictureOf", title), src: upload.preview }) : pictureIcon();
  return make("figure", { className: "picture sending" }, preview, drawState(post, upload));
}

function drawState(post, upload) {
  const box = make("div", { className: "state" }, make("span", { className: "text-of-state", textContent: say(upload.phase, upload.percent) }));
  if (upload.phase === "sending") {
    box.append(make("progress", { max: 100, value: upload.percent, ariaLabel: say("progress") }));
  } else if (upload.phase === "looking") {
    box.prepend(make("i", { className: "spinner", ariaHidden: "true" }));
  } else {
    const again = make("button", { type: "button", textContent: say(upload.phase === "late" ? "lookAgain" : "retry") });
    again.addEventListener("click", () => (upload.phase === "late" ? lookFor(post.id) : attach(post.id, upload.file)));
    box.append(again, fileLabel("attach", post.id, make("span", { textContent: say("otherPicture") })));
  }
  return box;
}

function showPercent(element, upload) {
  const bar = element.querySelector("progress");
  if (!bar) return;
  bar.value = upload.percent;
  element.querySelector(".text-of-state").textContent = say("sending", upload.percent);
}

function drawLabels(post) {
  if (!post.labels && !post.reason) return [];
  if (!post.labels?.length) return [make("p", { className: "nothing", textContent: found(post) })];
  const items = post.labels.map((label) => make("li", { textContent: label }));
  return [make("ul", { className: "labels", ariaLabel: say("labels") }, ...items)];
}

/** The labels of a picture, or the reason why there are none. */
function found(post) {
  if (post.labels?.length) return say("labelled", post.labels.join(", "));
  if (!post.reason) return say("nothing");
  return say(has(`refused_${post.reason}`) ? `refused_${post.reason}` : "refused_otherwise");
}

function drawDrop(post) {
  const text = make("span", { textContent: say(post.image ? "otherPicture" : "drop") }, make("small", { textContent: say("dropMore") }));
  return fileLabel("drop", post.id, pictureIcon(), text);
}

function fileLabel(className, id, ...inside) {
  const input = make("input", { type: "file", accept: "image/*" });
  input.addEventListener("change", () => input.files[0] && attach(id, input.files[0]));
  return make("label", { className }, input, ...inside);
}

function ghost() {
  return make("div", { className: "card ghost", ariaHidden: "true" });
}

function make(tag, properties, ...children) {
  const element = Object.assign(document.createElement(tag), properties);
  element.append(...children);
  return element;
}

function icon(path) {
  const svg = document.createElementNS("http://www.w3.org/2000/svg", "svg");
  svg.setAttribute("viewBox", "0 0 24 24");
  svg.setAttribute("aria-hidden", "true");
  const line = document.createElementNS(svg.namespaceURI, "path");
  line.setAttribute("d", path);
  svg.append(line);
  return svg;
}

function pictureIcon() {
  return icon("M6 5h12a3 3 0 0 1 3 3v8a3 3 0 0 1-3 3H6a3 3 0 0 1-3-3V8a3 3 0 0 1 3-3zM4 17l5-4 3 2 4-4 4 4M8.500 9.500v.1");
}

/** The same user has the same colour everywhere: from sea green to red, since dark yellow looks dirty. */
function dress(avatar, user) {
  const sum = [...user].reduce((sum, letter) => (sum * 31 + letter.codePointAt(0)) % 3600, 7);
  // The golden ratio spreads similar names.
  avatar.style.setProperty("--hue", String(185 + Math.round(sum * 0.618034 * 200) % 200));
  avatar.textContent = [...user][0]?.toLocaleUpperCase(language) ?? "";
}

const UNITS = [["year", 31_557_600], ["month", 2_629_800], ["week", 604_800], ["day", 86_400], ["hour", 3600], ["minute", 60]];
const relative = new Intl.RelativeTimeFormat(language, { numeric: "auto" });

function ago(time) {
  const seconds = (time - Date.now()) / 1000;
  const [unit, length] = UNITS.find(([, length]) => Math.abs(seconds) >= length) ?? ["second", Infinity];
  return relative.format(Math.round(seconds / length) || 0, unit);
}

function tellTimes() {
  for (const time of $("posts").querySelectorAll("time")) time.textContent = ago(new Date(time.dateTime));
}

/* Reading */

let newest = 0;

/** Loads the list; drops the answer if a later request was made meanwhile. */
async function load() {
  const turn = ++newest;
  try {
    const part = await api.list(whose(), Math.min(LARGEST, state.shown));
    if (turn !== newest) return;
    accept(part);
    state.problem = null;
  } catch (problem) {
    if (turn !== newest) return;
    state.problem = problem;
  }
  render();
}

/** The user whose posts are shown; null for all. */
function whose() {
  return state.view === "mine" ? state.user : null;
}

function accept({ posts, next }) {
  const known = state.posts && new Set(state.posts.map((post) => post.id));
  const part = posts.map(read);
  // Posts shown beyond this page stay.
  const older = next && part.length ? (state.posts ?? []).filter((post) => post.id < part.at(-1).id) : [];
  if (!older.length) state.next = next;
  state.posts = [...part, ...older];
  for (const post of part) {
    post.fresh = known ? !known.has(post.id) : false;
    const upload = state.uploads.get(post.id);
    const looked = lastLookedAt(post);
    if (upload && looked && looked !== upload.before) finish(post, upload);
  }
}

/** Shows one more page, which may have to be loaded. */
async function showOlder() {
  const [view, user, first] = [state.view, state.user, state.shown];
  if (isBusy($("more"))) return;
  if (state.next && state.posts.length < first + PAGE) {
    setBusy($("more"), true);
    try {
      const { posts, next } = await api.list(whose(), PAGE, state.next);
      if (view !== state.view || user !== state.user || !state.posts) return;
      const last = state.posts.at(-1)?.id ?? "~";
      state.posts.push(...posts.map(read).filter((post) => post.id < last));
      state.next = next;
    } catch (problem) {
      announce(explain(problem));
      return;
    } finally {
      setBusy($("more"), false);
    }
  }
  state.shown += PAGE;
  render();
  // The button has moved or is gone: move the keyboard focus to the first new post.
  cards.get(state.posts[first]?.id)?.element.focus({ preventScroll: true });
}

function read(post) {
  const id = post.id.split("#")[1];
  return { ...post, id, time: timeOf(id), labels: post.labels ?? null };
}

/** UUIDs of version 7 begin with their creation time in milliseconds. */
function timeOf(id) {
  return id[14] === "7" ? new Date(parseInt(id.replace("-", "").slice(0, 12), 16)) : null;
}

function finish(post, { preview }) {
  forgetUpload(post.id);
  // Keep the preview until the picture itself has loaded.
  if (preview) setTimeout(() => URL.revokeObjectURL(preview), 10_000);
  announce(found(post));
}

function forgetUpload(id) {
  state.uploads.delete(id);
  session.forgetSent(id);
}

let renewing = null;

/**
 * On a page that has been open for long the URLs of pictures expire, all at about the same time: one list has new
 * ones for all. A picture that does not load from its new URL either is broken.
 */
async function renewPicture(id, figure, image) {
  renewing ??= api.list(whose(), Math.min(LARGEST, state.shown)).finally(() => setTimeout(() => (renewing = null), 1000));
  const { posts } = await renewing.catch(() => ({ posts: [] }));
  const address = posts.map(read).find((post) => post.id === id)?.image;
  const give = () => figure.replaceChildren(make("p", { className: "broken", textContent: say("broken") }));
  if (!address) return give();
  image.addEventListener("error", give, { once: true });
  image.src = address;
}

/* Writing */

async function publish() {
  const [title, body] = [$("post-title").value, $("post-body").value];
  const file = draft.file;
  const button = $("post-submit");
  if (isBusy(button)) return;
  setBusy(button, true);
  button.textContent = say("publishing");
  try {
    const post = read(await api.write(title.trim(), body.trim()));
    $("post-form").reset();
    setDraft(null);
    announce(say("published"));
    // The answer to an earlier request does not have it yet.
    newest += 1;
    state.problem = null;
    state.posts = [{ ...post, fresh: true }, ...(state.posts ?? []).filter((other) => other.id !== post.id)];
    render();
    if (file) attach(post.id, file);
    else load();
  } catch (problem) {
    refused(problem);
  } finally {
    setBusy(button, false);
    button.textContent = say("publish");
  }
}

/** A busy button does nothing but keeps the focus, which a disabled one would lose. */
function setBusy(button, busy) {
  button.setAttribute("aria-disabled", String(busy));
}

function isBusy(button) {
  return button.getAttribute("aria-disabled") === "true";
}

const draft = { file: null, preview: null };

async function setDraft(file) {
  if (draft.preview) URL.revokeObjectURL(draft.preview);
  draft.file = file;
  draft.preview = file && URL.createObjectURL(file);
  $("post-preview").hidden = !file;
  $("post-file").value = "";
  $("attach-words").textContent = say(file ? "otherPicture" : "addPicture");
  if (draft.preview) $("post-preview-image").src = draft.preview;
  else $("post-preview-image").removeAttribute("src");
}

async function chooseForDraft(file) {
  const picture = await prepare(file);
  if (picture) setDraft(picture);
  else announce(say("noPicture"));
}

/** Uploads a picture to a post and waits for its labels. */
async function attach(id, file) {
  const picture = await prepare(file);
  if (!picture) {
    announce(say("noPicture"));
    return;
  }
  const earlier = state.uploads.get(id);
  if (earlier?.preview) URL.revokeObjectURL(earlier.preview);
  // The picture that this one replaces.
  const before = lastLookedAt(state.posts?.find((post) => post.id === id) ?? {});
  const upload = { phase: "sending", percent: 0, preview: URL.createObjectURL(picture), file: picture, before };
  state.uploads.set(id, upload);
  render();
  try {
    await api.upload(id, picture, (percent) => {
      upload.percent = percent;
      render();
    });
    // Another picture may have been chosen meanwhile, which is still being sent.
    if (state.uploads.get(id) === upload) lookFor(id);
  } catch (problem) {
    upload.phase = "failed";
    refused(problem);
    render();
    // The post may have been deleted elsewhere.
    if (problem.status === 404) load();
  }
}

let looking = 0; // the number of checks since the latest upload
let timer = null;

/** Checks for the labels of uploaded pictures, at growing intervals, and finally stops. */
function lookFor(id) {
  const upload = state.uploads.get(id);
  upload.phase = "looking";
  session.rememberSent(id, upload.before);
  render();
  lookFrom(0);
}

/** Schedules the check with this number. */
function lookFrom(number) {
  looking = number;
  clearTimeout(timer);
  timer = setTimeout(look, 1000 * LOOKS[number]);
}

/** The number of checks that are past this many milliseconds after the upload; -1 if all are. */
function looksAfter(passed) {
  let time = 0;
  return LOOKS.findIndex((seconds) => (time += 1000 * seconds) > passed);
}

/** Continues to wait for pictures that were sent before the page was reloaded. */
function resume() {
  const made = [];
  for (const [id, { at, before }] of Object.entries(session.sent())) {
    const looks = looksAfter(Date.now() - at);
    if (looks < 0) {
      session.forgetSent(id);
      continue;
    }
    state.uploads.set(id, { phase: "looking", before });
    made.push(looks);
  }
  if (made.length) lookFrom(Math.min(...made));
}

async function look() {
  await load();
  const awaited = [...state.uploads.values()].filter((upload) => upload.phase === "looking");
  if (!awaited.length) return;
  looking += 1;
  if (looking < LOOKS.length) {
    timer = setTimeout(look, 1000 * LOOKS[looking]);
    return;
  }
  for (const upload of awaited) upload.phase = "late";
  render();
}

function askToDelete(post, title) {
  const dialog = $("confirm");
  $("confirm-title").textContent = title;
  dialog.returnValue = "";
  dialog.showModal();
  $("cancel-delete").focus();
  dialog.onclose = () => dialog.returnValue === "delete" && erase(post.id);
}

async function erase(id) {
  state.going.add(id);
  render();
  try {
    // A missing post was deleted in another window or on another machine.
    await api.remove(id).catch((problem) => problem.status === 404 || Promise.reject(problem));
    gone(id);
    announce(say("deleted"));
  } catch (problem) {
    refused(problem);
  }
  state.going.delete(id);
  render();
  load();
}

function gone(id) {
  forgetUpload(id);
  // Another view is being loaded.
  if (!state.posts) return;
  const place = state.posts.findIndex((post) => post.id === id);
  state.posts = state.posts.filter((post) => post.id !== id);
  const next = state.posts[Math.min(place, state.posts.length - 1)];
  (cards.get(next?.id)?.element ?? $("posts")).focus({ preventScroll: true });
}

/* Messages */

let notice = null;

function announce(text) {
  $("notice").textContent = text;
  $("notice").classList.add("seen");
  clearTimeout(notice);
  notice = setTimeout(() => $("notice").classList.remove("seen"), 4500);
}

/** Our text for an error of the service, by the invalid field or else by the status. */
const FIELDS = { Authorization: "nameRefused", title: "titleRefused", body: "bodyRefused" };
const STATUSES = { 0: "offline", 404: "notFound", 408: "busy", 413: "tooLarge", 422: "unusable", 429: "busy", 502: "busy", 503: "busy", 504: "busy" };

function explain(problem) {
  if (!(problem instanceof api.Refusal)) throw problem;
  if (problem.status === 401) return say(session.byToken() ? "tokenEnded" : "nameUnknown");
  return say(FIELDS[problem.field] ?? STATUSES[problem.status] ?? "fault");
}

/** Reports why a user's action failed. If the service rejects the login, asks to log in again; drafts stay. */
function refused(problem) {
  const why = explain(problem);
  if (problem.status !== 401 && problem.field !== "Authorization") return announce(why);
  session.logOut();
  state.user = "";
  $("login-problem").textContent = why;
  show("all");
  $("login-name").focus();
}

/* Login and views */

function logIn() {
  const user = session.logIn($("login-name").value.trim());
  $("login-problem").textContent = user ? "" : say(session.byToken() ? "tokenWithoutUser" : "nameRefused");
  if (!user) return $("login-name").focus();
  state.user = user;
  $("login-form").reset();
  show("all");
  $("post-title").focus();
}

function logOut() {
  session.logOut();
  state.user = "";
  state.uploads.clear();
  $("post-form").reset();
  setDraft(null);
  show("all");
  $("login-name").focus();
}

function askForToken() {
  const field = $("login-name");
  Object.assign(field, { type: "password", autocomplete: "off", maxLength: 8192 });
  $("login-label").textContent = say("token");
  $("login-link").hidden = !session.tokensFrom();
  if (session.tokensFrom()) $("login-link").href = session.tokensFrom();
}

function show(view) {
  Object.assign(state, { view, posts: null, next: null, problem: null, shown: PAGE });
  render();
  load();
}

function loadAgain() {
  show(state.view);
  // The focused button is gone.
  $("posts").focus({ preventScroll: true });
}

/* Dropping and pasting */

function acceptDrops(element, take) {
  const mark = (event) => {
    event.preventDefault();
    element.classList.toggle("dragged", event.type === "dragover");
  };
  element.addEventListener("dragover", mark);
  element.addEventListener("dragleave", mark);
  element.addEventListener("drop", (event) => {
    mark(event);
    const file = pictureIn(event.dataTransfer);
    if (file) take(file);
    else announce(say("noPicture"));
  });
}

/** Adds a pasted picture to the focused post, if it can have one, or else to the new post. */
function paste(event) {
  const file = pictureIn(event.clipboardData);
  if (!file || !state.user || $("confirm").open) return;
  event.preventDefault();
  const card = document.activeElement?.closest("article.post");
  if (card?.querySelector("input[type=file]")) attach(card.dataset.id, file);
  else chooseForDraft(file);
}

/* Start */

function on(id, event, act) {
  $(id).addEventListener(event, (event) => {
    if (event.type === "submit") event.preventDefault();
    act(event);
  });
}

async function start() {
  translate(document);
  on("login-form", "submit", () => $("login-name").value.trim() && logIn());
  on("logout", "click", logOut);
  on("post-form", "submit", publish);
  on("post-body", "keydown", (event) => event.key === "Enter" && (event.ctrlKey || event.metaKey) && $("post-form").requestSubmit());
  on("post-file", "change", () => $("post-file").files[0] && chooseForDraft($("post-file").files[0]));
  on("post-preview-remove", "click", () => setDraft(null));
  on("show-all", "click", () => show("all"));
  on("show-mine", "click", () => show("mine"));
  on("retry", "click", loadAgain);
  on("more", "click", showOlder);
  on("cancel-delete", "click", () => $("confirm").close(""));
  on("confirm-delete", "click", () => $("confirm").close("delete"));
  acceptDrops($("compose"), chooseForDraft);
  document.addEventListener("paste", paste);
  // A file dropped outside the drop zone must not replace the page.
  for (const event of ["dragover", "drop"]) addEventListener(event, (drag) => drag.preventDefault());
  document.addEventListener("visibilitychange", () => document.visibilityState === "visible" && load());
  setInterval(tellTimes, 60_000);
  resume();
  render();
  load();
  state.user = await session.begin();
  if (session.byToken()) askForToken();
  render();
}

start();
