//! The shared AWS configuration files, read once and validated.

use std::{
    collections::BTreeSet,
    path::{Path, PathBuf},
};

use aws_config::profile::{Profile, ProfileSet};
use aws_runtime::env_config::file::{EnvConfigFileKind, EnvConfigFiles};
use aws_types::os_shim_internal::{Env, Fs};

use super::{Environment, Trouble, environment::check_profile};
use crate::machine::files::{self, FileError};

/// The profiles of both files.
#[derive(Debug)]
pub struct Profiles {
    set: ProfileSet,
    files: Vec<File>,
}

#[derive(Debug)]
struct File {
    kind: EnvConfigFileKind,
    path: PathBuf,
    text: String,
}

/// The size limit, far more than a list of profiles needs.
const MOST: u64 = 1 << 20;

impl Profiles {
    /// Reads the files and selects this profile. A missing file has no profiles.
    ///
    /// Errors: a file that cannot be read or parsed, with the line.
    pub async fn read(environment: &Environment, selected: &str) -> Result<Profiles, Trouble> {
        let places = [
            (EnvConfigFileKind::Config, "AWS_CONFIG_FILE", ".aws/config"),
            (EnvConfigFileKind::Credentials, "AWS_SHARED_CREDENTIALS_FILE", ".aws/credentials"),
        ];
        let mut files = Vec::new();
        for (kind, variable, usual) in places {
            let usual = || environment.home().map(|home| home.join(usual));
            let Some(path) = environment.path(variable).or_else(usual) else { continue };
            let text = text_of(&path, variable)?;
            let file = File { kind, path, text };
            file.check().await?;
            files.push(file);
        }
        let set = parse(&files, selected).await.map_err(|error| Trouble::credentials(error, CORRECT))?;
        let profiles = Profiles { set, files };
        if let Some(profile) = profiles.get(selected) {
            check_profile(selected, |key| profile.get(key))?;
        }
        Ok(profiles)
    }

    /// No profiles.
    pub fn none() -> Profiles {
        Profiles { set: ProfileSet::default(), files: Vec::new() }
    }

    /// Returns a profile.
    pub fn get(&self, name: &str) -> Option<&Profile> {
        self.set.get_profile(name)
    }

    /// Whether there is a section `[sso-session NAME]`.
    pub fn has_sso_session(&self, name: &str) -> bool {
        self.set.sso_session(name).is_some()
    }

    /// The names of all profiles.
    pub fn names(&self) -> BTreeSet<&str> {
        self.set.profiles().collect()
    }

    /// The files, for messages: those that exist, or all candidates.
    pub fn places(&self) -> String {
        let there = self.files.iter().filter(|file| !file.text.is_empty()).collect::<Vec<_>>();
        let files = if there.is_empty() { self.files.iter().collect() } else { there };
        match files.is_empty() {
            true => "~/.aws/config".into(),
            false => files.iter().map(|file| file.path.display().to_string()).collect::<Vec<_>>().join(" or "),
        }
    }

    /// The file of this kind, for messages.
    pub fn credentials_file(&self) -> String {
        let file = self.files.iter().find(|file| matches!(file.kind, EnvConfigFileKind::Credentials));
        file.map_or("~/.aws/credentials".into(), |file| file.path.display().to_string())
    }

    /// Suggests the right section header for a profile that exists with the wrong one: sections of the configuration
    /// file need the prefix `profile`, those of the credentials file must not have it.
    pub fn unseen(&self, name: &str) -> Option<String> {
        self.files.iter().find_map(|file| {
            let (seen, written) = match file.kind {
                EnvConfigFileKind::Config => (format!("[profile {name}]"), format!("[{name}]")),
                _ => (format!("[{name}]"), format!("[profile {name}]")),
            };
            let is_there = file.text.lines().any(|line| line.trim() == written);
            is_there.then(|| format!("write {seen} for {written} in {}", file.path.display()))
        })
    }

    /// The contents for the SDK, which would otherwise read the files itself, without our checks.
    pub fn for_sdk(&self) -> EnvConfigFiles {
        of(&self.files)
    }
}

const CORRECT: &str = "correct the file, or recreate it with `aws configure`";

fn text_of(path: &Path, variable: &str) -> Result<String, Trouble> {
    match files::read_text_file(path, MOST) {
        Ok(text) => Ok(text),
        Err(error) if error.is_not_found() => Ok(String::new()),
        Err(error) => Err(unreadable(&error, variable)),
    }
}

fn unreadable(error: &FileError, variable: &str) -> Trouble {
    let cause = std::error::Error::source(error).map_or(String::new(), |cause| format!(": {cause}"));
    let remedy = match error {
        FileError::NotUtf8 { .. } => "save it as UTF-8".to_owned(),
        _ => format!("set {variable} to a readable file, or correct the one that is there"),
    };
    Trouble::credentials(format!("{error}{cause}"), remedy)
}

fn of(files: &[File]) -> EnvConfigFiles {
    let none = EnvConfigFiles::builder().with_contents(EnvConfigFileKind::Config, "");
    files.iter().fold(none, |all, file| all.with_contents(file.kind, file.text.as_str())).build()
}

async fn parse(files: &[File], selected: &str) -> Result<ProfileSet, String> {
    let selected = Some(selected.to_owned().into());
    aws_config::profile::load(&Fs::default(), &Env::default(), &of(files), selected)
        .await
        .map_err(|error| super::chain(&error).last().map_or_else(String::new, ToString::to_string))
}

impl File {
    /// Rejects settings that the SDK would reject or misread.
    async fn check(&self) -> Result<(), Trouble> {
        let path = self.path.display();
        if self.text.starts_with('\u{feff}') {
            return Err(Trouble::credentials(
                format!("{path} begins with a byte order mark"),
                "save it as UTF-8 without a byte order mark (in Notepad: \"UTF-8\", not \"UTF-8 with BOM\")",
            ));
        }
        if self.text.contains('\0') {
            return Err(Trouble::credentials(format!("{path} is not a text file"), "save it as UTF-8"));
        }
        if let Some(line) = indented(&self.text) {
            return Err(Trouble::credentials(
                format!("{path}: line {line} is indented"),
                "remove the blanks at the beginning of its lines",
            ));
        }
        let only = File { kind: self.kind, path: self.path.clone(), text: self.text.clone() };
        match parse(&[only], "default").await {
            Ok(_) => Ok(()),
            Err(said) => {
                let line = said.split("on line ").nth(1).and_then(|rest| rest.split(':').next()).unwrap_or("?");
                // The line may contain a secret, so it is not quoted.
                let what = format!("{path}: line {line} is neither `[profile]` nor `key = value`");
                Err(Trouble::credentials(what, CORRECT))
            }
        }
    }
}

/// The first section or setting that is indented by mistake: an indented line continues the one above, and only below a
/// setting without a value are indented settings valid.
fn indented(text: &str) -> Option<usize> {
    let mut takes_more = false;
    for (line, number) in text.lines().zip(1..) {
        let content = line.trim();
        let is_meant = content.starts_with('[') || content.split_once('=').is_some_and(|(key, _)| is_key(key.trim()));
        match line.starts_with([' ', '\t']) {
            _ if content.is_empty() || content.starts_with(['#', ';']) => {}
            true if is_meant && !takes_more => return Some(number),
            true => {}
            false => takes_more = content.split_once('=').is_some_and(|(_, value)| value.trim().is_empty()),
        }
    }
    None
}

fn is_key(key: &str) -> bool {
    !key.is_empty() && key.chars().all(|c| c.is_ascii_alphanumeric() || c == '_' || c == '-')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wrong_indentation_is_distinguished_from_nested_settings() {
        for (text, line) in [
            (" [default]\naws_access_key_id = A\n", Some(1)),
            ("[default]\n  aws_access_key_id = A\n", Some(2)),
            ("[default]\naws_access_key_id = A\n\taws_secret_access_key = B\n", Some(3)),
            ("# mine\n\n  [default]\n", Some(3)),
            ("[default]\ns3 =\n  max_concurrent_requests = 20\nregion = x\n", None),
            ("[default]\n   # a comment\nregion = x\n   \n", None),
            ("[services a]\ns3 = \n  endpoint_url = http://a\nsts =\n  endpoint_url = http://a\n", None),
            ("[default]\ncredential_process = a\n  and more words\n", None),
            ("", None),
        ] {
            assert_eq!(indented(text), line, "{text}");
        }
    }
}
