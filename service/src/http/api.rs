//! The endpoints of the API.

use std::borrow::Cow;
use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::io;
use std::sync::Arc;

use bytes::Bytes;
use futures::stream::{self, Stream};
use poem::{FromRequest, Request, RequestBody};
use poem_openapi::error::{ContentTypeError, ParseRequestPayloadError};
use poem_openapi::param::{Header, Path, Query};
use poem_openapi::payload::{self, Payload as _};
use poem_openapi::registry::{MetaRequest, Registry};
use poem_openapi::types::{ParseFromJSON, Type};
use poem_openapi::{ApiExtractor, ApiExtractorType, ApiResponse, ExtractParamOptions, Object, OpenApi};
use posts::{FileName, ObjectName, PostId, User, check_text};
use serde::Serialize;
use serde_json::value::RawValue;

use crate::config::Auth;
use crate::http::error::{Error, caused};
use crate::http::json::{self, Json};
use crate::http::post::{PostJson, PostSchema};
use crate::http::ready::Readiness;
use crate::identity::author::{Author, Owner};
use crate::storage::pictures::{Address, Pictures};
use crate::storage::row::{Post, Text};
use crate::storage::rows::{Found, Order, Part, Rows};
use crate::storage::single_flight::SingleFlight;

/// Longest title, in characters.
const MAX_TITLE: usize = 300;
/// Longest description of a picture, in characters.
const MAX_ALT: usize = 1000;
/// Longest body, in characters.
const MAX_BODY: usize = 10_000;
/// The most posts in one page of a list.
const MAX_LIMIT: usize = 1000;
/// How often the deletion of a post is attempted if a new picture arrives each time.
const ATTEMPTS: usize = 5;
/// The content type that browsers send for files of unknown type.
const UNKNOWN_TYPE: &str = "application/octet-stream";

/// The operations of the API.
#[derive(Clone)]
pub(crate) struct Api {
    pub rows: Rows,
    pub pictures: Pictures,
    pub lists: Arc<SingleFlight<Question, Result<List, Error>>>,
    pub readiness: Arc<Readiness>,
    pub login: Config,
}

/// The query of a list.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Question {
    user: Option<User>,
    /// In lower case.
    label: Option<String>,
    part: Part,
}

/// A page of a list.
#[derive(Clone)]
pub(crate) struct List {
    /// The posts as a JSON array.
    posts: Bytes,
    /// The post after which the list continues, if it does.
    next: Option<PostId>,
    /// Differs from that of every other page.
    tag: u64,
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

impl List {
    fn of(posts: Bytes, next: Option<PostId>) -> Self {
        let mut hasher = DefaultHasher::new();
        (&posts, next).hash(&mut hasher);
        Self { posts, next, tag: hasher.finish() }
    }

    /// Answers with this page, unless the client has it.
    fn answer(self, part: Part, known: Option<&str>) -> Listed {
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
fn has_label(post: &Post<'_>, label: &str) -> bool {
    post.picture.iter().flat_map(|picture| &picture.labels).any(|it| it.read().to_lowercase() == label)
}

/// A list that is sent in pages.
struct Pages {
    api: Api,
    /// The query of the next page.
    question: Question,
    /// The page that was already read.
    ready: Option<List>,
    /// Whether any post has been sent.
    has_sent: bool,
}

impl Pages {
    /// Returns the next piece of the JSON array; `None` after the last.
    async fn piece(&mut self) -> Result<Option<Bytes>, Error> {
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

#[derive(Object)]
struct NewPost {
    /// At most 300 characters.
    title: String,
    /// At most 10,000 characters.
    body: String,
    /// What the picture shows, for people who do not see it; at most 1000 characters.
    #[oai(skip_serializing_if_is_none)]
    alt: Option<String>,
}

#[derive(Object)]
struct NewDescription {
    /// What the picture shows; at most 1000 characters. An empty text removes the description.
    alt: String,
}

#[derive(Object, Serialize)]
struct Upload {
    /// The URL to PUT the picture to.
    #[oai(rename = "uploadURL")]
    #[serde(rename = "uploadURL")]
    upload_url: String,
    /// The object key of the picture.
    #[oai(rename = "objectName")]
    #[serde(rename = "objectName")]
    object_name: String,
}

/// How users log in
#[derive(Debug, Clone, Object, Serialize)]
pub(crate) struct Config {
    /// `header`: with an unverified name; `jwt`: with a token.
    auth: String,
    /// The claim with the user's name.
    #[oai(skip_serializing_if_is_none)]
    #[serde(skip_serializing_if = "Option::is_none")]
    claim: Option<String>,
    /// Where users get a token.
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

    /// Whether callers are authenticated with tokens.
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
    /// The new post
    #[oai(status = 201)]
    Post(Json<PostSchema>),
}

#[derive(ApiResponse)]
enum Listed {
    /// The posts
    #[oai(status = 200)]
    Posts(
        Json<Vec<PostSchema>>,
        /// The `cursor` of the next page; absent on the last page.
        #[oai(header = "Next-Cursor")]
        Option<String>,
        /// The version of the page; absent without a `limit`.
        #[oai(header = "ETag")]
        Option<String>,
    ),
    /// The page is the one that `If-None-Match` names
    #[oai(status = 304)]
    Unchanged(
        /// The version of the page.
        #[oai(header = "ETag")]
        String,
    ),
}

#[derive(ApiResponse)]
enum Described {
    /// The picture has this description
    #[oai(status = 204)]
    Done,
}

#[derive(ApiResponse)]
enum Deleted {
    /// The post is deleted
    #[oai(status = 204)]
    Gone,
}

/// A body that is parsed by hand rather than by a derive, so that errors name the field.
struct Parsed<B>(B);

/// An object that is read field by field.
trait Fields: Type + ParseFromJSON + Sized {
    fn read(fields: &Map<'_>) -> Result<Self, Error>;
}

impl Fields for NewPost {
    fn read(fields: &Map<'_>) -> Result<Self, Error> {
        let (title, body) = (read_text(fields, "title", MAX_TITLE)?, read_text(fields, "body", MAX_BODY)?);
        let alt = fields.contains_key("alt").then(|| read_text(fields, "alt", MAX_ALT)).transpose()?;
        Ok(Self { title, body, alt })
    }
}

impl Fields for NewDescription {
    fn read(fields: &Map<'_>) -> Result<Self, Error> {
        Ok(Self { alt: read_text(fields, "alt", MAX_ALT)? })
    }
}

impl<'a, B: Fields> ApiExtractor<'a> for Parsed<B> {
    const TYPES: &'static [ApiExtractorType] = &[ApiExtractorType::RequestObject];
    type ParamType = ();
    type ParamRawType = ();

    fn register(registry: &mut Registry) {
        <payload::Json<B> as ApiExtractor>::register(registry);
    }

    fn request_meta() -> Option<MetaRequest> {
        <payload::Json<B> as ApiExtractor>::request_meta()
    }

    async fn from_request(
        request: &'a Request,
        body: &mut RequestBody,
        _options: ExtractParamOptions<()>,
    ) -> poem::Result<Self> {
        if !request.content_type().is_some_and(payload::Json::<B>::check_content_type) {
            let content_type = request.content_type().unwrap_or_default().to_owned();
            return Err(ContentTypeError::NotSupported { content_type }.into());
        }
        let body = <Vec<u8> as FromRequest>::from_request(request, body).await?;
        // Field values are parsed below: an invalid escape in one of them is an error of that field.
        let fields: Map<'_> = serde_json::from_slice(&body).map_err(|error| unreadable(&error))?;
        Ok(Self(B::read(&fields)?))
    }
}

/// The fields of an object, with unparsed values.
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
    // The syntax was checked before: only an unpaired surrogate can cause an error here.
    let text: String = serde_json::from_str(json)
        .map_err(|_| Error::field(name, "it holds half of a surrogate pair (\\ud800 to \\udfff)"))?;
    if text.chars().count() > longest {
        return Err(Error::field(name, format!("it is longer than {longest} characters")));
    }
    check_text(&text).map_err(|why| Error::field(name, why))?;
    Ok(text)
}

/// Parses a post's UUID, or its `id` as returned by the API. Any other text is the id of no post.
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

/// Accepts image types, and the type that browsers send for unknown files.
fn read_type(text: &str) -> Result<&str, Error> {
    if text.is_empty() || text == UNKNOWN_TYPE {
        return Ok(UNKNOWN_TYPE);
    }
    match text.split_once('/') {
        Some((kind, name)) if kind.eq_ignore_ascii_case("image") && is_active(name) => {
            Err(Error::field("filetype", "it must be a raster image: SVG and other XML can run scripts"))
        }
        Some((kind, name)) if kind.eq_ignore_ascii_case("image") && is_a_name(name) => Ok(text),
        _ => Err(Error::field("filetype", "it must be an image type, such as image/jpeg")),
    }
}

/// Whether browsers treat images of this type as documents that can run scripts: any kind of XML (WHATWG MIME Sniffing,
/// section 4.6), and the names SVG had before it was registered.
fn is_active(name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    name.ends_with("xml") || name.contains("svg")
}

/// The characters allowed in a subtype (RFC 6838, section 4.2).
fn is_a_name(text: &str) -> bool {
    (1..=127).contains(&text.len())
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"!#$&-^_.+".contains(&byte))
}
