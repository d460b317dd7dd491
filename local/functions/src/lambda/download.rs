//! The uploaded zips of functions, and the URLs to download them that `GetFunction` returns.
//!
//! On AWS, such a URL points to a bucket owned by Lambda, is signed, and expires after ten minutes.

use std::io;
use std::path::{Path, PathBuf};

use bytes::Bytes;
use hmac::{Hmac, Mac};
use http::{HeaderValue, Method, header};
use sha2::Sha256;
use time::{Duration, OffsetDateTime};

use super::{Function, Lambda};
use kit::ACCOUNT;
use kit::answer::{Protocol, Refusal, Response, empty};
use kit::call::Request;
use kit::store;

/// The validity of a URL (`API:lambda.GetFunction`).
const GOOD_FOR: Duration = Duration::minutes(10);

/// The stored zips, and the key that signs their URLs.
pub(super) struct Zips {
    dir: PathBuf,
    endpoint: String,
    /// Signs URLs. It is random, so URLs are only valid until the server stops.
    secret: [u8; 16],
}

impl Zips {
    pub(super) fn new(dir: PathBuf, endpoint: &str) -> Zips {
        Zips { dir, endpoint: endpoint.to_owned(), secret: *uuid::Uuid::new_v4().as_bytes() }
    }

    /// Stores a zip under its checksum.
    pub(super) fn keep(&self, code_sha256: &str, zip: &[u8]) -> io::Result<()> {
        let file = self.file(code_sha256);
        if file.is_file() {
            return Ok(());
        }
        std::fs::create_dir_all(&self.dir)?;
        store::write(&file, zip)
    }

    /// Removes all zips except those of functions and their published versions.
    pub(super) fn retain<'a>(&self, functions: impl Iterator<Item = &'a Function>) {
        let codes = functions.flat_map(|function| {
            let published = function.published.iter().map(|version| version.code_sha256());
            published.chain([function.code_sha256.as_str()])
        });
        let kept: Vec<PathBuf> = codes.map(|code| self.file(code)).collect();
        let files = std::fs::read_dir(&self.dir).into_iter().flatten().flatten().map(|entry| entry.path());
        for file in files.filter(|file| !kept.contains(file)) {
            let _ = std::fs::remove_file(file);
        }
    }

    fn file(&self, code_sha256: &str) -> PathBuf {
        // Base64 may contain slashes, which a file's name cannot.
        self.dir.join(format!("{}.zip", code_sha256.replace('/', "-")))
    }

    fn sign(&self, path: &str, expires: i64) -> String {
        let mut mac = Hmac::<Sha256>::new_from_slice(&self.secret).expect("a key may have any length");
        mac.update(format!("{path}\n{expires}").as_bytes());
        hex::encode(mac.finalize().into_bytes())
    }
}

impl Lambda {
    /// Returns a signed URL of a zip.
    pub(super) fn location(&self, code_sha256: &str) -> String {
        let path = format!("{}{}", self.snapshots(), code_sha256.replace('/', "-").replace('+', "%2B"));
        let expires = (OffsetDateTime::now_utc() + GOOD_FOR).unix_timestamp();
        let Zips { endpoint, .. } = &self.zips;
        format!("{endpoint}{path}?Expires={expires}&Signature={}", self.zips.sign(&path, expires))
    }

    /// Returns the path prefix of the zips' URLs. The bucket in it belongs to another account (docs/aws.md §4.1).
    fn snapshots(&self) -> String {
        format!("/awslambda-{}-tasks/snapshots/{ACCOUNT}/", self.region)
    }

    /// Returns the zip at a URL from `GetFunction`; `None` if the request is for something else.
    pub fn download(&self, request: &Request) -> Option<Response> {
        let name = request.path.strip_prefix(&self.snapshots()).filter(|_| request.method == Method::GET)?;
        let expires = request.parameter("Expires").and_then(|expires| expires.parse::<i64>().ok()).unwrap_or_default();
        let is_signed = request.parameter("Signature") == Some(self.zips.sign(&request.path, expires));
        if !is_signed || expires < OffsetDateTime::now_utc().unix_timestamp() {
            let text = if is_signed { "Request has expired" } else { "Access Denied" };
            return Some(Refusal::new(403, "AccessDenied", text).answer(Protocol::RestXml));
        }
        let file = self.zips.file(&name.replace("%2B", "+"));
        Some(match read(&file) {
            Ok(answer) => answer,
            Err(_) => {
                let text = "The specified key does not exist.";
                Refusal::new(404, "NoSuchKey", text).answer(Protocol::RestXml)
            }
        })
    }
}

fn read(file: &Path) -> io::Result<Response> {
    let mut answer = empty(200);
    *answer.body_mut() = Bytes::from(std::fs::read(file)?);
    answer.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/zip"));
    Ok(answer)
}
