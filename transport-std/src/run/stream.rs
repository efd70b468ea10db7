//! A run as a stream of events that owns it.

use core::fmt;
use core::pin::Pin;
use core::task::{Context, Poll, ready};

use futures_core::Stream;
use tokio_util::sync::ReusableBoxFuture;

use super::{OwnedEvent, Run};
use crate::error::Error;

/// What one step of the stream returns: the run, and what happened.
type StreamStep = (Box<Run>, Result<Option<OwnedEvent>, Error>);

/// The events of a run, as a [`Stream`] that owns the run: see [`Run::into_stream`].
pub struct RunStream {
    /// The run, unless a step is under way.
    run: Option<Box<Run>>,
    /// The step under way. It is only polled while `run` is `None`.
    step: Option<ReusableBoxFuture<'static, StreamStep>>,
    is_over: bool,
}

impl Run {
    /// Returns the events of the run as a stream that owns it, to be sent to a browser or to
    /// another task. Each item is `Send + 'static` and can be serialized.
    ///
    /// The last event is [`OwnedEvent::Finished`], or an error, after which the stream ends too:
    /// [`RunStream::into_run`] then returns the run, which can continue. Dropping the stream drops
    /// the run with its request and its calls. To be able to [cancel](Self::cancellation) it or to
    /// [inject](Self::injector) messages, take those handles before.
    ///
    /// ```no_run
    /// # async fn f(client: toolrunner_std::Client) -> Result<(), toolrunner_std::Error> {
    /// use futures_util::TryStreamExt;
    ///
    /// let mut events = client.run("claude-opus-4-7").user("Tell me a story.").into_stream();
    /// while let Some(event) = events.try_next().await? {
    ///     println!("{}", serde_json::to_string(&event).unwrap_or_default());
    /// }
    /// # Ok(()) }
    /// ```
    pub fn into_stream(self) -> RunStream {
        RunStream { run: Some(Box::new(self)), step: None, is_over: false }
    }
}

impl RunStream {
    /// Returns the run, between two events: while the stream waits for an event, there is none to
    /// return, and the run is dropped. After the end of the stream there always is.
    pub fn into_run(self) -> Option<Run> {
        self.run.map(|run| *run)
    }

    /// Returns the run between two events, to change it, or `None` while the stream waits for an
    /// event.
    pub fn run_mut(&mut self) -> Option<&mut Run> {
        self.run.as_deref_mut()
    }
}

/// Continues the run to its next event.
async fn step(mut run: Box<Run>) -> StreamStep {
    let event = run.next_owned_event().await;
    (run, event)
}

impl Stream for RunStream {
    type Item = Result<OwnedEvent, Error>;

    fn poll_next(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let this = self.get_mut();
        if this.is_over {
            return Poll::Ready(None);
        }
        // The memory of the first step serves all others.
        if let Some(run) = this.run.take() {
            match &mut this.step {
                Some(place) => place.set(step(run)),
                place => *place = Some(ReusableBoxFuture::new(step(run))),
            }
        }
        let Some(under_way) = &mut this.step else { return Poll::Ready(None) };
        let (run, event) = ready!(under_way.poll(context));
        let item = match event {
            Ok(Some(event)) => Ok(event),
            Ok(None) => {
                this.is_over = true;
                run.finished().map(OwnedEvent::Finished)
            }
            Err(error) => {
                this.is_over = true;
                Err(error)
            }
        };
        this.run = Some(run);
        Poll::Ready(Some(item))
    }
}

impl fmt::Debug for RunStream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RunStream")
            .field("run", &self.run)
            .field("is_over", &self.is_over)
            .finish_non_exhaustive()
    }
}
