//! Uploads by HTML forms ("Browser-Based Uploads Using POST"): fields, the signed policy, and the response.

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use bytes::Bytes;
use http::{HeaderName, HeaderValue, Method, StatusCode, header};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::{Map, Value};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use super::tags;
use super::xml::{element, wrap};
use super::{is_named_by_host, target};
use kit::answer::{Refusal, Response, empty, xml};
use kit::call::Request;

/// The maximum size in bytes of the fields before the file.
const MOST_FIELDS: usize = 20 << 10;

/// A submitted form.
#[derive(Debug)]
pub struct PostForm {
    bucket: String,
    /// Names, in lower case, and values.
    fields: Vec<(String, String)>,
    file: Bytes,
}

/// Fields that a policy need not cover.
const FREE: &[&str] = &["awsaccesskeyid", "signature", "policy", "x-amz-signature"];
/// Fields that do not become headers of the upload.
const OURS: &[&str] = &[
    "acl",
    "awsaccesskeyid",
    "bucket",
    "file",
    "key",
    "policy",
    "redirect",
    "signature",
    "success_action_redirect",
    "success_action_status",
    "tagging",
    "x-amz-algorithm",
    "x-amz-credential",
    "x-amz-date",
    "x-amz-security-token",
    "x-amz-signature",
];
/// Headers that a form may set besides those of AWS.
const HEADERS: &[&str] =
    &["cache-control", "content-disposition", "content-encoding", "content-language", "content-type", "expires"];

fn invalid(text: impl Into<String>) -> Refusal {
    Refusal::new(400, "InvalidArgument", text)
}

fn not_well_formed() -> Refusal {
    let text = "The body of your POST request is not well-formed multipart/form-data.";
    Refusal::new(400, "MalformedPOSTRequest", text)
}

impl PostForm {
    /// Parses the body of a request. Anything after the file is ignored, as on S3.
    pub fn read(request: &Request) -> Result<PostForm, Refusal> {
        let kind = request.header("content-type").unwrap_or_default();
        let (kind, parameters) = kind.split_once(';').unwrap_or((kind, ""));
        if !kind.trim().eq_ignore_ascii_case("multipart/form-data") {
            let text = "Bucket POST must be of the enclosure-type multipart/form-data";
            return Err(Refusal::new(412, "PreconditionFailed", text));
        }
        let boundary = parameter(parameters, "boundary").ok_or_else(not_well_formed)?;
        let (mut fields, mut file, mut file_name) = (Vec::new(), None, String::new());
        let mut size = 0;
        for (head, content) in parts(&request.body, &boundary)? {
            let disposition = head.lines().find_map(|line| {
                let (name, value) = line.split_once(':')?;
                name.trim().eq_ignore_ascii_case("content-disposition").then(|| value.trim().to_owned())
            });
            let disposition = disposition.ok_or_else(not_well_formed)?;
            let name = parameter(&disposition, "name").ok_or_else(not_well_formed)?.to_ascii_lowercase();
            if name == "file" {
                file = Some(request.body.slice_ref(content));
                file_name = parameter(&disposition, "filename").unwrap_or_default();
                break;
            }
            size += name.len() + content.len();
            if size > MOST_FIELDS {
                let text = "Your POST request fields preceding the upload file were too large.";
                return Err(Refusal::new(400, "MaxPostPreDataLengthExceededError", text));
            }
            let text = std::str::from_utf8(content).map_err(|_| not_well_formed())?;
            fields.push((name, text.to_owned()));
        }
        let file = file.ok_or_else(|| invalid("POST requires exactly one file upload per request."))?;
        // Browsers may include the path on their own machine.
        let file_name = file_name.rsplit(['/', '\\']).next().unwrap_or_default();
        for (name, text) in &mut fields {
            if name == "key" {
                *text = text.replace("${filename}", file_name);
            }
        }
        let bucket = target(request).0.unwrap_or_default();
        let form = PostForm { bucket, fields, file };
        if form.field("key").is_none_or(str::is_empty) {
            return Err(invalid(
                "Bucket POST must contain a field named 'key'.  If it is specified, please check the order of the fields.",
            ));
        }
        Ok(form)
    }

    /// The value of a field.
    pub fn field(&self, name: &str) -> Option<&str> {
        if name == "bucket" {
            return Some(&self.bucket);
        }
        self.fields.iter().find(|(known, _)| known == name).map(|(_, text)| text.as_str())
    }

    /// Checks that the form satisfies its policy.
    pub fn check_policy(&self, now: OffsetDateTime) -> Result<(), Refusal> {
        let broken = |text: &str| Refusal::new(400, "InvalidPolicyDocument", format!("Invalid Policy: {text}"));
        let denied = |text: String| Refusal::new(403, "AccessDenied", format!("Invalid according to Policy: {text}"));
        let policy = BASE64_STANDARD.decode(self.field("policy").unwrap_or_default());
        let policy = policy.ok().and_then(|text| serde_json::from_slice::<Map<String, Value>>(&text).ok());
        let policy = policy.ok_or_else(|| broken("Invalid JSON."))?;
        let expires = policy.get("expiration").ok_or_else(|| broken("Policy missing expiration."))?;
        let expires = expires.as_str().and_then(|text| OffsetDateTime::parse(text, &Rfc3339).ok());
        if expires.ok_or_else(|| broken("Invalid 'expiration' value"))? <= now {
            return Err(denied("Policy expired.".to_owned()));
        }
        let conditions = policy.get("conditions").and_then(Value::as_array);
        let conditions = conditions.ok_or_else(|| broken("Policy missing conditions."))?;
        let mut spoken_of = Vec::new();
        for written in conditions {
            let condition = Condition::read(written).ok_or_else(|| broken("Invalid Condition."))?;
            match &condition {
                Condition::Size(least, most) => self.check_size(*least, *most)?,
                Condition::Is(field, _) | Condition::Starts(field, _) if condition.holds(self.field(field)) => {
                    spoken_of.push(field.clone());
                }
                _ => return Err(denied(format!("Policy Condition failed: {}", condition.shown()))),
            }
        }
        let sent = self.fields.iter().map(|(name, _)| name.as_str()).chain(["bucket"]);
        let free = |name: &str| FREE.contains(&name) || name.starts_with("x-ignore-");
        let mut extra = sent.filter(|name| !free(name) && !spoken_of.iter().any(|known| known == name));
        match extra.next() {
            Some(name) => Err(denied(format!("Extra input fields: {name}"))),
            None => Ok(()),
        }
    }

    fn check_size(&self, least: u64, most: u64) -> Result<(), Refusal> {
        let size = self.file.len() as u64;
        if size < least {
            let text = "Your proposed upload is smaller than the minimum allowed size";
            return Err(Refusal::new(400, "EntityTooSmall", text));
        }
        if size > most {
            let text = "Your proposed upload exceeds the maximum allowed size";
            return Err(Refusal::new(400, "EntityTooLarge", text));
        }
        Ok(())
    }

    /// The upload request that is equivalent to the form.
    pub fn upload(&self, request: &Request) -> Request {
        let key = utf8_percent_encode(self.field("key").unwrap_or_default(), NON_ALPHANUMERIC);
        let path = if is_named_by_host(request) { format!("/{key}") } else { format!("/{}/{key}", self.bucket) };
        let mut headers = http::HeaderMap::new();
        for kept in [header::HOST, header::ORIGIN] {
            headers.extend(request.headers.get(&kept).map(|value| (kept, value.clone())));
        }
        for (name, text) in &self.fields {
            let is_header = HEADERS.contains(&name.as_str()) || name.starts_with("x-amz-");
            if !is_header || OURS.contains(&name.as_str()) {
                continue;
            }
            if let (Ok(name), Ok(value)) = (HeaderName::try_from(name), HeaderValue::from_bytes(text.as_bytes())) {
                headers.insert(name, value);
            }
        }
        let and = [("x-amz-acl", self.field("acl").map(str::to_owned)), ("x-amz-tagging", self.tagging())];
        for (name, text) in and {
            if let Some(value) = text.and_then(|text| HeaderValue::from_str(&text).ok()) {
                headers.insert(name, value);
            }
        }
        Request { method: Method::POST, path, query: String::new(), headers, body: self.file.clone(), upload: None }
    }

    /// The value of `x-amz-tagging` for the form's tags, which are an XML document. An invalid document becomes an
    /// invalid value, which the operation refuses.
    fn tagging(&self) -> Option<String> {
        let document = self.field("tagging")?;
        let Ok(tags) = tags::of_document(document.as_bytes(), tags::Of::Object) else {
            return Some(format!("{document}=").repeat(2).replace('<', "%3C"));
        };
        Some(url::form_urlencoded::Serializer::new(String::new()).extend_pairs(tags).finish())
    }

    /// Turns the response to the upload into the one that the form asks for.
    pub fn answered(&self, upload: Response) -> Response {
        if !upload.status().is_success() {
            return upload;
        }
        let key = self.field("key").unwrap_or_default();
        let etag = upload.headers().get(header::ETAG).and_then(|tag| tag.to_str().ok()).unwrap_or_default().to_owned();
        let (mut head, _) = upload.into_parts();
        let location = format!("/{}/{}", self.bucket, super::listing::url(key));
        let redirect = self.field("success_action_redirect").or_else(|| self.field("redirect"));
        if let Some(mut url) = redirect.and_then(|text| url::Url::parse(text).ok()) {
            url.query_pairs_mut()
                .append_pair("bucket", &self.bucket)
                .append_pair("key", key)
                .append_pair("etag", &etag);
            head.status = StatusCode::SEE_OTHER;
            super::metadata::set(&mut head.headers, "location", url.as_str());
            return Response::from_parts(head, Bytes::new());
        }
        super::metadata::set(&mut head.headers, "location", &location);
        let mut answer = match self.field("success_action_status") {
            Some("200") => empty(200),
            Some("201") => {
                let inside = element("Location", &location)
                    + &element("Bucket", &self.bucket)
                    + &element("Key", key)
                    + &element("ETag", &etag);
                xml(201, wrap("PostResponse", &inside))
            }
            _ => empty(204),
        };
        answer.headers_mut().extend(head.headers);
        answer
    }
}

/// A condition of a policy on the form.
enum Condition {
    Is(String, String),
    Starts(String, String),
    Size(u64, u64),
}

impl Condition {
    fn read(written: &Value) -> Option<Condition> {
        if let Some(object) = written.as_object() {
            let (name, value) = object.iter().next().filter(|_| object.len() == 1)?;
            return Some(Condition::Is(name.to_ascii_lowercase(), value.as_str()?.to_owned()));
        }
        let [kind, first, second] = written.as_array()?.as_slice() else { return None };
        let field = || Some(first.as_str()?.strip_prefix('$')?.to_ascii_lowercase());
        let number = |value: &Value| value.as_u64().or_else(|| value.as_str()?.parse().ok());
        match kind.as_str()?.to_ascii_lowercase().as_str() {
            "eq" => Some(Condition::Is(field()?, second.as_str()?.to_owned())),
            "starts-with" => Some(Condition::Starts(field()?, second.as_str()?.to_owned())),
            "content-length-range" => Some(Condition::Size(number(first)?, number(second)?)),
            _ => None,
        }
    }

    fn holds(&self, sent: Option<&str>) -> bool {
        match self {
            Condition::Is(_, value) => sent == Some(value),
            Condition::Starts(_, start) => sent.is_some_and(|sent| sent.starts_with(start)),
            Condition::Size(..) => true,
        }
    }

    fn shown(&self) -> String {
        match self {
            Condition::Is(field, value) => format!("[\"eq\", \"${field}\", \"{value}\"]"),
            Condition::Starts(field, start) => format!("[\"starts-with\", \"${field}\", \"{start}\"]"),
            Condition::Size(least, most) => format!("[\"content-length-range\", {least}, {most}]"),
        }
    }
}

/// A parameter of a header's value.
fn parameter(text: &str, name: &str) -> Option<String> {
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('=') {
        let known = before.rsplit([';', ' ']).next().unwrap_or_default().trim();
        let (value, tail) = match after.trim_start().strip_prefix('"') {
            Some(quoted) => quoted.split_once('"')?,
            None => after.split_once(';').unwrap_or((after, "")),
        };
        if known.eq_ignore_ascii_case(name) {
            return Some(value.trim().to_owned());
        }
        rest = tail;
    }
    None
}

/// The headers and contents of the parts of a body.
fn parts<'a>(body: &'a [u8], boundary: &str) -> Result<Vec<(String, &'a [u8])>, Refusal> {
    let between = format!("\r\n--{boundary}");
    let mut rest = body.strip_prefix(&between.as_bytes()[2..]).ok_or_else(not_well_formed)?;
    let mut parts = Vec::new();
    while !rest.starts_with(b"--") {
        let part = rest.strip_prefix(b"\r\n").ok_or_else(not_well_formed)?;
        let (head, tail) = split(part, b"\r\n\r\n").ok_or_else(not_well_formed)?;
        let (content, after) = split(tail, between.as_bytes()).ok_or_else(not_well_formed)?;
        parts.push((String::from_utf8_lossy(head).into_owned(), content));
        rest = after;
    }
    Ok(parts)
}

fn split<'a>(text: &'a [u8], at: &[u8]) -> Option<(&'a [u8], &'a [u8])> {
    // In a long body, searches for the first byte alone, and compares the rest only where it is found.
    let mut from = 0;
    loop {
        let found = from + text.get(from..)?.iter().position(|byte| *byte == at[0])?;
        if text[found..].starts_with(at) {
            return Some((&text[..found], &text[found + at.len()..]));
        }
        from = found + 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn form(fields: &[(&str, &str)], file: Option<&str>) -> Result<PostForm, String> {
        let mut body = String::new();
        for (name, text) in fields {
            body += &format!("--x\r\nContent-Disposition: form-data; name=\"{name}\"\r\n\r\n{text}\r\n");
        }
        if let Some(text) = file {
            body += &format!(
                "--x\r\nContent-Disposition: form-data; name=\"file\"; filename=\"C:\\dir\\a b.jpg\"\r\nContent-Type: image/jpeg\r\n\r\n{text}\r\n"
            );
        }
        body += "--x--\r\n";
        let mut request = Request { path: "/b".into(), body: body.into(), ..crate::bare(Method::POST) };
        request.headers.insert("content-type", "multipart/form-data; boundary=x".parse().unwrap());
        PostForm::read(&request).map_err(|refusal| refusal.code)
    }

    #[test]
    fn form_fields_and_file_are_parsed() {
        let sent = [("Key", "in/${filename}"), ("x-amz-meta-a", "é\r\n--y"), ("success_action_status", "201")];
        let read = form(&sent, Some("line\r\n\r\n--not the end")).unwrap();
        assert_eq!((read.field("key"), read.field("x-amz-meta-a")), (Some("in/a b.jpg"), Some("é\r\n--y")));
        assert_eq!((read.field("bucket"), read.file.as_ref()), (Some("b"), &b"line\r\n\r\n--not the end"[..]));
        assert_eq!(form(&sent, None).unwrap_err(), "InvalidArgument");
        assert_eq!(form(&[], Some("")).unwrap_err(), "InvalidArgument");
        assert_eq!(
            form(&[("key", &"k".repeat(MOST_FIELDS))], Some("")).unwrap_err(),
            "MaxPostPreDataLengthExceededError"
        );
        assert!(form(&[("key", "k")], Some("")).unwrap().file.is_empty());
    }

    #[test]
    fn a_post_policy_covers_every_field_and_is_enforced() {
        let checked = |policy: &str, more: &[(&str, &str)]| {
            let policy = BASE64_STANDARD.encode(policy);
            let fields = [&[("key", "in/k"), ("policy", policy.as_str()), ("x-ignore-a", "b")], more].concat();
            let checked = form(&fields, Some("12345")).unwrap().check_policy(OffsetDateTime::UNIX_EPOCH);
            checked.err().map_or_else(|| "none".to_owned(), |refusal| format!("{}: {}", refusal.code, refusal.message))
        };
        let conditions = |more: &str| {
            format!(
                "{{\"expiration\":\"2099-01-01T00:00:00.000Z\",\"conditions\":[{{\"bucket\":\"b\"}},[\"starts-with\",\"$key\",\"in/\"]{more}]}}"
            )
        };
        assert_eq!(checked(&conditions(""), &[]), "none");
        for (policy, more, expected) in [
            ("{".to_owned(), &[][..], "InvalidPolicyDocument: Invalid Policy: Invalid JSON."),
            ("{}".to_owned(), &[], "InvalidPolicyDocument: Invalid Policy: Policy missing expiration."),
            (
                "{\"expiration\":\"1960-01-01T00:00:00Z\",\"conditions\":[]}".to_owned(),
                &[],
                "AccessDenied: Invalid according to Policy: Policy expired.",
            ),
            (
                conditions(""),
                &[("acl", "private")],
                "AccessDenied: Invalid according to Policy: Extra input fields: acl",
            ),
            (
                conditions(",[\"eq\",\"$Content-Type\",\"a\"]"),
                &[("Content-Type", "b")],
                "AccessDenied: Invalid according to Policy: Policy Condition failed: [\"eq\", \"$content-type\", \"a\"]",
            ),
            (
                conditions(",[\"content-length-range\",6,9]"),
                &[],
                "EntityTooSmall: Your proposed upload is smaller than the minimum allowed size",
            ),
            (
                conditions(",[\"content-length-range\",0,4]"),
                &[],
                "EntityTooLarge: Your proposed upload exceeds the maximum allowed size",
            ),
            (
                conditions(",[\"content-length-range\",-1,4]"),
                &[],
                "InvalidPolicyDocument: Invalid Policy: Invalid Condition.",
            ),
            (
                conditions(",[\"like\",\"$key\",\"*\"]"),
                &[],
                "InvalidPolicyDocument: Invalid Policy: Invalid Condition.",
            ),
        ] {
            assert_eq!(checked(&policy, more), expected, "{policy}");
        }
    }
}
