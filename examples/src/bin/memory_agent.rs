//! An agent with a memory, files and the tools of an MCP server.
//!
//! This example shows the tools that toolrunner brings along: the memory tool over a directory,
//! which outlives the conversation; the agent toolset, confined to a working directory, here
//! without its shell; and the tools of a server that speaks the Model Context Protocol. The server
//! is this program itself, started again with `--serve`; name another one to use that:
//! `memory_agent PROGRAM ARGUMENT...`.

use core::error::Error;
use std::env;
use std::process::ExitCode;

use rmcp::model::{
    CallToolRequestParams, CallToolResponse, CallToolResult, ContentBlock, ListToolsResult,
    PaginatedRequestParams, ServerCapabilities, ServerConfig, Tool,
};
use rmcp::service::RequestContext;
use rmcp::{ErrorData, RoleServer, ServerHandler, ServiceExt};
use serde_json::json;
use toolrunner_core::testing::{Script, ScriptedModel, ScriptedReply};
use toolrunner_mcp::McpServer;
use toolrunner_std::builtin::{AgentTool, AgentToolset, DirectoryMemory, MemoryTool};
use toolrunner_std::testing::ScriptedServer;
use toolrunner_std::{Client, SetupError, init_logging};

fn main() -> ExitCode {
    let serve = env::args().nth(1).is_some_and(|argument| argument == "--serve");
    toolrunner_examples::exit(if serve { serve_stock() } else { agent() })
}

#[tokio::main(flavor = "current_thread")]
async fn agent() -> Result<(), Box<dyn Error>> {
    init_logging();
    let mut arguments = env::args_os().skip(1);
    let (program, arguments) = match arguments.next() {
        Some(program) => (program.into(), arguments.collect()),
        None => (env::current_exe()?, vec!["--serve".into()]),
    };
    let server = McpServer::builder("stock").prefix("stock_").stdio(program, arguments).await?;
    let stock = server.tools().await?;
    for tool in stock.left_out() {
        println!("{tool}");
    }
    println!("Tools of the server: {}", stock.names().collect::<Vec<_>>().join(", "));

    let folder = tempfile::tempdir()?;
    let memory = DirectoryMemory::open(folder.path().join("memory"))?;
    let files = AgentToolset::open(folder.path())?.without(AgentTool::Bash);

    let client = match Client::from_env() {
        Err(SetupError::NoCredential) => ScriptedServer::new(ScriptedModel::new(script())).client(),
        client => client?,
    };
    let mut run = client
        .run("claude-opus-4-7")
        .max_tokens(1024)
        .tools((MemoryTool::new(memory), files, stock))
        .user("How many bolts are there? Write it to stock.txt, and remember where it is.");
    while let Some(mut turn) = run.next_turn().await? {
        let text = turn.text();
        if !text.is_empty() {
            println!("Model: {text}");
        }
        for call in turn.calls() {
            println!("  {}({})", call.name, call.input.as_json());
        }
        for result in turn.results().await?.iter() {
            println!("  -> {}", result.value().member("content").unwrap_or_default().as_json());
        }
    }
    server.close().await;

    for file in ["stock.txt", "memory/memories/stock.md"] {
        println!("{file}: {}", std::fs::read_to_string(folder.path().join(file))?.trim_end());
    }
    Ok(())
}

/// What the model does if the environment names no server. It tries to leave the directory, too.
fn script() -> Script {
    Script::new()
        .reply(
            ScriptedReply::new()
                .tool_use("t1", "memory", r#"{"command":"view","path":"/memories/stock.md"}"#)
                .tool_use("t2", "stock_count", r#"{"article":"bolts"}"#),
        )
        .reply(
            ScriptedReply::new()
                .tool_use("t3", "write", r#"{"file_path":"stock.txt","content":"bolts: 120\n"}"#)
                .tool_use("t4", "read", r#"{"file_path":"../../etc/passwd"}"#)
                .tool_use("t5", "memory", r#"{"command":"create","path":"/memories/stock.md","file_text":"The stock is in stock.txt.\n"}"#),
        )
        .reply(ScriptedReply::text("There are 120 bolts. I wrote that to stock.txt and will remember it."))
}

/// The MCP server: one tool.
struct Stock;

impl ServerHandler for Stock {
    fn get_info(&self) -> ServerConfig {
        ServerConfig::new(ServerCapabilities::builder().enable_tools().build())
    }

    async fn list_tools(
        &self,
        _: Option<PaginatedRequestParams>,
        _: RequestContext<RoleServer>,
    ) -> Result<ListToolsResult, ErrorData> {
        let schema = json!({"type": "object", "properties": {"article": {"type": "string"}}, "required": ["article"]});
        let schema = schema.as_object().cloned().unwrap_or_default();
        let count = Tool::new("count", "How many pieces of an article there are.", schema);
        Ok(ListToolsResult::with_all_items(vec![count]))
    }

    async fn call_tool(
        &self,
        request: CallToolRequestParams,
        _: RequestContext<RoleServer>,
    ) -> Result<CallToolResponse, ErrorData> {
        let article = request.arguments.as_ref().and_then(|input| input.get("article")?.as_str());
        let text = format!("{}: 120", article.unwrap_or("?"));
        Ok(CallToolResult::success(vec![ContentBlock::text(text)]).into())
    }
}

#[tokio::main(flavor = "current_thread")]
async fn serve_stock() -> Result<(), Box<dyn Error>> {
    Stock.serve(rmcp::transport::stdio()).await?.waiting().await?;
    Ok(())
}
