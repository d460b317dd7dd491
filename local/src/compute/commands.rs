//! The commands that user data may run on an instance, done by ourselves below its root and nowhere else.

use std::os::unix::fs::PermissionsExt;
use std::path::{Component, Path, PathBuf};

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
    async fn what_is_not_known_is_refused_and_never_run() {
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
