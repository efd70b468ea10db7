//! The requests of a run: bodies, parameters, settings; for all turns or for one, and changed
//! between turns.

mod common;

use common::{assert_valid, bodies, calls, echo, scripted};
use toolrunner_core::testing::{Script, ScriptedReply};
use toolrunner_std::{Outcome, Settings};

fn texts(count: usize) -> Script {
    (0..count).fold(Script::new(), |script, _| script.reply(ScriptedReply::text("ok")))
}

#[tokio::test]
async fn any_first_body() {
    let scripted = scripted(
        Script::new()
            .reply(ScriptedReply::new().tool_use("t1", "mine", "{}").tool_use("t2", "theirs", "{}"))
            .reply(ScriptedReply::text("ok")),
    );
    let server = r#"{"type":"web_search_20250305","name":"web_search"}"#;
    let theirs = r#"{"name":"theirs","input_schema":{"type":"object","x":1.50}}"#;
    let messages = r#"[{"role":"user","content":[{"type":"text","text":"Hi","cache_control":{"type":"ephemeral"}}]}]"#;
    let body = format!(
        r#"{{"model":"other","max_tokens":7,"metadata":{{"user_id":"u"}},"messages":{messages},"tools":[{theirs},{{"name":"mine"}},{server}],"stream":false,"x":1e400}}"#
    );
    let mut run = scripted.client().run("m").tools(echo("mine")).body(&body);
    assert_eq!(run.until_done().await.unwrap().outcome, Outcome::NeedsAnswer);
    run.answer("t2", "by hand").unwrap();
    run.until_done().await.unwrap();
    let mine = echo("mine").json;
    let expected = format!(
        r#"{{"model":"other","max_tokens":7,"metadata":{{"user_id":"u"}},"x":1e400,"tools":[{mine},{theirs},{server}],"messages":{messages}}}"#
    );
    assert_eq!(bodies(&scripted)[0], expected);
    assert_valid(&run, &scripted);
}

#[tokio::test]
async fn parameters_of_one_turn() {
    let scripted = scripted(texts(3));
    let mut run = scripted.client().run("m").max_tokens(5).user("Go.");
    run.next_params_mut().max_tokens(6).set("temperature", 0.5).unwrap();
    for _ in 0..2 {
        run.until_done().await.unwrap();
        run.user("More.").unwrap();
    }
    run.params_mut().remove("max_tokens").model("n").max_tokens(9);
    run.until_done().await.unwrap();
    let start = |body: &String| body.split(r#","messages""#).next().unwrap().to_owned();
    assert_eq!(
        bodies(&scripted).iter().map(start).collect::<Vec<_>>(),
        [
            r#"{"model":"m","max_tokens":6,"temperature":0.5,"stream":true"#,
            r#"{"model":"m","max_tokens":5,"stream":true"#,
            r#"{"model":"n","max_tokens":9,"stream":true"#,
        ]
    );
}

#[tokio::test]
async fn settings_of_a_run_change_only_what_they_say() {
    let scripted = scripted(texts(2));
    let client =
        scripted.builder().body_field("metadata", "1").beta("one").max_retries(7).build().unwrap();
    let builder = client
        .run("m")
        .param("metadata", 2)
        .settings(|client| client.beta("two").header("x-run", "yes").query("a", "b"));
    let mut run = builder.user("Go.");
    assert_eq!(run.retry_policy_mut().retries, 7);
    run.retry_policy_mut().retries = 3;
    run.until_done().await.unwrap();
    run.change_settings(|client| {
        client.auth_token("bearer").body_field("service_tier", "\"auto\"")
    })
    .unwrap();
    assert_eq!(run.retry_policy_mut().retries, 3);
    assert!(run.change_settings(|client| client.base_url("no url")).is_err());
    run.user("More.").unwrap().until_done().await.unwrap();
    let model = scripted.model();
    let [first, second] = model.requests() else { panic!() };
    assert_eq!(
        (first.path.as_str(), first.header("anthropic-beta"), first.header("x-run")),
        ("/v1/messages?a=b", Some("one,two"), Some("yes"))
    );
    assert!(
        first.body.starts_with(br#"{"model":"m","metadata":2,"max_tokens":4096,"#),
        "{}",
        String::from_utf8_lossy(&first.body)
    );
    assert_eq!(
        (first.header("x-api-key"), second.header("x-api-key"), second.header("authorization")),
        (Some("test-key"), None, Some("Bearer bearer"))
    );
    assert!(
        String::from_utf8_lossy(&second.body)
            .contains(r#""metadata":2,"max_tokens":4096,"service_tier":"auto""#)
    );
    drop(model);
    let _: &Settings = run.settings();
}

#[tokio::test]
async fn tools_changed_between_turns() {
    let scripted = scripted(
        Script::new()
            .reply(calls(&["t1"], "a"))
            .reply(calls(&["t2"], "b"))
            .reply(ScriptedReply::text("ok")),
    );
    let (a, b) = (echo("a"), echo("b"));
    let mut run = scripted.client().run("m").tools(a.clone()).user("Go.");
    let mut turn = run.next_turn().await.unwrap().unwrap();
    let _ = turn.results().await.unwrap();
    turn.run().set_tools((a.clone(), b.clone())).unwrap();
    assert!(turn.run().set_tools((a.clone(), a.clone())).is_err());
    run.until_done().await.unwrap();
    assert_eq!((a.ran(), b.ran()), (vec!["t1".to_owned()], vec!["t2".to_owned()]));
    assert_valid(&run, &scripted);
}

#[tokio::test]
async fn the_container_goes_with_the_next_request_unless_one_is_pinned() {
    for (pinned, sent) in [
        (None, r#""container":"c1""#),
        (Some("\"mine\""), r#""container":"mine""#),
        (Some("{}"), r#""container":{"id":"c1"}"#),
        (Some(r#"{"skills":[]}"#), r#""container":{"id":"c1","skills":[]}"#),
    ] {
        let scripted = scripted(
            Script::new()
                .reply(calls(&["t1"], "a").container("c1"))
                .reply(ScriptedReply::text("ok")),
        );
        let builder = scripted.client().run("m").tools(echo("a"));
        let mut run =
            if let Some(json) = pinned { builder.param_json("container", json) } else { builder }
                .user("Go.");
        run.until_done().await.unwrap();
        assert!(bodies(&scripted)[1].contains(sent), "{}", bodies(&scripted)[1]);
    }
}
