//! Policies of buckets and functions, beside those of roles.

use aws_sdk_s3::types::{Delete, ObjectIdentifier};
use serde_json::{Value, json};
use testkit::clients;

use super::{ME, TestRole, allow, refusal};

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
            says("Allow", &["s3:GetObject"], json!({ "AWS": "arn:aws:iam::000000000000:role/missing" })),
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
