//! The far end: a model that gives the right reply, and one fault that makes something else of it until the fault ends.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use toolrunner_core::testing::{Request, ScriptedModel, VirtualClock};
use toolrunner_core::time::{Clock, Instant};
use toolrunner_std::clock::{DynClock, Waiting};

use crate::talks::{Talk, place};

/// How a reply, or what there is of one, ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Then {
    /// As it should.
    Good,
    /// The connection is closed.
    Close,
    /// The connection is reset.
    Reset,
    /// Nothing more comes.
    Stall,
}

/// What is said of a body's length.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Claim {
    Right,
    /// So much more, or less, than there is.
    Length(isize),
    /// A chunk's size that is no number.
    NoSize,
    /// Both a length and chunks.
    Both,
}

/// What goes over the wire in place of the right reply.
#[derive(Clone, Debug)]
pub(crate) enum Wire {
    /// Nobody listens.
    Refused,
    /// These bytes, which are no whole head.
    NoHead(&'static str, Then),
    Reply {
        status: u16,
        fields: Vec<(String, String)>,
        body: Vec<u8>,
        then: Then,
        claim: Claim,
    },
}

/// One fault, at one place. See the table in `faults`.
#[derive(Clone, Debug)]
pub(crate) enum Harm {
    None,
    Refused,
    NoHead(&'static str, Then),
    /// The body up to here.
    Cut(usize, Then),
    /// This body, with this content type.
    Body(Vec<u8>, &'static str),
    Claim(Claim),
    Status(u16, &'static [(&'static str, &'static str)]),
    /// The clock jumps by so many seconds while the reply comes, which breaks off.
    Jump(i64),
}

pub(crate) struct Far {
    talk: &'static Talk,
    model: ScriptedModel,
    clock: Arc<JumpingClock>,
    harm: Harm,
    /// The exchange that it befalls.
    at: usize,
    /// Whether it befalls that exchange again and again until it is ended; else once.
    lasts: bool,
    pub(crate) hits: usize,
    is_over: bool,
    /// The right bodies, by exchange.
    pub(crate) bodies: Vec<Vec<u8>>,
}

impl Far {
    pub(crate) fn new(talk: &'static Talk, harm: Harm, at: usize, lasts: bool) -> Self {
        let model = ScriptedModel::answering(|request| talk.answer(request));
        Self { talk, model, clock: Arc::default(), harm, at, lasts, hits: 0, is_over: false, bodies: Vec::new() }
    }

    /// The fault ends.
    pub(crate) fn end(&mut self) {
        self.is_over = true;
    }

    /// Whether nobody listens when the exchange `at` comes.
    pub(crate) fn refuses(&self, at: usize) -> bool {
        matches!(self.harm, Harm::Refused) && at == self.at && !self.is_over && (self.lasts || self.hits == 0)
    }

    /// Requests that the model refused, and why.
    pub(crate) fn complaints(&self) -> &[String] {
        self.model.complaints()
    }

    pub(crate) fn answer(&mut self, request: Request) -> Wire {
        let place = place(&request);
        let is_hit = !self.is_over && place == self.at && (self.lasts || self.hits == 0);
        let harm = if is_hit { self.harm.clone() } else { Harm::None };
        self.hits += usize::from(is_hit);
        match harm {
            Harm::Refused => return Wire::Refused,
            Harm::NoHead(bytes, then) => return Wire::NoHead(bytes, then),
            _ => {}
        }
        let right = self.model.respond(request);
        let mut body = right.bytes();
        if self.bodies.len() == place {
            self.bodies.push(body.clone());
        }
        let (mut status, mut fields, mut then, mut claim) = (right.status, right.headers, Then::Good, Claim::Right);
        match harm {
            Harm::Cut(length, ending) => {
                body.truncate(length);
                then = ending;
            }
            Harm::Body(other, kind) => {
                body = other;
                fields.retain(|(name, _)| name != "content-type");
                fields.push(("content-type".to_owned(), kind.to_owned()));
            }
            Harm::Claim(wrong) => {
                claim = wrong;
                then = Then::Close;
            }
            Harm::Status(other, more) => {
                status = other;
                body = br#"{"type":"error","error":{"type":"some_error","message":"as the table has it"}}"#.to_vec();
                fields.retain(|(name, _)| name != "content-type");
                fields.extend(more.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())));
            }
            Harm::Jump(seconds) => {
                self.clock.jump(seconds);
                body.truncate(body.len() / 2);
                then = Then::Reset;
            }
            _ => {}
        }
        Wire::Reply { status, fields, body, then, claim }
    }

    /// What the near end needs to know.
    pub(crate) fn surroundings(&self) -> (Arc<JumpingClock>, &'static Talk) {
        (Arc::clone(&self.clock), self.talk)
    }
}

/// A virtual clock that somebody sets to another time now and then, backwards too.
#[derive(Default)]
pub(crate) struct JumpingClock {
    clock: VirtualClock,
    micros: AtomicI64,
}

impl JumpingClock {
    fn jump(&self, seconds: i64) {
        self.micros.fetch_add(seconds * 1_000_000, Ordering::SeqCst);
    }

    /// What the clock shows when so many microseconds really passed, or the other way round.
    fn shown(&self, micros: u64, sign: i64) -> Instant {
        // An hour has passed when the test begins, so that there is something to jump back into.
        let shown = i128::from(micros) + i128::from(sign) * (i128::from(self.micros.load(Ordering::SeqCst)) + 3_600_000_000);
        Instant::from_micros(u64::try_from(shown.max(0)).unwrap_or(u64::MAX))
    }
}

impl Clock for JumpingClock {
    fn now(&self) -> Instant {
        self.shown(Clock::now(&self.clock).as_micros(), 1)
    }

    async fn wait_until(&self, deadline: Instant) {
        Clock::wait_until(&self.clock, self.shown(deadline.as_micros(), -1)).await;
    }

    fn jitter(&self) -> u32 {
        Clock::jitter(&self.clock)
    }
}

impl DynClock for JumpingClock {
    fn now(&self) -> Instant {
        Clock::now(self)
    }

    fn wait_until(&self, deadline: Instant) -> Waiting<'_> {
        Box::pin(Clock::wait_until(self, deadline))
    }

    fn jitter(&self) -> u32 {
        Clock::jitter(self)
    }
}
