//! Files that users may pass to the deployer: the corpus of the fuzzers, and inputs too large to be stored in it.

mod sign_in;

use std::{collections::BTreeMap, fs, path::Path, process::Command};

use deployer::{config::Config, output::env_file};
use testkit::inputs::{corpus, limited};

use crate::support::{Project, RunOutput};

#[test]
fn every_description_of_the_corpus_is_read_or_refused_with_a_position() {
    let (mut read, mut refused) = (0, 0);
    for file in corpus("stack") {
        match Config::read(&file) {
            Ok(_) => read += 1,
            Err(errors) => {
                refused += 1;
                let said = errors.to_string();
                let name = file.file_name().unwrap().to_string_lossy();
                assert!(!errors.problems.is_empty() && said.contains(&*name), "{name}: {said}");
                // It is short enough to be read on a terminal.
                assert!(said.len() < 20_000, "{}: {} bytes of errors", file.display(), said.len());
                assert!(!said.contains('\0') && !said.contains('\u{202e}'), "{}: {said:?}", file.display());
            }
        }
    }
    assert!(read >= 2 && refused > 10, "{read} read, {refused} refused");
}

#[test]
fn an_env_file_keeps_its_lines_and_gets_ours_once() {
    let values =
        BTreeMap::from([("BUCKET".to_owned(), "a \"b\" $c\\".to_owned()), ("TABLE".to_owned(), String::new())]);
    for file in corpus("env") {
        let text = String::from_utf8_lossy(&fs::read(&file).unwrap()).into_owned();
        match env_file::merge(&text, &values) {
            Ok(once) => assert_eq!(env_file::merge(&once, &values).as_ref(), Ok(&once), "{}", file.display()),
            Err(open) => assert!(text.lines().nth(open.line - 1).unwrap().contains(['"', '\'']), "{}", file.display()),
        }
    }
}

/// The program itself, with limited memory, exits with 78 (a bad description) and nothing else.
#[test]
fn large_deep_and_expanding_descriptions_are_refused_within_a_memory_limit() {
    let bomb = |width: usize| {
        let level = |(from, to): (char, char)| format!("{to}: &{to} [{}]\n", vec![format!("*{from}"); width].join(","));
        let levels: String = ('a'..='y').zip('b'..='z').map(level).collect();
        format!("a: &a [x]\n{levels}name: *z\n")
    };
    let cases: Vec<(&str, Vec<u8>)> = vec![
        ("10 MB of a comment", "# comment\n".repeat(1 << 20).into()),
        ("10 MB of NUL", vec![0; 10 << 20]),
        ("a megabyte of one line", "a".repeat(1_000_000).into()),
        ("a megabyte of lists", "[".repeat(1_000_000).into()),
        ("a megabyte of dashes", "- ".repeat(500_000).into()),
        ("a megabyte of keys", (0..80_000).map(|n| format!("k{n}: {n}\n")).collect::<String>().into()),
        (
            "a megabyte of tables",
            format!(
                "name: a\nregion: us-east-1\ntables:\n{}",
                (0..40_000).map(|n| format!("  t{n}: {{}}\n")).collect::<String>()
            )
            .into(),
        ),
        ("a bomb of aliases", bomb(9).into()),
        ("a wide bomb of aliases", bomb(300).into()),
        ("not UTF-8", b"name: \xff\xfe".repeat(1000)),
    ];
    for (what, text) in cases {
        let project = Project::with("");
        fs::write(project.path().join("stack.yaml"), text).unwrap();
        let said = limited(&project.command(&["plan"], &[])).output().expect("a shell can be started");
        let text = String::from_utf8_lossy(&said.stderr);
        assert_eq!(said.status.code(), Some(78), "{what}: {}", text.chars().take(2000).collect::<String>());
        assert!(text.len() < 20_000, "{what}: {} bytes of errors", text.len());
    }
}

/// A full disk is not the same as a reader that has closed the pipe.
#[test]
fn output_that_cannot_be_written_is_a_failure_and_a_closed_pipe_is_not() {
    let project = Project::with(
        "name: small\nregion: us-east-1\ntables:\n  t: { partition_key: k }\noutputs:\n  T: ${tables.t.name}\n",
    );
    project.done(&["up", "--local", "--yes"]);
    let commands: &[&[&str]] = &[
        &["schema"],
        &["validate"],
        &["graph"],
        &["completions", "bash"],
        &["man"],
        &["--help"],
        &["--version"],
        &["plan", "--local", "--json"],
        &["outputs", "--local"],
        &["outputs", "T", "--local"],
        &["outputs", "--local", "--format", "yaml"],
        &["up", "--local", "--yes"],
        &["up", "--local", "--yes", "--json"],
        &["local", "status"],
        &["local", "logs"],
        &["local", "env"],
        &["local", "faults"],
    ];
    for arguments in commands {
        let full = fs::OpenOptions::new().write(true).open("/dev/full").expect("there is a full device");
        let said: RunOutput = project.command(arguments, &[]).stdout(full).output().expect("it can be started").into();
        assert_eq!(said.code, 1, "{arguments:?}: {}", said.all());
        assert!(said.stderr.contains("error: cannot write to stdout: No space left"), "{arguments:?}: {}", said.all());

        let (reader, writer) = std::io::pipe().expect("a pipe can be made");
        drop(reader);
        let said: RunOutput =
            project.command(arguments, &[]).stdout(writer).output().expect("it can be started").into();
        assert_eq!(said.code, 0, "{arguments:?}: {}", said.all());
    }
}

/// A path can refer to a file of any type.
#[test]
fn a_path_that_is_not_a_regular_file_is_named() {
    let project = Project::with(
        "name: small\nregion: us-east-1\ntables:\n  t: { partition_key: k }\noutputs:\n  T: ${tables.t.name}\n",
    );
    project.done(&["up", "--local", "--yes"]);
    let fifo = project.path().join("fifo");
    assert!(Command::new("mkfifo").arg(&fifo).status().unwrap().success());
    let huge = project.path().join("huge");
    fs::File::create(&huge).unwrap().set_len(1 << 30).unwrap();
    for (path, kind) in [
        (fifo.as_path(), "a FIFO"),
        (Path::new("/dev/zero"), "a device"),
        (project.path(), "a directory"),
        (huge.as_path(), "larger than 1 MiB"),
    ] {
        let path = path.to_str().unwrap();
        let said = project.run(&["outputs", "--local", "--write", path]);
        assert_eq!(said.code, 1, "{}", said.all());
        assert!(said.stderr.contains(&format!("error: failed to read {path}: it is {kind}")), "{}", said.all());
    }
    fs::remove_file(project.path().join(".deployer/local/pin")).unwrap();
    fs::rename(&fifo, project.path().join(".deployer/local/pin")).unwrap();
    let said = project.run(&["plan", "--local"]);
    assert_eq!(said.code, 1, "{}", said.all());
    assert!(said.stderr.contains("pin: it is a FIFO"), "{}", said.all());
}

/// A path may refer to a file that never ends, or to a pipe without a writer.
#[test]
fn a_description_that_is_not_a_regular_file_is_refused_at_once() {
    let project = Project::with("");
    let pipe = project.path().join("pipe");
    assert!(Command::new("mkfifo").arg(&pipe).status().unwrap().success());
    for (path, kind) in [("pipe", "a FIFO"), ("/dev/zero", "a device"), (".", "a directory")] {
        let said = project.run(&["plan", "--file", path]);
        assert_eq!(said.code, 78, "{path}: {}", said.all());
        assert!(said.stderr.contains(&format!("it is {kind}, not a file")), "{path}: {}", said.all());
    }
}
