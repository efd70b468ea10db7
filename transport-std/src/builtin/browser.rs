//! A browser that the model controls: the members of `browser_toolset_20260801`.

use core::time::Duration;
use std::path::PathBuf;

use toolrunner_core::ToolInput;
use toolrunner_core::tool::ToolError;

use super::browser_report::BrowserReport;
use super::screen::{Display, Point, Region, Screenshot, ScrollDirection};
use super::toolset::{members, unavailable};
use super::{ActionResult, TextResult};

members! {
    /// A member of the browser toolset.
    BrowserMember of "browser", "browser_toolset_20260801";
    on:
        /// `navigate`: goes to a URL, or back or forward, or reloads.
        Navigate "navigate"
        /// `list_tabs`: lists the tabs.
        ListTabs "list_tabs"
        /// `new_tab`: opens an empty tab.
        NewTab "new_tab"
        /// `switch_tab`: makes another tab the active one.
        SwitchTab "switch_tab"
        /// `close_tab`: closes a tab.
        CloseTab "close_tab"
        /// `read_page`: shows the structure of the page, with references to its elements.
        ReadPage "read_page"
        /// `get_page_text`: shows the text of the page.
        GetPageText "get_page_text"
        /// `find`: finds elements by a description.
        Find "find"
        /// `form_input`: sets the value of a form element.
        FormInput "form_input"
        /// `scroll_to`: scrolls an element into view.
        ScrollTo "scroll_to"
        /// `screenshot`: shows the viewport.
        Screenshot "screenshot"
        /// `zoom`: shows a part of the viewport, larger.
        Zoom "zoom"
        /// `left_click`: clicks.
        LeftClick "left_click"
        /// `right_click`: clicks the right button.
        RightClick "right_click"
        /// `middle_click`: clicks the middle button.
        MiddleClick "middle_click"
        /// `double_click`: clicks twice.
        DoubleClick "double_click"
        /// `triple_click`: clicks three times.
        TripleClick "triple_click"
        /// `hover`: moves the pointer to a point or an element.
        Hover "hover"
        /// `left_click_drag`: drags from one point to another.
        LeftClickDrag "left_click_drag"
        /// `left_mouse_down`: presses the left button.
        LeftMouseDown "left_mouse_down"
        /// `left_mouse_up`: releases the left button.
        LeftMouseUp "left_mouse_up"
        /// `mouse_move`: moves the pointer to a point.
        MouseMove "mouse_move"
        /// `scroll`: turns the scroll wheel.
        Scroll "scroll"
        /// `type`: types a text.
        Type "type"
        /// `key`: presses keys.
        Key "key"
        /// `hold_key`: holds a key for some time.
        HoldKey "hold_key"
        /// `wait`: lets some time pass.
        Wait "wait";
    off:
        /// `read_console`: shows the new lines of the console. Off by default.
        ReadConsole "read_console"
        /// `read_network`: shows the new requests of the page. Off by default.
        ReadNetwork "read_network"
        /// `file_upload`: gives files to a form element. Off by default.
        FileUpload "file_upload"
        /// `javascript_exec`: runs a script in the page. Off by default.
        JavascriptExec "javascript_exec";
    approved: FileUpload JavascriptExec;
}

/// Where `navigate` goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Navigation<'a> {
    /// To a URL, as the model wrote it. Without a scheme it means `https://`.
    Url(&'a str),
    /// Back in the history of the tab.
    Back,
    /// Forward in the history of the tab.
    Forward,
    /// To the current page again.
    Reload,
}

/// The page at the end of a navigation.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LoadedPage {
    /// The URL after all redirects.
    pub url: String,
    /// The title, if the page has one.
    pub title: Option<String>,
    /// The status of the HTTP reply, if it is known.
    pub status: Option<u16>,
}

/// Where an action takes place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Target {
    /// At a point of the viewport.
    Point(Point),
    /// On an element, by its reference from `read_page` or `find`, such as `ref_7`.
    Element(String),
}

/// The elements that `read_page` shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, ToolInput)]
#[tool(rename_all = "snake_case")]
pub enum PageFilter {
    /// The interactive ones only.
    Interactive,
    /// All, also those outside the viewport.
    All,
}

/// The value of a form element.
#[derive(Clone, Debug, PartialEq, ToolInput)]
#[tool(untagged)]
pub enum FormValue {
    /// A text, or the value or the text of an option.
    Text(String),
    /// A number.
    Number(f64),
    /// Whether a box is checked.
    Flag(bool),
}

/// The files of `file_upload`. At least one list is not empty.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Upload {
    /// Files on the machine of the program, below the directory that
    /// [`BrowserToolset::uploads_from`](super::BrowserToolset::uploads_from) names.
    pub paths: Vec<PathBuf>,
    /// Files that are known by an id, of those that
    /// [`BrowserToolset::upload_documents`](super::BrowserToolset::upload_documents) names.
    pub documents: Vec<String>,
}

/// A browser that the model controls.
///
/// Each method is a member of the toolset, except `list_tabs`, which [`report`](Self::report)
/// answers. Implement those that the browser has, and list them in [`MEMBERS`](Self::MEMBERS): the
/// others are turned off in the definition. [`BrowserToolset`](super::BrowserToolset) checks the
/// arguments of every call before it calls a method. Calls of one toolset run one after another.
///
/// A method that acts returns `None`, or one line that the model reads after the toolset's own
/// text (`Clicked.`). A reference to an element that is gone, and a tab that is not open, are
/// errors.
///
/// A page can steer the model, so the browser must confine the pages: which addresses they reach,
/// what they download, how long they run. Use a profile without credentials.
/// `examples/browser-agent` of the repository does this for headless Chromium.
#[allow(unused_variables, reason = "the default methods use none")]
pub trait Browser: Send + Sync + 'static {
    /// The members that are implemented.
    const MEMBERS: &'static [BrowserMember];

    /// Returns the size of the viewport, in pixels of the screenshots. Points and regions outside
    /// of it are refused. Default: not known, so only the browser can refuse them.
    fn viewport(&self) -> Option<Display> {
        None
    }

    /// Returns the tabs, and what has changed since the last report. The toolset calls this after
    /// every call, also after one that failed.
    fn report(&self) -> impl Future<Output = BrowserReport> + Send;

    /// Goes to a URL, or through the history of the tab, and waits until the page is loaded.
    ///
    /// `tab` is the id of a tab; here and below, `None` means the active one.
    ///
    /// # Errors
    /// Returns the error that the model receives.
    fn navigate(
        &self,
        tab: Option<&str>,
        to: Navigation<'_>,
    ) -> impl Future<Output = Result<LoadedPage, ToolError>> + Send {
        unavailable(BrowserMember::Navigate)
    }

    /// Opens an empty tab, makes it the active one, and returns its id.
    ///
    /// # Errors
    /// Returns the error that the model receives.
    fn new_tab(&self) -> impl Future<Output = TextResult> + Send {
        unavailable(BrowserMember::NewTab)
    }

    /// Makes a tab the active one.
    ///
    /// # Errors
    /// Returns the error that the model receives.
    fn switch_tab(&self, tab: &str) -> impl Future<Output = Result<(), ToolError>> + Send {
        unavailable(BrowserMember::SwitchTab)
    }

    /// Closes a tab.
    ///
    /// # Errors
    /// Returns the error that the model receives.
    fn close_tab(&self, tab: &str) -> impl Future<Output = Result<(), ToolError>> + Send {
        unavailable(BrowserMember::CloseTab)
    }

    /// Returns the structure of the page, or of the part below the element `root`, as text with
    /// references such as `[ref_7]`, to the given depth and with at most 50,000 characters. Without
    /// a `filter`, it shows the visible elements.
    ///
    /// # Errors
    /// Returns the error that the model receives.
    fn read_page(
        &self,
        tab: Option<&str>,
        filter: Option<PageFilter>,
        root: Option<&str>,
        depth: u32,
    ) -> impl Future<Output = TextResult> + Send {
        unavailable(BrowserMember::ReadPage)
    }

    /// Returns the visible text of the page.
    ///
    /// # Errors
    /// Returns the error that the model receives.
    fn get_page_text(&self, tab: Option<&str>) -> impl Future<Output = TextResult> + Send {
        unavailable(BrowserMember::GetPageText)
    }

    /// Returns the lines of the console since the last call.
    ///
    /// # Errors
    /// Returns the error that the model receives.
    fn read_console(&self, tab: Option<&str>) -> impl Future<Output = TextResult> + Send {
        unavailable(BrowserMember::ReadConsole)
    }

    /// Returns the requests of the page since the last call, one per line.
    ///
    /// # Errors
    /// Returns the error that the model receives.
    fn read_network(&self, tab: Option<&str>) -> impl Future<Output = TextResult> + Send {
        unavailable(BrowserMember::ReadNetwork)
    }

    /// Returns at most 20 elements that fit a description, with their references.
    ///
    /// # Errors
    /// Returns the error that the model receives.
    fn find(&self, tab: Option<&str>, query: &str) -> impl Future<Output = TextResult> + Send {
        unavailable(BrowserMember::Find)
    }

    /// Sets the value of a form element.
    ///
    /// # Errors
    /// Returns the error that the model receives.
    fn form_input(
        &self,
        tab: Option<&str>,
        element: &str,
        value: &FormValue,
    ) -> impl Future<Output = ActionResult> + Send {
        unavailable(BrowserMember::FormInput)
    }

    /// Gives files to a form element. The toolset has checked them.
    ///
    /// # Errors
    /// Returns the error that the model receives.
    fn file_upload(
        &self,
        tab: Option<&str>,
        element: &str,
        files: &Upload,
    ) -> impl Future<Output = ActionResult> + Send {
        unavailable(BrowserMember::FileUpload)
    }

    /// Scrolls an element into view.
    ///
    /// # Errors
    /// Returns the error that the model receives.
    fn scroll_to(
        &self,
        tab: Option<&str>,
        element: &str,
    ) -> impl Future<Output = ActionResult> + Send {
        unavailable(BrowserMember::ScrollTo)
    }

    /// Returns an image of the viewport.
    ///
    /// # Errors
    /// Returns the error that the model receives.
    fn screenshot(
        &self,
        tab: Option<&str>,
    ) -> impl Future<Output = Result<Screenshot, ToolError>> + Send {
        unavailable(BrowserMember::Screenshot)
    }

    /// Returns an image of a part of the viewport, scaled up.
    ///
    /// # Errors
    /// Returns the error that the model receives.
    fn zoom(
        &self,
        tab: Option<&str>,
        region: Region,
    ) -> impl Future<Output = Result<Screenshot, ToolError>> + Send {
        unavailable(BrowserMember::Zoom)
    }

    /// Clicks the left button while the keys `held` are down.
    ///
    /// # Errors
    /// Returns the error that the model receives.
    fn left_click(
        &self,
        tab: Option<&str>,
        at: &Target,
        held: Option<&str>,
    ) -> impl Future<Output = ActionResult> + Send {
        unavailable(BrowserMember::LeftClick)
    }

    /// Clicks the right button while the keys `held` are down.
    ///
    /// # Errors
    /// Returns the error that the model receives.
    fn right_click(
        &self,
        tab: Option<&str>,
        at: &Target,
        held: Option<&str>,
    ) -> impl Future<Output = ActionResult> + Send {
        unavailable(BrowserMember::RightClick)
    }

    /// Clicks the middle button while the keys `held` are down.
    ///
    /// # Errors
    /// Returns the error that the model receives.
    fn middle_click(
        &self,
        tab: Option<&str>,
        at: &Target,
        held: Option<&str>,
    ) -> impl Future<Output = ActionResult> + Send {
        unavailable(BrowserMember::MiddleClick)
    }

    /// Clicks the left button twice while the keys `held` are down.
    ///
    /// # Errors
    /// Returns the error that the model receives.
    fn double_click(
        &self,
        tab: Option<&str>,
        at: &Target,
        held: Option<&str>,
    ) -> impl Future<Output = ActionResult> + Send {
        unavailable(BrowserMember::DoubleClick)
    }

    /// Clicks the left button three times while the keys `held` are down.
    ///
    /// # Errors
    /// Returns the error that the model receives.
    fn triple_click(
        &self,
        tab: Option<&str>,
        at: &Target,
        held: Option<&str>,
    ) -> impl Future<Output = ActionResult> + Send {
        unavailable(BrowserMember::TripleClick)
    }

    /// Moves the pointer to a point or an element.
    ///
    /// # Errors
    /// Returns the error that the model receives.
    fn hover(&self, tab: Option<&str>, at: &Target) -> impl Future<Output = ActionResult> + Send {
        unavailable(BrowserMember::Hover)
    }

    /// Drags with the left button from one point to another.
    ///
    /// # Errors
    /// Returns the error that the model receives.
    fn left_click_drag(
        &self,
        tab: Option<&str>,
        from: Point,
        to: Point,
    ) -> impl Future<Output = ActionResult> + Send {
        unavailable(BrowserMember::LeftClickDrag)
    }

    /// Presses the left button at a point.
    ///
    /// # Errors
    /// Returns the error that the model receives.
    fn left_mouse_down(
        &self,
        tab: Option<&str>,
        at: Point,
    ) -> impl Future<Output = ActionResult> + Send {
        unavailable(BrowserMember::LeftMouseDown)
    }

    /// Releases the left button at a point.
    ///
    /// # Errors
    /// Returns the error that the model receives.
    fn left_mouse_up(
        &self,
        tab: Option<&str>,
        at: Point,
    ) -> impl Future<Output = ActionResult> + Send {
        unavailable(BrowserMember::LeftMouseUp)
    }

    /// Moves the pointer to a point.
    ///
    /// # Errors
    /// Returns the error that the model receives.
    fn mouse_move(
        &self,
        tab: Option<&str>,
        to: Point,
    ) -> impl Future<Output = ActionResult> + Send {
        unavailable(BrowserMember::MouseMove)
    }

    /// Turns the scroll wheel at a point by 1 to 10 notches.
    ///
    /// # Errors
    /// Returns the error that the model receives.
    fn scroll(
        &self,
        tab: Option<&str>,
        at: Point,
        direction: ScrollDirection,
        notches: u32,
    ) -> impl Future<Output = ActionResult> + Send {
        unavailable(BrowserMember::Scroll)
    }

    /// Types a text where the focus is.
    ///
    /// # Errors
    /// Returns the error that the model receives.
    fn type_text(
        &self,
        tab: Option<&str>,
        text: &str,
    ) -> impl Future<Output = ActionResult> + Send {
        unavailable(BrowserMember::Type)
    }

    /// Presses keys, 1 to 100 times. `keys` are names or combinations such as `ctrl+a`, separated
    /// by spaces.
    ///
    /// # Errors
    /// Returns the error that the model receives.
    fn key(
        &self,
        tab: Option<&str>,
        keys: &str,
        times: u32,
    ) -> impl Future<Output = ActionResult> + Send {
        unavailable(BrowserMember::Key)
    }

    /// Holds a key or a combination down, for at most 30 seconds.
    ///
    /// # Errors
    /// Returns the error that the model receives.
    fn hold_key(
        &self,
        tab: Option<&str>,
        keys: &str,
        time: Duration,
    ) -> impl Future<Output = ActionResult> + Send {
        unavailable(BrowserMember::HoldKey)
    }

    /// Waits, for at most 30 seconds.
    ///
    /// # Errors
    /// Returns the error that the model receives.
    fn wait(&self, tab: Option<&str>, time: Duration) -> impl Future<Output = ActionResult> + Send {
        unavailable(BrowserMember::Wait)
    }

    /// Runs a script in the page and returns the value of its last expression. The script has the
    /// rights of the page: its cookies and its logged-in sessions.
    ///
    /// # Errors
    /// Returns the error that the model receives.
    fn javascript_exec(
        &self,
        tab: Option<&str>,
        script: &str,
    ) -> impl Future<Output = TextResult> + Send {
        unavailable(BrowserMember::JavascriptExec)
    }
}
