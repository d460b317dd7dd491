// The names that people can take: the service holds them to the same rule in posts/src/user.rs.

const BLANKS = /\p{Zs}/gu;
/** Controls, what is invisible or changes the direction of text, and what is no character. */
const BAD = /[\p{Cc}\p{Cf}\p{Cs}\p{Zl}\p{Zp}\p{Default_Ignorable_Code_Point}\p{Noncharacter_Code_Point}\u2800]/u;
const LONGEST_BYTES = 500;

/** The name that somebody means, in the one spelling that it has here; "" if nobody can have it. */
export function nameOf(text) {
  const name = spelled(text);
  const fits = new TextEncoder().encode(name).length <= LONGEST_BYTES;
  const dots = name.split("/").some((part) => part === "." || part === "..");
  return fits && !dots && !BAD.test(name) ? name : "";
}

/** A name in the one spelling that it has, whether or not anybody can have it: what is kept may be older than the rule. */
export function spelled(text) {
  return text.trim().replace(BLANKS, " ").normalize("NFC");
}
