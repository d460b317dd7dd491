//! Buckets.

use super::{Fields, Reader, values::usual_text};
use crate::config::{
    Bucket, Cors, Lifecycle, Place, Upload,
    tree::{Located, Node},
};

/// The namespaces of names of buckets; the first is the default.
pub const NAMESPACES: &[&str] = &["global", "account-regional"];

/// The methods that a CORS rule may allow.
pub const METHODS: &[&str] = &["GET", "HEAD", "PUT", "POST", "DELETE"];

impl Reader<'_> {
    pub(super) fn bucket(&mut self, path: &str, value: &Located) -> Option<Bucket> {
        if matches!(value.node, Node::Null) {
            return Some(Bucket::default());
        }
        let fields = self.fields(path, value)?;
        let cors = fields.get("cors").and_then(|value| self.cors(&fields.path("cors"), value));
        let on_upload = fields.get("on_upload").and_then(|value| self.upload(&fields.path("on_upload"), value));
        let lifecycle = fields.get("lifecycle").and_then(|value| self.lifecycle(&fields.path("lifecycle"), value));
        Some(Bucket {
            cors,
            on_upload,
            protect: self.boolean(&fields, "protect"),
            versioning: self.boolean(&fields, "versioning"),
            lifecycle: lifecycle.unwrap_or_default(),
            key: self.encryption_key(&fields, "key"),
            is_account_regional: self.is_account_regional(&fields),
        })
    }

    fn is_account_regional(&mut self, fields: &Fields<'_>) -> bool {
        self.one_of(fields, "namespace", NAMESPACES) != NAMESPACES[0]
    }

    fn lifecycle(&mut self, path: &str, value: &Located) -> Option<Lifecycle> {
        let fields = self.fields(path, value)?;
        Some(Lifecycle {
            expire_days: self.optional_number(&fields, "expire_days"),
            noncurrent_days: self.optional_number(&fields, "noncurrent_days"),
        })
    }

    pub(super) fn cors(&mut self, path: &str, value: &Located) -> Option<Cors> {
        let fields = self.fields(path, value)?;
        let methods = self.some_texts(&fields, "methods", "methods: [GET, HEAD, PUT]");
        for (method, place) in &methods {
            if !METHODS.contains(&method.as_str()) {
                let help = format!("use {}", METHODS.join(", "));
                self.problem(*place, format!("S3 does not support the method {method:?}"), help);
            }
        }
        let origins = match fields.get("origins") {
            Some(_) => self.some_texts(&fields, "origins", "origins: [\"*\"]"),
            None => vec![(usual_text(&fields, "origins"), fields.place)],
        };
        let headers = self.texts(&fields, "headers").unwrap_or_default();
        for (pattern, place) in origins.iter().chain(&headers) {
            if pattern.matches('*').count() > 1 {
                self.problem(*place, format!("more than one `*` in {pattern:?}"), "S3 allows at most one");
            }
        }
        let plain = |texts: Vec<(String, Place)>| -> Vec<String> { texts.into_iter().map(|(text, _)| text).collect() };
        Some(Cors {
            origins: plain(origins),
            methods: plain(methods),
            headers: plain(headers),
            expose: plain(self.texts(&fields, "expose").unwrap_or_default()),
            max_age_s: self.optional_number(&fields, "max_age_s"),
        })
    }

    pub(super) fn upload(&mut self, path: &str, value: &Located) -> Option<Upload> {
        let fields = self.fields(path, value)?;
        Some(Upload {
            function: self.parsed(&fields, "function", "the name of a function")?,
            prefix: self.optional_text(&fields, "prefix"),
            suffix: self.optional_text(&fields, "suffix"),
        })
    }
}
