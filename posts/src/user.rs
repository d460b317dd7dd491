//! Who writes: a name, as people type it and as it travels.

use std::fmt;

const PREFIX: &str = "USER#";

/// A name that can own posts: trimmed, not empty, and fit to begin an object key.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct User(String);

/// Why a text is no user.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum BadUser {
    /// Nothing is left of it after trimming.
    #[error("the name is empty")]
    Empty,
    /// With post id and file name it would not fit into an object key of 1,024 bytes.
    #[error("the name is longer than {} bytes", User::MAX_BYTES)]
    TooLong,
    /// Browsers rewrite `.` and `..` in paths, so a picture of that user could never be shown.
    #[error("the name has a part that is '.' or '..'")]
    DotPart,
    /// It holds what no header can carry.
    #[error("the name holds control characters")]
    Control,
}

impl User {
    /// The longest name, in bytes of UTF-8.
    pub const MAX_BYTES: usize = 500;

    /// The user with this name; blanks around it do not count, because browsers trim them in headers.
    pub fn parse(name: &str) -> Result<Self, BadUser> {
        let name = name.trim();
        if name.is_empty() {
            Err(BadUser::Empty)
        } else if name.len() > Self::MAX_BYTES {
            Err(BadUser::TooLong)
        } else if name.contains(char::is_control) {
            Err(BadUser::Control)
        } else if name.split('/').any(|part| part == "." || part == "..") {
            Err(BadUser::DotPart)
        } else {
            Ok(Self(name.to_owned()))
        }
    }

    /// The user named by the bytes of an `Authorization` header.
    ///
    /// Browsers send ISO-8859-1 and other clients UTF-8. Both spellings of a name must be the same person,
    /// and accented ISO-8859-1 is practically never valid UTF-8.
    pub fn from_header(value: &[u8]) -> Result<Self, BadUser> {
        match std::str::from_utf8(value) {
            Ok(name) => Self::parse(name),
            Err(_) => Self::parse(&value.iter().copied().map(char::from).collect::<String>()),
        }
    }

    /// The user a row's partition key names, if it names one.
    #[must_use]
    pub fn from_key(key: &str) -> Option<Self> {
        let name = key.strip_prefix(PREFIX)?;
        Self::parse(name).ok().filter(|user| user.as_str() == name)
    }

    /// The partition key of this user's rows.
    #[must_use]
    pub fn key(&self) -> String {
        format!("{PREFIX}{self}")
    }

    /// The name.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for User {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_encodings_of_a_header_are_the_same_person() {
        let latin = User::from_header(&[0x5a, 0x6f, 0xe9]);
        let unicode = User::from_header("Zoé".as_bytes());
        assert_eq!(latin, unicode);
        assert_eq!(latin.unwrap().as_str(), "Zoé");
        assert_eq!(User::from_header("Мария".as_bytes()).unwrap().as_str(), "Мария");
    }

    #[test]
    fn blanks_around_a_name_do_not_count() {
        assert_eq!(User::from_header(b"  ada b \t"), User::parse("ada b"));
    }

    #[test]
    fn some_texts_are_no_user() {
        assert_eq!(User::parse(" \t"), Err(BadUser::Empty));
        assert_eq!(User::from_header(b""), Err(BadUser::Empty));
        assert_eq!(User::parse(&"é".repeat(251)), Err(BadUser::TooLong));
        assert_eq!(User::parse("a\nb"), Err(BadUser::Control));
        assert_eq!(User::parse("a/../b"), Err(BadUser::DotPart));
    }

    #[test]
    fn keys_lead_back_to_names() {
        for name in ["ada", "a/b", "#1 & co", "50 %", "x,y+z", "d'Arc?", "..a"] {
            let user = User::parse(name).unwrap();
            assert_eq!(user.key(), format!("USER#{name}"));
            assert_eq!(User::from_key(&user.key()), Some(user));
        }
        assert_eq!(User::from_key("ada"), None);
        assert_eq!(User::from_key("USER#"), None);
        assert_eq!(User::from_key("USER# ada"), None);
    }
}
