//! Chromium, by its driver.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::process::{Child, ChildStdout, Command, Stdio};
use std::time::Duration;

use serde_json::{Value, json};
use tempfile::TempDir;

use super::{Refused, installed};
use crate::eventually::PATIENCE;

/// A session of chromedriver.
pub(super) struct Chromium {
    client: reqwest::Client,
    port: u16,
    session: String,
    driver: Child,
    _output: BufReader<ChildStdout>, // kept open: without it, the driver could not write
    _profile: TempDir,
}

impl Chromium {
    pub(super) async fn start() -> Chromium {
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
    pub(super) async fn attempt(&self, command: &str, body: Value) -> Result<Value, Refused> {
        self.ask(&format!("/session/{}/{command}", self.session), body).await
    }

    pub(super) async fn complaints(&self) -> Vec<String> {
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

/// Reads the port that the driver reports; `None` if it ends without one.
fn port(output: &mut impl BufRead) -> Option<u16> {
    output.lines().map_while(Result::ok).find_map(|line| {
        let (_, port) = line.split_once("started successfully on port ")?;
        port.trim_end_matches('.').parse().ok()
    })
}
