//! Writing: posts, drafts, descriptions, deletions.

use serde_json::json;
use testkit::browser::Browser;
use testkit::landscape::LAKE;

use super::visit::{SEED, Seed, Visit, in_both_browsers};
use crate::support::front::Answer;

in_both_browsers!(a_user_writes_a_post_with_a_picture_and_deletes_it, writes_and_deletes);

async fn writes_and_deletes(browser: Browser) {
    let visit = Visit::with(browser, &[]).await;
    let page = &visit.page;
    visit.service.write(b"Ada", "Hers").await;
    visit.open_as("  Zoé ").await;
    assert_eq!(page.text("#who-name").await, "Zoé");

    // The preview appears before anything is sent, and can be removed.
    visit.compose().await;
    visit.focus_is("#post-title").await;
    page.keys("#post-title", "Mine").await;
    page.keys("#post-body", "Two\nlines").await;
    let noise = visit.noise();
    let preview = "document.querySelector('#post-preview-image').naturalWidth === 600";
    page.keys("#post-file", &noise.to_string_lossy()).await;
    visit.until("the preview", preview).await;
    // So can one that is about to be replaced: the other one is then not wanted either.
    let slow = "const real = window.createImageBitmap;
        window.createImageBitmap = async (...all) => {
            await new Promise((resolve) => (window.release = resolve));
            const picture = await real(...all);
            picture.close = () => (window.prepared = true);
            window.createImageBitmap = real;
            return picture;
        }";
    page.script(slow, json!([])).await;
    page.keys("#post-file", &noise.to_string_lossy()).await;
    visit.until("the other picture", "window.release").await;
    page.click("#post-preview-remove").await;
    visit.until("no preview", "document.querySelector('#post-preview').hidden").await;
    page.script("release()", json!([])).await;
    visit.until("its end", "window.prepared").await;
    assert_eq!(page.value("document.querySelector('#post-preview').hidden").await, true);
    page.keys("#post-file", &noise.to_string_lossy()).await;
    visit.until("the preview", preview).await;
    page.keys("#post-alt", "Grey noise").await;
    visit.is_sound_everywhere("a preview").await;
    page.click("#post-submit").await;
    visit.titles_are(&["Mine", "Hers"]).await;
    let mine = visit.post("Mine").await;
    assert_eq!(page.text(&format!("{mine} .author .name")).await, "Zoé");
    let fields = "document.querySelector('#post-title').value + document.querySelector('#post-body').value";
    assert_eq!(page.value(fields).await, "");
    visit.until("the upload's end", &format!("document.querySelector(\"{mine} .spinner\")")).await;
    visit.is_sound_everywhere("looking").await;

    // Labels appear without a reload, and the picture is then loaded from the bucket.
    visit.label("Zoé", &["Noise", "Grain"]).await;
    visit.until("labels", &format!("document.querySelectorAll(\"{mine} .labels li\").length === 2")).await;
    let loaded = format!("document.querySelector(\"{mine} .picture img[src^='http']\")?.naturalWidth === 600");
    visit.until("the picture", &loaded).await;
    visit.wait_for_notice("noise, grain").await;
    assert_eq!(page.value(&format!("document.querySelector(\"{mine} .picture img\").alt")).await, "Grey noise");
    let others = visit.post("Hers").await;
    let offers = format!("document.querySelectorAll(\"{others} :is(.delete, .describe, input)\").length");
    assert_eq!(page.value(&offers).await, 0, "the posts of others cannot be changed");

    // A deletion can be undone: until then nothing has happened.
    visit.hold_deletions().await;
    page.click(&format!("{mine} .delete")).await;
    visit.text_is(".gone p", "“Mine” was deleted.").await;
    visit.focus_is(".gone .undo").await;
    visit.titles_are(&["Hers"]).await;
    visit.is_sound_everywhere("deleted").await;
    assert_eq!((visit.service.rows().await, visit.service.objects().await.len()), (2, 1));
    page.click(".gone .undo").await;
    visit.titles_are(&["Mine", "Hers"]).await;
    visit.focus_is(&format!("{mine} .delete")).await;

    // Afterwards the picture is removed as well.
    page.click(&format!("{mine} .delete")).await;
    page.click(".gone .dismiss").await;
    visit.until("its end", "!document.querySelector('.gone')").await;
    visit.titles_are(&["Hers"]).await;
    assert_eq!((visit.service.rows().await, visit.service.objects().await.len()), (1, 0));
    visit.end().await;
}

in_both_browsers!(a_deletion_is_completed_when_the_user_leaves_the_page, leaves_after_deleting);

async fn leaves_after_deleting(browser: Browser) {
    let visit = Visit::with(browser, &[]).await;
    let page = &visit.page;
    for title in ["First", "Second"] {
        visit.service.write(b"Ada", title).await;
    }
    visit.open_as("Ada").await;
    page.click(&format!("{} .delete", visit.post("First").await)).await;
    // In another view the post is not shown, although it could still come back.
    visit.go("/@Ada").await;
    assert_eq!(page.value("document.querySelectorAll('a.tile').length").await, 1);
    page.open(&format!("{}/health", visit.front.url)).await;
    page.eventually("the deletion", async || (visit.service.rows().await == 1).then_some(())).await;
    visit.open().await;
    visit.titles_are(&["Second"]).await;
    page.click(&format!("{} .delete", visit.post("Second").await)).await;
    visit.log_out().await;
    page.eventually("the deletion", async || (visit.service.rows().await == 0).then_some(())).await;

    // A phone may end a hidden page without another event.
    visit.service.write(b"Ada", "Third").await;
    visit.open_as("Ada").await;
    visit.titles_are(&["Third"]).await;
    visit.hold_deletions().await;
    page.click("article.post .delete").await;
    let hide = "Object.defineProperty(document, 'visibilityState', { configurable: true, value: 'hidden' });
        document.dispatchEvent(new Event('visibilitychange'))";
    page.script(hide, json!([])).await;
    page.eventually("the deletion", async || (visit.service.rows().await == 0).then_some(())).await;
    visit.end().await;
}

in_both_browsers!(a_draft_survives_a_reload_and_not_a_logout, keeps_drafts);

async fn keeps_drafts(browser: Browser) {
    let visit = Visit::with(browser, &[]).await;
    let page = &visit.page;
    visit.open_as("Ada").await;
    visit.compose().await;
    page.keys("#post-title", "Not finished").await;
    page.keys("#post-body", "More later").await;
    page.keys("#post-file", &visit.picture("lake.jpg", &LAKE).to_string_lossy()).await;
    let preview = "document.querySelector('#post-preview-image').naturalWidth === 640";
    visit.until("the preview", preview).await;
    page.keys("#post-alt", "A lake").await;
    page.click("#compose-close").await;
    visit.open().await;
    visit.until("the picture", preview).await;
    visit.compose().await;
    let texts = "['title', 'body', 'alt'].map((it) => document.querySelector(`#post-${it}`).value)";
    assert_eq!(page.value(texts).await, json!(["Not finished", "More later", "A lake"]));
    page.click("#compose-close").await;

    visit.log_out().await;
    assert_eq!(page.value(texts).await, json!(["", "", ""]));
    assert_eq!(page.value("localStorage.length + sessionStorage.length").await, 0);
    visit.open_as("Ada").await;
    visit.compose().await;
    assert_eq!(page.value("document.querySelector('#post-preview').hidden").await, true);
    assert_eq!(page.value(texts).await, json!(["", "", ""]));
    visit.end().await;
}

in_both_browsers!(a_post_needs_a_title_or_a_picture, titles_are_optional_with_pictures);

async fn titles_are_optional_with_pictures(browser: Browser) {
    let visit = Visit::with(browser, &[]).await;
    let page = &visit.page;
    visit.open().await;
    // The form asks for the name first.
    page.click("#new").await;
    visit.until("the login", "document.querySelector('#login').open").await;
    visit.is_sound_everywhere("login").await;
    page.keys("#login-name", "Ada").await;
    page.click("#login-form [type=submit]").await;
    visit.until("the form", "document.querySelector('#compose').open").await;
    page.keys("#post-body", "Only words").await;
    page.click("#post-submit").await;
    visit.text_is("#post-title-problem", "A post needs a title or a picture.").await;
    visit.focus_is("#post-title[aria-invalid=true]").await;
    visit.is_sound_everywhere("a missing title").await;
    // The error stays until the field changes.
    page.keys("#post-title", "x").await;
    visit.text_is("#post-title-problem", "").await;
    page.keys("#post-title", "\u{e003}").await;

    page.keys("#post-file", &visit.picture("lake.jpg", &LAKE).to_string_lossy()).await;
    visit.until("the preview", "!document.querySelector('#post-preview').hidden").await;
    page.click("#post-submit").await;
    visit.titles_are(&["Post by Ada"]).await;
    visit.label("Ada", &["Lake"]).await;
    visit.until("labels", "document.querySelector('article.post .labels li')").await;
    assert_eq!(visit.service.list("/posts").await[0]["title"], "");
    visit.is_sound_everywhere("no title").await;
    visit.end().await;
}

in_both_browsers!(the_author_describes_a_picture, describes);

async fn describes(browser: Browser) {
    let visit = Visit::with(browser, &[]).await;
    let page = &visit.page;
    visit.store("lake.jpg", &LAKE).await;
    let picture = Some(("lake.jpg".to_owned(), &["Lake"][..]));
    visit.service.seed(&[Seed { title: "A lake", picture, ..SEED }]).await;
    visit.open_as("Ada").await;
    let post = visit.post("A lake").await;
    let alt = format!("document.querySelector(\"{post} .picture img\").alt");
    assert_eq!(page.value(&alt).await, "In the picture: lake");
    page.click(&format!("{post} .describe")).await;
    visit.until("the field", "document.activeElement.matches('.describing textarea')").await;
    visit.is_sound_everywhere("describing").await;
    visit.front.answer("PATCH /posts", Answer::Refuse(503));
    page.keys(".describing textarea", "Blue hills").await;
    page.click(".describing [type=submit]").await;
    visit.text_is(".describing .trouble", "The service is busy. Please try again in a moment.").await;
    visit.front.pass("PATCH /posts");
    // What is being written stays when the post changes meanwhile.
    let id = page.value(&format!("document.querySelector(\"{post}\").dataset.id")).await;
    visit.service.label("Ada", id.as_str().unwrap(), "lake.jpg", &["Lake", "Hill"]).await;
    visit.come_back().await;
    visit.until("the label", &format!("document.querySelectorAll(\"{post} .labels li\").length === 2")).await;
    assert_eq!(page.value("document.querySelector('.describing textarea').value").await, "Blue hills");
    assert!(visit.has_focus(".describing [type=submit]").await);
    page.click(".describing [type=submit]").await;
    visit.until("the description", &format!("{alt} === 'Blue hills'")).await;
    visit.focus_is(&format!("{post} .describe")).await;
    assert_eq!(visit.service.list("/posts").await[0]["alt"], "Blue hills");
    visit.end_having_seen(&[503]).await;
}
