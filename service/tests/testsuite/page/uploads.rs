//! Uploads: pictures that are chosen, dropped and pasted, their way to the bucket, and the wait for their labels.

use std::path::Path;

use base64::Engine;
use serde_json::{Value, json};
use testkit::browser::Browser;
use testkit::landscape::{DUSK, LAKE};

use super::visit::{CONTROL, Visit, in_both_browsers};
use crate::support::BUCKET;
use crate::support::front::Answer;

in_both_browsers!(an_upload_shows_its_progress_and_can_be_cancelled, shows_progress);

async fn shows_progress(browser: Browser) {
    let visit = Visit::with(browser, &[]).await;
    let page = &visit.page;
    let noise = visit.noise();
    visit.service.write(b"Ada", "With words").await;
    visit.open_as("Ada").await;
    let held = json!({ "uploadURL": format!("{}/held", visit.front.url), "objectName": "held" });
    visit.front.answer("GET /signedUrlPut", Answer::Say(held));
    visit.front.answer("PUT /held", Answer::Wait);

    // While a part of the picture has arrived, the progress is shown. It only increases.
    let watch = "window.percents = [];
        new MutationObserver(() => {
            const bar = document.querySelector('#posts progress');
            if (bar && bar.value !== percents.at(-1)) percents.push(bar.value);
        }).observe(document.querySelector('#posts'), { subtree: true, childList: true, attributes: true, characterData: true })";
    page.script(watch, json!([])).await;
    let post = visit.post("With words").await;
    page.keys(&format!("{post} input[type=file]"), &visit.large_noise().to_string_lossy()).await;
    let bar = format!("document.querySelector(\"{post} progress\")");
    visit.until("a part", &format!("{bar} && {bar}.value > 0 && {bar}.value < 100")).await;
    let asks = "!dispatchEvent(new Event('beforeunload', { cancelable: true }))";
    assert_eq!(page.value(asks).await, true, "the browser asks before the page is left");
    visit.is_sound_everywhere("sending").await;
    visit.front.answer("PUT /hel", Answer::Say(Value::Null));
    visit.front.pass("PUT /held");
    visit.until("the upload's end", &format!("document.querySelector(\"{post} .spinner\")")).await;
    let percents = page.value("percents").await;
    let percents: Vec<u64> = percents.as_array().unwrap().iter().map(|it| it.as_u64().unwrap()).collect();
    assert!(percents.is_sorted() && percents.iter().any(|it| (1..100).contains(it)), "{percents:?}");
    visit.until("the page can be left", &format!("!({asks})")).await;
    visit.front.pass("PUT /hel");
    visit.front.answer("PUT /held", Answer::Wait);

    // A cancelled upload leaves the post as it was.
    visit.service.write(b"Ada", "Cancelled").await;
    visit.open().await;
    let post = visit.post("Cancelled").await;
    page.keys(&format!("{post} input[type=file]"), &noise.to_string_lossy()).await;
    visit.until("the progress", &format!("document.querySelector(\"{post} progress\")")).await;
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
    visit.front.seen();
    page.eventually("the end of the post", async || (visit.service.rows().await == 2).then_some(())).await;

    // The picture of a post that is deleted is sent no further.
    page.click("#compose-close").await;
    let watch = "window.ended = 0;
        const real = XMLHttpRequest.prototype.abort;
        XMLHttpRequest.prototype.abort = function (...all) {
            window.ended += 1;
            return real.apply(this, all);
        }";
    page.script(watch, json!([])).await;
    let post = visit.post("Cancelled").await;
    page.keys(&format!("{post} input[type=file]"), &noise.to_string_lossy()).await;
    let asked = async || visit.front.seen().contains(&"PUT /held".to_owned()).then_some(());
    page.eventually("the upload", asked).await;
    page.click(&format!("{post} .delete")).await;
    page.click(".gone .dismiss").await;
    visit.until("the upload's end", "ended === 1").await;
    visit.titles_are(&["With words"]).await;
    visit.end().await;
}

in_both_browsers!(pictures_can_be_chosen_dropped_and_pasted, takes_pictures);

async fn takes_pictures(browser: Browser) {
    let visit = Visit::with(browser, &[]).await;
    let page = &visit.page;
    let lake = visit.picture("lake é.jpg", &LAKE);
    for title in ["Chosen", "Dropped", "Pasted", "Twice"] {
        visit.service.write(b"Ada", title).await;
    }
    visit.open_as("Ada").await;
    visit.be_patient().await;
    let sending = |post: &str| format!("document.querySelector(\"{post} .picture img\")?.naturalWidth === 640");

    let chosen = visit.post("Chosen").await;
    page.keys(&format!("{chosen} input[type=file]"), &lake.to_string_lossy()).await;
    visit.until("the chosen picture", &sending(&chosen)).await;

    let dropped = visit.post("Dropped").await;
    drop_file(page, &dropped, &lake).await;
    visit.until("the dropped picture", &sending(&dropped)).await;

    // A pasted picture is added where the focus is.
    let pasted = visit.post("Pasted").await;
    page.click(&format!("{pasted} h2")).await;
    paste_picture(&visit).await;
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
    paste_picture(&visit).await;
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

in_both_browsers!(of_two_pictures_the_one_that_was_chosen_last_is_sent, sends_the_last_choice);

async fn sends_the_last_choice(browser: Browser) {
    let visit = Visit::with(browser, &[]).await;
    let page = &visit.page;
    visit.service.write(b"Ada", "Twice").await;
    visit.open_as("Ada").await;
    // The first picture is prepared only when the second one has been sent.
    let slow = "window.asked = [];
        const ask = window.fetch;
        window.fetch = (path, ...more) => {
            asked.push(path);
            return ask(path, ...more);
        };
        const real = window.createImageBitmap;
        window.createImageBitmap = async (...all) => {
            window.createImageBitmap = real;
            await new Promise((resolve) => (window.release = resolve));
            const picture = await real(...all);
            picture.close = () => (window.prepared = true);
            return picture;
        }";
    page.script(slow, json!([])).await;
    let input = format!("{} input[type=file]", visit.post("Twice").await);
    page.keys(&input, &visit.picture("lake.jpg", &LAKE).to_string_lossy()).await;
    visit.until("the first picture", "window.release").await;
    page.keys(&input, &visit.picture("dusk.jpg", &DUSK).to_string_lossy()).await;
    visit.until("the end of the second", "document.querySelector('article.post .spinner')").await;
    page.script("release()", json!([])).await;
    visit.until("the end of the first", "window.prepared").await;
    let sent = "asked.filter((path) => path.startsWith('/signedUrlPut')).length";
    assert_eq!(page.value(sent).await, 1);
    let objects = visit.service.objects().await;
    assert!(objects.len() == 1 && objects[0].ends_with("dusk.jpg"), "{objects:?}");
    visit.end().await;
}

in_both_browsers!(pictures_of_two_posts_are_awaited_by_the_same_checks, checks_for_both);

async fn checks_for_both(browser: Browser) {
    let visit = Visit::with(browser, &[]).await;
    let page = &visit.page;
    for title in ["First", "Second"] {
        visit.service.write(b"Ada", title).await;
    }
    visit.open_as("Ada").await;
    visit.be_patient().await;
    // How many checks have begun, and how many were scheduled at a time; checks for newer posts are not counted.
    let count = "window.begun = 0;
        window.scheduled = 0;
        window.most = 0;
        const real = window.setTimeout;
        window.setTimeout = (act, ms, ...more) => {
            if (ms < 1000 || ms === 30000) return real(act, ms, ...more);
            window.scheduled += 1;
            window.most = Math.max(window.most, window.scheduled);
            const check = () => {
                window.scheduled -= 1;
                window.begun += 1;
                act();
            };
            return real(check, ms, ...more);
        }";
    page.script(count, json!([])).await;
    // The check for the first picture is under way when the second one has been sent.
    visit.front.answer("GET /posts", Answer::Wait);
    let lake = visit.picture("lake.jpg", &LAKE);
    for (number, title) in [(1, "First"), (2, "Second")] {
        let post = visit.post(title).await;
        page.keys(&format!("{post} input[type=file]"), &lake.to_string_lossy()).await;
        visit.until("its check", &format!("window.begun === {number}")).await;
    }
    visit.front.pass("GET /posts");
    visit.until("the next check", "window.begun >= 3").await;
    assert_eq!(page.value("window.most").await, 1);
    visit.end().await;
}

/// Drags a file from outside the browser to the centre of what a selector names.
async fn drop_file(page: &Browser, selector: &str, file: &Path) {
    let place = "const it = document.querySelector(arguments[0]);
        it.scrollIntoView({ block: 'center' });
        const { x, y, width, height } = it.getBoundingClientRect();
        return [x + width / 2, y + height / 2]";
    let place = page.script(place, json!([selector])).await;
    if page.is_chromium() {
        for kind in ["dragEnter", "dragOver", "drop"] {
            let data = json!({ "items": [], "files": [file], "dragOperationsMask": 1 });
            let event = json!({ "type": kind, "x": place[0], "y": place[1], "data": data });
            page.devtools("Input.dispatchDragEvent", event).await;
        }
        return;
    }
    // Firefox's driver cannot drag files: the page gets the events of a drag. A browser opens a file that is dropped
    // where the page does not prevent it.
    let drag = format!(
        "const [[clientX, clientY], ...file] = arguments;
        const dataTransfer = new DataTransfer();
        dataTransfer.items.add({FILE});
        const at = document.elementFromPoint(clientX, clientY);
        const send = (kind) => at.dispatchEvent(
            new DragEvent(kind, {{ bubbles: true, cancelable: true, clientX, clientY, dataTransfer }}));
        send('dragenter');
        return [send('dragover'), send('drop')]"
    );
    let prevented = page.script(&drag, arguments_of(Some(place), file)).await;
    assert_eq!(prevented, json!([false, false]), "{selector}");
}

/// Pastes a picture of 640 by 400 pixels where the focus is.
async fn paste_picture(visit: &Visit) {
    let page = &visit.page;
    if page.is_chromium() {
        let permissions = ["clipboardReadWrite", "clipboardSanitizedWrite"];
        let origin = json!({ "origin": visit.front.url, "permissions": permissions });
        page.devtools("Browser.grantPermissions", origin).await;
        let copy = "const done = arguments[arguments.length - 1];
            const canvas = Object.assign(document.createElement('canvas'), { width: 640, height: 400 });
            canvas.getContext('2d').fillRect(0, 0, 64, 64);
            canvas.toBlob((blob) => navigator.clipboard.write([new ClipboardItem({ 'image/png': blob })])
                .then(() => done('copied'), (error) => done(String(error))));";
        assert_eq!(page.script_that_waits(copy, json!([])).await, "copied");
        page.press_with(CONTROL, 'v').await;
        return;
    }
    // The clipboard of a headless Firefox holds only text: the page gets the event of a paste.
    let file = visit.folder.path().join("pasted.png");
    image::RgbImage::new(640, 400).save(&file).unwrap();
    let paste = format!(
        "const file = [...arguments];
        const event = new ClipboardEvent('paste', {{ bubbles: true, cancelable: true }});
        event.clipboardData.items.add({FILE});
        return document.activeElement.dispatchEvent(event)"
    );
    assert_eq!(page.script(&paste, arguments_of(None, &file)).await, false);
}

/// In a script, the file of which `file` has the name, the type and the bytes.
const FILE: &str = "new File([Uint8Array.from(atob(file[2]), (it) => it.charCodeAt(0))], file[0], { type: file[1] })";

/// The arguments of a script that uses [`FILE`], with another one before them.
fn arguments_of(first: Option<Value>, file: &Path) -> Value {
    let name = file.file_name().unwrap().to_str().unwrap();
    let kind = if name.ends_with(".png") { "image/png" } else { "image/jpeg" };
    let bytes = base64::engine::general_purpose::STANDARD.encode(std::fs::read(file).unwrap());
    first.into_iter().chain([json!(name), json!(kind), json!(bytes)]).collect()
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
