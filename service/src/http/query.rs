//! Query strings, checked before they are parsed.

use std::sync::Arc;

use percent_encoding::percent_decode;
use poem::{Endpoint, Request, Result};

use crate::http::error::Error;

/// Parameters that contain text.
const TEXTS: &[&str] = &["user", "id_user", "label", "cursor", "order", "filename", "filetype", "postId"];

/// Rejects parameters that are not UTF-8: with invalid bytes replaced by U+FFFD, two different names would be the same.
pub(crate) async fn readable<E: Endpoint>(next: Arc<E>, request: Request) -> Result<E::Output> {
    match request.uri().query().and_then(unreadable) {
        Some(name) => Err(Error::field(name, "it is not UTF-8").into()),
        None => next.call(request).await,
    }
}

/// Returns the first parameter that is not UTF-8.
fn unreadable(query: &str) -> Option<&'static str> {
    let named = query.split('&').filter_map(|parameter| parameter.split_once('='));
    let mut bad = named.filter(|(_, value)| percent_decode(value.as_bytes()).decode_utf8().is_err());
    bad.find_map(|(name, _)| TEXTS.iter().find(|known| **known == name).copied())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_parameter_is_text() {
        for (query, bad) in [
            ("", None),
            ("user=Zo%C3%A9&filename=a%EF%BF%BFb.png&x", None),
            ("a=100%&b=%zz", None),
            ("user=ada&filename=a%ED%A0%80.png", Some("filename")),
            ("user=%E9", Some("user")),
            ("%FF=1&other=%FF", None),
        ] {
            assert_eq!(unreadable(query), bad, "{query}");
        }
    }
}
