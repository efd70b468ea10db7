//! The server of a scenario: answers each request with the reply in the scenario, and compares the
//! requests.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use toolrunner_core::testing::Rng;
use toolrunner_core::transport::ReplyHead;

use crate::json::{Json, shown};
use crate::scenario::Scenario;

/// How the bodies of replies are cut: into pieces of 1 to `longest` bytes, whose lengths depend on
/// `seed`.
#[derive(Clone, Copy, Debug)]
pub struct Cuts {
    /// The maximum length of a piece in bytes.
    pub longest: usize,
    /// The seed of the lengths.
    pub seed: u64,
}

/// A reply as it is delivered.
#[derive(Clone, Debug)]
pub struct Answer {
    /// The head, as an adapter passes it to the loop.
    pub head: ReplyHead,
    /// The header fields, as a server sends them.
    pub headers: Vec<(String, String)>,
    /// The body, in the pieces in which it arrives; none of them is empty.
    pub pieces: Vec<Vec<u8>>,
}

/// Answers requests in the order in which they arrive. It is shared between the engine that sends
/// them and the judge.
#[derive(Debug)]
pub struct Replay {
    scenario: Arc<Scenario>,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    asked: usize,
    differences: Vec<String>,
    cut: Option<(usize, Rng)>,
}

impl Replay {
    /// Creates the server of `scenario`.
    pub fn new(scenario: Arc<Scenario>, cut: Option<Cuts>) -> Self {
        let cut = cut.map(|Cuts { longest, seed }| (longest.max(1), Rng::new(seed)));
        Self { scenario, state: Mutex::new(State { asked: 0, differences: Vec::new(), cut }) }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Compares a request's body with the scenario, and returns the reply. A request beyond the
    /// last one gets an error that is not retried.
    pub fn answer(&self, body: &[u8]) -> Answer {
        let mut state = self.state();
        state.asked += 1;
        let number = state.asked;
        let Some(exchange) = self.scenario.exchanges.get(number - 1) else {
            let body = read(body).map_or_else(|error| error, |body| shown(&body));
            state.differences.push(format!("request {number}: expected none, got {body}"));
            return Answer {
                head: ReplyHead::new(400),
                headers: Vec::new(),
                pieces: vec![b"{}".to_vec()],
            };
        };
        match read(body) {
            Err(error) => {
                state.differences.push(format!("request {number}: expected JSON, got {error}"))
            }
            Ok(got) => match Json::parse(exchange.request.get()) {
                Err(error) => {
                    state.differences.push(format!("the scenario's request {number}: {error}"))
                }
                Ok(expected) => {
                    let found = expected
                        .differences(&got)
                        .into_iter()
                        .map(|difference| format!("request {number}: {difference}"));
                    state.differences.extend(found);
                }
            },
        }
        let mut head = ReplyHead::new(exchange.status);
        for (name, value) in &exchange.headers {
            head.field(name, value.as_bytes());
        }
        let headers =
            exchange.headers.iter().map(|(name, value)| (name.clone(), value.clone())).collect();
        Answer { head, headers, pieces: state.pieces(exchange.body.as_bytes()) }
    }

    /// Returns the differences so far.
    pub fn differences(&self) -> Vec<String> {
        self.state().differences.clone()
    }

    /// Returns a difference if requests are missing.
    pub fn missing(&self) -> Option<String> {
        let (asked, all) = (self.state().asked, self.scenario.exchanges.len());
        (asked < all).then(|| format!("requests: expected {all}, got {asked}"))
    }
}

impl State {
    fn pieces(&mut self, mut body: &[u8]) -> Vec<Vec<u8>> {
        let Some((longest, rng)) = &mut self.cut else {
            return if body.is_empty() { Vec::new() } else { vec![body.to_vec()] };
        };
        let mut pieces = Vec::new();
        while !body.is_empty() {
            let (piece, rest) = body.split_at((1 + rng.below(*longest)).min(body.len()));
            pieces.push(piece.to_vec());
            body = rest;
        }
        pieces
    }
}

fn read(body: &[u8]) -> Result<Json, String> {
    let text = core::str::from_utf8(body).map_err(|error| error.to_string())?;
    Json::parse(text).map_err(|error| format!("{error}: {text}"))
}
