//! Uploads in parts, kept on disk from the first part on: a restart, planned or not, interrupts none of them.
//!
//! winterbaume holds them in memory only, so it sees an upload when it is complete: then every part is handed on, and
//! the object is as if it had been there all the time.

use std::collections::BTreeMap;
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Method};
use md5::{Digest, Md5};
use serde::{Deserialize, Serialize};
use time::OffsetDateTime;
use time::macros::format_description;
use uuid::Uuid;

use super::checksum::{Algorithm, Checksum};
use super::{NAMESPACE, S3, bare, refusal_in, versions};
use crate::answer::{Refusal, Response, empty, escape, xml};
use crate::call::Request;
use crate::{ACCOUNT, store};

/// Every part but the last has at least this size (aws-facts name no limit; S3's quota page does).
const SMALLEST: u64 = 5 << 20;
const PAGE: usize = 1000;

/// The uploads under way, each in a directory of its own.
#[derive(Debug)]
pub(super) struct Uploads {
    dir: PathBuf,
}

/// What an upload will become.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct Upload {
    bucket: String,
    key: String,
    begun: i64,
    /// Those of the creating request that are the object's.
    headers: Vec<(String, String)>,
    /// The algorithm by which every part has to be known when the upload is completed, if there is one.
    #[serde(default)]
    composite: Option<Algorithm>,
}

/// A part on disk. Its file's name tells everything, so that one rename replaces it.
#[derive(Debug, Clone)]
struct Part {
    file: PathBuf,
    md5: String,
    size: u64,
    written: i128,
}

#[derive(Debug, Deserialize)]
struct Complete {
    #[serde(default, rename = "Part")]
    parts: Vec<Wanted>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Wanted {
    part_number: u32,
    #[serde(rename = "ETag")]
    etag: String,
    #[serde(rename = "ChecksumCRC32")]
    crc32: Option<String>,
    #[serde(rename = "ChecksumCRC32C")]
    crc32c: Option<String>,
    #[serde(rename = "ChecksumCRC64NVME")]
    crc64nvme: Option<String>,
    #[serde(rename = "ChecksumSHA1")]
    sha1: Option<String>,
    #[serde(rename = "ChecksumSHA256")]
    sha256: Option<String>,
}

impl Wanted {
    /// The checksum that the part is said to have.
    fn checksum(&self, algorithm: Algorithm) -> Option<&str> {
        let checksum = match algorithm {
            Algorithm::Crc32 => &self.crc32,
            Algorithm::Crc32c => &self.crc32c,
            Algorithm::Crc64Nvme => &self.crc64nvme,
            Algorithm::Sha1 => &self.sha1,
            Algorithm::Sha256 => &self.sha256,
        };
        checksum.as_deref()
    }

    /// Whether the part is the one that is meant. One that is not cannot be told from one that is not there
    /// (`API:s3.CompleteMultipartUpload`, `InvalidPart`).
    async fn check(&self, part: &Part) -> Result<(), Refusal> {
        let said: Vec<_> = Algorithm::ALL.into_iter().filter_map(|one| Some((one, self.checksum(one)?))).collect();
        if said.is_empty() {
            return Ok(());
        }
        let bytes = tokio::fs::read(&part.file).await.map_err(failed)?;
        match said.iter().all(|(algorithm, said)| algorithm.text_of(&bytes) == *said) {
            true => Ok(()),
            false => Err(no_part()),
        }
    }
}

fn no_part() -> Refusal {
    let text = "One or more of the specified parts could not be found.  The part may not have been uploaded, or the specified entity tag may not match the part's entity tag.";
    Refusal::new(400, "InvalidPart", text)
}

impl S3 {
    /// Answers the operations of uploads in parts; no other operation ends here.
    pub(super) async fn act_on_upload(
        &self,
        operation: &str,
        bucket: &str,
        key: &str,
        request: &Request,
    ) -> Result<Response, Refusal> {
        if operation == "CreateMultipartUpload" {
            return self.begin_upload(bucket, key, request);
        }
        let id = request.parameter("uploadId").unwrap_or_default();
        let upload = self.uploads.find(&id, bucket, key)?;
        match operation {
            "UploadPart" => self.put_part(&id, request, request.body.clone()),
            "UploadPartCopy" => self.copy_part(&id, request).await,
            "ListParts" => self.list_parts(&id, &upload, request),
            "AbortMultipartUpload" => {
                self.uploads.remove(&id).map_err(failed)?;
                Ok(empty(204))
            }
            _ => self.complete(&id, &upload, request).await,
        }
    }

    fn begin_upload(&self, bucket: &str, key: &str, request: &Request) -> Result<Response, Refusal> {
        let checksums = checksums_of(request)?;
        let composite = checksums.filter(|(_, kind)| *kind == COMPOSITE).map(|(algorithm, _)| algorithm);
        let id = self.uploads.begin(bucket, key, &request.headers, composite).map_err(failed)?;
        let names = element("Bucket", bucket) + &element("Key", key) + &element("UploadId", &id);
        let mut answer = document("InitiateMultipartUploadResult", &names);
        if let Some((algorithm, kind)) = checksums {
            let headers = answer.headers_mut();
            headers.insert(ALGORITHM, HeaderValue::from_static(algorithm.name()));
            headers.insert(CHECKSUM_TYPE, HeaderValue::from_static(kind));
        }
        Ok(answer)
    }

    fn put_part(&self, id: &str, request: &Request, bytes: Bytes) -> Result<Response, Refusal> {
        let etag = self.uploads.put(id, number(request)?, &bytes).map_err(failed)?;
        let mut answer = empty(200);
        answer.headers_mut().insert("etag", quoted(&etag));
        Ok(answer)
    }

    async fn copy_part(&self, id: &str, request: &Request) -> Result<Response, Refusal> {
        let number = number(request)?;
        let bytes = self.copied(request).await?;
        let etag = self.uploads.put(id, number, &bytes).map_err(failed)?;
        let facts =
            element("LastModified", &moment(OffsetDateTime::now_utc())) + &element("ETag", &format!("\"{etag}\""));
        Ok(document("CopyPartResult", &facts))
    }

    /// The bytes of another object that are to be a part.
    async fn copied(&self, request: &Request) -> Result<Bytes, Refusal> {
        let source = super::copy_source(&request.headers)?;
        let mut get = bare(Method::GET);
        if let Some(range) = request.headers.get("x-amz-copy-source-range") {
            get.headers.insert(http::header::RANGE, range.clone());
        }
        if let Some(version) = &source.version {
            get.query = format!("versionId={version}");
        }
        let _turn = self.turns.reading(&source.bucket, &source.key).await;
        let get = versions::plainly(&get, self.versioning(&source.bucket).await);
        let answer = self.pass(&source.bucket, Some(&source.key), &get).await;
        if answer.status().is_success() { Ok(answer.into_body()) } else { Err(refusal_in(&answer)) }
    }

    fn list_parts(&self, id: &str, upload: &Upload, request: &Request) -> Result<Response, Refusal> {
        let text = |name: &str| request.parameter(name).and_then(|text| text.parse::<usize>().ok());
        let (after, limit) = (text("part-number-marker").unwrap_or(0), text("max-parts").unwrap_or(PAGE).min(PAGE));
        let parts = self.uploads.parts(id).map_err(failed)?;
        let mut left = parts.iter().filter(|(number, _)| **number as usize > after);
        let page: Vec<_> = left.by_ref().take(limit).collect();
        let mut body = element("Bucket", &upload.bucket) + &element("Key", &upload.key) + &element("UploadId", id);
        body += &format!("<Initiator>{0}</Initiator><Owner>{0}</Owner>", element("ID", ACCOUNT));
        body += &(element("StorageClass", "STANDARD") + &element("PartNumberMarker", &after.to_string()));
        if let Some((last, _)) = page.last() {
            body += &element("NextPartNumberMarker", &last.to_string());
        }
        body +=
            &(element("MaxParts", &limit.to_string()) + &element("IsTruncated", &left.next().is_some().to_string()));
        for (number, part) in page {
            let written = OffsetDateTime::from_unix_timestamp_nanos(part.written).unwrap_or(OffsetDateTime::UNIX_EPOCH);
            let facts = element("PartNumber", &number.to_string())
                + &element("LastModified", &moment(written))
                + &element("ETag", &format!("\"{}\"", part.md5))
                + &element("Size", &part.size.to_string());
            body += &format!("<Part>{facts}</Part>");
        }
        Ok(document("ListPartsResult", &body))
    }

    /// `ListMultipartUploads` of one bucket.
    pub(super) fn list_uploads(&self, bucket: &str, request: &Request) -> Result<Response, Refusal> {
        let text = |name: &str| request.parameter(name).unwrap_or_default();
        let (prefix, marker) = (text("prefix"), (text("key-marker"), text("upload-id-marker")));
        let limit = text("max-uploads").parse().unwrap_or(PAGE).min(PAGE);
        let all = self.uploads.all().map_err(failed)?;
        let mut found: Vec<(String, String, i64)> = all
            .into_iter()
            .filter(|(_, upload)| upload.bucket == bucket && upload.key.starts_with(&prefix))
            .map(|(id, upload)| (upload.key, id, upload.begun))
            .collect();
        found.sort();
        // With a key alone everything of that key is behind the marker.
        let behind = |key: &str, id: &str| match marker.1.as_str() {
            "" => key <= marker.0.as_str(),
            marked => (key, id) <= (marker.0.as_str(), marked),
        };
        found.retain(|(key, id, _)| marker.0.is_empty() || !behind(key, id));
        let more = found.len() > limit;
        found.truncate(limit);
        let mut body = element("Bucket", bucket) + &element("Prefix", &prefix) + &element("KeyMarker", &marker.0);
        body += &(element("MaxUploads", &limit.to_string()) + &element("IsTruncated", &more.to_string()));
        if let Some((key, id, _)) = found.last().filter(|_| more) {
            body += &(element("NextKeyMarker", key) + &element("NextUploadIdMarker", id));
        }
        for (key, id, begun) in &found {
            let begun = OffsetDateTime::from_unix_timestamp(*begun).unwrap_or(OffsetDateTime::UNIX_EPOCH);
            let facts = element("Key", key)
                + &element("UploadId", id)
                + &format!("<Initiator>{0}</Initiator><Owner>{0}</Owner>", element("ID", ACCOUNT))
                + &element("StorageClass", "STANDARD")
                + &element("Initiated", &moment(begun));
            body += &format!("<Upload>{facts}</Upload>");
        }
        Ok(document("ListMultipartUploadsResult", &body))
    }

    /// Puts the parts together. Until this has answered the upload is there and can be completed again.
    async fn complete(&self, id: &str, upload: &Upload, request: &Request) -> Result<Response, Refusal> {
        let parts = self.wanted_parts(id, upload, request).await?;
        check_whole(&parts, request).await?;
        let Upload { bucket, key, headers, .. } = upload;
        let mut create = Request { query: "uploads".to_owned(), ..bare(Method::POST) };
        create.headers = headers_of(headers);
        let tags = create.headers.remove("x-amz-tagging");
        let created = self.passed(bucket, key, &create).await?;
        let inner = super::part_of(created.body(), "UploadId").ok_or_else(|| failed(ErrorKind::InvalidData.into()))?;
        let inner = crate::backend::straight(&inner);
        let done = self.hand_on(bucket, key, &inner, &parts, request).await;
        if done.is_err() {
            self.sub_call(Method::DELETE, bucket, Some(key), &format!("uploadId={inner}"), Bytes::new()).await;
        }
        done?;
        if let Some(tags) = tags.as_ref().and_then(|tags| tags.to_str().ok()) {
            self.tag_object(bucket, key, tags).await?;
        }
        self.uploads.remove(id).map_err(failed)?;
        let head = self.head_object(bucket, key, &bare(Method::HEAD)).await;
        let fact = |name: &str| head.headers().get(name).and_then(|value| value.to_str().ok()).unwrap_or_default();
        let host = request.header("host").unwrap_or("localhost");
        let location = format!("http://{host}/{bucket}/{key}");
        let facts = element("Location", &location)
            + &element("Bucket", bucket)
            + &element("Key", key)
            + &element("ETag", fact("etag"));
        let mut answer = document("CompleteMultipartUploadResult", &facts);
        if let Some(version) = head.headers().get("x-amz-version-id") {
            answer.headers_mut().insert("x-amz-version-id", version.clone());
        }
        Ok(answer)
    }

    /// Gives the parts to winterbaume under numbers without gaps, which changes nothing about the object.
    async fn hand_on(
        &self,
        bucket: &str,
        key: &str,
        inner: &str,
        parts: &[Part],
        request: &Request,
    ) -> Result<(), Refusal> {
        let mut list = String::new();
        for (at, part) in parts.iter().enumerate() {
            let number = at + 1;
            let bytes = tokio::fs::read(&part.file).await.map_err(failed)?;
            let query = format!("partNumber={number}&uploadId={inner}");
            self.passed(bucket, key, &Request { query, body: bytes.into(), ..bare(Method::PUT) }).await?;
            list += &format!("<Part><PartNumber>{number}</PartNumber><ETag>\"{}\"</ETag></Part>", part.md5);
        }
        let body = format!("<CompleteMultipartUpload xmlns=\"{NAMESPACE}\">{list}</CompleteMultipartUpload>");
        let mut complete = Request { query: format!("uploadId={inner}"), body: body.into(), ..bare(Method::POST) };
        for name in [http::header::IF_MATCH, http::header::IF_NONE_MATCH] {
            if let Some(condition) = request.headers.get(&name) {
                complete.headers.insert(name, condition.clone());
            }
        }
        let made = self.make(bucket, key, &complete).await;
        if made.status().is_success() { Ok(()) } else { Err(refusal_in(&made)) }
    }

    async fn passed(&self, bucket: &str, key: &str, request: &Request) -> Result<Response, Refusal> {
        let answer = self.pass(bucket, Some(key), request).await;
        if answer.status().is_success() { Ok(answer) } else { Err(refusal_in(&answer)) }
    }

    /// The parts the request lists, if they are there and may be put together.
    async fn wanted_parts(&self, id: &str, upload: &Upload, request: &Request) -> Result<Vec<Part>, Refusal> {
        let text = String::from_utf8_lossy(&request.body);
        let listed: Complete = quick_xml::de::from_str(&text).map_err(|_| malformed())?;
        if listed.parts.is_empty() {
            return Err(malformed());
        }
        if !listed.parts.is_sorted_by(|one, next| one.part_number < next.part_number) {
            let text = "The list of parts was not in ascending order. Parts must be ordered by part number.";
            return Err(Refusal::new(400, "InvalidPartOrder", text));
        }
        let there = self.uploads.parts(id).map_err(failed)?;
        let mut wanted = Vec::with_capacity(listed.parts.len());
        for one in &listed.parts {
            if let Some(algorithm) = upload.composite.filter(|algorithm| one.checksum(*algorithm).is_none()) {
                return Err(without_checksum(algorithm, one.part_number));
            }
            let part = there.get(&one.part_number).filter(|part| part.md5 == one.etag.trim_matches('"'));
            let part = part.ok_or_else(no_part)?;
            one.check(part).await?;
            wanted.push(part.clone());
        }
        let all_but_last = wanted.split_last().map(|(_, rest)| rest).unwrap_or_default();
        if all_but_last.iter().any(|part| part.size < SMALLEST) {
            let text = "Your proposed upload is smaller than the minimum allowed size";
            return Err(Refusal::new(400, "EntityTooSmall", text));
        }
        Ok(wanted)
    }
}

impl Uploads {
    pub(super) fn open(dir: PathBuf) -> io::Result<Uploads> {
        store::remove_unfinished(&dir)?;
        let uploads = Uploads { dir };
        // A damaged description is said now rather than when the last part has been sent.
        uploads.all()?;
        Ok(uploads)
    }

    /// A bucket is gone, and with it what was on its way there.
    pub(super) fn forget_bucket(&self, bucket: &str) -> io::Result<()> {
        for (id, _) in self.all()?.into_iter().filter(|(_, upload)| upload.bucket == bucket) {
            self.remove(&id)?;
        }
        Ok(())
    }

    fn begin(&self, bucket: &str, key: &str, headers: &HeaderMap, composite: Option<Algorithm>) -> io::Result<String> {
        let id = format!("{}{}", Uuid::new_v4().simple(), Uuid::new_v4().simple());
        let ours = |name: &HeaderName| {
            let name = name.as_str();
            name.starts_with("x-amz-meta-") || ["content-type", "x-amz-storage-class", "x-amz-tagging"].contains(&name)
        };
        let headers = headers.iter().filter(|(name, _)| ours(name));
        let text = |value: &HeaderValue| String::from_utf8_lossy(value.as_bytes()).into_owned();
        let headers = headers.map(|(name, value)| (name.to_string(), text(value))).collect();
        let begun = OffsetDateTime::now_utc().unix_timestamp();
        let upload = Upload { bucket: bucket.to_owned(), key: key.to_owned(), begun, headers, composite };
        store::write_json(&self.dir.join(&id).join(ABOUT), &upload)?;
        Ok(id)
    }

    fn find(&self, id: &str, bucket: &str, key: &str) -> Result<Upload, Refusal> {
        // Ids are ours: what looks otherwise must not become a path.
        let plausible = !id.is_empty() && id.bytes().all(|byte| byte.is_ascii_alphanumeric());
        let found = if plausible { self.about(id).map_err(failed)? } else { None };
        found.filter(|upload| upload.bucket == bucket && upload.key == key).ok_or_else(|| {
            let text = "The specified upload does not exist. The upload ID may be invalid, or the upload may have been aborted or completed.";
            Refusal::new(404, "NoSuchUpload", text)
        })
    }

    fn about(&self, id: &str) -> io::Result<Option<Upload>> {
        store::read_json(&self.dir.join(id).join(ABOUT)).map_err(|fault| io::Error::other(format!("{fault:#}")))
    }

    fn all(&self) -> io::Result<Vec<(String, Upload)>> {
        let listing = match std::fs::read_dir(&self.dir) {
            Err(fault) if fault.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
            listing => listing?,
        };
        let mut all = Vec::new();
        for entry in listing {
            let id = entry?.file_name().to_string_lossy().into_owned();
            if let Some(upload) = self.about(&id)? {
                all.push((id, upload));
            }
        }
        Ok(all)
    }

    /// Stores a part and returns its ETag; an older one of the same number goes when the new one is there.
    fn put(&self, id: &str, number: u32, bytes: &[u8]) -> io::Result<String> {
        let etag = hex::encode(Md5::digest(bytes));
        let written = OffsetDateTime::now_utc().unix_timestamp_nanos();
        let name = format!("{number:05}.{written:020}.{etag}");
        store::write(&self.dir.join(id).join(&name), bytes)?;
        for (file, _, old) in self.files(id)?.into_iter().filter(|(_, other, _)| *other == number) {
            if old.written < written {
                std::fs::remove_file(file)?;
            }
        }
        Ok(etag)
    }

    /// The newest of each number.
    fn parts(&self, id: &str) -> io::Result<BTreeMap<u32, Part>> {
        let mut files = self.files(id)?;
        files.sort_by_key(|(_, _, part)| part.written);
        Ok(files.into_iter().map(|(_, number, part)| (number, part)).collect())
    }

    fn files(&self, id: &str) -> io::Result<Vec<(PathBuf, u32, Part)>> {
        let mut files = Vec::new();
        for entry in std::fs::read_dir(self.dir.join(id))? {
            let entry = entry?;
            if let Some((number, written, md5)) = part_name(&entry.file_name().to_string_lossy()) {
                let size = entry.metadata()?.len();
                files.push((entry.path(), number, Part { file: entry.path(), md5, size, written }));
            }
        }
        Ok(files)
    }

    /// The description goes first: without it the rest is no upload.
    fn remove(&self, id: &str) -> io::Result<()> {
        let dir: &Path = &self.dir.join(id);
        match std::fs::remove_file(dir.join(ABOUT)).and_then(|()| std::fs::remove_dir_all(dir)) {
            Err(fault) if fault.kind() != ErrorKind::NotFound => Err(fault),
            _ => Ok(()),
        }
    }
}

const ALGORITHM: &str = "x-amz-checksum-algorithm";
const CHECKSUM_TYPE: &str = "x-amz-checksum-type";
const COMPOSITE: &str = "COMPOSITE";
const FULL_OBJECT: &str = "FULL_OBJECT";

/// By which checksums an upload will be known, if its first request says so, and whether they are of its parts or of the
/// whole: CRC64NVME is of the whole only, SHA-1 and SHA-256 of parts only, the others of parts unless it is said
/// otherwise (S3 user guide, "Checking object integrity for data uploads").
fn checksums_of(request: &Request) -> Result<Option<(Algorithm, &'static str)>, Refusal> {
    let invalid = |text: String| Refusal::new(400, "InvalidRequest", text);
    let Some(name) = request.header(ALGORITHM) else { return Ok(None) };
    let unknown = || {
        invalid("Checksum algorithm provided is unsupported. Please try again with any of the valid types: [CRC32, CRC32C, CRC64NVME, SHA1, SHA256]".to_owned())
    };
    let algorithm = Algorithm::named(name).ok_or_else(unknown)?;
    let usual = if algorithm == Algorithm::Crc64Nvme { FULL_OBJECT } else { COMPOSITE };
    let kind = match request.header(CHECKSUM_TYPE) {
        None => usual,
        Some(kind) if kind == usual => usual,
        Some(FULL_OBJECT) if matches!(algorithm, Algorithm::Crc32 | Algorithm::Crc32c) => FULL_OBJECT,
        Some(kind) => {
            let name = algorithm.name().to_ascii_lowercase();
            return Err(invalid(format!(
                "The {kind} checksum type cannot be used with the {name} checksum algorithm."
            )));
        }
    };
    Ok(Some((algorithm, kind)))
}

/// As it was seen in an answer of S3 (`ISS:apache/opendal#4580`).
fn without_checksum(algorithm: Algorithm, number: u32) -> Refusal {
    let name = algorithm.name().to_ascii_lowercase();
    let text = format!(
        "The upload was created using a {name} checksum. The complete request must include the checksum for each part. It was missing for part {number} in the request."
    );
    Refusal::new(400, "InvalidRequest", text)
}

/// The checksum of a whole object comes with the request that completes it; that of its parts' checksums is not looked at.
async fn check_whole(parts: &[Part], request: &Request) -> Result<(), Refusal> {
    let of_parts = request.header("x-amz-checksum-type") == Some("COMPOSITE");
    let Some(checksum) = Checksum::announced(request)?.filter(|_| !of_parts) else {
        return Ok(());
    };
    let mut whole = Vec::new();
    for part in parts {
        whole.extend(tokio::fs::read(&part.file).await.map_err(failed)?);
    }
    checksum.check(&whole)
}

/// The file that says what an upload will become.
const ABOUT: &str = "upload.json";

fn part_name(name: &str) -> Option<(u32, i128, String)> {
    let mut pieces = name.split('.');
    let (number, written, md5) = (pieces.next()?.parse().ok()?, pieces.next()?.parse().ok()?, pieces.next()?);
    pieces.next().is_none().then(|| (number, written, md5.to_owned()))
}

fn number(request: &Request) -> Result<u32, Refusal> {
    let number = request.parameter("partNumber").and_then(|number| number.parse().ok());
    number.filter(|number| (1..=10_000).contains(number)).ok_or_else(|| {
        Refusal::new(400, "InvalidArgument", "Part number must be an integer between 1 and 10000, inclusive")
    })
}

fn headers_of(kept: &[(String, String)]) -> HeaderMap {
    let pairs = kept.iter().filter_map(|(name, value)| Some((name.parse::<HeaderName>().ok()?, value)));
    pairs.filter_map(|(name, value)| Some((name, HeaderValue::from_bytes(value.as_bytes()).ok()?))).collect()
}

fn quoted(etag: &str) -> HeaderValue {
    HeaderValue::from_str(&format!("\"{etag}\"")).expect("hexadecimal digits are letters of headers")
}

fn element(name: &str, text: &str) -> String {
    format!("<{name}>{}</{name}>", escape(text))
}

fn document(root: &str, body: &str) -> Response {
    xml(200, format!("<{root} xmlns=\"{NAMESPACE}\">{body}</{root}>"))
}

fn moment(at: OffsetDateTime) -> String {
    let format = format_description!("[year]-[month]-[day]T[hour]:[minute]:[second].[subsecond digits:3]Z");
    at.format(format).unwrap_or_default()
}

fn malformed() -> Refusal {
    let text = "The XML you provided was not well-formed or did not validate against our published schema";
    Refusal::new(400, "MalformedXML", text)
}

fn failed(fault: io::Error) -> Refusal {
    tracing::error!(%fault, "an upload in parts could not be kept");
    Refusal::new(500, "InternalError", format!("We encountered an internal error. Please try again. ({fault})"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_part_of_a_number_counts_and_a_restart_changes_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let uploads = Uploads::open(dir.path().to_owned()).unwrap();
        let id = uploads.begin("b", "k/é", &HeaderMap::new(), None).unwrap();
        uploads.put(&id, 2, b"old").unwrap();
        let etag = uploads.put(&id, 2, b"newer").unwrap();
        uploads.put(&id, 1, b"first").unwrap();
        std::fs::write(dir.path().join(&id).join("00003.1.abc.new"), "half").unwrap();
        let uploads = Uploads::open(dir.path().to_owned()).unwrap();
        let parts = uploads.parts(&id).unwrap();
        assert_eq!(parts.keys().copied().collect::<Vec<_>>(), [1, 2]);
        assert_eq!((parts[&2].size, &parts[&2].md5), (5, &etag));
        assert_eq!(uploads.find(&id, "b", "k/é").unwrap().key, "k/é");
        for wrong in ["", "../b", "0"] {
            assert_eq!(uploads.find(wrong, "b", "k/é").unwrap_err().code, "NoSuchUpload", "{wrong}");
        }
        uploads.forget_bucket("b").unwrap();
        assert!(uploads.all().unwrap().is_empty());
    }
}
