//! Buckets: taken names, and what keeps one from being deleted.

use testkit::proxy::InjectedFault;

use crate::support::cloud::connect;
use crate::support::hands::Hands;
use crate::support::inventory::Inventory;
use crate::support::scene::{Phase, Scene};

#[tokio::test(flavor = "multi_thread")]
pub async fn an_object_that_cannot_be_deleted_is_named_and_the_bucket_stays() {
    let scene = Scene::local().await;
    scene.prepare(Phase::Down).await;
    let refused = "<DeleteResult><Error><Key>a + b%/é</Key><Code>AccessDenied</Code>\
                   <Message>Access Denied</Message></Error></DeleteResult>";
    scene.proxy.inject(["DeleteObjects"], InjectedFault::Answered(refused.into()), usize::MAX);
    let said = scene.run(Phase::Down.arguments()).await;
    assert_eq!(said.code, 1, "{}", said.all());
    assert!(said.stderr.contains("a + b%/é") && said.stderr.contains("AccessDenied"), "{}", said.stderr);
    scene.proxy.reset();
    scene.done(Phase::Down).await;
    assert_eq!(scene.inventory().await, Inventory::new());
    scene.end().await;
}

#[tokio::test(flavor = "multi_thread")]
pub async fn a_bucket_name_taken_by_another_account_is_never_ours_and_never_absent() {
    let scene = Scene::local().await;
    let forbidden = InjectedFault::refused(403, "AccessDenied", "Access Denied");
    scene.proxy.inject(["GetBucketTagging", "HeadBucket"], forbidden, usize::MAX);
    let said = scene.run(Phase::Up.arguments()).await;
    assert_eq!(said.code, 1, "{}", said.all());
    assert!(said.stderr.contains("AccessDenied") && said.stderr.contains("bucket."), "{}", said.stderr);
    assert_eq!(scene.proxy.mutating(), Vec::<String>::new(), "nothing was changed");
    scene.end().await;
}

/// End to end: another account owns the name, in this region or in another one.
#[tokio::test(flavor = "multi_thread")]
pub async fn a_bucket_of_a_stranger_is_never_ours_and_never_absent() {
    let scene = Scene::local().await;
    let theirs = format!("{}/_local/strangers/postagram-images-000000000000-us-east-1", scene.endpoint());
    for (region, why) in [("us-east-1", "belongs to another account"), ("eu-west-1", "exists in another region")] {
        let stranger = serde_json::json!({ "region": region }).to_string();
        let put = reqwest::Client::new().put(&theirs).body(stranger).send().await.expect("the cloud answers");
        assert!(put.status().is_success());
        for arguments in [Phase::Up.arguments(), Phase::Down.arguments()] {
            let said = scene.run(arguments).await;
            assert_eq!(said.code, 1, "{}", said.all());
            for wanted in ["bucket.images", why, "stack.yaml:"] {
                assert!(said.stderr.contains(wanted), "{wanted:?} is missing: {}", said.stderr);
            }
        }
        assert_eq!(scene.proxy.mutating(), Vec::<String>::new(), "nothing was changed");
    }
    scene.end().await;
}

/// `down` empties a bucket of everything that a bucket can contain.
#[tokio::test(flavor = "multi_thread")]
pub async fn versions_markers_and_unfinished_uploads_are_deleted_with_their_bucket() {
    let scene = Scene::local().await;
    scene.done(Phase::Up).await;
    let aws = connect(&scene.endpoint(), scene.keys).await;
    Hands::of(&aws).fill_bucket(&["a + b%/é", "line\nbreak", "plain", "a\u{ffff}b", "\u{1}/b"]).await;
    put_blank_keys(&aws).await;
    scene.proxy.reset();
    scene.done(Phase::Down).await;
    for operation in ["DeleteObjects#1", "DeleteObject#1", "AbortMultipartUpload#2"] {
        assert!(scene.proxy.calls().iter().any(|call| call == operation), "{operation}: {:?}", scene.proxy.calls());
    }
    assert_eq!(scene.inventory().await, Inventory::new());
    scene.end().await;
}

/// Puts objects whose keys are only blanks. The SDK does not send such keys, so they are inserted into the URLs of its
/// requests.
async fn put_blank_keys(aws: &deployer::cloud::aws::Aws) {
    for key in ["%20", "%0A", "%0B", "%20%09"] {
        let put = aws.s3.put_object().bucket("postagram-images-000000000000-us-east-1").key("~key~").customize();
        let put = put.mutate_request(move |request| {
            request.set_uri(request.uri().replacen("~key~", key, 1)).expect("it is an address");
        });
        put.send().await.expect("a blank key is a key");
    }
}
