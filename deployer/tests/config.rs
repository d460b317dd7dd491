//! What `stack.yaml` may say, and what is said when it says something else.

use std::path::Path;

use deployer::config::Config;

fn shipped() -> String {
    std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("../stack.yaml")).unwrap()
}

/// The text must be refused with these lines: place, message and remedy of each problem.
fn check(text: &str, expected: &[(&str, &str, &str)]) {
    let errors = Config::parse("stack.yaml", text).expect_err("it should be refused");
    let found: Vec<(String, String, String)> = errors
        .problems
        .iter()
        .map(|problem| {
            let place = format!("{}:{}", problem.place.line, problem.place.column);
            (place, problem.message.clone(), problem.help.clone().unwrap_or_default())
        })
        .collect();
    let found: Vec<(&str, &str, &str)> =
        found.iter().map(|(place, message, help)| (&**place, &**message, &**help)).collect();
    assert_eq!(found, expected, "\n{errors}");
    for problem in &errors.problems {
        assert!(errors.to_string().contains(&format!("stack.yaml:{}:{}", problem.place.line, problem.place.column)));
    }
}

const HEAD: &str = "name: app\nregion: us-east-1\n";

fn check_below_head(text: &str, expected: &[(&str, &str, &str)]) {
    check(&format!("{HEAD}{text}"), expected);
}

#[test]
fn the_shipped_file_is_right() {
    let config = Config::parse("stack.yaml", &shipped()).unwrap_or_else(|errors| panic!("{errors}"));
    assert_eq!(config.name.as_str(), "postagram");
    let web = &config.services["web"];
    assert_eq!((u16::from(web.port), web.instances.min, web.instances.max), (8080, 1, 4));
    assert_eq!(web.health_check.path, "/health");
    assert_eq!(
        config.outputs.iter().map(|(name, _)| name.as_str()).collect::<Vec<_>>(),
        ["BUCKET", "DYNAMO_TABLE", "URL"]
    );
    assert_eq!(config.place_of("services.web.port").map(|place| place.column), Some(11));
}

#[test]
fn several_entries_of_every_section_are_read() {
    let text = format!(
        "{HEAD}tables:\n  a: {{ partition_key: k }}\n  b: {{ partition_key: k, protect: true }}\n\
         buckets: {{ one: , two: }}\nfunctions:\n  f: {{ package: f }}\n  g: {{ binary: ./g, architecture: arm64 }}\n\
         services:\n  v: {{ package: v, instance_type: t4g.small }}\n  w: {{ package: w, instance_type: t3.micro }}\n"
    );
    let config = Config::parse("stack.yaml", &text).unwrap_or_else(|errors| panic!("{errors}"));
    let counts = [config.tables.len(), config.buckets.len(), config.functions.len(), config.services.len()];
    assert_eq!(counts, [2, 2, 2, 2]);
    assert!(config.tables["b"].protect);
}

#[test]
fn an_unknown_key_is_named_with_the_one_that_was_meant() {
    check_below_head("bukets: {}\n", &[("3:1", "unknown key `bukets`", "did you mean `buckets`?")]);
    check_below_head(
        "tables:\n  t: { partition_key: k, sortkey: s }\n",
        &[("4:26", "unknown key `sortkey`", "did you mean `sort_key`?")],
    );
}

#[test]
fn a_wrong_type_says_what_is_there_and_what_should_be() {
    check_below_head(
        "functions:\n  f: { package: f, memory_mb: big }\n",
        &[("4:31", "`memory_mb` is a text, and should be a number", "write a whole number, without quotes")],
    );
    check_below_head(
        "tables:\n  t: { partition_key: k, protect: \"yes\" }\n",
        &[("4:35", "`protect` is a text, and should be true or false", "write true or false, without quotes")],
    );
    check_below_head(
        "tables: [a]\n",
        &[("3:9", "tables is a list, and should be a mapping", "write `key: value` lines below it, indented")],
    );
}

#[test]
fn what_is_missing_is_named_with_an_example() {
    check("region: us-east-1\n", &[("1:1", "`name` is missing", "add `name`: a name such as postagram")]);
    check_below_head(
        "tables:\n  t: { sort_key: s }\n",
        &[(
            "4:6",
            "`partition_key` is missing in tables.t",
            "add `partition_key`: the attribute that is the partition key",
        )],
    );
    check_below_head(
        "functions:\n  f: { memory_mb: 128 }\n",
        &[(
            "4:6",
            "functions.f has no program",
            "name a Cargo package with `package`, or a finished program with `binary`",
        )],
    );
}

#[test]
fn a_key_that_stands_twice_is_refused() {
    check("name: a\nname: b\n", &[("2:1", "duplicate mapping key: name", "keep one of the two")]);
}

#[test]
fn references_must_name_something() {
    let function = |text: &str| {
        format!(
            "tables:\n  posts: {{ partition_key: k }}\nfunctions:\n  f: {{ package: f, environment: {{ T: \"{text}\" }} }}\n"
        )
    };
    check_below_head(
        &function("${tabels.posts.name}"),
        &[("6:38", "there is no section `tabels`", "did you mean `tables`?")],
    );
    check_below_head(
        &function("${tables.post.name}"),
        &[("6:38", "there is no entry of tables `post`", "did you mean `posts`?")],
    );
    check_below_head(
        &function("${tables.posts.nmae}"),
        &[("6:38", "there is no attribute of tables `nmae`", "did you mean `name`?")],
    );
    check_below_head(
        &function("${tables.posts}"),
        &[(
            "6:39",
            "`${tables.posts}` is no reference",
            "references look like ${buckets.images.name}; write $${ for the characters themselves",
        )],
    );
}

#[test]
fn a_circle_of_references_is_shown_as_one() {
    check_below_head(
        "functions:\n  f: { package: f, environment: { U: \"${services.w.url}\" } }\nservices:\n  \
         w: { package: w, instance_type: t3.micro, environment: { F: \"${functions.f.arn}\" } }\n",
        &[(
            "4:33",
            "a circle of references: functions.f → services.w → functions.f",
            "take one of these references away",
        )],
    );
}

#[test]
fn names_that_would_be_too_long_in_the_cloud_are_refused_here() {
    check(
        "name: a-rather-long-name-of-a-stack\nregion: us-east-1\nservices:\n  web: { package: w, instance_type: t3.micro }\n",
        &[
            (
                "4:3",
                "the target group would be called a-rather-long-name-of-a-stack-web-8080, which is 6 too long",
                "a target group's name has at most 32 characters: shorten the name here",
            ),
            (
                "4:3",
                "the load balancer would be called a-rather-long-name-of-a-stack-web, which is 1 too long",
                "a load balancer's name has at most 32 characters: shorten the name here",
            ),
        ],
    );
}

#[test]
fn numbers_out_of_range_say_the_range() {
    let service = |rest: &str| format!("services:\n  w: {{ package: w, instance_type: t3.micro, {rest} }}\n");
    check_below_head(
        &service("instances: { min: 5, max: 2 }"),
        &[("4:63", "min (5) is more than max (2)", "lower `min` or raise `max`")],
    );
    check_below_head(&service("port: 70000"), &[("4:51", "`port` cannot be 70000", "use 1 to 65535")]);
    check_below_head(
        &service("load_balancer: { allow: [\"10.0.0.1/8\"] }"),
        &[("4:70", "\"10.0.0.1/8\" is no block of addresses", "the block is 10.0.0.0/8")],
    );
}

#[test]
fn regions_and_instance_types_are_known_without_asking_aws() {
    check(
        "name: app\nregion: us-esat-1\n",
        &[("2:9", "`region` cannot be \"us-esat-1\"", "there is no region \"us-esat-1\"; did you mean \"us-east-1\"?")],
    );
    check_below_head(
        "services:\n  w: { package: w, instance_type: t33.micro }\n",
        &[("4:35", "there is no instance type \"t33.micro\"", "did you mean t3.micro?")],
    );
}

#[test]
fn what_is_used_must_be_there() {
    check_below_head(
        "buckets:\n  images: { on_upload: { function: labeller } }\nfunctions:\n  labeler: { package: f, uses: { buckets: { image: read } } }\n",
        &[
            ("4:36", "there is no function `labeller`", "did you mean `labeler`?"),
            ("6:45", "there is no bucket `image`", "did you mean `images`?"),
        ],
    );
}

#[test]
fn existing_roles_bring_the_limits_of_the_accounts_that_have_them() {
    let errors = Config::parse(
        "stack.yaml",
        &format!("{HEAD}roles: {{ existing: LabRole }}\nservices:\n  w: {{ package: w, instance_type: t3.micro, instances: {{ max: 10 }} }}\n"),
    )
    .unwrap_err();
    let messages: Vec<&str> = errors.problems.iter().map(|problem| problem.message.as_str()).collect();
    assert_eq!(messages, ["`instance_profile` is missing in roles", "too many instances"]);
}

#[test]
fn all_problems_are_told_at_once_in_the_order_of_the_file() {
    let errors = Config::parse("stack.yaml", "name: App\nregion: mars\nbuckets: 3\n").unwrap_err();
    assert_eq!(errors.problems.iter().map(|problem| problem.place.line).collect::<Vec<_>>(), [1, 2, 3]);
}

#[test]
fn a_problem_is_shown_with_its_line_and_a_caret() {
    let errors = Config::parse("stack.yaml", "name: app\nregion: us-est-1\n").unwrap_err();
    let shown = "`region` cannot be \"us-est-1\"\n --> stack.yaml:2:9\n  |\n2 | region: us-est-1\n  |         ^\n  \
                 help: there is no region \"us-est-1\"; did you mean \"us-east-1\"?\n";
    assert_eq!(errors.to_string(), shown);
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
    assert!(Config::read(&folder.path().join("none.yaml")).unwrap_err().to_string().contains("cannot be read"));
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

#[test]
fn no_mutation_of_the_shipped_file_makes_it_panic() {
    let shipped: Vec<char> = shipped().chars().collect();
    let pool: Vec<char> = "{}[]:,-\"'$&*!|>%@#\n\t é0aA\u{0}".chars().collect();
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
        let text: String = text.into_iter().collect();
        if let Err(errors) = Config::parse("stack.yaml", &text) {
            refused += 1;
            assert!(!errors.to_string().is_empty());
        }
    }
    assert!(refused > 500, "only {refused} of 2000 mutations were refused");
}

#[test]
fn the_schema_for_editors_is_current() {
    let copy = Path::new(env!("CARGO_MANIFEST_DIR")).join("../stack.schema.json");
    let copy = std::fs::read_to_string(copy).unwrap_or_default();
    assert!(copy == deployer::schema::schema(), "refresh it: cargo run -- schema > stack.schema.json");
}
