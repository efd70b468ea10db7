//! A research agent with nine tools: dates, ids and addresses as arguments, tagged and untagged
//! unions, a type of serde, an optional tool, tools of one session, and tools from a file.
//!
//! ```text
//! cargo run -p toolrunner-examples --bin research_agent
//! ```
//! With `--admin` there is one tool more.
//! A scripted model in this process answers: there is no key and no network.

use core::error::Error;
use core::time::Duration;
use std::collections::{BTreeMap, HashMap};
use std::process::ExitCode;
use std::sync::{Arc, Mutex};

use chrono::{DateTime, NaiveDate, Utc};
use serde::{Deserialize, Serialize};
use toolrunner_core::testing::{Script, ScriptedModel, ScriptedReply};
use toolrunner_std::testing::ScriptedServer;
use toolrunner_std::{BoxTools, Event, Json, RawTool, ToolInput, tool, toolbox};
use url::Url;
use uuid::Uuid;

/// A document of the library.
#[derive(Clone, Serialize)]
struct Document {
    id: Uuid,
    title: &'static str,
    url: &'static str,
    published: &'static str,
}

const DOCUMENTS: [Document; 2] = [
    Document {
        id: Uuid::from_u128(0x67e5_5044_10b1_426f_9247_bb68_0e5f_e0c8),
        title: "Tides of the North Sea",
        url: "https://example.org/tides",
        published: "2024-03-01",
    },
    Document {
        id: Uuid::from_u128(0x0af1_1d3c_8a51_4c2b_a1c3_6d52_3a9e_7f10),
        title: "Harbours in winter",
        url: "https://example.org/harbours",
        published: "2026-01-15",
    },
];

#[derive(ToolInput)]
#[tool(tag = "by", rename_all = "snake_case")]
enum Order {
    /// The newest first.
    Date,
    /// The words that weigh more than others.
    Weight { words: HashMap<String, f64> },
}

/// Search the library.
#[tool]
fn search(
    /// The words to look for
    #[tool(min_len = 1)]
    query: &str,
    /// Only documents published on this day or later
    since: Option<NaiveDate>,
    order: Option<Order>,
    #[tool(default = 10, min = 1, max = 50)] limit: usize,
) -> Vec<Document> {
    let is_new = |document: &Document| {
        since
            .is_none_or(|since| document.published.parse().is_ok_and(|day: NaiveDate| day >= since))
    };
    let weight = |document: &Document| match &order {
        Some(Order::Weight { words }) => words
            .iter()
            .filter(|(word, _)| document.title.to_lowercase().contains(word.as_str()))
            .map(|(_, weight)| *weight)
            .sum(),
        Some(Order::Date) | None => 0.0,
    };
    let query = query.to_lowercase();
    let mut found: Vec<_> = DOCUMENTS
        .into_iter()
        .filter(|document| document.title.to_lowercase().contains(&query) && is_new(document))
        .collect();
    found.sort_by(|a, b| weight(b).total_cmp(&weight(a)).then(b.published.cmp(a.published)));
    found.truncate(limit);
    found
}

#[derive(ToolInput)]
#[tool(untagged)]
enum DocumentKey {
    Id(Uuid),
    Address { url: Url },
}

/// Read a document.
#[tool]
fn read(document: DocumentKey) -> Result<String, String> {
    let found = DOCUMENTS.into_iter().find(|known| match &document {
        DocumentKey::Id(id) => known.id == *id,
        DocumentKey::Address { url } => known.url == url.as_str(),
    });
    found.map(|found| format!("{}: …", found.title)).ok_or_else(|| "no such document".to_owned())
}

/// Fetch a page of the web.
#[tool]
fn fetch(
    url: Url,
    /// How long to wait at most
    #[tool(default = Duration::from_secs(10), default_json = "\"PT10S\"")]
    timeout: Duration,
) -> String {
    // A real program would ask the server.
    format!("{} answered within {timeout:?}", url.host_str().unwrap_or("nobody"))
}

/// Return the days between two moments.
#[tool]
fn days_between(from: DateTime<Utc>, to: DateTime<Utc>) -> i64 {
    (to - from).num_days()
}

/// Serde reads this type, with members that no derive can list.
#[derive(Deserialize, schemars::JsonSchema)]
struct Filter {
    /// One of these must hold too.
    #[serde(default)]
    any: Vec<Self>,
    /// The expected text of each field.
    #[serde(flatten)]
    fields: BTreeMap<String, serde_json::Value>,
}

impl Filter {
    fn rules(&self) -> usize {
        self.fields.len() + self.any.iter().map(Self::rules).sum::<usize>()
    }
}

/// Count the rules of a filter.
#[tool]
fn check_filter(filter: Json<Filter>) -> usize {
    filter.0.rules()
}

#[derive(ToolInput)]
struct Citation {
    document: Uuid,
    #[tool(default = 1)]
    page: u32,
}

/// The notes of one session.
struct Notes {
    user: String,
    all: Arc<Mutex<Vec<String>>>,
}

#[toolbox]
impl Notes {
    /// Write a note.
    #[tool]
    fn note(
        &self,
        text: String,
        #[tool(flatten)] citation: Citation,
        /// The first and the last line
        lines: Option<(u32, u32)>,
    ) -> Result<usize, &'static str> {
        let mut all = self.all.lock().map_err(|_| "the notes are broken")?;
        let lines = lines.map_or_else(String::new, |(from, to)| format!(", lines {from} to {to}"));
        let Citation { document, page } = citation;
        all.push(format!("{}: {text} ({document}, page {page}{lines})", self.user));
        Ok(all.len())
    }
}

/// Delete all notes.
#[tool(requires_approval)]
fn delete_notes() {}

/// A tool of the file.
#[derive(Deserialize)]
struct Definition {
    name: String,
    description: String,
    input_schema: serde_json::Value,
    answer: String,
}

/// Creates the tools of a file.
fn tools_of_file(json: &str) -> Result<Vec<BoxTools>, Box<dyn Error>> {
    let mut tools: Vec<BoxTools> = Vec::new();
    for Definition { name, description, input_schema, answer } in
        serde_json::from_str::<Vec<_>>(json)?
    {
        let schema = input_schema.to_string();
        let tool = RawTool::new(&name, &description, &schema, move |input| {
            let answer = answer.clone();
            async move { format!("{answer} {}", input.json()) }
        })?;
        tools.push(Box::new(tool));
    }
    Ok(tools)
}

const FILE: &str = r#"[
    {"name":"translate","description":"Translate a text.","answer":"Oversatt:",
     "input_schema":{"type":"object","properties":{"text":{"type":"string"},"to":{"enum":["nb","nn"]}},"required":["text","to"]}},
    {"name":"ask_expert","description":"Ask an expert.","answer":"The expert was asked",
     "input_schema":{"type":"object","properties":{"question":{"type":"string","minLength":3}},"required":["question"]}}
]"#;

/// The part of a request that lists its tools.
#[derive(Deserialize)]
struct Request {
    tools: Vec<ToolName>,
}

#[derive(Deserialize)]
struct ToolName {
    name: String,
}

/// What the model does: it uses each tool, some of them wrongly.
fn script() -> Script {
    let calls = [
        ("search", r#"{"query":"tides","since":"2024-01-01","order":{"by":"date"}}"#),
        ("search", r#"{"query":"o","order":{"by":"weight","words":{"harbours":2}},"limit":1}"#),
        ("search", r#"{"query":"tides","since":"last year"}"#),
        ("read", r#"{"document":"67e55044-10b1-426f-9247-bb680e5fe0c8"}"#),
        ("read", r#"{"document":{"url":"https://example.org/harbours"}}"#),
        ("read", r#"{"document":"the first"}"#),
        ("fetch", r#"{"url":"https://example.org/a","timeout":"PT1M30S"}"#),
        ("fetch", r#"{"url":"example.org"}"#),
        ("days_between", r#"{"from":"2024-03-01T00:00:00Z","to":"2026-01-15T12:00:00+01:00"}"#),
        (
            "check_filter",
            r#"{"filter":{"lang":"en","any":[{"year":2024},{"year":2025,"any":[]}]}}"#,
        ),
        ("check_filter", r#"{"filter":{"any":[{"any":[1]}]}}"#),
        (
            "note",
            r#"{"text":"High tide at noon.","document":"67e55044-10b1-426f-9247-bb680e5fe0c8","lines":[4,9]}"#,
        ),
        ("translate", r#"{"text":"tide","to":"nb"}"#),
        ("translate", r#"{"text":"tide","to":"da"}"#),
        ("ask_expert", r#"{"question":"Why?"}"#),
        ("delete_notes", "{}"),
    ];
    let mut reply = ScriptedReply::text("I will look.");
    for (i, (name, input)) in calls.into_iter().enumerate() {
        reply = reply.tool_use(&format!("toolu_{i:02}"), name, input);
    }
    Script::new().reply(reply).reply(ScriptedReply::text("The tide is high at noon."))
}

async fn research(is_admin: bool) -> Result<(), Box<dyn Error>> {
    let scripted = ScriptedServer::new(ScriptedModel::new(script()));
    let all = Arc::new(Mutex::new(Vec::new()));
    let notes = Notes { user: "Ada".to_owned(), all: all.clone() };
    let mut run = scripted
        .client()
        .run("claude-opus-4-7")
        .tools((search, read, fetch, days_between, check_filter))
        .tool(notes)
        .tools(is_admin.then_some(delete_notes))
        .tools(tools_of_file(FILE)?)
        .user("When is the tide high?");
    while let Some(event) = run.next_event().await? {
        match event {
            Event::Text { text, .. } => print!("{text}"),
            Event::MessageStop => println!(),
            Event::ToolEnd { name, content, is_error, .. } => {
                let word = if is_error { "failed" } else { "result" };
                match content.as_text() {
                    Some(text) => println!("  {word} {name}: {text}"),
                    None => println!("  {word} {name}: {content}"),
                }
            }
            _ => {}
        }
    }
    let notes = all.lock().map_err(|_| "the notes are broken")?;
    println!("\nNotes: {notes:?}");
    let requests = scripted.requests();
    let request: Request = serde_json::from_slice(&requests.first().ok_or("no request")?.body)?;
    let names: Vec<_> = request.tools.iter().map(|tool| tool.name.as_str()).collect();
    println!("Tools: {}", names.join(", "));
    Ok(())
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    let is_admin = std::env::args().any(|argument| argument == "--admin");
    toolrunner_examples::exit(research(is_admin).await)
}
