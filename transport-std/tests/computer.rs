//! The computer toolset and the older computer tool: definitions, checked inputs, the SDKs' texts.
#![cfg(feature = "computer")]

mod toolset;

use core::time::Duration;
use std::sync::{Arc, Mutex};

use serde_json::{Value, json};
use toolrunner_core::tool::{ToolError, Tools};
use toolrunner_std::builtin::{
    ActionResult, Computer, ComputerMember, ComputerTool, ComputerToolset, Display, Point, Region,
    Screenshot, ScrollDirection,
};
use toolset::{PNG, image, played, played_with, text, texts};

/// A computer that records what it does.
#[derive(Clone, Default)]
struct Recorder(Arc<Mutex<Vec<String>>>);

impl Recorder {
    fn done(&self, line: String) -> ActionResult {
        self.0.lock().unwrap().push(line);
        Ok(None)
    }
}

impl Computer for Recorder {
    const MEMBERS: &'static [ComputerMember] = ComputerMember::ALL;

    fn display(&self) -> Display {
        Display { width: 1024, height: 768 }
    }

    async fn key(&self, keys: &str, times: u32) -> ActionResult {
        self.done(format!("key {keys} {times}"))
    }

    async fn hold_key(&self, keys: &str, time: Duration) -> ActionResult {
        self.done(format!("hold_key {keys} {time:?}"))
    }

    async fn type_text(&self, text: &str) -> ActionResult {
        self.done(format!("type {text}"))
    }

    async fn cursor_position(&self) -> Result<Point, ToolError> {
        Ok(Point { x: 3, y: 4 })
    }

    async fn mouse_move(&self, to: Point) -> ActionResult {
        self.done(format!("mouse_move {},{}", to.x, to.y))
    }

    async fn left_mouse_down(&self) -> ActionResult {
        self.done("left_mouse_down".to_owned())
    }

    async fn left_mouse_up(&self) -> ActionResult {
        self.done("left_mouse_up".to_owned())
    }

    async fn left_click(&self, at: Option<Point>, held: Option<&str>) -> ActionResult {
        let _recorded = self.done(format!("left_click {at:?} {held:?}"))?;
        Ok(Some("It was\na button.".to_owned()))
    }

    async fn right_click(&self, at: Option<Point>, held: Option<&str>) -> ActionResult {
        self.done(format!("right_click {at:?} {held:?}"))
    }

    async fn middle_click(&self, at: Option<Point>, held: Option<&str>) -> ActionResult {
        self.done(format!("middle_click {at:?} {held:?}"))
    }

    async fn double_click(&self, at: Option<Point>, held: Option<&str>) -> ActionResult {
        self.done(format!("double_click {at:?} {held:?}"))
    }

    async fn triple_click(&self, at: Option<Point>, held: Option<&str>) -> ActionResult {
        self.done(format!("triple_click {at:?} {held:?}"))
    }

    async fn left_click_drag(&self, from: Point, to: Point, held: Option<&str>) -> ActionResult {
        self.done(format!("left_click_drag {},{} {},{} {held:?}", from.x, from.y, to.x, to.y))
    }

    async fn scroll(
        &self,
        at: Option<Point>,
        direction: ScrollDirection,
        notches: u32,
        held: Option<&str>,
    ) -> ActionResult {
        self.done(format!("scroll {at:?} {direction:?} {notches} {held:?}"))
    }

    async fn wait(&self, time: Duration) -> ActionResult {
        self.done(format!("wait {time:?}"))
    }

    async fn screenshot(&self) -> Result<Screenshot, ToolError> {
        Ok(Screenshot::new(PNG.to_vec()))
    }

    async fn zoom(&self, region: Region) -> Result<Screenshot, ToolError> {
        let Region { left, top, right, bottom } = region;
        let _recorded = self.done(format!("zoom {left},{top},{right},{bottom}"))?;
        Ok(Screenshot::new(PNG.to_vec()))
    }
}

/// A computer that shows its screen. Its `zoom` returns bytes that are not an image.
struct Screen;

impl Computer for Screen {
    const MEMBERS: &'static [ComputerMember] =
        &[ComputerMember::Screenshot, ComputerMember::Zoom, ComputerMember::LeftClick];

    fn display(&self) -> Display {
        Display { width: 800, height: 600 }
    }

    async fn screenshot(&self) -> Result<Screenshot, ToolError> {
        Ok(Screenshot::new(PNG.to_vec()))
    }

    async fn zoom(&self, _: Region) -> Result<Screenshot, ToolError> {
        Ok(Screenshot::new(b"not an image".to_vec()))
    }

    /// Not listed, so it is not called.
    async fn mouse_move(&self, to: Point) -> ActionResult {
        panic!("moved to {to:?}")
    }
}

/// Inputs of all members, what the computer does, and what the model reads.
fn members() -> Vec<(&'static str, Value, &'static str, &'static str)> {
    vec![
        ("key", json!({"text": "ctrl+s"}), "key ctrl+s 1", "Pressed ctrl+s."),
        ("key", json!({"text": "Tab", "repeat": 3}), "key Tab 3", "Pressed Tab."),
        ("hold_key", json!({"text": "w", "duration": 2}), "hold_key w 2s", "Held w for 2s."),
        ("type", json!({"text": "\u{e4}\n"}), "type \u{e4}\n", "Typed."),
        ("cursor_position", json!({}), "", "X=3,Y=4"),
        ("mouse_move", json!({"coordinate": [7, 8]}), "mouse_move 7,8", "Moved the mouse."),
        ("left_mouse_down", json!({}), "left_mouse_down", "Left mouse button pressed."),
        ("left_mouse_up", json!({}), "left_mouse_up", "Left mouse button released."),
        ("right_click", json!({}), "right_click None None", "Right-clicked."),
        (
            "middle_click",
            json!({"text": "alt"}),
            "middle_click None Some(\"alt\")",
            "Middle-clicked.",
        ),
        (
            "double_click",
            json!({"coordinate": [1023, 767]}),
            "double_click Some(Point { x: 1023, y: 767 }) None",
            "Double-clicked.",
        ),
        ("triple_click", json!({"coordinate": null}), "triple_click None None", "Triple-clicked."),
        (
            "left_click_drag",
            json!({"start_coordinate": [1, 2], "coordinate": [3, 4]}),
            "left_click_drag 1,2 3,4 None",
            "Dragged.",
        ),
        (
            "scroll",
            json!({"scroll_direction": "down", "scroll_amount": 5}),
            "scroll None Down 5 None",
            "Scrolled down.",
        ),
        ("wait", json!({"duration": 1}), "wait 1s", "Waited 1s."),
    ]
}

#[tokio::test]
async fn every_member_has_the_inputs_and_texts_of_the_sdks() {
    let computer = Recorder::default();
    let mut calls = vec![
        ("left_click", json!({"coordinate": [10, 20], "text": "shift"})),
        ("screenshot", json!({})),
        ("zoom", json!({"region": [0, 0, 1024, 768]})),
    ];
    calls.extend(members().into_iter().map(|(name, input, ..)| (name, input)));
    let (first, results) = played(ComputerToolset::new(computer.clone()), "computer", &calls).await;
    assert_eq!(first["tools"], json!([{"type": "computer_toolset_20260801"}]));
    assert!(results.iter().all(|result| result.get("is_error").is_none()), "{results:?}");
    assert!(results.iter().all(|result| result["toolset_name"] == "computer"));
    // The line of the computer is a block of its own, on one line.
    assert_eq!(texts(&results[0]), ["Clicked.", "It was a button."]);
    assert_eq!(results[1]["content"], json!([image()]));
    assert_eq!(results[2]["content"], json!([image()]));
    let mut done = vec![
        "left_click Some(Point { x: 10, y: 20 }) Some(\"shift\")".to_owned(),
        "zoom 0,0,1024,768".to_owned(),
    ];
    for ((_, _, did, said), result) in members().iter().zip(&results[3..]) {
        assert_eq!(texts(result), [*said]);
        done.extend((!did.is_empty()).then(|| (*did).to_owned()));
    }
    assert_eq!(*computer.0.lock().unwrap(), done);
    let all: Vec<_> = calls.iter().map(|(name, _)| *name).collect();
    assert!(ComputerMember::ALL.iter().all(|member| all.contains(&member.name())));
}

#[tokio::test]
async fn what_does_not_fit_is_refused_and_nothing_is_done() {
    let computer = Recorder::default();
    let invalid = "Error: invalid input for tool";
    let cases = [
        (
            "left_click",
            json!({"coordinate": [1024, 0]}),
            format!(
                "{invalid} 'left_click': coordinate: expected a point within 1024x768 pixels, got [1024,0]"
            ),
        ),
        (
            "left_click_drag",
            json!({"start_coordinate": [0, 768], "coordinate": [0, 0]}),
            format!(
                "{invalid} 'left_click_drag': start_coordinate: expected a point within 1024x768 pixels, got [0,768]"
            ),
        ),
        (
            "zoom",
            json!({"region": [9, 0, 9, 5]}),
            format!(
                "{invalid} 'zoom': region: expected [x0,y0,x1,y1] with x0 < x1 and y0 < y1 within 1024x768 pixels, got [9,0,9,5]"
            ),
        ),
    ];
    let calls: Vec<_> = cases.iter().map(|(name, input, _)| (*name, input.clone())).collect();
    let (_, results) = played(ComputerToolset::new(computer.clone()), "computer", &calls).await;
    for ((.., said), result) in cases.iter().zip(&results) {
        assert_eq!((text(result), &result["is_error"]), (&**said, &json!(true)));
    }
    // The first part of the path of what is wrong, by the schema.
    let cases = [
        ("left_click", json!({"coordinate": [-1, 5]}), "coordinate[0]: "),
        ("left_click", json!({"coordinate": [1.5, 5]}), "coordinate[0]: "),
        ("left_click", json!({"coordinate": [1]}), "coordinate: "),
        ("left_click", json!({"coordinate": "1,2"}), "coordinate: "),
        ("left_click", json!({"position": [1, 2]}), "position: "),
        ("mouse_move", json!({}), "coordinate: "),
        ("scroll", json!({"scroll_direction": "in", "scroll_amount": 1}), "scroll_direction: "),
        ("key", json!({"text": "a", "repeat": 101}), "repeat: "),
        ("key", json!({"text": ""}), "text: "),
        ("wait", json!({"duration": 101}), "duration: "),
        ("screenshot", json!({"scale": 2}), "scale: "),
    ];
    let calls: Vec<_> = cases.iter().map(|(name, input, _)| (*name, input.clone())).collect();
    let (_, results) = played(ComputerToolset::new(computer.clone()), "computer", &calls).await;
    for ((name, _, path), result) in cases.iter().zip(&results) {
        let start = format!("{invalid} '{name}': {path}expected ");
        assert!(text(result).starts_with(&start), "{} does not start with {start}", text(result));
        assert_eq!(result["is_error"], true);
    }
    assert_eq!(*computer.0.lock().unwrap(), [] as [String; 0]);
}

#[tokio::test]
async fn a_computer_may_have_some_members_only() {
    let toolset = ComputerToolset::new(Screen).without(ComputerMember::Zoom).cached();
    let calls = [
        ("screenshot", json!({})),
        ("mouse_move", json!({"coordinate": [1, 1]})),
        ("zoom", json!({"region": [0, 0, 1, 1]})),
        // Listed, but not implemented.
        ("left_click", json!({})),
        ("dance", json!({})),
    ];
    let (first, results) = played(toolset, "computer", &calls).await;
    let tools = first["tools"].as_array().unwrap();
    assert_eq!(tools.len(), 1);
    assert_eq!(tools[0]["cache_control"], json!({"type": "ephemeral"}));
    let configs = tools[0]["configs"].as_object().unwrap();
    assert!(configs.values().all(|config| *config == json!({"enabled": false})));
    let off: Vec<_> = configs.keys().map(String::as_str).collect();
    assert_eq!(off.len(), ComputerMember::ALL.len() - 2);
    assert!(!off.contains(&"screenshot") && !off.contains(&"left_click") && off.contains(&"zoom"));
    assert_eq!(results[0]["content"], json!([image()]));
    let said: Vec<_> = results[1..].iter().map(text).collect();
    assert_eq!(
        said,
        [
            "The computer toolset member 'mouse_move' is not available in this environment.",
            "The 'zoom' action is not permitted by this application's permissions and cannot be used in this session.",
            "The computer toolset member 'left_click' is not available in this environment.",
            "Error: Toolset 'computer' member 'dance' not found",
        ]
    );

    let (first, results) = played(
        ComputerToolset::new(Screen).deferred(),
        "computer",
        &[("zoom", json!({"region": [0, 0, 1, 1]}))],
    )
    .await;
    assert_eq!(first["tools"][0]["configs"]["zoom"], json!({"defer_loading": true}));
    assert_eq!(first["tools"][0]["configs"]["type"], json!({"enabled": false}));
    assert_eq!(text(&results[0]), "zoom: the image is not a PNG, JPEG, GIF or WebP image");
}

#[tokio::test]
async fn after_a_failed_member_the_rest_of_the_turn_does_not_run() {
    let computer = Recorder::default();
    let calls = [
        ("mouse_move", json!({"coordinate": [1, 1]})),
        ("mouse_move", json!({"coordinate": [5000, 1]})),
        ("type", json!({"text": "into the wrong window"})),
    ];
    let toolset = ComputerToolset::new(computer.clone());
    let (_, results) = played_with(toolset, Some("computer"), &[&calls]).await;
    assert_eq!(*computer.0.lock().unwrap(), ["mouse_move 1,1"]);
    assert_eq!(text(&results[2]), "Not executed: an earlier action in this turn failed.");
}

#[tokio::test]
async fn the_older_tool_has_the_size_of_the_display_and_an_action() {
    let computer = Recorder::default();
    let tool = ComputerTool::new(computer.clone()).display_number(1).cached();
    let action = |name: &str, mut input: Value| {
        input["action"] = json!(name);
        ("computer", input)
    };
    let mut calls: Vec<_> =
        members().into_iter().map(|(name, input, ..)| action(name, input)).collect();
    calls.push(action("screenshot", json!({})));
    calls.push(("computer", json!({"coordinate": [1, 2]})));
    calls.push(action("dance", json!({})));
    calls.push(action("left_click", json!({"coordinate": [1, 768]})));
    let turns: Vec<_> = calls.iter().map(core::slice::from_ref).collect();
    let (first, results) = played_with(tool, None, &turns).await;
    assert_eq!(
        first["tools"],
        json!([{"type": "computer_20251124", "name": "computer", "display_width_px": 1024, "display_height_px": 768, "display_number": 1, "enable_zoom": true, "cache_control": {"type": "ephemeral"}}])
    );
    let expected = members();
    for ((.., said), result) in expected.iter().zip(&results) {
        assert_eq!(texts(result), [*said]);
        assert_eq!(result.get("toolset_name"), None);
    }
    let did: Vec<_> =
        expected.iter().map(|(_, _, did, _)| *did).filter(|did| !did.is_empty()).collect();
    assert_eq!(*computer.0.lock().unwrap(), did);
    let rest = &results[expected.len()..];
    assert_eq!(rest[0]["content"], json!([image()]));
    assert_eq!(
        text(&rest[1]),
        "Error: invalid input for tool 'computer': action: expected string, got nothing"
    );
    assert!(text(&rest[2]).starts_with(
        "Error: invalid input for tool 'computer': action: expected one of key, hold_key, "
    ));
    assert!(text(&rest[2]).ends_with(", screenshot, zoom, got 'dance'"));
    assert_eq!(
        text(&rest[3]),
        "Error: invalid input for tool 'left_click': coordinate: expected a point within 1024x768 pixels, got [1,768]"
    );
    let (_, results) = played_with(
        ComputerTool::new(Screen),
        None,
        &[&[action("mouse_move", json!({"coordinate": [1, 1]}))]],
    )
    .await;
    assert_eq!(
        text(&results[0]),
        "The computer toolset member 'mouse_move' is not available in this environment."
    );
}

#[test]
fn the_members_that_type_are_marked_for_approval() {
    let toolset = ComputerToolset::new(Recorder::default());
    let tools = (0..).map_while(|i| toolset.definition(i));
    let marked = tools.filter(|tool| tool.requires_approval).map(|tool| tool.name);
    assert_eq!(marked.collect::<Vec<_>>(), ["key", "hold_key", "type"]);
    assert_eq!(toolset.count(), 18);
}
