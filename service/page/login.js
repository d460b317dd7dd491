// Logging in and out: a dialog that asks for a name or a token, when it is needed.

import { $ } from "/elements.js";
import { explain, isOfLogin } from "/notice.js";
import * as session from "/session.js";
import { changed, ready, state } from "/state.js";
import { say } from "/words.js";

let after = null;

/** Asks for the login, with a reason if there is one, and then does what needs it. */
export function askToLogIn({ why = "", then = null } = {}) {
  after = then;
  showProblem(why);
  if (!$("login").open) $("login").showModal();
  $("login-name").focus();
}

/** Does something that needs a user, after asking who it is if necessary. */
export async function asUser(act) {
  await ready;
  if (state.user) act();
  else askToLogIn({ then: act });
}

/**
 * The text for an error of a user's action. If the service rejects the login, asks to log in again and returns "": drafts
 * stay.
 */
export function refused(problem) {
  const why = explain(problem);
  if (!isOfLogin(problem)) return why;
  session.logOut();
  state.user = "";
  changed();
  askToLogIn({ why });
  return "";
}

export function start() {
  $("login-form").addEventListener("submit", async (event) => {
    event.preventDefault();
    // Only the service knows whether this is a name, which the browser keeps, or a token, which it must not.
    await ready;
    // It may have been closed meanwhile.
    if ($("login").open) logIn($("login-name").value.trim());
  });
  $("login-name").addEventListener("input", () => showProblem(""));
  $("login-close").addEventListener("click", () => $("login").close());
}

function logIn(text) {
  const user = text && session.logIn(text);
  if (!user) {
    showProblem(say(!text ? "nameMissing" : session.byToken() ? "tokenWithoutUser" : "nameRefused"));
    return $("login-name").focus();
  }
  state.user = user;
  $("login-form").reset();
  $("login").close();
  changed();
  const act = after;
  after = null;
  act?.();
}

function showProblem(why) {
  $("login-problem").textContent = why;
  $("login-name").setAttribute("aria-invalid", String(Boolean(why)));
}

/** Asks for a token instead of a name. */
export function askForToken() {
  const field = $("login-name");
  Object.assign(field, { type: "password", autocomplete: "off", maxLength: 8192 });
  $("login-label").textContent = say("token");
  $("login-link").hidden = !session.tokensFrom();
  if (session.tokensFrom()) $("login-link").href = session.tokensFrom();
}
