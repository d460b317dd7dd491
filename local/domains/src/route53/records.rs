//! The values of records: which are valid, and their form in DNS messages.

use std::net::{Ipv4Addr, Ipv6Addr};

use crate::name;

/// The types of records that can be kept, with their numbers in DNS.
pub const KINDS: &[(&str, u16)] = &[
    ("A", 1),
    ("AAAA", 28),
    ("CAA", 257),
    ("CNAME", 5),
    ("MX", 15),
    ("NS", 2),
    ("PTR", 12),
    ("SOA", 6),
    ("SPF", 99),
    ("SRV", 33),
    ("TXT", 16),
];

/// Returns the number of a type in DNS.
pub fn number(kind: &str) -> Option<u16> {
    KINDS.iter().find(|(name, _)| *name == kind).map(|(_, number)| *number)
}

/// Returns the type with this number.
pub fn kind(number: u16) -> Option<&'static str> {
    KINDS.iter().find(|(_, known)| *known == number).map(|(name, _)| *name)
}

/// Checks a value. The error is the problem in Route 53's words (docs/aws.md §21.3).
pub fn check(kind: &str, value: &str) -> Result<(), String> {
    encoded(kind, value).map(|_| ())
}

/// Returns a value as the data of a record in a DNS message. The error is the problem in Route 53's words.
pub fn encoded(kind: &str, value: &str) -> Result<Vec<u8>, String> {
    let fields: Vec<&str> = value.split_whitespace().collect();
    Ok(match (kind, fields.as_slice()) {
        ("A", _) => {
            let address: Result<Ipv4Addr, _> = value.parse();
            address
                .map_err(|_| fatal("ARRDATAIllegalIPv4Address", "Value is not a valid IPv4 address", value))?
                .octets()
                .to_vec()
        }
        ("AAAA", _) => {
            let address: Result<Ipv6Addr, _> = value.parse();
            let illegal = |_| fatal("AAAARRDATAIllegalIPv6Address", "Value is not a valid IPv6 address", value);
            address.map_err(illegal)?.octets().to_vec()
        }
        ("CNAME" | "NS" | "PTR", _) => name_of(value)?,
        ("MX", [priority, host]) => [number_of::<u16>(priority)?.to_be_bytes().to_vec(), name_of(host)?].concat(),
        ("MX", _) => return Err(fatal("MXRRDATANotTwoFields", "MX record doesn't have 2 fields", value)),
        ("SRV", [priority, weight, port, host]) => {
            let numbers = [number_of::<u16>(priority)?, number_of(weight)?, number_of(port)?];
            [numbers.iter().flat_map(|number| number.to_be_bytes()).collect(), name_of(host)?].concat()
        }
        ("SRV", _) => return Err(fatal("SRVRRDATANotFourFields", "SRV record doesn't have 4 fields", value)),
        ("SOA", [host, mailbox, rest @ ..]) if rest.len() == 5 => {
            let mut data = [name_of(host)?, name_of(mailbox)?].concat();
            for field in rest {
                data.extend(number_of::<u32>(field)?.to_be_bytes());
            }
            data
        }
        ("SOA", _) => return Err(fatal("SOARRDATANotSevenFields", "SOA record doesn't have 7 fields", value)),
        ("CAA", [flags, tag, ..]) => {
            let (flags, tag) = (number_of::<u8>(flags)?, tag.to_ascii_lowercase());
            let text = strings(value.splitn(3, char::is_whitespace).nth(2).unwrap_or_default(), value)?.concat();
            let known = !tag.is_empty() && tag.len() <= 15 && tag.bytes().all(|byte| byte.is_ascii_alphanumeric());
            if !known {
                return Err(fatal("CAARRDATAInvalidTag", "CAA tag is not valid", value));
            }
            [vec![flags, u8::try_from(tag.len()).unwrap_or_default()], tag.into_bytes(), text].concat()
        }
        ("CAA", _) => return Err(fatal("CAARRDATANotThreeFields", "CAA record doesn't have 3 fields", value)),
        ("TXT" | "SPF", _) => {
            let strings = strings(value, value)?;
            strings
                .into_iter()
                .flat_map(|text| [vec![u8::try_from(text.len()).unwrap_or(u8::MAX)], text].concat())
                .collect()
        }
        _ => return Err(format!("the local AWS has no records of the type {kind}")),
    })
}

/// The flags, tag and value of a CAA record.
pub fn caa(value: &str) -> Option<(u8, String, String)> {
    let mut fields = value.splitn(3, char::is_whitespace);
    let (flags, tag, text) = (fields.next()?, fields.next()?, fields.next()?);
    let text = strings(text, value).ok()?.concat();
    Some((flags.parse().ok()?, tag.to_ascii_lowercase(), String::from_utf8_lossy(&text).into_owned()))
}

fn fatal(code: &str, text: &str, value: &str) -> String {
    format!("Invalid Resource Record: 'FATAL problem: {code} ({text}) encountered with '{value}''")
}

fn number_of<T: std::str::FromStr>(field: &str) -> Result<T, String> {
    field.parse().map_err(|_| fatal("NumberInvalid", "Value is not a number in its range", field))
}

/// Returns a domain name as labels in a DNS message. Characters that host names lack are accepted.
fn name_of(text: &str) -> Result<Vec<u8>, String> {
    if text.contains(char::is_whitespace) {
        return Err(fatal("UnsupportedCharacter", "Value contains unsupported characters", text));
    }
    let normal = name::normal(text).ok_or_else(|| fatal("DomainLabelEmpty", "Domain label is empty", text))?;
    Ok(in_message(&normal))
}

/// Returns a name in Route 53's form as labels in a DNS message.
pub fn in_message(normal: &str) -> Vec<u8> {
    let mut bytes = Vec::new();
    for label in name::labels(normal) {
        bytes.push(u8::try_from(label.len()).unwrap_or_default());
        bytes.extend(label);
    }
    bytes.push(0);
    bytes
}

/// The maximum length of a quoted string in bytes.
const LONGEST_STRING: usize = 255;

/// Returns the strings in quotation marks that a value consists of.
fn strings(text: &str, value: &str) -> Result<Vec<Vec<u8>>, String> {
    let unquoted = || fatal("InvalidCharacterString", "Value should be enclosed in quotation marks", value);
    let mut found = Vec::new();
    let mut rest = text.trim();
    while !rest.is_empty() {
        let inside = rest.strip_prefix('"').ok_or_else(unquoted)?;
        let bytes = inside.as_bytes();
        let (mut at, mut string) = (0, Vec::new());
        loop {
            match bytes.get(at) {
                None => return Err(unquoted()),
                Some(b'"') => break,
                Some(b'\\') => {
                    let octal = bytes.get(at + 1..at + 4).and_then(|digits| std::str::from_utf8(digits).ok());
                    match octal.and_then(|digits| u8::from_str_radix(digits, 8).ok()) {
                        Some(byte) => {
                            string.push(byte);
                            at += 4;
                        }
                        None => {
                            string.extend(bytes.get(at + 1));
                            at += 2;
                        }
                    }
                }
                Some(byte) => {
                    string.push(*byte);
                    at += 1;
                }
            }
        }
        if string.len() > LONGEST_STRING {
            return Err(fatal("CharacterStringTooLong", "Value is too long", value));
        }
        found.push(string);
        rest = inside.get(at + 1..).ok_or_else(unquoted)?.trim_start();
    }
    if found.is_empty() { Err(unquoted()) } else { Ok(found) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_have_the_form_of_their_type() {
        for (kind, good, bad) in [
            ("A", "127.0.0.1", "127.0.0.256"),
            ("AAAA", "::1", "127.0.0.1"),
            ("CNAME", "a.example.com", "a..b"),
            ("NS", "ns-1.awsdns-00.com.", "two words"),
            ("MX", "10 mail.example.com", "mail.example.com"),
            ("SRV", "1 2 3 a.b", "1 2 3"),
            ("SOA", "a.b. c.d. 1 7200 900 1209600 86400", "a.b. c.d. 1"),
            ("CAA", "0 issue \"amazon.com\"", "0 issue amazon.com"),
            ("TXT", "\"a b\" \"c\"", "a b"),
            ("SPF", "\"v=spf1 -all\"", "\"open"),
        ] {
            assert_eq!(check(kind, good), Ok(()), "{kind} {good}");
            let message = check(kind, bad).unwrap_err();
            assert!(message.starts_with("Invalid Resource Record: 'FATAL problem: "), "{kind} {bad}: {message}");
        }
        assert_eq!(
            check("A", "x").unwrap_err(),
            "Invalid Resource Record: 'FATAL problem: ARRDATAIllegalIPv4Address (Value is not a valid IPv4 address) encountered with 'x''"
        );
        assert!(check("TXT", &format!("\"{}\"", "x".repeat(256))).is_err());
    }

    #[test]
    fn values_are_encoded_as_in_messages() {
        assert_eq!(encoded("TXT", "\"a\\\"b\" \"\\101\"").unwrap(), b"\x03a\"b\x01A");
        assert_eq!(encoded("MX", "10 a.b.").unwrap(), b"\x00\x0a\x01a\x01b\x00");
        assert_eq!(encoded("CAA", "128 IssueWild \";\"").unwrap(), b"\x80\x09issuewild;");
        assert_eq!(caa("0 issue \"amazon.com\""), Some((0, "issue".to_owned(), "amazon.com".to_owned())));
    }
}
