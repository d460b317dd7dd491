//! The bodies of requests, which are read field by field.

use std::borrow::Cow;
use std::collections::HashMap;

use poem::{FromRequest, Request, RequestBody};
use poem_openapi::error::{ContentTypeError, ParseRequestPayloadError};
use poem_openapi::payload::{self, Payload as _};
use poem_openapi::registry::{MetaRequest, Registry};
use poem_openapi::types::{ParseFromJSON, Type};
use poem_openapi::{ApiExtractor, ApiExtractorType, ExtractParamOptions, Object};
use posts::check_text;
use serde_json::value::RawValue;

use crate::http::error::Error;

/// Longest title, in characters.
const MAX_TITLE: usize = 300;
/// Longest description of a picture, in characters.
const MAX_ALT: usize = 1000;
/// Longest body, in characters.
const MAX_BODY: usize = 10_000;

#[derive(Object)]
pub(super) struct NewPost {
    /// At most 300 characters.
    pub(super) title: String,
    /// At most 10,000 characters.
    pub(super) body: String,
    /// What the picture shows, for people who do not see it; at most 1000 characters.
    #[oai(skip_serializing_if_is_none)]
    pub(super) alt: Option<String>,
}

#[derive(Object)]
pub(super) struct NewDescription {
    /// What the picture shows; at most 1000 characters. An empty text removes the description.
    pub(super) alt: String,
}

/// A body that is parsed by hand rather than by a derive, so that errors name the field.
pub(super) struct Parsed<B>(pub(super) B);

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
