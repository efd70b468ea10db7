//! Hooks: they decide about calls, look at results, and can end a run from outside.

#[cfg(feature = "alloc")]
use alloc::vec::Vec;
use core::sync::atomic::{AtomicBool, Ordering};
use core::task::{Context, Poll};
use core::time::Duration;

use crate::error::Error;
use crate::json::Value;
#[cfg(feature = "alloc")]
use crate::run::cap_content;
use crate::run::{Call, CallIndex, Run, ToolAnswer};
use crate::tool::{Output, ToolCall, ToolHost};

/// What a gate decides about a call before its tool runs. What belongs to it is in the call's
/// [`Output`], which the gate receives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// The tool runs. What the gate wrote is discarded.
    Allow,
    /// The tool does not run. The model receives what the gate wrote as the result.
    Answer,
    /// The tool does not run. The model receives what the gate wrote as an error, or
    /// [`NOT_ALLOWED`](Self::NOT_ALLOWED) if it wrote nothing.
    Deny,
    /// The tool runs with the JSON object that the gate wrote by [`Output::input`], while the
    /// conversation keeps the model's own input. If there is no such object, the tool does not run.
    /// The object takes space from the result.
    Input,
    /// There is no verdict yet: the run ends with
    /// [`Outcome::NeedsAnswer`](crate::run::Outcome::NeedsAnswer) when everything else is done, and
    /// continues after [`Driver::allow`](super::Driver::allow) or [`Run::answer`].
    Suspend,
}

impl Verdict {
    /// What the model receives for a call that the gate denied without a text.
    pub const NOT_ALLOWED: &'static str = "Error: not allowed";
}

/// Callbacks of a [`Driver`](super::Driver) while it drives a run. Every method has a default that
/// does nothing, and `()` uses all defaults: unused hooks cost no code. To end a run immediately
/// from a button or an interrupt, use `toolrunner_embassy::Cancel` or another type that stores the
/// waker. An [`AtomicBool`] takes effect only when the driver is polled for another reason.
///
/// ```
/// use toolrunner_core::drive::{Draft, Hooks, Verdict};
/// use toolrunner_core::tool::{Output, ToolCall};
///
/// struct Careful;
///
/// impl Hooks for Careful {
///     async fn before(&self, call: &ToolCall<'_>, out: &mut Output<'_>) -> Verdict {
///         if call.name == *"open_valve" {
///             // A text that does not fit becomes an error that says so.
///             let _ = out.text("The valve stays shut.");
///             return Verdict::Deny;
///         }
///         Verdict::Allow
///     }
///
///     fn after(&self, result: &mut Draft<'_, '_>) {
///         // 500 bytes of a long text are enough. A text that cannot be cut stays unchanged.
///         let _ = result.cap(500);
///     }
/// }
/// ```
#[allow(
    async_fn_in_trait,
    reason = "a driver is generic over its hooks, so whether its future is Send follows from the hooks'"
)]
pub trait Hooks {
    /// Decides about a call, and may wait. It is asked only if the tool exists here and the input
    /// is an object. `out` is empty and receives what the [`Verdict`] needs. The default allows
    /// the call.
    ///
    /// A call that waits here has started: if the future that drives the run is dropped, the call
    /// is answered as cancelled, although its tool never ran.
    async fn before(&self, call: &ToolCall<'_>, out: &mut Output<'_>) -> Verdict {
        let _ = (call, out);
        Verdict::Allow
    }

    /// Looks at a call that no tool receives, because its input is not an object or because there
    /// is no such tool, before the model receives the error.
    fn refused(&self, call: &Call<'_>) {
        let _ = call;
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

    /// Tells the tools that are running to end, because the run is cancelled or its time is over:
    /// the [`grace`](Self::grace) period begins. The default does nothing.
    fn wind_down(&self) {}

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
    fn before(&self, call: &ToolCall<'_>, out: &mut Output<'_>) -> impl Future<Output = Verdict> {
        (**self).before(call, out)
    }

    fn refused(&self, call: &Call<'_>) {
        (**self).refused(call);
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

    fn wind_down(&self) {
        (**self).wind_down();
    }

    fn host(&self) -> Option<&dyn ToolHost> {
        (**self).host()
    }
}

/// A result that has not been sent yet, to be inspected or changed.
#[derive(Debug)]
pub struct Draft<'r, 'b> {
    place: Place<'r, 'b>,
}

/// The memory of a result.
#[derive(Debug)]
enum Place<'r, 'b> {
    /// The run: it is the result of this call.
    Run(&'r mut Run<'b>, CallIndex),
    /// An executor's own, before it becomes the result of the call.
    #[cfg(feature = "alloc")]
    Own { call: Call<'r>, content: &'r mut Vec<u8>, is_error: &'r mut bool },
}

impl<'r, 'b> Draft<'r, 'b> {
    /// Creates the draft of a result that the run already has.
    pub(crate) const fn new(run: &'r mut Run<'b>, call: CallIndex) -> Self {
        Self { place: Place::Run(run, call) }
    }

    /// Creates the draft of a result that the run does not have yet.
    #[cfg(feature = "alloc")]
    pub(crate) const fn own(
        call: Call<'r>,
        content: &'r mut Vec<u8>,
        is_error: &'r mut bool,
    ) -> Self {
        Self { place: Place::Own { call, content, is_error } }
    }

    /// Returns the call that the result answers.
    pub fn call(&self) -> Option<Call<'_>> {
        match &self.place {
            Place::Run(run, call) => run.call(*call),
            #[cfg(feature = "alloc")]
            Place::Own { call, .. } => Some(*call),
        }
    }

    /// Returns the content in its wire format: a string or an array of blocks.
    pub fn content(&self) -> Value<'_> {
        match &self.place {
            Place::Run(run, call) => {
                run.result(*call).and_then(|result| result.member("content")).unwrap_or_default()
            }
            #[cfg(feature = "alloc")]
            Place::Own { content, .. } => Value::first(content).unwrap_or_default(),
        }
    }

    /// Returns whether the result reports a failed call to the model.
    pub fn is_error(&self) -> bool {
        match &self.place {
            Place::Run(run, call) => {
                run.result(*call).is_some_and(|result| result.member("is_error").is_some())
            }
            #[cfg(feature = "alloc")]
            Place::Own { is_error, .. } => **is_error,
        }
    }

    /// Replaces the content, and whether the call failed.
    ///
    /// # Errors
    /// `Misuse` if there is no such result, if the API would not accept the content (see
    /// [`ToolAnswer`]), or if the request would have too many cache breakpoints; `Capacity` if it
    /// does not fit. In these cases the old content stays.
    pub fn replace(&mut self, answer: ToolAnswer<'_>) -> Result<(), Error> {
        match &mut self.place {
            Place::Run(run, call) => run.replace_result(*call, answer),
            #[cfg(feature = "alloc")]
            Place::Own { .. } => {
                answer.check()?;
                self.set(answer);
                Ok(())
            }
        }
    }

    /// Replaces the content, and whether the call failed, without a check: content that the API
    /// does not accept becomes a text when it is added to the run. Has no effect on a result that
    /// the run already has.
    #[cfg(feature = "alloc")]
    pub(crate) fn set(&mut self, answer: ToolAnswer<'_>) {
        if let Place::Own { content, is_error, .. } = &mut self.place {
            content.clear();
            // A `Vec` is never full.
            let _ = answer.write_to(*content);
            **is_error = answer.is_error();
        }
    }

    /// Truncates every text that is longer than `bytes`: see [`Run::cap_result`].
    ///
    /// # Errors
    /// `Misuse` if there is no such result; `Capacity` if there is no space for the note that text
    /// was cut. A text before it may have been truncated in this case.
    pub fn cap(&mut self, bytes: usize) -> Result<(), Error> {
        match &mut self.place {
            Place::Run(run, call) => run.cap_result(*call, bytes),
            #[cfg(feature = "alloc")]
            Place::Own { content, .. } => {
                cap_content(content, bytes);
                Ok(())
            }
        }
    }
}
