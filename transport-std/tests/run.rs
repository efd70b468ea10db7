//! Runs with a scripted model, in the same process.

use toolrunner_core::testing::{Script, ScriptedModel, ScriptedReply};
use toolrunner_std::testing::ScriptedServer;
use toolrunner_std::{Event, Outcome, StopReason};

#[tokio::test]
async fn says_hello() {
    let scripted =
        ScriptedServer::new(ScriptedModel::new(Script::new().reply(ScriptedReply::text("Hello!"))));
    let mut run = scripted.client().run("m").user("Say hello.");
    let finished = run.until_done().await.unwrap();
    assert_eq!(finished.text(), "Hello!");
    assert_eq!(finished.outcome, Outcome::Ended(Some(StopReason::EndTurn)));
    assert_eq!(scripted.model().requests().len(), 1);
}

#[tokio::test]
async fn tells_events() {
    for stream in [true, false] {
        let scripted = ScriptedServer::new(ScriptedModel::new(
            Script::new()
                .reply(ScriptedReply::text("Hi").tool_use("t1", "nope", "{}").stop("tool_use"))
                .reply(ScriptedReply::text("Hello!")),
        ));
        let mut run = scripted.client().run("m").stream(stream).user("Say hello.");
        let mut log = String::new();
        while let Some(event) = run.next_event().await.unwrap() {
            match event {
                Event::Text { text, .. } => log += &format!("text {text};"),
                Event::ToolStart { name, .. } => log += &format!("start {name};"),
                Event::ToolEnd { content, is_error, .. } => {
                    log += &format!("end {content} {is_error};")
                }
                _ => {}
            }
        }
        assert_eq!(
            log.replace(";text ", ""),
            "text Hi;start nope;end \"Error: Tool 'nope' not found\" true;text Hello!;"
                .replace(";text ", ""),
            "{stream}"
        );
    }
}

/// Thinking, its signature and citations are reported as they arrive, and sent back unchanged.
#[tokio::test]
async fn tells_thinking_signatures_and_citations() {
    const STREAM: &str = concat!(
        r#"data: {"type":"message_start","message":{"id":"m","type":"message","role":"assistant","model":"m","content":[],"stop_reason":null,"usage":{"input_tokens":1,"output_tokens":1}}}"#,
        "\n\n",
        r#"data: {"type":"content_block_start","index":0,"content_block":{"type":"thinking","thinking":"","signature":""}}"#,
        "\n\n",
        r#"data: {"type":"content_block_delta","index":0,"delta":{"type":"thinking_delta","thinking":"Hm, \"so\""}}"#,
        "\n\n",
        r#"data: {"type":"content_block_delta","index":0,"delta":{"type":"signature_delta","signature":"c2ln"}}"#,
        "\n\n",
        r#"data: {"type":"content_block_stop","index":0}"#,
        "\n\n",
        r#"data: {"type":"content_block_start","index":1,"content_block":{"type":"text","text":"","citations":[]}}"#,
        "\n\n",
        r#"data: {"type":"content_block_delta","index":1,"delta":{"type":"citations_delta","citation":{"type":"char_location","cited_text":"x"}}}"#,
        "\n\n",
        r#"data: {"type":"content_block_delta","index":1,"delta":{"type":"text_delta","text":"Cited."}}"#,
        "\n\n",
        r#"data: {"type":"content_block_stop","index":1}"#,
        "\n\n",
        r#"data: {"type":"message_delta","delta":{"stop_reason":"end_turn","stop_sequence":null},"usage":{"output_tokens":9}}"#,
        "\n\n",
        r#"data: {"type":"message_stop"}"#,
        "\n\n",
    );
    let script = Script::new().raw(200, &[], STREAM).reply(ScriptedReply::text("ok"));
    let scripted = ScriptedServer::new(ScriptedModel::new(script));
    let mut run = scripted.client().run("m").user("Think.");
    let mut log = Vec::new();
    while let Some(event) = run.next_event().await.unwrap() {
        match event {
            Event::Thinking { index, text } => log.push(format!("{index} thinks {text}")),
            Event::Signature { index, signature } => log.push(format!("{index} signs {signature}")),
            Event::Citation { index, citation } => log.push(format!("{index} cites {citation}")),
            Event::Text { index, text } => log.push(format!("{index} says {text}")),
            _ => {}
        }
    }
    assert_eq!(
        log,
        [
            "0 thinks Hm, \"so\"",
            "0 signs c2ln",
            r#"1 cites {"type":"char_location","cited_text":"x"}"#,
            "1 says Cited."
        ]
    );
    run.user("And?").unwrap();
    run.until_done().await.unwrap();
    let sent = String::from_utf8(scripted.requests()[1].transcript().to_vec()).unwrap();
    assert!(
        sent.contains(
            r#"[{"type":"thinking","thinking":"Hm, \"so\"","signature":"c2ln"},{"type":"text","text":"Cited.","citations":[{"type":"char_location","cited_text":"x"}]}]"#
        ),
        "{sent}"
    );
}

#[tokio::test]
async fn can_be_spawned() {
    let scripted =
        ScriptedServer::new(ScriptedModel::new(Script::new().reply(ScriptedReply::text("Hello!"))));
    let mut run = scripted.client().run("m").user("Say hello.");
    let finished = tokio::spawn(async move { run.until_done().await }).await.unwrap().unwrap();
    assert_eq!(finished.text(), "Hello!");
}

mod tools {
    use toolrunner_std::{ToolInput, tool};
    #[derive(ToolInput, Clone, Copy, Debug)]
    #[tool(rename_all = "lowercase")]
    pub(crate) enum Unit {
        Celsius,
        Fahrenheit,
    }
    /// Get the current weather in a given location.
    #[tool]
    pub(crate) async fn get_weather(
        /// The city and state, e.g. San Francisco, CA
        location: &str,
        /// Temperature unit
        #[tool(default = Unit::Fahrenheit)]
        unit: Unit,
    ) -> String {
        format!("{location}: 20 {unit:?}")
    }
    /// Add two numbers together.
    #[tool]
    pub(crate) fn calculate_sum(
        /** First number */
        a: i64,
        /** Second number */
        b: i64,
    ) -> i64 {
        a + b
    }
}

#[tokio::test]
async fn runs_tools() {
    let script = Script::new()
        .reply(
            ScriptedReply::text("Let me see.")
                .tool_use("t1", "get_weather", r#"{"location":"Paris"}"#)
                .tool_use("t2", "calculate_sum", r#"{"a":15,"b":27}"#)
                .stop("tool_use"),
        )
        .reply(ScriptedReply::text("done"));
    let scripted = ScriptedServer::new(ScriptedModel::new(script));
    let mut run =
        scripted.client().run("m").tools((tools::get_weather, tools::calculate_sum)).user("go");
    let finished = run.until_done().await.unwrap();
    assert_eq!(finished.text(), "done");
    let model = scripted.model();
    let last = model.requests()[1].json().to_string();
    assert!(last.ends_with(r#"{"role":"user","content":[{"type":"tool_result","tool_use_id":"t1","content":"Paris: 20 Fahrenheit"},{"type":"tool_result","tool_use_id":"t2","content":"42"}]}]}"#), "{last}");
}

/// Fields that gateways omit or split: the message has all of them, and the events report the same
/// text.
#[tokio::test]
async fn a_message_in_the_pieces_of_a_gateway() {
    let body = [
        r#"{"type":"message_start","message":{"id":"m","usage":{"input_tokens":7,"output_tokens":1}}}"#,
        r#"{"type":"content_block_delta","delta":{"type":"text_delta","text":"a\ud83d"}}"#,
        r#"{"type":"content_block_delta","delta":{"type":"text_delta","text":"\ude00b"}}"#,
        r#"{"type":"content_block_stop"}"#,
        r#"{"type":"message_delta","delta":{"stop_reason":"stop_sequence","stop_sequence":"END"},"usage":{"output_tokens":5},"x":1}"#,
        r#"{"type":"message_delta","delta":{"stop_reason":null,"stop_details":{"y":2}},"usage":{"output_tokens":9},"x":null}"#,
        r#"{"type":"message_delta","delta":{}}"#,
    ];
    let body: String = body.iter().map(|event| format!("data: {event}\n\n")).collect();
    let scripted = ScriptedServer::new(ScriptedModel::new(Script::new().raw(200, &[], body)));
    let mut run = scripted.client().run("m").user("Go.");
    let mut shown = String::new();
    while let Some(event) = run.next_event().await.unwrap() {
        if let Event::Text { text, .. } = event {
            shown += &text.to_string();
        }
    }
    let message = run.message().unwrap();
    assert_eq!((shown.as_str(), message.text().as_str()), ("a\u{1f600}b", "a\u{1f600}b"));
    assert_eq!(message.stop_reason(), Some(StopReason::StopSequence));
    assert_eq!(message.stop_sequence().unwrap().to_string(), "END");
    assert_eq!((message.usage().input_tokens, message.usage().output_tokens), (7, 9));
    assert_eq!(message.stop_details().unwrap().as_json(), r#"{"y":2}"#);
    assert_eq!(message.field("x").unwrap().as_json(), "1");
    assert_eq!(message.view().role(), Some(toolrunner_core::message::Role::Assistant));
}
