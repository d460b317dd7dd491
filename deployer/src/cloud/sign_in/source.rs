//! Determines the source of credentials by the SDK's rules, without contacting it.

use aws_config::profile::Profile;

use super::{Environment, Profiles, Trouble};
use crate::{
    config::did_you_mean,
    engine::Fault,
    machine::files::{self, FileError},
};

/// A source of credentials, with what is needed to explain its failures.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Source {
    /// Keys in environment variables.
    Environment {
        /// Whether they are temporary.
        temporary: bool,
    },
    /// A profile.
    Profile(Chain),
    /// `AWS_WEB_IDENTITY_TOKEN_FILE` and `AWS_ROLE_ARN`.
    WebIdentity {
        /// The token file.
        file: String,
    },
    /// The endpoint of a container's credentials, at this address.
    Container(String),
    /// The metadata service of an instance, or no source at all: only a request shows which.
    Instance {
        /// Its address; `None` if it is disabled.
        address: Option<String>,
        /// A requested profile that has no settings for credentials.
        profile: Option<String>,
        /// Where keys were looked for.
        places: String,
    },
}

/// A profile with the profiles that it refers to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Chain {
    /// The requested profile.
    pub profile: String,
    /// The variable that named it, if it was not the command line: ` (AWS_PROFILE)`.
    origin: &'static str,
    /// The profile with the credentials, at the end of the chain of `source_profile`.
    base_profile: String,
    /// Its kind of credentials.
    base: Base,
    /// The roles to assume with them.
    roles: Vec<Role>,
    /// The credentials file, for messages.
    credentials_file: String,
}

/// The kinds of credentials of a profile.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Base {
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
struct Role {
    arn: String,
    profile: String,
    /// Whether the profile names an MFA device.
    mfa: bool,
}

/// The values of `credential_source`.
const NAMED: &[&str] = &["Environment", "Ec2InstanceMetadata", "EcsContainer"];

/// The settings of a profile that concern credentials.
const KEYS: &[&str] = &[
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

/// The remedy without any credentials.
const SIGN_IN: &str = "sign in (`aws login`, `aws sso login`, or `aws configure`), copy new credentials from AWS \
                       Details if you are in AWS Academy, or use --local, which needs no account";

/// The size limit of a token file, far more than a token needs.
const MOST_OF_A_TOKEN: u64 = 1 << 16;

impl Source {
    /// Determines the source: environment variables, unless the command line names a profile; then the profile; then
    /// what the container or instance provides.
    ///
    /// Errors: the source is incomplete or invalid.
    pub fn find(environment: &Environment, profiles: &Profiles, flag: Option<&str>) -> Result<Source, Trouble> {
        if flag.is_none()
            && let Some(source) = from_variables(environment)?
        {
            return Ok(source);
        }
        let (name, origin) = selected(environment, flag);
        let mut bare = None;
        match profiles.get(name) {
            Some(profile) if KEYS.iter().any(|key| profile.get(key).is_some()) => {
                let chain = chain(profiles, profile, origin)?;
                let source = Source::Profile(chain);
                source.check_kept(environment)?;
                return Ok(source);
            }
            Some(_) => bare = Some(name.to_owned()),
            None if name == DEFAULT && origin.is_empty() && flag.is_none() => {}
            None => return Err(no_profile(profiles, name, origin)),
        }
        if let Some(file) = environment.get("AWS_WEB_IDENTITY_TOKEN_FILE") {
            if environment.get("AWS_ROLE_ARN").is_none() {
                let what = "cannot sign in: AWS_WEB_IDENTITY_TOKEN_FILE is set and AWS_ROLE_ARN is not";
                return Err(Trouble::credentials(what, "set both, or neither"));
            }
            let source = Source::WebIdentity { file: file.to_owned() };
            source.check_token(file)?;
            return Ok(source);
        }
        if let Some(address) = container(environment) {
            let source = Source::Container(address);
            if let Some(file) = environment.get("AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE") {
                source.check_token(file)?;
            }
            return Ok(source);
        }
        let is_off = environment.get("AWS_EC2_METADATA_DISABLED").is_some_and(|off| off.eq_ignore_ascii_case("true"));
        let address = (!is_off).then(|| metadata(environment));
        Ok(Source::Instance { address, profile: bare, places: profiles.places() })
    }

    /// Its name in messages.
    pub fn name(&self) -> String {
        match self {
            Source::Environment { .. } => "the keys in AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY".into(),
            Source::Profile(chain) => chain.name(),
            Source::WebIdentity { file } => format!("the token in {file} (AWS_WEB_IDENTITY_TOKEN_FILE)"),
            Source::Container(address) => format!("the credentials of this container ({address})"),
            Source::Instance { address, .. } => {
                format!("the role of this instance ({})", address.as_deref().unwrap_or("off"))
            }
        }
    }

    /// The error when signing in with it failed for this reason.
    pub fn failed(&self, cause: impl std::fmt::Display, remedy: impl Into<String>) -> Trouble {
        Trouble::credentials(format!("cannot sign in with {}: {cause}", self.name()), remedy)
    }

    /// The remedy for credentials that have expired or that AWS does not know.
    pub fn renew(&self) -> String {
        match self {
            Source::Environment { temporary: true } => format!(
                "{COPY} into AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY and \
                AWS_SESSION_TOKEN, or unset them"
            ),
            Source::Environment { temporary: false } => {
                "renew the credentials: correct AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or unset them".into()
            }
            Source::Profile(chain) => chain.renew(),
            Source::WebIdentity { file } => format!("have a new token written to {file}"),
            Source::Container(_) => "give the task or the pod a role that exists in AWS".into(),
            Source::Instance { .. } => SIGN_IN.into(),
        }
    }

    /// The command that prints the credentials, if there is one.
    pub fn command(&self) -> Option<&str> {
        match self {
            Source::Profile(Chain { base: Base::Process { command }, .. }) => Some(command),
            _ => None,
        }
    }

    /// Whether its keys are temporary, although their expiry is unknown.
    pub fn is_temporary(&self) -> bool {
        matches!(
            self,
            Source::Environment { temporary: true }
                | Source::Profile(Chain { base: Base::Keys { temporary: true }, .. })
        )
    }

    /// Whether its credentials are the last ones: keys that were copied, or printed by a command that may only repeat
    /// them. All others are renewed.
    pub fn is_fixed(&self) -> bool {
        match self {
            Source::Environment { .. } => true,
            Source::Profile(Chain { base: Base::Keys { .. } | Base::Process { .. }, roles, .. }) => roles.is_empty(),
            _ => false,
        }
    }

    /// The address of the metadata service.
    pub fn metadata(&self) -> Option<&str> {
        match self {
            Source::Instance { address, .. } => address.as_deref(),
            _ => None,
        }
    }

    /// Explains why it gave no credentials: `said` are the SDK's messages, outermost first; `whole` is the full debug
    /// text, since some errors have empty messages.
    pub fn explain(&self, said: &[String], whole: &str) -> Trouble {
        let cause = said.last().cloned().unwrap_or_default();
        if let Source::Instance { address, profile, places } = self {
            return no_credentials(address.as_deref(), profile.as_deref(), places, said);
        }
        if is_unreachable(said) {
            return self.failed(format!("{} cannot be reached: {cause}", self.server()), REACH);
        }
        match self {
            Source::Profile(chain) => chain.explain(self, whole, cause),
            _ => self.failed(cause, self.renew()),
        }
    }

    /// Explains that it did not answer in time.
    pub fn too_slow(&self, seconds: u64) -> Trouble {
        match (self, self.command()) {
            (Source::Instance { address, profile, places }, _) => {
                let said = [format!("no answer within {seconds} s")];
                no_credentials(address.as_deref(), profile.as_deref(), places, &said)
            }
            (_, Some(command)) => self.failed(
                format!("its credential_process printed nothing within {seconds} s"),
                format!("try it by hand: `{command}`"),
            ),
            _ => self.failed(format!("{} has not answered within {seconds} s", self.server()), REACH),
        }
    }

    /// Explains a refusal by AWS.
    pub fn refused(&self, fault: &Fault) -> Trouble {
        let said = format!("AWS says {fault}");
        match (&*fault.code, self) {
            ("AccessDenied" | "AccessDeniedException", Source::Profile(chain)) => match chain.roles.last() {
                Some(role) if role.mfa => self.failed(
                    format!("{} may only be assumed with a code of the MFA device: {said}", role.arn),
                    format!(
                        "there is no terminal to enter the code: run `eval \"$(aws configure export-credentials --profile \
                         {} --format env)\"`, then the same command without --profile",
                        chain.profile
                    ),
                ),
                Some(role) => self.failed(
                    format!("{} may not be assumed: {said}", role.arn),
                    format!(
                        "correct `role_arn` of profile {}, or have the role's trust policy and the permissions of \
                         profile {} allow `sts:AssumeRole`",
                        role.profile, chain.base_profile
                    ),
                ),
                None => self.failed(said, self.renew()),
            },
            _ => self.failed(said, self.renew()),
        }
    }

    /// The server that issues the credentials.
    fn server(&self) -> &'static str {
        match self {
            Source::Profile(Chain { base: Base::Sso { .. }, .. }) => "IAM Identity Center",
            Source::Profile(Chain { base: Base::Login, .. }) => "AWS Sign-In",
            Source::Container(_) => "the container's credentials server",
            _ => "AWS STS",
        }
    }

    /// The SDK would block on a cached login that is not a regular file, even after every other wait has timed out.
    fn check_kept(&self, environment: &Environment) -> Result<(), Trouble> {
        let Source::Profile(chain) = self else { return Ok(()) };
        let below_home = |path: &str| environment.home().map(|home| home.join(path));
        let folder = match chain.base {
            Base::Sso { .. } => below_home(".aws/sso/cache"),
            Base::Login => environment.path("AWS_LOGIN_CACHE_DIRECTORY").or_else(|| below_home(".aws/login/cache")),
            _ => None,
        };
        let kept = folder.and_then(|folder| std::fs::read_dir(folder).ok()).into_iter().flatten().flatten();
        for path in kept.map(|entry| entry.path()).filter(|path| path.extension().is_some_and(|end| end == "json")) {
            if let Err(error @ FileError::NotRegular { .. }) = files::open_regular_file(&path) {
                return Err(self.failed(error, format!("remove it; then {}", self.renew())));
            }
        }
        Ok(())
    }

    fn check_token(&self, file: &str) -> Result<(), Trouble> {
        let token = files::read_text_file(file.as_ref(), MOST_OF_A_TOKEN);
        let wrong = |cause: String| self.failed(cause, format!("have a token written to {file}, or name another file"));
        match token {
            Ok(token) if token.trim().is_empty() => Err(wrong(format!("{file} is empty"))),
            Ok(_) => Ok(()),
            Err(error) if error.is_not_found() => Err(wrong(format!("there is no file {file}"))),
            Err(error) => {
                let cause = std::error::Error::source(&error).map_or(String::new(), |cause| format!(": {cause}"));
                Err(wrong(format!("{error}{cause}")))
            }
        }
    }
}

const DEFAULT: &str = "default";
const COPY: &str =
    "copy new credentials (in AWS Academy from AWS Details, AWS CLI, Show; elsewhere from the access portal)";
/// The remedy for a server that cannot be reached.
pub const REACH: &str = "check the network; --local needs neither network nor account";

/// The selected profile, with the variable that selected it if it was not the command line.
pub fn selected<'a>(environment: &'a Environment, flag: Option<&'a str>) -> (&'a str, &'static str) {
    match (flag, environment.get("AWS_PROFILE")) {
        (Some(name), _) => (name, ""),
        (None, Some(name)) => (name.trim(), " (AWS_PROFILE)"),
        (None, None) => (DEFAULT, ""),
    }
}

fn from_variables(environment: &Environment) -> Result<Option<Source>, Trouble> {
    let id = environment.get("AWS_ACCESS_KEY_ID");
    let secret = environment.get("AWS_SECRET_ACCESS_KEY");
    let half = |there: &str, missing: &str| {
        let what = format!("cannot sign in: {there} is set and {missing} is not");
        Err(Trouble::credentials(what, "set both, or unset both to use a profile"))
    };
    match (id, secret.or(environment.get("SECRET_ACCESS_KEY"))) {
        (None, _) if secret.is_some() => half("AWS_SECRET_ACCESS_KEY", "AWS_ACCESS_KEY_ID"),
        (None, _) => Ok(None),
        (Some(_), None) => half("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"),
        (Some(id), Some(secret)) => {
            let token = environment.get("AWS_SESSION_TOKEN").map(str::trim);
            let source = Source::Environment { temporary: token.is_some() };
            for (name, value) in
                [("AWS_ACCESS_KEY_ID", Some(id)), ("AWS_SECRET_ACCESS_KEY", Some(secret)), ("AWS_SESSION_TOKEN", token)]
            {
                if value.is_some_and(|value| !is_word(value)) {
                    let cause =
                        format!("{name} contains a blank, a line break or another character that keys never have");
                    return Err(source.failed(cause, source.renew()));
                }
            }
            Ok(Some(source))
        }
    }
}

fn is_word(value: &str) -> bool {
    value.chars().all(|c| c.is_ascii_graphic())
}

fn no_profile(profiles: &Profiles, name: &str, origin: &str) -> Trouble {
    let what = format!("there is no profile {name:?}{origin} in {}", profiles.places());
    Trouble::credentials(what, no_profile_remedy(profiles, name))
}

fn no_profile_remedy(profiles: &Profiles, name: &str) -> String {
    let names = profiles.names();
    if let Some(remedy) = profiles.unseen(name) {
        return remedy;
    }
    if let Some(close) = did_you_mean(name, names.iter().copied()) {
        return format!("did you mean {close}?");
    }
    match names.is_empty() {
        true => format!("make it with `aws configure --profile {name}` or `aws configure sso --profile {name}`"),
        false => format!("choose from: {}", names.into_iter().collect::<Vec<_>>().join(", ")),
    }
}

fn container(environment: &Environment) -> Option<String> {
    let relative = environment.get("AWS_CONTAINER_CREDENTIALS_RELATIVE_URI");
    relative
        .map(|path| format!("http://169.254.170.2{path}"))
        .or_else(|| environment.get("AWS_CONTAINER_CREDENTIALS_FULL_URI").map(str::to_owned))
}

fn metadata(environment: &Environment) -> String {
    let mode = environment.get("AWS_EC2_METADATA_SERVICE_ENDPOINT_MODE").unwrap_or_default();
    let usual = if mode.eq_ignore_ascii_case("IPv6") { "http://[fd00:ec2::254]" } else { "http://169.254.169.254" };
    environment.get("AWS_EC2_METADATA_SERVICE_ENDPOINT").unwrap_or(usual).to_owned()
}

/// The error when no source has credentials; the last one tried was the metadata service.
fn no_credentials(address: Option<&str>, profile: Option<&str>, places: &str, said: &[String]) -> Trouble {
    let has_profile = match profile {
        Some(profile) => format!("profile {profile} in {places} has none"),
        None => format!("{places} has no profile default"),
    };
    let all = said.join(" ");
    let metadata = match address {
        None => "the instance metadata service is off (AWS_EC2_METADATA_DISABLED)".into(),
        Some(address) => match status(&all) {
            Some(404) => format!("{address} reports that this instance has no role"),
            Some(status) => format!("the instance metadata service at {address} answers {status}"),
            None => format!("no instance metadata service answers at {address}"),
        },
    };
    let what =
        format!("there are no AWS credentials here: AWS_ACCESS_KEY_ID is not set, {has_profile}, and {metadata}");
    Trouble::credentials(what, SIGN_IN)
}

/// The HTTP status in the SDK's errors about the metadata service.
fn status(said: &str) -> Option<u16> {
    let after =
        |mark: &str| said.split(mark).nth(1)?.chars().take_while(char::is_ascii_digit).collect::<String>().parse().ok();
    let status = ["code: ", "received ", "status: ", "StatusCode("].iter().find_map(|mark| after(mark));
    status.or_else(|| said.contains("forbidden").then_some(403))
}

fn is_unreachable(said: &[String]) -> bool {
    const SIGNS: &[&str] = &["dispatch failure", "timed out", "timeout occurred", "request has timed out"];
    said.iter().any(|line| SIGNS.iter().any(|sign| line.contains(sign)))
}

/// Follows a profile to its credentials, as the SDK does.
fn chain(profiles: &Profiles, profile: &Profile, origin: &'static str) -> Result<Chain, Trouble> {
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
        let wrong = |cause: String, remedy: String| Err(Source::Profile(chain.clone()).failed(cause, remedy));
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
    let wrong = |cause: String, remedy: String| Err(Source::Profile(chain.clone()).failed(cause, remedy));
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
        let source = Source::Profile(Chain { base: base.clone(), ..chain.clone() });
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
    fn name(&self) -> String {
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

    fn renew(&self) -> String {
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

    fn explain(&self, source: &Source, whole: &str, cause: String) -> Trouble {
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

/// The meaning of an error about a login.
enum LoginError {
    Renew(&'static str),
    NotYours,
}

/// Texts in the SDK's errors about logins; the first match counts.
const LOGIN_ERRORS: &[(&str, LoginError)] = &[
    ("ForbiddenException", LoginError::NotYours),
    ("NotFound", LoginError::Renew(NOT_LOGGED_IN)),
    ("No such file", LoginError::Renew(NOT_LOGGED_IN)),
    ("JsonError", LoginError::Renew(DAMAGED)),
    ("MissingField", LoginError::Renew(DAMAGED)),
    ("InvalidField", LoginError::Renew(DAMAGED)),
    ("Expired", LoginError::Renew(ENDED)),
    ("expired", LoginError::Renew(ENDED)),
    ("Unauthorized", LoginError::Renew(ENDED)),
    ("RefreshFailed", LoginError::Renew(ENDED)),
];
const NOT_LOGGED_IN: &str = "not logged in";
const DAMAGED: &str = "the stored login on this machine is damaged";
const ENDED: &str = "the login has expired";
