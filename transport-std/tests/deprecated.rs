//! A deprecated model is logged as a warning, once.

mod captured;

use captured::Log;
use toolrunner_std::{Client, DEPRECATED_MODELS};

#[test]
fn a_deprecated_model_is_warned_about_once() {
    let log = Log::of_everything();
    let client = Client::builder().base_url("http://server").build().unwrap();
    for model in ["claude-opus-4-5", "claude-opus-4-5", "claude-opus-4-7", "claude-opus-4-5-2"] {
        let _ = client.run(model);
    }
    let text = log.text();
    assert_eq!(text.matches("this model is deprecated").count(), 1, "{text}");
    assert!(text.contains("claude-opus-4-5") && text.contains("2027-01-22"), "{text}");
    assert!(text.contains("WARN"), "{text}");
    // Each has a bit of its own.
    assert!(DEPRECATED_MODELS.len() <= 32);
}
