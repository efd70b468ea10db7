//! The spans of runs: their tree, their names and attributes, and the contents that they record.

mod common;

use core::fmt::Debug;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use common::{fun, scripted};
use toolrunner_core::testing::{Answer, Script, ScriptedReply, VirtualClock};
use toolrunner_std::run::TRACE_TARGET;
use toolrunner_std::{RetryPolicy, ToolError};
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Instrument, Subscriber};
use tracing_subscriber::layer::{Context, Layer, SubscriberExt};
use tracing_subscriber::registry::{LookupSpan, Registry};

#[derive(Clone, Debug, Default)]
struct Span {
    name: &'static str,
    parent: Option<u64>,
    fields: BTreeMap<&'static str, String>,
    is_closed: bool,
}

/// Every span that was created, by its id.
#[derive(Clone, Default)]
struct Spans(Arc<Mutex<BTreeMap<u64, Span>>>);

struct Fields<'a>(&'a mut BTreeMap<&'static str, String>);

impl Visit for Fields<'_> {
    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        self.0.insert(field.name(), format!("{value:?}"));
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.0.insert(field.name(), value.to_owned());
    }
}

impl<S: Subscriber + for<'a> LookupSpan<'a>> Layer<S> for Spans {
    fn on_new_span(&self, attributes: &Attributes<'_>, id: &Id, context: Context<'_, S>) {
        let parent =
            context.span(id).and_then(|span| span.parent()).map(|parent| parent.id().into_u64());
        let mut span = Span { name: attributes.metadata().name(), parent, ..Span::default() };
        attributes.record(&mut Fields(&mut span.fields));
        self.0.lock().unwrap().insert(id.into_u64(), span);
    }

    fn on_record(&self, id: &Id, values: &Record<'_>, _: Context<'_, S>) {
        values.record(&mut Fields(
            &mut self.0.lock().unwrap().get_mut(&id.into_u64()).unwrap().fields,
        ));
    }

    fn on_close(&self, id: Id, _: Context<'_, S>) {
        let mut spans = self.0.lock().unwrap();
        // The registry reuses ids, so a closed span moves to a new key.
        let mut span = spans.remove(&id.into_u64()).unwrap();
        span.is_closed = true;
        let free = spans.keys().next_back().map_or(0, |last| *last).max(1 << 60) + 1;
        spans.insert(free, span);
    }
}

impl Spans {
    fn subscriber(&self) -> impl Subscriber + use<> {
        let only = tracing_subscriber::filter::Targets::new()
            .with_target(TRACE_TARGET, tracing::Level::INFO);
        Registry::default().with(self.clone().with_filter(only))
    }

    fn named(&self, name: &str) -> Vec<Span> {
        self.0.lock().unwrap().values().filter(|span| span.name == name).cloned().collect()
    }
}

fn conversation() -> Script {
    let calls = ScriptedReply::text("Looking.")
        .tool_use("t1", "good", r#"{"a":1}"#)
        .tool_use("t2", "bad", "{}");
    Script::new().reply(calls).reply(ScriptedReply::text("Done."))
}

/// Drives a run of two turns with a good call and a bad one.
async fn run_of(script: Script, content: Option<usize>) -> Spans {
    let spans = Spans::default();
    let _guard = tracing::subscriber::set_default(spans.subscriber());
    let (good, bad) =
        (fun("good", |_| Ok("fine".to_owned())), fun("bad", |_| Err(ToolError::new("not today"))));
    let scripted = scripted(script);
    let run = scripted.client().run("claude-x").tools((good, bad)).clock(VirtualClock::new(1));
    let run = run
        .agent_name("helper")
        .conversation_id("c-7")
        .retry_policy(RetryPolicy { retries: 1, ..RetryPolicy::DEFAULT });
    let run = content.into_iter().fold(run, |run, limit| run.trace_content(limit));
    run.user("Go.").until_done().await.unwrap();
    spans
}

#[tokio::test]
async fn a_run_its_requests_and_its_calls_are_a_tree() {
    let spans = run_of(conversation(), None).await;
    let [run] = &spans.named("invoke_agent")[..] else { panic!("one run") };
    let field = |span: &Span, name: &str| span.fields.get(name).cloned().unwrap_or_default();
    assert_eq!(field(run, "otel.name"), "invoke_agent helper");
    assert_eq!(field(run, "gen_ai.conversation.id"), "c-7");
    assert_eq!(field(run, "gen_ai.request.model"), "claude-x");
    assert_eq!(field(run, "otel.status_code"), "OK");
    assert!(run.is_closed && run.parent.is_none());

    let requests = spans.named("chat");
    let reasons: Vec<String> =
        requests.iter().map(|span| field(span, "gen_ai.response.finish_reasons")).collect();
    assert_eq!(reasons, [r#"["tool_use"]"#, r#"["end_turn"]"#]);
    for request in &requests {
        assert!(request.is_closed && request.parent.is_some(), "{request:?}");
        assert_eq!(field(request, "otel.name"), "chat claude-x");
        assert_eq!(field(request, "otel.kind"), "client");
        assert!(!field(request, "gen_ai.response.time_to_first_chunk").is_empty(), "{request:?}");
        assert!(!field(request, "gen_ai.usage.input_tokens").is_empty(), "{request:?}");
        assert_eq!(field(request, "toolrunner.attempts"), "1");
    }
    let mut calls = spans.named("execute_tool");
    calls.sort_by_key(|span| field(span, "gen_ai.tool.call.id"));
    let told: Vec<[String; 4]> = calls
        .iter()
        .map(|span| {
            ["otel.name", "gen_ai.tool.call.id", "otel.status_code", "error.type"]
                .map(|name| field(span, name))
        })
        .collect();
    assert_eq!(
        told,
        [["execute_tool good", "t1", "OK", ""], ["execute_tool bad", "t2", "ERROR", "tool_error"]]
    );
    // All are children of the run's span, which is why it closes last.
    let parents: Vec<Option<u64>> = requests.iter().chain(&calls).map(|span| span.parent).collect();
    assert!(parents.iter().all(|parent| parent.is_some() && *parent == parents[0]), "{parents:?}");
    // Contents are not recorded unless enabled.
    for span in requests.iter().chain(&calls) {
        assert!(span.fields.keys().all(|name| !name.contains("messages")
            && !name.contains("arguments")
            && !name.contains("result")));
    }
}

#[tokio::test]
async fn contents_are_recorded_on_request_up_to_their_limit() {
    let spans = run_of(conversation(), Some(4096)).await;
    let field = |span: &Span, name: &str| span.fields.get(name).cloned().unwrap_or_default();
    let requests = spans.named("chat");
    assert_eq!(
        field(&requests[0], "gen_ai.input.messages"),
        r#"[{"parts":[{"content":"Go.","type":"text"}],"role":"user"}]"#
    );
    assert!(field(&requests[0], "gen_ai.output.messages").contains(r#""arguments":{"a":1}"#));
    assert!(
        field(&requests[1], "gen_ai.input.messages").contains(r#""response":"not today""#),
        "{requests:?}"
    );
    let calls = spans.named("execute_tool");
    assert!(calls.iter().any(|span| field(span, "gen_ai.tool.call.result") == "fine"), "{calls:?}");
    assert!(
        requests
            .iter()
            .chain(&calls)
            .all(|span| !span.fields.contains_key("toolrunner.content.truncated"))
    );

    let spans = run_of(conversation(), Some(60)).await;
    let requests = spans.named("chat");
    assert_eq!(field(&requests[1], "gen_ai.input.messages"), "[]");
    assert_eq!(field(&requests[1], "toolrunner.content.truncated"), "true");
}

#[tokio::test]
async fn a_retry_shares_its_requests_span_and_an_error_closes_all() {
    let busy = || Answer::error(529, "overloaded_error", "Overloaded");
    let script = Script::new().answer(busy()).reply(ScriptedReply::text("ok"));
    let spans = run_of(script, None).await;
    assert_eq!(spans.named("chat").len(), 1);
    assert_eq!(spans.named("chat")[0].fields["toolrunner.attempts"], "2");

    let spans = Spans::default();
    let _guard = tracing::subscriber::set_default(spans.subscriber());
    let scripted = scripted(Script::new().answer(busy()).answer(busy()));
    let run = scripted
        .client()
        .run("m")
        .clock(VirtualClock::new(1))
        .retry_policy(RetryPolicy { retries: 1, ..RetryPolicy::DEFAULT });
    run.user("Go.").until_done().await.unwrap_err();
    for name in ["invoke_agent", "chat"] {
        let [span] = &spans.named(name)[..] else { panic!("one {name}") };
        assert!(span.is_closed, "{span:?}");
        assert_eq!(span.fields["error.type"], "overloaded_error");
        assert_eq!(span.fields["otel.status_code"], "ERROR");
    }
}

#[tokio::test]
async fn runs_at_the_same_time_keep_their_children_apart() {
    let spans = Spans::default();
    let _guard = tracing::subscriber::set_default(Registry::default().with(spans.clone()));
    let one = |id: usize| {
        async move {
            let scripted = scripted(conversation());
            let tools =
                (fun("good", |_| Ok("fine".to_owned())), fun("bad", |_| Ok("fine".to_owned())));
            let mut run = scripted
                .client()
                .run("m")
                .tools(tools)
                .conversation_id(format!("c-{id}"))
                .user("Go.");
            while run.next_event().await.unwrap().is_some() {
                tokio::task::yield_now().await;
            }
        }
        .instrument(tracing::info_span!("request of a user", id))
    };
    futures_util::future::join_all((0..8).map(one)).await;
    let users = spans.named("request of a user");
    assert_eq!((users.len(), spans.named("invoke_agent").len()), (8, 8));
    assert!(spans.named("invoke_agent").iter().all(|span| span.parent.is_some() && span.is_closed));
    let count = |name: &str, id: usize| {
        spans
            .named(name)
            .iter()
            .filter(|span| span.fields.get("gen_ai.conversation.id") == Some(&format!("c-{id}")))
            .count()
    };
    for id in 0..8 {
        assert_eq!((count("chat", id), count("execute_tool", id)), (2, 2), "{id}");
    }
}

#[tokio::test]
async fn a_request_carries_the_traceparent_of_its_span() {
    let spans = Spans::default();
    let _guard = tracing::subscriber::set_default(spans.subscriber());
    let scripted = scripted(conversation());
    let tools = (fun("good", |_| Ok("fine".to_owned())), fun("bad", |_| Ok("fine".to_owned())));
    let run = scripted.client().run("m").tools(tools);
    let run = run.propagate_trace(|span| {
        Some(format!("00-4bf92f3577b34da6a3ce929d0e0e4736-{:016x}-01", span.id()?.into_u64()))
    });
    run.user("Go.").until_done().await.unwrap();
    let sent = scripted.requests();
    let headers: Vec<&str> =
        sent.iter().filter_map(|request| request.header("traceparent")).collect();
    assert_eq!(headers.len(), 2);
    assert!(
        headers.iter().all(|header| header.starts_with("00-4bf92f3577b34da6a3ce929d0e0e4736-")),
        "{headers:?}"
    );
}
