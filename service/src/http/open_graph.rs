//! The head of the page's document: its title, and the Open Graph tags from which other sites make a preview of a link.

use std::fmt::Write as _;

use poem::Request;
use poem::http::header;

use crate::storage::row::Post;

/// The name of the site.
const SITE: &str = "Postagram";
/// The part of the document that a head replaces, with both marks.
const BEGIN: &str = "<!--head-->";
const END: &str = "<!--/head-->";
/// The longest description, in characters: sites cut it off at about this length.
const MAX_DESCRIPTION: usize = 200;

/// The title and the tags of one address.
#[derive(Debug, Default)]
pub(crate) struct Head {
    title: String,
    /// Properties and their contents, unescaped.
    properties: Vec<(&'static str, String)>,
}

impl Head {
    /// The head of an address without a post.
    pub(crate) fn titled(title: &str) -> Self {
        let properties = vec![("og:site_name", SITE.to_owned()), ("og:title", title.to_owned())];
        Self { title: format!("{title} · {SITE}"), properties }
    }

    /// The head of a post at this path of the site.
    pub(crate) fn of(post: &Post<'_>, path: &str, site: Option<&Origin>) -> Self {
        let (title, body) = (one_line(&post.title.read()), one_line(&post.body.read()));
        let title = [title, body.clone()].into_iter().find(|text| !text.is_empty());
        let title = title.map_or_else(|| format!("{} on {SITE}", post.user), |text| cut(&text, 90));
        let mut head = Self::titled(&title);
        let mut add = |property, content: String| head.properties.push((property, content));
        add("og:type", "article".to_owned());
        add("article:author", post.user.to_string());
        let alt = post.alt.map(|alt| one_line(&alt.read()));
        let description = if body.is_empty() { alt.clone().unwrap_or_default() } else { body };
        add("og:description", cut(&format!("{}: {description}", post.user), MAX_DESCRIPTION));
        if let Some(Origin(origin)) = site {
            add("og:url", format!("{origin}{path}"));
            if let Some(picture) = &post.picture {
                add("og:image", format!("{origin}{path}/image"));
                if let Some((width, height)) = picture.size {
                    add("og:image:width", width.to_string());
                    add("og:image:height", height.to_string());
                }
                if let Some(alt) = alt {
                    add("og:image:alt", alt);
                }
                add("twitter:card", "summary_large_image".to_owned());
            }
        }
        head
    }

    /// Returns the document with this head. Values are escaped: they are text by anyone.
    pub(crate) fn put_into(&self, document: &str) -> String {
        let mut tags = format!("<title>{}</title>", escaped(&self.title));
        for (property, content) in &self.properties {
            write!(tags, "\n  <meta property=\"{property}\" content=\"{}\">", escaped(content))
                .expect("it is a String");
        }
        match document.split_once(BEGIN).and_then(|(start, rest)| Some((start, rest.split_once(END)?.1))) {
            Some((start, end)) => [start, &tags, end].concat(),
            None => document.to_owned(),
        }
    }
}

/// The origin at which a client has reached the service.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Origin(String);

impl Origin {
    /// Reads the origin of a request; `None` unless its host can be a host. Behind a load balancer, only its header
    /// knows whether the client uses HTTPS.
    pub(crate) fn of(request: &Request) -> Option<Self> {
        let host = request.header(header::HOST)?;
        let is_host = |byte: u8| byte.is_ascii_alphanumeric() || b".-:[]_".contains(&byte);
        if host.is_empty() || host.len() > 255 || !host.bytes().all(is_host) {
            return None;
        }
        let scheme = if request.header("x-forwarded-proto") == Some("https") { "https" } else { "http" };
        Some(Self(format!("{scheme}://{host}")))
    }
}

/// Escapes a text for the content of an element and for an attribute in double quotes.
fn escaped(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\'' => escaped.push_str("&#39;"),
            character => escaped.push(character),
        }
    }
    escaped
}

fn one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// Shortens a text to this many characters.
fn cut(text: &str, longest: usize) -> String {
    match text.char_indices().nth(longest - 1) {
        Some((end, last)) if end + last.len_utf8() < text.len() => format!("{}…", text[..end].trim_end()),
        _ => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use posts::{PostId, User};

    use super::*;
    use crate::storage::row::{Picture, Text};

    const DOCUMENT: &str = "<head><!--head--><title>x</title><!--/head--></head>";

    fn post<'a>(title: &'a str, body: &'a str, alt: Option<&'a str>) -> Post<'a> {
        let picture = Picture { key: "k".into(), labels: vec![], size: Some((640, 400)), reason: None };
        let (title, body, alt) = (Text::Plain(title), Text::Plain(body), alt.map(Text::Plain));
        Post {
            id: PostId::new(),
            user: User::parse("Zoé <3").unwrap(),
            title,
            body,
            alt,
            picture: Some(picture),
            removed: None,
        }
    }

    fn head(post: &Post<'_>) -> String {
        let site = Origin("https://postagram.example".to_owned());
        Head::of(post, "/@zoe/1", Some(&site)).put_into(DOCUMENT)
    }

    #[test]
    fn a_post_has_title_text_picture_and_address() {
        let html = head(&post("Blue hour", "The\nlake", Some("A lake")));
        for part in [
            "<head><title>Blue hour · Postagram</title>",
            "<meta property=\"og:title\" content=\"Blue hour\">",
            "<meta property=\"og:description\" content=\"Zoé &lt;3: The lake\">",
            "<meta property=\"og:url\" content=\"https://postagram.example/@zoe/1\">",
            "<meta property=\"og:image\" content=\"https://postagram.example/@zoe/1/image\">",
            "<meta property=\"og:image:width\" content=\"640\">",
            "<meta property=\"og:image:alt\" content=\"A lake\">",
        ] {
            assert!(html.contains(part), "{part} is not in {html}");
        }
        assert!(html.ends_with("</head>") && !html.contains("<title>x"));
    }

    #[test]
    fn a_text_cannot_leave_its_attribute() {
        let evil = "\"><script>alert('1')</script>&amp;<!--/head-->";
        let html = head(&post(evil, evil, Some(evil)));
        assert!(!html.contains("<script") && !html.contains("\"\">") && !html.contains("<!--"), "{html}");
        assert!(html.contains("&quot;&gt;&lt;script&gt;alert(&#39;1&#39;)&lt;/script&gt;&amp;amp;"), "{html}");
    }

    #[test]
    fn a_post_without_a_title_is_called_by_its_text_or_its_author() {
        assert!(head(&post(" ", "Just\ttext", None)).contains("<title>Just text · Postagram</title>"));
        assert!(head(&post("", "", None)).contains("<title>Zoé &lt;3 on Postagram · Postagram</title>"));
    }

    #[test]
    fn a_long_text_is_cut() {
        assert_eq!(cut("abc", 3), "abc");
        assert_eq!(cut("ab cd", 4), "ab…");
        assert_eq!(cut("éééé", 3), "éé…");
    }

    #[test]
    fn only_a_host_is_believed() {
        let origin = |host: &str, scheme: &str| {
            let request = Request::builder().header("host", host).header("x-forwarded-proto", scheme).finish();
            Origin::of(&request).map(|Origin(origin)| origin)
        };
        assert_eq!(origin("a.example:8080", "http").as_deref(), Some("http://a.example:8080"));
        assert_eq!(origin("a.example", "https").as_deref(), Some("https://a.example"));
        assert_eq!(origin("[::1]:80", "javascript").as_deref(), Some("http://[::1]:80"));
        for bad in ["", "a/b", "a\"b", "a b", "a@b", "a<b"] {
            assert_eq!(origin(bad, "http"), None, "{bad}");
        }
    }
}
