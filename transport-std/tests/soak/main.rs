//! Random conversations with the front end: whatever the caller does, and whatever the server and
//! the tools do wrong, no call is lost, none runs twice, and the API would refuse no request. In
//! memory, without a network; one seed is one conversation.
//!
//! ```sh
//! SOAK=20000 cargo test --release -p toolrunner-std --features testing --test soak -- --nocapture
//! # One of them again:
//! SOAK_SEED=42 cargo test -p toolrunner-std --features testing --test soak -- --nocapture
//! ```
//! A conversation is some dozens of random steps: drive the run at one of its three levels and drop
//! the future after 0 to 30 polls, or add a message, or change something ([`caller`]). The server
//! ([`server`]) calls tools ([`tools`]) and breaks some of its replies. Then the faults end, and
//! the run must end too. The rules are written down, and checked, in [`ledger`].

mod caller;
mod ledger;
mod server;
mod tools;

use std::sync::{Arc, Mutex};

use toolrunner_core::testing::Rng;

/// The state that the parts of a conversation share. One thread drives it, but blocking tools run
/// on others.
pub(crate) struct World {
    pub(crate) rng: Mutex<Rng>,
    pub(crate) ledger: Mutex<ledger::Ledger>,
    pub(crate) clock: Arc<caller::StepClock>,
    /// The maximum size of the conversation, in bytes: some conversations reach it.
    pub(crate) capacity: usize,
    /// Faults per thousand replies; 0 when the faults have ended.
    pub(crate) faults: Mutex<usize>,
}

impl World {
    fn new(seed: u64) -> Arc<Self> {
        let mut rng = Rng::new(seed);
        let capacity = if rng.chance(60) { 4_000 + rng.below(12_000) } else { usize::MAX };
        Arc::new(Self {
            capacity,
            rng: Mutex::new(rng),
            ledger: Mutex::default(),
            clock: Arc::default(),
            faults: Mutex::new(0),
        })
    }

    pub(crate) fn below(&self, limit: usize) -> usize {
        self.rng.lock().unwrap().below(limit)
    }

    pub(crate) fn chance(&self, per_mille: usize) -> bool {
        self.rng.lock().unwrap().chance(per_mille)
    }

    pub(crate) fn one_of<T: Copy>(&self, list: &[T]) -> T {
        list[self.below(list.len())]
    }

    pub(crate) fn faults(&self) -> usize {
        *self.faults.lock().unwrap()
    }

    pub(crate) fn is_calm(&self) -> bool {
        self.ledger.lock().unwrap().is_calm
    }
}

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok()?.parse().ok()
}

#[test]
fn no_call_is_lost_and_none_runs_twice() {
    // Tools panic thousands of times.
    std::panic::set_hook(Box::new(|panic| {
        let said = panic.payload_as_str().unwrap_or_default();
        // A panic in this project's own code is a failure too.
        if said.starts_with("soak: ")
            || panic.location().is_some_and(|at| at.file().contains("/src/"))
        {
            // The conversation in the message may be long.
            let short: String = said
                .chars()
                .take(if number("SOAK_SEED").is_some() { usize::MAX } else { 300 })
                .collect();
            eprintln!("{}: {short}", panic.location().map_or(String::new(), ToString::to_string));
        }
    }));
    let (first, count) = match number("SOAK_SEED") {
        Some(seed) => (seed, 1),
        None => (number("SOAK_FIRST").unwrap_or(1), number("SOAK").unwrap_or(1_000)),
    };
    let (mut sum, mut failed) = (ledger::Figures::default(), Vec::new());
    for seed in first..first + count {
        let conversation = std::panic::catch_unwind(|| {
            let world = World::new(seed);
            caller::converse(&world);
            world.ledger.lock().unwrap_or_else(std::sync::PoisonError::into_inner).figures
        });
        match conversation {
            Ok(figures) => sum.add(figures),
            Err(_) => {
                eprintln!("this was seed {seed}");
                failed.push(seed);
            }
        }
    }
    println!("{count} conversations: {sum:?}; failed: {}", failed.len());
    let _ = std::panic::take_hook();
    assert!(
        failed.is_empty(),
        "{} of {count} conversations failed; run one again with SOAK_SEED: {failed:?}",
        failed.len()
    );
    // A case that did not occur proves nothing.
    if count >= 1_000 {
        assert!(
            sum.calls > count
                && sum.requests > count
                && sum.early > count / 10
                && sum.drops > count,
            "{sum:?}"
        );
    }
}
