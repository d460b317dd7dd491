//! The commands that user data may run, carried out by ourselves within an instance's root directory.

use std::os::unix::fs::PermissionsExt;
use std::path::{Component, Path, PathBuf};

use sha2::{Digest as _, Sha256};

use super::Objects;

/// A path of the instance as a path of this machine, which can only be below the instance's root.
pub fn below(root: &Path, path: &str) -> Result<PathBuf, String> {
    let Some(relative) = path.strip_prefix('/') else {
        return Err(format!("'{path}' is no absolute path"));
    };
    let plain = Path::new(relative).components().all(|part| matches!(part, Component::Normal(_) | Component::CurDir));
    if plain { Ok(root.join(relative)) } else { Err(format!("'{path}' leads out of the instance")) }
}

/// Does a command.
pub async fn perform(root: &Path, objects: &dyn Objects, words: &[String]) -> Result<(), String> {
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let Some((program, arguments)) = words.split_first() else {
        return Err("the command is empty".to_owned());
    };
    match program.rsplit('/').next().unwrap_or(program) {
        "true" => Ok(()),
        "mkdir" => mkdir(root, arguments),
        "chmod" => chmod(root, arguments),
        "sha256sum" => sha256sum(root, arguments).await,
        "aws" => aws(root, objects, arguments).await,
        _ => Err(format!("{program}: this command does not exist on a local instance")),
    }
}

fn mkdir(root: &Path, arguments: &[&str]) -> Result<(), String> {
    let (options, paths): (Vec<&str>, Vec<&str>) = arguments.iter().partition(|word| word.starts_with('-'));
    for path in paths {
        let real = below(root, path)?;
        let made = if options.contains(&"-p") { std::fs::create_dir_all(&real) } else { std::fs::create_dir(&real) };
        made.map_err(|error| format!("mkdir: cannot create directory '{path}': {error}"))?;
    }
    Ok(())
}

fn chmod(root: &Path, arguments: &[&str]) -> Result<(), String> {
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

/// `sha256sum --check [--quiet] FILE`: whether files have the checksums that a list of them says (coreutils 9).
async fn sha256sum(root: &Path, arguments: &[&str]) -> Result<(), String> {
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

/// `CHECKSUM  PATH`, or `CHECKSUM *PATH`.
fn checksum_line(line: &str) -> Option<(&str, &str)> {
    let (checksum, path) = line.split_once(' ')?;
    let is_sha256 = checksum.len() == 64 && checksum.chars().all(|c| c.is_ascii_hexdigit());
    Some((checksum, path.strip_prefix([' ', '*'])?)).filter(|_| is_sha256)
}

/// A mode such as `0755`.
pub fn parse_mode(text: &str) -> Result<u32, String> {
    let mode = u32::from_str_radix(text.trim_start_matches("0o"), 8).ok().filter(|mode| *mode <= 0o7777);
    mode.ok_or_else(|| format!("'{text}' is no file mode"))
}

/// `aws s3 cp s3://bucket/key path`, which is all of the AWS CLI that there is.
async fn aws(root: &Path, objects: &dyn Objects, arguments: &[&str]) -> Result<(), String> {
    let ["s3", "cp", rest @ ..] = arguments else {
        return Err(format!("aws {}: only 's3 cp' exists on a local instance", arguments.join(" ")));
    };
    let mut places = Vec::new();
    let mut rest = rest.iter();
    while let Some(word) = rest.next() {
        match *word {
            "--only-show-errors" | "--quiet" | "--no-progress" => (),
            "--region" => drop(rest.next()),
            option if option.starts_with("--") => {
                return Err(format!("aws s3 cp: unknown option {option}"));
            }
            place => places.push(place),
        }
    }
    let [from, to] = places.as_slice() else {
        return Err("aws s3 cp: a source and a destination are needed".to_owned());
    };
    let (bucket, key) = from
        .strip_prefix("s3://")
        .and_then(|place| place.split_once('/'))
        .ok_or_else(|| format!("aws s3 cp: only downloads are possible, and '{from}' is no object"))?;
    let mut real = below(root, to)?;
    if to.ends_with('/') || real.is_dir() {
        let name = Path::new(key).file_name().ok_or_else(|| format!("aws s3 cp: '{from}' names no file"))?;
        real.push(name);
    }
    let bytes = objects.get(bucket, key).await.map_err(|why| format!("fatal error: {from}: {why}"))?;
    replace(&real, &bytes).await.map_err(|error| format!("aws s3 cp: cannot write '{to}': {error}"))
}

/// Writes a file as a whole: a program that runs from the old one goes on undisturbed.
async fn replace(path: &Path, bytes: &[u8]) -> std::io::Result<()> {
    if let Some(parent) = path.parent() {
        tokio::fs::create_dir_all(parent).await?;
    }
    let mut next = path.as_os_str().to_owned();
    next.push(".next");
    tokio::fs::write(&next, bytes).await?;
    tokio::fs::rename(&next, path).await
}

#[cfg(test)]
mod tests {
    use super::*;
    use async_trait::async_trait;
    use bytes::Bytes;

    struct OneObject;

    #[async_trait]
    impl Objects for OneObject {
        async fn get(&self, bucket: &str, key: &str) -> Result<Bytes, String> {
            match (bucket, key) {
                ("artifacts", "web/service") => Ok(Bytes::from_static(b"program")),
                _ => Err("NoSuchKey".to_owned()),
            }
        }
    }

    async fn run(root: &Path, line: &str) -> Result<(), String> {
        let words: Vec<String> = line.split(' ').map(str::to_owned).collect();
        perform(root, &OneObject, &words).await
    }

    #[tokio::test]
    async fn a_program_is_fetched_and_made_executable_below_the_root() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path();
        run(root, "mkdir -p /opt/web").await.unwrap();
        run(
            root,
            "/usr/bin/aws s3 cp --only-show-errors --region us-east-1 s3://artifacts/web/service /opt/web/service",
        )
        .await
        .unwrap();
        run(root, "/usr/bin/chmod 0755 /opt/web/service").await.unwrap();
        let file = root.join("opt/web/service");
        assert_eq!(std::fs::read(&file).unwrap(), b"program");
        assert_eq!(std::fs::metadata(&file).unwrap().permissions().mode() & 0o7777, 0o755);
    }

    #[tokio::test]
    async fn a_program_with_another_checksum_is_reported() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path();
        std::fs::write(root.join("service"), "program").unwrap();
        let sum = "5d4c39c1dea13ff92a6a0fcd84f1ba6a4b4c8f6c0c8ff9e1d3a15a3b0d9e5b5e";
        let right = hex::encode(Sha256::digest("program"));
        std::fs::write(root.join("right"), format!("{right}  /service\n")).unwrap();
        std::fs::write(root.join("wrong"), format!("{sum}  /service\n")).unwrap();
        std::fs::write(root.join("none"), "abc  /service\n").unwrap();
        run(root, "/usr/bin/sha256sum --check --quiet /right").await.unwrap();
        let check = async |line: &str, expected: &str| assert_eq!(run(root, line).await.unwrap_err(), expected);
        check("sha256sum -c /wrong", "sha256sum: WARNING: 1 computed checksum did NOT match").await;
        check("sha256sum -c /none", "sha256sum: /none: no properly formatted checksum lines found").await;
        check("sha256sum /service", "sha256sum /service: only '--check' exists on a local instance").await;
    }

    #[tokio::test]
    async fn unknown_commands_are_refused_and_never_run() {
        let dir = tempfile::tempdir().unwrap();
        let check = async |line: &str, expected: &str| assert_eq!(run(dir.path(), line).await.unwrap_err(), expected);
        check("rm -rf /", "rm: this command does not exist on a local instance").await;
        check("mkdir -p /a/../../b", "'/a/../../b' leads out of the instance").await;
        check("mkdir -p a", "'a' is no absolute path").await;
        check("aws ec2 describe-vpcs", "aws ec2 describe-vpcs: only 's3 cp' exists on a local instance").await;
        check("aws s3 cp s3://artifacts/nothing /x", "fatal error: s3://artifacts/nothing: NoSuchKey").await;
        check("chmod 99 /x", "chmod: cannot access '/x': No such file or directory (os error 2)").await;
    }
}
