//! The endpoints: who asks, for what, and what the answer is.

use poem::http::HeaderValue;
use poem::{Request, RequestBody};
use poem_openapi::error::ParseRequestPayloadError;
use poem_openapi::param::{Path, Query};
use poem_openapi::payload::Json;
use poem_openapi::registry::{MetaRequest, Registry};
use poem_openapi::{ApiExtractor, ApiExtractorType, ApiResponse, ExtractParamOptions, Object, OpenApi};
use posts::{FileName, ObjectName, PostId, User};
use serde_json::Value;

use crate::author::Author;
use crate::error::Error;
use crate::pictures::Pictures;
use crate::rows::{Part, Post, Rows};

/// Longest title, in characters.
const MAX_TITLE: usize = 300;
/// Longest body, in characters.
const MAX_BODY: usize = 10_000;
/// Most posts in one part of a list.
const MAX_LIMIT: usize = 1000;
/// What browsers send for a file whose type they do not know.
const UNKNOWN_TYPE: &str = "application/octet-stream";

/// What the page calls.
pub(crate) struct Api {
    pub rows: Rows,
    pub pictures: Pictures,
}

#[OpenApi]
impl Api {
    /// Write a post
    #[oai(path = "/posts", method = "post", operation_id = "writePost")]
    async fn write(&self, author: Author, draft: Draft) -> Result<Written, Error> {
        let NewPost { title, body } = draft.0;
        let post = Post { id: PostId::new(), user: author.0, title, body, picture: None };
        self.rows.add(&post).await?;
        Ok(Written::Post(Json(self.shown(post).await?)))
    }

    /// List posts, the newest last
    #[oai(path = "/posts", method = "get", operation_id = "listPosts")]
    async fn list(
        &self,
        /// Only the posts of this user; all if empty.
        user: Query<Option<String>>,
        /// Another name of `user`.
        id_user: Query<Option<String>>,
        /// At most so many posts, 1 to 1000; all if absent.
        limit: Query<Option<usize>>,
        /// Go on after what the `Next-Cursor` header of the part before named.
        cursor: Query<Option<String>>,
    ) -> Result<Listed, Error> {
        let part = Part { after: read_cursor(cursor.0)?, limit: read_limit(limit.0)? };
        let name = [user.0, id_user.0].into_iter().flatten().find(|name| !name.trim().is_empty());
        let user = match name.map(|name| User::parse(&name)) {
            None => None,
            Some(Ok(user)) => Some(user),
            // A name that no author can have has no posts.
            Some(Err(_)) => return Ok(Listed::Posts(Json(Vec::new()), None)),
        };
        let (posts, more) = self.rows.list(user.as_ref(), part).await?;
        let next = posts.last().filter(|_| more).map(|post| post.id.to_string());
        let mut shown = Vec::with_capacity(posts.len());
        for post in posts {
            shown.push(self.shown(post).await?);
        }
        Ok(Listed::Posts(Json(shown), next))
    }

    /// Delete a post of yours, with its pictures
    #[oai(path = "/posts/:id", method = "delete", operation_id = "deletePost")]
    async fn delete(
        &self,
        author: Author,
        /// The UUID behind the `#` of the post's `id`.
        id: Path<String>,
    ) -> Result<Deleted, Error> {
        let id = read_id(&id.0)?;
        self.rows.require(&author.0, id).await?;
        // Pictures first: if the storage fails between the two, the row is still there, and deleting again finishes
        // the work. The other way round the pictures would stay for ever, because nothing would name them any more.
        self.pictures.remove(&author.0, id).await?;
        self.rows.remove(&author.0, id).await?;
        // Once more for an upload that ended meanwhile; the labeler removes those that end after the row is gone.
        self.pictures.remove(&author.0, id).await?;
        Ok(Deleted::Gone)
    }

    /// Get the address to PUT a post's picture to
    ///
    /// The upload must send exactly `Content-Type: <filetype>`.
    #[oai(path = "/signedUrlPut", method = "get", operation_id = "uploadAddress")]
    async fn upload(
        &self,
        author: Author,
        /// What the file is called; only the last part of a path counts.
        filename: Query<String>,
        /// Its type, an image's.
        filetype: Query<String>,
        /// The UUID of the post, which must be the caller's.
        #[oai(name = "postId")]
        post_id: Query<String>,
    ) -> Result<Json<Upload>, Error> {
        self.upload_to(author.0, &filename.0, &filetype.0, &post_id.0).await
    }

    /// Get the address to PUT a post's picture to, by its other name
    #[oai(path = "/getSignedUrlPut", method = "get", operation_id = "uploadAddressByItsOtherName")]
    async fn upload_by_its_other_name(
        &self,
        author: Author,
        /// What the file is called; only the last part of a path counts.
        filename: Query<String>,
        /// Its type, an image's.
        filetype: Query<String>,
        /// The UUID of the post, which must be the caller's.
        #[oai(name = "postId")]
        post_id: Query<String>,
    ) -> Result<Json<Upload>, Error> {
        self.upload_to(author.0, &filename.0, &filetype.0, &post_id.0).await
    }

    /// Tell that the service runs
    ///
    /// Asks nobody else: an instance is not replaced because the storage has a bad minute.
    #[oai(path = "/health", method = "get", operation_id = "health")]
    async fn health(&self) -> Json<Health> {
        Json(Health { status: "ok".to_owned() })
    }
}

impl Api {
    async fn upload_to(&self, user: User, file: &str, content_type: &str, post: &str) -> Result<Json<Upload>, Error> {
        let file: FileName = file.parse().map_err(|why| Error::field("filename", why))?;
        let content_type = read_type(content_type)?;
        let post = read_id(post)?;
        self.rows.require(&user, post).await?;
        let name = ObjectName::new(user, post, &file);
        let upload_url = self.pictures.upload_address(&name, content_type).await?;
        Ok(Json(Upload { upload_url, object_name: name.to_string() }))
    }

    async fn shown(&self, post: Post) -> Result<Shown, Error> {
        let Post { id, user, title, body, picture } = post;
        let (image, labels) = match picture {
            Some(picture) => (Some(self.pictures.address(&picture.key).await?), Some(picture.labels)),
            None => (None, None),
        };
        Ok(Shown { id: id.key(), user: user.to_string(), title, body, image, label: labels.clone(), labels })
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
#[derive(Object)]
#[oai(rename = "Post")]
struct Shown {
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
}

#[derive(Object)]
struct Upload {
    /// Where to PUT the picture.
    #[oai(rename = "uploadURL")]
    upload_url: String,
    /// What it will be called in the bucket.
    #[oai(rename = "objectName")]
    object_name: String,
}

#[derive(Object)]
struct Health {
    status: String,
}

#[derive(ApiResponse)]
enum Written {
    /// The post as it was written
    #[oai(status = 201)]
    Post(Json<Shown>),
}

#[derive(ApiResponse)]
enum Listed {
    /// The posts, the newest last
    #[oai(status = 200)]
    Posts(
        Json<Vec<Shown>>,
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

/// A new post, read here rather than by a derive so that what is wrong is told with the name of its field.
struct Draft(NewPost);

impl<'a> ApiExtractor<'a> for Draft {
    const TYPES: &'static [ApiExtractorType] = &[ApiExtractorType::RequestObject];
    type ParamType = ();
    type ParamRawType = ();

    fn register(registry: &mut Registry) {
        <Json<NewPost> as ApiExtractor>::register(registry);
    }

    fn request_meta() -> Option<MetaRequest> {
        <Json<NewPost> as ApiExtractor>::request_meta()
    }

    async fn from_request(
        request: &'a Request,
        body: &mut RequestBody,
        options: ExtractParamOptions<()>,
    ) -> poem::Result<Self> {
        let Json(value) = <Json<Value> as ApiExtractor>::from_request(request, body, options).await?;
        if !value.is_object() {
            return Err(ParseRequestPayloadError { reason: "it must be a JSON object".to_owned() }.into());
        }
        let (title, body) = (read_text(&value, "title", MAX_TITLE)?, read_text(&value, "body", MAX_BODY)?);
        Ok(Self(NewPost { title, body }))
    }
}

fn read_text(object: &Value, name: &'static str, longest: usize) -> Result<String, Error> {
    match object.get(name) {
        None => Err(Error::field(name, "it is missing")),
        Some(Value::String(text)) if text.chars().count() > longest => {
            Err(Error::field(name, format!("it is longer than {longest} characters")))
        }
        Some(Value::String(text)) => Ok(text.clone()),
        Some(_) => Err(Error::field(name, "it must be a string")),
    }
}

/// What is no UUID names no post.
fn read_id(text: &str) -> Result<PostId, Error> {
    text.parse().map_err(|_| Error::NoPost)
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

/// An image's type, or that of a file whose type the browser does not know.
fn read_type(text: &str) -> Result<&str, Error> {
    let known = text.trim();
    if known.is_empty() || known == UNKNOWN_TYPE {
        return Ok(UNKNOWN_TYPE);
    }
    let image = known.get(..6).is_some_and(|kind| kind.eq_ignore_ascii_case("image/")) && known.len() > 6;
    if image && HeaderValue::from_str(known).is_ok() {
        Ok(known)
    } else {
        Err(Error::field("filetype", "it must be an image's, such as image/jpeg"))
    }
}
