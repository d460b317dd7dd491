//! Who asks: what the `Authorization` header says, believed or checked.

use std::sync::Arc;

use poem::http::header::AUTHORIZATION;
use poem::{Request, RequestBody};
use poem_openapi::registry::{MetaSecurityScheme, Registry};
use poem_openapi::{ApiExtractor, ApiExtractorType, ExtractParamOptions};
use posts::{BadUser, User};

use crate::config::{Auth, BadSettings};
use crate::error::Error;
use crate::tokens::Tokens;

/// The caller.
pub(crate) struct Author(pub User);

/// How callers are known, ready to be used.
pub(crate) enum Authors {
    /// There is no password: the course's users are who they say they are.
    Believed,
    /// Users are whom their tokens name.
    Checked(Box<Tokens>),
}

impl Authors {
    pub(crate) fn new(auth: &Auth) -> Result<Self, BadSettings> {
        Ok(match auth {
            Auth::Header => Self::Believed,
            Auth::Jwt(jwt) => Self::Checked(Box::new(Tokens::new(jwt)?)),
        })
    }

    async fn author(&self, request: &Request) -> Result<Author, Error> {
        // The bytes as they came: a name with accents is no valid `str` in ISO-8859-1.
        let value = request.headers().get(AUTHORIZATION).map_or(&b""[..], |value| value.as_bytes());
        match self {
            Self::Believed => believed(value),
            Self::Checked(tokens) => match token(value) {
                Some(token) => tokens.check(token).await.map(Author),
                None => Err(Error::NoToken),
            },
        }
    }
}

fn believed(value: &[u8]) -> Result<Author, Error> {
    match User::from_header(value) {
        Ok(user) => Ok(Author(user)),
        Err(BadUser::Empty) => Err(Error::NoAuthor),
        Err(why) => Err(Error::field("Authorization", why)),
    }
}

/// What stands behind `Bearer`, which may be written in any case (RFC 9110, section 11.1).
fn token(value: &[u8]) -> Option<&str> {
    let (scheme, token) = std::str::from_utf8(value).ok()?.trim().split_once(' ')?;
    let token = token.trim();
    (scheme.eq_ignore_ascii_case("bearer") && !token.is_empty()).then_some(token)
}

impl<'a> ApiExtractor<'a> for Author {
    const TYPES: &'static [ApiExtractorType] = &[ApiExtractorType::SecurityScheme];
    type ParamType = ();
    type ParamRawType = ();

    fn register(registry: &mut Registry) {
        registry.create_security_scheme(SCHEME, by_name());
    }

    fn security_schemes() -> Vec<&'static str> {
        vec![SCHEME]
    }

    async fn from_request(
        request: &'a Request,
        _body: &mut RequestBody,
        _options: ExtractParamOptions<()>,
    ) -> poem::Result<Self> {
        let authors: &Arc<Authors> = request.data().expect("`app` gives it to every request of the API");
        Ok(authors.author(request).await?)
    }
}

/// What the OpenAPI document calls the way callers are known.
pub(crate) const SCHEME: &str = "Author";

/// A type has one description, and settings come later: where tokens are checked, `document` says so.
fn by_name() -> MetaSecurityScheme {
    MetaSecurityScheme {
        ty: "apiKey",
        description: Some("Your name, as UTF-8 or ISO-8859-1; it is believed"),
        name: Some("Authorization"),
        key_in: Some("header"),
        scheme: None,
        bearer_format: None,
        flows: None,
        openid_connect_url: None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_stands_behind_the_word_bearer() {
        for (value, read) in [
            (&b"Bearer a.b.c"[..], Some("a.b.c")),
            (b"bearer  a.b.c ", Some("a.b.c")),
            (b"Bearer", None),
            (b"Bearer ", None),
            (b"a.b.c", None),
            (b"Basic a.b.c", None),
            (b"Bearer \xe9", None),
            (b"", None),
        ] {
            assert_eq!(token(value), read, "{value:?}");
        }
    }
}
