//! The spans that an OpenTelemetry collector receives of runs, and those in the file of a
//! directory.
#![cfg(all(feature = "otel", feature = "testing"))]

mod common;

use core::convert::Infallible;
use core::time::Duration;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use common::{fun, scripted};
use http_body_util::{BodyExt, Full};
use hyper::body::{Bytes, Incoming};
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::trace::v1::Span;
use opentelemetry_proto::tonic::trace::v1::span::SpanKind;
use opentelemetry_proto::tonic::trace::v1::status::StatusCode;
use prost::Message;
use toolrunner_core::testing::{Script, ScriptedReply, VirtualClock};
use toolrunner_std::ToolError;
use toolrunner_std::otel::Traces;
use toolrunner_std::run::TraceParent;
use toolrunner_std::testing::ScriptedServer;
use tracing::Instrument;
use tracing::instrument::WithSubscriber;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::registry::Registry;

/// A collector on loopback, and the requests that it received.
#[derive(Clone, Default)]
struct Collector(Arc<Mutex<Vec<ExportTraceServiceRequest>>>);

impl Collector {
    /// Starts to listen; returns the URL for traces.
    async fn listen(&self) -> String {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/v1/traces", listener.local_addr().unwrap());
        let this = self.clone();
        tokio::spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                let this = this.clone();
                let answer = service_fn(move |request| this.clone().receive(request));
                tokio::spawn(
                    hyper::server::conn::http1::Builder::new()
                        .serve_connection(TokioIo::new(stream), answer),
                );
            }
        });
        url
    }

    async fn receive(
        self,
        request: Request<Incoming>,
    ) -> Result<Response<Full<Bytes>>, Infallible> {
        assert_eq!((request.method().as_str(), request.uri().path()), ("POST", "/v1/traces"));
        assert_eq!(request.headers()["content-type"], "application/x-protobuf");
        let body = request.into_body().collect().await.unwrap().to_bytes();
        let received = ExportTraceServiceRequest::decode(body).unwrap();
        self.0.lock().unwrap().push(received);
        Ok(Response::new(Full::default()))
    }

    fn spans(&self) -> Vec<Span> {
        let received = self.0.lock().unwrap();
        let resources = received.iter().flat_map(|request| &request.resource_spans);
        resources
            .flat_map(|resource| &resource.scope_spans)
            .inspect(|scope| assert_eq!(scope.scope.as_ref().unwrap().name, "toolrunner_std"))
            .flat_map(|scope| scope.spans.clone())
            .collect()
    }
}

fn attributes(span: &Span) -> BTreeMap<&str, &Value> {
    let pairs = span.attributes.iter();
    pairs
        .map(|pair| (pair.key.as_str(), pair.value.as_ref().unwrap().value.as_ref().unwrap()))
        .collect()
}

fn text(text: &str) -> Value {
    Value::StringValue(text.to_owned())
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn conversation() -> Script {
    let calls = ScriptedReply::text("Looking.")
        .tool_use("t1", "good", r#"{"a":1}"#)
        .tool_use("t2", "bad", "{}");
    Script::new().reply(calls).reply(ScriptedReply::text("Done."))
}

/// Drives a run of two turns, with two concurrent calls: a good one and a bad one.
async fn converse(scripted: &ScriptedServer, parent: Option<&str>, content: Option<usize>) {
    let tools =
        (fun("good", |_| Ok("fine".to_owned())), fun("bad", |_| Err(ToolError::new("not today"))));
    let run = scripted.client().run("claude-x").max_tokens(77).tools(tools);
    let run = run.clock(VirtualClock::new(1)).agent_name("helper").conversation_id("c-7");
    let run = parent
        .into_iter()
        .fold(run, |run, parent| run.trace_parent(parent.parse::<TraceParent>().unwrap()));
    let run = content.into_iter().fold(run, |run, limit| run.trace_content(limit));
    let mut run = run.user("Go.");
    while run.next_event().await.unwrap().is_some() {
        tokio::task::yield_now().await;
    }
}

fn named<'a>(spans: &'a [Span], prefix: &str) -> Vec<&'a Span> {
    spans.iter().filter(|span| span.name.starts_with(prefix)).collect()
}

const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";

#[tokio::test]
async fn a_collector_receives_the_tree_of_a_run() {
    let collector = Collector::default();
    let url = collector.listen().await;
    let traces = Traces::builder().service_name("tests").otlp(url).build().unwrap();
    let scripted = scripted(conversation());
    let parent = format!("00-{TRACE}-00f067aa0ba902b7-01");
    converse(&scripted, Some(&parent), None)
        .with_subscriber(Registry::default().with(traces.layer()))
        .await;
    traces.shutdown().await.unwrap();

    let spans = collector.spans();
    assert_eq!(spans.len(), 5, "{spans:#?}");
    assert!(spans.iter().all(|span| hex(&span.trace_id) == TRACE));
    let [run] = named(&spans, "invoke_agent helper")[..] else { panic!("{spans:#?}") };
    assert_eq!(hex(&run.parent_span_id), "00f067aa0ba902b7");
    assert_eq!(run.kind(), SpanKind::Internal);
    let of_run = attributes(run);
    for (name, value) in [
        ("gen_ai.operation.name", text("invoke_agent")),
        ("gen_ai.provider.name", text("anthropic")),
        ("gen_ai.agent.name", text("helper")),
        ("gen_ai.conversation.id", text("c-7")),
        ("gen_ai.request.model", text("claude-x")),
    ] {
        assert_eq!(of_run.get(name), Some(&&value), "{name} of {of_run:#?}");
    }
    assert!(matches!(of_run["gen_ai.usage.input_tokens"], Value::IntValue(1..)), "{of_run:#?}");

    let requests = named(&spans, "chat claude-x");
    let reasons: Vec<String> = requests
        .iter()
        .map(|request| {
            let of_request = attributes(request);
            assert_eq!(request.parent_span_id, run.span_id);
            assert_eq!(request.kind(), SpanKind::Client);
            assert_eq!(request.status.as_ref().unwrap().code(), StatusCode::Ok);
            assert_eq!(of_request["gen_ai.operation.name"], &text("chat"));
            assert_eq!(of_request["gen_ai.request.max_tokens"], &Value::IntValue(77));
            assert_eq!(of_request["server.address"], &text("scripted"));
            assert_eq!(of_request["server.port"], &Value::IntValue(80));
            assert!(matches!(
                of_request["gen_ai.response.time_to_first_chunk"],
                Value::DoubleValue(_)
            ));
            assert!(matches!(of_request["gen_ai.usage.output_tokens"], Value::IntValue(_)));
            assert!(
                of_request.keys().all(|name| {
                    !name.ends_with("messages")
                        && !name.starts_with("code.")
                        && !name.starts_with("thread.")
                }),
                "{of_request:#?}"
            );
            let Value::ArrayValue(reasons) = of_request["gen_ai.response.finish_reasons"] else {
                panic!("{of_request:#?}")
            };
            let [reason] = &reasons.values[..] else { panic!("{reasons:?}") };
            let Some(Value::StringValue(reason)) = &reason.value else { panic!("{reason:?}") };
            reason.clone()
        })
        .collect();
    assert_eq!(reasons, ["tool_use", "end_turn"]);

    for (name, id, status, error) in [
        ("good", "t1", StatusCode::Ok, None),
        ("bad", "t2", StatusCode::Error, Some(text("tool_error"))),
    ] {
        let [call] = named(&spans, &format!("execute_tool {name}"))[..] else {
            panic!("{spans:#?}")
        };
        let of_call = attributes(call);
        assert_eq!(call.parent_span_id, run.span_id);
        assert_eq!(call.kind(), SpanKind::Internal);
        assert_eq!(call.status.as_ref().unwrap().code(), status);
        assert_eq!(of_call["gen_ai.operation.name"], &text("execute_tool"));
        assert_eq!(of_call["gen_ai.tool.name"], &text(name));
        assert_eq!(of_call["gen_ai.tool.call.id"], &text(id));
        assert_eq!(of_call["gen_ai.tool.type"], &text("function"));
        assert_eq!(of_call.get("error.type").copied(), error.as_ref());
        assert!(
            of_call
                .keys()
                .all(|name| !name.starts_with("gen_ai.tool.call.") || name.ends_with("id"))
        );
    }
    let resource = collector.0.lock().unwrap()[0].resource_spans[0].resource.clone().unwrap();
    let service = resource.attributes.iter().find(|pair| pair.key == "service.name").unwrap();
    assert_eq!(service.value.as_ref().unwrap().value, Some(text("tests")));

    // Each request carried the header of its own span to the model.
    let mut expected: Vec<String> =
        requests.iter().map(|span| format!("00-{TRACE}-{}-01", hex(&span.span_id))).collect();
    let mut sent: Vec<String> = scripted
        .requests()
        .iter()
        .map(|request| request.header("traceparent").unwrap().to_owned())
        .collect();
    expected.sort();
    sent.sort();
    assert_eq!(sent, expected);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn runs_at_the_same_time_keep_their_children() {
    let collector = Collector::default();
    let url = collector.listen().await;
    let traces = Traces::builder().otlp(url).build().unwrap();
    let dispatch = tracing::Dispatch::new(Registry::default().with(traces.layer()));
    let tasks: Vec<_> = (1..=16)
        .map(|id: usize| {
            let all = async move {
                // Every second run has a span of the program as its parent, and no trace of a
                // caller.
                let parent = format!("00-{id:032x}-{id:016x}-01");
                if id.is_multiple_of(2) {
                    converse(&scripted(conversation()), Some(&parent), None).await;
                } else {
                    let above = tracing::info_span!("above");
                    converse(&scripted(conversation()), None, None).instrument(above).await;
                }
            };
            tokio::spawn(all.with_subscriber(dispatch.clone()))
        })
        .collect();
    for task in tasks {
        task.await.unwrap();
    }
    traces.shutdown().await.unwrap();

    let spans = collector.spans();
    let (runs, above) = (named(&spans, "invoke_agent"), named(&spans, "above"));
    assert_eq!((spans.len(), runs.len(), above.len()), (16 * 5 + 8, 16, 8));
    for run in runs {
        let children: Vec<&Span> =
            spans.iter().filter(|span| span.parent_span_id == run.span_id).collect();
        assert!(children.iter().all(|child| child.trace_id == run.trace_id));
        let names: Vec<&str> = children.iter().map(|child| &child.name[..4]).collect();
        assert_eq!(names.iter().filter(|name| **name == "chat").count(), 2, "{names:?}");
        assert_eq!(names.iter().filter(|name| **name == "exec").count(), 2, "{names:?}");
        let caller = u64::from_str_radix(&hex(&run.parent_span_id), 16).unwrap();
        if caller <= 16 {
            assert_eq!(hex(&run.trace_id), format!("{caller:032x}"));
        } else {
            let [above] =
                above.iter().filter(|a| a.span_id == run.parent_span_id).collect::<Vec<_>>()[..]
            else {
                panic!("{run:#?}")
            };
            assert_eq!(above.trace_id, run.trace_id);
        }
    }
}

#[tokio::test]
async fn a_file_holds_the_same_spans_with_contents_on_request() {
    let folder = tempfile::tempdir().unwrap();
    let traces = Traces::builder().directory(folder.path().join("new")).build().unwrap();
    converse(&scripted(conversation()), None, Some(100))
        .with_subscriber(Registry::default().with(traces.layer()))
        .await;
    traces.shutdown().await.unwrap();

    let [path] = &std::fs::read_dir(folder.path().join("new"))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect::<Vec<_>>()[..]
    else {
        panic!("one file")
    };
    let lines: Vec<serde_json::Value> = std::fs::read_to_string(path)
        .unwrap()
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    let spans: Vec<&serde_json::Value> =
        lines.iter().map(|line| &line["resourceSpans"][0]["scopeSpans"][0]["spans"][0]).collect();
    assert_eq!(spans.len(), 5);
    let named = |prefix: &str| -> Vec<&serde_json::Value> {
        let is = |span: &&&serde_json::Value| span["name"].as_str().unwrap().starts_with(prefix);
        spans.iter().filter(is).copied().collect()
    };
    let value = |span: &serde_json::Value, name: &str| {
        let all = span["attributes"].as_array().unwrap();
        all.iter().find(|pair| pair["key"] == name).map(|pair| pair["value"].clone())
    };
    let run = named("invoke_agent")[0];
    assert!(run.get("parentSpanId").is_none(), "{run}");
    for child in named("chat").into_iter().chain(named("execute_tool")) {
        assert_eq!(child["parentSpanId"], run["spanId"], "{child}");
        assert_eq!(child["traceId"], run["traceId"], "{child}");
        assert!(
            child["startTimeUnixNano"].as_str().unwrap()
                >= run["startTimeUnixNano"].as_str().unwrap()
        );
    }
    let good = named("execute_tool good")[0];
    assert_eq!(value(good, "gen_ai.tool.call.result").unwrap()["stringValue"], "fine");
    assert_eq!(value(good, "gen_ai.tool.call.arguments").unwrap()["stringValue"], r#"{"a":1}"#);
    assert_eq!(named("execute_tool bad")[0]["status"]["code"], 2);
    // The second request's messages are longer than the limit.
    let cut =
        named("chat").into_iter().filter_map(|span| value(span, "toolrunner.content.truncated"));
    assert!(cut.clone().count() > 0 && cut.into_iter().all(|cut| cut["boolValue"] == true));
    for span in named("chat") {
        let input = value(span, "gen_ai.input.messages").unwrap();
        assert!(input["stringValue"].as_str().unwrap().len() <= 100, "{input}");
    }
}

#[tokio::test]
async fn without_the_layer_a_callers_header_is_passed_on() {
    let scripted = scripted(conversation());
    let parent = format!("00-{TRACE}-00f067aa0ba902b7-00");
    converse(&scripted, Some(&parent), None).await;
    let sent = scripted.requests();
    assert_eq!(sent.len(), 2);
    assert!(sent.iter().all(|request| request.header("traceparent") == Some(&parent)));
}

#[tokio::test]
async fn what_cannot_be_exported_is_an_error() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("file");
    std::fs::write(&file, "").unwrap();
    let error = Traces::builder().directory(&file).build().unwrap_err().to_string();
    assert!(error.contains("file"), "{error}");
    let error = Traces::builder().otlp("no url at all").build().unwrap_err().to_string();
    assert!(error.contains("no url at all"), "{error}");

    // Nothing listens there: `shutdown` reports the loss, and soon.
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/v1/traces", listener.local_addr().unwrap());
    drop(listener);
    let traces = Traces::builder().otlp(url).build().unwrap();
    converse(&scripted(conversation()), None, None)
        .with_subscriber(Registry::default().with(traces.layer()))
        .await;
    let ended = tokio::time::timeout(Duration::from_secs(15), traces.shutdown()).await.unwrap();
    assert!(ended.is_err());
}
