//! What was acknowledged is there after `kill -9`, whatever was going on; and what cannot be kept is not acknowledged.

#[path = "support/client.rs"]
mod client;
#[path = "support/process.rs"]
mod process;

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use aws_config::SdkConfig;
use aws_sdk_cloudwatchlogs::types::InputLogEvent;
use aws_sdk_dynamodb::types::{
    AttributeDefinition, AttributeValue, BillingMode, KeySchemaElement, KeyType, ScalarAttributeType,
};
use aws_sdk_lambda::types::{FunctionCode, InvocationType, Runtime, State};
use aws_sdk_s3::primitives::{Blob, ByteStream};
use client::config_at;
use fastrand::Rng;
use local::{Cloud, Options};
use process::Server;

/// What must not be lost, each kept in a way of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Kind {
    Item,
    /// An item that counts: no write may be lost, and none may count twice.
    Counter,
    Object,
    ObjectTag,
    Part,
    LogLine,
    RolePolicy,
    InstanceTag,
}

const KINDS: [Kind; 8] = [
    Kind::Item,
    Kind::Counter,
    Kind::Object,
    Kind::ObjectTag,
    Kind::Part,
    Kind::LogLine,
    Kind::RolePolicy,
    Kind::InstanceTag,
];
/// Writers at the same time, each with names of its own, so that it knows what they hold.
const WRITERS: usize = 4;
const NAMES: usize = 3;
const BUCKET: &str = "kept";

type Fault = Box<dyn std::error::Error + Send + Sync>;

/// What a name must hold: the last acknowledged value, or that of the write that was under way.
#[derive(Debug, Clone, Default)]
struct Known {
    acknowledged: Option<String>,
    under_way: Option<Option<String>>,
}

type Model = BTreeMap<(Kind, String), Known>;

#[tokio::test(flavor = "multi_thread")]
async fn every_acknowledged_write_survives_a_kill_at_any_moment() {
    for seed in [1, 2] {
        let dir = tempfile::tempdir().unwrap();
        let mut random = Rng::with_seed(seed);
        let mut models = vec![Model::new(); WRITERS];
        let server = Server::start(dir.path());
        let upload = prepare(&server.config().await).await;
        server.kill();
        for round in 0..5 {
            let server = Server::start(dir.path());
            let world = Clients::new(&server.config().await, &upload);
            compare(&world, &mut models, &format!("seed {seed}, round {round}")).await;
            models = write_and_kill(server, &world, models, &mut random).await;
        }
        let server = Server::start(dir.path());
        let world = Clients::new(&server.config().await, &upload);
        compare(&world, &mut models, &format!("seed {seed}, at the end")).await;
        server.stop();
    }
}

/// Everything holds what was acknowledged last, or what was just being written.
async fn compare(world: &Clients, models: &mut [Model], when: &str) {
    for ((kind, name), known) in models.iter_mut().flatten() {
        let found = world.read(*kind, name).await.unwrap();
        let possible = [Some(known.acknowledged.clone()), known.under_way.clone()];
        let held = possible.into_iter().flatten().find(|value| shown(*kind, value.as_deref()) == found);
        let Some(held) = held else {
            panic!("{when}: {kind:?} {name} holds {found:.60?} instead of {known:.60?}");
        };
        *known = Known { acknowledged: held, under_way: None };
    }
}

/// Lets everybody write, and kills the server in the middle of it.
async fn write_and_kill(server: Server, world: &Clients, models: Vec<Model>, random: &mut Rng) -> Vec<Model> {
    let end = Arc::new(AtomicBool::new(false));
    let acknowledged = Arc::new(AtomicUsize::new(0));
    let mut writers = Vec::new();
    for (number, model) in models.into_iter().enumerate() {
        let (world, end, acknowledged) = (world.clone(), end.clone(), acknowledged.clone());
        let writer = Writer { world, number, random: random.fork(), end, acknowledged };
        writers.push(tokio::spawn(writer.write_until_the_end(model)));
    }
    // By count rather than by time: a busy machine only takes longer.
    let enough = random.usize(20..150);
    while acknowledged.load(Ordering::SeqCst) < enough {
        assert!(!writers.iter().any(|writer| writer.is_finished()), "a writer has given up");
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    end.store(true, Ordering::SeqCst);
    server.kill();
    let mut models = Vec::new();
    for writer in writers {
        models.push(writer.await.unwrap());
    }
    models
}

/// Somebody who writes this and that.
struct Writer {
    world: Clients,
    number: usize,
    random: Rng,
    /// Whether the server is being killed.
    end: Arc<AtomicBool>,
    acknowledged: Arc<AtomicUsize>,
}

impl Writer {
    /// Goes on until a write is not acknowledged, which only the end of the server may cause.
    async fn write_until_the_end(mut self, mut model: Model) -> Model {
        loop {
            let kind = *self.random.choice(&KINDS).unwrap();
            let name = format!("writer-{}-{}", self.number, self.random.usize(..NAMES));
            let known = model.entry((kind, name.clone())).or_default();
            let value = new_value(kind, known.acknowledged.as_deref(), &mut self.random);
            match self.world.write(kind, &name, value.as_deref()).await {
                Ok(()) => {
                    known.acknowledged = value;
                    self.acknowledged.fetch_add(1, Ordering::SeqCst);
                }
                Err(fault) => {
                    assert!(self.end.load(Ordering::SeqCst), "{kind:?} {name} was refused: {fault:?}");
                    known.under_way = Some(value);
                    return model;
                }
            }
        }
    }
}

fn new_value(kind: Kind, old: Option<&str>, random: &mut Rng) -> Option<String> {
    let text = |random: &mut Rng, most: usize| {
        let length = random.usize(1..most);
        std::iter::repeat_with(|| random.alphanumeric()).take(length).collect::<String>()
    };
    match kind {
        Kind::Counter => Some((old.map_or(0, |old| old.parse::<u64>().unwrap()) + 1).to_string()),
        Kind::Item | Kind::Object | Kind::RolePolicy | Kind::InstanceTag if random.u8(..4) == 0 => None,
        // Enough to fill the log of items again and again.
        Kind::Item => Some(text(random, 60_000)),
        Kind::Object | Kind::Part => Some(text(random, 200_000)),
        _ => Some(text(random, 100)),
    }
}

/// A client of each service, and the upload whose parts are written.
#[derive(Clone)]
struct Clients {
    dynamodb: aws_sdk_dynamodb::Client,
    s3: aws_sdk_s3::Client,
    logs: aws_sdk_cloudwatchlogs::Client,
    iam: aws_sdk_iam::Client,
    ec2: aws_sdk_ec2::Client,
    upload: String,
}

const TRUST: &str = r#"{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":{"Service":"lambda.amazonaws.com"},"Action":"sts:AssumeRole"}]}"#;

/// Makes what the writers write to. Returns the id of an upload.
async fn prepare(config: &SdkConfig) -> String {
    let world = Clients::new(config, "");
    table(&world.dynamodb).await;
    world.s3.create_bucket().bucket(BUCKET).send().await.unwrap();
    world.logs.create_log_group().log_group_name("kept").send().await.unwrap();
    world.iam.create_role().role_name("kept").assume_role_policy_document(TRUST).send().await.unwrap();
    for number in 0..WRITERS {
        for name in 0..NAMES {
            let name = format!("writer-{number}-{name}");
            world.logs.create_log_stream().log_group_name("kept").log_stream_name(&name).send().await.unwrap();
            world.s3.put_object().bucket(BUCKET).key(format!("tagged/{name}")).send().await.unwrap();
        }
    }
    let upload = world.s3.create_multipart_upload().bucket(BUCKET).key("parts").send().await.unwrap();
    upload.upload_id().unwrap().to_owned()
}

async fn table(dynamodb: &aws_sdk_dynamodb::Client) {
    let key = KeySchemaElement::builder().attribute_name("name").key_type(KeyType::Hash).build().unwrap();
    let name = AttributeDefinition::builder().attribute_name("name").attribute_type(ScalarAttributeType::S);
    let create = dynamodb.create_table().table_name("kept").billing_mode(BillingMode::PayPerRequest);
    create.key_schema(key).attribute_definitions(name.build().unwrap()).send().await.unwrap();
    client::table_is_active(dynamodb, "kept").await;
}

fn part_number(name: &str) -> i32 {
    name.bytes().filter(u8::is_ascii_digit).fold(1, |number, digit| number * 10 + i32::from(digit - b'0'))
}

/// How a value looks when it is read: of a part only the checksum can be.
fn shown(kind: Kind, value: Option<&str>) -> Option<String> {
    value.map(|text| if kind == Kind::Part { md5(text) } else { text.to_owned() })
}

fn md5(text: &str) -> String {
    use md5::Digest;
    format!("\"{}\"", hex::encode(md5::Md5::digest(text)))
}

impl Clients {
    fn new(config: &SdkConfig, upload: &str) -> Clients {
        Clients {
            dynamodb: aws_sdk_dynamodb::Client::new(config),
            s3: client::s3(config),
            logs: aws_sdk_cloudwatchlogs::Client::new(config),
            iam: aws_sdk_iam::Client::new(config),
            ec2: aws_sdk_ec2::Client::new(config),
            upload: upload.to_owned(),
        }
    }

    async fn write(&self, kind: Kind, name: &str, value: Option<&str>) -> Result<(), Fault> {
        let Clients { dynamodb, s3, logs, iam, ec2, upload } = self;
        let key = || AttributeValue::S(format!("{kind:?}/{name}"));
        match (kind, value) {
            (Kind::Item, None) => drop(dynamodb.delete_item().table_name("kept").key("name", key()).send().await?),
            (Kind::Item, Some(value)) => {
                let value = AttributeValue::S(value.to_owned());
                dynamodb.put_item().table_name("kept").item("name", key()).item("v", value).send().await?;
            }
            (Kind::Counter, _) => {
                let update =
                    dynamodb.update_item().table_name("kept").key("name", key()).update_expression("ADD v :one");
                update.expression_attribute_values(":one", AttributeValue::N("1".to_owned())).send().await?;
            }
            (Kind::Object, None) => drop(s3.delete_object().bucket(BUCKET).key(name).send().await?),
            (Kind::Object, Some(value)) => {
                let body = ByteStream::from(value.as_bytes().to_vec());
                s3.put_object().bucket(BUCKET).key(name).body(body).send().await?;
            }
            (Kind::ObjectTag, value) => {
                let tag = aws_sdk_s3::types::Tag::builder().key("v").value(value.unwrap_or_default()).build()?;
                let tags = aws_sdk_s3::types::Tagging::builder().tag_set(tag).build()?;
                s3.put_object_tagging().bucket(BUCKET).key(format!("tagged/{name}")).tagging(tags).send().await?;
            }
            (Kind::Part, value) => {
                let part =
                    s3.upload_part().bucket(BUCKET).key("parts").upload_id(upload).part_number(part_number(name));
                part.body(ByteStream::from(value.unwrap_or_default().as_bytes().to_vec())).send().await?;
            }
            (Kind::LogLine, value) => {
                let event = InputLogEvent::builder().message(value.unwrap_or_default()).timestamp(0).build()?;
                logs.put_log_events().log_group_name("kept").log_stream_name(name).log_events(event).send().await?;
            }
            (Kind::RolePolicy, None) => {
                if self.read(kind, name).await?.is_some() {
                    iam.delete_role_policy().role_name("kept").policy_name(name).send().await?;
                }
            }
            (Kind::RolePolicy, Some(value)) => {
                let statement = r#"{"Effect":"Allow","Action":"s3:GetObject","Resource":"*"}"#;
                let document = format!("{{\"Version\":\"2012-10-17\",\"Id\":\"{value}\",\"Statement\":{statement}}}");
                iam.put_role_policy().role_name("kept").policy_name(name).policy_document(document).send().await?;
            }
            (Kind::InstanceTag, value) => {
                let groups = ec2.describe_security_groups().send().await?;
                let group = groups.security_groups()[0].group_id().unwrap_or_default().to_owned();
                let tag = aws_sdk_ec2::types::Tag::builder().key(name);
                match value {
                    None => drop(ec2.delete_tags().resources(group).tags(tag.build()).send().await?),
                    Some(value) => {
                        drop(ec2.create_tags().resources(group).tags(tag.value(value).build()).send().await?)
                    }
                }
            }
        }
        Ok(())
    }

    async fn read(&self, kind: Kind, name: &str) -> Result<Option<String>, Fault> {
        let Clients { dynamodb, s3, logs, iam, ec2, upload } = self;
        Ok(match kind {
            Kind::Item | Kind::Counter => {
                let key = AttributeValue::S(format!("{kind:?}/{name}"));
                let got = dynamodb.get_item().table_name("kept").key("name", key).send().await?;
                got.item().map(|item| match &item["v"] {
                    AttributeValue::S(text) | AttributeValue::N(text) => text.clone(),
                    other => panic!("{other:?}"),
                })
            }
            Kind::Object => match s3.get_object().bucket(BUCKET).key(name).send().await {
                Ok(got) => Some(String::from_utf8(got.body.collect().await?.to_vec())?),
                Err(fault) if fault.as_service_error().is_some_and(|fault| fault.is_no_such_key()) => None,
                Err(fault) => return Err(fault.into()),
            },
            Kind::ObjectTag => {
                let got = s3.get_object_tagging().bucket(BUCKET).key(format!("tagged/{name}")).send().await?;
                got.tag_set().first().map(|tag| tag.value().to_owned())
            }
            Kind::Part => {
                let listed = s3.list_parts().bucket(BUCKET).key("parts").upload_id(upload).send().await?;
                let ours = listed.parts().iter().find(|part| part.part_number() == Some(part_number(name)));
                ours.and_then(|part| part.e_tag()).map(str::to_owned)
            }
            Kind::LogLine => {
                let got = logs.get_log_events().log_group_name("kept").log_stream_name(name).send().await?;
                got.events().last().and_then(|event| event.message()).map(str::to_owned)
            }
            Kind::RolePolicy => match iam.get_role_policy().role_name("kept").policy_name(name).send().await {
                Ok(got) => Some(id_in(got.policy_document())),
                Err(fault) if fault.as_service_error().is_some_and(|fault| fault.is_no_such_entity_exception()) => None,
                Err(fault) => return Err(fault.into()),
            },
            Kind::InstanceTag => {
                let found = ec2.describe_tags().send().await?;
                let ours = found.tags().iter().find(|tag| tag.key() == Some(name));
                ours.and_then(|tag| tag.value()).map(str::to_owned)
            }
        })
    }
}

fn id_in(document: &str) -> String {
    let text = percent_encoding::percent_decode_str(document).decode_utf8_lossy();
    let document: serde_json::Value = serde_json::from_str(&text).unwrap();
    document["Id"].as_str().unwrap().to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_does_not_fit_on_the_disk_is_refused_and_takes_nothing_away() {
    let dir = tempfile::tempdir().unwrap();
    Server::start(dir.path()).stop();
    // No file may become larger than half a megabyte, as if the disk were full then.
    let server = Server::start_after("trap '' XFSZ; ulimit -f 1024;", dir.path()).unwrap();
    let world = Clients::new(&server.config().await, "");
    table(&world.dynamodb).await;
    world.s3.create_bucket().bucket(BUCKET).send().await.unwrap();
    world.write(Kind::Object, "picture", Some("small")).await.unwrap();
    let large = "x".repeat(1 << 20);
    assert!(world.write(Kind::Object, "picture", Some(&large)).await.is_err());
    assert_eq!(world.read(Kind::Object, "picture").await.unwrap().as_deref(), Some("small"));
    world.write(Kind::Object, "another", Some("small as well")).await.unwrap();

    let mut kept = Vec::new();
    for number in 0..100 {
        let name = format!("item {number}");
        match world.write(Kind::Item, &name, Some(&large[..30_000])).await {
            Ok(()) => kept.push(name),
            Err(_) => break,
        }
    }
    assert!((5..100).contains(&kept.len()), "{} items of 30 KB were kept in half a megabyte", kept.len());
    let refused = world.write(Kind::Item, "one more", Some(&large[..30_000])).await.unwrap_err();
    assert!(format!("{refused:?}").contains("the local AWS cannot write its tables"), "{refused:?}");
    assert_eq!(world.read(Kind::Item, "one more").await.unwrap(), None);
    server.kill();

    let server = Server::start(dir.path());
    let world = Clients::new(&server.config().await, "");
    assert_eq!(world.read(Kind::Object, "picture").await.unwrap().as_deref(), Some("small"));
    assert_eq!(world.read(Kind::Object, "another").await.unwrap().as_deref(), Some("small as well"));
    for name in &kept {
        assert_eq!(world.read(Kind::Item, name).await.unwrap().map(|text| text.len()), Some(30_000), "{name}");
    }
    world.write(Kind::Item, "one more", Some("there is room again")).await.unwrap();
    server.stop();
}

#[tokio::test(flavor = "multi_thread")]
async fn of_two_that_start_at_once_one_wins_and_the_other_says_so() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().to_owned();
    let starts = [path.clone(), path].map(|path| std::thread::spawn(move || Server::start_after("", &path)));
    let mut started = Vec::new();
    let mut refused = Vec::new();
    for start in starts {
        match start.join().unwrap() {
            Ok(server) => started.push(server),
            Err(why) => refused.push(why),
        }
    }
    assert_eq!((started.len(), refused.len()), (1, 1));
    assert!(refused[0].contains("a local AWS already runs on "), "{}", refused[0]);
    started.remove(0).stop();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_damaged_file_is_named_instead_of_being_forgotten() {
    let dir = tempfile::tempdir().unwrap();
    let options = || Options { dir: dir.path().to_owned(), port: 0, region: "us-east-1".to_owned() };
    let cloud = Cloud::start(options()).await.unwrap();
    let config = config_at(&cloud.endpoint(), local::ACCESS_KEY, local::SECRET_KEY, None).await;
    let upload = prepare(&config).await;
    let world = Clients::new(&config, &upload);
    for kind in KINDS {
        world.write(kind, "writer-0-0", Some("1")).await.unwrap();
        world.write(kind, "writer-0-0", Some("2")).await.unwrap();
    }
    cloud.stop().await;

    let mut damaged = 0;
    for file in files_below(dir.path()) {
        let name = file.strip_prefix(dir.path()).unwrap().display().to_string();
        let whole = std::fs::read(&file).unwrap();
        // Bytes of objects and parts are what they are, and a lock has none.
        let describes = whole.first().is_some_and(|first| b"{[".contains(first)) || name.ends_with(".log");
        if !describes || name.contains("/data_/") {
            continue;
        }
        std::fs::write(&file, &whole[whole.len() / 2..]).unwrap();
        let fault = match Cloud::start(options()).await {
            Ok(_) => panic!("half of {name} is missing, and nothing was said"),
            Err(fault) => format!("{fault:#}"),
        };
        assert!(fault.contains(&name), "{name} is not named in {fault}");
        std::fs::write(&file, &whole).unwrap();
        damaged += 1;
    }
    assert!(damaged > 8, "only {damaged} files were found");
    let cloud = Cloud::start(options()).await.unwrap();
    let config = config_at(&cloud.endpoint(), local::ACCESS_KEY, local::SECRET_KEY, None).await;
    let world = Clients::new(&config, &upload);
    assert_eq!(world.read(Kind::Counter, "writer-0-0").await.unwrap().as_deref(), Some("2"));
    cloud.stop().await;
}

fn files_below(dir: &Path) -> Vec<std::path::PathBuf> {
    let mut files = Vec::new();
    for entry in std::fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() { files.extend(files_below(&path)) } else { files.push(path) }
    }
    files
}

#[tokio::test(flavor = "multi_thread")]
async fn a_kill_leaves_no_process_behind_and_forgets_no_event() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(dir.path());
    let config = server.config().await;
    let iam = aws_sdk_iam::Client::new(&config);
    let role = iam.create_role().role_name("echo").assume_role_policy_document(TRUST).send().await.unwrap();
    let logs = "arn:aws:iam::aws:policy/service-role/AWSLambdaBasicExecutionRole";
    iam.attach_role_policy().role_name("echo").policy_arn(logs).send().await.unwrap();
    let lambda = aws_sdk_lambda::Client::new(&config);
    let create = lambda.create_function().function_name("echo").runtime(Runtime::Providedal2023).handler("bootstrap");
    let code = FunctionCode::builder().zip_file(aws_sdk_lambda::primitives::Blob::new(zipped())).build();
    create.role(role.role().unwrap().arn()).code(code).send().await.unwrap();
    let state = async || {
        let found = lambda.get_function_configuration().function_name("echo").send().await.unwrap();
        found.state().cloned()
    };
    while state().await != Some(State::Active) {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let called = lambda.invoke().function_name("echo").payload(Blob::new("\"pid\"")).send().await.unwrap();
    let pid: i32 = std::str::from_utf8(called.payload().unwrap().as_ref()).unwrap().parse().unwrap();
    // The function's only other processes sleep, so this event waits for one of them or for the next server.
    for _ in 0..10 {
        let sleep = lambda.invoke().function_name("echo").invocation_type(InvocationType::Event);
        sleep.payload(Blob::new("\"sleep\"")).send().await.unwrap();
    }
    let event = lambda.invoke().function_name("echo").invocation_type(InvocationType::Event);
    event.payload(Blob::new(r#"{"remember":"me"}"#)).send().await.unwrap();
    server.kill();
    eventually("the function's process is gone", async || {
        rustix::process::test_kill_process(rustix::process::Pid::from_raw(pid).unwrap()).is_err()
    })
    .await;

    // The sleepers would come first again.
    let events = dir.path().join("functions/events");
    for file in files_below(&events) {
        if std::fs::read_to_string(&file).unwrap().contains("sleep") {
            std::fs::remove_file(file).unwrap();
        }
    }
    let server = Server::start(dir.path());
    let logs = aws_sdk_cloudwatchlogs::Client::new(&server.config().await);
    eventually("the event is handled", async || {
        let found = logs.filter_log_events().log_group_name("/aws/lambda/echo").filter_pattern("remember").send().await;
        found.is_ok_and(|found| !found.events().is_empty())
    })
    .await;
    eventually("the event is forgotten", async || files_below(&events).is_empty()).await;
    server.stop();
}

fn zipped() -> Vec<u8> {
    use std::io::Write;
    let mut writer = zip::ZipWriter::new(std::io::Cursor::new(Vec::new()));
    let options = zip::write::SimpleFileOptions::default().unix_permissions(0o755);
    writer.start_file("bootstrap", options).unwrap();
    writer.write_all(&std::fs::read(env!("CARGO_BIN_EXE_echo-function")).unwrap()).unwrap();
    writer.finish().unwrap().into_inner()
}

async fn eventually(what: &str, mut is_so: impl AsyncFnMut() -> bool) {
    for _ in 0..600 {
        if is_so().await {
            return;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    panic!("never: {what}");
}
