//! The inputs of the browser's members, as the model writes them. See
//! `beta_browser_*_input.py` of the Python SDK 2.14.0.

use toolrunner_core::ToolInput;

use super::browser::{FormValue, PageFilter};
use super::screen::{Edges, Point, ScrollDirection};

#[derive(ToolInput)]
pub(super) struct Nothing {}

#[derive(ToolInput)]
pub(super) struct InTab {
    pub(super) tab_id: Option<String>,
}

#[derive(ToolInput)]
pub(super) struct OfTab {
    pub(super) tab_id: String,
}

#[derive(ToolInput)]
pub(super) struct Navigate {
    #[tool(min_len = 1)]
    pub(super) url: String,
    pub(super) tab_id: Option<String>,
}

#[derive(ToolInput)]
pub(super) struct ReadPage {
    pub(super) filter: Option<PageFilter>,
    #[tool(rename = "ref")]
    pub(super) root: Option<String>,
    #[tool(default = 15)]
    pub(super) depth: u32,
    pub(super) tab_id: Option<String>,
}

#[derive(ToolInput)]
pub(super) struct Find {
    #[tool(min_len = 1)]
    pub(super) query: String,
    pub(super) tab_id: Option<String>,
}

/// Where to act, as the model writes it.
#[derive(ToolInput)]
#[tool(tag = "type", rename_all = "snake_case")]
pub(super) enum TargetInput {
    Coordinate {
        x: u32,
        y: u32,
    },
    Ref {
        #[tool(rename = "ref")]
        element: String,
    },
}

#[derive(ToolInput)]
#[tool(tag = "type", rename_all = "snake_case")]
pub(super) enum Coordinate {
    Coordinate { x: u32, y: u32 },
}

impl From<Coordinate> for Point {
    fn from(Coordinate::Coordinate { x, y }: Coordinate) -> Self {
        Self { x, y }
    }
}

#[derive(ToolInput)]
#[tool(tag = "type", rename_all = "snake_case")]
pub(super) enum Element {
    Ref {
        #[tool(rename = "ref")]
        element: String,
    },
}

#[derive(ToolInput)]
pub(super) struct FormInput {
    pub(super) target: Element,
    pub(super) value: FormValue,
    pub(super) tab_id: Option<String>,
}

#[derive(ToolInput)]
pub(super) struct FileUpload {
    pub(super) target: Element,
    pub(super) paths: Option<Vec<String>>,
    pub(super) document_ids: Option<Vec<String>>,
    pub(super) tab_id: Option<String>,
}

#[derive(ToolInput)]
pub(super) struct ScrollTo {
    pub(super) target: Element,
    pub(super) tab_id: Option<String>,
}

#[derive(ToolInput)]
pub(super) struct Zoom {
    pub(super) region: Edges,
    pub(super) tab_id: Option<String>,
}

#[derive(ToolInput)]
pub(super) struct Click {
    pub(super) target: TargetInput,
    pub(super) modifiers: Option<String>,
    pub(super) tab_id: Option<String>,
}

#[derive(ToolInput)]
pub(super) struct Hover {
    pub(super) target: TargetInput,
    pub(super) tab_id: Option<String>,
}

#[derive(ToolInput)]
pub(super) struct Drag {
    pub(super) from: Coordinate,
    pub(super) target: Coordinate,
    pub(super) tab_id: Option<String>,
}

#[derive(ToolInput)]
pub(super) struct AtPoint {
    pub(super) target: Coordinate,
    pub(super) tab_id: Option<String>,
}

#[derive(ToolInput)]
pub(super) struct Scroll {
    pub(super) target: Coordinate,
    pub(super) scroll_direction: ScrollDirection,
    #[tool(default = 3, min = 1, max = 10)]
    pub(super) scroll_amount: u32,
    pub(super) tab_id: Option<String>,
}

#[derive(ToolInput)]
pub(super) struct TypedText {
    pub(super) text: String,
    pub(super) tab_id: Option<String>,
}

#[derive(ToolInput)]
pub(super) struct Keys {
    #[tool(min_len = 1)]
    pub(super) text: String,
    #[tool(default = 1, min = 1, max = 100)]
    pub(super) repeat: u32,
    pub(super) tab_id: Option<String>,
}

#[derive(ToolInput)]
pub(super) struct HeldKeys {
    #[tool(min_len = 1)]
    pub(super) text: String,
    #[tool(min = 0.0, max = 30.0)]
    pub(super) duration: f64,
    pub(super) tab_id: Option<String>,
}

#[derive(ToolInput)]
pub(super) struct Wait {
    #[tool(min = 0.0, max = 30.0)]
    pub(super) duration: f64,
    pub(super) tab_id: Option<String>,
}
