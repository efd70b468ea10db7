//! The state of a browser after a call: the `browser_state` block, and lines about what the page
//! did.
//!
//! Sources: `beta_browser_state_block_param.py` and the types of its changes, and
//! `lib/tools/_toolsets/_pipeline.py` and `_render.py` of the Python SDK 2.14.0.

use std::collections::BTreeSet;

use serde::ser::{Serialize, SerializeMap, Serializer};

use super::toolset::{FIELD, one_line};

/// The state of a browser after a call.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct BrowserReport {
    /// All open tabs, at most 100. Exactly one of them is active, unless there are no tabs.
    /// Otherwise the call becomes an error that says so.
    pub tabs: Vec<Tab>,
    /// What happened since the last report.
    pub changes: Vec<BrowserChange>,
}

/// An open tab.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tab {
    /// The id of the tab, unique in the report.
    pub id: String,
    /// The title of the page, which may be empty.
    pub title: String,
    /// The URL of the page, which may be empty.
    pub url: String,
    /// Whether actions without a tab apply to this one.
    pub is_active: bool,
}

/// Something that happened in a browser.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum BrowserChange {
    /// A tab was opened and is still open.
    TabOpened {
        /// The id of the tab.
        tab: String,
    },
    /// A download has started.
    DownloadStarted {
        /// The id of the download.
        id: String,
        /// The URL after all redirects.
        url: String,
    },
    /// A download is complete.
    DownloadCompleted {
        /// The id of the download.
        id: String,
        /// The URL after all redirects.
        url: String,
        /// The path of the file, which the model reads. Leave it out unless another tool of the run
        /// can read the file there.
        path: Option<String>,
        /// The size in bytes, if it is known.
        bytes: Option<u64>,
    },
    /// A download has failed or was cancelled.
    DownloadFailed {
        /// The id of the download.
        id: String,
        /// The URL after all redirects.
        url: String,
        /// The reason, if it is known.
        reason: Option<String>,
    },
    /// The browser refused to go somewhere, for example where a page wanted to go. The model reads
    /// `A navigation was refused.`
    NavigationRefused,
    /// The page opened a dialog, and the browser dismissed it. The model reads a line about it.
    DialogDismissed {
        /// The kind, such as `alert`, `confirm` or `prompt`.
        kind: String,
        /// The text of the page.
        message: String,
    },
}

impl BrowserReport {
    /// The most tabs that the API accepts.
    const TABS: usize = 100;

    /// Returns why the API would refuse the tabs, and with them the conversation.
    pub(super) fn fault(&self) -> Option<String> {
        let count = self.tabs.len();
        if count > Self::TABS {
            // An error contains no tabs, so this is where the model reads which it can close.
            let others = self.tabs.iter().filter(|tab| !tab.is_active).take(5);
            let others: Vec<_> = others.map(|tab| one_line(&tab.id, FIELD)).collect();
            return Some(format!(
                "The browser has {count} open tabs, but a result can state at most {}. Close some of them, such as {}.",
                Self::TABS,
                others.join(", ")
            ));
        }
        if count > 0 && self.tabs.iter().filter(|tab| tab.is_active).count() != 1 {
            return Some(
                "The browser does not report exactly one of its tabs as the active one.".to_owned(),
            );
        }
        let ids: BTreeSet<_> = self.tabs.iter().map(|tab| &tab.id).collect();
        (ids.len() < count).then(|| "The browser reports two tabs with the same id.".to_owned())
    }
}

impl BrowserChange {
    /// Returns the id of the download that this is about.
    fn download(&self) -> Option<&str> {
        match self {
            Self::DownloadStarted { id, .. }
            | Self::DownloadCompleted { id, .. }
            | Self::DownloadFailed { id, .. } => Some(id),
            _ => None,
        }
    }
}

/// What earlier reports said and no result has contained yet.
#[derive(Clone, Debug, Default)]
pub(super) struct PendingReport {
    changes: Vec<BrowserChange>,
    is_refused: bool,
    dialogs: Vec<(String, String)>,
}

/// The most dialogs that are described.
const DIALOGS: usize = 3;

impl PendingReport {
    /// Takes in a report. Of the changes of one download only the last is kept, and of a tab only
    /// that it was opened, once and while it is open.
    pub(super) fn add(&mut self, report: &mut BrowserReport) {
        for change in report.changes.drain(..) {
            match change {
                BrowserChange::NavigationRefused => self.is_refused = true,
                BrowserChange::DialogDismissed { kind, message } => {
                    self.dialogs.push((kind, message));
                }
                change => {
                    if let Some(id) = change.download() {
                        self.changes.retain(|known| known.download() != Some(id));
                    }
                    if !self.changes.contains(&change) {
                        self.changes.push(change);
                    }
                }
            }
        }
        self.changes.retain(|change| match change {
            BrowserChange::TabOpened { tab } => report.tabs.iter().any(|open| open.id == *tab),
            _ => true,
        });
    }

    /// Takes the changes for a result. If the result is that of the call that opened the tab
    /// `opened`, the API accepts no other opened tab: it waits for the next result.
    pub(super) fn take_changes(&mut self, opened: Option<&str>) -> Vec<BrowserChange> {
        let changes = core::mem::take(&mut self.changes);
        let Some(opened) = opened else { return changes };
        let is_other = |change: &BrowserChange| matches!(change, BrowserChange::TabOpened { tab } if tab != opened);
        let (held, mut changes): (Vec<_>, Vec<_>) = changes.into_iter().partition(is_other);
        self.changes = held;
        let own = BrowserChange::TabOpened { tab: opened.to_owned() };
        if !changes.contains(&own) {
            changes.push(own);
        }
        changes
    }

    /// Takes the lines about refused navigations and dismissed dialogs.
    pub(super) fn take_lines(&mut self) -> Vec<String> {
        let mut lines = Vec::new();
        if core::mem::take(&mut self.is_refused) {
            lines.push("A navigation was refused.".to_owned());
        }
        let dialogs = core::mem::take(&mut self.dialogs);
        lines.extend(dialogs.iter().take(DIALOGS).map(|(kind, message)| dialog(kind, message)));
        if let Some(more) = dialogs.len().checked_sub(DIALOGS).filter(|more| *more > 0) {
            lines.push(format!("{more} more dialogs were dismissed."));
        }
        lines
    }
}

/// Describes a dialog. A page can write much into one, so the text is cut.
fn dialog(kind: &str, message: &str) -> String {
    let kind = one_line(kind, 20);
    let noun = if kind.is_empty() { "dialog".to_owned() } else { format!("{kind} dialog") };
    let is_vowel = noun.starts_with(['a', 'e', 'i', 'o', 'u', 'A', 'E', 'I', 'O', 'U']);
    let article = if is_vowel { "An" } else { "A" };
    let whole = one_line(message, usize::MAX);
    let mut message = one_line(&whole, 200);
    if message.is_empty() {
        return format!("{article} {noun} was dismissed.");
    }
    if message.len() < whole.len() {
        message.push('…');
    }
    format!("{article} {noun} {} was dismissed.", serde_json::Value::from(message))
}

/// Returns a URL as one line. A longer one than the API accepts begins with `…`, so that no host
/// can be read from it.
pub(super) fn shown_url(url: &str) -> String {
    let line = one_line(url, usize::MAX);
    if line.chars().count() <= FIELD {
        return line;
    }
    core::iter::once('…').chain(line.chars().take(FIELD - 1)).collect()
}

/// The `browser_state` block.
pub(super) fn block(tabs: &[Tab], changes: &[BrowserChange]) -> Result<String, serde_json::Error> {
    serde_json::to_string(&Block { tabs, changes })
}

/// Something in its wire format.
struct Wire<'a, T>(&'a T);

fn wire<T>(list: &[T]) -> Vec<Wire<'_, T>> {
    list.iter().map(Wire).collect()
}

struct Block<'a> {
    tabs: &'a [Tab],
    changes: &'a [BrowserChange],
}

impl Serialize for Block<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("type", "browser_state")?;
        map.serialize_entry("tabs", &wire(self.tabs))?;
        // An empty list is refused.
        if !self.changes.is_empty() {
            map.serialize_entry("state_changes", &wire(self.changes))?;
        }
        map.end()
    }
}

impl Serialize for Wire<'_, Tab> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        let Self(tab) = self;
        map.serialize_entry("tab_id", &tab.id)?;
        map.serialize_entry("title", &one_line(&tab.title, FIELD))?;
        map.serialize_entry("url", &shown_url(&tab.url))?;
        if tab.is_active {
            map.serialize_entry("active", &true)?;
        }
        map.end()
    }
}

impl Serialize for Wire<'_, BrowserChange> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        let (kind, download) = match self.0 {
            BrowserChange::TabOpened { tab } => {
                map.serialize_entry("tab_id", tab)?;
                ("tab_opened", None)
            }
            BrowserChange::DownloadStarted { id, url } => ("download_started", Some((id, url))),
            BrowserChange::DownloadCompleted { id, url, .. } => {
                ("download_completed", Some((id, url)))
            }
            BrowserChange::DownloadFailed { id, url, .. } => ("download_failed", Some((id, url))),
            // `PendingReport` turns these into lines.
            BrowserChange::NavigationRefused | BrowserChange::DialogDismissed { .. } => {
                return map.end();
            }
        };
        map.serialize_entry("type", kind)?;
        if let Some((id, url)) = download {
            map.serialize_entry("download_id", id)?;
            map.serialize_entry("url", &shown_url(url))?;
        }
        match self.0 {
            BrowserChange::DownloadCompleted { path, bytes, .. } => {
                // A name that one line cannot show could be taken for that of another file.
                if let Some(path) = path.as_ref().filter(|path| one_line(path, FIELD) == **path) {
                    map.serialize_entry("path", path)?;
                }
                if let Some(bytes) = bytes {
                    map.serialize_entry("size_bytes", bytes)?;
                }
            }
            BrowserChange::DownloadFailed { reason: Some(reason), .. } => {
                map.serialize_entry("error", &one_line(reason, FIELD))?;
            }
            _ => {}
        }
        map.end()
    }
}
