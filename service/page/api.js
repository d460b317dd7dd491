// The page's requests to the service and to the bucket.

/** An error from the service, or no answer at all (status 0). */
export class Refusal extends Error {
  constructor(status, message) {
    super(message);
    this.status = status;
  }

  /** The invalid field; null if the answer names none. */
  get field() {
    return this.status === 422 ? this.message.split(":")[0] : null;
  }
}

let authorization = null;

/** Sets the Authorization header of all further calls; null removes it. */
export function speakFor(header) {
  authorization = header;
}

/** How users log in: `{ auth: "header" }`, unless the service says otherwise. */
export async function config() {
  const answer = await call("GET", "/config").catch(() => null);
  return answer?.data?.auth ? answer.data : { auth: "header" };
}

const tags = new Map(); // question → the version of its latest answer

/**
 * Up to `limit` posts of one user, with one label, or of all, newest first, with the cursor of the older ones; null if
 * there are none. For an older answer, from worker.js, `problem` is the reason why there is no newer one.
 */
export async function list({ user, label }, limit, cursor) {
  return ask(questionOf({ user, label }, limit, cursor));
}

/** The same as `list`; null if nothing has changed since the latest answer to the same question. */
export async function listIfChanged(query, limit) {
  const question = questionOf(query, limit);
  return ask(question, tags.get(question));
}

function questionOf({ user, label }, limit, cursor) {
  return String(new URLSearchParams({ limit, order: "newest", ...(user && { user }), ...(label && { label }), ...(cursor && { cursor }) }));
}

async function ask(question, tag) {
  const { data, headers, status, problem } = await call("GET", `/posts?${question}`, { tag });
  if (status === 304) return null;
  if (!Array.isArray(data)) throw new Refusal(0, "no list");
  // During a roll-out the previous version may answer: it lacks this order, but returns all posts without a limit.
  if (data.length > 1 && data[0].id < data.at(-1).id) return everything(new URLSearchParams(question).get("user"));
  return { posts: data, next: headers.get("Next-Cursor"), question, tag: headers.get("ETag"), problem };
}

/** Makes `listIfChanged` compare with this list, which is shown or announced. One that is dropped does not count. */
export function remember({ question, tag }) {
  if (tag) tags.set(question, tag);
}

async function everything(user) {
  const { data } = await call("GET", user ? `/posts?${new URLSearchParams({ user })}` : "/posts");
  return { posts: data.reverse(), next: null };
}

/** One post, as a list. */
export async function read(user, id) {
  const { data, problem } = await call("GET", `/posts/${encodeURIComponent(id)}?${new URLSearchParams({ user })}`);
  return { posts: [data], next: null, problem };
}

export async function write(title, body, alt) {
  return (await call("POST", "/posts", { body: { title, body, ...(alt && { alt }) } })).data;
}

/** Sets the description of a post's picture. */
export async function describe(id, alt) {
  await call("PATCH", `/posts/${id}`, { body: { alt } });
}

/** Deletes a post; the request survives the end of the page. */
export async function remove(id) {
  await call("DELETE", `/posts/${id}`, { keepalive: true });
}

/** Uploads a picture to one of the user's posts; calls `progress` for each percent. */
export async function upload(id, file, progress, signal) {
  const filetype = file.type || "application/octet-stream";
  const question = new URLSearchParams({ filename: file.name || "picture", filetype, postId: id });
  const { data } = await call("GET", `/signedUrlPut?${question}`);
  await put(data.uploadURL, file, filetype, progress, signal);
}

async function call(method, path, { body, tag, keepalive } = {}) {
  const headers = {};
  if (authorization) headers.Authorization = authorization;
  if (body) headers["Content-Type"] = "application/json";
  if (tag) headers["If-None-Match"] = tag;
  const signal = AbortSignal.timeout(20_000);
  let answer;
  try {
    answer = await fetch(path, { method, headers, signal, keepalive, body: body && JSON.stringify(body) });
  } catch (error) {
    throw new Refusal(0, error.message);
  }
  const data = parse(await answer.text().catch(() => ""));
  if (!answer.ok && answer.status !== 304) throw new Refusal(answer.status, data?.message ?? answer.statusText);
  const kept = answer.headers.get("Kept");
  const problem = kept === null ? null : new Refusal(Number(kept), "an older answer");
  return { data, headers: answer.headers, status: answer.status, problem };
}

function parse(text) {
  try {
    return JSON.parse(text);
  } catch {
    return null;
  }
}

/** Not `fetch`, because only XMLHttpRequest reports upload progress. */
function put(url, file, type, progress, signal) {
  return new Promise((resolve, reject) => {
    if (signal.aborted) return reject(new Refusal(0, "cancelled"));
    const request = new XMLHttpRequest();
    request.open("PUT", url);
    request.setRequestHeader("Content-Type", type);
    request.timeout = 300_000;
    request.upload.onprogress = (event) => event.lengthComputable && progress(Math.floor((100 * event.loaded) / event.total));
    request.onload = () => (request.status < 300 ? resolve() : reject(new Refusal(request.status, request.statusText)));
    request.onerror = request.ontimeout = () => reject(new Refusal(0, "upload failed"));
    request.onabort = () => reject(new Refusal(0, "cancelled"));
    signal.addEventListener("abort", () => request.abort());
    request.send(file);
  });
}
