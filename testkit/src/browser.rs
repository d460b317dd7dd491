//! A test's own headless browser, Chromium or Firefox, driven with WebDriver commands.

mod chromium;
mod firefox;

use std::env;
use std::path::PathBuf;

use base64::Engine;
use parking_lot::Mutex;
use serde_json::{Value, json};

use self::chromium::Chromium;
use self::firefox::Firefox;
use crate::eventually::eventually_or_show;
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

    /// Saves a screenshot of the window with those of all tests; one of Firefox begins with its name.
    pub async fn screenshot(&self, name: &str) {
        let png = self.send_command("screenshot", json!({})).await;
        let png = png.as_str().expect("a picture");
        let png = base64::engine::general_purpose::STANDARD.decode(png).expect("it is Base64");
        let folder = scratch().join("screenshots");
        std::fs::create_dir_all(&folder).expect("a folder for pictures can be made");
        let browser = if self.is_chromium() { "" } else { "firefox-" };
        std::fs::write(folder.join(format!("{browser}{name}")), png).expect("the picture can be written");
    }

    /// The browser's own console errors since the last call: failed scripts, error responses, blocked requests.
    pub async fn complaints(&self) -> Vec<String> {
        match &self.driver {
            Driver::Chromium(chromium) => chromium.complaints().await,
            Driver::Firefox(firefox) => firefox.lock().complaints(),
        }
    }

    /// Sets the preferred colour scheme of the user, `light` or `dark`, and waits until the page has it.
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
        self.until("the colour scheme", &format!("matchMedia('(prefers-color-scheme: {scheme})').matches")).await;
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

    /// Sets the size of the viewport.
    pub async fn size(&self, width: u32, height: u32) {
        match &self.driver {
            Driver::Chromium(_) => {
                let mobile = width < 600;
                let size = json!({ "width": width, "height": height, "deviceScaleFactor": 1, "mobile": mobile });
                self.devtools("Emulation.setDeviceMetricsOverride", size).await;
            }
            Driver::Firefox(firefox) => {
                firefox.lock().size(width, height);
                let is_set = format!("innerWidth === {width} && innerHeight === {height}");
                self.until("the size of the page", &is_set).await;
            }
        }
    }

    /// Zooms the page as two fingers do.
    pub async fn zoom(&self, scale: u32) {
        match &self.driver {
            Driver::Chromium(_) => {
                self.devtools("Emulation.setPageScaleFactor", json!({ "pageScaleFactor": scale })).await;
            }
            Driver::Firefox(firefox) => firefox.lock().zoom(scale),
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

/// Returns the first of these programs that is installed.
fn installed(names: &[&str]) -> PathBuf {
    let path = env::var_os("PATH").unwrap_or_default();
    let folders: Vec<PathBuf> = env::split_paths(&path).collect();
    let places = names.iter().flat_map(|name| folders.iter().map(move |folder| folder.join(name)));
    let found = places.into_iter().find(|place| place.is_file());
    found.unwrap_or_else(|| panic!("{} is not in PATH: .ci/setup installs it", names.join(" or ")))
}
