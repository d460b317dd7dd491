// The state that the page shows. `changed` is called after every change of `state` and draws it.

/** Posts requested and shown at a time. */
export const PAGE = 40;

export const state = {
  user: "",
  view: { kind: "feed" }, // see viewAt in address.js
  posts: null, // the newest first; null until loaded
  next: null, // the cursor of the older posts; null if there are none
  problem: null,
  partial: false, // whether `posts` are those that other views have loaded, while the service cannot be reached
  shown: PAGE,
  newer: null, // a newer first page, which waits until the user asks for it
  // post id → { phase: sending | looking | late | failed, percent, preview, ratio, file, before, control }; for a picture
  // that was sent before the page was reloaded, only { phase: looking | late, before }
  uploads: new Map(),
  going: new Map(), // ids of deleted posts that can still be restored → their timers
  troubles: new Map(), // post id → why the latest action on the post failed
  tries: new Map(), // post id → how often its picture was loaded again after the service could not be reached
};

let begin;

/** Resolves once it is known who the user is. */
export const ready = new Promise((resolve) => (begin = resolve));

export function isReady() {
  begin();
}

let draw = () => {};

export function onChange(act) {
  draw = act;
}

export function changed() {
  draw();
}
