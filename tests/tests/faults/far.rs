//! The far end: a model that gives the correct reply, and one fault that changes it until the fault
//! ends.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use toolrunner_core::error::TransportKind;
use toolrunner_core::testing::{Request, ScriptedModel, VirtualClock};
use toolrunner_core::time::{Clock, Instant};
use toolrunner_core::transport::ReplyHead;
use toolrunner_std::clock::{DynClock, WaitFuture};

use crate::talks::{Talk, place};

/// How a reply, or the part of it that is sent, ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Then {
    /// Normally.
    Good,
    /// The connection is closed.
    Close,
    /// The connection is reset.
    Reset,
    /// Nothing more is sent.
    Stall,
}

/// What the head says about the length of the body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Claim {
    Right,
    /// This much more (or less, if negative) than the real length.
    Length(isize),
    /// A chunk size that is not a number.
    NoSize,
    /// Both a length and chunked encoding.
    Both,
}

/// What is sent instead of the correct reply.
#[derive(Clone, Debug)]
pub(crate) enum Wire {
    /// The connection is refused.
    Refused,
    /// These bytes, which are not a complete head.
    NoHead(&'static str, Then),
    Reply {
        status: u16,
        fields: Vec<(String, String)>,
        body: Vec<u8>,
        then: Then,
        claim: Claim,
    },
}

/// A reply as a transport in memory passes it to the loop, without the bytes of HTTP.
pub(crate) struct Told {
    pub(crate) head: ReplyHead,
    pub(crate) body: Vec<u8>,
    /// The error at the end of the body, if it is cut off.
    pub(crate) ends: Option<TransportKind>,
}

impl Wire {
    /// Returns what a transport would pass on; the kind of its error if there is no reply.
    pub(crate) fn told(self) -> Result<Told, TransportKind> {
        match self {
            Self::Refused => Err(TransportKind::Connect),
            Self::NoHead(_, Then::Stall) => Err(TransportKind::Timeout),
            // A complete head that is not valid.
            Self::NoHead(bytes, _) if bytes.ends_with("\r\n\r\n") => Err(TransportKind::Http),
            Self::NoHead(..) => Err(TransportKind::Closed),
            Self::Reply { status, fields, mut body, then, claim } => {
                let mut head = ReplyHead::new(status);
                fields.iter().for_each(|(name, value)| head.field(name, value.as_bytes()));
                let ends = match (claim, then) {
                    (Claim::Length(more), _) if more > 0 => Some(TransportKind::Closed),
                    (Claim::Length(less), _) => {
                        body.truncate(body.len().saturating_add_signed(less));
                        None
                    }
                    (Claim::NoSize, _) => {
                        body.clear();
                        Some(TransportKind::Http)
                    }
                    // Chunked encoding takes precedence over a length.
                    (Claim::Right | Claim::Both, Then::Good | Then::Close) => None,
                    (Claim::Right | Claim::Both, Then::Reset) => Some(TransportKind::Closed),
                    (Claim::Right | Claim::Both, Then::Stall) => Some(TransportKind::Timeout),
                };
                Ok(Told { head, body, ends })
            }
        }
    }
}

/// One fault at one place. See the table in `harms`.
#[derive(Clone, Debug)]
pub(crate) enum Harm {
    None,
    Refused,
    NoHead(&'static str, Then),
    /// The body is cut off at this length.
    Cut(usize, Then),
    /// The body is replaced by this one, with this content type.
    Body(Vec<u8>, &'static str),
    Claim(Claim),
    Status(u16, &'static [(&'static str, &'static str)]),
    /// The clock jumps by this number of seconds during the reply, which is then cut off.
    Jump(i64),
}

pub(crate) struct Far {
    talk: &'static Talk,
    model: ScriptedModel,
    clock: Arc<JumpingClock>,
    harm: Harm,
    /// The exchange that the fault affects.
    at: usize,
    /// Whether the fault affects that exchange repeatedly until it ends; otherwise once.
    lasts: bool,
    pub(crate) hits: usize,
    is_over: bool,
    /// The correct bodies, by exchange.
    pub(crate) bodies: Vec<Vec<u8>>,
}

impl Far {
    pub(crate) fn new(talk: &'static Talk, harm: Harm, at: usize, lasts: bool) -> Self {
        let model = ScriptedModel::answering(|request| talk.answer(request));
        Self {
            talk,
            model,
            clock: Arc::default(),
            harm,
            at,
            lasts,
            hits: 0,
            is_over: false,
            bodies: Vec::new(),
        }
    }

    /// Ends the fault.
    pub(crate) fn end(&mut self) {
        self.is_over = true;
    }

    /// Returns whether the connection for the exchange `at` is refused.
    pub(crate) fn refuses(&self, at: usize) -> bool {
        matches!(self.harm, Harm::Refused)
            && at == self.at
            && !self.is_over
            && (self.lasts || self.hits == 0)
    }

    /// Returns the requests that the model refused, and the reasons.
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
        let (mut status, mut fields, mut then, mut claim) =
            (right.status, right.headers, Then::Good, Claim::Right);
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
                fields.extend(
                    more.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())),
                );
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

    /// Returns the clock and the conversation, which the near end needs.
    pub(crate) fn surroundings(&self) -> (Arc<JumpingClock>, &'static Talk) {
        (Arc::clone(&self.clock), self.talk)
    }
}

/// A virtual clock that can be set to another time, also backwards.
#[derive(Default)]
pub(crate) struct JumpingClock {
    clock: VirtualClock,
    micros: AtomicI64,
}

impl JumpingClock {
    fn jump(&self, seconds: i64) {
        self.micros.fetch_add(seconds * 1_000_000, Ordering::SeqCst);
    }

    /// Converts the real time in microseconds to the time that the clock shows (`sign` is 1), or
    /// back (`sign` is -1).
    fn shown(&self, micros: u64, sign: i64) -> Instant {
        // The clock starts at one hour, so that it can jump backwards.
        let shown = i128::from(micros)
            + i128::from(sign) * (i128::from(self.micros.load(Ordering::SeqCst)) + 3_600_000_000);
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

    fn wait_until(&self, deadline: Instant) -> WaitFuture<'_> {
        Box::pin(Clock::wait_until(self, deadline))
    }

    fn jitter(&self) -> u32 {
        Clock::jitter(self)
    }
}
