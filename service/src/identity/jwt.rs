//! Tokens: their issuer, audience, lifetime and user.

use std::sync::Arc;

use jsonwebtoken::errors::{Error as BadToken, ErrorKind};
use jsonwebtoken::{Algorithm, DecodingKey, Validation, decode, decode_header};
use serde_json::{Map, Value};

use crate::config::{BadSettings, Jwt, Keys};
use crate::http::error::Error;
use crate::identity::jwks::Published;
use crate::identity::jwt_signature;

/// Verifies tokens and reads the user's name from them.
pub(crate) struct Tokens {
    trusted: Trusted,
    claim: String,
}

enum Trusted {
    Shared(Arc<Key>),
    Published(Box<Published>),
}

/// A key, and the requirements for tokens signed with it.
pub(crate) struct Key {
    pub id: Option<String>,
    /// The only algorithm of the key. The algorithm named by the token is not trusted: with a public key used as a
    /// shared secret, anyone could sign.
    pub algorithm: Algorithm,
    decoding: DecodingKey,
    rules: Validation,
}

/// The required audience and issuer of tokens.
#[derive(Clone)]
pub(crate) struct Expected {
    pub audience: String,
    pub issuer: Option<String>,
}

/// The allowed clock skew between the issuer and us, in seconds.
const LEEWAY_S: u64 = 30;

impl Tokens {
    pub(crate) fn new(jwt: &Jwt) -> Result<Self, BadSettings> {
        jwt_signature::install();
        let Jwt { keys, audience, issuer, claim, login: _ } = jwt;
        let expected = Expected { audience: audience.clone(), issuer: issuer.clone() };
        let trusted = match keys {
            Keys::Published(url) => Trusted::Published(Box::new(Published::new(url, expected))),
            Keys::Shared(secret) => {
                let secret = DecodingKey::from_secret(secret.0.as_bytes());
                Trusted::Shared(Arc::new(Key::new(None, Algorithm::HS256, secret, &expected)))
            }
        };
        Ok(Self { trusted, claim: claim.clone() })
    }

    /// Returns the name in a valid token, exactly as it is written.
    pub(crate) async fn check(&self, token: &str) -> Result<String, Error> {
        let header = decode_header(token).map_err(refusal)?;
        // Critical extensions (RFC 7515, section 4.1.11); we support none.
        if header.crit.is_some() {
            return Err(Error::BadToken("it requires an unsupported extension"));
        }
        let key = match &self.trusted {
            Trusted::Shared(key) => key.clone(),
            Trusted::Published(keys) => keys.find(header.kid.as_deref(), header.alg).await?,
        };
        let claims = decode::<Map<String, Value>>(token, &key.decoding, &key.rules).map_err(refusal)?.claims;
        let name = claims.get(&self.claim).and_then(Value::as_str);
        name.map(str::to_owned).ok_or(Error::BadToken("it names no user"))
    }
}

impl Key {
    pub(crate) fn new(id: Option<String>, algorithm: Algorithm, decoding: DecodingKey, expected: &Expected) -> Self {
        let mut rules = Validation::new(algorithm);
        rules.leeway = LEEWAY_S;
        rules.validate_nbf = true;
        rules.set_audience(&[&expected.audience]);
        let mut needed = vec!["exp", "aud"];
        if let Some(issuer) = &expected.issuer {
            rules.set_issuer(&[issuer]);
            needed.push("iss");
        }
        rules.set_required_spec_claims(&needed);
        Self { id, algorithm, decoding, rules }
    }
}

/// Why a token is rejected, without its contents.
fn refusal(error: BadToken) -> Error {
    Error::BadToken(match error.kind() {
        ErrorKind::ExpiredSignature => "it has expired",
        ErrorKind::ImmatureSignature => "it is not valid yet",
        ErrorKind::InvalidAudience => "it is for another service",
        ErrorKind::InvalidIssuer => "its issuer is not trusted",
        ErrorKind::MissingRequiredClaim(_) => "it lacks an audience, an issuer or an expiry",
        ErrorKind::InvalidSignature | ErrorKind::InvalidAlgorithm => "its signature is not by a trusted key",
        _ => "it cannot be read",
    })
}
