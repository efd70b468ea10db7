//! The holder of a turn: stores facts, one commit after another, and lets the run continue only
//! after they are stored.

use super::document::{CallState, Document};
use super::fact::Fact;
use super::{Context, Edit};
use crate::store::{Commit, CommitResult, Holder, Record, Status, StoreError};

/// An input for the holder of a turn.
#[derive(Debug)]
pub(crate) enum Input {
    /// The worker begins.
    Begin,
    /// The run reports a fact.
    Fact(Fact),
    /// The result of [`Effect::Commit`].
    Stored(Result<CommitResult, StoreError>),
    /// The stored session: the answer to [`Effect::Load`], or the state after somebody else changed
    /// it. `None` if the session was deleted.
    Loaded(Option<Box<Record>>),
}

/// A request of the holder of a turn.
#[derive(Debug)]
pub(crate) enum Effect {
    /// Store this commit and report the result. No other commit comes before that.
    Commit(Box<Commit>),
    /// Load the session, and repeat that until it succeeds.
    Load,
    /// The run may make its next request.
    Proceed,
    /// This call may run, because its start is stored. A suspended call continues.
    Allow(usize),
    /// This call has a result in the log that the run does not know.
    Answer(usize),
    /// Cancel the run, which then reports [`Fact::Ended`].
    Cancel,
    /// Drop the run: the session was deleted or has another holder.
    Stop,
    /// The end or the interruption of the turn is stored.
    Over(Box<Record>),
}

/// Holds one turn of one session. Performs no I/O: [`step`](Self::step) takes an input and returns
/// the effects to carry out.
#[derive(Debug)]
pub(crate) struct Worker {
    /// The last known stored state of the session.
    record: Record,
    document: Document,
    fence: u64,
    /// Facts that are not stored yet, in order.
    facts: Vec<Fact>,
    flight: Option<Flight>,
    /// Whether somebody changed the session during a commit.
    is_stale: bool,
    calls: Vec<CallReport>,
    /// Whether the run has been allowed its next request.
    has_proceeded: bool,
    is_cancelled: bool,
    is_over: bool,
}

/// The commit under way.
#[derive(Debug)]
struct Flight {
    /// How many of the facts it contains.
    facts: usize,
    edit: Edit,
    commit: Commit,
}

/// What the run knows about a call.
#[derive(Clone, Copy, Debug, Default)]
struct CallReport {
    /// Whether the call has been allowed to run.
    allowed: bool,
    /// Whether the run knows the call's result.
    done: bool,
    /// Whether the run has suspended the call until it is allowed.
    suspended: bool,
}

impl Worker {
    /// Creates the holder of the turn that this record, with this document, is running.
    pub(crate) fn new(record: Record, document: Document) -> Self {
        let fence = record.fence;
        let mut this = Self {
            record,
            document,
            fence,
            facts: Vec::new(),
            flight: None,
            is_stale: false,
            calls: Vec::new(),
            has_proceeded: false,
            is_cancelled: false,
            is_over: false,
        };
        this.forget_calls();
        for (told, call) in
            this.calls.iter_mut().zip(this.document.active.iter().flat_map(|active| &active.calls))
        {
            // A new run receives these results when it is created.
            told.done = call.state == CallState::Done;
        }
        this
    }

    /// Returns the last known stored version.
    pub(crate) const fn version(&self) -> u64 {
        self.record.version
    }

    /// Returns the stored document.
    pub(crate) const fn document(&self) -> &Document {
        &self.document
    }

    /// Processes an input. After [`Effect::Over`] or [`Effect::Stop`] nothing is left to do.
    pub(crate) fn step(&mut self, input: Input, context: &mut Context<'_>) -> Vec<Effect> {
        let mut effects = Vec::new();
        if self.is_over {
            return effects;
        }
        match input {
            Input::Begin => {}
            Input::Fact(fact) => self.note(fact),
            Input::Stored(Ok(CommitResult::Done)) => self.stored(&mut effects),
            Input::Stored(Ok(CommitResult::Conflict(record))) => {
                self.adopt(record, context, &mut effects)
            }
            // A worker's commits have no key.
            Input::Stored(Ok(CommitResult::Replay(_)) | Err(_)) => effects.push(Effect::Load),
            Input::Loaded(record) => match (&record, &self.flight) {
                // The commit has not been applied so far. Sending it again is harmless even if it
                // is applied late.
                (Some(record), Some(flight)) if record.version == self.record.version => {
                    effects.push(Effect::Commit(Box::new(flight.commit.clone())));
                }
                _ => self.adopt(record, context, &mut effects),
            },
        }
        self.go_on(context, &mut effects);
        effects
    }

    /// Records that somebody may have changed the session. Returns whether it must be loaded now.
    pub(crate) fn changed(&mut self, version: Option<u64>) -> bool {
        let is_new = version.is_none_or(|version| version > self.record.version);
        if is_new && self.flight.is_some() {
            // The commit under way either conflicts or came first; in that case the load follows
            // it.
            self.is_stale = true;
        }
        is_new && self.flight.is_none() && !self.is_over
    }

    fn note(&mut self, fact: Fact) {
        match &fact {
            Fact::ToolDone { call, .. } => self.told(*call).done = true,
            Fact::Asked { call, .. } => self.told(*call).suspended = true,
            _ => {}
        }
        self.facts.push(fact);
    }

    fn told(&mut self, i: usize) -> &mut CallReport {
        if self.calls.len() <= i {
            self.calls.resize(i + 1, CallReport::default());
        }
        &mut self.calls[i]
    }

    fn stored(&mut self, effects: &mut Vec<Effect>) {
        let Some(Flight { facts, edit, commit }) = self.flight.take() else { return };
        let has_reply = self.facts.drain(..facts).any(|fact| matches!(fact, Fact::Reply(_)));
        self.record = self.record.after(&commit);
        self.document = edit.document;
        if has_reply {
            self.forget_calls();
        }
        if core::mem::take(&mut self.is_stale) && !self.is_at_rest() {
            effects.push(Effect::Load);
        }
    }

    /// Starts with the calls of a new reply.
    fn forget_calls(&mut self) {
        self.calls.clear();
        self.has_proceeded = false;
        let calls = self.document.active.iter().flat_map(|active| &active.calls);
        self.calls.extend(calls.map(|call| CallReport {
            suspended: call.state == CallState::Waiting,
            ..CallReport::default()
        }));
    }

    /// Adopts a state that was stored by somebody else, or by a commit with an unknown outcome.
    fn adopt(
        &mut self,
        record: Option<Box<Record>>,
        context: &Context<'_>,
        effects: &mut Vec<Effect>,
    ) {
        let document = record.as_ref().and_then(|record| Document::of(record).ok());
        let (Some(record), Some(document)) = (record, document) else { return self.stop(effects) };
        if record.version <= self.record.version {
            return;
        }
        if let Some(flight) = &self.flight
            && record.fence == self.fence
            && document.steps == flight.edit.document.steps
        {
            // The commit was applied, and perhaps another one after it.
            self.stored(effects);
        }
        if record.fence != self.fence || record.holder != Some(context.server) {
            if self.is_at_rest() {
                return;
            }
            return self.stop(effects);
        }
        self.flight = None;
        (self.record, self.document) = (*record, document);
    }

    fn stop(&mut self, effects: &mut Vec<Effect>) {
        self.is_over = true;
        self.flight = None;
        effects.push(Effect::Stop);
    }

    /// Returns whether the stored session leaves nothing for this worker to do.
    fn is_at_rest(&self) -> bool {
        self.record.status != Status::Running
    }

    /// Derives the effects of the stored state, and the next commit.
    fn go_on(&mut self, context: &mut Context<'_>, effects: &mut Vec<Effect>) {
        if self.is_over || self.flight.is_some() {
            return;
        }
        if self.is_at_rest() {
            self.is_over = true;
            effects.push(Effect::Over(Box::new(self.record.clone())));
            return;
        }
        self.unlock(effects);
        if self.facts.is_empty() {
            return;
        }
        let mut edit = Edit::of(&self.record, self.document.clone());
        for fact in &self.facts {
            edit.apply(fact, context);
        }
        if edit.is_unchanged(&self.record) {
            self.facts.clear();
            return;
        }
        edit.document.steps += 1;
        let commit = edit.commit(&self.record, context, Some(self.fence));
        effects.push(Effect::Commit(Box::new(commit.clone())));
        self.flight = Some(Flight { facts: self.facts.len(), edit, commit });
    }

    /// Tells the run what it may do now.
    fn unlock(&mut self, effects: &mut Vec<Effect>) {
        let Some(active) = &self.document.active else { return };
        if active.cancelled {
            if !core::mem::replace(&mut self.is_cancelled, true) {
                effects.push(Effect::Cancel);
            }
            return;
        }
        // A reply that is not stored yet has its own calls.
        if self.facts.iter().any(|fact| matches!(fact, Fact::Reply(_) | Fact::Ended { .. })) {
            return;
        }
        let states: Vec<CallState> = active.calls.iter().map(|call| call.state).collect();
        let all_done = active.all_done();
        for (i, state) in states.into_iter().enumerate() {
            let told = &mut self.calls[i];
            match state {
                CallState::Started if !told.allowed && !told.done => {
                    told.allowed = true;
                    effects.push(Effect::Allow(i));
                }
                CallState::Done if !told.done => {
                    told.done = true;
                    effects.push(Effect::Answer(i));
                }
                CallState::Waiting => told.suspended = true,
                // The call was answered while others ran. The run has suspended it and does not ask
                // again by itself.
                CallState::Open if told.suspended => {
                    (told.suspended, told.allowed) = (false, false);
                    self.facts.push(Fact::Starting(i));
                }
                _ => {}
            }
        }
        if all_done && !self.has_proceeded {
            self.has_proceeded = true;
            effects.push(Effect::Proceed);
        }
    }
}

impl Edit {
    /// Returns whether a commit would change nothing.
    fn is_unchanged(&self, record: &Record) -> bool {
        self.events.is_empty()
            && self.status == record.status
            && self.messages == record.messages
            && self.holder == Holder::Keep
            && serde_json::to_vec(&self.document).is_ok_and(|json| json == record.document)
    }
}
