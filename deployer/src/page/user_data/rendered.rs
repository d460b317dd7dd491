//! Rendered user data, taken apart again: its program, its variables and the rest.

use std::collections::BTreeMap;

use serde::{Serialize, Serializer};

use super::DOWNLOAD;
use crate::config::Store;

/// The prefix if it is a command of a unit.
const BEFORE: &str = "ExecStartPre=+/usr/bin/";

/// The program that user data of ours starts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct UploadedProgram<'a> {
    /// The artifact bucket.
    pub bucket: &'a str,
    /// Its key there.
    pub key: &'a str,
    /// Its SHA-256 in hexadecimal.
    pub sha256: &'a str,
}

/// Finds the program in rendered user data; `None` if it is not ours.
pub fn program(text: &str) -> Option<UploadedProgram<'_>> {
    let mut commands = text.lines().map(str::trim_start).map(|line| line.strip_prefix(BEFORE).unwrap_or(line));
    let download = commands.find_map(|line| line.strip_prefix(DOWNLOAD))?;
    let source = download.split(' ').find_map(|word| word.strip_prefix("s3://"))?;
    let (bucket, key) = source.split_once('/')?;
    let is_hash = |text: &&str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_hexdigit());
    let mut hashes = text.lines().filter_map(|line| Some(line.split_once("  /opt/")?.0.trim_start()));
    Some(UploadedProgram { bucket, key, sha256: hashes.find(is_hash)? })
}

/// The variables in rendered user data; `None` if it is not ours.
pub fn variables(text: &str) -> Option<BTreeMap<&str, &str>> {
    parts(text).map(|parts| parts.environment)
}

/// The values kept in AWS that rendered user data reads; none if it is not ours.
pub fn stored_values(text: &str) -> Vec<(Store, &str)> {
    let Some(at) = text.find(STORED_VALUES) else { return Vec::new() };
    let lines = text[at + STORED_VALUES.len() - MARK.len()..].lines();
    lines.map_while(|line| line.strip_prefix(MARK)).filter_map(value_of_mark).collect()
}

fn value_of_mark(mark: &str) -> Option<(Store, &str)> {
    let (_, value) = mark.split_once("=\"")?;
    let (word, rest) = value.split_once(' ')?;
    let store = [Store::Secret, Store::Parameter].into_iter().find(|store| store.word() == word)?;
    // Names contain none of these.
    Some((store, rest.split([' ', ',', '"']).next()?))
}

/// Rendered user data without its variables; `None` if it is not ours.
pub fn commands(text: &str) -> Option<String> {
    parts(text).map(|parts| parts.commands)
}

/// Serialises user data as its variables and the rest, so that a diff shows which variable differs. Different texts
/// always have different parts; a text with another layout is one part.
pub fn in_parts<S: Serializer>(text: &str, serializer: S) -> Result<S::Ok, S::Error> {
    match parts(text) {
        Some(parts) => parts.serialize(serializer),
        None => text.serialize(serializer),
    }
}

/// The parts of our user data.
#[derive(Serialize)]
struct Parts<'a> {
    environment: BTreeMap<&'a str, &'a str>,
    commands: String,
}

const VARIABLES: &str = "  permissions: '0600'\n  content: |\n";

/// The head of the script with the values that are kept in AWS, up to its marks.
const STORED_VALUES: &str = "/secrets\n  permissions: '0644'\n  content: |\n    # ";

/// The prefix of a mark.
const MARK: &str = "    # ";

fn parts(text: &str) -> Option<Parts<'_>> {
    let (before, rest) = text.split_once(VARIABLES)?;
    // Values have no line breaks.
    let after = rest.find("\n- path:")? + 1;
    let mut environment = variables_in(&rest[..after], "    ")?;
    let rest = &rest[after..];
    let mut commands = before.to_owned();
    // The marks of values that are kept in AWS count as variables, too.
    let rest = match rest.find(STORED_VALUES) {
        None => rest,
        Some(at) => {
            let begin = at + STORED_VALUES.len() - MARK.len();
            let is_mark = |line: &&str| line.starts_with(MARK);
            let length: usize = rest[begin..].split_inclusive('\n').take_while(is_mark).map(str::len).sum();
            for (name, value) in variables_in(&rest[begin..begin + length], MARK)? {
                if environment.insert(name, value).is_some() {
                    return None;
                }
            }
            commands += &rest[..begin];
            &rest[begin + length..]
        }
    };
    Some(Parts { environment, commands: commands + rest })
}

/// The variables in lines that begin like this; `None` if they are not in order: in another order, or repeated, they would
/// be a different text with the same parts.
fn variables_in<'t>(lines: &'t str, before: &str) -> Option<BTreeMap<&'t str, &'t str>> {
    let mut variables = BTreeMap::new();
    for line in lines.lines() {
        let (name, value) = line.strip_prefix(before)?.split_once('=')?;
        let is_next = variables.last_key_value().is_none_or(|(last, _)| *last < name);
        variables.insert(name, value.strip_prefix('"')?.strip_suffix('"')?);
        if !is_next {
            return None;
        }
    }
    Some(variables)
}

#[cfg(test)]
mod tests {
    use super::super::tests::postagram;
    use super::*;

    #[test]
    fn the_program_is_read_from_the_text() {
        let bucket = "postagram-artifacts-000000000000-us-east-1";
        let expected = Some(UploadedProgram { bucket, key: "services/web/abc123", sha256: "abc123" });
        let seed = format!("s3://{bucket}/seed.json");
        // Values that look like the lines of the unit and of the checksum.
        let download = format!("ExecStartPre=+/usr/bin/aws s3 cp {seed} /x");
        for value in ["", &seed, &download, "0123  /opt/x"] {
            let text = postagram(&[("SEED", value)]).render().unwrap();
            assert_eq!(program(&text), expected, "{value:?}");
        }
        assert_eq!(program(&seed), None, "a text that is not ours");
    }

    #[test]
    fn the_parts_tell_which_variable_differs() {
        #[derive(Serialize)]
        struct Settings(#[serde(serialize_with = "in_parts")] String);
        let parts = |text: &str| serde_json::to_value(Settings(text.into())).unwrap();
        let text = postagram(&[("B", r#"say "psst""#), ("A", "1")]).render().unwrap();
        let environment = serde_json::json!({ "A": "1", "B": r#"say \"psst\""#, "PORT": "8080" });
        assert_eq!(parts(&text)["environment"], environment);
        assert!(!parts(&text)["commands"].as_str().unwrap().contains("psst"));
        for other in [text.replace("A=\"1\"", "A=\"2\""), text.replace("web", "wob")] {
            assert_ne!(parts(&other), parts(&text));
        }
        let swapped = text.replace("A=\"1\"\n    B=", "C=\"1\"\n    B=");
        assert!(parts(&swapped).is_string(), "out of order: {swapped}");
        assert_eq!(parts("#cloud-config\n"), "#cloud-config\n");
    }

    #[test]
    fn a_value_that_looks_like_another_file_is_a_part_of_the_variables() {
        let text = postagram(&[("A", "x - path: y"), ("B", "- path: /etc")]).render().unwrap();
        let environment = [("A", "x - path: y"), ("B", "- path: /etc"), ("PORT", "8080")];
        assert_eq!(variables(&text), Some(BTreeMap::from(environment)));
        assert_eq!(commands(&text), commands(&postagram(&[]).render().unwrap()));
    }

    #[test]
    fn the_program_is_found_whatever_the_variables_hold() {
        let trap = "x  /opt/postagram-web/service ExecStartPre=+/usr/bin/aws s3 cp s3://other/key /opt";
        let text = postagram(&[("A", trap), ("ExecStartPre", trap)]).render().unwrap();
        let bucket = "postagram-artifacts-000000000000-us-east-1";
        assert_eq!(program(&text), Some(UploadedProgram { bucket, key: "services/web/abc123", sha256: "abc123" }));
        assert_eq!(variables(&text).unwrap()["PORT"], "8080");
        assert_eq!(program("#cloud-config\n"), None);
        assert!(variables("#cloud-config\n").is_none() && commands("#cloud-config\n").is_none());
    }
}
