//! Errors in the values of a stack.yaml.

use deployer::config::{Config, Place, Region};

use super::{HEAD, read};

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
        (
            &format!("services: {{ w: {{ {service}, load_balancer: 8081 }} }}"),
            "load_balancer: internal, or load_balancer: none",
        ),
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
