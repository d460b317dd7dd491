//! Logins of the console: `aws login`.

use super::{
    case::{Case, STS, check_all, run},
    servers::{accepts_every_key, json, xml},
};

const CONFIG: &str = "[profile dev]\nlogin_session = arn:aws:sts::111122223333:assumed-role/Admin/ada\n";
/// The file is named by the SHA-256 of the session.
const TOKEN: &str = ".aws/login/cache/c870fde8865d212232f5406c789496c61041e5db3072f6a16721c3a6fb3d57a6.json";
/// The source of the credentials in errors.
const SOURCE: &str = "with profile dev (aws login)";
/// The hint.
const RENEW: &str = "run `aws login --profile dev`, then the same command again";

/// A stored login that expires when the year begins. Its key is well known: it is the example in the AWS SDK's own
/// source.
macro_rules! login_until {
    ($year:literal) => {
        concat!(
            r#"{"accessToken":{"accessKeyId":"ASIAX","secretAccessKey":"s","sessionToken":"t","#,
            r#""accountId":"111122223333","expiresAt":""#,
            $year,
            r#"-01-01T00:00:00Z"},"tokenType":"aws_sigv4","#,
            r#""refreshToken":"r","idToken":"i","clientId":"arn:aws:signin:::devtools/same-device","#,
            r#""dpopKey":"-----BEGIN EC PRIVATE KEY-----\n"#,
            r#"MHcCAQEEIFDZHUzOG1Pzq+6F0mjMlOSp1syN9LRPBuHMoCFXTcXhoAoGCCqGSM49\n"#,
            r#"AwEHoUQDQgAE9qhj+KtcdHj1kVgwxWWWw++tqoh7H7UHs7oXh8jBbgF47rrYGC+t\n"#,
            r#"djiIaHK3dBvvdE7MGj5HsepzLm3Kj91bqA==\n-----END EC PRIVATE KEY-----\n"}"#
        )
    };
}

const EXPIRED: &str = login_until!("2020");
const FRESH: &str = login_until!("2099");

/// A login that has to be renewed.
const LOGIN: Case = Case { config: CONFIG, profile: "dev", source: SOURCE, hint: RENEW, ..Case::NONE };

const CASES: &[Case] = &[
    Case { what: "not logged in", error: "not logged in", ..LOGIN },
    Case {
        what: "a damaged login",
        files: &[(TOKEN, "{\"accessToken\":")],
        error: "the stored login on this machine is damaged",
        ..LOGIN
    },
    Case {
        what: "a login that cannot be renewed",
        files: &[(TOKEN, EXPIRED)],
        variables: &[("AWS_ENDPOINT_URL_SIGNIN", "SERVER")],
        server: Some(|_| {
            json(403, "{\"__type\":\"AccessDeniedException\",\"error\":\"TOKEN_EXPIRED\",\"message\":\"expired\"}")
        }),
        error: "the login has expired",
        ..LOGIN
    },
    Case {
        what: "a login service that cannot be reached",
        files: &[(TOKEN, EXPIRED)],
        variables: &[("AWS_ENDPOINT_URL_SIGNIN", "CLOSED")],
        error: "AWS Sign-In cannot be reached: Connection refused (os error 111)",
        hint: "check the network",
        ..LOGIN
    },
    Case {
        what: "keys that AWS does not take",
        files: &[(TOKEN, FRESH)],
        variables: &[STS],
        server: Some(|_| xml(403, "ExpiredToken", "The security token included in the request is expired")),
        error: "AWS says ExpiredToken: The security token included in the request is expired (GetCallerIdentity)",
        ..LOGIN
    },
];

#[test]
fn a_missing_or_expired_console_login_names_the_command_that_renews_it() {
    check_all(CASES);
}

#[test]
fn a_console_login_signs_in() {
    let (_project, said) = run(&Case {
        config: CONFIG,
        files: &[(TOKEN, FRESH)],
        variables: &[("AWS_ENDPOINT_URL", "SERVER"), ("AWS_PROFILE", "dev")],
        server: Some(accepts_every_key),
        ..Case::NONE
    });
    assert!(said.stderr.contains("with profile dev (AWS_PROFILE) (aws login)"), "{}", said.all());
}
