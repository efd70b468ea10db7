//! Calls that start while their reply is streamed: when, which, how many times, and what happens to
//! them when the reply ends in another way. The timelines are those of the official runners' tests,
//! with the outcomes that this project chose.

mod common;

use core::time::Duration;
use std::sync::{Arc, Mutex};

use common::{answers, assert_valid, conversations, scripted};
use tokio::sync::Semaphore;
use toolrunner_core::json::Value;
use toolrunner_core::observe::Event;
use toolrunner_core::policy::RetryPolicy;
use toolrunner_core::run::OnBreak;
use toolrunner_core::testing::{Answer, Chunk, Script, ScriptedReply};
use toolrunner_core::tool::{Definition, Output, ToolCall, Tools};
use toolrunner_std::testing::ScriptedServer;
use toolrunner_std::{Compaction, Decision, Limits, Outcome, Run, RunBuilder, ToolError};

/// What happened, in order: the events that the reader received, and what the tools did.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<String>>>);

impl Log {
    fn say(&self, what: impl Into<String>) {
        self.0.lock().unwrap().push(what.into());
    }

    fn all(&self) -> String {
        self.0.lock().unwrap().join(", ")
    }

    fn count(&self, what: &str) -> usize {
        self.0.lock().unwrap().iter().filter(|said| *said == what).count()
    }
}

/// `quick` ends at once; `slow` and `serial` end when the test releases them.
#[derive(Clone)]
struct Kit {
    log: Log,
    permits: Arc<Semaphore>,
}

const NAMES: [&str; 4] = ["quick", "slow", "serial", "asks"];

impl Tools for Kit {
    fn count(&self) -> usize {
        NAMES.len()
    }

    fn definition(&self, i: usize) -> Option<Definition<'_>> {
        const JSON: [&str; 4] = [
            r#"{"name":"quick","input_schema":{"type":"object"}}"#,
            r#"{"name":"slow","input_schema":{"type":"object"}}"#,
            r#"{"name":"serial","input_schema":{"type":"object"}}"#,
            r#"{"name":"asks","input_schema":{"type":"object"}}"#,
        ];
        let tool = Definition::new(NAMES.get(i)?, JSON.get(i)?);
        Some(match i {
            2 => tool.serial(),
            3 => tool.declared(),
            _ => tool,
        })
    }

    async fn call(
        &self,
        i: usize,
        call: ToolCall<'_>,
        out: &mut Output<'_>,
    ) -> Result<(), ToolError> {
        self.log.say(format!("run {}", call.id));
        if i > 0 {
            self.permits.acquire().await.unwrap().forget();
        }
        self.log.say(format!("end {}", call.id));
        Ok(out.text(&format!("{} in turn {}", call.id, call.turn))?)
    }
}

#[derive(Clone, Copy)]
enum Part {
    Text,
    Fallback,
    /// Tool and id; the tool may be unknown.
    Call(&'static str, &'static str),
    /// A call whose input is cut off.
    Cut(&'static str, &'static str),
    /// The stream ends here.
    Break,
}
use Part::{Break, Call, Cut, Fallback, Text};

/// Builds a streamed reply of these parts.
fn reply(parts: &[Part], stop: &str) -> Answer {
    let mut body = String::from(
        "data: {\"type\":\"message_start\",\"message\":{\"id\":\"m\",\"type\":\"message\",\"role\":\"assistant\",\"model\":\"m\",\"content\":[],\
         \"stop_reason\":null,\"stop_sequence\":null,\"usage\":{\"input_tokens\":10,\"output_tokens\":1}}}\n\n",
    );
    let mut event = |json: String| {
        body.push_str("data: ");
        body.push_str(&json);
        body.push_str("\n\n");
    };
    let mut breaks = false;
    for (index, part) in parts.iter().enumerate() {
        let (block, delta) = match part {
            Break => {
                breaks = true;
                break;
            }
            Text => {
                (r#"{"type":"text","text":""}"#.to_owned(), r#"{"type":"text_delta","text":"Hm."}"#)
            }
            Fallback => {
                (r#"{"type":"fallback","from":{"model":"a"},"to":{"model":"b"}}"#.to_owned(), "")
            }
            Call(name, id) => {
                (call_block(name, id), r#"{"type":"input_json_delta","partial_json":"{\"a\":1}"}"#)
            }
            Cut(name, id) => {
                (call_block(name, id), r#"{"type":"input_json_delta","partial_json":"{\"a\":"}"#)
            }
        };
        event(format!(
            r#"{{"type":"content_block_start","index":{index},"content_block":{block}}}"#
        ));
        if !delta.is_empty() {
            event(format!(r#"{{"type":"content_block_delta","index":{index},"delta":{delta}}}"#));
        }
        event(format!(r#"{{"type":"content_block_stop","index":{index}}}"#));
    }
    if breaks {
        return Answer::chunks(200, vec![Chunk::Data(body.into_bytes()), Chunk::Reset]);
    }
    event(format!(
        r#"{{"type":"message_delta","delta":{{"stop_reason":"{stop}","stop_sequence":null}},"usage":{{"output_tokens":9}}}}"#
    ));
    event(r#"{"type":"message_stop"}"#.to_owned());
    Answer::raw(200, body)
}

fn call_block(name: &str, id: &str) -> String {
    format!(r#"{{"type":"tool_use","id":"{id}","name":"{name}","input":{{}}}}"#)
}

/// Retries without waiting.
const AT_ONCE: RetryPolicy = RetryPolicy { first_wait: Duration::ZERO, ..RetryPolicy::DEFAULT };

struct Bench {
    scripted: ScriptedServer,
    log: Log,
    permits: Arc<Semaphore>,
    run: Run,
}

/// Starts an eager run over these answers and a last one.
fn bench(
    list: impl IntoIterator<Item = Answer>,
    shape: impl FnOnce(RunBuilder) -> RunBuilder,
) -> Bench {
    let scripted = scripted(answers(list).reply(ScriptedReply::text("Done.")));
    let (log, permits) = (Log::default(), Arc::new(Semaphore::new(0)));
    let builder = scripted
        .client()
        .run("m")
        .eager(true)
        .tools(Kit { log: log.clone(), permits: Arc::clone(&permits) });
    let run = shape(builder).user("Go.");
    Bench { scripted, log, permits, run }
}

impl Bench {
    /// Reads one event and logs it; returns false at the end.
    async fn read(&mut self) -> Result<bool, toolrunner_std::Error> {
        let kind = |block: &Value<'_>| {
            block.member("type").and_then(Value::as_text).unwrap_or_default().to_string()
        };
        let label = |block: &Value<'_>| {
            block
                .member("id")
                .and_then(Value::as_text)
                .map_or_else(|| kind(block), |id| id.to_string())
        };
        let Some(event) = self.run.next_event().await? else { return Ok(false) };
        match event {
            Event::BlockStart { block, .. } => self.log.say(format!("+{}", label(&block))),
            Event::BlockStop { block, .. } => self.log.say(format!("-{}", label(&block))),
            Event::Broken { .. } => self.log.say("broken"),
            Event::Stop { reason, .. } => self.log.say(reason.unwrap().name()),
            Event::MessageStop => self.log.say("whole"),
            Event::ToolStart { id, input, .. } => {
                assert_eq!(input.to_string(), r#"{"a":1}"#);
                self.log.say(format!("start {id}"));
            }
            Event::ToolEnd { id, .. } => self.log.say(format!("told {id}")),
            _ => {}
        }
        Ok(true)
    }

    /// Reads until `label` was logged.
    async fn read_to(&mut self, label: &str) {
        while self.log.count(label) == 0 {
            assert!(self.read().await.unwrap(), "{label} never came: {}", self.log.all());
        }
    }

    async fn read_all(&mut self) -> Result<(), toolrunner_std::Error> {
        while self.read().await? {}
        Ok(())
    }

    /// Returns the results in request `i`, as `id: content`.
    fn results(&self, i: usize) -> Vec<String> {
        let sent = conversations(&self.scripted).remove(i);
        let messages = Value::first(sent.as_bytes()).unwrap();
        let text = |value: Option<Value<'_>>| {
            value.and_then(Value::as_text).unwrap_or_default().to_string()
        };
        let blocks = messages
            .elements()
            .flat_map(|message| message.member("content").unwrap_or_default().elements());
        let results = blocks.filter(|block| block.member("tool_use_id").is_some());
        results
            .map(|block| {
                format!("{}: {}", text(block.member("tool_use_id")), text(block.member("content")))
            })
            .collect()
    }
}

#[tokio::test]
async fn a_call_starts_when_the_model_moves_on_and_the_last_when_it_stops_for_tools() {
    let mut bench =
        bench([reply(&[Call("quick", "a"), Text, Call("quick", "b")], "tool_use")], |run| run);
    bench.read_all().await.unwrap();
    assert_eq!(
        bench.log.all(),
        "+a, -a, +text, start a, run a, end a, told a, -text, +b, -b, tool_use, start b, run b, end b, told b, whole, +text, -text, end_turn, whole"
    );
    assert_eq!(bench.results(1), ["a: a in turn 1", "b: b in turn 1"]);
    assert_valid(&bench.run, &bench.scripted);
}

#[tokio::test]
async fn without_the_option_calls_start_when_the_reply_is_whole() {
    let mut bench = bench([reply(&[Call("quick", "a"), Text], "tool_use")], |run| run.eager(false));
    bench.read_to("whole").await;
    assert_eq!(bench.log.all(), "+a, -a, +text, -text, tool_use, whole");
    bench.read_all().await.unwrap();
    assert_eq!(bench.log.count("run a"), 1);
}

#[tokio::test]
async fn a_reader_that_leaves_starts_nothing() {
    let mut bench = bench([reply(&[Call("quick", "a"), Text], "tool_use")], |run| run);
    bench.read_to("-a").await;
    bench.run.stop();
    assert_eq!(bench.log.count("run a"), 0);
    bench.run.resume();
    assert_eq!(
        bench.run.until_done().await.unwrap().outcome,
        Outcome::Ended(Some(toolrunner_std::StopReason::EndTurn))
    );
    assert_eq!(
        bench.log.count("run a"),
        0,
        "the reply was dropped, and the next one asks for nothing"
    );
    assert_valid(&bench.run, &bench.scripted);
}

#[tokio::test]
async fn a_slow_call_does_not_hold_up_the_stream_and_results_keep_the_models_order() {
    let parts = [Call("slow", "a"), Call("quick", "b"), Call("slow", "c")];
    let mut bench = bench([reply(&parts, "tool_use")], |run| run);
    bench.read_to("whole").await;
    assert_eq!(
        bench.log.all(),
        "+a, -a, +b, start a, run a, -b, +c, start b, run b, end b, told b, -c, tool_use, start c, run c, whole"
    );
    bench.permits.add_permits(2);
    bench.read_all().await.unwrap();
    assert_eq!(bench.results(1), ["a: a in turn 1", "b: b in turn 1", "c: c in turn 1"]);
    assert_valid(&bench.run, &bench.scripted);
}

#[tokio::test]
async fn levels_mix_and_results_wait_for_what_runs() {
    let parts = [Call("slow", "a"), Call("nobody", "b"), Call("quick", "c")];
    let mut bench = bench([reply(&parts, "tool_use")], |run| run);
    bench.permits.add_permits(1);
    let mut turn = bench.run.next_turn().await.unwrap().unwrap();
    let ids: Vec<String> = turn
        .results()
        .await
        .unwrap()
        .iter()
        .map(|result| result.tool_use_id().to_string())
        .collect();
    assert_eq!(ids, ["a", "b", "c"]);
    assert_eq!(bench.run.until_done().await.unwrap().text(), "Done.");
    for id in ["a", "c"] {
        assert_eq!(bench.log.count(&format!("run {id}")), 1);
    }
    assert_eq!(bench.results(1)[1], "b: Error: Tool 'nobody' not found");
    assert_valid(&bench.run, &bench.scripted);
}

#[tokio::test]
async fn the_bound_and_serial_tools_hold() {
    let parts = [Call("slow", "a"), Call("slow", "b"), Text];
    let mut bounded = bench([reply(&parts, "tool_use")], |run| run.concurrency(1));
    bounded.read_to("whole").await;
    assert_eq!((bounded.log.count("run a"), bounded.log.count("run b")), (1, 0));
    bounded.permits.add_permits(2);
    bounded.read_all().await.unwrap();
    assert_eq!(bounded.results(1), ["a: a in turn 1", "b: b in turn 1"]);

    let parts = [Call("serial", "a"), Call("serial", "b"), Call("slow", "c"), Text];
    let mut serial = bench([reply(&parts, "tool_use")], |run| run);
    serial.read_to("whole").await;
    assert_eq!(
        (serial.log.count("run a"), serial.log.count("run b"), serial.log.count("run c")),
        (1, 0, 1)
    );
    serial.permits.add_permits(3);
    serial.read_all().await.unwrap();
    assert_eq!(serial.results(1).len(), 3);
    assert_valid(&serial.run, &serial.scripted);
}

/// A place that becomes free while the reply is streamed lets the next call start early too.
#[tokio::test]
async fn a_place_that_is_free_again_is_used_at_once() {
    let parts = [Call("quick", "a"), Call("quick", "b"), Text, Text];
    let mut bench = bench([reply(&parts, "tool_use")], |run| run.concurrency(1));
    bench.read_to("whole").await;
    assert_eq!((bench.log.count("end a"), bench.log.count("end b")), (1, 1), "{}", bench.log.all());
    bench.read_all().await.unwrap();
}

#[tokio::test]
async fn the_gate_decides_first() {
    let parts = [Call("quick", "denied"), Call("quick", "asked"), Call("quick", "free"), Text];
    let mut bench = bench([reply(&parts, "tool_use")], |run| {
        run.gate(|call| async move {
            match call.id.as_str() {
                "denied" => Decision::deny("No."),
                "asked" => Decision::Suspend,
                _ => Decision::Allow,
            }
        })
    });
    assert_eq!(bench.run.until_done().await.unwrap().outcome, Outcome::NeedsAnswer);
    assert_eq!(bench.log.all(), "run free, end free");
    assert_eq!(bench.run.waiting_calls(), ["asked"]);
    bench.run.allow("asked").unwrap();
    bench.run.until_done().await.unwrap();
    assert_eq!(bench.results(1), ["denied: No.", "asked: asked in turn 1", "free: free in turn 1"]);
    assert_valid(&bench.run, &bench.scripted);
}

#[tokio::test]
async fn the_hook_and_the_cap_see_early_results() {
    let mut bench = bench([reply(&[Call("quick", "a"), Text], "tool_use")], |run| {
        run.on_result(|draft| {
            assert_eq!((draft.id.as_str(), draft.name.as_str()), ("a", "quick"));
            draft.replace("0123456789");
        })
        .result_cap(4)
    });
    bench.run.until_done().await.unwrap();
    assert_eq!(bench.results(1), ["a: 01\n[… 6 bytes cut …]\n89"]);
}

#[tokio::test]
async fn a_call_that_was_cut_off_never_runs_and_one_before_it_keeps_its_result() {
    for stop in ["max_tokens", "refusal", "model_context_window_exceeded", "something_new"] {
        let parts = [Call("quick", "a"), Call("slow", "b"), Cut("quick", "cut")];
        let mut bench = bench([reply(&parts, stop)], |run| run);
        bench.permits.add_permits(1);
        let finished = bench.run.until_done().await.unwrap();
        assert!(matches!(finished.outcome, Outcome::Ended(Some(_))), "{stop}");
        assert_eq!(
            (bench.log.count("end a"), bench.log.count("end b"), bench.log.count("run cut")),
            (1, 1, 0)
        );
        // When the run continues, the model is told which calls ran, and which did not.
        bench.run.user("Go on.").unwrap();
        bench.run.until_done().await.unwrap();
        assert_eq!(bench.results(1), ["a: a in turn 1", "b: b in turn 1", "cut: Error: not run"]);
        assert_valid(&bench.run, &bench.scripted);
    }
}

/// If a reply ends for another reason, the model never moved on from its last complete call.
#[tokio::test]
async fn a_refusal_starts_nothing() {
    for stop in ["refusal", "max_tokens", "end_turn", "pause_turn"] {
        let mut bench = bench([reply(&[Text, Call("quick", "a")], stop)], |run| run);
        bench.run.until_done().await.unwrap();
        assert_eq!(bench.log.all(), "", "{stop}");
        assert_valid(&bench.run, &bench.scripted);
    }
}

/// A call of a paused turn that has run is answered as if the caller had answered it: its result is
/// sent, and the pause is over.
#[tokio::test]
async fn a_paused_turn_with_a_call_that_ran() {
    let mut bench =
        bench([reply(&[Call("quick", "a"), Text, Call("quick", "b")], "pause_turn")], |run| run);
    bench.run.until_done().await.unwrap();
    assert_eq!(bench.log.all(), "run a, end a");
    assert_eq!(bench.results(1), ["a: a in turn 1", "b: Error: not run"]);
    assert_valid(&bench.run, &bench.scripted);
}
/// A call before the `fallback` block needs no answer, but one that ran may have had side effects:
/// the model receives its result.
#[tokio::test]
async fn after_a_fallback_nothing_starts_early_and_what_started_before_is_answered() {
    let parts = [Call("slow", "a"), Call("quick", "b"), Fallback, Call("quick", "c"), Text];
    let mut bench = bench([reply(&parts, "tool_use")], |run| run);
    bench.read_to("whole").await;
    assert_eq!(
        bench.log.all(),
        "+a, -a, +b, start a, run a, -b, +fallback, -fallback, +c, -c, +text, -text, tool_use, whole"
    );
    bench.permits.add_permits(1);
    bench.read_all().await.unwrap();
    assert_eq!(
        (bench.log.count("end a"), bench.log.count("run b"), bench.log.count("end c")),
        (1, 0, 1)
    );
    assert_eq!(bench.results(1), ["a: a in turn 1", "b: Error: not run", "c: c in turn 1"]);
    assert_valid(&bench.run, &bench.scripted);
}
/// The reply is not requested again: its complete blocks stay, and the model is told what was done,
/// and what was not.
#[tokio::test]
async fn a_stream_that_breaks_off_after_a_call_has_started_goes_on_with_its_result() {
    for keep in [OnBreak::Drop, OnBreak::KeepBlocks] {
        let parts = [Call("slow", "a"), Text, Call("quick", "b"), Break];
        let mut bench = bench([reply(&parts, "")], |run| run.retry_policy(AT_ONCE).on_break(keep));
        bench.permits.add_permits(1);
        let finished = bench.run.until_done().await.unwrap();
        assert_eq!((finished.text().as_str(), bench.run.turns()), ("Done.", 2));
        assert_eq!(bench.log.all(), "run a, end a");
        assert_eq!(bench.results(1), ["a: a in turn 1", "b: Error: not run"]);
        assert!(
            conversations(&bench.scripted)[1].contains("Hm."),
            "the text between them is whole"
        );
        assert_valid(&bench.run, &bench.scripted);
    }
}

/// An event reports that the reply broke off, and `next_turn` returns it like any other.
#[tokio::test]
async fn a_broken_reply_is_told_and_is_a_turn() {
    let parts = || reply(&[Call("quick", "a"), Text, Text, Break], "");
    let mut bench = bench([parts()], |run| run.retry_policy(AT_ONCE));
    bench.read_all().await.unwrap();
    assert_eq!(
        bench.log.all(),
        "+a, -a, +text, start a, run a, end a, told a, -text, +text, -text, broken, +text, -text, end_turn, whole"
    );
    assert_valid(&bench.run, &bench.scripted);

    let mut bench = self::bench([parts()], |run| run.retry_policy(AT_ONCE));
    let mut turn = bench.run.next_turn().await.unwrap().unwrap();
    assert_eq!((turn.text().as_str(), turn.stop_reason(), turn.is_last()), ("Hm.Hm.", None, false));
    assert_eq!(turn.message().unwrap().text(), "Hm.Hm.");
    assert_eq!(turn.results().await.unwrap().len(), 1);
    assert_eq!(bench.run.until_done().await.unwrap().text(), "Done.");
}

/// If a server breaks off every reply, the caller gets an error, and nothing is lost.
#[tokio::test]
async fn replies_that_break_off_again_and_again_are_an_error() {
    let broken = |id| reply(&[Call("quick", id), Text, Text, Break], "");
    let mut bench = bench([broken("a"), broken("b"), broken("c")], |run| run.retry_policy(AT_ONCE));
    let failed = bench.run.until_done().await.unwrap_err();
    assert!(failed.to_string().contains("the script reset it"), "{failed}");
    assert_eq!(bench.log.all(), "run a, end a, run b, end b, run c, end c");
    assert_eq!(bench.run.until_done().await.unwrap().text(), "Done.");
    assert_eq!(bench.results(3), ["a: a in turn 1", "b: b in turn 2", "c: c in turn 3"]);
    assert_valid(&bench.run, &bench.scripted);
}

#[tokio::test]
async fn a_stream_that_breaks_off_before_is_asked_for_again() {
    let again = reply(&[Call("quick", "a2"), Text], "tool_use");
    let mut bench =
        bench([reply(&[Call("quick", "a"), Break], ""), again], |run| run.retry_policy(AT_ONCE));
    bench.run.until_done().await.unwrap();
    assert_eq!(bench.log.all(), "run a2, end a2");
}
/// Even a policy that retries replies whose text was shown does not retry once a call of the reply
/// has run.
#[tokio::test]
async fn after_output_a_reply_whose_call_has_started_is_not_asked_for_again() {
    let policy = RetryPolicy { after_output: true, ..AT_ONCE };
    let mut bench = bench([reply(&[Call("quick", "a"), Text, Text, Break], "")], |run| {
        run.retry_policy(policy)
    });
    bench.run.until_done().await.unwrap();
    assert_eq!(bench.log.all(), "run a, end a");
    assert_eq!(bench.results(1), ["a: a in turn 1"]);
    assert_valid(&bench.run, &bench.scripted);
}
#[tokio::test]
async fn a_cancelled_run_starts_nothing_more_and_keeps_what_is_whole() {
    let parts = [Call("slow", "a"), Text, Call("quick", "b"), Text];
    let mut bench = bench([reply(&parts, "tool_use")], |run| run.grace(Duration::from_millis(10)));
    bench.read_to("run a").await;
    bench.run.cancellation().cancel();
    assert_eq!(bench.run.until_done().await.unwrap().outcome, Outcome::Stopped);
    assert_eq!((bench.log.count("run b"), bench.log.count("end a")), (0, 0));
    bench.run.resume();
    assert_eq!(bench.run.until_done().await.unwrap().text(), "Done.");
    assert_eq!(bench.results(1), ["a: Error: cancelled"]);
    assert_valid(&bench.run, &bench.scripted);
}

#[tokio::test]
async fn a_limit_that_would_keep_a_result_from_being_sent_keeps_its_call_from_starting() {
    let limits = [
        Limits { turns: Some(1), ..Limits::NONE },
        Limits { calls: Some(1), ..Limits::NONE },
        Limits { input_tokens: Some(10), ..Limits::NONE },
        Limits { repeats: Some(5), ..Limits::NONE },
    ];
    for limits in limits {
        let parts = [Text, Call("quick", "a"), Call("quick", "b"), Text];
        let mut bench = bench([reply(&parts, "tool_use")], |run| run.limits(limits));
        bench.read_to("whole").await;
        let early = bench.log.count("run a") + bench.log.count("run b");
        assert_eq!(early, 0, "{limits:?}");
        bench.read_all().await.unwrap();
        assert_valid(&bench.run, &bench.scripted);
    }
}

#[tokio::test]
async fn a_turn_that_would_be_summarised_starts_nothing_early() {
    let compaction = Compaction { threshold: 5, prompt: "Summarise." };
    let scripted = scripted(
        answers([reply(&[Call("quick", "a"), Text], "tool_use")])
            .reply(ScriptedReply::text("All."))
            .reply(ScriptedReply::text("Done.")),
    );
    let log = Log::default();
    let kit = Kit { log: log.clone(), permits: Arc::new(Semaphore::new(0)) };
    let mut run =
        scripted.client().run("m").eager(true).tools(kit).compaction(compaction).user("Go.");
    assert_eq!(run.until_done().await.unwrap().text(), "Done.");
    assert_eq!(log.all(), "");
    assert_valid(&run, &scripted);
}
#[tokio::test]
async fn ids_may_come_again_in_a_later_reply_but_not_in_the_same() {
    let same = || reply(&[Call("quick", "a"), Text], "tool_use");
    let mut twice = bench([same(), same()], |run| run);
    twice.run.until_done().await.unwrap();
    assert_eq!(twice.log.all(), "run a, end a, run a, end a");

    // The reply is invalid, but the first call has run: the blocks before the second call stay.
    let mut bench =
        bench([reply(&[Text, Call("quick", "a"), Call("quick", "a"), Text], "tool_use")], |run| {
            run.retry_policy(AT_ONCE)
        });
    assert_eq!(bench.run.until_done().await.unwrap().text(), "Done.");
    assert_eq!(bench.log.all(), "run a, end a");
    assert_eq!(bench.results(1), ["a: a in turn 1"]);
    assert_valid(&bench.run, &bench.scripted);
}

#[tokio::test]
async fn a_reply_that_is_not_streamed_starts_nothing_early() {
    let reply = ScriptedReply::new().tool_use("a", "quick", r#"{"a":1}"#).and_text("Hm.");
    let scripted = scripted(Script::new().reply(reply).reply(ScriptedReply::text("Done.")));
    let log = Log::default();
    let kit = Kit { log: log.clone(), permits: Arc::new(Semaphore::new(0)) };
    let mut run = scripted.client().run("m").eager(true).stream(false).tools(kit).user("Go.");
    let turn = run.next_turn().await.unwrap().unwrap();
    assert_eq!(turn.number(), 1);
    assert_eq!(log.all(), "");
    run.until_done().await.unwrap();
    assert_eq!(log.all(), "run a, end a");
}

/// However the driver's future is dropped, a call runs at most once.
#[tokio::test]
async fn a_future_dropped_at_every_poll() {
    let parts = [Call("quick", "a"), Text, Call("slow", "b"), Text];
    for polls in 0..40 {
        let mut bench = bench([reply(&parts, "tool_use")], |run| run);
        bench.permits.add_permits(1);
        for _ in 0..polls {
            tokio::select! {
                biased;
                _ = bench.run.next_event() => {}
                () = core::future::ready(()) => {}
            }
        }
        let finished = bench.run.until_done().await.unwrap();
        assert_eq!(finished.text(), "Done.");
        assert_eq!((bench.log.count("run a"), bench.log.count("run b")), (1, 1), "{polls}");
        assert_valid(&bench.run, &bench.scripted);
    }
}

/// The permission for a call holds for that call alone: the gate is asked about the call with the
/// same index in the next reply.
#[tokio::test]
async fn a_permission_does_not_reach_the_next_reply() {
    let asked: Arc<Mutex<Vec<String>>> = Arc::default();
    let seen = Arc::clone(&asked);
    let replies = [
        reply(&[Call("quick", "first"), Text], "tool_use"),
        reply(&[Call("quick", "second"), Text], "tool_use"),
    ];
    let mut bench = bench(replies, move |run| {
        run.gate(move |call| {
            let is_first = call.id == "first";
            seen.lock().unwrap().push(call.id);
            async move { if is_first { Decision::Suspend } else { Decision::deny("No.") } }
        })
    });
    assert_eq!(bench.run.until_done().await.unwrap().outcome, Outcome::NeedsAnswer);
    bench.run.allow("first").unwrap();
    bench.run.until_done().await.unwrap();
    assert_eq!(*asked.lock().unwrap(), ["first", "second"]);
    assert_eq!((bench.log.count("run first"), bench.log.count("run second")), (1, 0));
    assert_valid(&bench.run, &bench.scripted);
}

/// A call that started early and was suspended may be allowed while its reply still arrives, and a
/// fork keeps the permission.
#[tokio::test]
async fn a_permission_during_the_reply_holds() {
    let asked: Arc<Mutex<Vec<String>>> = Arc::default();
    let seen = Arc::clone(&asked);
    let replies = [reply(&[Call("quick", "first"), Text, Text, Text], "tool_use")];
    let mut bench = bench(replies, move |run| {
        run.gate(move |call| {
            seen.lock().unwrap().push(call.id);
            async { Decision::Suspend }
        })
    });
    while bench.run.waiting_calls().is_empty() {
        assert!(bench.run.next_event().await.unwrap().is_some(), "the reply still arrives");
    }
    assert!(!bench.run.machine().reply_is_whole());
    bench.run.allow("first").unwrap();
    assert!(matches!(bench.run.until_done().await.unwrap().outcome, Outcome::Ended(_)));
    assert_eq!(*asked.lock().unwrap(), ["first"]);
    assert_eq!(bench.log.count("run first"), 1);
    assert_valid(&bench.run, &bench.scripted);
}

#[tokio::test]
async fn a_fork_keeps_a_permission() {
    let replies = [reply(&[Call("quick", "first")], "tool_use")];
    let mut bench = bench(replies, |run| run.gate(|_| async { Decision::Suspend }));
    assert_eq!(bench.run.until_done().await.unwrap().outcome, Outcome::NeedsAnswer);
    bench.run.allow("first").unwrap();
    let mut fork = bench.run.fork().unwrap();
    assert!(matches!(fork.until_done().await.unwrap().outcome, Outcome::Ended(_)));
    assert_eq!(bench.log.count("run first"), 1);
}
