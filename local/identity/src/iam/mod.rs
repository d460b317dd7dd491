//! IAM: roles, instance profiles and policies, on disk.

mod academy;
mod account;
mod managed;
mod operation;
mod policies;
mod profiles;
mod replication;
mod roles;
mod rules;
mod simulation;
mod state;
mod tags;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use parking_lot::{RwLock, RwLockReadGuard};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};

use crate::credentials::{Identity, user_arn};
use crate::permissions::{Caller, Grants, Keys, ResourcePolicies, Used};
use Run::{Change, Look};
pub use academy::{STUDENT, STUDENTS, student_arn};
use chaos::Faults;
use kit::account::AccountKind;
use kit::answer::{Protocol, Refusal, Response};
use kit::call::{Call, Form, Operation};
use kit::parameters;
use kit::query::{Envelope, Params, Xml};
use kit::store;
use replication::{Replica, Role};
use state::{State, Tags};

use operation::OPERATIONS;
pub use operation::rows;

/// The XML namespace of responses.
const NAME_SPACE: &str = "https://iam.amazonaws.com/doc/2010-05-08/";

/// The result of a call: the contents of the response document.
type Answer = Result<Xml, Refusal>;

/// The handler of an operation.
#[derive(Clone, Copy)]
enum Run {
    Look(fn(&State, &Params) -> Answer),
    Change(fn(&mut State, &Params) -> Answer),
}

/// The roles, instance profiles and policies.
pub struct Iam {
    file: PathBuf,
    faults: Arc<Faults>,
    /// Write-locked by calls that change something, so that no change is visible before it is on disk.
    state: tokio::sync::RwLock<State>,
    replica: RwLock<Replica>,
    /// The resource policies of the buckets and functions of each region.
    resource_policies: RwLock<BTreeMap<String, Arc<ResourcePolicies>>>,
    /// The permissions that roles have used.
    pub used: Arc<Used>,
}

impl Iam {
    /// Loads the state below `dir`.
    pub fn open(dir: &Path, faults: Arc<Faults>) -> anyhow::Result<Iam> {
        Iam::of_account(dir, faults, AccountKind::Standard)
    }

    /// Loads the state below `dir` of an account of this kind.
    pub fn of_account(dir: &Path, faults: Arc<Faults>, kind: AccountKind) -> anyhow::Result<Iam> {
        let file = dir.join("iam.json");
        let mut state = State::load(&file)?;
        if kind == AccountKind::Academy && academy::furnish(&mut state) {
            store::write_json(&file, &state)?;
        }
        let mut replica = Replica::default();
        // Changes made before this server started are visible everywhere.
        replica.replicate(&state, |_| std::time::Duration::ZERO);
        Ok(Iam {
            file,
            faults,
            state: tokio::sync::RwLock::new(state),
            replica: RwLock::new(replica),
            resource_policies: RwLock::default(),
            used: Arc::default(),
        })
    }

    /// Answers a call; `None` means that there is no such operation.
    pub async fn answer(&self, call: &Call) -> Option<Response> {
        let operation = Operation::find(OPERATIONS, &call.operation)?;
        Some(match self.act(operation, call.input.form()).await {
            Ok(xml) => Envelope::Query(NAME_SPACE).seal(operation.row.name, Ok(xml)),
            Err(refusal) => refusal.answer(Protocol::Query),
        })
    }

    async fn act(&self, Operation { row, parameters, run }: &Operation<Run>, form: &Form) -> Answer {
        parameters::check_form(parameters, form).map_err(parameters::refusal)?;
        rules::check(row.name, form)?;
        let params = Params::parse(form);
        match run {
            Look(look) => look(&*self.state.read().await, &params),
            Change(change) => {
                let mut state = self.state.write().await;
                rules::check_limits(row.name, form, &state)?;
                if matches!(row.name, "CreateRole" | "UpdateAssumeRolePolicy") {
                    rules::check_principals(form, |arn| self.knows(arn))?;
                }
                let mut next = state.clone();
                let xml = change(&mut next, &params)?;
                *state = self.keep(next).await?;
                Ok(xml)
            }
        }
    }

    /// Stores the next state, and makes it visible to other services after its lag.
    async fn keep(&self, next: State) -> Result<State, Refusal> {
        let file = self.file.clone();
        let written = tokio::task::spawn_blocking(move || store::write_json(&file, &next).map(|()| next)).await;
        let next = written.map_err(std::io::Error::other).flatten().map_err(|fault| {
            tracing::error!("the roles could not be written: {fault}");
            Refusal::new(500, "ServiceFailure", format!("the local AWS cannot write its roles: {fault}"))
        })?;
        self.replica.write().replicate(&next, |name| self.faults.iam_lag(name));
        Ok(next)
    }

    /// A caller with its current permissions in a region.
    pub fn caller(&self, identity: &Identity, region: &str) -> Caller {
        match identity.role() {
            Some(role) => self.in_role(role, identity.arn(), identity.user_id(), region),
            None => Caller::owner(identity.arn(), region),
        }
    }

    /// A caller in a session of a role, with its current permissions in a region.
    pub fn in_role(&self, role: &str, arn: String, user_id: String, region: &str) -> Caller {
        Caller::in_role(arn, user_id, region, self.grants(role), self.resource_policies(region))
            .noted_in(self.used.clone())
    }

    /// The resource policies of the buckets and functions of a region.
    pub fn resource_policies(&self, region: &str) -> Arc<ResourcePolicies> {
        let known = self.resource_policies.read().get(region).cloned();
        known.unwrap_or_else(|| {
            let mut all = self.resource_policies.write();
            all.entry(region.to_owned()).or_default().clone()
        })
    }

    fn grants(&self, role: &str) -> Option<Arc<Grants>> {
        self.replica().role(role).map(|role| role.grants.clone())
    }

    /// The instance profile given by name or ARN, if it and its role are visible to other services.
    pub fn profile(&self, profile: &str) -> Option<Profile> {
        self.role_of_profile(profile)?;
        let name = profile.rsplit('/').next().unwrap_or(profile);
        self.replica().profile(name).map(|known| Profile { arn: known.arn.clone(), id: known.id.clone() })
    }

    /// The role inside an instance profile given by name or ARN, if both are visible to other services.
    pub fn role_of_profile(&self, profile: &str) -> Option<String> {
        let name = profile.rsplit('/').next().unwrap_or(profile);
        let replica = self.replica();
        let role = replica.profile(name)?.role.clone()?;
        replica.role(&role).map(|_| role)
    }

    /// The ARN of the role or instance profile with this name, by its kind as in ARNs.
    pub fn entity_arn(&self, kind: &str, name: &str) -> Option<String> {
        match kind {
            "role" => self.role_arn(name),
            "instance-profile" => self.replica().profile(name).map(|profile| profile.arn.clone()),
            _ => None,
        }
    }

    /// The ARN of the role with this name.
    pub fn role_arn(&self, name: &str) -> Option<String> {
        self.grants(name).map(|grants| grants.role_arn.clone())
    }

    /// Whether the role given by ARN exists and lets `service` assume it.
    pub fn trusts(&self, role: &str, service: &str) -> bool {
        self.with_role(role, |role| role.trust.lets_service(service)) == Some(true)
    }

    /// Whether the role given by ARN exists and lets a principal of this account assume it in a request with these
    /// condition keys.
    pub fn trusts_principal(&self, role: &str, principal: &str, keys: &Keys) -> bool {
        self.with_role(role, |role| role.trust.lets_principal(principal, keys)) == Some(true)
    }

    /// The maximum session duration, in seconds, of the role given by ARN.
    pub fn longest_session(&self, role: &str) -> Option<i64> {
        self.with_role(role, |role| role.longest_session)
    }

    /// Whether a principal with this ARN exists.
    pub fn knows(&self, arn: &str) -> bool {
        arn == user_arn() || self.with_role(arn, |_| ()).is_some()
    }

    /// Calls `look` with the role of this ARN, if it exists.
    fn with_role<T>(&self, arn: &str, look: impl FnOnce(&Role) -> T) -> Option<T> {
        let replica = self.replica();
        replica.role(arn.rsplit('/').next()?).filter(|role| role.grants.role_arn == arn).map(look)
    }

    fn replica(&self) -> RwLockReadGuard<'_, Replica> {
        self.replica.read()
    }
}

/// An instance profile, as instances refer to it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Profile {
    /// Its ARN.
    pub arn: String,
    /// Its id, `AIPA…`.
    pub id: String,
}

/// The text of a required field.
fn required<'a>(params: &'a Params, field: &str) -> Result<&'a str, Refusal> {
    params.text(field).ok_or_else(|| {
        let label = rules::label(field);
        refusal(
            "ValidationError",
            format!(
                "1 validation error detected: Value null at '{label}' failed to satisfy constraint: Member must not be null"
            ),
        )
    })
}

/// Whether a path begins with the `PathPrefix` of a list call, if it has one.
fn paths(params: &Params, path: &str) -> bool {
    params.text("PathPrefix").is_none_or(|prefix| path.starts_with(prefix))
}

/// Writes a policy document, percent-encoded (docs/aws.md §6.3).
fn document(xml: &mut Xml, name: &str, text: &str) {
    xml.text(name, utf8_percent_encode(text, NON_ALPHANUMERIC));
}

/// Writes the tags, if there are any.
fn tag_list(xml: &mut Xml, tags: &Tags) {
    if !tags.is_empty() {
        xml.members("Tags", tags, |xml, (key, value)| {
            xml.text("Key", key).text("Value", value);
        });
    }
}

fn refusal(code: &'static str, message: impl Into<String>) -> Refusal {
    let status = match code {
        "NoSuchEntity" => 404,
        "DeleteConflict" | "EntityAlreadyExists" | "LimitExceeded" => 409,
        _ => 400,
    };
    Refusal::new(status, code, message)
}

fn not_found(message: String) -> Refusal {
    refusal("NoSuchEntity", message)
}

fn exists(message: String) -> Refusal {
    refusal("EntityAlreadyExists", message)
}

fn conflict(message: &str) -> Refusal {
    refusal("DeleteConflict", message)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn documents_are_percent_encoded() {
        let mut xml = Xml::new();
        document(&mut xml, "PolicyDocument", r#"{"a"}"#);
        let mut expected = Xml::new();
        expected.text("PolicyDocument", "%7B%22a%22%7D");
        assert_eq!(xml, expected);
    }
}
