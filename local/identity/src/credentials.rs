//! Credentials: the account's fixed key, and temporary ones for roles and the user.

use std::collections::BTreeMap;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use parking_lot::Mutex;
use serde::{Deserialize, Serialize};
use time::{Duration, OffsetDateTime};
use uuid::Uuid;

use crate::iam::{STUDENT, STUDENTS, student_arn};
use chaos::{ChaosKind, Faults};
use kit::ACCESS_KEY;
use kit::ACCOUNT;
use kit::SECRET_KEY;
use kit::account::AccountKind;
use kit::store;

/// Temporary credentials of a role or of the user.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct TemporaryCredentials {
    /// The access key id.
    pub access_key: String,
    /// The secret access key.
    pub secret_key: String,
    /// The session token.
    pub token: String,
    /// When they expire.
    #[serde(with = "stamp")]
    pub expires: OffsetDateTime,
    /// The caller's ARN; for a role, `arn:aws:sts::…:assumed-role/<role>/<session>`.
    pub arn: String,
    /// The caller's unique ID, as returned by `GetCallerIdentity`; for a role, `AROA…:<session>`.
    pub user_id: String,
}

/// The identity behind an access key.
#[derive(Debug, Clone, PartialEq)]
pub struct Identity {
    /// The secret access key.
    pub secret_key: String,
    /// Set for temporary credentials, whose requests must carry the session token.
    pub session: Option<TemporaryCredentials>,
    /// Whether the account's own key is that of a student in a lab.
    pub is_student: bool,
}

impl Identity {
    /// The caller's ARN.
    pub fn arn(&self) -> String {
        match &self.session {
            Some(issued) => issued.arn.clone(),
            None if self.is_student => student_arn(),
            None => user_arn(),
        }
    }

    /// The role behind temporary credentials.
    pub fn role(&self) -> Option<&str> {
        if self.is_student && self.session.is_none() {
            return Some(STUDENTS);
        }
        let (_, session) = self.session.as_ref()?.arn.split_once(":assumed-role/")?;
        session.split('/').next()
    }

    /// The caller's unique id.
    pub fn user_id(&self) -> String {
        match &self.session {
            Some(issued) => issued.user_id.clone(),
            None if self.is_student => session_id(STUDENT),
            None => USER_ID.to_owned(),
        }
    }
}

/// The ARN of the only user, who owns the account.
pub fn user_arn() -> String {
    format!("arn:aws:iam::{ACCOUNT}:user/local")
}

const USER_ID: &str = "AIDALOCAL00000000000";

/// All access keys. Issued credentials survive a restart.
#[derive(Debug)]
pub struct Access {
    file: PathBuf,
    faults: Arc<Faults>,
    kind: AccountKind,
    issued: Mutex<BTreeMap<String, TemporaryCredentials>>,
}

/// The lifetime of role credentials under `short-sessions`.
const SHORT: Duration = Duration::seconds(20);

impl Access {
    /// Loads the temporary credentials that an earlier server issued.
    pub fn open(file: PathBuf, faults: Arc<Faults>) -> anyhow::Result<Access> {
        Access::of_account(file, faults, AccountKind::Standard)
    }

    /// The same in an account of this kind.
    pub fn of_account(file: PathBuf, faults: Arc<Faults>, kind: AccountKind) -> anyhow::Result<Access> {
        let issued = store::read_json(&file)?.unwrap_or_default();
        Ok(Access { file, faults, kind, issued: Mutex::new(issued) })
    }

    /// The lifetime of role credentials: `usual`, or a fixed short one under `short-sessions`.
    pub fn life(&self, usual: Duration) -> Duration {
        if self.faults.has(ChaosKind::ShortSessions) { SHORT } else { usual }
    }

    /// The identity behind `access_key`, even if its credentials have expired.
    pub fn identity(&self, access_key: &str) -> Option<Identity> {
        if access_key == ACCESS_KEY {
            let is_student = self.kind == AccountKind::Academy;
            return Some(Identity { secret_key: SECRET_KEY.to_owned(), session: None, is_student });
        }
        let issued = self.issued.lock();
        let session = issued.get(access_key)?.clone();
        Some(Identity { secret_key: session.secret_key.clone(), session: Some(session), is_student: false })
    }

    /// Issues credentials for `role`, given by name or ARN.
    ///
    /// Errors: the credentials could not be stored, and are not valid.
    pub fn issue(&self, role: &str, session: &str, life: Duration) -> io::Result<TemporaryCredentials> {
        self.new_session(session_arn(role, session), session_id(session), life)
    }

    /// Issues temporary credentials for the user.
    pub fn issue_to_user(&self, life: Duration) -> io::Result<TemporaryCredentials> {
        self.new_session(user_arn(), USER_ID.to_owned(), life)
    }

    fn new_session(&self, arn: String, user_id: String, life: Duration) -> io::Result<TemporaryCredentials> {
        let fresh = TemporaryCredentials {
            access_key: format!("ASIA{}", &letters()[..16]),
            secret_key: letters().chars().take(40).collect(),
            token: format!("{}{}", letters(), letters()),
            expires: OffsetDateTime::now_utc() + life,
            arn,
            user_id,
        };
        self.remember(fresh.clone())?;
        Ok(fresh)
    }

    fn remember(&self, fresh: TemporaryCredentials) -> io::Result<()> {
        let mut issued = self.issued.lock();
        // Keep credentials for a day after they expire, so that late callers get "expired" rather than "unknown".
        let forgotten = OffsetDateTime::now_utc() - Duration::days(1);
        issued.retain(|_, old| old.expires > forgotten);
        let key = fresh.access_key.clone();
        issued.insert(key.clone(), fresh);
        store::write_json(&self.file, &*issued).inspect_err(|_| drop(issued.remove(&key)))
    }
}

/// The ARN of a session of a role given by name or ARN.
pub fn session_arn(role: &str, session: &str) -> String {
    let name = role.rsplit('/').next().unwrap_or(role);
    format!("arn:aws:sts::{ACCOUNT}:assumed-role/{name}/{session}")
}

/// The unique id of a session.
pub fn session_id(session: &str) -> String {
    format!("AROALOCAL00000000000:{session}")
}

/// Forty-eight random capital letters and digits.
fn letters() -> String {
    let random = [Uuid::new_v4(), Uuid::new_v4(), Uuid::new_v4()];
    random.iter().flat_map(|id| id.simple().to_string().to_uppercase()[..16].chars().collect::<Vec<_>>()).collect()
}

/// Serializes a time as Unix seconds. The `time` crate's own module for it needs a feature that nothing else here uses.
mod stamp {
    use serde::{Deserialize, Deserializer, Serializer, de::Error};
    use time::OffsetDateTime;

    pub(super) fn serialize<S: Serializer>(time: &OffsetDateTime, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_i64(time.unix_timestamp())
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<OffsetDateTime, D::Error> {
        OffsetDateTime::from_unix_timestamp(i64::deserialize(from)?).map_err(D::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn issued_credentials_are_known_after_a_restart() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("credentials.json");
        let issued = Access::open(file.clone(), Arc::default())
            .unwrap()
            .issue("role/path/web", "i-1", Duration::hours(1))
            .unwrap();
        let identity = Access::open(file, Arc::default()).unwrap().identity(&issued.access_key).unwrap();
        assert_eq!(identity.secret_key, issued.secret_key);
        assert_eq!(identity.arn(), "arn:aws:sts::000000000000:assumed-role/web/i-1");
        assert_eq!(identity.role(), Some("web"));
    }

    #[test]
    fn credentials_that_cannot_be_stored_are_not_issued() {
        let dir = tempfile::tempdir().unwrap();
        // A non-empty directory at the path of the file makes writing fail.
        std::fs::create_dir_all(dir.path().join("credentials.json/in the way")).unwrap();
        let access = Access {
            file: dir.path().join("credentials.json"),
            faults: Arc::default(),
            kind: AccountKind::Standard,
            issued: Mutex::default(),
        };
        assert!(access.issue("web", "i-1", Duration::hours(1)).is_err());
        assert!(access.issued.lock().is_empty());
    }

    #[test]
    fn the_key_of_a_lab_is_a_students() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("credentials.json");
        let access = Access::of_account(file, Arc::default(), AccountKind::Academy).unwrap();
        let student = access.identity(ACCESS_KEY).unwrap();
        assert!(student.arn().starts_with("arn:aws:sts::000000000000:assumed-role/voclabs/user"), "{}", student.arn());
        assert_eq!(student.role(), Some("voclabs"));
    }

    #[test]
    fn only_known_keys_have_an_identity() {
        let dir = tempfile::tempdir().unwrap();
        let access = Access::open(dir.path().join("credentials.json"), Arc::default()).unwrap();
        assert_eq!(access.identity(ACCESS_KEY).unwrap().secret_key, SECRET_KEY);
        assert_eq!(access.identity("AKIAUNKNOWN"), None);
    }
}
