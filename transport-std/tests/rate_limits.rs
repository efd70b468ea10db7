//! Rate limits and details: readable after a reply and on an error.

mod common;

use common::{client_of, scripted};
use toolrunner_core::testing::{Answer, Script, ScriptedReply};
use toolrunner_std::RateLimits;

const RESET: &str = "2026-11-29T07:00:00Z";

#[tokio::test]
async fn a_reply_reports_its_limits() {
    let script = Script::new().answer(
        Answer::from(ScriptedReply::text("ok"))
            .header("Anthropic-RateLimit-Requests-Limit", "50")
            .header("anthropic-ratelimit-requests-remaining", "49")
            .header("anthropic-ratelimit-requests-reset", RESET)
            .header("anthropic-ratelimit-input-tokens-remaining", "30000")
            .header("anthropic-ratelimit-tokens-limit", "many")
            .header("anthropic-ratelimit-unified-5h-remaining", "7"),
    );
    let (client, _) = client_of(script.reply(ScriptedReply::text("again")));
    let mut run = client.run("m").user("Go.");
    assert!(run.rate_limits().is_empty());
    run.until_done().await.unwrap();
    let limits = run.rate_limits();
    let requests = limits.requests().unwrap();
    assert_eq!(
        (requests.limit, requests.remaining, requests.reset),
        (Some(50), Some(49), Some(RESET))
    );
    assert_eq!(limits.input_tokens().unwrap().remaining, Some(30_000));
    assert_eq!(limits.input_tokens().unwrap().limit, None);
    // A value that is not a number is kept as text only.
    assert_eq!((limits.tokens(), limits.output_tokens()), (None, None));
    assert!(limits.iter().any(|field| field == ("tokens-limit", "many")));
    assert_eq!(limits.named("unified-5h").unwrap().remaining, Some(7));
    assert_eq!(limits.named("unified"), None);
    // The next reply reports none, so the old ones are not shown any more.
    run.user("More.").unwrap().until_done().await.unwrap();
    assert_eq!(*run.rate_limits(), RateLimits::default());
}

#[tokio::test]
async fn an_error_has_limits_and_details() {
    let body = r#"{"type":"error","error":{"type":"rate_limit_error","message":"slow","details":{"error_code":"quota","paths":["a"]}},"request_id":"req_9"}"#;
    let answer = Answer::raw(429, body)
        .header("anthropic-ratelimit-tokens-remaining", "0")
        .header("x-should-retry", "false");
    let scripted = scripted(Script::new().answer(answer));
    let error = scripted.client().run("m").user("Go.").until_done().await.unwrap_err();
    let failure = error.api().unwrap();
    assert_eq!(failure.rate_limits.tokens().unwrap().remaining, Some(0));
    assert_eq!(failure.request_id, "req_9");
    assert_eq!(failure.details, r#"{"error_code":"quota","paths":["a"]}"#);
    assert_eq!(failure.error_code().as_deref(), Some("quota"));
}

#[tokio::test]
async fn an_error_without_details_has_no_code() {
    let scripted = scripted(Script::new().answer(Answer::error(400, "invalid_request_error", "x")));
    let error = scripted.client().run("m").user("Go.").until_done().await.unwrap_err();
    let failure = error.api().unwrap();
    assert_eq!((failure.error_code(), failure.rate_limits.is_empty()), (None, true));
}
