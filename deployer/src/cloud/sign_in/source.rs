//! Determines the source of credentials by the SDK's rules, without contacting it.

mod login_error;
mod profile;

use super::{Environment, Profiles, Trouble};
use crate::{
    config::did_you_mean,
    engine::Fault,
    machine::files::{self, FileError},
};

use profile::{Base, Chain, KEYS, chain};

/// A source of credentials, with what is needed to explain its failures.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CredentialSource {
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

/// The remedy without any credentials.
const SIGN_IN: &str = "sign in (`aws login`, `aws sso login`, or `aws configure`), copy new credentials from AWS \
                       Details if you are in AWS Academy, or use --local, which needs no account";

/// The size limit of a token file, far more than a token needs.
const MOST_OF_A_TOKEN: u64 = 1 << 16;

impl CredentialSource {
    /// Determines the source: environment variables, unless the command line names a profile; then the profile; then
    /// what the container or instance provides.
    ///
    /// Errors: the source is incomplete or invalid.
    pub fn find(
        environment: &Environment,
        profiles: &Profiles,
        flag: Option<&str>,
    ) -> Result<CredentialSource, Trouble> {
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
                let source = CredentialSource::Profile(chain);
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
            let source = CredentialSource::WebIdentity { file: file.to_owned() };
            source.check_token(file)?;
            return Ok(source);
        }
        if let Some(address) = container(environment) {
            let source = CredentialSource::Container(address);
            if let Some(file) = environment.get("AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE") {
                source.check_token(file)?;
            }
            return Ok(source);
        }
        let is_off = environment.get("AWS_EC2_METADATA_DISABLED").is_some_and(|off| off.eq_ignore_ascii_case("true"));
        let address = (!is_off).then(|| metadata(environment));
        Ok(CredentialSource::Instance { address, profile: bare, places: profiles.places() })
    }

    /// Its name in messages.
    pub fn name(&self) -> String {
        match self {
            CredentialSource::Environment { .. } => "the keys in AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY".into(),
            CredentialSource::Profile(chain) => chain.name(),
            CredentialSource::WebIdentity { file } => format!("the token in {file} (AWS_WEB_IDENTITY_TOKEN_FILE)"),
            CredentialSource::Container(address) => format!("the credentials of this container ({address})"),
            CredentialSource::Instance { address, .. } => {
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
            CredentialSource::Environment { temporary: true } => format!(
                "{COPY} into AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY and \
                AWS_SESSION_TOKEN, or unset them"
            ),
            CredentialSource::Environment { temporary: false } => {
                "renew the credentials: correct AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or unset them".into()
            }
            CredentialSource::Profile(chain) => chain.renew(),
            CredentialSource::WebIdentity { file } => format!("have a new token written to {file}"),
            CredentialSource::Container(_) => "give the task or the pod a role that exists in AWS".into(),
            CredentialSource::Instance { .. } => SIGN_IN.into(),
        }
    }

    /// The command that prints the credentials, if there is one.
    pub fn command(&self) -> Option<&str> {
        match self {
            CredentialSource::Profile(Chain { base: Base::Process { command }, .. }) => Some(command),
            _ => None,
        }
    }

    /// Whether its keys are temporary, although their expiry is unknown.
    pub fn is_temporary(&self) -> bool {
        matches!(
            self,
            CredentialSource::Environment { temporary: true }
                | CredentialSource::Profile(Chain { base: Base::Keys { temporary: true }, .. })
        )
    }

    /// Whether its credentials are the last ones: keys that were copied, or printed by a command that may only repeat
    /// them. All others are renewed.
    pub fn is_fixed(&self) -> bool {
        match self {
            CredentialSource::Environment { .. } => true,
            CredentialSource::Profile(Chain { base: Base::Keys { .. } | Base::Process { .. }, roles, .. }) => {
                roles.is_empty()
            }
            _ => false,
        }
    }

    /// The address of the metadata service.
    pub fn metadata(&self) -> Option<&str> {
        match self {
            CredentialSource::Instance { address, .. } => address.as_deref(),
            _ => None,
        }
    }

    /// Explains why it gave no credentials: `said` are the SDK's messages, outermost first; `whole` is the full debug
    /// text, since some errors have empty messages.
    pub fn explain(&self, said: &[String], whole: &str) -> Trouble {
        let cause = said.last().cloned().unwrap_or_default();
        if let CredentialSource::Instance { address, profile, places } = self {
            return no_credentials(address.as_deref(), profile.as_deref(), places, said);
        }
        if is_unreachable(said) {
            return self.failed(format!("{} cannot be reached: {cause}", self.server()), REACH);
        }
        match self {
            CredentialSource::Profile(chain) => chain.explain(self, whole, cause),
            _ => self.failed(cause, self.renew()),
        }
    }

    /// Explains that it did not answer in time.
    pub fn too_slow(&self, seconds: u64) -> Trouble {
        match (self, self.command()) {
            (CredentialSource::Instance { address, profile, places }, _) => {
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
            ("AccessDenied" | "AccessDeniedException", CredentialSource::Profile(chain)) => match chain.roles.last() {
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
            CredentialSource::Profile(Chain { base: Base::Sso { .. }, .. }) => "IAM Identity Center",
            CredentialSource::Profile(Chain { base: Base::Login, .. }) => "AWS Sign-In",
            CredentialSource::Container(_) => "the container's credentials server",
            _ => "AWS STS",
        }
    }

    /// The SDK would block on a cached login that is not a regular file, even after every other wait has timed out.
    fn check_kept(&self, environment: &Environment) -> Result<(), Trouble> {
        let CredentialSource::Profile(chain) = self else { return Ok(()) };
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

fn from_variables(environment: &Environment) -> Result<Option<CredentialSource>, Trouble> {
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
            let source = CredentialSource::Environment { temporary: token.is_some() };
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
