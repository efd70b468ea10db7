//! A computer that the model controls: the members of `computer_toolset_20260801`.

use core::time::Duration;

use toolrunner_core::tool::ToolError;

use super::ActionResult;
use super::screen::{Display, Point, Region, Screenshot, ScrollDirection};
use super::toolset::{members, unavailable};

members! {
    /// A member of the computer toolset.
    ComputerMember of "computer", "computer_toolset_20260801";
    on:
        /// `key`: presses a key or a combination of keys.
        Key "key"
        /// `hold_key`: holds a key for some time.
        HoldKey "hold_key"
        /// `type`: types a text.
        Type "type"
        /// `cursor_position`: says where the cursor is.
        CursorPosition "cursor_position"
        /// `mouse_move`: moves the cursor.
        MouseMove "mouse_move"
        /// `left_mouse_down`: presses the left button.
        LeftMouseDown "left_mouse_down"
        /// `left_mouse_up`: releases the left button.
        LeftMouseUp "left_mouse_up"
        /// `left_click`: clicks.
        LeftClick "left_click"
        /// `left_click_drag`: drags from one point to another.
        LeftClickDrag "left_click_drag"
        /// `right_click`: clicks the right button.
        RightClick "right_click"
        /// `middle_click`: clicks the middle button.
        MiddleClick "middle_click"
        /// `double_click`: clicks twice.
        DoubleClick "double_click"
        /// `triple_click`: clicks three times.
        TripleClick "triple_click"
        /// `scroll`: turns the scroll wheel.
        Scroll "scroll"
        /// `wait`: lets some time pass.
        Wait "wait"
        /// `screenshot`: shows the screen.
        Screenshot "screenshot"
        /// `zoom`: shows a part of the screen, larger.
        Zoom "zoom";
    off:;
    approved: Key HoldKey Type;
}

/// A screen, a mouse and a keyboard that the model controls.
///
/// Each method is a member of the toolset. Implement those that the computer has, and list them in
/// [`MEMBERS`](Self::MEMBERS): the others are turned off in the definition.
/// [`ComputerToolset`](super::ComputerToolset) checks the arguments of every call before it calls a
/// method: points and regions are on the [`display`](Self::display). Calls of one toolset run one
/// after another.
///
/// A method that acts returns `None`, or one line that the model reads after the toolset's own
/// text (`Clicked.`). The keys of `key`, `hold_key` and `held` are a name or a combination such as
/// `ctrl+shift+Tab`; names have no case.
///
/// Whatever the model types goes to the window that has the focus, and what the screen shows can
/// steer the model. Run it in a machine of its own, without credentials.
#[allow(unused_variables, reason = "the default methods use none")]
pub trait Computer: Send + Sync + 'static {
    /// The members that are implemented.
    const MEMBERS: &'static [ComputerMember];

    /// Returns the size of the display, in pixels of the screenshots.
    fn display(&self) -> Display;

    /// Presses a key or a combination of keys, 1 to 100 times.
    ///
    /// # Errors
    /// Returns the error that the model receives, for example if there is no such key.
    fn key(&self, keys: &str, times: u32) -> impl Future<Output = ActionResult> + Send {
        unavailable(ComputerMember::Key)
    }

    /// Holds a key or a combination of keys down, for at most 100 seconds.
    ///
    /// # Errors
    /// Returns the error that the model receives, for example if there is no such key.
    fn hold_key(&self, keys: &str, time: Duration) -> impl Future<Output = ActionResult> + Send {
        unavailable(ComputerMember::HoldKey)
    }

    /// Types a text.
    ///
    /// # Errors
    /// Returns the error that the model receives.
    fn type_text(&self, text: &str) -> impl Future<Output = ActionResult> + Send {
        unavailable(ComputerMember::Type)
    }

    /// Returns where the cursor is.
    ///
    /// # Errors
    /// Returns the error that the model receives.
    fn cursor_position(&self) -> impl Future<Output = Result<Point, ToolError>> + Send {
        unavailable(ComputerMember::CursorPosition)
    }

    /// Moves the cursor.
    ///
    /// # Errors
    /// Returns the error that the model receives.
    fn mouse_move(&self, to: Point) -> impl Future<Output = ActionResult> + Send {
        unavailable(ComputerMember::MouseMove)
    }

    /// Presses the left button where the cursor is.
    ///
    /// # Errors
    /// Returns the error that the model receives.
    fn left_mouse_down(&self) -> impl Future<Output = ActionResult> + Send {
        unavailable(ComputerMember::LeftMouseDown)
    }

    /// Releases the left button.
    ///
    /// # Errors
    /// Returns the error that the model receives.
    fn left_mouse_up(&self) -> impl Future<Output = ActionResult> + Send {
        unavailable(ComputerMember::LeftMouseUp)
    }

    /// Clicks the left button at a point, or where the cursor is, while the keys `held` are down.
    ///
    /// # Errors
    /// Returns the error that the model receives.
    fn left_click(
        &self,
        at: Option<Point>,
        held: Option<&str>,
    ) -> impl Future<Output = ActionResult> + Send {
        unavailable(ComputerMember::LeftClick)
    }

    /// Clicks the right button at a point, or where the cursor is, while the keys `held` are down.
    ///
    /// # Errors
    /// Returns the error that the model receives.
    fn right_click(
        &self,
        at: Option<Point>,
        held: Option<&str>,
    ) -> impl Future<Output = ActionResult> + Send {
        unavailable(ComputerMember::RightClick)
    }

    /// Clicks the middle button at a point, or where the cursor is, while the keys `held` are down.
    ///
    /// # Errors
    /// Returns the error that the model receives.
    fn middle_click(
        &self,
        at: Option<Point>,
        held: Option<&str>,
    ) -> impl Future<Output = ActionResult> + Send {
        unavailable(ComputerMember::MiddleClick)
    }

    /// Clicks the left button twice at a point, or where the cursor is, while the keys `held` are
    /// down.
    ///
    /// # Errors
    /// Returns the error that the model receives.
    fn double_click(
        &self,
        at: Option<Point>,
        held: Option<&str>,
    ) -> impl Future<Output = ActionResult> + Send {
        unavailable(ComputerMember::DoubleClick)
    }

    /// Clicks the left button three times at a point, or where the cursor is, while the keys `held`
    /// are down.
    ///
    /// # Errors
    /// Returns the error that the model receives.
    fn triple_click(
        &self,
        at: Option<Point>,
        held: Option<&str>,
    ) -> impl Future<Output = ActionResult> + Send {
        unavailable(ComputerMember::TripleClick)
    }

    /// Drags with the left button from one point to another, while the keys `held` are down.
    ///
    /// # Errors
    /// Returns the error that the model receives.
    fn left_click_drag(
        &self,
        from: Point,
        to: Point,
        held: Option<&str>,
    ) -> impl Future<Output = ActionResult> + Send {
        unavailable(ComputerMember::LeftClickDrag)
    }

    /// Turns the scroll wheel by some notches at a point, or where the cursor is, while the keys
    /// `held` are down.
    ///
    /// # Errors
    /// Returns the error that the model receives.
    fn scroll(
        &self,
        at: Option<Point>,
        direction: ScrollDirection,
        notches: u32,
        held: Option<&str>,
    ) -> impl Future<Output = ActionResult> + Send {
        unavailable(ComputerMember::Scroll)
    }

    /// Waits, for at most 100 seconds.
    ///
    /// # Errors
    /// Returns the error that the model receives.
    fn wait(&self, time: Duration) -> impl Future<Output = ActionResult> + Send {
        unavailable(ComputerMember::Wait)
    }

    /// Returns an image of the screen, of the size of the [`display`](Self::display).
    ///
    /// # Errors
    /// Returns the error that the model receives.
    fn screenshot(&self) -> impl Future<Output = Result<Screenshot, ToolError>> + Send {
        unavailable(ComputerMember::Screenshot)
    }

    /// Returns an image of a part of the screen, scaled up.
    ///
    /// # Errors
    /// Returns the error that the model receives.
    fn zoom(&self, region: Region) -> impl Future<Output = Result<Screenshot, ToolError>> + Send {
        unavailable(ComputerMember::Zoom)
    }
}
