// The draft of a new post, which survives a reload: its texts in this window's storage, its picture in a database, as
// storage holds only text. Logging out removes both.

const TEXTS = "postagram.draft";
const [DATABASE, STORE, KEY] = ["postagram", "draft", "picture"];

export function keepTexts(texts) {
  if (Object.values(texts).some(Boolean)) sessionStorage.setItem(TEXTS, JSON.stringify(texts));
  else sessionStorage.removeItem(TEXTS);
}

export function keptTexts() {
  return JSON.parse(sessionStorage.getItem(TEXTS) ?? "{}");
}

/** Keeps a picture; null removes it. A browser without a database, as in a private window, forgets it. */
export async function keepPicture(file) {
  await use("readwrite", (store) => (file ? store.put(file, KEY) : store.delete(KEY))).catch(() => null);
}

export async function keptPicture() {
  return (await use("readonly", (store) => store.get(KEY)).catch(() => null)) ?? null;
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
