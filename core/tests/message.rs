//! Messages and blocks as views, and the owned types over them.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

use toolrunner_core::json::{Text, Value};
use toolrunner_core::message::{Block, Message, Messages, Role, StopReason, Usage};

fn value(json: &str) -> Value<'_> {
    toolrunner_core::__private::check(json.as_bytes()).unwrap();
    Value::first(json.as_bytes()).unwrap()
}

fn block(json: &str) -> Block<'_> {
    Block::new(value(json))
}

#[test]
fn a_transcript_message_by_message() {
    let transcript = br#"{"role":"user","content":"Gr\u00fc\u00dfe"},
        {"content":[{"type":"text","text":"},{"},{"type":"tool_use","id":"a","name":"f","input":{}}],"role":"assistant"} ,
        {"role":"user","content":[{"type":"tool_result","tool_use_id":"a","content":"x"},{"type":"text","text":"y"}]},{"role":"system","content":[]}"#;
    let messages: Vec<Message<'_>> = Messages::new(transcript).collect();
    let roles: Vec<_> = messages.iter().map(|message| message.role()).collect();
    assert_eq!(
        roles,
        [Some(Role::User), Some(Role::Assistant), Some(Role::User), Some(Role::System)]
    );
    assert_eq!(
        messages.iter().map(|message| message.blocks().count()).collect::<Vec<_>>(),
        [1, 2, 2, 0]
    );
    // A plain string is one text block.
    let Some(Block::Text(text)) = messages[0].blocks().next() else { panic!() };
    assert_eq!(
        (text.text().to_string().as_str(), text.raw()),
        ("Grüße", &br#""Gr\u00fc\u00dfe""#[..])
    );
    assert_eq!(Block::Text(text).kind().raw(), "text");
    assert_eq!(
        messages[1].raw(),
        &transcript[transcript.iter().position(|&b| b == b'\n').unwrap() + 9..]
            [..messages[1].raw().len()]
    );
    assert!(
        messages[1].raw().starts_with(b"{\"content\"")
            && messages[1].raw().ends_with(b"\"assistant\"}")
    );
    assert_eq!(
        messages[1].tool_uses().map(|call| call.name().to_string()).collect::<Vec<_>>(),
        ["f"]
    );
    assert_eq!(messages[1].texts().map(Text::raw).collect::<Vec<_>>(), ["},{"]);
    assert_eq!(
        messages[2]
            .tool_results()
            .map(|result| result.tool_use_id().to_string())
            .collect::<Vec<_>>(),
        ["a"]
    );
}

#[test]
fn what_is_no_message() {
    assert_eq!(Messages::new(b"").count(), 0);
    assert_eq!(Messages::new(b" , ").count(), 0);
    assert_eq!(Messages::new(b"{\"role\":\"user\",\"content\":\"a\"},{\"role\":").count(), 1);
    assert!(Message::new(value("[]")).is_none());
    let odd = Message::new(value(r#"{"role":"tool"}"#)).unwrap();
    assert_eq!((odd.role(), odd.blocks().count(), odd.content()), (None, 0, Value::NULL));
    let user = Message::new(value(r#"{"role":"\u0075ser"}"#)).unwrap();
    assert_eq!(user.role(), Some(Role::User));
    assert!(matches!(block("1"), Block::Unknown(_)));
    assert_eq!(block("{}").kind().raw(), "");
}

/// Every kind that has its own name, and the variant's name.
#[test]
fn every_kind_of_block() {
    let kinds = [
        ("text", "Text"),
        ("image", "Image"),
        ("document", "Document"),
        ("search_result", "SearchResult"),
        ("thinking", "Thinking"),
        ("redacted_thinking", "RedactedThinking"),
        ("tool_use", "ToolUse"),
        ("tool_result", "ToolResult"),
        ("server_tool_use", "ServerToolUse"),
        ("web_search_tool_result", "WebSearchToolResult"),
        ("web_fetch_tool_result", "WebFetchToolResult"),
        ("code_execution_tool_result", "CodeExecutionToolResult"),
        ("bash_code_execution_tool_result", "BashCodeExecutionToolResult"),
        ("text_editor_code_execution_tool_result", "TextEditorCodeExecutionToolResult"),
        ("tool_search_tool_result", "ToolSearchToolResult"),
        ("advisor_tool_result", "AdvisorToolResult"),
        ("mcp_tool_use", "McpToolUse"),
        ("mcp_tool_result", "McpToolResult"),
        ("mcp_tool_listing", "McpToolListing"),
        ("container_upload", "ContainerUpload"),
        ("compaction", "Compaction"),
        ("fallback", "Fallback"),
        ("tool_addition", "ToolAddition"),
        ("tool_removal", "ToolRemoval"),
        ("tool_reference", "ToolReference"),
        ("browser_state", "BrowserState"),
        ("brand_new", "Unknown"),
    ];
    for (kind, variant) in kinds {
        // Wherever the type is, and whatever other members there are.
        let json = format!(
            r#"{{"x":{{"type":"text"}},"big":123456789012345678901234567890,"type":"{kind}"}}"#
        );
        let block = block(&json);
        assert!(format!("{block:?}").starts_with(&format!("{variant}(")), "{block:?}");
        assert_eq!(block.kind().to_string(), kind);
        assert_eq!(block.raw(), json.as_bytes());
        assert_eq!(
            block.value().member("big").unwrap().as_json(),
            "123456789012345678901234567890"
        );
    }
}

#[test]
fn fields_of_the_assistants_blocks() {
    let Block::Text(text) = block(r#"{"type":"text","text":"a\nb","citations":[1]}"#) else {
        panic!()
    };
    assert_eq!(
        (
            text.text().to_string().as_str(),
            text.citations().unwrap().as_json(),
            text.cache_control()
        ),
        ("a\nb", "[1]", None)
    );
    let Block::Text(text) = block(
        r#"{"type":"text","text":"a","citations":null,"cache_control":{"type":"ephemeral"}}"#,
    ) else {
        panic!()
    };
    assert_eq!(
        (text.citations(), text.cache_control().unwrap().as_json()),
        (None, r#"{"type":"ephemeral"}"#)
    );
    let Block::Thinking(thinking) =
        block(r#"{"type":"thinking","thinking":"t","signature":"s=="}"#)
    else {
        panic!()
    };
    assert!(thinking.thinking() == *"t" && thinking.signature() == *"s==");
    let Block::RedactedThinking(redacted) = block(r#"{"type":"redacted_thinking","data":"d"}"#)
    else {
        panic!()
    };
    assert!(redacted.text("data").unwrap() == *"d");
    let Block::ToolUse(call) = block(
        r#"{"type":"tool_use","id":"i","name":"n","input":{"a":[1]},"caller":{"type":"direct"}}"#,
    ) else {
        panic!()
    };
    assert!(call.id() == *"i" && call.name() == *"n" && call.toolset_name().is_none());
    assert_eq!(
        (call.input().as_json(), call.caller().unwrap().as_json()),
        (r#"{"a":[1]}"#, r#"{"type":"direct"}"#)
    );
    let Block::ToolUse(bare) = block(r#"{"type":"tool_use"}"#) else { panic!() };
    assert!(bare.id().is_empty() && bare.input().is_null() && bare.caller().is_none());
    let Block::ServerToolUse(call) =
        block(r#"{"type":"server_tool_use","id":"i","name":"web_search","input":{}}"#)
    else {
        panic!()
    };
    assert!(
        call.id() == *"i"
            && call.name() == *"web_search"
            && call.input().as_json() == "{}"
            && call.caller().is_none()
    );
    let Block::WebFetchToolResult(result) =
        block(r#"{"type":"web_fetch_tool_result","tool_use_id":"i","content":{"error_code":"x"}}"#)
    else {
        panic!()
    };
    assert!(
        result.tool_use_id() == *"i"
            && result.content().member("error_code").is_some()
            && result.caller().is_none()
    );
    let Block::McpToolUse(call) =
        block(r#"{"type":"mcp_tool_use","id":"i","name":"n","server_name":"s","input":{}}"#)
    else {
        panic!()
    };
    assert!(
        call.id() == *"i"
            && call.name() == *"n"
            && call.server_name().unwrap() == *"s"
            && call.input().as_json() == "{}"
    );
    let Block::McpToolResult(result) = block(
        r#"{"type":"mcp_tool_result","tool_use_id":"i","is_error":true,"content":[{"type":"text","text":"e"}]}"#,
    ) else {
        panic!()
    };
    assert!(result.tool_use_id() == *"i" && result.is_error() && result.blocks().count() == 1);
    let Block::McpToolListing(listing) =
        block(r#"{"type":"mcp_tool_listing","mcp_server_name":"s","tools":[]}"#)
    else {
        panic!()
    };
    assert!(
        listing.text("mcp_server_name").unwrap() == *"s"
            && listing.field("tools").unwrap().as_json() == "[]"
    );
    let Block::Compaction(compaction) =
        block(r#"{"type":"compaction","content":"c","encrypted_content":null,"signature":"s"}"#)
    else {
        panic!()
    };
    assert!(
        compaction.content().unwrap() == *"c"
            && compaction.encrypted_content().is_none()
            && compaction.signature().unwrap() == *"s"
    );
    assert!(compaction.tool_changes().is_none());
    let Block::Fallback(fallback) =
        block(r#"{"type":"fallback","from":{"model":"a"},"to":{"model":"b"},"trigger":null}"#)
    else {
        panic!()
    };
    assert_eq!(
        ["from", "to", "trigger"].map(|name| fallback.field(name).map(Value::as_json)),
        [Some(r#"{"model":"a"}"#), Some(r#"{"model":"b"}"#), None]
    );
}

#[test]
fn fields_of_the_callers_blocks() {
    let Block::ToolResult(result) =
        block(r#"{"type":"tool_result","tool_use_id":"i","content":"x"}"#)
    else {
        panic!()
    };
    assert!(
        result.tool_use_id() == *"i"
            && !result.is_error()
            && result.cache_control().is_none()
            && result.toolset_name().is_none()
    );
    assert!(matches!(result.content().next(), Some(Block::Text(text)) if text.text() == *"x"));
    let json = r#"{"type":"tool_result","tool_use_id":"i","is_error":true,"content":[{"type":"image","source":{"type":"url"}},{"type":"tool_reference","name":"n"}],"cache_control":{}}"#;
    let Block::ToolResult(result) = block(json) else { panic!() };
    assert!(result.is_error() && result.cache_control().is_some());
    let content: Vec<_> = result.content().collect();
    assert!(
        matches!(content[0], Block::Image(image) if image.source().as_json() == r#"{"type":"url"}"# && image.cache_control().is_none())
    );
    assert!(
        matches!(content[1], Block::ToolReference(tool) if tool.text("name").unwrap() == *"n" && tool.text("tool_name").is_none())
    );
    let Block::Document(document) =
        block(r#"{"type":"document","source":{},"title":"t","citations":{"enabled":true}}"#)
    else {
        panic!()
    };
    assert!(
        document.title().unwrap() == *"t"
            && document.context().is_none()
            && document.citations().is_some()
            && document.source().as_json() == "{}"
    );
    let Block::SearchResult(found) = block(
        r#"{"type":"search_result","source":"s","title":"t","content":[{"type":"text","text":"x"}]}"#,
    ) else {
        panic!()
    };
    assert!(
        found.text("source").unwrap() == *"s"
            && found.text("title").unwrap() == *"t"
            && found.blocks("content").count() == 1
            && found.field("citations").is_none()
    );
    let Block::ContainerUpload(upload) = block(r#"{"type":"container_upload","file_id":"f"}"#)
    else {
        panic!()
    };
    assert!(upload.text("file_id").unwrap() == *"f");
    let Block::ToolRemoval(removal) = block(r#"{"type":"tool_removal","tool":{"name":"n"}}"#)
    else {
        panic!()
    };
    assert_eq!(removal.field("tool").unwrap().as_json(), r#"{"name":"n"}"#);
}

#[test]
fn stop_reasons() {
    let all = [
        "compaction",
        "end_turn",
        "max_tokens",
        "model_context_window_exceeded",
        "pause_turn",
        "refusal",
        "stop_sequence",
        "tool_use",
    ];
    for name in all {
        assert_eq!(StopReason::from_text(Text::from_raw(name)).name(), name);
        assert_eq!(StopReason::from_text(Text::from_raw(name)).to_string(), name);
    }
    assert_eq!(StopReason::from_text(Text::from_raw("tired")), StopReason::Unknown);
    assert_eq!(StopReason::from_text(Text::from_raw(r"end\u005fturn")), StopReason::EndTurn);
    assert_eq!(StopReason::Unknown.name(), "unknown");
}

#[test]
fn usage_is_cumulative_in_a_turn_and_added_over_turns() {
    let mut usage = Usage::from_wire(value(
        r#"{"input_tokens":10,"output_tokens":1,"cache_read_input_tokens":5,"service_tier":"standard"}"#,
    ));
    usage.overwrite(value(
        r#"{"output_tokens":15,"input_tokens":null,"cache_creation_input_tokens":2,"new":{}}"#,
    ));
    assert_eq!(
        usage,
        Usage {
            input_tokens: 10,
            output_tokens: 15,
            cache_creation_input_tokens: 2,
            cache_read_input_tokens: 5
        }
    );
    assert_eq!((usage.input_total(), usage.total()), (17, 32));
    usage.overwrite(value("null"));
    usage.overwrite(value(r#"{"output_tokens":-1,"input_tokens":"7"}"#));
    let mut all = Usage::default();
    all.add(&usage);
    all.add(&usage);
    assert_eq!(all.total(), 64);
    all.add(&Usage { input_tokens: u64::MAX, ..Usage::default() });
    assert_eq!(all.total(), u64::MAX);
}

#[cfg(feature = "alloc")]
mod owned {
    use toolrunner_core::message::{MessageError, OwnedMessage, ReplyMessage, Role, StopReason};

    /// Spaces, an unknown block, unknown fields, an unusual order, large and precise numbers: all
    /// stay.
    pub(super) const REPLY: &str = r#"{"stop_reason": "tool_use", "id":"msg_1","role":"assistant","model":"m","content":[{"type":"text","text":"a\u00e9"},
        {"n":12345678901234567890123,"type":"new","f":1.500}, {"type":"text","text":"b"},{"type":"tool_use","id":"t","name":"f","input":{"z":1,"a":2}}],
        "stop_sequence":null,"container":{"id":"c","expires_at":"x"},"usage":{"input_tokens":3,"output_tokens":4},"future":{"x":[]}}"#;

    #[test]
    fn a_reply() {
        let reply = ReplyMessage::from_json(REPLY).unwrap();
        assert_eq!(reply.as_json(), REPLY);
        assert!(
            reply.id() == *"msg_1"
                && reply.model() == *"m"
                && reply.container_id().unwrap() == *"c"
        );
        assert_eq!(
            (reply.text().as_str(), reply.stop_reason(), reply.usage().total()),
            ("aéb", Some(StopReason::ToolUse), 7)
        );
        assert_eq!(reply.stop_reason_text().unwrap().raw(), "tool_use");
        assert!(
            reply.stop_sequence().is_none()
                && reply.stop_details().is_none()
                && reply.field("future").is_some()
        );
        assert_eq!(
            reply.tool_uses().map(|call| call.input().as_json().to_string()).collect::<Vec<_>>(),
            [r#"{"z":1,"a":2}"#]
        );
        assert_eq!((reply.blocks().count(), reply.view().role()), (4, Some(Role::Assistant)));
        let back = reply.to_message();
        assert_eq!(back.view().content().raw(), reply.view().content().raw());
        assert!(back.as_json().starts_with(r#"{"role":"assistant","content":[{"#));
        assert_eq!(OwnedMessage::from(back.view()), back);
        let bare = ReplyMessage::from_json(r#"{"role":"assistant","content":[]}"#).unwrap();
        assert!(
            bare.id().is_empty()
                && bare.stop_reason().is_none()
                && bare.container_id().is_none()
                && bare.usage().total() == 0
        );
    }

    #[test]
    fn messages_of_ones_own() {
        let message = OwnedMessage::user("He said \"hi\"\n\u{1}🙂");
        assert_eq!(
            message.as_json(),
            "{\"role\":\"user\",\"content\":\"He said \\\"hi\\\"\\n\\u0001🙂\"}"
        );
        assert_eq!(
            (message.text().as_str(), message.role(), message.blocks().count()),
            ("He said \"hi\"\n\u{1}🙂", Some(Role::User), 1)
        );
        assert_eq!(OwnedMessage::assistant("").as_json(), r#"{"role":"assistant","content":""}"#);
        assert_eq!(format!("{message:?}"), message.as_json());
        assert_eq!(
            OwnedMessage::from_json(" {\"role\":\"new\",\"content\":[]}\n").unwrap().as_json(),
            r#"{"role":"new","content":[]}"#
        );
    }

    #[test]
    fn what_is_no_message() {
        let error = |json: &str| OwnedMessage::from_json(json).unwrap_err();
        assert_eq!(error("{").to_string(), "not valid JSON: at byte 1: expected a member name");
        assert_eq!(error(r#"{"role":"user","content":"\ud800"}"#), MessageError::LoneSurrogate(26));
        for shape in [
            "[]",
            "1",
            "{}",
            r#"{"role":"user"}"#,
            r#"{"role":"user","content":null}"#,
            r#"{"content":""}"#,
        ] {
            assert_eq!(
                error(shape).to_string(),
                "not a message: expected an object with `role` and `content`"
            );
        }
        assert!(ReplyMessage::from_json(&"[".repeat(100_000)).is_err());
    }

    #[cfg(feature = "serde-json")]
    #[test]
    fn serde_and_back_byte_for_byte() {
        let reply: ReplyMessage = serde_json::from_str(REPLY).unwrap();
        assert_eq!(serde_json::to_string(&reply).unwrap(), REPLY);
        // In a list, from bytes and from a value: as part of a caller's data.
        let list: Vec<OwnedMessage> =
            serde_json::from_slice(format!("[{REPLY}, {REPLY}]").as_bytes()).unwrap();
        assert_eq!(serde_json::to_string(&list).unwrap(), format!("[{REPLY},{REPLY}]"));
        let value: serde_json::Value = serde_json::from_str(REPLY).unwrap();
        assert_eq!(serde_json::to_value(&reply).unwrap(), value);
        let from_value: ReplyMessage = serde_json::from_value(value.clone()).unwrap();
        assert_eq!(serde_json::to_value(&from_value).unwrap(), value);
        let wrong =
            serde_json::from_str::<OwnedMessage>(r#"{"role":"user"}"#).unwrap_err().to_string();
        assert!(
            wrong.starts_with("not a message: expected an object with `role` and `content`"),
            "{wrong}"
        );
    }
}
