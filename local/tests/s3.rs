//! Buckets and objects as the SDK and a browser see them.

#[path = "support/presign.rs"]
mod presign;

use std::time::Duration;

use aws_sdk_s3::error::ProvideErrorMetadata;
use aws_sdk_s3::presigning::PresigningConfig;
use aws_sdk_s3::primitives::ByteStream;
use aws_sdk_s3::types::{
    BucketLocationConstraint, BucketVersioningStatus, ChecksumAlgorithm, ChecksumMode, ChecksumType,
    CompletedMultipartUpload, CompletedPart, CorsConfiguration, CorsRule, CreateBucketConfiguration, Delete,
    EncodingType, MetadataDirective, ObjectAttributes, ObjectIdentifier, ObjectLockLegalHold,
    ObjectLockLegalHoldStatus, ObjectLockRetention, ObjectLockRetentionMode, Tag, Tagging, TaggingDirective,
    VersioningConfiguration,
};
use base64::prelude::{BASE64_STANDARD, Engine as _};
use md5::{Digest as _, Md5};
use presign::presign;
use testkit::{LocalAws, clients};

fn code<T: std::fmt::Debug, E: ProvideErrorMetadata, R>(
    answer: Result<T, aws_sdk_s3::error::SdkError<E, R>>,
) -> String {
    match answer {
        Ok(answer) => panic!("expected a refusal, got {answer:?}"),
        Err(fault) => fault.code().unwrap_or("none").to_owned(),
    }
}

async fn bucket(s3: &aws_sdk_s3::Client) -> &'static str {
    s3.create_bucket().bucket("images-of-ada").send().await.unwrap();
    "images-of-ada"
}

#[tokio::test]
async fn a_new_bucket_is_as_aws_makes_it() {
    let aws = LocalAws::start().await;
    let s3 = aws.s3();
    let tag = Tag::builder().key("deployer:stack").value("postagram é").build().unwrap();
    let with_tags = CreateBucketConfiguration::builder().tags(tag).build();
    s3.create_bucket().bucket("tagged").create_bucket_configuration(with_tags).send().await.unwrap();

    let tags = s3.get_bucket_tagging().bucket("tagged").send().await.unwrap();
    assert_eq!(tags.tag_set()[0].value(), "postagram é");
    let block = s3.get_public_access_block().bucket("tagged").send().await.unwrap();
    assert_eq!(block.public_access_block_configuration().unwrap().block_public_acls(), Some(true));
    let ownership = s3.get_bucket_ownership_controls().bucket("tagged").send().await.unwrap();
    let rule = &ownership.ownership_controls().unwrap().rules()[0];
    assert_eq!(rule.object_ownership().as_str(), "BucketOwnerEnforced");
    s3.delete_bucket_ownership_controls().bucket("tagged").send().await.unwrap();
    let gone = s3.get_bucket_ownership_controls().bucket("tagged").send().await;
    assert_eq!(code(gone), "OwnershipControlsNotFoundError");
    let encryption = s3.get_bucket_encryption().bucket("tagged").send().await.unwrap();
    let rules = encryption.server_side_encryption_configuration().unwrap().rules();
    let default = rules[0].apply_server_side_encryption_by_default().unwrap();
    assert_eq!(default.sse_algorithm().as_str(), "AES256");
    let acl = s3.get_bucket_acl().bucket("tagged").send().await.unwrap();
    assert_eq!(acl.grants()[0].permission().unwrap().as_str(), "FULL_CONTROL");
    s3.put_object().bucket("tagged").key("k").tagging("a=b+c").send().await.unwrap();
    let tags = s3.get_object_tagging().bucket("tagged").key("k").send().await.unwrap();
    assert_eq!(tags.tag_set()[0].value(), "b c");
    let head = s3.head_bucket().bucket("tagged").send().await.unwrap();
    assert_eq!(head.bucket_region(), Some("us-east-1"));
    aws.stop().await;
}

#[tokio::test]
async fn invalid_tags_are_refused_in_every_operation() {
    let aws = LocalAws::start().await;
    let s3 = aws.s3();
    let name = bucket(&s3).await;
    s3.put_object().bucket(name).key("old").send().await.unwrap();
    let tag = |key: &str, value: &str| Tag::builder().key(key).value(value).build().unwrap();
    let many = |count: usize| (0..count).map(|number| tag(&format!("k{number}"), "v")).collect::<Vec<_>>();
    let (long, longer) = ("k".repeat(129), "v".repeat(257));
    for (tags, form, expected) in [
        (vec![tag(&long, "v")], format!("{long}=v"), "InvalidTag"),
        (vec![tag("k", &longer)], format!("k={longer}"), "InvalidTag"),
        (vec![tag("k", "a(b)")], "k=a(b)".to_owned(), "InvalidTag"),
        (vec![tag("aws:k", "v")], "aws%3Ak=v".to_owned(), "InvalidTag"),
        (vec![tag("k", "v"), tag("k", "w")], "k=v&k=w".to_owned(), "InvalidTag"),
        (many(51), (0..11).map(|number| format!("k{number}=v&")).collect(), "BadRequest"),
    ] {
        let set = Tagging::builder().set_tag_set(Some(tags.clone())).build().unwrap();
        assert_eq!(code(s3.put_bucket_tagging().bucket(name).tagging(set.clone()).send().await), expected, "{form}");
        let with_tags = CreateBucketConfiguration::builder().set_tags(Some(tags)).build();
        let made = s3.create_bucket().bucket("other").create_bucket_configuration(with_tags).send().await;
        assert_eq!(code(made), expected, "{form}");
        let tagged = s3.put_object_tagging().bucket(name).key("old").tagging(set).send().await;
        assert_eq!(code(tagged), expected, "{form}");
        let in_header = if form.starts_with("k=v&") { "InvalidArgument" } else { expected };
        let put = s3.put_object().bucket(name).key("new").tagging(&form).send().await;
        assert_eq!(code(put), in_header, "{form}");
        let begun = s3.create_multipart_upload().bucket(name).key("new").tagging(&form).send().await;
        assert_eq!(code(begun), in_header, "{form}");
    }
    assert!(
        s3.head_bucket().bucket("other").send().await.is_err()
            && s3.get_bucket_tagging().bucket(name).send().await.is_err()
    );
    let listed = s3.list_objects_v2().bucket(name).send().await.unwrap();
    assert_eq!(listed.contents().iter().filter_map(|object| object.key()).collect::<Vec<_>>(), ["old"]);
    let most = Tagging::builder().set_tag_set(Some(many(50))).build().unwrap();
    s3.put_bucket_tagging().bucket(name).tagging(most).send().await.unwrap();
    let eleven = Tagging::builder().set_tag_set(Some(many(11))).build().unwrap();
    let refused = s3.put_object_tagging().bucket(name).key("old").tagging(eleven).send().await.unwrap_err();
    assert_eq!(refused.message(), Some("Object tags cannot be greater than 10"));
    aws.stop().await;
}

#[tokio::test]
async fn missing_things_have_the_error_codes_of_aws() {
    let aws = LocalAws::start().await;
    let s3 = aws.s3();
    let name = bucket(&s3).await;
    assert_eq!(code(s3.get_bucket_tagging().bucket(name).send().await), "NoSuchTagSet");
    assert_eq!(code(s3.get_bucket_cors().bucket(name).send().await), "NoSuchCORSConfiguration");
    assert_eq!(code(s3.get_bucket_tagging().bucket("nobody").send().await), "NoSuchBucket");
    assert_eq!(code(s3.put_object().bucket("nobody").key("k").send().await), "NoSuchBucket");
    assert_eq!(code(s3.get_object().bucket(name).key("k").send().await), "NoSuchKey");
    assert!(s3.head_bucket().bucket("nobody").send().await.unwrap_err().into_service_error().is_not_found());
    assert!(s3.head_object().bucket(name).key("k").send().await.unwrap_err().into_service_error().is_not_found());
    let inventory = s3.get_bucket_inventory_configuration().bucket(name).id("weekly").send().await;
    assert_eq!(code(inventory), "NoSuchConfiguration");
    let metrics = s3.list_bucket_metrics_configurations().bucket(name).send().await.unwrap();
    assert!(metrics.metrics_configuration_list().is_empty() && metrics.is_truncated() == Some(false));
    assert!(s3.list_bucket_inventory_configurations().bucket("nobody").send().await.is_err());
    let empty = s3.get_bucket_notification_configuration().bucket(name).send().await.unwrap();
    assert!(empty.lambda_function_configurations().is_empty());
    let elsewhere = CreateBucketConfiguration::builder().location_constraint(BucketLocationConstraint::EuWest1).build();
    let refused = s3.create_bucket().bucket("else").create_bucket_configuration(elsewhere).send().await;
    assert_eq!(code(refused), "IllegalLocationConstraintException");
    assert_eq!(code(s3.create_bucket().bucket("Bad_Name").send().await), "InvalidBucketName");
    let foreign = s3.head_bucket().bucket(name).expected_bucket_owner("123456789012").send().await;
    assert_eq!(foreign.unwrap_err().raw_response().unwrap().status().as_u16(), 403);
    aws.stop().await;
}

#[tokio::test]
async fn a_bucket_name_of_another_account_is_neither_free_nor_ours() {
    let aws = LocalAws::start().await;
    let s3 = aws.s3();
    let stranger = |name: &str| format!("{}/_local/strangers/{name}", aws.endpoint());
    let http = reqwest::Client::new();
    let put = |name: &str, region: &str| http.put(stranger(name)).body(format!("{{\"region\": \"{region}\"}}")).send();
    assert_eq!(put("taken", "us-east-1").await.unwrap().status(), 200);
    assert_eq!(put("taken-far-away", "eu-west-1").await.unwrap().status(), 200);
    let head = |name: &str| s3.head_bucket().bucket(name).send();
    let (near, far) = (head("taken").await.unwrap_err(), head("taken-far-away").await.unwrap_err());
    assert_eq!(near.raw_response().unwrap().status().as_u16(), 403);
    assert_eq!(far.raw_response().unwrap().status().as_u16(), 301);
    assert_eq!(far.raw_response().unwrap().headers().get("x-amz-bucket-region"), Some("eu-west-1"));
    for name in ["taken", "taken-far-away"] {
        assert_eq!(code(s3.create_bucket().bucket(name).send().await), "BucketAlreadyExists");
    }
    assert_eq!(code(s3.put_object().bucket("taken").key("k").send().await), "AccessDenied");
    assert_eq!(code(s3.get_bucket_tagging().bucket("taken-far-away").send().await), "PermanentRedirect");
    assert!(s3.list_buckets().send().await.unwrap().buckets().is_empty());
    let aws = aws.restarted().await;
    let s3 = aws.s3();
    let stranger = |name: &str| format!("{}/_local/strangers/{name}", aws.endpoint());
    for name in ["taken", "taken-far-away"] {
        assert_eq!(code(s3.create_bucket().bucket(name).send().await), "BucketAlreadyExists", "after a restart");
    }
    assert_eq!(http.delete(stranger("taken")).send().await.unwrap().status(), 200);
    assert_eq!(http.delete(stranger("taken")).send().await.unwrap().status(), 404);
    let aws = aws.restarted().await;
    let s3 = aws.s3();
    s3.create_bucket().bucket("taken").send().await.unwrap();
    assert_eq!(code(s3.create_bucket().bucket("taken-far-away").send().await), "BucketAlreadyExists");
    aws.stop().await;
}

#[tokio::test]
async fn the_buckets_in_which_lambda_keeps_code_belong_to_another_account() {
    let aws = LocalAws::start().await;
    let s3 = aws.s3();
    const THEIRS: &str = "awslambda-us-east-1-tasks";
    for name in [THEIRS, "awslambda-eu-west-1-tasks"] {
        assert_eq!(code(s3.create_bucket().bucket(name).send().await), "BucketAlreadyExists", "{name}");
    }
    let head = s3.head_bucket().bucket(THEIRS).send().await.unwrap_err();
    assert_eq!(head.raw_response().unwrap().status().as_u16(), 403);
    for key in ["k", "snapshots/000000000000/k"] {
        assert_eq!(code(s3.put_object().bucket(THEIRS).key(key).send().await), "AccessDenied", "{key}");
        assert_eq!(code(s3.get_object().bucket(THEIRS).key(key).send().await), "AccessDenied", "{key}");
    }
    s3.create_bucket().bucket("awslambda-mars-1-tasks").send().await.unwrap();
    let copy = s3.copy_object().bucket("awslambda-mars-1-tasks").key("k").copy_source(format!("{THEIRS}/k"));
    assert_eq!(code(copy.send().await), "AccessDenied");
    aws.stop().await;
}

#[tokio::test]
async fn the_name_of_a_deleted_bucket_is_blocked_for_a_while() {
    let conditions = local::Conditions { speed: local::Speed::REAL, ..local::Conditions::default() };
    let aws = LocalAws::start_with(conditions).await;
    let s3 = aws.s3();
    let name = bucket(&s3).await;
    s3.delete_bucket().bucket(name).send().await.unwrap();
    assert_eq!(code(s3.create_bucket().bucket(name).send().await), "OperationAborted");
    s3.create_bucket().bucket("another").send().await.unwrap();
    aws.stop().await;
}

#[tokio::test]
async fn outside_us_east_1_a_bucket_is_created_once_and_with_its_region() {
    for (region, again) in [("us-east-1", None), ("eu-west-1", Some("BucketAlreadyOwnedByYou"))] {
        let aws = LocalAws::start_in_region(region).await;
        let s3 = clients::s3(&aws.config.clone().into_builder().region(aws_config::Region::new(region)).build());
        let constraint = |region: &str| {
            let constraint = BucketLocationConstraint::from(region);
            CreateBucketConfiguration::builder().location_constraint(constraint).build()
        };
        let create = || {
            let configuration = (region != "us-east-1").then(|| constraint(region));
            s3.create_bucket().bucket("images").set_create_bucket_configuration(configuration).send()
        };
        create().await.unwrap();
        s3.put_bucket_tagging().bucket("images").tagging(tagging("a")).send().await.unwrap();
        match (create().await, again) {
            (Ok(_), None) => (),
            (Err(refused), Some(wanted)) => assert_eq!(refused.code(), Some(wanted)),
            (answer, _) => panic!("{region}: {answer:?}"),
        }
        let other = s3.create_bucket().bucket("other").create_bucket_configuration(constraint("ap-south-1"));
        assert_eq!(code(other.send().await), "IllegalLocationConstraintException");
        let tags = s3.get_bucket_tagging().bucket("images").send().await.unwrap();
        assert_eq!(tags.tag_set()[0].key(), "a");
        aws.stop().await;
    }
}

fn tagging(key: &str) -> Tagging {
    Tagging::builder().tag_set(Tag::builder().key(key).value("v").build().unwrap()).build().unwrap()
}

/// A status, a `Content-Range`, and the body.
type Read = (u16, Option<String>, String);

async fn read(aws: &LocalAws, method: reqwest::Method, headers: &[(&'static str, &str)]) -> Read {
    let s3 = aws.s3();
    let life = PresigningConfig::expires_in(Duration::from_secs(60)).unwrap();
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

#[tokio::test]
async fn a_bucket_setting_is_replaced_as_a_whole() {
    let aws = LocalAws::start().await;
    let s3 = aws.s3();
    let name = bucket(&s3).await;
    for key in ["one", "two"] {
        s3.put_bucket_tagging().bucket(name).tagging(tagging(key)).send().await.unwrap();
        let rule = CorsRule::builder().allowed_methods("GET").allowed_origins(format!("http://{key}")).build().unwrap();
        let cors = CorsConfiguration::builder().cors_rules(rule).build().unwrap();
        s3.put_bucket_cors().bucket(name).cors_configuration(cors).send().await.unwrap();
    }
    let tags = s3.get_bucket_tagging().bucket(name).send().await.unwrap();
    assert_eq!(tags.tag_set().iter().map(Tag::key).collect::<Vec<_>>(), ["two"]);
    let cors = s3.get_bucket_cors().bucket(name).send().await.unwrap();
    assert_eq!(cors.cors_rules().iter().flat_map(CorsRule::allowed_origins).collect::<Vec<_>>(), ["http://two"]);
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

fn encoded(key: &str) -> String {
    percent_encoding::utf8_percent_encode(key, percent_encoding::NON_ALPHANUMERIC).to_string()
}

#[tokio::test]
async fn a_bucket_is_emptied_by_versions_and_then_deleted() {
    let aws = LocalAws::start().await;
    let s3 = aws.s3();
    let name = bucket(&s3).await;
    for key in ["é/1", "b", "c"] {
        s3.put_object().bucket(name).key(key).body(ByteStream::from_static(b"x")).send().await.unwrap();
    }
    let upload = s3.create_multipart_upload().bucket(name).key("half é").send().await.unwrap();
    assert_eq!(code(s3.delete_bucket().bucket(name).send().await), "BucketNotEmpty");

    let listed = s3.list_object_versions().bucket(name).send().await.unwrap();
    let doomed: Vec<_> = listed
        .versions()
        .iter()
        .map(|version| {
            assert_eq!(version.version_id(), Some("null"));
            ObjectIdentifier::builder().key(version.key().unwrap()).version_id("null").build().unwrap()
        })
        .collect();
    assert_eq!(doomed.len(), 3);
    let delete = Delete::builder().set_objects(Some(doomed)).quiet(true).build().unwrap();
    let deleted = s3.delete_objects().bucket(name).delete(delete).send().await.unwrap();
    assert!(deleted.errors().is_empty());
    assert!(s3.list_object_versions().bucket(name).send().await.unwrap().versions().is_empty());

    let uploads = s3.list_multipart_uploads().bucket(name).send().await.unwrap();
    assert_eq!(uploads.uploads()[0].key(), Some("half é"));
    let id = upload.upload_id().unwrap();
    s3.abort_multipart_upload().bucket(name).key("half é").upload_id(id).send().await.unwrap();
    s3.delete_bucket().bucket(name).send().await.unwrap();
    assert!(s3.list_buckets().send().await.unwrap().buckets().is_empty());
    let aws = aws.restarted().await;
    assert!(aws.s3().list_buckets().send().await.unwrap().buckets().is_empty());
    aws.stop().await;
}

#[tokio::test]
async fn the_parts_of_an_upload_become_one_object() {
    let aws = LocalAws::start().await;
    let s3 = aws.s3();
    let name = bucket(&s3).await;
    let upload = s3.create_multipart_upload().bucket(name).key("big é").send().await.unwrap();
    let id = upload.upload_id().unwrap();
    let mut parts = Vec::new();
    for number in 1..=2 {
        let body = ByteStream::from(vec![b'0' + number as u8; 5 << 20]);
        let part = s3.upload_part().bucket(name).key("big é").upload_id(id).part_number(number).body(body);
        let part = part.send().await.unwrap();
        parts.push(CompletedPart::builder().part_number(number).e_tag(part.e_tag().unwrap()).build());
    }
    let whole = CompletedMultipartUpload::builder().set_parts(Some(parts)).build();
    let done = s3.complete_multipart_upload().bucket(name).key("big é").upload_id(id);
    assert_eq!(done.multipart_upload(whole).send().await.unwrap().key(), Some("big é"));
    let got = s3.get_object().bucket(name).key("big é").send().await.unwrap();
    assert_eq!(got.body.collect().await.unwrap().into_bytes().len(), 10 << 20);
    aws.stop().await;
}

#[tokio::test]
async fn parts_are_verified_by_their_checksums_on_completion() {
    let aws = LocalAws::start().await;
    let s3 = aws.s3();
    let name = bucket(&s3).await;
    let begin = || s3.create_multipart_upload().bucket(name).key("k");
    let upload = begin().send().await.unwrap();
    let id = upload.upload_id().unwrap();
    let part = s3.upload_part().bucket(name).key("k").upload_id(id).part_number(1);
    let part = part.body(ByteStream::from_static(b"123456789")).send().await.unwrap();
    let tag = part.e_tag().unwrap().to_owned();
    let complete = |id: &str, part: CompletedPart| {
        let whole = CompletedMultipartUpload::builder().parts(part).build();
        s3.complete_multipart_upload().bucket(name).key("k").upload_id(id).multipart_upload(whole).send()
    };
    let known = || CompletedPart::builder().part_number(1).e_tag(&tag);
    // Of `123456789`, the CRC-32 is 0xcbf43926 and the CRC-32C 0xe3069283.
    let (crc32, crc32c) = ("y/Q5Jg==", "4waSgw==");
    for wrong in [
        known().checksum_crc32(crc32c),
        known().checksum_crc32("y/Q5"),
        known().checksum_crc32(crc32).checksum_crc32_c(crc32),
        known().checksum_sha256(crc32),
        known().checksum_crc32(crc32).e_tag("\"0\""),
    ] {
        assert_eq!(code(complete(id, wrong.build()).await), "InvalidPart");
    }
    assert_eq!(code(s3.head_object().bucket(name).key("k").send().await), "NotFound");
    complete(id, known().checksum_crc32(crc32).checksum_crc32_c(crc32c).build()).await.unwrap();

    let upload = begin().checksum_algorithm(ChecksumAlgorithm::Crc32C).send().await.unwrap();
    assert_eq!(upload.checksum_type(), Some(&ChecksumType::Composite));
    let id = upload.upload_id().unwrap();
    let part = s3.upload_part().bucket(name).key("k").upload_id(id).part_number(1);
    part.checksum_crc32_c(crc32c).body(ByteStream::from_static(b"123456789")).send().await.unwrap();
    let refused = complete(id, known().build()).await.unwrap_err();
    assert_eq!(refused.code(), Some("InvalidRequest"));
    assert!(refused.message().unwrap().ends_with("It was missing for part 1 in the request."), "{refused:?}");
    complete(id, known().checksum_crc32_c(crc32c).build()).await.unwrap();
    for (algorithm, kind) in
        [(ChecksumAlgorithm::Sha256, ChecksumType::FullObject), (ChecksumAlgorithm::Crc64Nvme, ChecksumType::Composite)]
    {
        let refused = begin().checksum_algorithm(algorithm).checksum_type(kind).send().await;
        assert_eq!(code(refused), "InvalidRequest");
    }
    aws.stop().await;
}

#[tokio::test]
async fn buckets_are_listed_by_prefix() {
    let aws = LocalAws::start().await;
    let s3 = aws.s3();
    for name in ["blog-a", "blog-b", "other"] {
        s3.create_bucket().bucket(name).send().await.unwrap();
    }
    let listed = s3.list_buckets().prefix("blog-").send().await.unwrap();
    let names: Vec<_> = listed.buckets().iter().filter_map(|bucket| bucket.name()).collect();
    assert_eq!(names, ["blog-a", "blog-b"]);
    aws.stop().await;
}

#[tokio::test]
async fn a_browser_uploads_and_reads_with_presigned_urls() {
    let aws = LocalAws::start().await;
    let s3 = aws.s3();
    let name = bucket(&s3).await;
    let rule = CorsRule::builder()
        .allowed_origins("http://page.example")
        .allowed_methods("PUT")
        .allowed_methods("GET")
        .allowed_headers("content-type")
        .expose_headers("ETag")
        .build()
        .unwrap();
    let cors = CorsConfiguration::builder().cors_rules(rule).build().unwrap();
    s3.put_bucket_cors().bucket(name).cors_configuration(cors).send().await.unwrap();

    let for_a_minute = PresigningConfig::expires_in(Duration::from_secs(60)).unwrap();
    let put = s3.put_object().bucket(name).key("ada/é +.jpg").content_type("image/jpeg");
    let put = put.presigned(for_a_minute.clone()).await.unwrap();
    let browser = reqwest::Client::new();
    let origin = ("origin", "http://page.example");

    let preflight = browser.request(reqwest::Method::OPTIONS, put.uri()).header(origin.0, origin.1);
    let preflight = preflight.header("access-control-request-method", "PUT");
    let preflight = preflight.header("access-control-request-headers", "content-type").send().await.unwrap();
    assert_eq!(preflight.status(), 200);
    assert_eq!(preflight.headers()["access-control-allow-headers"], "content-type");

    let sent = browser.put(put.uri()).header(origin.0, origin.1).header("content-type", "image/jpeg");
    let sent = sent.body("picture").send().await.unwrap();
    assert_eq!(sent.status(), 200, "{}", sent.text().await.unwrap());
    assert_eq!(sent.headers()["access-control-allow-origin"], "http://page.example");
    assert_eq!(sent.headers()["access-control-expose-headers"], "ETag");

    let get = s3.get_object().bucket(name).key("ada/é +.jpg").response_content_disposition("attachment");
    let get = get.presigned(for_a_minute).await.unwrap();
    let got = browser.get(get.uri()).send().await.unwrap();
    assert_eq!((got.status().as_u16(), &got.headers()["content-type"]), (200, &"image/jpeg".parse().unwrap()));
    assert_eq!(got.headers()["content-disposition"], "attachment");
    assert_eq!(got.text().await.unwrap(), "picture");

    let other = browser.put(put.uri()).header("content-type", "text/html").body("x").send().await.unwrap();
    assert_eq!(other.status(), 403);
    assert!(other.text().await.unwrap().contains("SignatureDoesNotMatch"));
    let unsigned = browser.get(get.uri().split('?').next().unwrap()).send().await.unwrap();
    assert_eq!(unsigned.status(), 403);
    assert!(unsigned.text().await.unwrap().contains("AccessDenied"));
    aws.stop().await;
}

#[tokio::test]
async fn an_expired_url_is_refused() {
    let aws = LocalAws::start().await;
    let s3 = aws.s3();
    let name = bucket(&s3).await;
    let start = std::time::SystemTime::now() - Duration::from_secs(100);
    let config = PresigningConfig::builder().start_time(start).expires_in(Duration::from_secs(60));
    let get = s3.get_object().bucket(name).key("k").presigned(config.build().unwrap()).await.unwrap();
    let answer = reqwest::get(get.uri()).await.unwrap();
    assert_eq!(answer.status(), 403);
    assert!(answer.text().await.unwrap().contains("Request has expired"));
    aws.stop().await;
}

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
async fn an_upload_in_parts_goes_on_after_a_restart_and_is_checked_as_on_aws() {
    let aws = LocalAws::start().await;
    let name = bucket(&aws.s3()).await;
    let begun = aws.s3().create_multipart_upload().bucket(name).key("é").content_type("image/png").tagging("a=b");
    let begun = begun.send().await.unwrap();
    let id = begun.upload_id().unwrap();
    let sizes = [(1, 5 << 20), (3, 10), (7, 20)];
    let mut parts = Vec::new();
    for (number, size) in sizes {
        let part = aws.s3().upload_part().bucket(name).key("é").upload_id(id).part_number(number);
        let part = part.body(ByteStream::from(vec![b'x'; size])).send().await.unwrap();
        parts.push(CompletedPart::builder().part_number(number).e_tag(part.e_tag().unwrap()).build());
    }
    let aws = aws.restarted().await;
    let s3 = aws.s3();
    let listed = s3.list_parts().bucket(name).key("é").upload_id(id).max_parts(2).send().await.unwrap();
    assert_eq!((listed.parts().len(), listed.is_truncated()), (2, Some(true)));
    let complete = |parts: Vec<CompletedPart>| {
        let whole = CompletedMultipartUpload::builder().set_parts(Some(parts)).build();
        s3.complete_multipart_upload().bucket(name).key("é").upload_id(id).multipart_upload(whole).send()
    };
    assert_eq!(code(complete(parts.clone()).await), "EntityTooSmall");
    assert_eq!(code(complete(parts.iter().rev().cloned().collect()).await), "InvalidPartOrder");
    let unknown = CompletedPart::builder().part_number(2).e_tag("\"0\"").build();
    assert_eq!(code(complete(vec![unknown]).await), "InvalidPart");
    complete(vec![parts[0].clone(), parts[2].clone()]).await.unwrap();
    assert_eq!(code(complete(vec![parts[0].clone()]).await), "NoSuchUpload");

    let aws = aws.restarted().await;
    let s3 = aws.s3();
    let head = s3.head_object().bucket(name).key("é").send().await.unwrap();
    assert_eq!((head.content_length(), head.content_type()), (Some((5 << 20) + 20), Some("image/png")));
    assert!(head.e_tag().unwrap().ends_with("-2\""), "{:?}", head.e_tag());
    let tags = s3.get_object_tagging().bucket(name).key("é").send().await.unwrap();
    assert_eq!(tags.tag_set()[0].value(), "b");
    assert!(s3.list_multipart_uploads().bucket(name).send().await.unwrap().uploads().is_empty());
    aws.stop().await;
}

/// Unusual keys, each with whether XML can represent it.
fn odd_keys() -> Vec<(String, bool)> {
    let named = [" ", "\n", "\r\n\t", "\"'&<>", "+ %20%", "../x", "/", "//a/", "?versionId=null", "日本/écran.png"];
    let unnamed = ["\u{1}", "a\u{ffff}b.png", "\u{fffe}", "\u{7}/\u{1f}"];
    let long = ["é".repeat(512), vec!["a"; 512].join("/"), "x".repeat(1024)];
    let named = named.map(str::to_owned).into_iter().chain(long).map(|key| (key, true));
    named.chain(unnamed.map(|key| (key.to_owned(), false))).collect()
}

/// The `Content-MD5` of a body.
fn md5(body: &str) -> String {
    BASE64_STANDARD.encode(Md5::digest(body))
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

fn a_minute() -> PresigningConfig {
    PresigningConfig::expires_in(Duration::from_secs(60)).unwrap()
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

#[tokio::test]
async fn a_locked_version_cannot_be_deleted() {
    let aws = LocalAws::start().await;
    let s3 = aws.s3();
    let (name, key) = ("locked", "k");
    s3.create_bucket().bucket(name).object_lock_enabled_for_bucket(true).send().await.unwrap();
    let versioning = s3.get_bucket_versioning().bucket(name).send().await.unwrap();
    assert_eq!(versioning.status(), Some(&BucketVersioningStatus::Enabled));
    let off = VersioningConfiguration::builder().status(BucketVersioningStatus::Suspended).build();
    let suspended = s3.put_bucket_versioning().bucket(name).versioning_configuration(off).send().await;
    assert_eq!(code(suspended), "InvalidBucketState");

    let at = |days: u64| {
        aws_sdk_s3::primitives::DateTime::from(std::time::SystemTime::now() + Duration::from_secs(days * 86_400))
    };
    let put = s3.put_object().bucket(name).key(key).object_lock_mode(aws_sdk_s3::types::ObjectLockMode::Governance);
    let put = put.object_lock_retain_until_date(at(2)).send().await.unwrap();
    let id = put.version_id().unwrap().to_owned();
    let delete = || s3.delete_object().bucket(name).key(key).version_id(&id);
    let retain = |mode: ObjectLockRetentionMode, days: u64| {
        let retention = ObjectLockRetention::builder().mode(mode).retain_until_date(at(days)).build();
        s3.put_object_retention().bucket(name).key(key).version_id(&id).retention(retention)
    };
    assert_eq!(code(delete().send().await), "AccessDenied");
    let doomed = ObjectIdentifier::builder().key(key).version_id(&id).build().unwrap();
    let many = Delete::builder().objects(doomed).build().unwrap();
    let many = s3.delete_objects().bucket(name).delete(many).send().await.unwrap();
    assert_eq!(many.errors()[0].code(), Some("AccessDenied"));
    // A delete marker hides the object, and deletes nothing.
    let marker = s3.delete_object().bucket(name).key(key).send().await.unwrap();
    s3.delete_object().bucket(name).key(key).set_version_id(marker.version_id).send().await.unwrap();
    assert_eq!(code(retain(ObjectLockRetentionMode::Governance, 1).send().await), "AccessDenied");
    retain(ObjectLockRetentionMode::Governance, 3).send().await.unwrap();
    let bypass = retain(ObjectLockRetentionMode::Compliance, 4).bypass_governance_retention(true);
    bypass.send().await.unwrap();

    let aws = aws.restarted().await;
    let s3 = aws.s3();
    let delete = || s3.delete_object().bucket(name).key(key).version_id(&id);
    assert_eq!(code(delete().bypass_governance_retention(true).send().await), "AccessDenied");
    let shorter =
        ObjectLockRetention::builder().mode(ObjectLockRetentionMode::Compliance).retain_until_date(at(3)).build();
    let shorter = s3.put_object_retention().bucket(name).key(key).retention(shorter).bypass_governance_retention(true);
    assert_eq!(code(shorter.send().await), "AccessDenied");
    let head = s3.head_object().bucket(name).key(key).send().await.unwrap();
    assert_eq!(head.object_lock_mode().map(|mode| mode.as_str()), Some("COMPLIANCE"));

    let held = s3.put_object().bucket(name).key("held").send().await.unwrap();
    for (status, expected) in
        [(ObjectLockLegalHoldStatus::On, Some("AccessDenied")), (ObjectLockLegalHoldStatus::Off, None)]
    {
        let hold = ObjectLockLegalHold::builder().status(status.clone()).build();
        s3.put_object_legal_hold().bucket(name).key("held").legal_hold(hold).send().await.unwrap();
        let hold = s3.get_object_legal_hold().bucket(name).key("held").send().await.unwrap();
        assert_eq!(hold.legal_hold().unwrap().status(), Some(&status));
        let deleted = s3.delete_object().bucket(name).key("held").set_version_id(held.version_id.clone()).send().await;
        assert_eq!(deleted.err().and_then(|fault| fault.code().map(str::to_owned)).as_deref(), expected);
    }
    assert_eq!(code(s3.delete_bucket().bucket(name).send().await), "BucketNotEmpty");
    let plain = bucket(&s3).await;
    let hold = ObjectLockLegalHold::builder().status(ObjectLockLegalHoldStatus::On).build();
    s3.put_object().bucket(plain).key("k").send().await.unwrap();
    let refused = s3.put_object_legal_hold().bucket(plain).key("k").legal_hold(hold).send().await;
    assert_eq!(code(refused), "InvalidRequest");
    aws.stop().await;
}

#[tokio::test]
async fn uploads_in_parts_and_copies_keep_what_objects_have() {
    let aws = LocalAws::start().await;
    let s3 = aws.s3();
    let name = bucket(&s3).await;
    let begun = s3.create_multipart_upload().bucket(name).key("parts").cache_control("no-cache").content_type("a/b");
    let begun = begun.content_disposition("inline").metadata("author", "ada").tagging("a=b");
    let begun = begun.checksum_algorithm(ChecksumAlgorithm::Crc32).send().await.unwrap();
    let id = begun.upload_id().unwrap();
    let mut parts = Vec::new();
    for (number, size) in [(2, 5 << 20), (5, 10)] {
        let body = ByteStream::from(vec![b'0' + number as u8; size]);
        let part = s3.upload_part().bucket(name).key("parts").upload_id(id).part_number(number).body(body);
        let part = part.checksum_algorithm(ChecksumAlgorithm::Crc32).send().await.unwrap();
        let done = CompletedPart::builder().part_number(number).e_tag(part.e_tag().unwrap());
        parts.push(done.set_checksum_crc32(part.checksum_crc32).build());
    }
    let whole = CompletedMultipartUpload::builder().set_parts(Some(parts)).build();
    let done = s3.complete_multipart_upload().bucket(name).key("parts").upload_id(id).multipart_upload(whole);
    let done = done.send().await.unwrap();
    let sum = done.checksum_crc32().unwrap().to_owned();
    assert!(sum.ends_with("-2"), "{sum}");
    let head = s3.head_object().bucket(name).key("parts").checksum_mode(ChecksumMode::Enabled).send().await.unwrap();
    assert_eq!((head.cache_control(), head.content_disposition()), (Some("no-cache"), Some("inline")));
    assert_eq!((head.content_type(), head.metadata().unwrap()["author"].as_str()), (Some("a/b"), "ada"));
    assert_eq!((head.checksum_crc32(), head.checksum_type()), (Some(sum.as_str()), Some(&ChecksumType::Composite)));
    let part = s3.get_object().bucket(name).key("parts").part_number(5).send().await.unwrap();
    assert_eq!((part.content_range(), part.parts_count()), (Some("bytes 5242880-5242889/5242890"), Some(2)));
    assert_eq!(part.body.collect().await.unwrap().into_bytes(), "5555555555");
    let absent = s3.get_object().bucket(name).key("parts").part_number(3).send().await;
    assert_eq!(code(absent), "InvalidPartNumber");
    let attributes =
        s3.get_object_attributes().bucket(name).key("parts").object_attributes(ObjectAttributes::ObjectParts);
    let attributes = attributes.object_attributes(ObjectAttributes::ObjectSize).send().await.unwrap();
    let listed = attributes.object_parts().unwrap();
    assert_eq!((attributes.object_size(), listed.total_parts_count()), (Some(5_242_890), Some(2)));
    assert_eq!((listed.max_parts(), listed.is_truncated(), listed.parts().len()), (Some(1000), Some(false), 2));
    assert!(listed.parts().iter().all(|part| part.checksum_crc32().is_some()));

    // The checksum of the whole object is not computed from those of the parts, which are then only counted.
    let begun = s3.create_multipart_upload().bucket(name).key("counted").send().await.unwrap();
    let part = s3.upload_part().bucket(name).key("counted").upload_id(begun.upload_id().unwrap()).part_number(1);
    let part = part.body(ByteStream::from_static(b"1")).send().await.unwrap();
    let done = CompletedPart::builder().part_number(1).e_tag(part.e_tag().unwrap()).build();
    let whole = CompletedMultipartUpload::builder().parts(done).build();
    let complete = s3.complete_multipart_upload().bucket(name).key("counted").upload_id(begun.upload_id().unwrap());
    complete.multipart_upload(whole).send().await.unwrap();
    let attributes = s3.get_object_attributes().bucket(name).key("counted").max_parts(5);
    let attributes = attributes.object_attributes(ObjectAttributes::ObjectParts).send().await.unwrap();
    let counted = attributes.object_parts().unwrap();
    assert_eq!((counted.total_parts_count(), counted.max_parts(), counted.is_truncated()), (Some(1), None, None));
    assert!(counted.parts().is_empty());

    let copy = |key: &str| s3.copy_object().bucket(name).key(key).copy_source(format!("{name}/parts"));
    copy("copy").send().await.unwrap();
    let replaced = copy("replaced").metadata_directive(MetadataDirective::Replace).content_type("c/d");
    replaced.tagging_directive(TaggingDirective::Replace).tagging("c=d").send().await.unwrap();
    for (key, kind, cache, tag) in [("copy", "a/b", Some("no-cache"), "a"), ("replaced", "c/d", None, "c")] {
        let head = s3.head_object().bucket(name).key(key).send().await.unwrap();
        assert_eq!((head.content_type(), head.cache_control()), (Some(kind), cache), "{key}");
        let tags = s3.get_object_tagging().bucket(name).key(key).send().await.unwrap();
        assert_eq!(tags.tag_set()[0].key(), tag, "{key}");
    }
    assert_eq!(code(copy("parts").send().await), "InvalidRequest");
    let gone = s3.copy_object().bucket(name).key("x").copy_source(format!("{name}/none")).send().await;
    assert_eq!(code(gone), "NoSuchKey");
    aws.stop().await;
}

#[tokio::test]
async fn versions_are_listed_page_by_page_while_they_are_deleted() {
    let aws = LocalAws::start().await;
    let s3 = aws.s3();
    let name = bucket(&s3).await;
    let on = VersioningConfiguration::builder().status(BucketVersioningStatus::Enabled).build();
    s3.put_object().bucket(name).key("a").send().await.unwrap();
    s3.put_bucket_versioning().bucket(name).versioning_configuration(on).send().await.unwrap();
    for number in 0..9 {
        s3.put_object().bucket(name).key(["a", "b"][number % 2]).send().await.unwrap();
    }
    let (mut seen, mut key, mut version) = (0, None, None);
    loop {
        let page =
            s3.list_object_versions().bucket(name).max_keys(2).set_key_marker(key).set_version_id_marker(version);
        let page = page.send().await.unwrap();
        for one in page.versions() {
            seen += 1;
            let delete = s3.delete_object().bucket(name).set_key(one.key.clone());
            delete.set_version_id(one.version_id.clone()).send().await.unwrap();
        }
        (key, version) = (page.next_key_marker, page.next_version_id_marker);
        if key.is_none() {
            break;
        }
    }
    assert_eq!(seen, 10);
    for number in 0..5 {
        s3.create_multipart_upload().bucket(name).key(["a", "b"][number % 2]).send().await.unwrap();
    }
    let (mut seen, mut key, mut upload) = (0, None, None);
    loop {
        let page = s3.list_multipart_uploads().bucket(name).max_uploads(2).set_key_marker(key);
        let page = page.set_upload_id_marker(upload).send().await.unwrap();
        for one in page.uploads() {
            seen += 1;
            let abort = s3.abort_multipart_upload().bucket(name).set_key(one.key.clone());
            abort.set_upload_id(one.upload_id.clone()).send().await.unwrap();
        }
        (key, upload) = (page.next_key_marker, page.next_upload_id_marker);
        if key.is_none() {
            break;
        }
    }
    assert_eq!(seen, 5);
    s3.delete_bucket().bucket(name).send().await.unwrap();
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

#[tokio::test]
async fn a_notification_filter_is_returned_as_it_was_written() {
    use aws_sdk_s3::types::{
        Event, FilterRule, FilterRuleName, LambdaFunctionConfiguration, NotificationConfiguration,
    };
    use aws_sdk_s3::types::{NotificationConfigurationFilter, S3KeyFilter};
    let aws = LocalAws::start().await;
    let s3 = aws.s3();
    let name = bucket(&s3).await;
    let rule = |name: FilterRuleName, value: &str| FilterRule::builder().name(name).value(value).build();
    let empty = S3KeyFilter::builder()
        .filter_rules(rule(FilterRuleName::Prefix, ""))
        .filter_rules(rule(FilterRuleName::Suffix, ""));
    let blank = S3KeyFilter::builder().filter_rules(rule(FilterRuleName::Prefix, " "));
    for filter in [Some(empty.build()), Some(blank.build()), None] {
        let filter = filter.map(|key| NotificationConfigurationFilter::builder().key(key).build());
        let one = LambdaFunctionConfiguration::builder().id("one").events(Event::S3ObjectCreated).set_filter(filter);
        let one = one.lambda_function_arn("arn:aws:lambda:us-east-1:000000000000:function:f").build().unwrap();
        let wanted = NotificationConfiguration::builder().lambda_function_configurations(one.clone()).build();
        let put = s3.put_bucket_notification_configuration().bucket(name).notification_configuration(wanted);
        put.skip_destination_validation(true).send().await.unwrap();
        let found = s3.get_bucket_notification_configuration().bucket(name).send().await.unwrap();
        let found = &found.lambda_function_configurations()[0];
        let rules = |one: &LambdaFunctionConfiguration| {
            let key = one.filter().and_then(|filter| filter.key().cloned())?;
            // S3 returns these names capitalized.
            let rule = |rule: &FilterRule| {
                (rule.name().map(|name| name.as_str().to_lowercase()), rule.value().map(str::to_owned))
            };
            Some(key.filter_rules().iter().map(rule).collect::<Vec<_>>())
        };
        assert_eq!((rules(found), found.events(), found.id()), (rules(&one), one.events(), one.id()));
    }
    aws.stop().await;
}

fn hmac_sha1(text: &str) -> String {
    use base64::Engine;
    use hmac::Mac;
    let mut mac = hmac::Hmac::<sha1::Sha1>::new_from_slice(local::SECRET_KEY.as_bytes()).unwrap();
    mac.update(text.as_bytes());
    base64::prelude::BASE64_STANDARD.encode(mac.finalize().into_bytes())
}

fn in_an_hour() -> u64 {
    std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs() + 3600
}

#[tokio::test]
async fn a_presigned_url_of_signature_version_2_is_valid_for_its_request_only() {
    let aws = LocalAws::start().await;
    let s3 = aws.s3();
    let name = bucket(&s3).await;
    s3.put_object().bucket(name).key("a b").body(ByteStream::from_static(b"text")).send().await.unwrap();
    let address = |path: &str, expires: u64, signed: &str| {
        let signature = encoded(&hmac_sha1(signed));
        let key = local::ACCESS_KEY;
        format!("{}{path}AWSAccessKeyId={key}&Expires={expires}&Signature={signature}", aws.endpoint())
    };
    let end = in_an_hour();
    let signed = format!("GET\n\n\n{end}\n/{name}/a%20b");
    let good = address(&format!("/{name}/a%20b?"), end, &signed);
    let status = async |url: &str| {
        let answer = reqwest::get(url).await.unwrap();
        (answer.status().as_u16(), answer.text().await.unwrap())
    };
    assert_eq!(status(&good).await, (200, "text".to_owned()));
    let typed = format!("GET\n\n\n{end}\n/{name}/a%20b?response-content-type=a/b");
    let typed = address(&format!("/{name}/a%20b?response-content-type=a%2Fb&"), end, &typed);
    assert_eq!(reqwest::get(typed).await.unwrap().headers()["content-type"], "a/b");
    let old = format!("GET\n\n\n{}\n/{name}/a%20b", end - 7200);
    for (url, code, text) in [
        (address(&format!("/{name}/a%20b?"), end, "GET\n"), "SignatureDoesNotMatch", ""),
        (good.replace("/a%20b", "/ab"), "SignatureDoesNotMatch", ""),
        (good.replace(&format!("Expires={end}"), "Expires=9999999999"), "SignatureDoesNotMatch", ""),
        (address(&format!("/{name}/a%20b?"), end - 7200, &old), "AccessDenied", "Request has expired"),
        (good.replace("&Signature", "&Other"), "AccessDenied", "Query-string authentication requires"),
        (good.replace(local::ACCESS_KEY, "AKIASTRANGER"), "InvalidAccessKeyId", ""),
    ] {
        let (status, said) = status(&url).await;
        assert!(
            status == 403 && said.contains(&format!("<Code>{code}</Code>")) && said.contains(text),
            "{url}: {said}"
        );
    }
    aws.stop().await;
}

#[tokio::test]
async fn a_browser_uploads_with_a_form_as_its_policy_allows() {
    use base64::Engine;
    let aws = LocalAws::start().await;
    let s3 = aws.s3();
    let name = bucket(&s3).await;
    let policy = format!(
        "{{\"expiration\":\"2099-01-01T00:00:00Z\",\"conditions\":[{{\"bucket\":\"{name}\"}},[\"starts-with\",\"$key\",\"in/\"],[\"starts-with\",\"$Content-Type\",\"image/\"],{{\"x-amz-meta-by\":\"ada\"}},[\"starts-with\",\"$success_action_status\",\"\"],[\"content-length-range\",0,9]]}}"
    );
    let policy = base64::prelude::BASE64_STANDARD.encode(policy);
    let send = async |key: &str, status: &str, file: &str, signature: &str| {
        let fields = [
            ("key", key),
            ("AWSAccessKeyId", local::ACCESS_KEY),
            ("Content-Type", "image/png"),
            ("x-amz-meta-by", "ada"),
            ("success_action_status", status),
            ("policy", &policy),
            ("signature", signature),
        ];
        let mut body: String = fields
            .iter()
            .map(|(name, text)| format!("--x\r\nContent-Disposition: form-data; name=\"{name}\"\r\n\r\n{text}\r\n"))
            .collect();
        body += &format!(
            "--x\r\nContent-Disposition: form-data; name=\"file\"; filename=\"é.png\"\r\n\r\n{file}\r\n--x--\r\n"
        );
        let post = reqwest::Client::new().post(format!("{}/{name}", aws.endpoint()));
        let answer = post.header("content-type", "multipart/form-data; boundary=x").body(body).send().await.unwrap();
        (answer.status().as_u16(), answer.text().await.unwrap())
    };
    let signature = hmac_sha1(&policy);
    assert_eq!(send("in/${filename}", "", "picture", &signature).await, (204, String::new()));
    let (status, text) = send("in/2", "201", "picture", &signature).await;
    assert!(status == 201 && text.contains("<Key>in/2</Key>") && text.contains("<ETag>"), "{text}");
    let head = s3.get_object().bucket(name).key("in/é.png").send().await.unwrap();
    assert_eq!((head.content_type(), head.metadata().unwrap()["by"].as_str()), (Some("image/png"), "ada"));
    assert_eq!(head.body.collect().await.unwrap().into_bytes(), "picture");
    for (key, file, signature, expected) in [
        ("out/1", "picture", signature.as_str(), "Policy Condition failed"),
        ("in/3", "a large picture", &signature, "EntityTooLarge"),
        ("in/4", "picture", "bogus", "SignatureDoesNotMatch"),
    ] {
        let (status, text) = send(key, "", file, signature).await;
        assert!((400..500).contains(&status) && text.contains(expected), "{key}: {text}");
        assert_eq!(code(s3.head_object().bucket(name).key(key).send().await), "NotFound");
    }
    aws.stop().await;
}
