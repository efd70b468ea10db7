//! The holder of a turn: makes facts durable, one commit after another, and lets the run go on only
//! behind them.

use super::document::{CallState, Document};
use super::fact::Fact;
use super::{Context, Edit};
use crate::store::{Commit, Committed, Holder, Record, Status, StoreError};

/// What the holder of a turn is told.
#[derive(Debug)]
pub(crate) enum Input {
    /// The worker begins.
    Begin,
    /// The run reports something.
    Fact(Fact),
    /// What became of [`Effect::Commit`].
    Stored(Result<Committed, StoreError>),
    /// The session as it is stored now: the answer to [`Effect::Load`], or after somebody else
    /// changed it. `None` if it is gone.
    Loaded(Option<Box<Record>>),
}

/// What the holder of a turn asks for.
#[derive(Debug)]
pub(crate) enum Effect {
    /// Store this and say what became of it. No other commit comes before that.
    Commit(Box<Commit>),
    /// Load the session, however often that must be tried.
    Load,
    /// The run may make its next request.
    Proceed,
    /// This call may run: its start is stored. If it was suspended it goes on.
    Allow(usize),
    /// This call has a result that the run does not know: it is in the log.
    Answer(usize),
    /// The run is to end soon, and to report [`Fact::Ended`].
    Cancel,
    /// The session is not this worker's any more, or is gone: the run is to be dropped.
    Stop,
    /// The turn is over, or interrupted, and that is stored.
    Over(Box<Record>),
}

/// Holds one turn of one session. Makes no I/O: [`step`](Self::step) takes what happened and gives
/// what is to be done.
#[derive(Debug)]
pub(crate) struct Worker {
    /// The session as stored, as far as is known.
    record: Record,
    document: Document,
    fence: u64,
    /// What is not stored yet, in order.
    facts: Vec<Fact>,
    flight: Option<Flight>,
    /// Somebody changed the session while a commit was under way.
    is_stale: bool,
    calls: Vec<Told>,
    /// Whether the run may make its next request already.
    has_proceeded: bool,
    is_cancelled: bool,
    is_over: bool,
}

/// The commit under way.
#[derive(Debug)]
struct Flight {
    /// How many of the facts are in it.
    facts: usize,
    edit: Edit,
    commit: Commit,
}

/// What the run was told of a call.
#[derive(Clone, Copy, Debug, Default)]
struct Told {
    /// That it may run.
    allowed: bool,
    /// Its result; or the run told it.
    done: bool,
    /// The run has put it aside until it is allowed.
    suspended: bool,
}

impl Worker {
    /// The holder of the turn that this record, with this document, has under way.
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
            // A run that is made anew is given the results with its beginning.
            told.done = call.state == CallState::Done;
        }
        this
    }

    /// The version that is stored, as far as is known.
    pub(crate) const fn version(&self) -> u64 {
        self.record.version
    }

    /// The session as it is stored.
    pub(crate) const fn document(&self) -> &Document {
        &self.document
    }

    /// Goes on. After [`Effect::Over`] or [`Effect::Stop`] there is nothing more to do.
    pub(crate) fn step(&mut self, input: Input, context: &mut Context<'_>) -> Vec<Effect> {
        let mut effects = Vec::new();
        if self.is_over {
            return effects;
        }
        match input {
            Input::Begin => {}
            Input::Fact(fact) => self.note(fact),
            Input::Stored(Ok(Committed::Done)) => self.stored(&mut effects),
            Input::Stored(Ok(Committed::Conflict(record))) => {
                self.adopt(record, context, &mut effects)
            }
            // A worker's commits have no key.
            Input::Stored(Ok(Committed::Replay(_)) | Err(_)) => effects.push(Effect::Load),
            Input::Loaded(record) => match (&record, &self.flight) {
                // Not applied yet, as far as can be seen. The same commit again is harmless if it
                // is applied after all.
                (Some(record), Some(flight)) if record.version == self.record.version => {
                    effects.push(Effect::Commit(Box::new(flight.commit.clone())));
                }
                _ => self.adopt(record, context, &mut effects),
            },
        }
        self.go_on(context, &mut effects);
        effects
    }

    /// Somebody may have changed the session. Whether it is to be loaded now.
    pub(crate) fn changed(&mut self, version: Option<u64>) -> bool {
        let is_new = version.is_none_or(|version| version > self.record.version);
        if is_new && self.flight.is_some() {
            // The commit under way will conflict; if it was first, the load comes after it.
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

    fn told(&mut self, i: usize) -> &mut Told {
        if self.calls.len() <= i {
            self.calls.resize(i + 1, Told::default());
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

    /// Starts anew with the calls of a reply.
    fn forget_calls(&mut self) {
        self.calls.clear();
        self.has_proceeded = false;
        let calls = self.document.active.iter().flat_map(|active| &active.calls);
        self.calls.extend(
            calls.map(|call| Told {
                suspended: call.state == CallState::Waiting,
                ..Told::default()
            }),
        );
    }

    /// The session was changed by somebody else, or by the commit whose outcome was not known.
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
            // It was applied, and perhaps something behind it.
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

    /// Whether the stored session has nothing for this worker to do.
    fn is_at_rest(&self) -> bool {
        self.record.status != Status::Running
    }

    /// What follows from what is stored, and the next commit.
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
        // A reply that is not stored yet has calls of its own.
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
                // It was answered while others ran: the run has put it aside, and does not ask by
                // itself.
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
    /// Whether a commit of it would change nothing.
    fn is_unchanged(&self, record: &Record) -> bool {
        self.events.is_empty()
            && self.status == record.status
            && self.messages == record.messages
            && self.holder == Holder::Keep
            && serde_json::to_vec(&self.document).is_ok_and(|json| json == record.document)
    }
}
