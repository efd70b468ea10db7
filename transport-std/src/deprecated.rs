//! Models that will be retired, with a warning for whoever still uses one.

use core::sync::atomic::{AtomicU32, Ordering};

/// The deprecated models and the day on which each is retired. Source: the list in
/// `anthropic/_data/deprecated_models.py` of the official Python SDK 2.14.0, 24 November 2026.
/// [`Models::list`](crate::api::Models::list) reports the server's current state.
pub const DEPRECATED_MODELS: [(&str, &str); 5] = [
    ("claude-mythos-preview", "2026-06-30"),
    ("claude-opus-4-5", "2027-01-22"),
    ("claude-opus-4-5-20251101", "2027-01-22"),
    ("claude-sonnet-4-5", "2026-11-30"),
    ("claude-sonnet-4-5-20250929", "2026-11-30"),
];

/// One bit for each model about which this process has warned.
static WARNED: AtomicU32 = AtomicU32::new(0);

/// Logs a warning if the model is deprecated, once for each model in a process.
pub(crate) fn warn_about(model: &str) {
    let Some(at) = DEPRECATED_MODELS.iter().position(|(known, _)| *known == model) else { return };
    let bit = 1 << at;
    if WARNED.fetch_or(bit, Ordering::Relaxed) & bit == 0 {
        let retired = DEPRECATED_MODELS[at].1;
        tracing::warn!(
            model,
            retired,
            "this model is deprecated: the API refuses it from the day on which it is retired"
        );
    }
}
