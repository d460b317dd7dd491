//! Variables of `stack.yaml` whose values look like secrets.

use super::{Config, Environment, Piece, Text};

/// A variable that looks like a secret.
#[derive(Debug, PartialEq, Eq)]
pub struct Exposed {
    /// Its path, such as `services.web.environment.TOKEN`.
    pub path: String,
    /// What it looks like.
    pub what: &'static str,
    /// What to do about it.
    pub remedy: &'static str,
}

const OTHERS_SEE_IT: &str = "everyone who may read this file, the function or the launch template sees it: keep it in AWS \
                             with `deployer secret set NAME`, and write { secret: NAME } here";

/// What gives a secret away: whether a variable has it, what it looks like, and the remedy.
type Sign = (fn(&str, &Text) -> bool, &'static str, &'static str);

/// The signs, in the order in which they are looked for.
const SIGNS: &[Sign] = &[
    (
        |_, text| literals(text).any(has_access_key),
        "an access key of AWS",
        "leave it out: the program has the permissions in `uses`, with keys that expire",
    ),
    (|_, text| literals(text).any(has_private_key), "a private key", OTHERS_SEE_IT),
    (|name, text| is_named_like_one(name) && is_random(text), "a secret", OTHERS_SEE_IT),
];

/// Words in the names of secrets.
const WORDS: &[&str] = &["APIKEY", "CREDENTIAL", "CREDENTIALS", "KEY", "PASSWD", "PASSWORD", "SECRET", "TOKEN"];

impl Config {
    /// Returns the variables whose values look like secrets.
    pub fn exposed(&self) -> Vec<Exposed> {
        let functions = self.functions.iter().map(|(entry, it)| (format!("functions.{entry}"), &it.variables.texts));
        let services = self.services.iter().map(|(entry, it)| (format!("services.{entry}"), &it.variables.texts));
        functions.chain(services).flat_map(|(entry, environment)| exposed(&entry, environment)).collect()
    }
}

fn exposed(entry: &str, environment: &Environment) -> Vec<Exposed> {
    let look = |(name, text): (&String, &Text)| {
        let (_, what, remedy) = *SIGNS.iter().find(|(is_one, ..)| is_one(name, text))?;
        Some(Exposed { path: format!("{entry}.environment.{name}"), what, remedy })
    };
    environment.iter().filter_map(look).collect()
}

fn literals(text: &Text) -> impl Iterator<Item = &str> {
    text.pieces().iter().filter_map(|piece| match piece {
        Piece::Literal(text) => Some(text.as_str()),
        Piece::Reference(_) => None,
    })
}

/// Whether it holds the id of a key: four letters for the kind, and sixteen more (IAM user guide, "Understanding unique
/// ID prefixes").
fn has_access_key(text: &str) -> bool {
    let mut words = text.split(|c: char| !c.is_ascii_alphanumeric());
    words.any(|word| {
        let is_key = word.starts_with("AKIA") || word.starts_with("ASIA");
        is_key && word.len() == 20 && word.bytes().all(|byte| byte.is_ascii_uppercase() || byte.is_ascii_digit())
    })
}

/// Whether it holds a key in PEM (RFC 7468).
fn has_private_key(text: &str) -> bool {
    text.contains("-----BEGIN ") && text.contains("PRIVATE KEY-----")
}

pub(super) fn is_named_like_one(name: &str) -> bool {
    name.to_ascii_uppercase().split('_').any(|word| WORDS.contains(&word))
}

/// Whether it is a single random-looking word of letters and digits, rather than an address, a path or a name.
fn is_random(text: &Text) -> bool {
    let [Piece::Literal(text)] = text.pieces() else { return false };
    let is_plain = !text.contains("://") && !text.starts_with('/') && !text.contains(char::is_whitespace);
    let is_mixed = text.contains(|c: char| c.is_ascii_digit()) && text.contains(|c: char| c.is_ascii_alphabetic());
    text.len() >= 16 && is_plain && is_mixed && bits_for_each(text) >= 3.5
}

/// Shannon's entropy of the characters, in bits.
fn bits_for_each(text: &str) -> f64 {
    let mut counts = std::collections::BTreeMap::<char, f64>::new();
    text.chars().for_each(|character| *counts.entry(character).or_default() += 1.0);
    let all: f64 = counts.values().sum();
    counts.values().map(|count| count / all).map(|share| -share * share.log2()).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn what(name: &str, value: &str) -> Option<&'static str> {
        let description = serde_json::json!({
            "name": "app", "region": "us-east-1", "buckets": { "x": {} },
            "functions": { "f": { "package": "p", "environment": { name: value } } },
        });
        let config = Config::parse("stack.yaml", &description.to_string()).unwrap_or_else(|errors| panic!("{errors}"));
        let exposed = config.exposed();
        assert!(exposed.iter().all(|it| it.path == format!("functions.f.environment.{name}")));
        exposed.first().map(|it| it.what)
    }

    #[test]
    fn secrets_are_recognised_by_their_form_or_by_name_and_randomness() {
        let key = format!("AKIA{}", "IOSFODNN7EXAMPLE");
        for (name, value, expected) in [
            ("AWS_KEY_ID", key.as_str(), Some("an access key of AWS")),
            ("NOTE", &format!("use {key}."), Some("an access key of AWS")),
            ("NOTE", &format!("{key}X"), None),
            ("PEM", "-----BEGIN EC PRIVATE KEY-----MHcCAQEE", Some("a private key")),
            ("CERTIFICATE", "-----BEGIN CERTIFICATE-----MHcCAQEE", None),
            ("JWT_SECRET", "9f86d081884c7d659a2feaa0c55ad015", Some("a secret")),
            ("db_password", "xK7-pQ2_vR9sT4wZ", Some("a secret")),
            ("COMMIT", "9f86d081884c7d659a2feaa0c55ad015", None),
            ("MONKEY", "9f86d081884c7d659a2feaa0c55ad015", None),
            ("API_KEY", "${buckets.x.name}", None),
            ("API_KEY", "short1", None),
            ("TOKEN_URL", "https://auth.example.com/v2/oauth/token", None),
            ("KEY_PREFIX", "uploads/incoming/pictures", None),
            ("PASSWORD", "aaaaaaaaaaaaaaaa1111", None),
        ] {
            assert_eq!(what(name, value), expected, "{name}={value}");
        }
    }
}
