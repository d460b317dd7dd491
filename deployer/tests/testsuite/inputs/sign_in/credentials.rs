//! Credentials that are missing, incomplete or refused by AWS.

use std::fs;

use super::{
    case::{Case, ID, KEYS, SECRET, STACK, STS, check_all},
    servers::{Answer, accepts_every_key, json, serve, xml},
};
use crate::support::Project;

const MISSING: &[Case] = &[
    Case {
        what: "nothing at all",
        error: "there are no AWS credentials here: AWS_ACCESS_KEY_ID is not set, ~/.aws/config or ~/.aws/credentials \
                has no profile default, and the instance metadata service is off (AWS_EC2_METADATA_DISABLED)",
        hint: "aws sso login",
        ..Case::NONE
    },
    Case {
        what: "a metadata service that refuses",
        variables: &[("AWS_EC2_METADATA_SERVICE_ENDPOINT", "SERVER")],
        server: Some(|_| Answer::Says(403, "text/html", "<html>Forbidden</html>".into())),
        error: "there are no AWS credentials here: AWS_ACCESS_KEY_ID is not set, ~/.aws/config or ~/.aws/credentials \
                has no profile default, and the instance metadata service at http://127.0.0.1:PORT answers 403",
        hint: "--local, which needs no account",
        ..Case::NONE
    },
    Case {
        what: "an instance without a role",
        variables: &[("AWS_EC2_METADATA_SERVICE_ENDPOINT", "SERVER")],
        server: Some(|request| match request.starts_with("PUT") {
            true => Answer::Says(200, "text/plain\r\nx-aws-ec2-metadata-token-ttl-seconds: 60", "token".into()),
            false => Answer::Says(404, "text/plain", String::new()),
        }),
        error: "there are no AWS credentials here: AWS_ACCESS_KEY_ID is not set, ~/.aws/config or ~/.aws/credentials \
                has no profile default, and http://127.0.0.1:PORT reports that this instance has no role",
        hint: "aws configure",
        ..Case::NONE
    },
    Case {
        what: "no metadata service",
        variables: &[("AWS_EC2_METADATA_SERVICE_ENDPOINT", "CLOSED")],
        error: "there are no AWS credentials here: AWS_ACCESS_KEY_ID is not set, ~/.aws/config or ~/.aws/credentials \
                has no profile default, and no instance metadata service answers at http://127.0.0.1:PORT",
        hint: "AWS Details",
        ..Case::NONE
    },
    Case {
        what: "a silent metadata service",
        variables: &[("AWS_EC2_METADATA_SERVICE_ENDPOINT", "SERVER")],
        server: Some(|_| Answer::Silence),
        error: "there are no AWS credentials here: AWS_ACCESS_KEY_ID is not set, ~/.aws/config or ~/.aws/credentials \
                has no profile default, and no instance metadata service answers at http://127.0.0.1:PORT",
        hint: "aws login",
        ..Case::NONE
    },
    Case {
        what: "a profile without credentials",
        config: "[profile dev]\nregion = eu-west-1\n",
        profile: "dev",
        error: "there are no AWS credentials here: AWS_ACCESS_KEY_ID is not set, profile dev in ~/.aws/config has \
                none, and the instance metadata service is off (AWS_EC2_METADATA_DISABLED)",
        hint: "aws configure",
        ..Case::NONE
    },
    Case {
        what: "a missing profile",
        config: "[profile prod]\nregion = eu-west-1\n",
        profile: "prdo",
        error: "there is no profile \"prdo\" in ~/.aws/config",
        hint: "did you mean prod?",
        ..Case::NONE
    },
    Case {
        what: "a missing profile of a variable",
        config: "[profile one]\nregion = eu-west-1\n[profile other]\nregion = x\n",
        variables: &[("AWS_PROFILE", "company")],
        error: "there is no profile \"company\" (AWS_PROFILE) in ~/.aws/config",
        hint: "choose from: one, other",
        ..Case::NONE
    },
    Case {
        what: "a profile whose section lacks its word",
        config: "[dev]\nregion = eu-west-1\n",
        profile: "dev",
        error: "there is no profile \"dev\" in ~/.aws/config",
        hint: "write [profile dev] for [dev] in ~/.aws/config",
        ..Case::NONE
    },
    Case {
        what: "no file and a profile",
        profile: "dev",
        error: "there is no profile \"dev\" in ~/.aws/config or ~/.aws/credentials",
        hint: "aws configure sso --profile dev",
        ..Case::NONE
    },
    Case {
        what: "an id without its secret",
        variables: &[ID],
        error: "cannot sign in: AWS_ACCESS_KEY_ID is set and AWS_SECRET_ACCESS_KEY is not",
        hint: "set both",
        ..Case::NONE
    },
    Case {
        what: "a secret without its id",
        variables: &[("AWS_SECRET_ACCESS_KEY", "x"), ("AWS_ACCESS_KEY_ID", " ")],
        error: "cannot sign in: AWS_SECRET_ACCESS_KEY is set and AWS_ACCESS_KEY_ID is not",
        hint: "unset both",
        ..Case::NONE
    },
    Case {
        what: "a key with its line end",
        variables: &[("AWS_ACCESS_KEY_ID", "AKIAX\n"), ("AWS_SECRET_ACCESS_KEY", "x")],
        source: "with the keys in AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY",
        error: "AWS_ACCESS_KEY_ID contains a blank, a line break or another character that keys never have",
        hint: "correct AWS_ACCESS_KEY_ID",
        ..Case::NONE
    },
    Case {
        what: "half a pair in a file",
        credentials: "[default]\naws_access_key_id = AKIAX\n",
        source: "with profile default",
        error: "profile default has no aws_secret_access_key",
        hint: "add aws_secret_access_key in ~/.aws/credentials",
        ..Case::NONE
    },
];

#[test]
fn a_run_without_credentials_is_refused() {
    check_all(MISSING);
}

const FROM_VARIABLES: &str = "with the keys in AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY";

fn expired(_: &str) -> Answer {
    xml(403, "ExpiredToken", "The security token included in the request is expired")
}

fn unknown(_: &str) -> Answer {
    xml(403, "InvalidClientTokenId", "The security token included in the request is invalid.")
}

const REFUSED: &[Case] = &[
    Case {
        what: "an expired session in variables",
        variables: &[ID, SECRET, STS, ("AWS_SESSION_TOKEN", "t")],
        server: Some(expired),
        source: FROM_VARIABLES,
        error: "AWS says ExpiredToken: The security token included in the request is expired (GetCallerIdentity)",
        hint: "in AWS Academy from AWS Details",
        ..Case::NONE
    },
    Case {
        what: "an expired session in a file",
        credentials: "[default]\naws_access_key_id = ASIAX\naws_secret_access_key = x\naws_session_token = t\n",
        variables: &[STS],
        server: Some(expired),
        source: "with profile default",
        error: "AWS says ExpiredToken: The security token included in the request is expired (GetCallerIdentity)",
        hint: "into ~/.aws/credentials, section [default]",
        ..Case::NONE
    },
    Case {
        what: "a profile takes precedence over variables",
        credentials: "[dev]\naws_access_key_id = AKIAY\naws_secret_access_key = x\n",
        variables: KEYS,
        profile: "dev",
        server: Some(|request| match request.contains("GetCallerIdentity") {
            true => xml(403, "InvalidClientTokenId", "The security token included in the request is invalid."),
            false => Answer::Silence,
        }),
        source: "with profile dev",
        error: "AWS says InvalidClientTokenId: The security token included in the request is invalid. \
                (GetCallerIdentity)",
        hint: "aws configure --profile dev",
        ..Case::NONE
    },
    Case {
        what: "an unknown key",
        variables: KEYS,
        server: Some(unknown),
        source: FROM_VARIABLES,
        error: "AWS says InvalidClientTokenId: The security token included in the request is invalid. \
                (GetCallerIdentity)",
        hint: "correct AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY",
        ..Case::NONE
    },
    Case {
        what: "a region that is off",
        region: "eu-south-1",
        variables: KEYS,
        server: Some(unknown),
        source: FROM_VARIABLES,
        error: "AWS says InvalidClientTokenId: The security token included in the request is invalid. \
                (GetCallerIdentity)",
        hint: "switch on the region eu-south-1",
        ..Case::NONE
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
        source: FROM_VARIABLES,
        error: "AWS says SignatureDoesNotMatch: Signature expired: 20200101T000000Z is now earlier than \
                20200101T010000Z (GetCallerIdentity)",
        hint: "set this machine's clock",
        ..Case::NONE
    },
    Case {
        what: "a wrong secret",
        variables: KEYS,
        server: Some(|_| xml(403, "SignatureDoesNotMatch", "The request signature we calculated does not match")),
        source: FROM_VARIABLES,
        error: "AWS says SignatureDoesNotMatch: The request signature we calculated does not match \
                (GetCallerIdentity)",
        hint: "the secret is not that of the key",
        ..Case::NONE
    },
    Case {
        what: "a port at which no server listens",
        variables: &[ID, SECRET, ("AWS_ENDPOINT_URL", "CLOSED")],
        source: FROM_VARIABLES,
        error: "http://127.0.0.1:PORT cannot be reached: Connection refused (os error 111)",
        hint: "correct AWS_ENDPOINT_URL",
        ..Case::NONE
    },
    Case {
        what: "a name that does not resolve",
        variables: &[ID, SECRET, ("AWS_ENDPOINT_URL", "http://-")],
        source: FROM_VARIABLES,
        error: "http://- cannot be reached: failed to lookup address information: Name or service not known",
        hint: "correct AWS_ENDPOINT_URL",
        ..Case::NONE
    },
    Case {
        what: "a server that says nothing",
        variables: KEYS,
        server: Some(|_| Answer::Silence),
        source: FROM_VARIABLES,
        error: "http://127.0.0.1:PORT cannot be reached: no answer within 3 s",
        hint: "correct AWS_ENDPOINT_URL",
        ..Case::NONE
    },
    Case {
        what: "a page for people",
        variables: &[ID, SECRET, ("AWS_ENDPOINT_URL", "SERVER")],
        server: Some(|_| Answer::Says(200, "text/html", "<html>Please log in</html>".into())),
        source: FROM_VARIABLES,
        error: "a web page answers in place of http://127.0.0.1:PORT (HTTP 200)",
        hint: "log in to this network in a browser",
        ..Case::NONE
    },
    Case {
        what: "a page for people, refusing",
        variables: KEYS,
        server: Some(|_| Answer::Says(511, "text/html; charset=utf-8", "<!DOCTYPE html>".into())),
        source: FROM_VARIABLES,
        error: "a web page answers in place of http://127.0.0.1:PORT (HTTP 511)",
        hint: "HTTPS_PROXY",
        ..Case::NONE
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
        source: FROM_VARIABLES,
        error: "http://127.0.0.1:PORT answers without an account",
        hint: "is not AWS",
        ..Case::NONE
    },
    Case {
        what: "something that is not AWS",
        variables: KEYS,
        server: Some(|_| json(200, "{}")),
        source: FROM_VARIABLES,
        error: "http://127.0.0.1:PORT answers unlike AWS: error parsing XML: no root element",
        hint: "is not AWS",
        ..Case::NONE
    },
];

#[test]
fn a_refusal_of_keys_by_aws_is_shown_with_the_remedy() {
    check_all(REFUSED);
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
