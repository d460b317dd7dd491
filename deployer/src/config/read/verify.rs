//! Reads the requests of `deployer verify`.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde_json::Value;

use super::{Fields, Located, Name, Node, Place, Reader, breaks_a_line, scalars, usual_text};
use crate::config::verify::{
    AnswerPart, Body, Capture, Expected, JsonWords, REQUEST_METHODS, RUN, Request, Statuses, Verify, Words,
};

/// The fields of which a request has at most one.
const BODIES: &[&str] = &["json", "body", "base64", "file"];

impl Reader<'_> {
    pub(super) fn verify(&mut self, value: &Located) -> Option<Verify> {
        let fields = self.fields("verify", value)?;
        let service = fields.get("service").and_then(|_| self.parsed(&fields, "service", "the name of a service"));
        if fields.get("steps").is_none() {
            self.problem(fields.place, "`steps` is missing in verify", "add steps: { page: { request: GET / } }");
        }
        let steps = self.named(&fields, "steps", Self::request);
        Some(Verify { service, steps })
    }

    /// Reads entries with names, in the order of the file.
    fn named<T>(
        &mut self,
        above: &Fields<'_>,
        key: &str,
        read: fn(&mut Self, &str, &Located) -> Option<T>,
    ) -> Vec<(Name, T)> {
        let path = above.path(key);
        let Some(entries) = above.get(key).and_then(|value| self.map(&path, value)) else { return Vec::new() };
        let mut named = Vec::new();
        for (name, place, value) in entries {
            // A name with a dot is rejected below, and its fields are read all the same.
            let path = format!("{path}.{}", name.replace('.', "-"));
            self.places.insert(path.clone(), *place);
            let name: Option<Name> = name
                .parse()
                .map_err(|help: String| self.problem(*place, format!("{name:?} is not a valid entry name"), help))
                .ok();
            named.extend(name.zip(read(self, &path, value)));
        }
        named
    }

    fn request(&mut self, path: &str, value: &Located) -> Option<Request> {
        let fields = self.fields(path, value)?;
        let (method, target) = self.target(&fields).unwrap_or_default();
        let headers = self.headers(&fields, "headers", true);
        let body = self.body(&fields);
        if method == "HEAD" && fields.get("expect").is_some_and(has_body) {
            let help = "the answer to HEAD has no body: use GET";
            self.problem(self.place(&fields, "expect"), "a body is expected of HEAD", help);
        }
        Some(Request {
            method,
            target,
            headers,
            body,
            expect: self.expected(&fields),
            capture: self.named(&fields, "capture", Self::capture),
            timeout_s: self.number(&fields, "timeout_s"),
            within_s: self.number(&fields, "within_s"),
            from: fields.get("from").and_then(|_| self.parsed(&fields, "from", "the name of an earlier step")),
            always: self.boolean(&fields, "always"),
        })
    }

    fn target(&mut self, fields: &Fields<'_>) -> Option<(String, Words)> {
        const HELP: &str = "write a method and a path, such as GET /posts, or a method and a whole URL";
        let text = self.text(fields, "request", "a method and a path, such as GET /posts")?;
        let value = fields.get("request")?;
        let Some((method, target)) = text.split_once(' ').filter(|(method, _)| REQUEST_METHODS.contains(method)) else {
            let help = format!("{HELP}; methods are {}", REQUEST_METHODS.join(", "));
            self.problem(value.place, format!("{text:?} is not a request"), help);
            return None;
        };
        let begins = ["/", "http://", "https://", "${"].iter().any(|begin| target.starts_with(begin));
        if !begins || target.contains(|c: char| c.is_whitespace() || c.is_control()) {
            self.problem(value.place, format!("{target:?} is neither a path nor a URL"), HELP);
            return None;
        }
        Some((method.to_owned(), self.words(value, target)?))
    }

    /// The headers that a request has, or those that are expected of its answer.
    fn headers(&mut self, fields: &Fields<'_>, key: &str, are_sent: bool) -> Vec<(String, Words)> {
        let path = fields.path(key);
        let value = fields.get(key);
        value.filter(|_| are_sent).iter().for_each(|value| scalars(value, &mut self.secrets));
        let Some(entries) = value.and_then(|value| self.map(&path, value)) else { return Vec::new() };
        let mut headers = Vec::new();
        for (name, place, value) in entries {
            if !is_header(name) {
                self.problem(*place, format!("{name:?} is not the name of a header"), "write one such as content-type");
            }
            let Some(text) = self.scalar(value) else { continue };
            if text.contains(breaks_a_line) {
                self.problem(value.place, "a header with control characters", "a header's value is one line");
                continue;
            }
            headers.extend(self.words(value, &text).map(|words| (name.to_lowercase(), words)));
        }
        headers
    }

    fn body(&mut self, fields: &Fields<'_>) -> Body {
        let given: Vec<&str> = BODIES.iter().copied().filter(|key| fields.get(key).is_some()).collect();
        if let [_, second, ..] = given[..] {
            let message = format!("two bodies: {}", given.join(" and "));
            self.problem(self.place(fields, second), message, "keep one of them");
        }
        for key in ["json", "body", "base64"] {
            fields.get(key).iter().for_each(|value| scalars(value, &mut self.secrets));
        }
        let body = match given.first() {
            Some(&"json") => fields.get("json").and_then(|value| self.json(value)).map(Body::Json),
            Some(&"body") => self.words_of(fields, "body").map(Body::Text),
            Some(&"base64") => self.bytes(fields).map(Body::Bytes),
            Some(&"file") => self.file(fields).map(Body::File),
            _ => None,
        };
        body.unwrap_or(Body::Nothing)
    }

    fn bytes(&mut self, fields: &Fields<'_>) -> Option<Vec<u8>> {
        let text = self.optional_text(fields, "base64")?;
        let text: String = text.chars().filter(|c| !c.is_whitespace()).collect();
        STANDARD
            .decode(text)
            .map_err(|_| {
                let help = "write what `base64 FILE` prints, or name the file with `file`";
                self.problem(self.place(fields, "base64"), "this is not base64", help);
            })
            .ok()
    }

    fn file(&mut self, fields: &Fields<'_>) -> Option<std::path::PathBuf> {
        let file = self.optional_text(fields, "file")?;
        if file.is_empty() {
            self.problem(
                self.place(fields, "file"),
                "`file` is not the path of a file",
                "write a path relative to this file",
            );
        }
        Some(file.into())
    }

    fn expected(&mut self, request: &Fields<'_>) -> Expected {
        let fields = self.fields_of(request, "expect");
        let status = self.statuses(&fields);
        let headers = self.headers(&fields, "headers", false);
        let body = self.words_of(&fields, "body");
        let path = fields.path("json");
        let entries = fields.get("json").and_then(|value| self.map(&path, value)).unwrap_or_default();
        let mut json = Vec::new();
        for (pointer, place, value) in entries {
            self.pointer(pointer, *place);
            json.extend(self.json(value).map(|value| (pointer.clone(), value)));
        }
        Expected { status, headers, body, json }
    }

    fn statuses(&mut self, fields: &Fields<'_>) -> Statuses {
        let written = match fields.get("status").map(|value| &value.node) {
            None => Some(usual_text(fields, "status")),
            Some(Node::Number(status)) => Some(status.to_string()),
            Some(Node::Text(text)) => Some(text.clone()),
            Some(_) => None,
        };
        written.and_then(|text| Statuses::parse(&text)).unwrap_or_else(|| {
            let help = "write 200, 200-299 or 200,404, from 100 to 599";
            self.problem(self.place(fields, "status"), "this is not a set of HTTP statuses", help);
            Statuses::parse("200").expect("a status")
        })
    }

    fn capture(&mut self, path: &str, value: &Located) -> Option<Capture> {
        let fields = self.fields(path, value)?;
        if path.ends_with(&format!(".{RUN}")) {
            let help = "it differs in each run: choose another name";
            self.problem(fields.place, format!("`{RUN}` is set by the deployer"), help);
        }
        let (json, header) = (self.optional_text(&fields, "json"), self.optional_text(&fields, "header"));
        let after = self.optional_text(&fields, "after").filter(|after| !after.is_empty());
        let part = match (json, header) {
            (Some(pointer), None) => {
                self.pointer(&pointer, self.place(&fields, "json"));
                AnswerPart::Json(pointer)
            }
            (None, Some(header)) => {
                if !is_header(&header) {
                    let place = self.place(&fields, "header");
                    self.problem(
                        place,
                        format!("{header:?} is not the name of a header"),
                        "write one such as location",
                    );
                }
                AnswerPart::Header(header.to_lowercase())
            }
            // A value of the wrong type has been rejected already.
            (None, None) if fields.get("json").or(fields.get("header")).is_some() => return None,
            _ => {
                let help = "name the value with `json: /id`, or the header with `header: location`";
                self.problem(fields.place, "a variable is set from either `json` or `header`", help);
                return None;
            }
        };
        Some(Capture { part, after })
    }

    fn pointer(&mut self, pointer: &str, place: Place) {
        let has_wrong_escape = pointer.split('~').skip(1).any(|rest| !rest.starts_with(['0', '1']));
        if !(pointer.is_empty() || pointer.starts_with('/')) || has_wrong_escape {
            let help = "write /0/id for the id of the first item, /*/id for that of any item, and \"\" for everything";
            self.problem(place, format!("{pointer:?} is not a JSON pointer"), help);
        }
    }

    fn words_of(&mut self, fields: &Fields<'_>, key: &str) -> Option<Words> {
        let text = self.optional_text(fields, key)?;
        self.words(fields.get(key)?, &text)
    }

    fn words(&mut self, value: &Located, text: &str) -> Option<Words> {
        let parsed = Words::parse(text, |part| self.place_within(value, part));
        parsed.map_err(|problem| self.problems.push(problem)).ok()
    }

    /// A value of YAML as JSON.
    fn json(&mut self, value: &Located) -> Option<JsonWords> {
        Some(match &value.node {
            Node::Null => JsonWords::Plain(Value::Null),
            Node::Bool(truth) => JsonWords::Plain((*truth).into()),
            Node::Number(_) | Node::Fraction => match serde_json::from_str(self.written(value).trim()) {
                Ok(number) => JsonWords::Plain(number),
                Err(_) => {
                    let help = "write it as JSON does, such as 1.5, or put quotes around a text";
                    self.problem(value.place, "this is not a number of JSON", help);
                    return None;
                }
            },
            Node::Text(text) => JsonWords::Text(self.words(value, text)?),
            Node::List(items) => JsonWords::List(items.iter().map(|item| self.json(item)).collect::<Option<_>>()?),
            Node::Map(entries) => {
                let entries = entries.iter().map(|(key, _, value)| Some((key.clone(), self.json(value)?)));
                JsonWords::Object(entries.collect::<Option<_>>()?)
            }
        })
    }
}

/// Whether an expectation is about the body.
fn has_body(expect: &Located) -> bool {
    matches!(&expect.node, Node::Map(entries) if entries.iter().any(|(key, _, _)| key == "body" || key == "json"))
}

/// Whether a text can be the name of a header (RFC 9110 §5.1).
fn is_header(name: &str) -> bool {
    !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte))
}
