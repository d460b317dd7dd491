//! User names: as people type them, and as they are stored.

use std::borrow::Cow;
use std::fmt;

use icu_normalizer::{ComposingNormalizerBorrowed, DecomposingNormalizerBorrowed};

use crate::text::{BadCharacter, check_name, is_blank};

const PREFIX: &str = "USER#";

/// A name that owns posts.
///
/// The valid names are those of RFC 8265's `UsernameCasePreserved` with respect to normalization form C and invisible
/// characters, but with the blanks and symbols of its `OpaqueString`: see [`User::parse`] and [`User::exact`]. Rows and
/// objects may have other names, from before these rules: [`User::kept`] reads them unchanged.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct User(String);

/// Why a name is invalid.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum BadUser {
    /// It is empty, or consists of blanks.
    #[error("the name is empty")]
    Empty,
    /// With post id and file name it would not fit into an object key of 1,024 bytes.
    #[error("the name is longer than {} bytes", User::MAX_BYTES)]
    TooLong,
    /// Browsers rewrite `.` and `..` in paths, so a picture of that user could never be shown.
    #[error("the name has a component '.' or '..'")]
    DotPart,
    /// It could break a header or a listing, or imitate another name.
    #[error("{0}")]
    Character(BadCharacter),
    /// It is another spelling of a name that may be in use.
    #[error("the name is not in Unicode normalization form C")]
    NotNormalized,
}

impl User {
    /// The longest name, in bytes of UTF-8.
    pub const MAX_BYTES: usize = 500;

    /// Normalises a typed name, so that all spellings by keyboards are the same name: converts it to normalization form
    /// C, replaces other blanks with U+0020, and trims it, as browsers do in headers.
    pub fn parse(name: &str) -> Result<Self, BadUser> {
        let name: String = name.trim().chars().map(|it| if is_blank(it) { ' ' } else { it }).collect();
        Self::exact(&nfc(&name))
    }

    /// Accepts a name only if it is exactly valid. Token issuers may have users that differ in blanks or normalization:
    /// such names are rejected rather than mapped to another user.
    pub fn exact(name: &str) -> Result<Self, BadUser> {
        if name.trim().is_empty() {
            return Err(BadUser::Empty);
        }
        if name.len() > Self::MAX_BYTES {
            return Err(BadUser::TooLong);
        }
        check_name(name).map_err(BadUser::Character)?;
        if has_dot_part(name) {
            return Err(BadUser::DotPart);
        }
        if nfc(name) != name {
            return Err(BadUser::NotNormalized);
        }
        Ok(Self(name.to_owned()))
    }

    /// The user named by a row or an object, whatever the rules were when it was written; `None` if it cannot be a
    /// user.
    #[must_use]
    pub fn kept(name: &str) -> Option<Self> {
        let good = !name.trim().is_empty()
            && name.len() <= Self::MAX_BYTES
            && !name.contains(char::is_control)
            && !has_dot_part(name);
        good.then(|| Self(name.to_owned()))
    }

    /// Other users whose posts may belong to the same person: before names were normalized, posts were stored under the
    /// keyboard's spelling. Nothing new is written under these names.
    #[must_use]
    pub fn other_spellings(name: &str) -> Vec<Self> {
        let (name, normal) = (name.trim(), Self::parse(name).ok());
        let decomposed = normal.as_ref().map(|user| nfd(user.as_str()).into_owned());
        let mut others: Vec<Self> = Vec::new();
        for spelling in [Some(Cow::from(name)), decomposed.map(Cow::from)].into_iter().flatten() {
            let user = Self::kept(&spelling).filter(|user| Some(user) != normal.as_ref() && !others.contains(user));
            others.extend(user);
        }
        others
    }

    /// The name in the bytes of an `Authorization` header.
    ///
    /// Browsers send ISO-8859-1 and other clients UTF-8. Both spellings of a name must give the same user, and accented
    /// ISO-8859-1 is practically never valid UTF-8.
    #[must_use]
    pub fn name_in_header(value: &[u8]) -> Cow<'_, str> {
        match std::str::from_utf8(value) {
            Ok(name) => Cow::Borrowed(name),
            Err(_) => value.iter().copied().map(char::from).collect(),
        }
    }

    /// Parses the user in a row's partition key.
    #[must_use]
    pub fn from_key(key: &str) -> Option<Self> {
        Self::kept(key.strip_prefix(PREFIX)?)
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

fn nfc(text: &str) -> Cow<'_, str> {
    ComposingNormalizerBorrowed::new_nfc().normalize(text)
}

fn nfd(text: &str) -> Cow<'_, str> {
    DecomposingNormalizerBorrowed::new_nfd().normalize(text)
}

fn has_dot_part(name: &str) -> bool {
    name.split('/').any(|part| part == "." || part == "..")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn from_header(value: &[u8]) -> Result<User, BadUser> {
        User::parse(&User::name_in_header(value))
    }

    fn names(users: &[User]) -> Vec<&str> {
        users.iter().map(User::as_str).collect()
    }

    #[test]
    fn both_encodings_of_a_header_are_the_same_user() {
        let latin = from_header(&[0x5a, 0x6f, 0xe9]);
        let unicode = from_header("Zoé".as_bytes());
        assert_eq!(latin, unicode);
        assert_eq!(latin.unwrap().as_str(), "Zoé");
        assert_eq!(from_header("Мария".as_bytes()).unwrap().as_str(), "Мария");
    }

    #[test]
    fn blanks_around_a_name_are_trimmed_unless_a_token_vouches_for_them() {
        assert_eq!(from_header(b"  ada b \t"), User::parse("ada b"));
        assert_eq!(User::exact(" ada ").unwrap().as_str(), " ada ");
        assert_ne!(User::exact(" ada "), User::exact("ada"));
        assert_eq!(User::exact("  "), Err(BadUser::Empty));
    }

    #[test]
    fn however_a_name_is_spelled_it_is_one_name() {
        for (spelling, name) in [
            ("Zoe\u{301}", "Zoé"),
            ("A\u{30A}sa", "Åsa"),
            ("\u{212B}sa", "Åsa"),
            ("\u{1100}\u{1161}\u{11A8}", "각"),
            ("Nguye\u{302}\u{303}n", "Nguyễn"),
            ("ada\u{A0}b", "ada b"),
            ("\u{3000}ada\u{2003}b\u{202F}", "ada b"),
        ] {
            assert_eq!(User::parse(spelling).unwrap().as_str(), name);
            assert!(User::exact(spelling).is_err(), "{spelling:?}");
        }
        assert_eq!(User::exact("Zoe\u{301}"), Err(BadUser::NotNormalized));
        // Names that differ in case are different users, and so are names that differ in a ligature.
        assert_ne!(User::parse("Ada"), User::parse("ada"));
        assert_ne!(User::parse("ﬁ"), User::parse("fi"));
    }

    #[test]
    fn some_texts_are_no_user() {
        assert_eq!(User::parse(" \t"), Err(BadUser::Empty));
        assert_eq!(from_header(b""), Err(BadUser::Empty));
        assert_eq!(User::parse(&"é".repeat(251)), Err(BadUser::TooLong));
        assert_eq!(User::parse("a/../b"), Err(BadUser::DotPart));
        for character in [
            '\n',
            '\0',
            '\u{7F}',
            '\u{85}',
            '\u{FFFF}',
            '\u{FDD0}',
            '\u{10FFFE}',
            '\u{200B}',
            '\u{200D}',
            '\u{AD}',
            '\u{FEFF}',
            '\u{2060}',
            '\u{202E}',
            '\u{2066}',
            '\u{200F}',
            '\u{61C}',
            '\u{2028}',
            '\u{180E}',
            '\u{3164}',
            '\u{FE0F}',
            '\u{E0041}',
            '\u{2800}',
        ] {
            let refused = User::parse(&format!("a{character}b"));
            assert!(matches!(refused, Err(BadUser::Character(_))), "{character:?}: {refused:?}");
        }
    }

    #[test]
    fn keys_lead_back_to_names() {
        for name in ["ada", "a/b", "#1 & co", "50 %", "x,y+z", "d'Arc?", "..a", " ada "] {
            let user = User::exact(name).unwrap();
            assert_eq!(user.key(), format!("USER#{name}"));
            assert_eq!(User::from_key(&user.key()), Some(user));
        }
        for none in ["ada", "USER#", "USER# ", "USER#a\nb", "USER#.."] {
            assert_eq!(User::from_key(none), None, "{none:?}");
        }
    }

    #[test]
    fn names_written_under_other_rules_are_read_unchanged() {
        for name in ["Zoe\u{301}", "ada\u{200B}", "a\u{FFFF}b", "ada\u{A0}b"] {
            assert_eq!(User::from_key(&format!("USER#{name}")).unwrap().as_str(), name);
        }
    }

    #[test]
    fn a_user_is_found_under_other_spellings() {
        assert_eq!(names(&User::other_spellings("ada")), [""; 0]);
        assert_eq!(names(&User::other_spellings(" Zoé ")), ["Zoe\u{301}"]);
        assert_eq!(names(&User::other_spellings("Zoe\u{301}")), ["Zoe\u{301}"]);
        assert_eq!(names(&User::other_spellings("ada\u{A0}b")), ["ada\u{A0}b"]);
        // New users cannot choose these, but old posts may have them.
        assert_eq!(names(&User::other_spellings("ada\u{200B}")), ["ada\u{200B}"]);
        assert_eq!(names(&User::other_spellings("a\nb")), [""; 0]);
        assert_eq!(names(&User::other_spellings("")), [""; 0]);
    }
}
