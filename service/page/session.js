// The session: the user, by an unverified name or by a token that the service checks; and the pictures they sent.

import * as api from "/api.js";
import { nameOf, spelled } from "/names.js";
import { ofBrowser, ofWindow } from "/storage.js";

const NAME = "postagram.name";
const TOKEN = "postagram.token";
const SENT = "postagram.sent";

let way = null;

/** Asks the service how users log in, and returns the user who is still logged in, or "". */
export async function begin() {
  way = await api.config();
  const known = byToken() ? ofWindow.get(TOKEN) : ofBrowser.get(NAME);
  return known ? logIn(known) : "";
}

/** Whether `begin` is over. */
export function hasBegun() {
  return way !== null;
}

/** The name with which the user is likely to be still logged in, before the service has said how; "" if there is none. */
export function likelyName() {
  return hasBegun() ? "" : (ofBrowser.get(NAME) ?? "");
}

/** Whether the user is certainly not, or no longer, logged in. */
export function isVisitor() {
  return hasBegun() || !(ofBrowser.get(NAME) || ofWindow.get(TOKEN));
}

/** Whether users log in with a token rather than by name. */
export function byToken() {
  return way?.auth === "jwt";
}

/** Where users get a token; null if unknown. */
export function tokensFrom() {
  return /^https?:/.test(way?.login ?? "") ? way.login : null;
}

/** Logs in with a name or a token, and returns the user's name; "" if it is invalid or the token has none. */
export function logIn(text) {
  const user = byToken() ? nameIn(text, way.claim ?? "sub") : nameOf(text);
  if (!user) return "";
  api.speakFor(byToken() ? `Bearer ${text}` : asHeader(user));
  // A token is more sensitive than a name: it is stored only as long as its window.
  if (byToken()) ofWindow.set(TOKEN, text);
  else ofBrowser.set(NAME, user);
  return user;
}

/** Names → their normalized forms: every change of the page asks for those of all posts. */
const spellings = new Map();

/** Whether a post of this name is the user's. Names in tokens are exact; typed ones are normalized. */
export function isName(name, user) {
  if (byToken()) return name === user;
  if (!spellings.has(name)) spellings.set(name, spelled(name));
  return spellings.get(name) === user;
}

export function logOut() {
  api.speakFor(null);
  ofWindow.remove(TOKEN);
  ofWindow.remove(SENT);
  ofBrowser.remove(NAME);
}

/**
 * Pictures sent from this window whose labels are awaited: post id → { at, before }, the time of the upload and the
 * picture that was analysed last before it.
 */
export function sent() {
  return JSON.parse(ofWindow.get(SENT) ?? "{}");
}

/** Remembers, even across reloads, that a picture's labels are awaited. */
export function rememberSent(id, before) {
  ofWindow.set(SENT, JSON.stringify({ ...sent(), [id]: { at: Date.now(), before } }));
}

export function forgetSent(id) {
  const { [id]: _, ...others } = sent();
  if (Object.keys(others).length) ofWindow.set(SENT, JSON.stringify(others));
  else ofWindow.remove(SENT);
}

/** The unverified claims of the token; verifying them is up to the service. */
function nameIn(token, claim) {
  try {
    const bytes = Uint8Array.from(atob(token.split(".")[1].replaceAll("-", "+").replaceAll("_", "/")), (byte) => byte.charCodeAt(0));
    const name = JSON.parse(new TextDecoder().decode(bytes))[claim];
    return typeof name === "string" && name.trim() ? name : "";
  } catch {
    return "";
  }
}

/** Browsers only accept header characters up to U+00FF: encodes the name's UTF-8 bytes as one character each. */
function asHeader(name) {
  return Array.from(new TextEncoder().encode(name), (byte) => String.fromCharCode(byte)).join("");
}
