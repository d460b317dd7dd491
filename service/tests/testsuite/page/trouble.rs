//! Trouble: errors stand where they belong, and what was written stays.

use aws_sdk_s3::primitives::ByteStream;
use reqwest::Method;
use serde_json::{Value, json};
use testkit::browser::Browser;
use testkit::landscape::LAKE;

use super::visit::{NONE, Visit, in_both_browsers};
use crate::support::front::{self, Answer};
use crate::support::tokens::{self, SETTINGS, claims, shared};
use crate::support::{BUCKET, uuid};

in_both_browsers!(errors_are_shown_in_the_language_of_the_page, explains_in_the_language_of_the_page);

async fn explains_in_the_language_of_the_page(browser: Browser) {
    let visit = Visit::with(browser, &[]).await;
    let page = &visit.page;
    visit.open_as("Ada").await;
    for (language, words) in [
        (
            "en",
            [
                (404, "This post is no longer there."),
                (413, "This is too long. Please shorten it."),
                (422, "The service cannot process this."),
                (429, "The service is busy. Please try again in a moment."),
                (500, "Something is wrong with the service. Please try again later."),
            ],
        ),
        (
            "fr",
            [
                (404, "Cette publication n’existe plus."),
                (413, "C’est trop long. Raccourcissez votre texte."),
                (422, "Le service ne peut pas traiter cette demande."),
                (429, "Le service est très sollicité. Réessayez dans un instant."),
                (500, "Le service rencontre un problème. Réessayez plus tard."),
            ],
        ),
    ] {
        visit.language(language).await;
        visit.open().await;
        visit.compose().await;
        page.keys("#post-title", "Kept").await;
        for (status, words) in words {
            visit.front.answer("POST /posts", Answer::Refuse(status));
            page.click("#post-submit").await;
            visit.text_is("#post-form-problem", words).await;
            visit.front.pass("POST /posts");
        }
        visit.focus_is("#post-submit").await;
    }
    visit.is_sound_everywhere("an error of the form in French").await;

    // The service's errors about a field, for values that the form would not allow.
    let longer = "const [field, length] = arguments;
        document.querySelector(field).value = 'x'.repeat(length)";
    page.script(longer, json!(["#post-title", 301])).await;
    page.click("#post-submit").await;
    let words = "Ce titre ne peut pas être publié. Il peut avoir jusqu’à 300 caractères.";
    visit.text_is("#post-title-problem", words).await;
    visit.focus_is("#post-title[aria-invalid=true]").await;
    page.script(longer, json!(["#post-title", 300])).await;
    page.script(longer, json!(["#post-body", 10_001])).await;
    page.click("#post-submit").await;
    let words = "Ce texte ne peut pas être publié. Il peut avoir jusqu’à 10 000 caractères.";
    visit.text_is("#post-body-problem", words).await;
    visit.focus_is("#post-body[aria-invalid=true]").await;
    page.click("#compose-close").await;

    // The login asks again for a name that the page rejects, as for one that the service rejects.
    visit.log_out().await;
    page.click("#enter").await;
    for name in ["..", "Zo\u{200B}é", "\u{202E}Zoé"] {
        let write = "const field = document.querySelector('#login-name');
            field.value = arguments[0];
            field.dispatchEvent(new Event('input'))";
        page.script(write, json!([name])).await;
        visit.text_is("#login-problem", "").await;
        page.click("#login-form [type=submit]").await;
        let words = "Ce nom ne peut pas être utilisé. Choisissez-en un autre : ce que vous avez écrit est encore là.";
        visit.text_is("#login-problem", words).await;
        assert_eq!(page.value("document.querySelector('#me').hidden").await, true, "{name:?}");
        visit.focus_is("#login-name").await;
    }
    visit.is_sound_everywhere("a refused name in French").await;
    visit.open_as("Zoé").await;
    visit.compose().await;
    page.keys("#post-title", "Gardé").await;
    visit.front.answer("POST /posts", Answer::Refuse(401));
    page.click("#post-submit").await;
    visit.until("the login", "document.querySelector('#login').open").await;
    let words = "Le service ne vous connaît pas. Reconnectez-vous : ce que vous avez écrit est encore là.";
    visit.text_is("#login-problem", words).await;
    visit.focus_is("#login-name").await;
    assert_eq!(page.value("document.querySelector('#post-title').value").await, "Gardé");
    visit.is_sound_everywhere("an unknown name in French").await;
    visit.front.pass("POST /posts");
    visit.log_in("Zoé").await;
    assert_eq!(page.value("document.querySelector('#compose').open").await, true, "the form is still there");
    visit.end_having_seen(&[401, 404, 413, 422, 429, 500]).await;
}

in_both_browsers!(a_post_deleted_elsewhere_disappears_from_the_page, misses_a_deleted_post);

async fn misses_a_deleted_post(browser: Browser) {
    let visit = Visit::with(browser, &[]).await;
    let page = &visit.page;
    let [removed, wanting] = ["Removed", "Wanting a picture"].map(|title| visit.service.write(b"Ada", title));
    let (removed, wanting) = (removed.await, wanting.await);
    visit.open_as("Ada").await;
    visit.titles_are(&["Wanting a picture", "Removed"]).await;
    for id in [&removed, &wanting] {
        assert!(visit.service.ask(Method::DELETE, &format!("/posts/{id}"), b"Ada").await.status().is_success());
    }
    page.click(&format!("article.post[data-id='{removed}'] .delete")).await;
    visit.front.answer("GET /posts", Answer::Wait);
    page.click(".gone .dismiss").await;
    visit.until("its end", "!document.querySelector('.gone')").await;
    visit.titles_are(&["Wanting a picture"]).await;

    // The page still shows the other post, which was deleted as well: no picture can be added to it.
    let file = format!("article.post[data-id='{wanting}'] input[type=file]");
    page.keys(&file, &visit.picture("lake.jpg", &LAKE).to_string_lossy()).await;
    let words = "The picture could not be sent. This post is no longer there.";
    visit.text_is(".text-of-state", words).await;
    visit.front.pass("GET /posts");
    visit.titles_are(&[]).await;
    assert_eq!(visit.service.objects().await, NONE);
    visit.end_having_seen(&[404]).await;
}

in_both_browsers!(failures_are_shown_where_they_happen_and_nothing_is_lost, fails_in_place);

async fn fails_in_place(browser: Browser) {
    let visit = Visit::with(browser, &[]).await;
    let page = &visit.page;
    visit.open_as("Ada").await;
    visit.be_patient().await;
    // A list that does not arrive.
    visit.service.write(b"Ada", "First").await;
    visit.front.answer("GET /posts", Answer::Refuse(503));
    visit.open().await;
    visit.text_is("#problem-text", "The service is busy. Please try again in a moment.").await;
    assert_eq!(page.value("document.querySelector('#posts .ghost')").await, Value::Null);
    visit.is_sound_everywhere("a problem").await;
    visit.front.pass("GET /posts");
    page.click("#retry").await;
    visit.titles_are(&["First"]).await;
    visit.focus_is("#posts").await;
    assert_eq!(page.value("document.querySelector('#problem').hidden").await, true);
    visit.be_patient().await;

    // A post that could not be sent is still in the form.
    visit.front.answer("POST /posts", Answer::Refuse(503));
    visit.compose().await;
    page.keys("#post-title", "Second").await;
    page.click("#post-submit").await;
    visit.text_is("#post-form-problem", "The service is busy. Please try again in a moment.").await;
    visit.is_sound_everywhere("an error of the form").await;
    assert_eq!(page.value("document.querySelector('#post-title').value").await, "Second");
    visit.focus_is("#post-submit").await;
    visit.front.pass("POST /posts");
    page.click("#post-submit").await;
    visit.titles_are(&["Second", "First"]).await;

    // A picture that could not be sent is kept and can be sent again.
    visit.front.answer("GET /signedUrlPut", Answer::Refuse(503));
    let second = visit.post("Second").await;
    page.script("document.querySelector(arguments[0]).focus()", json!([format!("{second} input[type=file]")])).await;
    page.keys(&format!("{second} input[type=file]"), &visit.picture("lake.jpg", &LAKE).to_string_lossy()).await;
    visit.until("the failure", &format!("document.querySelector(\"{second} .state .attach\")")).await;
    assert_eq!(
        page.text(&format!("{second} .text-of-state")).await,
        "The picture could not be sent. The service is busy. Please try again in a moment."
    );
    visit.focus_is(&format!("{second} .state button")).await;
    visit.is_sound_everywhere("a failure").await;
    let held = json!({ "uploadURL": format!("{}/held", visit.front.url), "objectName": "held" });
    visit.front.answer("GET /signedUrlPut", Answer::Say(held));
    visit.front.answer("PUT /held", Answer::Wait);
    page.click(&format!("{second} .state button")).await;
    visit.until("the progress", &format!("document.querySelector(\"{second} progress\")")).await;
    visit.front.pass("PUT /held");
    visit.until("another failure", &format!("document.querySelector(\"{second} .state .attach\")")).await;
    visit.front.pass("GET /signedUrlPut");
    page.click(&format!("{second} .state button")).await;
    visit.label("Ada", &["Lake"]).await;
    visit.until("labels", &format!("document.querySelector(\"{second} .labels li\")")).await;

    // After a failed deletion the post is back, with the reason.
    visit.front.answer("DELETE /posts", Answer::Refuse(503));
    let first = visit.post("First").await;
    page.click(&format!("{first} .delete")).await;
    page.click(".gone .dismiss").await;
    visit.text_is(&format!("{first} > .trouble"), "The service is busy. Please try again in a moment.").await;
    visit.titles_are(&["Second", "First"]).await;
    visit.is_sound_everywhere("a failed deletion").await;
    visit.front.pass("DELETE /posts");
    page.click(&format!("{first} .delete")).await;
    page.click(".gone .dismiss").await;
    visit.until("its end", "!document.querySelector('.gone')").await;
    visit.titles_are(&["Second"]).await;
    visit.end_having_seen(&[404, 503]).await;
}

in_both_browsers!(with_tokens_a_user_logs_in_with_a_token_and_keeps_the_draft_when_it_expires, logs_in_with_tokens);

async fn logs_in_with_tokens(browser: Browser) {
    let more = [&SETTINGS[..], &[("JWT_LOGIN_URL", "https://login.example/")]].concat();
    let visit = Visit::with(browser, &more).await;
    let page = &visit.page;
    visit.open().await;
    page.click("#enter").await;
    visit.until("the link", "!document.querySelector('#login-link').hidden").await;
    assert_eq!(page.value("document.querySelector('#login-link').href").await, "https://login.example/");
    visit.is_sound("asking for a token").await;
    page.keys("#login-name", "nonsense").await;
    page.click("#login-form [type=submit]").await;
    visit.text_is("#login-problem", "This token does not name a user.").await;
    visit.is_sound_everywhere("a token without a user").await;

    // A token that names the user, but is rejected by the service.
    let is_known =
        "!document.querySelector('#login').open && document.querySelector('#who-name').textContent === 'Zoé'";
    page.script("document.querySelector('#login-name').value = ''", json!([])).await;
    page.keys("#login-name", &shared("a secret that the service does not know", &claims("Zoé"))).await;
    page.click("#login-form [type=submit]").await;
    visit.until("the name", is_known).await;
    visit.compose().await;
    page.keys("#post-title", "Kept").await;
    page.click("#post-submit").await;
    visit.until("the login", "document.querySelector('#login').open").await;
    assert!(page.text("#login-problem").await.starts_with("Your token is no longer valid"));
    page.keys("#login-name", &shared(tokens::SECRET, &claims("Zoé"))).await;
    page.click("#login-form [type=submit]").await;
    visit.until("the name", is_known).await;
    assert_eq!(page.value("document.querySelector('#post-title').value").await, "Kept");
    page.click("#post-submit").await;
    visit.titles_are(&["Kept"]).await;
    assert_eq!(visit.service.list("/posts?user=Zo%C3%A9").await.len(), 1);

    // Uploads and deletions are also made as Zoé.
    let lake = visit.picture("lake.jpg", &LAKE);
    page.keys("#posts input[type=file]", &lake.to_string_lossy()).await;
    let object = page.eventually("the upload", async || visit.service.objects().await.into_iter().next()).await;
    assert!(object.starts_with("Zoé/"), "{object}");
    page.click("#posts .delete").await;
    page.click(".gone .dismiss").await;
    visit.until("its end", "!document.querySelector('.gone')").await;
    assert_eq!((visit.service.rows().await, visit.service.objects().await.len()), (0, 0));

    // The token is kept for this window, and nowhere else.
    visit.open().await;
    visit.until("the name", is_known).await;
    assert_eq!(page.value("localStorage.length").await, 0);
    visit.log_out().await;
    assert_eq!(page.value("sessionStorage.length").await, 0);
    visit.end_having_seen(&[401]).await;
}

in_both_browsers!(a_token_is_not_taken_for_a_name_before_it_is_known_how_users_log_in, keeps_no_token_as_a_name);

async fn keeps_no_token_as_a_name(browser: Browser) {
    let visit = Visit::with(browser, &SETTINGS).await;
    let page = &visit.page;
    visit.front.answer("GET /config", Answer::Wait);
    visit.open().await;
    page.click("#enter").await;
    page.keys("#login-name", "nonsense").await;
    page.click("#login-form [type=submit]").await;
    assert_eq!(page.value("localStorage.length").await, 0);
    visit.front.pass("GET /config");
    visit.text_is("#login-problem", "This token does not name a user.").await;
    assert_eq!(page.value("localStorage.length").await, 0);
    visit.end().await;
}

in_both_browsers!(the_reason_for_missing_labels_is_shown_and_another_picture_can_be_chosen, explains_missing_labels);

async fn explains_missing_labels(browser: Browser) {
    let visit = Visit::with(browser, &[]).await;
    let page = &visit.page;
    let id = visit.service.write(b"Ada", "Refused").await;
    let lake = visit.picture("lake.jpg", &LAKE);
    visit.service.store("lake.jpg", &lake).await;
    visit.service.label("Ada", &id, "lake.jpg", &[]).await;
    let mut post = visit.service.list("/posts").await.remove(0);
    assert_eq!(uuid(&post), id);
    for (reason, words) in [
        (Value::Null, "Nothing was recognised."),
        (json!("unsupported"), "Nothing was recognised: pictures need to be JPEG or PNG."),
        (json!("too_large"), "Nothing was recognised: the picture is too large."),
        (json!("empty"), "Nothing was recognised: the file is empty."),
        (json!("something new"), "Nothing was recognised: the picture could not be read."),
    ] {
        post["reason"] = reason;
        visit.front.answer("GET /posts", Answer::Say(json!([post])));
        match page.value("document.querySelector('#who-name')?.textContent").await == "Ada" {
            true => visit.open().await,
            false => visit.open_as("Ada").await,
        }
        visit.text_is(".nothing", words).await;
    }
    visit.is_sound_everywhere("nothing recognised").await;

    // A removed picture makes room for another.
    let mut removed = post.clone();
    for (field, value) in [("image", Value::Null), ("labels", Value::Null), ("label", Value::Null)] {
        removed[field] = value;
    }
    (removed["reason"], removed["removed"]) = (json!("too_large"), json!(format!("Ada/{id}/x.heic")));
    visit.front.answer("GET /posts", Answer::Say(json!([removed])));
    visit.open().await;
    visit.text_is("article.post .nothing", "Nothing was recognised: the picture is too large.").await;
    assert_eq!(page.value("document.querySelector('article.post .picture')").await, Value::Null);
    // The list may be there before it is known who the user is.
    visit.until("the place for a picture", "document.querySelector('article.post .drop input')").await;
    visit.is_sound_everywhere("a picture that was removed").await;
    visit.front.answer("GET /posts", Answer::Say(json!([post])));
    visit.open().await;
    visit.until("the picture", "document.querySelector('article.post .picture')").await;

    // The refused picture is not taken for the one that is awaited, even after the page is reloaded.
    visit.front.pass("GET /posts");
    let refused = visit.post("Refused").await;
    page.keys(&format!("{refused} input[type=file]"), &lake.to_string_lossy()).await;
    page.eventually("the upload", async || (visit.service.objects().await.len() == 2).then_some(())).await;
    let spinner = format!("document.querySelector(\"{refused} .spinner\")");
    visit.until("the spinner", &spinner).await;
    visit.open().await;
    visit.until("the spinner again", &spinner).await;
    let object = visit.service.objects().await.into_iter().find(|key| key != "lake.jpg").unwrap();
    visit.service.label("Ada", &id, &object, &["Lake"]).await;
    visit.until("labels", &format!("document.querySelector(\"{refused} .labels li\")")).await;

    // A picture that cannot be displayed has a message instead.
    visit.service.s3.put_object().bucket(BUCKET).key(&object).body(ByteStream::from_static(b"?")).send().await.unwrap();
    visit.service.label("Ada", &id, "lake.jpg.", &["Lake"]).await;
    visit
        .service
        .s3
        .put_object()
        .bucket(BUCKET)
        .key("lake.jpg.")
        .body(ByteStream::from_static(b"?"))
        .send()
        .await
        .unwrap();
    visit.open().await;
    visit.text_is(".broken", "This picture cannot be shown.").await;
    visit.is_sound_everywhere("a broken picture").await;
    visit.end().await;
}

in_both_browsers!(with_blocked_storage_the_page_works_and_forgets, forgets);

async fn forgets(browser: Browser) {
    let visit = Visit::with(browser, &[]).await;
    let page = &visit.page;
    visit.service.write(b"Ada", "First").await;
    page.block_storage().await;
    visit.open_as("Ada").await;
    visit.titles_are(&["First"]).await;
    visit.compose().await;
    page.keys("#post-title", "Second").await;
    page.keys("#post-file", &visit.picture("lake.jpg", &LAKE).to_string_lossy()).await;
    visit.until("the preview", "!document.querySelector('#post-preview').hidden").await;
    page.click("#post-submit").await;
    visit.titles_are(&["Second", "First"]).await;
    visit.label("Ada", &["Lake"]).await;
    visit.until("labels", "document.querySelector('.labels li')").await;
    visit.compose().await;
    page.keys("#post-title", "Not finished").await;
    page.click("#compose-close").await;

    // A reload is a new visit.
    visit.open().await;
    visit.titles_are(&["Second", "First"]).await;
    visit.until("the way in", "!document.querySelector('#enter').hidden").await;
    assert_eq!(page.value("document.querySelector('#post-title').value").await, "");
    visit.end().await;
}

in_both_browsers!(a_page_from_another_origin_can_use_the_service, serves_another_origin);

/// The course's own page is served from another origin, sends names in Latin-1, and has the service's address built in.
async fn serves_another_origin(browser: Browser) {
    let visit = Visit::with(browser, &[]).await;
    let elsewhere = front::elsewhere(include_str!("../support/elsewhere.html")).await;
    visit.pictures_from(&elsewhere).await;
    visit.page.open(&elsewhere).await;
    let script = "const [service, done] = arguments;
        use(service).then(done, (error) => done({ error: String(error) }))";
    let seen = visit.page.script_that_waits(script, json!([visit.front.url])).await;
    assert_eq!(seen["error"], Value::Null);

    assert_eq!((&seen["kept"]["status"], &seen["kept"]["data"]["user"]), (&json!(201), &json!("Zoé")));
    let [kept, removed] = ["list", "rest"].map(|part| &seen[part]["data"][0]["title"]);
    assert_eq!((kept, removed), (&json!("Kept"), &json!("Removed")), "`Next-Cursor` continues with the other post");
    assert_eq!((&seen["address"]["status"], &seen["put"]), (&json!(200), &json!(200)));
    assert_eq!(visit.service.objects().await, [seen["address"]["data"]["objectName"].as_str().unwrap()]);
    assert_eq!(seen["removed"]["status"].as_u64().map(|status| status / 100), Some(2));
    for (part, status, message) in
        [("missing", 404, "you have no post with this id"), ("unusable", 422, "body: it is missing")]
    {
        let body = json!({ "status_code": status, "message": message, "data": null });
        assert_eq!((&seen[part]["status"], &seen[part]["data"]), (&json!(status), &body));
    }
    let left = visit.service.list("/posts?user=Zo%C3%A9").await;
    assert_eq!(left.iter().map(|post| &post["title"]).collect::<Vec<_>>(), ["Kept"]);

    // It was indeed another origin: the browser sent a preflight before each kind of call.
    let requests = visit.front.seen();
    for call in ["OPTIONS /posts", "OPTIONS /posts?limit=1", "OPTIONS /signedUrlPut?"] {
        assert!(requests.iter().any(|it| it.starts_with(call)), "{call} is not among {requests:?}");
    }
    visit.end_having_seen(&[404, 422]).await;
}
