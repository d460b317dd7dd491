//! Valid and invalid tokens, and keys to sign them with.

use std::time::{SystemTime, UNIX_EPOCH};

use aws_lc_rs::hmac;
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::KeySize;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair, RSA_PKCS1_SHA256, RsaKeyPair};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};

/// The secret that the issuer shares with the service.
pub const SECRET: &str = "0123456789abcdef0123456789abcdef";

/// Settings of a service that accepts tokens signed with the secret.
pub const SETTINGS: [(&str, &str); 3] = [("AUTH", "jwt"), ("JWT_SECRET", SECRET), ("JWT_AUDIENCE", "postagram")];

/// The claims of a valid token.
pub fn claims(user: &str) -> Value {
    json!({ "sub": user, "aud": "postagram", "exp": now() + 3600 })
}

/// The current time, in seconds since 1970.
pub fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs()
}

/// The header with a token signed with the secret.
pub fn bearer(claims: &Value) -> String {
    format!("Bearer {}", shared(SECRET, claims))
}

/// A token signed with this secret.
pub fn shared(secret: &str, claims: &Value) -> String {
    token(&json!({ "alg": "HS256", "typ": "JWT" }), claims, |text| {
        hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, secret.as_bytes()), text).as_ref().to_vec()
    })
}

/// A token with this header, signed by `sign`.
pub fn token(header: &Value, claims: &Value, sign: impl FnOnce(&[u8]) -> Vec<u8>) -> String {
    let [header, claims] = [header, claims].map(|part| URL_SAFE_NO_PAD.encode(part.to_string()));
    let text = format!("{header}.{claims}");
    let signature = URL_SAFE_NO_PAD.encode(sign(text.as_bytes()));
    format!("{text}.{signature}")
}

/// A key of the issuer, whose public half is published.
pub struct Key {
    pub id: &'static str,
    pair: Pair,
}

enum Pair {
    Curve(EcdsaKeyPair),
    Rsa(RsaKeyPair),
}

impl Key {
    pub fn curve(id: &'static str) -> Self {
        Self { id, pair: Pair::Curve(EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).unwrap()) }
    }

    pub fn rsa(id: &'static str) -> Self {
        Self { id, pair: Pair::Rsa(RsaKeyPair::generate(KeySize::Rsa2048).unwrap()) }
    }

    /// The public key as a JWK.
    pub fn public(&self) -> Value {
        let text = |bytes: &[u8]| URL_SAFE_NO_PAD.encode(bytes);
        match &self.pair {
            Pair::Curve(pair) => {
                // 0x04, and two coordinates of 32 bytes.
                let (x, y) = pair.public_key().as_ref()[1..].split_at(32);
                json!({ "kid": self.id, "use": "sig", "kty": "EC", "crv": "P-256", "x": text(x), "y": text(y) })
            }
            Pair::Rsa(pair) => {
                // DER: a sequence of two integers, the modulus of 256 bytes behind a zero, and the exponent of 3.
                let der = pair.public_key().as_ref();
                let (n, e) = (&der[9..9 + 256], &der[der.len() - 3..]);
                json!({ "kid": self.id, "kty": "RSA", "alg": "RS256", "n": text(n), "e": text(e) })
            }
        }
    }

    /// The header with a token signed with this key.
    pub fn bearer(&self, claims: &Value) -> String {
        let algorithm = match self.pair {
            Pair::Curve(_) => "ES256",
            Pair::Rsa(_) => "RS256",
        };
        let header = json!({ "alg": algorithm, "kid": self.id });
        format!("Bearer {}", token(&header, claims, |text| self.sign(text)))
    }

    pub fn sign(&self, text: &[u8]) -> Vec<u8> {
        let random = SystemRandom::new();
        match &self.pair {
            Pair::Curve(pair) => pair.sign(&random, text).unwrap().as_ref().to_vec(),
            Pair::Rsa(pair) => {
                let mut signature = vec![0; pair.public_modulus_len()];
                pair.sign(&RSA_PKCS1_SHA256, &random, text, &mut signature).unwrap();
                signature
            }
        }
    }
}
