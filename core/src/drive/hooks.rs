//! Hooks: they look at calls and results while a run is driven, and can end it from outside.

use core::sync::atomic::{AtomicBool, Ordering};
use core::task::{Context, Poll};
use core::time::Duration;

use crate::error::{Error, Misuse};
use crate::json::{Kind, Value, check};
use crate::run::{Call, Run};
use crate::tool::ToolHost;

/// The decision about a call before its tool runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Decision<'h> {
    /// The tool runs.
    Allow,
    /// The tool does not run. The model receives this text as the result.
    Answer(&'h str),
    /// The tool does not run. The model receives this text as an error.
    Deny(&'h str),
    /// The tool runs with this input, a JSON object, while the conversation keeps the model's own
    /// input. If the text is not an object, the tool does not run.
    Input(&'h str),
    /// The decision is postponed: the run ends with
    /// [`Outcome::NeedsAnswer`](crate::run::Outcome::NeedsAnswer) when everything else is done, and
    /// continues after [`Driver::allow`](super::Driver::allow) or [`Run::answer`].
    Suspend,
}

/// Callbacks of a [`Driver`](super::Driver) while it drives a run. Every method has a default that
/// does nothing, and `()` uses all defaults: unused hooks cost no code. To end a run immediately
/// from a button or an interrupt, use `toolrunner_embassy::Cancel` or another type that stores the
/// waker. An [`AtomicBool`] takes effect only when the driver is polled for another reason.
///
/// ```
/// use toolrunner_core::drive::{Decision, Draft, Hooks};
/// use toolrunner_core::run::Call;
///
/// struct Careful;
///
/// impl Hooks for Careful {
///     fn before(&self, call: &Call<'_>) -> Decision<'_> {
///         if call.name == *"open_valve" { Decision::Deny("The valve stays shut.") } else { Decision::Allow }
///     }
///
///     fn after(&self, result: &mut Draft<'_, '_>) {
///         // Of a long text 500 bytes are enough. One that cannot be cut stays as it is.
///         let _ = result.cap(500);
///     }
/// }
/// ```
pub trait Hooks {
    /// Decides about a call. It is asked only if the tool exists here and the input is an object.
    /// The default allows the call.
    fn before(&self, call: &Call<'_>) -> Decision<'_> {
        let _ = call;
        Decision::Allow
    }

    /// Looks at a result before it is sent: what a tool returned, or what [`before`](Self::before)
    /// answered instead.
    fn after(&self, result: &mut Draft<'_, '_>) {
        let _ = result;
    }

    /// Returns whether the run must end now. A partial reply is discarded, a tool gets the
    /// [`grace`](Self::grace) period, and the run ends with
    /// [`Outcome::Stopped`](crate::run::Outcome::Stopped). When this is `false` again, the run
    /// continues after [`Run::resume`], [`Run::user`] or [`Run::append`].
    fn is_cancelled(&self) -> bool {
        false
    }

    /// Returns `Ready` when [`is_cancelled`](Self::is_cancelled) is true. The default checks
    /// whenever the driver is polled anyway. To end a wait immediately, store the waker and wake
    /// it.
    fn poll_cancelled(&self, context: &mut Context<'_>) -> Poll<()> {
        let _ = context;
        if self.is_cancelled() { Poll::Ready(()) } else { Poll::Pending }
    }

    /// Returns how long a tool may continue after the run is cancelled or its time is over. After
    /// that its future is dropped, and the call is answered as cancelled. The default is zero.
    fn grace(&self) -> Duration {
        Duration::ZERO
    }

    /// Returns what tools can reach through their context: cancellation and shared state. The
    /// default is nothing.
    fn host(&self) -> Option<&dyn ToolHost> {
        None
    }
}

impl Hooks for () {}

/// A flag that cancels the run, and stays set until the caller clears it. It has no waker: a run
/// that waits for the network notices it when the next bytes arrive or the wait ends.
/// `toolrunner_embassy::Cancel` takes effect immediately.
impl Hooks for AtomicBool {
    fn is_cancelled(&self) -> bool {
        self.load(Ordering::Relaxed)
    }
}

impl<H: Hooks + ?Sized> Hooks for &H {
    fn before(&self, call: &Call<'_>) -> Decision<'_> {
        (**self).before(call)
    }

    fn after(&self, result: &mut Draft<'_, '_>) {
        (**self).after(result);
    }

    fn is_cancelled(&self) -> bool {
        (**self).is_cancelled()
    }

    fn poll_cancelled(&self, context: &mut Context<'_>) -> Poll<()> {
        (**self).poll_cancelled(context)
    }

    fn grace(&self) -> Duration {
        (**self).grace()
    }

    fn host(&self) -> Option<&dyn ToolHost> {
        (**self).host()
    }
}

/// A result that has not been sent yet, to be inspected or changed.
#[derive(Debug)]
pub struct Draft<'r, 'b> {
    run: &'r mut Run<'b>,
    call: usize,
}

impl<'r, 'b> Draft<'r, 'b> {
    pub(super) const fn new(run: &'r mut Run<'b>, call: usize) -> Self {
        Self { run, call }
    }

    /// Returns the call that the result answers.
    pub fn call(&self) -> Option<Call<'_>> {
        self.run.call(self.call)
    }

    /// Returns the content in its wire format: a string or an array of blocks.
    pub fn content(&self) -> Value<'_> {
        self.run.result(self.call).and_then(|result| result.member("content")).unwrap_or_default()
    }

    /// Returns whether the result reports a failed call to the model.
    pub fn is_error(&self) -> bool {
        self.run.result(self.call).is_some_and(|result| result.member("is_error").is_some())
    }

    /// Replaces the content with this text.
    ///
    /// # Errors
    /// `Misuse` if there is no such result or the text is empty; `Capacity` if it does not fit. In
    /// both cases the old content stays.
    pub fn replace(&mut self, text: &str, is_error: bool) -> Result<(), Error> {
        self.run.replace_result_text(self.call, text, is_error)
    }

    /// Replaces the content with this JSON: a string or an array of blocks.
    ///
    /// # Errors
    /// `Misuse` if there is no such result, if `content` is not valid content (see
    /// [`Run::answer`]), or if the request would have too many cache breakpoints; `Capacity` if it
    /// does not fit. In these cases the old content stays.
    pub fn replace_json(&mut self, content: &str, is_error: bool) -> Result<(), Error> {
        self.run.replace_result(self.call, content.as_bytes(), is_error)
    }

    /// Truncates every text that is longer than `bytes`: see [`Run::cap_result`].
    ///
    /// # Errors
    /// `Misuse` if there is no such result; `Capacity` if there is no space for the note that text
    /// was cut. A text before it may have been truncated in this case.
    pub fn cap(&mut self, bytes: usize) -> Result<(), Error> {
        self.run.cap_result(self.call, bytes)
    }
}

/// Checks that the text is a JSON object.
pub(super) fn is_object(json: &str) -> Result<(), Misuse> {
    let is = check(json.as_bytes()).is_ok()
        && Value::first(json.as_bytes()).is_some_and(|value| value.kind() == Kind::Object);
    if is { Ok(()) } else { Err(Misuse::Json("a tool's input must be a JSON object")) }
}
