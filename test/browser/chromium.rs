//! A headless Chromium, told what to do over its DevTools protocol; it ends with its test.

use std::io::{BufRead as _, BufReader};
use std::net::TcpStream;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use tungstenite::{Message, WebSocket};

use crate::support::server::Folder;
use crate::support::until;

/// It calls nobody: what is on the network comes from the page.
const WORDS: &[&str] = &[
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-quic",
    "--disable-dev-shm-usage",
    "--hide-scrollbars",
    "--remote-debugging-port=0",
    "about:blank",
];

const AXE: &str =
    concat!(env!("CARGO_TARGET_TMPDIR"), "/../browser/node_modules/axe-core/axe.min.js");

/// One browser with one tab.
pub struct Chromium {
    child: Child,
    socket: WebSocket<TcpStream>,
    session: String,
    calls: u64,
    /// Every request of the page.
    pub requests: Vec<String>,
    /// What the console and the page's scripts complain of, broken policies too.
    pub complaints: Vec<String>,
    _profile: Folder,
}

impl Chromium {
    pub fn start() -> Self {
        let profile = Folder::new();
        let mut command = Command::new("chromium");
        command.args(WORDS).arg(format!("--user-data-dir={}", profile.0.display()));
        command.env("HOME", &profile.0).stdin(Stdio::null()).stderr(Stdio::piped());
        let mut child =
            command.spawn().expect("chromium is installed: test/browser/setup.sh does it");
        let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
        let url = lines
            .by_ref()
            .map_while(Result::ok)
            .find_map(|line| line.strip_prefix("DevTools listening on ").map(str::to_owned));
        let url = url.expect("chromium says where it listens");
        // An unread pipe would stop it in the end.
        thread::Builder::new().spawn(move || lines.count()).unwrap();
        let address = url.split('/').nth(2).unwrap();
        let stream = TcpStream::connect(address).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
        let (socket, _) = tungstenite::client(&url, stream).unwrap();
        let mut browser = Chromium {
            child,
            socket,
            session: String::new(),
            calls: 0,
            requests: Vec::new(),
            complaints: Vec::new(),
            _profile: profile,
        };
        let target = browser.call("Target.createTarget", &json!({ "url": "about:blank" }));
        let attach = json!({ "targetId": target["targetId"], "flatten": true });
        let session = browser.call("Target.attachToTarget", &attach);
        browser.session = session["sessionId"].as_str().unwrap().to_owned();
        for domain in ["Page", "Runtime", "Log", "Network"] {
            browser.call(&format!("{domain}.enable"), &json!({}));
        }
        browser.window(1280, 900, 1.0, false);
        browser
    }

    /// Calls a method and notes what happens until its answer.
    pub fn call(&mut self, method: &str, params: &Value) -> Value {
        self.calls += 1;
        let mut call = json!({ "id": self.calls, "method": method, "params": params });
        if !self.session.is_empty() {
            call["sessionId"] = json!(self.session);
        }
        self.socket.send(Message::text(call.to_string())).unwrap();
        loop {
            let Message::Text(text) = self.socket.read().unwrap() else { continue };
            let mut message: Value = serde_json::from_str(text.as_str()).unwrap();
            if message["id"] == self.calls {
                assert!(message["error"].is_null(), "{method}: {message}");
                return message["result"].take();
            }
            self.note(&message);
        }
    }

    fn note(&mut self, event: &Value) {
        let params = &event["params"];
        match event["method"].as_str().unwrap_or_default() {
            "Network.requestWillBeSent" => {
                self.requests.push(params["request"]["url"].as_str().unwrap().to_owned());
            }
            "Network.webSocketCreated" => {
                self.requests.push(params["url"].as_str().unwrap().to_owned());
            }
            "Log.entryAdded" => self.complaints.push(params["entry"]["text"].to_string()),
            "Runtime.exceptionThrown" => self.complaints.push(params.to_string()),
            "Runtime.consoleAPICalled" if params["type"] == "error" => {
                self.complaints.push(params["args"].to_string());
            }
            _ => {}
        }
    }

    pub fn window(&mut self, width: u32, height: u32, scale: f64, phone: bool) {
        let metrics = json!({
            "width": width, "height": height, "deviceScaleFactor": scale, "mobile": phone,
        });
        self.call("Emulation.setDeviceMetricsOverride", &metrics);
        self.call("Emulation.setTouchEmulationEnabled", &json!({ "enabled": phone }));
    }

    pub fn dark(&mut self) {
        let feature = json!({ "name": "prefers-color-scheme", "value": "dark" });
        self.call("Emulation.setEmulatedMedia", &json!({ "features": [feature] }));
    }

    pub fn speaks(&mut self, languages: &str) {
        let headers = json!({ "headers": { "Accept-Language": languages } });
        self.call("Network.setExtraHTTPHeaders", &headers);
    }

    /// Opens a page and waits until its script has run.
    pub fn open(&mut self, url: &str) {
        let answer = self.call("Page.navigate", &json!({ "url": url }));
        assert!(answer["errorText"].is_null(), "{url}: {answer}");
        self.until("document.readyState === 'complete' && location.pathname === '/sync'");
    }

    /// The value of an expression in the page.
    pub fn value(&mut self, expression: &str) -> Value {
        let params = json!({
            "expression": expression, "returnByValue": true, "awaitPromise": true,
        });
        let answer = self.call("Runtime.evaluate", &params);
        assert!(answer["exceptionDetails"].is_null(), "{expression}: {answer}");
        answer["result"]["value"].clone()
    }

    pub fn text(&mut self, expression: &str) -> String {
        self.value(expression).as_str().unwrap_or_default().to_owned()
    }

    /// Waits until an expression in the page holds.
    pub fn until(&mut self, expression: &str) {
        until(expression, || self.value(expression) == true);
    }

    /// Types into whatever has the focus.
    pub fn type_text(&mut self, text: &str) {
        self.call("Input.insertText", &json!({ "text": text }));
    }

    /// Presses a key by its name.
    pub fn press(&mut self, key: &str) {
        let (code, text) = if key == "Enter" { (13, "\r") } else { (9, "") };
        for kind in ["keyDown", "keyUp"] {
            let event = json!({
                "type": kind, "key": key, "code": key, "windowsVirtualKeyCode": code, "text": text,
            });
            self.call("Input.dispatchKeyEvent", &event);
        }
    }

    /// What the window shows, as PNG.
    pub fn screenshot(&mut self) -> Vec<u8> {
        let answer = self.call("Page.captureScreenshot", &json!({ "format": "png" }));
        STANDARD.decode(answer["data"].as_str().unwrap()).unwrap()
    }

    /// Every violation that axe finds, one a line, and how many rules passed.
    pub fn axe(&mut self) -> (String, u64) {
        if self.value("typeof axe") != "object" {
            let axe = std::fs::read_to_string(AXE).unwrap_or_else(|error| {
                panic!("axe is missing: test/browser/setup.sh gets it: {error}")
            });
            self.value(&format!("{axe};true"));
        }
        let report = self.value(
            "axe.run(document, { resultTypes: ['violations', 'passes', 'incomplete'] }).then(r => ({
                found: [...r.violations, ...r.incomplete].map(v => v.id + ': ' + v.nodes.map(n => n.html).join(' | ')),
                passed: r.passes.length }))",
        );
        let found = report["found"].as_array().unwrap();
        let found: Vec<&str> = found.iter().filter_map(Value::as_str).collect();
        (found.join("\n"), report["passed"].as_u64().unwrap())
    }
}

impl Drop for Chromium {
    fn drop(&mut self) {
        self.session.clear();
        let close = json!({ "id": 0, "method": "Browser.close" });
        let _ = self.socket.send(Message::text(close.to_string()));
        for _ in 0..100 {
            if matches!(self.child.try_wait(), Ok(Some(_))) {
                return;
            }
            thread::sleep(Duration::from_millis(50));
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
