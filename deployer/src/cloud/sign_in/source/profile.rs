//! Credentials of a profile, and of the profiles that it refers to.

use aws_config::profile::Profile;

use super::login_error::{LOGIN_ERRORS, LoginError};
use super::{COPY, CredentialSource, is_word, no_profile_remedy};
use crate::cloud::sign_in::{Profiles, Trouble};

/// A profile with the profiles that it refers to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Chain {
    /// The requested profile.
    pub profile: String,
    /// The variable that named it, if it was not the command line: ` (AWS_PROFILE)`.
    origin: &'static str,
    /// The profile with the credentials, at the end of the chain of `source_profile`.
    pub(super) base_profile: String,
    /// Its kind of credentials.
    pub(super) base: Base,
    /// The roles to assume with them.
    pub(super) roles: Vec<Role>,
    /// The credentials file, for messages.
    credentials_file: String,
}

/// The kinds of credentials of a profile.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Base {
    Keys {
        temporary: bool,
    },
    Sso {
        session: Option<String>,
    },
    Login,
    Process {
        command: String,
    },
    WebIdentity {
        file: String,
    },
    /// `credential_source`.
    Named(&'static str),
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Role {
    pub(super) arn: String,
    pub(super) profile: String,
    /// Whether the profile names an MFA device.
    pub(super) mfa: bool,
}

/// The values of `credential_source`.
const NAMED: &[&str] = &["Environment", "Ec2InstanceMetadata", "EcsContainer"];

/// The settings of a profile that concern credentials.
pub(super) const KEYS: &[&str] = &[
    "aws_access_key_id",
    "aws_secret_access_key",
    "credential_process",
    "credential_source",
    "login_session",
    "role_arn",
    "source_profile",
    "sso_account_id",
    "sso_role_name",
    "sso_session",
    "sso_start_url",
    "web_identity_token_file",
];

/// Follows a profile to its credentials, as the SDK does.
pub(super) fn chain(profiles: &Profiles, profile: &Profile, origin: &'static str) -> Result<Chain, Trouble> {
    let mut chain = Chain {
        profile: profile.name().into(),
        origin,
        base_profile: profile.name().into(),
        base: Base::Keys { temporary: false },
        roles: Vec::new(),
        credentials_file: profiles.credentials_file(),
    };
    let mut seen = vec![profile.name()];
    let mut at = profile;
    loop {
        chain.base_profile = at.name().into();
        let is_first = seen.len() == 1;
        let has_keys = at.get("aws_access_key_id").is_some() && at.get("aws_secret_access_key").is_some();
        let role = at.get("role_arn").filter(|_| at.get("web_identity_token_file").is_none());
        let Some(role) = role.filter(|_| is_first || !has_keys) else {
            chain.base = base(&chain, profiles, at)?;
            return Ok(chain);
        };
        let mfa = at.get("mfa_serial").is_some();
        chain.roles.insert(0, Role { arn: role.into(), profile: at.name().into(), mfa });
        let name = at.name();
        let wrong = |cause: String, remedy: String| Err(CredentialSource::Profile(chain.clone()).failed(cause, remedy));
        match (at.get("source_profile"), at.get("credential_source")) {
            (Some(_), Some(_)) => {
                return wrong(
                    format!("profile {name} has both source_profile and credential_source"),
                    "remove one of them".into(),
                );
            }
            (None, None) => {
                return wrong(
                    format!("profile {name} has role_arn, and neither source_profile nor credential_source"),
                    "add `source_profile`, which names the profile whose credentials may assume the role".into(),
                );
            }
            (Some(next), None) if next == name => {
                chain.base = base(&chain, profiles, at)?;
                return Ok(chain);
            }
            (None, Some(_)) => {
                chain.base = base(&chain, profiles, at)?;
                return Ok(chain);
            }
            (Some(next), None) if seen.contains(&next) => {
                let circle = seen.iter().copied().chain([next]).collect::<Vec<_>>().join(" → ");
                return wrong(
                    format!("the source_profile of each leads to the other: {circle}"),
                    "set source_profile of the last one to a profile with credentials".into(),
                );
            }
            (Some(next), None) => {
                let Some(found) = profiles.get(next) else {
                    return wrong(
                        format!("its source_profile {next:?} is not there (profile {name})"),
                        no_profile_remedy(profiles, next),
                    );
                };
                seen.push(found.name());
                at = found;
            }
        }
    }
}

/// The credentials of a profile, if they are complete.
fn base(chain: &Chain, profiles: &Profiles, profile: &Profile) -> Result<Base, Trouble> {
    let name = profile.name();
    let has = |key| profile.get(key).is_some();
    let wrong = |cause: String, remedy: String| Err(CredentialSource::Profile(chain.clone()).failed(cause, remedy));
    if let Some(named) = profile.get("credential_source") {
        return match NAMED.iter().find(|known| known.eq_ignore_ascii_case(named)) {
            Some(known) => Ok(Base::Named(known)),
            None => wrong(
                format!("profile {name} has the unknown credential_source {named:?}"),
                format!("set it to {}", NAMED.join(" or ")),
            ),
        };
    }
    if let Some(file) = profile.get("web_identity_token_file") {
        if !has("role_arn") {
            let cause = format!("profile {name} has web_identity_token_file and no role_arn");
            return wrong(cause, "add `role_arn`".into());
        }
        let base = Base::WebIdentity { file: file.into() };
        let source = CredentialSource::Profile(Chain { base: base.clone(), ..chain.clone() });
        source.check_token(file)?;
        return Ok(base);
    }
    if ["sso_session", "sso_start_url", "sso_account_id", "sso_role_name"].into_iter().any(has) {
        let session = profile.get("sso_session").map(str::to_owned);
        let missing: Vec<&str> = match &session {
            Some(session) if !profiles.has_sso_session(session) => {
                let cause = format!("profile {name} names the sso_session {session:?}, which is not there");
                return wrong(cause, format!("run `aws configure sso --profile {name}`"));
            }
            Some(_) => vec!["sso_account_id", "sso_role_name"],
            None => vec!["sso_start_url", "sso_region", "sso_account_id", "sso_role_name"],
        };
        if let Some(missing) = missing.into_iter().find(|key| !has(key)) {
            let cause = format!("profile {name} uses IAM Identity Center and has no {missing}");
            return wrong(cause, format!("run `aws configure sso --profile {name}`"));
        }
        return Ok(Base::Sso { session });
    }
    if has("login_session") {
        return Ok(Base::Login);
    }
    if let Some(command) = profile.get("credential_process") {
        return match command.trim().is_empty() {
            true => wrong(format!("credential_process of profile {name} is empty"), "name a command".into()),
            false => Ok(Base::Process { command: command.into() }),
        };
    }
    match (profile.get("aws_access_key_id"), profile.get("aws_secret_access_key")) {
        (Some(id), Some(secret)) if !id.is_empty() && !secret.is_empty() => {
            let token = profile.get("aws_session_token");
            let base = Base::Keys { temporary: token.is_some() };
            let odd = [
                ("aws_access_key_id", Some(id)),
                ("aws_secret_access_key", Some(secret)),
                ("aws_session_token", token),
            ];
            if let Some((key, _)) = odd.into_iter().find(|(_, value)| value.is_some_and(|value| !is_word(value))) {
                let cause = format!(
                    "{key} of profile {name} contains a blank, a line break or another character that keys never have"
                );
                return wrong(cause, format!("{COPY} into {}", chain.credentials_file));
            }
            Ok(base)
        }
        (id, secret) => {
            let missing = if id.is_none_or(str::is_empty) { "aws_access_key_id" } else { "aws_secret_access_key" };
            let none = id.is_none() && secret.is_none();
            match none {
                true => wrong(
                    format!("profile {name} has no credentials"),
                    format!("run `aws configure --profile {name}`, or name another source_profile"),
                ),
                false => wrong(
                    format!("profile {name} has no {missing}"),
                    format!("add {missing} in {}, or run `aws configure --profile {name}`", chain.credentials_file),
                ),
            }
        }
    }
}

impl Chain {
    pub(super) fn name(&self) -> String {
        let what = match &self.base {
            Base::Keys { .. } => String::new(),
            Base::Sso { session: Some(session) } => format!(" (IAM Identity Center, session {session})"),
            Base::Sso { session: None } => " (IAM Identity Center)".into(),
            Base::Login => " (aws login)".into(),
            Base::Process { .. } => " (credential_process)".into(),
            Base::WebIdentity { file } => format!(" (token in {file})"),
            Base::Named(named) => format!(" ({named})"),
        };
        format!("profile {}{}{what}", self.profile, self.origin)
    }

    pub(super) fn renew(&self) -> String {
        let base = &self.base_profile;
        match &self.base {
            Base::Keys { temporary: true } => format!("{COPY} into {}, section [{base}]", self.credentials_file),
            Base::Keys { temporary: false } => {
                format!("make a new access key in the IAM console and enter it with `aws configure --profile {base}`")
            }
            Base::Sso { .. } => format!("run `aws sso login --profile {base}`, then the same command again"),
            Base::Login => format!("run `aws login --profile {base}`, then the same command again"),
            Base::Process { command } => format!("check its output: `{command}`"),
            Base::WebIdentity { file } => format!("have a new token written to {file}"),
            Base::Named(named) => {
                format!("make sure that {named} has credentials, or change credential_source of profile {base}")
            }
        }
    }

    pub(super) fn explain(&self, source: &CredentialSource, whole: &str, cause: String) -> Trouble {
        let is_login = matches!(self.base, Base::Sso { .. } | Base::Login);
        let known = LOGIN_ERRORS.iter().find(|(sign, _)| whole.contains(sign)).filter(|_| is_login);
        match known {
            Some((_, LoginError::NotYours)) => source.failed(
                format!("the account or the role is not yours: {cause}"),
                format!(
                    "correct sso_account_id and sso_role_name of profile {}, or have the role assigned to you",
                    self.base_profile
                ),
            ),
            Some((_, LoginError::Renew(words))) => source.failed(words, self.renew()),
            None => source.failed(cause, self.renew()),
        }
    }
}
