//! Signing in with every kind of faulty configuration: the first line reports what failed and why, the hint is the
//! command to run.

use std::{
    fs,
    io::{BufRead as _, BufReader, Read as _, Write as _},
    net::{TcpListener, TcpStream},
    sync::{Arc, Mutex},
    time::Duration,
};

use crate::support::{Project, Said};

const STACK: &str = "name: small\nregion: us-east-1\ntables:\n  t: { partition_key: k }\n";

/// Answers a request, given as its first line and its body.
type Answers = fn(&str) -> Answer;

enum Answer {
    /// Status, content type, body.
    Says(u16, &'static str, String),
    /// No answer until the client disconnects.
    Silence,
}

/// A server of AWS, of an access portal or of a captive portal. It ends with the test.
fn serve(answers: impl Fn(&str) -> Answer + Clone + Send + 'static) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").expect("there is a free port");
    let address = listener.local_addr().expect("it has an address");
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let answers = answers.clone();
            std::thread::spawn(move || {
                let _ = answer(stream, answers);
            });
        }
    });
    format!("http://{address}")
}

fn answer(mut stream: TcpStream, answers: impl Fn(&str) -> Answer) -> std::io::Result<()> {
    let mut reader = BufReader::new(stream.try_clone()?);
    let (mut request, mut length) = (String::new(), 0);
    reader.read_line(&mut request)?;
    loop {
        let mut header = String::new();
        reader.read_line(&mut header)?;
        let header = header.trim().to_lowercase();
        if header.is_empty() {
            break;
        }
        if let Some(bytes) = header.strip_prefix("content-length:") {
            length = bytes.trim().parse().unwrap_or(0);
        }
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body)?;
    request.push_str(&String::from_utf8_lossy(&body));
    match answers(&request) {
        Answer::Silence => std::thread::sleep(Duration::from_secs(600)),
        Answer::Says(status, kind, text) => write!(
            stream,
            "HTTP/1.1 {status} \r\nContent-Type: {kind}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{text}",
            text.len()
        )?,
    }
    Ok(())
}

/// A port at which no server listens.
fn closed_port() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").expect("there is a free port");
    format!("http://{}", listener.local_addr().expect("it has an address"))
}

fn xml(status: u16, code: &str, message: &str) -> Answer {
    let text = format!(
        "<ErrorResponse xmlns=\"https://sts.amazonaws.com/doc/2011-06-15/\"><Error><Type>Sender</Type>\
         <Code>{code}</Code><Message>{message}</Message></Error><RequestId>1</RequestId></ErrorResponse>"
    );
    Answer::Says(status, "text/xml", text)
}

fn json(status: u16, text: &str) -> Answer {
    Answer::Says(status, "application/json", text.into())
}

/// A faulty configuration, and the expected error.
#[derive(Default)]
struct Case<'a> {
    /// A description for the test's messages.
    what: &'a str,
    /// `~/.aws/config`.
    config: &'a str,
    /// `~/.aws/credentials`.
    credentials: &'a str,
    /// Other files below the home directory.
    files: &'a [(&'a str, &'a str)],
    /// Variables. `SERVER` is replaced by the address of the server, `CLOSED` by one at which no server listens.
    variables: &'a [(&'a str, &'a str)],
    arguments: &'a [&'a str],
    server: Option<Answers>,
    region: Option<&'a str>,
    /// The line that begins with `error:`; `~` stands for the home directory.
    error: &'a str,
    /// A part of the hint.
    hint: &'a str,
    /// The exit code, if it is not that of credentials.
    code: Option<i32>,
}

fn run(case: &Case) -> (Project, Said) {
    let project = Project::with(&STACK.replace("us-east-1", case.region.unwrap_or("us-east-1")));
    let home = project.path().to_owned();
    let files = [(".aws/config", case.config), (".aws/credentials", case.credentials)];
    for (path, text) in files.iter().chain(case.files).filter(|(_, text)| !text.is_empty()) {
        let path = home.join(path);
        fs::create_dir_all(path.parent().expect("it is below the home directory")).expect("a folder can be made");
        fs::write(path, text.replace('~', &home.display().to_string())).expect("a file can be written");
    }
    let server = case.server.map(serve).unwrap_or_default();
    let value = |value: &str| {
        value.replace("SERVER", &server).replace("CLOSED", &closed_port()).replace('~', &home.display().to_string())
    };
    let variables: Vec<(&str, String)> = case.variables.iter().map(|(name, text)| (*name, value(text))).collect();
    let mut variables: Vec<(&str, &str)> = variables.iter().map(|(name, value)| (*name, value.as_str())).collect();
    if !case.variables.iter().any(|(name, _)| name.starts_with("AWS_EC2_METADATA")) {
        variables.push(("AWS_EC2_METADATA_DISABLED", "true"));
    }
    let said = project.run_with(&[&["plan"], case.arguments].concat(), &variables);
    (project, said)
}

fn check(case: Case) -> Option<String> {
    let (project, said) = run(&case);
    let home = project.path().display().to_string();
    let line = |begin: &str| {
        said.stderr.lines().find_map(|line| line.strip_prefix(begin)).unwrap_or_default().replace(&home, "~")
    };
    let (error, hint) = (line("error: "), line("hint: "));
    // Ports differ from run to run.
    let error = ports(&error);
    let errors = said.stderr.lines().filter(|line| line.starts_with("error:") || line.contains("caused by")).count();
    let is_right = said.code == case.code.unwrap_or(77)
        && error == case.error
        && hint.contains(case.hint)
        && errors == 1
        && !said.stderr.contains("panicked");
    (!is_right).then(|| format!("{}: exit {}\n  error: {error}\n  hint: {hint}\n{}", case.what, said.code, said.stderr))
}

/// Replaces the port of every such address: `http://127.0.0.1:PORT`.
fn ports(text: &str) -> String {
    let mut parts = text.split("127.0.0.1:");
    let mut shown = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let rest = part.trim_start_matches(|c: char| c.is_ascii_digit());
        shown.push_str("127.0.0.1:PORT");
        shown.push_str(rest);
    }
    shown
}

/// Runs all cases concurrently, because most of them wait.
fn check_all(cases: Vec<Case>) {
    let wrong: Vec<String> = std::thread::scope(|scope| {
        let running: Vec<_> = cases.into_iter().map(|case| scope.spawn(|| check(case))).collect();
        running.into_iter().filter_map(|case| case.join().expect("a case is checked")).collect()
    });
    assert!(wrong.is_empty(), "{} are wrong:\n{}", wrong.len(), wrong.join("\n"));
}

const KEYS: &[(&str, &str)] =
    &[("AWS_ACCESS_KEY_ID", "AKIAX"), ("AWS_SECRET_ACCESS_KEY", "x"), ("AWS_ENDPOINT_URL_STS", "SERVER")];

#[test]
fn a_run_without_credentials_is_refused() {
    let metadata = |_: &str| Answer::Says(403, "text/html", "<html>Forbidden</html>".into());
    check_all(vec![
        Case {
            what: "nothing at all",
            error: "there are no AWS credentials here: AWS_ACCESS_KEY_ID is not set, ~/.aws/config or ~/.aws/credentials has no profile default, and the instance metadata service is off (AWS_EC2_METADATA_DISABLED)",
            hint: "aws sso login",
            ..Case::default()
        },
        Case {
            what: "a metadata service that refuses",
            variables: &[("AWS_EC2_METADATA_SERVICE_ENDPOINT", "SERVER")],
            server: Some(metadata),
            error: "there are no AWS credentials here: AWS_ACCESS_KEY_ID is not set, ~/.aws/config or ~/.aws/credentials has no profile default, and the instance metadata service at http://127.0.0.1:PORT answers 403",
            hint: "--local, which needs no account",
            ..Case::default()
        },
        Case {
            what: "an instance without a role",
            variables: &[("AWS_EC2_METADATA_SERVICE_ENDPOINT", "SERVER")],
            server: Some(|request| match request.starts_with("PUT") {
                true => Answer::Says(200, "text/plain\r\nx-aws-ec2-metadata-token-ttl-seconds: 60", "token".into()),
                false => Answer::Says(404, "text/plain", String::new()),
            }),
            error: "there are no AWS credentials here: AWS_ACCESS_KEY_ID is not set, ~/.aws/config or ~/.aws/credentials has no profile default, and http://127.0.0.1:PORT says that this instance has no role",
            hint: "aws configure",
            ..Case::default()
        },
        Case {
            what: "no metadata service",
            variables: &[("AWS_EC2_METADATA_SERVICE_ENDPOINT", "CLOSED")],
            error: "there are no AWS credentials here: AWS_ACCESS_KEY_ID is not set, ~/.aws/config or ~/.aws/credentials has no profile default, and no instance metadata service answers at http://127.0.0.1:PORT",
            hint: "AWS Details",
            ..Case::default()
        },
        Case {
            what: "a silent metadata service",
            variables: &[("AWS_EC2_METADATA_SERVICE_ENDPOINT", "SERVER")],
            server: Some(|_| Answer::Silence),
            error: "there are no AWS credentials here: AWS_ACCESS_KEY_ID is not set, ~/.aws/config or ~/.aws/credentials has no profile default, and no instance metadata service answers at http://127.0.0.1:PORT",
            hint: "aws login",
            ..Case::default()
        },
        Case {
            what: "a profile without credentials",
            config: "[profile dev]\nregion = eu-west-1\n",
            arguments: &["--profile", "dev"],
            error: "there are no AWS credentials here: AWS_ACCESS_KEY_ID is not set, profile dev in ~/.aws/config has none, and the instance metadata service is off (AWS_EC2_METADATA_DISABLED)",
            hint: "aws configure",
            ..Case::default()
        },
        Case {
            what: "a missing profile",
            config: "[profile prod]\nregion = eu-west-1\n",
            arguments: &["--profile", "prdo"],
            error: "there is no profile \"prdo\" in ~/.aws/config",
            hint: "did you mean prod?",
            ..Case::default()
        },
        Case {
            what: "a missing profile of a variable",
            config: "[profile one]\nregion = eu-west-1\n[profile other]\nregion = x\n",
            variables: &[("AWS_PROFILE", "company")],
            error: "there is no profile \"company\" (AWS_PROFILE) in ~/.aws/config",
            hint: "there are: one, other",
            ..Case::default()
        },
        Case {
            what: "a profile whose section lacks its word",
            config: "[dev]\nregion = eu-west-1\n",
            arguments: &["--profile", "dev"],
            error: "there is no profile \"dev\" in ~/.aws/config",
            hint: "write [profile dev] for [dev] in ~/.aws/config",
            ..Case::default()
        },
        Case {
            what: "no file and a profile",
            arguments: &["--profile", "dev"],
            error: "there is no profile \"dev\" in ~/.aws/config or ~/.aws/credentials",
            hint: "aws configure sso --profile dev",
            ..Case::default()
        },
        Case {
            what: "an id without its secret",
            variables: &[("AWS_ACCESS_KEY_ID", "AKIAX")],
            error: "cannot sign in: AWS_ACCESS_KEY_ID is set and AWS_SECRET_ACCESS_KEY is not",
            hint: "set both",
            ..Case::default()
        },
        Case {
            what: "a secret without its id",
            variables: &[("AWS_SECRET_ACCESS_KEY", "x"), ("AWS_ACCESS_KEY_ID", " ")],
            error: "cannot sign in: AWS_SECRET_ACCESS_KEY is set and AWS_ACCESS_KEY_ID is not",
            hint: "unset both",
            ..Case::default()
        },
        Case {
            what: "a key with its line end",
            variables: &[("AWS_ACCESS_KEY_ID", "AKIAX\n"), ("AWS_SECRET_ACCESS_KEY", "x")],
            error: "cannot sign in with the keys in AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY: AWS_ACCESS_KEY_ID contains a blank, a line break or another character that keys never have",
            hint: "correct AWS_ACCESS_KEY_ID",
            ..Case::default()
        },
        Case {
            what: "half a pair in a file",
            credentials: "[default]\naws_access_key_id = AKIAX\n",
            error: "cannot sign in with profile default: profile default has no aws_secret_access_key",
            hint: "add aws_secret_access_key in ~/.aws/credentials",
            ..Case::default()
        },
    ]);
}

#[test]
fn an_invalid_aws_configuration_file_is_named_with_its_line() {
    let good = "[default]\naws_access_key_id = AKIAX\naws_secret_access_key = x\n";
    check_all(vec![
        Case {
            what: "an indented file",
            credentials: "  [default]\n  aws_access_key_id = AKIAX\n  aws_secret_access_key = x\n",
            error: "~/.aws/credentials: line 1 is indented",
            hint: "remove the blanks",
            ..Case::default()
        },
        Case {
            what: "an indented line",
            credentials: "[default]\naws_access_key_id = AKIAX\n  aws_secret_access_key = x\n",
            error: "~/.aws/credentials: line 3 is indented",
            hint: "remove the blanks",
            ..Case::default()
        },
        Case {
            what: "a byte order mark",
            credentials: &format!("\u{feff}{good}"),
            error: "~/.aws/credentials begins with a byte order mark",
            hint: "without a byte order mark",
            ..Case::default()
        },
        Case {
            what: "a section that is not closed",
            config: "[default\nregion = us-east-1\n",
            credentials: good,
            error: "~/.aws/config: line 1 is neither `[profile]` nor `key = value`",
            hint: "correct the file",
            ..Case::default()
        },
        Case {
            what: "keys without a section",
            credentials: "aws_access_key_id = AKIAX\n",
            error: "~/.aws/credentials: line 1 is neither `[profile]` nor `key = value`",
            hint: "aws configure",
            ..Case::default()
        },
        Case {
            what: "a device",
            variables: &[("AWS_CONFIG_FILE", "/dev/zero")],
            error: "failed to read /dev/zero: it is a device, not a regular file",
            hint: "AWS_CONFIG_FILE",
            ..Case::default()
        },
        Case {
            what: "a folder",
            variables: &[("AWS_SHARED_CREDENTIALS_FILE", "~")],
            error: "failed to read ~: it is a directory, not a regular file",
            hint: "AWS_SHARED_CREDENTIALS_FILE",
            ..Case::default()
        },
        Case {
            what: "a switch of a profile",
            config: "[default]\nuse_fips_endpoint = yes\n",
            credentials: good,
            error: "use_fips_endpoint of profile default cannot be \"yes\"",
            hint: "true or false",
            code: Some(78),
            ..Case::default()
        },
        Case {
            what: "an endpoint of a service in a profile",
            config: "[default]\nservices = mine\n[services mine]\nsts =\n  endpoint_url = nowhere\n",
            credentials: good,
            error: "the endpoint_url of STS cannot be \"nowhere\"",
            hint: "http://127.0.0.1:4566",
            code: Some(78),
            ..Case::default()
        },
    ]);
}

const SSO: &str = "[profile dev]\nsso_session = corp\nsso_account_id = 111122223333\nsso_role_name = Admin\n\
                   [sso-session corp]\nsso_region = us-east-1\nsso_start_url = https://corp.awsapps.com/start\n";
/// The file is named by the SHA-1 of the session's name.
const SSO_TOKEN: &str = ".aws/sso/cache/ee0bfd2552fbd840c02cc48b6e823320543c450f.json";

#[test]
fn a_missing_or_expired_login_names_the_command_that_renews_it() {
    let login = "run `aws sso login --profile dev`, then the same command again";
    let who = "cannot sign in with profile dev (IAM Identity Center, session corp)";
    let token = |expires: &str, more: &str| {
        format!(
            "{{\"accessToken\":\"a\",\"expiresAt\":\"{expires}\",\"region\":\"us-east-1\",\"startUrl\":\"https://corp.awsapps.com/start\"{more}}}"
        )
    };
    let refreshable = ",\"clientId\":\"c\",\"clientSecret\":\"s\",\"refreshToken\":\"r\",\"registrationExpiresAt\":\"2099-01-01T00:00:00Z\"";
    let (old, fresh) = (token("2020-01-01T00:00:00Z", ""), token("2099-01-01T00:00:00Z", ""));
    let old_refreshable = token("2020-01-01T00:00:00Z", refreshable);
    let portal: &[(&str, &str)] = &[("AWS_ENDPOINT_URL_SSO", "SERVER"), ("AWS_ENDPOINT_URL_SSO_OIDC", "SERVER")];
    check_all(vec![
        Case {
            what: "not logged in",
            config: SSO,
            arguments: &["--profile", "dev"],
            error: &format!("{who}: not logged in"),
            hint: login,
            ..Case::default()
        },
        Case {
            what: "the login has expired",
            config: SSO,
            files: &[(SSO_TOKEN, &old)],
            arguments: &["--profile", "dev"],
            error: &format!("{who}: the login has expired"),
            hint: login,
            ..Case::default()
        },
        Case {
            what: "the login cannot be renewed",
            config: SSO,
            files: &[(SSO_TOKEN, &old_refreshable)],
            variables: portal,
            arguments: &["--profile", "dev"],
            server: Some(|request| match request.starts_with("POST /token") {
                true => {
                    json(400, "{\"error\":\"invalid_grant\",\"error_description\":\"Invalid refresh token provided\"}")
                }
                false => json(
                    401,
                    "{\"message\":\"Session token not found or invalid\",\"__type\":\"UnauthorizedException\"}",
                ),
            }),
            error: &format!("{who}: the login has expired"),
            hint: login,
            ..Case::default()
        },
        Case {
            what: "the login was ended elsewhere",
            config: SSO,
            files: &[(SSO_TOKEN, &fresh)],
            variables: portal,
            arguments: &["--profile", "dev"],
            server: Some(|_| {
                json(401, "{\"message\":\"Session token not found or invalid\",\"__type\":\"UnauthorizedException\"}")
            }),
            error: &format!("{who}: the login has expired"),
            hint: login,
            ..Case::default()
        },
        Case {
            what: "a damaged login",
            config: SSO,
            files: &[(SSO_TOKEN, "{\"accessToken\":")],
            arguments: &["--profile", "dev"],
            error: &format!("{who}: the stored login on this machine is damaged"),
            hint: login,
            ..Case::default()
        },
        Case {
            what: "a portal that cannot be reached",
            config: SSO,
            files: &[(SSO_TOKEN, &fresh)],
            variables: &[("AWS_ENDPOINT_URL_SSO", "CLOSED")],
            arguments: &["--profile", "dev"],
            error: &format!("{who}: IAM Identity Center cannot be reached: Connection refused (os error 111)"),
            hint: "check the network",
            ..Case::default()
        },
        Case {
            what: "a portal that says nothing",
            config: SSO,
            files: &[(SSO_TOKEN, &fresh)],
            variables: portal,
            arguments: &["--profile", "dev"],
            server: Some(|_| Answer::Silence),
            error: &format!("{who}: IAM Identity Center has not answered within 3 s"),
            hint: "check the network",
            ..Case::default()
        },
        Case {
            what: "a session that is not there",
            config: "[profile dev]\nsso_session = corp\nsso_account_id = 1\nsso_role_name = Admin\n",
            arguments: &["--profile", "dev"],
            error: "cannot sign in with profile dev: profile dev names the sso_session \"corp\", which is not there",
            hint: "aws configure sso --profile dev",
            ..Case::default()
        },
        Case {
            what: "no role is chosen",
            config: "[profile dev]\nsso_start_url = https://corp.awsapps.com/start\nsso_region = us-east-1\n",
            arguments: &["--profile", "dev"],
            error: "cannot sign in with profile dev: profile dev uses IAM Identity Center and has no sso_account_id",
            hint: "aws configure sso --profile dev",
            ..Case::default()
        },
    ]);
}

#[test]
fn a_role_that_cannot_be_assumed_is_named_with_its_profile() {
    const DENIED: &str = "User: arn:aws:iam::1:user/a is not authorized to perform: sts:AssumeRole";
    let role = "[profile dev]\nrole_arn = arn:aws:iam::1:role/Deploy\nsource_profile = base\n";
    let base = "[base]\naws_access_key_id = AKIAX\naws_secret_access_key = x\n";
    let deny: Answers = |_| xml(403, "AccessDenied", DENIED);
    let sts: &[(&str, &str)] = &[("AWS_ENDPOINT_URL_STS", "SERVER")];
    let dev: &[&str] = &["--profile", "dev"];
    check_all(vec![
        Case {
            what: "denied",
            config: role,
            credentials: base,
            variables: sts,
            arguments: dev,
            server: Some(deny),
            error: &format!(
                "cannot sign in with profile dev: arn:aws:iam::1:role/Deploy may not be assumed: AWS says AccessDenied: {DENIED} (AssumeRole)"
            ),
            hint: "the permissions of profile base allow `sts:AssumeRole`",
            ..Case::default()
        },
        Case {
            what: "denied without a code",
            config: &format!("{role}mfa_serial = arn:aws:iam::1:mfa/ada\n"),
            credentials: base,
            variables: sts,
            arguments: dev,
            server: Some(deny),
            error: &format!(
                "cannot sign in with profile dev: arn:aws:iam::1:role/Deploy may only be assumed with a code of the MFA device: AWS says AccessDenied: {DENIED} (AssumeRole)"
            ),
            hint: "aws configure export-credentials --profile dev --format env",
            ..Case::default()
        },
        Case {
            what: "the keys below have ended",
            config: role,
            credentials: &format!("{base}aws_session_token = t\n"),
            variables: sts,
            arguments: dev,
            server: Some(|_| xml(403, "ExpiredToken", "The security token included in the request is expired")),
            error: "cannot sign in with profile dev: AWS says ExpiredToken: The security token included in the request is expired (AssumeRole)",
            hint: "into ~/.aws/credentials, section [base]",
            ..Case::default()
        },
        Case {
            what: "a source that is not there",
            config: role,
            arguments: dev,
            error: "cannot sign in with profile dev: its source_profile \"base\" is not there (profile dev)",
            hint: "there are: dev",
            ..Case::default()
        },
        Case {
            what: "a circle",
            config: &format!("{role}[profile base]\nrole_arn = arn:aws:iam::1:role/Other\nsource_profile = dev\n"),
            arguments: dev,
            error: "cannot sign in with profile dev: the source_profile of each leads to the other: dev → base → dev",
            hint: "to a profile with credentials",
            ..Case::default()
        },
        Case {
            what: "a role and nobody to assume it",
            config: "[profile dev]\nrole_arn = arn:aws:iam::1:role/Deploy\n",
            arguments: dev,
            error: "cannot sign in with profile dev: profile dev has role_arn, and neither source_profile nor credential_source",
            hint: "add `source_profile`",
            ..Case::default()
        },
        Case {
            what: "an unknown source",
            config: "[profile dev]\nrole_arn = arn:aws:iam::1:role/Deploy\ncredential_source = Heaven\n",
            arguments: dev,
            error: "cannot sign in with profile dev: profile dev has the unknown credential_source \"Heaven\"",
            hint: "Environment or Ec2InstanceMetadata",
            ..Case::default()
        },
        Case {
            what: "no token",
            config: "[profile dev]\nrole_arn = arn:aws:iam::1:role/Deploy\nweb_identity_token_file = ~/token\n",
            arguments: dev,
            error: "cannot sign in with profile dev (token in ~/token): there is no file ~/token",
            hint: "have a token written to ~/token",
            ..Case::default()
        },
        Case {
            what: "no token of a variable",
            variables: &[("AWS_WEB_IDENTITY_TOKEN_FILE", "~/token"), ("AWS_ROLE_ARN", "arn:aws:iam::1:role/Deploy")],
            error: "cannot sign in with the token in ~/token (AWS_WEB_IDENTITY_TOKEN_FILE): there is no file ~/token",
            hint: "have a token written",
            ..Case::default()
        },
        Case {
            what: "a token and no role",
            variables: &[("AWS_WEB_IDENTITY_TOKEN_FILE", "~/token")],
            error: "cannot sign in: AWS_WEB_IDENTITY_TOKEN_FILE is set and AWS_ROLE_ARN is not",
            hint: "set both",
            ..Case::default()
        },
        Case {
            what: "a token that has ended",
            files: &[("token", "x")],
            variables: &[
                ("AWS_WEB_IDENTITY_TOKEN_FILE", "~/token"),
                ("AWS_ROLE_ARN", "arn:aws:iam::1:role/Deploy"),
                ("AWS_ENDPOINT_URL_STS", "SERVER"),
            ],
            server: Some(|_| {
                xml(400, "ExpiredTokenException", "Token expired: current date/time must be before the expiration")
            }),
            error: "cannot sign in with the token in ~/token (AWS_WEB_IDENTITY_TOKEN_FILE): AWS says ExpiredTokenException: Token expired: current date/time must be before the expiration (AssumeRoleWithWebIdentity)",
            hint: "have a new token written to ~/token",
            ..Case::default()
        },
        Case {
            what: "a container that nobody serves",
            variables: &[("AWS_CONTAINER_CREDENTIALS_FULL_URI", "CLOSED/creds")],
            error: "cannot sign in with the credentials of this container (http://127.0.0.1:PORT/creds): the container's credentials server cannot be reached: Connection refused (os error 111)",
            hint: "check the network",
            ..Case::default()
        },
    ]);
}

#[test]
fn a_credential_process_that_fails_is_named_with_its_output() {
    let dev: &[&str] = &["--profile", "dev"];
    let who = "cannot sign in with profile dev (credential_process)";
    check_all(vec![
        Case {
            what: "it fails",
            config: "[profile dev]\ncredential_process = sh -c 'echo no such vault >&2; exit 3'\n",
            arguments: dev,
            error: &format!(
                "{who}: Error retrieving credentials: external process exited with code exit status: 3. Stderr: no such vault"
            ),
            hint: "see what it prints: `sh -c",
            ..Case::default()
        },
        Case {
            what: "it is not there",
            config: "[profile dev]\ncredential_process = /nowhere/creds\n",
            arguments: dev,
            error: &format!(
                "{who}: Error retrieving credentials: external process exited with code exit status: 127. Stderr: sh: 1: /nowhere/creds: not found"
            ),
            hint: "`/nowhere/creds`",
            ..Case::default()
        },
        Case {
            what: "it prints rubbish",
            config: "[profile dev]\ncredential_process = echo hello\n",
            arguments: dev,
            error: &format!(
                "{who}: Error retrieving credentials from external process, could not parse response: invalid JSON in response: Error at offset 0: unexpected token 'h'. Expected one of '{{', '[', '\"', 'null', 'true', 'false', <number>"
            ),
            hint: "see what it prints: `echo hello`",
            ..Case::default()
        },
        Case {
            what: "it never ends",
            config: "[profile dev]\ncredential_process = exec sleep 20\n",
            arguments: dev,
            error: &format!("{who}: its credential_process printed nothing within 10 s"),
            hint: "try it by hand: `exec sleep 20`",
            ..Case::default()
        },
        Case {
            what: "it is empty",
            config: "[profile dev]\ncredential_process =\n",
            arguments: dev,
            error: "cannot sign in with profile dev: credential_process of profile dev is empty",
            hint: "name a command",
            ..Case::default()
        },
    ]);
}

#[test]
fn a_refusal_of_keys_by_aws_is_shown_with_the_remedy() {
    let who = "cannot sign in with the keys in AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY";
    let expired: Answers = |_| xml(403, "ExpiredToken", "The security token included in the request is expired");
    let unknown: Answers =
        |_| xml(403, "InvalidClientTokenId", "The security token included in the request is invalid.");
    let temporary = &[KEYS, &[("AWS_SESSION_TOKEN", "t")]].concat();
    let at = |endpoint: &'static str| [&KEYS[..2], &[("AWS_ENDPOINT_URL", endpoint)]].concat();
    let (closed, nameless, html) = (at("CLOSED"), at("http://-"), at("SERVER"));
    check_all(vec![
        Case {
            what: "an ended session in variables",
            variables: temporary,
            server: Some(expired),
            error: &format!(
                "{who}: AWS says ExpiredToken: The security token included in the request is expired (GetCallerIdentity)"
            ),
            hint: "in AWS Academy from AWS Details",
            ..Case::default()
        },
        Case {
            what: "an ended session in a file",
            credentials: "[default]\naws_access_key_id = ASIAX\naws_secret_access_key = x\naws_session_token = t\n",
            variables: &KEYS[2..],
            server: Some(expired),
            error: "cannot sign in with profile default: AWS says ExpiredToken: The security token included in the request is expired (GetCallerIdentity)",
            hint: "into ~/.aws/credentials, section [default]",
            ..Case::default()
        },
        Case {
            what: "a profile goes before variables",
            credentials: "[dev]\naws_access_key_id = AKIAY\naws_secret_access_key = x\n",
            variables: KEYS,
            arguments: &["--profile", "dev"],
            server: Some(|request| match request.contains("GetCallerIdentity") {
                true => xml(403, "InvalidClientTokenId", "The security token included in the request is invalid."),
                false => Answer::Silence,
            }),
            error: "cannot sign in with profile dev: AWS says InvalidClientTokenId: The security token included in the request is invalid. (GetCallerIdentity)",
            hint: "aws configure --profile dev",
            ..Case::default()
        },
        Case {
            what: "an unknown key",
            variables: KEYS,
            server: Some(unknown),
            error: &format!(
                "{who}: AWS says InvalidClientTokenId: The security token included in the request is invalid. (GetCallerIdentity)"
            ),
            hint: "correct AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY",
            ..Case::default()
        },
        Case {
            what: "a region that is off",
            region: Some("eu-south-1"),
            variables: KEYS,
            server: Some(unknown),
            error: &format!(
                "{who}: AWS says InvalidClientTokenId: The security token included in the request is invalid. (GetCallerIdentity)"
            ),
            hint: "switch on the region eu-south-1",
            ..Case::default()
        },
        Case {
            what: "a wrong clock",
            variables: KEYS,
            server: Some(|_| {
                xml(
                    403,
                    "SignatureDoesNotMatch",
                    "Signature expired: 20200101T000000Z is now earlier than 20200101T010000Z",
                )
            }),
            error: &format!(
                "{who}: AWS says SignatureDoesNotMatch: Signature expired: 20200101T000000Z is now earlier than 20200101T010000Z (GetCallerIdentity)"
            ),
            hint: "set this machine's clock",
            ..Case::default()
        },
        Case {
            what: "a wrong secret",
            variables: KEYS,
            server: Some(|_| xml(403, "SignatureDoesNotMatch", "The request signature we calculated does not match")),
            error: &format!(
                "{who}: AWS says SignatureDoesNotMatch: The request signature we calculated does not match (GetCallerIdentity)"
            ),
            hint: "the secret is not that of the key",
            ..Case::default()
        },
        Case {
            what: "nobody listens",
            variables: &closed,
            error: &format!("{who}: http://127.0.0.1:PORT cannot be reached: Connection refused (os error 111)"),
            hint: "correct AWS_ENDPOINT_URL",
            ..Case::default()
        },
        Case {
            what: "a name that does not resolve",
            variables: &nameless,
            error: &format!(
                "{who}: http://- cannot be reached: failed to lookup address information: Name or service not known"
            ),
            hint: "correct AWS_ENDPOINT_URL",
            ..Case::default()
        },
        Case {
            what: "a server that says nothing",
            variables: KEYS,
            server: Some(|_| Answer::Silence),
            error: &format!("{who}: http://127.0.0.1:PORT cannot be reached: no answer within 3 s"),
            hint: "correct AWS_ENDPOINT_URL",
            ..Case::default()
        },
        Case {
            what: "a page for people",
            variables: &html,
            server: Some(|_| Answer::Says(200, "text/html", "<html>Please log in</html>".into())),
            error: &format!("{who}: a web page answers in place of http://127.0.0.1:PORT (HTTP 200)"),
            hint: "log in to this network in a browser",
            ..Case::default()
        },
        Case {
            what: "a page for people, refusing",
            variables: KEYS,
            server: Some(|_| Answer::Says(511, "text/html; charset=utf-8", "<!DOCTYPE html>".into())),
            error: &format!("{who}: a web page answers in place of http://127.0.0.1:PORT (HTTP 511)"),
            hint: "HTTPS_PROXY",
            ..Case::default()
        },
        Case {
            what: "an answer without an account",
            variables: KEYS,
            server: Some(|_| {
                Answer::Says(
                    200,
                    "text/xml",
                    "<GetCallerIdentityResponse><GetCallerIdentityResult/></GetCallerIdentityResponse>".into(),
                )
            }),
            error: &format!("{who}: http://127.0.0.1:PORT answers without an account"),
            hint: "is not AWS",
            ..Case::default()
        },
        Case {
            what: "something that is not AWS",
            variables: KEYS,
            server: Some(|_| json(200, "{}")),
            error: &format!("{who}: http://127.0.0.1:PORT answers unlike AWS: error parsing XML: no root element"),
            hint: "is not AWS",
            ..Case::default()
        },
    ]);
}

/// Values that no one intends.
const ODD: &[&[u8]] =
    &[b"", b" ", b"legacy", b"0", b"-1", b"99999999999", b"\xff\xfe", b"http://", b"a\nb", b"\xe2\x80\xae"];

/// Every variable that changes the SDK's behaviour, and a few that it shares with other programs.
const VARIABLES: &[&str] = &[
    "AWS_ACCESS_KEY_ID",
    "AWS_ACCOUNT_ID",
    "AWS_ACCOUNT_ID_ENDPOINT_MODE",
    "AWS_AUTH_SCHEME_PREFERENCE",
    "AWS_CA_BUNDLE",
    "AWS_CONFIG_FILE",
    "AWS_CONTAINER_AUTHORIZATION_TOKEN",
    "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE",
    "AWS_CONTAINER_CREDENTIALS_FULL_URI",
    "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI",
    "AWS_DEFAULT_REGION",
    "AWS_DISABLE_CLOCK_SKEW_CORRECTION",
    "AWS_DISABLE_REQUEST_COMPRESSION",
    "AWS_EC2_METADATA_DISABLED",
    "AWS_EC2_METADATA_SERVICE_ENDPOINT",
    "AWS_EC2_METADATA_SERVICE_ENDPOINT_MODE",
    "AWS_EC2_METADATA_V1_DISABLED",
    "AWS_ENDPOINT_URL",
    "AWS_ENDPOINT_URL_STS",
    "AWS_EXECUTION_ENV",
    "AWS_IGNORE_CONFIGURED_ENDPOINT_URLS",
    "AWS_LOGIN_CACHE_DIRECTORY",
    "AWS_MAX_ATTEMPTS",
    "AWS_NEW_RETRIES_2026",
    "AWS_PROFILE",
    "AWS_REGION",
    "AWS_REQUEST_CHECKSUM_CALCULATION",
    "AWS_REQUEST_MIN_COMPRESSION_SIZE_BYTES",
    "AWS_RESPONSE_CHECKSUM_VALIDATION",
    "AWS_RETRY_MODE",
    "AWS_ROLE_ARN",
    "AWS_ROLE_SESSION_NAME",
    "AWS_S3_DISABLE_EXPRESS_SESSION_AUTH",
    "AWS_S3_USE_ARN_REGION",
    "AWS_SDK_UA_APP_ID",
    "AWS_SECRET_ACCESS_KEY",
    "AWS_SESSION_TOKEN",
    "AWS_SHARED_CREDENTIALS_FILE",
    "AWS_SIGV4A_SIGNING_REGION_SET",
    "AWS_USE_DUALSTACK_ENDPOINT",
    "AWS_USE_FIPS_ENDPOINT",
    "AWS_WEB_IDENTITY_TOKEN_FILE",
    "HOME",
    "SECRET_ACCESS_KEY",
    "SSL_CERT_FILE",
    "SSL_CERT_DIR",
];

/// The output for an account that the server knows.
const SIGNED_IN: &str = "small in account 111122223333";

/// A server that identifies every caller and supports nothing else.
fn accepts_every_key(request: &str) -> Answer {
    match request {
        _ if request.contains("GetCallerIdentity") => Answer::Says(
            200,
            "text/xml",
            "<GetCallerIdentityResponse xmlns=\"https://sts.amazonaws.com/doc/2011-06-15/\"><GetCallerIdentityResult>\
             <Arn>arn:aws:iam::111122223333:user/ada</Arn><UserId>A</UserId><Account>111122223333</Account>\
             </GetCallerIdentityResult></GetCallerIdentityResponse>"
                .into(),
        ),
        _ if request.starts_with("GET /creds") => json(
            200,
            "{\"AccessKeyId\":\"A\",\"SecretAccessKey\":\"s\",\"Token\":\"t\",\"Expiration\":\"2099-01-01T00:00:00Z\"}",
        ),
        _ => json(501, "{\"__type\":\"UnknownOperationException\",\"message\":\"no\"}"),
    }
}

/// Every profile key that changes the SDK's behaviour.
const PROFILE_KEYS: &[&str] = &[
    "account_id_endpoint_mode",
    "auth_scheme_preference",
    "aws_access_key_id",
    "aws_account_id",
    "aws_secret_access_key",
    "aws_session_token",
    "ca_bundle",
    "credential_source",
    "disable_clock_skew_correction",
    "disable_request_compression",
    "ec2_metadata_service_endpoint",
    "endpoint_url",
    "ignore_configured_endpoint_urls",
    "login_session",
    "max_attempts",
    "region",
    "request_checksum_calculation",
    "request_min_compression_size_bytes",
    "response_checksum_validation",
    "retry_mode",
    "role_arn",
    "s3_use_arn_region",
    "sdk_ua_app_id",
    "services",
    "sigv4a_signing_region_set",
    "source_profile",
    "sso_account_id",
    "sso_session",
    "sso_start_url",
    "use_dualstack_endpoint",
    "use_fips_endpoint",
    "web_identity_token_file",
];

/// A place for credentials: its name, the credentials file, variables.
type Place<'a> = (&'a str, &'a str, Vec<(&'a str, &'a str)>);

/// With credentials in a profile, in variables or from a container, and a server that identifies every caller and
/// supports nothing else: the run gets past the sign-in, or ends with one line that gives the reason.
#[test]
fn any_value_of_an_aws_setting_gives_a_run_or_a_one_line_error() {
    use std::os::unix::ffi::OsStrExt as _;
    let server = serve(accepts_every_key);
    let container = format!("{server}/creds");
    let profile = "[default]\naws_access_key_id = AKIAX\naws_secret_access_key = x\n";
    let settings: [Place; 3] = [
        ("a profile", profile, vec![]),
        ("variables", "", vec![("AWS_ACCESS_KEY_ID", "AKIAX"), ("AWS_SECRET_ACCESS_KEY", "x")]),
        ("a container", "", vec![("AWS_CONTAINER_CREDENTIALS_FULL_URI", &container)]),
    ];
    let project = Project::with(STACK);
    let mut runs = Vec::new();
    for (what, credentials, variables) in &settings {
        let home = project.path().join(what);
        fs::create_dir_all(home.join(".aws")).expect("a folder can be made");
        fs::write(home.join(".aws/credentials"), credentials).expect("a file can be written");
        // Settings about credentials depend on the place of the credentials; for all others one place is enough.
        let is_about_keys = |name: &&&str| *what == "a profile" || name.contains("KEY") || name.contains("CONTAINER");
        for name in VARIABLES.iter().filter(is_about_keys) {
            for value in ODD {
                let usual = [("AWS_ENDPOINT_URL", server.as_str()), ("AWS_EC2_METADATA_DISABLED", "true")];
                let mut command = project.command(&["plan"], &usual);
                command.env("HOME", &home).envs(variables.iter().copied());
                command.env(name, std::ffi::OsStr::from_bytes(value));
                runs.push((format!("{name}={} with {what}", value.escape_ascii()), command));
            }
        }
    }
    for key in PROFILE_KEYS {
        for value in ODD {
            let text = [
                b"[default]\naws_access_key_id = A\naws_secret_access_key = s\n",
                key.as_bytes(),
                b" = ",
                value,
                b"\n",
            ];
            let config = project.path().join(format!("config-{}", runs.len()));
            fs::write(&config, text.concat()).expect("a file can be written");
            let config = config.display().to_string();
            let usual =
                [("AWS_ENDPOINT_URL", &*server), ("AWS_EC2_METADATA_DISABLED", "true"), ("AWS_CONFIG_FILE", &*config)];
            runs.push((format!("{key} = {}", value.escape_ascii()), project.command(&["plan"], &usual)));
        }
    }
    let runs = Mutex::new(runs);
    let wrong = Mutex::new(Vec::new());
    let next = || runs.lock().expect("the lock is not poisoned").pop();
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                while let Some((what, mut command)) = next() {
                    let said = Said::from(command.output().expect("the deployer can be started"));
                    let is_signed_in = said.stderr.contains(SIGNED_IN);
                    let errors = said
                        .stderr
                        .lines()
                        .filter(|line| line.starts_with("error: ") || line.contains("caused by"))
                        .count();
                    let is_told = [64, 77, 78].contains(&said.code) && errors == 1 && said.stderr.contains("hint: ");
                    if said.stderr.contains("panicked") || !(is_signed_in || is_told) {
                        wrong.lock().expect("the lock is not poisoned").push(format!("{what}: {}", said.all()));
                    }
                }
            });
        }
    });
    let wrong = wrong.into_inner().expect("the lock is not poisoned");
    assert!(wrong.is_empty(), "{} are wrong:\n{}", wrong.len(), wrong.join("\n"));
}

/// Common settings by people and other programs, with which a run must get past the sign-in.
#[test]
fn usual_settings_of_the_aws_cli_are_accepted() {
    let server = serve(accepts_every_key);
    for variable in [
        ("AWS_RETRY_MODE", "legacy"),
        ("AWS_RETRY_MODE", ""),
        ("AWS_RETRY_MODE", "adaptive"),
        ("AWS_MAX_ATTEMPTS", "0"),
        ("AWS_ENDPOINT_URL_S3", ""),
        ("AWS_PROFILE", ""),
        ("AWS_USE_FIPS_ENDPOINT", "false"),
        ("AWS_DEFAULT_OUTPUT", "json"),
        ("HTTP_PROXY", "http://127.0.0.1:1"),
        ("http_proxy", "http://127.0.0.1:1"),
        ("ALL_PROXY", "http://127.0.0.1:1"),
        ("SSL_CERT_FILE", "/nowhere"),
        ("SSL_CERT_DIR", "/nowhere"),
    ] {
        let project = Project::with(STACK);
        let variables =
            [KEYS, &[("AWS_ENDPOINT_URL", server.as_str()), ("AWS_ENDPOINT_URL_STS", ""), variable]].concat();
        let said = project.run_with(&["plan"], &variables);
        assert!(said.stderr.contains(SIGNED_IN), "{variable:?}: {}", said.all());
    }
}

#[test]
fn missing_ca_certificates_are_reported_in_one_line() {
    for (variables, expected) in [
        (
            &[("SSL_CERT_FILE", "/dev/null")][..],
            "SSL_CERT_FILE: failed to read /dev/null: it is a device, not a regular file",
        ),
        (
            &[("SSL_CERT_DIR", "~/none"), ("SSL_CERT_FILE", "~/stack.yaml")],
            "this machine has no CA certificates to verify AWS",
        ),
        (
            &[("AWS_CA_BUNDLE", "~/none")],
            "AWS_CA_BUNDLE: failed to read ~/none: No such file or directory (os error 2)",
        ),
        (&[("AWS_CA_BUNDLE", "~/stack.yaml")], "AWS_CA_BUNDLE: ~/stack.yaml holds no CA certificate"),
    ] {
        let case = Case {
            what: "certificates",
            variables: &[&KEYS[..2], variables].concat(),
            error: expected,
            hint: "AWS_CA_BUNDLE",
            code: Some(78),
            ..Case::default()
        };
        assert_eq!(check(case), None);
    }
}

/// Calls to AWS are sent where the SDK sends them: through a proxy, past it, or to other endpoints.
#[test]
fn calls_use_the_configured_proxies_and_endpoints() {
    let heard: Arc<Mutex<Vec<String>>> = Arc::default();
    let all = heard.clone();
    let proxy = serve(move |request| {
        all.lock().expect("the lock is not poisoned").push(request.lines().next().unwrap_or_default().to_owned());
        Answer::Says(403, "text/plain", "no".into())
    });
    for (variables, expected) in [
        (&[("HTTPS_PROXY", &*proxy)][..], Some("CONNECT sts.us-east-1.amazonaws.com:443 HTTP/1.1")),
        (&[("ALL_PROXY", &*proxy)], Some("CONNECT sts.us-east-1.amazonaws.com:443 HTTP/1.1")),
        (&[("HTTP_PROXY", &*proxy)], None),
        (&[("HTTPS_PROXY", &*proxy), ("NO_PROXY", "example.com,.amazonaws.com")], None),
        (
            &[("HTTPS_PROXY", &*proxy), ("AWS_USE_FIPS_ENDPOINT", "true")],
            Some("CONNECT sts-fips.us-east-1.amazonaws.com:443 HTTP/1.1"),
        ),
        (
            &[("HTTPS_PROXY", &*proxy), ("AWS_USE_DUALSTACK_ENDPOINT", "true")],
            Some("CONNECT sts.us-east-1.api.aws:443 HTTP/1.1"),
        ),
    ] {
        heard.lock().expect("the lock is not poisoned").clear();
        let project = Project::with(STACK);
        let said = project.run_with(&["plan"], &[&KEYS[..2], variables].concat());
        assert_eq!(said.code, 77, "{}", said.all());
        let heard = heard.lock().expect("the lock is not poisoned").clone();
        assert_eq!(heard.first().map(String::as_str), expected, "{variables:?}: {heard:?} {}", said.all());
        if let Some((name, _)) = variables.first().filter(|_| expected.is_some()) {
            assert!(said.stderr.contains(&format!("cannot be reached by way of {name}")), "{}", said.all());
        }
    }
}

#[test]
fn the_aws_configuration_does_not_affect_the_local_aws() {
    let project = Project::with(STACK);
    project.done(&["local", "start"]);
    for variable in [
        ("HTTP_PROXY", "http://127.0.0.1:1"),
        ("http_proxy", "http://127.0.0.1:1"),
        ("ALL_PROXY", "http://127.0.0.1:1"),
        ("AWS_USE_DUALSTACK_ENDPOINT", "true"),
        ("AWS_USE_FIPS_ENDPOINT", "true"),
        ("AWS_RETRY_MODE", "legacy"),
        ("AWS_MAX_ATTEMPTS", "0"),
        ("AWS_ENDPOINT_URL", ""),
        ("AWS_ENDPOINT_URL", "http://127.0.0.1:1"),
        ("AWS_ENDPOINT_URL_STS", "nonsense"),
        ("AWS_CONFIG_FILE", "/dev/zero"),
        ("AWS_PROFILE", "nobody"),
        ("AWS_ACCESS_KEY_ID", "half"),
        ("AWS_REGION", "nowhere"),
        ("AWS_ACCOUNT_ID_ENDPOINT_MODE", "required"),
        ("SSL_CERT_FILE", "/dev/null"),
        ("SSL_CERT_DIR", "/nowhere"),
    ] {
        let said = project.run_with(&["plan", "--local", "--detailed-exitcode"], &[variable]);
        assert_eq!(said.code, 2, "{variable:?}: {}", said.all());
    }
}

#[test]
fn a_login_cache_that_is_not_a_regular_file_is_refused_at_once() {
    let project = Project::with(STACK);
    let cache = project.path().join(".aws/sso/cache");
    fs::create_dir_all(&cache).expect("a folder can be made");
    fs::write(project.path().join(".aws/config"), SSO).expect("a file can be written");
    let fifo = project.path().join(SSO_TOKEN);
    rustix::fs::mknodat(rustix::fs::CWD, &fifo, rustix::fs::FileType::Fifo, rustix::fs::Mode::RWXU, 0).expect("a FIFO");
    let said = project.run_with(&["plan", "--profile", "dev"], &[]);
    assert_eq!(said.code, 77, "{}", said.all());
    assert!(said.stderr.contains("it is a FIFO, not a regular file"), "{}", said.all());
}

/// A run prints the identity and the source of its credentials.
#[test]
fn a_run_shows_its_identity_and_the_source_of_its_credentials() {
    let server = serve(accepts_every_key);
    let project = Project::with(STACK);
    fs::create_dir_all(project.path().join(".aws")).expect("a folder can be made");
    let process =
        "#!/bin/sh\necho x >> ~/count\necho '{\"Version\":1,\"AccessKeyId\":\"A\",\"SecretAccessKey\":\"s\"}'\n";
    let home = project.path().display().to_string();
    fs::write(project.path().join("keys.sh"), process.replace('~', &home)).expect("a file can be written");
    let config = format!("[profile dev]\ncredential_process = sh {home}/keys.sh\n");
    fs::write(project.path().join(".aws/config"), config).expect("a file can be written");
    let said = project.run_with(&["plan", "--profile", "dev"], &[("AWS_ENDPOINT_URL", &server)]);
    let line = "signed in as arn:aws:iam::111122223333:user/ada with profile dev (credential_process)";
    assert!(said.stderr.contains(line), "{}", said.all());
    let count = fs::read_to_string(project.path().join("count")).expect("it was run");
    assert_eq!(count, "x\n", "a command that may ask for a code is run once");
}

/// A well-known key: it is the example in the AWS SDK's own source.
const EXAMPLE_KEY: &str = "-----BEGIN EC PRIVATE KEY-----\\nMHcCAQEEIFDZHUzOG1Pzq+6F0mjMlOSp1syN9LRPBuHMoCFXTcXhoAoGCCqGSM49\\n\
                           AwEHoUQDQgAE9qhj+KtcdHj1kVgwxWWWw++tqoh7H7UHs7oXh8jBbgF47rrYGC+t\\n\
                           djiIaHK3dBvvdE7MGj5HsepzLm3Kj91bqA==\\n-----END EC PRIVATE KEY-----\\n";
const LOGIN: &str = "[profile dev]\nlogin_session = arn:aws:sts::111122223333:assumed-role/Admin/ada\n";
/// The file is named by the SHA-256 of the session.
const LOGIN_TOKEN: &str = ".aws/login/cache/c870fde8865d212232f5406c789496c61041e5db3072f6a16721c3a6fb3d57a6.json";

fn login_until(year: u32) -> String {
    format!(
        "{{\"accessToken\":{{\"accessKeyId\":\"ASIAX\",\"secretAccessKey\":\"s\",\"sessionToken\":\"t\",\
         \"accountId\":\"111122223333\",\"expiresAt\":\"{year}-01-01T00:00:00Z\"}},\"tokenType\":\"aws_sigv4\",\
         \"refreshToken\":\"r\",\"idToken\":\"i\",\"clientId\":\"arn:aws:signin:::devtools/same-device\",\
         \"dpopKey\":\"{EXAMPLE_KEY}\"}}"
    )
}

#[test]
fn a_missing_or_expired_console_login_names_the_command_that_renews_it() {
    let login = "run `aws login --profile dev`, then the same command again";
    let who = "cannot sign in with profile dev (aws login)";
    let dev: &[&str] = &["--profile", "dev"];
    let (old, fresh) = (login_until(2020), login_until(2099));
    check_all(vec![
        Case {
            what: "not logged in",
            config: LOGIN,
            arguments: dev,
            error: &format!("{who}: not logged in"),
            hint: login,
            ..Case::default()
        },
        Case {
            what: "a damaged login",
            config: LOGIN,
            files: &[(LOGIN_TOKEN, "{\"accessToken\":")],
            arguments: dev,
            error: &format!("{who}: the stored login on this machine is damaged"),
            hint: login,
            ..Case::default()
        },
        Case {
            what: "a login that cannot be renewed",
            config: LOGIN,
            files: &[(LOGIN_TOKEN, &old)],
            variables: &[("AWS_ENDPOINT_URL_SIGNIN", "SERVER")],
            arguments: dev,
            server: Some(|_| {
                json(403, "{\"__type\":\"AccessDeniedException\",\"error\":\"TOKEN_EXPIRED\",\"message\":\"expired\"}")
            }),
            error: &format!("{who}: the login has expired"),
            hint: login,
            ..Case::default()
        },
        Case {
            what: "nobody to renew it",
            config: LOGIN,
            files: &[(LOGIN_TOKEN, &old)],
            variables: &[("AWS_ENDPOINT_URL_SIGNIN", "CLOSED")],
            arguments: dev,
            error: &format!("{who}: AWS Sign-In cannot be reached: Connection refused (os error 111)"),
            hint: "check the network",
            ..Case::default()
        },
        Case {
            what: "keys that AWS does not take",
            config: LOGIN,
            files: &[(LOGIN_TOKEN, &fresh)],
            variables: &[("AWS_ENDPOINT_URL_STS", "SERVER")],
            arguments: dev,
            server: Some(|_| xml(403, "ExpiredToken", "The security token included in the request is expired")),
            error: &format!(
                "{who}: AWS says ExpiredToken: The security token included in the request is expired (GetCallerIdentity)"
            ),
            hint: login,
            ..Case::default()
        },
    ]);
}

#[test]
fn a_console_login_signs_in() {
    let server = serve(accepts_every_key);
    let case = Case {
        config: LOGIN,
        files: &[(LOGIN_TOKEN, &login_until(2099))],
        variables: &[("AWS_ENDPOINT_URL", &server), ("AWS_PROFILE", "dev")],
        ..Case::default()
    };
    let (_project, said) = run(&case);
    assert!(said.stderr.contains("with profile dev (AWS_PROFILE) (aws login)"), "{}", said.all());
}
