//! The creator and the commit of a version of a launch template: a part of the version's description.

use crate::package::Commit;

/// The known origin of a release.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Origin {
    /// The short name of the caller.
    pub who: Option<String>,
    /// The commit of the programs.
    pub commit: Option<Commit>,
}

/// The longest name of a user, a role or a session (docs/aws.md §1).
const LONGEST_NAME: usize = 64;
/// Separates the parts of a description.
const SEPARATOR: &str = "; ";
const BY: &str = "by ";
const COMMIT: &str = "commit ";

impl Origin {
    /// The origin of what this caller makes, from programs of this commit.
    pub fn new(caller_arn: &str, commit: Option<&Commit>) -> Origin {
        Origin { who: short_name(caller_arn), commit: commit.cloned() }
    }

    /// A description: `first`, followed by the origin. At most 255 characters, if `first` has up to 100.
    pub fn describe(&self, first: &str) -> String {
        let who = self.who.iter().map(|who| format!("{BY}{who}"));
        let commit = self.commit.iter().map(|commit| format!("{COMMIT}{commit}"));
        std::iter::once(first.to_owned()).chain(who).chain(commit).collect::<Vec<_>>().join(SEPARATOR)
    }

    /// Splits a description into its first part and the origin.
    pub fn parse(description: &str) -> (&str, Origin) {
        let mut parts = description.split(SEPARATOR);
        let first = parts.next().unwrap_or_default();
        let mut origin = Origin::default();
        for part in parts {
            if let Some(who) = part.strip_prefix(BY) {
                origin.who = Some(who.to_owned());
            } else if let Some(commit) = part.strip_prefix(COMMIT) {
                origin.commit = commit.parse().ok();
            }
        }
        (first, origin)
    }
}

/// The last part of an ARN: `ada` of `arn:aws:iam::000000000000:user/dev/ada`, and the session of an assumed role.
pub fn short_name(arn: &str) -> Option<String> {
    // The characters of IAM's names.
    let is_plain = |c: &char| c.is_ascii_alphanumeric() || "_+=,.@-".contains(*c);
    let name: String = arn.rsplit(['/', ':']).next()?.chars().filter(is_plain).take(LONGEST_NAME).collect();
    Some(name).filter(|name| !name.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn commit(hash: &str) -> Option<Commit> {
        Some(hash.parse().expect("a hash"))
    }

    #[test]
    fn a_description_is_read_as_it_was_written() {
        let whole = Origin { who: Some("ada".into()), commit: commit("0123456789abcdef+") };
        assert_eq!(whole.describe("image"), "image; by ada; commit 0123456789abcdef+");
        for origin in [whole, Origin::default(), Origin { who: None, commit: commit("0123456") }] {
            assert_eq!(Origin::parse(&origin.describe("image")), ("image", origin.clone()));
        }
        assert_eq!(Origin::parse("made by hand"), ("made by hand", Origin::default()));
        assert_eq!(Origin::parse("").1, Origin::default());
    }

    #[test]
    fn the_longest_description_fits() {
        let origin =
            Origin::new(&format!("arn:aws:iam::1:user/{}", "é;x".repeat(512)), commit(&"a".repeat(64)).as_ref());
        let text = origin.describe(&"i".repeat(100));
        assert!(text.chars().count() <= 255, "{text}");
        assert_eq!(Origin::parse(&text).1, origin);
    }

    #[test]
    fn a_caller_is_known_by_a_short_name() {
        let names = [
            ("arn:aws:iam::000000000000:root", Some("root")),
            ("arn:aws:iam::000000000000:user/dev/ada", Some("ada")),
            ("arn:aws:sts::000000000000:assumed-role/Admin/ada@example.com", Some("ada@example.com")),
            ("", None),
        ];
        for (arn, name) in names {
            assert_eq!(short_name(arn).as_deref(), name, "{arn}");
        }
    }
}
