//! Without the service, or without a network: what was loaded can still be read.

use serde_json::{Value, json};
use testkit::browser::Browser;
use testkit::landscape::LAKE;

use super::visit::{SEED, Seed, Visit, in_both_browsers};
use crate::support::BUCKET;
use crate::support::front::Answer;
use crate::support::line::Line;

in_both_browsers!(without_the_service_what_was_loaded_stays, keeps_what_was_loaded);

async fn keeps_what_was_loaded(browser: Browser) {
    let visit = Visit::with(browser, &[]).await;
    let page = &visit.page;
    for (name, title) in [("Bob", "Loaded"), ("Ada", "Hers")] {
        visit.service.write(name.as_bytes(), title).await;
    }
    visit.open().await;
    visit.titles_are(&["Hers", "Loaded"]).await;
    visit.front.answer("GET /posts", Answer::Refuse(503));
    // A view of which nothing was loaded is empty, and shows the reason.
    let busy = "The service is busy. Please try again in a moment.";
    visit.go("/@Eve").await;
    visit.text_is("#problem-text", busy).await;
    assert_eq!(page.value("document.querySelector('#posts .ghost')").await, Value::Null);
    // Others show the posts that the list has loaded, and do not claim that these are all.
    visit.go("/@Ada").await;
    let busy = format!("{busy} What was loaded is still here.");
    visit.text_is("#problem-text", &busy).await;
    assert_eq!(page.value("document.querySelectorAll('a.tile').length").await, 1);
    assert_eq!(page.text("#profile-count").await, "1+ posts");
    visit.is_sound_everywhere("an author whose posts were loaded in part").await;
    page.click("a.tile").await;
    visit.titles_are(&["Hers"]).await;
    visit.text_is("#problem:not([hidden]) #problem-text", &busy).await;
    page.script("history.go(-3)", json!([])).await;
    visit.titles_are(&["Hers", "Loaded"]).await;
    visit.text_is("#problem:not([hidden]) #problem-text", &busy).await;
    visit.is_sound_everywhere("not refreshed").await;
    page.click("#retry").await;
    visit.titles_are(&["Hers", "Loaded"]).await;

    // The next check that succeeds ends it, also for a part of a list: the rest of it appears.
    for title in ["Later", "Latest"] {
        visit.service.write(b"Ada", title).await;
    }
    visit.go("/@Ada").await;
    visit.text_is("#problem:not([hidden]) #problem-text", &busy).await;
    visit.front.pass("GET /posts");
    visit.come_back().await;
    visit.until("all posts", "document.querySelectorAll('a.tile').length === 3").await;
    assert_eq!(page.value("document.querySelector('#problem').hidden").await, true);
    visit.end_having_seen(&[503]).await;
}

in_both_browsers!(pictures_are_loaded_again_once_the_service_can_be_reached, loads_pictures_again);

async fn loads_pictures_again(browser: Browser) {
    let visit = Visit::with(browser, &[]).await;
    let page = &visit.page;
    let lake = visit.picture("lake.jpg", &LAKE);
    visit.service.seed(&[Seed { title: "A lake", picture: Some(("lake.jpg".to_owned(), &["Lake"])), ..SEED }]).await;
    // Neither the picture nor a list with another URL of it can be loaded.
    let list = visit.service.list("/posts?order=newest&limit=40").await;
    visit.front.answer("GET /posts", Answer::Refuse(503));
    visit.front.answer("GET /posts", Answer::SayOnce(json!(list)));
    visit.open().await;
    visit.text_is(".broken", "This picture cannot be shown.").await;
    visit.service.store("lake.jpg", &lake).await;
    page.script("document.querySelector('#posts').dataset.shown = 'before'", json!([])).await;
    visit.front.pass("GET /posts");
    visit.follow("/").await;
    visit.until("the picture", "document.querySelector('.picture.loaded img')?.naturalWidth === 640").await;
    assert_eq!(
        page.value("document.querySelector('#posts').dataset.shown").await,
        "before",
        "the page was not reloaded"
    );
    visit.end_having_seen(&[403, 404, 503]).await;
}

/// Installs the worker, which the page itself does only at addresses that are not of this machine; returns its state
/// afterwards.
async fn install(page: &Browser) -> Value {
    let install = "const done = arguments[arguments.length - 1];
        navigator.serviceWorker.register('/worker.js', { updateViaCache: 'none' }).then((registration) => {
            const worker = registration.installing ?? registration.waiting ?? registration.active;
            if (!worker) return done('redundant');
            const tell = () => ['activated', 'redundant'].includes(worker.state) && done(worker.state);
            worker.addEventListener('statechange', tell);
            tell();
        }, (error) => done(String(error)))";
    page.script_that_waits(install, json!([])).await
}

in_both_browsers!(a_reload_without_a_network_shows_what_was_read_last, reloads_without_a_network);

async fn reloads_without_a_network(browser: Browser) {
    let mut visit = Visit::with(browser, &[]).await;
    let line = Line::to(&visit.front.url).await;
    visit.front.url.clone_from(&line.url);
    visit.pictures_from(&line.url).await;
    let page = &visit.page;
    visit.store("lake.jpg", &LAKE).await;
    let picture = Some(("lake.jpg".to_owned(), &["Lake"][..]));
    visit
        .service
        .seed(&[
            Seed { title: "Words", minutes_ago: 2, ..SEED },
            Seed { title: "A lake", minutes_ago: 1, picture, ..SEED },
        ])
        .await;
    visit.open().await;
    assert_eq!(install(page).await, "activated");

    // From the next load on, answers and pictures are kept. The page still comes from the service.
    visit.front.seen();
    visit.open().await;
    let loaded = "document.querySelector('.picture.loaded img')?.naturalWidth === 640";
    visit.until("the picture", loaded).await;
    let seen = visit.front.seen();
    for file in ["GET /", "GET /app.css", "GET /app.js", "GET /words.js"] {
        let is_asked = seen.iter().any(|it| it.trim_end_matches(" if changed") == file);
        assert!(is_asked, "{file} is not among {seen:?}");
    }
    let kept = "const done = arguments[arguments.length - 1];
        const count = async (name) => (await (await caches.open(name)).keys()).length;
        Promise.all(['postagram-answers', 'postagram-pictures'].map(count)).then(done, (error) => done(String(error)))";
    let is_kept = async || (page.script_that_waits(kept, json!([])).await == json!([2, 1])).then_some(());
    page.eventually("the settings, the list and the picture", is_kept).await;

    visit.service.s3.delete_object().bucket(BUCKET).key("lake.jpg").send().await.unwrap();
    line.cut();
    page.open(&line.url).await;
    visit.titles_are(&["A lake", "Words"]).await;
    visit.until("the picture", loaded).await;
    let words = "The service cannot be reached. Are you online? What was loaded is still here.";
    visit.text_is("#problem:not([hidden]) #problem-text", words).await;
    visit.is_sound_everywhere("without a network").await;

    // Other views show what they have in common with the list, also when they are opened by their address.
    page.click("article.post .author").await;
    visit.until("the grid", "document.querySelectorAll('a.tile').length === 2").await;
    page.click("a.tile").await;
    visit.titles_are(&["A lake"]).await;
    visit.reload().await;
    visit.titles_are(&["A lake"]).await;
    visit.until("the picture", loaded).await;
    page.open(&format!("{}/@Eve", line.url)).await;
    visit.text_is("#problem-text", "The service cannot be reached. Are you online?").await;

    // What cannot be done says so where it was tried, and nothing is lost.
    page.open(&line.url).await;
    visit.titles_are(&["A lake", "Words"]).await;
    visit.compose_as("Ada").await;
    page.keys("#post-title", "For later").await;
    page.click("#post-submit").await;
    visit.text_is("#post-form-problem", "The service cannot be reached. Are you online?").await;
    page.complaints().await; // of requests without a network

    line.mend();
    page.click("#post-submit").await;
    visit.titles_are(&["For later", "A lake", "Words"]).await;
    visit.until("no problem", "document.querySelector('#problem').hidden").await;
    visit.end().await;
}

in_both_browsers!(a_page_is_kept_only_if_all_of_its_files_are_of_one_release, keeps_one_release);

async fn keeps_one_release(browser: Browser) {
    let visit = Visit::with(browser, &[]).await;
    let page = &visit.page;
    visit.open().await;
    let files = "const done = arguments[arguments.length - 1];
        caches.match('/app.js', { ignoreVary: true }).then((it) => done(it && it.headers.get('ETag')))";
    // During a roll-out, one of the files comes from another instance.
    visit.front.answer("GET /words.js", Answer::Say(json!("of another release")));
    assert_eq!(install(page).await, "redundant");
    visit.front.pass("GET /words.js");
    page.complaints().await; // of the installation
    assert_eq!(install(page).await, "activated");
    let tag = visit.service.get("/app.js").await.headers()["etag"].to_str().unwrap().to_owned();
    assert_eq!(page.script_that_waits(files, json!([])).await, tag);

    // The page of another release is not mixed with what is kept: while there is a network, it is the service's.
    visit.front.answer("GET /words.js", Answer::Refuse(503));
    page.open(&visit.front.url).await;
    let busy = "document.querySelector('#posts').getAttribute('aria-busy')";
    assert_eq!(page.value(busy).await, "true", "a page without its texts does not start");
    page.complaints().await; // of the missing file
    visit.front.pass("GET /words.js");
    visit.open().await;
    visit.end().await;
}
