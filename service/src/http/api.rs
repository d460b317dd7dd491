//! The endpoints of the API.

use std::borrow::Cow;
use std::collections::HashMap;
use std::io;
use std::sync::Arc;

use bytes::Bytes;
use futures::stream::{self, Stream};
use poem::{FromRequest, Request, RequestBody};
use poem_openapi::error::{ContentTypeError, ParseRequestPayloadError};
use poem_openapi::param::{Path, Query};
use poem_openapi::payload::{self, Payload as _};
use poem_openapi::registry::{MetaRequest, Registry};
use poem_openapi::{ApiExtractor, ApiExtractorType, ApiResponse, ExtractParamOptions, Object, OpenApi};
use posts::{FileName, ObjectName, PostId, User, check_text};
use serde::Serialize;
use serde_json::value::RawValue;

use crate::config::Auth;
use crate::http::error::{Error, caused};
use crate::http::json::{self, Json};
use crate::http::ready::Readiness;
use crate::identity::author::{Author, Owner};
use crate::storage::pictures::{Address, Pictures};
use crate::storage::row::{Post, Text};
use crate::storage::rows::{Order, Part, Rows};
use crate::storage::single_flight::SingleFlight;

/// Longest title, in characters.
const MAX_TITLE: usize = 300;
/// Longest body, in characters.
const MAX_BODY: usize = 10_000;
/// Most posts in one part of a list.
const MAX_LIMIT: usize = 1000;
/// How often a picture may come in between while its post is deleted.
const ATTEMPTS: usize = 5;
/// What browsers send for a file whose type they do not know.
const UNKNOWN_TYPE: &str = "application/octet-stream";

/// What the page calls.
#[derive(Clone)]
pub(crate) struct Api {
    pub rows: Rows,
    pub pictures: Pictures,
    pub lists: Arc<SingleFlight<Question, Result<List, Error>>>,
    pub readiness: Arc<Readiness>,
    pub login: Config,
}

/// Which posts are asked for.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Question {
    user: Option<User>,
    part: Part,
}

/// A part of a list.
#[derive(Clone)]
pub(crate) struct List {
    /// The posts as a JSON array.
    posts: Bytes,
    /// Behind which post there are more, if there are.
    next: Option<PostId>,
}

#[OpenApi]
impl Api {
    /// Write a post
    #[oai(path = "/posts", method = "post", operation_id = "writePost")]
    async fn write(&self, author: Author, draft: Draft) -> Result<Written, Error> {
        let (title, body) = (Text::Plain(&draft.0.title), Text::Plain(&draft.0.body));
        let post = Post { id: PostId::new(), user: author.0, title, body, picture: None, removed: None };
        self.rows.add(&post).await?;
        Ok(Written::Post(Json::like(&PostJson::of(&post, None), 512)))
    }

    /// List posts, the newest last unless asked otherwise
    ///
    /// Everything that was written or deleted through the same instance is in it, and everything of one `user`. While the
    /// table holds no more than 1 MiB, so is what others wrote to it; in a list of all posts of a larger table that may
    /// show up to a minute later (longer where reading the table's keys takes more than three seconds), and the rows
    /// themselves are always as they are now.
    #[oai(path = "/posts", method = "get", operation_id = "listPosts")]
    async fn list(
        &self,
        /// Only the posts of this user; all if empty.
        user: Query<Option<String>>,
        /// Another name of `user`.
        id_user: Query<Option<String>>,
        /// At most so many posts, 1 to 1000; all if absent. Long posts come fewer at a time: the list is at its end where
        /// there is no `Next-Cursor`.
        limit: Query<Option<usize>>,
        /// Go on after what the `Next-Cursor` header of the part before named.
        cursor: Query<Option<String>>,
        /// Which posts come first: the `oldest`, unless the `newest` are asked for.
        order: Query<Option<String>>,
    ) -> Result<Listed, Error> {
        let part =
            Part { after: read_cursor(cursor.0)?, limit: read_limit(limit.0)?, order: read_order(order.0.as_deref())? };
        let name = [user.0, id_user.0].into_iter().flatten().find(|name| !name.trim().is_empty());
        let users = name.map_or_else(|| vec![None], |name| self.users_called(&name).into_iter().map(Some).collect());
        for user in users {
            let question = Question { user, part };
            let list = self.part(&question).await?;
            if part.limit.is_none() && list.next.is_some() {
                return Ok(Listed::Posts(Json::in_parts(self.clone().all(question, list)), None));
            }
            if list.next.is_some() || *list.posts != *b"[]" {
                return Ok(Listed::Posts(Json::written(list.posts), list.next.map(|id| id.to_string())));
            }
        }
        // Nobody has this name, or posts under it.
        Ok(Listed::Posts(Json::like(&[(); 0], 2), None))
    }

    /// Delete a post of yours, with its pictures
    #[oai(path = "/posts/:id", method = "delete", operation_id = "deletePost")]
    async fn delete(
        &self,
        owner: Owner,
        /// The post's `id`, or the UUID behind its `#`.
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

    /// Get the address to PUT a post's picture to
    ///
    /// The upload must send exactly `Content-Type: <filetype>`.
    #[oai(path = "/signedUrlPut", method = "get", operation_id = "uploadAddress")]
    async fn upload(
        &self,
        owner: Owner,
        /// What the file is called; only the last part of a path counts.
        filename: Query<String>,
        /// Its type, an image's.
        filetype: Query<String>,
        /// The `id` of the post, or the UUID behind its `#`; it must be the caller's.
        #[oai(name = "postId")]
        post_id: Query<String>,
    ) -> Result<Json<Upload>, Error> {
        self.upload_to(owner, &filename.0, &filetype.0, &post_id.0).await
    }

    /// Get the address to PUT a post's picture to, by its other name
    #[oai(path = "/getSignedUrlPut", method = "get", operation_id = "uploadAddressByItsOtherName")]
    async fn upload_by_its_other_name(
        &self,
        owner: Owner,
        /// What the file is called; only the last part of a path counts.
        filename: Query<String>,
        /// Its type, an image's.
        filetype: Query<String>,
        /// The `id` of the post, or the UUID behind its `#`; it must be the caller's.
        #[oai(name = "postId")]
        post_id: Query<String>,
    ) -> Result<Json<Upload>, Error> {
        self.upload_to(owner, &filename.0, &filetype.0, &post_id.0).await
    }

    /// Ask how people log in
    #[oai(path = "/config", method = "get", operation_id = "config")]
    async fn config(&self) -> Json<Config> {
        Json::of(&self.login)
    }

    /// Tell that the service runs
    ///
    /// Depends on nothing else: an instance must not be replaced because the storage has a bad minute.
    #[oai(path = "/health", method = "get", operation_id = "health")]
    async fn health(&self) -> Json<Health> {
        Json::of(&Health { status: "ok".to_owned() })
    }

    /// Tell whether the storage answers the service
    ///
    /// It is asked every few seconds at most, however often this is.
    #[oai(path = "/ready", method = "get", operation_id = "ready")]
    async fn ready(&self) -> Result<Json<Health>, Error> {
        self.readiness.check(&self.rows, &self.pictures).await?;
        Ok(Json::of(&Health { status: "ready".to_owned() }))
    }
}

impl Api {
    /// Returns a part of a list. Pages ask for the same one again and again: concurrent requests share one read.
    async fn part(&self, question: &Question) -> Result<List, Error> {
        self.lists.run(question, || self.look_up(question)).await
    }

    async fn look_up(&self, Question { user, part }: &Question) -> Result<List, Error> {
        let found = self.rows.find(user.as_ref(), *part).await?;
        let (posts, next) = found.posts()?;
        let addresses = self.pictures.addresses().await?;
        let mut told = Vec::with_capacity(posts.len());
        for post in &posts {
            let address = match &post.picture {
                Some(picture) => Some(addresses.of(&picture.key).await),
                None => None,
            };
            told.push(PostJson::of(post, address));
        }
        // About what DynamoDB said, and an address for some.
        Ok(List { posts: json::write(&told, 2 * found.size()), next })
    }

    /// Tells all posts part by part, of which the first is there: nobody holds all of a large list, neither for one client
    /// nor for all of them.
    fn all(self, question: Question, first: List) -> impl Stream<Item = io::Result<Bytes>> {
        let telling = Telling { api: self, question, ready: Some(first), told: false };
        stream::try_unfold(telling, |mut telling| async {
            let piece = telling.piece().await.inspect_err(|error| {
                tracing::warn!(cause = error.why(), "a list is broken off");
            });
            Ok(piece.map_err(io::Error::other)?.map(|piece| (piece, telling)))
        })
    }

    async fn delete_of(&self, user: &User, id: PostId) -> Result<(), Error> {
        // No picture is left without a post for good, wherever this ends and whatever is uploaded meanwhile:
        // - Pictures go before the row. If the storage fails or the service dies in between, the row is still there, and
        //   deleting again finishes the work.
        // - The row goes only as it was read before its pictures were listed. A picture that came later and was labelled
        //   before the row is gone has changed the row, and all begins anew.
        // - A picture that is labelled after the row is gone is removed by the labeler, which finds no row.
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

    /// Removes pictures whose upload ended after they were listed: soon, and not only when the labeler gets to them.
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

    /// The users of this name, as whoever asks may mean it: where names are vouched for, it is meant exactly.
    fn users_called(&self, name: &str) -> Vec<User> {
        if self.login.wants_tokens() {
            return User::kept(name).into_iter().collect();
        }
        User::parse(name).into_iter().chain(User::other_spellings(name)).collect()
    }
}

/// A list that is sent in parts.
struct Telling {
    api: Api,
    /// Which part comes next.
    question: Question,
    /// The part that was read already.
    ready: Option<List>,
    /// Whether a post has been sent.
    told: bool,
}

impl Telling {
    /// Returns the next piece of the JSON array; nothing after the last.
    async fn piece(&mut self) -> Result<Option<Bytes>, Error> {
        let mut piece = Vec::new();
        while piece.is_empty() {
            let is_first = self.ready.is_some();
            let List { posts, next } = match self.ready.take() {
                Some(first) => first,
                None if self.question.part.after.is_none() => return Ok(None),
                None => self.api.part(&self.question).await?,
            };
            let posts = &posts[1..posts.len() - 1];
            piece.reserve(posts.len() + 2);
            if is_first {
                piece.push(b'[');
            }
            if self.told && !posts.is_empty() {
                piece.push(b',');
            }
            piece.extend_from_slice(posts);
            self.told |= !posts.is_empty();
            self.question.part.after = next;
            if next.is_none() {
                piece.push(b']');
            }
        }
        Ok(Some(piece.into()))
    }
}

#[derive(Object)]
struct NewPost {
    /// At most 300 characters.
    title: String,
    /// At most 10,000 characters.
    body: String,
}

/// A post as people see it
///
/// This is what the OpenAPI document says; [`PostJson`] is what is written.
#[derive(Object)]
#[oai(rename = "Post")]
struct PostSchema {
    /// `POST#` and a UUID that grows with time.
    id: String,
    /// The author's name.
    user: String,
    title: String,
    body: String,
    /// Where the picture can be seen for a while; null until it is labelled.
    image: Option<String>,
    /// What is on the picture; null until it is labelled.
    labels: Option<Vec<String>>,
    /// The same as `labels`.
    label: Option<Vec<String>>,
    /// Why nothing was recognised: `unsupported`, `too_large`, `empty` or `unreadable`; absent if the picture was looked at.
    #[oai(skip_serializing_if_is_none)]
    reason: Option<String>,
    /// The `objectName` of the picture that was removed for this reason, because it cannot be shown; absent otherwise.
    #[oai(skip_serializing_if_is_none)]
    removed: Option<String>,
}

/// A [`PostSchema`] whose texts are where they were found.
#[derive(Serialize)]
struct PostJson<'a> {
    id: String,
    user: &'a str,
    title: Text<'a>,
    body: Text<'a>,
    image: Option<Address>,
    labels: Option<&'a [Text<'a>]>,
    label: Option<&'a [Text<'a>]>,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<Text<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    removed: Option<Text<'a>>,
}

impl<'a> PostJson<'a> {
    /// The post, with the address of its picture if it has one.
    fn of(post: &'a Post<'a>, image: Option<Address>) -> Self {
        let Post { id, user, title, body, picture, removed } = post;
        let labels = picture.as_ref().map(|picture| &picture.labels[..]);
        let reason = picture.as_ref().and_then(|picture| picture.reason).or(removed.as_ref().map(|it| it.reason));
        Self {
            id: id.key(),
            user: user.as_str(),
            title: *title,
            body: *body,
            image,
            labels,
            label: labels,
            reason,
            removed: removed.as_ref().map(|it| it.key),
        }
    }
}

#[derive(Object, Serialize)]
struct Upload {
    /// Where to PUT the picture.
    #[oai(rename = "uploadURL")]
    #[serde(rename = "uploadURL")]
    upload_url: String,
    /// What it will be called in the bucket.
    #[oai(rename = "objectName")]
    #[serde(rename = "objectName")]
    object_name: String,
}

/// How people log in
#[derive(Debug, Clone, Object, Serialize)]
pub(crate) struct Config {
    /// `header`: by a name that is believed; `jwt`: with a token.
    auth: String,
    /// Which claim of a token holds the user's name.
    #[oai(skip_serializing_if_is_none)]
    #[serde(skip_serializing_if = "Option::is_none")]
    claim: Option<String>,
    /// Where people get a token.
    #[oai(skip_serializing_if_is_none)]
    #[serde(skip_serializing_if = "Option::is_none")]
    login: Option<String>,
}

impl Config {
    pub(crate) fn of(auth: &Auth) -> Self {
        match auth {
            Auth::Header => Self { auth: "header".to_owned(), claim: None, login: None },
            Auth::Jwt(jwt) => Self {
                auth: "jwt".to_owned(),
                claim: Some(jwt.claim.clone()),
                login: jwt.login.as_ref().map(ToString::to_string),
            },
        }
    }

    /// Whether names alone are not believed.
    pub(crate) fn wants_tokens(&self) -> bool {
        self.claim.is_some()
    }
}

#[derive(Object, Serialize)]
struct Health {
    status: String,
}

#[derive(ApiResponse)]
enum Written {
    /// The post as it was written
    #[oai(status = 201)]
    Post(Json<PostSchema>),
}

#[derive(ApiResponse)]
enum Listed {
    /// The posts
    #[oai(status = 200)]
    Posts(
        Json<Vec<PostSchema>>,
        /// What to send as `cursor` for the next part; absent with the last.
        #[oai(header = "Next-Cursor")]
        Option<String>,
    ),
}

#[derive(ApiResponse)]
enum Deleted {
    /// The post is gone
    #[oai(status = 204)]
    Gone,
}

/// A new post, parsed here rather than by a derive, so that errors name the field.
struct Draft(NewPost);

impl<'a> ApiExtractor<'a> for Draft {
    const TYPES: &'static [ApiExtractorType] = &[ApiExtractorType::RequestObject];
    type ParamType = ();
    type ParamRawType = ();

    fn register(registry: &mut Registry) {
        <payload::Json<NewPost> as ApiExtractor>::register(registry);
    }

    fn request_meta() -> Option<MetaRequest> {
        <payload::Json<NewPost> as ApiExtractor>::request_meta()
    }

    async fn from_request(
        request: &'a Request,
        body: &mut RequestBody,
        _options: ExtractParamOptions<()>,
    ) -> poem::Result<Self> {
        if !request.content_type().is_some_and(payload::Json::<NewPost>::check_content_type) {
            let content_type = request.content_type().unwrap_or_default().to_owned();
            return Err(ContentTypeError::NotSupported { content_type }.into());
        }
        let body = <Vec<u8> as FromRequest>::from_request(request, body).await?;
        // What the fields hold is read later: an escape in one of them that is no character is an error of that field.
        let fields: Map<'_> = serde_json::from_slice(&body).map_err(|error| unreadable(&error))?;
        let (title, body) = (read_text(&fields, "title", MAX_TITLE)?, read_text(&fields, "body", MAX_BODY)?);
        Ok(Self(NewPost { title, body }))
    }
}

/// The fields of an object, each still as it is written.
type Map<'a> = HashMap<Cow<'a, str>, &'a RawValue>;

fn unreadable(error: &serde_json::Error) -> ParseRequestPayloadError {
    let reason = if error.is_data() { "it must be a JSON object".to_owned() } else { error.to_string() };
    ParseRequestPayloadError { reason }
}

fn read_text(fields: &Map<'_>, name: &'static str, longest: usize) -> Result<String, Error> {
    let json = fields.get(name).ok_or_else(|| Error::field(name, "it is missing"))?.get();
    if !json.starts_with('"') {
        return Err(Error::field(name, "it must be a string"));
    }
    // Its syntax is known to be right: only half of a surrogate pair can stand in its way.
    let text: String = serde_json::from_str(json)
        .map_err(|_| Error::field(name, "it holds half of a surrogate pair (\\ud800 to \\udfff)"))?;
    if text.chars().count() > longest {
        return Err(Error::field(name, format!("it is longer than {longest} characters")));
    }
    check_text(&text).map_err(|why| Error::field(name, why))?;
    Ok(text)
}

/// A post's UUID, or its `id` as answers have it, which holds the UUID. What is neither names no post.
fn read_id(text: &str) -> Result<PostId, Error> {
    text.parse().ok().or_else(|| PostId::from_key(text)).ok_or(Error::NoPost)
}

fn read_cursor(text: Option<String>) -> Result<Option<PostId>, Error> {
    match text.filter(|text| !text.is_empty()) {
        None => Ok(None),
        Some(text) => text.parse().map(Some).map_err(|why| Error::field("cursor", why)),
    }
}

fn read_limit(limit: Option<usize>) -> Result<Option<usize>, Error> {
    match limit {
        Some(limit) if !(1..=MAX_LIMIT).contains(&limit) => {
            Err(Error::field("limit", format!("it must be a number from 1 to {MAX_LIMIT}")))
        }
        limit => Ok(limit),
    }
}

fn read_order(text: Option<&str>) -> Result<Order, Error> {
    match text {
        None | Some("oldest") => Ok(Order::OldestFirst),
        Some("newest") => Ok(Order::NewestFirst),
        Some(_) => Err(Error::field("order", "it must be oldest or newest")),
    }
}

/// An image's type, or that of a file whose type the browser does not know.
fn read_type(text: &str) -> Result<&str, Error> {
    if text.is_empty() || text == UNKNOWN_TYPE {
        return Ok(UNKNOWN_TYPE);
    }
    match text.split_once('/') {
        Some((kind, name)) if kind.eq_ignore_ascii_case("image") && is_active(name) => {
            Err(Error::field("filetype", "it must be a picture of pixels: SVG and other XML can run programs"))
        }
        Some((kind, name)) if kind.eq_ignore_ascii_case("image") && is_a_name(name) => Ok(text),
        _ => Err(Error::field("filetype", "it must be an image's, such as image/jpeg")),
    }
}

/// Whether browsers take pictures of this type for documents, in which scripts run: XML of any kind (WHATWG MIME
/// Sniffing, section 4.6), and the names that SVG had before it was registered.
fn is_active(name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    name.ends_with("xml") || name.contains("svg")
}

/// What may stand in a type behind the slash (RFC 6838, section 4.2).
fn is_a_name(text: &str) -> bool {
    (1..=127).contains(&text.len())
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"!#$&-^_.+".contains(&byte))
}

#[cfg(test)]
mod tests {
    use poem_openapi::types::{ParseFromJSON, ToJSON};
    use serde_json::{Value, json, to_value};

    use super::*;
    use crate::storage::row::{Picture, Removed};

    #[test]
    fn written_bodies_match_the_api_document() {
        let picture = Picture { key: "k".into(), labels: vec![Text::Plain("Cat")], reason: Some(Text::Plain("empty")) };
        let (user, title, body) = (User::parse("ada").unwrap(), Text::Plain("t"), Text::Plain("b"));
        let mut post = Post { id: PostId::new(), user, title, body, picture: Some(picture), removed: None };
        let with_picture = to_value(PostJson::of(&post, Some(Address::new("https://a")))).unwrap();
        post.picture = None;
        let without = to_value(PostJson::of(&post, None)).unwrap();
        post.removed = Some(Removed { key: Text::Plain("k"), reason: Text::Plain("too_large") });
        let removed = to_value(PostJson::of(&post, None)).unwrap();
        assert_eq!((&removed["image"], &removed["labels"]), (&Value::Null, &Value::Null));
        assert_eq!((&removed["reason"], &removed["removed"]), (&json!("too_large"), &json!("k")));
        assert_eq!(with_picture["label"], json!(["Cat"]));
        for told in [with_picture, without, removed] {
            let shown = PostSchema::parse_from_json(Some(told.clone())).ok().unwrap();
            assert_eq!(shown.to_json(), Some(told));
        }
    }
}
