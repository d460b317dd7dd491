//! Valid descriptions in `stack.yaml`, and the errors of invalid ones.

use std::{collections::BTreeSet, path::Path};

use deployer::config::{Config, Place, Region};
use expect_test::{expect, expect_file};
use serde_json::{Value, json};

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

/// The messages and the advice of a description's problems, in order.
fn advice(text: &str) -> Vec<String> {
    let problems = Config::parse("stack.yaml", &format!("{HEAD}{text}")).expect_err("it should be refused").problems;
    problems.into_iter().map(|problem| format!("{}: {}", problem.message, problem.help.unwrap_or_default())).collect()
}

#[test]
fn a_value_in_place_of_a_mapping_is_explained() {
    let service = "package: w, instance_type: t3.micro";
    for (text, expected) in [
        ("tags: cloud", "write tags: { cloud: value }"),
        ("buckets: images", "write buckets: { images: {} }"),
        ("buckets: { images: yes }", "write images: { protect: true }"),
        ("tables: [posts]", "write tables: { posts: { partition_key: id } }"),
        ("tables: { posts: user }", "write posts: { partition_key: user }"),
        ("functions: labeler", "write functions: { labeler: { package: labeler } }"),
        ("functions: { f: labeler }", "write f: { package: labeler }"),
        ("services: { w: service }", "write w: { package: service, instance_type: t3.micro }"),
        ("outputs: [A]", "write outputs: { NAME: value }"),
        ("roles: LabRole", "write roles: { existing: LabRole, instance_profile: LabInstanceProfile }"),
        ("buckets: { b: { on_upload: labeler } }", "write on_upload: { function: labeler }"),
        ("buckets: { b: { cors: true } }", "write cors: { methods: [GET, PUT] }"),
        ("functions: { f: { package: f, uses: [images] } }", "write uses: { buckets: { images: read_write } }"),
        ("functions: { f: { package: f, uses: { buckets: pics } } }", "write buckets: { pics: read_write }"),
        ("functions: { f: { package: f, uses: { tables: [t] } } }", "write tables: { posts: read_write }"),
        ("functions: { f: { package: f, environment: [A=1] } }", "write environment: { NAME: value }"),
        (&format!("services: {{ w: {{ {service}, instances: 4 }} }}"), "write instances: { min: 1, max: 4 }"),
        (&format!("services: {{ w: {{ {service}, load_balancer: 8081 }} }}"), "write load_balancer: { port: 8081 }"),
        (&format!("services: {{ w: {{ {service}, health_check: 5 }} }}"), "write health_check: { path: /health }"),
        (&format!("services: {{ w: {{ {service}, uses: x }} }}"), "write uses: { buckets: { x: read_write } }"),
        ("buckets: { b: { cors: { methods: GET } } }", "write methods: [GET]"),
        ("verify: [page]", "write verify: { steps: { page: { request: GET / } } }"),
        ("verify: { steps: { page: /index.html } }", "write page: { request: GET /index.html }"),
        ("verify: { steps: { p: { request: GET http://x/, expect: 201 } } }", "write expect: { status: 201 }"),
        ("verify: { steps: { p: { request: GET http://x/, capture: { id: /id } } } }", "write id: { json: /id }"),
    ] {
        let advised = advice(text);
        assert!(advised[0].ends_with(expected), "{text}: {advised:?}");
    }
}

#[test]
fn a_value_of_the_wrong_type_is_shown_as_it_should_be_written() {
    for (text, expected) in [
        (
            "account: 012345678901",
            "`account` is a number, and should be a text: write account: \"012345678901\", in quotes",
        ),
        (
            "account: 123456789012",
            "`account` is a number, and should be a text: write account: \"123456789012\", in quotes",
        ),
        ("tables: { t: { partition_key: 1.5 } }", "is a fraction, and should be a text: write partition_key: \"1.5\""),
        ("tables: { t: { partition_key: k, protect: yes } }", "write true, without quotes"),
        ("tables: { t: { partition_key: k, protect: \"off\" } }", "write false, without quotes"),
        ("functions: { f: { package: f, memory_mb: \"512\" } }", "write memory_mb: 512, without quotes"),
        ("functions: { f: { package: f, memory_mb: 512MB } }", "write a whole number from 128 to 10240"),
        ("functions: { f: { package: f, architecture: amd64 } }", "use x86_64, as AWS calls it"),
        ("functions: { f: { package: f, architecture: aarch64 } }", "use arm64, as AWS calls it"),
        ("buckets: { b: { cors: { methods: [GET], origins: [1] } } }", "a number in a list of texts: write \"1\""),
        (
            "services: { w: { package: w, instance_type: t3.micro, load_balancer: { port: 443 } } }",
            "443 is the port of HTTPS: this is the port for plain HTTP: use 80",
        ),
    ] {
        let advised = advice(text);
        assert!(advised[0].contains(expected), "{text}: {advised:?}");
    }
}

#[test]
fn a_tab_is_named_wherever_it_indents() {
    for (text, place) in [
        ("name: a\nregion:\n\tb: c\n", Place { line: 3, column: 1 }),
        ("name: a\ntables:\n  t:\n  \tpartition_key: k\n", Place { line: 4, column: 3 }),
        ("name: a\n\tregion: b\n", Place { line: 2, column: 1 }),
        ("name: a\ntags:\n  a: b\n\tc: d\n", Place { line: 4, column: 1 }),
    ] {
        let problems = Config::parse("stack.yaml", text).unwrap_err();
        assert_eq!(
            (problems.problems[0].message.as_str(), problems.problems[0].place),
            ("a tab in the indentation", place)
        );
        assert!(problems.to_string().contains('→'), "it is to be seen: {problems}");
    }
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
fn no_error_quotes_the_value_of_a_variable() {
    let function = "functions:\n  f:\n    package: f\n    environment:\n      TOKEN: hunter2\n";
    for wrong in [
        "      PASSWORD: \"hunter2\\n\"\n",
        "      PASSWORD: hunter2${x\n",
        "      PASSWORD: ${hunter2!\n",
        "      PASSWORD: [hunter2]\n",
        "      A B: hunter2\n",
        "      PASSWORD: \"hunter2\n",
        "      PASSWORD: 'hunter2' hunter2\n",
        "      OTHER: { A: hunter2 }\n",
    ] {
        let errors = Config::parse("stack.yaml", &format!("{HEAD}{function}{wrong}")).expect_err(wrong).to_string();
        assert!(!errors.contains("hunter2"), "{wrong}: {errors}");
    }
    for wrong in ["hunter2", "[TOKEN=hunter2]", "\n    - TOKEN=hunter2"] {
        let text = format!("{HEAD}functions:\n  f:\n    package: f\n    environment: {wrong}\n");
        let errors = Config::parse("stack.yaml", &text).expect_err(wrong).to_string();
        assert!(!errors.contains("hunter2"), "{wrong}: {errors}");
    }
    let flow = format!(
        "{HEAD}functions: {{ f: {{ package: f, environment: {{ A: hunter2, BC: \"hunter2\" }}, colour: red }} }}\n"
    );
    let errors = Config::parse("stack.yaml", &flow).unwrap_err().to_string();
    assert!(!errors.contains("hunter2") && errors.contains("colour: red") && errors.contains("BC"), "{errors}");
}

#[test]
fn an_environment_larger_than_lambda_takes_is_refused() {
    let large = "x".repeat(4_200);
    let errors = Config::parse(
        "stack.yaml",
        &format!("{HEAD}functions: {{ f: {{ package: f, environment: {{ AB: {large} }} }} }}\n"),
    );
    let problems = errors.unwrap_err().problems;
    assert_eq!(problems.len(), 1);
    assert_eq!(problems[0].message, "an environment of 4202 bytes");
}

#[test]
fn a_name_that_fits_in_one_region_may_be_too_long_in_another() {
    let text = "name: app\nregion: us-east-1\nbuckets: { a-name-of-a-bucket-with-34-letters: }\n";
    let errors = read(text).in_region("ap-northeast-1".parse::<Region>().unwrap()).unwrap_err();
    assert_eq!(errors.problems.len(), 1, "{errors}");
    assert_eq!(errors.problems[0].place, Place { line: 3, column: 12 });
    let moved = read(HEAD).in_region("eu-west-1".parse::<Region>().unwrap()).unwrap();
    assert_eq!(moved.region.as_str(), "eu-west-1");
}

#[test]
fn of_many_problems_the_first_are_shown() {
    let text: String = (0..1_000).map(|n| format!("k{n}: 1\n")).collect();
    let shown = Config::parse("stack.yaml", &text).unwrap_err().to_string();
    assert!(shown.contains("`k5`") && !shown.contains("`k500`"));
    assert!(shown.ends_with("… and 982 more\n"), "{}", &shown[shown.len() - 40..]);
}

#[test]
fn empty_huge_and_binary_files_are_refused() {
    assert!(Config::parse("stack.yaml", "").unwrap_err().to_string().contains("the file is empty"));
    let huge = "#".repeat((1 << 20) + 1);
    assert!(Config::parse("stack.yaml", &huge).unwrap_err().to_string().contains("larger than 1 MiB"));
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("stack.yaml");
    std::fs::write(&file, [0xff, 0xfe, 0x00]).unwrap();
    assert!(Config::read(&file).unwrap_err().to_string().contains("is not UTF-8"));
    assert!(Config::read(folder.path()).unwrap_err().to_string().contains("cannot be read: it is a directory"));
    assert!(Config::read(&folder.path().join("none.yaml")).unwrap_err().to_string().contains("cannot be read"));
}

#[test]
fn depth_and_aliases_are_limited() {
    let deep = format!("name: {}", "[".repeat(100_000));
    assert!(Config::parse("stack.yaml", &deep).unwrap_err().to_string().contains("too many levels"));
    let bomb: String = "abcdefg"
        .chars()
        .zip("xabcdef".chars())
        .map(|(this, last)| {
            let item = if last == 'x' { "x".into() } else { format!("*{last}") };
            format!("{this}: &{this} [{}]\n", vec![item; 10].join(","))
        })
        .collect();
    assert!(Config::parse("stack.yaml", &bomb).unwrap_err().to_string().contains("too much"));
}

#[test]
fn byte_order_marks_and_all_line_endings_are_accepted() {
    let config = read("\u{feff}name: app\r\nregion: us-east-1\r\noutputs:\r\n  A: x\r\n");
    assert_eq!(config.name.as_str(), "app");
    assert_eq!(config.place_of("outputs.A"), Some(Place { line: 4, column: 6 }));
}

/// A small generator, so that the mutations are the same on every machine.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 % sides as u64) as usize
    }
}

const POOL: &str = "{}[]:,-\"'$&*!|>%@#?~\\\n\t é0aA\u{0}\u{7f}\u{feff}\u{1f600}";

/// Whether it is invalid; neither parsing it nor displaying its errors may panic.
fn is_refused(text: &str) -> bool {
    Config::parse("stack.yaml", text).is_err_and(|errors| !errors.to_string().is_empty())
}

#[test]
fn no_mutation_of_the_shipped_file_makes_it_panic() {
    let shipped: Vec<char> = shipped().chars().collect();
    let pool: Vec<char> = POOL.chars().collect();
    let mut dice = Dice(0x5eed);
    let mut refused = 0;
    for _ in 0..2_000 {
        let mut text = shipped.clone();
        for _ in 0..=dice.roll(6) {
            let at = dice.roll(text.len());
            match dice.roll(3) {
                0 => drop(text.remove(at)),
                1 => text.insert(at, pool[dice.roll(pool.len())]),
                _ => text[at] = pool[dice.roll(pool.len())],
            }
        }
        refused += usize::from(is_refused(&text.into_iter().collect::<String>()));
    }
    assert!(refused > 500, "only {refused} of 2000 mutations were refused");
}

#[test]
fn no_shuffle_of_the_words_of_the_shipped_file_makes_it_panic() {
    let shipped = shipped();
    let words: Vec<&str> = shipped.split_inclusive([' ', '\n', ':']).collect();
    let mut dice = Dice(0xdeca);
    let mut refused = 0;
    for _ in 0..1_000 {
        let mut text = words.clone();
        for _ in 0..=dice.roll(3) {
            let (at, other) = (dice.roll(text.len()), dice.roll(text.len()));
            match dice.roll(3) {
                0 => drop(text.remove(at)),
                1 => text.insert(at, words[dice.roll(words.len())]),
                _ => text.swap(at, other),
            }
        }
        refused += usize::from(is_refused(&text.concat()));
    }
    assert!(refused > 250, "only {refused} of 1000 shufflings were refused");
}

#[test]
fn garbage_is_refused() {
    let pool: Vec<char> = POOL.chars().collect();
    let mut dice = Dice(0x9a5b);
    for _ in 0..500 {
        let text: String = (0..dice.roll(200)).map(|_| pool[dice.roll(pool.len())]).collect();
        assert!(is_refused(&text), "{text:?}");
    }
}

#[test]
fn the_schema_for_editors_is_current() {
    let copy = Path::new(env!("CARGO_MANIFEST_DIR")).join("../stack.schema.json");
    let copy = std::fs::read_to_string(copy).unwrap_or_default();
    assert!(copy == deployer::config::schema::schema(), "refresh it: cargo run -- schema > stack.schema.json");
}

#[test]
fn the_reference_is_current() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/stack.md");
    let text = std::fs::read_to_string(&path).unwrap();
    let (before, rest) = text.split_once("<!-- fields -->\n").expect("the place of the table");
    let (_, after) = rest.split_once("<!-- end of fields -->").expect("the end of the table");
    let table = deployer::config::fields::reference();
    let current = format!("{before}<!-- fields -->\n{table}<!-- end of fields -->{after}");
    if std::env::var_os("UPDATE_REFERENCE").is_some() {
        std::fs::write(path, current).unwrap();
    } else {
        assert!(text == current, "refresh it: UPDATE_REFERENCE=1 cargo test --test config the_reference");
    }
}

fn schema() -> Value {
    serde_json::from_str(&deployer::config::schema::schema()).unwrap()
}

/// A description with every mapping whose keys are defined by the format, and where the schema describes each mapping.
fn every_mapping() -> (Value, Vec<(&'static str, String)>) {
    let variables = json!({ "AA": { "secret": "s" }, "BB": { "parameter": "p" }, "CC": { "value": "v" } });
    let text = json!({
        "name": "app", "region": "us-east-1", "roles": { "existing": "R", "instance_profile": "R" },
        "network": { "vpc": "vpc-0", "subnets": ["subnet-0", "subnet-1"] },
        "buckets": { "b": { "cors": { "methods": ["GET"] }, "on_upload": { "function": "f" }, "lifecycle": {} } },
        "tables": { "t": {
            "partition_key": { "name": "k" }, "sort_key": { "name": "s" },
            "indexes": { "one": { "partition_key": { "name": "a" }, "sort_key": { "name": "b" } } },
            "local_indexes": { "two": { "sort_key": { "name": "c" } } },
        } },
        "functions": { "f": { "package": "f", "uses": {}, "environment": variables } },
        "services": { "s": {
            "environment": variables, "package": "s", "instance_type": "t3.micro", "instances": {}, "health_check": {}, "load_balancer": {}, "uses": {},
        }, "t": {
            "package": "t", "instance_type": "t3.micro", "behind": { "service": "s", "path": "/t" },
        } },
        "verify": { "service": "s", "steps": { "v": { "request": "GET /", "expect": {}, "capture": { "c": { "json": "/id" } } } } },
    });
    let entry = |section: &str| format!("/properties/{section}/additionalProperties");
    let variable = |section: &str, form: usize| {
        format!("{}/properties/environment/additionalProperties/anyOf/{form}", entry(section))
    };
    let below = |section: &str, key: &str| format!("{}/properties/{key}", entry(section));
    let index = below("tables", "indexes/additionalProperties");
    let local_index = below("tables", "local_indexes/additionalProperties");
    let step = "/properties/verify/properties/steps/additionalProperties".to_owned();
    let mappings = vec![
        ("", String::new()),
        ("/roles", "/properties/roles".into()),
        ("/network", "/properties/network/oneOf/1".into()),
        ("/buckets/b", entry("buckets")),
        ("/buckets/b/cors", below("buckets", "cors")),
        ("/buckets/b/on_upload", below("buckets", "on_upload")),
        ("/buckets/b/lifecycle", below("buckets", "lifecycle")),
        ("/tables/t", entry("tables")),
        ("/tables/t/partition_key", below("tables", "partition_key/oneOf/1")),
        ("/tables/t/sort_key", below("tables", "sort_key/oneOf/1")),
        ("/tables/t/indexes/one", index.clone()),
        ("/tables/t/indexes/one/partition_key", format!("{index}/properties/partition_key/oneOf/1")),
        ("/tables/t/indexes/one/sort_key", format!("{index}/properties/sort_key/oneOf/1")),
        ("/tables/t/local_indexes/two", local_index.clone()),
        ("/tables/t/local_indexes/two/sort_key", format!("{local_index}/properties/sort_key/oneOf/1")),
        ("/functions/f", entry("functions")),
        ("/functions/f/uses", below("functions", "uses")),
        ("/functions/f/environment/AA", variable("functions", 1)),
        ("/functions/f/environment/BB", variable("functions", 2)),
        ("/functions/f/environment/CC", variable("functions", 3)),
        ("/services/s", entry("services")),
        ("/services/s/environment/AA", variable("services", 1)),
        ("/services/s/environment/BB", variable("services", 2)),
        ("/services/s/environment/CC", variable("services", 3)),
        ("/services/s/instances", below("services", "instances")),
        ("/services/s/health_check", below("services", "health_check/oneOf/1")),
        ("/services/s/load_balancer", below("services", "load_balancer")),
        ("/services/s/uses", below("services", "uses")),
        ("/services/t/behind", below("services", "behind")),
        ("/verify", "/properties/verify".into()),
        ("/verify/steps/v", step.clone()),
        ("/verify/steps/v/expect", format!("{step}/properties/expect")),
        ("/verify/steps/v/capture/c", format!("{step}/properties/capture/additionalProperties")),
    ];
    (text, mappings)
}

#[test]
fn the_schema_has_the_keys_of_the_reader() {
    let (text, mappings) = every_mapping();
    let schema = schema();
    read(&text.to_string());
    for (place, described) in &mappings {
        let mut text = text.clone();
        text.pointer_mut(place).unwrap()["not-a-key-of-ours"] = json!(1);
        let problems = Config::parse("stack.yaml", &text.to_string()).unwrap_err().problems;
        let help = problems[0].help.as_deref().unwrap();
        let known = help.strip_prefix("known keys: ").unwrap_or_else(|| panic!("{place}: {help}"));
        let known: BTreeSet<&str> = known.split(", ").collect();
        let properties = schema.pointer(described).unwrap()["properties"].as_object().unwrap();
        assert_eq!(properties.keys().map(String::as_str).collect::<BTreeSet<_>>(), known, "{place}");
    }
    assert_eq!(mappings.len(), mappings_in(&schema), "a mapping of the schema is not in this test");
}

fn mappings_in(schema: &Value) -> usize {
    let own = usize::from(schema["properties"].is_object());
    let parts = schema.as_object().map(|parts| parts.values().map(mappings_in).sum::<usize>());
    let items = schema.as_array().map(|items| items.iter().map(mappings_in).sum::<usize>());
    own + parts.or(items).unwrap_or_default()
}

#[test]
fn the_schema_has_the_defaults_of_the_reader() {
    let (text, _) = every_mapping();
    let config = read(&text.to_string());
    let (function, service) = (&config.functions["f"], &config.services["s"]);
    let (instances, health) = (&service.instances, &service.health_check);
    let schema = schema();
    let usual = |pointer: &str| schema.pointer(pointer).unwrap()["default"].as_u64().unwrap();
    let functions = "/properties/functions/additionalProperties/properties";
    let services = "/properties/services/additionalProperties/properties";
    for (pointer, taken) in [
        (format!("{functions}/memory_mb"), function.memory_mb),
        (format!("{functions}/timeout_s"), function.timeout_s),
        (format!("{services}/port"), service.port.into()),
        (format!("{services}/disk_gb"), service.disk_gb),
        (format!("{services}/grace_period_s"), service.grace_period_s),
        (format!("{services}/load_balancer/properties/port"), service.load_balancer.port.into()),
        (format!("{services}/instances/properties/min"), instances.min),
        (format!("{services}/instances/properties/max"), instances.max),
        (format!("{services}/instances/properties/cpu_percent"), instances.cpu_percent),
        (format!("{services}/health_check/oneOf/1/properties/interval_s"), health.interval_s),
        (format!("{services}/health_check/oneOf/1/properties/timeout_s"), health.timeout_s),
        (format!("{services}/health_check/oneOf/1/properties/healthy"), health.healthy),
        (format!("{services}/health_check/oneOf/1/properties/unhealthy"), health.unhealthy),
    ] {
        assert_eq!(usual(&pointer), u64::from(taken), "{pointer}");
    }
}
