//! The addresses that people share: a post, its picture, an author, a label. All but the picture are answered with the
//! page; a post's has Open Graph tags.

use std::sync::Arc;

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};
use poem::error::MethodNotAllowedError;
use poem::http::{Method, StatusCode, header};
use poem::{Endpoint, IntoResponse, Request, Response, Result};
use posts::PostId;

use crate::http::api::Api;
use crate::http::error::{self, Error};
use crate::http::open_graph::{Head, Origin};
use crate::http::page::WebPage;
use crate::http::route::Route;
use crate::storage::row::Post;

/// How long the redirect to a picture may be cached. The URL behind it is valid for half an hour at least.
const CACHED: &str = "max-age=300";
/// Characters of a path segment that JavaScript's `encodeURIComponent` leaves as they are.
const IN_SEGMENT: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'_')
    .remove(b'.')
    .remove(b'!')
    .remove(b'~')
    .remove(b'*')
    .remove(b'\'')
    .remove(b'(')
    .remove(b')');

/// A shareable address.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Permalink {
    /// `/@ada`
    Author(String),
    /// `/@ada/018f…`
    Post(String, PostId),
    /// `/@ada/018f…/image`
    Image(String, PostId),
    /// `/labels/sunset`
    Label(String),
}

impl Permalink {
    /// Parses the path of a request. Names are single segments: a slash in a name is encoded.
    pub(crate) fn of(path: &str) -> Option<Self> {
        let text = |segment: &str| {
            let text = percent_decode_str(segment).decode_utf8().ok()?;
            (!text.is_empty()).then(|| text.into_owned())
        };
        if let Some(label) = path.strip_prefix("/labels/") {
            return text(label).filter(|_| !label.contains('/')).map(Self::Label);
        }
        let mut segments = path.strip_prefix("/@")?.split('/');
        let name = text(segments.next()?)?;
        let id = segments.next().map(str::parse);
        match (id, segments.next(), segments.next()) {
            (None, ..) => Some(Self::Author(name)),
            (Some(Ok(id)), None, _) => Some(Self::Post(name, id)),
            (Some(Ok(id)), Some("image"), None) => Some(Self::Image(name, id)),
            _ => None,
        }
    }
}

/// Answers requests for permalinks, and for addresses at which there is nothing.
pub(crate) struct Permalinks {
    api: Api,
    page: Arc<WebPage>,
}

impl Permalinks {
    pub(crate) fn new(api: Api, page: Arc<WebPage>) -> Self {
        Self { api, page }
    }

    /// Passes other requests to `next`. A browser that follows a link to nowhere gets the page instead of JSON.
    pub(crate) async fn before<E: Endpoint>(&self, next: Arc<E>, request: Request) -> Result<Response> {
        let is_read = matches!(*request.method(), Method::GET | Method::HEAD);
        let Some(permalink) = Permalink::of(request.uri().path()) else {
            if is_read && takes_html(&request) && Route::is_unknown(request.uri().path()) {
                return Ok(self.page.document(&request, StatusCode::NOT_FOUND, &Head::titled("Not found")));
            }
            return Ok(next.call(request).await?.into_response());
        };
        if !is_read {
            return Err(MethodNotAllowedError.into());
        }
        match permalink {
            Permalink::Author(name) => Ok(self.page.document(&request, StatusCode::OK, &Head::titled(&name))),
            Permalink::Label(label) => {
                Ok(self.page.document(&request, StatusCode::OK, &Head::titled(&format!("#{label}"))))
            }
            Permalink::Post(name, id) => match self.head(&request, &name, id).await {
                Ok(head) => Ok(self.page.document(&request, StatusCode::OK, &head)),
                Err(Error::NoSuchPost) => {
                    Ok(self.page.document(&request, StatusCode::NOT_FOUND, &Head::titled("Not found")))
                }
                // The page shows its own message, and offers to try again.
                Err(error) if takes_html(&request) => {
                    let document = self.page.document(&request, error.status(), &Head::titled(&name));
                    Ok(error::explained(document, &error))
                }
                Err(error) => Err(error.into()),
            },
            Permalink::Image(name, id) => Ok(self.image(&name, id).await?),
        }
    }

    async fn head(&self, request: &Request, name: &str, id: PostId) -> Result<Head, Error> {
        let found = self.api.find(name, id).await?;
        let (posts, _) = found.posts()?;
        let post = posts.first().ok_or(Error::NoSuchPost)?;
        Ok(Head::of(post, &path(post), Origin::of(request).as_ref()))
    }

    /// Redirects to the picture of a post. The address is signed here, for our bucket, and for the object that the
    /// post's row names: nothing of the request is in it.
    async fn image(&self, name: &str, id: PostId) -> Result<Response, Error> {
        let found = self.api.find(name, id).await?;
        let (posts, _) = found.posts()?;
        let post = posts.first().ok_or(Error::NoSuchPost)?;
        let address = self.api.address(post).await?.ok_or(Error::NoPicture)?;
        let redirect = Response::builder().status(StatusCode::FOUND).header(header::LOCATION, address.url());
        Ok(redirect.header(header::CACHE_CONTROL, CACHED).finish())
    }
}

/// The path of a post's address.
fn path(post: &Post<'_>) -> String {
    format!("/@{}/{}", utf8_percent_encode(post.user.as_str(), IN_SEGMENT), post.id)
}

fn takes_html(request: &Request) -> bool {
    request.header(header::ACCEPT).is_some_and(|types| types.contains("text/html"))
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: &str = "018f2f6e-0000-7000-8000-00000000000a";

    #[test]
    fn a_path_names_an_author_a_post_or_a_picture() {
        let (id, name) = (ID.parse().unwrap(), "Zoé".to_owned());
        for (path, expected) in [
            ("/@Zo%C3%A9".to_owned(), Some(Permalink::Author(name.clone()))),
            (format!("/@Zo%C3%A9/{ID}"), Some(Permalink::Post(name.clone(), id))),
            (format!("/@Zo%C3%A9/{ID}/image"), Some(Permalink::Image(name, id))),
            ("/@a%2Fb%23%3F".to_owned(), Some(Permalink::Author("a/b#?".to_owned()))),
            ("/labels/Coffee%20Cup".to_owned(), Some(Permalink::Label("Coffee Cup".to_owned()))),
        ] {
            assert_eq!(Permalink::of(&path), expected, "{path}");
        }
    }

    #[test]
    fn other_paths_are_no_permalinks() {
        for path in ["/", "/@", "/@%E9", "/@a/b", "/labels/", "/labels/a/b", "/labels", "/posts/7"] {
            assert_eq!(Permalink::of(path), None, "{path}");
        }
        for path in [format!("/@a/{ID}/image/x"), format!("/@a/{ID}/other"), format!("/@a/{ID}/"), format!("/@/{ID}")] {
            assert_eq!(Permalink::of(&path), None, "{path}");
        }
    }
}
