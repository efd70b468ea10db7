//! A conversation in a file: the requests, the replies, and how it ends.

use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;
use toolrunner_core::json::Text;
use toolrunner_core::tool::{Definition, Output, ToolCall, ToolError, Toolbox, Tools};
use toolrunner_core::wire::MessageThread;

use crate::engine::Ending;
use crate::json::{Difference, Json};

/// One run of a tool loop. The fields are those of the file; the JSON in them is kept as text.
#[derive(Debug, Deserialize)]
pub struct Scenario {
    /// The name.
    pub name: String,
    /// What the caller does besides sending the first request.
    pub config: Config,
    /// The first request's body without `tools` and `stream`.
    pub params: Box<RawValue>,
    /// The tools as they are sent. An empty list is sent as such; without the field, no `tools` are
    /// sent.
    pub tools: Option<Vec<Box<RawValue>>>,
    /// The results of tools, by the id of the call.
    #[serde(default, deserialize_with = "or_default")]
    pub outcomes: HashMap<String, Outcome>,
    /// The requests and their replies, in order.
    pub exchanges: Vec<Exchange>,
    /// How the run ends.
    #[serde(rename = "final")]
    pub ending: Expectation,
    /// The paths of unknown fields, which are ignored.
    #[serde(skip)]
    pub unknown: Vec<String>,
}

/// The actions of the caller. An unknown field fails the scenario, because the scenario would not
/// test what it says.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// Whether replies are streamed.
    #[serde(default)]
    pub stream: bool,
    /// The maximum number of replies; unlimited if absent.
    pub max_iterations: Option<u32>,
    /// What the caller does after the reply of this number.
    #[serde(default)]
    pub after_turn: BTreeMap<u32, Actions>,
    /// A `cache_control` for every result.
    pub result_cache_control: Option<Box<RawValue>>,
    /// Whether repeated call ids are replaced by unique ones.
    #[serde(default)]
    pub unique_ids: bool,
    /// Whether the server keeps the conversation in a message thread.
    #[serde(default)]
    pub message_thread: Thread,
}

/// A setting of [`MessageThread`].
#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "snake_case")]
pub enum Thread {
    /// No thread.
    #[default]
    Off,
    /// The conversation also stays here.
    Keep,
    /// What the server keeps is freed.
    Free,
}

impl Thread {
    /// Returns the setting of a run.
    pub const fn setting(self) -> MessageThread {
        match self {
            Self::Off => MessageThread::Off,
            Self::Keep => MessageThread::Keep,
            Self::Free => MessageThread::Free,
        }
    }
}

/// What the caller does after a turn.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Actions {
    /// Sets `max_tokens` for the following requests.
    pub set_max_tokens: Option<u32>,
    /// Messages to append after the reply and its results.
    #[serde(default)]
    pub append_after_results: Vec<Box<RawValue>>,
    /// The names of tools to remove by a system message.
    #[serde(default)]
    pub remove_tools: Vec<String>,
    /// The definitions of tools to add by the same message, after the removals.
    #[serde(default)]
    pub add_tools: Vec<Box<RawValue>>,
    /// Requests a compaction on the server before the next turn.
    pub compact: Option<Compact>,
    /// Continues from a snapshot of the run, as another process would.
    #[serde(default)]
    pub restore: bool,
}

/// A compaction on the server.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Compact {
    /// The instructions for the summary.
    pub instructions: Option<String>,
}

impl Actions {
    /// Returns the blocks of a system message with the tools to remove and to add, as JSON.
    pub fn tool_changes(&self) -> Vec<String> {
        let removal = |name: &String| {
            let reference = serde_json::json!({"type": "tool_reference", "name": name});
            serde_json::json!({"type": "tool_removal", "tool": reference}).to_string()
        };
        let addition = |json: &RawValue| {
            format!(
                r#"{{"type":"tool_addition","tool":{{"type":"tool_definition","definition":{json}}}}}"#
            )
        };
        let removed = self.remove_tools.iter().map(removal);
        removed.chain(self.add_tools.iter().map(|json| addition(json))).collect()
    }
}

impl Compact {
    /// Returns the `compaction` member of the request.
    pub fn parameter(&self) -> String {
        let mut parameter = serde_json::json!({"type": "summarize"});
        if let Some(instructions) = &self.instructions {
            parameter["instructions"] = instructions.as_str().into();
        }
        parameter.to_string()
    }
}

/// The result of a tool.
#[derive(Debug, Deserialize)]
pub struct Outcome {
    /// The content: a string or blocks.
    pub content: Box<RawValue>,
    /// Whether the tool fails.
    #[serde(default)]
    pub is_error: bool,
}

/// One request and its reply.
#[derive(Debug, Deserialize)]
pub struct Exchange {
    /// The body that must be sent.
    pub request: Box<RawValue>,
    /// The reply's status.
    pub status: u16,
    /// The reply's header fields.
    #[serde(default, deserialize_with = "or_default")]
    pub headers: BTreeMap<String, String>,
    /// The reply's body.
    pub body: String,
}

/// The number of bytes around a reply's message, which is started while the reply's body is still
/// stored.
const FRAME: usize = r#",{"role":"assistant","content":[]}"#.len();

/// How a run must end.
#[derive(Debug, Deserialize)]
pub struct Expectation {
    /// The stop reason of the last message.
    pub stop_reason: Option<String>,
    /// The text blocks of the last message, joined.
    #[serde(default)]
    pub text: String,
    /// The names of its calls.
    #[serde(default)]
    pub tool_use: Vec<String>,
    /// Instead of the fields above: the `type` of the error that ended the run.
    pub api_error: Option<String>,
    /// The HTTP status of that error.
    pub status: Option<u16>,
    /// Instead of the fields above: the beginning of the text of an error that the server did not
    /// report, such as a response that is not a reply.
    pub error: Option<String>,
    /// Instead of the fields above: `thread_lost`, if the run ends because the server lost a
    /// message thread.
    pub outcome: Option<String>,
}

impl Scenario {
    /// Reads a scenario.
    ///
    /// # Errors
    /// Returns the reason if the text is not a scenario.
    pub fn parse(text: &str) -> Result<Self, String> {
        let failed = |error: serde_json::Error| error.to_string();
        let mut scenario: Self = serde_json::from_str(text).map_err(failed)?;
        scenario.unknown = unknown(serde_json::from_str(text).map_err(failed)?);
        Ok(scenario)
    }

    /// Reads the file of a scenario.
    ///
    /// # Errors
    /// Returns the reason if the file cannot be read.
    pub fn read(file: &Path) -> Result<Self, String> {
        std::fs::read_to_string(file)
            .map_err(|error| error.to_string())
            .and_then(|text| Self::parse(&text))
    }

    /// Returns a member of `params`, as JSON text.
    pub fn param(&self, name: &str) -> Option<&str> {
        members(&self.params)
            .into_iter()
            .find(|(known, _)| known == name)
            .map(|(_, value)| value.get())
    }

    /// Returns all members of `params`, in order, as JSON text.
    pub fn params(&self) -> Vec<(String, &str)> {
        members(&self.params).into_iter().map(|(name, value)| (name, value.get())).collect()
    }

    /// Returns whether an empty list of tools is sent.
    pub fn has_empty_tools(&self) -> bool {
        self.tools.as_ref().is_some_and(Vec::is_empty)
    }

    /// Returns the tools of the scenario, ready to run.
    pub fn tools(&self) -> ScenarioTools {
        self.runnable(self.tools.iter().flatten(), false)
    }

    /// Returns the tools of the scenario, and those that it adds, which requests do not list.
    pub fn all_tools(&self) -> ScenarioTools {
        let mut all = self.tools();
        let added = self.config.after_turn.values().flat_map(|actions| &actions.add_tools);
        all.tools.extend(self.runnable(added, true).tools);
        all
    }

    /// Returns the tools that these actions add.
    pub fn added_tools(&self, actions: &Actions) -> ScenarioTools {
        self.runnable(actions.add_tools.iter(), false)
    }

    fn runnable<'t>(
        &self,
        tools: impl Iterator<Item = &'t Box<RawValue>>,
        unlisted: bool,
    ) -> ScenarioTools {
        let text = |json: Option<&&RawValue>| {
            json.and_then(|json| serde_json::from_str(json.get()).ok()).unwrap_or_default()
        };
        let tools = tools.map(|json| {
            let members: HashMap<String, &RawValue> = members(json).into_iter().collect();
            ScenarioTool {
                name: text(members.get("name")),
                json: json.get().to_owned(),
                runnable: members.contains_key("input_schema"),
                unlisted,
            }
        });
        let outcomes = self.outcomes.iter().map(|(id, outcome)| {
            (id.clone(), (outcome.content.get().to_owned(), outcome.is_error))
        });
        ScenarioTools { tools: tools.collect(), outcomes: outcomes.collect() }
    }

    /// Returns the minimum size of a transcript in bytes, in the worst case: the messages of the
    /// largest request and the reply to it.
    pub fn needed_bytes(&self) -> usize {
        let needed = self.exchanges.iter().map(|exchange| {
            let messages = Json::parse(exchange.request.get())
                .ok()
                .and_then(|body| Some(body.member("messages")?.to_string().len()));
            messages.unwrap_or(0) + exchange.body.len() + FRAME
        });
        needed.max().unwrap_or(0)
    }

    /// Returns the differences between the end of the run and that of the scenario.
    pub fn compare_ending(&self, ending: &Ending) -> Vec<String> {
        let list =
            |names: &[String]| Json::Array(names.iter().cloned().map(Json::String).collect());
        let text = |text: &str| Json::String(text.to_owned());
        let number = |number: u16| Json::Number(number.to_string());
        let Expectation { stop_reason, text: said, tool_use, api_error, status, error, outcome } =
            &self.ending;
        if *ending == Ending::ThreadLost || outcome.is_some() {
            let got = match ending {
                Ending::ThreadLost => "thread_lost".to_owned(),
                other => format!("{other:?}"),
            };
            let expected = outcome.as_deref().unwrap_or("another ending");
            let is_same = got == expected;
            let difference = format!("final.outcome: expected {expected}, got {got}");
            return if is_same { Vec::new() } else { vec![difference] };
        }
        if let Some(error) = error {
            return match ending {
                // Without a heap, the text of a refusal begins with the kind of error.
                Ending::Error(text)
                    if text
                        .strip_prefix("misuse: ")
                        .unwrap_or(text)
                        .starts_with(error.as_str()) =>
                {
                    Vec::new()
                }
                other => vec![format!("final.error: expected {error:?}, got {other:?}")],
            };
        }
        let expected = match api_error {
            Some(kind) => {
                vec![("api_error", text(kind)), ("status", number(status.unwrap_or_default()))]
            }
            // An error whose body has no type.
            None if status.is_some() => vec![("status", number(status.unwrap_or_default()))],
            None => message_parts(stop_reason.as_deref(), said, list(tool_use)),
        };
        let got = match ending {
            Ending::Api { status: got, .. } if api_error.is_none() && status.is_some() => {
                vec![("status", number(*got))]
            }
            Ending::Api { kind, status } => {
                vec![("api_error", text(kind)), ("status", number(*status))]
            }
            Ending::Message { stop_reason, text, tool_use } => {
                message_parts(stop_reason.as_deref(), text, list(tool_use))
            }
            Ending::Capacity(full) => vec![("error", text(&full.to_string()))],
            Ending::Error(error) => vec![("error", text(error))],
            Ending::ThreadLost => vec![("outcome", text("thread_lost"))],
        };
        let object = |parts: Vec<(&str, Json)>| {
            Json::Object(parts.into_iter().map(|(name, value)| (name.to_owned(), value)).collect())
        };
        let differences = object(expected).differences(&object(got));
        differences
            .into_iter()
            .map(|Difference { path, expected, got }| {
                format!("final.{path}: expected {expected}, got {got}")
            })
            .collect()
    }
}

/// A field that is `null` is treated like an absent one.
fn or_default<'de, D: Deserializer<'de>, T: Deserialize<'de> + Default>(
    deserializer: D,
) -> Result<T, D::Error> {
    Option::deserialize(deserializer).map(Option::unwrap_or_default)
}

/// Returns the fields of a scenario that are not read here. Unknown fields of its `config` are
/// refused instead, because the run would be a different one.
fn unknown(scenario: &RawValue) -> Vec<String> {
    const TOP: [&str; 8] =
        ["name", "source", "config", "params", "tools", "outcomes", "exchanges", "final"];
    let mut found = Vec::new();
    let mut look = |path: &str, object: &RawValue, known: &[&str]| {
        let names = members(object)
            .into_iter()
            .map(|(name, _)| name)
            .filter(|name| !known.contains(&name.as_str()));
        found.extend(names.map(|name| format!("{path}{name}")));
    };
    look("", scenario, &TOP);
    for (name, value) in members(scenario) {
        match name.as_str() {
            "final" => look(
                "final.",
                value,
                &["stop_reason", "text", "tool_use", "api_error", "status", "error", "outcome"],
            ),
            "outcomes" => members(value)
                .iter()
                .for_each(|(_, outcome)| look("outcomes.*.", outcome, &["content", "is_error"])),
            "exchanges" => {
                let exchanges: Vec<&RawValue> =
                    serde_json::from_str(value.get()).unwrap_or_default();
                exchanges.iter().for_each(|exchange| {
                    look("exchanges[].", exchange, &["request", "status", "headers", "body"])
                });
            }
            _ => {}
        }
    }
    found.sort();
    found.dedup();
    found
}

fn message_parts(
    stop_reason: Option<&str>,
    text: &str,
    tool_use: Json,
) -> Vec<(&'static str, Json)> {
    let stop_reason = stop_reason.map_or(Json::Null, |reason| Json::String(reason.to_owned()));
    vec![
        ("stop_reason", stop_reason),
        ("text", Json::String(text.to_owned())),
        ("tool_use", tool_use),
    ]
}

fn members(object: &RawValue) -> Vec<(String, &RawValue)> {
    crate::json::members(object).unwrap_or_default()
}

/// Returns the scenario files that `paths` name, in order: files, and for a directory all `*.json`
/// files in it.
///
/// # Errors
/// Returns the reason if a directory cannot be read.
pub fn files(paths: &[PathBuf]) -> Result<Vec<PathBuf>, String> {
    let mut files = Vec::new();
    for path in paths {
        if !path.is_dir() {
            files.push(path.clone());
            continue;
        }
        let entries =
            std::fs::read_dir(path).map_err(|error| format!("{}: {error}", path.display()))?;
        let mut inside: Vec<PathBuf> =
            entries.filter_map(|entry| Some(entry.ok()?.path())).collect();
        inside.retain(|file| file.extension().is_some_and(|extension| extension == "json"));
        inside.sort();
        files.extend(inside);
    }
    Ok(files)
}

/// The tools of a scenario. They return the results in the scenario, whatever their input. A tool
/// without a schema is only declared.
#[derive(Clone, Debug)]
pub struct ScenarioTools {
    tools: Vec<ScenarioTool>,
    /// The content and whether it is an error, by the id of the call.
    outcomes: HashMap<String, (String, bool)>,
}

#[derive(Clone, Debug)]
struct ScenarioTool {
    name: String,
    json: String,
    runnable: bool,
    unlisted: bool,
}

impl ScenarioTools {
    /// Returns the scenario's result for this call: the content as it is sent, and whether it is an
    /// error.
    pub fn outcome(&self, id: &str) -> Option<(&str, bool)> {
        self.outcomes.get(id).map(|(content, is_error)| (content.as_str(), *is_error))
    }

    /// Returns whether this tool is only declared.
    pub fn is_declared(&self, name: Text<'_>) -> bool {
        self.tools.iter().any(|tool| !tool.runnable && name == *tool.name)
    }

    fn definition_of(&self, i: usize) -> Option<Definition<'_>> {
        let ScenarioTool { name, json, runnable, unlisted } = self.tools.get(i)?;
        let definition = Definition::new(name, json);
        let definition = if *unlisted { definition.unlisted() } else { definition };
        Some(if *runnable { definition } else { definition.declared() })
    }

    fn answer(&self, call: &ToolCall<'_>, out: &mut Output<'_>) -> Result<(), ToolError> {
        let Some((content, is_error)) = self.outcome(&call.id.to_string()) else {
            return Ok(out.text("(the scenario has no outcome for this call)")?);
        };
        let text: Option<String> = serde_json::from_str(content).ok();
        match (text, is_error) {
            (Some(text), true) => Err(ToolError::text(text)),
            (None, true) => Err(ToolError::blocks(content)),
            (Some(text), false) => Ok(out.text(&text)?),
            (None, false) => Ok(out.content(content)?),
        }
    }
}

impl Toolbox for ScenarioTools {
    fn count(&self) -> usize {
        self.tools.len()
    }

    fn definition(&self, i: usize) -> Option<Definition<'_>> {
        self.definition_of(i)
    }

    async fn call(
        &self,
        _: usize,
        call: ToolCall<'_>,
        out: &mut Output<'_>,
    ) -> Result<(), ToolError> {
        self.answer(&call, out)
    }
}

impl Tools for ScenarioTools {
    fn count(&self) -> usize {
        self.tools.len()
    }

    fn definition(&self, i: usize) -> Option<Definition<'_>> {
        self.definition_of(i)
    }

    async fn call(
        &self,
        _: usize,
        call: ToolCall<'_>,
        out: &mut Output<'_>,
    ) -> Result<(), ToolError> {
        self.answer(&call, out)
    }
}
