//! The five conversations for the faults, and their tools.

use std::sync::{Arc, Mutex};
use std::task::Poll;

use toolrunner_core::testing::{Answer, Request, ScriptedReply};
use toolrunner_core::tool::{Definition, Output, ToolCall, ToolError, Toolbox, Tools};

/// The first message of the user.
pub(crate) const PROMPT: &str = "Go.";
/// The last message of the model.
pub(crate) const LAST: &str = "Done: \"all\" of it, 日本 and 😀.";

/// One conversation as it is without a fault.
pub(crate) struct Talk {
    pub(crate) name: &'static str,
    pub(crate) stream: bool,
    /// Returns the model's replies before its last one.
    replies: fn() -> Vec<ScriptedReply>,
    /// The ids of the calls that run.
    pub(crate) calls: &'static [&'static str],
}

pub(crate) const TALKS: [Talk; 5] = [
    Talk { name: "text", stream: true, replies: Vec::new, calls: &[] },
    Talk {
        name: "one call",
        stream: true,
        replies: || {
            vec![ScriptedReply::text("Let me see.").tool_use(
                "toolu_1",
                "add",
                r#"{"a":"\n\u0041 \"quoted\" 日本"}"#,
            )]
        },
        calls: &["toolu_1"],
    },
    Talk {
        name: "calls at once",
        stream: true,
        replies: || {
            let reply = ScriptedReply::new()
                .thinking("Hm.", "c2ln")
                .tool_use("toolu_1", "slow", "{}")
                .tool_use("toolu_2", "fail", "{}");
            vec![reply.tool_use("toolu_3", "add", r#"{"a":[1,2,{"b":null}]}"#)]
        },
        calls: &["toolu_1", "toolu_2", "toolu_3"],
    },
    Talk {
        name: "not streamed",
        stream: false,
        replies: || {
            let first = ScriptedReply::text("First.").tool_use("toolu_1", "add", r#"{"a":1}"#);
            vec![first, ScriptedReply::new().tool_use("toolu_2", "slow", "{}")]
        },
        calls: &["toolu_1", "toolu_2"],
    },
    Talk {
        name: "pause",
        stream: true,
        replies: || {
            let second = ScriptedReply::new()
                .block(r#"{"type":"hologram","x":[1,{"y":"z"}]}"#)
                .tool_use("toolu_1", "nope", "{}");
            vec![
                ScriptedReply::text("Wait.").stop("pause_turn"),
                second.tool_use("toolu_2", "add", "{}"),
            ]
        },
        calls: &["toolu_2"],
    },
];

impl Talk {
    /// Returns the number of requests.
    pub(crate) fn exchanges(&self) -> usize {
        (self.replies)().len() + 1
    }

    /// Returns the model's answer to a request. It is the same each time.
    pub(crate) fn answer(&self, request: &Request) -> Answer {
        (self.replies)()
            .into_iter()
            .nth(place(request))
            .unwrap_or_else(|| ScriptedReply::text(LAST))
            .into()
    }
}

/// Returns the index of the request's exchange in its conversation, from 0.
pub(crate) fn place(request: &Request) -> usize {
    request
        .messages()
        .filter(|message| message.role() == Some(toolrunner_core::message::Role::Assistant))
        .count()
}

const NAMES: [&str; 3] = ["add", "fail", "slow"];
const DEFINITIONS: [&str; 3] = [
    r#"{"name":"add","description":"","input_schema":{"type":"object"}}"#,
    r#"{"name":"fail","description":"","input_schema":{"type":"object"}}"#,
    r#"{"name":"slow","description":"","input_schema":{"type":"object"}}"#,
];

/// Three tools, and the ids of the calls that started, in order.
#[derive(Clone, Default)]
pub(crate) struct Bench {
    began: Arc<Mutex<Vec<String>>>,
}

impl Bench {
    pub(crate) fn began(&self) -> Vec<String> {
        self.began.lock().unwrap().clone()
    }

    async fn work(&self, i: usize, id: String, out: &mut Output<'_>) -> Result<(), ToolError> {
        self.began.lock().unwrap().push(id.clone());
        match NAMES[i] {
            "fail" => return Err(ToolError::new("no luck")),
            "slow" => yields(3).await,
            _ => {}
        }
        Ok(out.text(&format!("result of {id}"))?)
    }
}

impl Toolbox for Bench {
    fn count(&self) -> usize {
        NAMES.len()
    }

    fn definition(&self, i: usize) -> Option<Definition<'_>> {
        Some(Definition::new(NAMES.get(i)?, DEFINITIONS.get(i)?))
    }

    async fn call(
        &self,
        i: usize,
        call: ToolCall<'_>,
        out: &mut Output<'_>,
    ) -> Result<(), ToolError> {
        self.work(i, call.id.to_string(), out).await
    }
}

impl Tools for Bench {
    fn count(&self) -> usize {
        Toolbox::count(self)
    }

    fn definition(&self, i: usize) -> Option<Definition<'_>> {
        Toolbox::definition(self, i)
    }

    async fn call(
        &self,
        i: usize,
        call: ToolCall<'_>,
        out: &mut Output<'_>,
    ) -> Result<(), ToolError> {
        self.work(i, call.id.to_string(), out).await
    }
}

/// Yields `times` times.
pub(crate) async fn yields(mut times: usize) {
    std::future::poll_fn(|cx| {
        if times == 0 {
            return Poll::Ready(());
        }
        times -= 1;
        cx.waker().wake_by_ref();
        Poll::Pending
    })
    .await;
}
