//! The OpenAPI document and its page: generated from the code and completed with the rules that only the checks know.

use std::sync::{Arc, OnceLock};

use poem::endpoint::make_sync;
use poem::http::header;
use poem::{Endpoint, Response, Route, get};
use poem_openapi::{LicenseObject, OpenApiService};
use posts::Refusal;
use serde_json::{Map, Value, json};

use crate::config::Auth;
use crate::http::api::{Api, Config};
use crate::http::error::Error;
use crate::identity::author::SCHEME;

/// The document, generated on the first request because most instances never receive one.
pub(crate) struct Document {
    api: OpenApiService<Api, ()>,
    login: Config,
    text: OnceLock<String>,
    interface: OnceLock<Interface>,
}

impl Document {
    pub(crate) fn of(api: OpenApiService<Api, ()>, auth: &Auth) -> Arc<Self> {
        let api = api.description(ABOUT).license(LicenseObject::new("MIT OR Apache-2.0")).server("/");
        Arc::new(Self { api, login: Config::of(auth), text: OnceLock::new(), interface: OnceLock::new() })
    }

    /// Answers with the document.
    pub(crate) fn endpoint(self: &Arc<Self>) -> impl Endpoint + 'static {
        let document = self.clone();
        let send = move |_| Response::builder().content_type("application/json").body(document.text().to_owned());
        get(make_sync(send))
    }

    /// Answers with Swagger UI for the document.
    pub(crate) fn page(self: &Arc<Self>) -> Route {
        let file = |content_type: &'static str, text: fn(&Interface) -> &str| {
            let document = self.clone();
            get(make_sync(move |_| {
                let interface =
                    document.interface.get_or_init(|| Interface::cut_out_of(&document.api.swagger_ui_html()));
                Response::builder()
                    .content_type(content_type)
                    .header(header::CACHE_CONTROL, "max-age=3600")
                    .header(header::CONTENT_SECURITY_POLICY, POLICY)
                    .body(text(interface).to_owned())
            }))
        };
        Route::new()
            .at("/", file("text/html; charset=utf-8", |_| include_str!("../../page/docs.html")))
            .at("/start.js", file("text/javascript; charset=utf-8", |_| include_str!("../../page/docs.js")))
            .at("/swagger-ui.js", file("text/javascript; charset=utf-8", |interface| &interface.script))
            .at("/swagger-ui.css", file("text/css; charset=utf-8", |interface| &interface.style))
    }

    fn text(&self) -> &str {
        self.text.get_or_init(|| {
            let mut document = serde_json::from_str(&self.api.spec()).expect("it has just been written as JSON");
            complete(&mut document, &self.login);
            format!("{document:#}")
        })
    }
}

const ABOUT: &str = "Posts with pictures, and labels of what the pictures show.\n\n\
    Every error is `{ \"status_code\", \"message\", \"data\": null }`. Every answer has an `X-Request-Id`, which is \
    also in its log line.";

/// Swagger UI uses styles set by its script, and images inside its style sheet.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; \
                      base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

/// Swagger UI's files. poem-openapi inlines them in one page, where a policy against inline scripts would block them.
struct Interface {
    style: String,
    script: String,
}

impl Interface {
    fn cut_out_of(page: &str) -> Self {
        Self {
            style: between(page, "<style charset=\"UTF-8\">", "</style>"),
            script: between(page, "<script charset=\"UTF-8\">", "</script>"),
        }
    }
}

fn between(text: &str, begin: &str, end: &str) -> String {
    let inner = text.split_once(begin).and_then(|(_, rest)| rest.split_once(end));
    inner.map(|(inner, _)| inner.to_owned()).unwrap_or_default()
}

/// Errors by status, with their meaning and an example. The error for 401 depends on how callers are authenticated.
const ERRORS: &[(u16, &str, &str)] = &[
    (404, "The caller has no such post", "you have no post with this id"),
    (408, "The body did not arrive in time", "the request was not complete in time"),
    (413, "The body is over 64 KiB", "the request is larger than 64 KiB"),
    (414, "The address is over 8 KiB", "the address is longer than 8 KiB"),
    (415, "The body is compressed, or of another type", "the body must not have a Content-Encoding"),
    (422, "The named field or parameter is missing or invalid", "title: it is missing"),
    (431, "The headers are over 16 KiB", "the headers are larger than 16 KiB"),
    (500, "The service is misconfigured", "the storage refused the service's request"),
    (
        503,
        "The service or the storage is busy: try again after `Retry-After` seconds",
        "the storage cannot be reached now, please try again",
    ),
];

/// The errors of each operation, besides those of every request.
const OPERATIONS: &[(&str, &[u16])] = &[
    ("writePost", &[401, 422, 500, 503]),
    ("listPosts", &[422, 500, 503]),
    ("readPost", &[404, 422, 500, 503]),
    ("describePost", &[401, 404, 422, 500, 503]),
    ("deletePost", &[401, 404, 422, 500, 503]),
    ("uploadAddress", &[401, 404, 422, 500, 503]),
    ("uploadAddressByItsOtherName", &[401, 404, 422, 500, 503]),
    ("config", &[503]),
    ("health", &[]),
    ("ready", &[503]),
    ("authorPage", &[503]),
    ("postPage", &[500, 503]),
    ("postImage", &[404, 500, 503]),
    ("labelPage", &[503]),
];
/// The errors of every request: any request may have a body, whatever the operation.
const OF_EVERY_REQUEST: &[u16] = &[408, 413, 414, 415, 431];

/// Characters forbidden in texts, for a character class: controls and the noncharacters of the first plane.
const NO_TEXT: &str = r"\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\ufdd0-\ufdef\ufffe\uffff";
/// Characters forbidden in single-line texts.
const NO_LINE: &str = r"\x00-\x1f\x7f-\x9f\ufdd0-\ufdef\ufffe\uffff";
/// Characters dropped from file names.
const INVISIBLE: &str = r"\u00ad\u034f\u0600-\u0605\u061c\u06dd\u070f\u0890\u0891\u08e2\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b-\u200f\u2028-\u202e\u2060-\u206f\u2800\u3164\ufe00-\ufe0f\ufeff\uffa0\ufff0-\ufffb";

const UUID_PATTERN: &str = "[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}";
const UUID: &str = "018f2f6e-0000-7000-8000-00000000000a";

/// The constraints of the parameters.
fn parameters() -> Vec<(&'static str, Value, Value)> {
    let id = UUID_PATTERN;
    let post = json!({ "pattern": format!("^(POST#)?{id}$") });
    let file = format!(r"^[^{NO_LINE}]*[^{NO_LINE}/\\\s{INVISIBLE}][^{NO_LINE}/\\]*$");
    let image = r"^([Ii][Mm][Aa][Gg][Ee]/(?!.*[Ss][Vv][Gg])(?!.*[Xx][Mm][Ll]$)[A-Za-z0-9!#$&^_.+-]{1,127}|application/octet-stream)?$";
    vec![
        ("user", json!({}), json!("ada")),
        ("id_user", json!({}), json!("ada")),
        ("limit", json!({ "minimum": 1, "maximum": 1000 }), json!(40)),
        ("label", json!({}), json!("cat")),
        ("If-None-Match", json!({}), json!("W/\"9f0d1c64a2b7e3f8\"")),
        ("cursor", json!({ "pattern": format!("^({id})?$") }), json!(UUID)),
        ("order", json!({ "enum": ["oldest", "newest"], "default": "oldest" }), json!("newest")),
        ("id", post.clone(), json!(UUID)),
        ("filename", json!({ "pattern": file }), json!("cat.jpg")),
        ("filetype", json!({ "pattern": image }), json!("image/jpeg")),
        ("postId", post, json!(UUID)),
    ]
}

/// Examples of the schemas, and the constraints of their fields.
fn schemas(login: &Config) -> Vec<(&'static str, Value)> {
    let id = format!("POST#{UUID}");
    let labels = json!(["Cat", "Animal"]);
    let reasons = Refusal::ALL.map(Refusal::word);
    let text = format!("^[^{NO_TEXT}]*$");
    let key = format!("ada/{UUID}/5b0e7c3e-4f1e-4c59-9d3a-2f1f0c4f7c11cat.jpg");
    let address = format!("https://images.s3.us-east-1.amazonaws.com/{key}?X-Amz-Signature=…");
    vec![
        (
            "NewPost",
            json!({
                "properties": {
                    "title": { "maxLength": 300, "pattern": text },
                    "body": { "maxLength": 10_000, "pattern": text },
                    "alt": { "maxLength": 1000, "pattern": text },
                },
                "example": { "title": "My cat", "body": "She sleeps.", "alt": "A cat on a sofa" },
            }),
        ),
        (
            "NewDescription",
            json!({
                "properties": { "alt": { "maxLength": 1000, "pattern": text } },
                "example": { "alt": "A cat on a sofa" },
            }),
        ),
        (
            "Post",
            json!({
                "properties": {
                    "image": { "nullable": true },
                    "labels": { "nullable": true },
                    "label": { "nullable": true },
                    "reason": { "enum": reasons, "example": reasons[0] },
                },
                "example": {
                    "id": id, "user": "ada", "title": "My cat", "body": "She sleeps.",
                    "image": address, "labels": labels, "label": labels,
                    "alt": "A cat on a sofa", "width": 640, "height": 400,
                },
            }),
        ),
        ("Upload", json!({ "example": { "uploadURL": address, "objectName": key } })),
        ("Config", json!({ "properties": { "auth": { "enum": ["header", "jwt"] } }, "example": login })),
        ("Health", json!({ "example": { "status": "ok" } })),
        ("Error", json!({ "properties": { "data": { "nullable": true } } })),
    ]
}

fn complete(document: &mut Value, login: &Config) {
    let mut unauthenticated = Error::NoAuthor;
    if login.wants_tokens() {
        unauthenticated = Error::NoToken;
        document["components"]["securitySchemes"][SCHEME] = json!({
            "type": "http",
            "scheme": "bearer",
            "bearerFormat": "JWT",
            "description": "A token from the issuer that this service trusts; `GET /config` returns where to get one",
        });
    }
    for (name, more) in schemas(login) {
        merge(&mut document["components"]["schemas"][name], more);
    }
    for (status, about, message) in ERRORS {
        document["components"]["responses"][status.to_string()] = error(*status, about, message);
    }
    document["components"]["responses"]["401"] =
        error(401, "The caller is not authenticated", &unauthenticated.to_string());
    add_pages(document);
    let parameters = parameters();
    for operation in operations(document) {
        for parameter in operation.get_mut("parameters").and_then(Value::as_array_mut).into_iter().flatten() {
            let is_complete = !parameter["example"].is_null();
            let known = parameters.iter().find(|(name, ..)| parameter["name"] == *name && !is_complete);
            if let Some((_, schema, example)) = known {
                merge(&mut parameter["schema"], schema.clone());
                parameter["example"] = example.clone();
            }
        }
        let own = OPERATIONS.iter().find(|(id, _)| operation["operationId"] == *id).map_or(&[][..], |(_, own)| *own);
        let mut all = [OF_EVERY_REQUEST, own].concat();
        all.sort_unstable();
        for status in all {
            operation["responses"][status.to_string()] = json!({ "$ref": format!("#/components/responses/{status}") });
        }
    }
}

/// Adds the addresses that people share, which are answered with the page and not by the API.
fn add_pages(document: &mut Value) {
    let parameter = |name: &str, about: &str, rule: Value, example: &str| {
        let mut schema = json!({ "type": "string" });
        merge(&mut schema, rule);
        json!({
            "name": name, "in": "path", "required": true, "description": about, "example": example, "schema": schema,
        })
    };
    let is_text = json!({ "minLength": 1 });
    let user = parameter("user", "The author's name; a `/` in it is encoded.", is_text.clone(), "ada");
    let id = parameter("id", "The UUID of the post.", json!({ "pattern": format!("^{UUID_PATTERN}$") }), UUID);
    let label = parameter("label", "The label, in upper or lower case.", is_text, "cat");
    let page = |about: &str| json!({ "description": about, "content": { "text/html; charset=utf-8": {} } });
    let mut nothing = error(404, "There is no such post: the page says so, or an error", "there is nothing here");
    merge(&mut nothing, page("There is no such post: the page says so, or an error"));
    let (author, post) = (json!([user]), json!([user, id]));
    for (path, id, summary, parameters, responses) in [
        ("/@{user}", "authorPage", "The page of an author", author, json!({ "200": page("The page") })),
        (
            "/@{user}/{id}",
            "postPage",
            "The page of a post, with Open Graph tags",
            post.clone(),
            json!({ "200": page("The page"), "404": nothing }),
        ),
        (
            "/@{user}/{id}/image",
            "postImage",
            "The picture of a post, at an address that stays the same",
            post,
            json!({ "302": {
                "description": "The picture is at a temporary URL",
                "headers": { "Location": { "description": "The URL", "schema": { "type": "string" } } },
            } }),
        ),
        ("/labels/{label}", "labelPage", "The page of a label", json!([label]), json!({ "200": page("The page") })),
    ] {
        document["paths"][path] = json!({ "get": {
            "operationId": id, "summary": summary, "parameters": parameters, "responses": responses,
        } });
    }
}

fn operations(document: &mut Value) -> impl Iterator<Item = &mut Value> {
    let paths = document["paths"].as_object_mut().into_iter().flat_map(Map::values_mut);
    paths.filter_map(Value::as_object_mut).flat_map(Map::values_mut)
}

fn error(status: u16, about: &str, message: &str) -> Value {
    let schema = json!({ "$ref": "#/components/schemas/Error" });
    let example = json!({ "status_code": status, "message": message, "data": null });
    let mut response = json!({
        "description": about,
        "content": { "application/json; charset=utf-8": { "schema": schema, "example": example } },
    });
    let header = match status {
        401 => ("WWW-Authenticate", json!({ "description": "How to authenticate", "schema": { "type": "string" } })),
        503 => ("Retry-After", json!({ "description": "Seconds", "schema": { "type": "integer" }, "example": 2 })),
        _ => return response,
    };
    response["headers"][header.0] = header.1;
    response
}

/// Merges new values into existing ones, object by object.
fn merge(into: &mut Value, more: Value) {
    match (into, more) {
        (Value::Object(into), Value::Object(more)) => {
            for (name, value) in more {
                merge(into.entry(name).or_insert(Value::Null), value);
            }
        }
        (into, more) => *into = more,
    }
}
