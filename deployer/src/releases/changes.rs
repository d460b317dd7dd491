//! The differences between two releases.

use base64::{Engine as _, engine::general_purpose::STANDARD};

use super::Release;
use crate::{
    engine::{Change, Resource as _, diff},
    kinds::{
        function::{self, Function},
        launch_template::LaunchTemplate,
    },
    page::user_data,
};

/// The number of digits of a program's hash to show.
pub const SHORT: usize = 8;

/// The names of settings, as users know them, by their paths.
const NAMES: &[(&str, &str)] = &[
    ("program", "program"),
    ("port", "port"),
    ("environment", "environment"),
    ("start_up", "start-up commands"),
    ("architecture", "architecture"),
    ("memory_mb", "memory"),
    ("timeout_s", "timeout"),
    ("runtime", "runtime"),
    ("handler", "handler"),
    ("role", "role"),
    ("log_group", "log group"),
    ("image", "image"),
    ("instance_type", "instance type"),
    ("disk", "disk"),
    ("instance_profile", "instance profile"),
    ("security_groups", "security groups"),
    ("metadata", "metadata service"),
    ("tags", "tags"),
];

/// Returns the differences: program, variables, and everything else that an instance is launched with.
pub fn changes(from: &Release, to: &Release) -> Vec<Change> {
    let mut changes = Vec::new();
    let program = |release: &Release| release.program().map(|it| it.sha256.to_owned()).unwrap_or_default();
    changes.extend(differing("program", &short(&program(from)), &short(&program(to))));
    let mut has_new_start = false;
    for change in diff(&from.settings, &to.settings) {
        let change = change.hidden_below(LaunchTemplate::SECRET);
        let path = change.path.clone();
        match path.as_str() {
            // The image itself is compared, whether pinned or not.
            "image" => (),
            "user_data" | "user_data.commands" => has_new_start = start(from) != start(to),
            "user_data.environment.PORT" => {
                let port = |release: &Release| release.port().unwrap_or_default().to_owned();
                changes.extend(differing("port", &port(from), &port(to)));
            }
            _ => changes.push(Change { path: renamed(&path), ..change }),
        }
    }
    // The port is part of the commands.
    let has_new_port = matches!((from.port(), to.port()), (Some(old), Some(new)) if old != new);
    if has_new_start && !has_new_port {
        changes.push(Change { path: "start_up".into(), ..hidden("user_data") });
    }
    changes.extend(differing("image", &from.image, &to.image));
    // The same tags are on instances and on their disks.
    changes.dedup_by(|next, kept| next.path == kept.path);
    changes
}

/// Returns the differences between two releases of a function: program, variables and configuration.
pub fn of_functions(from: &function::Settings, to: &function::Settings) -> Vec<Change> {
    let differs = |change: Change| match change.path.as_str() {
        "code_sha256" => differing("program", &short(&hex(&from.code_sha256)), &short(&hex(&to.code_sha256))),
        _ => Some(change.hidden_below(Function::SECRET)),
    };
    diff(from, to).into_iter().filter_map(differs).collect()
}

/// The hash of a function's code in hexadecimal; Lambda writes it in base64.
pub fn hex(sha256: &str) -> String {
    STANDARD.decode(sha256).map(hex::encode).unwrap_or_default()
}

/// Describes the difference in one phrase, without values of variables.
pub fn phrase(changes: &[Change]) -> String {
    let mut parts: Vec<String> = Vec::new();
    for (setting, name) in NAMES {
        let of_it: Vec<&Change> = changes.iter().filter(|change| top(&change.path) == *setting).collect();
        let mut details: Vec<String> = of_it.iter().filter_map(|change| detail(change)).collect();
        details.sort();
        if !of_it.is_empty() {
            parts.push(format!("{name} {}", details.join(", ")).trim_end().to_owned());
        }
    }
    if parts.is_empty() { "nothing".into() } else { parts.join("; ") }
}

/// The names of variables, and the values that are short and never secret.
fn detail(change: &Change) -> Option<String> {
    match top(&change.path) {
        "environment" => change.path.split_once('.').map(|(_, name)| name.to_owned()),
        "port" | "instance_type" | "disk" | "memory_mb" | "timeout_s" | "architecture" | "runtime" | "handler" => {
            let (from, to) = (change.from.as_ref()?.open()?, change.to.as_ref()?.open()?);
            Some(format!("{from} → {to}"))
        }
        _ => None,
    }
}

fn top(path: &str) -> &str {
    path.split('.').next().unwrap_or(path)
}

fn renamed(path: &str) -> String {
    let path = path.strip_prefix("user_data.").unwrap_or(path);
    match top(path) {
        "instance_tags" | "volume_tags" => path.replacen(top(path), "tags", 1),
        "metadata_endpoint" | "metadata_tokens" | "metadata_hops" => path.replacen("metadata_", "metadata.", 1),
        _ => path.to_owned(),
    }
}

/// The user data without the variables and the program, which are compared separately.
fn start(release: &Release) -> String {
    let text = user_data::commands(&release.settings.user_data).unwrap_or_else(|| release.settings.user_data.clone());
    release.program().map(|it| text.replace(it.sha256, "")).unwrap_or(text)
}

/// A change that shows no values.
fn hidden(path: &str) -> Change {
    Change::of(path, Some("".into()), Some("".into())).hidden_below(&[path])
}

fn differing(path: &str, from: &str, to: &str) -> Option<Change> {
    let value = |text: &str| (!text.is_empty()).then(|| text.into());
    (from != to).then(|| Change::of(path, value(from), value(to)))
}

/// The first digits of a hash.
pub fn short(sha256: &str) -> String {
    sha256.chars().take(SHORT).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::releases::tests::release;

    fn check(change: impl Fn(&mut Release), expected: &str) {
        let before = release(1, &"a".repeat(64), &[("A", "1"), ("TOKEN", "hunter2")]);
        let mut after = before.clone();
        change(&mut after);
        let changes = changes(&before, &after);
        assert_eq!(phrase(&changes), expected);
        assert!(!format!("{changes:?}").contains("hunter"), "{changes:?}");
    }

    #[test]
    fn what_changed_is_said_in_one_phrase() {
        let (a, b) = ("a".repeat(64), "b".repeat(64));
        check(|_| (), "nothing");
        check(|it| *it = release(2, &b, &[("A", "1"), ("TOKEN", "hunter2")]), "program");
        check(|it| *it = release(2, &a, &[("B", "1"), ("TOKEN", "hunter3")]), "environment A, B, TOKEN");
        check(|it| *it = release(2, &b, &[("A", "2"), ("TOKEN", "hunter2")]), "program; environment A");
        let swapped = |it: &mut Release, from: &str, to: &str| {
            it.settings.user_data = it.settings.user_data.replace(from, to);
        };
        check(|it| swapped(it, "RestartSec=2", "RestartSec=9"), "start-up commands");
        check(|it| swapped(it, "8080", "8081"), "port 8080 → 8081");
        check(|it| it.settings.user_data = "#cloud-config".into(), "program; start-up commands");
        check(|it| it.settings.instance_type = "t3.small".into(), "instance type t3.micro → t3.small");
        check(|it| it.settings.disk.gb = 12, "disk 8 → 12");
        check(|it| it.image = "ami-2".into(), "image");
        check(|it| it.settings.image = Some("ami-1".into()), "nothing");
        check(|it| it.settings.metadata_hops = 2, "metadata service");
        check(|it| it.settings.instance_profile = "other".into(), "instance profile");
        check(|it| it.settings.security_groups.extend(["sg-2".to_owned()]), "security groups");
        let tagged = |it: &mut Release| {
            it.settings.instance_tags.insert("team".into(), "red".into());
            it.settings.volume_tags.insert("team".into(), "red".into());
        };
        check(tagged, "tags");
    }
}
