//! Chromium as a browser of the toolset, on pages of this machine. Run with `-- --ignored`: it
//! needs Debian's `chromium`, or another program that `CHROMIUM` names.

use core::time::Duration;
use std::env;
use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::Instant;

use toolrunner_examples_browser::site::{Page, Site};
use toolrunner_examples_browser::{Chromium, Launch, Sites};
use toolrunner_std::builtin::{
    Browser, BrowserChange, BrowserReport, FormValue, Navigation, PageFilter, Point, Region,
    Screenshot, ScrollDirection, Target,
};

/// Starts Chromium for a site. It runs as root in CI, where it has no sandbox.
async fn chromium(site: &Site) -> Chromium {
    launch(site).start().await.unwrap()
}

fn launch(site: &Site) -> Launch {
    let sites = Sites::default().allow(&site.authority()).allow_private();
    let program = env::var("CHROMIUM").unwrap_or_else(|_| "chromium".to_owned());
    Launch::new(sites).without_sandbox().program(program)
}

async fn open(browser: &Chromium, site: &Site, path: &str) {
    let page = browser.navigate(None, Navigation::Url(&site.url(path))).await.unwrap();
    assert_eq!((&*page.url, page.status), (&*site.url(path), Some(200)));
}

/// Returns the reference of the only element that `find` finds.
async fn element(browser: &Chromium, query: &str) -> String {
    let found = browser.find(None, query).await.unwrap();
    let first = found.lines().next().unwrap_or_else(|| panic!("no {query}"));
    first.split(['[', ']']).nth(1).unwrap().to_owned()
}

async fn click(browser: &Chromium, query: &str) {
    let target = Target::Element(element(browser, query).await);
    assert_eq!(browser.left_click(None, &target, None).await.unwrap(), None);
}

async fn text(browser: &Chromium) -> String {
    browser.get_page_text(None).await.unwrap()
}

/// Asks until the answer is as it should be, for 10 seconds: a busy machine takes its time.
#[track_caller]
fn eventually<T: core::fmt::Debug, F: Future<Output = T>>(
    ask: impl Fn() -> F,
    is_so: impl Fn(&T) -> bool,
) -> impl Future<Output = T> {
    let caller = core::panic::Location::caller();
    async move {
        let began = Instant::now();
        loop {
            let answer = ask().await;
            if is_so(&answer) {
                return answer;
            }
            assert!(began.elapsed() < Duration::from_secs(10), "{caller}: {answer:?}");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }
}

/// Returns the first report with a change.
async fn changed(browser: &Chromium) -> BrowserReport {
    eventually(|| browser.report(), |report| !report.changes.is_empty()).await
}

#[test]
#[ignore = "needs Chromium"]
fn the_agent_orders_tea_and_does_not_leave_the_shop() {
    let output = Command::new(env!("CARGO_BIN_EXE_toolrunner-examples-browser"))
        .arg("--no-sandbox")
        .env_remove("ANTHROPIC_API_KEY")
        .env_remove("ANTHROPIC_AUTH_TOKEN")
        .env_remove("ANTHROPIC_BASE_URL")
        .output()
        .unwrap();
    let shown = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    assert!(output.status.success(), "{}", shown(&output.stderr));
    // The port differs each time.
    let out = shown(&output.stdout);
    let port = out.split("127.0.0.1:").nth(1).and_then(|rest| rest.split('/').next()).unwrap();
    let out = out.replace(&format!("127.0.0.1:{port}"), "127.0.0.1:PORT");
    assert!(out.ends_with("The shop received: / /order?name=Ada&gift=on\n"), "{out}");
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/main.txt");
    if env::var_os("BLESS").is_some() {
        fs::write(&file, &out).unwrap();
    }
    assert_eq!(out, fs::read_to_string(file).unwrap());
}

#[tokio::test]
#[ignore = "needs Chromium"]
async fn pages_reach_only_what_is_allowed() {
    let other = Site::serve(|_| Page::html("<p>secret</p>")).unwrap();
    let (away, socket) = (other.url("/"), other.url("/socket").replace("http", "ws"));
    let site = Site::serve(move |path| match path {
        "/redirect" => Page::redirect(&away),
        "/slow" => {
            std::thread::sleep(Duration::from_secs(1));
            Page::html("<title>Slow</title>")
        }
        _ => Page::html(format!(
            "<title>Start</title><a href='{away}link'>leave</a> <a href='file:///etc/passwd'>read</a>
            <img src='{away}image'><iframe src='{away}frame'></iframe><link rel=stylesheet href='{away}style'>
            <script>
                window.seen = [];
                fetch('{away}fetch', {{mode: 'no-cors'}}).then(() => console.log('fetched'), () => console.log('not fetched'));
                fetch('/own').then((reply) => console.log('own', reply.status));
                const socket = new WebSocket('{socket}');
                socket.onopen = () => console.log('socket open');
                socket.onerror = () => console.log('socket refused');
                navigator.sendBeacon('{away}beacon', 'x');
                const worker = new Worker(URL.createObjectURL(new Blob([`fetch('{away}worker', {{mode: 'no-cors'}}).then(() => postMessage('worker fetched'), () => postMessage('worker refused'))`])));
                worker.onmessage = (event) => console.log(event.data);
            </script>"
        )),
    })
    .unwrap();
    let browser = chromium(&site).await;
    open(&browser, &site, "/").await;
    let mut lines = Vec::new();
    for _ in 0..100 {
        lines.extend(browser.read_console(None).await.unwrap().lines().map(str::to_owned));
        if lines.len() >= 4 {
            break;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    lines.sort();
    assert_eq!(
        lines,
        ["log: not fetched", "log: own 200", "log: socket refused", "log: worker refused"]
    );

    for url in [
        other.url("/"),
        "file:///etc/passwd".to_owned(),
        "chrome://version".to_owned(),
        "http://169.254.169.254/".to_owned(),
    ] {
        let refused = browser.navigate(None, Navigation::Url(&url)).await.unwrap_err().to_string();
        assert!(refused.starts_with("navigate: ") && refused.contains("not allowed"), "{refused}");
    }
    let redirect = site.url("/redirect");
    let refused = browser.navigate(None, Navigation::Url(&redirect)).await.unwrap_err();
    assert_eq!(refused.to_string(), "navigate: net::ERR_BLOCKED_BY_CLIENT");
    open(&browser, &site, "/").await;
    let _before = browser.report().await;
    click(&browser, "leave").await;
    assert_eq!(changed(&browser).await.changes, [BrowserChange::NavigationRefused]);
    open(&browser, &site, "/").await;
    click(&browser, "read").await;
    assert_eq!(browser.report().await.tabs[0].url, site.url("/"));
    // It waits for a page that takes its time.
    open(&browser, &site, "/slow").await;
    assert_eq!(browser.report().await.tabs[0].title, "Slow");
    assert_eq!(other.requests(), [] as [String; 0]);
    browser.close().await;
}

#[tokio::test]
#[ignore = "needs Chromium"]
async fn dialogs_popups_and_downloads_are_reported() {
    let site = Site::serve(|path| match path {
        "/file" => Page {
            headers:
                "Content-Type: application/octet-stream\r\nContent-Disposition: attachment\r\n"
                    .to_owned(),
            ..Page::html("data")
        },
        "/popup" => Page::html("<title>Popup</title><p>popup"),
        _ => Page::html(
            "<title>Start</title><p id=answer></p>
            <button onclick=\"answer.textContent = confirm('Delete everything?')\">ask</button>
            <button onclick=\"window.open('/popup')\">pop</button>
            <a href='/file'>fetch</a>",
        ),
    })
    .unwrap();
    let browser = chromium(&site).await;
    open(&browser, &site, "/").await;
    let start = browser.report().await;
    assert_eq!((start.tabs.len(), start.changes.len()), (1, 0), "{start:?}");

    click(&browser, "ask").await;
    let (kind, message) = ("confirm".to_owned(), "Delete everything?".to_owned());
    assert_eq!(changed(&browser).await.changes, [BrowserChange::DialogDismissed { kind, message }]);
    eventually(|| text(&browser), |text| text.contains("false")).await;

    click(&browser, "pop").await;
    let report = changed(&browser).await;
    assert_eq!(report.changes, [BrowserChange::TabOpened { tab: "tab_2".to_owned() }]);
    let active: Vec<_> = report.tabs.iter().map(|tab| (&*tab.id, tab.is_active)).collect();
    assert_eq!(active, [("tab_1", true), ("tab_2", false)]);
    let popup = || browser.get_page_text(Some("tab_2"));
    let popup = eventually(popup, |text| text.as_ref().is_ok_and(|text| text == "popup")).await;
    assert!(popup.is_ok());
    browser.switch_tab("tab_2").await.unwrap();
    assert_eq!(text(&browser).await, "popup");
    Browser::close_tab(&browser, "tab_2").await.unwrap();
    let gone = browser.get_page_text(Some("tab_2")).await.unwrap_err().to_string();
    assert_eq!(gone, "no tab tab_2 is open; use list_tabs to see what is open");
    assert_eq!(browser.new_tab().await.unwrap(), "tab_3");
    assert_eq!(text(&browser).await, "");
    browser.switch_tab("tab_1").await.unwrap();
    let _tabs = browser.report().await;

    click(&browser, "fetch").await;
    let report = changed(&browser).await;
    let [BrowserChange::DownloadFailed { url, reason: Some(reason), .. }] = &*report.changes else {
        panic!("{report:?}")
    };
    assert_eq!((&**url, &**reason), (&*site.url("/file"), "downloads are not allowed"));
    browser.close().await;
    let ended = browser.get_page_text(None).await.unwrap_err().to_string();
    assert_eq!(ended, "the browser has ended");
}

/// The API refuses a state with more than 100 tabs.
#[tokio::test]
#[ignore = "needs Chromium"]
async fn popups_beyond_the_limit_of_tabs_are_closed() {
    let site = Site::serve(|path| match path {
        "/popup" => Page::html("<title>Popup</title><p>popup"),
        _ => {
            Page::html("<title>Start</title><button onclick=\"window.open('/popup')\">pop</button>")
        }
    })
    .unwrap();
    let browser = chromium(&site).await;
    open(&browser, &site, "/").await;
    for _ in 1..20 {
        browser.new_tab().await.unwrap();
    }
    let full = browser.new_tab().await.unwrap_err().to_string();
    assert_eq!(full, "20 tabs are open; close one first");
    browser.switch_tab("tab_1").await.unwrap();
    let _tabs = browser.report().await;
    click(&browser, "pop").await;
    let report = changed(&browser).await;
    assert_eq!(report.changes, [BrowserChange::NavigationRefused]);
    assert_eq!(report.tabs.len(), 20);
    Browser::close_tab(&browser, "tab_20").await.unwrap();
    assert_eq!(browser.new_tab().await.unwrap(), "tab_21");
    browser.close().await;
}

const FORM: &str = "<title>Form</title><body style='margin: 0; height: 3000px'>
    <div style='position: absolute; left: 500px; top: 0; width: 100px; height: 100px; background: #f00'></div>
    <input aria-label=Name id=name><textarea aria-label=Notes id=notes></textarea>
    <input type=password aria-label=Password value=hunter2>
    <select aria-label=Size><option value=s>Small<option value=l>Large</select>
    <button disabled>Off</button><button onclick='document.title += event.detail'>On</button>
    <p style='display: none'>hidden</p><p style='position: absolute; top: 2000px'>far away</p>
    <script>
        for (const name of ['click', 'dblclick', 'contextmenu', 'auxclick', 'change', 'keydown', 'mousedown', 'mouseup'])
            addEventListener(name, (e) => console.log(name, e.key ?? e.target.value ?? e.button, e.shiftKey));
    </script>";

/// Returns the width and height of a PNG image, which states them at byte 16.
fn size(shot: &Screenshot) -> [u32; 2] {
    [16, 20].map(|at| u32::from_be_bytes(shot.bytes()[at..at + 4].try_into().unwrap()))
}

#[tokio::test]
#[ignore = "needs Chromium"]
async fn mouse_and_keyboard_act_on_the_page() {
    let site = Site::serve(|_| Page::html(FORM)).unwrap();
    let browser = chromium(&site).await;
    open(&browser, &site, "/").await;
    let visible = browser.read_page(None, None, None, 15).await.unwrap();
    assert!(visible.contains("button \"On\" ["), "{visible}");
    assert!(visible.contains("(disabled)"), "{visible}");
    for absent in ["hidden", "far away", "hunter2"] {
        assert!(!visible.contains(absent), "{absent} is in {visible}");
    }
    let all = browser.read_page(None, Some(PageFilter::All), None, 15).await.unwrap();
    assert!(all.contains("text \"far away\""), "{all}");

    click(&browser, "name textbox").await;
    browser.type_text(None, "abc").await.unwrap();
    browser.key(None, "ctrl+a Delete", 1).await.unwrap();
    browser.key(None, "x shift+y", 2).await.unwrap();
    let name = element(&browser, "name textbox").await;
    let root = Some(&*name);
    let shown = browser.read_page(None, None, root, 15).await.unwrap();
    assert_eq!(shown, format!("textbox \"Name\" [{name}] value=\"xYxY\""));
    click(&browser, "notes").await;
    browser.type_text(None, "a\nb").await.unwrap();
    let area = element(&browser, "notes").await;
    assert!(
        browser.read_page(None, None, Some(&area), 15).await.unwrap().ends_with("value=\"a\\nb\"")
    );

    let select = element(&browser, "size combobox").await;
    browser.form_input(None, &select, &FormValue::Text("Large".to_owned())).await.unwrap();
    let _read = browser.read_console(None).await.unwrap();
    let unknown = FormValue::Text("Huge".to_owned());
    let refused = browser.form_input(None, &select, &unknown).await.unwrap_err().to_string();
    assert_eq!(refused, format!("{select} has no option \"Huge\"; options: Small, Large"));
    let refused = browser.form_input(None, "ref_99", &unknown).await.unwrap_err().to_string();
    assert!(refused.starts_with("ref_99 is not on this page"), "{refused}");

    let button = Target::Element(element(&browser, "on button").await);
    browser.triple_click(None, &button, Some("shift")).await.unwrap();
    browser.right_click(None, &button, None).await.unwrap();
    let mut events = String::new();
    while !events.contains("contextmenu") {
        let read = || browser.read_console(None);
        let more = eventually(read, |lines| lines.as_ref().is_ok_and(|lines| !lines.is_empty()));
        events.push_str(&more.await.unwrap());
    }
    for line in ["log: click  true", "log: dblclick  true", "log: contextmenu  false"] {
        assert!(events.contains(line), "{line} is not in {events}");
    }
    assert_eq!(browser.report().await.tabs[0].title, "Form123");

    assert_eq!(size(&browser.screenshot(None).await.unwrap()), [1024, 768]);
    // The red box is at 500,0 to 600,100.
    let region = Region { left: 500, top: 0, right: 600, bottom: 75 };
    let red = browser.zoom(None, region).await.unwrap();
    assert_eq!(size(&red), [1024, 768]);
    assert!(browser.zoom(None, Region { top: 25, bottom: 100, ..region }).await.unwrap() == red);
    assert!(browser.zoom(None, Region { left: 700, right: 800, ..region }).await.unwrap() != red);
    assert!(browser.zoom(None, Region { right: 601, ..region }).await.unwrap() != red);

    let at = Point { x: 100, y: 400 };
    browser.scroll(None, at, ScrollDirection::Down, 10).await.unwrap();
    // The region is one of the viewport, not of the page.
    let box_is_gone = |shot: &Result<Screenshot, _>| shot.as_ref().is_ok_and(|shot| *shot != red);
    let zoomed = || browser.zoom(None, region);
    let _white = eventually(zoomed, box_is_gone).await;
    browser.scroll(None, at, ScrollDirection::Up, 10).await.unwrap();
    let _red = eventually(zoomed, |shot| !box_is_gone(shot)).await;
    browser.close().await;
}

#[tokio::test]
#[ignore = "needs Chromium"]
async fn the_history_of_a_tab_and_references_that_end_with_a_page() {
    let site = Site::serve(|path| match path {
        "/missing" => Page { status: "404 Not Found", ..Page::html("<title>Missing</title>") },
        path => Page::html(format!("<title>{path}</title><button>{path}</button>")),
    })
    .unwrap();
    let browser = chromium(&site).await;
    let none = browser.navigate(None, Navigation::Back).await.unwrap_err().to_string();
    assert_eq!(none, "navigate: the history of the tab has no such page");
    open(&browser, &site, "/one").await;
    let old = element(&browser, "button").await;
    open(&browser, &site, "/two").await;
    let gone = browser.scroll_to(None, &format!("{old}0")).await.unwrap_err().to_string();
    assert!(gone.contains("is not on this page"), "{gone}");
    let gone = browser.scroll_to(None, &old).await.unwrap_err().to_string();
    assert!(gone.contains("is not on this page"), "{gone}");
    let back = browser.navigate(None, Navigation::Back).await.unwrap();
    assert_eq!(back.title.as_deref(), Some("/one"));
    let forward = browser.navigate(None, Navigation::Forward).await.unwrap();
    assert_eq!(forward.title.as_deref(), Some("/two"));
    let again = browser.navigate(None, Navigation::Reload).await.unwrap();
    assert_eq!((again.title.as_deref(), again.status), (Some("/two"), Some(200)));
    assert_eq!(site.requests().iter().filter(|path| *path == "/two").count(), 2);
    let missing = browser.navigate(None, Navigation::Url(&site.url("/missing"))).await.unwrap();
    assert_eq!((missing.title.as_deref(), missing.status), (Some("Missing"), Some(404)));
    // Without a scheme it is https, which this site does not speak.
    let plain = browser.navigate(None, Navigation::Url(&site.authority())).await.unwrap_err();
    assert!(plain.to_string().starts_with("navigate: net::ERR_"), "{plain}");
    browser.close().await;
}

#[tokio::test]
#[ignore = "needs Chromium"]
async fn a_page_that_never_ends_ends_the_call_and_not_the_browser() {
    let site = Site::serve(|path| match path {
        "/busy" => Page::html("<script>while (true);</script>"),
        "/dialogs" => Page::html("<script>for (let i = 0; i < 500; i++) alert(i)</script>"),
        _ => Page::html("<p>idle</p>"),
    })
    .unwrap();
    let browser = launch(&site).time_limit(Duration::from_secs(3)).start().await.unwrap();
    let began = Instant::now();
    let busy = browser.navigate(None, Navigation::Url(&site.url("/busy"))).await.unwrap_err();
    assert_eq!(busy.to_string(), "navigate: the page did not load within 3 s");
    let busy = browser.get_page_text(None).await.unwrap_err().to_string();
    assert!(busy.ends_with("no answer within 3 s"), "{busy}");
    assert!(began.elapsed() < Duration::from_secs(14), "{:?}", began.elapsed());
    let tab = browser.new_tab().await.unwrap();
    Browser::close_tab(&browser, "tab_1").await.unwrap();
    open(&browser, &site, "/idle").await;
    assert_eq!(text(&browser).await, "idle");
    let _before = browser.report().await;
    let _endless = browser.navigate(None, Navigation::Url(&site.url("/dialogs"))).await;
    let report = browser.report().await;
    assert!(report.changes.len() <= 200, "{} changes", report.changes.len());
    assert_eq!(report.tabs.iter().map(|open| &*open.id).collect::<Vec<_>>(), [tab]);
    browser.close().await;

    let missing = launch(&site).program("/nonexistent/chromium").time_limit(Duration::from_secs(3));
    assert_eq!(missing.start().await.unwrap_err().to_string(), "the browser has ended");
}
