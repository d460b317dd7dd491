// Keeps the page for times without a connection: its files, the posts that were read last, and their pictures.
//
// Pages and scripts come from the service whenever it answers: none is older than the service. Only a page that could not
// be fetched comes from here, and then all of its files do, so that two releases never meet.
//
// The service puts two constants before this text: SHELL, the page's files with their entity tags, and VERSION, which
// stands for all of them. A release that changes a file thus changes this one, and browsers install it again.

const FILES = `postagram-files-${VERSION}`;
/** They stay across releases: a page has to read the answers of the previous version, which may still run, in any case. */
const [ANSWERS, PICTURES] = ["postagram-answers", "postagram-pictures"];
const [MOST_ANSWERS, MOST_PICTURES] = [20, 60];
/** Milliseconds after which an older answer is better than none; the page itself waits for 20 seconds. */
const PATIENCE_MS = 15_000;

/** The windows whose page comes from here. Their files follow at once: a worker that ends in between loses nothing else. */
const away = new Set();

addEventListener("install", (event) => event.waitUntil(install()));
addEventListener("activate", (event) => event.waitUntil(removeOthers()));
addEventListener("fetch", (event) => {
  const answer = answerTo(event);
  if (answer) event.respondWith(answer);
});

async function install() {
  const files = await caches.open(FILES);
  const keepFile = async ([path, tag]) => {
    const answer = await fetch(path, { cache: "no-cache" });
    // During a roll-out, the other version may answer. Then the worker is not installed, and the next visit tries again.
    if (answer.headers.get("ETag") !== tag) throw new Error(`${path} is of another version`);
    await files.put(path, answer);
  };
  await Promise.all(Object.entries(SHELL).map(keepFile));
  await skipWaiting();
}

async function removeOthers() {
  const names = await caches.keys();
  await Promise.all(names.filter((name) => name.startsWith("postagram-files-") && name !== FILES).map((name) => caches.delete(name)));
}

/** The answer to a request; null leaves it to the browser. */
function answerTo(event) {
  const { request, clientId } = event;
  const { origin, pathname } = new URL(request.url);
  if (request.method !== "GET") return null;
  if (origin !== location.origin) return request.destination === "image" ? picture(event) : null;
  if (request.mode === "navigate") return /^\/($|@|labels\/)/.test(pathname) ? page(event) : null;
  if (Object.hasOwn(SHELL, pathname)) return away.has(clientId) ? file(pathname) : null;
  return pathname === "/config" || pathname === "/posts" || pathname.startsWith("/posts/") ? read(event) : null;
}

async function page({ request, resultingClientId }) {
  try {
    return await fetch(request);
  } catch (error) {
    const kept = resultingClientId && (await match(FILES, "/"));
    if (!kept) throw error;
    away.add(resultingClientId);
    return kept;
  }
}

async function file(path) {
  return (await match(FILES, path)) ?? fetch(path);
}

/** The service's answer, or the latest one if it does not answer: then the header `Kept` has the status, 0 without any. */
async function read(event) {
  const { request } = event;
  const answer = await fetch(request, { signal: AbortSignal.timeout(PATIENCE_MS) }).catch(() => Response.error());
  if (answer.ok) event.waitUntil(keep(ANSWERS, request.url, answer.clone(), MOST_ANSWERS));
  if (answer.status > 0 && answer.status < 500) return answer;
  // A conditional request asks whether anything is new: only the service knows.
  const kept = request.headers.has("If-None-Match") ? null : await match(ANSWERS, request.url);
  if (!kept) return answer;
  const headers = { "Content-Type": kept.headers.get("Content-Type"), Kept: String(answer.status) };
  if (kept.headers.has("Next-Cursor")) headers["Next-Cursor"] = kept.headers.get("Next-Cursor");
  return new Response(kept.body, { headers });
}

/** Pictures never change, and are kept without the query of their signed URL, which expires. */
async function picture(event) {
  const address = event.request.url.split("?")[0];
  const kept = await match(PICTURES, address);
  if (kept) return kept;
  // With CORS the status can be read: errors are not kept. What the browser itself has cached may be without CORS. A bucket
  // that does not allow it is asked as the page does.
  const answer = await fetch(event.request.url, { mode: "cors", credentials: "omit", cache: "reload" }).catch(() => null);
  if (answer?.ok) event.waitUntil(keep(PICTURES, address, answer.clone(), MOST_PICTURES));
  return answer ?? fetch(event.request);
}

function match(cacheName, key) {
  return caches.match(key, { cacheName, ignoreVary: true });
}

/** Keeps an answer, and removes the oldest ones. A full disk is not an error: then nothing more is kept. */
async function keep(name, key, answer, most) {
  try {
    const cache = await caches.open(name);
    await cache.put(key, answer);
    const keys = await cache.keys();
    await Promise.all(keys.slice(0, -most).map((old) => cache.delete(old, { ignoreVary: true })));
  } catch (error) {
    console.info("Not kept:", error.message);
  }
}
