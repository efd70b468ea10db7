//! The browser toolset, `browser_toolset_20260801`.
//!
//! Sources of the wire format: `lib/tools/_toolsets/_browser.py`, `_registry.py`, `_pipeline.py`
//! and the types `beta_browser_*_input.py` of the Python SDK 2.14.0.

use core::fmt;
use core::time::Duration;
use std::io;
use std::path::Path;

use toolrunner_core::error::Misuse;
use toolrunner_core::json::Value;
use toolrunner_core::tool::{ContentBlock, Definition, Output, ToolCall, ToolError, Tools};

use super::browser::{Browser, BrowserMember, LoadedPage, Navigation, Target};
use super::browser_input::{
    AtPoint, Click, Drag, Element, FileUpload, Find, FormInput, HeldKeys, Hover, InTab, Keys,
    Navigate, Nothing, OfTab, ReadPage, Scroll, ScrollTo, TargetInput, TypedText, Wait, Zoom,
};
use super::browser_report::{self, BrowserReport, PendingReport};
use super::browser_upload::Uploads;
use super::screen::{Display, Point};
use super::toolset::{Answer, Entry, FIELD, acted, decode, entry_setters, one_line};

/// Returns the time of a number of seconds, which the schema bounds.
fn seconds(number: f64) -> Duration {
    Duration::try_from_secs_f64(number).unwrap_or_default()
}

type UrlPolicy = dyn Fn(&str) -> Result<(), ToolError> + Send + Sync;

/// The toolset `browser_toolset_20260801` over a [`Browser`]. Its results are those of the Python
/// SDK's `BetaAbstractBrowserToolset20260801`: a text or an image, and a `browser_state` block with
/// the open tabs and what has changed.
///
/// Members that are not implemented are turned off in `configs`. If the model calls one
/// nevertheless, it reads that it is not available. `read_console`, `read_network`, `file_upload`
/// and `javascript_exec` are off unless [`with`](Self::with) turns them on. The definitions of the
/// last two are marked [`requires_approval`](Definition::requires_approval), which a gate enforces:
/// a page can steer what the model uploads or runs.
///
/// The entry in `tools` has no size: the model sees it in the screenshots.
///
/// Clones of one `Arc<BrowserToolset<_>>` can serve several runs. Their calls run one after
/// another.
pub struct BrowserToolset<B> {
    browser: B,
    entry: Entry<BrowserMember>,
    url_policy: Option<Box<UrlPolicy>>,
    uploads: Uploads,
    pending: tokio::sync::Mutex<PendingReport>,
}

impl<B: Browser> BrowserToolset<B> {
    /// Creates the toolset.
    pub fn new(browser: B) -> Self {
        Self {
            browser,
            entry: Entry::new(B::MEMBERS),
            url_policy: None,
            uploads: Uploads::default(),
            pending: tokio::sync::Mutex::default(),
        }
    }

    /// Turns a member on that the API turns off by default.
    ///
    /// # Errors
    /// Returns [`Misuse::Setting`] if the browser does not implement the member.
    pub fn with(mut self, member: BrowserMember) -> Result<Self, Misuse> {
        self.entry = self.entry.with(member)?;
        Ok(self)
    }

    entry_setters!(BrowserMember);

    /// Calls `policy` with the URL of each `navigate`, as the model wrote it. An error refuses the
    /// call. `back`, `forward` and `reload` are not checked.
    ///
    /// This does not see redirects, or what a page loads: the browser must confine the pages
    /// itself.
    #[must_use]
    pub fn url_policy(
        mut self,
        policy: impl Fn(&str) -> Result<(), ToolError> + Send + Sync + 'static,
    ) -> Self {
        self.url_policy = Some(Box::new(policy));
        self
    }

    /// Lets `file_upload` read files below a directory. A path is relative to it, or begins with
    /// it. Links are followed, and must not lead out of it. Without this, an upload of a path is
    /// refused.
    ///
    /// The path is checked before the browser opens it, so nobody else must be able to change the
    /// directory. Let it hold only what the task needs.
    ///
    /// # Errors
    /// Returns the error of the file system, for example if the directory does not exist.
    pub fn uploads_from(mut self, directory: impl AsRef<Path>) -> io::Result<Self> {
        let named = std::path::absolute(&directory)?;
        self.uploads.root = Some((named.canonicalize()?, named));
        Ok(self)
    }

    /// Lets `file_upload` name files by these ids. Without this, an upload of an id is refused.
    #[must_use]
    pub fn upload_documents(mut self, ids: impl IntoIterator<Item = impl Into<String>>) -> Self {
        self.uploads.documents.extend(ids.into_iter().map(Into::into));
        self
    }

    /// Returns the browser.
    pub const fn browser(&self) -> &B {
        &self.browser
    }

    /// Returns a point, if it is in the viewport or the size of the viewport is not known.
    fn point(
        &self,
        member: BrowserMember,
        argument: &str,
        point: impl Into<Point>,
    ) -> Result<Point, ToolError> {
        let point = point.into();
        let viewport = self.browser.viewport();
        viewport.map_or(Ok(point), |viewport| viewport.point(member.name(), argument, point))
    }

    fn target(&self, member: BrowserMember, target: TargetInput) -> Result<Target, ToolError> {
        Ok(match target {
            TargetInput::Coordinate { x, y } => {
                Target::Point(self.point(member, "target", Point { x, y })?)
            }
            TargetInput::Ref { element } => Target::Element(element),
        })
    }

    /// Runs a member.
    async fn run(
        &self,
        member: BrowserMember,
        input: Value<'_>,
        scratch: &mut [u8],
        out: &mut Output<'_>,
    ) -> Result<Answer, ToolError> {
        let (name, browser) = (member.name(), &self.browser);
        Ok(match member {
            BrowserMember::Navigate => {
                let Navigate { url, tab_id } = decode(name, input, scratch, out)?;
                let to = match &*url.trim().to_ascii_lowercase() {
                    "back" => Navigation::Back,
                    "forward" => Navigation::Forward,
                    "reload" => Navigation::Reload,
                    _ => Navigation::Url(&url),
                };
                if let (Navigation::Url(url), Some(policy)) = (to, &self.url_policy) {
                    policy(url)?;
                }
                acted(navigated(&browser.navigate(tab_id.as_deref(), to).await?), None)
            }
            BrowserMember::ListTabs => {
                let Nothing {} = decode(name, input, scratch, out)?;
                Answer::State(None)
            }
            BrowserMember::NewTab => {
                let Nothing {} = decode(name, input, scratch, out)?;
                Answer::State(Some(browser.new_tab().await?))
            }
            BrowserMember::SwitchTab => {
                let OfTab { tab_id } = decode(name, input, scratch, out)?;
                browser.switch_tab(&tab_id).await?;
                Answer::State(None)
            }
            BrowserMember::CloseTab => {
                let OfTab { tab_id } = decode(name, input, scratch, out)?;
                browser.close_tab(&tab_id).await?;
                Answer::State(None)
            }
            BrowserMember::ReadPage => {
                let ReadPage { filter, root, depth, tab_id } = decode(name, input, scratch, out)?;
                let (tab, root) = (tab_id.as_deref(), root.as_deref());
                Answer::Text(browser.read_page(tab, filter, root, depth).await?)
            }
            BrowserMember::GetPageText => {
                let InTab { tab_id } = decode(name, input, scratch, out)?;
                Answer::Text(browser.get_page_text(tab_id.as_deref()).await?)
            }
            BrowserMember::ReadConsole => {
                let InTab { tab_id } = decode(name, input, scratch, out)?;
                Answer::Text(browser.read_console(tab_id.as_deref()).await?)
            }
            BrowserMember::ReadNetwork => {
                let InTab { tab_id } = decode(name, input, scratch, out)?;
                Answer::Text(browser.read_network(tab_id.as_deref()).await?)
            }
            BrowserMember::Find => {
                let Find { query, tab_id } = decode(name, input, scratch, out)?;
                Answer::Text(browser.find(tab_id.as_deref(), &query).await?)
            }
            BrowserMember::JavascriptExec => {
                let TypedText { text, tab_id } = decode(name, input, scratch, out)?;
                Answer::Text(browser.javascript_exec(tab_id.as_deref(), &text).await?)
            }
            BrowserMember::Screenshot => {
                let InTab { tab_id } = decode(name, input, scratch, out)?;
                Answer::Image(browser.screenshot(tab_id.as_deref()).await?)
            }
            BrowserMember::Zoom => {
                let Zoom { region, tab_id } = decode(name, input, scratch, out)?;
                let unknown = Display { width: u32::MAX, height: u32::MAX };
                let region = browser.viewport().unwrap_or(unknown).region(name, region)?;
                Answer::Image(browser.zoom(tab_id.as_deref(), region).await?)
            }
            BrowserMember::FormInput => {
                let FormInput { target: Element::Ref { element }, value, tab_id } =
                    decode(name, input, scratch, out)?;
                let line = browser.form_input(tab_id.as_deref(), &element, &value).await?;
                acted(format!("Set the value of {}.", one_line(&element, FIELD)), line)
            }
            BrowserMember::FileUpload => {
                let FileUpload { target: Element::Ref { element }, paths, document_ids, tab_id } =
                    decode(name, input, scratch, out)?;
                let files = self
                    .uploads
                    .check(paths.unwrap_or_default(), document_ids.unwrap_or_default())?;
                let tab = tab_id.as_deref();
                acted("Uploaded.", browser.file_upload(tab, &element, &files).await?)
            }
            BrowserMember::ScrollTo => {
                let ScrollTo { target: Element::Ref { element }, tab_id } =
                    decode(name, input, scratch, out)?;
                let line = browser.scroll_to(tab_id.as_deref(), &element).await?;
                acted(format!("Scrolled to {}.", one_line(&element, FIELD)), line)
            }
            BrowserMember::LeftClick
            | BrowserMember::RightClick
            | BrowserMember::MiddleClick
            | BrowserMember::DoubleClick
            | BrowserMember::TripleClick => {
                let Click { target, modifiers, tab_id } = decode(name, input, scratch, out)?;
                let at = self.target(member, target)?;
                let (tab, held) = (tab_id.as_deref(), modifiers.as_deref());
                match member {
                    BrowserMember::RightClick => {
                        acted("Right-clicked.", browser.right_click(tab, &at, held).await?)
                    }
                    BrowserMember::MiddleClick => {
                        acted("Middle-clicked.", browser.middle_click(tab, &at, held).await?)
                    }
                    BrowserMember::DoubleClick => {
                        acted("Double-clicked.", browser.double_click(tab, &at, held).await?)
                    }
                    BrowserMember::TripleClick => {
                        acted("Triple-clicked.", browser.triple_click(tab, &at, held).await?)
                    }
                    _ => acted("Clicked.", browser.left_click(tab, &at, held).await?),
                }
            }
            BrowserMember::Hover => {
                let Hover { target, tab_id } = decode(name, input, scratch, out)?;
                let at = self.target(member, target)?;
                acted("Hovered.", browser.hover(tab_id.as_deref(), &at).await?)
            }
            BrowserMember::LeftClickDrag => {
                let Drag { from, target, tab_id } = decode(name, input, scratch, out)?;
                let from = self.point(member, "from", from)?;
                let to = self.point(member, "target", target)?;
                acted("Dragged.", browser.left_click_drag(tab_id.as_deref(), from, to).await?)
            }
            BrowserMember::LeftMouseDown
            | BrowserMember::LeftMouseUp
            | BrowserMember::MouseMove => {
                let AtPoint { target, tab_id } = decode(name, input, scratch, out)?;
                let (at, tab) = (self.point(member, "target", target)?, tab_id.as_deref());
                match member {
                    BrowserMember::LeftMouseDown => {
                        acted("Mouse button pressed.", browser.left_mouse_down(tab, at).await?)
                    }
                    BrowserMember::LeftMouseUp => {
                        acted("Mouse button released.", browser.left_mouse_up(tab, at).await?)
                    }
                    _ => acted("Moved the mouse.", browser.mouse_move(tab, at).await?),
                }
            }
            BrowserMember::Scroll => {
                let Scroll { target, scroll_direction, scroll_amount, tab_id } =
                    decode(name, input, scratch, out)?;
                let (at, tab) = (self.point(member, "target", target)?, tab_id.as_deref());
                let line = browser.scroll(tab, at, scroll_direction, scroll_amount).await?;
                acted(format!("Scrolled {}.", scroll_direction.name()), line)
            }
            BrowserMember::Type => {
                let TypedText { text, tab_id } = decode(name, input, scratch, out)?;
                acted("Typed.", browser.type_text(tab_id.as_deref(), &text).await?)
            }
            BrowserMember::Key => {
                let Keys { text, repeat, tab_id } = decode(name, input, scratch, out)?;
                let line = browser.key(tab_id.as_deref(), &text, repeat).await?;
                acted(format!("Pressed {}.", one_line(&text, FIELD)), line)
            }
            BrowserMember::HoldKey => {
                let HeldKeys { text, duration, tab_id } = decode(name, input, scratch, out)?;
                let tab = tab_id.as_deref();
                let line = browser.hold_key(tab, &text, seconds(duration)).await?;
                acted(format!("Held {} for {duration}s.", one_line(&text, FIELD)), line)
            }
            BrowserMember::Wait => {
                let Wait { duration, tab_id } = decode(name, input, scratch, out)?;
                let line = browser.wait(tab_id.as_deref(), seconds(duration)).await?;
                acted(format!("Waited {duration}s."), line)
            }
        })
    }
}

/// Returns what the model reads about a navigation.
fn navigated(page: &LoadedPage) -> String {
    let mut line = format!("Navigated to {}", browser_report::shown_url(&page.url));
    if let Some(title) = &page.title {
        line.push_str(" — ");
        line.push_str(&one_line(title, FIELD));
    }
    if let Some(status) = page.status {
        line.push_str(&format!(" (HTTP {status})"));
    }
    line
}

/// Writes an answer, the lines about refused navigations and dialogs, and the state.
fn write(
    member: BrowserMember,
    answer: &Answer,
    report: &BrowserReport,
    pending: &mut PendingReport,
    out: &mut Output<'_>,
) -> Result<(), ToolError> {
    answer.write_to(member.name(), out)?;
    let opened = if let Answer::State(opened) = answer {
        // The API accepts no text beside the state: the lines wait for the next result.
        opened.as_deref()
    } else {
        for line in pending.take_lines() {
            out.block(ContentBlock::text(&line))?;
        }
        None
    };
    let changes = pending.take_changes(opened);
    let state = browser_report::block(&report.tabs, &changes)?;
    Ok(out.block(ContentBlock::raw(&state))?)
}

/// The API refuses a result of `new_tab` whose tab is not the only active one.
const NOT_ACTIVE: &str = "new_tab opened a tab, but the browser does not report it as the only active tab. Call list_tabs to see the tabs.";

impl<B: Browser> Tools for BrowserToolset<B> {
    fn count(&self) -> usize {
        Entry::<BrowserMember>::count()
    }

    fn definition(&self, i: usize) -> Option<Definition<'_>> {
        self.entry.definition(i)
    }

    async fn call(
        &self,
        i: usize,
        call: ToolCall<'_>,
        out: &mut Output<'_>,
    ) -> Result<(), ToolError> {
        let mut pending = self.pending.lock().await;
        let answer = match self.entry.member(i) {
            Ok(member) => {
                let answer = self.run(member, call.input, call.scratch, out).await;
                answer.map(|answer| (member, answer))
            }
            Err(error) => Err(error),
        };
        let mut report = self.browser.report().await;
        pending.add(&mut report);
        let answer = answer.and_then(|(member, answer)| match &answer {
            Answer::State(Some(opened)) => {
                let mut active = report.tabs.iter().filter(|tab| tab.is_active);
                let is_only = active.next().is_some_and(|tab| tab.id == *opened);
                if is_only && active.next().is_none() {
                    Ok((member, answer))
                } else {
                    Err(ToolError::new(NOT_ACTIVE))
                }
            }
            _ => Ok((member, answer)),
        });
        let answer = match report.fault() {
            Some(fault) => answer.and(Err(ToolError::format(format_args!("{fault}")))),
            None => answer,
        };
        let error = match answer {
            Ok((member, answer)) => {
                // What a result could not hold waits for the next one.
                let mut rest = pending.clone();
                match write(member, &answer, &report, &mut rest, out) {
                    Ok(()) => {
                        *pending = rest;
                        return Ok(());
                    }
                    Err(error) => error,
                }
            }
            Err(error) => error,
        };
        // An error cannot contain the state. What has changed waits for the next result.
        let lines = pending.take_lines();
        if lines.is_empty() {
            return Err(error);
        }
        error.write_to(out)?;
        for line in lines {
            out.block(ContentBlock::text(&line))?;
        }
        Err(ToolError::written())
    }
}

impl<B: fmt::Debug> fmt::Debug for BrowserToolset<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BrowserToolset")
            .field("browser", &self.browser)
            .field("entry", &self.entry)
            .field("uploads", &self.uploads)
            .finish_non_exhaustive()
    }
}
