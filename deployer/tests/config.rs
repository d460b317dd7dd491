//! What `stack.yaml` may say, and what is said when it says something else.

use std::{collections::BTreeSet, path::Path};

use deployer::config::{Config, Place, Region};
use expect_test::{Expect, expect};
use serde_json::{Value, json};

fn shipped() -> String {
    std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("../stack.yaml")).unwrap()
}

fn read(text: &str) -> Config {
    Config::parse("stack.yaml", text).unwrap_or_else(|errors| panic!("{errors}"))
}

/// The text must be refused, and this is what the user sees.
fn check(text: &str, expected: Expect) {
    expected.assert_eq(&Config::parse("stack.yaml", text.trim_start()).expect_err("it should be refused").to_string());
}

/// The same for what stands below a name and a region: from line 3.
fn check_below_head(text: &str, expected: Expect) {
    check(&format!("{HEAD}{}", text.trim_start()), expected);
}

const HEAD: &str = "name: app\nregion: us-east-1\n";

#[test]
fn the_shipped_file_is_right() {
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
    let environment = &config.services["w"].environment;
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
fn an_unknown_key_is_named_with_the_one_that_was_meant() {
    check_below_head(
        "bukets: {}\n",
        expect![[r#"
        unknown key `bukets`
         --> stack.yaml:3:1
          |
        3 | bukets: {}
          | ^
          help: did you mean `buckets`?
    "#]],
    );
    check_below_head(
        "tables:\n  t: { partition_key: k, sortkey: s }\n",
        expect![[r#"
        unknown key `sortkey`
         --> stack.yaml:4:26
          |
        4 |   t: { partition_key: k, sortkey: s }
          |                          ^
          help: did you mean `sort_key`?
    "#]],
    );
    check_below_head(
        r#"
services:
  w: { package: w, instance_type: t3.micro, colour: red }
"#,
        expect![[r#"
            unknown key `colour`
             --> stack.yaml:4:45
              |
            4 |   w: { package: w, instance_type: t3.micro, colour: red }
              |                                             ^
              help: known are: package, binary, port, instance_type, instances, health_check, load_balancer, image, disk_gb, grace_period_s, environment, uses
        "#]],
    );
}

#[test]
fn a_wrong_type_says_what_is_there_and_what_should_be() {
    check_below_head(
        r#"
functions:
  f: { package: f, memory_mb: big, timeout_s: 1.5 }
"#,
        expect![[r#"
            `memory_mb` is a text, and should be a whole number
             --> stack.yaml:4:31
              |
            4 |   f: { package: f, memory_mb: big, timeout_s: 1.5 }
              |                               ^
              help: write a whole number from 128 to 10240, without quotes

            error: `timeout_s` is a fraction, and should be a whole number
             --> stack.yaml:4:47
              |
            4 |   f: { package: f, memory_mb: big, timeout_s: 1.5 }
              |                                               ^
              help: write a whole number from 1 to 900, without quotes
        "#]],
    );
    check_below_head(
        r#"
tables:
  t: { partition_key: k, protect: yes, sort_key: [s] }
"#,
        expect![[r#"
            `protect` is a text, and should be true or false
             --> stack.yaml:4:35
              |
            4 |   t: { partition_key: k, protect: yes, sort_key: [s] }
              |                                   ^
              help: write true, without quotes

            error: `sort_key` is a list, and should be a text
             --> stack.yaml:4:50
              |
            4 |   t: { partition_key: k, protect: yes, sort_key: [s] }
              |                                                  ^
              help: write one text, in quotes
        "#]],
    );
    check_below_head(
        "tables: [a]\n",
        expect![[r#"
            tables is a list, and should be a mapping
             --> stack.yaml:3:9
              |
            3 | tables: [a]
              |         ^
              help: write tables: { posts: { partition_key: id } }
        "#]],
    );
    check_below_head(
        "functions: { f: }\n",
        expect![[r#"
            functions.f is nothing, and should be a mapping
             --> stack.yaml:3:15
              |
            3 | functions: { f: }
              |               ^
              help: write f: { package: labeler }
        "#]],
    );
    check_below_head(
        r#"
functions:
  f: { package: f, environment: { AB: [1] }, uses: { rekognition: 1 } }
"#,
        expect![[r#"
            a list where a text belongs
             --> stack.yaml:4:39
              |
            4 |   f: { package: f, environment: { AB: [•] }, uses: { rekognition: 1 } }
              |                                       ^
              help: write one text; put quotes around it if it begins with [ or {

            error: `rekognition` is a number, and should be true or false
             --> stack.yaml:4:67
              |
            4 |   f: { package: f, environment: { AB: [•] }, uses: { rekognition: 1 } }
              |                                                                   ^
              help: write true or false, without quotes
        "#]],
    );
}

#[test]
fn what_is_missing_is_named_with_an_example() {
    check(
        "region: us-east-1\n",
        expect![[r#"
        `name` is missing
         --> stack.yaml:1:1
          |
        1 | region: us-east-1
          | ^
          help: add `name`: a name such as postagram
    "#]],
    );
    check_below_head(
        "tables:\n  t: { sort_key: s }\n",
        expect![[r#"
        `partition_key` is missing in tables.t
         --> stack.yaml:4:6
          |
        4 |   t: { sort_key: s }
          |      ^
          help: add `partition_key`: the attribute that is the partition key
    "#]],
    );
    check_below_head(
        r#"
functions:
  f: { memory_mb: 128 }
services:
  w: { package: w, binary: w }
"#,
        expect![[r#"
            functions.f has no program
             --> stack.yaml:4:6
              |
            4 |   f: { memory_mb: 128 }
              |      ^
              help: name a Cargo package with `package`, or a finished program with `binary`

            error: services.w has two programs
             --> stack.yaml:6:6
              |
            6 |   w: { package: w, binary: w }
              |      ^
              help: name a Cargo package with `package`, or a finished program with `binary`

            error: `instance_type` is missing in services.w
             --> stack.yaml:6:6
              |
            6 |   w: { package: w, binary: w }
              |      ^
              help: add `instance_type`: an instance type such as t3.micro
        "#]],
    );
}

#[test]
fn a_key_that_stands_twice_is_refused() {
    check(
        "name: a\nname: b\ntags: { a: 1, b: 2, a: 3 }\n",
        expect![[r#"
        duplicate key `name`
         --> stack.yaml:2:1
          |
        2 | name: b
          | ^
          help: it stands at 1:1 already: keep one of the two

        error: duplicate key `a`
         --> stack.yaml:3:21
          |
        3 | tags: { a: 1, b: 2, a: 3 }
          |                     ^
          help: it stands at 3:9 already: keep one of the two
    "#]],
    );
}

#[test]
fn what_is_no_yaml_is_said_to_be_none() {
    check(
        "name: [a\n",
        expect![[r#"
        a bracket that is never closed
         --> stack.yaml:1:7
          |
        1 | name: [a
          |       ^
          help: close it
    "#]],
    );
    check(
        r#"name: "a"#,
        expect![[r#"
        a quote that is never closed
         --> stack.yaml:1:7
          |
        1 | name: "a
          |       ^
          help: close it on the same line
    "#]],
    );
    check(
        "name: a\n region: b\n",
        expect![[r#"
        this is not YAML: mapping values are not allowed in this context
         --> stack.yaml:2:8
          |
        2 |  region: b
          |        ^
          help: check the indentation and the quotes around here
    "#]],
    );
    check(
        "name: a\nregion:\n\tb: c\n",
        expect![[r#"
            a tab in the indentation
             --> stack.yaml:3:1
              |
            3 | →b: c
              | ^
              help: YAML indents with blanks alone: put blanks in the place of the tab
        "#]],
    );
    check(
        "name: a\n---\nname: b\n",
        expect![[r#"
        a second document begins here
         --> stack.yaml:3:1
          |
        3 | name: b
          | ^
          help: one file describes one stack: take `---` away
    "#]],
    );
    check(
        "- a\n",
        expect![[r#"
            the file is a list, and should be a mapping
             --> stack.yaml:1:1
              |
            1 | - a
              | ^
              help: write `name: my-stack` and `region: us-east-1` first, each on a line of its own
        "#]],
    );
    check(
        "just words\n",
        expect![[r#"
            the file is a text, and should be a mapping
             --> stack.yaml:1:1
              |
            1 | just words
              | ^
              help: write `name: my-stack` and `region: us-east-1` first, each on a line of its own
        "#]],
    );
    check(
        "# nothing\n",
        expect![[r#"
        the file is empty
         --> stack.yaml:2:1
          |
        2 | 
          | ^
          help: begin with `name: my-stack` and `region: us-east-1`
    "#]],
    );
}

#[test]
fn a_reference_must_name_something() {
    check_below_head(
        r#"
tables: { posts: { partition_key: k } }
functions:
  f: { package: f, environment: { T1: "é ${tabels.posts.name}", T2: '${tables.post.name} ${tables.posts.nmae}' } }
"#,
        expect![[r#"
            there is no section `tabels`
             --> stack.yaml:5:42
              |
            5 |   f: { package: f, environment: { T1: "• ${tabels.posts.name}", T2: '${tables.post.name} ${tables.posts.nmae}' } }
              |                                          ^
              help: did you mean `tables`?

            error: there is no entry of tables `post`
             --> stack.yaml:5:70
              |
            5 |   f: { package: f, environment: { T1: "• ${tabels.posts.name}", T2: '${tables.post.name} ${tables.posts.nmae}' } }
              |                                                                      ^
              help: did you mean `posts`?

            error: there is no attribute of tables `nmae`
             --> stack.yaml:5:90
              |
            5 |   f: { package: f, environment: { T1: "• ${tabels.posts.name}", T2: '${tables.post.name} ${tables.posts.nmae}' } }
              |                                                                                          ^
              help: did you mean `name`?
        "#]],
    );
    check_below_head(
        r#"
functions:
  f: { package: f, environment: { T1: "${tables.posts}" , T2: "${tables.posts.name" } }
"#,
        expect![[r#"
            `${tables.posts}` is no reference
             --> stack.yaml:4:40
              |
            4 |   f: { package: f, environment: { T1: "${tables.posts}" , T2: "•{•••••••••••••••••" } }
              |                                        ^
              help: references look like ${buckets.images.name}; write $${ for the characters themselves

            error: `${` begins no reference
             --> stack.yaml:4:64
              |
            4 |   f: { package: f, environment: { T1: "${tables.posts}" , T2: "•{•••••••••••••••••" } }
              |                                                                ^
              help: references look like ${buckets.images.name}; write $${ for the characters themselves
        "#]],
    );
    check_below_head(
        r#"outputs: { A: "${queues.a.url}" }"#,
        expect![[r#"
        there is no section `queues`
         --> stack.yaml:3:16
          |
        3 | outputs: { A: "${queues.a.url}" }
          |                ^
          help: there are: buckets, tables, functions, services
    "#]],
    );
}

#[test]
fn a_reference_to_what_is_wrong_in_itself_is_not_called_wrong_as_well() {
    check_below_head(
        r#"
tables: { posts: { sort_key: k } }
outputs: { A: "${tables.posts.name}" }
"#,
        expect![[r#"
            `partition_key` is missing in tables.posts
             --> stack.yaml:3:18
              |
            3 | tables: { posts: { sort_key: k } }
              |                  ^
              help: add `partition_key`: the attribute that is the partition key
        "#]],
    );
}

#[test]
fn a_circle_of_references_is_shown_as_one() {
    check_below_head(
        r#"
functions:
  f: { package: f, environment: { URL: "${services.w.url}" } }
services:
  w: { package: w, instance_type: t3.micro, environment: { F: "${functions.f.arn}" } }
"#,
        expect![[r#"
            a circle of references: functions.f → services.w → functions.f
             --> stack.yaml:4:33
              |
            4 |   f: { package: f, environment: { URL: "${services.w.url}" } }
              |                                 ^
              help: take one of these references away
        "#]],
    );
    check_below_head(
        r#"
services:
  w: { package: w, instance_type: t3.micro, environment: { URL: "${services.w.url}" } }
"#,
        expect![[r#"
            a circle of references: services.w → services.w
             --> stack.yaml:4:58
              |
            4 |   w: { package: w, instance_type: t3.micro, environment: { URL: "${services.w.url}" } }
              |                                                          ^
              help: take one of these references away
        "#]],
    );
}

#[test]
fn what_is_used_must_be_there() {
    check_below_head(
        r#"
buckets:
  images: { on_upload: { function: labeller } }
functions:
  labeler: { package: f, uses: { buckets: { image: read }, tables: { t: all, u: read } } }
"#,
        expect![[r#"
            there is no function `labeller`
             --> stack.yaml:4:36
              |
            4 |   images: { on_upload: { function: labeller } }
              |                                    ^
              help: did you mean `labeler`?

            error: there is no bucket `image`
             --> stack.yaml:6:45
              |
            6 |   labeler: { package: f, uses: { buckets: { image: read }, tables: { t: all, u: read } } }
              |                                             ^
              help: did you mean `images`?

            error: this is no way to use something
             --> stack.yaml:6:73
              |
            6 |   labeler: { package: f, uses: { buckets: { image: read }, tables: { t: all, u: read } } }
              |                                                                         ^
              help: use read, write or read_write

            error: there is no table `u`
             --> stack.yaml:6:78
              |
            6 |   labeler: { package: f, uses: { buckets: { image: read }, tables: { t: all, u: read } } }
              |                                                                              ^
              help: there is none
        "#]],
    );
}

#[test]
fn names_that_would_be_too_long_in_the_cloud_are_refused_here() {
    check(
        r#"
name: a-rather-long-name-of-a-stack
region: us-east-1
services:
  web: { package: w, instance_type: t3.micro }
"#,
        expect![[r#"
            the target group would be called a-rather-long-name-of-a-stack-web-8080, which is 6 too long
             --> stack.yaml:4:3
              |
            4 |   web: { package: w, instance_type: t3.micro }
              |   ^
              help: a target group's name has at most 32 characters: shorten the name here

            error: the load balancer would be called a-rather-long-name-of-a-stack-web, which is 1 too long
             --> stack.yaml:4:3
              |
            4 |   web: { package: w, instance_type: t3.micro }
              |   ^
              help: a load balancer's name has at most 32 characters: shorten the name here
        "#]],
    );
    check(
        r#"
name: app
region: us-east-1
buckets: { a-bucket-whose-name-is-too-long-by-far: }
functions: { a-function-whose-name-is-much-too-long-for-that-of-its-role: { package: f } }
"#,
        expect![[r#"
            the bucket would be called app-a-bucket-whose-name-is-too-long-by-far-000000000000-us-east-1, which is 2 too long
             --> stack.yaml:3:12
              |
            3 | buckets: { a-bucket-whose-name-is-too-long-by-far: }
              |            ^
              help: a bucket's name has at most 63 characters: shorten the name here

            error: the role would be called app-us-east-1-a-function-whose-name-is-much-too-long-for-that-of-its-role-fn, which is 12 too long
             --> stack.yaml:4:14
              |
            4 | functions: { a-function-whose-name-is-much-too-long-for-that-of-its-role: { package: f } }
              |              ^
              help: a role's name has at most 64 characters: shorten the name here
        "#]],
    );
}

#[test]
fn names_that_cannot_be_or_are_taken_are_refused() {
    check(
        r#"
name: App
region: us-east-1
tables: { a_b: { partition_key: k } }
"#,
        expect![[r#"
            `name` cannot be "App"
             --> stack.yaml:1:7
              |
            1 | name: App
              |       ^
              help: use lower-case letters, digits and single hyphens, beginning with a letter

            error: "a_b" is no name for an entry
             --> stack.yaml:3:11
              |
            3 | tables: { a_b: { partition_key: k } }
              |           ^
              help: use lower-case letters, digits and single hyphens, beginning with a letter
        "#]],
    );
    check_below_head(
        r#"
buckets: { artifacts: }
services:
  w: { package: w, instance_type: t3.micro }
  w-lb: { package: w, instance_type: t3.micro }
"#,
        expect![[r#"
            the name `artifacts` is taken
             --> stack.yaml:3:12
              |
            3 | buckets: { artifacts: }
              |            ^
              help: the deployer keeps programs in a bucket of that name: call yours otherwise

            error: the name `w-lb` is taken
             --> stack.yaml:6:3
              |
            6 |   w-lb: { package: w, instance_type: t3.micro }
              |   ^
              help: the load balancer of `w` has a security group of that name: call it otherwise
        "#]],
    );
    check(
        r#"
name: sg
region: us-east-1
services: { w: { package: w, instance_type: t3.micro } }
"#,
        expect![[r#"
            the name of a security group must not begin with sg-
             --> stack.yaml:1:7
              |
            1 | name: sg
              |       ^
              help: choose another name for the stack
        "#]],
    );
}

#[test]
fn numbers_out_of_range_say_the_range() {
    check_below_head(
        r#"
services:
  w: { package: w, instance_type: t3.micro, instances: { min: 5, max: 2 } }
"#,
        expect![[r#"
            min (5) is more than max (2)
             --> stack.yaml:4:63
              |
            4 |   w: { package: w, instance_type: t3.micro, instances: { min: 5, max: 2 } }
              |                                                               ^
              help: lower `min` or raise `max`
        "#]],
    );
    check_below_head(
        r#"
services:
  w: { package: w, instance_type: t3.micro, instances: { max: 101, cpu_percent: 5 } }
"#,
        expect![[r#"
            `max` cannot be 101
             --> stack.yaml:4:63
              |
            4 |   w: { package: w, instance_type: t3.micro, instances: { max: 101, cpu_percent: 5 } }
              |                                                               ^
              help: use 1 to 100

            error: `cpu_percent` cannot be 5
             --> stack.yaml:4:81
              |
            4 |   w: { package: w, instance_type: t3.micro, instances: { max: 101, cpu_percent: 5 } }
              |                                                                                 ^
              help: use 10 to 100
        "#]],
    );
    check_below_head(
        r#"
services:
  w: { package: w, instance_type: t3.micro, port: 70000, load_balancer: { port: 0 } }
"#,
        expect![[r#"
            `port` cannot be 70000
             --> stack.yaml:4:51
              |
            4 |   w: { package: w, instance_type: t3.micro, port: 70000, load_balancer: { port: 0 } }
              |                                                   ^
              help: use 1 to 65535

            error: `port` cannot be 0
             --> stack.yaml:4:81
              |
            4 |   w: { package: w, instance_type: t3.micro, port: 70000, load_balancer: { port: 0 } }
              |                                                                                 ^
              help: use 1 to 65535
        "#]],
    );
    check_below_head(
        r#"
functions:
  f: { package: f, memory_mb: 64, timeout_s: 901, log_retention_days: 10 }
"#,
        expect![[r#"
            `memory_mb` cannot be 64
             --> stack.yaml:4:31
              |
            4 |   f: { package: f, memory_mb: 64, timeout_s: 901, log_retention_days: 10 }
              |                               ^
              help: use 128 to 10240

            error: `timeout_s` cannot be 901
             --> stack.yaml:4:46
              |
            4 |   f: { package: f, memory_mb: 64, timeout_s: 901, log_retention_days: 10 }
              |                                              ^
              help: use 1 to 900

            error: CloudWatch cannot keep a log for 10 days
             --> stack.yaml:4:71
              |
            4 |   f: { package: f, memory_mb: 64, timeout_s: 901, log_retention_days: 10 }
              |                                                                       ^
              help: use 14
        "#]],
    );
    check_below_head(
        r#"
functions:
  f: { package: f, memory_mb: 99999999999999999999999 }
"#,
        expect![[r#"
            `memory_mb` cannot be 99999999999999999999999
             --> stack.yaml:4:31
              |
            4 |   f: { package: f, memory_mb: 99999999999999999999999 }
              |                               ^
              help: use 128 to 10240
        "#]],
    );
    check_below_head(
        r#"
services:
  w: { package: w, instance_type: t3.micro, health_check: { interval_s: 5, timeout_s: 5, matcher: 200-600 } }
"#,
        expect![[r#"
            the timeout must be shorter than the interval
             --> stack.yaml:4:87
              |
            4 |   w: { package: w, instance_type: t3.micro, health_check: { interval_s: 5, timeout_s: 5, matcher: 200-600 } }
              |                                                                                       ^
              help: lower `timeout_s`

            error: this is no set of HTTP statuses
             --> stack.yaml:4:99
              |
            4 |   w: { package: w, instance_type: t3.micro, health_check: { interval_s: 5, timeout_s: 5, matcher: 200-600 } }
              |                                                                                                   ^
              help: write 200, 200-299 or 200,204
        "#]],
    );
}

#[test]
fn blocks_of_addresses_are_checked() {
    check_below_head(
        r#"
services:
  w: { package: w, instance_type: t3.micro, load_balancer: { allow: ["10.0.0.1/8", 10.0.0.0/+8, home, "::/0"] } }
"#,
        expect![[r#"
            "10.0.0.1/8" is no block of addresses
             --> stack.yaml:4:70
              |
            4 |   w: { package: w, instance_type: t3.micro, load_balancer: { allow: ["10.0.0.1/8", 10.0.0.0/+8, home, "::/0"] } }
              |                                                                      ^
              help: the block is 10.0.0.0/8

            error: "10.0.0.0/+8" is no block of addresses
             --> stack.yaml:4:84
              |
            4 |   w: { package: w, instance_type: t3.micro, load_balancer: { allow: ["10.0.0.1/8", 10.0.0.0/+8, home, "::/0"] } }
              |                                                                                    ^
              help: blocks are of IPv4 addresses, written like 0.0.0.0/0 or 203.0.113.7/32

            error: "home" is no block of addresses
             --> stack.yaml:4:97
              |
            4 |   w: { package: w, instance_type: t3.micro, load_balancer: { allow: ["10.0.0.1/8", 10.0.0.0/+8, home, "::/0"] } }
              |                                                                                                 ^
              help: blocks are of IPv4 addresses, written like 0.0.0.0/0 or 203.0.113.7/32

            error: "::/0" is no block of addresses
             --> stack.yaml:4:103
              |
            4 |   w: { package: w, instance_type: t3.micro, load_balancer: { allow: ["10.0.0.1/8", 10.0.0.0/+8, home, "::/0"] } }
              |                                                                                                       ^
              help: blocks are of IPv4 addresses, written like 0.0.0.0/0 or 203.0.113.7/32
        "#]],
    );
    check_below_head(
        r#"
services:
  w: { package: w, instance_type: t3.micro, load_balancer: { allow: [] } }
"#,
        expect![[r#"
            `allow` is empty in services.w.load_balancer
             --> stack.yaml:4:69
              |
            4 |   w: { package: w, instance_type: t3.micro, load_balancer: { allow: [] } }
              |                                                                     ^
              help: write allow: ["0.0.0.0/0"]
        "#]],
    );
}

#[test]
fn regions_are_known_without_asking_aws() {
    check(
        "name: app\nregion: us-esat-1\n",
        expect![[r#"
        `region` cannot be "us-esat-1"
         --> stack.yaml:2:9
          |
        2 | region: us-esat-1
          |         ^
          help: there is no region "us-esat-1" in AWS's commercial partition; did you mean "us-east-1"?
    "#]],
    );
    check(
        "name: app\nregion: mars\n",
        expect![[r#"
        `region` cannot be "mars"
         --> stack.yaml:2:9
          |
        2 | region: mars
          |         ^
          help: there is no region "mars" in AWS's commercial partition; regions are called like us-east-1
    "#]],
    );
}

#[test]
fn instance_types_are_known_without_asking_aws() {
    check_below_head(
        r#"
services:
  a: { package: w, instance_type: t33.micro }
  b: { package: w, instance_type: t3.mikro }
  c: { package: w, instance_type: huge }
  d: { package: w, instance_type: quantum.large }
"#,
        expect![[r#"
            there is no instance type "t33.micro"
             --> stack.yaml:4:35
              |
            4 |   a: { package: w, instance_type: t33.micro }
              |                                   ^
              help: did you mean t3.micro?

            error: there is no instance type "t3.mikro"
             --> stack.yaml:5:35
              |
            5 |   b: { package: w, instance_type: t3.mikro }
              |                                   ^
              help: did you mean t3.micro?

            error: there is no instance type "huge"
             --> stack.yaml:6:35
              |
            6 |   c: { package: w, instance_type: huge }
              |                                   ^
              help: instance types are called like t3.micro

            error: there is no instance type "quantum.large"
             --> stack.yaml:7:35
              |
            7 |   d: { package: w, instance_type: quantum.large }
              |                                   ^
              help: families are called like t3, t4g or m7i
        "#]],
    );
}

#[test]
fn variables_that_cannot_be_given_are_refused() {
    check_below_head(
        r#"
functions:
  f: { package: f, environment: { AWS_REGION: x, LAMBDA_TASK_ROOT: x, A: x, _B: x, C-D: x, "1E": x } }
"#,
        expect![[r#"
            `AWS_REGION` is set by Lambda itself
             --> stack.yaml:4:35
              |
            4 |   f: { package: f, environment: { AWS_REGION: •, LAMBDA_TASK_ROOT: •, A: •, _B: •, C-D: •, "1E": • } }
              |                                   ^
              help: leave it out

            error: `LAMBDA_TASK_ROOT` is set by Lambda itself
             --> stack.yaml:4:50
              |
            4 |   f: { package: f, environment: { AWS_REGION: •, LAMBDA_TASK_ROOT: •, A: •, _B: •, C-D: •, "1E": • } }
              |                                                  ^
              help: leave it out

            error: `A` cannot be a variable of a function
             --> stack.yaml:4:71
              |
            4 |   f: { package: f, environment: { AWS_REGION: •, LAMBDA_TASK_ROOT: •, A: •, _B: •, C-D: •, "1E": • } }
              |                                                                       ^
              help: Lambda takes names of at least two characters that begin with a letter

            error: `_B` cannot be a variable of a function
             --> stack.yaml:4:77
              |
            4 |   f: { package: f, environment: { AWS_REGION: •, LAMBDA_TASK_ROOT: •, A: •, _B: •, C-D: •, "1E": • } }
              |                                                                             ^
              help: Lambda takes names of at least two characters that begin with a letter

            error: "C-D" is no name of a variable
             --> stack.yaml:4:84
              |
            4 |   f: { package: f, environment: { AWS_REGION: •, LAMBDA_TASK_ROOT: •, A: •, _B: •, C-D: •, "1E": • } }
              |                                                                                    ^
              help: use letters, digits and underscores, not beginning with a digit

            error: "1E" is no name of a variable
             --> stack.yaml:4:92
              |
            4 |   f: { package: f, environment: { AWS_REGION: •, LAMBDA_TASK_ROOT: •, A: •, _B: •, C-D: •, "1E": • } }
              |                                                                                            ^
              help: use letters, digits and underscores, not beginning with a digit
        "#]],
    );
    check_below_head(
        r#"
services:
  w: { package: w, instance_type: t3.micro, environment: { PORT: 1, "A B": x } }
"#,
        expect![[r#"
            `PORT` is set by the deployer
             --> stack.yaml:4:60
              |
            4 |   w: { package: w, instance_type: t3.micro, environment: { PORT: •, "A B": • } }
              |                                                            ^
              help: leave it out: the service's `port` is where it listens

            error: "A B" is no name of a variable
             --> stack.yaml:4:69
              |
            4 |   w: { package: w, instance_type: t3.micro, environment: { PORT: •, "A B": • } }
              |                                                                     ^
              help: use letters, digits and underscores, not beginning with a digit
        "#]],
    );
    check_below_head(
        r#"
services:
  w: { package: w, instance_type: t3.micro, environment: { LINES: "a\nb", ESCAPE: "\e[2J" } }
"#,
        expect![[r#"
            a value with '\n' in it
             --> stack.yaml:4:67
              |
            4 |   w: { package: w, instance_type: t3.micro, environment: { LINES: "••••", ESCAPE: "•••••" } }
              |                                                                   ^
              help: variables hold one line, without control characters

            error: a value with '\u{1b}' in it
             --> stack.yaml:4:83
              |
            4 |   w: { package: w, instance_type: t3.micro, environment: { LINES: "••••", ESCAPE: "•••••" } }
              |                                                                                   ^
              help: variables hold one line, without control characters
        "#]],
    );
}

/// What the problems of a description advise, in their order.
fn advice(text: &str) -> Vec<String> {
    let problems = Config::parse("stack.yaml", &format!("{HEAD}{text}")).expect_err("it should be refused").problems;
    problems.into_iter().map(|problem| format!("{}: {}", problem.message, problem.help.unwrap_or_default())).collect()
}

#[test]
fn a_mapping_that_is_none_is_told_what_it_looks_like() {
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
    ] {
        let told = advice(text);
        assert!(told[0].ends_with(expected), "{text}: {told:?}");
    }
}

#[test]
fn what_was_meant_is_written_out() {
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
            "443 is the port of HTTPS: the load balancer has no certificate and speaks plain HTTP: use port 80",
        ),
    ] {
        let told = advice(text);
        assert!(told[0].contains(expected), "{text}: {told:?}");
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
fn a_function_may_have_every_variable_that_lambda_does_not_reserve() {
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
fn programs_keys_and_cors_rules_are_checked() {
    check_below_head(
        r#"
services:
  w: { package: w, instance_type: t3.micro, image: latest }
functions:
  f: { package: ./f, architecture: sparc }
  g: { binary: "" }
"#,
        expect![[r#"
            "latest" is no machine image
             --> stack.yaml:4:52
              |
            4 |   w: { package: w, instance_type: t3.micro, image: latest }
              |                                                    ^
              help: images are called like ami-0abc…; leave `image` out to use the newest Amazon Linux 2023

            error: "./f" is no name of a package
             --> stack.yaml:6:17
              |
            6 |   f: { package: ./f, architecture: sparc }
              |                 ^
              help: packages are called as in their Cargo.toml; `binary` names a file

            error: there is no architecture "sparc"
             --> stack.yaml:6:36
              |
            6 |   f: { package: ./f, architecture: sparc }
              |                                    ^
              help: use x86_64 or arm64

            error: `binary` names no file
             --> stack.yaml:7:16
              |
            7 |   g: { binary: "" }
              |                ^
              help: name a Cargo package with `package`, or a finished program with `binary`
        "#]],
    );
    check_below_head(
        r#"
tables:
  t: { partition_key: k, sort_key: k }
  u: { partition_key: "" }
"#,
        expect![[r#"
            both keys are the same attribute
             --> stack.yaml:4:36
              |
            4 |   t: { partition_key: k, sort_key: k }
              |                                    ^
              help: leave `sort_key` out, or choose another one

            error: `partition_key` cannot be so called
             --> stack.yaml:5:23
              |
            5 |   u: { partition_key: "" }
              |                       ^
              help: attributes have 1 to 255 bytes
        "#]],
    );
    check_below_head(
        r#"
buckets:
  b: { cors: { origins: [] } }
  c: { cors: { methods: [PATCH], origins: ["*.*"] } }
"#,
        expect![[r#"
            `methods` is missing in buckets.b.cors
             --> stack.yaml:4:14
              |
            4 |   b: { cors: { origins: [] } }
              |              ^
              help: write methods: [GET, HEAD, PUT]

            error: `origins` is empty in buckets.b.cors
             --> stack.yaml:4:25
              |
            4 |   b: { cors: { origins: [] } }
              |                         ^
              help: write origins: ["*"]

            error: S3 knows no method "PATCH"
             --> stack.yaml:5:26
              |
            5 |   c: { cors: { methods: [PATCH], origins: ["*.*"] } }
              |                          ^
              help: use GET, HEAD, PUT, POST, DELETE

            error: more than one `*` in "*.*"
             --> stack.yaml:5:44
              |
            5 |   c: { cors: { methods: [PATCH], origins: ["*.*"] } }
              |                                            ^
              help: S3 takes one at most
        "#]],
    );
    check_below_head(
        r#"
services:
  w: { package: w, instance_type: t3.micro, health_check: health }
"#,
        expect![[r#"
            "health" is no path
             --> stack.yaml:4:59
              |
            4 |   w: { package: w, instance_type: t3.micro, health_check: health }
              |                                                           ^
              help: paths begin with a slash, like /health
        "#]],
    );
}

#[test]
fn tags_keep_to_what_every_service_of_aws_takes() {
    check_below_head(
        r#"tags: { "aws:a": 1, Deployer:b: 2, c: "<", d: [], e: 1, E: 2 }"#,
        expect![[r#"
            "aws:a" is no name of a tag
             --> stack.yaml:3:9
              |
            3 | tags: { "aws:a": 1, Deployer:b: 2, c: "<", d: [], e: 1, E: 2 }
              |         ^
              help: tag names have 1 to 128 letters, digits, blanks and _.:/=+-@, and begin neither with aws: nor with deployer:

            error: "Deployer:b" is no name of a tag
             --> stack.yaml:3:21
              |
            3 | tags: { "aws:a": 1, Deployer:b: 2, c: "<", d: [], e: 1, E: 2 }
              |                     ^
              help: tag names have 1 to 128 letters, digits, blanks and _.:/=+-@, and begin neither with aws: nor with deployer:

            error: "<" is no value of a tag
             --> stack.yaml:3:39
              |
            3 | tags: { "aws:a": 1, Deployer:b: 2, c: "<", d: [], e: 1, E: 2 }
              |                                       ^
              help: tags have at most 256 letters, digits, blanks and _.:/=+-@

            error: a list where a text belongs
             --> stack.yaml:3:47
              |
            3 | tags: { "aws:a": 1, Deployer:b: 2, c: "<", d: [], e: 1, E: 2 }
              |                                               ^
              help: write one text; put quotes around it if it begins with [ or {

            error: `E` stands twice
             --> stack.yaml:3:57
              |
            3 | tags: { "aws:a": 1, Deployer:b: 2, c: "<", d: [], e: 1, E: 2 }
              |                                                         ^
              help: IAM does not tell capitals in tags apart
        "#]],
    );
}

#[test]
fn existing_roles_bring_the_limits_of_the_accounts_that_have_them() {
    check_below_head(
        r#"
roles: { existing: LabRole }
services:
  w: { package: w, instance_type: t3.micro, instances: { max: 10 } }
"#,
        expect![[r#"
            `instance_profile` is missing in roles
             --> stack.yaml:3:8
              |
            3 | roles: { existing: LabRole }
              |        ^
              help: services need one that exists, too: add `instance_profile: LabInstanceProfile`

            error: up to 10 instances, with existing roles
             --> stack.yaml:5:63
              |
            5 |   w: { package: w, instance_type: t3.micro, instances: { max: 10 } }
              |                                                               ^
              help: an account of AWS Academy ends all instances beyond 9, and at 20 itself: use at most 9 in all services together
        "#]],
    );
    check_below_head(
        r#"
roles: { existing: Shared, instance_profile: Shared }
services:
  a: { package: w, instance_type: t3.micro, instances: { max: 6 } }
  b: { package: w, instance_type: t3.micro }
"#,
        expect![[r#"
            up to 10 instances, with existing roles
             --> stack.yaml:6:3
              |
            6 |   b: { package: w, instance_type: t3.micro }
              |   ^
              help: an account of AWS Academy ends all instances beyond 9, and at 20 itself: use at most 9 in all services together
        "#]],
    );
    check(
        r#"
name: app
region: eu-west-1
roles: { existing: LabRole, instance_profile: LabInstanceProfile }
services: { w: { package: w, instance_type: m5.xlarge, disk_gb: 200 } }
"#,
        expect![[r#"
            AWS Academy does not allow eu-west-1
             --> stack.yaml:2:9
              |
            2 | region: eu-west-1
              |         ^
              help: use us-east-1 or us-west-2

            error: AWS Academy ends instances like m5.xlarge at once
             --> stack.yaml:4:45
              |
            4 | services: { w: { package: w, instance_type: m5.xlarge, disk_gb: 200 } }
              |                                             ^
              help: use nano to large

            error: a larger disk than AWS Academy allows
             --> stack.yaml:4:65
              |
            4 | services: { w: { package: w, instance_type: m5.xlarge, disk_gb: 200 } }
              |                                                                 ^
              help: use at most 100
        "#]],
    );
    check_below_head(
        r#"roles: { existing: "arn:aws:iam::000000000000:role/LabRole" }"#,
        expect![[r#"
        `existing` is no name in IAM
         --> stack.yaml:3:20
          |
        3 | roles: { existing: "arn:aws:iam::000000000000:role/LabRole" }
          |                    ^
          help: write the name alone, such as LabRole, without ARN or path
    "#]],
    );
    check(
        "name: app\nregion: us-east-1\naccount: 123\n",
        expect![[r#"
            `account` is a number, and should be a text
             --> stack.yaml:3:10
              |
            3 | account: 123
              |          ^
              help: write account: "123", in quotes, which keep every digit
        "#]],
    );
    check(
        "name: app\nregion: us-east-1\naccount: \"123\"\n",
        expect![[r#"
        "123" is no account
         --> stack.yaml:3:10
          |
        3 | account: "123"
          |          ^
          help: accounts are twelve digits, in quotes
    "#]],
    );
}

#[test]
fn all_problems_are_told_at_once_in_the_order_of_the_file() {
    check(
        r#"
name: App
region: mars
buckets: 3
tables: { t: { key: k } }
outputs: { A: "${tables.u.name}" }
"#,
        expect![[r#"
            `name` cannot be "App"
             --> stack.yaml:1:7
              |
            1 | name: App
              |       ^
              help: use lower-case letters, digits and single hyphens, beginning with a letter

            error: `region` cannot be "mars"
             --> stack.yaml:2:9
              |
            2 | region: mars
              |         ^
              help: there is no region "mars" in AWS's commercial partition; regions are called like us-east-1

            error: buckets is a number, and should be a mapping
             --> stack.yaml:3:10
              |
            3 | buckets: 3
              |          ^
              help: write buckets: { 3: {} }

            error: `partition_key` is missing in tables.t
             --> stack.yaml:4:14
              |
            4 | tables: { t: { key: k } }
              |              ^
              help: add `partition_key`: the attribute that is the partition key

            error: unknown key `key`
             --> stack.yaml:4:16
              |
            4 | tables: { t: { key: k } }
              |                ^
              help: known are: partition_key, sort_key, protect, point_in_time_recovery

            error: there is no entry of tables `u`
             --> stack.yaml:5:16
              |
            5 | outputs: { A: "${tables.u.name}" }
              |                ^
              help: there are: t
        "#]],
    );
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
fn what_fits_here_may_be_too_long_in_another_region() {
    let text = "name: app\nregion: us-east-1\nbuckets: { a-name-of-a-bucket-with-34-letters: }\n";
    let errors = read(text).in_region("ap-northeast-1".parse::<Region>().unwrap()).unwrap_err();
    assert_eq!(errors.problems.len(), 1, "{errors}");
    assert_eq!(errors.problems[0].place, Place { line: 3, column: 12 });
    let moved = read(HEAD).in_region("eu-west-1".parse::<Region>().unwrap()).unwrap();
    assert_eq!(moved.region.as_str(), "eu-west-1");
}

#[test]
fn of_very_many_problems_the_first_are_shown() {
    let text: String = (0..1_000).map(|n| format!("k{n}: 1\n")).collect();
    let shown = Config::parse("stack.yaml", &text).unwrap_err().to_string();
    assert!(shown.contains("`k5`") && !shown.contains("`k500`"));
    assert!(shown.ends_with("… and 982 more\n"), "{}", &shown[shown.len() - 40..]);
}

#[test]
fn empty_huge_and_binary_files_are_refused_and_not_choked_on() {
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
fn neither_depth_nor_aliases_exhaust_anything() {
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
fn marks_of_encodings_and_ends_of_lines_of_other_systems_are_taken() {
    let config = read("\u{feff}name: app\r\nregion: us-east-1\r\noutputs:\r\n  A: x\r\n");
    assert_eq!(config.name.as_str(), "app");
    assert_eq!(config.place_of("outputs.A"), Some(Place { line: 4, column: 6 }));
}

/// A small generator of our own: the same mutations on every machine.
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

/// Whether it is refused; it must neither panic when it is read nor when its errors are shown.
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
fn no_shuffling_of_the_words_of_the_shipped_file_makes_it_panic() {
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

/// A description with every mapping whose keys are ours, and where the schema describes it.
fn every_mapping() -> (Value, Vec<(&'static str, String)>) {
    let text = json!({
        "name": "app", "region": "us-east-1", "roles": { "existing": "R", "instance_profile": "R" },
        "buckets": { "b": { "cors": { "methods": ["GET"] }, "on_upload": { "function": "f" } } },
        "tables": { "t": { "partition_key": "k" } },
        "functions": { "f": { "package": "f", "uses": {} } },
        "services": { "s": {
            "package": "s", "instance_type": "t3.micro", "instances": {}, "health_check": {}, "load_balancer": {}, "uses": {},
        } },
    });
    let entry = |section: &str| format!("/properties/{section}/additionalProperties");
    let below = |section: &str, key: &str| format!("{}/properties/{key}", entry(section));
    let mappings = vec![
        ("", String::new()),
        ("/roles", "/properties/roles".into()),
        ("/buckets/b", entry("buckets")),
        ("/buckets/b/cors", below("buckets", "cors")),
        ("/buckets/b/on_upload", below("buckets", "on_upload")),
        ("/tables/t", entry("tables")),
        ("/functions/f", entry("functions")),
        ("/functions/f/uses", below("functions", "uses")),
        ("/services/s", entry("services")),
        ("/services/s/instances", below("services", "instances")),
        ("/services/s/health_check", below("services", "health_check/oneOf/1")),
        ("/services/s/load_balancer", below("services", "load_balancer")),
        ("/services/s/uses", below("services", "uses")),
    ];
    (text, mappings)
}

#[test]
fn the_schema_knows_the_keys_that_the_reader_knows() {
    let (text, mappings) = every_mapping();
    let schema = schema();
    read(&text.to_string());
    for (place, described) in &mappings {
        let mut text = text.clone();
        text.pointer_mut(place).unwrap()["not-a-key-of-ours"] = json!(1);
        let problems = Config::parse("stack.yaml", &text.to_string()).unwrap_err().problems;
        let help = problems[0].help.as_deref().unwrap();
        let known = help.strip_prefix("known are: ").unwrap_or_else(|| panic!("{place}: {help}"));
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
fn the_schema_tells_the_values_that_the_reader_takes_for_what_is_left_out() {
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
