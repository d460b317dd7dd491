// The draft of a new post, which survives a reload: its texts in this window's storage, its picture in a database, as
// storage holds only text. All windows share the database: only the window that holds a picture's key finds it again.
// Logging out removes both.

import { ofWindow } from "/storage.js";

const [TEXTS, KEY] = ["postagram.draft", "postagram.draft-picture"];
const [DATABASE, STORE] = ["postagram", "draft"];

/** Milliseconds after which the picture of a window that was closed is removed. */
const KEPT_MS = 24 * 60 * 60 * 1000;

export function keepTexts(texts) {
  if (Object.values(texts).some(Boolean)) ofWindow.set(TEXTS, JSON.stringify(texts));
  else ofWindow.remove(TEXTS);
}

export function keptTexts() {
  return JSON.parse(ofWindow.get(TEXTS) ?? "{}");
}

/** Keeps a picture; null removes it. A browser without a database, as in a private window, forgets it. */
export async function keepPicture(file) {
  const known = ofWindow.get(KEY);
  if (!file && !known) return;
  // Keys begin with their time, so that they sort by age.
  const key = known ?? `${Date.now()}-${Math.random()}`;
  if (file) ofWindow.set(KEY, key);
  else ofWindow.remove(KEY);
  const act = (store) => {
    store.delete(IDBKeyRange.upperBound(String(Date.now() - KEPT_MS)));
    return file ? store.put(file, key) : store.delete(key);
  };
  await use("readwrite", act).catch(() => null);
}

export async function keptPicture() {
  const key = ofWindow.get(KEY);
  return (key && (await use("readonly", (store) => store.get(key)).catch(() => null))) ?? null;
}

async function use(mode, act) {
  const opening = indexedDB.open(DATABASE, 1);
  opening.onupgradeneeded = () => opening.result.createObjectStore(STORE);
  const database = await result(opening);
  try {
    return await result(act(database.transaction(STORE, mode).objectStore(STORE)));
  } finally {
    database.close();
  }
}

function result(request) {
  return new Promise((resolve, reject) => {
    request.onsuccess = () => resolve(request.result);
    request.onerror = () => reject(request.error);
  });
}
