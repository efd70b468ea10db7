//! Several calls at once without a heap.

use core::cell::{RefCell, RefMut};
use core::pin::Pin;
use core::task::{Context, Poll};

use heapless::Vec;

#[cfg(feature = "alloc")]
use super::execute::put_own;
use super::execute::{CallEnd, Conclusion, Env, Execute, Job, work};
use super::hooks::{Draft, Hooks};
use crate::error::{Error, Misuse};
use crate::json::{Decimal, Text, Value, copy};
use crate::run::{Call, CallIndex, Run, ToolAnswer};
use crate::time::Clock;
use crate::tool::{Output, ToolCall, Toolbox};

/// Runs up to `N` calls at once, each in a buffer of `M` bytes, without a heap. The results are in
/// the model's order, whatever order they arrive in.
///
/// The futures of the calls and their buffers belong to the caller. They live as long as the
/// driver, so that a dropped future of the driver stops no call and loses no result: the next one
/// continues.
///
/// A buffer holds the call's id, name and input, and the rest is for the result. A result that does
/// not fit becomes an error result that says so, and so does a call whose input does not fit; its
/// tool does not run.
///
/// ```
/// use core::cell::RefCell;
/// use core::pin::pin;
/// use toolrunner_core::drive::{Driver, Fixed};
/// # use toolrunner_core::time::{Clock, Instant};
/// # use toolrunner_core::tool::Toolbox;
/// # use toolrunner_core::transport::Transport;
/// # use toolrunner_core::wire::Config;
/// # async fn f(config: Config<'_>, transport: impl Transport, tools: impl Toolbox,
/// #     clock: impl Clock, mut run: toolrunner_core::run::Run<'_>) {
/// let buffers = [const { RefCell::new([0; 512]) }; 2];
/// let lanes = [pin!(None), pin!(None)];
/// let executor = Fixed::new(lanes, &buffers, |call| call.run(&tools, &(), &clock));
/// let mut driver = Driver::new(config, transport, &tools, &clock).unwrap().executor(executor);
/// let outcome = driver.until_done(&mut run, &mut ()).await;
/// # }
/// ```
#[derive(Debug)]
pub struct Fixed<'l, 'm, F, S, const N: usize, const M: usize> {
    lanes: [Lane<'l, F>; N],
    buffers: &'m [RefCell<[u8; M]>; N],
    /// Starts the future of a call.
    spawn: S,
}

/// The place of one call.
#[derive(Debug)]
struct Lane<'l, F> {
    future: Pin<&'l mut Option<F>>,
    /// The call in this lane, and the length of its id at the beginning of the buffer.
    call: Option<(CallIndex, usize)>,
    over: Option<LaneEnd>,
}

/// The end of a call in its buffer.
#[derive(Clone, Copy, Debug)]
pub struct LaneEnd {
    conclusion: Option<Conclusion>,
    /// The offset of the answer in the buffer, or the number of missing bytes if the input did not
    /// fit.
    at: usize,
}

/// A call in its buffer. A program calls only [`run`](Self::run).
#[derive(Debug)]
pub struct LaneCall<'m> {
    job: Job,
    turn: u32,
    buffer: RefMut<'m, [u8]>,
    /// Where the id, the name, the toolset and the input end.
    ends: [usize; 4],
}

impl LaneCall<'_> {
    /// Runs the call in its buffer, with the tools, hooks and clock of the driver.
    pub async fn run<B: Toolbox + ?Sized, H: Hooks, C: Clock>(
        mut self,
        tools: &B,
        hooks: &H,
        clock: &C,
    ) -> LaneEnd {
        let Self { job, turn, ref mut buffer, ends: [id, name, toolset, input] } = self;
        let (given, rest) = buffer.split_at_mut_checked(input).unwrap_or_default();
        let text =
            |from: usize, to: usize| Text::from_bytes(given.get(from..to).unwrap_or_default());
        let json = given.get(toolset..).unwrap_or_default();
        let scratch = if json.contains(&b'\\') { json.len().min(rest.len()) } else { 0 };
        let (scratch, out) = rest.split_at_mut_checked(scratch).unwrap_or_default();
        let at = input + scratch.len();
        let value = Value::whole(json).unwrap_or_default();
        let mut call = ToolCall::new(text(0, id), text(id, name), value, scratch);
        call.toolset = (toolset > name).then(|| text(name, toolset));
        call.turn = turn;
        let env = Env { tools, hooks, clock };
        let conclusion = work(env, job, call, Output::new(out)).await;
        LaneEnd { conclusion: Some(conclusion), at }
    }
}

impl<'l, 'm, F, S, const N: usize, const M: usize> Fixed<'l, 'm, F, S, N, M>
where
    F: Future<Output = LaneEnd>,
    S: FnMut(LaneCall<'m>) -> F,
{
    /// Creates an executor. `lanes` are pinned places for the futures, and `spawn` calls
    /// [`run`](LaneCall::run) of the call that it receives.
    pub fn new(
        lanes: [Pin<&'l mut Option<F>>; N],
        buffers: &'m [RefCell<[u8; M]>; N],
        spawn: S,
    ) -> Self {
        Self { lanes: lanes.map(|future| Lane { future, call: None, over: None }), buffers, spawn }
    }
}

impl<F, S, const N: usize, const M: usize> Fixed<'_, '_, F, S, N, M> {
    /// Frees a lane, and drops its future.
    fn free(&mut self, slot: usize) {
        if let Some(lane) = self.lanes.get_mut(slot) {
            lane.future.set(None);
            (lane.call, lane.over) = (None, None);
        }
    }
}

/// Copies the parts of a call into `buffer`, one after another. Returns where each ends, or the
/// number of bytes that it needs if they do not fit.
fn load(call: &Call<'_>, buffer: &mut [u8]) -> Result<[usize; 4], usize> {
    let toolset = call.toolset.map(Text::raw_bytes).unwrap_or_default();
    let parts = [call.id.raw_bytes(), call.name.raw_bytes(), toolset, call.input.raw()];
    let mut ends = [0; 4];
    let mut at = 0;
    for (part, end) in parts.into_iter().zip(&mut ends) {
        if let Some(place) = buffer.get_mut(at..).and_then(|rest| rest.get_mut(..part.len())) {
            copy(place, part);
        }
        at += part.len();
        *end = at;
    }
    if at <= buffer.len() { Ok(ends) } else { Err(at) }
}

impl<'m, B, H, C, F, S, const N: usize, const M: usize> Execute<B, H, C>
    for Fixed<'_, 'm, F, S, N, M>
where
    B: Toolbox + ?Sized,
    H: Hooks,
    C: Clock,
    F: Future<Output = LaneEnd>,
    S: FnMut(LaneCall<'m>) -> F,
{
    fn has_room(&self) -> bool {
        self.lanes.iter().any(|lane| lane.call.is_none())
    }

    fn is_idle(&self) -> bool {
        self.lanes.iter().all(|lane| lane.call.is_none())
    }

    fn start(&mut self, run: &Run<'_>, job: Job, _: Env<'_, B, H, C>) -> Result<(), Error> {
        let call = run.call(job.call).ok_or(Misuse::NoSuchCall)?;
        let mut free =
            self.lanes.iter_mut().zip(self.buffers).filter(|(lane, _)| lane.call.is_none());
        let (lane, buffer) = free.next().ok_or(Misuse::NoSuchCall)?;
        // Only the lane's own future borrows the buffer, and this lane has no future.
        let buffer = buffer.try_borrow_mut().map_err(|_| Misuse::NoSuchCall)?;
        let mut buffer = RefMut::map(buffer, |buffer| buffer.as_mut_slice());
        lane.call = Some((job.call, call.id.raw_bytes().len()));
        match load(&call, &mut buffer) {
            Ok(ends) => {
                let turn = run.turns() + u32::from(!run.reply_is_whole());
                lane.future.set(Some((self.spawn)(LaneCall { job, turn, buffer, ends })));
            }
            Err(needed) => lane.over = Some(LaneEnd { conclusion: None, at: needed }),
        }
        Ok(())
    }

    fn poll_finished(&mut self, context: &mut Context<'_>) -> Poll<CallEnd> {
        for (slot, lane) in self.lanes.iter_mut().enumerate() {
            let Some((call, _)) = lane.call else { continue };
            if let Some(future) = lane.future.as_mut().as_pin_mut()
                && let Poll::Ready(over) = future.poll(context)
            {
                // Dropped, so that its buffer can be read.
                lane.future.set(None);
                lane.over = Some(over);
            }
            if let Some(LaneEnd { conclusion, .. }) = lane.over {
                let conclusion = conclusion.unwrap_or(Conclusion::NotRun);
                return Poll::Ready(CallEnd { call, slot, conclusion });
            }
        }
        Poll::Pending
    }

    /// Compares the ids, because the run may have moved on to another turn.
    fn holds(&self, run: &Run<'_>, finished: CallEnd) -> bool {
        let lane = self.lanes.get(finished.slot).and_then(|lane| lane.call);
        let buffer = self.buffers.get(finished.slot).and_then(|buffer| buffer.try_borrow().ok());
        let (Some((call, len)), Some(buffer)) = (lane, buffer) else { return false };
        // An id that did not fit is cut off here and there.
        let id = buffer.get(..len.min(M)).unwrap_or_default();
        run.call(call).is_some_and(|call| len > M || call.id.raw_bytes() == id)
    }

    fn put(
        &mut self,
        run: &mut Run<'_>,
        CallEnd { call, slot, conclusion }: CallEnd,
        after: impl FnOnce(&mut Draft<'_, '_>),
    ) -> Result<(), Error> {
        let over = self.lanes.get(slot).and_then(|lane| lane.over);
        let LaneEnd { conclusion: found, at } = over.ok_or(Misuse::NoSuchCall)?;
        // The run keeps the result until the reply ends, so the hook must see it before.
        #[cfg(feature = "alloc")]
        if run.has_started_early() && found.is_some() {
            let buffer = self.buffers.get(slot).and_then(|buffer| buffer.try_borrow().ok());
            let written = buffer.as_deref().and_then(|buffer| buffer.get(at..));
            let answer = conclusion.content(written.unwrap_or_default().to_vec());
            drop(buffer);
            self.free(slot);
            return answer.map_or(Ok(()), |answer| put_own(run, call, answer, after));
        }
        let answered = match (conclusion, conclusion.notice()) {
            (Conclusion::ForCaller, _) => None,
            _ if found.is_none() => Some(refuse(run, call, at, M)),
            (Conclusion::Answer(written), _) => {
                let buffer = self.buffers.get(slot).and_then(|buffer| buffer.try_borrow().ok());
                let buffer = buffer.as_deref().map(|buffer| buffer.as_slice()).unwrap_or_default();
                Some(run.answer_written(call, written, buffer.get(at..).unwrap_or_default()))
            }
            (_, notice) => notice.map(|notice| run.answer_notice(call, notice)),
        };
        self.free(slot);
        if let Some(answered) = answered {
            answered?;
            after(&mut Draft::new(run, call));
        }
        Ok(())
    }

    fn discard(&mut self, finished: CallEnd) {
        self.free(finished.slot);
    }

    fn abort(&mut self, call: CallIndex) {
        for slot in 0..N {
            if self.lanes.get(slot).and_then(|lane| lane.call).is_some_and(|(own, _)| own == call) {
                self.free(slot);
            }
        }
    }

    fn clear(&mut self) {
        for slot in 0..N {
            self.free(slot);
        }
    }
}

/// Answers a call whose input does not fit in its buffer.
fn refuse(run: &mut Run<'_>, call: CallIndex, needed: usize, free: usize) -> Result<(), Error> {
    let mut text = Vec::<u8, 96>::new();
    let count = |count: usize| Decimal::new(u64::try_from(count).unwrap_or(u64::MAX));
    let (needed, free) = (count(needed), count(free));
    let parts: [&[u8]; 5] = [
        b"\"Error: the input is too large: ",
        needed.as_bytes(),
        b" bytes, at most ",
        free.as_bytes(),
        b" fit\"",
    ];
    for part in parts {
        // Two numbers of 20 digits fit.
        let _ = text.extend_from_slice(part);
    }
    run.answer_checked(call, ToolAnswer::error_json(&text))
}
