//! The endpoints of the API.

mod answers;
mod bodies;
mod config;
mod lists;
mod parameters;

use std::io;
use std::sync::Arc;

use bytes::Bytes;
use futures::stream::{self, Stream};
use poem_openapi::OpenApi;
use poem_openapi::param::{Header, Path, Query};
use posts::{FileName, ObjectName, PostId, User};

use crate::http::error::{Error, caused};
use crate::http::json::{self, Json};
use crate::http::post::{PostJson, PostSchema};
use crate::http::ready::Readiness;
use crate::identity::author::{Author, Owner};
use crate::storage::pictures::{Address, Pictures};
use crate::storage::row::{Post, Text};
use crate::storage::rows::{Found, Part, Rows};
use crate::storage::single_flight::SingleFlight;

use answers::{Deleted, Described, Health, Listed, Upload, Written};
use bodies::{NewDescription, NewPost, Parsed};
pub(crate) use config::Config;
use lists::{List, Pages, Question, has_label};
use parameters::{read_cursor, read_id, read_limit, read_order, read_type};

/// The most posts in one page of a list.
const MAX_LIMIT: usize = 1000;
/// How often the deletion of a post is attempted if a new picture arrives each time.
const ATTEMPTS: usize = 5;

/// The operations of the API.
#[derive(Clone)]
pub(crate) struct Api {
    pub rows: Rows,
    pub pictures: Pictures,
    pub lists: Arc<SingleFlight<Question, Result<List, Error>>>,
    pub readiness: Arc<Readiness>,
    pub login: Config,
}

#[OpenApi]
impl Api {
    /// Write a post
    #[oai(path = "/posts", method = "post", operation_id = "writePost")]
    async fn write(&self, author: Author, draft: Parsed<NewPost>) -> Result<Written, Error> {
        let NewPost { title, body, alt } = &draft.0;
        let (title, body) = (Text::Plain(title), Text::Plain(body));
        let alt = alt.as_deref().filter(|alt| !alt.is_empty()).map(Text::Plain);
        let post = Post { id: PostId::new(), user: author.0, title, body, alt, picture: None, removed: None };
        self.rows.add(&post).await?;
        Ok(Written::Post(Json::like(&PostJson::of(&post, None), 512)))
    }

    /// List posts, the newest last unless asked otherwise
    ///
    /// Everything written or deleted through the same instance is included, and so is everything of one `user`. While
    /// the table holds at most 1 MiB, changes by others are included, too; in a list of all posts of a larger table
    /// they may show up to a minute later (longer where reading the table's keys takes more than three seconds). The
    /// rows themselves are always current.
    #[oai(path = "/posts", method = "get", operation_id = "listPosts")]
    #[expect(clippy::too_many_arguments, reason = "each parameter of the request is one")]
    async fn list(
        &self,
        /// Only the posts of this user; all if empty.
        user: Query<Option<String>>,
        /// An alias of `user`.
        id_user: Query<Option<String>>,
        /// Only posts whose picture has this label, in upper or lower case; all if empty.
        label: Query<Option<String>>,
        /// The maximum number of posts, 1 to 1000; all if absent. Pages of long posts may be shorter: the list ends
        /// only where there is no `Next-Cursor`.
        limit: Query<Option<usize>>,
        /// Continues after the post named by the previous page's `Next-Cursor` header.
        cursor: Query<Option<String>>,
        /// Which posts come first: `oldest` (default) or `newest`.
        order: Query<Option<String>>,
        /// The `ETag` of an earlier answer to the same request with a `limit`: if it would be the same, there is no
        /// body.
        #[oai(name = "If-None-Match")]
        known: Header<Option<String>>,
    ) -> Result<Listed, Error> {
        let part =
            Part { after: read_cursor(cursor.0)?, limit: read_limit(limit.0)?, order: read_order(order.0.as_deref())? };
        let name = [user.0, id_user.0].into_iter().flatten().find(|name| !name.trim().is_empty());
        let users = name.map_or_else(|| vec![None], |name| self.users_called(&name).into_iter().map(Some).collect());
        let label = label.0.map(|label| label.trim().to_lowercase()).filter(|label| !label.is_empty());
        for user in users {
            let question = Question { user, label: label.clone(), part };
            let list = self.part(&question).await?;
            if part.limit.is_none() && list.next.is_some() {
                return Ok(Listed::Posts(Json::in_parts(self.clone().all(question, list)), None, None));
            }
            if list.next.is_some() || *list.posts != *b"[]" {
                return Ok(list.answer(part, known.0.as_deref()));
            }
        }
        // Not a valid name, or a name without posts.
        Ok(List::of(json::write(&[(); 0], 2), None).answer(part, known.0.as_deref()))
    }

    /// Read one post
    #[oai(path = "/posts/:id", method = "get", operation_id = "readPost")]
    async fn read(
        &self,
        /// The post's `id`, or the UUID after its `#`.
        id: Path<String>,
        /// Its author.
        user: Query<String>,
    ) -> Result<Json<PostSchema>, Error> {
        let id = read_id(&id.0).map_err(|_| Error::NoSuchPost)?;
        let found = self.find(&user.0, id).await?;
        let (posts, _) = found.posts()?;
        let post = posts.first().ok_or(Error::NoSuchPost)?;
        Ok(Json::like(&PostJson::of(post, self.address(post).await?), 2 * found.size()))
    }

    /// Describe the picture of your post, for people who do not see it
    #[oai(path = "/posts/:id", method = "patch", operation_id = "describePost")]
    async fn describe(
        &self,
        owner: Owner,
        /// The post's `id`, or the UUID after its `#`.
        id: Path<String>,
        description: Parsed<NewDescription>,
    ) -> Result<Described, Error> {
        let id = read_id(&id.0)?;
        for user in owner.names() {
            match self.rows.describe(user, id, &description.0.alt).await {
                Err(Error::NoPost) => (),
                done => return done.map(|()| Described::Done),
            }
        }
        Err(owner.has_none())
    }

    /// Delete your post and its pictures
    #[oai(path = "/posts/:id", method = "delete", operation_id = "deletePost")]
    async fn delete(
        &self,
        owner: Owner,
        /// The post's `id`, or the UUID after its `#`.
        id: Path<String>,
    ) -> Result<Deleted, Error> {
        let id = read_id(&id.0)?;
        for user in owner.names() {
            match self.delete_of(user, id).await {
                Err(Error::NoPost) => (),
                done => return done.map(|()| Deleted::Gone),
            }
        }
        Err(owner.has_none())
    }

    /// Get a URL for uploading a picture to a post
    ///
    /// Upload it with PUT and exactly `Content-Type: <filetype>`.
    #[oai(path = "/signedUrlPut", method = "get", operation_id = "uploadAddress")]
    async fn upload(
        &self,
        owner: Owner,
        /// The file name; only the last part of a path is used.
        filename: Query<String>,
        /// Its media type, which must be an image type.
        filetype: Query<String>,
        /// The post's `id`, or the UUID after its `#`; the post must be the caller's.
        #[oai(name = "postId")]
        post_id: Query<String>,
    ) -> Result<Json<Upload>, Error> {
        self.upload_to(owner, &filename.0, &filetype.0, &post_id.0).await
    }

    /// Get a URL for uploading a picture to a post (alias)
    #[oai(path = "/getSignedUrlPut", method = "get", operation_id = "uploadAddressByItsOtherName")]
    async fn upload_by_its_other_name(
        &self,
        owner: Owner,
        /// The file name; only the last part of a path is used.
        filename: Query<String>,
        /// Its media type, which must be an image type.
        filetype: Query<String>,
        /// The post's `id`, or the UUID after its `#`; the post must be the caller's.
        #[oai(name = "postId")]
        post_id: Query<String>,
    ) -> Result<Json<Upload>, Error> {
        self.upload_to(owner, &filename.0, &filetype.0, &post_id.0).await
    }

    /// Get how users log in
    #[oai(path = "/config", method = "get", operation_id = "config")]
    async fn config(&self) -> Json<Config> {
        Json::of(&self.login)
    }

    /// Check that the service runs
    ///
    /// Independent of AWS: an instance must not be replaced because of an outage of the storage.
    #[oai(path = "/health", method = "get", operation_id = "health")]
    async fn health(&self) -> Json<Health> {
        Json::of(&Health { status: "ok".to_owned() })
    }

    /// Check that the storage is available
    ///
    /// The result is cached for a few seconds.
    #[oai(path = "/ready", method = "get", operation_id = "ready")]
    async fn ready(&self) -> Result<Json<Health>, Error> {
        self.readiness.check(&self.rows, &self.pictures).await?;
        Ok(Json::of(&Health { status: "ready".to_owned() }))
    }
}

impl Api {
    /// Returns a page of a list. The web page often requests the same one: concurrent requests share one read.
    async fn part(&self, question: &Question) -> Result<List, Error> {
        self.lists.run(question, || self.look_up(question)).await
    }

    async fn look_up(&self, Question { user, label, part }: &Question) -> Result<List, Error> {
        // Few posts of a page may have the label: it is taken from a large one.
        let limit = if label.is_some() { part.limit.map(|_| MAX_LIMIT) } else { part.limit };
        let found = self.rows.find(user.as_ref(), Part { limit, ..*part }).await?;
        let (mut posts, mut next) = found.posts()?;
        if let Some(label) = label {
            posts.retain(|post| has_label(post, label));
            if part.limit.is_some_and(|limit| posts.len() > limit) {
                posts.truncate(part.limit.unwrap_or(MAX_LIMIT));
                next = posts.last().map(|post| post.id);
            }
        }
        let addresses = self.pictures.addresses().await?;
        let mut shown = Vec::with_capacity(posts.len());
        for post in &posts {
            let address = match &post.picture {
                Some(picture) => Some(addresses.of(&picture.key).await),
                None => None,
            };
            shown.push(PostJson::of(post, address));
        }
        // An estimate: the bytes of the rows, and the URLs.
        Ok(List::of(json::write(&shown, 2 * found.size()), next))
    }

    /// Reads a post of the user with this name, however it is spelled; there may be none.
    pub(crate) async fn find(&self, name: &str, id: PostId) -> Result<Found, Error> {
        for user in self.users_called(name) {
            let found = self.rows.post(&user, id).await?;
            if !found.posts()?.0.is_empty() {
                return Ok(found);
            }
        }
        Err(Error::NoSuchPost)
    }

    /// Returns the URL of a post's picture, if it has one.
    pub(crate) async fn address(&self, post: &Post<'_>) -> Result<Option<Address>, Error> {
        match &post.picture {
            Some(picture) => Ok(Some(self.pictures.addresses().await?.of(&picture.key).await)),
            None => Ok(None),
        }
    }

    /// Streams all posts page by page, starting with one already read: a large list is never in memory as a whole,
    /// however many clients request it.
    fn all(self, question: Question, first: List) -> impl Stream<Item = io::Result<Bytes>> {
        let pages = Pages { api: self, question, ready: Some(first), has_sent: false };
        stream::try_unfold(pages, |mut pages| async {
            let piece = pages.piece().await.inspect_err(|error| {
                tracing::warn!(cause = error.why(), "a list was cut off");
            });
            Ok(piece.map_err(io::Error::other)?.map(|piece| (piece, pages)))
        })
    }

    async fn delete_of(&self, user: &User, id: PostId) -> Result<(), Error> {
        // No picture outlives its post, wherever this stops and whatever is uploaded meanwhile:
        // - Pictures are deleted before the row. If the storage or the service fails in between, the row still exists,
        //   and another deletion finishes the work.
        // - The row is deleted only if it has not changed since its pictures were listed. If a picture was labelled in
        //   the meantime, the row has changed and the deletion starts over.
        // - A picture that is labelled after the row was deleted is removed by the labeler, which finds no row.
        for _ in 0..ATTEMPTS {
            let shown = self.rows.shown(user, id).await?;
            self.pictures.remove(user, id).await?;
            if self.rows.remove(user, id, shown).await? {
                self.sweep(user, id).await;
                return Ok(());
            }
        }
        Err(Error::Late(caused("the post kept changing")))
    }

    /// Removes pictures that were uploaded after the listing, so that they do not remain until the labeler handles
    /// them.
    async fn sweep(&self, user: &User, id: PostId) {
        if let Err(error) = self.pictures.remove(user, id).await {
            tracing::warn!(cause = error.why(), "pictures of a deleted post may be left to the labeler");
        }
    }

    async fn upload_to(&self, owner: Owner, file: &str, content_type: &str, post: &str) -> Result<Json<Upload>, Error> {
        let file: FileName = file.parse().map_err(|why| Error::field("filename", why))?;
        let content_type = read_type(content_type)?;
        let post = read_id(post)?;
        for user in owner.names() {
            match self.rows.require(user, post).await {
                Err(Error::NoPost) => continue,
                there => there?,
            }
            let name = ObjectName::new(user.clone(), post, &file);
            let upload_url = self.pictures.upload_address(&name, content_type).await?;
            return Ok(Json::of(&Upload { upload_url, object_name: name.to_string() }));
        }
        Err(owner.has_none())
    }

    /// The users that a name may refer to: exactly this one if tokens vouch for names.
    fn users_called(&self, name: &str) -> Vec<User> {
        if self.login.wants_tokens() {
            return User::kept(name).into_iter().collect();
        }
        User::parse(name).into_iter().chain(User::other_spellings(name)).collect()
    }
}
