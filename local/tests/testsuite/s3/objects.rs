//! Objects: reads, conditions, metadata and checksums.

use std::time::Duration;

use aws_sdk_s3::error::ProvideErrorMetadata;
use aws_sdk_s3::primitives::ByteStream;
use aws_sdk_s3::types::{ChecksumAlgorithm, ChecksumMode, ChecksumType};
use testkit::LocalAws;
use testkit::clients::code;

use super::support::{a_minute, bucket, encoded};
use crate::support::presign::presign;

/// A status, a `Content-Range`, and the body.
type Read = (u16, Option<String>, String);

async fn read(aws: &LocalAws, method: reqwest::Method, headers: &[(&'static str, &str)]) -> Read {
    let s3 = aws.s3();
    let life = a_minute();
    let url = match method {
        reqwest::Method::HEAD => s3.head_object().bucket("images-of-ada").key("digits").presigned(life).await.unwrap(),
        _ => s3.get_object().bucket("images-of-ada").key("digits").presigned(life).await.unwrap(),
    };
    let mut request = reqwest::Client::new().request(method, url.uri());
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let answer = request.send().await.unwrap();
    let range = answer.headers().get("content-range").map(|range| range.to_str().unwrap().to_owned());
    (answer.status().as_u16(), range, answer.text().await.unwrap())
}

#[tokio::test]
async fn a_range_read_returns_the_range() {
    let aws = LocalAws::start().await;
    let s3 = aws.s3();
    let name = bucket(&s3).await;
    s3.put_object().bucket(name).key("digits").body(ByteStream::from_static(b"0123456789")).send().await.unwrap();
    for (range, status, shown, body) in [
        ("bytes=0-0", 206, Some("bytes 0-0/10"), "0"),
        ("bytes=2-4", 206, Some("bytes 2-4/10"), "234"),
        ("bytes=5-", 206, Some("bytes 5-9/10"), "56789"),
        ("bytes=-3", 206, Some("bytes 7-9/10"), "789"),
        ("bytes=-30", 206, Some("bytes 0-9/10"), "0123456789"),
        ("bytes=8-100", 206, Some("bytes 8-9/10"), "89"),
        // An invalid range is ignored.
        ("bytes=4-2", 200, None, "0123456789"),
        ("bytes=x-", 200, None, "0123456789"),
        ("lines=1-2", 200, None, "0123456789"),
    ] {
        let expected = (status, shown.map(str::to_owned), body.to_owned());
        assert_eq!(read(&aws, reqwest::Method::GET, &[("range", range)]).await, expected, "{range}");
        let (head, head_shown, _) = read(&aws, reqwest::Method::HEAD, &[("range", range)]).await;
        assert_eq!((head, head_shown.as_deref()), (status, shown), "HEAD {range}");
    }
    for range in ["bytes=10-", "bytes=10-12", "bytes=-0"] {
        let (status, _, body) = read(&aws, reqwest::Method::GET, &[("range", range)]).await;
        assert_eq!(status, 416, "{range}");
        assert!(body.contains("<Code>InvalidRange</Code>"), "{range}: {body}");
        assert_eq!(read(&aws, reqwest::Method::HEAD, &[("range", range)]).await.0, 416, "HEAD {range}");
    }
    aws.stop().await;
}

#[tokio::test]
async fn conditional_reads_follow_their_preconditions() {
    let aws = LocalAws::start().await;
    let s3 = aws.s3();
    let name = bucket(&s3).await;
    let put = s3.put_object().bucket(name).key("digits").body(ByteStream::from_static(b"0123456789"));
    let tag = put.send().await.unwrap().e_tag.unwrap();
    let (before, after) = ("Thu, 01 Jan 2015 00:00:00 GMT", "Thu, 01 Jan 2099 00:00:00 GMT");
    let table: &[(&[(&'static str, &str)], u16)] = &[
        (&[("if-match", &tag)], 200),
        (&[("if-match", "*")], 200),
        (&[("if-match", "\"other\"")], 412),
        (&[("if-none-match", &tag)], 304),
        (&[("if-none-match", "*")], 304),
        (&[("if-none-match", "\"other\"")], 200),
        (&[("if-modified-since", before)], 200),
        (&[("if-modified-since", after)], 304),
        (&[("if-unmodified-since", before)], 412),
        (&[("if-unmodified-since", after)], 200),
        // If there are two conditions, the entity tag's takes precedence.
        (&[("if-match", &tag), ("if-unmodified-since", before)], 200),
        (&[("if-none-match", "\"other\""), ("if-modified-since", after)], 200),
        (&[("if-none-match", &tag), ("if-modified-since", before)], 304),
        (&[("if-match", &tag), ("range", "bytes=0-1")], 206),
    ];
    for (headers, expected) in table {
        for method in [reqwest::Method::GET, reqwest::Method::HEAD] {
            let (status, _, body) = read(&aws, method.clone(), headers).await;
            assert_eq!(status, *expected, "{method} {headers:?}");
            assert!(status != 304 || body.is_empty(), "{method} {headers:?}: {body}");
        }
    }
    aws.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn of_concurrent_if_none_match_writes_one_wins() {
    let aws = LocalAws::start().await;
    let s3 = aws.s3();
    let name = bucket(&s3).await;
    let writers = (0..16).map(|number: u8| {
        let put = s3.put_object().bucket(name).key("page").if_none_match("*").body(ByteStream::from(vec![number; 9]));
        tokio::spawn(async move { put.send().await.map(|_| number) })
    });
    let mut winners = Vec::new();
    for writer in writers.collect::<Vec<_>>() {
        match writer.await.unwrap() {
            Ok(number) => winners.push(number),
            Err(fault) => {
                assert_eq!(fault.code(), Some("PreconditionFailed"));
                assert_eq!(fault.raw_response().unwrap().status().as_u16(), 412);
            }
        }
    }
    let got = s3.get_object().bucket(name).key("page").send().await.unwrap();
    let etag = got.e_tag().unwrap().to_owned();
    let held = got.body.collect().await.unwrap().into_bytes();
    assert_eq!((winners.len(), held), (1, vec![winners[0]; 9].into()));

    let stale = s3.put_object().bucket(name).key("page").if_match("\"0\"").send().await;
    assert_eq!(code(stale), "PreconditionFailed");
    s3.put_object().bucket(name).key("page").if_match(etag).send().await.unwrap();
    s3.delete_object().bucket(name).key("page").send().await.unwrap();
    s3.put_object().bucket(name).key("page").if_none_match("*").send().await.unwrap();
    aws.stop().await;
}

#[tokio::test]
async fn objects_keep_their_bytes_headers_and_names_through_a_restart() {
    let aws = LocalAws::start().await;
    let name = bucket(&aws.s3()).await;
    let long = format!("Zoé/{}", "x".repeat(700));
    for key in ["Zoé/a b+c&d.jpg", "../../etc/passwd", long.as_str()] {
        let put = aws.s3().put_object().bucket(name).key(key).body(ByteStream::from_static(b"bytes"));
        let put = put.content_type("image/jpeg").cache_control("max-age=60").metadata("author", "ada");
        put.send().await.unwrap();
    }
    let aws = aws.restarted().await;
    let s3 = aws.s3();
    let listed = s3.list_objects_v2().bucket(name).prefix("Zoé/").send().await.unwrap();
    let keys: Vec<_> = listed.contents().iter().filter_map(|object| object.key()).collect();
    assert_eq!(keys, ["Zoé/a b+c&d.jpg", long.as_str()]);
    for key in ["Zoé/a b+c&d.jpg", "../../etc/passwd", long.as_str()] {
        let got = s3.get_object().bucket(name).key(key).send().await.unwrap();
        assert_eq!((got.content_type(), got.cache_control()), (Some("image/jpeg"), Some("max-age=60")));
        assert_eq!(got.metadata().unwrap()["author"], "ada");
        assert_eq!(got.metadata().unwrap().len(), 1);
        assert_eq!(got.body.collect().await.unwrap().into_bytes(), "bytes");
        let head = s3.head_object().bucket(name).key(key).send().await.unwrap();
        assert_eq!((head.content_length(), head.e_tag().is_some()), (Some(5), true));
        assert_eq!(head.metadata().unwrap()["author"], "ada");
        s3.copy_object().bucket(name).key("copy").copy_source(format!("{name}/{}", encoded(key))).send().await.unwrap();
    }
    s3.put_object().bucket(name).key("empty").send().await.unwrap();
    let head = s3.head_object().bucket(name).key("empty").send().await.unwrap();
    assert_eq!(head.content_length(), Some(0));
    let range = s3.get_object().bucket(name).key("copy").range("bytes=1-2").send().await.unwrap();
    assert_eq!(range.body.collect().await.unwrap().into_bytes(), "yt");
    aws.stop().await;
}

#[tokio::test]
async fn checksums_are_returned_on_request() {
    let aws = LocalAws::start().await;
    let s3 = aws.s3();
    let name = bucket(&s3).await;
    let put = s3.put_object().bucket(name).key("k").checksum_sha256("FeKw09ME87/4T79rnxHyF2U81v6UL0rNO9fTt3bkQ7I=");
    assert_eq!(code(put.body(ByteStream::from_static(b"123456789")).send().await), "BadDigest");
    let put = s3.put_object().bucket(name).key("k").checksum_algorithm(ChecksumAlgorithm::Crc32C);
    let put = put.body(ByteStream::from_static(b"123456789")).send().await.unwrap();
    assert_eq!(put.checksum_crc32_c(), Some("4waSgw=="));
    let get = || s3.get_object().bucket(name).key("k");
    let got = get().checksum_mode(ChecksumMode::Enabled).send().await.unwrap();
    assert_eq!((got.checksum_crc32_c(), got.checksum_type()), (Some("4waSgw=="), Some(&ChecksumType::FullObject)));
    let part = get().checksum_mode(ChecksumMode::Enabled).range("bytes=0-1").send().await.unwrap();
    assert_eq!(part.checksum_crc32_c(), None);
    // If the client sends no checksum, S3 computes one.
    let url = s3.put_object().bucket(name).key("plain").presigned(a_minute()).await.unwrap();
    let put = reqwest::Client::new().put(url.uri()).body("123456789").send().await.unwrap();
    assert_eq!(put.headers()["x-amz-checksum-crc64nvme"], "rosUhgp5mIg=");
    assert_eq!(put.headers()["x-amz-checksum-type"], "FULL_OBJECT");
    aws.stop().await;
}

#[tokio::test]
async fn metadata_beyond_ascii_is_returned_as_by_s3() {
    let aws = LocalAws::start().await;
    let s3 = aws.s3();
    let name = bucket(&s3).await;
    let url = format!("{}/{name}/k?x-amz-meta-who=Zo%C3%A9", aws.endpoint());
    let signed = presign(&reqwest::Method::PUT, &url, Duration::from_secs(60));
    let put = reqwest::Client::new().put(signed).header("content-encoding", "gzip,aws-chunked").send().await.unwrap();
    assert_eq!(put.status(), 200, "{}", put.text().await.unwrap());
    let head = s3.head_object().bucket(name).key("k").send().await.unwrap();
    // S3 decodes the bytes as ISO 8859-1.
    assert_eq!(head.metadata().unwrap()["who"], "=?UTF-8?B?Wm/Dg8Kp?=");
    assert_eq!(head.content_encoding(), Some("gzip"));
    aws.stop().await;
}
