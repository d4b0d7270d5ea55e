//! A real browser without a window: Chromium, driven through pipes by its DevTools protocol.
//!
//! <https://chromedevtools.github.io/devtools-protocol/>

use std::{
    cell::RefCell,
    env, fmt,
    path::PathBuf,
    process::Stdio,
    time::{Duration, Instant},
};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::{
    io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader},
    process::{Child, ChildStdin, ChildStdout, Command},
    time::timeout,
};

/// Time limit of every browser command on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);

/// Path of the browser. `None` skips the tests; a path to a broken program fails them.
pub fn program() -> Option<PathBuf> {
    let named = env::var_os("GATEKEEPER_TEST_BROWSER").filter(|program| !program.is_empty());
    if named.is_none() {
        eprintln!("skipped: GATEKEEPER_TEST_BROWSER does not name Chromium's program");
    }
    named.map(PathBuf::from)
}

/// A browser with one page. Dropping the browser ends the process.
pub struct Browser {
    wire: RefCell<Option<Wire>>,
    session: String,
    complaints: RefCell<Vec<String>>,
    _child: Child,
    _profile: TempDir,
}

struct Wire {
    to: ChildStdin,
    from: BufReader<ChildStdout>,
    next: u64,
}

impl Browser {
    /// Starts `program` with an empty page of the given size.
    pub async fn start(program: PathBuf, width: u32, height: u32) -> Self {
        let profile = tempfile::tempdir().unwrap();
        // The protocol uses descriptors 3 and 4, with a zero byte behind each message.
        let mut command = Command::new("sh");
        command
            .args(["-c", "exec \"$@\" 3<&0 4>&1 </dev/null >/dev/null 2>&1", "sh"])
            .arg(program)
            .args(["--headless=new", "--remote-debugging-pipe", "--no-first-run", "--no-sandbox"])
            .args(["--disable-gpu", "--disable-dev-shm-usage", "--disable-extensions", "--mute-audio"])
            .args(["--disable-background-networking", "--disable-component-update", "--disable-sync"])
            .args(["--renderer-process-limit=1", "--no-zygote", "--hide-scrollbars"])
            .arg(format!("--user-data-dir={}", profile.path().display()))
            .arg(format!("--window-size={width},{height}"))
            .env("TZ", "UTC")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .kill_on_drop(true);
        let mut child = command.spawn().unwrap();
        let (to, from) = (child.stdin.take().unwrap(), BufReader::new(child.stdout.take().unwrap()));
        let mut browser = Self {
            wire: RefCell::new(Some(Wire { to, from, next: 1 })),
            session: String::new(),
            complaints: RefCell::default(),
            _child: child,
            _profile: profile,
        };
        let target = browser.call("Target.createTarget", json!({ "url": "about:blank" })).await;
        let attach = json!({ "targetId": target["targetId"], "flatten": true });
        let attached = browser.call("Target.attachToTarget", attach).await;
        browser.session = attached["sessionId"].as_str().unwrap().to_owned();
        for domain in ["Page", "Runtime", "Log", "Network"] {
            browser.call(&format!("{domain}.enable"), json!({})).await;
        }
        browser.resize(width, height).await;
        browser
    }

    /// Resizes the window, for example to the size of a phone.
    pub async fn resize(&self, width: u32, height: u32) {
        let size = json!({ "width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 600 });
        self.call("Emulation.setDeviceMetricsOverride", size).await;
    }

    /// Has the reader prefer `dark` or `light`.
    pub async fn scheme(&self, scheme: &str) {
        let features = json!([{ "name": "prefers-color-scheme", "value": scheme }]);
        self.call("Emulation.setEmulatedMedia", json!({ "features": features })).await;
    }

    /// Goes to `url`.
    pub async fn open(&self, url: &str) {
        self.call("Page.navigate", json!({ "url": url })).await;
    }

    /// Value of `expression` in the page; promises are awaited.
    pub async fn js(&self, expression: &str) -> Value {
        let call = json!({ "expression": expression, "returnByValue": true, "awaitPromise": true });
        let answer = self.call("Runtime.evaluate", call).await;
        assert!(answer.get("exceptionDetails").is_none(), "{expression}: {answer}");
        answer["result"]["value"].clone()
    }

    /// Visible text of the elements that match `selector`; empty without a match.
    pub async fn text(&self, selector: &str) -> String {
        let selector = Value::from(selector);
        let seen =
            format!("(it => it?.checkVisibility() ? it.innerText : '')(document.querySelector({selector}))");
        let text = self.js(&seen).await;
        text.as_str().unwrap().to_owned()
    }

    /// Types into the focused element.
    pub async fn type_text(&self, text: &str) {
        self.call("Input.insertText", json!({ "text": text })).await;
    }

    /// Waits until `wanted` accepts the visible text of `selector`; returns the text.
    pub async fn reads(&self, selector: &str, wanted: impl Fn(&str) -> bool) -> String {
        let end = Instant::now() + PATIENCE;
        loop {
            let text = self.text(selector).await;
            if wanted(&text) {
                return text;
            }
            assert!(Instant::now() < end, "{selector} reads:\n{text}\n{self:?}");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    /// A picture of the whole page, as PNG.
    pub async fn picture(&self) -> Vec<u8> {
        let how = json!({ "format": "png", "captureBeyondViewport": true });
        let answer = self.call("Page.captureScreenshot", how).await;
        STANDARD.decode(answer["data"].as_str().unwrap()).unwrap()
    }

    /// Faults reported by the browser so far: errors, broken policies, failed requests, and requests to origins other
    /// than `origin`.
    pub fn complaints(&self) -> Vec<String> {
        self.complaints.borrow().clone()
    }

    async fn call(&self, method: &str, parameters: Value) -> Value {
        let mut wire = self.wire.borrow_mut().take().expect("one call at a time");
        let id = wire.next;
        wire.next += 1;
        let mut message = json!({ "id": id, "method": method, "params": parameters });
        if !self.session.is_empty() {
            message["sessionId"] = self.session.clone().into();
        }
        let talk = async {
            wire.to.write_all(format!("{message}\0").as_bytes()).await.unwrap();
            loop {
                let mut bytes = Vec::new();
                wire.from.read_until(0, &mut bytes).await.unwrap();
                assert_eq!(bytes.pop(), Some(0), "the browser has ended at {method}");
                let reply: Value = serde_json::from_slice(&bytes).unwrap();
                if reply["id"] == id {
                    assert!(reply.get("error").is_none(), "{method}: {reply}");
                    return reply["result"].clone();
                }
                self.note(&reply);
            }
        };
        let answer = timeout(PATIENCE, talk).await.unwrap_or_else(|_| panic!("no answer to {method}"));
        *self.wire.borrow_mut() = Some(wire);
        answer
    }

    fn note(&self, event: &Value) {
        let parameters = &event["params"];
        let complaint = match event["method"].as_str() {
            Some("Runtime.exceptionThrown") => Some(parameters["exceptionDetails"].to_string()),
            Some("Log.entryAdded") if parameters["entry"]["level"] == "error" => {
                Some(format!("{}: {}", parameters["entry"]["text"], parameters["entry"]["url"]))
            }
            Some("Network.requestWillBeSent") => {
                let url = parameters["request"]["url"].as_str().unwrap_or_default();
                // The browser's own icons are `data:`.
                let ours = ["http://127.", "about:", "data:"].iter().any(|start| url.starts_with(start));
                (!ours).then(|| format!("a request to {url}"))
            }
            _ => None,
        };
        self.complaints.borrow_mut().extend(complaint);
    }
}

impl fmt::Debug for Browser {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "complaints: {:#?}", self.complaints.borrow())
    }
}
