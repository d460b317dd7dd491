//! Verifies the signatures of tokens, with the cryptography that TLS uses.

use aws_lc_rs::hmac;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED, ECDSA_P384_SHA384_FIXED, ED25519, RSA_PKCS1_2048_8192_SHA256, RSA_PKCS1_2048_8192_SHA384,
    RSA_PKCS1_2048_8192_SHA512, RSA_PSS_2048_8192_SHA256, RSA_PSS_2048_8192_SHA384, RSA_PSS_2048_8192_SHA512,
    RsaParameters, RsaPublicKeyComponents, UnparsedPublicKey, VerificationAlgorithm,
};
use jsonwebtoken::crypto::{CryptoProvider, JwtVerifier, KeyUtils};
use jsonwebtoken::errors::{ErrorKind, Result};
use jsonwebtoken::signature::{Error as Bad, Verifier};
use jsonwebtoken::{Algorithm, DecodingKey, DecodingKeyKind};

/// Registers this implementation with the token library. The library's own integration would enable features of the
/// cryptography that nothing else in the workspace needs.
pub(crate) fn install() {
    // Keeps an existing registration.
    let _ = PROVIDER.install_default();
}

static PROVIDER: CryptoProvider = CryptoProvider {
    signer_factory: |_, _| Err(ErrorKind::UnsupportedAlgorithm.into()),
    verifier_factory: |algorithm, key| Ok(Box::new(Check::new(*algorithm, key)?)),
    key_utils: KeyUtils::new_unimplemented(),
};

/// A signature algorithm with its key.
struct Check {
    algorithm: Algorithm,
    way: Way,
}

enum Way {
    Secret(Box<hmac::Key>),
    Rsa(&'static RsaParameters, RsaPublicKeyComponents<Vec<u8>>),
    Curve(UnparsedPublicKey<Vec<u8>>),
}

impl Check {
    fn new(algorithm: Algorithm, key: &DecodingKey) -> Result<Self> {
        // A key is never used with an algorithm of another family, whatever the token says.
        if key.family() != algorithm.family() {
            return Err(ErrorKind::InvalidAlgorithm.into());
        }
        let curve = |way: &'static dyn VerificationAlgorithm| {
            Ok::<_, jsonwebtoken::errors::Error>(Way::Curve(UnparsedPublicKey::new(
                way,
                key.try_get_as_bytes()?.to_vec(),
            )))
        };
        let way = match algorithm {
            Algorithm::HS256 => Way::Secret(Box::new(hmac::Key::new(hmac::HMAC_SHA256, key.try_get_as_bytes()?))),
            Algorithm::RS256 => rsa(&RSA_PKCS1_2048_8192_SHA256, key)?,
            Algorithm::RS384 => rsa(&RSA_PKCS1_2048_8192_SHA384, key)?,
            Algorithm::RS512 => rsa(&RSA_PKCS1_2048_8192_SHA512, key)?,
            Algorithm::PS256 => rsa(&RSA_PSS_2048_8192_SHA256, key)?,
            Algorithm::PS384 => rsa(&RSA_PSS_2048_8192_SHA384, key)?,
            Algorithm::PS512 => rsa(&RSA_PSS_2048_8192_SHA512, key)?,
            Algorithm::ES256 => curve(&ECDSA_P256_SHA256_FIXED)?,
            Algorithm::ES384 => curve(&ECDSA_P384_SHA384_FIXED)?,
            Algorithm::EdDSA => curve(&ED25519)?,
            _ => return Err(ErrorKind::UnsupportedAlgorithm.into()),
        };
        Ok(Self { algorithm, way })
    }
}

fn rsa(parameters: &'static RsaParameters, key: &DecodingKey) -> Result<Way> {
    match key.kind() {
        DecodingKeyKind::RsaModulusExponent { n, e } => {
            Ok(Way::Rsa(parameters, RsaPublicKeyComponents { n: n.clone(), e: e.clone() }))
        }
        DecodingKeyKind::SecretOrDer(_) => Err(ErrorKind::InvalidKeyFormat.into()),
    }
}

impl Verifier<Vec<u8>> for Check {
    fn verify(&self, message: &[u8], signature: &Vec<u8>) -> std::result::Result<(), Bad> {
        let checked = match &self.way {
            Way::Secret(key) => hmac::verify(key, message, signature),
            Way::Rsa(parameters, key) => key.verify(parameters, message, signature),
            Way::Curve(key) => key.verify(message, signature),
        };
        checked.map_err(|_| Bad::new())
    }
}

impl JwtVerifier for Check {
    fn algorithm(&self) -> Algorithm {
        self.algorithm
    }
}
