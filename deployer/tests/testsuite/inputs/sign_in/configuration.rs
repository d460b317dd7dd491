//! The files and settings of the AWS configuration.

use std::fs;

use parking_lot::Mutex;

use super::{
    case::{Case, KEYS, STACK, check_all},
    servers::{accepts_every_key, serve},
};
use crate::support::{Project, RunOutput};

const GOOD: &str = "[default]\naws_access_key_id = AKIAX\naws_secret_access_key = x\n";

const FILES: &[Case] = &[
    Case {
        what: "an indented file",
        credentials: "  [default]\n  aws_access_key_id = AKIAX\n  aws_secret_access_key = x\n",
        error: "~/.aws/credentials: line 1 is indented",
        hint: "remove the blanks",
        ..Case::NONE
    },
    Case {
        what: "an indented line",
        credentials: "[default]\naws_access_key_id = AKIAX\n  aws_secret_access_key = x\n",
        error: "~/.aws/credentials: line 3 is indented",
        hint: "remove the blanks",
        ..Case::NONE
    },
    Case {
        what: "a byte order mark",
        credentials: "\u{feff}[default]\naws_access_key_id = AKIAX\naws_secret_access_key = x\n",
        error: "~/.aws/credentials begins with a byte order mark",
        hint: "without a byte order mark",
        ..Case::NONE
    },
    Case {
        what: "a section that is not closed",
        config: "[default\nregion = us-east-1\n",
        credentials: GOOD,
        error: "~/.aws/config: line 1 is neither `[profile]` nor `key = value`",
        hint: "correct the file",
        ..Case::NONE
    },
    Case {
        what: "keys without a section",
        credentials: "aws_access_key_id = AKIAX\n",
        error: "~/.aws/credentials: line 1 is neither `[profile]` nor `key = value`",
        hint: "aws configure",
        ..Case::NONE
    },
    Case {
        what: "a device",
        variables: &[("AWS_CONFIG_FILE", "/dev/zero")],
        error: "failed to read /dev/zero: it is a device, not a regular file",
        hint: "AWS_CONFIG_FILE",
        ..Case::NONE
    },
    Case {
        what: "a folder",
        variables: &[("AWS_SHARED_CREDENTIALS_FILE", "~")],
        error: "failed to read ~: it is a directory, not a regular file",
        hint: "AWS_SHARED_CREDENTIALS_FILE",
        ..Case::NONE
    },
    Case {
        what: "a switch of a profile",
        config: "[default]\nuse_fips_endpoint = yes\n",
        credentials: GOOD,
        error: "use_fips_endpoint of profile default cannot be \"yes\"",
        hint: "true or false",
        code: 78,
        ..Case::NONE
    },
    Case {
        what: "an endpoint of a service in a profile",
        config: "[default]\nservices = mine\n[services mine]\nsts =\n  endpoint_url = nowhere\n",
        credentials: GOOD,
        error: "the endpoint_url of STS cannot be \"nowhere\"",
        hint: "http://127.0.0.1:4566",
        code: 78,
        ..Case::NONE
    },
];

#[test]
fn an_invalid_aws_configuration_file_is_named_with_its_line() {
    check_all(FILES);
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

/// The output for an account of the server.
const SIGNED_IN: &str = "small in account 111122223333";

/// A source of credentials: its name, the credentials file, variables.
type CredentialSource<'a> = (&'a str, &'a str, Vec<(&'a str, &'a str)>);

/// With credentials in a profile, in variables or from a container, and a server that identifies every caller and
/// supports nothing else: the run gets past the sign-in, or ends with one line that gives the reason.
#[test]
fn any_value_of_an_aws_setting_gives_a_run_or_a_one_line_error() {
    use std::os::unix::ffi::OsStrExt as _;
    let server = serve(accepts_every_key);
    let container = format!("{server}/creds");
    let profile = "[default]\naws_access_key_id = AKIAX\naws_secret_access_key = x\n";
    let settings: [CredentialSource; 3] = [
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
        // Settings about credentials depend on the source of the credentials; for all others one source is enough.
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
    let next = || runs.lock().pop();
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                while let Some((what, mut command)) = next() {
                    let said = RunOutput::from(command.output().expect("the deployer can be started"));
                    let is_signed_in = said.stderr.contains(SIGNED_IN);
                    let errors = said
                        .stderr
                        .lines()
                        .filter(|line| line.starts_with("error: ") || line.contains("caused by"))
                        .count();
                    let is_explained =
                        [64, 77, 78].contains(&said.code) && errors == 1 && said.stderr.contains("hint: ");
                    if said.stderr.contains("panicked") || !(is_signed_in || is_explained) {
                        wrong.lock().push(format!("{what}: {}", said.all()));
                    }
                }
            });
        }
    });
    let wrong = wrong.into_inner();
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
