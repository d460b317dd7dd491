//! Buckets: their creation, their names, and their end.

use aws_sdk_s3::error::ProvideErrorMetadata;
use aws_sdk_s3::primitives::ByteStream;
use aws_sdk_s3::types::{
    BucketLocationConstraint, BucketNamespace, CreateBucketConfiguration, Delete, ObjectIdentifier,
    ServerSideEncryption, ServerSideEncryptionByDefault, ServerSideEncryptionConfiguration, ServerSideEncryptionRule,
    Tag,
};
use testkit::clients::code;
use testkit::{LocalAws, clients};

use super::support::{bucket, tagging};

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
async fn names_of_the_regional_namespace_need_its_header_and_their_form() {
    let aws = LocalAws::start().await;
    let s3 = aws.s3();
    let create = async |name: &str, namespace: Option<BucketNamespace>| {
        s3.create_bucket().bucket(name).set_bucket_namespace(namespace).send().await.map(drop)
    };
    let own = "photos-000000000000-us-east-1-an";
    assert_eq!(code(create(own, None).await), "InvalidBucketName");
    assert_eq!(code(create(own, Some(BucketNamespace::Global)).await), "InvalidBucketName");
    for other in ["photos", "photos-000000000000-eu-west-3-an", "photos-111111111111-us-east-1-an"] {
        assert_eq!(code(create(other, Some(BucketNamespace::AccountRegional)).await), "InvalidBucketName", "{other}");
    }
    create(own, Some(BucketNamespace::AccountRegional)).await.unwrap();
    s3.put_object().bucket(own).key("k").send().await.unwrap();
    create("photos", Some(BucketNamespace::Global)).await.unwrap();
    aws.stop().await;
}

#[tokio::test]
async fn objects_are_encrypted_with_the_default_key_of_their_bucket() {
    let aws = LocalAws::start().await;
    let s3 = aws.s3();
    let name = bucket(&s3).await;
    let encrypt = async |key: Option<&str>| {
        let by = ServerSideEncryptionByDefault::builder().sse_algorithm(ServerSideEncryption::AwsKms);
        let by = by.set_kms_master_key_id(key.map(str::to_owned)).build().unwrap();
        let rule = ServerSideEncryptionRule::builder().apply_server_side_encryption_by_default(by);
        let rules = ServerSideEncryptionConfiguration::builder().rules(rule.bucket_key_enabled(true).build());
        let call = s3.put_bucket_encryption().bucket(name);
        call.server_side_encryption_configuration(rules.build().unwrap()).send().await.unwrap();
    };
    let put = async || s3.put_object().bucket(name).key("k").body(ByteStream::from_static(b"x")).send().await;
    s3.put_object().bucket(name).key("before").send().await.unwrap();
    encrypt(Some("alias/app")).await;
    let made = put().await.unwrap();
    assert_eq!(made.server_side_encryption(), Some(&ServerSideEncryption::AwsKms));
    let key = made.ssekms_key_id().unwrap();
    assert!(key.starts_with("arn:aws:kms:us-east-1:000000000000:key/") && made.bucket_key_enabled() == Some(true));
    let read = s3.get_object().bucket(name).key("k").send().await.unwrap();
    assert_eq!((read.ssekms_key_id(), read.e_tag()), (Some(key), made.e_tag()));
    assert_ne!(read.e_tag(), Some("\"9dd4e461268c8034f5c8564e155c67a6\""), "it is not the MD5");
    let before = s3.head_object().bucket(name).key("before").send().await.unwrap();
    assert_eq!(before.server_side_encryption(), Some(&ServerSideEncryption::Aes256));
    let plain = s3.put_object().bucket(name).key("p").server_side_encryption(ServerSideEncryption::Aes256);
    assert_eq!(plain.send().await.unwrap().server_side_encryption(), Some(&ServerSideEncryption::Aes256));
    // Whether a key exists shows when it is used.
    for absent in ["app", "alias/absent", "arn:aws:kms:eu-west-3:000000000000:alias/app"] {
        encrypt(Some(absent)).await;
        assert_eq!(code(put().await), "KMS.NotFoundException", "{absent}");
    }
    encrypt(None).await;
    put().await.unwrap();
    aws.stop().await;
}

#[tokio::test]
async fn missing_things_have_the_error_codes_of_aws() {
    let aws = LocalAws::start().await;
    let s3 = aws.s3();
    let name = bucket(&s3).await;
    assert_eq!(code(s3.get_bucket_tagging().bucket(name).send().await), "NoSuchTagSet");
    assert_eq!(code(s3.get_bucket_cors().bucket(name).send().await), "NoSuchCORSConfiguration");
    assert_eq!(code(s3.get_bucket_tagging().bucket("missing").send().await), "NoSuchBucket");
    assert_eq!(code(s3.put_object().bucket("missing").key("k").send().await), "NoSuchBucket");
    assert_eq!(code(s3.get_object().bucket(name).key("k").send().await), "NoSuchKey");
    assert!(s3.head_bucket().bucket("missing").send().await.unwrap_err().into_service_error().is_not_found());
    assert!(s3.head_object().bucket(name).key("k").send().await.unwrap_err().into_service_error().is_not_found());
    let inventory = s3.get_bucket_inventory_configuration().bucket(name).id("weekly").send().await;
    assert_eq!(code(inventory), "NoSuchConfiguration");
    let metrics = s3.list_bucket_metrics_configurations().bucket(name).send().await.unwrap();
    assert!(metrics.metrics_configuration_list().is_empty() && metrics.is_truncated() == Some(false));
    assert!(s3.list_bucket_inventory_configurations().bucket("missing").send().await.is_err());
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
