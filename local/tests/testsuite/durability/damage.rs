//! Damaged and missing files are named, and stop the start.

use local::{Cloud, Options};
use testkit::clients;

use super::kinds::{BUCKET, Clients, KINDS, Kind, prepare, table};
use crate::support::process::{Server, files_below};

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
