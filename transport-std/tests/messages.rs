//! Typed messages in both directions: prompts with images and documents, appended and answered
//! content, the list of messages, and parameters.
#![cfg(feature = "testing")]
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "tests")]

mod common;

use common::{bodies, scripted};
use serde_json::{Value, json};
use toolrunner_core::message::{self, OwnedMessage, Role};
use toolrunner_core::testing::{Script, ScriptedReply};
use toolrunner_std::run::Content;
use toolrunner_std::testing::ScriptedServer;
use toolrunner_std::{ContentBlock, Error, Limits, Outcome, Run, Source, tool};

fn block_on<F: Future>(future: F) -> F::Output {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(future)
}

const PNG: &[u8] = b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR";
const PDF: &[u8] = b"%PDF-1.7\n%abc";

fn replies(count: usize) -> ScriptedServer {
    scripted((0..count).fold(Script::new(), |script, _| script.reply(ScriptedReply::text("Yes."))))
}

fn sent(scripted: &ScriptedServer, request: usize) -> Value {
    serde_json::from_str(&bodies(scripted)[request]).unwrap()
}

#[test]
fn a_prompt_has_text_images_and_documents() {
    let scripted = replies(2);
    let question = Content::new()
        .document(PDF)
        .document("plain \"text\"")
        .cache()
        .image(PNG)
        .text("What is it?");
    let mut run = scripted.client().run("m").user(question);
    block_on(run.until_done()).unwrap();
    assert_eq!(
        sent(&scripted, 0)["messages"],
        json!([{"role": "user", "content": [
            {"type": "document", "source": {"type": "base64", "media_type": "application/pdf", "data": "JVBERi0xLjcKJWFiYw=="}},
            {"type": "document", "source": {"type": "text", "media_type": "text/plain", "data": "plain \"text\""},
             "cache_control": {"type": "ephemeral"}},
            {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "iVBORw0KGgoAAAANSUhEUg=="}},
            {"type": "text", "text": "What is it?"},
        ]}])
    );
    // The next prompt, from blocks.
    run.user([
        ContentBlock::text("And this?"),
        ContentBlock::image_url("https://example.org/a.png"),
    ])
    .unwrap();
    assert_eq!(block_on(run.until_done()).unwrap().text(), "Yes.");
    assert_eq!(
        sent(&scripted, 1)["messages"][2]["content"],
        json!([{"type": "text", "text": "And this?"},
               {"type": "image", "source": {"type": "url", "url": "https://example.org/a.png"}}])
    );
}

#[test]
fn a_prompt_of_blocks_begins_a_new_prompt() {
    let scripted = replies(2);
    let limits = Limits { turns: Some(1), ..Limits::NONE };
    let mut run = scripted.client().run("m").limits(limits).user(Content::new().text("a"));
    block_on(run.until_done()).unwrap();
    run.user(Content::new().text("b")).unwrap();
    // The limit counts from zero again.
    assert!(matches!(block_on(run.until_done()).unwrap().outcome, Outcome::Ended(_)));
    run.user(Content::new().text("c")).unwrap();
    assert_eq!(run.turns(), 0);
}

#[test]
fn data_of_the_wrong_type_is_reported_and_nothing_is_sent() {
    let png = Source::Bytes { media_type: "image/jpeg", data: PNG };
    let tiff = Source::Bytes { media_type: "image/tiff", data: b"II*\0" };
    let word = Source::Base64 { media_type: "application/msword", data: "AAAA" };
    let wrong: [(Content, &str); 6] = [
        (Content::new().image(b"II*\0"), "an image must be a JPEG, PNG, GIF or WebP file"),
        (Content::new().document([0xff, 0xfe]), "a document must be a PDF file or a text in UTF-8"),
        (
            ContentBlock::image(png).into(),
            r#"the media type of a block is "image/jpeg", but its data is image/png"#,
        ),
        (
            ContentBlock::image(tiff).into(),
            r#"the media type of an image is "image/tiff": the API accepts"#,
        ),
        (
            ContentBlock::document(word).into(),
            r#"the media type of a document is "application/msword""#,
        ),
        (Content::new().cache(), "a cache breakpoint needs a block before it"),
    ];
    for (content, text) in wrong {
        let scripted = replies(1);
        let error = block_on(scripted.client().run("m").user(content.clone()).until_done());
        let Err(Error::Invalid(why)) = error else { panic!("{error:?}") };
        assert!(why.contains(text), "{why}");
        assert_eq!(scripted.requests().len(), 0);
        let mut run = scripted.client().run("m").user("go");
        assert!(run.user(content.clone()).is_err());
        assert!(run.append((Role::User, content)).is_err());
        assert_eq!(run.message_list().len(), 1);
    }
}

#[test]
fn every_kind_of_file_is_recognized() {
    let files: [(&[u8], &str); 4] = [
        (PNG, "image/png"),
        (b"\xff\xd8\xff\xe0rest", "image/jpeg"),
        (b"GIF89a.....", "image/gif"),
        (b"RIFF\x10\0\0\0WEBPVP8 ", "image/webp"),
    ];
    for (data, kind) in files {
        let message = Content::new().image(data).by(Role::User).unwrap();
        assert!(message.as_json().contains(kind), "{message:?}");
        // Each is also recognized in base64, so that a wrong declaration is refused.
        for (_, media_type) in files {
            let source = Source::Bytes { media_type, data };
            let made = Content::from(ContentBlock::image(source)).by(Role::User);
            assert_eq!(made.is_ok(), media_type == kind, "{kind} as {media_type}");
        }
    }
}

/// Name a colour.
#[tool]
fn unused() {}

#[test]
fn messages_are_typed_or_json() {
    let typed = [
        OwnedMessage::user("Name a colour."),
        OwnedMessage::assistant("Blue."),
        OwnedMessage::user("Another."),
    ];
    let json = r#"[{"role":"user","content":"Name a colour."},{"role":"assistant","content":"Blue."},{"role":"user","content":"Another."}]"#;
    let pairs =
        [(Role::User, "Name a colour."), (Role::Assistant, "Blue."), (Role::User, "Another.")];
    let client = replies(0).client();
    let mut runs = vec![
        client.run("m").messages(&typed),
        client.run("m").messages(typed.to_vec()),
        client.run("m").messages(json),
        client.run("m").messages(json.to_owned()),
        client.run("m").messages(pairs),
    ];
    let mut appended = client.run("m").messages(&typed[0]);
    appended.append(&typed[1..]).unwrap();
    runs.push(appended);
    let mut replaced = client.run("m").user("old");
    replaced.replace_history(&typed).unwrap();
    runs.push(replaced);
    let mut list = client.run("m").empty();
    list.append(json).unwrap();
    runs.push(list);
    for run in runs {
        assert_eq!(run.messages(), json);
        assert_eq!(run.message_list(), typed);
    }
}

#[test]
fn a_prefill_is_continued() {
    let scripted = replies(1);
    let mut run = scripted.client().run("m").user("A colour as JSON.");
    run.append((Role::Assistant, "{\"colour\":")).unwrap();
    block_on(run.until_done()).unwrap();
    assert_eq!(
        sent(&scripted, 0)["messages"][1],
        json!({"role": "assistant", "content": "{\"colour\":"})
    );
}

/// Returns what a program that reads a conversation would print.
fn read(run: &Run) -> Vec<String> {
    let mut lines = Vec::new();
    for message in run.message_list() {
        for block in message.blocks() {
            lines.push(match block {
                message::Block::Text(text) => text.text().to_string(),
                message::Block::ToolUse(call) => format!("{}({})", call.name(), call.input()),
                message::Block::ToolResult(result) => format!("result of {}", result.tool_use_id()),
                message::Block::Image(image) => format!("image {}", image.source()),
                _ => panic!("{block:?}"),
            });
        }
    }
    lines
}

#[test]
fn an_answer_has_blocks_and_a_reply_is_read_by_one_match() {
    let call = ScriptedReply::text("Let me ask.").tool_use("toolu_1", "look", "{\"at\":1}");
    let scripted = scripted(Script::new().reply(call).reply(ScriptedReply::text("A cat.")));
    let mut run = scripted.client().run("m").tool(unused).user("What do you see?");
    block_on(async {
        let mut turn = run.next_turn().await.unwrap().unwrap();
        turn.answer("toolu_1", Content::new().image(PNG).text("the camera")).unwrap();
        turn.append_user([ContentBlock::text("Hurry.")]).unwrap();
        run.until_done().await.unwrap();
    });
    let result = &sent(&scripted, 1)["messages"][2]["content"][0];
    assert_eq!(result["content"][0]["source"]["media_type"], "image/png");
    assert_eq!(result["content"][1], json!({"type": "text", "text": "the camera"}));
    assert_eq!(
        read(&run),
        [
            "What do you see?",
            "Let me ask.",
            "look({\"at\":1})",
            "result of toolu_1",
            "Hurry.",
            "A cat."
        ]
    );
}

#[test]
fn a_reply_can_be_appended_elsewhere() {
    let scripted = replies(1);
    let mut run = scripted.client().run("m").user("Well?");
    let reply = block_on(run.until_done()).unwrap().message.unwrap();
    let mut other = scripted.client().run("m").user("Well?");
    other.append(&reply).unwrap();
    assert_eq!(other.messages(), run.messages());
}

#[test]
fn parameters_are_read_as_types_and_the_cache_is_one_switch() {
    let scripted = replies(1);
    let mut run = scripted.client().run("m").cache(true).param("temperature", 0.5).user("go");
    assert_eq!(run.params().value::<f64>("temperature").unwrap(), Some(0.5));
    assert_eq!(run.params().value::<String>("model").unwrap().as_deref(), Some("m"));
    assert_eq!(run.params().value::<u32>("top_k").unwrap(), None);
    let error = run.params().value::<bool>("temperature").unwrap_err();
    assert!(error.to_string().contains("\"temperature\" is of another type"), "{error}");
    block_on(run.until_done()).unwrap();
    assert_eq!(sent(&scripted, 0)["cache_control"], json!({"type": "ephemeral"}));
    run.params_mut().cache(false);
    assert_eq!(run.params().json("cache_control"), None);
}
