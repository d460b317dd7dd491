//! Permissions of roles: everything that is not allowed is denied.

use aws_config::SdkConfig;
use aws_sdk_autoscaling::types::LaunchTemplateSpecification;
use aws_sdk_dynamodb::types::{
    AttributeDefinition, AttributeValue, BillingMode, KeySchemaElement, KeyType, ScalarAttributeType,
};
use aws_sdk_ec2::types::{
    LaunchTemplateIamInstanceProfileSpecificationRequest, LaunchTemplateTagSpecificationRequest,
    RequestLaunchTemplateData, ResourceType, Tag, TagSpecification,
};
use aws_sdk_s3::error::{ProvideErrorMetadata, SdkError};
use aws_sdk_s3::presigning::PresigningConfig;
use aws_sdk_s3::primitives::ByteStream;
use aws_sdk_s3::types::{
    Delete, ObjectIdentifier, ServerSideEncryption, ServerSideEncryptionByDefault, ServerSideEncryptionConfiguration,
    ServerSideEncryptionRule,
};
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

#[tokio::test]
async fn a_change_of_a_policy_is_in_force_with_the_next_call() {
    let test = TestRole::new().await;
    let owner = aws_sdk_dynamodb::Client::new(&test.aws.config);
    let user = AttributeDefinition::builder().attribute_name("user").attribute_type(ScalarAttributeType::S);
    let create = owner.create_table().table_name("posts").billing_mode(BillingMode::PayPerRequest);
    let key = KeySchemaElement::builder().attribute_name("user").key_type(KeyType::Hash).build().unwrap();
    create.attribute_definitions(user.build().unwrap()).key_schema(key).send().await.unwrap();
    let table = aws_sdk_dynamodb::Client::new(&test.web);
    let put = || table.put_item().table_name("posts").item("user", AttributeValue::S("ada".into())).send();

    let (code, message) = refusal(put().await);
    assert_eq!(code, "AccessDeniedException");
    let why = "because no identity-based policy allows the dynamodb:PutItem action";
    assert_eq!(message, format!("{ME} dynamodb:PutItem on resource: {POSTS} {why}"));
    clients::table_is_active(&owner, "posts").await;
    for _ in 0..3 {
        test.allow(allow(&["dynamodb:PutItem"], POSTS)).await;
        put().await.unwrap();
        test.allow(allow(&["dynamodb:GetItem"], POSTS)).await;
        assert_eq!(refusal(put().await).0, "AccessDeniedException");
    }
    let deny = json!({ "Effect": "Deny", "Action": "dynamodb:Put*", "Resource": "*" });
    test.allow(json!([allow(&["*"], "*"), deny])).await;
    let (_, message) = refusal(put().await);
    let why = "with an explicit deny in an identity-based policy";
    assert_eq!(message, format!("{ME} dynamodb:PutItem on resource: {POSTS} {why}"));
    let got = table.get_item().table_name("posts").key("user", AttributeValue::S("ada".into())).send().await;
    assert!(got.unwrap().item().is_some());
    test.iam.delete_role_policy().role_name("web").policy_name("uses").send().await.unwrap();
    assert_eq!(refusal(table.list_tables().send().await).0, "AccessDeniedException");
    test.aws.stop().await;
}

#[tokio::test]
async fn conditions_see_the_tags_of_security_groups_and_creating_one_with_tags_needs_two_actions() {
    let test = TestRole::new().await;
    let [owner, web] = [&test.aws.config, &test.web].map(aws_sdk_ec2::Client::new);
    let group = "arn:aws:ec2:us-east-1:000000000000:security-group/*";
    let create = |client: &aws_sdk_ec2::Client, name: &str, stack: &str| {
        let tags = TagSpecification::builder().resource_type(ResourceType::SecurityGroup);
        let tags = tags.tags(Tag::builder().key("stack").value(stack).build()).build();
        client.create_security_group().group_name(name).description("d").tag_specifications(tags).send()
    };
    let when = |action: &str, key: &str, value: &str| {
        let condition = json!({ "StringEquals": { key: value } });
        json!({ "Effect": "Allow", "Action": action, "Resource": group, "Condition": condition })
    };
    let new = when("ec2:CreateSecurityGroup", "aws:RequestTag/stack", "ours");
    let network = allow(&["ec2:CreateSecurityGroup"], "arn:aws:ec2:us-east-1:000000000000:vpc/*");
    test.allow(json!([new, network])).await;
    let (code, message) = refusal(create(&web, "a", "ours").await);
    assert_eq!(code, "UnauthorizedOperation");
    assert!(message.contains("is not authorized to perform: ec2:CreateTags on resource"), "{message}");

    let tag = when("ec2:CreateTags", "ec2:CreateAction", "CreateSecurityGroup");
    let delete = when("ec2:DeleteSecurityGroup", "aws:ResourceTag/stack", "ours");
    test.allow(json!([new, network, tag, delete])).await;
    let ours = create(&web, "a", "ours").await.unwrap().group_id.unwrap();
    let (_, message) = refusal(create(&web, "b", "theirs").await);
    assert!(message.contains("is not authorized to perform: ec2:CreateSecurityGroup"), "{message}");
    let theirs = create(&owner, "b", "theirs").await.unwrap().group_id.unwrap();
    assert_eq!(refusal(web.delete_security_group().group_id(theirs).send().await).0, "UnauthorizedOperation");
    web.delete_security_group().group_id(&ours).send().await.unwrap();

    let used = test.aws.control().get("permissions").await;
    let used: Vec<&str> = used["web"].as_array().unwrap().iter().filter_map(|pair| pair[0].as_str()).collect();
    for action in ["ec2:CreateSecurityGroup", "ec2:CreateTags", "ec2:DeleteSecurityGroup"] {
        assert!(used.contains(&action), "{used:?}");
    }
    test.aws.stop().await;
}

#[tokio::test]
async fn an_instance_profile_is_allowed_by_its_own_path() {
    let test = TestRole::new().await;
    let create = test.iam.create_instance_profile().instance_profile_name("fleet").path("/team/");
    create.send().await.unwrap();
    let iam = aws_sdk_iam::Client::new(&test.web);
    let get = || iam.get_instance_profile().instance_profile_name("FLEET").send();
    test.allow(allow(&["iam:GetInstanceProfile"], "arn:aws:iam::000000000000:instance-profile/FLEET")).await;
    let (code, message) = refusal(get().await);
    assert_eq!(code, "AccessDenied");
    assert!(message.contains("arn:aws:iam::000000000000:instance-profile/team/fleet"), "{message}");
    test.allow(allow(&["iam:GetInstanceProfile"], "arn:aws:iam::000000000000:instance-profile/team/fleet")).await;
    get().await.unwrap();
    test.aws.stop().await;
}

#[tokio::test]
async fn every_service_denies_with_its_own_code_and_get_caller_identity_is_always_allowed() {
    let test = TestRole::new().await;
    test.bucket().await;
    let web = &test.web;
    let refused = [
        refusal(test.s3().list_objects_v2().bucket("images").send().await),
        refusal(aws_sdk_iam::Client::new(web).list_roles().send().await),
        refusal(aws_sdk_ec2::Client::new(web).describe_vpcs().send().await),
        refusal(aws_sdk_autoscaling::Client::new(web).describe_auto_scaling_groups().send().await),
        refusal(aws_sdk_elasticloadbalancingv2::Client::new(web).describe_load_balancers().send().await),
        refusal(aws_sdk_dynamodb::Client::new(web).list_tables().send().await),
        refusal(aws_sdk_lambda::Client::new(web).list_functions().send().await),
        refusal(aws_sdk_cloudwatchlogs::Client::new(web).describe_log_groups().send().await),
        refusal(aws_sdk_rekognition::Client::new(web).detect_labels().image(picture()).send().await),
    ];
    for ((_, message), action) in refused.iter().zip([
        "s3:ListBucket",
        "iam:ListRoles",
        "ec2:DescribeVpcs",
        "autoscaling:DescribeAutoScalingGroups",
        "elasticloadbalancing:DescribeLoadBalancers",
        "dynamodb:ListTables",
        "lambda:ListFunctions",
        "logs:DescribeLogGroups",
        "rekognition:DetectLabels",
    ]) {
        assert!(message.contains(&format!("is not authorized to perform: {action} ")), "{action}: {message}");
    }
    let codes: Vec<&str> = refused.iter().map(|(code, _)| code.as_str()).collect();
    const DENIED: &str = "AccessDenied";
    const EXCEPTION: &str = "AccessDeniedException";
    let expected =
        [DENIED, DENIED, "UnauthorizedOperation", DENIED, DENIED, EXCEPTION, EXCEPTION, EXCEPTION, EXCEPTION];
    assert_eq!(codes, expected);
    for (code, message) in &refused {
        assert!(message.contains(ME) && message.contains("because no identity-based policy"), "{code}: {message}");
    }
    let who = aws_sdk_sts::Client::new(web).get_caller_identity().send().await.unwrap();
    assert_eq!(who.arn(), Some("arn:aws:sts::000000000000:assumed-role/web/me"));
    test.aws.stop().await;
}

fn picture() -> aws_sdk_rekognition::types::Image {
    let object = aws_sdk_rekognition::types::S3Object::builder().bucket("images").name("a/1").build();
    aws_sdk_rekognition::types::Image::builder().s3_object(object).build()
}

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
async fn a_bucket_policy_allows_and_denies_beside_the_policies_of_the_role() {
    let test = TestRole::new().await;
    test.bucket().await;
    let owner = test.aws.s3();
    let put = |statement: Value| {
        let policy = json!({ "Version": "2012-10-17", "Statement": statement }).to_string();
        owner.put_bucket_policy().bucket("images").policy(policy).send()
    };
    let says = |effect: &str, actions: &[&str], principal: Value| {
        json!({
            "Effect": effect, "Principal": principal, "Action": actions,
            "Resource": ["arn:aws:s3:::images", "arn:aws:s3:::images/*"],
        })
    };
    let web = || json!({ "AWS": "arn:aws:iam::000000000000:role/web" });
    let s3 = test.s3();
    let get = || s3.get_object().bucket("images").key("a/1").send();
    assert_eq!(refusal(get().await).0, "AccessDenied");
    put(says("Allow", &["s3:GetObject"], web())).await.unwrap();
    get().await.unwrap();
    test.allow(allow(&["s3:*"], "*")).await;
    put(says("Deny", &["s3:GetObject", "s3:DeleteObject"], json!("*"))).await.unwrap();
    let text = "s3:GetObject on resource: \"arn:aws:s3:::images/a/1\" with an explicit deny in a resource-based policy";
    assert_eq!(refusal(get().await), ("AccessDenied".into(), format!("{ME} {text}")));
    let key = ObjectIdentifier::builder().key("a/1").build().unwrap();
    let delete = Delete::builder().objects(key).build().unwrap();
    let answer = s3.delete_objects().bucket("images").delete(delete).send().await.unwrap();
    assert_eq!((answer.deleted().len(), answer.errors()[0].code()), (0, Some("AccessDenied")));
    s3.get_object_tagging().bucket("images").key("a/1").send().await.unwrap();
    owner.get_object().bucket("images").key("a/1").send().await.unwrap();

    for (policy, expected) in [
        (
            says("Allow", &["s3:GetObject"], json!({ "AWS": "arn:aws:iam::000000000000:role/nobody" })),
            "MalformedPolicy",
        ),
        (json!({ "Effect": "Allow", "Action": "s3:*", "Resource": "arn:aws:s3:::images" }), "MalformedPolicy"),
        (says("Allow", &["s3:GetObject"], json!("*")), "AccessDenied"),
    ] {
        assert_eq!(refusal(put(policy).await).0, expected);
    }

    // It is in force after a restart, until it is deleted.
    let aws = test.aws.restarted().await;
    let owner = aws.s3();
    let taken = aws_sdk_sts::Client::new(&aws.config).assume_role();
    let taken = taken.role_arn("arn:aws:iam::000000000000:role/web").role_session_name("me").send().await.unwrap();
    let keys = taken.credentials().unwrap();
    let token = Some(keys.session_token().to_owned());
    let web = clients::config_of(&aws.endpoint(), keys.access_key_id(), keys.secret_access_key(), token).await;
    let s3 = clients::s3(&web);
    let get = || s3.get_object().bucket("images").key("a/1").send();
    assert!(refusal(get().await).1.ends_with("with an explicit deny in a resource-based policy"));
    owner.delete_bucket_policy().bucket("images").send().await.unwrap();
    get().await.unwrap();
    aws.stop().await;
}

#[tokio::test]
async fn a_function_policy_allows_roles_beside_their_own_policies() {
    let test = TestRole::new().await;
    let owner = aws_sdk_lambda::Client::new(&test.aws.config);
    let mut zip = zip::ZipWriter::new(std::io::Cursor::new(Vec::new()));
    zip.start_file("bootstrap", zip::write::SimpleFileOptions::default().unix_permissions(0o755)).unwrap();
    let zip = zip.finish().unwrap().into_inner();
    let code = aws_sdk_lambda::types::FunctionCode::builder().zip_file(zip.into()).build();
    let role = "arn:aws:iam::000000000000:role/web";
    let create = owner.create_function().function_name("f").runtime("provided.al2023".into()).handler("bootstrap");
    create.role(role).code(code).send().await.unwrap();
    clients::function_is_active(&owner, "f").await;
    let web = aws_sdk_lambda::Client::new(&test.web);
    let invoke =
        |client: &aws_sdk_lambda::Client| client.invoke().function_name("f").invocation_type("DryRun".into()).send();
    let add = |id: &str, action: &str, principal: &str| {
        owner.add_permission().function_name("f").statement_id(id).action(action).principal(principal).send()
    };
    let (code, message) = refusal(invoke(&web).await);
    let function = "arn:aws:lambda:us-east-1:000000000000:function:f";
    let why = "because no identity-based policy allows the lambda:InvokeFunction action";
    assert_eq!(code, "AccessDeniedException");
    assert_eq!(message, format!("{ME} lambda:InvokeFunction on resource: {function} {why}"));

    // Grants to the account alone, to a service, or on behalf of a bucket do not apply to the role.
    add("account", "lambda:InvokeFunction", "000000000000").await.unwrap();
    add("s3", "lambda:InvokeFunction", "s3.amazonaws.com").await.unwrap();
    let of_bucket = owner.add_permission().function_name("f").statement_id("of").action("lambda:InvokeFunction");
    of_bucket.principal("*").source_arn("arn:aws:s3:::images").send().await.unwrap();
    assert_eq!(refusal(invoke(&web).await).0, "AccessDeniedException");
    add("web", "lambda:InvokeFunction", role).await.unwrap();
    invoke(&web).await.unwrap();
    let shown = || web.get_function_configuration().function_name("f").send();
    assert_eq!(refusal(shown().await).0, "AccessDeniedException", "the grant is for another action");
    let deny = json!({ "Effect": "Deny", "Action": "lambda:InvokeFunction", "Resource": "*" });
    test.allow(json!([allow(&["lambda:GetFunctionConfiguration"], function), deny])).await;
    shown().await.unwrap();
    assert!(refusal(invoke(&web).await).1.ends_with("with an explicit deny in an identity-based policy"));
    test.iam.delete_role_policy().role_name("web").policy_name("uses").send().await.unwrap();
    invoke(&web).await.unwrap();

    let (code, message) = refusal(add("missing", "lambda:InvokeFunction", &role.replace("web", "missing")).await);
    assert_eq!(code, "InvalidParameterValueException");
    assert_eq!(message, "The provided principal was invalid. Please check the principal and try again.");

    // It is in force after a restart, until it is removed.
    let aws = test.aws.restarted().await;
    let owner = aws_sdk_lambda::Client::new(&aws.config);
    let taken = aws_sdk_sts::Client::new(&aws.config).assume_role().role_arn(role).role_session_name("me");
    let taken = taken.send().await.unwrap();
    let keys = taken.credentials().unwrap();
    let token = Some(keys.session_token().to_owned());
    let web = clients::config_of(&aws.endpoint(), keys.access_key_id(), keys.secret_access_key(), token).await;
    let web = aws_sdk_lambda::Client::new(&web);
    invoke(&web).await.unwrap();
    owner.remove_permission().function_name("f").statement_id("web").send().await.unwrap();
    assert_eq!(refusal(invoke(&web).await).0, "AccessDeniedException");
    aws.stop().await;
}

#[tokio::test]
async fn policies_are_attached_and_detached_and_their_conditions_apply() {
    let test = TestRole::new().await;
    test.bucket().await;
    let s3 = test.s3();
    let list = |prefix: &str| s3.list_objects_v2().bucket("images").prefix(prefix).send();
    let condition = json!({ "StringLike": { "s3:prefix": "a/*" } });
    let mut below_a = allow(&["s3:ListBucket"], "arn:aws:s3:::images");
    below_a["Condition"] = condition;
    test.allow(below_a).await;
    assert_eq!(list("a/").await.unwrap().key_count(), Some(2));
    assert_eq!(refusal(list("b/").await).0, "AccessDenied");

    let document = json!({ "Version": "2012-10-17", "Statement": [allow(&["s3:*"], "*")] }).to_string();
    let made = test.iam.create_policy().policy_name("all-of-s3").policy_document(document).send().await.unwrap();
    let own = made.policy().unwrap().arn().unwrap().to_owned();
    for arn in [own.as_str(), "arn:aws:iam::aws:policy/AmazonS3ReadOnlyAccess"] {
        test.iam.attach_role_policy().role_name("web").policy_arn(arn).send().await.unwrap();
        assert_eq!(list("b/").await.unwrap().key_count(), Some(1), "{arn}");
        test.iam.detach_role_policy().role_name("web").policy_arn(arn).send().await.unwrap();
        assert_eq!(refusal(list("b/").await).0, "AccessDenied", "{arn}");
    }
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

#[tokio::test]
async fn with_iam_lag_a_new_role_is_known_to_lambda_a_moment_later() {
    let test = TestRole::new().await;
    let control = reqwest::Client::new().put(format!("{}/_local/chaos", test.aws.endpoint()));
    control.json(&json!({ "kinds": ["iam-lag"], "seed": 4 })).send().await.unwrap().error_for_status().unwrap();
    let made = test.iam.create_role().role_name("late").assume_role_policy_document(TRUST).send().await.unwrap();
    let role = made.role().unwrap().arn().to_owned();
    assert!(test.iam.get_role().role_name("late").send().await.is_ok(), "IAM itself finds a new role at once");
    let lambda = aws_sdk_lambda::Client::new(&test.aws.config);
    let broken = aws_sdk_lambda::types::FunctionCode::builder().zip_file(b"no zip".to_vec().into()).build();
    let create = lambda.create_function().function_name("f").runtime("provided.al2023".into()).handler("bootstrap");
    let create = create.role(&role).code(broken);
    let mut refusals = Vec::new();
    loop {
        let (code, message) = refusal(create.clone().send().await);
        assert_eq!(code, "InvalidParameterValueException");
        // The role is checked first: once it has propagated, the error is about the code.
        if !message.contains("role") {
            break;
        }
        refusals.push(message);
    }
    assert!(refusals.iter().all(|message| message == "The role defined for the function cannot be assumed by Lambda."));
    test.aws.stop().await;
}

#[tokio::test]
async fn foreign_host_names_are_refused_and_the_state_directory_is_private() {
    use std::os::unix::fs::PermissionsExt;
    let aws = LocalAws::start().await;
    assert!(aws.cloud.address().ip().is_loopback());
    let get = |host: &str| reqwest::Client::new().get(aws.endpoint()).header("host", host).send();
    let refused = get("rebound.example.org").await.unwrap();
    assert_eq!(refused.status(), 403);
    assert!(refused.text().await.unwrap().contains("rebound.example.org"));
    let page = reqwest::Client::new().get(format!("{}/_local/status", aws.endpoint()));
    assert_eq!(page.header("host", "rebound.example.org").send().await.unwrap().status(), 403);
    let mode = |aws: &LocalAws| std::fs::metadata(aws.dir.path()).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&aws), 0o700);
    std::fs::set_permissions(aws.dir.path(), std::fs::Permissions::from_mode(0o755)).unwrap();
    let aws = aws.restarted().await;
    assert_eq!(mode(&aws), 0o700);
    aws.stop().await;
}

/// Auto Scaling tries a launch with the permissions of its caller (docs/aws.md §10.1).
#[tokio::test]
async fn a_group_with_a_template_needs_all_that_a_launch_needs() {
    let test = TestRole::new().await;
    let ec2 = aws_sdk_ec2::Client::new(&test.aws.config);
    test.iam.create_role().role_name("runs").assume_role_policy_document(TRUST).send().await.unwrap();
    test.iam.create_instance_profile().instance_profile_name("runs").send().await.unwrap();
    test.iam.add_role_to_instance_profile().instance_profile_name("runs").role_name("runs").send().await.unwrap();
    let images = ec2.describe_images().owners("amazon").send().await.unwrap();
    let image = images.images()[0].image_id().unwrap().to_owned();
    let subnets = ec2.describe_subnets().send().await.unwrap();
    let subnet = subnets.subnets()[0].subnet_id().unwrap().to_owned();
    let group = ec2.create_security_group().group_name("web").description("d").send().await.unwrap();
    let group = group.group_id().unwrap().to_owned();
    let tags = LaunchTemplateTagSpecificationRequest::builder().resource_type(ResourceType::Instance);
    let data = RequestLaunchTemplateData::builder().image_id(&image).instance_type("t3.micro".into());
    let data = data
        .security_group_ids(&group)
        .tag_specifications(tags.tags(Tag::builder().key("stack").value("ours").build()).build());
    let profile = LaunchTemplateIamInstanceProfileSpecificationRequest::builder().name("runs").build();
    let template = ec2.create_launch_template().launch_template_name("web");
    let template = template.launch_template_data(data.iam_instance_profile(profile).build()).send().await.unwrap();
    let template = template.launch_template().unwrap().launch_template_id().unwrap().to_owned();

    let arn = |kind: &str, id: &str| format!("arn:aws:ec2:us-east-1:000000000000:{kind}/{id}");
    let run = |resource: &str| allow(&["ec2:RunInstances"], resource);
    let when = |action: &str, resource: &str, key: &str, value: &str| {
        let condition = json!({ "StringEquals": { key: value } });
        json!({ "Effect": "Allow", "Action": action, "Resource": resource, "Condition": condition })
    };
    let role = "arn:aws:iam::000000000000:role/runs";
    let (image, subnet_arn) = (format!("arn:aws:ec2:us-east-1::image/{image}"), arn("subnet", &subnet));
    let (template_arn, group) = (arn("launch-template", &template), arn("security-group", &group));
    let made = ["instance", "network-interface", "volume"].map(|kind| arn(kind, "*"));
    let mut needed: Vec<(&str, &str, Value)> = vec![
        ("iam:PassRole", role, when("iam:PassRole", role, "iam:PassedToService", "ec2.amazonaws.com")),
        ("ec2:CreateTags", &made[0], when("ec2:CreateTags", &made[0], "ec2:CreateAction", "RunInstances")),
    ];
    let used = [&image, &subnet_arn, &template_arn, &group].into_iter().chain(&made);
    needed.extend(used.map(|resource| ("ec2:RunInstances", resource.as_str(), run(resource))));
    let own = allow(&["autoscaling:*"], "*");
    let statements = |but: Option<usize>| {
        let kept = needed.iter().enumerate().filter(|(at, _)| Some(*at) != but).map(|(_, (.., one))| one.clone());
        Value::Array(kept.chain([own.clone()]).collect())
    };

    let scaling = aws_sdk_autoscaling::Client::new(&test.web);
    let specification = LaunchTemplateSpecification::builder().launch_template_id(&template).build();
    let create = || {
        let call = scaling.create_auto_scaling_group().auto_scaling_group_name("web").min_size(0).max_size(0);
        call.vpc_zone_identifier(&subnet).launch_template(specification.clone()).send()
    };
    let refresh = || scaling.start_instance_refresh().auto_scaling_group_name("web").send();
    for (at, (action, resource, _)) in needed.iter().enumerate() {
        test.allow(statements(Some(at))).await;
        let (_, message) = refusal(create().await);
        assert!(message.contains(&format!("{action} on resource: {resource} ")), "{action} {resource}: {message}");
    }
    test.allow(statements(None)).await;
    create().await.unwrap();

    // Without a template in the call nothing is tried, except before a refresh.
    test.allow(own.clone()).await;
    let update = scaling.update_auto_scaling_group().auto_scaling_group_name("web").max_size(1);
    update.clone().send().await.unwrap();
    assert!(refusal(update.launch_template(specification.clone()).send().await).1.contains("ec2:RunInstances"));
    assert!(refusal(refresh().await).1.contains("ec2:RunInstances"));
    test.allow(statements(None)).await;
    refresh().await.unwrap();
    test.aws.stop().await;
}

#[tokio::test]
async fn the_policy_simulator_says_what_the_policies_of_a_role_allow() {
    let role = TestRole::new().await;
    role.allow(json!([
        { "Effect": "Allow", "Action": ["s3:Get*", "iam:SimulatePrincipalPolicy"], "Resource": "*" },
        {
            "Effect": "Allow", "Action": "ec2:CreateVpc", "Resource": "*",
            "Condition": { "StringEquals": { "aws:RequestTag/owner": "ada" } },
        },
        { "Effect": "Deny", "Action": "s3:GetBucketPolicy", "Resource": "*" },
    ]))
    .await;
    let iam = aws_sdk_iam::Client::new(&role.web);
    let arn = "arn:aws:iam::000000000000:role/web";
    let actions = ["s3:GetObject", "s3:GetBucketPolicy", "s3:PutObject", "ec2:CreateVpc"];
    let simulate = || iam.simulate_principal_policy().set_action_names(Some(actions.map(str::to_owned).into()));
    let ask = simulate().policy_source_arn(arn).max_items(1).into_paginator().items().send();
    let results = ask.try_collect().await.unwrap();
    let shown: Vec<String> = results
        .iter()
        .map(|it| {
            let missing = it.missing_context_values().join(" ");
            format!("{} {} {missing}", it.eval_action_name(), it.eval_decision().as_str())
        })
        .collect();
    assert_eq!(
        shown,
        [
            "s3:GetObject allowed ",
            "s3:GetBucketPolicy explicitDeny ",
            "s3:PutObject implicitDeny ",
            "ec2:CreateVpc implicitDeny aws:requesttag/owner",
        ]
    );
    let owner = aws_sdk_iam::types::ContextEntry::builder().context_key_name("aws:RequestTag/owner");
    let owner = owner.context_key_type(aws_sdk_iam::types::ContextKeyTypeEnum::String).context_key_values("ada");
    let of_owner = iam.simulate_principal_policy().policy_source_arn(arn).action_names("ec2:CreateVpc");
    let of_owner = of_owner.context_entries(owner.build()).send().await.unwrap();
    assert_eq!(of_owner.evaluation_results()[0].eval_decision().as_str(), "allowed");

    // A session is no principal with policies; others do not exist, or may not be asked about.
    let code = async |arn: &str| {
        let refused = simulate().policy_source_arn(arn).send().await.unwrap_err();
        refused.code().unwrap_or_default().to_owned()
    };
    assert_eq!(code("arn:aws:sts::000000000000:assumed-role/web/me").await, "InvalidInput");
    assert_eq!(code("arn:aws:iam::000000000000:role/other").await, "NoSuchEntity");
    assert_eq!(code("arn:aws:iam::000000000000:role/path/web").await, "NoSuchEntity");
    role.allow(json!([{ "Effect": "Allow", "Action": "s3:*", "Resource": "*" }])).await;
    assert_eq!(code(arn).await, "AccessDenied");
    role.aws.stop().await;
}

#[tokio::test]
async fn objects_under_a_key_need_the_rights_to_use_it_by_way_of_s3() {
    let test = TestRole::new().await;
    test.bucket().await;
    let (owner, web) = (test.aws.s3(), test.s3());
    let by = ServerSideEncryptionByDefault::builder().sse_algorithm(ServerSideEncryption::AwsKms);
    let by = by.kms_master_key_id("alias/app").build().unwrap();
    let rule = ServerSideEncryptionRule::builder().apply_server_side_encryption_by_default(by).build();
    let rules = ServerSideEncryptionConfiguration::builder().rules(rule).build().unwrap();
    let call = owner.put_bucket_encryption().bucket("images");
    call.server_side_encryption_configuration(rules).send().await.unwrap();
    let put = async || {
        let call = web.put_object().bucket("images").key("k").body(ByteStream::from_static(b"x"));
        call.send().await.map(drop)
    };
    let get = async || web.get_object().bucket("images").key("k").send().await.map(drop);
    let objects = allow(&["s3:PutObject", "s3:GetObject", "s3:ListBucket"], "*");
    test.allow(json!([objects])).await;
    let (code, text) = refusal(put().await);
    assert!(code == "AccessDenied" && text.contains("kms:GenerateDataKey"), "{code}: {text}");
    // By way of another service, or with another alias, is not enough.
    let using = |service: &str, alias: &str| {
        json!({
            "Effect": "Allow",
            "Action": ["kms:GenerateDataKey"],
            "Resource": "arn:aws:kms:us-east-1:000000000000:key/*",
            "Condition": {
                "StringEquals": { "kms:ViaService": format!("{service}.us-east-1.amazonaws.com") },
                "ForAnyValue:StringEquals": { "kms:ResourceAliases": alias },
            },
        })
    };
    for wrong in [using("dynamodb", "alias/app"), using("s3", "alias/other")] {
        test.allow(json!([objects, wrong])).await;
        assert_eq!(refusal(put().await).0, "AccessDenied", "{wrong}");
    }
    test.allow(json!([objects, using("s3", "alias/app")])).await;
    put().await.unwrap();
    let (code, text) = refusal(get().await);
    assert!(code == "AccessDenied" && text.contains("kms:Decrypt"), "{code}: {text}");
    test.allow(json!([objects, allow(&["kms:Decrypt"], "*")])).await;
    get().await.unwrap();
    // An object from before needs no key.
    test.allow(json!([objects])).await;
    web.get_object().bucket("images").key("a/1").send().await.unwrap();
}

#[tokio::test]
async fn the_environment_of_a_function_is_hidden_from_callers_without_its_key() {
    let key = "arn:aws:kms:us-east-1:000000000000:key/12345678-1234-1234-1234-123456789012";
    let test = TestRole::new().await;
    let owner = aws_sdk_lambda::Client::new(&test.aws.config);
    let variables = aws_sdk_lambda::types::Environment::builder().variables("A", "1").build();
    let mut zip = zip::ZipWriter::new(std::io::Cursor::new(Vec::new()));
    zip.start_file("bootstrap", zip::write::SimpleFileOptions::default().unix_permissions(0o755)).unwrap();
    let zip = zip.finish().unwrap().into_inner();
    let code = aws_sdk_lambda::types::FunctionCode::builder().zip_file(zip.into()).build();
    let create = owner.create_function().function_name("f").runtime("provided.al2023".into()).handler("bootstrap");
    let create = create.role("arn:aws:iam::000000000000:role/web").code(code);
    create.environment(variables).kms_key_arn(key).send().await.unwrap();
    clients::function_is_active(&owner, "f").await;
    let web = aws_sdk_lambda::Client::new(&test.web);
    let read = async || {
        let function = web.get_function_configuration().function_name("f").send().await.unwrap();
        assert_eq!(function.kms_key_arn(), Some(key));
        let environment = function.environment.unwrap();
        (environment.variables.is_some(), environment.error.and_then(|error| error.error_code))
    };
    let function = allow(&["lambda:GetFunctionConfiguration"], "*");
    test.allow(json!([function])).await;
    assert_eq!(read().await, (false, Some("AccessDeniedException".to_owned())));
    test.allow(json!([function, allow(&["kms:Decrypt"], key)])).await;
    assert_eq!(read().await, (true, None));
}
