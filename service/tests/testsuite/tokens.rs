//! Authentication with tokens: which are accepted, which are rejected, and how the issuer's keys are used.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use poem::IntoResponse;
use reqwest::{Method, Response, StatusCode};
use serde_json::{Value, json};
use service::Limits;

use crate::support::tokens::{Key, SETTINGS, bearer, claims, now, shared, token};
use crate::support::{TestService, assert_refused, serve_app, text, url_query, uuid};

const POST: &str = r#"{"title":"t","body":"b"}"#;

/// A service with these settings.
async fn start(more: &[(&str, &str)]) -> TestService {
    let mut service = TestService::start().await;
    service.base = service.otherwise(more, Limits::default()).await;
    service
}

/// Asserts that a token is rejected, with a header for programs as well; returns the message.
async fn refused(answer: Response) -> String {
    assert_eq!(answer.headers()["www-authenticate"], r#"Bearer realm="postagram", error="invalid_token""#);
    assert_refused(answer, 401).await
}

#[tokio::test]
async fn a_token_authenticates_the_user_that_it_names() {
    let service = start(&SETTINGS).await;
    let zoe = bearer(&claims("Zoé"));
    let answer = service.post(zoe.as_bytes(), POST).await;
    assert_eq!(answer.status(), StatusCode::CREATED);
    let post: Value = answer.json().await.unwrap();
    assert_eq!(post["user"], "Zoé");
    // Whatever the case of the scheme, and for every operation that needs an author.
    let zoe = zoe.replace("Bearer", "bEARER");
    let upload = format!("/signedUrlPut?filename=a.jpg&filetype=image/jpeg&postId={}", uuid(&post));
    assert_eq!(service.ask(Method::GET, &upload, zoe.as_bytes()).await.status(), StatusCode::OK);
    let delete = format!("/posts/{}", uuid(&post));
    assert_refused(service.ask(Method::DELETE, &delete, bearer(&claims("ada")).as_bytes()).await, 404).await;
    // Reading needs no token.
    assert_eq!(service.list("/posts?user=Zo%C3%A9").await.len(), 1);
    assert_eq!(service.ask(Method::DELETE, &delete, zoe.as_bytes()).await.status(), StatusCode::NO_CONTENT);
    service.end().await;
}

#[tokio::test]
async fn an_invalid_token_is_refused_with_the_reason() {
    let service = start(&SETTINGS).await;
    let with = |name: &str, value: Value| {
        let mut claims = claims("ada");
        claims[name] = value;
        bearer(&claims)
    };
    let without = |name: &str| {
        let mut claims = claims("ada");
        claims.as_object_mut().unwrap().remove(name);
        bearer(&claims)
    };
    let good = bearer(&claims("ada"));
    let unsigned = |header: Value| format!("Bearer {}", token(&header, &claims("ada"), |_| Vec::new()));
    let (head, _) = good.rsplit_once('.').unwrap();
    let (no_user, unknown, incomplete) =
        ("it names no user", "its signature is not by a trusted key", "it lacks an audience, an issuer or an expiry");
    for (token, why) in [
        (with("exp", json!(now() - 3600)), "it has expired"),
        (with("nbf", json!(now() + 3600)), "it is not valid yet"),
        (with("aud", json!("another")), "it is for another service"),
        (with("aud", json!(["another", "one more"])), "it is for another service"),
        (without("exp"), incomplete),
        (without("aud"), incomplete),
        (without("sub"), no_user),
        (with("sub", json!("  ")), no_user),
        (with("sub", json!(7)), no_user),
        (with("sub", json!("a/../b")), no_user),
        (with("sub", json!("Zoe\u{301}")), "the name in it is not in Unicode normalization form C"),
        (with("sub", json!("ada\u{200B}")), "the name in it has a character that names may not have"),
        (with("sub", json!("ada\u{FFFF}")), "the name in it has a character that names may not have"),
        (format!("Bearer {}", shared("another secret of more than 32 bytes", &claims("ada"))), unknown),
        (format!("{head}.{}", "A".repeat(43)), unknown),
        (format!("{head}."), unknown),
        (unsigned(json!({ "alg": "HS256" })), unknown),
        (unsigned(json!({ "alg": "HS512" })), unknown),
        (unsigned(json!({ "alg": "RS256" })), unknown),
        (unsigned(json!({ "alg": "none" })), "it cannot be read"),
        (unsigned(json!({ "alg": "HS256", "crit": ["exp"] })), "it requires an unsupported extension"),
        ("Bearer nonsense".to_owned(), "it cannot be read"),
        ("Bearer ..".to_owned(), "it cannot be read"),
    ] {
        let message = refused(service.post(token.as_bytes(), POST).await).await;
        assert_eq!(message, format!("the token is not accepted: {why}"), "{token}");
    }
    // Without a token, the answer does not call the token invalid.
    for nothing in ["ada", "", "Bearer", "Basic YWRhOmFkYQ=="] {
        let answer = service.post(nothing.as_bytes(), POST).await;
        assert_eq!(answer.headers()["www-authenticate"], r#"Bearer realm="postagram""#, "{nothing}");
        assert_refused(answer, 401).await;
    }
    assert_eq!(service.rows().await, 0);
    // A few seconds of clock skew are tolerated.
    for (name, value) in [("exp", now() - 5), ("nbf", now() + 5)] {
        assert_eq!(
            service.post(with(name, json!(value)).as_bytes(), POST).await.status(),
            StatusCode::CREATED,
            "{name}"
        );
    }
    service.end().await;
}

#[tokio::test]
async fn names_in_tokens_are_compared_exactly() {
    let service = start(&SETTINGS).await;
    let names = ["ada", " ada", " ada ", "Ada"];
    let mut posts = Vec::new();
    for name in names {
        let post: Value = service.post(bearer(&claims(name)).as_bytes(), POST).await.json().await.unwrap();
        assert_eq!(post["user"], name);
        posts.push(uuid(&post));
    }
    for (name, post) in names.iter().zip(&posts) {
        let theirs = service.list(&format!("/posts?{}", url_query(&[("user", name)]))).await;
        assert_eq!(theirs.iter().map(uuid).collect::<Vec<_>>(), std::slice::from_ref(post), "{name:?}");
        for other in names.iter().filter(|other| *other != name) {
            let other = bearer(&claims(other));
            assert_refused(service.ask(Method::DELETE, &format!("/posts/{post}"), other.as_bytes()).await, 404).await;
        }
        let token = bearer(&claims(name));
        let upload = format!("/signedUrlPut?filename=a.jpg&filetype=image/jpeg&postId={post}");
        let upload: Value = service.ask(Method::GET, &upload, token.as_bytes()).await.json().await.unwrap();
        assert!(text(&upload["objectName"]).starts_with(&format!("{name}/{post}/")), "{upload}");
        assert_eq!(service.put(&text(&upload["uploadURL"]), "image/jpeg").await, StatusCode::OK);
        let gone = service.ask(Method::DELETE, &format!("/posts/{post}"), token.as_bytes()).await;
        assert_eq!(gone.status(), StatusCode::NO_CONTENT, "{name:?}");
    }
    assert_eq!((service.rows().await, service.objects().await.len()), (0, 0));
    service.end().await;
}

#[tokio::test]
async fn issuer_and_claim_are_configurable() {
    let more = [&SETTINGS[..], &[("JWT_ISSUER", "https://login.example/"), ("JWT_CLAIM", "email")]].concat();
    let service = start(&more).await;
    let mut claims = claims("7");
    claims["email"] = json!("ada@example.org");
    refused(service.post(bearer(&claims).as_bytes(), POST).await).await;
    claims["iss"] = json!("https://elsewhere.example/");
    assert!(refused(service.post(bearer(&claims).as_bytes(), POST).await).await.ends_with("its issuer is not trusted"));
    claims["iss"] = json!("https://login.example/");
    let post: Value = service.post(bearer(&claims).as_bytes(), POST).await.json().await.unwrap();
    assert_eq!(post["user"], "ada@example.org");
    service.end().await;
}

#[tokio::test]
async fn the_service_tells_the_page_how_users_log_in() {
    let more = [&SETTINGS[..], &[("JWT_LOGIN_URL", "https://login.example/here"), ("JWT_CLAIM", "email")]].concat();
    let mut service = start(&more).await;
    let config: Value = service.get("/config").await.json().await.unwrap();
    assert_eq!(config, json!({ "auth": "jwt", "claim": "email", "login": "https://login.example/here" }));
    let document: Value = service.get("/openapi.json").await.json().await.unwrap();
    let scheme = &document["components"]["securitySchemes"]["Author"];
    assert_eq!((&scheme["type"], &scheme["scheme"]), (&json!("http"), &json!("bearer")));

    service.base = service.otherwise(&[], Limits::default()).await;
    let config: Value = service.get("/config").await.json().await.unwrap();
    assert_eq!(config, json!({ "auth": "header" }));
    let document: Value = service.get("/openapi.json").await.json().await.unwrap();
    assert_eq!(document["components"]["securitySchemes"]["Author"]["type"], "apiKey");
    service.end().await;
}

/// Publishes keys, and counts the requests for them.
struct Issuer {
    url: String,
    keys: Arc<Mutex<Option<Value>>>,
    asked: Arc<AtomicUsize>,
}

impl Issuer {
    async fn new() -> Self {
        let (keys, asked) = (Arc::<Mutex<Option<Value>>>::default(), Arc::<AtomicUsize>::default());
        let (shown, count) = (keys.clone(), asked.clone());
        let app = poem::endpoint::make_sync(move |_| {
            count.fetch_add(1, Ordering::Relaxed);
            match &*shown.lock().unwrap() {
                Some(keys) => poem::web::Json(json!({ "keys": keys })).into_response(),
                None => poem::http::StatusCode::BAD_GATEWAY.into_response(),
            }
        });
        let url = format!("{}/keys", serve_app(app, Limits::default()).await);
        Self { url, keys, asked }
    }

    fn publishes(&self, keys: Value) {
        *self.keys.lock().unwrap() = Some(keys);
    }

    fn asked(&self) -> usize {
        self.asked.load(Ordering::Relaxed)
    }

    fn settings(&self) -> [(&str, &str); 3] {
        [("AUTH", "jwt"), ("JWT_JWKS_URL", &self.url), ("JWT_AUDIENCE", "postagram")]
    }
}

#[tokio::test]
async fn published_keys_are_cached_and_fetched_again_for_an_unknown_key() {
    let (issuer, old, new) = (Issuer::new().await, Key::rsa("old"), Key::curve("new"));
    issuer.publishes(json!([{ "kty": "from the future", "kid": "?" }, old.public()]));
    let service = start(&issuer.settings()).await;
    assert_eq!(issuer.asked(), 0, "reading needs no keys");
    for _ in 0..5 {
        let answer = service.post(old.bearer(&claims("ada")).as_bytes(), POST).await;
        assert_eq!(answer.status(), StatusCode::CREATED);
    }
    assert_eq!(issuer.asked(), 1);
    issuer.publishes(json!([new.public()]));
    for _ in 0..5 {
        let answer = service.post(new.bearer(&claims("ada")).as_bytes(), POST).await;
        assert_eq!(answer.status(), StatusCode::CREATED);
    }
    assert_eq!(issuer.asked(), 2);
    // The old key is withdrawn. Unknown key ids do not cause a request each.
    for _ in 0..20 {
        refused(service.post(old.bearer(&claims("ada")).as_bytes(), POST).await).await;
    }
    assert_eq!(issuer.asked(), 3);
    assert_eq!(service.post(new.bearer(&claims("ada")).as_bytes(), POST).await.status(), StatusCode::CREATED);
    service.end().await;
}

#[tokio::test]
async fn a_published_key_is_accepted_only_for_its_own_algorithm_and_use() {
    let (issuer, rsa, curve, other) = (Issuer::new().await, Key::rsa("rsa"), Key::curve("curve"), Key::curve("curve"));
    let secret =
        json!({ "kid": "secret", "kty": "oct", "alg": "HS256", "k": "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA" });
    let mut encrypts = curve.public();
    (encrypts["kid"], encrypts["use"]) = (json!("encrypts"), json!("enc"));
    issuer.publishes(json!([rsa.public(), curve.public(), secret, encrypts]));
    let service = start(&issuer.settings()).await;
    assert_eq!(service.post(rsa.bearer(&claims("ada")).as_bytes(), POST).await.status(), StatusCode::CREATED);
    assert_eq!(service.post(curve.bearer(&claims("ada")).as_bytes(), POST).await.status(), StatusCode::CREATED);
    // A token without a key id, for which exactly one key is suitable.
    let nameless = token(&json!({ "alg": "ES256" }), &claims("ada"), |text| curve.sign(text));
    assert_eq!(service.post(format!("Bearer {nameless}").as_bytes(), POST).await.status(), StatusCode::CREATED);

    let public = text(&rsa.public()["n"]);
    for (header, signed_as) in [
        // Signed with public or known data, as if it were a secret.
        (json!({ "alg": "HS256", "kid": "rsa" }), shared_signature(public.as_bytes())),
        (json!({ "alg": "HS256", "kid": "secret" }), shared_signature(&[0; 32])),
        (json!({ "alg": "HS256" }), shared_signature(&[0; 32])),
        (json!({ "alg": "ES256", "kid": "curve" }), curve_signature(other)),
        (json!({ "alg": "ES256", "kid": "rsa" }), curve_signature(Key::curve("curve"))),
        (json!({ "alg": "none", "kid": "rsa" }), Box::new(|_: &[u8]| Vec::new())),
    ] {
        let token = token(&header, &claims("ada"), signed_as);
        refused(service.post(format!("Bearer {token}").as_bytes(), POST).await).await;
    }
    let encrypts = token(&json!({ "alg": "ES256", "kid": "encrypts" }), &claims("ada"), |text| curve.sign(text));
    refused(service.post(format!("Bearer {encrypts}").as_bytes(), POST).await).await;
    service.end().await;
}

type Sign = Box<dyn FnOnce(&[u8]) -> Vec<u8>>;

fn shared_signature(secret: &[u8]) -> Sign {
    let key = aws_lc_rs::hmac::Key::new(aws_lc_rs::hmac::HMAC_SHA256, secret);
    Box::new(move |text| aws_lc_rs::hmac::sign(&key, text).as_ref().to_vec())
}

fn curve_signature(key: Key) -> Sign {
    Box::new(move |text| key.sign(text))
}

#[tokio::test]
async fn without_the_issuers_keys_every_token_gets_503_with_retry_after() {
    let (issuer, key) = (Issuer::new().await, Key::curve("key"));
    let service = start(&issuer.settings()).await;
    let bearer = key.bearer(&claims("ada"));
    let answer = service.post(bearer.as_bytes(), POST).await;
    assert!(answer.headers()["retry-after"].to_str().unwrap().parse::<u32>().unwrap() > 0);
    assert_eq!(assert_refused(answer, 503).await, "tokens cannot be checked now, please try again");
    assert_eq!(service.list("/posts").await.len(), 0);
    issuer.publishes(json!([key.public()]));
    assert_eq!(service.post(bearer.as_bytes(), POST).await.status(), StatusCode::CREATED);
    // Once fetched, the keys stay valid while the issuer is unreachable.
    *issuer.keys.lock().unwrap() = None;
    assert_eq!(service.post(bearer.as_bytes(), POST).await.status(), StatusCode::CREATED);
    service.end().await;
}
