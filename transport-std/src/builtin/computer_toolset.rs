//! The computer toolset, `computer_toolset_20260801`, and the older tool `computer_20251124`.
//!
//! Sources of the wire format: `lib/tools/_toolsets/_computer.py`, `_computer_registry.py` and the
//! types `beta_computer_*_input.py` and `beta_tool_computer_use_20251124_param.py` of the Python
//! SDK 2.14.0.

use core::time::Duration;

use toolrunner_core::ToolInput;
use toolrunner_core::json::Value;
use toolrunner_core::tool::{Definition, Output, ToolCall, ToolError, Tools};

use super::computer::{Computer, ComputerMember};
use super::screen::{Display, Edges, Pair, Point, ScrollDirection};
use super::toolset::{Answer, Entry, FIELD, acted, decode, entry_setters, one_line, unavailable};

#[derive(ToolInput)]
struct Nothing {}

#[derive(ToolInput)]
struct Keys {
    #[tool(min_len = 1)]
    text: String,
    #[tool(default = 1, min = 1, max = 100)]
    repeat: u32,
}

#[derive(ToolInput)]
struct HeldKeys {
    #[tool(min_len = 1)]
    text: String,
    #[tool(max = 100)]
    duration: u32,
}

#[derive(ToolInput)]
struct TypedText {
    text: String,
}

#[derive(ToolInput)]
struct Move {
    coordinate: Pair,
}

#[derive(ToolInput)]
struct Click {
    coordinate: Option<Pair>,
    text: Option<String>,
}

#[derive(ToolInput)]
struct Drag {
    start_coordinate: Pair,
    coordinate: Pair,
    text: Option<String>,
}

#[derive(ToolInput)]
struct Scroll {
    coordinate: Option<Pair>,
    scroll_direction: ScrollDirection,
    scroll_amount: u32,
    text: Option<String>,
}

#[derive(ToolInput)]
struct Wait {
    #[tool(max = 100)]
    duration: u32,
}

#[derive(ToolInput)]
struct Zoom {
    region: Edges,
}

/// Runs a member.
async fn run(
    computer: &impl Computer,
    member: ComputerMember,
    input: Value<'_>,
    scratch: &mut [u8],
    out: &mut Output<'_>,
) -> Result<(), ToolError> {
    let (name, display) = (member.name(), computer.display());
    let point = |argument: &str, point: Pair| display.point(name, argument, point);
    let at = |pair: Option<Pair>| pair.map(|pair| point("coordinate", pair)).transpose();
    let answer = match member {
        ComputerMember::Key => {
            let Keys { text, repeat } = decode(name, input, scratch, out)?;
            let line = computer.key(&text, repeat).await?;
            acted(format!("Pressed {}.", one_line(&text, FIELD)), line)
        }
        ComputerMember::HoldKey => {
            let HeldKeys { text, duration } = decode(name, input, scratch, out)?;
            let line = computer.hold_key(&text, Duration::from_secs(duration.into())).await?;
            acted(format!("Held {} for {duration}s.", one_line(&text, FIELD)), line)
        }
        ComputerMember::Type => {
            let TypedText { text } = decode(name, input, scratch, out)?;
            acted("Typed.", computer.type_text(&text).await?)
        }
        ComputerMember::CursorPosition => {
            let Nothing {} = decode(name, input, scratch, out)?;
            let Point { x, y } = computer.cursor_position().await?;
            Answer::Text(format!("X={x},Y={y}"))
        }
        ComputerMember::MouseMove => {
            let Move { coordinate } = decode(name, input, scratch, out)?;
            let to = point("coordinate", coordinate)?;
            acted("Moved the mouse.", computer.mouse_move(to).await?)
        }
        ComputerMember::LeftMouseDown => {
            let Nothing {} = decode(name, input, scratch, out)?;
            acted("Left mouse button pressed.", computer.left_mouse_down().await?)
        }
        ComputerMember::LeftMouseUp => {
            let Nothing {} = decode(name, input, scratch, out)?;
            acted("Left mouse button released.", computer.left_mouse_up().await?)
        }
        ComputerMember::LeftClickDrag => {
            let Drag { start_coordinate, coordinate, text } = decode(name, input, scratch, out)?;
            let from = point("start_coordinate", start_coordinate)?;
            let to = point("coordinate", coordinate)?;
            acted("Dragged.", computer.left_click_drag(from, to, text.as_deref()).await?)
        }
        ComputerMember::LeftClick
        | ComputerMember::RightClick
        | ComputerMember::MiddleClick
        | ComputerMember::DoubleClick
        | ComputerMember::TripleClick => {
            let Click { coordinate, text } = decode(name, input, scratch, out)?;
            let (at, held) = (at(coordinate)?, text.as_deref());
            match member {
                ComputerMember::RightClick => {
                    acted("Right-clicked.", computer.right_click(at, held).await?)
                }
                ComputerMember::MiddleClick => {
                    acted("Middle-clicked.", computer.middle_click(at, held).await?)
                }
                ComputerMember::DoubleClick => {
                    acted("Double-clicked.", computer.double_click(at, held).await?)
                }
                ComputerMember::TripleClick => {
                    acted("Triple-clicked.", computer.triple_click(at, held).await?)
                }
                _ => acted("Clicked.", computer.left_click(at, held).await?),
            }
        }
        ComputerMember::Scroll => {
            let Scroll { coordinate, scroll_direction, scroll_amount, text } =
                decode(name, input, scratch, out)?;
            let at = at(coordinate)?;
            let held = text.as_deref();
            let line = computer.scroll(at, scroll_direction, scroll_amount, held).await?;
            acted(format!("Scrolled {}.", scroll_direction.name()), line)
        }
        ComputerMember::Wait => {
            let Wait { duration } = decode(name, input, scratch, out)?;
            let line = computer.wait(Duration::from_secs(duration.into())).await?;
            acted(format!("Waited {duration}s."), line)
        }
        ComputerMember::Screenshot => {
            let Nothing {} = decode(name, input, scratch, out)?;
            Answer::Image(computer.screenshot().await?)
        }
        ComputerMember::Zoom => {
            let Zoom { region } = decode(name, input, scratch, out)?;
            Answer::Image(computer.zoom(display.region(name, region)?).await?)
        }
    };
    answer.write_to(name, out)
}

/// The toolset `computer_toolset_20260801` over a [`Computer`]. Its results are those of the
/// Python SDK's `BetaAbstractComputerToolset20260801`.
///
/// The entry in `tools` has no size: the model sees it in the screenshots. Members that are not
/// implemented are turned off in `configs`. If the model calls one nevertheless, it reads that it
/// is not available.
///
/// The definitions of `key`, `hold_key` and `type` are marked
/// [`requires_approval`](Definition::requires_approval), which a gate enforces. These are the
/// members whose calls the SDKs require a person to confirm.
///
/// Clones of one `Arc<ComputerToolset<_>>` can serve several runs. Their calls run one after
/// another.
#[derive(Debug)]
pub struct ComputerToolset<C> {
    computer: C,
    entry: Entry<ComputerMember>,
    turn: tokio::sync::Mutex<()>,
}

impl<C: Computer> ComputerToolset<C> {
    /// Creates the toolset.
    pub fn new(computer: C) -> Self {
        Self { computer, entry: Entry::new(C::MEMBERS), turn: tokio::sync::Mutex::default() }
    }

    entry_setters!(ComputerMember);

    /// Returns the computer.
    pub const fn computer(&self) -> &C {
        &self.computer
    }
}

impl<C: Computer> Tools for ComputerToolset<C> {
    fn count(&self) -> usize {
        Entry::<ComputerMember>::count()
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
        let member = self.entry.member(i)?;
        let _turn = self.turn.lock().await;
        run(&self.computer, member, call.input, call.scratch, out).await
    }
}

/// The name of the older tool, and its serial group.
const NAME: &str = "computer";

/// The tool `computer_20251124` over a [`Computer`]: one tool whose input has an `action`, for
/// models and providers without toolsets. Set the beta `computer-use-2025-11-24`.
///
/// The definition states the size of the [`display`](Computer::display). An action has the name of
/// a member. Unlike the toolset, it does not tell the model which actions are not implemented, and
/// the calls of a turn that follow a failed one do run. The definition has the mark
/// [`requires_approval`](Definition::requires_approval), because some actions type.
#[derive(Debug)]
pub struct ComputerTool<C> {
    computer: C,
    json: String,
    has_zoom: bool,
    number: Option<u32>,
    is_cached: bool,
}

impl<C: Computer> ComputerTool<C> {
    /// Creates the tool. The action `zoom` is enabled if it is implemented.
    pub fn new(computer: C) -> Self {
        let has_zoom = C::MEMBERS.contains(&ComputerMember::Zoom);
        let json = String::new();
        Self { computer, json, has_zoom, number: None, is_cached: false }.written()
    }

    /// Sets the number of the X11 display, as it is stated to the model.
    #[must_use]
    pub fn display_number(mut self, number: u32) -> Self {
        self.number = Some(number);
        self.written()
    }

    /// Ends the cached part of the prompt after this definition, with
    /// `cache_control: {"type":"ephemeral"}`.
    #[must_use]
    pub fn cached(mut self) -> Self {
        self.is_cached = true;
        self.written()
    }

    /// Returns the computer.
    pub const fn computer(&self) -> &C {
        &self.computer
    }

    fn written(mut self) -> Self {
        let Display { width, height } = self.computer.display();
        let number = self.number.map(|number| format!(r#","display_number":{number}"#));
        let zoom = if self.has_zoom { r#","enable_zoom":true"# } else { "" };
        let cache = r#","cache_control":{"type":"ephemeral"}"#;
        let cache = if self.is_cached { cache } else { "" };
        self.json = format!(
            r#"{{"type":"computer_20251124","name":"{NAME}","display_width_px":{width},"display_height_px":{height}{}{zoom}{cache}}}"#,
            number.unwrap_or_default()
        );
        self
    }
}

/// The members of an input of [`ComputerTool`] besides the action.
type OtherMembers<'a> = std::collections::BTreeMap<String, &'a serde_json::value::RawValue>;

impl<C: Computer> Tools for ComputerTool<C> {
    fn count(&self) -> usize {
        1
    }

    fn definition(&self, i: usize) -> Option<Definition<'_>> {
        (i == 0).then(|| Definition::new(NAME, &self.json).serial_in(NAME).requires_approval())
    }

    async fn call(
        &self,
        _: usize,
        call: ToolCall<'_>,
        out: &mut Output<'_>,
    ) -> Result<(), ToolError> {
        let action = call.input.member("action").and_then(Value::as_text);
        let Some(action) = action else {
            return Err(ToolError::new(
                "Error: invalid input for tool 'computer': action: expected string, got nothing",
            ));
        };
        let member = ComputerMember::ALL.iter().copied().find(|member| action == *member.name());
        let Some(member) = member else {
            return Err(ToolError::format(format_args!(
                "Error: invalid input for tool 'computer': action: expected one of {}, got '{}'",
                ComputerMember::ALL.iter().map(|m| m.name()).collect::<Vec<_>>().join(", "),
                one_line(&action.to_string(), 200)
            )));
        };
        if !C::MEMBERS.contains(&member) {
            return unavailable(member).await;
        }
        // The inputs of the members have no action.
        let mut rest: OtherMembers<'_> = serde_json::from_str(call.input.as_json())?;
        rest.remove("action");
        let rest = serde_json::to_string(&rest)?;
        let Some(input) = Value::first(rest.as_bytes()) else {
            return Err(ToolError::new("Error: the input cannot be read"));
        };
        run(&self.computer, member, input, &mut vec![0; rest.len()], out).await
    }
}
