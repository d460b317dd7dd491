//! The command `aws`.

use std::path::Path;

use super::{NO_SPACE, Tools, below, replace};

/// `aws s3 cp s3://bucket/key path` and `aws s3 cp - s3://bucket/key`.
pub(super) async fn aws(root: &Path, objects: &dyn Tools, arguments: &[&str], input: Vec<u8>) -> Result<(), String> {
    let ["s3", "cp", rest @ ..] = arguments else {
        return Err(format!(
            "aws {}: only 's3 cp', 'ec2 associate-address', 'logs', 'secretsmanager' and 'ssm' exist on a local instance",
            arguments.join(" ")
        ));
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
    let object = |place: &str| {
        let (bucket, key) = place.strip_prefix("s3://")?.split_once('/')?;
        Some((bucket.to_owned(), key.to_owned()))
    };
    if let ("-", Some((bucket, key))) = (*from, object(to)) {
        let put = objects.put(&bucket, &key, input.into()).await;
        return put.map_err(|why| format!("upload failed: - to {to} {why}"));
    }
    let (bucket, key) = object(from).ok_or_else(|| {
        format!("aws s3 cp: only downloads to files and uploads of `-` are possible, and '{from}' is not an object")
    })?;
    let mut real = below(root, to)?;
    if to.ends_with('/') || real.is_dir() {
        let name = Path::new(&key).file_name().ok_or_else(|| format!("aws s3 cp: '{from}' names no file"))?;
        real.push(name);
    }
    let bytes = objects.get(&bucket, &key).await.map_err(|why| format!("fatal error: {from}: {why}"))?;
    let written = match objects.is_full() {
        true => Err(std::io::Error::from_raw_os_error(NO_SPACE)),
        false => replace(&real, &bytes).await,
    };
    // The message of a full disk is that of Python (docs/aws.md §8.5).
    written.map_err(|error| match error.raw_os_error() {
        Some(NO_SPACE) => format!("download failed: {from} to {to} [Errno {NO_SPACE}] No space left on device"),
        _ => format!("aws s3 cp: cannot write '{to}': {error}"),
    })
}
