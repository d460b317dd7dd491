//! Who asks: the name in the `Authorization` header.

use poem::http::header::AUTHORIZATION;
use poem::{Request, RequestBody};
use poem_openapi::registry::{MetaSecurityScheme, Registry};
use poem_openapi::{ApiExtractor, ApiExtractorType, ExtractParamOptions};
use posts::{BadUser, User};

use crate::error::Error;

/// The caller. There is no password: the course's users are who they say they are.
pub(crate) struct Author(pub User);

const SCHEME: &str = "Name";

fn author(request: &Request) -> Result<Author, Error> {
    // The bytes as they came: a name with accents is no valid `str` in ISO-8859-1.
    let value = request.headers().get(AUTHORIZATION).map_or(&b""[..], |value| value.as_bytes());
    match User::from_header(value) {
        Ok(user) => Ok(Author(user)),
        Err(BadUser::Empty) => Err(Error::NoAuthor),
        Err(why) => Err(Error::field("Authorization", why)),
    }
}

impl<'a> ApiExtractor<'a> for Author {
    const TYPES: &'static [ApiExtractorType] = &[ApiExtractorType::SecurityScheme];
    type ParamType = ();
    type ParamRawType = ();

    fn register(registry: &mut Registry) {
        let scheme = MetaSecurityScheme {
            ty: "apiKey",
            description: Some("Your name, as UTF-8 or ISO-8859-1"),
            name: Some("Authorization"),
            key_in: Some("header"),
            scheme: None,
            bearer_format: None,
            flows: None,
            openid_connect_url: None,
        };
        registry.create_security_scheme(SCHEME, scheme);
    }

    fn security_schemes() -> Vec<&'static str> {
        vec![SCHEME]
    }

    async fn from_request(
        request: &'a Request,
        _body: &mut RequestBody,
        _options: ExtractParamOptions<()>,
    ) -> poem::Result<Self> {
        Ok(author(request)?)
    }
}
