//! Roles that are assumed, with other credentials or with a token, and the credentials of containers.

use super::{
    case::{Case, STS, check_all},
    servers::{Answer, xml},
};

const ROLE: &str = "[profile dev]\nrole_arn = arn:aws:iam::1:role/Deploy\nsource_profile = base\n";
const ROLE_WITH_CODE: &str = "[profile dev]\nrole_arn = arn:aws:iam::1:role/Deploy\nsource_profile = base\n\
                              mfa_serial = arn:aws:iam::1:mfa/ada\n";
const CIRCLE: &str = "[profile dev]\nrole_arn = arn:aws:iam::1:role/Deploy\nsource_profile = base\n\
                      [profile base]\nrole_arn = arn:aws:iam::1:role/Other\nsource_profile = dev\n";
const BASE: &str = "[base]\naws_access_key_id = AKIAX\naws_secret_access_key = x\n";
const SESSION: &str = "[base]\naws_access_key_id = AKIAX\naws_secret_access_key = x\naws_session_token = t\n";

fn deny(_: &str) -> Answer {
    xml(403, "AccessDenied", "User: arn:aws:iam::1:user/a is not authorized to perform: sts:AssumeRole")
}

/// A profile with a role.
const PROFILE: Case = Case { profile: "dev", source: "with profile dev", ..Case::NONE };

const CASES: &[Case] = &[
    Case {
        what: "denied",
        config: ROLE,
        credentials: BASE,
        variables: &[STS],
        server: Some(deny),
        error: "arn:aws:iam::1:role/Deploy may not be assumed: AWS says AccessDenied: User: arn:aws:iam::1:user/a is \
                not authorized to perform: sts:AssumeRole (AssumeRole)",
        hint: "the permissions of profile base allow `sts:AssumeRole`",
        ..PROFILE
    },
    Case {
        what: "denied without a code",
        config: ROLE_WITH_CODE,
        credentials: BASE,
        variables: &[STS],
        server: Some(deny),
        error: "arn:aws:iam::1:role/Deploy may only be assumed with a code of the MFA device: AWS says AccessDenied: \
                User: arn:aws:iam::1:user/a is not authorized to perform: sts:AssumeRole (AssumeRole)",
        hint: "aws configure export-credentials --profile dev --format env",
        ..PROFILE
    },
    Case {
        what: "the source has expired keys",
        config: ROLE,
        credentials: SESSION,
        variables: &[STS],
        server: Some(|_| xml(403, "ExpiredToken", "The security token included in the request is expired")),
        error: "AWS says ExpiredToken: The security token included in the request is expired (AssumeRole)",
        hint: "into ~/.aws/credentials, section [base]",
        ..PROFILE
    },
    Case {
        what: "a source that is not there",
        config: ROLE,
        error: "its source_profile \"base\" is not there (profile dev)",
        hint: "choose from: dev",
        ..PROFILE
    },
    Case {
        what: "a circle",
        config: CIRCLE,
        error: "the source_profile of each leads to the other: dev → base → dev",
        hint: "to a profile with credentials",
        ..PROFILE
    },
    Case {
        what: "a role without a source",
        config: "[profile dev]\nrole_arn = arn:aws:iam::1:role/Deploy\n",
        error: "profile dev has role_arn, and neither source_profile nor credential_source",
        hint: "add `source_profile`",
        ..PROFILE
    },
    Case {
        what: "an unknown source",
        config: "[profile dev]\nrole_arn = arn:aws:iam::1:role/Deploy\ncredential_source = Heaven\n",
        error: "profile dev has the unknown credential_source \"Heaven\"",
        hint: "Environment or Ec2InstanceMetadata",
        ..PROFILE
    },
    Case {
        what: "no token",
        config: "[profile dev]\nrole_arn = arn:aws:iam::1:role/Deploy\nweb_identity_token_file = ~/token\n",
        source: "with profile dev (token in ~/token)",
        error: "there is no file ~/token",
        hint: "have a token written to ~/token",
        ..PROFILE
    },
    Case {
        what: "no token of a variable",
        variables: &[("AWS_WEB_IDENTITY_TOKEN_FILE", "~/token"), ("AWS_ROLE_ARN", "arn:aws:iam::1:role/Deploy")],
        source: "with the token in ~/token (AWS_WEB_IDENTITY_TOKEN_FILE)",
        error: "there is no file ~/token",
        hint: "have a token written",
        ..Case::NONE
    },
    Case {
        what: "a token and no role",
        variables: &[("AWS_WEB_IDENTITY_TOKEN_FILE", "~/token")],
        error: "cannot sign in: AWS_WEB_IDENTITY_TOKEN_FILE is set and AWS_ROLE_ARN is not",
        hint: "set both",
        ..Case::NONE
    },
    Case {
        what: "an expired token",
        files: &[("token", "x")],
        variables: &[
            ("AWS_WEB_IDENTITY_TOKEN_FILE", "~/token"),
            ("AWS_ROLE_ARN", "arn:aws:iam::1:role/Deploy"),
            ("AWS_ENDPOINT_URL_STS", "SERVER"),
        ],
        server: Some(|_| {
            xml(400, "ExpiredTokenException", "Token expired: current date/time must be before the expiration")
        }),
        source: "with the token in ~/token (AWS_WEB_IDENTITY_TOKEN_FILE)",
        error: "AWS says ExpiredTokenException: Token expired: current date/time must be before the expiration \
                (AssumeRoleWithWebIdentity)",
        hint: "have a new token written to ~/token",
        ..Case::NONE
    },
    Case {
        what: "a container without its credentials server",
        variables: &[("AWS_CONTAINER_CREDENTIALS_FULL_URI", "CLOSED/creds")],
        source: "with the credentials of this container (http://127.0.0.1:PORT/creds)",
        error: "the container's credentials server cannot be reached: Connection refused (os error 111)",
        hint: "check the network",
        ..Case::NONE
    },
];

#[test]
fn a_role_that_cannot_be_assumed_is_named_with_its_profile() {
    check_all(CASES);
}
