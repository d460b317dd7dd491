//! Requests of browsers: presigned URLs and forms.

use std::time::Duration;

use aws_sdk_s3::presigning::PresigningConfig;
use aws_sdk_s3::primitives::ByteStream;
use aws_sdk_s3::types::{CorsConfiguration, CorsRule};
use base64::prelude::{BASE64_STANDARD, Engine as _};
use testkit::LocalAws;
use testkit::clients::code;

use super::support::{a_minute, bucket, encoded};

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

    let for_a_minute = a_minute();
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

fn hmac_sha1(text: &str) -> String {
    use hmac::Mac;
    let mut mac = hmac::Hmac::<sha1::Sha1>::new_from_slice(local::SECRET_KEY.as_bytes()).unwrap();
    mac.update(text.as_bytes());
    BASE64_STANDARD.encode(mac.finalize().into_bytes())
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
    let aws = LocalAws::start().await;
    let s3 = aws.s3();
    let name = bucket(&s3).await;
    let policy = format!(
        "{{\"expiration\":\"2099-01-01T00:00:00Z\",\"conditions\":[{{\"bucket\":\"{name}\"}},[\"starts-with\",\"$key\",\"in/\"],[\"starts-with\",\"$Content-Type\",\"image/\"],{{\"x-amz-meta-by\":\"ada\"}},[\"starts-with\",\"$success_action_status\",\"\"],[\"content-length-range\",0,9]]}}"
    );
    let policy = BASE64_STANDARD.encode(policy);
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
