//! Variables whose values are kept in AWS: `stack.yaml` has only their names.

use std::collections::BTreeMap;
use std::fmt;

use serde_json::json;

/// The services that keep values.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Store {
    /// Secrets Manager.
    Secret,
    /// Parameter Store of Systems Manager.
    Parameter,
}

/// The longest name of a parameter: AWS counts 1011 characters with the ARN before it, `arn:aws:ssm:REGION:ACCOUNT:parameter/`
/// (docs/aws.md §23.2). This fits in every region and partition.
const LONGEST_PARAMETER: usize = 1011 - "arn:aws-us-gov:ssm:ap-southeast-1:000000000000:parameter/".len();

impl Store {
    /// Its word in `stack.yaml`, and in sentences.
    pub fn word(self) -> &'static str {
        match self {
            Store::Secret => "secret",
            Store::Parameter => "parameter",
        }
    }

    /// The size of the largest value, in bytes (docs/aws.md §23).
    pub fn largest(self) -> usize {
        match self {
            Store::Secret => 64 << 10,
            Store::Parameter => 4 << 10,
        }
    }

    /// The command that sets a value.
    pub fn remedy(self, name: &str) -> String {
        match self {
            Store::Secret => format!("deployer secret set {name}"),
            Store::Parameter => format!("deployer secret set --parameter {name}"),
        }
    }

    /// Checks a name. Errors: the characters that names may have.
    pub fn check(self, name: &str) -> Result<(), &'static str> {
        let (signs, most, help) = match self {
            Store::Secret => ("/_+=.@-", 512, "use 1 to 512 letters, digits and /_+=.@-"),
            Store::Parameter => (
                "/_.-",
                LONGEST_PARAMETER,
                "use letters, digits and _.-, with a slash at the beginning if there are slashes; not beginning with aws \
                 or ssm",
            ),
        };
        let is_plain = name.chars().all(|c| c.is_ascii_alphanumeric() || signs.contains(c));
        let bare = name.trim_start_matches('/').to_ascii_lowercase();
        let is_kept = ["aws", "ssm"].iter().any(|kept| bare.starts_with(kept)) || name.ends_with('/');
        let is_relative = name.contains('/') && !name.starts_with('/');
        let is_hierarchy = name.matches('/').count() <= 15 && !name.contains("//");
        let fits = match self {
            Store::Secret => true,
            Store::Parameter => !is_kept && !is_relative && is_hierarchy,
        };
        if !bare.is_empty() && name.len() <= most && is_plain && fits { Ok(()) } else { Err(help) }
    }
}

/// A value that is kept in AWS. The program's own role reads it when the program starts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredValue {
    /// The store.
    pub store: Store,
    /// Its name there.
    pub name: String,
    /// The member of its text, which is JSON then; the whole text if absent.
    pub key: Option<String>,
}

impl fmt::Display for StoredValue {
    /// `secret app/jwt`, or `secret app/jwt, key value`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.store.word(), self.name)?;
        self.key.iter().try_for_each(|key| write!(f, ", key {key}"))
    }
}

/// The versions of values, by their places. A value that is not here has not been looked for.
pub type Versions = BTreeMap<(Store, String), String>;

impl StoredValue {
    /// The version of its value; empty if unknown.
    pub fn version<'v>(&self, versions: &'v Versions) -> &'v str {
        versions.get(&(self.store, self.name.clone())).map(String::as_str).unwrap_or_default()
    }

    /// The number of bytes that it takes of the limit for variables: in user data, it is two lines of a script.
    pub fn bytes(&self, variable: &str) -> usize {
        const OF_SCRIPT: usize = 200;
        OF_SCRIPT + 3 * variable.len() + 3 * self.name.len() + 2 * self.key.as_ref().map_or(0, String::len)
    }

    /// Its description for a function, as `secret-environment` reads it.
    pub fn reference(&self, version: &str) -> serde_json::Value {
        let mut reference = json!({ self.store.word(): self.name });
        self.key.iter().for_each(|key| reference["key"] = json!(key));
        if !version.is_empty() {
            reference["version"] = json!(version);
        }
        reference
    }
}

/// The kept values of variables, by the names of the variables.
pub type StoredVariables = BTreeMap<String, StoredValue>;

/// The variable of a function with the references to values that are kept in AWS.
pub const REFERENCES: &str = "DEPLOYER_SECRETS";

/// The value of [`REFERENCES`].
pub fn references(stored: &StoredVariables, versions: &Versions) -> String {
    let all: serde_json::Map<_, _> =
        stored.iter().map(|(variable, it)| (variable.clone(), it.reference(it.version(versions)))).collect();
    serde_json::Value::Object(all).to_string()
}

/// The values that the text of [`REFERENCES`] refers to; none if it is not ours.
pub fn read_references(text: &str) -> Vec<(Store, String)> {
    let all: serde_json::Map<String, serde_json::Value> = serde_json::from_str(text).unwrap_or_default();
    let read = |reference: &serde_json::Value| {
        let named = |store: Store| Some((store, reference[store.word()].as_str()?.to_owned()));
        named(Store::Secret).or_else(|| named(Store::Parameter))
    };
    all.values().filter_map(read).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_those_that_aws_accepts() {
        for (store, name, is_good) in [
            (Store::Secret, "app/jwt+=.@-_1", true),
            (Store::Secret, "", false),
            (Store::Secret, "a b", false),
            (Store::Secret, "a'b", false),
            (Store::Secret, &"x".repeat(513), false),
            (Store::Parameter, "/app/db", true),
            (Store::Parameter, "db.url", true),
            (Store::Parameter, "app/db", false),
            (Store::Parameter, "/aws/db", false),
            (Store::Parameter, "SSM-x", false),
            (Store::Parameter, "/app/", false),
            (Store::Parameter, "/", false),
            (Store::Parameter, "/app//db", false),
            (Store::Parameter, "a@b", false),
            (Store::Parameter, &"x".repeat(LONGEST_PARAMETER), true),
            (Store::Parameter, &"x".repeat(LONGEST_PARAMETER + 1), false),
        ] {
            assert_eq!(store.check(name).is_ok(), is_good, "{store:?} {name}");
        }
    }

    #[test]
    fn a_function_gets_references_and_no_values() {
        let stored = |store, name: &str, key: Option<&str>| StoredValue {
            store,
            name: name.into(),
            key: key.map(str::to_owned),
        };
        let all = StoredVariables::from([
            ("A".into(), stored(Store::Secret, "s", Some("k"))),
            ("B".into(), stored(Store::Parameter, "/p", None)),
        ]);
        let versions = Versions::from([((Store::Secret, "s".into()), "7".into())]);
        let expected = r#"{"A":{"secret":"s","key":"k","version":"7"},"B":{"parameter":"/p"}}"#;
        assert_eq!(references(&all, &versions), expected);
        assert_eq!(read_references(expected), [(Store::Secret, "s".into()), (Store::Parameter, "/p".into())]);
        assert_eq!(read_references("{"), []);
        assert_eq!(all["A"].to_string(), "secret s, key k");
    }
}
