//! Large objects are written to disk and read from it piece by piece, and a refused upload leaves nothing behind.

mod content;
mod put;

use std::path::{Path, PathBuf};
use std::time::Duration;

use aws_sdk_s3::error::ProvideErrorMetadata;
use aws_sdk_s3::primitives::ByteStream;
use aws_sdk_s3::types::{ChecksumAlgorithm, ChecksumType, CompletedMultipartUpload, CompletedPart};
use content::Bytes;
use put::{Mode, Put, Wrong, answer, connect};
use testkit::{LocalAws, clients, until};
use tokio::io::AsyncWriteExt;

use crate::support::presign::presign;
use crate::support::process::{Server, files_below};

const BUCKET: &str = "large-objects";

/// Small enough for any machine's disk, and large enough to show in the memory of a server that would hold it.
const LARGE: u64 = 200 << 20;

/// The maximum peak memory of the server, in kilobytes.
const MEMORY_KB: u64 = 120 << 10;

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
            let url = presign(&reqwest::Method::PUT, &format!("{endpoint}/{BUCKET}/{path}"), life);
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
    let url = presign(&reqwest::Method::PUT, &url, Duration::from_secs(60));
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
