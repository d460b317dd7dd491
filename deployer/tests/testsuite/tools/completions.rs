//! Completions, manual pages and the first screen.

use std::process::Command;

use clap::CommandFactory as _;
use deployer::commands::cli::Cli;

use super::offline::SMALL;
use crate::support::Project;

#[test]
fn completions_know_the_commands_and_their_options() {
    let project = Project::with(SMALL);
    for shell in ["bash", "zsh", "fish", "powershell", "elvish"] {
        let script = project.done(&["completions", shell]).stdout;
        for word in ["validate", "no-wait", "detailed-exitcode"] {
            assert!(script.contains(word), "{shell}: {word}");
        }
    }
    assert_eq!(project.run(&["completions", "cmd"]).code, 64);

    // The completions of bash after `deployer up --no`.
    std::fs::write(project.path().join("script"), project.done(&["completions", "bash"]).stdout).expect("a file");
    let typed = "source ./script; COMP_WORDS=(deployer up --no); COMP_CWORD=2; _deployer deployer --no up; \
                 printf '%s\\n' \"${COMPREPLY[@]}\"";
    let offered = Command::new("bash").args(["--norc", "-c", typed]).current_dir(project.path()).output();
    let offered = offered.expect("there is a bash");
    let text = String::from_utf8_lossy(&offered.stdout).into_owned();
    assert_eq!(text, "--no-wait\n", "{}", String::from_utf8_lossy(&offered.stderr));
}

#[test]
fn every_command_has_a_manual_page() {
    let project = Project::with(SMALL);
    let said = project.done(&["man", "share/man1"]);
    assert!(said.stderr.contains("share/man1"), "{}", said.all());
    let page = |name: &str| {
        let file = project.path().join("share/man1").join(name);
        std::fs::read_to_string(&file).unwrap_or_else(|error| panic!("{}: {error}", file.display()))
    };
    let help = project.done(&["--help"]).stdout;
    let (_, commands) = help.split_once("Commands:\n").expect("the commands");
    let commands: Vec<&str> = commands
        .lines()
        .take_while(|line| !line.is_empty())
        .filter_map(|line| line.split_whitespace().next())
        .collect();
    assert!(commands.contains(&"up") && commands.contains(&"man"), "{commands:?}");
    for command in commands.iter().filter(|command| help.contains(&format!("\n  {command} "))) {
        assert!(page(&format!("deployer-{command}.1")).contains(".SH NAME"), "{command}");
    }
    assert!(page("deployer-up.1").contains("\\-\\-no\\-wait") && page("deployer-local-start.1").contains(".SH NAME"));
    assert_eq!(page("deployer.1"), project.done(&["man"]).stdout);

    let refused = project.run(&["man", "stack.yaml"]);
    assert_eq!(refused.code, 1, "{}", refused.all());
    assert!(refused.stderr.contains("failed to write the manual pages to stack.yaml"), "{}", refused.all());
}

/// The names of all commands, each with its help, such as `local start`.
fn commands(command: &clap::Command, path: &str) -> Vec<(String, String)> {
    let below = command.get_subcommands().flat_map(|it| commands(it, &format!("{path} {}", it.get_name())));
    let after = command.get_after_help().map(ToString::to_string).unwrap_or_default();
    [(path.to_owned(), after)].into_iter().chain(below).collect()
}

#[test]
fn every_command_has_an_example() {
    let all = commands(&Cli::command(), "deployer");
    let has = |name: &str| all.iter().any(|(path, _)| path == name);
    assert!(has("deployer up") && has("deployer local chaos") && has("deployer secret rm"), "{all:?}");
    for (path, help) in &all {
        let (_, examples) = help.split_once("Examples:\n").unwrap_or_else(|| panic!("{path} has no examples: {help}"));
        let is_example = |line: &str| line.starts_with("  ") && line.contains(path.as_str());
        assert!(examples.lines().any(is_example), "{path} is in none of its examples: {examples}");
    }
}

#[test]
fn without_arguments_it_introduces_itself() {
    let project = Project::with(SMALL);
    let said = project.run(&[]);
    assert_eq!((said.code, said.stdout.as_str()), (64, ""), "{}", said.all());
    assert!(said.stderr.lines().count() < 10 && said.stderr.lines().all(|line| line.len() <= 80), "{}", said.all());
    assert!(said.stderr.contains("deployer up --local"), "{}", said.all());
}

#[test]
fn the_words_of_other_tools_name_ours() {
    let project = Project::with(SMALL);
    for (word, ours) in [
        ("deploy", "deployer calls it `up`"),
        ("apply", "deployer calls it `up`"),
        ("destroy", "deployer calls it `down`"),
        ("delete", "deployer calls it `down`"),
        ("diff", "deployer calls it `plan`"),
        ("import", "deployer calls it `adopt`"),
        ("state", "no state file"),
    ] {
        let said = project.run(&["--local", word, "--auto-approve"]);
        assert_eq!(said.code, 64, "{}", said.all());
        assert!(said.stderr.starts_with(&format!("error: {word}: ")) && said.stderr.contains(ours), "{}", said.all());
        assert!(said.stderr.contains("\nhint: "), "{}", said.all());
    }
    let typo = project.run(&["validat"]);
    assert!(typo.code == 64 && typo.stderr.contains("'validate'"), "{}", typo.all());
}
