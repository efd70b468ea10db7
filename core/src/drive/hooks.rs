//! Who may look at calls and results while a run is driven, and end it from outside.

use core::sync::atomic::{AtomicBool, Ordering};
use core::task::{Context, Poll};
use core::time::Duration;

use crate::error::{Error, Misuse};
use crate::json::{Kind, Value, check};
use crate::run::{Call, Run};
use crate::tool::ToolHost;

/// What is said to a call before its tool runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Decision<'h> {
    /// The tool runs.
    Allow,
    /// It does not run; the model reads this text as the result.
    Answer(&'h str),
    /// It does not run; the model reads this text as an error.
    Deny(&'h str),
    /// The tool runs with this input, a JSON object; the conversation keeps the model's own. What
    /// is no object is not run.
    Input(&'h str),
    /// Nobody knows yet: the run ends with
    /// [`Outcome::NeedsAnswer`](crate::run::Outcome::NeedsAnswer) when all else is done, and goes
    /// on after [`Driver::allow`](super::Driver::allow) or [`Run::answer`].
    Suspend,
}

/// What a [`Driver`](super::Driver) asks and tells while it drives a run. Every method has a
/// default that does nothing, and `()` is all of them: what is not used costs no code. To end a run
/// at once from a button or an interrupt, use `toolrunner_embassy::Cancel` or another type that
/// keeps the waker; an [`AtomicBool`] is seen only when the driver is polled for another reason.
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
    /// Decides about a call of a tool that exists here and whose input is an object.
    fn before(&self, call: &Call<'_>) -> Decision<'_> {
        let _ = call;
        Decision::Allow
    }

    /// Looks at what a tool gave, or what [`before`](Self::before) said in its place, before it is
    /// sent.
    fn after(&self, result: &mut Draft<'_, '_>) {
        let _ = result;
    }

    /// Whether the run is to end now. A reply under way is taken back, a tool gets the
    /// [`grace`](Self::grace) period, and the run ends with
    /// [`Outcome::Stopped`](crate::run::Outcome::Stopped); it goes on, when this is false again,
    /// after [`Run::resume`] or when something is said.
    fn is_cancelled(&self) -> bool {
        false
    }

    /// Ready when [`is_cancelled`](Self::is_cancelled) is true. The default looks whenever the
    /// driver is polled anyway: one that must end a wait at once keeps the waker and wakes it.
    fn poll_cancelled(&self, context: &mut Context<'_>) -> Poll<()> {
        let _ = context;
        if self.is_cancelled() { Poll::Ready(()) } else { Poll::Pending }
    }

    /// How long a tool may go on when the run is cancelled or its time is over; then its future is
    /// dropped, and the call is answered as cancelled. Default: not at all.
    fn grace(&self) -> Duration {
        Duration::ZERO
    }

    /// What tools find behind their context: cancellation and shared state. Default: nothing.
    fn host(&self) -> Option<&dyn ToolHost> {
        None
    }
}

impl Hooks for () {}

/// A flag that cancels the run, and stays set until the caller clears it. It has no waker: a run
/// that waits for the network sees it when the next bytes come or the wait ends.
/// `toolrunner_embassy::Cancel` is seen at once.
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

/// A result that was not sent yet, to look at and to change.
#[derive(Debug)]
pub struct Draft<'r, 'b> {
    run: &'r mut Run<'b>,
    call: usize,
}

impl<'r, 'b> Draft<'r, 'b> {
    pub(super) const fn new(run: &'r mut Run<'b>, call: usize) -> Self {
        Self { run, call }
    }

    /// The call that it answers.
    pub fn call(&self) -> Option<Call<'_>> {
        self.run.call(self.call)
    }

    /// The content as it goes on the wire: a string or an array of blocks.
    pub fn content(&self) -> Value<'_> {
        self.run.result(self.call).and_then(|result| result.member("content")).unwrap_or_default()
    }

    /// Whether the model is told that the call failed.
    pub fn is_error(&self) -> bool {
        self.run.result(self.call).is_some_and(|result| result.member("is_error").is_some())
    }

    /// Makes this text the content.
    ///
    /// # Errors
    /// As [`Run::replace_result`].
    pub fn replace(&mut self, text: &str, is_error: bool) -> Result<(), Error> {
        self.run.replace_result_text(self.call, text, is_error)
    }

    /// Makes this JSON the content: a string or an array of blocks.
    ///
    /// # Errors
    /// As [`Run::replace_result`].
    pub fn replace_json(&mut self, content: &str, is_error: bool) -> Result<(), Error> {
        self.run.replace_result(self.call, content.as_bytes(), is_error)
    }

    /// Cuts every text that is longer than `bytes`: see [`Run::cap_result`].
    ///
    /// # Errors
    /// As there.
    pub fn cap(&mut self, bytes: usize) -> Result<(), Error> {
        self.run.cap_result(self.call, bytes)
    }
}

/// Whether this is the JSON of an object.
pub(super) fn is_object(json: &str) -> Result<(), Misuse> {
    let is = check(json.as_bytes()).is_ok()
        && Value::first(json.as_bytes()).is_some_and(|value| value.kind() == Kind::Object);
    if is { Ok(()) } else { Err(Misuse::Json("a tool's input is a JSON object")) }
}
