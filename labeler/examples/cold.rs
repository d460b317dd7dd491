//! Measures the function's cold start and its use of resources on the local AWS:
//!
//! ```sh
//! cargo build --release --bin labeler
//! cargo run --release --example cold
//! ```
//!
//! It measures the program built beside this one, or the one that `LABELER` names.

use std::io::{Cursor, Write};
use std::path::PathBuf;

use anyhow::{Context, Result, bail, ensure};
use aws_config::{BehaviorVersion, Region, SdkConfig};
use aws_credential_types::Credentials;
use aws_sdk_dynamodb::types::{
    AttributeDefinition, AttributeValue, BillingMode, KeySchemaElement, KeyType, ScalarAttributeType,
};
use aws_sdk_lambda::primitives::Blob;
use aws_sdk_lambda::types::{Environment, FunctionCode, LogType, Runtime};
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use local::{ACCESS_KEY, Cloud, Options, SECRET_KEY};
use serde_json::json;

const ROUNDS: usize = 20;
const BUCKET: &str = "images";
const TABLE: &str = "posts";
const FUNCTION: &str = "labeler";
const TRUST: &str = r#"{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":{"Service":"lambda.amazonaws.com"},"Action":"sts:AssumeRole"}]}"#;

/// Lambda's report of a call.
struct Report {
    init_ms: f64,
    call_ms: f64,
    memory_mb: f64,
}

#[tokio::main]
async fn main() -> Result<()> {
    let program = std::fs::read(program()?)?;
    let zip = zipped(&program)?;
    let dir = tempfile::tempdir()?;
    let options = Options { dir: dir.path().to_owned(), port: 0, region: "us-east-1".to_owned() };
    let cloud = Cloud::start(options).await?;
    let clients = Clients::new(&cloud.endpoint()).await;
    let reports = clients.rounds(&zip).await;
    cloud.stop().await;
    let reports = reports?;
    let mib = |bytes: usize| bytes as f64 / f64::from(1 << 20);
    println!("| | | target |\n|---|---|---|");
    println!("| init duration, median of {ROUNDS} cold starts | {:.1} ms | 30 ms |", median(&reports, |it| it.init_ms));
    println!("| first picture, from event to labels | {:.1} ms | |", median(&reports, |it| it.call_ms));
    println!("| most memory used | {:.0} MB | 40 MB |", median(&reports, |it| it.memory_mb));
    println!("| zip | {:.2} MiB | 5 MB |\n| program | {:.2} MiB | |", mib(zip.len()), mib(program.len()));
    Ok(())
}

struct Clients {
    s3: aws_sdk_s3::Client,
    dynamodb: aws_sdk_dynamodb::Client,
    lambda: aws_sdk_lambda::Client,
    iam: aws_sdk_iam::Client,
}

impl Clients {
    async fn new(endpoint: &str) -> Self {
        let config = config(endpoint).await;
        let s3 = aws_sdk_s3::config::Builder::from(&config).force_path_style(true).build();
        Self {
            s3: aws_sdk_s3::Client::from_conf(s3),
            dynamodb: aws_sdk_dynamodb::Client::new(&config),
            lambda: aws_sdk_lambda::Client::new(&config),
            iam: aws_sdk_iam::Client::new(&config),
        }
    }

    async fn rounds(&self, zip: &[u8]) -> Result<Vec<Report>> {
        self.make(zip).await?;
        let mut reports = Vec::new();
        for round in 0..ROUNDS {
            // Another environment needs another process, so that the next call is a cold start.
            let environment = environment(round);
            self.lambda.update_function_configuration().function_name(FUNCTION).environment(environment).send().await?;
            reports.push(self.label(round).await?);
        }
        Ok(reports)
    }

    async fn make(&self, zip: &[u8]) -> Result<()> {
        self.s3.create_bucket().bucket(BUCKET).send().await?;
        let mut table = self.dynamodb.create_table().table_name(TABLE).billing_mode(BillingMode::PayPerRequest);
        for (name, kind) in [("user", KeyType::Hash), ("id", KeyType::Range)] {
            let attribute = AttributeDefinition::builder().attribute_name(name);
            table = table.attribute_definitions(attribute.attribute_type(ScalarAttributeType::S).build()?);
            table = table.key_schema(KeySchemaElement::builder().attribute_name(name).key_type(kind).build()?);
        }
        table.send().await?;
        let role = self.iam.create_role().role_name(FUNCTION).assume_role_policy_document(TRUST).send().await?;
        let role = role.role.context("the role was not made")?.arn;
        let code = FunctionCode::builder().zip_file(Blob::new(zip)).build();
        let create = self.lambda.create_function().function_name(FUNCTION).runtime(Runtime::Providedal2023);
        create.handler("bootstrap").role(role).memory_size(256).timeout(30).code(code).send().await?;
        Ok(())
    }

    /// Uploads a picture to a new post, sends its event, and checks that the labels are there.
    async fn label(&self, round: usize) -> Result<Report> {
        let post = format!("018f2f6e-0000-7000-8000-{round:012x}");
        let key = format!("ada/{post}/5b1f7c1e-0000-4000-8000-000000000001sea.jpg");
        let row = [("user", "USER#ada".to_owned()), ("id", format!("POST#{post}"))];
        let row = || row.clone().map(|(name, value)| (name.to_owned(), AttributeValue::S(value))).into();
        self.dynamodb.put_item().table_name(TABLE).set_item(Some(row())).send().await?;
        self.s3.put_object().bucket(BUCKET).key(&key).body(picture()?.into()).send().await?;
        let event = json!({ "Records": [{
            "eventName": "ObjectCreated:Put",
            "eventTime": "2026-11-23T12:00:00.000Z",
            "s3": { "bucket": { "name": BUCKET }, "object": { "key": key, "size": 1000 } },
        }] });
        let call = self.lambda.invoke().function_name(FUNCTION).log_type(LogType::Tail);
        let answer = call.payload(Blob::new(event.to_string())).send().await?;
        let tail = String::from_utf8(BASE64_STANDARD.decode(answer.log_result().context("no log came")?)?)?;
        ensure!(answer.function_error().is_none(), "the function failed: {tail}");
        let labelled =
            self.dynamodb.get_item().table_name(TABLE).set_key(Some(row())).consistent_read(true).send().await?;
        ensure!(labelled.item.is_some_and(|row| row.contains_key("labels")), "there are no labels: {tail}");
        report(&tail).with_context(|| format!("there is no cold start in {tail}"))
    }
}

/// `REPORT RequestId: … Duration: 3.21 ms … Max Memory Used: 17 MB Init Duration: 9.87 ms`.
fn report(tail: &str) -> Option<Report> {
    let line = tail.lines().rev().find(|line| line.starts_with("REPORT "))?;
    let number = |name| {
        let value = line.split('\t').find_map(|part| part.strip_prefix(name))?;
        value.split_whitespace().next()?.parse().ok()
    };
    Some(Report {
        init_ms: number("Init Duration: ")?,
        call_ms: number("Duration: ")?,
        memory_mb: number("Max Memory Used: ")?,
    })
}

fn environment(round: usize) -> Environment {
    let variables = [("BUCKET", BUCKET), ("DYNAMO_TABLE", TABLE), ("ROUND", &round.to_string())];
    variables.into_iter().fold(Environment::builder(), |all, (name, value)| all.variables(name, value)).build()
}

async fn config(endpoint: &str) -> SdkConfig {
    aws_config::defaults(BehaviorVersion::latest())
        .region(Region::new("us-east-1"))
        .endpoint_url(endpoint)
        .credentials_provider(Credentials::new(ACCESS_KEY, SECRET_KEY, None, None, "cold"))
        .load()
        .await
}

/// A small picture: the time for large ones is Rekognition's, not the function's.
fn picture() -> Result<Vec<u8>> {
    let mut bytes = Cursor::new(Vec::new());
    image::RgbImage::from_pixel(64, 48, image::Rgb([40, 90, 200])).write_to(&mut bytes, image::ImageFormat::Jpeg)?;
    Ok(bytes.into_inner())
}

/// Zipped as by the deployer.
fn zipped(program: &[u8]) -> Result<Vec<u8>> {
    let mut writer = zip::ZipWriter::new(Cursor::new(Vec::new()));
    let options = zip::write::SimpleFileOptions::default().unix_permissions(0o755).compression_level(Some(2));
    writer.start_file("bootstrap", options)?;
    writer.write_all(program)?;
    Ok(writer.finish()?.into_inner())
}

fn program() -> Result<PathBuf> {
    if let Some(named) = std::env::var_os("LABELER") {
        return Ok(named.into());
    }
    let beside = std::env::current_exe()?;
    let program = beside.ancestors().nth(2).context("the build folder")?.join("labeler");
    if !program.is_file() {
        bail!("{} is not there: cargo build --release --bin labeler", program.display());
    }
    Ok(program)
}

fn median(reports: &[Report], of: impl Fn(&Report) -> f64) -> f64 {
    let mut values: Vec<f64> = reports.iter().map(of).collect();
    values.sort_unstable_by(f64::total_cmp);
    values[values.len() / 2]
}
