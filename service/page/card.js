// A post: as a card in a list, as a tile in the grid of an author, and as the note that it was deleted.

import * as api from "/api.js";
import { authorPath, labelPath, postPath } from "/address.js";
import { acceptDrops } from "/composer.js";
import { avatarOf, dress, fileButton, icon, isBusy, make, setBusy } from "/elements.js";
import { commit, erase, undo } from "/erase.js";
import { MOST_TRIES, renew } from "/feed.js";
import { hashtag, labelName } from "/labels.js";
import { openBox } from "/lightbox.js";
import { refused } from "/login.js";
import { announce } from "/notice.js";
import * as session from "/session.js";
import { share } from "/share.js";
import { changed, state } from "/state.js";
import { ago, fullDate } from "/times.js";
import { attach, cancel, found, lookFor, picturePath } from "/upload.js";
import { say } from "/words.js";

/** The ratios, width to height, within which pictures are shown whole: beyond, they are cropped until opened. */
const [TALLEST, WIDEST] = [4 / 5, 2.4];
/** The ratio of a picture of unknown size, which is cropped to it: no text moves when the picture arrives. */
const USUAL = 4 / 3;

export function isMine(post) {
  return Boolean(state.user) && session.isName(post.user, state.user);
}

/** What a post is called where it needs a name. */
export function titleOf(post) {
  return post.title || say("postBy", post.user);
}

/** The text for people who do not see the picture: the author's, or else what was recognised. */
export function altOf(post) {
  if (post.alt) return post.alt;
  return post.labels?.length ? say("labelled", post.labels.map(labelName).join(", ")) : say("pictureOf", titleOf(post));
}

/** What a card shows: it is drawn again when this changes. */
export function lookOf(post) {
  const mine = isMine(post);
  const upload = mine ? state.uploads.get(post.id) : undefined;
  const { title, body, labels, reason, alt, width, height, id } = post;
  return JSON.stringify([title, body, picturePath(post), labels, reason, alt, width, height, mine, upload?.phase, upload?.why, upload?.preview, state.going.has(id), state.troubles.get(id), state.tries.get(id), state.view.kind]);
}

export function drawPost(post, early) {
  if (state.view.kind === "author") return drawTile(post);
  return state.going.has(post.id) ? drawDeleted(post) : drawCard(post, early);
}

function drawCard(post, early) {
  const mine = isMine(post);
  const upload = mine ? state.uploads.get(post.id) : undefined;
  const heading = make("h2", { id: `t-${post.id}`, className: post.title ? "" : "unseen", textContent: titleOf(post), dir: "auto" });
  const words = make("div", { className: "words" }, heading);
  if (post.body) words.append(...drawText(post.body));
  words.append(...drawLabels(post));
  const wanting = mine && (!post.image || post.reason);
  if (wanting && !upload) words.append(drawDrop(post));
  const trouble = make("p", { className: "trouble", role: "alert", textContent: state.troubles.get(post.id) ?? "" });
  const picture = upload ? drawUpload(post, upload) : post.image ? drawPicture(post, early) : null;
  const article = make("article", { className: "post card" }, drawHeader(post), picture, words, drawActions(post, mine), trouble);
  article.dataset.id = post.id;
  article.setAttribute("aria-labelledby", heading.id);
  article.tabIndex = -1;
  article.classList.toggle("wordy", !picture);
  article.style.containIntrinsicBlockSize = `auto ${height(post)}px`;
  if (wanting) acceptDrops(article, (file) => attach(post.id, file));
  return article;
}

/** About how high the card will be, for scrolling before it was drawn. */
function height(post) {
  const width = Math.min(innerWidth, 520);
  const lines = Math.min(8, Math.ceil(post.body.length / (width / 8)));
  return Math.round(190 + (post.image ? width / ratioOf(post) : 0) + 24 * lines);
}

/** The ratio at which a picture is shown. */
function ratioOf({ width, height }) {
  if (!width || !height) return USUAL;
  if (state.view.kind === "post") return width / height;
  return Math.min(WIDEST, Math.max(TALLEST, width / height));
}

function drawHeader(post) {
  const name = make("span", { className: "name", textContent: post.user, dir: "auto" });
  const author = make("a", { className: "author", href: authorPath(post.user) }, avatarOf(post.user), name);
  const header = make("header", {}, author);
  if (post.time) {
    const time = make("time", { dateTime: post.time.toISOString(), textContent: ago(post.time) });
    header.append(make("a", { className: "when", href: postPath(post), title: fullDate(post.time) }, time));
  }
  return header;
}

/** Folds a text that is too long. */
function drawText(body) {
  const text = make("p", { className: "text", textContent: body, dir: "auto" });
  const short = body.length <= 600 && body.split("\n").length <= 9;
  if (short || state.view.kind === "post") return [text];
  const button = make("button", { className: "quiet unfold", type: "button", textContent: say("unfold"), ariaExpanded: "false" });
  text.classList.add("folded");
  button.addEventListener("click", () => {
    const folded = text.classList.toggle("folded");
    button.textContent = say(folded ? "unfold" : "fold");
    button.ariaExpanded = String(!folded);
  });
  return [text, button];
}

function drawPicture(post, early) {
  const image = make("img", { alt: altOf(post), loading: early ? "eager" : "lazy", decoding: "async", src: post.image });
  const button = make("button", { className: "picture", type: "button", title: say("enlarge") }, image);
  button.style.aspectRatio = String(ratioOf(post));
  // The user's own upload is shown until the picture has loaded from the bucket.
  if (post.preview) button.style.backgroundImage = `url("${post.preview}")`;
  button.addEventListener("click", () => openBox(post.id));
  image.addEventListener("load", () => button.classList.add("loaded"), { once: true });
  renewOnError(image, post, () => button.replaceWith(make("p", { className: "broken", textContent: say("broken") })));
  return button;
}

/** Tries newer URLs when an image does not load; `giveUp` is called if there is none that does. */
function renewOnError(image, { id }, giveUp) {
  let failures = 0;
  image.addEventListener("error", async () => {
    failures += 1;
    if (failures > MOST_TRIES || !(await renew(image, id))) giveUp();
  });
}

/** A picture in progress, with its status. After a reload of the page it has no preview. */
function drawUpload(post, upload) {
  const preview = upload.preview ? make("img", { alt: say("pictureOf", titleOf(post)), src: upload.preview }) : icon("picture");
  const figure = make("figure", { className: "picture sending" }, preview, drawState(post, upload));
  figure.style.aspectRatio = String(Math.min(WIDEST, Math.max(TALLEST, upload.ratio ?? USUAL)));
  return figure;
}

function drawState(post, upload) {
  const words = upload.phase === "failed" && upload.why ? `${say("failed")} ${upload.why}` : say(upload.phase, upload.percent);
  const box = make("div", { className: "state" }, make("span", { className: "text-of-state", textContent: words }));
  if (upload.phase === "sending") {
    const stop = make("button", { className: "cancel", type: "button", textContent: say("cancel") });
    stop.addEventListener("click", () => cancel(post));
    box.append(stop, make("progress", { max: 100, value: upload.percent, ariaLabel: say("progress") }));
  } else if (upload.phase === "looking") {
    box.prepend(make("i", { className: "spinner", ariaHidden: "true" }));
  } else {
    const again = make("button", { type: "button", textContent: say(upload.phase === "late" ? "lookAgain" : "retry") });
    again.addEventListener("click", () => (upload.phase === "late" ? lookFor(post.id) : attach(post.id, upload.file)));
    box.append(again, fileButton("attach", (file) => attach(post.id, file), make("span", { textContent: say("otherPicture") })));
  }
  return box;
}

/** Shows the progress of an upload without drawing anything else: it changes a hundred times. */
export function showPercent(id, { percent }) {
  const card = document.querySelector(`#posts [data-id="${CSS.escape(id)}"]`);
  const bar = card?.querySelector("progress");
  if (!bar) return;
  bar.value = percent;
  card.querySelector(".text-of-state").textContent = say("sending", percent);
}

function drawLabels(post) {
  if (!post.labels && !post.reason) return [];
  if (!post.labels?.length) return [make("p", { className: "nothing", textContent: found(post) })];
  const items = post.labels.map((label) => make("li", {}, make("a", { href: labelPath(label), textContent: hashtag(label) })));
  return [make("ul", { className: "labels", ariaLabel: say("labels") }, ...items)];
}

function drawDrop(post) {
  const text = make("span", { textContent: say(post.image ? "otherPicture" : "drop") }, make("small", { textContent: say("dropMore") }));
  return fileButton("drop", (file) => attach(post.id, file), icon("picture"), text);
}

function drawActions(post, mine) {
  const action = (className, name, picture, label, act) => {
    const words = label ? null : make("span", { textContent: name });
    const button = make("button", { className: `action ${className}`, type: "button", ariaLabel: label, title: label ? name : "" }, icon(picture), words);
    button.addEventListener("click", () => act(button));
    return button;
  };
  const title = titleOf(post);
  const actions = [action("share", say("share"), "share", null, (button) => share(postPath(post), title, button))];
  if (mine && post.image) actions.push(action("describe", say("describe"), "words", null, (button) => describe(post, button)));
  if (mine) actions.push(action("delete", say("delete"), "bin", say("deletePost", title), () => erase(post)));
  return make("div", { className: "post-actions" }, ...actions);
}

/** Asks for the description of a picture, below the post. */
function describe(post, button) {
  const actions = button.parentElement;
  const open = actions.nextElementSibling?.classList.contains("describing") ? actions.nextElementSibling : null;
  if (open) return open.remove();
  const id = `alt-${post.id}`;
  const field = make("textarea", { id, value: post.alt ?? "", maxLength: 1000, rows: 2 });
  field.setAttribute("aria-describedby", `${id}-problem`);
  const problem = make("p", { id: `${id}-problem`, className: "trouble", role: "alert" });
  const save = make("button", { className: "primary", type: "submit", textContent: say("save") });
  const leave = make("button", { className: "quiet", type: "button", textContent: say("cancel") });
  const form = make("form", { className: "describing" }, make("label", { htmlFor: id, textContent: say("alt") }), field, problem, make("div", { className: "actions" }, leave, save));
  const close = () => {
    // The card may have been drawn again meanwhile, with this form.
    const now = form.previousElementSibling;
    form.remove();
    now?.querySelector(".describe")?.focus();
  };
  leave.addEventListener("click", close);
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    if (isBusy(save)) return;
    setBusy(save, true);
    try {
      await api.describe(post.id, field.value.trim());
      // The list may have been reloaded meanwhile.
      const now = state.posts?.find((other) => other.id === post.id) ?? post;
      now.alt = field.value.trim();
      close();
      announce(say("described"));
      changed();
    } catch (error) {
      problem.textContent = refused(error);
      setBusy(save, false);
    }
  });
  actions.after(form);
  field.focus();
}

/** In the place of a deleted post, as long as it can be restored. */
function drawDeleted(post) {
  const restore = make("button", { className: "undo primary", type: "button", textContent: say("undo") });
  const close = make("button", { className: "round quiet dismiss", type: "button", ariaLabel: say("deleteNow"), title: say("deleteNow") }, icon("close"));
  restore.addEventListener("click", () => undo(post.id));
  close.addEventListener("click", () => commit(post.id));
  const box = make("div", { className: "card gone", tabIndex: -1 }, make("p", { textContent: say("deletedPost", titleOf(post)), dir: "auto" }), restore, close);
  box.dataset.id = post.id;
  return box;
}

function drawTile(post) {
  const tile = make("a", { className: "tile", href: postPath(post) });
  const showWords = () => {
    tile.classList.add("wordy");
    tile.replaceChildren(make("span", { className: "tile-words", textContent: post.title || post.body || say("untitled"), dir: "auto" }));
  };
  if (post.image) {
    const image = make("img", { alt: altOf(post), loading: "lazy", decoding: "async", src: post.image });
    renewOnError(image, post, showWords);
    tile.append(image);
  } else showWords();
  dress(tile, post.user);
  tile.dataset.id = post.id;
  return tile;
}

/** In the place of posts that are being loaded, in their shape. */
export function ghosts() {
  const box = (className, ...inside) => make("div", { className, ariaHidden: "true" }, ...inside);
  if (state.view.kind === "author") return Array.from({ length: 9 }, () => box("ghost tile"));
  return Array.from({ length: state.view.kind === "post" ? 1 : 3 }, () => box("card ghost", box("ghost-header", box("ghost-avatar"), box("ghost-line")), box("ghost-picture"), box("ghost-line"), box("ghost-line short")));
}
