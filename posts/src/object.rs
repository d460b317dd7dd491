//! The key of a picture in the bucket: `<user>/<post id>/<uuid><file name>`.

use std::fmt;
use std::str::FromStr;

use percent_encoding::percent_decode;
use uuid::Uuid;

use crate::text::{BadCharacter, check_line, is_invisible};
use crate::{PostId, User};

/// The name of an object that belongs to a post.
///
/// It is parsed from the right, because a user's name may contain a `/`.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct ObjectName {
    user: User,
    post: PostId,
    file: String,
}

/// The key is not the object name of a post's picture.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the object key is not <user>/<post id>/<file>")]
pub struct BadObject;

impl ObjectName {
    /// A new, unique name for a file that a user adds to a post.
    #[must_use]
    pub fn new(user: User, post: PostId, file: &FileName) -> Self {
        let file = format!("{}{file}", Uuid::new_v4());
        Self { user, post, file }
    }

    /// Parses the object key of an S3 event, in which keys are form-encoded, so `a b` arrives as `a+b`.
    pub fn from_event(key: &str) -> Result<Self, BadObject> {
        decode_key(key).ok_or(BadObject)?.parse()
    }

    /// The common prefix of the names of all pictures of a post; what follows it contains no `/`.
    ///
    /// A name with a further `/` belongs to another user: users may be called `ada/<id of ada's post>`.
    #[must_use]
    pub fn prefix(user: &User, post: PostId) -> String {
        format!("{user}/{post}/")
    }

    /// The owner of the picture.
    #[must_use]
    pub fn user(&self) -> &User {
        &self.user
    }

    /// The post of the picture.
    #[must_use]
    pub fn post(&self) -> PostId {
        self.post
    }
}

impl FromStr for ObjectName {
    type Err = BadObject;

    fn from_str(key: &str) -> Result<Self, BadObject> {
        let mut parts = key.rsplitn(3, '/');
        let file = parts.next().filter(|file| !file.is_empty()).ok_or(BadObject)?;
        let post = parts.next().and_then(|id| id.parse().ok()).ok_or(BadObject)?;
        let name = parts.next().ok_or(BadObject)?;
        let user = User::kept(name).ok_or(BadObject)?;
        Ok(Self { user, post, file: file.to_owned() })
    }
}

/// The object key.
impl fmt::Display for ObjectName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { user, post, file } = self;
        write!(f, "{user}/{post}/{file}")
    }
}

/// The last component of a file's path on the user's machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileName(String);

/// Why a text is not a file name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum BadFileName {
    /// Nothing is left after its folders are removed.
    #[error("the file name is empty")]
    Empty,
    /// It could break a log line, a header, a listing or a terminal.
    #[error("{0}")]
    Character(BadCharacter),
}

impl FileName {
    /// The longest file name that is kept unchanged, in bytes of UTF-8.
    pub const MAX_BYTES: usize = 200;
}

impl FromStr for FileName {
    type Err = BadFileName;

    /// Drops folders in Unix or Windows notation, and invisible characters: phones and messengers insert them, and
    /// attackers use them to disguise an extension. A long name keeps its end, with the extension.
    fn from_str(path: &str) -> Result<Self, BadFileName> {
        check_line(path).map_err(BadFileName::Character)?;
        let name: String = path.rsplit(['/', '\\']).next().unwrap_or_default().replace(is_invisible, "");
        match name.trim() {
            "" => Err(BadFileName::Empty),
            name => Ok(Self(name[start_of_tail(name)..].to_owned())),
        }
    }
}

impl fmt::Display for FileName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

fn start_of_tail(name: &str) -> usize {
    name.ceil_char_boundary(name.len().saturating_sub(FileName::MAX_BYTES))
}

/// Decodes a key as in events and in listings with `encoding-type=url`; `None` if it is not UTF-8.
#[must_use]
pub fn decode_key(key: &str) -> Option<String> {
    let spaced = key.replace('+', " ");
    percent_decode(spaced.as_bytes()).decode_utf8().ok().map(std::borrow::Cow::into_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: &str = "018f2f6e-0000-7000-8000-00000000000a";

    fn named(user: &str, file: &str) -> ObjectName {
        ObjectName::new(User::parse(user).unwrap(), ID.parse().unwrap(), &file.parse().unwrap())
    }

    #[test]
    fn names_are_read_from_the_right() {
        for user in ["ada", "a/b", "/", "//x", "#1 & co?", "50 %+", "Zoé"] {
            let name = named(user, "cat.jpg");
            let read: ObjectName = name.to_string().parse().unwrap();
            assert_eq!(read, name);
            assert_eq!((read.user().as_str(), read.post().to_string().as_str()), (user, ID));
        }
    }

    #[test]
    fn a_name_is_user_post_unique_part_and_file() {
        let (name, again) = (named("ada", "cat.jpg").to_string(), named("ada", "cat.jpg").to_string());
        assert!(name.starts_with(&ObjectName::prefix(&User::parse("ada").unwrap(), ID.parse().unwrap())));
        assert!(name.ends_with("cat.jpg"));
        assert_eq!(name.len(), "ada/".len() + 37 + 36 + "cat.jpg".len());
        assert_ne!(name, again);
    }

    #[test]
    fn the_longest_name_is_a_valid_object_key() {
        assert!(named(&"u".repeat(User::MAX_BYTES), &"f".repeat(5000)).to_string().len() <= 1024);
    }

    #[test]
    fn other_keys_are_not_pictures() {
        for key in [
            "",
            "ada",
            "ada/cat.jpg",
            "ada/7/cat.jpg",
            &format!("{ID}/cat.jpg"),
            &format!("/{ID}/cat.jpg"),
            &format!("ada/{ID}/"),
        ] {
            assert_eq!(key.parse::<ObjectName>(), Err(BadObject), "{key}");
        }
    }

    #[test]
    fn keys_in_events_are_form_encoded() {
        let read = ObjectName::from_event(&format!("Zo%C3%A9+%2B+1/{ID}/my+cat%231.jpg")).unwrap();
        assert_eq!(read.to_string(), format!("Zoé + 1/{ID}/my cat#1.jpg"));
        assert_eq!(ObjectName::from_event(&format!("%E9/{ID}/x")), Err(BadObject));
    }

    #[test]
    fn only_the_last_part_of_a_file_name_counts() {
        let name = |path: &str| path.parse::<FileName>().map(|name| name.to_string());
        assert_eq!(name("cat.jpg").as_deref(), Ok("cat.jpg"));
        assert_eq!(name("../../etc/pass wd").as_deref(), Ok("pass wd"));
        assert_eq!(name(r"C:\fakepath\é.png").as_deref(), Ok("é.png"));
        assert_eq!(name("a/"), Err(BadFileName::Empty));
        assert_eq!(name(""), Err(BadFileName::Empty));
        for bad in ["a\r\nb", "a\u{FFFF}b.png", "a\u{FDD0}", "\u{9F}", "bad\0/cat.jpg"] {
            assert!(matches!(name(bad), Err(BadFileName::Character(_))), "{bad:?}");
        }
    }

    #[test]
    fn invisible_characters_in_a_file_name_are_dropped() {
        let name = |path: &str| path.parse::<FileName>().map(|name| name.to_string());
        assert_eq!(name("\u{200E}IMG\u{200B}_1.jpg\u{FEFF}").as_deref(), Ok("IMG_1.jpg"));
        assert_eq!(name("cat\u{202E}gpj.exe").as_deref(), Ok("catgpj.exe"));
        assert_eq!(name("\u{2066}"), Err(BadFileName::Empty));
    }

    #[test]
    fn pictures_of_names_that_are_no_longer_valid_keep_their_owners() {
        for user in ["Zoe\u{301}", " ada ", "a\u{FFFF}b", "ada\u{200B}"] {
            let name: ObjectName = format!("{user}/{ID}/x\u{FFFE}.png").parse().unwrap();
            assert_eq!(name.user().as_str(), user);
        }
    }

    #[test]
    fn long_file_names_keep_their_end() {
        let name: FileName = format!("{}.jpg", "é".repeat(500)).parse().unwrap();
        assert!(name.to_string().len() <= FileName::MAX_BYTES);
        assert!(name.to_string().ends_with("é.jpg"));
    }
}
