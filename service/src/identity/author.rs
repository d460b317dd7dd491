//! The caller, as named by the `Authorization` header: trusted or verified.

use std::sync::Arc;

use poem::http::header::AUTHORIZATION;
use poem::{Request, RequestBody};
use poem_openapi::registry::{MetaSecurityScheme, Registry};
use poem_openapi::{ApiExtractor, ApiExtractorType, ExtractParamOptions};
use posts::{BadUser, User};

use crate::config::{Auth, BadSettings};
use crate::http::error::Error;
use crate::identity::jwt::Tokens;

/// The caller, as the author of new posts.
pub(crate) struct Author(pub User);

/// The caller, as the owner of existing posts.
pub(crate) struct Owner {
    user: Result<User, Error>,
    /// Other names under which the caller's posts may be stored, from before names were normalized.
    others: Vec<User>,
}

impl Owner {
    /// The names under which a post of the caller may be stored, the likeliest first.
    pub(crate) fn names(&self) -> impl Iterator<Item = &User> {
        self.user.iter().chain(&self.others)
    }

    /// The error to return if the post exists under none of these names.
    pub(crate) fn has_none(self) -> Error {
        self.user.err().unwrap_or(Error::NoPost)
    }
}

/// How callers are authenticated.
pub(crate) enum Authors {
    /// No password: callers are trusted to be who they say they are, as in the course.
    Believed,
    /// Users are named by their tokens.
    Checked(Box<Tokens>),
}

impl Authors {
    pub(crate) fn new(auth: &Auth) -> Result<Self, BadSettings> {
        Ok(match auth {
            Auth::Header => Self::Believed,
            Auth::Jwt(jwt) => Self::Checked(Box::new(Tokens::new(jwt)?)),
        })
    }

    async fn caller(&self, request: &Request) -> Result<Owner, Error> {
        // As bytes: an accented name in ISO-8859-1 is not a valid `str`.
        let value = request.headers().get(AUTHORIZATION).map_or(&b""[..], |value| value.as_bytes());
        match self {
            Self::Believed => believed(value),
            Self::Checked(tokens) => match token(value) {
                Some(token) => Ok(vouched_for(&tokens.check(token).await?)),
                None => Err(Error::NoToken),
            },
        }
    }
}

fn believed(value: &[u8]) -> Result<Owner, Error> {
    let name = User::name_in_header(value);
    let user = match User::parse(&name) {
        Err(BadUser::Empty) => return Err(Error::NoAuthor),
        user => user.map_err(|why| Error::field("Authorization", why)),
    };
    Ok(Owner { user, others: User::other_spellings(&name) })
}

/// The caller named by a valid token. Issuers compare names exactly (RFC 7519, section 2), and so do we: names that
/// differ in a blank or in normalization are two users.
fn vouched_for(name: &str) -> Owner {
    let user = User::exact(name).map_err(|why| {
        Error::BadToken(match why {
            BadUser::NotNormalized => "the name in it is not in Unicode normalization form C",
            BadUser::Character(_) => "the name in it has a character that names may not have",
            BadUser::Empty | BadUser::TooLong | BadUser::DotPart => "it names no user",
        })
    });
    let others = if user.is_err() { User::kept(name).into_iter().collect() } else { Vec::new() };
    Owner { user, others }
}

/// Returns what follows `Bearer`, in upper or lower case (RFC 9110, section 11.1).
fn token(value: &[u8]) -> Option<&str> {
    let (scheme, token) = std::str::from_utf8(value).ok()?.trim().split_once(' ')?;
    let token = token.trim();
    (scheme.eq_ignore_ascii_case("bearer") && !token.is_empty()).then_some(token)
}

impl<'a> ApiExtractor<'a> for Owner {
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
        Ok(authors.caller(request).await?)
    }
}

impl<'a> ApiExtractor<'a> for Author {
    const TYPES: &'static [ApiExtractorType] = Owner::TYPES;
    type ParamType = ();
    type ParamRawType = ();

    fn register(registry: &mut Registry) {
        Owner::register(registry);
    }

    fn security_schemes() -> Vec<&'static str> {
        Owner::security_schemes()
    }

    async fn from_request(
        request: &'a Request,
        body: &mut RequestBody,
        options: ExtractParamOptions<()>,
    ) -> poem::Result<Self> {
        Ok(Self(Owner::from_request(request, body, options).await?.user?))
    }
}

/// The name of the security scheme in the OpenAPI document.
pub(crate) const SCHEME: &str = "Author";

/// A type has only one description; `document` replaces it if tokens are used.
fn by_name() -> MetaSecurityScheme {
    MetaSecurityScheme {
        ty: "apiKey",
        description: Some(
            "Your name, in UTF-8 or ISO-8859-1; it is not verified. It is trimmed and normalized to Unicode's form C. \
         It may have no controls, noncharacters or invisible characters.",
        ),
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
    fn a_token_follows_the_word_bearer() {
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
