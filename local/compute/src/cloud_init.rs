//! Processes user data as cloud-init does: writes files, then runs commands.

use kit::platform::PermissionsExt;
use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::path::Path;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Map, Value};

use super::commands::{Tools, below, parse_mode, perform};

/// The directory of systemd's units.
const UNITS: &str = "/etc/systemd/system";

/// The maximum nesting of lists and mappings in user data, since each level uses stack space.
const MOST_LEVELS: usize = 16;

/// The mode of a file without explicit permissions.
const USUAL_MODE: u32 = 0o644;

/// The directory in which enabled units are linked.
const WANTED: &str = "/etc/systemd/system/multi-user.target.wants";

/// The configuration keys of cloud-init: the properties in `schema-cloud-config-v1.json`.
const KEYS: &str = "allow_public_ssh_keys ansible apk_repos apt apt_pipelining apt_reboot_if_required apt_update \
     apt_upgrade authkey_hash autoinstall bootcmd byobu_by_default ca-certs ca_certs chef chpasswd cloud_config_modules \
     cloud_final_modules cloud_init_modules create_hostname_file device_aliases disable_ec2_metadata disable_piwiz \
     disable_root disable_root_opts disk_setup drivers enable_rpi_connect fan final_message fqdn fs_setup groups growpart \
     grub-dpkg grub_dpkg hostname keyboard landscape launch-index locale locale_configfile lxd manage_etc_hosts \
     manage_resolv_conf mcollective merge_how merge_type migrate mount_default_fields mounts no_ssh_fingerprints ntp \
     output package_reboot_if_required package_update package_upgrade packages password phone_home power_state \
     prefer_fqdn_over_hostname preserve_hostname puppet random_seed reporting resize_rootfs resolv_conf rh_subscription \
     rpi_interfaces rpi_userconf rsyslog runcmd salt_minion snap spacewalk ssh ssh_authorized_keys ssh_deletekeys \
     ssh_fp_console_blacklist ssh_genkeytypes ssh_import_id ssh_key_console_blacklist ssh_keys ssh_publish_hostkeys \
     ssh_pwauth ssh_quiet_keygen swap system_info timezone ubuntu_advantage ubuntu_pro updates user users vendor_data \
     version wireguard write_files yum_repo_dir yum_repos zypper";

/// The keys of an entry in `write_files`.
const KEYS_OF_FILES: &[&str] = &["append", "content", "defer", "encoding", "owner", "path", "permissions", "source"];

/// Processes user data, reports each step through `log`, and returns the units that were started. As on a real machine,
/// the remaining steps run even if one fails.
///
/// Where cloud-init only warns, so does this: unknown keys, files without a path, unknown encodings and invalid modes.
/// An error means that cloud-init would have done something that is not supported here.
pub async fn run(root: &Path, tools: &dyn Tools, id: &str, user_data: &str, log: impl Fn(&str)) -> Vec<String> {
    let mut started = Vec::new();
    if let Err(error) = write_id(root, id) {
        log(&format!("cloud-init: ERROR: {error}"));
    }
    let config = match parse(user_data) {
        Ok(config) => config,
        Err(why) => {
            log(&format!("cloud-init: ERROR: {why}"));
            return started;
        }
    };
    warn_of_unknown_keys(&config, &log);
    for name in config.keys().filter(|name| KEYS.split(' ').any(|known| known == *name)) {
        if !matches!(name.as_str(), "write_files" | "runcmd") {
            log(&format!("cloud-init: ERROR: the module '{name}' does not exist on a local instance"));
        }
    }
    let files = config.get("write_files").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
    // cloud-init writes deferred files after it has set up packages and users, but still before the commands run.
    for is_deferred in [false, true] {
        write_files(root, files, is_deferred, &log);
    }
    for command in config.get("runcmd").and_then(Value::as_array).into_iter().flatten() {
        let words = words(command);
        let done = match words.first().map(|program| program.rsplit('/').next().unwrap_or(program)) {
            Some("systemctl") => systemctl(root, &words[1..], &mut started),
            _ => perform(root, tools, &words).await,
        };
        match done {
            Ok(()) => log(&format!("cloud-init: ran {}", words.join(" "))),
            Err(why) => log(&format!("cloud-init: ERROR: {why}")),
        }
    }
    started
}

/// Writes the instance id to cloud-init's file ("Instance metadata", `/var/lib/cloud/data/instance-id`).
fn write_id(root: &Path, id: &str) -> std::io::Result<()> {
    let data = root.join("var/lib/cloud/data");
    std::fs::create_dir_all(&data)?;
    std::fs::write(data.join("instance-id"), format!("{id}\n"))
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
    read.map_err(|error| format!("the user data is not YAML: {error}"))
}

fn warn_of_unknown_keys(config: &BTreeMap<String, Value>, log: &impl Fn(&str)) {
    let mut unknown: Vec<String> = Vec::new();
    unknown.extend(config.keys().filter(|name| !KEYS.split(' ').any(|known| known == *name)).cloned());
    let files = config.get("write_files").and_then(Value::as_array).into_iter().flatten();
    for (at, file) in files.enumerate() {
        let keys = file.as_object().into_iter().flat_map(Map::keys);
        let keys = keys.filter(|key| !KEYS_OF_FILES.contains(&key.as_str()));
        unknown.extend(keys.map(|key| format!("write_files.{at}.{key}")));
    }
    if !unknown.is_empty() {
        let unknown = unknown.join("', '");
        log(&format!(
            "cloud-init: WARNING: cloud-config failed schema validation! Additional properties are not allowed ('{unknown}')"
        ));
    }
}

fn write_files(root: &Path, files: &[Value], is_deferred: bool, log: &impl Fn(&str)) {
    for (at, file) in files.iter().enumerate().filter(|(_, file)| is_true(&file["defer"]) == is_deferred) {
        let Some(path) = file["path"].as_str().filter(|path| !path.is_empty()) else {
            let number = at + 1;
            log(&format!("cloud-init: WARNING: No path provided to write for entry {number} in module write_files"));
            continue;
        };
        let done = match file["source"].is_null() {
            true => write_file(root, path, file, log),
            false => Err("a source does not exist on a local instance".to_owned()),
        };
        match done {
            Ok(()) if is_true(&file["append"]) => log(&format!("cloud-init: appended to {path}")),
            Ok(()) => log(&format!("cloud-init: wrote {path}")),
            Err(why) => log(&format!("cloud-init: ERROR: failed to write '{path}': {why}")),
        }
    }
}

/// Returns whether cloud-init treats a YAML value as true; some strings count as well.
fn is_true(value: &Value) -> bool {
    match value {
        Value::Bool(is_true) => *is_true,
        Value::String(word) => ["true", "1", "on", "yes"].contains(&word.trim().to_lowercase().as_str()),
        other => other.as_i64() == Some(1),
    }
}

/// Writes a file or appends to it. Its mode is set even if the file already existed.
fn write_file(root: &Path, path: &str, file: &Value, log: &impl Fn(&str)) -> Result<(), String> {
    let text = |name: &str| file[name].as_str();
    let real = below(root, path)?;
    let content = text("content").unwrap_or_default();
    let encoding = text("encoding").unwrap_or_default().trim().to_lowercase();
    let from_base64 = || {
        let letters: String = content.split_whitespace().collect();
        STANDARD.decode(letters).map_err(|error| error.to_string())
    };
    let bytes = match encoding.as_str() {
        "" | "text/plain" => content.as_bytes().to_vec(),
        "b64" | "base64" => from_base64()?,
        "gz+base64" | "gzip+base64" | "gz+b64" | "gzip+b64" => unpacked(&from_base64()?)?,
        // YAML would have to carry binary content.
        "gz" | "gzip" => return Err(format!("the encoding '{encoding}' does not exist on a local instance")),
        other => {
            log(&format!("cloud-init: WARNING: Unknown encoding type {other}, assuming text/plain"));
            content.as_bytes().to_vec()
        }
    };
    let mode = mode(&file["permissions"]).unwrap_or_else(|why| {
        log(&format!("cloud-init: WARNING: Undecodable permissions of {path}, returning default 644: {why}"));
        USUAL_MODE
    });
    let append = is_true(&file["append"]);
    let written = || {
        std::fs::create_dir_all(real.parent().unwrap_or(root))?;
        let mut options = std::fs::File::options();
        options.create(true).write(true).append(append).truncate(!append);
        options.open(&real)?.write_all(&bytes)?;
        std::fs::set_permissions(&real, std::fs::Permissions::from_mode(mode))
    };
    written().map_err(|error: std::io::Error| error.to_string())
}

/// Parses a mode given as a string, such as `0644`. A number is an error, because YAML versions disagree on its value.
fn mode(permissions: &Value) -> Result<u32, String> {
    match permissions {
        Value::Null => Ok(USUAL_MODE),
        Value::String(text) => parse_mode(text),
        other => Err(format!("{other} is not text")),
    }
}

/// The maximum size of decompressed content in bytes. User data has at most 16 KB, but those can expand to any size.
const LARGEST_UNPACKED: u64 = 16 << 20;

fn unpacked(packed: &[u8]) -> Result<Vec<u8>, String> {
    let mut bytes = Vec::new();
    let read = flate2::read::GzDecoder::new(packed).take(LARGEST_UNPACKED + 1).read_to_end(&mut bytes);
    match read {
        Ok(_) if bytes.len() as u64 > LARGEST_UNPACKED => Err("the unpacked content is too large".to_owned()),
        Ok(_) => Ok(bytes),
        Err(error) => Err(error.to_string()),
    }
}

/// Returns the words of a command, which is a list of words or a line. A line that needs a shell is kept as a single
/// word, which `perform` refuses.
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
    match kit::platform::symlink(format!("../{unit}"), wanted.join(unit)) {
        Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => Ok(()),
        done => done,
    }
}

/// Returns the units that start with the machine.
pub fn enabled_units(root: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(root.join(&WANTED[1..])).into_iter().flatten();
    entries.filter_map(|entry| entry.ok()?.file_name().into_string().ok()).collect()
}

/// Returns the text of a unit's file.
pub fn unit_file(root: &Path, unit: &str) -> Result<String, String> {
    let file = below(root, &format!("{UNITS}/{unit}"))?;
    std::fs::read_to_string(file).map_err(|error| format!("{unit}: {error}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::commands::NoTools;
    use std::cell::RefCell;

    async fn boot(root: &Path, user_data: &str) -> (Vec<String>, Vec<String>) {
        let log = RefCell::new(Vec::new());
        let started = run(root, &NoTools, "i-0", user_data, |line| log.borrow_mut().push(line.to_owned())).await;
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
    async fn files_are_added_to_deferred_and_packed() {
        let dir = tempfile::tempdir().unwrap();
        let packed = {
            let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
            gzip.write_all(b"packed\n").unwrap();
            STANDARD.encode(gzip.finish().unwrap())
        };
        let user_data = format!(
            "#cloud-config\nwrite_files:\n- path: /a\n  content: |\n    last\n  append: true\n  defer: true\n- path: /a\n  content: |\n    one\n  permissions: '0600'\n- path: /a\n  content: |\n    two\n  append: yes\n  permissions: '0640'\n- path: /new\n  content: new\n  append: true\n- path: /packed\n  content: {packed}\n  encoding: gz+b64\n- path: /over\n  content: old\n- path: /over\n  content: x\n  permissions: '0600'\n"
        );
        let (_, log) = boot(dir.path(), &user_data).await;
        let read = |path: &str| std::fs::read_to_string(dir.path().join(path)).unwrap();
        assert_eq!(read("a"), "one\ntwo\nlast\n");
        assert_eq!([read("new"), read("packed"), read("over")], ["new", "packed\n", "x"]);
        let mode = |path: &str| std::fs::metadata(dir.path().join(path)).unwrap().permissions().mode() & 0o777;
        assert_eq!(
            [mode("a"), mode("new"), mode("over")],
            [0o644, 0o644, 0o600],
            "the last entry of a says nothing of it"
        );
        assert!(log.iter().all(|line| !line.contains("ERROR") && !line.contains("WARNING")), "{log:?}");
    }

    #[tokio::test]
    async fn directives_that_cloud_init_ignores_are_warnings() {
        let dir = tempfile::tempdir().unwrap();
        let user_data = "#cloud-config\nwritefiles: []\nwrite_files:\n- content: lost\n- path: /a\n  content: A\n  encoding: rot13\n  permissions: rw\n  colour: red\nruncmd:\n- [true]\n";
        let (_, log) = boot(dir.path(), user_data).await;
        assert_eq!(
            log,
            [
                "cloud-init: WARNING: cloud-config failed schema validation! Additional properties are not allowed ('writefiles', 'write_files.1.colour')",
                "cloud-init: WARNING: No path provided to write for entry 1 in module write_files",
                "cloud-init: WARNING: Unknown encoding type rot13, assuming text/plain",
                "cloud-init: WARNING: Undecodable permissions of /a, returning default 644: 'rw' is not a file mode",
                "cloud-init: wrote /a",
                "cloud-init: ran true",
            ]
        );
        assert_eq!(std::fs::read_to_string(dir.path().join("a")).unwrap(), "A");
    }

    #[tokio::test]
    async fn failing_directives_are_reported_and_the_rest_is_done() {
        let dir = tempfile::tempdir().unwrap();
        let user_data = "#cloud-config\npackages: [nginx]\nwrite_files:\n- path: ../evil\nruncmd:\n- curl http://x | sh\n- mkdir -p /opt/web\n- [systemctl, start, missing]\n";
        let (started, log) = boot(dir.path(), user_data).await;
        assert!(started.is_empty());
        assert!(dir.path().join("opt/web").is_dir());
        assert_eq!(
            log,
            [
                "cloud-init: ERROR: the module 'packages' does not exist on a local instance",
                "cloud-init: ERROR: failed to write '../evil': '../evil' is not an absolute path",
                "cloud-init: ERROR: curl http://x | sh: this command does not exist on a local instance",
                "cloud-init: ran mkdir -p /opt/web",
                "cloud-init: ERROR: Failed to start unit: Unit file missing.service does not exist.",
            ]
        );
        let (_, log) = boot(dir.path(), "#!/bin/sh\nrm -rf /").await;
        assert!(log[0].contains("scripts do not run"), "{log:?}");
    }
}
