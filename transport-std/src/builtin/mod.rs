//! Tools that the API defines and the client runs, and the SDKs' agent toolset.
//!
//! | Feature | Tool | What it does |
//! |---|---|---|
//! | `memory` | `MemoryTool` | `memory_20250818`: files below `/memories` that outlive the conversation |
//! | `text-editor` | `EditorTool` | `text_editor_20250728`: views and edits text files |
//! | `bash` | `BashTool` | `bash_20250124`: one shell that keeps its state between calls |
//! | `agent-toolset` | `AgentToolset` | `bash`, `read`, `write`, `edit`, `glob` and `grep` as ordinary tools |
//! | `computer` | `ComputerToolset`, `ComputerTool` | `computer_toolset_20260801`, `computer_20251124`: a screen, a mouse and a keyboard that you implement as a `Computer` |
//! | `browser` | `BrowserToolset` | `browser_toolset_20260801`: a web browser that you implement as a `Browser`; `examples/browser-agent` of the repository drives headless Chromium |
//!
//! `BashTool` and `AgentToolset` exist on Unix only.
//!
//! The API knows the input schemas of all but the agent toolset. Their definitions contain only a
//! `type`, a `name` and settings; the tools still check every input before they use it.
//!
//! **Confinement.** The tools that work on files open one directory and reach every file through
//! its handle, one path component at a time, without following a link. A path that leaves the
//! directory by `..`, as an absolute path or through a link is refused, also if somebody replaces a
//! directory with a link at the same moment. Special files (pipes, sockets, devices) are never
//! opened for reading. Hard links and mounts inside the directory are part of it. The shell is
//! **not** confined: it can do whatever the process may do, so run it in a container or a virtual
//! machine.
//!
//! **Writing** is atomic: a new file with the whole content, synchronized to the disk, takes the
//! place of the old one.

#[cfg(all(unix, feature = "agent-toolset"))]
mod agent;
#[cfg(any(feature = "memory", feature = "text-editor", feature = "bash"))]
mod arguments;
#[cfg(all(unix, feature = "bash"))]
mod bash;
#[cfg(feature = "browser")]
mod browser;
#[cfg(feature = "browser")]
mod browser_input;
#[cfg(feature = "browser")]
mod browser_report;
#[cfg(feature = "browser")]
mod browser_toolset;
#[cfg(feature = "browser")]
mod browser_upload;
#[cfg(feature = "computer")]
mod computer;
#[cfg(feature = "computer")]
mod computer_toolset;
#[cfg(feature = "text-editor")]
mod editor;
#[cfg(any(feature = "memory", feature = "text-editor", feature = "agent-toolset"))]
mod folder;
#[cfg(feature = "memory")]
mod memory;
#[cfg(feature = "memory")]
mod memory_directory;
#[cfg(feature = "memory")]
mod memory_path;
#[cfg(any(feature = "browser", feature = "computer"))]
mod screen;
#[cfg(all(unix, feature = "agent-toolset"))]
mod search;
#[cfg(all(unix, feature = "bash"))]
mod shell;
#[cfg(any(feature = "memory", feature = "text-editor"))]
mod text;
#[cfg(any(feature = "browser", feature = "computer"))]
mod toolset;
#[cfg(any(feature = "text-editor", feature = "agent-toolset"))]
mod work_directory;

#[cfg(all(unix, feature = "agent-toolset"))]
pub use agent::{AgentTool, AgentToolset};
#[cfg(all(unix, feature = "bash"))]
pub use bash::{BashTool, Commands};
#[cfg(feature = "browser")]
pub use browser::{
    Browser, BrowserMember, FormValue, LoadedPage, Navigation, PageFilter, Target, Upload,
};
#[cfg(feature = "browser")]
pub use browser_report::{BrowserChange, BrowserReport, Tab};
#[cfg(feature = "browser")]
pub use browser_toolset::BrowserToolset;
#[cfg(feature = "computer")]
pub use computer::{Computer, ComputerMember};
#[cfg(feature = "computer")]
pub use computer_toolset::{ComputerTool, ComputerToolset};
#[cfg(feature = "text-editor")]
pub use editor::{DirectoryEditor, Editor, EditorTool};
#[cfg(feature = "memory")]
pub use memory::{Memory, MemoryTool};
#[cfg(feature = "memory")]
pub use memory_directory::DirectoryMemory;
#[cfg(feature = "memory")]
pub use memory_path::MemoryPath;
#[cfg(any(feature = "browser", feature = "computer"))]
pub use screen::{Display, Point, Region, Screenshot, ScrollDirection};
#[cfg(all(unix, feature = "bash"))]
pub use shell::{Shell, ShellSettings};

#[cfg(any(
    feature = "browser",
    feature = "computer",
    feature = "memory",
    feature = "text-editor"
))]
use toolrunner_core::tool::ToolError;

/// What an action of a [`Browser`] or a [`Computer`] returns: `None`, or one line that the model
/// reads after the toolset's own text; or the error that the model receives.
#[cfg(any(feature = "browser", feature = "computer"))]
pub type ActionResult = Result<Option<String>, ToolError>;

/// What a method returns whose result is text: the text or the error that the model receives.
#[cfg(any(feature = "browser", feature = "memory", feature = "text-editor"))]
pub type TextResult = Result<String, ToolError>;
