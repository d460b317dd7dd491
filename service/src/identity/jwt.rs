//! Tokens: their issuer, audience, lifetime and user.

use std::sync::Arc;

use jsonwebtoken::errors::{Error as BadToken, ErrorKind};
use jsonwebtoken::{Algorithm, DecodingKey, Validation, decode, decode_header};
use serde_json::{Map, Value};

use crate::config::{BadSettings, Jwt, Keys};
use crate::http::error::Error;
use crate::identity::jwks::Published;
use crate::identity::jwt_signature;

/// Checks tokens and reads from them who asks.
pub(crate) struct Tokens {
    trusted: Trusted,
    claim: String,
}

enum Trusted {
    Shared(Arc<Key>),
    Published(Box<Published>),
}

/// A key, and what must be true of a token that is signed with it.
pub(crate) struct Key {
    pub id: Option<String>,
    /// The only one it is good for. What the token itself says of it decides nothing: a public key, taken for a secret,
    /// would let everybody sign.
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

/// How far the issuer's clock may be from ours, in seconds.
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

    /// The name in a token, exactly as it stands there, if the token is a good one.
    pub(crate) async fn check(&self, token: &str) -> Result<String, Error> {
        let header = decode_header(token).map_err(refusal)?;
        // Extensions that must be understood (RFC 7515, section 4.1.11); we understand none.
        if header.crit.is_some() {
            return Err(Error::BadToken("it asks for what is not known here"));
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

/// Why a token is refused; never what is in it.
fn refusal(error: BadToken) -> Error {
    Error::BadToken(match error.kind() {
        ErrorKind::ExpiredSignature => "it has expired",
        ErrorKind::ImmatureSignature => "it is not good yet",
        ErrorKind::InvalidAudience => "it is for another service",
        ErrorKind::InvalidIssuer => "somebody else made it",
        ErrorKind::MissingRequiredClaim(_) => "it does not say for whom, by whom or until when it is good",
        ErrorKind::InvalidSignature | ErrorKind::InvalidAlgorithm => "nobody who is trusted here signed it",
        _ => "it cannot be read",
    })
}
