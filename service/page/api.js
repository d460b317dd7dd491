// What the page says to the service and to the bucket.

/** An answer that is an error, or no answer at all (status 0). */
export class Refusal extends Error {
  constructor(status, message) {
    super(message);
    this.status = status;
  }
}

/** Posts of one user, or of all, the newest last. */
export function list(user) {
  return call("GET", user ? `/posts?${new URLSearchParams({ user })}` : "/posts");
}

export function write(user, title, body) {
  return call("POST", "/posts", user, { title, body });
}

export function remove(user, id) {
  return call("DELETE", `/posts/${id}`, user);
}

/** Sends a picture to a post of the user; `progress` hears of each percent. */
export async function upload(user, id, file, progress) {
  const filetype = file.type || "application/octet-stream";
  const question = new URLSearchParams({ filename: file.name || "picture", filetype, postId: id });
  const { uploadURL } = await call("GET", `/signedUrlPut?${question}`, user);
  await put(uploadURL, file, filetype, progress);
}

async function call(method, path, user, body) {
  const headers = {};
  if (user) headers.Authorization = asHeader(user);
  if (body) headers["Content-Type"] = "application/json";
  const signal = AbortSignal.timeout(20_000);
  let answer;
  try {
    answer = await fetch(path, { method, headers, signal, body: body && JSON.stringify(body) });
  } catch (error) {
    throw new Refusal(0, error.message);
  }
  const text = await answer.text().catch(() => "");
  const data = parse(text);
  if (!answer.ok) throw new Refusal(answer.status, data?.message ?? answer.statusText);
  return data;
}

function parse(text) {
  try {
    return JSON.parse(text);
  } catch {
    return null;
  }
}

/** Headers hold bytes, and browsers only take characters up to U+00FF: the name's UTF-8 bytes, one character each. */
function asHeader(name) {
  return Array.from(new TextEncoder().encode(name), (byte) => String.fromCharCode(byte)).join("");
}

/** Not `fetch`, because only this one tells how much has been sent. */
function put(url, file, type, progress) {
  return new Promise((resolve, reject) => {
    const request = new XMLHttpRequest();
    request.open("PUT", url);
    request.setRequestHeader("Content-Type", type);
    request.upload.onprogress = (event) => event.lengthComputable && progress(Math.floor((100 * event.loaded) / event.total));
    request.onload = () => (request.status < 300 ? resolve() : reject(new Refusal(request.status, request.statusText)));
    request.onerror = () => reject(new Refusal(0, "upload failed"));
    request.send(file);
  });
}
