//! The commands for files: `cp`, `mkdir`, `chmod` and `sha256sum`.

use kit::platform::PermissionsExt;
use std::path::Path;

use sha2::{Digest as _, Sha256};

use super::below;

/// `cp FROM TO` or `mv FROM TO`, for files.
pub(super) fn copy(
    name: &str,
    root: &Path,
    arguments: &[&str],
    act: fn(&Path, &Path) -> std::io::Result<()>,
) -> Result<(), String> {
    match arguments {
        [from, to] if !from.starts_with('-') => {
            let (source, target) = (below(root, from)?, below(root, to)?);
            act(&source, &target).map_err(|error| format!("{name}: cannot replace '{to}' by '{from}': {error}"))
        }
        _ => Err(format!("{name} {}: only `{name} FROM TO` exists on a local instance", arguments.join(" "))),
    }
}

pub(super) fn mkdir(root: &Path, arguments: &[&str]) -> Result<(), String> {
    let (options, paths): (Vec<&str>, Vec<&str>) = arguments.iter().partition(|word| word.starts_with('-'));
    for path in paths {
        let real = below(root, path)?;
        let made = if options.contains(&"-p") { std::fs::create_dir_all(&real) } else { std::fs::create_dir(&real) };
        made.map_err(|error| format!("mkdir: cannot create directory '{path}': {error}"))?;
    }
    Ok(())
}

pub(super) fn chmod(root: &Path, arguments: &[&str]) -> Result<(), String> {
    let Some((mode, paths)) = arguments.split_first() else {
        return Err("chmod: missing operand".to_owned());
    };
    for path in paths {
        let real = below(root, path)?;
        let failed = |error| format!("chmod: cannot access '{path}': {error}");
        let before = std::fs::metadata(&real).map_err(failed)?.permissions().mode();
        let mode = match *mode {
            "+x" | "a+x" => before | 0o111,
            octal => parse_mode(octal)?,
        };
        std::fs::set_permissions(&real, std::fs::Permissions::from_mode(mode)).map_err(failed)?;
    }
    Ok(())
}

/// `sha256sum --check [--quiet] FILE`: checks files against the checksums listed in a file (coreutils 9).
pub(super) async fn sha256sum(root: &Path, arguments: &[&str]) -> Result<(), String> {
    let (options, lists): (Vec<&str>, Vec<&str>) = arguments.iter().partition(|word| word.starts_with('-'));
    let known = |option: &&str| matches!(*option, "-c" | "--check" | "--quiet" | "--status" | "--strict");
    if !options.iter().all(known) || !options.iter().any(|option| matches!(*option, "-c" | "--check")) {
        return Err(format!("sha256sum {}: only '--check' exists on a local instance", arguments.join(" ")));
    }
    let mut wrong = 0;
    for list in lists {
        let read =
            |path: &str| std::fs::read(below(root, path)?).map_err(|error| format!("sha256sum: {path}: {error}"));
        let text = String::from_utf8_lossy(&read(list)?).into_owned();
        let entries: Vec<(&str, &str)> = text.lines().filter_map(checksum_line).collect();
        if entries.is_empty() {
            return Err(format!("sha256sum: {list}: no properly formatted checksum lines found"));
        }
        for (checksum, path) in entries {
            wrong += usize::from(!hex::encode(Sha256::digest(read(path)?)).eq_ignore_ascii_case(checksum));
        }
    }
    match wrong {
        0 => Ok(()),
        1 => Err("sha256sum: WARNING: 1 computed checksum did NOT match".to_owned()),
        more => Err(format!("sha256sum: WARNING: {more} computed checksums did NOT match")),
    }
}

/// Parses `CHECKSUM  PATH` or `CHECKSUM *PATH`.
fn checksum_line(line: &str) -> Option<(&str, &str)> {
    let (checksum, path) = line.split_once(' ')?;
    let is_sha256 = checksum.len() == 64 && checksum.chars().all(|c| c.is_ascii_hexdigit());
    Some((checksum, path.strip_prefix([' ', '*'])?)).filter(|_| is_sha256)
}

/// Parses a mode such as `0755`.
pub fn parse_mode(text: &str) -> Result<u32, String> {
    let mode = u32::from_str_radix(text.trim_start_matches("0o"), 8).ok().filter(|mode| *mode <= 0o7777);
    mode.ok_or_else(|| format!("'{text}' is not a file mode"))
}
