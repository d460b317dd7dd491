//! A post as the API shows it.

use poem_openapi::Object;
use serde::Serialize;

use crate::storage::pictures::Address;
use crate::storage::row::{Post, Text};

/// Defines the schema of a JSON object for the OpenAPI document, and the struct that is serialised, which borrows its
/// texts. Each field has the type of both. The optional ones are absent if they are unknown.
macro_rules! object {
    (
        $(#[$about:meta])*
        $name:literal, $schema:ident, $json:ident<$life:lifetime> {
            $($(#[$doc:meta])* $field:ident: $shown:ty, $written:ty;)*
        }
        optional {
            $($(#[$optional_doc:meta])* $optional:ident: $optional_shown:ty, $optional_written:ty;)*
        }
    ) => {
        $(#[$about])*
        #[derive(Object)]
        #[oai(rename = $name)]
        pub(crate) struct $schema {
            $($(#[$doc])* $field: $shown,)*
            $(
                $(#[$optional_doc])*
                #[oai(skip_serializing_if_is_none)]
                $optional: Option<$optional_shown>,
            )*
        }

        #[doc = concat!("A [`", stringify!($schema), "`] that borrows its texts.")]
        #[derive(Serialize)]
        pub(crate) struct $json<$life> {
            $($field: $written,)*
            $(#[serde(skip_serializing_if = "Option::is_none")] $optional: Option<$optional_written>,)*
        }
    };
}

object! {
    /// A post
    "Post", PostSchema, PostJson<'a> {
        /// `POST#` and a time-ordered UUID.
        id: String, String;
        /// The author's name.
        user: String, &'a str;
        title: String, Text<'a>;
        body: String, Text<'a>;
        /// A temporary URL of the picture; null until it is labelled.
        image: Option<String>, Option<Address>;
        /// The picture's labels; null until it is labelled.
        labels: Option<Vec<String>>, Option<&'a [Text<'a>]>;
        /// An alias of `labels`.
        label: Option<Vec<String>>, Option<&'a [Text<'a>]>;
    }
    optional {
        /// What the picture shows, in the author's words; absent unless the author has described it.
        alt: String, Text<'a>;
        /// The width at which the picture is displayed, in pixels; absent if unknown.
        width: u32, u32;
        /// The height at which the picture is displayed, in pixels; absent if unknown.
        height: u32, u32;
        /// Why nothing was recognised: `unsupported`, `too_large`, `empty` or `unreadable`; absent if the picture was
        /// analysed.
        reason: String, Text<'a>;
        /// The `objectName` of a picture that was removed for this reason, because it cannot be shown; absent otherwise.
        removed: String, Text<'a>;
    }
}

impl<'a> PostJson<'a> {
    /// The post, with a URL of its picture if it has one.
    pub(crate) fn of(post: &'a Post<'a>, image: Option<Address>) -> Self {
        let Post { id, user, title, body, alt, picture, removed } = post;
        let labels = picture.as_ref().map(|picture| &picture.labels[..]);
        let size = picture.as_ref().and_then(|picture| picture.size);
        let reason = picture.as_ref().and_then(|picture| picture.reason).or(removed.as_ref().map(|it| it.reason));
        Self {
            id: id.key(),
            user: user.as_str(),
            title: *title,
            body: *body,
            image,
            labels,
            label: labels,
            alt: *alt,
            width: size.map(|(width, _)| width),
            height: size.map(|(_, height)| height),
            reason,
            removed: removed.as_ref().map(|it| it.key),
        }
    }
}

#[cfg(test)]
mod tests {
    use poem_openapi::types::{ParseFromJSON as _, ToJSON};
    use posts::{PostId, User};
    use serde_json::{Value, json, to_value};

    use super::*;
    use crate::storage::row::{Picture, Removed};

    #[test]
    fn written_bodies_match_the_api_document() {
        let picture = Picture {
            key: "k".into(),
            labels: vec![Text::Plain("Cat")],
            size: Some((4, 3)),
            reason: Some(Text::Plain("empty")),
        };
        let (user, title, body) = (User::parse("ada").unwrap(), Text::Plain("t"), Text::Plain("b"));
        let alt = Some(Text::Plain("A cat"));
        let mut post = Post { id: PostId::new(), user, title, body, alt, picture: Some(picture), removed: None };
        let with_picture = to_value(PostJson::of(&post, Some(Address::new("https://a")))).unwrap();
        post.picture = None;
        let without = to_value(PostJson::of(&post, None)).unwrap();
        post.removed = Some(Removed { key: Text::Plain("k"), reason: Text::Plain("too_large") });
        let removed = to_value(PostJson::of(&post, None)).unwrap();
        assert_eq!((&removed["image"], &removed["labels"]), (&Value::Null, &Value::Null));
        assert_eq!((&removed["reason"], &removed["removed"]), (&json!("too_large"), &json!("k")));
        assert_eq!(with_picture["label"], json!(["Cat"]));
        assert_eq!((&with_picture["width"], &with_picture["height"]), (&json!(4), &json!(3)));
        for post in [with_picture, without, removed] {
            let shown = PostSchema::parse_from_json(Some(post.clone())).ok().unwrap();
            assert_eq!(shown.to_json(), Some(post));
        }
    }
}
