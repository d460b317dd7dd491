//! Acknowledged writes survive `kill -9` at any moment, and a write that cannot be stored is not acknowledged.

#[path = "durability/kinds.rs"]
mod kinds;
#[path = "support/process.rs"]
mod process;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use aws_config::{Region, SdkConfig};
use aws_sdk_autoscaling::types::LifecycleState;
use aws_sdk_lambda::types::{FunctionCode, InvocationType, Runtime};
use aws_sdk_s3::primitives::Blob;
use base64::Engine;
use fastrand::Rng;
use kinds::{
    BUCKET, Clients, KINDS, Kind, NAMES, TRUST, WRITERS, found, new_table, new_value, prepare, shown, table, zip_of,
};
use local::{Cloud, Options};
use process::{Server, files_below};
use testkit::small_programs::echo_function;
use testkit::{clients, until};

/// The possible values of a name: the last acknowledged one, or that of the write in flight.
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

/// Checks that every name holds the last acknowledged value, or that of the write in flight.
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

/// Lets all writers write, and kills the server meanwhile.
async fn write_and_kill(server: Server, world: &Clients, models: Vec<Model>, random: &mut Rng) -> Vec<Model> {
    let end = Arc::new(AtomicBool::new(false));
    let acknowledged = Arc::new(AtomicUsize::new(0));
    let mut writers = Vec::new();
    for (number, model) in models.into_iter().enumerate() {
        let (world, end, acknowledged) = (world.clone(), end.clone(), acknowledged.clone());
        let writer = Writer { world, number, random: random.fork(), end, acknowledged };
        writers.push(tokio::spawn(writer.write_until_the_end(model)));
    }
    // By count rather than by time: on a slow machine it only takes longer.
    let enough = random.usize(20..150);
    while acknowledged.load(Ordering::SeqCst) < enough {
        assert!(!writers.iter().any(|writer| writer.is_finished()), "a writer has ended early");
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

/// A client that makes random writes.
struct Writer {
    world: Clients,
    number: usize,
    random: Rng,
    /// Whether the server is being killed.
    end: Arc<AtomicBool>,
    acknowledged: Arc<AtomicUsize>,
}

impl Writer {
    /// Writes until a write is not acknowledged, which only the end of the server may cause.
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

#[tokio::test(flavor = "multi_thread")]
async fn a_write_that_does_not_fit_on_the_disk_is_refused_and_loses_nothing() {
    let dir = tempfile::tempdir().unwrap();
    Server::start(dir.path()).stop();
    // No file may become larger than half a megabyte, as if the disk were full at that point.
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
async fn a_write_refused_by_a_full_disk_has_no_effect_before_or_after_a_kill() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(dir.path());
    let iam = aws_sdk_iam::Client::new(&server.config().await);
    let role = iam.create_role().role_name("kept").assume_role_policy_document(TRUST).send().await.unwrap();
    let role = role.role().unwrap().arn().to_owned();
    server.stop();

    // A file of more than half a kilobyte does not fit; a script of two lines does.
    let server = Server::start_after("trap '' XFSZ; ulimit -f 1;", dir.path()).unwrap();
    let world = OneOfEach::new(&server.config().await);
    for (what, refused) in world.create(&role).await {
        let refused = refused.expect_err(what);
        assert!(refused.contains("the local AWS cannot write its "), "{what}: {refused}");
    }
    assert_eq!(world.existing().await, Vec::<&str>::new());
    server.kill();

    let server = Server::start(dir.path());
    let world = OneOfEach::new(&server.config().await);
    assert_eq!(world.existing().await, Vec::<&str>::new());
    for (what, created) in world.create(&role).await {
        assert_eq!(created, Ok(()), "{what} on a disk with room");
    }
    assert_eq!(world.existing().await, ["role", "function", "log group", "table"]);
    server.stop();
}

/// A client that creates one resource of each kind, and looks for them.
struct OneOfEach {
    clients: Clients,
    /// So long that a file containing it is larger than half a kilobyte.
    name: String,
}

impl OneOfEach {
    fn new(config: &SdkConfig) -> OneOfEach {
        OneOfEach { clients: Clients::new(config, ""), name: "x".repeat(64) }
    }

    async fn create(&self, role: &str) -> [(&'static str, Result<(), String>); 4] {
        let OneOfEach { clients: Clients { dynamodb, logs, iam, lambda, .. }, name } = self;
        let role_made = iam.create_role().role_name(name).assume_role_policy_document(TRUST).send().await;
        let code = FunctionCode::builder().zip_file(Blob::new(zip_of(b"#!/bin/sh\nexit 1"))).build();
        let create = lambda.create_function().function_name(name).runtime(Runtime::Providedal2023).handler("bootstrap");
        let made = create.role(role).description("x".repeat(256)).code(code).send().await;
        let group = logs.create_log_group().log_group_name(name.repeat(8)).send().await;
        let table = new_table(dynamodb, name).deletion_protection_enabled(true).send().await;
        [
            ("role", outcome(role_made)),
            ("function", outcome(made)),
            ("log group", outcome(group)),
            ("table", outcome(table)),
        ]
    }

    /// Returns the kinds that exist; panics on an error other than "not found".
    async fn existing(&self) -> Vec<&'static str> {
        let OneOfEach { clients: Clients { dynamodb, logs, iam, lambda, .. }, name } = self;
        let absent = "ResourceNotFoundException";
        let role = found(iam.get_role().role_name(name).send().await, "NoSuchEntity").unwrap().is_some();
        let function = found(lambda.get_function().function_name(name).send().await, absent).unwrap().is_some();
        let groups = logs.describe_log_groups().log_group_name_prefix(name).send().await.unwrap();
        let table = found(dynamodb.describe_table().table_name(name).send().await, absent).unwrap().is_some();
        let there = [("role", role), ("function", function), ("log group", !groups.log_groups().is_empty())];
        there.into_iter().chain([("table", table)]).filter(|(_, there)| *there).map(|(what, _)| what).collect()
    }
}

fn outcome<T, E: std::fmt::Debug>(answer: Result<T, E>) -> Result<(), String> {
    answer.map(drop).map_err(|fault| format!("{fault:?}"))
}

#[tokio::test(flavor = "multi_thread")]
async fn of_two_servers_starting_in_one_directory_one_wins() {
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
async fn a_damaged_file_is_named_and_stops_the_start() {
    let dir = tempfile::tempdir().unwrap();
    let options = || Options { dir: dir.path().to_owned(), port: 0, region: "us-east-1".to_owned() };
    let cloud = Cloud::start(options()).await.unwrap();
    let config = clients::config(&cloud.endpoint()).await;
    let upload = prepare(&config).await;
    let world = Clients::new(&config, &upload);
    for kind in KINDS {
        world.write(kind, "writer-0-0", Some("1")).await.unwrap();
        if !kind.is_never_changed() {
            world.write(kind, "writer-0-0", Some("2")).await.unwrap();
        }
    }
    world.write(Kind::Object, "larger", Some("some bytes")).await.unwrap();
    cloud.stop().await;

    let mut damaged = 0;
    for file in files_below(dir.path()) {
        let name = file.strip_prefix(dir.path()).unwrap().display().to_string();
        let whole = std::fs::read(&file).unwrap();
        // Truncating an object's bytes counts as damage, too; a lock file has none.
        let is_object = name.contains("/objects/") && whole.len() > 1;
        let describes = whole.first().is_some_and(|first| b"{[".contains(first));
        if !describes && !is_object && ![".log", ".mark", ".sqlite"].iter().any(|kind| name.ends_with(kind)) {
            continue;
        }
        std::fs::write(&file, &whole[whole.len() / 2..]).unwrap();
        let fault = match Cloud::start(options()).await {
            Ok(_) => panic!("half of {name} is missing, and the server started"),
            Err(fault) => format!("{fault:#}"),
        };
        assert!(fault.contains(&name), "{name} is not named in {fault}");
        std::fs::write(&file, &whole).unwrap();
        damaged += 1;
    }
    assert!(damaged > 8, "only {damaged} files were found");
    let cloud = Cloud::start(options()).await.unwrap();
    let config = clients::config(&cloud.endpoint()).await;
    let world = Clients::new(&config, &upload);
    assert_eq!(world.read(Kind::Counter, "writer-0-0").await.unwrap().as_deref(), Some("2"));
    cloud.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn damaged_bytes_of_an_object_are_never_served() {
    use aws_sdk_s3::error::ProvideErrorMetadata;
    let dir = tempfile::tempdir().unwrap();
    let options = || Options { dir: dir.path().to_owned(), port: 0, region: "us-east-1".to_owned() };
    let start = async || {
        let cloud = Cloud::start(options()).await.unwrap();
        let config = clients::config(&cloud.endpoint()).await;
        let config = clients::without_retries(&config);
        (cloud, clients::s3(&config))
    };
    let (cloud, s3) = start().await;
    s3.create_bucket().bucket(BUCKET).send().await.unwrap();
    let text = "all of it ".repeat(200_000);
    let put = s3.put_object().bucket(BUCKET).key("picture").body(text.clone().into_bytes().into());
    put.send().await.unwrap();
    let objects = dir.path().join("state/objects");
    let file = files_below(&objects).remove(0);
    let name = file.file_name().unwrap().to_str().unwrap().to_owned();
    let whole = std::fs::read(&file).unwrap();
    let flipped = |at: usize| {
        let mut bytes = whole.clone();
        bytes[at] ^= 1;
        Some(bytes)
    };
    let damages = [
        ("a flipped bit at the begin", flipped(0)),
        ("a flipped bit at the end", flipped(whole.len() - 1)),
        ("zeros", Some(vec![0; whole.len()])),
        ("half", Some(whole[..whole.len() / 2].to_vec())),
        ("more", Some([whole.clone(), b"more".to_vec()].concat())),
        ("nothing", Some(Vec::new())),
        ("no file", None),
    ];
    let damage = |bytes: &Option<Vec<u8>>| match bytes {
        Some(bytes) => std::fs::write(&file, bytes).unwrap(),
        None => std::fs::remove_file(&file).unwrap(),
    };
    for (what, bytes) in &damages {
        damage(bytes);
        let got = s3.get_object().bucket(BUCKET).key("picture").send().await.map(drop).unwrap_err();
        assert_eq!(got.code(), Some("InternalError"), "{what}");
        assert!(got.message().unwrap().contains(&name), "{what}: {got:?}");
        let copy = s3.copy_object().bucket(BUCKET).key("copy").copy_source(format!("{BUCKET}/picture")).send().await;
        assert_eq!(copy.unwrap_err().code(), Some("InternalError"), "{what}");
        std::fs::write(&file, &whole).unwrap();
    }
    // A range can be read if the blocks that it covers are undamaged.
    damage(&damages[1].1);
    let range = |range: &str| s3.get_object().bucket(BUCKET).key("picture").range(range).send();
    assert!(range("bytes=0-9").await.is_ok() && range("bytes=-9").await.is_err());
    std::fs::write(&file, &whole).unwrap();
    cloud.stop().await;

    for (what, bytes) in &damages {
        let shows = bytes.as_ref().is_none_or(|bytes| bytes.len() != whole.len());
        damage(bytes);
        match Cloud::start(options()).await {
            Ok(cloud) => {
                assert!(!shows, "{what} was not detected at the start");
                cloud.stop().await;
            }
            Err(fault) => assert!(shows && format!("{fault:#}").contains(&name), "{what}: {fault:#}"),
        }
        std::fs::write(&file, &whole).unwrap();
    }
    let (cloud, s3) = start().await;
    let got = s3.get_object().bucket(BUCKET).key("picture").send().await.unwrap();
    assert_eq!(got.body.collect().await.unwrap().into_bytes(), text.as_bytes());
    cloud.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn tables_with_fewer_rows_than_were_acknowledged_stop_the_start() {
    for killed in [false, true] {
        let dir = tempfile::tempdir().unwrap();
        let server = Server::start(dir.path());
        let world = Clients::new(&server.config().await, "");
        table(&world.dynamodb).await;
        for number in 0..50 {
            world.write(Kind::Item, &number.to_string(), Some("here")).await.unwrap();
        }
        if killed {
            server.kill()
        } else {
            server.stop()
        }

        let mut refused = 0;
        let files = files_below(dir.path()).into_iter().filter(|file| file.parent().unwrap().ends_with("dynamodb"));
        for file in files {
            let (name, whole) = (file.file_name().unwrap().to_str().unwrap(), std::fs::read(&file).unwrap());
            let mut flipped = whole.clone();
            let middle = whole.iter().rposition(|byte| byte.is_ascii_alphanumeric()).unwrap();
            flipped[middle] ^= 0x01;
            let half = whole[..whole.len() / 2].to_vec();
            for (what, damaged) in
                [("emptied", Some(vec![])), ("cut", Some(half)), ("flipped", Some(flipped)), ("removed", None)]
            {
                // After a kill the rows are in the write-ahead log, and the database's copies of the same pages are
                // ignored.
                if killed && name == "tables.sqlite" && what == "flipped" {
                    continue;
                }
                match damaged {
                    Some(damaged) => std::fs::write(&file, damaged).unwrap(),
                    None => std::fs::remove_file(&file).unwrap(),
                }
                let Err(reason) = Server::start_after("", dir.path()) else {
                    panic!("{name} was {what}, killed: {killed}, and the server started");
                };
                assert!(reason.contains(name), "{name} was {what}, and is not named in {reason}");
                std::fs::write(&file, &whole).unwrap();
                refused += 1;
            }
        }
        assert_eq!(refused, if killed { 11 } else { 8 });
        let server = Server::start(dir.path());
        let world = Clients::new(&server.config().await, "");
        let rows = world.dynamodb.scan().table_name("kept").send().await.unwrap();
        assert_eq!(rows.count(), 50);
        server.stop();
    }
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
    clients::function_is_active(&lambda, "echo").await;
    let called = lambda.invoke().function_name("echo").payload(Blob::new("\"pid\"")).send().await.unwrap();
    let pid: i32 = std::str::from_utf8(called.payload().unwrap().as_ref()).unwrap().parse().unwrap();
    // The function's only other processes are sleeping, so this event waits for one of them or for the next server.
    for _ in 0..10 {
        let sleep = lambda.invoke().function_name("echo").invocation_type(InvocationType::Event);
        sleep.payload(Blob::new("\"sleep\"")).send().await.unwrap();
    }
    let event = lambda.invoke().function_name("echo").invocation_type(InvocationType::Event);
    event.payload(Blob::new(r#"{"remember":"me"}"#)).send().await.unwrap();
    server.kill();
    until("the function's process is gone", async || {
        rustix::process::test_kill_process(rustix::process::Pid::from_raw(pid).unwrap()).is_err()
    })
    .await;

    // Otherwise the sleep events would be handled first again.
    let events = dir.path().join("functions/events");
    assert!(events.is_dir(), "events are stored");
    for file in files_below(&events) {
        if std::fs::read_to_string(&file).unwrap().contains("sleep") {
            std::fs::remove_file(file).unwrap();
        }
    }
    let server = Server::start(dir.path());
    let logs = aws_sdk_cloudwatchlogs::Client::new(&server.config().await);
    until("the event is handled", async || {
        let found = logs.filter_log_events().log_group_name("/aws/lambda/echo").filter_pattern("remember").send().await;
        found.is_ok_and(|found| !found.events().is_empty())
    })
    .await;
    until("the event is forgotten", async || files_below(&events).is_empty()).await;
    server.stop();
}

fn zipped() -> Vec<u8> {
    zip_of(&std::fs::read(echo_function()).unwrap())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_groups_instance_is_one_process_before_and_after_a_kill() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(dir.path());
    let world = Clients::new(&server.config().await, "");
    // A duration for which no other process sleeps: it contains the id of this process and a random number.
    let sleep = format!("sleep 1000000.{}{:04}", std::process::id(), fastrand::u16(..9999));
    group_of_one(&world, &sleep).await;
    until("the instance serves", async || serving(&world).await.len() == 1 && processes(&sleep).len() == 1).await;
    let (instance, process) = (serving(&world).await, processes(&sleep));
    server.kill();
    until("the killed server's process is gone", async || processes(&sleep).is_empty()).await;

    let server = Server::start(dir.path());
    let world = Clients::new(&server.config().await, "");
    until("an instance serves again", async || serving(&world).await.len() == 1 && !processes(&sleep).is_empty()).await;
    let again = processes(&sleep);
    assert_eq!(again.len(), 1, "{instance:?} of {process:?} became {again:?}");
    assert_ne!(again, process);
    server.stop();
    until("no process is left", async || processes(&sleep).is_empty()).await;
}

/// A group with one instance that runs this command.
async fn group_of_one(world: &Clients, command: &str) {
    let user_data = format!(
        "#cloud-config
write_files:
- path: /opt/web
  permissions: '0755'
  content: |
    #!/bin/sh
    exec {command}
- path: /etc/systemd/system/web.service
  content: |
    [Service]
    ExecStart=/opt/web
    Restart=always
    [Install]
    WantedBy=multi-user.target
runcmd:
- [systemctl, enable, --now, web.service]
"
    );
    let data = aws_sdk_ec2::types::RequestLaunchTemplateData::builder()
        .image_id(world.image().await.unwrap())
        .instance_type(aws_sdk_ec2::types::InstanceType::T3Micro)
        .user_data(base64::prelude::BASE64_STANDARD.encode(user_data))
        .build();
    let template = world.ec2.create_launch_template().launch_template_name("web").launch_template_data(data);
    template.send().await.unwrap();
    let template = aws_sdk_autoscaling::types::LaunchTemplateSpecification::builder();
    let template = template.launch_template_name("web").version("1").build();
    let create = world.groups.create_auto_scaling_group().auto_scaling_group_name("web").launch_template(template);
    create.min_size(1).max_size(1).availability_zones("us-east-1a").send().await.unwrap();
}

/// The clients of one region.
fn in_region(config: &SdkConfig, region: &'static str) -> SdkConfig {
    config.clone().into_builder().region(Region::new(region)).build()
}

#[tokio::test]
async fn every_region_has_its_own_resources_also_after_a_restart() {
    let dir = tempfile::tempdir().unwrap();
    // The regions work whatever the server's own region is.
    for (round, first) in [(0, "us-east-1"), (1, "eu-west-1")] {
        let options = Options { dir: dir.path().to_owned(), port: 0, region: first.to_owned() };
        let cloud = Cloud::start(options).await.unwrap();
        let config = clients::config(&cloud.endpoint()).await;
        let (here, there) = (in_region(&config, "us-east-1"), in_region(&config, "eu-west-1"));
        if round == 0 {
            fill_regions(&here, &there).await;
        }
        for (config, region, other) in [(&here, "us-east-1", "eu-west-1"), (&there, "eu-west-1", "us-east-1")] {
            see_region(config, region, other).await;
        }
        cloud.stop().await;
    }
}

/// Creates a table, a log group, a launch template and a bucket in each of two regions, and one role for both.
async fn fill_regions(here: &SdkConfig, there: &SdkConfig) {
    for (config, region) in [(here, "us-east-1"), (there, "eu-west-1")] {
        let tables = aws_sdk_dynamodb::Client::new(config);
        new_table(&tables, "posts").send().await.unwrap();
        clients::table_is_active(&tables, "posts").await;
        let text = |text: &str| aws_sdk_dynamodb::types::AttributeValue::S(text.to_owned());
        let put = tables.put_item().table_name("posts").item("name", text("where"));
        put.item("region", text(region)).send().await.unwrap();
        aws_sdk_cloudwatchlogs::Client::new(config).create_log_group().log_group_name(region).send().await.unwrap();
        let data = aws_sdk_ec2::types::RequestLaunchTemplateData::builder().user_data("").build();
        let ec2 = aws_sdk_ec2::Client::new(config);
        ec2.create_launch_template().launch_template_name(region).launch_template_data(data).send().await.unwrap();
        let s3 = clients::s3(config);
        let create = s3.create_bucket().bucket(format!("in-{region}"));
        let constraint = aws_sdk_s3::types::BucketLocationConstraint::from("eu-west-1");
        let place = aws_sdk_s3::types::CreateBucketConfiguration::builder().location_constraint(constraint).build();
        let place = (region == "eu-west-1").then_some(place);
        create.set_create_bucket_configuration(place).send().await.unwrap();
        let object = s3.put_object().bucket(format!("in-{region}")).key("k");
        object.body(region.as_bytes().to_vec().into()).send().await.unwrap();
    }
    aws_sdk_iam::Client::new(there)
        .create_role()
        .role_name("both")
        .assume_role_policy_document(TRUST)
        .send()
        .await
        .unwrap();
}

/// Checks that a region shows its own resources and the global ones, and none of another region.
async fn see_region(config: &SdkConfig, region: &str, other: &str) {
    let tables = aws_sdk_dynamodb::Client::new(config);
    let key = aws_sdk_dynamodb::types::AttributeValue::S("where".to_owned());
    let found = tables.get_item().table_name("posts").key("name", key).send().await.unwrap();
    assert_eq!(found.item().unwrap()["region"].as_s().unwrap(), region);
    let groups = aws_sdk_cloudwatchlogs::Client::new(config).describe_log_groups().send().await.unwrap();
    let groups: Vec<&str> = groups.log_groups().iter().filter_map(|group| group.log_group_name()).collect();
    assert_eq!(groups, [region]);
    let ec2 = aws_sdk_ec2::Client::new(config);
    let templates = ec2.describe_launch_templates().send().await.unwrap();
    let templates: Vec<&str> =
        templates.launch_templates().iter().filter_map(|one| one.launch_template_name()).collect();
    assert_eq!(templates, [region]);
    let zones = ec2.describe_availability_zones().send().await.unwrap();
    assert!(zones.availability_zones().iter().all(|zone| zone.region_name() == Some(region)));
    assert!(aws_sdk_iam::Client::new(config).get_role().role_name("both").send().await.is_ok());

    let s3 = clients::s3(config);
    let object = s3.get_object().bucket(format!("in-{region}")).key("k").send().await.unwrap();
    assert_eq!(object.body.collect().await.unwrap().into_bytes(), region);
    let all = s3.list_buckets().send().await.unwrap();
    let all: Vec<_> = all.buckets().iter().map(|one| (one.name().unwrap(), one.bucket_region().unwrap())).collect();
    assert_eq!(all, [("in-eu-west-1", "eu-west-1"), ("in-us-east-1", "us-east-1")]);
    let elsewhere = format!("in-{other}");
    let refused = s3.get_object().bucket(&elsewhere).key("k").send().await.unwrap_err();
    let answer = refused.raw_response().unwrap();
    assert_eq!(answer.status().as_u16(), 301);
    assert_eq!(answer.headers().get("x-amz-bucket-region"), Some(other));
    let copy = s3.copy_object().bucket(format!("in-{region}")).key("copy").copy_source(format!("{elsewhere}/k"));
    assert_eq!(copy.send().await.unwrap_err().raw_response().unwrap().status().as_u16(), 501);
    let place = (region == "eu-west-1").then(|| {
        let constraint = aws_sdk_s3::types::BucketLocationConstraint::from(region);
        aws_sdk_s3::types::CreateBucketConfiguration::builder().location_constraint(constraint).build()
    });
    let again = s3.create_bucket().bucket(&elsewhere).set_create_bucket_configuration(place).send().await.unwrap_err();
    assert_eq!(again.into_service_error().meta().code(), Some("BucketAlreadyOwnedByYou"));
    let location = s3.get_bucket_location().bucket(&elsewhere).send().await;
    match region {
        "us-east-1" => assert_eq!(location.unwrap().location_constraint().unwrap().as_str(), other),
        _ => assert_eq!(location.unwrap_err().raw_response().unwrap().status().as_u16(), 301),
    }
}

/// The ids of the instances in service.
async fn serving(world: &Clients) -> Vec<String> {
    let found = world.groups.describe_auto_scaling_instances().send().await.unwrap();
    let serving = found.auto_scaling_instances().iter();
    let serving = serving.filter(|one| one.lifecycle_state.as_deref() == Some(LifecycleState::InService.as_str()));
    serving
        .filter(|one| one.health_status.as_deref() == Some("HEALTHY"))
        .filter_map(|one| one.instance_id.clone())
        .collect()
}

/// The ids of this machine's processes that run this command.
fn processes(command: &str) -> Vec<String> {
    let all = std::process::Command::new("ps").args(["-A", "-o", "pid=,args="]).output().unwrap();
    let all = String::from_utf8_lossy(&all.stdout).into_owned();
    let ours = all.lines().map(str::trim).filter_map(|line| line.split_once(' '));
    ours.filter(|(_, args)| args.trim() == command).map(|(pid, _)| pid.to_owned()).collect()
}
