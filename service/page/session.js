// Who is here: somebody by a name that is believed, or by a token that the service checks; and which pictures they sent.

import * as api from "/api.js";
import { nameOf, spelled } from "/names.js";

const NAME = "postagram.name";
const TOKEN = "postagram.token";
const SENT = "postagram.sent";

let way = null;

/** Asks how people log in here, and returns who still is logged in: "" if nobody. */
export async function begin() {
  way = await api.config();
  const known = byToken() ? sessionStorage.getItem(TOKEN) : localStorage.getItem(NAME);
  return known ? logIn(known) : "";
}

/** Whether `begin` is over. */
export function hasBegun() {
  return way !== null;
}

/** Whether people log in with a token rather than by name. */
export function byToken() {
  return way?.auth === "jwt";
}

/** Where people get a token; null if we do not know. */
export function tokensFrom() {
  return /^https?:/.test(way?.login ?? "") ? way.login : null;
}

/** Logs in with a name or a token, and returns the user's name: "" if it is none, or the token names nobody. */
export function logIn(text) {
  const user = byToken() ? nameIn(text, way.claim ?? "sub") : nameOf(text);
  if (!user) return "";
  api.speakFor(byToken() ? `Bearer ${text}` : asHeader(user));
  // A token is worth more than a name: it is forgotten with its window.
  if (byToken()) sessionStorage.setItem(TOKEN, text);
  else localStorage.setItem(NAME, user);
  return user;
}

/** Whether a post of this name is the user's. Tokens name users exactly, and keyboards spell one name in many ways. */
export function isName(name, user) {
  return byToken() ? name === user : spelled(name) === user;
}

export function logOut() {
  api.speakFor(null);
  sessionStorage.removeItem(TOKEN);
  sessionStorage.removeItem(SENT);
  localStorage.removeItem(NAME);
}

/**
 * Pictures that were sent from this window and whose labels are awaited: post id → { at, before }, since when, and the
 * picture that was looked at last until then.
 */
export function sent() {
  return JSON.parse(sessionStorage.getItem(SENT) ?? "{}");
}

/** Remembers, even when the page is loaded again, that a picture's labels are awaited from now on. */
export function rememberSent(id, before) {
  sessionStorage.setItem(SENT, JSON.stringify({ ...sent(), [id]: { at: Date.now(), before } }));
}

export function forgetSent(id) {
  const { [id]: _, ...others } = sent();
  if (Object.keys(others).length) sessionStorage.setItem(SENT, JSON.stringify(others));
  else sessionStorage.removeItem(SENT);
}

/** What the token says of itself; whether that is true is for the service to check. */
function nameIn(token, claim) {
  try {
    const bytes = Uint8Array.from(atob(token.split(".")[1].replaceAll("-", "+").replaceAll("_", "/")), (byte) => byte.charCodeAt(0));
    const name = JSON.parse(new TextDecoder().decode(bytes))[claim];
    return typeof name === "string" && name.trim() ? name : "";
  } catch {
    return "";
  }
}

/** Headers hold bytes, and browsers only take characters up to U+00FF: the name's UTF-8 bytes, one character each. */
function asHeader(name) {
  return Array.from(new TextEncoder().encode(name), (byte) => String.fromCharCode(byte)).join("");
}
