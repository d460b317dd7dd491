//! Writing: posts, drafts, pictures on their way, descriptions, deletions.

use std::path::Path;

use serde_json::{Value, json};
use testkit::browser::Browser;
use testkit::landscape::{DUSK, LAKE};

use crate::front::Answer;
use crate::support::BUCKET;
use crate::visit::{CONTROL, SEED, Seed, Visit, in_both_browsers};

in_both_browsers!(a_user_writes_a_post_with_a_picture_and_deletes_it, writes_and_deletes);

async fn writes_and_deletes(browser: Browser) {
    let visit = Visit::with(browser, &[]).await;
    let page = &visit.page;
    visit.service.write(b"Ada", "Hers").await;
    visit.open_as("  Zoé ").await;
    assert_eq!(page.text("#who-name").await, "Zoé");

    // The preview appears before anything is sent, and can be removed.
    visit.compose().await;
    assert!(visit.has_focus("#post-title").await);
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
    assert!(visit.has_focus(".gone .undo").await);
    visit.titles_are(&["Hers"]).await;
    visit.is_sound_everywhere("deleted").await;
    assert_eq!((visit.service.rows().await, visit.service.objects().await.len()), (2, 1));
    page.click(".gone .undo").await;
    visit.titles_are(&["Mine", "Hers"]).await;
    assert!(visit.has_focus(&format!("{mine} .delete")).await);

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
    assert!(visit.has_focus("#post-title[aria-invalid=true]").await);
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
    let lake = visit.picture("lake.jpg", &LAKE);
    visit.service.store("lake.jpg", &lake).await;
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
    assert!(visit.has_focus(&format!("{post} .describe")).await);
    assert_eq!(visit.service.list("/posts").await[0]["alt"], "Blue hills");
    visit.end_having_seen(&[503]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upload_shows_its_progress_and_can_be_cancelled() {
    let visit = Visit::new().await;
    let page = &visit.page;
    let noise = visit.noise();
    visit.service.write(b"Ada", "With words").await;
    visit.open_as("Ada").await;

    // On a slow connection, the progress is shown and only increases.
    let slow = json!({ "offline": false, "latency": 0, "downloadThroughput": -1, "uploadThroughput": 600_000 });
    page.devtools("Network.enable", json!({})).await;
    page.devtools("Network.emulateNetworkConditions", slow).await;
    let watch = "window.percents = [];
        new MutationObserver(() => {
            const bar = document.querySelector('#posts progress');
            if (bar && bar.value !== percents.at(-1)) percents.push(bar.value);
        }).observe(document.querySelector('#posts'), { subtree: true, childList: true, attributes: true, characterData: true })";
    page.script(watch, json!([])).await;
    let post = visit.post("With words").await;
    page.keys(&format!("{post} input[type=file]"), &noise.to_string_lossy()).await;
    visit.until("the upload's end", &format!("document.querySelector(\"{post} .spinner\")")).await;
    let percents = page.value("percents").await;
    let percents: Vec<u64> = percents.as_array().unwrap().iter().map(|it| it.as_u64().unwrap()).collect();
    assert!(percents.is_sorted() && percents.iter().any(|it| (1..100).contains(it)), "{percents:?}");

    // A cancelled upload leaves the post as it was.
    visit.service.write(b"Ada", "Cancelled").await;
    visit.open().await;
    let held = json!({ "uploadURL": format!("{}/held", visit.front.url), "objectName": "held" });
    visit.front.answer("GET /signedUrlPut", Answer::Say(held));
    visit.front.answer("PUT /held", Answer::Wait);
    let post = visit.post("Cancelled").await;
    page.keys(&format!("{post} input[type=file]"), &noise.to_string_lossy()).await;
    visit.until("the progress", &format!("document.querySelector(\"{post} progress\")")).await;
    visit.is_sound_everywhere("sending").await;
    page.click(&format!("{post} .cancel")).await;
    visit.until("the place for a picture", &format!("document.querySelector(\"{post} .drop\")")).await;
    visit.wait_for_notice("was not sent").await;

    // One that was all of its post leads back to the form.
    visit.compose().await;
    page.keys("#post-file", &noise.to_string_lossy()).await;
    visit.until("the preview", "!document.querySelector('#post-preview').hidden").await;
    page.click("#post-submit").await;
    let post = visit.post("Post by Ada").await;
    visit.until("the progress", &format!("document.querySelector(\"{post} progress\")")).await;
    page.click(&format!("{post} .cancel")).await;
    visit.until("the form", "document.querySelector('#compose').open").await;
    visit.until("the preview", "!document.querySelector('#post-preview').hidden").await;
    visit.titles_are(&["Cancelled", "With words"]).await;
    page.eventually("the end of the post", async || (visit.service.rows().await == 2).then_some(())).await;
    visit.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn pictures_can_be_chosen_dropped_and_pasted() {
    let visit = Visit::new().await;
    let page = &visit.page;
    let lake = visit.picture("lake é.jpg", &LAKE);
    for title in ["Chosen", "Dropped", "Pasted", "Twice"] {
        visit.service.write(b"Ada", title).await;
    }
    visit.open_as("Ada").await;
    let sending = |post: &str| format!("document.querySelector(\"{post} .picture img\")?.naturalWidth === 640");

    let chosen = visit.post("Chosen").await;
    page.keys(&format!("{chosen} input[type=file]"), &lake.to_string_lossy()).await;
    visit.until("the chosen picture", &sending(&chosen)).await;

    let dropped = visit.post("Dropped").await;
    drop_file(page, &dropped, &lake).await;
    visit.until("the dropped picture", &sending(&dropped)).await;

    // A pasted picture is added where the focus is.
    let origin = json!({ "origin": visit.front.url, "permissions": ["clipboardReadWrite", "clipboardSanitizedWrite"] });
    page.devtools("Browser.grantPermissions", origin).await;
    let copy = "const done = arguments[arguments.length - 1];
        const canvas = Object.assign(document.createElement('canvas'), { width: 640, height: 400 });
        canvas.getContext('2d').fillRect(0, 0, 64, 64);
        canvas.toBlob((blob) => navigator.clipboard.write([new ClipboardItem({ 'image/png': blob })]).then(() => done('copied'), (error) => done(String(error))));";
    assert_eq!(page.script_that_waits(copy, json!([])).await, "copied");
    let pasted = visit.post("Pasted").await;
    page.click(&format!("{pasted} h2")).await;
    page.press_with(CONTROL, 'v').await;
    visit.until("the pasted picture", &sending(&pasted)).await;
    page.eventually("three uploads", async || (visit.service.objects().await.len() == 3).then_some(())).await;

    // Another picture may be added while the first is still being uploaded: the end of the first upload is not taken
    // for the other's.
    let twice = visit.post("Twice").await;
    visit.front.answer("GET /signedUrlPut?filename=lake", Answer::Wait);
    visit.front.answer("GET /signedUrlPut?filename=dusk", Answer::Wait);
    page.keys(&format!("{twice} input[type=file]"), &lake.to_string_lossy()).await;
    visit.until("the first picture", &format!("document.querySelector(\"{twice} progress\")")).await;
    drop_file(page, &twice, &visit.picture("dusk.jpg", &DUSK)).await;
    page.eventually("two questions", async || {
        let requested = visit.front.seen().into_iter().any(|it| it.starts_with("GET /signedUrlPut?filename=dusk"));
        requested.then_some(())
    })
    .await;
    visit.front.pass("GET /signedUrlPut?filename=lake");
    let sent = "performance.getEntriesByType('resource').filter((it) => it.initiatorType === 'xmlhttprequest').length";
    visit.until("the end of the first", &format!("{sent} === 4")).await;
    assert_ne!(page.value(&format!("document.querySelector(\"{twice} progress\")")).await, Value::Null);
    visit.front.pass("GET /signedUrlPut?filename=dusk");
    visit.until("the end of the other", &format!("document.querySelector(\"{twice} .spinner\")")).await;
    assert_eq!(visit.service.objects().await.len(), 5);

    // A picture pasted elsewhere begins a new post. The form accepts dropped pictures as well; a file that is not a
    // picture is refused, without leaving the page.
    page.script("document.activeElement.blur()", json!([])).await;
    page.press_with(CONTROL, 'v').await;
    let preview = "document.querySelector('#post-preview-image').naturalWidth === 640";
    visit.until("the preview", preview).await;
    page.click("#post-preview-remove").await;
    drop_file(page, "#compose", &lake).await;
    visit.until("the preview", preview).await;
    page.click("#post-preview-remove").await;
    let text = visit.folder.path().join("notes.jpg");
    std::fs::write(&text, "no picture").unwrap();
    drop_file(page, "#compose", &text).await;
    visit.text_is("#post-file-problem", "This is not a picture that can be shown.").await;
    assert_eq!(page.value("document.querySelector('#post-preview').hidden").await, true);
    visit.is_sound_everywhere("no picture").await;
    page.click("#compose-close").await;
    drop_file(page, ".brand", &lake).await;
    assert_eq!(visit.titles().await, json!(["Twice", "Pasted", "Dropped", "Chosen"]));
    visit.end().await;
}

/// Drags a file from outside the browser to the centre of what a selector names.
async fn drop_file(page: &Browser, selector: &str, file: &Path) {
    let place = "const it = document.querySelector(arguments[0]);
        it.scrollIntoView({ block: 'center' });
        const { x, y, width, height } = it.getBoundingClientRect();
        return [x + width / 2, y + height / 2]";
    let place = page.script(place, json!([selector])).await;
    for kind in ["dragEnter", "dragOver", "drop"] {
        let data = json!({ "items": [], "files": [file], "dragOperationsMask": 1 });
        let event = json!({ "type": kind, "x": place[0], "y": place[1], "data": data });
        page.devtools("Input.dispatchDragEvent", event).await;
    }
}

/// EXIF data with orientation 6: the top of the scene is at the right of the stored picture.
const TURNED: &[u8] = b"\xFF\xE1\0\x22Exif\0\0MM\0*\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0\x06\0\0\0\0\0\0";

in_both_browsers!(pictures_are_uploaded_without_metadata, strips_metadata);

async fn strips_metadata(browser: Browser) {
    const SECRET: &[u8] = b"48.8584 N, 2.2945 E";
    let visit = Visit::with(browser, &[]).await;
    // A rotated JPEG with a camera's comment and a film behind it, and a PNG with a comment.
    let lake = visit.picture("lake.jpg", &LAKE);
    let plain = std::fs::read(&lake).unwrap();
    let comment = [&[0xFF, 0xFE, 0, 2 + SECRET.len() as u8][..], SECRET].concat();
    let (begin, rest) = plain.split_at(2);
    std::fs::write(&lake, [begin, TURNED, &comment, rest, SECRET].concat()).unwrap();
    let noise = visit.noise();
    let pixels = std::fs::read(&noise).unwrap();
    // The checksum of a dropped segment is irrelevant.
    let chunk = [&[0, 0, 0, SECRET.len() as u8][..], b"tEXt", SECRET, &[0; 4]].concat();
    let (begin_of_png, rest_of_png) = pixels.split_at(33);
    std::fs::write(&noise, [begin_of_png, &chunk, rest_of_png].concat()).unwrap();
    visit.open_as("Ada").await;
    for (title, file, sent) in [("Lake", &lake, [begin, TURNED, rest].concat()), ("Noise", &noise, pixels.clone())] {
        let stored = publish_with(&visit, title, file).await;
        assert_eq!(stored.0, if title == "Lake" { "image/jpeg" } else { "image/png" });
        assert!(stored.1 == sent, "{title}: {} bytes instead of {}", stored.1.len(), sent.len());
    }
    visit.end().await;
}

in_both_browsers!(a_large_picture_is_made_smaller_and_stays_upright, resizes);

async fn resizes(browser: Browser) {
    let visit = Visit::with(browser, &[]).await;
    // Stored lying on its side: 3,200 by 1,600 pixels, red on the left. Upright, red is at the top.
    let picture =
        image::RgbImage::from_fn(3200, 1600, |x, _| image::Rgb(if x < 1600 { [200, 0, 0] } else { [0, 0, 200] }));
    let file = visit.folder.path().join("large.jpg");
    picture.save(&file).unwrap();
    let plain = std::fs::read(&file).unwrap();
    std::fs::write(&file, [&plain[..2], TURNED, &plain[2..]].concat()).unwrap();
    visit.open_as("Ada").await;
    let (kind, stored) = publish_with(&visit, "Large", &file).await;
    assert_eq!(kind, "image/jpeg");
    assert!(!stored.windows(4).any(|part| part == b"Exif"), "it has metadata");
    let stored = image::load_from_memory(&stored).unwrap().to_rgb8();
    assert_eq!(stored.dimensions(), (1280, 2560));
    assert!(stored.get_pixel(640, 100)[0] > 150 && stored.get_pixel(640, 2460)[2] > 150, "it is not upright");
    visit.end().await;
}

/// Publishes a post with a picture; returns the type and the bytes of the object.
async fn publish_with(visit: &Visit, title: &str, file: &Path) -> (String, Vec<u8>) {
    let page = &visit.page;
    visit.compose().await;
    page.keys("#post-title", title).await;
    page.keys("#post-file", &file.to_string_lossy()).await;
    visit.until("the preview", "!document.querySelector('#post-preview').hidden").await;
    page.click("#post-submit").await;
    let name = file.file_name().unwrap().to_str().unwrap();
    let object = page
        .eventually("the upload", async || visit.service.objects().await.into_iter().find(|key| key.ends_with(name)));
    let object = visit.service.s3.get_object().bucket(BUCKET).key(object.await).send().await.unwrap();
    let kind = object.content_type().unwrap_or_default().to_owned();
    (kind, object.body.collect().await.unwrap().into_bytes().into())
}

in_both_browsers!(polling_for_missing_labels_backs_off_and_ends, backs_off);

async fn backs_off(browser: Browser) {
    let visit = Visit::with(browser, &[]).await;
    let page = &visit.page;
    visit.service.write(b"Ada", "Waiting").await;
    visit.language("fr").await;
    visit.open_as("Ada").await;
    let post = visit.post("Waiting").await;
    // Timers run a hundred times faster from now on, and their durations are recorded.
    let hurry = "window.waits = [];
        const real = window.setTimeout;
        window.setTimeout = (act, ms, ...more) => {
            if (ms >= 1000) window.waits.push(ms);
            return real(act, ms / 100, ...more);
        };";
    page.script(hurry, json!([])).await;
    visit.front.seen();
    let panorama = visit.folder.path().join("panorama.png");
    image::RgbImage::new(640, 80).save(&panorama).unwrap();
    page.keys(&format!("{post} input[type=file]"), &panorama.to_string_lossy()).await;
    visit.until("patience to end", &format!("document.querySelector(\"{post} .state button:not(.cancel)\")")).await;
    let waits = page.value("window.waits.filter((ms) => ms !== 30000)").await; // checks for newer posts
    let waits: Vec<u64> = waits.as_array().unwrap().iter().map(|it| it.as_u64().unwrap()).collect();
    assert!(waits.is_sorted() && waits.len() > 5, "{waits:?}");
    let sum: u64 = waits.iter().sum();
    assert!((60_000..=300_000).contains(&sum), "polled for {sum} ms");
    // Checks for newer posts are conditional and not counted.
    let is_look = |it: &String| it.starts_with("GET /posts?limit") && !it.ends_with(" if changed");
    let looks = visit.front.seen().iter().filter(|it| is_look(it)).count();
    assert_eq!(looks, waits.len());

    // No more polling, however long one waits: in this window twenty minutes take twelve seconds, of which one passes.
    page.script_that_waits("window.setTimeout(arguments[0], 100000)", json!([])).await;
    assert_eq!(visit.front.seen().iter().filter(|it| is_look(it)).count(), 0);
    visit.is_sound_everywhere("late in French").await;
    visit.size(320, 640).await;
    let top = |part: &str| format!("document.querySelector(\"{post} {part}\").getBoundingClientRect().top");
    let room = format!("{} - {}", top(".state"), top(".picture"));
    assert!(page.value(&room).await.as_f64() >= Some(0.0), "the message on a low picture is not cut off");

    // The button starts the polling again, which finds the labels.
    page.click(&format!("{post} .state button")).await;
    visit.label("Ada", &["Lake"]).await;
    visit.until("labels", &format!("document.querySelector(\"{post} .labels li\")")).await;
    visit.end().await;
}

in_both_browsers!(labels_are_polled_for_after_a_reload, polls_after_a_reload);

async fn polls_after_a_reload(browser: Browser) {
    let visit = Visit::with(browser, &[]).await;
    let page = &visit.page;
    let lake = visit.picture("lake.jpg", &LAKE);
    visit.service.write(b"Ada", "Looked for").await;
    visit.open_as("Ada").await;
    let post = visit.post("Looked for").await;
    let spinner = format!("document.querySelector(\"{post} .spinner\")");
    page.keys(&format!("{post} input[type=file]"), &lake.to_string_lossy()).await;
    visit.until("the upload's end", &spinner).await;
    visit.open().await;
    visit.until("the spinner again", &spinner).await;
    assert_eq!(page.value(&format!("document.querySelector(\"{post} .drop\")")).await, Value::Null);
    visit.is_sound_everywhere("looking without a preview").await;
    visit.label("Ada", &["Lake"]).await;
    visit.until("labels", &format!("document.querySelector(\"{post} .labels li\")")).await;
    visit.wait_for_notice("In the picture: lake").await;
    assert_eq!(page.value("sessionStorage.length").await, 0);

    // Labels of an upload from an hour ago are no longer awaited: another picture can be added, and logging out leaves
    // nothing.
    visit.service.write(b"Ada", "Long ago").await;
    visit.open().await;
    let post = visit.post("Long ago").await;
    let spinner = format!("document.querySelector(\"{post} .spinner\")");
    page.keys(&format!("{post} input[type=file]"), &lake.to_string_lossy()).await;
    visit.until("the upload's end", &spinner).await;
    let age = "const sent = JSON.parse(sessionStorage.getItem('postagram.sent'));
        for (const picture of Object.values(sent)) picture.at -= 3_600_000;
        sessionStorage.setItem('postagram.sent', JSON.stringify(sent))";
    page.script(age, json!([])).await;
    visit.open().await;
    visit.until("the place for a picture", &format!("document.querySelector(\"{post} .drop\")")).await;
    assert_eq!(page.value("sessionStorage.length").await, 0);
    page.keys(&format!("{post} input[type=file]"), &lake.to_string_lossy()).await;
    visit.until("the upload's end", &spinner).await;
    visit.log_out().await;
    assert_eq!(page.value("sessionStorage.length").await, 0);
    visit.end().await;
}
