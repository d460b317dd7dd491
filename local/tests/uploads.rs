//! Large objects are written to disk and read from it piece by piece, and a refused upload leaves nothing behind.

#[path = "support/presign.rs"]
mod presign;
#[path = "support/process.rs"]
mod process;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use aws_sdk_s3::error::ProvideErrorMetadata;
use aws_sdk_s3::primitives::ByteStream;
use aws_sdk_s3::types::{ChecksumAlgorithm, ChecksumType, CompletedMultipartUpload, CompletedPart};
use aws_sigv4::http_request::{
    PayloadChecksumKind, PercentEncodingMode, SignableBody, SignableRequest, SigningSettings, UriPathNormalizationMode,
    sign,
};
use aws_sigv4::sign::v4;
use aws_smithy_runtime_api::client::identity::Identity;
use base64::prelude::{BASE64_STANDARD, Engine as _};
use md5::{Digest as _, Md5};
use process::Server;
use sha2::Sha256;
use testkit::{LocalAws, clients, until};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

const BUCKET: &str = "large-objects";
/// Small enough for any machine's disk, and large enough to show in the memory of a server that would hold it.
const LARGE: u64 = 200 << 20;
/// The maximum peak memory of the server, in kilobytes.
const MEMORY_KB: u64 = 120 << 10;
const PIECE: usize = 1 << 20;

/// Generates the bytes of an object of any size, each piece of them different, without holding the object.
struct Bytes {
    piece: Vec<u8>,
    size: u64,
}

impl Bytes {
    fn new(size: u64) -> Bytes {
        let mut state = 1u64;
        let piece = (0..PIECE).map(|_| {
            state = state.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
            (state >> 56) as u8
        });
        Bytes { piece: piece.collect(), size }
    }

    /// Returns a piece by its number; `None` beyond the end.
    fn piece(&mut self, number: u64) -> Option<&[u8]> {
        let begin = number * PIECE as u64;
        let size = self.size.checked_sub(begin).filter(|left| *left > 0)?.min(PIECE as u64) as usize;
        self.piece[..8].copy_from_slice(&number.to_be_bytes());
        Some(&self.piece[..size])
    }

    fn each(&mut self, mut take: impl FnMut(&[u8])) {
        let mut number = 0;
        while let Some(piece) = self.piece(number) {
            take(piece);
            number += 1;
        }
    }

    /// Returns a range of the bytes, in memory.
    fn range(&mut self, range: std::ops::Range<u64>) -> Vec<u8> {
        let mut bytes = Vec::new();
        for number in range.start / PIECE as u64..range.end.div_ceil(PIECE as u64) {
            bytes.extend_from_slice(self.piece(number).expect("the range is inside"));
        }
        let start = (range.start % PIECE as u64) as usize;
        bytes[start..start + (range.end - range.start) as usize].to_vec()
    }

    fn sha256(&mut self) -> String {
        let mut hash = Sha256::new();
        self.each(|piece| hash.update(piece));
        hex::encode(hash.finalize())
    }

    fn etag(&mut self) -> String {
        let mut hash = Md5::new();
        self.each(|piece| hash.update(piece));
        format!("\"{}\"", hex::encode(hash.finalize()))
    }

    fn crc32(&mut self) -> String {
        let mut hash = crc32fast::Hasher::new();
        self.each(|piece| hash.update(piece));
        BASE64_STANDARD.encode(hash.finalize().to_be_bytes())
    }
}

/// How a body is signed.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Mode {
    Hash,
    Unsigned,
    Chunks,
    ChunksAndTrailer,
    UnsignedTrailer,
}

impl Mode {
    const ALL: [Mode; 5] = [Mode::Hash, Mode::Unsigned, Mode::Chunks, Mode::ChunksAndTrailer, Mode::UnsignedTrailer];

    fn name(self, bytes: &mut Bytes) -> String {
        match self {
            Mode::Hash => bytes.sha256(),
            Mode::Unsigned => "UNSIGNED-PAYLOAD".to_owned(),
            Mode::Chunks => "STREAMING-AWS4-HMAC-SHA256-PAYLOAD".to_owned(),
            Mode::ChunksAndTrailer => "STREAMING-AWS4-HMAC-SHA256-PAYLOAD-TRAILER".to_owned(),
            Mode::UnsignedTrailer => "STREAMING-UNSIGNED-PAYLOAD-TRAILER".to_owned(),
        }
    }

    fn is_chunked(self) -> bool {
        !matches!(self, Mode::Hash | Mode::Unsigned)
    }

    fn is_signed_by_chunk(self) -> bool {
        matches!(self, Mode::Chunks | Mode::ChunksAndTrailer)
    }

    fn has_trailer(self) -> bool {
        matches!(self, Mode::ChunksAndTrailer | Mode::UnsignedTrailer)
    }
}

/// The fault in an upload.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Wrong {
    Nothing,
    /// A byte in the middle.
    Byte,
    /// The signature of the chunk in the middle.
    ChunkSignature,
    Trailer,
    TrailerSignature,
    /// More, or fewer, bytes than the decoded length announces.
    TooLong,
    TooShort,
    NoDecodedLength,
    /// The connection ends in the middle.
    Cut,
}

struct Put<'a> {
    endpoint: &'a str,
    /// With its query.
    path: &'a str,
    mode: Mode,
    wrong: Wrong,
    headers: &'a [(&'a str, &'a str)],
}

struct Answer {
    status: u16,
    headers: BTreeMap<String, String>,
    body: String,
}

impl Answer {
    fn code(&self) -> &str {
        let code = self.body.split_once("<Code>").and_then(|(_, rest)| rest.split_once('<'));
        code.map_or("none", |(code, _)| code)
    }
}

fn params<'a>(identity: &'a Identity, time: SystemTime) -> v4::SigningParams<'a, SigningSettings> {
    let mut settings = SigningSettings::default();
    settings.percent_encoding_mode = PercentEncodingMode::Single;
    settings.uri_path_normalization_mode = UriPathNormalizationMode::Disabled;
    settings.payload_checksum_kind = PayloadChecksumKind::XAmzSha256;
    let builder = v4::SigningParams::builder().identity(identity).region("us-east-1").name("s3");
    builder.time(time).settings(settings).build().expect("all signing parameters are set")
}

impl Put<'_> {
    /// Sends the upload over a connection, which stays open; returns `None` if it was cut.
    async fn send(&self, line: &mut TcpStream, bytes: &mut Bytes) -> Option<Answer> {
        let Put { endpoint, path, mode, wrong, headers } = *self;
        let host = endpoint.strip_prefix("http://").expect("an address");
        let crc = bytes.crc32();
        let length = bytes.size;
        let announced = match wrong {
            Wrong::TooLong => length - 1,
            Wrong::TooShort => length + 1,
            _ => length,
        };
        let mut sent: Vec<(String, String)> = vec![("host".into(), host.into())];
        sent.extend(headers.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())));
        if mode.is_chunked() && wrong != Wrong::NoDecodedLength {
            sent.push(("x-amz-decoded-content-length".into(), announced.to_string()));
        }
        if mode.has_trailer() {
            sent.push(("x-amz-trailer".into(), "x-amz-checksum-crc32".into()));
        }
        let identity: Identity =
            aws_credential_types::Credentials::new(local::ACCESS_KEY, local::SECRET_KEY, None, None, "test").into();
        let time = SystemTime::now();
        let url = format!("{endpoint}{path}");
        let borrowed = || sent.iter().map(|(name, value)| (name.as_str(), value.as_str()));
        let payload = SignableBody::Precomputed(mode.name(bytes));
        let signable = SignableRequest::new("PUT", &url, borrowed(), payload).expect("it can be signed");
        let (instructions, mut last) =
            sign(signable, &params(&identity, time).into()).expect("it can be signed").into_parts();
        let mut head = format!("PUT {path} HTTP/1.1\r\n");
        let added = instructions.headers();
        for (name, value) in borrowed().chain(added) {
            head += &format!("{name}: {value}\r\n");
        }

        let signature = |chunk: &[u8], last: &str| {
            let chunk = bytes::Bytes::copy_from_slice(chunk);
            v4::sign_chunk(&chunk, last, &params(&identity, time)).expect("it can be signed").into_parts().1
        };
        // Every chunk header has the same length, so that the total length is known in advance.
        let head_of = |size: usize, signature: Option<&str>| match signature {
            Some(signature) => format!("{size:06x};chunk-signature={signature}\r\n"),
            None => format!("{size:06x}\r\n"),
        };
        let no_signature = "0".repeat(64);
        let example = mode.is_signed_by_chunk().then_some(no_signature.as_str());
        let pieces = length.div_ceil(PIECE as u64);
        let trailer_length = match mode {
            Mode::ChunksAndTrailer => {
                format!("x-amz-checksum-crc32:{crc}\r\nx-amz-trailer-signature:{no_signature}\r\n").len()
            }
            Mode::UnsignedTrailer => format!("x-amz-checksum-crc32:{crc}\r\n").len(),
            _ => 0,
        };
        let wrapped = length
            + pieces * (head_of(PIECE, example).len() as u64 + 2)
            + (head_of(0, example).len() + trailer_length + 2) as u64;
        head += &format!("content-length: {}\r\n\r\n", if mode.is_chunked() { wrapped } else { length });
        line.write_all(head.as_bytes()).await.expect("the server accepts it");

        let mut number = 0;
        while let Some(piece) = bytes.piece(number) {
            let mut piece = piece.to_vec();
            let is_middle = number == pieces / 2;
            if is_middle && wrong == Wrong::Cut {
                line.shutdown().await.expect("the server accepts it");
                return None;
            }
            if mode.is_signed_by_chunk() {
                last = signature(&piece, &last);
            }
            if is_middle && wrong == Wrong::Byte {
                piece[9] ^= 1;
            }
            let signature_sent =
                if is_middle && wrong == Wrong::ChunkSignature { no_signature.clone() } else { last.clone() };
            if mode.is_chunked() {
                let head = head_of(piece.len(), example.map(|_| signature_sent.as_str()));
                line.write_all(head.as_bytes()).await.expect("the server accepts it");
                piece.extend_from_slice(b"\r\n");
            }
            line.write_all(&piece).await.expect("the server accepts it");
            number += 1;
        }
        if mode.is_chunked() {
            if mode.is_signed_by_chunk() {
                last = signature(b"", &last);
            }
            let mut end = head_of(0, example.map(|_| last.as_str()));
            if mode.has_trailer() {
                let checksum = if wrong == Wrong::Trailer { "AAAAAA==" } else { &crc };
                end += &format!("x-amz-checksum-crc32:{checksum}\r\n");
                if mode == Mode::ChunksAndTrailer {
                    let mut trailers = aws_smithy_runtime_api::http::Headers::new();
                    trailers.insert("x-amz-checksum-crc32", checksum.to_owned());
                    let signed =
                        v4::sign_trailer(&trailers, &last, &params(&identity, time)).expect("it can be signed");
                    let signature_sent =
                        if wrong == Wrong::TrailerSignature { &no_signature } else { signed.signature() };
                    end += &format!("x-amz-trailer-signature:{signature_sent}\r\n");
                }
            }
            line.write_all((end + "\r\n").as_bytes()).await.expect("the server accepts it");
        }
        Some(answer(line).await)
    }

    async fn alone(&self, bytes: &mut Bytes) -> Answer {
        self.send(&mut connect(self.endpoint).await, bytes).await.expect("the server answers")
    }
}

async fn connect(endpoint: &str) -> TcpStream {
    TcpStream::connect(endpoint.strip_prefix("http://").expect("an address")).await.expect("the server accepts it")
}

async fn answer(line: &mut TcpStream) -> Answer {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(line.read_u8().await.expect("the server answers"));
    }
    let head = String::from_utf8(head).expect("heads are text");
    let status = head.split(' ').nth(1).and_then(|status| status.parse().ok()).expect("a status");
    let headers: BTreeMap<String, String> = head
        .lines()
        .filter_map(|line| line.split_once(": "))
        .map(|(name, value)| (name.to_ascii_lowercase(), value.to_owned()))
        .collect();
    let length = headers.get("content-length").and_then(|length| length.parse().ok()).unwrap_or_default();
    let mut body = vec![0; length];
    line.read_exact(&mut body).await.expect("the server answers");
    Answer { status, headers, body: String::from_utf8(body).expect("answers to uploads are text") }
}

/// Compares an object with the expected bytes, piece by piece.
async fn compare(mut body: ByteStream, bytes: &mut Bytes, what: &str) {
    let (mut number, mut waiting) = (0, Vec::new());
    while let Some(part) = body.try_next().await.expect("the body arrives completely") {
        waiting.extend_from_slice(&part);
        while let Some(piece) = bytes.piece(number).filter(|piece| waiting.len() >= piece.len()) {
            assert!(waiting[..piece.len()] == *piece, "{what}: piece {number} differs");
            waiting.drain(..piece.len());
            number += 1;
        }
    }
    assert!(waiting.is_empty() && bytes.piece(number).is_none(), "{what} ends at piece {number}");
}

fn files_below(dir: &Path) -> Vec<PathBuf> {
    let Ok(listing) = std::fs::read_dir(dir) else { return Vec::new() };
    let mut files = Vec::new();
    for entry in listing {
        let path = entry.expect("it can be read").path();
        if path.is_dir() { files.extend(files_below(&path)) } else { files.push(path) }
    }
    files
}

/// The files with the bytes of objects, and of uploads in progress.
fn bytes_on_disk(dir: &Path) -> Vec<PathBuf> {
    let mut files = files_below(&dir.join("state/objects"));
    files.extend(files_below(&dir.join("state/uploads")));
    files
}

fn code<T, E: ProvideErrorMetadata, R>(answer: Result<T, aws_sdk_s3::error::SdkError<E, R>>) -> String {
    answer.err().map_or_else(|| "none".to_owned(), |fault| fault.code().unwrap_or("no code").to_owned())
}

#[tokio::test(flavor = "multi_thread")]
async fn memory_stays_bounded_whatever_the_size_of_objects() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(dir.path());
    let s3 = clients::s3(&server.config().await);
    s3.create_bucket().bucket(BUCKET).send().await.unwrap();
    let mut bytes = Bytes::new(LARGE + 12_345);
    let etag = bytes.etag();
    // One object at a time: the disk of a test machine may be small.
    let delete = |key: &'static str| s3.delete_object().bucket(BUCKET).key(key).send();

    put_large(&server, Mode::Chunks, &mut bytes).await;
    for (range, text) in [
        (5..6, "bytes=5-5".to_owned()),
        (LARGE / 2 - 7..LARGE / 2 + (9 << 20), format!("bytes={}-{}", LARGE / 2 - 7, LARGE / 2 + (9 << 20) - 1)),
        (LARGE..LARGE + 12_345, "bytes=-12345".to_owned()),
    ] {
        let got = s3.get_object().bucket(BUCKET).key("Chunks").range(&text).send().await.unwrap();
        let got = got.body.collect().await.unwrap().into_bytes();
        assert!(got == bytes.range(range), "{text}");
    }
    delete("Chunks").await.unwrap();

    put_large(&server, Mode::UnsignedTrailer, &mut bytes).await;
    let copy = s3.copy_object().bucket(BUCKET).key("copy").copy_source(format!("{BUCKET}/UnsignedTrailer"));
    let copy = copy.send().await.unwrap().copy_object_result.unwrap();
    assert_eq!((copy.e_tag(), copy.checksum_crc32()), (Some(etag.as_str()), Some(bytes.crc32().as_str())));
    delete("UnsignedTrailer").await.unwrap();
    delete("copy").await.unwrap();

    put_large(&server, Mode::Hash, &mut bytes).await;
    let whole = s3.get_object().bucket(BUCKET).key("Hash").send().await.unwrap();
    assert_eq!(whole.content_length(), Some(bytes.size as i64));
    compare(whole.body, &mut bytes, "the object").await;
    in_parts(&server, &s3, &mut bytes).await;
    assert!(server.peak_memory_kb() < MEMORY_KB, "{} KB of memory", server.peak_memory_kb());
    assert!(files_below(&dir.path().join("state/uploads")).is_empty());
    server.stop();
}

/// Uploads the object under the name of the mode.
async fn put_large(server: &Server, mode: Mode, bytes: &mut Bytes) {
    let (etag, path) = (bytes.etag(), format!("/{BUCKET}/{mode:?}"));
    let put = Put { endpoint: &server.endpoint, path: &path, mode, wrong: Wrong::Nothing, headers: &[] };
    let put = put.alone(bytes).await;
    assert_eq!((put.status, put.headers["etag"].as_str()), (200, etag.as_str()), "{mode:?}: {}", put.body);
}

/// Creates an object of two uploaded parts and a copied one, and a copy of it.
async fn in_parts(server: &Server, s3: &aws_sdk_s3::Client, bytes: &mut Bytes) {
    let upload = s3.create_multipart_upload().bucket(BUCKET).key("parts").send().await.unwrap();
    let id = upload.upload_id().unwrap();
    let mut first = Bytes::new(40 << 20);
    let mut parts = Vec::new();
    for number in 1..=2 {
        let path = format!("/{BUCKET}/parts?partNumber={number}&uploadId={id}");
        let (mode, wrong) = (Mode::ChunksAndTrailer, Wrong::Nothing);
        let put = Put { endpoint: &server.endpoint, path: &path, mode, wrong, headers: &[] };
        let put = put.alone(&mut first).await;
        assert_eq!(put.status, 200, "{}", put.body);
        parts.push(CompletedPart::builder().part_number(number).e_tag(&put.headers["etag"]).build());
    }
    let (begin, end) = (100 << 20, LARGE);
    let copied = s3.upload_part_copy().bucket(BUCKET).key("parts").upload_id(id).part_number(3);
    let copied = copied.copy_source(format!("{BUCKET}/Hash")).copy_source_range(format!("bytes={begin}-{}", end - 1));
    let copied = copied.send().await.unwrap().copy_part_result.unwrap();
    parts.push(CompletedPart::builder().part_number(3).e_tag(copied.e_tag().unwrap()).build());
    let parts = CompletedMultipartUpload::builder().set_parts(Some(parts)).build();
    let complete = s3.complete_multipart_upload().bucket(BUCKET).key("parts").upload_id(id).multipart_upload(parts);
    complete.send().await.unwrap();
    let copy = s3.copy_object().bucket(BUCKET).key("copy of parts").copy_source(format!("{BUCKET}/parts"));
    copy.send().await.unwrap();
    let get = |key: &'static str, begin: u64, end: u64| {
        s3.get_object().bucket(BUCKET).key(key).range(format!("bytes={begin}-{}", end - 1)).send()
    };
    for key in ["parts", "copy of parts"] {
        for number in 0..2 {
            let part = get(key, number * first.size, (number + 1) * first.size).await.unwrap();
            compare(part.body, &mut first, key).await;
        }
        // The third part begins at a piece boundary of its source.
        let there = get(key, 2 * first.size, 2 * first.size + (20 << 20)).await.unwrap();
        assert!(there.body.collect().await.unwrap().into_bytes() == bytes.range(begin..begin + (20 << 20)), "{key}");
        let size = s3.head_object().bucket(BUCKET).key(key).send().await.unwrap().content_length();
        assert_eq!(size, Some((2 * first.size + end - begin) as i64));
    }
}

#[tokio::test]
async fn a_large_upload_that_is_refused_leaves_nothing_behind() {
    let aws = LocalAws::start().await;
    let (s3, endpoint) = (aws.s3(), aws.endpoint());
    s3.create_bucket().bucket(BUCKET).send().await.unwrap();
    let mut bytes = Bytes::new((3 << 20) + 77);
    type Case<'a> = (Mode, Wrong, &'a [(&'a str, &'a str)], &'a str);
    let mut cases: Vec<Case> = vec![
        (Mode::Hash, Wrong::Byte, &[], "XAmzContentSHA256Mismatch"),
        (Mode::Chunks, Wrong::Byte, &[], "SignatureDoesNotMatch"),
        (Mode::Chunks, Wrong::ChunkSignature, &[], "SignatureDoesNotMatch"),
        (Mode::ChunksAndTrailer, Wrong::ChunkSignature, &[], "SignatureDoesNotMatch"),
        (Mode::ChunksAndTrailer, Wrong::Trailer, &[], "BadDigest"),
        (Mode::ChunksAndTrailer, Wrong::TrailerSignature, &[], "SignatureDoesNotMatch"),
        (Mode::UnsignedTrailer, Wrong::Byte, &[], "BadDigest"),
        (Mode::UnsignedTrailer, Wrong::Trailer, &[], "BadDigest"),
        (Mode::Hash, Wrong::Nothing, &[("content-md5", "AAAAAAAAAAAAAAAAAAAAAA==")], "BadDigest"),
        (Mode::Unsigned, Wrong::Nothing, &[("x-amz-checksum-crc32c", "AAAAAA==")], "BadDigest"),
        (Mode::Unsigned, Wrong::Nothing, &[("x-amz-checksum-crc64nvme", "AAAAAAAAAAA=")], "BadDigest"),
        (Mode::Unsigned, Wrong::Nothing, &[("if-match", "\"another\"")], "NoSuchKey"),
        (Mode::Unsigned, Wrong::Nothing, &[("x-amz-storage-class", "NONE")], "InvalidStorageClass"),
    ];
    for mode in Mode::ALL.into_iter().filter(|mode| mode.is_chunked()) {
        cases.push((mode, Wrong::TooLong, &[], "IncompleteBody"));
        cases.push((mode, Wrong::TooShort, &[], "IncompleteBody"));
        cases.push((mode, Wrong::NoDecodedLength, &[], "MissingContentLength"));
    }
    // One connection, which every refusal leaves usable.
    let mut line = connect(&endpoint).await;
    let path = format!("/{BUCKET}/key");
    for (mode, wrong, headers, expected) in cases {
        let put = Put { endpoint: &endpoint, path: &path, mode, wrong, headers };
        let answer = put.send(&mut line, &mut bytes).await.unwrap();
        assert_eq!(answer.code(), expected, "{mode:?} {wrong:?} {headers:?}: {} {}", answer.status, answer.body);
        assert_eq!(bytes_on_disk(aws.dir.path()), Vec::<PathBuf>::new(), "{mode:?} {wrong:?} {headers:?}");
    }
    let nobodys =
        Put { endpoint: &endpoint, path: "/nobodys/key", mode: Mode::Hash, wrong: Wrong::Nothing, headers: &[] };
    assert_eq!(nobodys.send(&mut line, &mut bytes).await.unwrap().code(), "NoSuchBucket");
    assert_eq!(bytes_on_disk(aws.dir.path()), Vec::<PathBuf>::new());
    assert_eq!(code(s3.head_object().bucket(BUCKET).key("key").send().await), "NotFound");

    for mode in Mode::ALL {
        let put = Put { endpoint: &endpoint, path: &path, mode, wrong: Wrong::Nothing, headers: &[] };
        assert_eq!(put.send(&mut line, &mut bytes).await.unwrap().status, 200, "{mode:?}");
        let got = s3.get_object().bucket(BUCKET).key("key").send().await.unwrap();
        compare(got.body, &mut bytes, "the object").await;
        assert_eq!(bytes_on_disk(aws.dir.path()).len(), 1, "{mode:?}");
    }
    aws.stop().await;
}

#[tokio::test]
async fn a_large_upload_without_a_checksum_gets_the_default_one() {
    let aws = LocalAws::start().await;
    let (s3, endpoint) = (aws.s3(), aws.endpoint());
    s3.create_bucket().bucket(BUCKET).send().await.unwrap();
    let mut bytes = Bytes::new((2 << 20) + 5);
    let begin = s3.create_multipart_upload().bucket(BUCKET).key("parts").checksum_algorithm(ChecksumAlgorithm::Crc32);
    let begun = begin.checksum_type(ChecksumType::FullObject).send().await.unwrap();
    let part = format!("/{BUCKET}/parts?partNumber=1&uploadId={}", begun.upload_id().unwrap());
    for (path, header) in [(part, "x-amz-checksum-crc32"), (format!("/{BUCKET}/key"), "x-amz-checksum-crc64nvme")] {
        let put = Put { endpoint: &endpoint, path: &path, mode: Mode::Unsigned, wrong: Wrong::Nothing, headers: &[] };
        let large = put.alone(&mut bytes).await;
        assert_eq!(large.status, 200, "{}", large.body);
        let sum = large.headers[header].clone();
        assert!(header != "x-amz-checksum-crc32" || sum == bytes.crc32(), "{sum}");
        // A client that sends the checksum as well is accepted.
        let put = Put { headers: &[(header, sum.as_str())], ..put };
        assert_eq!(put.alone(&mut bytes).await.status, 200, "{header}");
    }
    aws.stop().await;
}

#[tokio::test]
async fn an_upload_that_is_cut_off_leaves_nothing_behind() {
    let aws = LocalAws::start().await;
    let (s3, endpoint) = (aws.s3(), aws.endpoint());
    s3.create_bucket().bucket(BUCKET).send().await.unwrap();
    let path = format!("/{BUCKET}/key");
    for mode in Mode::ALL {
        let put = Put { endpoint: &endpoint, path: &path, mode, wrong: Wrong::Cut, headers: &[] };
        let mut line = connect(&endpoint).await;
        assert!(put.send(&mut line, &mut Bytes::new(8 << 20)).await.is_none());
        drop(line);
        until("the received part is removed", async || bytes_on_disk(aws.dir.path()).is_empty()).await;
    }
    assert!(s3.list_objects_v2().bucket(BUCKET).send().await.unwrap().contents().is_empty());
    aws.stop().await;
}

#[tokio::test]
async fn a_too_large_upload_is_refused_by_its_head() {
    let aws = LocalAws::start().await;
    let (s3, endpoint) = (aws.s3(), aws.endpoint());
    s3.create_bucket().bucket(BUCKET).send().await.unwrap();
    let life = Duration::from_secs(60);
    for (size, expected) in [(5u64 << 30, 100), ((5 << 30) + 1, 400)] {
        for path in ["key", "key?partNumber=1&uploadId=some"] {
            let url = presign::presign(&reqwest::Method::PUT, &format!("{endpoint}/{BUCKET}/{path}"), life);
            let host = endpoint.strip_prefix("http://").unwrap();
            let target = url.strip_prefix(&endpoint).unwrap();
            let head = format!("PUT {target} HTTP/1.1\r\nHost: {host}\r\nExpect: 100-continue\r\n");
            let mut line = connect(&endpoint).await;
            line.write_all(format!("{head}Content-Length: {size}\r\n\r\n").as_bytes()).await.unwrap();
            let answer = answer(&mut line).await;
            assert_eq!(answer.status, expected, "{path} of {size}");
            assert!(expected == 100 || answer.code() == "EntityTooLarge", "{}", answer.body);
        }
    }
    until("no file is left", async || bytes_on_disk(aws.dir.path()).is_empty()).await;
    aws.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_kill_during_an_upload_leaves_nothing_behind() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(dir.path());
    let s3 = clients::s3(&server.config().await);
    s3.create_bucket().bucket(BUCKET).send().await.unwrap();
    s3.put_object().bucket(BUCKET).key("small").body("kept".as_bytes().to_vec().into()).send().await.unwrap();
    let host = server.endpoint.strip_prefix("http://").unwrap();
    let url = format!("{}/{BUCKET}/large", server.endpoint);
    let url = presign::presign(&reqwest::Method::PUT, &url, Duration::from_secs(60));
    let target = url.strip_prefix(&server.endpoint).unwrap();
    let mut line = connect(&server.endpoint).await;
    line.write_all(format!("PUT {target} HTTP/1.1\r\nHost: {host}\r\nContent-Length: {LARGE}\r\n\r\n").as_bytes())
        .await
        .unwrap();
    line.write_all(&vec![7; 20 << 20]).await.unwrap();
    let arriving = || files_below(&dir.path().join("state/uploads"));
    let size = || arriving().iter().map(|file| file.metadata().map_or(0, |about| about.len())).sum::<u64>();
    until("10 MiB are on disk", async || size() > 10 << 20).await;
    server.kill();
    assert_eq!(arriving().len(), 1);

    let server = Server::start(dir.path());
    assert!(arriving().is_empty());
    assert_eq!(files_below(&dir.path().join("state/objects")).len(), 1);
    let s3 = clients::s3(&server.config().await);
    assert_eq!(code(s3.head_object().bucket(BUCKET).key("large").send().await), "NotFound");
    let kept = s3.get_object().bucket(BUCKET).key("small").send().await.unwrap();
    assert_eq!(kept.body.collect().await.unwrap().into_bytes(), "kept");
    server.stop();
}

#[tokio::test]
async fn a_damaged_block_of_a_large_object_is_never_served() {
    let aws = LocalAws::start().await;
    let (s3, endpoint) = (aws.s3(), aws.endpoint());
    s3.create_bucket().bucket(BUCKET).send().await.unwrap();
    let mut bytes = Bytes::new(12 << 20);
    let path = format!("/{BUCKET}/key");
    let put = Put { endpoint: &endpoint, path: &path, mode: Mode::Hash, wrong: Wrong::Nothing, headers: &[] };
    assert_eq!(put.alone(&mut bytes).await.status, 200);
    let file = bytes_on_disk(aws.dir.path()).remove(0);
    let good = std::fs::read(&file).unwrap();
    let damage = |at: usize| {
        let mut damaged = good.clone();
        damaged[at] ^= 1;
        std::fs::write(&file, damaged).unwrap();
    };
    let range = |range: &str| s3.get_object().bucket(BUCKET).key("key").range(range).send();
    damage(8 << 20);
    // Everything that arrives is correct, but the transfer ends with an error.
    let mut body = s3.get_object().bucket(BUCKET).key("key").send().await.unwrap().body;
    let mut arrived = Vec::new();
    let fault = loop {
        match body.try_next().await {
            Ok(Some(part)) => arrived.extend_from_slice(&part),
            Ok(None) => panic!("damaged bytes look whole"),
            Err(fault) => break fault,
        }
    };
    assert!(arrived.len() <= 8 << 20 && arrived == good[..arrived.len()], "{fault}");
    for (part, is_good) in [("bytes=0-8388607", true), ("bytes=9437184-", true), ("bytes=8388600-8388609", false)] {
        assert_eq!(range(part).await.is_ok(), is_good, "{part}");
    }
    let copy = s3.copy_object().bucket(BUCKET).key("copy").copy_source(format!("{BUCKET}/key")).send().await;
    assert_eq!(code(copy), "InternalError");
    damage(0);
    assert_eq!(code(s3.get_object().bucket(BUCKET).key("key").send().await), "InternalError");
    std::fs::write(&file, &good[1..]).unwrap();
    assert_eq!(code(s3.get_object().bucket(BUCKET).key("key").send().await), "InternalError");
    std::fs::write(&file, &good).unwrap();
    compare(s3.get_object().bucket(BUCKET).key("key").send().await.unwrap().body, &mut bytes, "the object").await;
    assert_eq!(bytes_on_disk(aws.dir.path()).len(), 1);
    aws.stop().await;
}

#[tokio::test]
async fn an_object_that_is_replaced_or_deleted_is_read_to_its_end() {
    let aws = LocalAws::start().await;
    let (s3, endpoint) = (aws.s3(), aws.endpoint());
    s3.create_bucket().bucket(BUCKET).send().await.unwrap();
    let mut bytes = Bytes::new(64 << 20);
    let path = format!("/{BUCKET}/key");
    let put = Put { endpoint: &endpoint, path: &path, mode: Mode::Unsigned, wrong: Wrong::Nothing, headers: &[] };
    assert_eq!(put.alone(&mut bytes).await.status, 200);
    let first = s3.get_object().bucket(BUCKET).key("key").send().await.unwrap();
    s3.put_object().bucket(BUCKET).key("key").body("another".as_bytes().to_vec().into()).send().await.unwrap();
    s3.delete_object().bucket(BUCKET).key("key").send().await.unwrap();
    assert_eq!(code(s3.head_object().bucket(BUCKET).key("key").send().await), "NotFound");
    compare(first.body, &mut bytes, "what was there").await;
    until("its bytes are removed", async || bytes_on_disk(aws.dir.path()).is_empty()).await;
    aws.stop().await;
}

#[tokio::test]
async fn faults_apply_to_large_objects_too() {
    let aws = LocalAws::start().await;
    let endpoint = aws.endpoint();
    let config = aws.config.to_builder().retry_config(aws_config::retry::RetryConfig::disabled()).build();
    let s3 = clients::s3(&config);
    s3.create_bucket().bucket(BUCKET).send().await.unwrap();
    let mut bytes = Bytes::new(9 << 20);
    let http = reqwest::Client::new();
    let faults = format!("{endpoint}/_local/faults");
    let path = format!("/{BUCKET}/key");
    let put = Put { endpoint: &endpoint, path: &path, mode: Mode::Chunks, wrong: Wrong::Nothing, headers: &[] };
    for (fault, operation, is_there) in
        [("throttle", "PutObject", false), ("hold-before", "PutObject", false), ("500-after", "PutObject", true)]
    {
        let rule = serde_json::json!({ "match": { "operation": operation, "times": 1 }, "fault": fault });
        let added = http.post(&faults).body(rule.to_string()).send().await.unwrap();
        assert_eq!(added.status(), 200, "{}", added.text().await.unwrap());
        if fault == "hold-before" {
            let mut line = connect(&endpoint).await;
            let sent = put.send(&mut line, &mut bytes);
            let held = async {
                until("the upload is complete", async || bytes_on_disk(aws.dir.path()).len() == 1).await;
                assert!(code(s3.head_object().bucket(BUCKET).key("key").send().await) == "NotFound");
                assert_eq!(http.delete(&faults).send().await.unwrap().status(), 200);
            };
            assert_eq!(tokio::join!(sent, held).0.unwrap().status, 200);
            s3.delete_object().bucket(BUCKET).key("key").send().await.unwrap();
        } else {
            assert!(put.alone(&mut bytes).await.status >= 500, "{fault}");
        }
        until("the temporary file is removed", async || bytes_on_disk(aws.dir.path()).len() == usize::from(is_there))
            .await;
        assert_eq!(code(s3.head_object().bucket(BUCKET).key("key").send().await) == "none", is_there, "{fault}");
    }
    let rule = serde_json::json!({ "match": { "operation": "GetObject", "times": 1 }, "fault": "truncate" });
    assert_eq!(http.post(&faults).body(rule.to_string()).send().await.unwrap().status(), 200);
    let mut body = s3.get_object().bucket(BUCKET).key("key").send().await.unwrap().body;
    let mut arrived = 0;
    while let Ok(Some(part)) = body.try_next().await {
        arrived += part.len() as u64;
    }
    assert_eq!(arrived, bytes.size / 2);
    compare(s3.get_object().bucket(BUCKET).key("key").send().await.unwrap().body, &mut bytes, "the object").await;
    aws.stop().await;
}
