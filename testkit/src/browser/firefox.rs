//! Firefox, by its own port for commands.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tempfile::TempDir;

use super::{Refused, installed};
use crate::eventually::PATIENCE;

/// A Firefox, which speaks Marionette: every message is its length, a colon and JSON.
pub(super) struct Firefox {
    line: BufReader<TcpStream>,
    browser: Child,
    last: u64,
    _profile: TempDir,
}

impl Firefox {
    /// Disables Firefox's background activity, selects a free port, and draws scrollbars over the page, which is then as
    /// wide as its window.
    const SETTINGS: &str = r#"
        user_pref("marionette.port", 0);
        user_pref("intl.accept_languages", "en");
        user_pref("ui.useOverlayScrollbars", 1);
        user_pref("app.update.disabledForTesting", true);
        user_pref("datareporting.policy.dataSubmissionEnabled", false);
        user_pref("network.captive-portal-service.enabled", false);
        user_pref("network.connectivity-service.enabled", false);
        user_pref("services.settings.server", "");
    "#;

    /// At least the height of the toolbars.
    const TOOLBARS: u32 = 100;

    pub(super) fn start() -> Firefox {
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
    pub(super) fn attempt(&mut self, command: &str, mut body: Value) -> Result<Value, Refused> {
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

    /// Runs a script with the rights of the browser, outside the page.
    fn in_chrome(&mut self, script: &str, arguments: Value) -> Value {
        self.enter("chrome");
        let result = self.attempt("execute/sync", json!({ "script": script, "args": arguments }));
        self.enter("content");
        result.expect("the browser runs the script")
    }

    /// Runs scripts in the browser itself (`chrome`) or in the page (`content`) from now on.
    fn enter(&mut self, context: &str) {
        self.ask("Marionette:SetContext", json!({ "value": context })).expect("it has both contexts");
    }

    /// Sets a preference to a number or a text.
    pub(super) fn prefer(&mut self, name: &str, value: Value) {
        let script = "const [name, value] = arguments;
            if (typeof value === 'number') Services.prefs.setIntPref(name, value);
            else Services.prefs.setStringPref(name, value)";
        self.in_chrome(script, json!([name, value]));
    }

    /// Errors of the pages' scripts and styles, from the browser's own console.
    pub(super) fn complaints(&mut self) -> Vec<String> {
        let script = "const seen = Services.console.getMessageArray();
            Services.console.reset();
            return seen.filter((it) => it.sourceName?.startsWith('http:')).map(String)";
        let list = self.in_chrome(script, json!([]));
        list.as_array().expect("a list").iter().map(Value::to_string).collect()
    }

    /// Sets the size of the page. A window cannot be as narrow as a phone, but the page in it can.
    pub(super) fn size(&mut self, width: u32, height: u32) {
        let window = json!({ "width": width, "height": height + Self::TOOLBARS });
        self.attempt("window/rect", window).expect("the window has a size");
        // As Firefox's own implementation of `browsingContext.setViewport` in WebDriver BiDi.
        let script = "const { style } = gBrowser.selectedBrowser;
            [style.width, style.height] = arguments;
            document.synchronouslyUpdateRemoteBrowserDimensions(true)";
        self.in_chrome(script, json!([format!("{width}px"), format!("{height}px")]));
    }

    /// Zooms the page as two fingers do.
    pub(super) fn zoom(&mut self, scale: u32) {
        let script = "window.windowUtils.setResolutionAndScaleTo(arguments[0])";
        let call = json!({ "script": script, "args": [scale], "sandbox": "system" });
        self.attempt("execute/sync", call).expect("the window can be zoomed");
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
