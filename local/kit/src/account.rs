//! The kinds of accounts that AWS gives to its users.

use std::fmt;
use std::path::Path;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::store;

/// A kind of account.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum AccountKind {
    /// A user with all permissions, and a default VPC in every region.
    #[default]
    Standard,
    /// The Learner Lab of AWS Academy (docs/aws.md §3.4).
    Academy,
    /// A user with all permissions, and no default VPC.
    NoDefaultVpc,
}

impl AccountKind {
    /// Every kind with its name and description.
    pub const ALL: &'static [(AccountKind, &'static str, &'static str)] = &[
        (AccountKind::Standard, "standard", "every right, and a default VPC in every region"),
        (
            AccountKind::Academy,
            "academy",
            "the Learner Lab of AWS Academy: no new roles, two regions, nine small instances",
        ),
        (AccountKind::NoDefaultVpc, "no-default-vpc", "every right, and no default VPC"),
    ];

    /// Its name.
    pub fn name(self) -> &'static str {
        AccountKind::ALL.iter().find(|(kind, ..)| *kind == self).map_or("", |(_, name, _)| name)
    }

    /// The kind of the account whose state is in `dir`. A new directory gets the wanted kind, and keeps it: an account
    /// never changes its kind.
    ///
    /// Errors: the directory has an account of another kind ([`OtherAccountKind`]), or cannot be read or written.
    pub fn of(dir: &Path, is_new: bool, wanted: Option<AccountKind>) -> anyhow::Result<AccountKind> {
        let file = dir.join("account.json");
        let kind = match store::read_json(&file)? {
            Some(kind) => kind,
            // Directories of earlier versions have no such file.
            None if !is_new => AccountKind::Standard,
            None => {
                let kind = wanted.unwrap_or_default();
                store::write_json(&file, &kind)?;
                kind
            }
        };
        match wanted {
            Some(wanted) if wanted != kind => Err(OtherAccountKind { kind, wanted }.into()),
            _ => Ok(kind),
        }
    }
}

impl fmt::Display for AccountKind {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// The error for a name that no kind of account has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NoAccountKind(String);

impl fmt::Display for NoAccountKind {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        let names: Vec<&str> = AccountKind::ALL.iter().map(|(_, name, _)| *name).collect();
        write!(f, "there is no kind of account {:?}: {}", self.0, names.join(", "))
    }
}

impl std::error::Error for NoAccountKind {}

impl FromStr for AccountKind {
    type Err = NoAccountKind;

    fn from_str(text: &str) -> Result<AccountKind, NoAccountKind> {
        let found = AccountKind::ALL.iter().find(|(_, name, _)| *name == text);
        found.map(|(kind, ..)| *kind).ok_or_else(|| NoAccountKind(text.to_owned()))
    }
}

/// The error for a directory with an account of another kind.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OtherAccountKind {
    /// The kind of the account that is there.
    pub kind: AccountKind,
    /// The requested kind.
    pub wanted: AccountKind,
}

impl fmt::Display for OtherAccountKind {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        write!(f, "the account of this local AWS is of the kind {}, not {}", self.kind, self.wanted)
    }
}

impl std::error::Error for OtherAccountKind {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_account_keeps_its_kind() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(AccountKind::of(dir.path(), true, Some(AccountKind::Academy)).unwrap(), AccountKind::Academy);
        assert_eq!(AccountKind::of(dir.path(), false, None).unwrap(), AccountKind::Academy);
        let refused = AccountKind::of(dir.path(), false, Some(AccountKind::Standard)).unwrap_err();
        assert_eq!(refused.to_string(), "the account of this local AWS is of the kind academy, not standard");
        let old = tempfile::tempdir().unwrap();
        assert_eq!(AccountKind::of(old.path(), false, None).unwrap(), AccountKind::Standard);
    }

    #[test]
    fn kinds_are_read_by_their_names() {
        for (kind, name, _) in AccountKind::ALL {
            assert_eq!(name.parse(), Ok(*kind));
            assert_eq!(serde_json::to_string(kind).unwrap(), format!("\"{name}\""));
        }
        assert!("lab".parse::<AccountKind>().unwrap_err().to_string().ends_with("standard, academy, no-default-vpc"));
    }
}
