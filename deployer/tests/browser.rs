//! The page as a person uses it, in a headless Chromium: log in, write, add pictures, see their labels, delete.

mod support;

use std::{
    env,
    io::{BufRead, BufReader, Read, Write},
    net::TcpStream,
    path::{Path, PathBuf},
    process::{Child, ChildStdout, Command, Stdio},
    time::Duration,
};

use base64::Engine;
use serde_json::{Value, json};
use support::{Project, eventually};

/// The key under which WebDriver names an element.
const ELEMENT: &str = "element-6066-11e4-a52e-4f735466cecf";

/// A Chromium of the test's own. Dropping it ends it and its driver.
struct Chromium {
    client: reqwest::Client,
    port: u16,
    session: String,
    driver: Child,
    _output: BufReader<ChildStdout>, // open, or else the driver could not write to it
    _profile: tempfile::TempDir,
}

impl Chromium {
    async fn start() -> Chromium {
        let browser = installed(&["chromium", "google-chrome"]);
        let mut driver = Command::new(installed(&["chromedriver"]))
            .arg("--port=0")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("chromedriver can be started");
        let output = BufReader::new(driver.stdout.take().expect("its output is piped"));
        let profile = tempfile::tempdir().expect("a temporary folder can be made");
        let client = reqwest::Client::builder().no_proxy().timeout(Duration::from_secs(120)).build().expect("a client");
        // From here on, whatever goes wrong, Drop ends the driver.
        let mut it = Chromium { client, port: 0, session: String::new(), driver, _output: output, _profile: profile };
        it.port = port(&mut it._output);
        let capabilities = json!({ "capabilities": { "alwaysMatch": {
            "browserName": "chrome",
            "goog:loggingPrefs": { "browser": "ALL" },
            "goog:chromeOptions": {
                "binary": browser,
                "args": [
                    "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
                    "--disable-background-networking", "--disable-component-update", "--disable-sync",
                    "--hide-scrollbars",
                    "--window-size=1200,900", format!("--user-data-dir={}", it._profile.path().display()),
                ],
            },
        }}});
        let session = it.ask("/session", capabilities).await;
        it.session = session["sessionId"].as_str().expect("a session").to_owned();
        it
    }

    /// Sends a command to the driver.
    async fn ask(&self, path: &str, body: Value) -> Value {
        let url = format!("http://127.0.0.1:{}{path}", self.port);
        let answer = self.client.post(url).json(&body).send().await.expect("the driver answers");
        let status = answer.status();
        let mut answer: Value = answer.json().await.expect("it answers with JSON");
        assert!(status.is_success(), "{path} {body}: {}: {}", answer["value"]["error"], answer["value"]["message"]);
        answer["value"].take()
    }

    /// Sends a command to the session.
    async fn tell(&self, command: &str, body: Value) -> Value {
        self.ask(&format!("/session/{}/{command}", self.session), body).await
    }

    async fn open(&self, url: &str) {
        self.tell("url", json!({ "url": url })).await;
    }

    /// What a script returns.
    async fn script(&self, script: &str, arguments: Value) -> Value {
        self.tell("execute/sync", json!({ "script": script, "args": arguments })).await
    }

    /// Waits until an expression is true.
    async fn until(&self, what: &str, expression: &str) {
        let script = format!("return Boolean({expression})");
        eventually(what, async || (self.script(&script, json!([])).await == true).then_some(())).await;
    }

    async fn element(&self, selector: &str) -> String {
        let found = self.tell("element", json!({ "using": "css selector", "value": selector })).await;
        found[ELEMENT].as_str().expect("an element").to_owned()
    }

    async fn click(&self, selector: &str) {
        let element = self.element(selector).await;
        self.tell(&format!("element/{element}/click"), json!({})).await;
    }

    /// Types into a field; a file's field takes the path of the file.
    async fn keys(&self, selector: &str, text: &str) {
        let element = self.element(selector).await;
        self.tell(&format!("element/{element}/value"), json!({ "text": text })).await;
    }

    async fn text(&self, selector: &str) -> String {
        let text = self.script("return document.querySelector(arguments[0])?.textContent", json!([selector])).await;
        text.as_str().unwrap_or_default().to_owned()
    }

    /// The posts' titles, from the top.
    async fn titles(&self) -> Value {
        let script = "return [...document.querySelectorAll('#posts article.post h3')].map((h) => h.textContent)";
        self.script(script, json!([])).await
    }

    /// Writes a post, and says by which selector to find it.
    async fn publish(&self, title: &str, body: &str, picture: Option<&Path>) -> String {
        self.keys("#post-title", title).await;
        self.keys("#post-body", body).await;
        if let Some(picture) = picture {
            self.keys("#post-file", &picture.to_string_lossy()).await;
            self.until("the preview", "document.querySelector('#post-preview img')?.naturalWidth").await;
        }
        self.click("#post-form [type=submit]").await;
        let find = "return [...document.querySelectorAll('article.post')]
            .find((post) => post.querySelector('h3').textContent === arguments[0])?.dataset.id";
        let id = eventually("the new post", async || {
            let id = self.script(find, json!([title])).await;
            id.as_str().map(str::to_owned)
        })
        .await;
        format!("article.post[data-id='{id}']")
    }

    /// Waits, without touching the page, until a post has labels and shows its picture from the bucket.
    async fn labelled(&self, post: &str) {
        self.until("labels", &format!("document.querySelector(\"{post} .labels li\")")).await;
        let loaded = format!("document.querySelector(\"{post} .picture img[src^='http']\")?.naturalWidth > 0");
        self.until("the picture", &loaded).await;
    }

    /// A picture of the page in a window of this size, once nothing moves any more.
    async fn screenshot(&self, name: &str, width: u32, height: u32) {
        // Not the window's size: a window is never as narrow as a phone.
        let size = json!({ "width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 600 });
        let command = json!({ "cmd": "Emulation.setDeviceMetricsOverride", "params": size });
        self.tell("goog/cdp/execute", command).await;
        self.script("scrollTo(0, 0)", json!([])).await;
        self.until("a quiet page", "!document.querySelector('.notice.seen') && !document.getAnimations().length").await;
        let overflow = self.script("return document.documentElement.scrollWidth - innerWidth", json!([])).await;
        assert!(overflow.as_i64() <= Some(0), "{name}: the page is {overflow} pixels wider than its window");
        let url = format!("http://127.0.0.1:{}/session/{}/screenshot", self.port, self.session);
        let answer = self.client.get(url).send().await.expect("the driver answers");
        let answer: Value = answer.json().await.expect("it answers with JSON");
        let png = answer["value"].as_str().expect("a picture");
        let png = base64::engine::general_purpose::STANDARD.decode(png).expect("it is Base64");
        let file = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
        std::fs::write(file, png).expect("the picture can be written");
    }

    /// What the browser itself complained about: scripts that fail, answers that are errors, forbidden requests.
    async fn complaints(&self) -> Vec<Value> {
        let log = self.tell("se/log", json!({ "type": "browser" })).await;
        let log = log.as_array().expect("a list").iter();
        log.filter(|entry| entry["level"] == "SEVERE").cloned().collect()
    }
}

impl Drop for Chromium {
    fn drop(&mut self) {
        if !self.session.is_empty() {
            let _ = self.leave();
        }
        let _ = self.driver.kill();
        let _ = self.driver.wait();
    }
}

impl Chromium {
    /// Deletes the session, upon which the browser ends. By hand, because Drop cannot wait for a future.
    fn leave(&self) -> std::io::Result<()> {
        let mut driver = TcpStream::connect(("127.0.0.1", self.port))?;
        driver.set_read_timeout(Some(Duration::from_secs(20)))?;
        let (session, port) = (&self.session, self.port);
        write!(driver, "DELETE /session/{session} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nConnection: close\r\n\r\n")?;
        driver.read_to_end(&mut Vec::new())?;
        Ok(())
    }
}

/// The first of these programs that is there.
fn installed(names: &[&str]) -> PathBuf {
    let path = env::var_os("PATH").unwrap_or_default();
    let folders: Vec<PathBuf> = env::split_paths(&path).collect();
    let places = names.iter().flat_map(|name| folders.iter().map(move |folder| folder.join(name)));
    let found = places.into_iter().find(|place| place.is_file());
    found.unwrap_or_else(|| panic!("{} is not in PATH: .ci/setup installs it", names.join(" or ")))
}

/// The port that the driver says it has.
fn port(output: &mut impl BufRead) -> u16 {
    for line in output.lines() {
        let line = line.expect("the driver writes text");
        if let Some((_, port)) = line.split_once("started successfully on port ") {
            return port.trim_end_matches('.').parse().expect("a port");
        }
    }
    panic!("chromedriver ended without a port");
}

/// A JPEG of hills before a sky with a sun: colours from the top of the sky to the hill in front.
fn landscape(file: &Path, sky: [[f32; 3]; 2], hills: [[f32; 3]; 3]) {
    let mix = |a: [f32; 3], b: [f32; 3], t: f32| [0, 1, 2].map(|i| a[i] + (b[i] - a[i]) * t);
    let picture = image::RgbImage::from_fn(640, 400, |x, y| {
        let (x, y) = (x as f32, y as f32);
        let mut colour = mix(sky[0], sky[1], (y / 300.0).min(1.0));
        let sun = ((x - 480.0).powi(2) + (y - 130.0).powi(2)).sqrt();
        colour =
            mix(colour, [255.0, 244.0, 214.0], (46.0 - sun).clamp(0.0, 1.0).max((1.0 - sun / 220.0).max(0.0) * 0.5));
        for (i, hill) in hills.into_iter().enumerate() {
            let i = i as f32;
            let wave = (x / (95.0 + 30.0 * i) + 2.1 * i).sin() * 26.0 + (x / 41.0 + i).sin() * 7.0;
            let crest = 235.0 + 52.0 * i + wave;
            let hill = mix(hill, hill.map(|part| part * 0.7), ((y - crest) / 160.0).clamp(0.0, 1.0));
            colour = mix(colour, hill, (y - crest).clamp(0.0, 1.0));
        }
        image::Rgb(colour.map(|part| part as u8))
    });
    picture.save_with_format(file, image::ImageFormat::Jpeg).expect("a picture can be written");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_person_writes_posts_with_pictures_and_deletes_one() {
    let project = Project::postagram();
    let folder = tempfile::tempdir().expect("a temporary folder can be made");
    let [lake, meadow, dusk] = ["lake é.jpg", "meadow.jpg", "dusk.jpg"].map(|name| folder.path().join(name));
    landscape(&lake, [[52., 120., 214.], [196., 226., 246.]], [[98., 148., 196.], [58., 108., 170.], [24., 62., 122.]]);
    landscape(
        &meadow,
        [[120., 190., 230.], [232., 244., 214.]],
        [[140., 190., 110.], [84., 148., 76.], [36., 96., 54.]],
    );
    landscape(&dusk, [[92., 44., 130.], [255., 168., 92.]], [[196., 84., 96.], [128., 48., 96.], [58., 24., 70.]]);

    let up = project.done(&["up", "--local", "--yes"]);
    let url = up.stdout.lines().find_map(|line| line.strip_prefix("URL=")).expect("up says its URL").to_owned();
    let page = Chromium::start().await;
    page.open(&url).await;
    page.until("an empty page", "document.querySelector('#empty:not([hidden])')").await;

    // In by name, and the name survives every header.
    page.keys("#login-name", "Zoé").await;
    page.click("#login-form [type=submit]").await;
    page.until("the form", "document.querySelector('#compose:not([hidden])')").await;

    // A picture comes with the post, or later; labels come by themselves.
    let first = page.publish("Blue hour", "The lake, <b>just</b> before the boats go out.", Some(&lake)).await;
    page.labelled(&first).await;
    assert_eq!(page.text(&format!("{first} .author")).await, "Zoé");
    assert_eq!(page.text(&format!("{first} .text")).await, "The lake, <b>just</b> before the boats go out.");
    let second = page.publish("Up on the meadow", "Not a cloud, and nobody but us.", None).await;
    page.keys(&format!("{second} input[type=file]"), &meadow.to_string_lossy()).await;
    page.labelled(&second).await;
    let third = page.publish("Home before dark", "The last light of a long day.", Some(&dusk)).await;
    page.labelled(&third).await;
    let all = json!(["Home before dark", "Up on the meadow", "Blue hour"]);
    assert_eq!(page.titles().await, all);

    page.screenshot("postagram-phone.png", 390, 844).await;
    page.screenshot("postagram-desktop.png", 1200, 900).await;
    // Two posts high: docs/postagram.png is a copy of this one.
    page.screenshot("postagram-docs.png", 1200, 1325).await;

    // Deleting asks first, and is for good; the others stay.
    page.click(&format!("{third} button.delete")).await;
    assert_eq!(page.text("#confirm-title").await, "Home before dark");
    page.click("#cancel-delete").await;
    assert_eq!(page.titles().await, all);
    page.click(&format!("{third} button.delete")).await;
    page.click("#confirm-delete").await;
    page.until("the post to go", &format!("!document.querySelector(\"{third}\")")).await;
    page.open(&url).await;
    page.until("the list", "document.querySelector('#posts[aria-busy=false] article.post')").await;
    assert_eq!(page.titles().await, json!(["Up on the meadow", "Blue hour"]));

    assert_eq!(page.complaints().await, Vec::<Value>::new());
}
