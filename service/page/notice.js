// Messages: what screen readers announce, and the texts for errors. Errors are shown where they belong, not here.

import { Refusal } from "/api.js";
import { $ } from "/elements.js";
import * as session from "/session.js";
import { say } from "/words.js";

/** Announces a change that is visible on the page to people who do not see it. */
export function announce(text) {
  $("notice").textContent = text;
}

/** Our text for an error of the service, by the invalid field or else by the status. */
const FIELDS = { Authorization: "nameRefused", title: "titleRefused", body: "bodyRefused", alt: "altRefused" };
const STATUSES = { 0: "offline", 404: "notFound", 408: "busy", 413: "tooLarge", 422: "unusable", 429: "busy", 502: "busy", 503: "busy", 504: "busy" };

export function explain(problem) {
  if (!(problem instanceof Refusal)) throw problem;
  if (problem.status === 401) return say(session.byToken() ? "tokenEnded" : "nameUnknown");
  return say(FIELDS[problem.field] ?? STATUSES[problem.status] ?? "fault");
}

/** Whether the service rejects the login rather than the request. */
export function isOfLogin(problem) {
  return problem.status === 401 || problem.field === "Authorization";
}
