//! The parameters of requests.

use posts::PostId;

use super::MAX_LIMIT;
use crate::http::error::Error;
use crate::storage::rows::Order;

/// The content type that browsers send for files of unknown type.
const UNKNOWN_TYPE: &str = "application/octet-stream";

/// Parses a post's UUID, or its `id` as returned by the API. Any other text is the id of no post.
pub(super) fn read_id(text: &str) -> Result<PostId, Error> {
    text.parse().ok().or_else(|| PostId::from_key(text)).ok_or(Error::NoPost)
}

pub(super) fn read_cursor(text: Option<String>) -> Result<Option<PostId>, Error> {
    match text.filter(|text| !text.is_empty()) {
        None => Ok(None),
        Some(text) => text.parse().map(Some).map_err(|why| Error::field("cursor", why)),
    }
}

pub(super) fn read_limit(limit: Option<usize>) -> Result<Option<usize>, Error> {
    match limit {
        Some(limit) if !(1..=MAX_LIMIT).contains(&limit) => {
            Err(Error::field("limit", format!("it must be a number from 1 to {MAX_LIMIT}")))
        }
        limit => Ok(limit),
    }
}

pub(super) fn read_order(text: Option<&str>) -> Result<Order, Error> {
    match text {
        None | Some("oldest") => Ok(Order::OldestFirst),
        Some("newest") => Ok(Order::NewestFirst),
        Some(_) => Err(Error::field("order", "it must be oldest or newest")),
    }
}

/// Accepts image types, and the type that browsers send for unknown files.
pub(super) fn read_type(text: &str) -> Result<&str, Error> {
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
