//! A visit to the page: the service, a browser, and what a test does in it.

use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use aws_sdk_dynamodb::types::{AttributeValue, PutRequest, WriteRequest};
use aws_sdk_s3::primitives::ByteStream;
use aws_sdk_s3::types::{CorsConfiguration, CorsRule};
use serde_json::{Value, json};
use service::Limits;
use testkit::browser::Browser;
use testkit::landscape::{Colours, DUSK, LAKE, landscape};

use crate::support::front::Front;
use crate::support::{BUCKET, TABLE, TestService};

/// Two tests of one story: in Chromium and in Firefox.
macro_rules! in_both_browsers {
    ($name:ident, $story:ident) => {
        mod $name {
            #[tokio::test(flavor = "multi_thread")]
            async fn in_chromium() {
                super::$story(testkit::browser::Browser::chromium().await).await;
            }

            #[tokio::test(flavor = "multi_thread")]
            async fn in_firefox() {
                super::$story(testkit::browser::Browser::firefox().await).await;
            }
        }
    };
}
pub(crate) use in_both_browsers;

pub const NONE: &[String] = &[];
pub const TAB: char = '\u{e004}';
pub const SHIFT: char = '\u{e008}';
pub const CONTROL: char = '\u{e009}';
pub const ENTER: char = '\u{e007}';
pub const ESCAPE: char = '\u{e00c}';

/// The page's two colour schemes and its languages.
pub const SCHEMES: [&str; 2] = ["light", "dark"];
pub const LANGUAGES: [&str; 2] = ["en", "fr"];

/// A service with its page, a proxy in front of it, a browser, and pictures on disk.
pub struct Visit {
    pub service: TestService,
    pub front: Front,
    pub page: Browser,
    pub folder: tempfile::TempDir,
}

impl Visit {
    /// Starts a visit in this browser, to a service with these settings.
    pub async fn with(page: Browser, settings: &[(&str, &str)]) -> Visit {
        let mut service = TestService::start().await;
        service.base = service.otherwise(settings, Limits::default()).await;
        let front = Front::of(&service.base).await;
        let visit = Visit { service, front, page, folder: tempfile::tempdir().unwrap() };
        visit.pictures_from(&visit.front.url).await;
        visit
    }

    /// Allows only pages of this origin to send pictures to the bucket.
    pub async fn pictures_from(&self, origin: &str) {
        let rule = CorsRule::builder().allowed_origins(origin).allowed_headers("content-type");
        let rule = rule.allowed_methods("PUT").allowed_methods("GET").build().unwrap();
        let cors = CorsConfiguration::builder().cors_rules(rule).build().unwrap();
        self.service.s3.put_bucket_cors().bucket(BUCKET).cors_configuration(cors).send().await.unwrap();
    }

    /// Opens the page as the user that logged in last.
    pub async fn open(&self) {
        self.page.open(&self.front.url).await;
        self.until("the list", "document.querySelector('#posts[aria-busy=false]')").await;
    }

    pub async fn open_as(&self, name: &str) {
        self.open().await;
        self.page.click("#enter").await;
        self.log_in(name).await;
    }

    /// Fills in the form for the login, which is open.
    pub async fn log_in(&self, name: &str) {
        self.page.keys("#login-name", name).await;
        self.page.click("#login-form [type=submit]").await;
        self.until("the user", "!document.querySelector('#me').hidden && !document.querySelector('#login').open").await;
        self.until("the list", "document.querySelector('#posts[aria-busy=false]')").await;
    }

    /// Logs out, which is a button in one's own profile.
    pub async fn log_out(&self) {
        self.page.click("#me").await;
        self.until("the profile", "!document.querySelector('#logout').hidden").await;
        self.page.click("#logout").await;
        self.until("the way in", "!document.querySelector('#enter').hidden").await;
    }

    /// Opens the form for a new post.
    pub async fn compose(&self) {
        self.page.click("#new").await;
        self.until("the form", "document.querySelector('#compose').open").await;
    }

    /// Logs in on the way to the form for a new post.
    pub async fn compose_as(&self, name: &str) {
        self.page.click("#new").await;
        self.until("the login", "document.querySelector('#login').open").await;
        self.page.keys("#login-name", name).await;
        self.page.click("#login-form [type=submit]").await;
        self.until("the form", "document.querySelector('#compose').open").await;
    }

    /// Writes a post with this title.
    pub async fn publish(&self, title: &str) {
        self.compose().await;
        self.page.keys("#post-title", title).await;
        self.page.click("#post-submit").await;
        self.until("its end", "!document.querySelector('#compose').open").await;
    }

    /// Follows a link to this path.
    pub async fn follow(&self, path: &str) {
        let follow = "const link = document.createElement('a');
            link.href = arguments[0];
            document.body.append(link);
            link.click();
            link.remove()";
        self.page.script(follow, json!([path])).await;
    }

    /// Goes to another view, and waits for its list.
    pub async fn go(&self, path: &str) {
        self.follow(path).await;
        self.until("the address", &format!("location.pathname === {}", json!(path))).await;
        self.until("the list", "document.querySelector('#posts[aria-busy=false]')").await;
    }

    /// The path of the page's address.
    pub async fn path(&self) -> Value {
        self.page.value("location.pathname").await
    }

    /// Loads the page again.
    pub async fn reload(&self) {
        let address = self.page.value("location.href").await;
        self.page.open(address.as_str().unwrap()).await;
    }

    pub async fn back(&self) {
        self.page.script("history.back()", json!([])).await;
    }

    /// Has the page check for newer posts, as it does when its tab becomes visible.
    pub async fn come_back(&self) {
        self.page.script("document.dispatchEvent(new Event('visibilitychange'))", json!([])).await;
    }

    pub async fn until(&self, what: &str, expression: &str) {
        self.page.until(what, expression).await;
    }

    pub async fn titles(&self) -> Value {
        self.page.value("[...document.querySelectorAll('#posts article.post h2')].map((it) => it.textContent)").await
    }

    pub async fn titles_are(&self, wanted: &[&str]) {
        let wanted = json!(wanted);
        let what = format!("the posts {wanted}");
        self.page.eventually(&what, async || (self.titles().await == wanted).then_some(())).await;
    }

    /// Waits until the element with the focus matches a selector.
    pub async fn focus_is(&self, selector: &str) {
        let is_there = format!("document.activeElement.matches({})", json!(selector));
        self.until(&format!("the focus at {selector}"), &is_there).await;
    }

    /// Waits until this text is announced to screen readers.
    pub async fn wait_for_notice(&self, text: &str) {
        let said = format!("document.querySelector('#notice').textContent.includes({})", json!(text));
        self.until(&format!("the page to say {text:?}"), &said).await;
    }

    /// The selector of the post with this title.
    pub async fn post(&self, title: &str) -> String {
        let find = "return [...document.querySelectorAll('article.post')]
            .find((it) => it.querySelector('h2').textContent === arguments[0])?.dataset.id";
        let id = self.page.eventually("the post", async || {
            let id = self.page.script(find, json!([title])).await;
            id.as_str().map(str::to_owned)
        });
        format!("article.post[data-id='{}']", id.await)
    }

    /// Writes a picture to disk.
    pub fn picture(&self, name: &str, colours: &Colours) -> PathBuf {
        let file = self.folder.path().join(name);
        landscape(&file, colours);
        file
    }

    /// Writes a picture to disk and to the bucket.
    pub async fn store(&self, name: &str, colours: &Colours) {
        self.service.store(name, &self.picture(name, colours)).await;
    }

    /// Creates three posts: with a picture of unknown size, without one, and with one of known size.
    pub async fn seed_three(&self) {
        for (name, colours) in [("lake.jpg", LAKE), ("dusk.jpg", DUSK)] {
            self.store(name, &colours).await;
        }
        let picture = |name: &str| Some((name.to_owned(), &["Lake"][..]));
        self.service
            .seed(&[
                Seed { title: "Unknown size", minutes_ago: 3, picture: picture("lake.jpg"), size: "", ..SEED },
                Seed { title: "Words", minutes_ago: 2, ..SEED },
                Seed { title: "Known size", minutes_ago: 1, picture: picture("dusk.jpg"), ..SEED },
            ])
            .await;
    }

    /// Writes a picture of 900 KB, which is incompressible.
    pub fn noise(&self) -> PathBuf {
        self.noise_of("noise.png", 600, 500)
    }

    /// Writes a picture of 3.8 MB, which is more than the buffers of a connection hold, and which the page sends as it is.
    pub fn large_noise(&self) -> PathBuf {
        self.noise_of("large-noise.png", 1120, 1120)
    }

    fn noise_of(&self, name: &str, width: u32, height: u32) -> PathBuf {
        let mut dice = fastrand::Rng::with_seed(1);
        let picture = image::RgbImage::from_fn(width, height, |_, _| image::Rgb([0; 3].map(|_| dice.u8(..))));
        let file = self.folder.path().join(name);
        picture.save(&file).unwrap();
        file
    }

    /// Waits until the first element that a selector names has this text.
    pub async fn text_is(&self, selector: &str, text: &str) {
        let shows = format!("document.querySelector({})?.textContent === {}", json!(selector), json!(text));
        self.until(&format!("{text:?} at {selector}"), &shows).await;
    }

    /// Does what the labeler does, once the upload of this user's only picture has arrived.
    pub async fn label(&self, user: &str, labels: &[&str]) {
        let object = self.page.eventually("the upload", async || self.service.objects().await.into_iter().next()).await;
        let post = object.split('/').nth(1).unwrap().to_owned();
        self.service.label(user, &post, &object, labels).await;
    }

    /// Asserts that nothing is wider than the window, and that axe finds no accessibility problems.
    pub async fn is_sound(&self, state: &str) {
        let wider = self.page.value("document.documentElement.scrollWidth - innerWidth").await;
        assert!(wider.as_i64() <= Some(0), "{state}: the page is {wider} pixels wider than its window");
        let script = "const done = arguments[arguments.length - 1];
            window.axe.run(document, { resultTypes: ['violations'] }).then(({ violations }) => done(violations
                .flatMap(({ id, nodes }) => nodes.map((node) => `${id}: ${node.html}: ${node.failureSummary}`))),
                (error) => done([String(error)]))";
        // Animations of what is not drawn do not go on.
        let quiet = "!document.getAnimations().some((it) => it.playState === 'running'
            && isFinite(it.effect.getComputedTiming().endTime)
            && it.effect.target?.checkVisibility({ contentVisibilityAuto: true }))";
        self.page.until("a quiet page", quiet).await;
        let faults = self.page.script_that_waits(&format!("{};\n{script}", axe()), json!([])).await;
        assert_eq!(faults, json!([]), "{state}");
    }

    /// Asserts that the page is sound in a wide window and, in dark mode, in the narrowest one; saves a screenshot of
    /// both.
    pub async fn is_sound_everywhere(&self, state: &str) {
        for (scheme, width) in [("light", 1200), ("dark", 320)] {
            self.size(width, 640).await;
            self.scheme(scheme).await;
            self.is_sound(&format!("{state}, {scheme}, {width} pixels")).await;
            self.page.screenshot(&format!("state-{}-{width}.png", state.replace(' ', "-"))).await;
        }
        self.size(1200, 900).await;
        self.scheme("light").await;
    }

    /// Disables the page's timeouts, so that it waits for answers as long as the test does.
    pub async fn be_patient(&self) {
        self.page.script("AbortSignal.timeout = () => new AbortController().signal", json!([])).await;
    }

    /// Stops the time in which deletions can be undone, until the page is loaded again.
    pub async fn hold_deletions(&self) {
        let hold = "const real = window.setTimeout;
            window.setTimeout = (act, ms, ...more) => (ms === 8000 ? 0 : real(act, ms, ...more))";
        self.page.script(hold, json!([])).await;
    }

    /// Sets the size of the viewport.
    pub async fn size(&self, width: u32, height: u32) {
        self.page.size(width, height).await;
    }

    pub async fn scheme(&self, scheme: &str) {
        self.page.scheme(scheme).await;
    }

    pub async fn language(&self, languages: &str) {
        self.page.languages(languages).await;
    }

    /// Moves the focus with Tab, or back with Shift+Tab, to what a selector names.
    pub async fn tab_to(&self, selector: &str, back: bool) {
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

    pub async fn has_focus(&self, selector: &str) -> bool {
        self.page.script("return document.activeElement.matches(arguments[0])", json!([selector])).await == true
    }

    pub async fn end(self) {
        assert_eq!(self.page.complaints().await, NONE);
        drop(self.page);
        self.service.end().await;
    }

    /// Ends the visit. The console may contain error responses with these statuses, and no other errors.
    pub async fn end_having_seen(self, statuses: &[u16]) {
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
pub struct Seed<'a> {
    pub user: &'a str,
    pub title: &'a str,
    pub body: &'a str,
    pub minutes_ago: u64,
    /// The object's name and the labels.
    pub picture: Option<(String, &'a [&'a str])>,
    /// The size of the picture, as the labeler writes it; unknown if empty.
    pub size: &'a str,
    pub alt: &'a str,
}

pub const SEED: Seed<'_> =
    Seed { user: "Ada", title: "", body: "", minutes_ago: 0, picture: None, size: "640x400", alt: "" };

impl TestService {
    pub async fn seed(&self, posts: &[Seed<'_>]) {
        for (part, posts) in posts.chunks(25).enumerate() {
            let rows = posts.iter().enumerate().map(|(place, post)| row(post, 25 * part + place)).collect();
            self.dynamo.batch_write_item().request_items(TABLE, rows).send().await.unwrap();
        }
    }

    pub async fn store(&self, key: &str, file: &Path) {
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
        if !post.size.is_empty() {
            put = put.item("size", text(post.size));
        }
    }
    if !post.alt.is_empty() {
        put = put.item("alt", text(post.alt));
    }
    WriteRequest::builder().put_request(put.build().unwrap()).build()
}
