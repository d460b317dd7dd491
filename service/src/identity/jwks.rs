//! The published keys of a token issuer: fetched on demand, cached, and fetched again when they change.

use std::sync::Arc;
use std::time::Duration;

use aws_smithy_runtime_api::client::http::{HttpConnector, SharedHttpConnector};
use aws_smithy_runtime_api::client::orchestrator::HttpRequest;
use http_body_util::BodyExt;
use jsonwebtoken::jwk::{AlgorithmParameters, EllipticCurve, Jwk, KeyOperations, PublicKeyUse};
use jsonwebtoken::{Algorithm, DecodingKey};
use parking_lot::RwLock;
use poem::http::Uri;
use serde_json::Value;
use tokio::sync::Mutex;
use tokio::time::{Instant, timeout};

use crate::http::error::{Error, caused};
use crate::identity::jwt::{Expected, Key};
use crate::storage::transport;

/// How long keys are used without refreshing them, and so how long a withdrawn key stays valid.
const FRESH: Duration = Duration::from_secs(600);
/// How long keys are used when their issuer cannot be reached.
const LONGEST: Duration = Duration::from_secs(24 * 3600);
/// The time limit for the issuer's answer.
const PATIENCE: Duration = Duration::from_secs(3);

type Cause = Box<dyn std::error::Error + Send + Sync>;

/// The key set at a URL.
pub(crate) struct Published {
    url: Uri,
    http: SharedHttpConnector,
    expected: Expected,
    known: RwLock<Arc<KnownKeys>>,
    /// Held by the caller that fetches on behalf of all others.
    pace: Mutex<Pace>,
}

#[derive(Default)]
struct KnownKeys {
    keys: Vec<Arc<Key>>,
    since: Option<Instant>,
}

impl Published {
    pub(crate) fn new(url: &Uri, expected: Expected) -> Self {
        Self {
            url: url.clone(),
            http: transport::of_published_keys(),
            expected,
            known: RwLock::default(),
            pace: Mutex::default(),
        }
    }

    /// Returns the key with this id that is valid for this algorithm.
    ///
    /// An unknown key may be new, so the keys are fetched again, but at a limited rate, because anyone can make up key
    /// ids.
    pub(crate) async fn find(&self, id: Option<&str>, algorithm: Algorithm) -> Result<Arc<Key>, Error> {
        let known = self.known();
        match known.find(id, algorithm) {
            Some(key) if known.is_younger_than(FRESH) => return Ok(key),
            _ => (),
        }
        let failure = self.ask_again(&known).await.err();
        let known = self.known();
        if !known.is_younger_than(LONGEST) {
            let cause = failure.unwrap_or_else(|| "the keys could not be read a moment ago".into());
            return Err(Error::NoKeys(caused(cause)));
        }
        known.find(id, algorithm).ok_or(Error::BadToken("its signature is not by a trusted key"))
    }

    fn known(&self) -> Arc<KnownKeys> {
        self.known.read().clone()
    }

    /// Fetches the keys, unless they have been fetched since `known` or the rate limit is reached.
    async fn ask_again(&self, known: &Arc<KnownKeys>) -> Result<(), Cause> {
        let mut pace = self.pace.lock().await;
        if !Arc::ptr_eq(known, &self.known()) || !pace.allows(Instant::now()) {
            return Ok(());
        }
        let keys = timeout(PATIENCE, self.ask()).await.unwrap_or_else(|late| Err(late.into()));
        let keys = keys
            .inspect_err(|error| tracing::warn!(cause = %error, url = %self.url, "cannot fetch the keys for tokens"))?;
        let fresh = Arc::new(KnownKeys { keys, since: Some(Instant::now()) });
        *self.known.write() = fresh;
        Ok(())
    }

    async fn ask(&self) -> Result<Vec<Arc<Key>>, Cause> {
        let answer = self.http.call(HttpRequest::get(self.url.to_string())?).await?;
        if !answer.status().is_success() {
            return Err(format!("it answers {}", answer.status().as_u16()).into());
        }
        let text = answer.into_body().collect().await?.to_bytes();
        let set: Value = serde_json::from_slice(&text)?;
        let keys = set["keys"].as_array().ok_or("it has no list `keys`")?;
        // Keys that cannot be parsed are meant for other purposes.
        let keys = keys.iter().filter_map(|key| self.key(&serde_json::from_value(key.clone()).ok()?));
        Ok(keys.map(Arc::new).collect())
    }

    fn key(&self, jwk: &Jwk) -> Option<Key> {
        let common = &jwk.common;
        let signs = common.public_key_use.as_ref().is_none_or(|it| *it == PublicKeyUse::Signature)
            && common.key_operations.as_ref().is_none_or(|all| all.contains(&KeyOperations::Verify));
        let algorithm = algorithm(jwk).filter(|_| signs)?;
        Some(Key::new(common.key_id.clone(), algorithm, DecodingKey::from_jwk(jwk).ok()?, &self.expected))
    }
}

impl KnownKeys {
    fn is_younger_than(&self, age: Duration) -> bool {
        self.since.is_some_and(|since| since.elapsed() < age)
    }

    /// A token without a key id is checked with the only suitable key, if there is exactly one.
    fn find(&self, id: Option<&str>, algorithm: Algorithm) -> Option<Arc<Key>> {
        let mut fit = self.keys.iter().filter(|key| key.algorithm == algorithm);
        match id {
            Some(_) => fit.find(|key| key.id.as_deref() == id).cloned(),
            None => fit.next().filter(|_| fit.next().is_none()).cloned(),
        }
    }
}

/// The algorithm of a key: the declared one, or the usual one for its type. Published symmetric keys are ignored.
fn algorithm(jwk: &Jwk) -> Option<Algorithm> {
    let usual = match &jwk.algorithm {
        AlgorithmParameters::RSA(_) => Algorithm::RS256,
        AlgorithmParameters::EllipticCurve(key) => match key.curve {
            EllipticCurve::P256 => Algorithm::ES256,
            EllipticCurve::P384 => Algorithm::ES384,
            _ => return None,
        },
        AlgorithmParameters::OctetKeyPair(key) if key.curve == EllipticCurve::Ed25519 => Algorithm::EdDSA,
        _ => return None,
    };
    match &jwk.common.key_algorithm {
        None => Some(usual),
        Some(said) => said.to_string().parse().ok().filter(|said: &Algorithm| said.family() == usual.family()),
    }
}

/// Limits the fetches: three at once, then one every ten seconds.
#[derive(Default)]
struct Pace {
    /// When the cost of the fetches so far will have been paid off.
    settled: Option<Instant>,
}

impl Pace {
    const EACH: Duration = Duration::from_secs(10);
    const AT_ONCE: u32 = 3;

    fn allows(&mut self, now: Instant) -> bool {
        let settled = self.settled.map_or(now, |settled| settled.max(now)) + Self::EACH;
        let allowed = settled <= now + Self::EACH * Self::AT_ONCE;
        if allowed {
            self.settled = Some(settled);
        }
        allowed
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

    use aws_smithy_runtime_api::client::http::HttpConnectorFuture;
    use aws_smithy_runtime_api::client::orchestrator::HttpResponse;
    use aws_smithy_types::body::SdkBody;
    use serde_json::json;

    use super::*;

    /// Publishes a key, unless it is offline, and counts fetches.
    #[derive(Debug, Clone, Default)]
    struct Issuer {
        away: Arc<AtomicBool>,
        asked: Arc<AtomicUsize>,
    }

    impl HttpConnector for Issuer {
        fn call(&self, _: HttpRequest) -> HttpConnectorFuture {
            self.asked.fetch_add(1, Ordering::Relaxed);
            let status = if self.away.load(Ordering::Relaxed) { 503 } else { 200 };
            let part = "A".repeat(43);
            let key = json!({ "kid": "key", "kty": "EC", "crv": "P-256", "x": part, "y": part });
            let body = SdkBody::from(json!({ "keys": [key] }).to_string());
            HttpConnectorFuture::ready(Ok(HttpResponse::new(status.try_into().unwrap(), body)))
        }
    }

    impl Issuer {
        fn keys(&self) -> Published {
            let expected = Expected { audience: "postagram".to_owned(), issuer: None };
            let url = Uri::from_static("http://127.0.0.1:1/keys");
            Published { http: SharedHttpConnector::new(self.clone()), ..Published::new(&url, expected) }
        }

        fn asked(&self) -> usize {
            self.asked.load(Ordering::Relaxed)
        }
    }

    /// Looks for the issuer's key.
    async fn find(keys: &Published) -> Result<(), Error> {
        keys.find(Some("key"), Algorithm::ES256).await.map(drop)
    }

    const MOMENT: Duration = Duration::from_millis(1);

    #[tokio::test(start_paused = true)]
    async fn keys_are_fetched_again_after_ten_minutes() {
        let issuer = Issuer::default();
        let keys = issuer.keys();
        for asked in 1..4 {
            find(&keys).await.unwrap();
            tokio::time::advance(Duration::from_secs(600) - MOMENT).await;
            find(&keys).await.unwrap();
            assert_eq!(issuer.asked(), asked);
            tokio::time::advance(MOMENT).await;
        }
    }

    #[tokio::test(start_paused = true)]
    async fn keys_are_valid_for_a_day_without_their_issuer() {
        let issuer = Issuer::default();
        let keys = issuer.keys();
        find(&keys).await.unwrap();
        issuer.away.store(true, Ordering::Relaxed);
        tokio::time::advance(Duration::from_secs(24 * 3600) - MOMENT).await;
        find(&keys).await.unwrap();
        assert_eq!(issuer.asked(), 2, "it was asked, without success");
        tokio::time::advance(MOMENT).await;
        let refused = find(&keys).await;
        assert!(matches!(refused, Err(Error::NoKeys(_))), "{refused:?}");
        issuer.away.store(false, Ordering::Relaxed);
        find(&keys).await.unwrap();
    }

    #[test]
    fn keys_are_fetched_three_times_at_once_and_then_every_ten_seconds() {
        let (mut pace, start) = (Pace::default(), Instant::now());
        let mut allows = |seconds| pace.allows(start + Duration::from_secs(seconds));
        assert_eq!([0, 0, 0, 0, 9].map(&mut allows), [true, true, true, false, false]);
        assert_eq!([10, 10, 20, 25].map(&mut allows), [true, false, true, false]);
        assert_eq!([600, 600, 600, 600].map(&mut allows), [true, true, true, false]);
    }

    #[test]
    fn a_key_is_good_for_one_algorithm_and_a_published_secret_for_none() {
        let rsa = json!({ "kty": "RSA", "n": "AQAB", "e": "AQAB" });
        let ec = json!({ "kty": "EC", "crv": "P-256", "x": "AQAB", "y": "AQAB" });
        let ed = json!({ "kty": "OKP", "crv": "Ed25519", "x": "AQAB" });
        let secret = json!({ "kty": "oct", "k": "AQAB" });
        let read = |mut key: Value, said: Option<&str>| {
            if let Some(said) = said {
                key["alg"] = said.into();
            }
            algorithm(&serde_json::from_value(key).unwrap())
        };
        assert_eq!(read(rsa.clone(), None), Some(Algorithm::RS256));
        assert_eq!(read(rsa.clone(), Some("PS512")), Some(Algorithm::PS512));
        assert_eq!(read(rsa, Some("HS256")), None);
        assert_eq!(read(ec.clone(), None), Some(Algorithm::ES256));
        assert_eq!(read(ec, Some("RS256")), None);
        assert_eq!(read(ed, None), Some(Algorithm::EdDSA));
        assert_eq!(read(secret.clone(), None), None);
        assert_eq!(read(secret, Some("HS256")), None);
    }
}
