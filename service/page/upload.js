// Pictures on their way: sent with progress, cancelled, and then awaited until their labels are there.

import * as api from "/api.js";
import { showPercent } from "/card.js";
import { compose } from "/composer.js";
import { forget, load } from "/feed.js";
import { labelName } from "/labels.js";
import { refused } from "/login.js";
import { announce } from "/notice.js";
import { prepare } from "/picture.js";
import * as session from "/session.js";
import { changed, state } from "/state.js";
import { has, say } from "/words.js";

/** Seconds between checks for labels, until they stop: usually the second one finds them. */
const LOOKS = [1, 1, 1.5, 2, 3, 4, 6, 8, 10, 12, 15, 20];

/** The query of a signed URL changes from time to time; only another path is another picture. */
export function picturePath(post) {
  return post.image?.split("?")[0];
}

/** The picture analysed last, even if it was then removed. */
export function lastLookedAt(post) {
  return picturePath(post) ?? post.removed;
}

/** The labels of a picture, or the reason why there are none. */
export function found(post) {
  if (post.labels?.length) return say("labelled", post.labels.map(labelName).join(", "));
  if (!post.reason) return say("nothing");
  return say(has(`refused_${post.reason}`) ? `refused_${post.reason}` : "refused_otherwise");
}

/** Post id → the picture that was chosen last, while it is being prepared. */
const chosen = new Map();

/** Uploads a picture to a post and waits for its labels. */
export async function attach(id, file) {
  const preparing = prepare(file);
  chosen.set(id, preparing);
  const picture = await preparing;
  // Another one was chosen meanwhile, and may have been prepared sooner.
  if (chosen.get(id) !== preparing) return;
  chosen.delete(id);
  state.troubles.delete(id);
  if (!picture) {
    state.troubles.set(id, say("noPicture"));
    return changed();
  }
  const earlier = state.uploads.get(id);
  if (earlier?.preview) URL.revokeObjectURL(earlier.preview);
  // The picture that this one replaces.
  const post = state.posts?.find((post) => post.id === id) ?? {};
  const before = lastLookedAt(post);
  const control = new AbortController();
  const upload = { phase: "sending", percent: 0, preview: URL.createObjectURL(picture), ratio: picture.ratio, file: picture, before, control };
  state.uploads.set(id, upload);
  addEventListener("beforeunload", askToStay);
  changed();
  try {
    const progress = (percent) => {
      upload.percent = percent;
      if (state.uploads.get(id) === upload) showPercent(id, upload);
    };
    await api.upload(id, picture, progress, control.signal);
    // Another picture may have been chosen meanwhile, which is still being sent.
    if (state.uploads.get(id) === upload) lookFor(id);
  } catch (problem) {
    if (control.signal.aborted) return;
    upload.phase = "failed";
    upload.why = refused(problem);
    changed();
    // The post may have been deleted elsewhere.
    if (problem.status === 404) load();
  } finally {
    if (!isSending()) removeEventListener("beforeunload", askToStay);
  }
}

function isSending() {
  return [...state.uploads.values()].some(({ phase }) => phase === "sending");
}

/** Has the browser ask before the page ends while a picture is being sent, which would be lost. */
function askToStay(event) {
  event.preventDefault();
}

/** Stops sending a picture. A post that has nothing else goes back to the form. */
export async function cancel(post) {
  const upload = state.uploads.get(post.id);
  stopUpload(post.id);
  announce(say("cancelled"));
  if (!post.title && !post.body && !post.image) {
    forget(post.id);
    changed();
    compose({ file: upload.file, alt: post.alt });
    await api.remove(post.id).catch(() => null);
  }
  changed();
}

export function finish(post, { preview }) {
  forgetUpload(post.id);
  // Keep the preview until the picture itself has loaded.
  post.preview = preview;
  if (preview) setTimeout(() => URL.revokeObjectURL(preview), 10_000);
  announce(found(post));
}

/** Stops sending the picture of a post, if one is being prepared or sent. */
export function stopUpload(id) {
  chosen.delete(id);
  state.uploads.get(id)?.control?.abort();
  forgetUpload(id);
}

/** The same for the pictures of all posts. */
export function stopUploads() {
  for (const id of [...chosen.keys(), ...state.uploads.keys()]) stopUpload(id);
}

export function forgetUpload(id) {
  state.uploads.delete(id);
  session.forgetSent(id);
}

let looking = 0; // the number of checks since the latest upload
let timer = null;

/** Checks for the labels of uploaded pictures, at growing intervals, and finally stops. */
export function lookFor(id) {
  const upload = state.uploads.get(id);
  upload.phase = "looking";
  session.rememberSent(id, upload.before);
  changed();
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
export function resume() {
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
  const own = timer;
  await load();
  // The checks for another picture have begun meanwhile, and are for this one as well.
  if (timer !== own) return;
  const awaited = [...state.uploads.values()].filter((upload) => upload.phase === "looking");
  if (!awaited.length) return;
  looking += 1;
  if (looking < LOOKS.length) {
    timer = setTimeout(look, 1000 * LOOKS[looking]);
    return;
  }
  for (const upload of awaited) upload.phase = "late";
  changed();
}
