//! The gate of a run, which holds calls back.

use std::collections::{HashMap, VecDeque};
use std::sync::{Mutex, PoisonError};

use tokio::sync::{Notify, oneshot};
use toolrunner_std::Decision;

/// Holds calls back until their start is stored.
#[derive(Default)]
pub(super) struct Gate {
    slots: Mutex<HashMap<String, Slot>>,
    /// Undecided calls that have reached the gate and have not been reported yet.
    asks: Mutex<VecDeque<String>>,
    asked: Notify,
}

enum Slot {
    Decided(Decision),
    Waits(oneshot::Sender<Decision>),
}

impl Gate {
    /// Waits for the decision about a call.
    pub(super) async fn pass(&self, id: String) -> Decision {
        let decision = {
            let mut slots = self.slots.lock().unwrap_or_else(PoisonError::into_inner);
            if let Some(Slot::Decided(decision)) = slots.remove(&id) {
                return decision;
            }
            let (decide, decision) = oneshot::channel();
            slots.insert(id.clone(), Slot::Waits(decide));
            decision
        };
        self.asks.lock().unwrap_or_else(PoisonError::into_inner).push_back(id);
        self.asked.notify_one();
        decision.await.unwrap_or(Decision::Suspend)
    }

    /// Returns the next call that waits for a decision.
    pub(super) async fn asked(&self) -> String {
        loop {
            if let Some(id) = self.asks.lock().unwrap_or_else(PoisonError::into_inner).pop_front() {
                return id;
            }
            self.asked.notified().await;
        }
    }

    /// Decides about a call, whether it has reached the gate or not.
    pub(super) fn decide(&self, id: &str, decision: Decision) {
        let mut slots = self.slots.lock().unwrap_or_else(PoisonError::into_inner);
        match slots.remove(id) {
            Some(Slot::Waits(decide)) => {
                let _ = decide.send(decision);
            }
            _ => {
                slots.insert(id.to_owned(), Slot::Decided(decision));
            }
        }
    }
}
