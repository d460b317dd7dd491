//! A test's own headless browser, Chromium or Firefox, driven with WebDriver commands.

use std::env;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::time::{Duration, Instant};

use base64::Engine;
use parking_lot::Mutex;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::eventually::{PATIENCE, eventually_or_show};
use crate::programs::scratch;

/// The key of an element's reference in WebDriver.
const ELEMENT: &str = "element-6066-11e4-a52e-4f735466cecf";

/// A window of a browser. Dropping it ends the browser and every process started for it.
pub struct Browser {
    driver: Driver,
}

enum Driver {
    Chromium(Chromium),
    Firefox(Mutex<Firefox>),
}

impl Browser {
    /// Starts a Chromium with its driver.
    pub async fn chromium() -> Browser {
        Browser { driver: Driver::Chromium(Chromium::start().await) }
    }

    /// Starts a Firefox, which needs no driver: it accepts the same commands at its own port.
    pub async fn firefox() -> Browser {
        Browser { driver: Driver::Firefox(Mutex::new(Firefox::start())) }
    }

    /// Whether it has Chromium's own protocol.
    pub fn is_chromium(&self) -> bool {
        matches!(self.driver, Driver::Chromium(_))
    }

    /// Sends a command, named as in chromedriver's paths.
    pub async fn send_command(&self, command: &str, body: Value) -> Value {
        self.attempt(command, body).await.unwrap_or_else(|refused| panic!("{refused}"))
    }

    /// Sends a command that the browser may refuse.
    async fn attempt(&self, command: &str, body: Value) -> Result<Value, Refused> {
        match &self.driver {
            Driver::Chromium(chromium) => chromium.attempt(command, body).await,
            Driver::Firefox(firefox) => firefox.lock().attempt(command, body),
        }
    }

    /// Sends a command of Chromium's own protocol, for features that WebDriver lacks.
    pub async fn devtools(&self, command: &str, params: Value) -> Value {
        self.send_command("goog/cdp/execute", json!({ "cmd": command, "params": params })).await
    }

    /// Opens an address.
    pub async fn open(&self, url: &str) {
        self.send_command("url", json!({ "url": url })).await;
    }

    /// Runs a script and returns its result.
    pub async fn script(&self, script: &str, arguments: Value) -> Value {
        self.send_command("execute/sync", json!({ "script": script, "args": arguments })).await
    }

    /// Runs a script and returns the value that it passes to the function in its last argument.
    pub async fn script_that_waits(&self, script: &str, arguments: Value) -> Value {
        self.send_command("execute/async", json!({ "script": script, "args": arguments })).await
    }

    /// Returns the value of an expression.
    pub async fn value(&self, expression: &str) -> Value {
        self.script(&format!("return {expression}"), json!([])).await
    }

    /// Waits until an expression is true.
    pub async fn until(&self, what: &str, expression: &str) {
        let script = format!("return Boolean({expression})");
        self.eventually(what, async || (self.script(&script, json!([])).await == true).then_some(())).await;
    }

    /// Polls until there is an answer. The message of a failure includes the text of the page.
    pub async fn eventually<T>(&self, what: &str, poll: impl AsyncFnMut() -> Option<T>) -> T {
        let page = async || format!("; the page says: {}", self.value("document.body.innerText").await);
        eventually_or_show(what, poll, page).await
    }

    /// Clicks on the element that a selector names, once there is one.
    pub async fn click(&self, selector: &str) {
        // The browser itself may scroll the element behind the bar at the top. The wheel makes a page that restores its
        // place leave that to the reader.
        let scroll = "dispatchEvent(new Event('wheel'));
            document.querySelector(arguments[0])?.scrollIntoView({ block: 'center' })";
        self.eventually(selector, async || {
            self.script(scroll, json!([selector])).await;
            self.command_element(selector, "click", json!({})).await
        })
        .await;
    }

    /// Types into a field, once there is one; a file input takes the path of the file.
    pub async fn keys(&self, selector: &str, text: &str) {
        self.eventually(selector, async || self.command_element(selector, "value", json!({ "text": text })).await)
            .await;
    }

    /// Presses keys one after the other, wherever the focus is.
    pub async fn press(&self, keys: &str) {
        let strokes =
            keys.chars().flat_map(|key| ["keyDown", "keyUp"].map(|kind| json!({ "type": kind, "value": key })));
        self.strokes(strokes.collect()).await;
    }

    /// Presses a key while another is held.
    pub async fn press_with(&self, held: char, key: char) {
        let strokes = [("keyDown", held), ("keyDown", key), ("keyUp", key), ("keyUp", held)];
        self.strokes(strokes.map(|(kind, key)| json!({ "type": kind, "value": key })).into()).await;
    }

    async fn strokes(&self, strokes: Vec<Value>) {
        let keyboard = json!({ "type": "key", "id": "keyboard", "actions": strokes });
        self.send_command("actions", json!({ "actions": [keyboard] })).await;
    }

    /// The text of the first element that a selector names; empty if there is none.
    pub async fn text(&self, selector: &str) -> String {
        let text = self.script("return document.querySelector(arguments[0])?.textContent", json!([selector])).await;
        text.as_str().unwrap_or_default().to_owned()
    }

    /// Saves a screenshot of the window with those of all tests.
    pub async fn screenshot(&self, name: &str) {
        let png = self.send_command("screenshot", json!({})).await;
        let png = png.as_str().expect("a picture");
        let png = base64::engine::general_purpose::STANDARD.decode(png).expect("it is Base64");
        let folder = scratch().join("screenshots");
        std::fs::create_dir_all(&folder).expect("a folder for pictures can be made");
        std::fs::write(folder.join(name), png).expect("the picture can be written");
    }

    /// The browser's own console errors since the last call: failed scripts, error responses, blocked requests.
    pub async fn complaints(&self) -> Vec<String> {
        match &self.driver {
            Driver::Chromium(chromium) => chromium.complaints().await,
            Driver::Firefox(firefox) => firefox.lock().complaints(),
        }
    }

    /// Sets the preferred colour scheme of the user: `light` or `dark`.
    pub async fn scheme(&self, scheme: &str) {
        match &self.driver {
            Driver::Chromium(_) => {
                let feature = json!({ "name": "prefers-color-scheme", "value": scheme });
                self.devtools("Emulation.setEmulatedMedia", json!({ "features": [feature] })).await;
            }
            Driver::Firefox(firefox) => {
                let value = if scheme == "dark" { 0 } else { 1 };
                firefox.lock().prefer("layout.css.prefers-color-scheme.content-override", json!(value));
            }
        }
    }

    /// Sets the preferred languages of the user, such as `fr-CA,en`, for pages opened from now on.
    pub async fn languages(&self, languages: &str) {
        match &self.driver {
            Driver::Chromium(_) => {
                let agent = self.value("navigator.userAgent").await;
                let languages = json!({ "userAgent": agent, "acceptLanguage": languages });
                self.devtools("Emulation.setUserAgentOverride", languages).await;
            }
            Driver::Firefox(firefox) => firefox.lock().prefer("intl.accept_languages", json!(languages)),
        }
    }

    /// Blocks cookies and storage for pages opened from now on, as users can.
    pub async fn block_storage(&self) {
        match &self.driver {
            Driver::Chromium(_) => {
                // What a page sees with the setting "block all cookies", which only a start of the browser could change.
                let block = "for (const name of ['localStorage', 'sessionStorage', 'indexedDB']) {
                    const get = () => { throw new DOMException('Access is denied for this document.', 'SecurityError') };
                    Object.defineProperty(window, name, { get });
                }";
                self.devtools("Page.addScriptToEvaluateOnNewDocument", json!({ "source": block })).await;
            }
            Driver::Firefox(firefox) => firefox.lock().prefer("network.cookie.cookieBehavior", json!(2)),
        }
    }

    /// Sets the size of the page: that of the viewport in Chromium, that of the window in Firefox, which is never
    /// narrower than 450 pixels.
    pub async fn size(&self, width: u32, height: u32) {
        match &self.driver {
            Driver::Chromium(_) => {
                let mobile = width < 600;
                let size = json!({ "width": width, "height": height, "deviceScaleFactor": 1, "mobile": mobile });
                self.devtools("Emulation.setDeviceMetricsOverride", size).await;
            }
            Driver::Firefox(_) => {
                self.send_command("window/rect", json!({ "width": width, "height": height })).await;
            }
        }
    }

    /// Sends a command to the element that a selector names. `None` if there is none, or if the page has replaced it
    /// since it was found: then the browser has done nothing.
    async fn command_element(&self, selector: &str, command: &str, body: Value) -> Option<()> {
        let sent = async {
            let found = self.attempt("element", json!({ "using": "css selector", "value": selector })).await?;
            let element = found[ELEMENT].as_str().expect("an element");
            self.attempt(&format!("element/{element}/{command}"), body).await
        };
        match sent.await {
            Ok(_) => Some(()),
            Err(refused) if ["no such element", "stale element reference"].contains(&&*refused.code) => None,
            Err(refused) => panic!("{selector}: {refused}"),
        }
    }
}

/// A command that the browser has refused: WebDriver's code of the error, and the whole answer.
#[derive(Debug, thiserror::Error)]
#[error("{answer}")]
struct Refused {
    code: String,
    answer: String,
}

struct Chromium {
    client: reqwest::Client,
    port: u16,
    session: String,
    driver: Child,
    _output: BufReader<ChildStdout>, // kept open: without it, the driver could not write
    _profile: TempDir,
}

impl Chromium {
    async fn start() -> Chromium {
        let browser = installed(&["chromium", "google-chrome"]);
        let (driver, output, port) = Self::driver();
        let profile = tempfile::tempdir().expect("a temporary folder can be made");
        let client = reqwest::Client::builder().no_proxy().timeout(PATIENCE).build().expect("a client");
        // From here on, `Drop` ends the driver even if a later step fails.
        let mut it = Chromium { client, port, session: String::new(), driver, _output: output, _profile: profile };
        let capabilities = json!({ "capabilities": { "alwaysMatch": {
            "browserName": "chrome",
            "goog:loggingPrefs": { "browser": "ALL" },
            "goog:chromeOptions": {
                "binary": browser,
                "args": [
                    "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
                    "--disable-background-networking", "--disable-component-update", "--disable-sync",
                    "--hide-scrollbars", "--accept-lang=en",
                    "--window-size=1200,900", format!("--user-data-dir={}", it._profile.path().display()),
                ],
            },
        }}});
        let session = it.ask("/session", capabilities).await.expect("a session can be started");
        it.session = session["sessionId"].as_str().expect("a session").to_owned();
        it
    }

    /// Starts the driver at a free port, with retries: it needs the same port on two addresses, and when several start
    /// at once, another process may have the second.
    fn driver() -> (Child, BufReader<ChildStdout>, u16) {
        for _ in 0..20 {
            let mut driver = Command::new(installed(&["chromedriver"]))
                .arg("--port=0")
                .stdin(Stdio::null())
                .stdout(Stdio::piped())
                .stderr(Stdio::null())
                .spawn()
                .expect("chromedriver can be started");
            let mut output = BufReader::new(driver.stdout.take().expect("its output is piped"));
            if let Some(port) = port(&mut output) {
                return (driver, output, port);
            }
            let _ = driver.kill();
            let _ = driver.wait();
        }
        panic!("chromedriver ends without a port");
    }

    /// Sends a command to the driver.
    async fn ask(&self, path: &str, body: Value) -> Result<Value, Refused> {
        let url = format!("http://127.0.0.1:{}{path}", self.port);
        let call = if path.ends_with("/screenshot") { self.client.get(url) } else { self.client.post(url).json(&body) };
        let answer = call.send().await.expect("the driver answers");
        let status = answer.status();
        let mut answer: Value = answer.json().await.expect("it answers with JSON");
        let why = &answer["value"];
        if !status.is_success() {
            let code = why["error"].as_str().unwrap_or_default().to_owned();
            return Err(Refused {
                code,
                answer: format!("{path} {:.300}: {}: {}", body.to_string(), why["error"], why["message"]),
            });
        }
        Ok(answer["value"].take())
    }

    /// Sends a command to the session.
    async fn attempt(&self, command: &str, body: Value) -> Result<Value, Refused> {
        self.ask(&format!("/session/{}/{command}", self.session), body).await
    }

    async fn complaints(&self) -> Vec<String> {
        let log = self.attempt("se/log", json!({ "type": "browser" })).await.expect("the driver has a log");
        let log = log.as_array().expect("a list").iter();
        log.filter(|entry| entry["level"] == "SEVERE").map(|entry| entry["message"].to_string()).collect()
    }

    /// Deletes the session, which ends the browser. Written with blocking I/O, because `Drop` cannot await.
    fn leave(&self) -> std::io::Result<()> {
        let mut driver = TcpStream::connect(("127.0.0.1", self.port))?;
        driver.set_read_timeout(Some(Duration::from_secs(20)))?;
        let (session, port) = (&self.session, self.port);
        write!(driver, "DELETE /session/{session} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nConnection: close\r\n\r\n")?;
        driver.read_to_end(&mut Vec::new())?;
        Ok(())
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

/// Speaks Marionette: every message is its length, a colon and JSON.
struct Firefox {
    line: BufReader<TcpStream>,
    browser: Child,
    last: u64,
    _profile: TempDir,
}

impl Firefox {
    /// Disables Firefox's background activity, and selects a free port.
    const SETTINGS: &str = r#"
        user_pref("marionette.port", 0);
        user_pref("intl.accept_languages", "en");
        user_pref("app.update.disabledForTesting", true);
        user_pref("datareporting.policy.dataSubmissionEnabled", false);
        user_pref("network.captive-portal-service.enabled", false);
        user_pref("network.connectivity-service.enabled", false);
        user_pref("services.settings.server", "");
    "#;

    fn start() -> Firefox {
        let profile = tempfile::tempdir().expect("a temporary folder can be made");
        std::fs::write(profile.path().join("user.js"), Self::SETTINGS).expect("its settings can be written");
        let mut browser = Command::new(installed(&["firefox", "firefox-esr"]))
            .args(["--marionette", "--headless", "--no-remote", "--remote-allow-system-access", "--profile"])
            .arg(profile.path())
            .env("HOME", profile.path())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("Firefox can be started");
        let line = port_in(&profile.path().join("MarionetteActivePort"))
            .and_then(|port| TcpStream::connect(("127.0.0.1", port)).ok())
            .filter(|line| line.set_read_timeout(Some(PATIENCE)).is_ok());
        let Some(line) = line else {
            let _ = browser.kill();
            let _ = browser.wait();
            panic!("Firefox does not accept commands");
        };
        let mut it = Firefox { line: BufReader::new(line), browser, last: 0, _profile: profile };
        it.hear();
        it.ask("WebDriver:NewSession", json!({ "capabilities": { "alwaysMatch": {} } }))
            .expect("a session can be started");
        it
    }

    /// Sends a command under Firefox's own name for it.
    fn attempt(&mut self, command: &str, mut body: Value) -> Result<Value, Refused> {
        let name = match command {
            "url" => "WebDriver:Navigate",
            "execute/sync" => "WebDriver:ExecuteScript",
            "execute/async" => "WebDriver:ExecuteAsyncScript",
            "element" => "WebDriver:FindElement",
            "actions" => "WebDriver:PerformActions",
            "screenshot" => {
                body = json!({ "full": false });
                "WebDriver:TakeScreenshot"
            }
            "window/rect" => "WebDriver:SetWindowRect",
            of_an_element => {
                let (id, act) = of_an_element["element/".len()..].split_once('/').expect("an element and what to do");
                body["id"] = id.into();
                if act == "click" { "WebDriver:ElementClick" } else { "WebDriver:ElementSendKeys" }
            }
        };
        let mut answer = self.ask(name, body)?;
        Ok(if answer.get("value").is_some() { answer["value"].take() } else { answer })
    }

    fn ask(&mut self, name: &str, body: Value) -> Result<Value, Refused> {
        self.last += 1;
        let message = json!([0, self.last, name, body]).to_string();
        write!(self.line.get_mut(), "{}:{message}", message.len()).expect("Firefox listens");
        let mut answer = self.hear();
        assert_eq!(answer[1], json!(self.last), "{name}");
        let why = &answer[2];
        if !why.is_null() {
            let code = why["error"].as_str().unwrap_or_default().to_owned();
            return Err(Refused { code, answer: format!("{name}: {}: {}", why["error"], why["message"]) });
        }
        Ok(answer[3].take())
    }

    fn hear(&mut self) -> Value {
        let mut length = Vec::new();
        self.line.read_until(b':', &mut length).expect("Firefox answers");
        let length = String::from_utf8_lossy(&length).trim_end_matches(':').parse().expect("a length");
        let mut message = vec![0; length];
        self.line.read_exact(&mut message).expect("Firefox answers in full");
        serde_json::from_slice(&message).expect("it answers with JSON")
    }

    /// Runs scripts in the browser itself (`chrome`) or in the page (`content`) from now on.
    fn enter(&mut self, context: &str) {
        self.ask("Marionette:SetContext", json!({ "value": context })).expect("it has both contexts");
    }

    /// Sets a preference to a number or a text.
    fn prefer(&mut self, name: &str, value: Value) {
        self.enter("chrome");
        let script = "const [name, value] = arguments;
            if (typeof value === 'number') Services.prefs.setIntPref(name, value);
            else Services.prefs.setStringPref(name, value)";
        self.attempt("execute/sync", json!({ "script": script, "args": [name, value] })).expect("it has preferences");
        self.enter("content");
    }

    /// Errors of the pages' scripts and styles, from the browser's own console.
    fn complaints(&mut self) -> Vec<String> {
        self.enter("chrome");
        let script = "const seen = Services.console.getMessageArray();
            Services.console.reset();
            return seen.filter((it) => it.sourceName?.startsWith('http:')).map(String)";
        let list = self.attempt("execute/sync", json!({ "script": script, "args": [] })).expect("it has a console");
        self.enter("content");
        list.as_array().expect("a list").iter().map(Value::to_string).collect()
    }
}

impl Firefox {
    /// Ends the browser as a user would, so that its processes have ended before its profile is removed.
    fn leave(&mut self) -> std::io::Result<()> {
        let message = json!([0, self.last + 1, "Marionette:Quit", { "flags": ["eForceQuit"] }]).to_string();
        write!(self.line.get_mut(), "{}:{message}", message.len())?;
        let begun = Instant::now();
        while self.browser.try_wait()?.is_none() && begun.elapsed() < Duration::from_secs(20) {
            std::thread::sleep(Duration::from_millis(20));
        }
        Ok(())
    }
}

impl Drop for Firefox {
    fn drop(&mut self) {
        let _ = self.leave();
        let _ = self.browser.kill();
        let _ = self.browser.wait();
    }
}

/// Returns the first of these programs that is installed.
fn installed(names: &[&str]) -> PathBuf {
    let path = env::var_os("PATH").unwrap_or_default();
    let folders: Vec<PathBuf> = env::split_paths(&path).collect();
    let places = names.iter().flat_map(|name| folders.iter().map(move |folder| folder.join(name)));
    let found = places.into_iter().find(|place| place.is_file());
    found.unwrap_or_else(|| panic!("{} is not in PATH: .ci/setup installs it", names.join(" or ")))
}

/// Reads the port that the driver reports; `None` if it ends without one.
fn port(output: &mut impl BufRead) -> Option<u16> {
    output.lines().map_while(Result::ok).find_map(|line| {
        let (_, port) = line.split_once("started successfully on port ")?;
        port.trim_end_matches('.').parse().ok()
    })
}

/// Reads the port that Firefox writes into a file once it listens.
fn port_in(file: &Path) -> Option<u16> {
    let begun = Instant::now();
    while begun.elapsed() < PATIENCE {
        if let Some(port) = std::fs::read_to_string(file).ok().and_then(|text| text.trim().parse().ok()) {
            return Some(port);
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    None
}
