//! The page in real browsers, with the service and a local AWS of each test's own: what people do, and what can go
//! wrong for them.

#[path = "support/front.rs"]
mod front;
mod support;
#[path = "support/tokens.rs"]
mod tokens;

use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use aws_sdk_dynamodb::types::{AttributeValue, PutRequest, WriteRequest};
use aws_sdk_s3::primitives::ByteStream;
use aws_sdk_s3::types::{CorsConfiguration, CorsRule};
use front::{Answer, Front};
use reqwest::Method;
use serde_json::{Value, json};
use service::Limits;
use support::{BUCKET, TABLE, TestService, uuid};
use testkit::browser::Browser;
use testkit::landscape::{Colours, DUSK, LAKE, MEADOW, landscape};
use tokens::{SETTINGS, claims, shared};

const NONE: &[String] = &[];
const TAB: char = '\u{e004}';
const SHIFT: char = '\u{e008}';
const CONTROL: char = '\u{e009}';
const ENTER: char = '\u{e007}';
const ESCAPE: char = '\u{e00c}';

/// The page's two colour schemes and its languages.
const SCHEMES: [&str; 2] = ["light", "dark"];
const LANGUAGES: [&str; 2] = ["en", "fr"];

/// A service with its page, a proxy in front of it, a browser, and pictures on disk.
struct Visit {
    service: TestService,
    front: Front,
    page: Browser,
    folder: tempfile::TempDir,
}

impl Visit {
    async fn new() -> Visit {
        Visit::with(Browser::chromium().await, &[]).await
    }

    /// Starts a visit in this browser, to a service with these settings.
    async fn with(page: Browser, settings: &[(&str, &str)]) -> Visit {
        let mut service = TestService::start().await;
        service.base = service.otherwise(settings, Limits::default()).await;
        let front = Front::of(&service.base).await;
        let visit = Visit { service, front, page, folder: tempfile::tempdir().unwrap() };
        visit.pictures_from(&visit.front.url).await;
        visit
    }

    /// Allows only pages of this origin to send pictures to the bucket.
    async fn pictures_from(&self, origin: &str) {
        let rule = CorsRule::builder().allowed_origins(origin).allowed_headers("content-type");
        let rule = rule.allowed_methods("PUT").allowed_methods("GET").build().unwrap();
        let cors = CorsConfiguration::builder().cors_rules(rule).build().unwrap();
        self.service.s3.put_bucket_cors().bucket(BUCKET).cors_configuration(cors).send().await.unwrap();
    }

    /// Opens the page as the user that logged in last.
    async fn open(&self) {
        self.page.open(&self.front.url).await;
        self.until("the list", "document.querySelector('#posts[aria-busy=false]')").await;
    }

    async fn open_as(&self, name: &str) {
        self.open().await;
        self.page.keys("#login-name", name).await;
        self.page.click("#login-form [type=submit]").await;
        self.until("the form", "document.querySelector('#compose:not([hidden])')").await;
        self.until("the list", "document.querySelector('#posts[aria-busy=false]')").await;
    }

    async fn until(&self, what: &str, expression: &str) {
        self.page.until(what, expression).await;
    }

    async fn titles(&self) -> Value {
        self.page.value("[...document.querySelectorAll('#posts article.post h3')].map((it) => it.textContent)").await
    }

    async fn titles_are(&self, wanted: &[&str]) {
        let wanted = json!(wanted);
        let what = format!("the posts {wanted}");
        self.page.eventually(&what, async || (self.titles().await == wanted).then_some(())).await;
    }

    /// Waits until the notice at the bottom of the page contains this text.
    async fn wait_for_notice(&self, text: &str) {
        let said = format!("document.querySelector('#notice').textContent.includes({})", json!(text));
        self.until(&format!("the page to say {text:?}"), &said).await;
    }

    /// The selector of the post with this title.
    async fn post(&self, title: &str) -> String {
        let find = "return [...document.querySelectorAll('article.post')]
            .find((it) => it.querySelector('h3').textContent === arguments[0])?.dataset.id";
        let id = self.page.eventually("the post", async || {
            let id = self.page.script(find, json!([title])).await;
            id.as_str().map(str::to_owned)
        });
        format!("article.post[data-id='{}']", id.await)
    }

    /// Writes a picture to disk.
    fn picture(&self, name: &str, colours: &Colours) -> PathBuf {
        let file = self.folder.path().join(name);
        landscape(&file, colours);
        file
    }

    /// Writes a picture of 900 KB, which is incompressible.
    fn noise(&self) -> PathBuf {
        let mut last = 1_u32;
        let picture = image::RgbImage::from_fn(600, 500, |_, _| {
            image::Rgb([0; 3].map(|_| {
                last = last.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                (last >> 24) as u8
            }))
        });
        let file = self.folder.path().join("noise.png");
        picture.save(&file).unwrap();
        file
    }

    /// Does what the labeler does, once the upload of this user's only picture has arrived.
    async fn label(&self, user: &str, labels: &[&str]) {
        let object = self.page.eventually("the upload", async || self.service.objects().await.into_iter().next()).await;
        let post = object.split('/').nth(1).unwrap().to_owned();
        self.service.label(user, &post, &object, labels).await;
    }

    /// Asserts that nothing is wider than the window, and that axe finds no accessibility problems.
    async fn is_sound(&self, state: &str) {
        let wider = self.page.value("document.documentElement.scrollWidth - innerWidth").await;
        assert!(wider.as_i64() <= Some(0), "{state}: the page is {wider} pixels wider than its window");
        let script = "const done = arguments[arguments.length - 1];
            window.axe.run(document, { resultTypes: ['violations'] }).then(({ violations }) => done(violations
                .flatMap(({ id, nodes }) => nodes.map((node) => `${id}: ${node.html}: ${node.failureSummary}`))),
                (error) => done([String(error)]))";
        self.page.until("a quiet page", "!document.getAnimations().some((it) => it.playState === 'running' && isFinite(it.effect.getComputedTiming().endTime))").await;
        let faults = self.page.script_that_waits(&format!("{};\n{script}", axe()), json!([])).await;
        assert_eq!(faults, json!([]), "{state}");
    }

    /// Asserts that the page is sound in a wide window and, in dark mode, in the narrowest one; saves a screenshot of
    /// both.
    async fn is_sound_everywhere(&self, state: &str) {
        for (scheme, width) in [("light", 1200), ("dark", 320)] {
            self.size(width, 640).await;
            self.scheme(scheme).await;
            self.is_sound(&format!("{state}, {scheme}, {width} pixels")).await;
            self.page.screenshot(&format!("state-{}-{width}.png", state.replace(' ', "-"))).await;
        }
        self.page.devtools("Emulation.clearDeviceMetricsOverride", json!({})).await;
        self.scheme("light").await;
    }

    /// Disables the page's timeouts, so that it waits for answers as long as the test does.
    async fn be_patient(&self) {
        self.page.script("AbortSignal.timeout = () => new AbortController().signal", json!([])).await;
    }

    /// Cancels all timers, so that the notice at the bottom of the page stays.
    async fn stop_the_clock(&self) {
        self.page.script("for (let id = setTimeout(() => {}); id; id -= 1) clearTimeout(id)", json!([])).await;
    }

    /// Sets the size of the viewport. The real window is never as narrow as a phone.
    async fn size(&self, width: u32, height: u32) {
        let size = json!({ "width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 600 });
        self.page.devtools("Emulation.setDeviceMetricsOverride", size).await;
    }

    async fn scheme(&self, scheme: &str) {
        let scheme = json!({ "features": [{ "name": "prefers-color-scheme", "value": scheme }] });
        self.page.devtools("Emulation.setEmulatedMedia", scheme).await;
    }

    async fn language(&self, language: &str) {
        let agent = self.page.value("navigator.userAgent").await;
        let language = json!({ "userAgent": agent, "acceptLanguage": language });
        self.page.devtools("Emulation.setUserAgentOverride", language).await;
    }

    /// Moves the focus with Tab, or back with Shift+Tab, to what a selector names.
    async fn tab_to(&self, selector: &str, back: bool) {
        for _ in 0..60 {
            if back {
                self.page.press_with(SHIFT, TAB).await;
            } else {
                self.page.press(&TAB.to_string()).await;
            }
            if self.has_focus(selector).await {
                return;
            }
        }
        panic!("Tab does not reach {selector}");
    }

    async fn has_focus(&self, selector: &str) -> bool {
        self.page.script("return document.activeElement.matches(arguments[0])", json!([selector])).await == true
    }

    async fn end(self) {
        assert_eq!(self.page.complaints().await, NONE);
        drop(self.page);
        self.service.end().await;
    }

    /// Ends the visit. The console may contain error responses with these statuses, and no other errors.
    async fn end_having_seen(self, statuses: &[u16]) {
        let mut complaints = self.page.complaints().await;
        complaints.retain(|it| !statuses.iter().any(|status| it.contains(&format!("status of {status}"))));
        assert_eq!(complaints, NONE);
        drop(self.page);
        self.service.end().await;
    }
}

/// The source of axe-core, which finds accessibility problems.
fn axe() -> String {
    let environment = testkit::programs::tool("lib");
    let python = std::fs::read_dir(&environment).into_iter().flatten().flatten();
    let script =
        python.map(|it| it.path().join("site-packages/axe_playwright_python/axe.min.js")).find(|it| it.is_file());
    let script =
        script.unwrap_or_else(|| panic!("axe-core is not below {}: .ci/setup installs it", environment.display()));
    std::fs::read_to_string(script).unwrap()
}

/// A post that exists before the page is opened.
struct Seed<'a> {
    user: &'a str,
    title: &'a str,
    body: &'a str,
    minutes_ago: u64,
    /// The object's name and the labels.
    picture: Option<(String, &'a [&'a str])>,
}

const SEED: Seed<'_> = Seed { user: "Ada", title: "", body: "", minutes_ago: 0, picture: None };

impl TestService {
    async fn seed(&self, posts: &[Seed<'_>]) {
        for (part, posts) in posts.chunks(25).enumerate() {
            let rows = posts.iter().enumerate().map(|(place, post)| row(post, 25 * part + place)).collect();
            self.dynamo.batch_write_item().request_items(TABLE, rows).send().await.unwrap();
        }
    }

    async fn store(&self, key: &str, file: &Path) {
        let body = ByteStream::from(std::fs::read(file).unwrap());
        self.s3.put_object().bucket(BUCKET).key(key).content_type("image/jpeg").body(body).send().await.unwrap();
    }
}

fn row(post: &Seed<'_>, number: usize) -> WriteRequest {
    let text = |text: &str| AttributeValue::S(text.to_owned());
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap();
    let ms = (now - Duration::from_secs(60 * post.minutes_ago)).as_millis();
    let id = format!("POST#{:08x}-{:04x}-7000-8000-{number:012x}", ms >> 16, ms & 0xffff);
    let mut put = PutRequest::builder()
        .item("user", text(&format!("USER#{}", post.user)))
        .item("id", text(&id))
        .item("title", text(post.title))
        .item("body", text(post.body));
    if let Some((key, labels)) = &post.picture {
        let labels = labels.iter().map(|label| text(label)).collect();
        put = put.item("image", text(key)).item("labels", AttributeValue::L(labels));
    }
    WriteRequest::builder().put_request(put.build().unwrap()).build()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_user_writes_a_post_with_a_picture_sees_its_labels_and_deletes_it() {
    let visit = Visit::new().await;
    let page = &visit.page;
    visit.service.write(b"Ada", "Hers").await;
    visit.open_as("  Zoé ").await;
    assert_eq!(page.text("#who-name").await, "Zoé");
    assert!(visit.has_focus("#post-title").await);

    // The preview appears before anything is sent, and can be removed.
    page.keys("#post-title", "Mine").await;
    page.keys("#post-body", "Two\nlines").await;
    let noise = visit.noise();
    page.keys("#post-file", &noise.to_string_lossy()).await;
    visit.until("the preview", "document.querySelector('#post-preview-image').naturalWidth === 600").await;
    page.click("#post-preview-remove").await;
    visit.until("no preview", "document.querySelector('#post-preview').hidden").await;
    page.keys("#post-file", &noise.to_string_lossy()).await;
    visit.until("the preview", "document.querySelector('#post-preview-image').naturalWidth === 600").await;

    visit.is_sound_everywhere("a preview").await;

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
    page.click("#post-submit").await;
    visit.titles_are(&["Mine", "Hers"]).await;
    let mine = visit.post("Mine").await;
    assert_eq!(page.text(&format!("{mine} .author")).await, "Zoé");
    assert_eq!(
        page.value("document.querySelector('#post-title').value + document.querySelector('#post-body').value").await,
        ""
    );
    visit.until("the upload's end", &format!("document.querySelector(\"{mine} .spinner\")")).await;
    visit.is_sound_everywhere("looking").await;
    let percents = page.value("percents").await;
    let percents: Vec<u64> = percents.as_array().unwrap().iter().map(|it| it.as_u64().unwrap()).collect();
    assert!(percents.is_sorted() && percents.iter().any(|it| (1..100).contains(it)), "{percents:?}");

    // Labels appear without a reload, and the picture is then loaded from the bucket.
    visit.label("Zoé", &["Noise", "Grain"]).await;
    visit.until("labels", &format!("document.querySelectorAll(\"{mine} .labels li\").length === 2")).await;
    let loaded = format!("document.querySelector(\"{mine} .picture img[src^='http']\")?.naturalWidth === 600");
    visit.until("the picture", &loaded).await;
    visit.wait_for_notice("Noise, Grain").await;

    // The filters for all posts and one's own, like the name, survive a reload.
    page.click("#show-mine").await;
    visit.titles_are(&["Mine"]).await;
    page.click("#show-all").await;
    visit.titles_are(&["Mine", "Hers"]).await;
    visit.open().await;
    assert_eq!(page.text("#who-name").await, "Zoé");
    let others = visit.post("Hers").await;
    let offers = format!("document.querySelectorAll(\"{others} button, {others} input\").length");
    assert_eq!(page.value(&offers).await, 0, "the posts of others cannot be changed");

    // Deletion needs a confirmation, and removes the picture as well.
    page.click(&format!("{mine} button.delete")).await;
    assert_eq!(page.text("#confirm-title").await, "Mine");
    page.click("#cancel-delete").await;
    visit.titles_are(&["Mine", "Hers"]).await;
    page.click(&format!("{mine} button.delete")).await;
    for kind in ["mousePressed", "mouseReleased"] {
        let beside = json!({ "type": kind, "x": 5, "y": 5, "button": "left", "clickCount": 1 });
        page.devtools("Input.dispatchMouseEvent", beside).await;
    }
    visit.until("no question", "!document.querySelector('#confirm').open").await;
    visit.titles_are(&["Mine", "Hers"]).await;
    page.click(&format!("{mine} button.delete")).await;
    page.click("#confirm-delete").await;
    visit.titles_are(&["Hers"]).await;
    visit.wait_for_notice("Deleted").await;
    assert_eq!((visit.service.rows().await, visit.service.objects().await.len()), (1, 0));

    // Logging out removes drafts.
    page.keys("#post-title", "A secret").await;
    page.click("#logout").await;
    visit.until("the login", "!document.querySelector('#login').hidden").await;
    assert_eq!(page.value("document.querySelector('#post-title').value").await, "");
    assert_eq!(page.value("localStorage.length").await, 0);
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
    page.click(&format!("{pasted} h3")).await;
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

    // The form for a new post accepts pasted and dropped pictures as well; a file that is not a picture is refused,
    // without leaving the page.
    page.click("#post-title").await;
    page.press_with(CONTROL, 'v').await;
    visit.until("the preview", "document.querySelector('#post-preview-image').naturalWidth === 640").await;
    page.click("#post-preview-remove").await;
    drop_file(page, "#compose", &lake).await;
    visit.until("the preview", "document.querySelector('#post-preview-image').naturalWidth === 640").await;
    page.click("#post-preview-remove").await;
    let text = visit.folder.path().join("notes.jpg");
    std::fs::write(&text, "no picture").unwrap();
    drop_file(page, "#compose", &text).await;
    visit.wait_for_notice("not a picture").await;
    assert_eq!(page.value("document.querySelector('#post-preview').hidden").await, true);
    drop_file(page, ".views", &lake).await;
    assert_eq!(visit.titles().await, json!(["Twice", "Pasted", "Dropped", "Chosen"]));
    visit.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn pictures_are_uploaded_without_metadata() {
    const SECRET: &[u8] = b"48.8584 N, 2.2945 E";
    let visit = Visit::new().await;
    let page = &visit.page;
    // A rotated JPEG with a camera's comment and a film behind it, and a PNG with a comment.
    let lake = visit.picture("lake.jpg", &LAKE);
    let plain = std::fs::read(&lake).unwrap();
    let upright = b"\xFF\xE1\0\x22Exif\0\0MM\0*\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0\x06\0\0\0\0\0\0";
    let comment = [&[0xFF, 0xFE, 0, 2 + SECRET.len() as u8][..], SECRET].concat();
    let (begin, rest) = plain.split_at(2);
    std::fs::write(&lake, [begin, &upright[..], &comment, rest, SECRET].concat()).unwrap();
    let noise = visit.noise();
    let pixels = std::fs::read(&noise).unwrap();
    // The checksum of a dropped segment is irrelevant.
    let chunk = [&[0, 0, 0, SECRET.len() as u8][..], b"tEXt", SECRET, &[0; 4]].concat();
    let (begin_of_png, rest_of_png) = pixels.split_at(33);
    std::fs::write(&noise, [begin_of_png, &chunk, rest_of_png].concat()).unwrap();
    visit.open_as("Ada").await;
    for (title, file, sent) in
        [("Lake", &lake, [begin, &upright[..], rest].concat()), ("Noise", &noise, pixels.clone())]
    {
        page.keys("#post-title", title).await;
        page.keys("#post-file", &file.to_string_lossy()).await;
        visit.until("the preview", "!document.querySelector('#post-preview').hidden").await;
        page.click("#post-submit").await;
        let name = file.file_name().unwrap().to_str().unwrap();
        let object = page.eventually("the upload", async || {
            visit.service.objects().await.into_iter().find(|key| key.ends_with(name))
        });
        let object = visit.service.s3.get_object().bucket(BUCKET).key(object.await).send().await.unwrap();
        assert_eq!(object.content_type(), Some(if title == "Lake" { "image/jpeg" } else { "image/png" }));
        let stored = object.body.collect().await.unwrap().into_bytes();
        assert!(stored == sent, "{title}: {} bytes instead of {}", stored.len(), sent.len());
    }
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

#[tokio::test(flavor = "multi_thread")]
async fn polling_for_missing_labels_backs_off_and_ends() {
    let visit = Visit::new().await;
    let page = &visit.page;
    // Timers run a hundred times faster, and their durations are recorded.
    let hurry = "window.waits = [];
        const real = window.setTimeout;
        window.setTimeout = (act, ms, ...more) => {
            if (ms >= 1000) window.waits.push(ms);
            return real(act, ms / 100, ...more);
        };";
    page.devtools("Page.addScriptToEvaluateOnNewDocument", json!({ "source": hurry })).await;
    visit.service.write(b"Ada", "Waiting").await;
    visit.language("fr").await;
    visit.open_as("Ada").await;
    let post = visit.post("Waiting").await;
    page.script("window.waits.length = 0", json!([])).await;
    visit.front.seen();
    let panorama = visit.folder.path().join("panorama.png");
    image::RgbImage::new(640, 80).save(&panorama).unwrap();
    page.keys(&format!("{post} input[type=file]"), &panorama.to_string_lossy()).await;
    visit.until("patience to end", &format!("document.querySelector(\"{post} .state button\")")).await;
    let waits = page.value("window.waits.filter((ms) => ms !== 4500)").await; // a notice is shown for 4.5 s
    let waits: Vec<u64> = waits.as_array().unwrap().iter().map(|it| it.as_u64().unwrap()).collect();
    assert!(waits.is_sorted() && waits.len() > 5, "{waits:?}");
    let sum: u64 = waits.iter().sum();
    assert!((60_000..=300_000).contains(&sum), "polled for {sum} ms");
    let looks = visit.front.seen().iter().filter(|it| it.starts_with("GET /posts?limit")).count();
    assert_eq!(looks, waits.len());

    // No more polling, however long one waits: in this window twenty minutes take twelve seconds, of which one passes.
    page.script_that_waits("setTimeout(arguments[0], 100000)", json!([])).await;
    assert_eq!(visit.front.seen(), NONE);
    visit.is_sound_everywhere("late in French").await;
    visit.size(320, 640).await;
    let top = |part: &str| format!("document.querySelector(\"{post} {part}\").getBoundingClientRect().top");
    let room = format!("{} - {}", top(".state"), top(".picture"));
    assert!(page.value(&room).await.as_f64() >= Some(0.0), "the message on a low picture is not cut off");

    // The button starts the polling again, which finds the labels.
    visit.label("Ada", &["Lake"]).await;
    page.click(&format!("{post} .state button")).await;
    visit.until("labels", &format!("document.querySelector(\"{post} .labels li\")")).await;
    visit.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn labels_are_polled_for_after_a_reload() {
    let visit = Visit::new().await;
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
    visit.wait_for_notice("In the picture: Lake").await;
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
    page.click("#logout").await;
    assert_eq!(page.value("sessionStorage.length").await, 0);
    visit.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn errors_are_shown_in_the_language_of_the_page() {
    let visit = Visit::new().await;
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
        page.keys("#post-title", "Kept").await;
        for (status, words) in words {
            visit.front.answer("POST /posts", Answer::Refuse(status));
            page.click("#post-submit").await;
            visit.wait_for_notice(words).await;
            visit.front.pass("POST /posts");
        }
    }

    // The service's errors about a field, for values that the form would not allow.
    let longer = "const [field, length] = arguments;
        document.querySelector(field).value = 'x'.repeat(length)";
    page.script(longer, json!(["#post-title", 301])).await;
    page.click("#post-submit").await;
    visit.wait_for_notice("Ce titre ne peut pas être publié. Il peut avoir jusqu’à 300 caractères.").await;
    page.script(longer, json!(["#post-title", 300])).await;
    page.script(longer, json!(["#post-body", 10_001])).await;
    page.click("#post-submit").await;
    visit.wait_for_notice("Ce texte ne peut pas être publié. Il peut avoir jusqu’à 10 000 caractères.").await;

    // The login asks again for a name that the page rejects, as for one that the service rejects.
    page.click("#logout").await;
    for name in ["..", "Zo\u{200B}é", "\u{202E}Zoé"] {
        page.script("document.querySelector('#login-name').value = arguments[0]", json!([name])).await;
        page.click("#login-form [type=submit]").await;
        let words = "Ce nom ne peut pas être utilisé. Choisissez-en un autre : ce que vous avez écrit est encore là.";
        let shows_problem = format!("document.querySelector('#login-problem').textContent === {}", json!(words));
        visit.until("the refusal of the name", &shows_problem).await;
        assert_eq!(page.value("document.querySelector('#compose').hidden").await, true, "{name:?}");
        assert!(visit.has_focus("#login-name").await);
    }
    visit.is_sound_everywhere("a refused name in French").await;
    visit.open_as("Zoé").await;
    page.keys("#post-title", "Gardé").await;
    visit.front.answer("POST /posts", Answer::Refuse(401));
    page.click("#post-submit").await;
    visit.until("the login", "!document.querySelector('#login').hidden").await;
    let words = "Le service ne vous connaît pas. Reconnectez-vous : ce que vous avez écrit est encore là.";
    assert_eq!(page.text("#login-problem").await, words);
    assert!(visit.has_focus("#login-name").await);
    assert_eq!(page.value("document.querySelector('#post-title').value").await, "Gardé");
    visit.is_sound_everywhere("an unknown name in French").await;
    visit.front.pass("POST /posts");
    visit.open_as("Zoé").await;
    visit.end_having_seen(&[401, 404, 413, 422, 429, 500]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_post_deleted_elsewhere_disappears_from_the_page() {
    let visit = Visit::new().await;
    let page = &visit.page;
    let [removed, wanting] = ["Removed", "Wanting a picture"].map(|title| visit.service.write(b"Ada", title));
    let (removed, wanting) = (removed.await, wanting.await);
    visit.open_as("Ada").await;
    visit.titles_are(&["Wanting a picture", "Removed"]).await;
    for id in [&removed, &wanting] {
        assert!(visit.service.ask(Method::DELETE, &format!("/posts/{id}"), b"Ada").await.status().is_success());
    }
    page.click(&format!("article.post[data-id='{removed}'] button.delete")).await;
    visit.front.answer("GET /posts", Answer::Wait);
    page.click("#confirm-delete").await;
    visit.wait_for_notice("Deleted.").await;
    visit.titles_are(&["Wanting a picture"]).await;

    // The page still shows the other post, which was deleted as well: no picture can be added to it.
    let file = format!("article.post[data-id='{wanting}'] input[type=file]");
    page.keys(&file, &visit.picture("lake.jpg", &LAKE).to_string_lossy()).await;
    visit.wait_for_notice("This post is no longer there.").await;
    visit.front.pass("GET /posts");
    visit.titles_are(&[]).await;
    assert_eq!(visit.service.objects().await, NONE);
    visit.end_having_seen(&[404]).await;
}

/// The course's own page is served from another origin, sends names in Latin-1, and has the service's address built in.
#[tokio::test(flavor = "multi_thread")]
async fn a_page_from_another_origin_can_use_the_service() {
    let visit = Visit::new().await;
    let elsewhere = front::elsewhere(include_str!("support/elsewhere.html")).await;
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

#[tokio::test(flavor = "multi_thread")]
async fn empty_loading_and_failed_states_are_shown_and_drafts_are_kept() {
    let visit = Visit::new().await;
    let page = &visit.page;
    visit.open_as("Ada").await;
    visit.be_patient().await;
    assert_eq!(page.text("#empty:not([hidden]) p").await, "No posts yet. Write the first one!");
    visit.is_sound_everywhere("no posts").await;
    page.click("#show-mine").await;
    visit.until("the other words", "document.querySelector('#empty-text').textContent.startsWith('You have')").await;
    visit.is_sound_everywhere("no own posts").await;

    // While the list is being loaded, and when it does not arrive.
    visit.service.write(b"Ada", "First").await;
    visit.front.answer("GET /posts", Answer::Wait);
    page.click("#show-all").await;
    visit.until("ghosts", "document.querySelector('#posts[aria-busy=true] .ghost')").await;
    assert_eq!(page.value("document.querySelector('#empty').hidden").await, true);
    visit.is_sound_everywhere("loading").await;
    visit.front.answer("GET /posts", Answer::Refuse(503));
    visit.front.pass("GET /posts");
    visit.titles_are(&["First"]).await;
    visit.front.answer("GET /posts", Answer::Refuse(503));
    page.click("#show-all").await;
    visit.until("the problem", "!document.querySelector('#problem').hidden").await;
    assert_eq!(page.text("#problem-text").await, "The service is busy. Please try again in a moment.");
    assert_eq!(page.value("document.querySelector('#posts .ghost')").await, Value::Null);
    visit.is_sound_everywhere("a problem").await;
    visit.front.pass("GET /posts");
    page.click("#retry").await;
    assert!(visit.has_focus("#posts").await);
    visit.titles_are(&["First"]).await;
    assert_eq!(page.value("document.querySelector('#problem').hidden").await, true);

    // A post that could not be sent is still in the form.
    visit.front.answer("POST /posts", Answer::Refuse(503));
    page.keys("#post-title", "Second").await;
    page.click("#post-submit").await;
    visit.wait_for_notice("busy").await;
    visit.stop_the_clock().await;
    visit.is_sound_everywhere("a notice").await;
    assert_eq!(page.value("document.querySelector('#post-title').value").await, "Second");
    assert!(visit.has_focus("#post-submit").await);
    visit.front.pass("POST /posts");
    page.click("#post-submit").await;
    visit.titles_are(&["Second", "First"]).await;

    // A picture that could not be sent is kept and can be sent again.
    visit.front.answer("GET /signedUrlPut", Answer::Refuse(503));
    let second = visit.post("Second").await;
    page.script("document.querySelector(arguments[0]).focus()", json!([format!("{second} input[type=file]")])).await;
    page.keys(&format!("{second} input[type=file]"), &visit.picture("lake.jpg", &LAKE).to_string_lossy()).await;
    visit.until("the failure", &format!("document.querySelector(\"{second} .state button\")")).await;
    assert_eq!(page.text(&format!("{second} .text-of-state")).await, "The picture could not be sent.");
    assert!(visit.has_focus(&format!("{second} .state button")).await);
    visit.is_sound_everywhere("a failure").await;
    let held = json!({ "uploadURL": format!("{}/held", visit.front.url), "objectName": "held" });
    visit.front.answer("GET /signedUrlPut", Answer::Say(held));
    visit.front.answer("PUT /held", Answer::Wait);
    page.click(&format!("{second} .state button")).await;
    visit.until("the progress", &format!("document.querySelector(\"{second} progress\")")).await;
    visit.is_sound_everywhere("sending").await;
    visit.front.pass("PUT /held");
    visit.until("another failure", &format!("document.querySelector(\"{second} .state button\")")).await;
    visit.front.pass("GET /signedUrlPut");
    page.click(&format!("{second} .state button")).await;
    visit.label("Ada", &["Lake"]).await;
    visit.until("labels", &format!("document.querySelector(\"{second} .labels li\")")).await;

    // After a failed deletion the post is still shown. A post deleted by another window, while this one changes views,
    // is not.
    visit.front.answer("DELETE /posts", Answer::Refuse(503));
    let first = visit.post("First").await;
    page.click(&format!("{first} button.delete")).await;
    page.click("#confirm-delete").await;
    visit.wait_for_notice("busy").await;
    visit.titles_are(&["Second", "First"]).await;
    visit.front.answer("DELETE /posts", Answer::Wait);
    page.click(&format!("{first} button.delete")).await;
    page.click("#confirm-delete").await;
    visit.front.answer("GET /posts", Answer::Wait);
    page.click("#show-mine").await;
    visit.until("ghosts", "document.querySelector('#posts .ghost')").await;
    visit.front.pass("DELETE /posts");
    visit.wait_for_notice("Deleted").await;
    visit.front.pass("GET /posts");
    visit.titles_are(&["Second"]).await;
    visit.end_having_seen(&[404, 503]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn hostile_texts_are_shown_as_text_within_320_pixels_and_accessibly() {
    let visit = Visit::new().await;
    let page = &visit.page;
    let lake = visit.picture("lake.jpg", &LAKE);
    visit.service.store("a/b#?&+%/1/lake é+1.jpg", &lake).await;
    let (endless, long) = ("Donaudampfschifffahrtsgesellschaft".repeat(8), "many words ".repeat(400));
    let name = "x".repeat(100);
    let label = format!("A label that nobody would want to read in full, {}", "x".repeat(60));
    let labels = [label.as_str(), "<b>Lake</b>"];
    visit
        .service
        .seed(&[
            Seed {
                user: "محمد",
                title: "مرحبا بالعالم",
                body: "هذا نص من اليمين إلى اليسار.",
                minutes_ago: 9000,
                ..SEED
            },
            Seed {
                user: "李小龙", title: "长江的早晨", body: "今天早上江上有很大的雾。", minutes_ago: 800, ..SEED
            },
            Seed {
                user: "a/b#?&+%",
                title: "<script>alert(1)</script>",
                body: "<img src=x onerror=alert(2)> & \"quotes\"",
                minutes_ago: 90,
                picture: Some(("a/b#?&+%/1/lake é+1.jpg".to_owned(), &labels)),
            },
            Seed { user: "Zoé", title: &endless, body: &endless, minutes_ago: 8, ..SEED },
            Seed { user: &name, title: "👋🏽 hello 🎉", body: &long, minutes_ago: 7, ..SEED },
            Seed { user: "Zoé", title: "", body: "  indented\n\n\nand apart", minutes_ago: 6, ..SEED },
        ])
        .await;
    visit.size(320, 640).await;
    visit.open().await;
    visit.is_sound("before the login").await;
    visit.open_as("Zoé").await;
    for language in LANGUAGES {
        visit.language(language).await;
        for scheme in SCHEMES {
            let state = format!("{scheme}, {language}");
            visit.scheme(scheme).await;
            visit.open().await;
            assert_eq!(page.value("document.documentElement.lang").await, language);
            visit.is_sound(&state).await;
            page.click("button.delete").await;
            visit.is_sound(&format!("{state}, asking")).await;
            page.click("#cancel-delete").await;
            page.click("#logout").await;
            visit.until("the login", "!document.querySelector('#login').hidden").await;
            visit.is_sound(&format!("{state}, logged out")).await;
            visit.open_as("Zoé").await;
        }
    }
    visit.language("en").await;
    visit.open().await;

    // Text is never interpreted as markup.
    let marked = visit.post("<script>alert(1)</script>").await;
    assert_eq!(page.text(&format!("{marked} .text")).await, "<img src=x onerror=alert(2)> & \"quotes\"");
    assert_eq!(page.text(&format!("{marked} .author")).await, "a/b#?&+%");
    assert_eq!(page.text(&format!("{marked} .labels li:last-child")).await, "<b>Lake</b>");
    page.script("document.querySelector(arguments[0]).scrollIntoView()", json!([marked])).await;
    visit
        .until("the picture", &format!("document.querySelector(\"{marked} .picture img\").naturalWidth === 640"))
        .await;
    let direction = "getComputedStyle([...document.querySelectorAll('.post h3')].at(-1)).direction";
    assert_eq!(page.value(direction).await, "rtl");

    // Long text is folded until the user expands it.
    let folded = visit.post("👋🏽 hello 🎉").await;
    let height = format!("document.querySelector(\"{folded} .text\").getBoundingClientRect().height");
    let before = page.value(&height).await.as_f64().unwrap();
    page.click(&format!("{folded} .unfold")).await;
    assert!(page.value(&height).await.as_f64().unwrap() > 3.0 * before);
    assert_eq!(page.text(&format!("{folded} .text")).await, long);
    visit.is_sound("unfolded").await;
    visit.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn hundreds_of_posts_load_in_pages_and_their_pictures_lazily() {
    let visit = Visit::new().await;
    let page = &visit.page;
    let lake = visit.picture("lake.jpg", &LAKE);
    let titles: Vec<String> = (0..330).map(|number| format!("Post {number}")).collect();
    let mut posts = Vec::new();
    for (number, title) in titles.iter().enumerate() {
        let key = format!("Ada/{number}/lake.jpg");
        let picture = (number >= 290).then_some((key, &["Lake"][..]));
        if let Some((key, _)) = &picture {
            visit.service.store(key, &lake).await;
        }
        posts.push(Seed { title, minutes_ago: 330 - number as u64, picture, ..SEED });
    }
    visit.service.seed(&posts).await;
    visit.open_as("Ada").await;
    let count = "document.querySelectorAll('article.post').length";
    assert_eq!(page.value(count).await, 40);
    let loaded = "[...document.querySelectorAll('.picture img')].filter((it) => it.naturalWidth).length";
    visit.until("the first picture", &format!("{loaded} > 0")).await;
    let first = page.value(loaded).await.as_u64().unwrap();
    assert!(first < 30, "{first} of 40 pictures were loaded at once");
    visit.is_sound("forty posts").await;

    // However low the window is, the submit button is visible.
    visit.size(1200, 320).await;
    page.script("document.querySelector('#post-submit').focus()", json!([])).await;
    let below = "document.querySelector('#post-submit').getBoundingClientRect().bottom - innerHeight";
    assert!(page.value(below).await.as_f64() <= Some(0.0));
    visit.size(1200, 900).await;

    // The button loads the next page, and the focus moves to its first post.
    page.click("#more").await;
    visit.until("the second part", &format!("{count} === 80")).await;
    assert_eq!(page.value("document.activeElement.querySelector('h3').textContent").await, "Post 289");

    // A post written in the meantime is shown on top, and no post is shown twice or lost.
    page.keys("#post-title", "Post 330").await;
    page.click("#post-submit").await;
    visit.until("the new post", "document.querySelector('article.post h3').textContent === 'Post 330'").await;
    while page.value("!document.querySelector('#more').hidden").await == true {
        let before = page.value(count).await;
        page.click("#more").await;
        visit.until("more", &format!("{count} > {before}")).await;
    }
    let all: Vec<String> = (0..=330).rev().map(|number| format!("Post {number}")).collect();
    assert_eq!(visit.titles().await, json!(all));
    visit.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn everything_works_with_the_keyboard() {
    let visit = Visit::new().await;
    let page = &visit.page;
    visit.open().await;
    page.press(&TAB.to_string()).await;
    assert!(visit.has_focus(".skip").await, "the first stop is the skip link");
    visit.tab_to("#login-name", false).await;
    page.press(&format!("Zoe{ENTER}")).await;
    visit.until("the form", "document.activeElement.id === 'post-title'").await;
    page.press(&format!("By hand{TAB}No mouse was there")).await;
    visit.front.answer("POST /posts", Answer::Wait);
    page.press_with(CONTROL, ENTER).await;
    page.press_with(CONTROL, ENTER).await; // an accidental second press publishes nothing twice
    visit.front.pass("POST /posts");
    visit.titles_are(&["By hand"]).await;
    assert_eq!(visit.front.seen().iter().filter(|it| it.starts_with("POST")).count(), 1);
    visit.tab_to("#show-mine", false).await;
    page.press(" ").await;
    visit.until("one's own", "document.querySelector('#show-mine[aria-pressed=true]')").await;
    visit.titles_are(&["By hand"]).await;
    visit.tab_to("#posts input[type=file]", false).await;
    let ring = "getComputedStyle(document.activeElement.parentElement).outlineStyle";
    assert_eq!(page.value(ring).await, "solid", "the focus is visible");

    // The dialog traps the focus, starts with the harmless button, and returns the focus.
    visit.tab_to("#posts button.delete", true).await;
    page.press(&ENTER.to_string()).await;
    assert!(visit.has_focus("#cancel-delete").await);
    page.press(&ESCAPE.to_string()).await;
    assert!(visit.has_focus("#posts button.delete").await);
    page.press(&ENTER.to_string()).await;
    visit.tab_to("#confirm-delete", false).await;
    page.press(&ENTER.to_string()).await;
    visit.titles_are(&[]).await;
    visit.until("a place for the focus", "document.activeElement.closest('main')").await;
    visit.tab_to("#logout", true).await;
    page.press(&ENTER.to_string()).await;
    visit.until("the login", "document.activeElement.id === 'login-name'").await;
    visit.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_page_uses_the_first_browser_language_that_it_supports() {
    let visit = Visit::new().await;
    let page = &visit.page;
    visit.service.seed(&[Seed { title: "Hier", minutes_ago: 24 * 60, ..SEED }]).await;
    for (languages, language, publish, when) in [
        ("fr-CA,en", "fr", "Publier", "hier"),
        ("de,fr", "fr", "Publier", "hier"),
        ("en-GB,fr", "en", "Publish", "yesterday"),
        ("ja", "en", "Publish", "yesterday"),
    ] {
        visit.language(languages).await;
        visit.open().await;
        assert_eq!(page.value("document.documentElement.lang").await, language, "{languages}");
        assert_eq!(page.text("#post-submit").await, publish, "{languages}");
        assert_eq!(page.text("#posts time").await, when, "{languages}");
    }
    // Both languages have the same keys: none is shown untranslated.
    let words = "const done = arguments[arguments.length - 1];
        fetch('/words.js').then((it) => it.text()).then((text) => done(['en', 'fr'].map((name) =>
            [...text.split(`const ${name} = {`)[1].split('};')[0].matchAll(/^  (\\w+):/gm)].map((it) => it[1]))))";
    let words = page.script_that_waits(words, json!([])).await;
    assert_eq!(words[0], words[1]);
    assert!(words[0].as_array().unwrap().len() > 40);
    visit.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn with_tokens_a_user_logs_in_with_a_token_and_keeps_the_draft_when_it_expires() {
    let more = [&SETTINGS[..], &[("JWT_LOGIN_URL", "https://login.example/")]].concat();
    let visit = Visit::with(Browser::chromium().await, &more).await;
    let page = &visit.page;
    visit.open().await;
    visit.until("the link", "!document.querySelector('#login-link').hidden").await;
    assert_eq!(page.value("document.querySelector('#login-link').href").await, "https://login.example/");
    visit.is_sound("asking for a token").await;
    page.keys("#login-name", "nonsense").await;
    page.click("#login-form [type=submit]").await;
    assert_eq!(page.text("#login-problem").await, "This token does not name a user.");
    visit.is_sound_everywhere("a token of nobody").await;

    // A token that names the user, but is rejected by the service.
    page.script("document.querySelector('#login-name').value = ''", json!([])).await;
    page.keys("#login-name", &shared("a secret that the service does not know", &claims("Zoé"))).await;
    page.click("#login-form [type=submit]").await;
    visit.until("the name", "document.querySelector('#who-name').textContent === 'Zoé'").await;
    page.keys("#post-title", "Kept").await;
    page.click("#post-submit").await;
    visit.until("the login", "!document.querySelector('#login').hidden").await;
    assert!(page.text("#login-problem").await.starts_with("Your token is no longer valid"));
    page.keys("#login-name", &shared(tokens::SECRET, &claims("Zoé"))).await;
    page.click("#login-form [type=submit]").await;
    visit.until("the name", "document.querySelector('#who-name').textContent === 'Zoé'").await;
    assert_eq!(page.value("document.querySelector('#post-title').value").await, "Kept");
    page.click("#post-submit").await;
    visit.titles_are(&["Kept"]).await;
    assert_eq!(visit.service.list("/posts?user=Zo%C3%A9").await.len(), 1);

    // Uploads and deletions are also made as Zoé.
    let lake = visit.picture("lake.jpg", &LAKE);
    page.keys("#posts input[type=file]", &lake.to_string_lossy()).await;
    page.eventually("the upload", async || (visit.service.objects().await.len() == 1).then_some(())).await;
    assert!(visit.service.objects().await[0].starts_with("Zoé/"));
    page.click("#posts button.delete").await;
    page.click("#confirm-delete").await;
    visit.titles_are(&[]).await;
    assert_eq!((visit.service.rows().await, visit.service.objects().await.len()), (0, 0));

    // The token is kept for this window, and nowhere else.
    visit.open().await;
    visit.until("the name", "document.querySelector('#who-name').textContent === 'Zoé'").await;
    assert_eq!(page.value("localStorage.length").await, 0);
    page.click("#logout").await;
    assert_eq!(page.value("sessionStorage.length").await, 0);
    visit.end_having_seen(&[401]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_reason_for_missing_labels_is_shown_and_another_picture_can_be_chosen() {
    let visit = Visit::new().await;
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
        if page.value("location.href").await == "data:,"
            || page.value("document.querySelector('#who-name')?.textContent").await != "Ada"
        {
            visit.open_as("Ada").await;
        }
        page.click("#show-mine").await;
        visit.until(words, &format!("document.querySelector('.nothing')?.textContent === {}", json!(words))).await;
    }
    visit.is_sound_everywhere("nothing recognised").await;

    // A removed picture makes room for another.
    let mut removed = post.clone();
    for (field, value) in [("image", Value::Null), ("labels", Value::Null), ("label", Value::Null)] {
        removed[field] = value;
    }
    (removed["reason"], removed["removed"]) = (json!("too_large"), json!(format!("Ada/{id}/x.heic")));
    visit.front.answer("GET /posts", Answer::Say(json!([removed])));
    page.click("#show-mine").await;
    // While the list is reloaded, there is no post at all.
    let words = json!("Nothing was recognised: the picture is too large.");
    let shows_reason = format!("document.querySelector('article.post .nothing')?.textContent === {words}");
    visit.until("the reason", &shows_reason).await;
    assert_eq!(page.value("document.querySelector('article.post .picture')").await, Value::Null);
    assert_ne!(page.value("document.querySelector('article.post .drop input')").await, Value::Null);
    visit.is_sound_everywhere("a picture that was removed").await;
    visit.front.answer("GET /posts", Answer::Say(json!([post])));
    page.click("#show-mine").await;
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
    visit.until("the words", "document.querySelector('.broken')").await;
    assert_eq!(page.text(".broken").await, "This picture cannot be shown.");
    visit.is_sound_everywhere("a broken picture").await;
    visit.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_api_documentation_works_without_inline_scripts() {
    let visit = Visit::new().await;
    visit.page.open(&format!("{}/docs", visit.front.url)).await;
    visit.until("its operations", "document.querySelectorAll('.opblock').length === 8").await;
    visit.page.click("#operations-default-listPosts button").await;
    visit.until("what it takes", "document.querySelectorAll('.parameters tbody tr').length === 5").await;
    visit.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_page_works_in_firefox() {
    let visit = Visit::with(Browser::firefox().await, &[]).await;
    let page = &visit.page;
    visit.service.write(b"Ada", "Hers").await;
    visit.open_as("Zoé").await;
    page.keys("#post-title", "Mine").await;
    page.keys("#post-body", "From another browser").await;
    page.keys("#post-file", &visit.picture("lake é.jpg", &LAKE).to_string_lossy()).await;
    visit.until("the preview", "document.querySelector('#post-preview-image').naturalWidth === 640").await;
    page.click("#post-submit").await;
    visit.titles_are(&["Mine", "Hers"]).await;
    visit.label("Zoé", &["Lake"]).await;
    let mine = visit.post("Mine").await;
    visit.until("labels", &format!("document.querySelector(\"{mine} .labels li\")")).await;
    visit
        .until(
            "the picture",
            &format!("document.querySelector(\"{mine} .picture img[src^='http']\")?.naturalWidth === 640"),
        )
        .await;
    visit.is_sound("in Firefox").await;
    page.tell("window/rect", json!({ "width": 500, "height": 800 })).await;
    visit.is_sound("in a narrow Firefox").await;
    page.screenshot("page-firefox.png").await;
    page.click("#show-mine").await;
    visit.titles_are(&["Mine"]).await;
    page.click(&format!("{mine} button.delete")).await;
    page.click("#confirm-delete").await;
    visit.titles_are(&[]).await;
    assert_eq!((visit.service.rows().await, visit.service.objects().await.len()), (1, 0));
    visit.end().await;
}

/// The pictures in `docs/` are copies of some of these screenshots.
#[tokio::test(flavor = "multi_thread")]
async fn the_page_looks_right_in_every_size_scheme_and_language() {
    let visit = Visit::new().await;
    for (name, colours) in [("lake", LAKE), ("meadow", MEADOW), ("dusk", DUSK)] {
        visit.service.store(&format!("{name}.jpg"), &visit.picture(&format!("{name}.jpg"), &colours)).await;
    }
    let picture = |name: &str, labels: &'static [&'static str]| Some((format!("{name}.jpg"), labels));
    visit
        .service
        .seed(&[
            Seed {
                user: "Benoît",
                title: "Up on the meadow",
                body: "Not a cloud, and nobody but us.",
                minutes_ago: 3 * 24 * 60,
                picture: picture("meadow", &["Grass", "Outdoors", "Nature", "Sky"]),
            },
            Seed {
                user: "Maya",
                title: "Does anybody have a spare tent?",
                body: "For the first weekend of June. Two people, and it may rain.",
                minutes_ago: 26 * 60,
                ..SEED
            },
            Seed {
                user: "Ada",
                title: "Blue hour",
                body: "The lake, just before the boats go out.",
                minutes_ago: 190,
                picture: picture("lake", &["Lake", "Water", "Mountain", "Blue"]),
            },
            Seed {
                user: "Zoé",
                title: "Home before dark",
                body: "The last light of a long day. Nobody wanted to leave.",
                minutes_ago: 12,
                picture: picture("dusk", &["Sunset", "Outdoors", "Landscape", "Sky", "Hill"]),
            },
        ])
        .await;
    visit.open_as("Zoé").await;
    for (name, scheme, width, height) in [
        ("postagram.png", "light", 1200, 860),
        ("page-phone.png", "light", 390, 844),
        ("page-dark.png", "dark", 1200, 860),
        ("page-phone-dark.png", "dark", 390, 844),
    ] {
        visit.size(width, height).await;
        visit.scheme(scheme).await;
        visit.open().await;
        visit.until("the first picture", "document.querySelector('.picture img').naturalWidth").await;
        // A phone shows the form first; its screenshot is to show the posts.
        if width < 600 {
            visit.page.script("document.querySelector('#views').scrollIntoView(); scrollBy(0, 6)", json!([])).await;
        }
        visit.page.script("document.activeElement.blur()", json!([])).await;
        visit.is_sound(name).await;
        visit.page.screenshot(name).await;
    }
    visit.end().await;
}
