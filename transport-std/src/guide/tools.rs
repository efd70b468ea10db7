//! Tools: what they take, and how a run gets them.
//!
//! # What a tool takes
//!
//! Each argument of a function with [`#[tool]`](macro@crate::tool) is a
//! [`ToolInput`](trait@crate::ToolInput); the table there lists all types. A type of your own
//! derives it:
//!
//! ```
//! use std::collections::{HashMap, HashSet};
//! use std::time::Duration;
//!
//! use toolrunner_std::{ToolInput, tool};
//!
//! #[derive(ToolInput)]
//! #[tool(tag = "kind", rename_all = "snake_case")]
//! enum Source {
//!     Web { domain: Option<String> },
//!     Notes { topics: HashSet<String> },
//! }
//!
//! /// Search for documents.
//! #[tool]
//! async fn search(
//!     /// The words to look for
//!     #[tool(min_len = 1)]
//!     query: String,
//!     source: Source,
//!     weights: Option<HashMap<String, f64>>,
//!     #[tool(default_json = "\"PT10S\"", default = Duration::from_secs(10))]
//!     timeout: Duration,
//! ) -> Vec<String> {
//!     vec![]
//! }
//! ```
//! With the features `chrono`, `uuid` and `url`, types of these crates are arguments too, and the
//! model receives their format:
//!
#![cfg_attr(all(feature = "chrono", feature = "uuid", feature = "url"), doc = "```")]
#![cfg_attr(not(all(feature = "chrono", feature = "uuid", feature = "url")), doc = "```ignore")]
//! # use toolrunner_std::tool;
//! /// Save a page.
//! #[tool]
//! fn save(page: url::Url, project: uuid::Uuid, due: Option<chrono::NaiveDate>) -> String {
//!     format!("Saved {page} in {project}.")
//! }
//! ```
//! Any type that implements `FromStr` is a string for the model:
//!
//! ```
//! use std::net::SocketAddr;
//!
//! use toolrunner_std::{FromText, tool};
//!
//! /// Check whether hosts answer.
//! #[tool]
//! fn ping(#[tool(parse)] host: SocketAddr, more: Vec<FromText<SocketAddr>>) -> usize {
//!     more.len() + 1
//! }
//! ```
//! Any type that serde can read and schemars can describe is an argument as
//! [`Json`](crate::Json), with the feature `schemars`. This covers all of serde: `flatten` of maps
//! and enums, `with`, recursive types. An error names the path.
//!
#![cfg_attr(feature = "schemars", doc = "```")]
#![cfg_attr(not(feature = "schemars"), doc = "```ignore")]
//! use std::collections::BTreeMap;
//!
//! use toolrunner_std::{Json, tool};
//!
//! #[derive(serde::Deserialize, schemars::JsonSchema)]
//! struct Filter {
//!     any: Option<Vec<Filter>>,
//!     #[serde(flatten)]
//!     fields: BTreeMap<String, serde_json::Value>,
//! }
//!
//! /// Count the matching records.
//! #[tool]
//! fn count(filter: Json<Filter>) -> usize {
//!     filter.0.fields.len() + filter.0.any.unwrap_or_default().len()
//! }
//! ```
//! A tool from another SDK or an MCP server usually has one struct as its whole input. The option
//! `input` keeps that schema. With `#[tool(flatten)]` on an argument, a struct's members are beside
//! the other arguments.
//!
//! ```
//! use toolrunner_std::{ToolInput, tool};
//!
//! #[derive(ToolInput)]
//! struct Issue {
//!     title: String,
//!     #[tool(default = 3, min = 1, max = 5)]
//!     priority: u8,
//! }
//!
//! /// Create an issue.
//! #[tool(input)]
//! fn create_issue(issue: Issue) -> String {
//!     issue.title
//! }
//!
//! /// Create an issue in a project.
//! #[tool]
//! fn create_in(project: String, #[tool(flatten)] issue: Issue) -> String {
//!     format!("{project}: {}", issue.title)
//! }
//! ```
//! A type can be the tool itself. It is named after the type, its description is that of the type,
//! and `run` takes the input:
//!
//! ```
//! use toolrunner_std::{Client, Run, ToolError, ToolInput, tool};
//!
//! /// Get the current weather in a given location.
//! #[derive(ToolInput)]
//! struct GetWeather {
//!     /// The city and state, e.g. San Francisco, CA
//!     location: String,
//! }
//!
//! #[tool(timeout_ms = 5000)]
//! impl GetWeather {
//!     async fn run(self) -> Result<String, ToolError> {
//!         Ok(format!("Sunny in {}", self.location))
//!     }
//! }
//!
//! fn start(client: &Client) -> Run {
//!     client.run("claude-opus-4-7").tool(GetWeather::tool()).user("Weather in Paris?")
//! }
//! ```
//!
//! # What a tool returns
//!
//! Text, numbers, content blocks, any value that serde can serialize (the model receives it as
//! JSON), or a `Result` of one of these. The error can be any type that implements `Display`; the
//! model receives `Error: ` and its text. A [`ToolError`](crate::ToolError) is sent verbatim, as
//! text or as blocks. A tool that returns `()` sends `(no output)`.
//!
//! # What a tool knows about its call
//!
//! An argument `context: &ToolContext<'_>` is not part of the schema. It has the call's id, its
//! turn, its deadline, its cancellation, and the value that the run was given by
//! [`state`](crate::run::RunBuilder::state).
//!
//! ```
//! # #[cfg(feature = "testing")] {
//! # use toolrunner_std::machine::testing::{Script, ScriptedModel, ScriptedReply};
//! # use toolrunner_std::testing::ScriptedServer;
//! use toolrunner_std::{Client, Run, ToolContext, ToolError, tool};
//!
//! struct Tenant {
//!     name: String,
//! }
//!
//! /// Say who is asking.
//! #[tool]
//! async fn who(context: &ToolContext<'_>) -> Result<String, ToolError> {
//!     let tenant = context.state::<Tenant>().ok_or(ToolError::new("nobody is logged in"))?;
//!     Ok(format!("{}, call {}", tenant.name, context.id))
//! }
//!
//! fn start(client: &Client) -> Run {
//!     client
//!         .run("claude-opus-4-7")
//!         .tool(who)
//!         .state(Tenant { name: "Acme".to_owned() })
//!         .user("Who am I?")
//! }
//! # let call = ScriptedReply::new().tool_use("t1", "who", "{}");
//! # let script = Script::new().reply(call).reply(ScriptedReply::text("Acme."));
//! # let scripted = ScriptedServer::new(ScriptedModel::new(script));
//! # let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
//! # let mut run = start(&scripted.client());
//! # runtime.block_on(run.until_done()).unwrap();
//! # assert!(run.messages().contains("Acme, call t1"), "{}", run.messages());
//! # }
//! ```
//!
//! # Tools that somebody else runs
//!
//! A [`DeclaredTool`](crate::DeclaredTool) is a definition alone. The server runs its own tools,
//! and the caller answers the calls of all others with [`Run::answer`](crate::Run::answer): the run
//! ends with [`Outcome::NeedsAnswer`](crate::Outcome::NeedsAnswer) until then.
//!
//! ```
//! # use toolrunner_std::{Client, DeclaredTool, Error, Run};
//! fn start(client: &Client) -> Result<Run, Error> {
//!     let search = DeclaredTool::new(r#"{"type":"web_search_20250305","name":"web_search"}"#)?;
//!     Ok(client.run("claude-opus-4-7").tool(search).user("What is new in Rust?"))
//! }
//! ```
//!
//! # How a run gets its tools
//!
//! [`tool`](crate::run::RunBuilder::tool) adds one tool, [`tools`](crate::run::RunBuilder::tools)
//! several: a tuple of up to 16, an array, a `Vec`, an `Option`, an `Arc`, or a toolbox. All of
//! them can be combined and called repeatedly, so there is no limit on their number.
//!
//! ```
//! # use toolrunner_std::{Client, Decision, Run, tool};
//! /// Read a file.
//! #[tool]
//! fn read(path: String) -> String {
//!     path
//! }
//!
//! /// Delete a file.
//! #[tool(requires_approval)]
//! fn delete(path: String) {}
//!
//! fn start(client: &Client, is_admin: bool) -> Run {
//!     client
//!         .run("claude-opus-4-7")
//!         .tool(read)
//!         .tools(is_admin.then_some(delete))
//!         .gate(|call| async move {
//!             if call.requires_approval { Decision::Suspend } else { Decision::Allow }
//!         })
//!         .user("What is in notes.txt?")
//! }
//! ```
//! `requires_approval` is a mark for the gate. Without a gate, the tool runs:
//! [`approve`](crate::guide::approve).
//!
//! Tools of different types in one list are [`BoxTools`](crate::BoxTools), which is
//! `Box<dyn DynTools>`:
//!
//! ```
//! # use toolrunner_std::{BoxTools, tool};
//! # #[tool] fn read(path: String) -> String { path }
//! # #[tool] fn write(path: String, text: String) {}
//! # #[tool] fn delete(path: String) {}
//! fn tools_of(role: &str) -> Vec<BoxTools> {
//!     let mut tools: Vec<BoxTools> = vec![Box::new(read)];
//!     if role != "guest" {
//!         tools.push(Box::new(write));
//!     }
//!     if role == "admin" {
//!         tools.push(Box::new(delete));
//!     }
//!     tools
//! }
//! # assert_eq!(tools_of("user").len(), 2);
//! ```
//!
//! # Tools that exist only at run time
//!
//! A [`RawTool`](crate::RawTool) is a definition and a closure. Both are owned values, so tools can
//! come from a file, a database or another server. The input is checked against the schema before
//! the closure runs.
//!
//! ```
//! use serde_json::Value;
//! use toolrunner_std::{BoxTools, RawTool};
//!
//! #[derive(serde::Deserialize)]
//! struct Endpoint {
//!     name: String,
//!     description: String,
//!     input_schema: Value,
//!     url: String,
//! }
//!
//! fn from_file(json: &str) -> Result<Vec<BoxTools>, Box<dyn std::error::Error>> {
//!     let mut tools: Vec<BoxTools> = Vec::new(); for Endpoint { name, description, input_schema,
//!     url } in serde_json::from_str::<Vec<_>>(json)? {
//!         let tool = RawTool::new(&name, &description, &input_schema.to_string(), move |input| {
//!             let url = url.clone();
//!             // A real program would send the input there.
//!             async move { format!("POST {url} {}", input.json()) }
//!         })?;
//!         tools.push(Box::new(tool));
//!     }
//!     Ok(tools)
//! }
//! # let json = r#"[{"name":"ping","description":"","input_schema":{"type":"object"},
//! #     "url":"http://a"}]"#;
//! # assert_eq!(from_file(json).unwrap().len(), 1);
//! ```
//!
//! # A computer or a browser
//!
//! The API defines two toolsets with which a model controls a screen or a web browser. Implement
//! [`Computer`](crate::builtin::Computer) or [`Browser`](crate::builtin::Browser), with the
//! features `computer` and `browser`: one method for each member that you have, and their list. The
//! toolset checks every input, for example that a point is on the screen, turns off the other
//! members in its definition, and answers in the words of the official SDKs.
//!
#![cfg_attr(feature = "computer", doc = "```")]
#![cfg_attr(not(feature = "computer"), doc = "```ignore")]
//! use toolrunner_std::builtin::{
//!     Computer, ComputerMember, ComputerToolset, Display, Point, Screenshot,
//! };
//! use toolrunner_std::{Client, Run, ToolError};
//!
//! struct Kiosk;
//!
//! impl Computer for Kiosk {
//!     const MEMBERS: &'static [ComputerMember] =
//!         &[ComputerMember::Screenshot, ComputerMember::LeftClick];
//!
//!     fn display(&self) -> Display {
//!         Display { width: 1024, height: 768 }
//!     }
//!
//!     async fn screenshot(&self) -> Result<Screenshot, ToolError> {
//!         Ok(Screenshot::new(std::fs::read("screen.png")?))
//!     }
//!
//!     async fn left_click(
//!         &self,
//!         at: Option<Point>,
//!         _keys: Option<&str>,
//!     ) -> Result<Option<String>, ToolError> {
//!         println!("click at {at:?}");
//!         Ok(None)
//!     }
//! }
//!
//! fn start(client: &Client) -> Run {
//!     client.run("claude-opus-4-7").tools(ComputerToolset::new(Kiosk)).user("Start the tour.")
//! }
//! ```
//! The calls of a toolset run one after another, and after one that failed the rest of the turn's
//! calls do not run. A [gate](crate::guide::approve) sees each call before it runs; the definitions
//! of the members whose calls the SDKs require a person to confirm are marked `requires_approval`.
//! `examples/browser-agent` implements `Browser` for headless Chromium, and confines its pages.
//!
//! # Tools of one user or session
//!
//! A toolbox is a value, and its tools are its methods. Create one for each user or session and
//! share what they have in common by `Arc`; nothing needs to be static.
//!
//! ```
//! use std::sync::{Arc, Mutex};
//!
//! use toolrunner_std::{Client, Run, toolbox};
//!
//! struct Notes {
//!     user: String,
//!     all: Arc<Mutex<Vec<String>>>,
//! }
//!
//! #[toolbox]
//! impl Notes {
//!     /// Write a note.
//!     #[tool]
//!     fn note(&self, text: String) -> Result<usize, &'static str> {
//!         let mut all = self.all.lock().map_err(|_| "the notes are broken")?;
//!         all.push(format!("{}: {text}", self.user));
//!         Ok(all.len())
//!     }
//! }
//!
//! fn start(client: &Client, user: &str, all: &Arc<Mutex<Vec<String>>>) -> Run {
//!     let notes = Notes { user: user.to_owned(), all: all.clone() };
//!     client.run("claude-opus-4-7").tool(notes).user("Remember the milk.")
//! }
//! ```
//! [`Run::set_tools`](crate::Run::set_tools) replaces the tools of a run between two requests.
//!
//! # Calling a tool without a run
//!
//! With [`#[tool]`](macro@crate::tool), `name` denotes the tool, `name()` creates it, and its
//! method `run` calls the function:
//!
//! ```
//! # use toolrunner_std::tool;
//! /// Add two numbers together.
//! #[tool]
//! fn calculate_sum(a: i64, b: i64) -> i64 {
//!     a.saturating_add(b)
//! }
//!
//! assert_eq!(calculate_sum().run(15, 27), 42);
//! ```
//!
//! # When it does not compile
//!
//! Most errors of the compiler name the type and the remedy. These do not:
//!
//! | Error | Cause |
//! |---|---|
//! | `function is expected to take 0 arguments` where a tool is added | `#[tool]` is missing on the function |
//! | `closure is expected to take 0 arguments` where a tool is added | a closure has no name and no schema: use [`RawTool`](crate::RawTool) |
//! | `this function takes 0 arguments` where a tool is called | write `name().run(…)` |
//! | `expected fn item` in an array or a `vec!` | tools of different types: use a tuple, or `Vec<BoxTools>` |
//! | `no method named until_done found for struct RunBuilder` | the prompt is missing: [`user`](crate::RunBuilder::user), [`messages`](crate::RunBuilder::messages) or [`body`](crate::RunBuilder::body) turns the builder into a run |
//! | `Decision is not a future` at `gate` | the closure must be async, such as `async move { … }` in its body |
//! | `future cannot be sent between threads safely` at `#[tool]` | the function holds an `Rc`, a lock guard or the like across an `await` |
