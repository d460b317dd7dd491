// The rule for user names; the service applies the same one in posts/src/user.rs.

const BLANKS = /\p{Zs}/gu;
/** Controls, invisible characters, bidirectional controls and noncharacters. */
const BAD = /[\p{Cc}\p{Cf}\p{Cs}\p{Zl}\p{Zp}\p{Default_Ignorable_Code_Point}\p{Noncharacter_Code_Point}\u2800]/u;
const LONGEST_BYTES = 500;

/** The normalized form of a typed name; "" if it is invalid. */
export function nameOf(text) {
  const name = spelled(text);
  const fits = new TextEncoder().encode(name).length <= LONGEST_BYTES;
  const dots = name.split("/").some((part) => part === "." || part === "..");
  return fits && !dots && !BAD.test(name) ? name : "";
}

/** The normalized form of any name, valid or not: stored names may be older than the rule. */
export function spelled(text) {
  return text.trim().replace(BLANKS, " ").normalize("NFC");
}
