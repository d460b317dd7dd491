//! Rights to use KMS keys.

use aws_sdk_s3::primitives::ByteStream;
use aws_sdk_s3::types::{
    ServerSideEncryption, ServerSideEncryptionByDefault, ServerSideEncryptionConfiguration, ServerSideEncryptionRule,
};
use serde_json::json;
use testkit::clients;

use super::{TestRole, allow, refusal};

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
    let variables = aws_sdk_lambda::types::Environment::builder().variables("MODE", "1").build();
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
