//! Multipart uploads. Each part is durable once it is written, so a restart does not interrupt an upload.

mod checksums;

use std::ops::Range;

use md5::{Digest, Md5};
use uuid::Uuid;

use super::S3;
use super::blobs::Blob;
use super::body::Body;
use super::checksum::{Algorithm, Checksum, Sum};
use super::encryption::{self, ObjectKey};
use super::listing::{self, Names, moment};
use super::metadata::{check_acl, set};
use super::object::{Draft, Made, VERSION, unread};
use super::precondition;
use super::request::S3Request;
use super::store::{Change, ChecksumType, Content, Metadata, MultipartUpload, Object, Part, State, now};
use super::xml::{self, Element, element, malformed, wrap};
use kit::ACCOUNT;
use kit::answer::{Refusal, Response, empty};

pub(super) use checksums::unknown_algorithm;
use checksums::{ALGORITHM, CHECKSUM_TYPE, bad_digest, checksums_of, sum_of_part, sum_of_whole, without_checksum};

/// The minimum size of every part but the last (docs/aws.md does not name the limit; S3's quota page does).
const SMALLEST: u64 = 5 << 20;
const PAGE: usize = 1000;

impl State {
    fn upload(&self, request: &S3Request) -> Result<(String, &MultipartUpload), Refusal> {
        self.bucket(&request.bucket)?;
        let id = request.text("uploadId");
        let found = self.uploads.get(&id).filter(|upload| upload.bucket == request.bucket && upload.key == request.key);
        let absent = || {
            let text = "The specified upload does not exist. The upload ID may be invalid, or the upload may have been aborted or completed.";
            Refusal::new(404, "NoSuchUpload", text)
        };
        Ok((id, found.ok_or_else(absent)?))
    }
}

impl S3 {
    pub(super) fn begin_upload(&self, request: &S3Request) -> Result<Response, Refusal> {
        let mut metadata = Metadata::of(request)?;
        metadata.key = self.store.read(|state| {
            let asked = request.header(super::metadata::ENCRYPTION);
            state.bucket(&request.bucket)?.settings.key_for(asked, &self.region)
        })?;
        let key = metadata.key.clone();
        let algorithm = checksums_of(request)?;
        let id = self.store.change(|state, ids| {
            let settings = &state.bucket(&request.bucket)?.settings;
            check_acl(settings, request.header("x-amz-acl"))?;
            settings.locked(metadata.clone())?;
            let (bucket, key, parts) = (request.bucket.clone(), request.key.clone(), Default::default());
            let upload = MultipartUpload { bucket, key, begun: now(), metadata, algorithm, parts };
            // IDs are in the order of creation, so that a list can continue after an upload that no longer exists.
            let id = format!("{}{}", ids.next(), Uuid::new_v4().simple());
            Ok((vec![Change::Begin { id: id.clone(), upload }], id))
        })?;
        let names = element("Bucket", &request.bucket) + &element("Key", &request.key) + &element("UploadId", &id);
        let mut answer = xml::document("InitiateMultipartUploadResult", &names);
        let headers = answer.headers_mut();
        encryption::write(key.as_ref(), headers);
        if let Some((algorithm, kind)) = algorithm {
            set(headers, ALGORITHM, algorithm.name());
            set(headers, CHECKSUM_TYPE, kind.name());
        }
        Ok(answer)
    }

    pub(super) async fn put_part(&self, request: &S3Request<'_>) -> Result<Response, Refusal> {
        let announced = Checksum::announced(&request.http)?.map(|checksum| checksum.sum());
        let part = self.keep_part(request, &Body::of(&request.http), announced).await?;
        let mut answer = empty(200);
        let headers = answer.headers_mut();
        set(headers, "etag", &format!("\"{}\"", part.etag));
        encryption::write(self.key_of_upload(request)?.as_ref(), headers);
        if let Some(sum) = &part.sum {
            sum.write(headers);
        }
        Ok(answer)
    }

    fn key_of_upload(&self, request: &S3Request<'_>) -> Result<Option<ObjectKey>, Refusal> {
        self.store.read(|state| Ok::<_, Refusal>(state.upload(request)?.1.metadata.key.clone()))
    }

    /// Writes a part, which then replaces an older one with its number.
    async fn keep_part(&self, request: &S3Request<'_>, body: &Body, announced: Option<Sum>) -> Result<Part, Refusal> {
        let number = number(request)?;
        let algorithm = self.store.read(|state| Ok::<_, Refusal>(state.upload(request)?.1.algorithm))?;
        let sum = sum_of_part(algorithm, announced, body, request.row.name)?;
        let etag = hex::encode(body.md5());
        let blob = self.keep(body).await?;
        let part = Part { number, written: now(), etag, sum, blob: blob.clone() };
        let kept = self.store.change(|state, _| {
            let (id, _) = state.upload(request)?;
            Ok((vec![Change::Part { id, part: part.clone() }], ()))
        });
        kept.inspect_err(|_| self.store.blobs.remove([&blob]))?;
        Ok(part)
    }

    pub(super) async fn copy_part(&self, request: &S3Request<'_>) -> Result<Response, Refusal> {
        let algorithm = self.store.read(|state| Ok::<_, Refusal>(state.upload(request)?.1.algorithm))?;
        let algorithm = algorithm.map_or(Algorithm::Crc64Nvme, |(algorithm, _)| algorithm);
        let (found, body) = self.source(request, |object| Ok((range(request, object)?, algorithm))).await?;
        let part = self.keep_part(request, &body, None).await?;
        let facts = element("LastModified", &moment(part.written))
            + &element("ETag", &format!("\"{}\"", part.etag))
            + &part.sum.as_ref().map(Sum::xml).unwrap_or_default();
        let mut answer = xml::document("CopyPartResult", &facts);
        if found.is_versioned {
            set(answer.headers_mut(), "x-amz-copy-source-version-id", &found.version.id);
        }
        encryption::write(self.key_of_upload(request)?.as_ref(), answer.headers_mut());
        Ok(answer)
    }

    pub(super) fn abort_upload(&self, request: &S3Request) -> Result<Response, Refusal> {
        self.store.change(|state, _| {
            let (id, _) = state.upload(request)?;
            Ok((vec![Change::End { id }], ()))
        })?;
        Ok(empty(204))
    }

    pub(super) fn list_parts(&self, request: &S3Request) -> Result<Response, Refusal> {
        let (after, limit) = (request.count("part-number-marker")?.unwrap_or(0), request.size("max-parts", PAGE)?);
        self.store.read(|state| {
            let (id, upload) = state.upload(request)?;
            let mut left = upload.parts.values().filter(|part| part.number as usize > after);
            let page: Vec<&Part> = left.by_ref().take(limit).collect();
            let owner = element("ID", ACCOUNT);
            let mut body = element("Bucket", &upload.bucket) + &element("Key", &upload.key) + &element("UploadId", &id);
            body += &(wrap("Initiator", &owner) + &wrap("Owner", &owner));
            body += &element("StorageClass", &upload.metadata.class.0);
            body += &element("PartNumberMarker", &after.to_string());
            if let Some(last) = page.last() {
                body += &element("NextPartNumberMarker", &last.number.to_string());
            }
            let more = limit > 0 && left.next().is_some();
            body += &(element("MaxParts", &limit.to_string()) + &element("IsTruncated", &more.to_string()));
            body += &upload.checksums();
            for part in page {
                let facts = element("PartNumber", &part.number.to_string())
                    + &element("LastModified", &moment(part.written))
                    + &element("ETag", &format!("\"{}\"", part.etag))
                    + &element("Size", &part.blob.size.to_string())
                    + &part.sum.as_ref().map(Sum::xml).unwrap_or_default();
                body += &wrap("Part", &facts);
            }
            Ok(xml::document("ListPartsResult", &body))
        })
    }

    /// `ListMultipartUploads` of one bucket.
    pub(super) fn list_uploads(&self, request: &S3Request) -> Result<Response, Refusal> {
        let names = Names::of(request)?;
        let (after, after_id) = (request.text("key-marker"), request.text("upload-id-marker"));
        let limit = request.size("max-uploads", PAGE)?;
        self.store.read(|state| {
            state.bucket(&request.bucket)?;
            let ours = state.uploads.iter().filter(|(_, upload)| upload.bucket == request.bucket);
            let mut found: Vec<(&str, &str, &MultipartUpload)> =
                ours.map(|(id, upload)| (upload.key.as_str(), id.as_str(), upload)).collect();
            found.sort_by_key(|(key, id, _)| (*key, *id));
            found.retain(|(key, id, _)| match after_id.as_str() {
                _ if after.is_empty() => true,
                "" => *key > after.as_str(),
                after_id => (*key, *id) > (after.as_str(), after_id),
            });
            let (body, next) = uploads_page(&found, &names, &after, limit);
            let mut head = element("Bucket", &request.bucket) + &names.show("KeyMarker", &after);
            head += &element("UploadIdMarker", &after_id);
            if let Some((key, id)) = &next {
                head += &(names.show("NextKeyMarker", key) + &element("NextUploadIdMarker", id));
            }
            head += &names.head();
            head += &(element("MaxUploads", &limit.to_string()) + &element("IsTruncated", &next.is_some().to_string()));
            Ok(xml::document("ListMultipartUploadsResult", &(head + &body)))
        })
    }

    /// Joins the parts into an object. Until that is recorded, the upload still exists and can be completed again.
    pub(super) async fn complete_upload(&self, request: &S3Request<'_>) -> Result<Response, Refusal> {
        let (id, upload) = self.store.read(|state| {
            let (id, upload) = state.upload(request)?;
            Ok::<_, Refusal>((id, upload.clone()))
        })?;
        let parts = self.wanted_parts(&upload, request).await?;
        let precondition = precondition::of_write(request)?;
        let size: u64 = parts.iter().map(|part| part.blob.size).sum();
        if request.header("x-amz-mp-object-size").is_some_and(|said| said.parse() != Ok(size)) {
            let text = "The provided 'x-amz-mp-object-size' header value does not match what was computed.";
            return Err(Refusal::new(400, "InvalidRequest", text));
        }
        let sum = sum_of_whole(&upload, &parts);
        self.check_whole(&parts, sum.as_ref(), request).await?;
        let tags: Vec<u8> = parts.iter().flat_map(|part| hex::decode(&part.etag).unwrap_or_default()).collect();
        let etag = format!("{}-{}", hex::encode(Md5::digest(&tags)), parts.len());
        let draft = Draft { etag: etag.clone(), size, sum: sum.clone(), content: Content::Parts(parts) };
        let facts = draft.facts();
        let made: Made = self.put_with(request, upload.metadata, draft, &precondition, vec![Change::End { id }])?;
        self.announce_made(request, &made, facts);
        let host = request.header("host").unwrap_or("localhost");
        let path = listing::url(&request.key);
        let facts = element("Location", &format!("http://{host}/{}/{path}", request.bucket))
            + &element("Bucket", &request.bucket)
            + &element("Key", &request.key)
            + &element("ETag", &format!("\"{etag}\""))
            + &sum.as_ref().map(Sum::xml_of_object).unwrap_or_default();
        let mut answer = xml::document("CompleteMultipartUploadResult", &facts);
        made.write_headers(answer.headers_mut());
        if !made.is_versioned {
            answer.headers_mut().remove(VERSION);
        }
        Ok(answer)
    }

    /// The parts that the request lists, if they exist and can be joined.
    async fn wanted_parts(&self, upload: &MultipartUpload, request: &S3Request<'_>) -> Result<Vec<Part>, Refusal> {
        let document = Element::read(&request.http.body, "CompleteMultipartUpload")?;
        document.expect(&["Part*"], &[])?;
        let listed: Vec<Wanted> = document.children.iter().map(Wanted::of).collect::<Result<_, _>>()?;
        if listed.is_empty() {
            return Err(malformed());
        }
        if !listed.is_sorted_by(|one, next| one.number < next.number) {
            let text = "The list of parts was not in ascending order. Parts must be ordered by part number.";
            return Err(Refusal::new(400, "InvalidPartOrder", text));
        }
        let mut wanted = Vec::with_capacity(listed.len());
        for one in &listed {
            if let Some((algorithm, ChecksumType::Composite)) = upload.algorithm
                && !one.sums.iter().any(|sum| sum.algorithm == algorithm)
            {
                return Err(without_checksum(algorithm, one.number));
            }
            let part = upload.parts.get(&one.number).filter(|part| part.etag == precondition::bare(&one.etag));
            let part = part.ok_or_else(no_part)?;
            for sum in &one.sums {
                self.check_part(part, sum).await?;
            }
            wanted.push(part.clone());
        }
        let all_but_last = wanted.split_last().map(|(_, rest)| rest).unwrap_or_default();
        if all_but_last.iter().any(|part| part.blob.size < SMALLEST) {
            let text = "Your proposed upload is smaller than the minimum allowed size";
            return Err(Refusal::new(400, "EntityTooSmall", text));
        }
        Ok(wanted)
    }

    /// Checks that the part has the checksum that the request lists for it. A part with another one is answered like a
    /// missing one (`API:s3.CompleteMultipartUpload`, `InvalidPart`).
    async fn check_part(&self, part: &Part, said: &Sum) -> Result<(), Refusal> {
        let is_it = match &part.sum {
            Some(sum) if sum.algorithm == said.algorithm => sum == said,
            _ => Sum::new(said.algorithm, &self.checksum(vec![part.blob.clone()], said.algorithm).await?) == *said,
        };
        if is_it { Ok(()) } else { Err(no_part()) }
    }

    async fn checksum(&self, of: Vec<Blob>, algorithm: Algorithm) -> Result<Vec<u8>, Refusal> {
        self.store.blobs.checksum(of, algorithm).await.map_err(|trouble| unread(&trouble))
    }

    /// Checks the checksum of the whole object, if the request that completes the upload has one.
    async fn check_whole(&self, parts: &[Part], sum: Option<&Sum>, request: &S3Request<'_>) -> Result<(), Refusal> {
        // A composite value ends in the number of parts.
        let said = Algorithm::ALL.into_iter().find_map(|one| Some((one, request.header(one.header())?)));
        let is_composite = |said: &str| said.contains('-') || request.header(CHECKSUM_TYPE) == Some("COMPOSITE");
        if let Some((algorithm, said)) = said.filter(|(_, said)| is_composite(said)) {
            let is_it = sum.is_some_and(|sum| {
                sum.algorithm == algorithm && (sum.value == said || sum.value.split('-').next() == Some(said))
            });
            return if is_it { Ok(()) } else { Err(bad_digest(algorithm)) };
        }
        let Some(checksum) = Checksum::announced(&request.http)? else { return Ok(()) };
        match sum {
            Some(sum) if sum.algorithm == checksum.algorithm && sum.kind() == "FULL_OBJECT" => {
                if *sum == checksum.sum() { Ok(()) } else { Err(bad_digest(checksum.algorithm)) }
            }
            _ => {
                let blobs = parts.iter().map(|part| part.blob.clone()).collect();
                checksum.check(&self.checksum(blobs, checksum.algorithm).await?)
            }
        }
    }
}

/// A part as the completing request lists it.
struct Wanted {
    number: u32,
    etag: String,
    sums: Vec<Sum>,
}

impl Wanted {
    fn of(part: &Element) -> Result<Wanted, Refusal> {
        let names = Algorithm::ALL.map(Algorithm::element);
        let mut known: Vec<&str> = names.iter().map(String::as_str).collect();
        known.extend(["PartNumber", "ETag"]);
        const OTHERS: &[&str] =
            &["ChecksumSHA512", "ChecksumMD5", "ChecksumXXHASH64", "ChecksumXXHASH3", "ChecksumXXHASH128"];
        part.expect(&known, OTHERS)?;
        let sums = Algorithm::ALL.into_iter().filter_map(|algorithm| {
            let value = part.get(&algorithm.element())?.trim().to_owned();
            Some(Sum { algorithm, value })
        });
        let number = part.number("PartNumber")?.and_then(|number| u32::try_from(number).ok());
        Ok(Wanted {
            number: number.ok_or_else(malformed)?,
            etag: part.need("ETag")?.trim().to_owned(),
            sums: sums.collect(),
        })
    }
}

fn no_part() -> Refusal {
    let text = "One or more of the specified parts could not be found.  The part may not have been uploaded, or the specified entity tag may not match the part's entity tag.";
    Refusal::new(400, "InvalidPart", text)
}

fn number(request: &S3Request) -> Result<u32, Refusal> {
    let number = request.parameter("partNumber").and_then(|number| number.parse().ok());
    number.filter(|number| (1..=10_000).contains(number)).ok_or_else(|| {
        Refusal::new(400, "InvalidArgument", "Part number must be an integer between 1 and 10000, inclusive")
    })
}

/// The range of the source that a part is copied from. Both ends must be given and within the source.
fn range(request: &S3Request, object: &Object) -> Result<Range<u64>, Refusal> {
    let Some(text) = request.header("x-amz-copy-source-range") else { return Ok(0..object.size) };
    let invalid = |text: String| Refusal::new(400, "InvalidArgument", text);
    let ends = text.strip_prefix("bytes=").and_then(|text| text.split_once('-'));
    let ends = ends.and_then(|(first, last)| Some((first.parse::<u64>().ok()?, last.parse::<u64>().ok()?)));
    let Some((first, last)) = ends.filter(|(first, last)| first <= last) else {
        return Err(invalid("The x-amz-copy-source-range value must be of the form bytes=first-last where first and last are the zero-based offsets of the first and last bytes to copy".to_owned()));
    };
    if last >= object.size {
        return Err(invalid(format!("Range specified is not valid for source object of size: {}", object.size)));
    }
    Ok(first..last + 1)
}

/// A page of uploads, with those below a common prefix folded into one, and the marker of the next page.
fn uploads_page(
    found: &[(&str, &str, &MultipartUpload)],
    names: &Names,
    after: &str,
    limit: usize,
) -> (String, Option<(String, String)>) {
    let (mut body, mut count, mut next) = (String::new(), 0, None);
    let mut last = (String::new(), String::new());
    for (key, id, upload) in found.iter().filter(|(key, ..)| key.starts_with(&names.prefix)) {
        let common = names.common_prefix(key);
        if common.is_some_and(|common| last.0 == common || (!after.is_empty() && after.starts_with(common))) {
            continue;
        }
        if count == limit {
            next = (limit > 0).then_some(last);
            break;
        }
        count += 1;
        let Some(common) = common else {
            let owner = element("ID", ACCOUNT);
            let facts = names.show("Key", key)
                + &element("UploadId", id)
                + &(wrap("Initiator", &owner) + &wrap("Owner", &owner))
                + &element("StorageClass", &upload.metadata.class.0)
                + &element("Initiated", &moment(upload.begun))
                + &upload.checksums();
            body += &wrap("Upload", &facts);
            last = ((*key).to_owned(), (*id).to_owned());
            continue;
        };
        body += &wrap("CommonPrefixes", &names.show("Prefix", common));
        last = (common.to_owned(), String::new());
    }
    (body, next)
}

/// One page of the parts of an object, for `GetObjectAttributes`. If the object's checksum is not computed from those
/// of its parts, S3 only counts the parts (docs/aws.md §4.3).
pub(super) fn attributes(request: &S3Request, content: &Content, sum: Option<&Sum>) -> Result<String, Refusal> {
    let Content::Parts(parts) = content else { return Ok(String::new()) };
    let total = element("PartsCount", &parts.len().to_string());
    if sum.is_none_or(|sum| sum.kind() != "COMPOSITE") {
        return Ok(wrap("ObjectParts", &total));
    }
    let count = |name: &str| request.header(name).and_then(|text| text.parse::<usize>().ok());
    let (after, limit) =
        (count("x-amz-part-number-marker").unwrap_or(0), count("x-amz-max-parts").unwrap_or(PAGE).min(PAGE));
    let mut left = parts.iter().filter(|part| part.number as usize > after);
    let page: Vec<&Part> = left.by_ref().take(limit).collect();
    let mut inside = total + &element("PartNumberMarker", &after.to_string());
    if let Some(last) = page.last() {
        inside += &element("NextPartNumberMarker", &last.number.to_string());
    }
    inside += &element("MaxParts", &limit.to_string());
    inside += &element("IsTruncated", &left.next().is_some().to_string());
    for part in page {
        let facts = element("PartNumber", &part.number.to_string())
            + &element("Size", &part.blob.size.to_string())
            + &part.sum.as_ref().map(Sum::xml).unwrap_or_default();
        inside += &wrap("Part", &facts);
    }
    Ok(wrap("ObjectParts", &inside))
}
