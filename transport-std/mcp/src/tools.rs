//! The tools of a server.

use core::fmt;
use core::pin::Pin;
use std::sync::Arc;

use rmcp::model::Tool;
use toolrunner_std::machine::__private::{Async, check_server_tools};
use toolrunner_std::machine::tool::{
    Definition, Input, Output, RawTool, ToolCall, ToolError, Tools,
};

use crate::content::Contents;
use crate::name::api_name;
use crate::server::Remote;

type Answer = Pin<Box<dyn Future<Output = Result<Contents, ToolError>> + Send>>;
type Work = Box<dyn Fn(Input) -> Answer + Send + Sync>;
type McpTool = RawTool<Async<Work>>;

/// The tools of a server, for `RunBuilder::tools` and `Run::set_tools`. Clones share them.
#[derive(Clone)]
pub struct McpTools {
    tools: Arc<Vec<McpTool>>,
    left_out: Arc<[OmittedTool]>,
}

/// A tool of a server that a run cannot have.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct OmittedTool {
    /// The name that the server gave it.
    pub name: String,
    /// Why the API would refuse it.
    pub reason: String,
}

impl fmt::Display for OmittedTool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the MCP tool {:?} is left out: {}", self.name, self.reason)
    }
}

impl McpTools {
    pub(crate) fn new(remote: &Arc<Remote>, listed: Vec<Tool>) -> Self {
        let (mut tools, mut left_out) = (Vec::<McpTool>::new(), Vec::new());
        for tool in listed {
            let name = api_name(&remote.settings.prefix, &tool.name);
            let is_known = tools.iter().filter_map(definition).any(|known| known.name == name);
            let made = if is_known {
                Err("the server lists another tool of this name".to_owned())
            } else {
                create(remote, &name, &tool)
            };
            match made {
                Ok(tool) => tools.push(tool),
                Err(reason) => {
                    let one = OmittedTool { name: tool.name.into_owned(), reason };
                    tracing::warn!(server = remote.settings.name, tool = ?one.name, reason = one.reason, "a tool of an MCP server is left out");
                    left_out.push(one);
                }
            }
        }
        Self { tools: Arc::new(tools), left_out: left_out.into() }
    }

    /// Returns the tools of the server that are not among these, and why.
    pub fn left_out(&self) -> &[OmittedTool] {
        &self.left_out
    }

    /// Returns the names of the tools, as the model sees them.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.tools.iter().filter_map(definition).map(|tool| tool.name)
    }

    /// Keeps only the tools whose name, as the model sees it, passes `keep`.
    #[must_use]
    pub fn retain(self, keep: impl Fn(&str) -> bool) -> Self {
        let passes = |tool: &McpTool| definition(tool).is_some_and(|known| keep(known.name));
        let mut tools = Arc::into_inner(self.tools).unwrap_or_default();
        tools.retain(passes);
        Self { tools: Arc::new(tools), left_out: self.left_out }
    }
}

fn definition(tool: &McpTool) -> Option<Definition<'_>> {
    Tools::definition(tool, 0)
}

/// Creates a tool, or says why the API would refuse it.
fn create(remote: &Arc<Remote>, name: &str, tool: &Tool) -> Result<McpTool, String> {
    let mut json = serde_json::Map::new();
    json.insert("name".to_owned(), name.into());
    if let Some(description) = tool.description.as_deref().or(tool.title.as_deref()) {
        json.insert("description".to_owned(), description.into());
    }
    json.insert("input_schema".to_owned(), (*tool.input_schema).clone().into());
    let json = serde_json::Value::Object(json).to_string();
    let work: Work = {
        let (remote, name) = (Arc::clone(remote), tool.name.clone());
        Box::new(move |input| {
            let (remote, name) = (Arc::clone(&remote), name.clone());
            Box::pin(async move { remote.call(name, &input).await.map(Contents) })
        })
    };
    let mut made = RawTool::from_definition(json, work).map_err(|misuse| misuse.to_string())?;
    if remote.settings.requires_approval {
        made = made.requires_approval();
    }
    check_server_tools(&made).map_err(|misuse| reason(&misuse))?;
    Ok(made)
}

fn reason(misuse: &toolrunner_std::machine::error::Misuse) -> String {
    use toolrunner_std::machine::error::{Misuse, REFUSED_SCHEMA};
    match misuse {
        Misuse::ToolSchema(_) => format!("its input schema {REFUSED_SCHEMA}"),
        Misuse::ToolDefinition(_) => "its input schema must have the type object".to_owned(),
        other => other.to_string(),
    }
}

impl Tools for McpTools {
    fn count(&self) -> usize {
        Tools::count(&*self.tools)
    }

    fn definition(&self, i: usize) -> Option<Definition<'_>> {
        Tools::definition(&*self.tools, i)
    }

    // Without `async`, whose future the compiler cannot prove to be `Send` here.
    fn call(
        &self,
        i: usize,
        call: ToolCall<'_>,
        out: &mut Output<'_>,
    ) -> impl Future<Output = Result<(), ToolError>> + Send {
        Tools::call(&*self.tools, i, call, out)
    }
}

impl fmt::Debug for McpTools {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("McpTools")
            .field("tools", &self.names().collect::<Vec<_>>())
            .field("left_out", &self.left_out)
            .finish()
    }
}
