//! Requests that are refused by name.

use std::time::Duration;

use aws_sdk_s3::error::ProvideErrorMetadata;
use testkit::LocalAws;
use testkit::clients::code;

use super::support::{bucket, md5};
use crate::support::presign::presign;

#[tokio::test]
async fn strange_hosts_and_missing_operations_are_refused_by_name() {
    let aws = LocalAws::start().await;
    let answer = reqwest::Client::new().get(aws.endpoint()).header("host", "evil.example").send().await;
    assert_eq!(answer.unwrap().status(), 403);
    let s3 = aws.s3();
    let name = bucket(&s3).await;
    let refused = s3.get_object_torrent().bucket(name).key("k").send().await.unwrap_err();
    assert_eq!(refused.code(), Some("NotImplemented"));
    assert!(refused.message().unwrap().contains("s3:GetObjectTorrent"));

    let journal = aws.control().journal().await;
    let calls: Vec<_> = journal.iter().map(|call| (&call["operation"], &call["mutating"], &call["status"])).collect();
    assert_eq!(calls[0], (&"CreateBucket".into(), &true.into(), &200.into()));
    assert_eq!(calls[1], (&"GetObjectTorrent".into(), &false.into(), &501.into()));
    aws.stop().await;
}

#[tokio::test]
async fn parameters_without_effect_are_refused_by_name() {
    let aws = LocalAws::start().await;
    let s3 = aws.s3();
    let name = bucket(&s3).await;
    s3.put_object().bucket(name).key("k").send().await.unwrap();
    let http = reqwest::Client::new();
    let url = format!("{}/{name}", aws.endpoint());
    // Unsigned `x-amz-` headers would be refused as such, so these parameters are sent in the query, as in presigned
    // URLs.
    let send = async |method: &str, path: &str, query: &str, body: &str| {
        let (method, target) = (method.parse::<reqwest::Method>().unwrap(), format!("{url}{path}?{query}"));
        let signed = presign(&method, &target, Duration::from_secs(60));
        let answer = http.request(method, signed).header("content-md5", md5(body)).body(body.to_owned());
        let answer = answer.send().await.unwrap();
        (answer.status().as_u16(), answer.text().await.unwrap())
    };
    for (method, path, query, body, names) in [
        ("PUT", "/k", "x-amz-server-side-encryption=aws%3Akms", "", "aws:kms"),
        ("PUT", "/k", "x-amz-server-side-encryption-customer-algorithm=AES256", "", "customer-algorithm"),
        ("PUT", "/k", "x-amz-storage-class=GLACIER", "", "GLACIER"),
        ("PUT", "/k", "x-amz-grant-read=id%3D1", "", "x-amz-grant-read"),
        ("PUT", "/k", "x-amz-write-offset-bytes=1", "", "x-amz-write-offset-bytes"),
        ("PUT", "/k", "x-amz-object-lock-event-hold=ON", "", "x-amz-object-lock-event-hold"),
        ("PUT", "/k", "x-amz-checksum-sha512=AAAA", "", "x-amz-checksum-sha512"),
        ("POST", "/k", "uploads&x-amz-checksum-algorithm=MD5", "", "MD5"),
        ("DELETE", "/k", "x-amz-mfa=1", "", "x-amz-mfa"),
        ("DELETE", "/k", "x-amz-if-match-size=1", "", "x-amz-if-match-size"),
        ("GET", "/k", "list-type=2", "", "list-type"),
        ("GET", "", "list-type=2&versionId=1", "", "versionId"),
        ("PUT", "", "website", "<WebsiteConfiguration/>", "website"),
        ("PUT", "", "replication", "<ReplicationConfiguration/>", "replication"),
        ("PUT", "", "logging", "<BucketLoggingStatus><LoggingEnabled/></BucketLoggingStatus>", "LoggingEnabled"),
        (
            "PUT",
            "",
            "versioning",
            "<VersioningConfiguration><Status>Enabled</Status><MfaDelete>Enabled</MfaDelete></VersioningConfiguration>",
            "MfaDelete",
        ),
        ("POST", "", "delete", "<Delete><Object><Key>k</Key><Size>1</Size></Object></Delete>", "Size"),
    ] {
        let (status, text) = send(method, path, query, body).await;
        assert_eq!(status, 501, "{method} {path}?{query}: {text}");
        assert!(text.contains("<Code>NotImplemented</Code>") && text.contains(names), "{query}: {text}");
    }
    for (method, path, query, body, expected) in [
        ("PUT", "/k", "x-amz-acl=public-read", "", "AccessControlListNotSupported"),
        ("PUT", "/k", "x-amz-storage-class=CHEAP", "", "InvalidStorageClass"),
        ("PUT", "/k", "x-amz-server-side-encryption=ROT13", "", "InvalidEncryptionAlgorithmError"),
        ("PUT", "/k", "x-amz-object-lock-legal-hold=ON", "", "InvalidRequest"),
        ("PUT", "", "acl&x-amz-acl=public-read", "", "AccessControlListNotSupported"),
        (
            "PUT",
            "",
            "cors",
            "<CORSConfiguration><CORSRule><AllowedOrigin>*</AllowedOrigin><AllowedMethod>PATCH</AllowedMethod></CORSRule></CORSConfiguration>",
            "InvalidRequest",
        ),
        (
            "PUT",
            "",
            "cors",
            "<CORSConfiguration><CORSRule><AllowedOrigin>*</AllowedOrigin><AllowedMethod>GET</AllowedMethod><Colour/></CORSRule></CORSConfiguration>",
            "MalformedXML",
        ),
        ("GET", "", "list-type=2&continuation-token=bogus", "", "InvalidArgument"),
        ("GET", "", "list-type=2&max-keys=-1", "", "InvalidArgument"),
        ("GET", "", "versions&version-id-marker=1", "", "InvalidArgument"),
        ("GET", "", "encoding-type=html", "", "InvalidArgument"),
        ("POST", "/k", "", "", "MethodNotAllowed"),
        ("PUT", "/%ff", "", "", "InvalidURI"),
    ] {
        let (status, text) = send(method, path, query, body).await;
        assert!((400..500).contains(&status) && text.contains(&format!("<Code>{expected}</Code>")), "{query}: {text}");
    }
    // None of these requests has had an effect.
    let head = s3.head_object().bucket(name).key("k").send().await.unwrap();
    assert_eq!((head.storage_class(), head.e_tag()), (None, Some("\"d41d8cd98f00b204e9800998ecf8427e\"")));
    assert_eq!(s3.list_objects_v2().bucket(name).send().await.unwrap().key_count(), Some(1));
    let much = "v".repeat(2048);
    let put = s3.put_object().bucket(name).key("k").metadata("k", much).send().await;
    assert_eq!(code(put), "MetadataTooLarge");
    aws.stop().await;
}
