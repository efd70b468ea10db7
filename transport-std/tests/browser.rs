//! The browser toolset: the definition, checked inputs, the SDKs' texts, and the browser's state.
#![cfg(feature = "browser")]

mod toolset;

use core::time::Duration;
use std::fs;
use std::sync::{Arc, Mutex};

use serde_json::{Value, json};
use toolrunner_core::error::Misuse;
use toolrunner_core::json::{Text, Value as Input};
use toolrunner_core::tool::{Output, ToolCall, ToolError, Tools};
use toolrunner_std::builtin::{
    Browser, BrowserChange, BrowserMember, BrowserReport, BrowserToolset, Display, FormValue,
    LoadedPage, Navigation, PageFilter, Point, Region, Screenshot, ScrollDirection, Tab, Target,
    Upload,
};
use toolset::{Call, PNG, image, played, played_with, text, texts};

/// A browser that records what it does, and reports what the test has put there.
#[derive(Clone, Default)]
struct Recorder {
    done: Arc<Mutex<Vec<String>>>,
    reports: Arc<Mutex<Vec<BrowserReport>>>,
}

type Line = Result<Option<String>, ToolError>;

impl Recorder {
    fn reports(reports: Vec<BrowserReport>) -> Self {
        Self { reports: Arc::new(Mutex::new(reports)), ..Self::default() }
    }

    fn record(&self, line: String) {
        self.done.lock().unwrap().push(line);
    }

    fn line(&self, line: String) -> Line {
        self.record(line);
        Ok(None)
    }

    fn text(&self, line: String, text: &str) -> Result<String, ToolError> {
        self.record(line);
        Ok(text.to_owned())
    }

    fn done(&self) -> Vec<String> {
        self.done.lock().unwrap().clone()
    }
}

fn tab(id: &str, is_active: bool) -> Tab {
    Tab {
        id: id.to_owned(),
        title: format!("Title {id}"),
        url: format!("https://{id}/"),
        is_active,
    }
}

/// A report of one tab with these changes.
fn report(changes: Vec<BrowserChange>) -> BrowserReport {
    BrowserReport { tabs: vec![tab("a", true)], changes }
}

impl Browser for Recorder {
    const MEMBERS: &'static [BrowserMember] = BrowserMember::ALL;

    fn viewport(&self) -> Option<Display> {
        Some(Display { width: 1280, height: 720 })
    }

    async fn report(&self) -> BrowserReport {
        let mut reports = self.reports.lock().unwrap();
        if reports.is_empty() { report(vec![]) } else { reports.remove(0) }
    }

    async fn navigate(
        &self,
        tab: Option<&str>,
        to: Navigation<'_>,
    ) -> Result<LoadedPage, ToolError> {
        self.record(format!("navigate {tab:?} {to:?}"));
        if to == Navigation::Back {
            return Err(ToolError::new("no page before this one"));
        }
        Ok(LoadedPage {
            url: "https://a/\n".to_owned(),
            title: Some("A\u{202e}B".to_owned()),
            status: Some(200),
        })
    }

    async fn new_tab(&self) -> Result<String, ToolError> {
        Ok("b".to_owned())
    }

    async fn switch_tab(&self, tab: &str) -> Result<(), ToolError> {
        self.record(format!("switch_tab {tab}"));
        Ok(())
    }

    async fn close_tab(&self, tab: &str) -> Result<(), ToolError> {
        self.record(format!("close_tab {tab}"));
        Ok(())
    }

    async fn read_page(
        &self,
        tab: Option<&str>,
        filter: Option<PageFilter>,
        root: Option<&str>,
        depth: u32,
    ) -> Result<String, ToolError> {
        self.text(format!("read_page {tab:?} {filter:?} {root:?} {depth}"), "button [ref_1]")
    }

    async fn get_page_text(&self, tab: Option<&str>) -> Result<String, ToolError> {
        self.text(format!("get_page_text {tab:?}"), "")
    }

    async fn read_console(&self, tab: Option<&str>) -> Result<String, ToolError> {
        self.text(format!("read_console {tab:?}"), "log: 1")
    }

    async fn read_network(&self, tab: Option<&str>) -> Result<String, ToolError> {
        self.text(format!("read_network {tab:?}"), "GET /")
    }

    async fn find(&self, tab: Option<&str>, query: &str) -> Result<String, ToolError> {
        self.text(format!("find {tab:?} {query}"), "button [ref_1]")
    }

    async fn form_input(&self, tab: Option<&str>, element: &str, value: &FormValue) -> Line {
        self.line(format!("form_input {tab:?} {element} {value:?}"))
    }

    async fn file_upload(&self, tab: Option<&str>, element: &str, files: &Upload) -> Line {
        let paths: Vec<_> = files.paths.iter().filter_map(|path| path.file_name()).collect();
        self.line(format!("file_upload {tab:?} {element} {paths:?} {:?}", files.documents))
    }

    async fn scroll_to(&self, tab: Option<&str>, element: &str) -> Line {
        self.line(format!("scroll_to {tab:?} {element}"))
    }

    async fn screenshot(&self, _: Option<&str>) -> Result<Screenshot, ToolError> {
        Ok(Screenshot::new(PNG.to_vec()))
    }

    async fn zoom(&self, tab: Option<&str>, region: Region) -> Result<Screenshot, ToolError> {
        self.record(format!("zoom {tab:?} {} {}", region.left, region.bottom));
        Ok(Screenshot::new(PNG.to_vec()))
    }

    async fn left_click(&self, tab: Option<&str>, at: &Target, held: Option<&str>) -> Line {
        self.record(format!("left_click {tab:?} {at:?} {held:?}"));
        Ok(Some("The page\nis loading.".to_owned()))
    }

    async fn right_click(&self, tab: Option<&str>, at: &Target, held: Option<&str>) -> Line {
        self.line(format!("right_click {tab:?} {at:?} {held:?}"))
    }

    async fn middle_click(&self, tab: Option<&str>, at: &Target, held: Option<&str>) -> Line {
        self.line(format!("middle_click {tab:?} {at:?} {held:?}"))
    }

    async fn double_click(&self, tab: Option<&str>, at: &Target, held: Option<&str>) -> Line {
        self.line(format!("double_click {tab:?} {at:?} {held:?}"))
    }

    async fn triple_click(&self, tab: Option<&str>, at: &Target, held: Option<&str>) -> Line {
        self.line(format!("triple_click {tab:?} {at:?} {held:?}"))
    }

    async fn hover(&self, tab: Option<&str>, at: &Target) -> Line {
        self.line(format!("hover {tab:?} {at:?}"))
    }

    async fn left_click_drag(&self, tab: Option<&str>, from: Point, to: Point) -> Line {
        self.line(format!("left_click_drag {tab:?} {},{} {},{}", from.x, from.y, to.x, to.y))
    }

    async fn left_mouse_down(&self, tab: Option<&str>, at: Point) -> Line {
        self.line(format!("left_mouse_down {tab:?} {},{}", at.x, at.y))
    }

    async fn left_mouse_up(&self, tab: Option<&str>, at: Point) -> Line {
        self.line(format!("left_mouse_up {tab:?} {},{}", at.x, at.y))
    }

    async fn mouse_move(&self, tab: Option<&str>, to: Point) -> Line {
        self.line(format!("mouse_move {tab:?} {},{}", to.x, to.y))
    }

    async fn scroll(
        &self,
        tab: Option<&str>,
        at: Point,
        direction: ScrollDirection,
        notches: u32,
    ) -> Line {
        self.line(format!("scroll {tab:?} {},{} {direction:?} {notches}", at.x, at.y))
    }

    async fn type_text(&self, tab: Option<&str>, text: &str) -> Line {
        self.line(format!("type {tab:?} {text}"))
    }

    async fn key(&self, tab: Option<&str>, keys: &str, times: u32) -> Line {
        self.line(format!("key {tab:?} {keys} {times}"))
    }

    async fn hold_key(&self, tab: Option<&str>, keys: &str, time: Duration) -> Line {
        self.line(format!("hold_key {tab:?} {keys} {time:?}"))
    }

    async fn wait(&self, tab: Option<&str>, time: Duration) -> Line {
        self.line(format!("wait {tab:?} {time:?}"))
    }

    async fn javascript_exec(&self, tab: Option<&str>, script: &str) -> Result<String, ToolError> {
        self.text(format!("javascript_exec {tab:?} {script}"), "2")
    }
}

/// A browser that can only show its page.
struct Viewer;

impl Browser for Viewer {
    const MEMBERS: &'static [BrowserMember] = &[BrowserMember::Screenshot, BrowserMember::Find];

    async fn report(&self) -> BrowserReport {
        BrowserReport::default()
    }
}

const OFF: [BrowserMember; 4] = [
    BrowserMember::ReadConsole,
    BrowserMember::ReadNetwork,
    BrowserMember::FileUpload,
    BrowserMember::JavascriptExec,
];

fn all_on(browser: Recorder) -> BrowserToolset<Recorder> {
    OFF.into_iter().fold(BrowserToolset::new(browser), |set, member| set.with(member).unwrap())
}

/// The state that [`report`] means.
fn state() -> Value {
    json!({"type": "browser_state", "tabs": [{"tab_id": "a", "title": "Title a", "url": "https://a/", "active": true}]})
}

/// Inputs of the members that answer with text, what the browser does, and what the model reads.
fn members() -> Vec<(&'static str, Value, &'static str, &'static str)> {
    let point = json!({"type": "coordinate", "x": 1279, "y": 719});
    let element = json!({"type": "ref", "ref": "ref_7"});
    vec![
        (
            "navigate",
            json!({"url": "a.example"}),
            "navigate None Url(\"a.example\")",
            "Navigated to https://a/ \u{2014} A B (HTTP 200)",
        ),
        (
            "navigate",
            json!({"url": " Reload ", "tab_id": "a"}),
            "navigate Some(\"a\") Reload",
            "Navigated to https://a/ \u{2014} A B (HTTP 200)",
        ),
        ("read_page", json!({}), "read_page None None None 15", "button [ref_1]"),
        (
            "read_page",
            json!({"filter": "interactive", "ref": "ref_1", "depth": 2}),
            "read_page None Some(Interactive) Some(\"ref_1\") 2",
            "button [ref_1]",
        ),
        ("get_page_text", json!({}), "get_page_text None", "(empty)"),
        ("read_console", json!({"tab_id": "b"}), "read_console Some(\"b\")", "log: 1"),
        ("read_network", json!({}), "read_network None", "GET /"),
        ("find", json!({"query": "a button"}), "find None a button", "button [ref_1]"),
        ("javascript_exec", json!({"text": "1+1"}), "javascript_exec None 1+1", "2"),
        (
            "form_input",
            json!({"target": element, "value": true}),
            "form_input None ref_7 Flag(true)",
            "Set the value of ref_7.",
        ),
        (
            "form_input",
            json!({"target": element, "value": 2.5}),
            "form_input None ref_7 Number(2.5)",
            "Set the value of ref_7.",
        ),
        (
            "form_input",
            json!({"target": element, "value": "x"}),
            "form_input None ref_7 Text(\"x\")",
            "Set the value of ref_7.",
        ),
        ("scroll_to", json!({"target": element}), "scroll_to None ref_7", "Scrolled to ref_7."),
        (
            "right_click",
            json!({"target": element, "modifiers": "ctrl"}),
            "right_click None Element(\"ref_7\") Some(\"ctrl\")",
            "Right-clicked.",
        ),
        (
            "middle_click",
            json!({"target": point}),
            "middle_click None Point(Point { x: 1279, y: 719 }) None",
            "Middle-clicked.",
        ),
        (
            "double_click",
            json!({"target": element}),
            "double_click None Element(\"ref_7\") None",
            "Double-clicked.",
        ),
        (
            "triple_click",
            json!({"target": element}),
            "triple_click None Element(\"ref_7\") None",
            "Triple-clicked.",
        ),
        ("hover", json!({"target": element}), "hover None Element(\"ref_7\")", "Hovered."),
        (
            "left_click_drag",
            json!({"from": {"type": "coordinate", "x": 1, "y": 2}, "target": point}),
            "left_click_drag None 1,2 1279,719",
            "Dragged.",
        ),
        (
            "left_mouse_down",
            json!({"target": point}),
            "left_mouse_down None 1279,719",
            "Mouse button pressed.",
        ),
        (
            "left_mouse_up",
            json!({"target": point}),
            "left_mouse_up None 1279,719",
            "Mouse button released.",
        ),
        ("mouse_move", json!({"target": point}), "mouse_move None 1279,719", "Moved the mouse."),
        (
            "scroll",
            json!({"target": point, "scroll_direction": "up"}),
            "scroll None 1279,719 Up 3",
            "Scrolled up.",
        ),
        ("type", json!({"text": "Ada"}), "type None Ada", "Typed."),
        (
            "key",
            json!({"text": "ctrl+a Delete"}),
            "key None ctrl+a Delete 1",
            "Pressed ctrl+a Delete.",
        ),
        (
            "hold_key",
            json!({"text": "a", "duration": 0.5}),
            "hold_key None a 500ms",
            "Held a for 0.5s.",
        ),
        ("wait", json!({"duration": 2}), "wait None 2s", "Waited 2s."),
    ]
}

#[tokio::test]
async fn every_member_has_the_inputs_and_texts_of_the_sdks() {
    let browser = Recorder::default();
    let mut calls: Vec<Call> =
        members().into_iter().map(|(name, input, ..)| (name, input)).collect();
    let count = calls.len();
    calls.extend([
        ("left_click", json!({"target": {"type": "coordinate", "x": 1, "y": 2}})),
        ("screenshot", json!({})),
        ("zoom", json!({"region": [0, 0, 1280, 720]})),
        ("list_tabs", json!({})),
        ("switch_tab", json!({"tab_id": "a"})),
        ("close_tab", json!({"tab_id": "a"})),
    ]);
    let (first, results) = played(all_on(browser.clone()), "browser", &calls).await;
    let on = json!({"enabled": true});
    assert_eq!(
        first["tools"],
        json!([{"type": "browser_toolset_20260801", "configs": {"read_console": on, "read_network": on, "file_upload": on, "javascript_exec": on}}])
    );
    let mut done = Vec::new();
    for ((name, _, did, said), result) in members().into_iter().zip(&results) {
        let content = result["content"].as_array().unwrap();
        assert_eq!(content[0], json!({"type": "text", "text": said}), "{name}");
        assert_eq!(content[1..], [state()], "{name}");
        assert_eq!(result["toolset_name"], "browser");
        done.push(did.to_owned());
    }
    done.extend(
        [
            "left_click None Point(Point { x: 1, y: 2 }) None",
            "zoom None 0 720",
            "switch_tab a",
            "close_tab a",
        ]
        .map(str::to_owned),
    );
    assert_eq!(browser.done(), done);
    let [clicked, shot, zoomed, listed, switched, closed] = &results[count..] else { panic!() };
    assert_eq!(texts(clicked), ["Clicked.", "The page is loading."]);
    assert_eq!([&shot["content"], &zoomed["content"]], [&json!([image(), state()]); 2]);
    assert_eq!([listed, switched, closed].map(|result| &result["content"]), [&json!([state()]); 3]);
    assert!(results.iter().all(|result| result.get("is_error").is_none()));
}

#[tokio::test]
async fn what_does_not_fit_is_refused_and_nothing_is_done() {
    let browser = Recorder::default();
    let at = |x: i64, y: i64| json!({"type": "coordinate", "x": x, "y": y});
    let cases = [
        (
            "left_click",
            json!({"target": at(1280, 0)}),
            "target: expected a point within 1280x720 pixels, got [1280,0]",
        ),
        (
            "mouse_move",
            json!({"target": at(0, 720)}),
            "target: expected a point within 1280x720 pixels, got [0,720]",
        ),
        (
            "left_click_drag",
            json!({"from": at(0, 9999), "target": at(0, 0)}),
            "from: expected a point within 1280x720 pixels, got [0,9999]",
        ),
        (
            "zoom",
            json!({"region": [0, 0, 1281, 1]}),
            "region: expected [x0,y0,x1,y1] with x0 < x1 and y0 < y1 within 1280x720 pixels, got [0,0,1281,1]",
        ),
        ("left_click", json!({"target": at(-1, 0)}), "target.x: expected "),
        ("left_click", json!({"target": {"type": "pixel"}}), "target.type: expected "),
        ("left_click", json!({"target": [1, 2]}), "target: expected "),
        ("left_click", json!({}), "target: expected "),
        // An element cannot be scrolled at, and a point has no value.
        (
            "scroll",
            json!({"target": {"type": "ref", "ref": "ref_1"}, "scroll_direction": "up"}),
            "target.type: expected ",
        ),
        ("form_input", json!({"target": at(1, 1), "value": "a"}), "target.type: expected "),
        (
            "scroll",
            json!({"target": at(1, 1), "scroll_direction": "up", "scroll_amount": 11}),
            "scroll_amount: expected ",
        ),
        ("wait", json!({"duration": 31}), "duration: expected "),
        ("hold_key", json!({"text": "a", "duration": -1}), "duration: expected "),
        ("navigate", json!({"url": ""}), "url: expected "),
        ("switch_tab", json!({}), "tab_id: expected "),
        ("read_page", json!({"filter": "none"}), "filter: expected "),
        ("new_tab", json!({"url": "https://a/"}), "url: expected "),
    ];
    let calls: Vec<_> = cases.iter().map(|(name, input, _)| (*name, input.clone())).collect();
    let (_, results) = played(all_on(browser.clone()), "browser", &calls).await;
    for ((name, _, said), result) in cases.iter().zip(&results) {
        let start = format!("Error: invalid input for tool '{name}': {said}");
        assert!(text(result).starts_with(&start), "{} does not start with {start}", text(result));
        assert_eq!(result["is_error"], true);
    }
    assert_eq!(browser.done(), [] as [String; 0]);
}

#[tokio::test]
async fn a_policy_sees_each_url_before_the_browser() {
    let browser = Recorder::default();
    let toolset = BrowserToolset::new(browser.clone()).url_policy(|url| {
        if url == "https://a/" {
            Ok(())
        } else {
            Err(ToolError::text(format!("{url} is not for you")))
        }
    });
    let calls = ["https://a/", "https://b/", "FORWARD", "back"]
        .map(|url| ("navigate", json!({"url": url})));
    let (_, results) = played(toolset, "browser", &calls).await;
    let said: Vec<_> = results[1..].iter().map(|result| texts(result)[0]).collect();
    assert_eq!(
        said,
        [
            "https://b/ is not for you",
            "Navigated to https://a/ \u{2014} A B (HTTP 200)",
            "no page before this one"
        ]
    );
    assert_eq!(
        browser.done(),
        ["navigate None Url(\"https://a/\")", "navigate None Forward", "navigate None Back"]
    );
}

/// A path that does not even claim to be in the directory is refused without a look at the files,
/// as in the SDKs: on some systems the look itself does harm.
#[cfg(unix)]
#[tokio::test]
async fn a_path_is_judged_by_its_text_before_the_files_are_touched() {
    use std::os::unix::fs::symlink;
    use std::path::Path;

    let dir = tempfile::tempdir().unwrap();
    let root = dir.path().join("real");
    fs::create_dir_all(root.join("sub")).unwrap();
    fs::write(root.join("a.txt"), "a").unwrap();
    // A link to the directory, by which the program and the model know it, and one that nobody
    // named.
    let (known, other) = (dir.path().join("known"), dir.path().join("other"));
    symlink(&root, &known).unwrap();
    symlink(&root, &other).unwrap();
    let upload = |path: String| {
        let target = json!({"type": "ref", "ref": "ref_1"});
        ("file_upload", json!({"paths": [path], "target": target}))
    };
    let in_root = |root: &Path| root.join("a.txt").to_str().unwrap().to_owned();
    let canonical = root.canonicalize().unwrap();
    let (outside, no_file) = (
        "file_upload path is outside the configured upload roots",
        "file_upload path is not a file",
    );
    let cases = [
        (in_root(&known), "Uploaded."),
        (in_root(&canonical), "Uploaded."),
        (in_root(&other), outside),
        (String::new(), "file_upload path is empty or contains a NUL byte"),
        ("a.txt\0".to_owned(), "file_upload path is empty or contains a NUL byte"),
        ("a/".repeat(2049), "file_upload path is too long"),
        (r"sub\..\a.txt".to_owned(), "file_upload path must not contain a '..' component"),
        (".".to_owned(), no_file),
        ("sub".to_owned(), no_file),
    ];
    let calls: Vec<_> = cases.iter().map(|(path, _)| upload(path.clone())).collect();
    let toolset = all_on(Recorder::default()).uploads_from(&known).unwrap();
    let (_, results) = played(toolset, "browser", &calls).await;
    for ((path, expected), result) in cases.iter().zip(&results) {
        assert_eq!(texts(result)[0], *expected, "{path:?}");
    }
}

/// The API would refuse the state, and with it every later request.
#[tokio::test]
async fn a_state_that_the_api_would_refuse_is_an_error_of_the_call() {
    let many = |count: usize| (0..count).map(|i| tab(&format!("tab_{i}"), i == 0)).collect();
    let tabs: [(Vec<Tab>, &str); 5] = [
        (many(100), ""),
        (Vec::new(), ""),
        (
            many(101),
            "The browser has 101 open tabs, but a result can state at most 100. Close some of them, such as tab_1, tab_2, tab_3, tab_4, tab_5.",
        ),
        (
            vec![tab("a", true), tab("b", true)],
            "The browser does not report exactly one of its tabs as the active one.",
        ),
        (vec![tab("a", true), tab("a", false)], "The browser reports two tabs with the same id."),
    ];
    for (tabs, expected) in tabs {
        let reports = vec![BrowserReport { tabs, changes: Vec::new() }];
        let results = reported(&[("get_page_text", json!({}))], reports).await;
        assert_eq!(results[0]["is_error"] == true, !expected.is_empty(), "{}", results[0]);
        if !expected.is_empty() {
            assert_eq!(text(&results[0]), expected);
        }
    }
}

#[tokio::test]
async fn uploads_stay_in_their_directory_and_are_off_by_default() {
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path().join("uploads");
    fs::create_dir(&root).unwrap();
    fs::write(root.join("a.txt"), "a").unwrap();
    fs::write(dir.path().join("secret.txt"), "s").unwrap();
    #[cfg(unix)]
    std::os::unix::fs::symlink("../secret.txt", root.join("link.txt")).unwrap();
    let upload = |files: Value| {
        let mut input = files;
        input["target"] = json!({"type": "ref", "ref": "ref_1"});
        ("file_upload", input)
    };
    let outside = dir.path().join("secret.txt");
    let inside = root.canonicalize().unwrap().join("a.txt");
    let calls = [
        upload(json!({"paths": ["a.txt"]})),
        upload(json!({"paths": [inside], "document_ids": ["doc_1"]})),
        upload(json!({"paths": ["../secret.txt"]})),
        upload(json!({"paths": [outside]})),
        upload(json!({"paths": ["link.txt"]})),
        upload(json!({"paths": ["missing.txt"]})),
        upload(json!({"document_ids": ["doc_2"]})),
        upload(json!({})),
    ];
    let browser = Recorder::default();
    let toolset = all_on(browser.clone()).uploads_from(&root).unwrap().upload_documents(["doc_1"]);
    let (_, results) = played(toolset, "browser", &calls).await;
    let outside = "file_upload path is outside the configured upload roots";
    let said: Vec<_> = results.iter().map(|result| texts(result)[0]).collect();
    assert_eq!(
        said,
        [
            "Uploaded.",
            "Uploaded.",
            "file_upload path must not contain a '..' component",
            outside,
            outside,
            outside,
            "document not in the upload allowlist",
            "Error: invalid input for tool 'file_upload': expected paths or document_ids, got neither",
        ]
    );
    assert_eq!(
        browser.done(),
        ["file_upload None ref_1 [\"a.txt\"] []", "file_upload None ref_1 [\"a.txt\"] [\"doc_1\"]"]
    );

    let calls = [upload(json!({"paths": ["a.txt"]})), upload(json!({"document_ids": ["doc_1"]}))];
    let (_, results) = played(all_on(browser.clone()), "browser", &calls).await;
    let said = results.iter().map(text).collect::<Vec<_>>();
    assert_eq!(
        said,
        [
            "file_upload has no configured upload roots",
            "file_upload has no configured document allowlist"
        ]
    );
    let (_, results) = played(BrowserToolset::new(browser), "browser", &calls).await;
    assert!(text(&results[0]).starts_with("The 'file_upload' action is not permitted"));
}

#[tokio::test]
async fn a_browser_may_have_some_members_only() {
    let calls = [
        ("navigate", json!({"url": "https://a/"})),
        ("find", json!({"query": "a"})),
        ("javascript_exec", json!({"text": "1"})),
    ];
    let (first, results) = played(BrowserToolset::new(Viewer), "browser", &calls).await;
    let configs = first["tools"][0]["configs"].as_object().unwrap();
    assert_eq!(configs.len(), BrowserMember::ALL.len() - 2);
    assert!(configs.values().all(|config| *config == json!({"enabled": false})));
    let said: Vec<_> = results.iter().map(text).collect();
    assert_eq!(
        said,
        ["navigate", "find", "javascript_exec"].map(|name| format!(
            "The browser toolset member '{name}' is not available in this environment."
        ))
    );
    let missing = BrowserToolset::new(Viewer).with(BrowserMember::ReadConsole).map(drop);
    assert!(matches!(
        missing,
        Err(Misuse::Setting("a toolset enables a member that is not implemented"))
    ));

    let toolset = BrowserToolset::new(Recorder::default());
    assert_eq!(toolset.definition(0).unwrap().json, r#"{"type":"browser_toolset_20260801"}"#);
    let tools = (0..).map_while(|i| toolset.definition(i));
    let marked = tools.filter(|tool| tool.requires_approval).map(|tool| tool.name);
    assert_eq!(marked.collect::<Vec<_>>(), ["file_upload", "javascript_exec"]);
}

/// A call that does nothing, in a browser of these reports. Returns the results.
async fn reported(calls: &[Call], reports: Vec<BrowserReport>) -> Vec<Value> {
    played(BrowserToolset::new(Recorder::reports(reports)), "browser", calls).await.1
}

#[tokio::test]
async fn the_next_result_states_what_a_failed_call_changed() {
    let (id, url) = ("d".to_owned(), "https://a/f".to_owned());
    let started = BrowserChange::DownloadStarted { id: id.clone(), url: url.clone() };
    let completed = BrowserChange::DownloadCompleted {
        id,
        url,
        path: Some("/tmp/f".to_owned()),
        bytes: Some(5),
    };
    let opened = |tab: &str| BrowserChange::TabOpened { tab: tab.to_owned() };
    let dialog = |kind: &str, message: &str| BrowserChange::DialogDismissed {
        kind: kind.to_owned(),
        message: message.to_owned(),
    };
    let two = |changes| BrowserReport { tabs: vec![tab("a", true), tab("p", false)], changes };
    let calls = [
        ("navigate", json!({"url": "back"})),
        ("list_tabs", json!({})),
        ("wait", json!({"duration": 0})),
    ];
    let reports = vec![
        // A popup that is gone again is left out.
        two(vec![started, opened("p"), opened("gone"), BrowserChange::NavigationRefused]),
        two(vec![completed, opened("p"), dialog("confirm", "Really?\n")]),
        two(vec![
            dialog("alert", ""),
            dialog("", "b"),
            dialog("prompt", "c"),
            dialog("prompt", "d"),
        ]),
    ];
    let results = reported(&calls, reports).await;
    assert_eq!(texts(&results[0]), ["no page before this one", "A navigation was refused."]);
    assert_eq!(results[0]["is_error"], true);
    let tabs = json!([
        {"tab_id": "a", "title": "Title a", "url": "https://a/", "active": true},
        {"tab_id": "p", "title": "Title p", "url": "https://p/"},
    ]);
    assert_eq!(
        results[1]["content"],
        json!([{"type": "browser_state", "tabs": tabs, "state_changes": [
            {"tab_id": "p", "type": "tab_opened"},
            {"type": "download_completed", "download_id": "d", "url": "https://a/f", "path": "/tmp/f", "size_bytes": 5},
        ]}])
    );
    // Beside the state of a tab member there is no room for text.
    assert_eq!(
        texts(&results[2]),
        [
            "Waited 0s.",
            r#"A confirm dialog "Really?" was dismissed."#,
            "An alert dialog was dismissed.",
            r#"A dialog "b" was dismissed."#,
            "2 more dialogs were dismissed.",
        ]
    );
    let state = results[2]["content"].as_array().unwrap().last().unwrap();
    assert_eq!(*state, json!({"type": "browser_state", "tabs": tabs}));
}

#[tokio::test]
async fn the_next_result_states_what_a_result_could_not_hold() {
    let (id, url) = ("d".to_owned(), "https://a/f".to_owned());
    let started = BrowserChange::DownloadStarted { id, url };
    let toolset = BrowserToolset::new(Recorder::reports(vec![report(vec![started])]));
    let call = async |name: &str, bytes: usize| {
        let i = toolset.find_member(Text::from_raw("browser"), Text::from_raw(name)).unwrap();
        let mut memory = Vec::new();
        let mut out = Output::growing(&mut memory).limit(bytes);
        let input = Input::first(b"{}").unwrap();
        let call = ToolCall::new(Text::from_raw("t1"), Text::from_raw(name), input, &mut []);
        let is_ok = toolset.call(i, call, &mut out).await.is_ok();
        is_ok.then(|| String::from_utf8(out.finish().unwrap().to_vec()).unwrap())
    };
    assert_eq!(call("screenshot", 200).await, None);
    assert!(call("list_tabs", 1000).await.unwrap().contains("download_started"));
    assert!(!call("list_tabs", 1000).await.unwrap().contains("download_started"));
}

#[tokio::test]
async fn a_new_tab_is_the_only_active_one_and_the_only_one_that_was_opened() {
    let opened = |tab: &str| BrowserChange::TabOpened { tab: tab.to_owned() };
    let good = |changes| BrowserReport {
        tabs: vec![tab("a", false), tab("b", true), tab("p", false)],
        changes,
    };
    let calls = [("new_tab", json!({})), ("list_tabs", json!({}))];
    let results = reported(&calls, vec![good(vec![opened("p")]), good(vec![])]).await;
    let changes = |i: usize| &results[i]["content"][0]["state_changes"];
    assert_eq!(*changes(0), json!([{"tab_id": "b", "type": "tab_opened"}]));
    assert_eq!(*changes(1), json!([{"tab_id": "p", "type": "tab_opened"}]));

    for tabs in
        [vec![tab("a", true), tab("b", false)], vec![tab("b", true), tab("a", true)], vec![]]
    {
        let results = reported(&calls, vec![BrowserReport { tabs, changes: vec![] }]).await;
        assert_eq!(
            text(&results[0]),
            "new_tab opened a tab, but the browser does not report it as the only active tab. Call list_tabs to see the tabs."
        );
        assert_eq!(results[0]["is_error"], true);
    }
}

#[tokio::test]
async fn what_a_page_supplies_is_one_line_of_bounded_length() {
    let long = "x".repeat(5000);
    let mut page = tab("a", true);
    page.title = format!("a\u{2028}\u{7}b {long}");
    page.url = format!("https://user@{long}.example/");
    let id = "d".to_owned();
    let failed = BrowserChange::DownloadFailed {
        id,
        url: page.url.clone(),
        reason: Some(page.title.clone()),
    };
    let dialog = BrowserChange::DialogDismissed { kind: long.clone(), message: long.clone() };
    let results = reported(
        &[("wait", json!({"duration": 0}))],
        vec![BrowserReport { tabs: vec![page], changes: vec![failed, dialog] }],
    )
    .await;
    let content = results[0]["content"].as_array().unwrap();
    let dialog = content[1]["text"].as_str().unwrap();
    assert_eq!(
        dialog,
        format!("A {} dialog \"{}\u{2026}\" was dismissed.", "x".repeat(20), "x".repeat(200))
    );
    let state = &content[2];
    let title = state["tabs"][0]["title"].as_str().unwrap();
    assert!(title.starts_with("a b xxx") && title.len() == 4096, "{title}");
    let url = state["tabs"][0]["url"].as_str().unwrap();
    // Not a URL any more, from which somebody could read a host.
    assert!(url.starts_with("\u{2026}https://") && url.chars().count() == 4096, "{url}");
    assert_eq!(state["state_changes"][0]["url"], url);
    assert_eq!(state["state_changes"][0]["error"], title);
}

#[tokio::test]
async fn after_a_failed_member_the_rest_of_the_turn_does_not_run() {
    let browser = Recorder::default();
    let calls = [
        ("mouse_move", json!({"target": {"type": "coordinate", "x": 1, "y": 1}})),
        ("navigate", json!({"url": "back"})),
        ("type", json!({"text": "into the wrong page"})),
    ];
    let toolset = Arc::new(BrowserToolset::new(browser.clone()));
    let (_, results) = played_with(Arc::clone(&toolset), Some("browser"), &[&calls]).await;
    assert_eq!(browser.done(), ["mouse_move None 1,1", "navigate None Back"]);
    assert_eq!(text(&results[2]), "Not executed: an earlier action in this turn failed.");
}
