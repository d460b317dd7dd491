//! The Query and EC2 protocols: form parameters in, XML out.

use std::collections::BTreeMap;
use std::fmt::Display;
use std::str::FromStr;

use bytes::Bytes;
use http::{Response, StatusCode, header};
use uuid::Uuid;

use crate::answer::Refusal;
use crate::glob::Glob;
pub use crate::parameters::NOT_IMPLEMENTED;

/// An error response of the API.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ApiError {
    /// The machine-readable code.
    pub code: &'static str,
    /// The human-readable message.
    pub message: String,
}

impl ApiError {
    /// An error with this code and message.
    pub fn new(code: &'static str, message: impl Into<String>) -> ApiError {
        ApiError { code, message: message.into() }
    }
}

impl From<ApiError> for Refusal {
    fn from(fault: ApiError) -> Refusal {
        Refusal::new(status_of(fault.code).as_u16(), fault.code, fault.message)
    }
}

/// The result of a call: the content of its XML document.
pub type Answer = Result<Xml, ApiError>;

/// One level of a call's nested parameters: `Filter.1.Name` is `Filter` → `1` → `Name`.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Params {
    text: Option<String>,
    inner: BTreeMap<String, Params>,
}

/// The maximum nesting depth; more than any parameter of any operation has.
const MOST_STEPS: usize = 16;

static NOTHING: Params = Params { text: None, inner: BTreeMap::new() };

impl Params {
    /// Parses the fields of a form.
    pub fn parse(form: &BTreeMap<String, String>) -> Params {
        let mut root = Params::default();
        let known = |path: &str| path.split('.').take(MOST_STEPS + 1).count() <= MOST_STEPS;
        for (path, value) in form.iter().filter(|(path, _)| known(path)) {
            let mut at = &mut root;
            for step in path.split('.') {
                at = at.inner.entry(step.to_owned()).or_default();
            }
            at.text = Some(value.clone());
        }
        root
    }

    /// Returns the level at a dotted path, which is empty if the path is missing.
    pub fn at(&self, path: &str) -> &Params {
        path.split('.').try_fold(self, |at, step| at.inner.get(step)).unwrap_or(&NOTHING)
    }

    /// Returns the text at a path, if it is present and not empty.
    pub fn text(&self, path: &str) -> Option<&str> {
        self.at(path).text.as_deref().filter(|text| !text.is_empty())
    }

    /// Returns the text of this level, or an empty string.
    pub fn value(&self) -> &str {
        self.text.as_deref().unwrap_or_default()
    }

    /// Returns the text at a path. Errors: `MissingParameter`.
    pub fn required(&self, path: &str) -> Result<&str, ApiError> {
        self.text(path)
            .ok_or_else(|| ApiError::new("MissingParameter", format!("The request must contain the parameter {path}")))
    }

    /// Returns the parsed number or boolean at a path. Errors: `InvalidParameterValue`.
    pub fn parsed<T: FromStr>(&self, path: &str) -> Result<Option<T>, ApiError> {
        let Some(text) = self.text(path) else {
            return Ok(None);
        };
        Ok(Some(text.parse().map_err(|_| invalid(text, path))?))
    }

    /// Whether the value at a path of the Query protocol is true. Errors: `MalformedInput` unless it is a boolean of XML
    /// Schema, whose case matters (docs/aws.md §2.1).
    pub fn flag(&self, path: &str) -> Result<bool, ApiError> {
        match self.text(path) {
            Some("true" | "1") => Ok(true),
            Some("false" | "0") | None => Ok(false),
            Some(_) => Err(ApiError::new("MalformedInput", "boolean must follow xsd1.1 definition")),
        }
    }

    /// Whether the value at a path of the EC2 protocol is true. Errors: `InvalidParameterValue` unless it is `true` or
    /// `false`, in any case.
    pub fn flag_of_ec2(&self, path: &str) -> Result<bool, ApiError> {
        match self.text(path) {
            Some(text) => text.to_ascii_lowercase().parse().map_err(|_| invalid(text, path)),
            None => Ok(false),
        }
    }

    /// Whether a path is present, even with an empty value.
    pub fn has(&self, path: &str) -> bool {
        *self.at(path) != NOTHING
    }

    /// Returns the elements of a list in order; the Query protocol nests them in `member`.
    pub fn items(&self, path: &str) -> Vec<&Params> {
        let list = self.at(path);
        let list = list.inner.get("member").unwrap_or(list);
        let mut items: Vec<(u32, &Params)> =
            list.inner.iter().filter_map(|(step, item)| Some((step.parse().ok()?, item))).collect();
        items.sort_by_key(|(number, _)| *number);
        items.into_iter().map(|(_, item)| item).collect()
    }

    /// Returns the texts of a list.
    pub fn texts(&self, path: &str) -> Vec<String> {
        self.items(path).into_iter().map(|item| item.value().to_owned()).collect()
    }

    /// Returns a list of tags as a map.
    pub fn tags(&self, path: &str) -> BTreeMap<String, String> {
        let pair = |tag: &Params| (tag.at("Key").value().to_owned(), tag.at("Value").value().to_owned());
        self.items(path).into_iter().map(pair).collect()
    }

    /// Returns the keys and values of a list of tags, in order and with duplicates.
    pub fn pairs(&self, path: &str) -> Vec<(&str, &str)> {
        self.items(path).into_iter().map(|tag| (tag.at("Key").value(), tag.at("Value").value())).collect()
    }

    /// Iterates over the fields of this level, by name.
    pub fn entries(&self) -> impl Iterator<Item = (&str, &Params)> {
        self.inner.iter().map(|(name, inner)| (name.as_str(), inner))
    }
}

/// The error for a value of the wrong type.
pub fn invalid(text: &str, path: &str) -> ApiError {
    ApiError::new("InvalidParameterValue", format!("Value ({text}) for parameter {path} is invalid."))
}

/// The `Filter.n` (EC2) or `Filters.member.n` (Auto Scaling) of a describe call.
pub struct Filters(Vec<(String, Vec<String>)>);

impl Filters {
    /// Parses the filters of a call.
    pub fn of(params: &Params) -> Filters {
        let read = |list: &str, values: &str| -> Vec<(String, Vec<String>)> {
            let one = |filter: &Params| (filter.at("Name").value().to_owned(), filter.texts(values));
            params.items(list).into_iter().map(one).collect()
        };
        let mut filters = read("Filter", "Value");
        filters.extend(read("Filters", "Values"));
        Filters(filters)
    }

    /// Whether a resource matches all filters. `fact` returns the resource's values for a filter name, or `None` if the
    /// name is invalid.
    pub fn pass(
        &self,
        tags: &BTreeMap<String, String>,
        fact: impl Fn(&str) -> Option<Vec<String>>,
    ) -> Result<bool, ApiError> {
        for (name, wanted) in &self.0 {
            let values = match name.split_once(':') {
                Some(("tag", key)) => tags.get(key).into_iter().cloned().collect(),
                _ if name == "tag-key" => tags.keys().cloned().collect(),
                _ => fact(name)
                    .ok_or_else(|| ApiError::new("InvalidParameterValue", format!("The filter '{name}' is invalid")))?,
            };
            if !wanted.iter().any(|pattern| values.iter().any(|value| Glob::new(pattern).matches(value))) {
                return Ok(false);
            }
        }
        Ok(true)
    }
}

/// A filter fact with one value.
pub fn fact(value: impl Display) -> Option<Vec<String>> {
    Some(vec![value.to_string()])
}

/// Returns one page of a list, and the token of the next page. The token is the number of elements returned so far.
///
/// A page has `usual` elements unless the call requests another size.
pub fn page<'a, T>(items: &'a [T], params: &Params, usual: usize) -> Result<(&'a [T], Option<String>), ApiError> {
    const MOST: usize = 100;
    let start: usize = params.parsed("NextToken")?.unwrap_or(0);
    let size = params.parsed("MaxRecords")?.unwrap_or(usual).clamp(1, MOST);
    let rest = items.get(start..).unwrap_or_default();
    let next = (rest.len() > size).then(|| (start + size).to_string());
    Ok((&rest[..rest.len().min(size)], next))
}

/// An XML writer.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Xml(String);

impl Xml {
    /// An empty document.
    pub fn new() -> Xml {
        Xml::default()
    }

    /// Returns the document as text.
    pub fn into_text(self) -> String {
        self.0
    }

    /// `<name>value</name>`.
    pub fn text(&mut self, name: &str, value: impl Display) -> &mut Xml {
        let value = value.to_string();
        let plain: String = value.chars().filter(|&c| c >= ' ' || matches!(c, '\n' | '\t' | '\r')).collect();
        self.0 += &format!("<{name}>{}</{name}>", quick_xml::escape::escape(&plain));
        self
    }

    /// `<name>value</name>`, or nothing if `value` is `None`.
    pub fn maybe(&mut self, name: &str, value: Option<impl Display>) -> &mut Xml {
        if let Some(value) = value {
            self.text(name, value);
        }
        self
    }

    /// `<name>…</name>`.
    pub fn within(&mut self, name: &str, write: impl FnOnce(&mut Xml)) -> &mut Xml {
        self.0 += &format!("<{name}>");
        write(self);
        self.0 += &format!("</{name}>");
        self
    }

    /// A list in EC2's format: `<name><item>…</item></name>`.
    pub fn set<T>(&mut self, name: &str, items: impl IntoIterator<Item = T>, write: impl Fn(&mut Xml, T)) -> &mut Xml {
        self.list(name, "item", items, write)
    }

    /// A list in the Query protocol's format: `<name><member>…</member></name>`.
    pub fn members<T>(
        &mut self,
        name: &str,
        items: impl IntoIterator<Item = T>,
        write: impl Fn(&mut Xml, T),
    ) -> &mut Xml {
        self.list(name, "member", items, write)
    }

    /// A list of strings in the Query protocol's format.
    pub fn names<T: Display>(&mut self, name: &str, items: impl IntoIterator<Item = T>) -> &mut Xml {
        self.within(name, |xml| {
            for item in items {
                xml.text("member", item);
            }
        })
    }

    /// Tags in EC2's format.
    pub fn tag_set(&mut self, tags: &BTreeMap<String, String>) -> &mut Xml {
        self.set("tagSet", tags, |xml, (key, value)| {
            xml.text("key", key).text("value", value);
        })
    }

    /// A list whose items have this element's name: `<name><element>…</element></name>`.
    pub fn list<T>(
        &mut self,
        name: &str,
        element: &str,
        items: impl IntoIterator<Item = T>,
        write: impl Fn(&mut Xml, T),
    ) -> &mut Xml {
        self.within(name, |xml| {
            for item in items {
                xml.within(element, |xml| write(xml, item));
            }
        })
    }
}

/// The document around results and errors, which depends on the protocol.
#[derive(Debug, Clone, Copy)]
pub enum Envelope {
    /// EC2's.
    Ec2,
    /// The Query protocol's, with the service's XML namespace.
    Query(&'static str),
}

impl Envelope {
    /// Returns the HTTP response of an operation.
    pub fn seal(self, operation: &str, answer: Answer) -> Response<Bytes> {
        let request = Uuid::new_v4();
        let (status, body) = match answer {
            Ok(Xml(inside)) => (StatusCode::OK, self.success(operation, &inside, request)),
            Err(fault) => (status_of(fault.code), self.failure(&fault, request)),
        };
        let mut response = Response::new(Bytes::from(format!("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n{body}")));
        *response.status_mut() = status;
        let xml = header::HeaderValue::from_static("text/xml;charset=UTF-8");
        response.headers_mut().insert(header::CONTENT_TYPE, xml);
        let id = header::HeaderValue::from_str(&request.to_string()).expect("a UUID is a header value");
        response.headers_mut().insert("x-amzn-requestid", id);
        response
    }

    fn success(self, operation: &str, inside: &str, request: Uuid) -> String {
        match self {
            Envelope::Ec2 => format!(
                "<{operation}Response xmlns=\"http://ec2.amazonaws.com/doc/2016-11-15/\"><requestId>{request}</requestId>{inside}</{operation}Response>"
            ),
            Envelope::Query(space) => format!(
                "<{operation}Response xmlns=\"{space}\"><{operation}Result>{inside}</{operation}Result><ResponseMetadata><RequestId>{request}</RequestId></ResponseMetadata></{operation}Response>"
            ),
        }
    }

    fn failure(self, fault: &ApiError, request: Uuid) -> String {
        let mut error = Xml::new();
        match self {
            Envelope::Ec2 => error.within("Response", |xml| {
                xml.within("Errors", |xml| {
                    xml.within("Error", |xml| {
                        xml.text("Code", fault.code).text("Message", &fault.message);
                    });
                });
                xml.text("RequestID", request);
            }),
            Envelope::Query(space) => {
                error.within("ErrorResponse", |xml| {
                    xml.within("Error", |xml| {
                        xml.text("Type", "Sender").text("Code", fault.code).text("Message", &fault.message);
                    });
                    xml.text("RequestId", request);
                });
                error.0 = error.0.replacen("<ErrorResponse>", &format!("<ErrorResponse xmlns=\"{space}\">"), 1);
                &mut error
            }
        };
        error.0
    }
}

fn status_of(code: &str) -> StatusCode {
    match code {
        "InternalFailure" => StatusCode::INTERNAL_SERVER_ERROR,
        NOT_IMPLEMENTED => StatusCode::NOT_IMPLEMENTED,
        "DryRunOperation" => StatusCode::PRECONDITION_FAILED,
        _ => StatusCode::BAD_REQUEST,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use expect_test::{Expect, expect};

    fn params(form: &[(&str, &str)]) -> Params {
        Params::parse(&form.iter().map(|(k, v)| (k.to_string(), v.to_string())).collect())
    }

    #[test]
    fn lists_come_in_the_order_of_their_numbers_in_both_protocols() {
        let ec2 = params(&[("GroupId.10", "c"), ("GroupId.2", "b"), ("GroupId.1", "a")]);
        assert_eq!(ec2.texts("GroupId"), ["a", "b", "c"]);
        let query = params(&[("Names.member.2", "b"), ("Names.member.1", "a")]);
        assert_eq!(query.texts("Names"), ["a", "b"]);
        assert!(params(&[("Names", "")]).items("Names").is_empty());
    }

    #[test]
    fn a_filter_passes_items_with_any_of_its_values() {
        let tags = BTreeMap::from([("deployer:stack".to_owned(), "postagram".to_owned())]);
        let check = |name: &str, value: &str| {
            let params = params(&[("Filter.1.Name", name), ("Filter.1.Value.1", "other"), ("Filter.1.Value.2", value)]);
            Filters::of(&params).pass(&tags, |name| (name == "vpc-id").then(|| vec!["vpc-1".to_owned()]))
        };
        assert_eq!(check("vpc-id", "vpc-1"), Ok(true));
        assert_eq!(check("vpc-id", "vpc-2"), Ok(false));
        assert_eq!(check("tag:deployer:stack", "post*"), Ok(true));
        assert_eq!(check("tag-key", "deployer:stack"), Ok(true));
        assert_eq!(check("tag:missing", "x"), Ok(false));
        assert_eq!(check("colour", "red").unwrap_err().message, "The filter 'colour' is invalid");
    }

    #[test]
    fn a_page_has_the_token_of_the_next() {
        let first = page(&[1, 2, 3], &params(&[("MaxRecords", "2")]), 100).unwrap();
        assert_eq!(first, (&[1, 2][..], Some("2".to_owned())));
        let last = page(&[1, 2, 3], &params(&[("MaxRecords", "2"), ("NextToken", "2")]), 100).unwrap();
        assert_eq!(last, (&[3][..], None));
        let many = [0; 120];
        assert_eq!(page(&many, &params(&[]), 50).unwrap().0.len(), 50);
        assert_eq!(page(&many, &params(&[("MaxRecords", "120")]), 50).unwrap().0.len(), 100);
    }

    fn check_document(envelope: Envelope, answer: Answer, expected: Expect) {
        let response = envelope.seal("DoIt", answer);
        let id = response.headers()["x-amzn-requestid"].to_str().unwrap().to_owned();
        let body = String::from_utf8(response.body().to_vec()).unwrap();
        expected.assert_eq(&format!("{} {}", response.status().as_u16(), body.replace(&id, "ID").replace('\n', "")));
    }

    #[test]
    fn answers_and_refusals_have_the_documents_of_their_protocol() {
        let mut xml = Xml::new();
        xml.text("name", "a<b\u{1}").set("things", [1, 2], |xml, n| {
            xml.text("n", n);
        });
        check_document(
            Envelope::Ec2,
            Ok(xml.clone()),
            expect![[
                r#"200 <?xml version="1.0" encoding="UTF-8"?><DoItResponse xmlns="http://ec2.amazonaws.com/doc/2016-11-15/"><requestId>ID</requestId><name>a&lt;b</name><things><item><n>1</n></item><item><n>2</n></item></things></DoItResponse>"#
            ]],
        );
        check_document(
            Envelope::Query("space"),
            Ok(xml),
            expect![[
                r#"200 <?xml version="1.0" encoding="UTF-8"?><DoItResponse xmlns="space"><DoItResult><name>a&lt;b</name><things><item><n>1</n></item><item><n>2</n></item></things></DoItResult><ResponseMetadata><RequestId>ID</RequestId></ResponseMetadata></DoItResponse>"#
            ]],
        );
        check_document(
            Envelope::Ec2,
            Err(ApiError::new("InvalidGroup.Duplicate", "it's there")),
            expect![[
                r#"400 <?xml version="1.0" encoding="UTF-8"?><Response><Errors><Error><Code>InvalidGroup.Duplicate</Code><Message>it&apos;s there</Message></Error></Errors><RequestID>ID</RequestID></Response>"#
            ]],
        );
        check_document(
            Envelope::Query("space"),
            Err(ApiError::new("ValidationError", "no")),
            expect![[
                r#"400 <?xml version="1.0" encoding="UTF-8"?><ErrorResponse xmlns="space"><Error><Type>Sender</Type><Code>ValidationError</Code><Message>no</Message></Error><RequestId>ID</RequestId></ErrorResponse>"#
            ]],
        );
    }
}
