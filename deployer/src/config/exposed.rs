//! Variables and commands of `stack.yaml` that look like secrets.

use super::{Commands, Config, Environment, Piece, Program, Text};

/// A variable that looks like a secret, or a command that contains one.
#[derive(Debug, PartialEq, Eq)]
pub struct Exposed {
    /// Its path, such as `services.web.environment.TOKEN`.
    pub path: String,
    /// The verb before the kind: a variable looks like a secret, a command contains one.
    pub verb: &'static str,
    /// The kind of secret, such as "a private key".
    pub what: &'static str,
    /// The remedy.
    pub remedy: &'static str,
}

const OTHERS_SEE_IT: &str = "anyone with read access to this file, the function or the launch template sees it: keep it in AWS \
                             with `deployer secret set NAME`, and write { secret: NAME } here";

const IN_A_COMMAND: &str = "anyone with read access to this file or the launch template sees it: keep it in AWS with \
                            `deployer secret set NAME`, write { secret: NAME } under `environment`, and read the variable here";

/// A sign of a secret: the test for it, a description, and the remedy.
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

/// Plans hide the values of variables with these parts in their names. The list is longer than [`WORDS`]: hiding too
/// much costs less than showing a secret.
const PARTS: &[&str] =
    &["AUTH", "CREDENTIAL", "DSN", "KEY", "PASS", "PRIVATE", "PWD", "SALT", "SECRET", "SIGNATURE", "TOKEN"];

/// Words in the names of secrets.
const WORDS: &[&str] = &["APIKEY", "CREDENTIAL", "CREDENTIALS", "KEY", "PASSWD", "PASSWORD", "SECRET", "TOKEN"];

impl Config {
    /// Returns the variables whose values look like secrets, and the commands that contain what does.
    pub fn exposed(&self) -> Vec<Exposed> {
        let variables = self.variables().flat_map(|(entry, variables)| exposed(&entry, &variables.texts));
        let commands = self.services.iter().flat_map(|(entry, service)| match &service.program {
            Program::Files(folder) => exposed_in(&format!("services.{entry}"), &folder.commands),
            Program::Package(_) | Program::Binary(_) | Program::Managed(_) => Vec::new(),
        });
        variables.chain(commands).collect()
    }
}

fn exposed(entry: &str, environment: &Environment) -> Vec<Exposed> {
    let look = |(name, text): (&String, &Text)| {
        let (_, what, remedy) = looks_like_one(name, text)?;
        Some(Exposed { path: format!("{entry}.environment.{name}"), verb: "looks like", what, remedy })
    };
    environment.iter().filter_map(look).collect()
}

fn exposed_in(entry: &str, commands: &Commands) -> Vec<Exposed> {
    let fields = [("run", Some(&commands.run)), ("setup", commands.setup.as_ref())];
    let look = |(field, command): (&str, Option<&String>)| {
        let what = secret_in(command?)?;
        Some(Exposed { path: format!("{entry}.{field}"), verb: "contains", what, remedy: IN_A_COMMAND })
    };
    fields.into_iter().filter_map(look).collect()
}

/// The kind of secret that a command contains.
fn secret_in(command: &str) -> Option<&'static str> {
    let mut words = command.split_whitespace();
    let signs = [
        (has_access_key(command), "an access key of AWS"),
        (has_private_key(command), "a private key"),
        (words.clone().any(has_literal_password), "an address with a password"),
        (words.any(assigns_a_secret), "a secret"),
    ];
    signs.into_iter().find(|(is_one, _)| *is_one).map(|(_, what)| what)
}

/// Whether a word of a command is like `API_KEY=…` or `--api-key=…`, with a value that looks like a secret.
fn assigns_a_secret(word: &str) -> bool {
    let surrounds = |c: char| matches!(c, '"' | '\'' | '(' | ')' | ';');
    word.trim_matches(surrounds).split_once('=').is_some_and(|(name, value)| {
        let name = name.trim_start_matches('-').replace('-', "_");
        let value = value.trim_matches(surrounds);
        is_named_like_one(&name) && !value.starts_with('$') && is_random_word(value)
    })
}

/// Whether it is an address with a password that the shell does not read from a variable.
fn has_literal_password(word: &str) -> bool {
    word.split("://").skip(1).any(|rest| {
        let authority = rest.split('/').next().unwrap_or_default();
        let password = authority.rsplit_once('@').and_then(|(user, _)| Some(user.split_once(':')?.1));
        password.is_some_and(|password| !password.is_empty() && !password.starts_with('$'))
    })
}

fn looks_like_one(name: &str, text: &Text) -> Option<Sign> {
    SIGNS.iter().find(|(is_one, ..)| is_one(name, text)).copied()
}

/// Whether plans may show the value of a variable: neither its name nor its value looks like a secret.
pub(super) fn is_open(name: &str, text: &Text) -> bool {
    let name_in_capitals = name.to_ascii_uppercase();
    // A reference may stand for a part of an address.
    let whole: String = text.pieces().iter().map(|piece| piece.literal().unwrap_or("x")).collect();
    let is_named_like_one = PARTS.iter().any(|part| name_in_capitals.contains(part));
    !is_named_like_one && looks_like_one(name, text).is_none() && !is_secret(&whole)
}

/// Whether a value is a secret, whatever the name of its variable: a key, or an address with a password.
pub fn is_secret(value: &str) -> bool {
    has_access_key(value) || has_private_key(value) || has_password(value)
}

/// Whether it holds an address with a password, such as `postgres://user:password@host`.
fn has_password(text: &str) -> bool {
    text.split("://").skip(1).any(|rest| rest.split_once(':').is_some_and(|(_, rest)| rest.contains('@')))
}

fn literals(text: &Text) -> impl Iterator<Item = &str> {
    text.pieces().iter().filter_map(Piece::literal)
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

fn is_named_like_one(name: &str) -> bool {
    name.to_ascii_uppercase().split('_').any(|word| WORDS.contains(&word))
}

/// Whether it is a single random-looking word of letters and digits, rather than an address, a path or a name.
fn is_random(text: &Text) -> bool {
    matches!(text.pieces(), [Piece::Literal(text)] if is_random_word(text))
}

fn is_random_word(text: &str) -> bool {
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
    fn plans_show_neither_what_is_named_nor_what_looks_like_a_secret() {
        let key = format!("AKIA{}", "IOSFODNN7EXAMPLE");
        for (name, value, expected) in [
            ("GREETING", "hello", true),
            ("API_URL", "https://example.org:8080/path", true),
            ("COMMIT", "9f86d081884c7d659a2feaa0c55ad015", true),
            ("ACCESS", key.as_str(), false),
            ("PEM", "-----BEGIN EC PRIVATE KEY-----MHcCAQEE", false),
            ("DATABASE_URL", "postgres://user:pw@db.example.org/app", false),
            ("DATABASE_URL", "postgres://user:pw@${buckets.x.name}/app", false),
            ("DATABASE_URL", "postgres://${buckets.x.name}:pw@db/app", false),
            ("DBPASSWORD", "x", false),
            ("DB_PASS", "x", false),
            ("PASSPHRASE", "x", false),
            ("SECRETS", "x", false),
            ("dbPassword", "x", false),
            ("SENTRY_DSN", "x", false),
            ("apikey", "x", false),
        ] {
            let environment = serde_json::json!({ name: value });
            let description = serde_json::json!({
                "name": "app", "region": "us-east-1", "buckets": { "x": {} },
                "functions": { "f": { "package": "p", "environment": environment } },
            });
            let config = Config::parse("stack.yaml", &description.to_string()).unwrap_or_else(|it| panic!("{it}"));
            let open = config.functions.values().next().unwrap().variables.open();
            assert_eq!(open.contains(name), expected, "{name}={value}");
        }
    }

    #[test]
    fn commands_that_contain_a_secret_are_found() {
        let key = format!("AKIA{}", "IOSFODNN7EXAMPLE");
        for (command, expected) in [
            ("python3 main.py --port $PORT", None),
            (&*format!("AWS_ACCESS_KEY_ID={key} python3 main.py"), Some("an access key of AWS")),
            ("echo '-----BEGIN EC PRIVATE KEY-----MHcCAQEE' > key.pem", Some("a private key")),
            ("pip3 install git+https://ada:hunter2@git.example.org/app.git", Some("an address with a password")),
            ("pip3 install git+https://ada:${GIT_TOKEN_1}@git.example.org/app.git", None),
            ("curl http://localhost:8080/ada@example.org", None),
            ("export API_TOKEN=\"xK7-pQ2_vR9sT4wZ\"; python3 main.py", Some("a secret")),
            ("python3 main.py --api-key=xK7-pQ2_vR9sT4wZ", Some("a secret")),
            ("API_TOKEN=$OTHER_TOKEN_NUMBER_27 python3 main.py", None),
            ("COMMIT=9f86d081884c7d659a2feaa0c55ad015 python3 main.py", None),
        ] {
            for field in ["run", "setup"] {
                let mut service = serde_json::json!({
                    "files": "app", "run": "x", "port": 8080, "instance_type": "t3.micro", "health_check": "/",
                });
                service[field] = command.into();
                let description =
                    serde_json::json!({ "name": "app", "region": "us-east-1", "services": { "web": service } });
                let config = Config::parse("stack.yaml", &description.to_string()).unwrap_or_else(|it| panic!("{it}"));
                let found = config.exposed();
                let path = format!("services.web.{field}");
                assert!(found.iter().all(|it| it.path == path && it.verb == "contains"), "{found:?}");
                assert_eq!(found.first().map(|it| it.what), expected, "{field}: {command}");
                assert!(found.is_empty() || config.place_of(&path).is_some(), "it has a line");
            }
        }
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
