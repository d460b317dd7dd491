//! Unusual keys.

use std::time::Duration;

use aws_sdk_s3::types::{Delete, EncodingType, ObjectIdentifier};
use testkit::LocalAws;
use testkit::clients::code;

use super::support::{bucket, encoded, md5};
use crate::support::presign::presign;

/// Unusual keys, each with whether XML can represent it.
fn odd_keys() -> Vec<(String, bool)> {
    let named = [" ", "\n", "\r\n\t", "\"'&<>", "+ %20%", "../x", "/", "//a/", "?versionId=null", "日本/écran.png"];
    let unnamed = ["\u{1}", "a\u{ffff}b.png", "\u{fffe}", "\u{7}/\u{1f}"];
    let long = ["é".repeat(512), vec!["a"; 512].join("/"), "x".repeat(1024)];
    let named = named.map(str::to_owned).into_iter().chain(long).map(|key| (key, true));
    named.chain(unnamed.map(|key| (key.to_owned(), false))).collect()
}

/// Sends a request for a key that the SDK may not be able to send.
async fn raw(aws: &LocalAws, method: &str, bucket: &str, key: &str, query: &str, body: &str) -> (u16, String) {
    let method: reqwest::Method = method.parse().unwrap();
    let url = format!("{}/{bucket}/{}?{query}", aws.endpoint(), encoded(key));
    let signed = presign(&method, &url, Duration::from_secs(60));
    let request = reqwest::Client::new().request(method, signed).header("content-md5", md5(body));
    let answer = request.body(body.to_owned()).send().await.unwrap();
    (answer.status().as_u16(), answer.text().await.unwrap())
}

fn form_decoded(text: &str) -> String {
    percent_encoding::percent_decode_str(&text.replace('+', " ")).decode_utf8().unwrap().into_owned()
}

#[tokio::test]
async fn every_operation_accepts_any_object_key() {
    let aws = LocalAws::start().await;
    let name = bucket(&aws.s3()).await;
    let s3 = aws.s3();
    for (key, _) in odd_keys() {
        let raw = async |method: &str, query: &str, body: &str| raw(&aws, method, name, &key, query, body).await;
        assert_eq!(raw("PUT", "", &key).await.0, 200, "{key:?}");
        let tags = "<Tagging><TagSet><Tag><Key>odd</Key><Value>v</Value></Tag></TagSet></Tagging>";
        assert_eq!(raw("PUT", "tagging", tags).await.0, 200, "{key:?}");
        let (_, begun) = raw("POST", "uploads", "").await;
        let id = begun.split_once("<UploadId>").and_then(|(_, rest)| rest.split_once('<')).unwrap().0.to_owned();
        assert_eq!(raw("DELETE", &format!("uploadId={id}"), "").await.0, 204, "{key:?}");
        let source = format!("{name}/{}", encoded(&key));
        s3.copy_object().bucket(name).key("copy").copy_source(source).send().await.unwrap();
        let copied = s3.get_object().bucket(name).key("copy").send().await.unwrap();
        assert_eq!(copied.body.collect().await.unwrap().into_bytes(), key.as_bytes(), "{key:?}");
        s3.delete_object().bucket(name).key("copy").send().await.unwrap();
    }
    let aws = aws.restarted().await;
    let s3 = aws.s3();
    let mut expected: Vec<String> = odd_keys().into_iter().map(|(key, _)| key).collect();
    expected.sort();
    for size in [1, 3, 1000] {
        let (mut seen, mut token) = (Vec::new(), None);
        loop {
            let list = s3.list_objects_v2().bucket(name).encoding_type(EncodingType::Url).max_keys(size);
            let page = list.set_continuation_token(token.clone()).send().await.unwrap();
            assert_eq!(page.continuation_token(), token.as_deref());
            seen.extend(page.contents().iter().map(|object| form_decoded(object.key().unwrap())));
            token = page.next_continuation_token().map(str::to_owned);
            if token.is_none() {
                break;
            }
        }
        assert_eq!(seen, expected, "{size} a page");
    }
    let list = s3.list_objects_v2().bucket(name).encoding_type(EncodingType::Url).start_after("\n").delimiter("\n");
    let page = list.send().await.unwrap();
    assert_eq!((page.delimiter(), page.start_after()), (Some("%0A"), Some("%0A")));
    let versions = s3.list_object_versions().bucket(name).encoding_type(EncodingType::Url).send().await.unwrap();
    let seen: Vec<_> = versions.versions().iter().map(|version| form_decoded(version.key().unwrap())).collect();
    assert_eq!(seen, expected);
    // Without URL encoding, S3 returns key characters that XML parsers reject.
    let list = format!("{}/{name}?list-type=2", aws.endpoint());
    let list = presign(&reqwest::Method::GET, &list, Duration::from_secs(60));
    let text = reqwest::get(list).await.unwrap().text().await.unwrap();
    assert!(text.contains("<Key>a&#xffff;b.png</Key>") && text.contains("<Key>&#x1;</Key>"), "{text}");

    for (key, is_named) in odd_keys() {
        let raw = async |method: &str, query: &str| raw(&aws, method, name, &key, query, "").await;
        assert_eq!(raw("GET", "").await, (200, key.clone()));
        assert!(raw("GET", "tagging").await.1.contains("<Key>odd</Key>"), "{key:?}");
        let doomed = ObjectIdentifier::builder().key(&key).build().unwrap();
        let delete = Delete::builder().objects(doomed).build().unwrap();
        let deleted = s3.delete_objects().bucket(name).delete(delete).send().await;
        match is_named {
            true => assert_eq!(deleted.unwrap().deleted()[0].key(), Some(key.as_str())),
            false => {
                assert_eq!(code(deleted), "MalformedXML", "{key:?}");
                assert_eq!(raw("DELETE", "").await.0, 204, "{key:?}");
            }
        }
        assert_eq!(raw("HEAD", "").await.0, 404, "{key:?}");
    }
    s3.delete_bucket().bucket(name).send().await.unwrap();
    aws.stop().await;
}

#[tokio::test]
async fn deleting_objects_never_deletes_the_bucket() {
    let aws = LocalAws::start().await;
    let s3 = aws.s3();
    let name = bucket(&s3).await;
    for key in [" ", "\n", "\t \r", "/"] {
        let doomed = ObjectIdentifier::builder().key(key).build().unwrap();
        let delete = Delete::builder().objects(doomed).build().unwrap();
        let deleted = s3.delete_objects().bucket(name).delete(delete).send().await.unwrap();
        assert_eq!(deleted.deleted()[0].key(), Some(key));
        s3.head_bucket().bucket(name).send().await.unwrap();
    }
    let doomed = ObjectIdentifier::builder().key("").build().unwrap();
    let delete = Delete::builder().objects(doomed).build().unwrap();
    assert_eq!(code(s3.delete_objects().bucket(name).delete(delete).send().await), "MalformedXML");
    s3.head_bucket().bucket(name).send().await.unwrap();
    aws.stop().await;
}
