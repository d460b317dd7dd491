//! Remembers a stack's account and region beside its `stack.yaml`, so that a wrong profile cannot create a second one.

use std::{
    io::Write,
    path::{Path, PathBuf},
};

use anyhow::{Context, anyhow};

use crate::machine::files;

/// The size limit of the file, far more than a folder's stacks need.
const MOST: u64 = 1 << 20;

/// The file: a line `NAME ACCOUNT REGION` for each place that a stack of this folder is deployed to.
#[derive(Debug)]
pub struct Pin {
    file: PathBuf,
    places: Vec<Home>,
}

/// A place that a stack is deployed to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Home {
    /// The stack's name.
    pub stack: String,
    /// The account's number.
    pub account: String,
    /// The region.
    pub region: String,
}

/// The difference of a place from the remembered one.
#[derive(Debug, PartialEq, Eq)]
pub enum Elsewhere {
    /// The stack is in this account.
    Account(String),
    /// The stack is in these regions.
    Regions(Vec<String>),
}

impl Pin {
    /// Reads the file; a missing file means that nothing is remembered.
    ///
    /// Errors: invalid lines, so that a damaged file never disables the check.
    pub fn read(file: PathBuf) -> anyhow::Result<Pin> {
        let text = match files::read_text_file(&file, MOST) {
            Err(error) if error.is_not_found() => String::new(),
            read => read?,
        };
        let lines = text.lines().filter(|line| !line.trim().is_empty());
        let places = lines
            .map(|line| place(line).ok_or_else(|| anyhow!("{}: {line:?} is not a place of a stack", file.display())));
        Ok(Pin { places: places.collect::<Result<_, _>>()?, file })
    }

    /// Whether the stack is known to be elsewhere. A region that was named explicitly is an additional place.
    pub fn contradicts(&self, here: &Home, region_is_meant: bool) -> Option<Elsewhere> {
        let known: Vec<&Home> = self.places.iter().filter(|place| place.stack == here.stack).collect();
        if let Some(other) = known.iter().find(|place| place.account != here.account) {
            return Some(Elsewhere::Account(other.account.clone()));
        }
        let is_new = !known.is_empty() && known.iter().all(|place| place.region != here.region);
        (is_new && !region_is_meant)
            .then(|| Elsewhere::Regions(known.iter().map(|place| place.region.clone()).collect()))
    }

    /// The places of the other stacks of this folder.
    pub fn others(&self, stack: &str) -> impl Iterator<Item = &Home> {
        self.places.iter().filter(move |place| place.stack != stack)
    }

    /// Adds a place and removes those in other accounts: `account` in `stack.yaml` has decided.
    pub fn remember(&mut self, here: &Home) -> anyhow::Result<()> {
        let before = self.places.clone();
        self.places.retain(|place| place.stack != here.stack || place.account == here.account);
        if !self.places.contains(here) {
            self.places.push(here.clone());
        }
        if self.places == before { Ok(()) } else { self.write() }
    }

    /// Removes a place whose stack has been removed.
    pub fn forget(&mut self, here: &Home) -> anyhow::Result<()> {
        let before = self.places.len();
        self.places.retain(|place| place != here);
        if self.places.len() == before { Ok(()) } else { self.write() }
    }

    /// The file, for messages.
    pub fn file(&self) -> &Path {
        &self.file
    }

    /// Replaces the file atomically, because another run may be reading it.
    fn write(&self) -> anyhow::Result<()> {
        if self.places.is_empty() {
            return std::fs::remove_file(&self.file).with_context(|| format!("cannot remove {}", self.file.display()));
        }
        let folder = self.file.parent().unwrap_or(Path::new("."));
        let text: String =
            self.places.iter().map(|Home { stack, account, region }| format!("{stack} {account} {region}\n")).collect();
        let written = std::fs::create_dir_all(folder)
            .and_then(|()| tempfile::NamedTempFile::new_in(folder))
            .and_then(|mut beside| beside.write_all(text.as_bytes()).map(|()| beside))
            .and_then(|beside| beside.persist(&self.file).map_err(|failed| failed.error));
        written.map(drop).with_context(|| format!("cannot write {}", self.file.display()))
    }
}

fn place(line: &str) -> Option<Home> {
    match line.split_whitespace().collect::<Vec<_>>()[..] {
        [stack, account, region] => Some(Home { stack: stack.into(), account: account.into(), region: region.into() }),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(account: &str, region: &str) -> Home {
        Home { stack: "posts".into(), account: account.into(), region: region.into() }
    }

    #[test]
    fn another_account_is_refused_and_another_region_needs_confirmation() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join(".deployer/pin");
        let mut pin = Pin::read(file.clone()).unwrap();
        assert_eq!(pin.contradicts(&at("1", "us-east-1"), false), None, "nothing is known yet");
        pin.remember(&at("1", "us-east-1")).unwrap();

        let mut pin = Pin::read(file.clone()).unwrap();
        assert_eq!(pin.contradicts(&at("1", "us-east-1"), false), None);
        assert_eq!(pin.contradicts(&at("2", "us-east-1"), true), Some(Elsewhere::Account("1".into())));
        let elsewhere = Elsewhere::Regions(vec!["us-east-1".into()]);
        assert_eq!(pin.contradicts(&at("1", "eu-west-1"), false), Some(elsewhere));
        assert_eq!(pin.contradicts(&at("1", "eu-west-1"), true), None);
        let other = Home { stack: "others".into(), ..at("2", "eu-west-1") };
        assert_eq!(pin.contradicts(&other, false), None, "another stack of the same folder");

        pin.remember(&at("1", "eu-west-1")).unwrap();
        pin.forget(&at("1", "us-east-1")).unwrap();
        assert_eq!(std::fs::read_to_string(&file).unwrap(), "posts 1 eu-west-1\n");
        pin.forget(&at("1", "eu-west-1")).unwrap();
        assert!(!file.exists());
    }

    #[test]
    fn a_damaged_file_is_not_an_empty_one() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("pin");
        std::fs::write(&file, "posts 1 us-east-1\nposts\n").unwrap();
        assert!(Pin::read(file).unwrap_err().to_string().contains("\"posts\" is not a place"));
    }
}
