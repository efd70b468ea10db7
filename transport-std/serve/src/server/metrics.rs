//! Metrics for Prometheus.

use core::fmt::Write;
use core::sync::atomic::{AtomicU64, Ordering};
use core::time::Duration;
use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use crate::engine::Stop;

/// The upper bounds of the histogram's buckets, in seconds.
const BOUNDS: [f64; 12] = [0.005, 0.025, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 120.0, 600.0];

/// Counters of what the server has done since it started.
#[derive(Debug, Default)]
pub(crate) struct Metrics {
    turns: Mutex<BTreeMap<&'static str, u64>>,
    buckets: [AtomicU64; BOUNDS.len()],
    durations: AtomicU64,
    millis: AtomicU64,
    model_requests: AtomicU64,
    tool_calls: Mutex<BTreeMap<(String, bool), u64>>,
    webhooks_failed: AtomicU64,
}

impl Metrics {
    pub(crate) fn turn(&self, stop: Stop, duration: Duration) {
        let name = match stop {
            Stop::EndTurn => "end_turn",
            Stop::RequiresAction => "requires_action",
            Stop::Cancelled => "cancelled",
            Stop::Error => "error",
            Stop::MaxIterations => "max_iterations",
            Stop::Refusal => "refusal",
        };
        *self.turns.lock().unwrap_or_else(PoisonError::into_inner).entry(name).or_default() += 1;
        for (bucket, bound) in self.buckets.iter().zip(BOUNDS) {
            if duration.as_secs_f64() <= bound {
                bucket.fetch_add(1, Ordering::Relaxed);
            }
        }
        self.durations.fetch_add(1, Ordering::Relaxed);
        self.millis
            .fetch_add(u64::try_from(duration.as_millis()).unwrap_or(u64::MAX), Ordering::Relaxed);
    }

    pub(crate) fn model_request(&self) {
        self.model_requests.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn tool_call(&self, name: &str, is_error: bool) {
        let mut calls = self.tool_calls.lock().unwrap_or_else(PoisonError::into_inner);
        // The model chooses the name, so the number of names must be limited.
        let name = if calls.len() < 1000 || calls.contains_key(&(name.to_owned(), is_error)) {
            name
        } else {
            "(other)"
        };
        *calls.entry((name.to_owned(), is_error)).or_default() += 1;
    }

    pub(crate) fn webhook_failed(&self) {
        self.webhooks_failed.fetch_add(1, Ordering::Relaxed);
    }

    /// Returns all metrics in Prometheus' text format.
    pub(crate) fn text(&self, sessions: u64, running: u64) -> String {
        let mut out = String::new();
        let mut put = |text: core::fmt::Arguments<'_>| {
            // Writing to a String cannot fail.
            let _ = out.write_fmt(text);
        };
        put(format_args!(
            "# HELP toolrunner_sessions Sessions in the store.\n# TYPE toolrunner_sessions gauge\n"
        ));
        put(format_args!("toolrunner_sessions {sessions}\n"));
        put(format_args!(
            "# HELP toolrunner_turns_running Turns that this server works on.\n# TYPE toolrunner_turns_running gauge\n"
        ));
        put(format_args!("toolrunner_turns_running {running}\n"));
        put(format_args!(
            "# HELP toolrunner_turns_total Turns that ended here, by stop reason.\n# TYPE toolrunner_turns_total counter\n"
        ));
        let turns = self.turns.lock().unwrap_or_else(PoisonError::into_inner);
        for name in ["cancelled", "end_turn", "error", "max_iterations", "refusal"] {
            put(format_args!(
                "toolrunner_turns_total{{stop_reason=\"{name}\"}} {}\n",
                turns.get(name).copied().unwrap_or(0)
            ));
        }
        let name = "toolrunner_turn_duration_seconds";
        put(format_args!(
            "# HELP {name} From the message to the turn's end.\n# TYPE {name} histogram\n"
        ));
        for (bucket, bound) in self.buckets.iter().zip(BOUNDS) {
            put(format_args!(
                "{name}_bucket{{le=\"{bound}\"}} {}\n",
                bucket.load(Ordering::Relaxed)
            ));
        }
        let count = self.durations.load(Ordering::Relaxed);
        let sum = Duration::from_millis(self.millis.load(Ordering::Relaxed)).as_secs_f64();
        put(format_args!(
            "{name}_bucket{{le=\"+Inf\"}} {count}\n{name}_sum {sum}\n{name}_count {count}\n"
        ));
        let name = "toolrunner_model_requests_total";
        put(format_args!(
            "# HELP {name} Requests to the model, retries included.\n# TYPE {name} counter\n"
        ));
        put(format_args!("{name} {}\n", self.model_requests.load(Ordering::Relaxed)));
        let name = "toolrunner_tool_calls_total";
        put(format_args!(
            "# HELP {name} Calls of tools that have a result.\n# TYPE {name} counter\n"
        ));
        for ((tool, is_error), count) in
            self.tool_calls.lock().unwrap_or_else(PoisonError::into_inner).iter()
        {
            let tool = tool.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n");
            put(format_args!("{name}{{tool=\"{tool}\",is_error=\"{is_error}\"}} {count}\n"));
        }
        let name = "toolrunner_webhooks_failed_total";
        put(format_args!("# HELP {name} Webhooks that were given up.\n# TYPE {name} counter\n"));
        put(format_args!("{name} {}\n", self.webhooks_failed.load(Ordering::Relaxed)));
        out
    }
}
