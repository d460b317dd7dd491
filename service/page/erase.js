// Deletes posts. A deletion can be undone for some seconds; the service is called only afterwards.

import * as api from "/api.js";
import { forget, load } from "/feed.js";
import { refused } from "/login.js";
import { go } from "/navigation.js";
import { announce } from "/notice.js";
import { changed, state } from "/state.js";
import { stopUpload } from "/upload.js";
import { say } from "/words.js";

/** Milliseconds in which a deletion can be undone. */
const UNDO_MS = 8000;

export function erase({ id }) {
  state.troubles.delete(id);
  state.going.set(id, setTimeout(() => commit(id), UNDO_MS));
  changed();
  announce(say("deleted"));
  focusIn(id, ".undo");
}

export function undo(id) {
  if (state.going.get(id) === null) return;
  clearTimeout(state.going.get(id));
  state.going.delete(id);
  changed();
  announce(say("restored"));
  focusIn(id, ".delete");
}

/** Deletes a post for good. From here on it cannot be restored: its timer is null. */
export async function commit(id) {
  if (state.going.get(id) === null) return;
  clearTimeout(state.going.get(id));
  state.going.set(id, null);
  const hadFocus = Boolean(document.activeElement?.closest(`[data-id="${CSS.escape(id)}"]`));
  const place = state.posts?.findIndex((post) => post.id === id);
  try {
    // A missing post was deleted in another window or on another machine.
    await api.remove(id).catch((problem) => problem.status === 404 || Promise.reject(problem));
  } catch (problem) {
    state.going.delete(id);
    const why = refused(problem);
    if (why) state.troubles.set(id, why);
    return changed();
  }
  state.going.delete(id);
  stopUpload(id);
  forget(id);
  if (state.view.kind === "post" && state.view.id === id) return go("/", { replace: true });
  changed();
  const next = state.posts?.[Math.min(place, state.posts.length - 1)];
  if (hadFocus) (document.querySelector(`#posts [data-id="${CSS.escape(next?.id ?? "")}"]`) ?? document.getElementById("posts")).focus({ preventScroll: true });
  load();
}

/** Deletes what can still be undone: the user leaves or hides the page, or logs out. */
export function commitAll() {
  for (const id of [...state.going.keys()]) commit(id);
}

function focusIn(id, selector) {
  document.querySelector(`#posts [data-id="${CSS.escape(id)}"] ${selector}`)?.focus({ preventScroll: true });
}
