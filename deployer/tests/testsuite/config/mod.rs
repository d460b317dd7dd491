//! Valid descriptions in `stack.yaml`, and the errors of invalid ones.

mod errors;
mod mutations;
mod schema;

use std::path::Path;

use deployer::config::{Config, Place};
use expect_test::{expect, expect_file};

fn shipped() -> String {
    std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("../stack.yaml")).unwrap()
}

fn read(text: &str) -> Config {
    Config::parse("stack.yaml", text).unwrap_or_else(|errors| panic!("{errors}"))
}

const HEAD: &str = "name: app\nregion: us-east-1\n";

/// The errors of `refusals/NAME.yaml` are those in `refusals/NAME.stderr`.
#[test]
fn every_refusal_names_the_place_and_the_remedy() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/refusals");
    let mut files: Vec<_> = std::fs::read_dir(&folder).unwrap().map(|file| file.unwrap().path()).collect();
    files.retain(|file| file.extension().is_some_and(|extension| extension == "yaml"));
    files.sort();
    assert!(files.len() > 50, "{} cases in {}", files.len(), folder.display());
    for file in files {
        let text = std::fs::read_to_string(&file).unwrap();
        let errors = Config::parse("stack.yaml", &text).expect_err(&format!("{} should be refused", file.display()));
        // UPDATE_EXPECT=1 writes the new text.
        expect_file![file.with_extension("stderr")].assert_eq(&errors.to_string());
    }
}

#[test]
fn the_shipped_file_is_valid() {
    let config = read(&shipped());
    assert_eq!(config.name.as_str(), "postagram");
    let web = &config.services["web"];
    assert_eq!((u16::from(web.port), web.instances.min, web.instances.max), (8080, 1, 4));
    assert_eq!(web.health_check.path, "/health");
    let outputs: Vec<&str> = config.outputs.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(outputs, ["BUCKET", "DYNAMO_TABLE", "URL"]);
    assert_eq!(config.place_of("services.web.port").map(|place| place.column), Some(11));
}

#[test]
fn records_of_failed_events_may_be_kept_where_they_trigger_nothing_or_another_function() {
    for (upload, failures) in [
        ("function: f, prefix: uploads/", "${buckets.a.arn}"),
        ("function: f, prefix: aws/lambda/async/other/", "${buckets.a.arn}"),
        ("function: f, suffix: .png", "${buckets.a.arn}"),
        ("function: g", "${buckets.a.arn}"),
        ("function: f", "${buckets.b.arn}"),
        ("function: f", "arn:aws:s3:::app-a-123456789012-eu-west-1"),
    ] {
        read(&format!(
            "{HEAD}buckets: {{ a: {{ on_upload: {{ {upload} }} }}, b: }}\nfunctions:\n  f: {{ binary: f, on_failure: \"{failures}\" \
             }}\n  g: {{ binary: g }}\n"
        ));
    }
}

#[test]
fn several_entries_of_every_section_are_read() {
    let text = format!(
        "{HEAD}tables:\n  a: {{ partition_key: k }}\n  b: {{ partition_key: k, protect: true }}\n\
         buckets: {{ one: , two: }}\nfunctions:\n  f: {{ package: f }}\n  g: {{ binary: ./g, architecture: arm64 }}\n\
         services:\n  v: {{ package: v, instance_type: t4g.small }}\n  w: {{ package: w, instance_type: t3.micro }}\n"
    );
    let config = read(&text);
    let counts = [config.tables.len(), config.buckets.len(), config.functions.len(), config.services.len()];
    assert_eq!(counts, [2, 2, 2, 2]);
    assert!(config.tables["b"].protect);
}

#[test]
fn scalars_reach_variables_and_tags_as_they_are_written() {
    let text = r#"
tags: { version: 1.10 }
services:
  w:
    package: w
    instance_type: t3.micro
    environment: { A: 1.10, B: 010, C: 0x1F, D: yes, E: 1e3, F: .nan, G: 12345678901234567890123, H: ~, I: True, J: "$${x}" }
"#;
    let config = read(&format!("{HEAD}{}", text.trim_start()));
    let environment = &config.services["w"].variables.texts;
    let values: Vec<String> = environment.values().map(|text| format!("{:?}", text.pieces())).collect();
    expect![[r#"
        [Literal("1.10")]
        [Literal("010")]
        [Literal("0x1F")]
        [Literal("yes")]
        [Literal("1e3")]
        [Literal(".nan")]
        [Literal("12345678901234567890123")]
        []
        [Literal("True")]
        [Literal("${x}")]"#]]
    .assert_eq(&values.join("\n"));
    assert_eq!(config.tags["version"], "1.10");
}

#[test]
fn anchors_and_merges_are_understood() {
    let config = read(&format!(
        "{HEAD}functions:\n  f: &f {{ package: f, memory_mb: 512 }}\n  g: {{ <<: *f, timeout_s: 5 }}\n  h: *f\n"
    ));
    assert_eq!(config.functions["g"].memory_mb, 512);
    assert_eq!(config.functions["g"].timeout_s, 5);
    assert_eq!(config.functions["h"], config.functions["f"]);
}

#[test]
fn a_function_may_set_every_variable_that_lambda_does_not_reserve() {
    let with = |name: &str| format!("{HEAD}functions: {{ f: {{ package: f, environment: {{ {name}: x }} }} }}\n");
    for name in ["AWS_ENDPOINT_URL_REKOGNITION", "AWS_RETRY_MODE", "AWS_LAMBDA_EXEC_WRAPPER", "TZ", "PATH", "LAMBDA"] {
        read(&with(name));
    }
    for name in deployer::config::RESERVED_BY_LAMBDA {
        let problems = Config::parse("stack.yaml", &with(name)).unwrap_err().problems;
        assert_eq!(problems[0].message, format!("`{name}` is set by Lambda itself"));
    }
}

#[test]
fn byte_order_marks_and_all_line_endings_are_accepted() {
    let config = read("\u{feff}name: app\r\nregion: us-east-1\r\noutputs:\r\n  A: x\r\n");
    assert_eq!(config.name.as_str(), "app");
    assert_eq!(config.place_of("outputs.A"), Some(Place { line: 4, column: 6 }));
}
