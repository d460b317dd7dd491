//! Lists of posts, in pages or as a whole.

use std::hash::{DefaultHasher, Hash as _, Hasher as _};

use bytes::Bytes;
use posts::{PostId, User};

use super::Api;
use super::answers::Listed;
use crate::http::error::Error;
use crate::http::json::Json;
use crate::storage::row::Post;
use crate::storage::rows::Part;

/// The query of a list.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Question {
    pub(super) user: Option<User>,
    /// In lower case.
    pub(super) label: Option<String>,
    pub(super) part: Part,
}

/// A page of a list.
#[derive(Clone)]
pub(crate) struct List {
    /// The posts as a JSON array.
    pub(super) posts: Bytes,
    /// The post after which the list continues, if it does.
    pub(super) next: Option<PostId>,
    /// Differs from that of every other page.
    tag: u64,
}

impl List {
    pub(super) fn of(posts: Bytes, next: Option<PostId>) -> Self {
        let mut hasher = DefaultHasher::new();
        (&posts, next).hash(&mut hasher);
        Self { posts, next, tag: hasher.finish() }
    }

    /// Answers with this page, unless the client has it.
    pub(super) fn answer(self, part: Part, known: Option<&str>) -> Listed {
        // Whole lists have no tag: most are too large to be held in memory, where one could be computed.
        let Some(_) = part.limit else { return Listed::Posts(Json::written(self.posts), None, None) };
        // Weak, as it is the same compressed.
        let tag = format!("W/\"{:016x}\"", self.tag);
        if known.is_some_and(|known| known.contains(&tag[2..])) {
            return Listed::Unchanged(tag);
        }
        Listed::Posts(Json::written(self.posts), self.next.map(|id| id.to_string()), Some(tag))
    }
}

/// Whether the picture of a post has this label, given in lower case.
pub(super) fn has_label(post: &Post<'_>, label: &str) -> bool {
    post.picture.iter().flat_map(|picture| &picture.labels).any(|it| it.read().to_lowercase() == label)
}

/// A list that is sent in pages.
pub(super) struct Pages {
    pub(super) api: Api,
    /// The query of the next page.
    pub(super) question: Question,
    /// The page that was already read.
    pub(super) ready: Option<List>,
    /// Whether any post has been sent.
    pub(super) has_sent: bool,
}

impl Pages {
    /// Returns the next piece of the JSON array; `None` after the last.
    pub(super) async fn piece(&mut self) -> Result<Option<Bytes>, Error> {
        let mut piece = Vec::new();
        while piece.is_empty() {
            let is_first = self.ready.is_some();
            let List { posts, next, .. } = match self.ready.take() {
                Some(first) => first,
                None if self.question.part.after.is_none() => return Ok(None),
                None => self.api.part(&self.question).await?,
            };
            let posts = &posts[1..posts.len() - 1];
            piece.reserve(posts.len() + 2);
            if is_first {
                piece.push(b'[');
            }
            if self.has_sent && !posts.is_empty() {
                piece.push(b',');
            }
            piece.extend_from_slice(posts);
            self.has_sent |= !posts.is_empty();
            self.question.part.after = next;
            if next.is_none() {
                piece.push(b']');
            }
        }
        Ok(Some(piece.into()))
    }
}
