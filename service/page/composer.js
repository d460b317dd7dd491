// The form for a new post, in a dialog. What is written stays until it is published, whatever happens in between.

import * as api from "/api.js";
import * as draft from "/draft.js";
import { $, isBusy, setBusy } from "/elements.js";
import { load, read, supersede } from "/feed.js";
import { asUser, refused } from "/login.js";
import { go } from "/navigation.js";
import { announce } from "/notice.js";
import { pictureIn, prepare } from "/picture.js";
import { changed, state } from "/state.js";
import { attach } from "/upload.js";
import { say } from "/words.js";

const FIELDS = { title: "post-title", body: "post-body", alt: "post-alt" };

let file = null;
/** The picture that is being prepared. */
let choosing = null;
let preview = null;

/** Opens the form, with a picture if one is given. */
export function compose({ file, alt } = {}) {
  asUser(() => {
    if (!$("compose").open) $("compose").showModal();
    if (alt) $("post-alt").value = alt;
    if (file) choose(file);
    $(file ? "post-body" : "post-title").focus();
  });
}

export async function start() {
  const form = $("post-form");
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    publish();
  });
  form.addEventListener("input", (event) => {
    complain(event.target.id, "");
    keep();
  });
  form.addEventListener("keydown", (event) => event.key === "Enter" && (event.ctrlKey || event.metaKey) && form.requestSubmit());
  $("post-file").addEventListener("change", () => {
    if ($("post-file").files[0]) choose($("post-file").files[0]);
    $("post-file").value = "";
  });
  $("post-preview-remove").addEventListener("click", () => {
    choosing = null;
    setFile(null);
    $("post-file").focus();
  });
  $("compose-close").addEventListener("click", () => $("compose").close());
  acceptDrops($("compose"), choose);
  const kept = draft.keptTexts();
  for (const [name, id] of Object.entries(FIELDS)) $(id).value = kept[name] ?? "";
  const picture = await draft.keptPicture();
  if (picture && !file && !choosing) choose(picture);
}

/** Empties the form: its content was published, or belongs to a user who has logged out. */
export function clear() {
  choosing = null;
  $("post-form").reset();
  for (const id of [...Object.values(FIELDS), "post-file", "post-form"]) complain(id, "");
  setFile(null);
  keep();
}

function keep() {
  draft.keepTexts(Object.fromEntries(Object.entries(FIELDS).map(([name, id]) => [name, $(id).value])));
}

async function choose(chosen) {
  complain("post-file", "");
  complain("post-title", "");
  const preparing = prepare(chosen);
  choosing = preparing;
  const picture = await preparing;
  // Another one was chosen meanwhile, or the form was emptied.
  if (choosing !== preparing) return;
  if (picture) setFile(picture);
  else complain("post-file", say("noPicture"));
}

function setFile(chosen) {
  if (preview) URL.revokeObjectURL(preview);
  file = chosen;
  preview = chosen && URL.createObjectURL(chosen);
  draft.keepPicture(chosen);
  $("post-preview").hidden = $("post-alt-part").hidden = !chosen;
  $("attach-words").textContent = say(chosen ? "otherPicture" : "addPicture");
  $("title-optional").hidden = !chosen;
  if (preview) $("post-preview-image").src = preview;
  else $("post-preview-image").removeAttribute("src");
}

/** Shows an error at the field that it concerns, until the field changes. */
function complain(id, why) {
  const place = $(`${id}-problem`);
  if (!place) return;
  place.textContent = why;
  $(id).setAttribute("aria-invalid", String(Boolean(why)));
}

async function publish() {
  const button = $("post-submit");
  if (isBusy(button)) return;
  complain("post-form", "");
  setBusy(button, true);
  await choosing?.catch(() => null);
  setBusy(button, false);
  const [title, body, alt] = Object.values(FIELDS).map((id) => $(id).value.trim());
  const sent = file;
  if (!title && !sent) {
    complain("post-title", say("titleMissing"));
    return $("post-title").focus();
  }
  setBusy(button, true);
  button.textContent = say("publishing");
  try {
    const post = read(await api.write(title, body, sent ? alt : ""));
    clear();
    $("compose").close();
    announce(say("published"));
    show(post);
    if (sent) attach(post.id, sent);
    load();
  } catch (problem) {
    const why = refused(problem);
    const id = FIELDS[problem.field] ?? "post-form";
    if (why) complain(id, why);
    if (why && FIELDS[problem.field]) $(id).focus();
  } finally {
    setBusy(button, false);
    button.textContent = say("publish");
  }
}

/** Puts a new post on top of the list; of another view, of the feed. */
function show(post) {
  if (state.view.kind !== "feed" && !(state.view.kind === "author" && state.view.user === post.user)) go("/");
  // The answer to an earlier request does not have it yet.
  supersede();
  state.problem = null;
  state.posts = [{ ...post, fresh: true }, ...(state.posts ?? []).filter((other) => other.id !== post.id)];
  changed();
  scrollTo({ top: 0 });
}

/** Makes an element a place to which files can be dragged. */
export function acceptDrops(element, take) {
  const mark = (event) => {
    event.preventDefault();
    element.classList.toggle("dragged", event.type === "dragover");
  };
  element.addEventListener("dragover", mark);
  element.addEventListener("dragleave", mark);
  element.addEventListener("drop", (event) => {
    mark(event);
    const file = pictureIn(event.dataTransfer) ?? event.dataTransfer.files[0];
    if (file) take(file);
  });
}
