//! A headless Chromium: its process, its tabs, and what its pages are allowed to do.

use core::time::Duration;
use std::collections::VecDeque;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::sync::mpsc;
use toolrunner_std::builtin::{BrowserChange, BrowserReport, Display, Tab};

use crate::devtools::{DevTools, Event};
use crate::sites::Sites;

/// How long the browser may take to start.
const START: Duration = Duration::from_secs(60);
/// The most lines of a console that are kept.
const CONSOLE: usize = 200;
/// The most characters of such a line.
const LINE: usize = 1000;
/// The most changes in a report.
const CHANGES: usize = 200;
/// The most tabs. The API accepts 100.
const TABS: usize = 20;

/// A headless Chromium with an empty profile, which is deleted afterwards.
///
/// Its pages reach the [`Sites`] that are allowed, and nothing else; they cannot download, and
/// their dialogs are dismissed. When this is dropped, the browser is killed.
#[derive(Debug)]
pub struct Chromium {
    pub(crate) devtools: Arc<DevTools>,
    pub(crate) sites: Arc<Sites>,
    pub(crate) viewport: Display,
    /// How long a page may take to load.
    pub(crate) limit: Duration,
    state: Arc<Mutex<State>>,
    _profile: TempDir,
}

/// A tab and its page.
#[derive(Clone, Debug)]
pub(crate) struct Page {
    /// What the model calls the tab.
    pub(crate) id: String,
    pub(crate) target: String,
    pub(crate) session: String,
    /// The status of the last reply for the page itself.
    pub(crate) status: Option<u16>,
    console: VecDeque<String>,
}

#[derive(Debug, Default)]
struct State {
    pages: Vec<Page>,
    active: String,
    changes: Vec<BrowserChange>,
    count: usize,
    /// The ids and URLs of downloads that have begun and not ended.
    downloads: Vec<(String, String)>,
    has_ended: bool,
}

/// How a Chromium is started.
#[derive(Clone, Debug)]
pub struct Launch {
    program: String,
    sites: Sites,
    viewport: Display,
    has_sandbox: bool,
    limit: Duration,
}

impl Launch {
    /// Starts the program `chromium`, with a viewport of 1024x768 pixels and a time limit of 30
    /// seconds.
    pub fn new(sites: Sites) -> Self {
        Self {
            program: "chromium".to_owned(),
            sites,
            viewport: Display { width: 1024, height: 768 },
            has_sandbox: true,
            limit: Duration::from_secs(30),
        }
    }

    /// Sets how long a page may take to load, and the browser to answer.
    #[must_use]
    pub const fn time_limit(mut self, limit: Duration) -> Self {
        self.limit = limit;
        self
    }

    /// Sets the program.
    #[must_use]
    pub fn program(mut self, program: impl Into<String>) -> Self {
        self.program = program.into();
        self
    }

    /// Turns Chromium's own sandbox off, as a container in which it would run as root needs it. The
    /// container must then confine the browser.
    #[must_use]
    pub const fn without_sandbox(mut self) -> Self {
        self.has_sandbox = false;
        self
    }

    /// Starts the browser.
    ///
    /// # Errors
    /// Returns an error if an allowed host has no address, or if the browser does not start.
    pub async fn start(self) -> io::Result<Chromium> {
        let profile = tempfile::tempdir()?;
        let Display { width, height } = self.viewport;
        let mut arguments = vec![
            "--headless=new".to_owned(),
            "--remote-debugging-pipe".to_owned(),
            format!("--user-data-dir={}", profile.path().display()),
            format!("--window-size={width},{height}"),
            format!("--host-resolver-rules={}", self.sites.resolver_rules().await?),
            "--no-proxy-server".to_owned(),
            "--webrtc-ip-handling-policy=disable_non_proxied_udp".to_owned(),
        ];
        arguments.extend(
            [
                "--disable-background-networking",
                "--disable-component-update",
                "--disable-extensions",
                "--disable-gpu",
                "--disable-quic",
                "--disable-sync",
                "--hide-scrollbars",
                "--mute-audio",
                "--no-first-run",
                "--password-store=basic",
            ]
            .map(str::to_owned),
        );
        if !self.has_sandbox {
            arguments.push("--no-sandbox".to_owned());
        }
        arguments.push("about:blank".to_owned());
        let (devtools, events) = DevTools::start(&self.program, &arguments, self.limit)?;
        let chromium = Chromium {
            devtools: Arc::new(devtools),
            sites: Arc::new(self.sites),
            viewport: self.viewport,
            limit: self.limit,
            state: Arc::default(),
            _profile: profile,
        };
        chromium.set_up(events).await.map_err(io::Error::other)?;
        Ok(chromium)
    }
}

impl Chromium {
    async fn set_up(&self, events: mpsc::UnboundedReceiver<Event>) -> Result<(), String> {
        tokio::spawn(watch(
            Arc::downgrade(&self.devtools),
            Arc::clone(&self.sites),
            Arc::clone(&self.state),
            self.viewport,
            events,
        ));
        let call = |method: &'static str, params: Value| async move {
            self.devtools.call_within(START, "", method, &params).await
        };
        call("Browser.setDownloadBehavior", json!({"behavior": "deny", "eventsEnabled": true}))
            .await?;
        call("Target.setAutoAttach", attach()).await?;
        self.until(|state| !state.pages.is_empty()).await?;
        self.state().changes.clear();
        Ok(())
    }

    /// Ends the browser, so that its profile can be deleted. Later calls fail.
    pub async fn close(&self) {
        self.devtools.close().await;
        self.state().has_ended = true;
    }

    fn state(&self) -> MutexGuard<'_, State> {
        lock(&self.state)
    }

    /// Waits until the tabs are as `is_so` says.
    async fn until(&self, is_so: impl Fn(&State) -> bool) -> Result<(), String> {
        for _ in 0..1000 {
            if is_so(&self.state()) {
                return Ok(());
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        Err("the browser did not react within 20 s".to_owned())
    }

    /// Returns the tab of this id, or the active one.
    pub(crate) fn page(&self, tab: Option<&str>) -> Result<Page, String> {
        let state = self.state();
        let id = tab.unwrap_or(&state.active);
        let found = state.pages.iter().find(|page| page.id == id).cloned();
        found.ok_or_else(|| match tab {
            _ if state.has_ended => "the browser has ended".to_owned(),
            Some(tab) => format!("no tab {tab} is open; use list_tabs to see what is open"),
            None => "no tab is open; use new_tab to open one".to_owned(),
        })
    }

    pub(crate) fn forget_status(&self, target: &str) {
        if let Some(page) = self.state().pages.iter_mut().find(|page| page.target == target) {
            page.status = None;
        }
    }

    pub(crate) fn take_console(&self, id: &str) -> Vec<String> {
        let mut state = self.state();
        let page = state.pages.iter_mut().find(|page| page.id == id);
        page.map(|page| page.console.drain(..).collect()).unwrap_or_default()
    }

    /// Opens a tab and returns its id.
    pub(crate) async fn open(&self) -> Result<String, String> {
        if self.state().pages.len() >= TABS {
            return Err(format!("{TABS} tabs are open; close one first"));
        }
        let opened =
            self.devtools.call("", "Target.createTarget", &json!({"url": "about:blank"})).await?;
        let target = opened.get("targetId").and_then(Value::as_str).unwrap_or_default();
        self.until(|state| state.pages.iter().any(|page| page.target == target)).await?;
        let mut state = self.state();
        let id = state.pages.iter().find(|page| page.target == target).map(|page| page.id.clone());
        state.active = id.clone().unwrap_or_default();
        id.ok_or_else(|| "the tab was closed".to_owned())
    }

    pub(crate) async fn switch(&self, tab: &str) -> Result<(), String> {
        let page = self.page(Some(tab))?;
        let params = json!({"targetId": page.target});
        self.devtools.call("", "Target.activateTarget", &params).await?;
        self.state().active = page.id;
        Ok(())
    }

    pub(crate) async fn close_tab(&self, tab: &str) -> Result<(), String> {
        let page = self.page(Some(tab))?;
        let params = json!({"targetId": page.target});
        self.devtools.call("", "Target.closeTarget", &params).await?;
        self.until(|state| state.pages.iter().all(|open| open.target != page.target)).await
    }

    /// Returns the tabs, and what has changed since the last report.
    pub(crate) async fn report_tabs(&self) -> BrowserReport {
        let targets = self.devtools.call("", "Target.getTargets", &json!({})).await;
        let targets = targets.unwrap_or_default();
        let infos = targets.get("targetInfos").and_then(Value::as_array);
        let mut state = self.state();
        let tab = |page: &Page| {
            let text = |name: &str| {
                let is_it = |info: &&Value| info["targetId"] == page.target.as_str();
                let info = infos.into_iter().flatten().find(is_it);
                info.and_then(|info| info.get(name)?.as_str()).unwrap_or_default().to_owned()
            };
            let is_active = page.id == state.active;
            Tab { id: page.id.clone(), title: text("title"), url: text("url"), is_active }
        };
        let tabs = state.pages.iter().map(tab).collect();
        BrowserReport { tabs, changes: core::mem::take(&mut state.changes) }
    }
}

fn lock(state: &Mutex<State>) -> MutexGuard<'_, State> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Every page, frame and worker waits until it is set up, so that no request of it is missed.
fn attach() -> Value {
    json!({"autoAttach": true, "waitForDebuggerOnStart": true, "flatten": true})
}

/// Follows the events until the browser has ended.
async fn watch(
    devtools: std::sync::Weak<DevTools>,
    sites: Arc<Sites>,
    state: Arc<Mutex<State>>,
    viewport: Display,
    mut events: mpsc::UnboundedReceiver<Event>,
) {
    while let Some(event) = events.recv().await {
        // Holds the connection no longer than an event takes: when the browser is dropped, this
        // ends too.
        let Some(devtools) = devtools.upgrade() else { return };
        let Event { session, method, params } = &event;
        let text = |path: &str| params.pointer(path).and_then(Value::as_str).unwrap_or_default();
        match &**method {
            "Target.attachedToTarget" => {
                let session = text("/sessionId");
                let post = |method: &str, params: Value| devtools.post(session, method, &params);
                let kind = text("/targetInfo/type");
                // A page opens popups of its own.
                let is_too_many = kind == "page" && lock(&state).pages.len() >= TABS;
                if matches!(kind, "page" | "iframe") {
                    post("Fetch.enable", json!({"patterns": [{"urlPattern": "*"}]}));
                    post("Page.enable", json!({}));
                }
                if kind == "page" {
                    let Display { width, height } = viewport;
                    post(
                        "Emulation.setDeviceMetricsOverride",
                        json!({"width": width, "height": height, "deviceScaleFactor": 1, "mobile": false}),
                    );
                    post("Network.enable", json!({}));
                    post("Network.setBypassServiceWorker", json!({"bypass": true}));
                    post("Runtime.enable", json!({}));
                    if !is_too_many {
                        lock(&state).opened(text("/targetInfo/targetId"), session);
                    }
                }
                post("Target.setAutoAttach", attach());
                // A page that still waits for this would block the one that opened it.
                post("Runtime.runIfWaitingForDebugger", json!({}));
                if is_too_many {
                    let target = json!({"targetId": text("/targetInfo/targetId")});
                    devtools.post("", "Target.closeTarget", &target);
                    lock(&state).changed(BrowserChange::NavigationRefused);
                }
            }
            "Target.detachedFromTarget" => lock(&state).closed(text("/sessionId")),
            "Fetch.requestPaused" => {
                let id = text("/requestId");
                match sites.check(text("/request/url")) {
                    Ok(()) => {
                        devtools.post(session, "Fetch.continueRequest", &json!({"requestId": id}))
                    }
                    Err(_) => {
                        let refusal = json!({"requestId": id, "errorReason": "BlockedByClient"});
                        devtools.post(session, "Fetch.failRequest", &refusal);
                        let mut state = lock(&state);
                        // The main frame has the id of its target.
                        let is_main =
                            state.pages.iter().any(|page| page.target == text("/frameId"));
                        if is_main && text("/resourceType") == "Document" {
                            state.changed(BrowserChange::NavigationRefused);
                        }
                    }
                }
            }
            "Network.responseReceived" if text("/type") == "Document" => {
                let status = params.pointer("/response/status").and_then(Value::as_u64);
                let mut state = lock(&state);
                let frame = text("/frameId");
                if let Some(page) = state.pages.iter_mut().find(|page| page.target == frame) {
                    page.status = status.and_then(|status| status.try_into().ok());
                }
            }
            "Page.javascriptDialogOpening" => {
                let kind = text("/type");
                // Otherwise no page that asks could ever be left.
                let accept = json!({"accept": kind == "beforeunload"});
                devtools.post(session, "Page.handleJavaScriptDialog", &accept);
                if kind != "beforeunload" {
                    let (kind, message) = (kind.to_owned(), text("/message").to_owned());
                    lock(&state).changed(BrowserChange::DialogDismissed { kind, message });
                }
            }
            "Browser.downloadWillBegin" => {
                let download = (text("/guid").to_owned(), text("/url").to_owned());
                lock(&state).downloads.push(download);
            }
            "Browser.downloadProgress" => {
                let mut state = lock(&state);
                let at = state.downloads.iter().position(|(id, _)| id == text("/guid"));
                let (Some(at), "completed" | "canceled") = (at, text("/state")) else { continue };
                let (id, url) = state.downloads.swap_remove(at);
                state.changed(if text("/state") == "completed" {
                    BrowserChange::DownloadCompleted { id, url, path: None, bytes: None }
                } else {
                    let reason = Some("downloads are not allowed".to_owned());
                    BrowserChange::DownloadFailed { id, url, reason }
                });
            }
            "Runtime.consoleAPICalled" => {
                let values = params.get("args").and_then(Value::as_array);
                let shown = |value: &Value| {
                    let value = value.get("value").or_else(|| value.get("description"));
                    value.map(|value| {
                        value.as_str().map_or_else(|| value.to_string(), str::to_owned)
                    })
                };
                let values: Vec<_> = values.into_iter().flatten().filter_map(shown).collect();
                let line = format!("{}: {}", text("/type"), values.join(" "));
                lock(&state).log(session, &line);
            }
            "Runtime.exceptionThrown" => {
                let line =
                    format!("exception: {}", text("/exceptionDetails/exception/description"));
                lock(&state).log(session, &line);
            }
            _ => {}
        }
    }
    lock(&state).has_ended = true;
}

impl State {
    /// Keeps a change for the next report. A page can make more of them than anybody wants to read.
    fn changed(&mut self, change: BrowserChange) {
        if self.changes.len() < CHANGES {
            self.changes.push(change);
        }
    }

    fn opened(&mut self, target: &str, session: &str) {
        if self.pages.iter().any(|page| page.target == target) {
            return;
        }
        self.count += 1;
        let id = format!("tab_{}", self.count);
        if self.active.is_empty() {
            self.active.clone_from(&id);
        }
        self.changed(BrowserChange::TabOpened { tab: id.clone() });
        let (target, session) = (target.to_owned(), session.to_owned());
        self.pages.push(Page { id, target, session, status: None, console: VecDeque::new() });
    }

    fn closed(&mut self, session: &str) {
        self.pages.retain(|page| page.session != session);
        if self.pages.iter().all(|page| page.id != self.active) {
            self.active = self.pages.last().map(|page| page.id.clone()).unwrap_or_default();
        }
    }

    fn log(&mut self, session: &str, line: &str) {
        if let Some(page) = self.pages.iter_mut().find(|page| page.session == session) {
            if page.console.len() == CONSOLE {
                page.console.pop_front();
            }
            page.console.push_back(line.chars().take(LINE).collect());
        }
    }
}
