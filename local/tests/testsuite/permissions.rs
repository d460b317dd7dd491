//! Permissions of roles: everything that is not allowed is denied.

mod compute;
mod keys;
mod objects;
mod policies;
mod resources;

use aws_config::SdkConfig;
use aws_sdk_s3::error::{ProvideErrorMetadata, SdkError};
use aws_sdk_s3::primitives::ByteStream;
use serde_json::{Value, json};
use testkit::{LocalAws, clients};

const TRUST: &str = r#"{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":{"AWS":"arn:aws:iam::000000000000:root","Service":["lambda.amazonaws.com","ec2.amazonaws.com"]},"Action":"sts:AssumeRole"}]}"#;

/// A local AWS with a role without permissions, and a session of it.
struct TestRole {
    aws: LocalAws,
    iam: aws_sdk_iam::Client,
    web: SdkConfig,
}

impl TestRole {
    async fn new() -> TestRole {
        let aws = LocalAws::start().await;
        let iam = aws_sdk_iam::Client::new(&aws.config);
        iam.create_role().role_name("web").assume_role_policy_document(TRUST).send().await.unwrap();
        let sts = aws_sdk_sts::Client::new(&aws.config);
        let taken = sts.assume_role().role_arn("arn:aws:iam::000000000000:role/web").role_session_name("me");
        let taken = taken.send().await.unwrap();
        let keys = taken.credentials().unwrap();
        let token = Some(keys.session_token().to_owned());
        let web = clients::config_of(&aws.endpoint(), keys.access_key_id(), keys.secret_access_key(), token).await;
        TestRole { aws, iam, web }
    }

    /// Replaces the role's permissions with these.
    async fn allow(&self, statements: Value) {
        let document = json!({ "Version": "2012-10-17", "Statement": statements }).to_string();
        let put = self.iam.put_role_policy().role_name("web").policy_name("uses").policy_document(document);
        put.send().await.unwrap();
    }

    fn s3(&self) -> aws_sdk_s3::Client {
        clients::s3(&self.web)
    }

    /// Creates a bucket with objects as the account's owner.
    async fn bucket(&self) {
        let s3 = self.aws.s3();
        s3.create_bucket().bucket("images").send().await.unwrap();
        for key in ["a/1", "a/2", "b/1"] {
            s3.put_object().bucket("images").key(key).body(ByteStream::from_static(b"x")).send().await.unwrap();
        }
    }
}

fn allow(actions: &[&str], resource: &str) -> Value {
    json!({ "Effect": "Allow", "Action": actions, "Resource": resource })
}

/// The code and message of an error.
fn refusal<T: std::fmt::Debug, E: ProvideErrorMetadata, R>(answer: Result<T, SdkError<E, R>>) -> (String, String) {
    let error = answer.expect_err("a refusal");
    (error.code().unwrap_or("none").to_owned(), error.message().unwrap_or_default().to_owned())
}

const ME: &str = "User: arn:aws:sts::000000000000:assumed-role/web/me is not authorized to perform:";
const POSTS: &str = "arn:aws:dynamodb:us-east-1:000000000000:table/posts";

fn picture() -> aws_sdk_rekognition::types::Image {
    let object = aws_sdk_rekognition::types::S3Object::builder().bucket("images").name("a/1").build();
    aws_sdk_rekognition::types::Image::builder().s3_object(object).build()
}
