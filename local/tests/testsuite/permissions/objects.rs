//! Permissions for objects.

use aws_sdk_s3::presigning::PresigningConfig;
use aws_sdk_s3::types::{Delete, ObjectIdentifier};
use serde_json::json;

use super::{TestRole, allow, picture, refusal};

#[tokio::test]
async fn without_list_permission_a_missing_object_is_access_denied() {
    let test = TestRole::new().await;
    test.bucket().await;
    let s3 = test.s3();
    let get = |key: &str| s3.get_object().bucket("images").key(key).send();
    let head = async |key: &str| match s3.head_object().bucket("images").key(key).send().await {
        Ok(_) => 200,
        Err(error) => error.raw_response().unwrap().status().as_u16(),
    };
    let read = allow(&["s3:GetObject"], "arn:aws:s3:::images/*");
    test.allow(read.clone()).await;
    assert!(get("a/1").await.is_ok());
    let (code, message) = refusal(get("nothing").await);
    assert_eq!(code, "AccessDenied");
    assert!(message.contains("perform: s3:ListBucket on resource: \"arn:aws:s3:::images\""), "{message}");
    assert_eq!((head("a/1").await, head("nothing").await), (200, 403));
    test.allow(json!([read, allow(&["s3:ListBucket"], "arn:aws:s3:::images")])).await;
    assert_eq!(refusal(get("nothing").await).0, "NoSuchKey");
    assert_eq!(head("nothing").await, 404);
    test.allow(allow(&["s3:ListBucket"], "arn:aws:s3:::images")).await;
    assert_eq!((head("a/1").await, head("nothing").await), (403, 403));
    test.aws.stop().await;
}

#[tokio::test]
async fn a_presigned_url_has_the_permissions_its_signer_has_when_it_is_used() {
    let test = TestRole::new().await;
    test.bucket().await;
    let signing = PresigningConfig::expires_in(std::time::Duration::from_secs(60)).unwrap();
    let get = test.s3().get_object().bucket("images").key("a/1").presigned(signing.clone()).await.unwrap();
    let put = test.s3().put_object().bucket("images").key("a/3").presigned(signing).await.unwrap();
    let client = reqwest::Client::new();
    let download = async || client.get(get.uri()).send().await.unwrap();
    let upload = async || client.put(put.uri()).body("new").send().await.unwrap().status().as_u16();
    let refused = download().await;
    assert_eq!(refused.status(), 403);
    let text = refused.text().await.unwrap();
    assert!(text.contains("<Code>AccessDenied</Code>") && text.contains("s3:GetObject"), "{text}");
    test.allow(allow(&["s3:GetObject"], "arn:aws:s3:::images/a/*")).await;
    assert_eq!((download().await.status().as_u16(), upload().await), (200, 403));
    test.allow(allow(&["s3:PutObject"], "arn:aws:s3:::images/a/*")).await;
    assert_eq!((download().await.status().as_u16(), upload().await), (403, 200));
    test.aws.stop().await;
}

#[tokio::test]
async fn each_object_of_a_call_is_authorized_by_itself() {
    let test = TestRole::new().await;
    test.bucket().await;
    let s3 = test.s3();
    let copy = || s3.copy_object().bucket("images").key("b/2").copy_source("images/a/1").send();
    test.allow(allow(&["s3:PutObject"], "arn:aws:s3:::images/*")).await;
    let (_, message) = refusal(copy().await);
    assert!(message.contains("s3:GetObject on resource: \"arn:aws:s3:::images/a/1\""), "{message}");
    test.allow(allow(&["s3:PutObject", "s3:GetObject", "s3:DeleteObject"], "arn:aws:s3:::images/*")).await;
    copy().await.unwrap();

    test.allow(allow(&["s3:DeleteObject"], "arn:aws:s3:::images/a/*")).await;
    let key = |key: &str| ObjectIdentifier::builder().key(key).build().unwrap();
    let delete = |keys: &[&str]| {
        let keys = keys.iter().map(|it| key(it)).collect();
        let delete = Delete::builder().set_objects(Some(keys)).build().unwrap();
        s3.delete_objects().bucket("images").delete(delete).send()
    };
    let answer = delete(&["a/1", "b/1"]).await.unwrap();
    assert_eq!(answer.deleted()[0].key(), Some("a/1"));
    assert_eq!((answer.errors()[0].key(), answer.errors()[0].code()), (Some("b/1"), Some("AccessDenied")));
    let answer = delete(&["b/1", "b/2"]).await.unwrap();
    assert_eq!((answer.deleted().len(), answer.errors().len()), (0, 2));
    let left = test.aws.s3().list_objects_v2().bucket("images").send().await.unwrap();
    assert_eq!(left.contents().iter().filter_map(|object| object.key()).collect::<Vec<_>>(), ["a/2", "b/1", "b/2"]);
    test.aws.stop().await;
}

#[tokio::test]
async fn rekognition_reads_pictures_with_the_permissions_of_its_caller() {
    let test = TestRole::new().await;
    test.bucket().await;
    let mut png = std::io::Cursor::new(Vec::new());
    image::RgbImage::from_pixel(8, 8, image::Rgb([9, 9, 200])).write_to(&mut png, image::ImageFormat::Png).unwrap();
    let put = test.aws.s3().put_object().bucket("images").key("a/1").body(png.into_inner().into());
    put.send().await.unwrap();
    let rekognition = aws_sdk_rekognition::Client::new(&test.web);
    let look = || rekognition.detect_labels().image(picture()).send();
    let detect = allow(&["rekognition:DetectLabels"], "*");
    test.allow(detect.clone()).await;
    assert_eq!(refusal(look().await).0, "InvalidS3ObjectException");
    test.allow(json!([detect, allow(&["s3:GetObject"], "arn:aws:s3:::images/*")])).await;
    assert!(!look().await.unwrap().labels().is_empty());
    let journal = test.aws.control().journal().await;
    let denials = journal.iter().filter_map(|call| call["denied"].as_str());
    assert_eq!(
        denials.filter(|denial| denial.contains("s3:GetObject")).count(),
        1,
        "the journal has the denial that the answer omits"
    );
    test.aws.stop().await;
}
