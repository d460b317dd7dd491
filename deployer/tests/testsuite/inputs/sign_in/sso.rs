//! Logins of IAM Identity Center.

use std::{fs, process::Command};

use super::{
    case::{Case, STACK, Variable, check_all},
    servers::{Answer, json},
};
use crate::support::Project;

const CONFIG: &str = "[profile dev]\nsso_session = corp\nsso_account_id = 111122223333\nsso_role_name = Admin\n\
                   [sso-session corp]\nsso_region = us-east-1\nsso_start_url = https://corp.awsapps.com/start\n";
/// The file is named by the SHA-1 of the session's name.
const TOKEN: &str = ".aws/sso/cache/ee0bfd2552fbd840c02cc48b6e823320543c450f.json";
const OLD: &str = r#"{"accessToken":"a","expiresAt":"2020-01-01T00:00:00Z","region":"us-east-1",
    "startUrl":"https://corp.awsapps.com/start"}"#;
const OLD_REFRESHABLE: &str = r#"{"accessToken":"a","expiresAt":"2020-01-01T00:00:00Z","region":"us-east-1",
    "startUrl":"https://corp.awsapps.com/start","clientId":"c","clientSecret":"s","refreshToken":"r",
    "registrationExpiresAt":"2099-01-01T00:00:00Z"}"#;
const FRESH: &str = r#"{"accessToken":"a","expiresAt":"2099-01-01T00:00:00Z","region":"us-east-1",
    "startUrl":"https://corp.awsapps.com/start"}"#;
const PORTAL: &[Variable] = &[("AWS_ENDPOINT_URL_SSO", "SERVER"), ("AWS_ENDPOINT_URL_SSO_OIDC", "SERVER")];
/// The source of the credentials in errors.
const SOURCE: &str = "with profile dev (IAM Identity Center, session corp)";
/// The hint.
const RENEW: &str = "run `aws sso login --profile dev`, then the same command again";

/// A login that has to be renewed.
const LOGIN: Case = Case { config: CONFIG, profile: "dev", source: SOURCE, hint: RENEW, ..Case::NONE };

const CASES: &[Case] = &[
    Case { what: "not logged in", error: "not logged in", ..LOGIN },
    Case { what: "the login has expired", files: &[(TOKEN, OLD)], error: "the login has expired", ..LOGIN },
    Case {
        what: "the login cannot be renewed",
        files: &[(TOKEN, OLD_REFRESHABLE)],
        variables: PORTAL,
        server: Some(|request| match request.starts_with("POST /token") {
            true => json(400, "{\"error\":\"invalid_grant\",\"error_description\":\"Invalid refresh token provided\"}"),
            false => {
                json(401, "{\"message\":\"Session token not found or invalid\",\"__type\":\"UnauthorizedException\"}")
            }
        }),
        error: "the login has expired",
        ..LOGIN
    },
    Case {
        what: "the login was ended elsewhere",
        files: &[(TOKEN, FRESH)],
        variables: PORTAL,
        server: Some(|_| {
            json(401, "{\"message\":\"Session token not found or invalid\",\"__type\":\"UnauthorizedException\"}")
        }),
        error: "the login has expired",
        ..LOGIN
    },
    Case {
        what: "a damaged login",
        files: &[(TOKEN, "{\"accessToken\":")],
        error: "the stored login on this machine is damaged",
        ..LOGIN
    },
    Case {
        what: "a portal that cannot be reached",
        files: &[(TOKEN, FRESH)],
        variables: &[("AWS_ENDPOINT_URL_SSO", "CLOSED")],
        error: "IAM Identity Center cannot be reached: Connection refused (os error 111)",
        hint: "check the network",
        ..LOGIN
    },
    Case {
        what: "a portal that says nothing",
        files: &[(TOKEN, FRESH)],
        variables: PORTAL,
        server: Some(|_| Answer::Silence),
        error: "IAM Identity Center has not answered within 3 s",
        hint: "check the network",
        ..LOGIN
    },
    Case {
        what: "a session that is not there",
        config: "[profile dev]\nsso_session = corp\nsso_account_id = 1\nsso_role_name = Admin\n",
        source: "with profile dev",
        error: "profile dev names the sso_session \"corp\", which is not there",
        hint: "aws configure sso --profile dev",
        ..LOGIN
    },
    Case {
        what: "no role is chosen",
        config: "[profile dev]\nsso_start_url = https://corp.awsapps.com/start\nsso_region = us-east-1\n",
        source: "with profile dev",
        error: "profile dev uses IAM Identity Center and has no sso_account_id",
        hint: "aws configure sso --profile dev",
        ..LOGIN
    },
];

#[test]
fn a_missing_or_expired_login_names_the_command_that_renews_it() {
    check_all(CASES);
}

#[test]
fn a_login_cache_that_is_not_a_regular_file_is_refused_at_once() {
    let project = Project::with(STACK);
    let cache = project.path().join(".aws/sso/cache");
    fs::create_dir_all(&cache).expect("a folder can be made");
    fs::write(project.path().join(".aws/config"), CONFIG).expect("a file can be written");
    let fifo = project.path().join(TOKEN);
    assert!(Command::new("mkfifo").arg(&fifo).status().expect("mkfifo can be started").success());
    let said = project.run_with(&["plan", "--profile", "dev"], &[]);
    assert_eq!(said.code, 77, "{}", said.all());
    assert!(said.stderr.contains("it is a FIFO, not a regular file"), "{}", said.all());
}
