//! Post ids, which are ordered by time.

use std::fmt;
use std::str::FromStr;

use uuid::Uuid;

const PREFIX: &str = "POST#";

/// The id of a post.
///
/// It is a `UUIDv7`, so that sorting ids as text sorts posts by age.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct PostId(Uuid);

/// The text is not a valid post id.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the post id is not a UUID")]
pub struct BadPost;

impl PostId {
    /// A new id, greater than every id made before it in this process.
    #[must_use]
    #[expect(clippy::new_without_default, reason = "a default that differs each time would surprise")]
    pub fn new() -> Self {
        Self(Uuid::now_v7())
    }

    /// Parses the id in a row's sort key.
    #[must_use]
    pub fn from_key(key: &str) -> Option<Self> {
        key.strip_prefix(PREFIX)?.parse().ok()
    }

    /// The sort key of the row, which is also the `id` in every answer.
    #[must_use]
    pub fn key(&self) -> String {
        [PREFIX, self.0.as_hyphenated().encode_lower(&mut Uuid::encode_buffer())].concat()
    }
}

impl FromStr for PostId {
    type Err = BadPost;

    /// Accepts only the usual spelling with hyphens: any other would be a second name for the same post.
    fn from_str(text: &str) -> Result<Self, BadPost> {
        let uuid = Uuid::try_parse(text).map_err(|_| BadPost)?;
        let usual = uuid.as_hyphenated().encode_lower(&mut Uuid::encode_buffer()) == text;
        if usual { Ok(Self(uuid)) } else { Err(BadPost) }
    }
}

impl fmt::Display for PostId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.as_hyphenated().fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_grow_also_within_a_millisecond() {
        let ids: Vec<String> = (0..10_000).map(|_| PostId::new().key()).collect();
        assert!(ids.is_sorted_by(|a, b| a < b));
    }

    #[test]
    fn keys_lead_back_to_ids() {
        let id = PostId::new();
        assert_eq!(PostId::from_key(&id.key()), Some(id));
        assert_eq!(id.key().matches('#').count(), 1);
        assert_eq!(PostId::from_key(&id.to_string()), None);
    }

    #[test]
    fn one_post_has_one_spelling() {
        let id = "018f2f6e-0000-7000-8000-00000000000a";
        assert_eq!(id.parse::<PostId>().unwrap().to_string(), id);
        for other in ["", "7", &id.to_uppercase(), &id.replace('-', ""), &format!("{{{id}}}"), &format!("POST#{id}")] {
            assert_eq!(other.parse::<PostId>(), Err(BadPost), "{other}");
        }
    }
}
