//! `init`: the templates.

use deployer::config::{Config, Program};
use testkit::small_programs::{echo_function, tiny_service};

use super::offline::SMALL;
use crate::support::Project;

/// A folder of this name without a description.
fn empty(name: &str) -> Project {
    let project = Project::with(SMALL);
    std::fs::remove_file(project.path().join("stack.yaml")).expect("it is there");
    std::fs::create_dir(project.path().join(name)).expect("the folder can be written to");
    project
}

const TEMPLATES: [&str; 3] = ["postagram", "service", "function"];

#[test]
fn every_template_is_valid_and_so_is_every_field_that_it_suggests() {
    for template in TEMPLATES {
        let project = empty("x");
        let said = project.done(&["init", "--template", template, "--name", "shop", "--region", "us-west-2"]);
        assert!(said.stderr.starts_with("wrote stack.yaml: the stack shop, "), "{}", said.all());
        project.done(&["validate"]);
        let text = project.description();
        assert!(text.lines().all(|line| line.chars().count() <= 100), "{text}");
        let config = Config::parse("stack.yaml", &text).expect("it is valid");
        assert_eq!((config.name.as_str(), config.region.as_str()), ("shop", "us-west-2"));
        let lines: Vec<&str> = text.lines().collect();
        let mut suggested = 0;
        for (index, line) in lines.iter().enumerate() {
            let Some((indent, field)) = line.split_once("# ").filter(|(indent, _)| indent.trim().is_empty()) else {
                continue;
            };
            let is_field =
                field.split_once(": ").is_some_and(|(key, _)| key.chars().all(|c| c.is_lowercase() || c == '_'));
            if is_field {
                suggested += 1;
                let field = format!("{indent}{field}");
                let with = [&lines[..index], &[field.as_str()], &lines[index + 1..]].concat().join("\n");
                Config::parse("stack.yaml", &with).unwrap_or_else(|errors| panic!("{errors}"));
            }
        }
        assert!(suggested > 0, "{text}");
    }
}

#[test]
fn the_template_of_the_shipped_app_describes_the_shipped_app() {
    let project = empty("x");
    project.done(&["init", "--template", "postagram", "--name", "postagram"]);
    let (written, shipped) = (project.description(), Project::postagram().description());
    let [written, shipped] = [written, shipped].map(|text| Config::parse("stack.yaml", &text).expect("it is valid"));
    let parts = |config: &Config| {
        let mut config = config.clone();
        // The programs are those of this build in one of them.
        let program = || Program::Package("it".into());
        config.functions.values_mut().for_each(|function| function.program = program());
        config.services.values_mut().for_each(|service| service.program = program());
        let Config { name, region, tags, buckets, tables, functions, services, outputs, verify, .. } = config;
        let text = format!(
            "{name} {region} {tags:?} {buckets:?} {tables:?} {functions:?} {services:?} {outputs:?} {verify:?}"
        );
        // References are in other lines.
        let (mut rest, mut parts) = (text.as_str(), String::new());
        while let Some((before, after)) = rest.split_once("Place {") {
            parts += before;
            rest = after.split_once('}').expect("the end of a place").1;
        }
        parts + rest
    };
    assert_eq!(parts(&written), parts(&shipped));
}

#[test]
fn init_never_overwrites_and_names_the_stack_after_its_folder() {
    let project = empty("My_Shop");
    project.done(&["init", "--file", "My_Shop/stack.yaml"]);
    let text = std::fs::read_to_string(project.path().join("My_Shop/stack.yaml")).expect("it was written");
    assert!(text.contains("\nname: my-shop\n") && text.contains("    package: My_Shop\n"), "{text}");

    project.describe("mine");
    let said = project.run(&["init"]);
    assert_eq!(said.code, 64, "{}", said.all());
    assert!(said.stderr.contains("stack.yaml exists already") && said.stderr.contains("--file PATH"), "{}", said.all());
    assert_eq!(project.description(), "mine");
    std::fs::remove_file(project.path().join("stack.yaml")).expect("it is there");
    std::os::unix::fs::symlink("elsewhere", project.path().join("stack.yaml")).expect("a link can be made");
    assert_eq!(project.run(&["init"]).code, 64);
    assert!(!project.path().join("elsewhere").exists(), "a link is not followed");

    for arguments in [
        &["init", "--file", "a.yaml", "--name", "Shop"][..],
        &["init", "--file", "a.yaml", "--name", &"long".repeat(12)],
        &["init", "--file", "a.yaml", "--region", "us-esat-1"],
        &["init", "--file", "a.yaml", "--template", "queue"],
    ] {
        let said = project.run(arguments);
        assert_eq!(said.code, 64, "{arguments:?}: {}", said.all());
        assert!(!project.path().join("a.yaml").exists(), "{arguments:?}");
    }
    assert_eq!(project.run(&["init", "--file", "nowhere/a.yaml"]).code, 1);
}

#[test]
fn what_init_writes_comes_up_on_this_machine() {
    for (template, programs) in [
        ("service", vec![("package: shop", tiny_service().to_owned())]),
        ("function", vec![("package: shop", echo_function().to_owned())]),
        (
            "postagram",
            vec![("package: labeler", echo_function().to_owned()), ("package: service", tiny_service().to_owned())],
        ),
    ] {
        let project = empty("x");
        let said = project.done(&["init", "--template", template, "--name", "shop"]);
        assert!(said.stderr.contains("`binary`"), "there is no Cargo.toml: {}", said.all());
        assert!(said.stderr.contains("next: name the programs; then `deployer up --local`"), "{}", said.all());
        programs.iter().for_each(|(package, path)| project.edit(package, &format!("binary: {}", path.display())));
        let up = project.done(&["up", "--local", "--yes"]);
        match template {
            "function" => assert!(up.output("BUCKET").starts_with("shop-files-"), "{}", up.all()),
            _ => assert!(up.output("URL").starts_with("http://127.0.0.1:"), "{}", up.all()),
        }
        project.done(&["down", "--local", "--yes"]);
    }
}
