//! The command line: the server, and the commands that talk to a server.

mod chat;
mod client;
mod start;
mod telemetry;

use core::time::Duration;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Parser, Subcommand};
use serde_json::{Map, Value, json};

use crate::agent::Agent;
use crate::store::Kind;
use client::{Client, Problem};

/// Turns an agent into a program: `start` serves it, and the other commands talk to a server. See
/// `--help`.
///
/// The exit code is 0 for success, 1 if a request failed, 2 if the command line is invalid, and 3
/// if a turn that the command waited for failed.
///
/// ```no_run
/// fn main() -> std::process::ExitCode {
///     let agent = toolrunner_serve::Agent::from_env("claude-opus-4-7").system("Be brief.");
///     toolrunner_serve::main(agent)
/// }
/// ```
pub fn main(agent: Agent) -> ExitCode {
    main_with(agent, &[])
}

/// Turns an agent into a program, as [`main`] does, with more kinds of stores for `--store`.
pub fn main_with(agent: Agent, stores: &[Kind]) -> ExitCode {
    let Cli { command } = Cli::parse();
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            eprintln!("Error: {error}");
            return ExitCode::FAILURE;
        }
    };
    let done = runtime.block_on(async {
        match command {
            Command::Start(options) => {
                start::run(agent, stores, options).await.map_err(Problem::Other)
            }
            other => talk(other).await,
        }
    });
    // A blocking thread, such as one that reads the terminal, must not delay the exit.
    runtime.shutdown_background();
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(problem) => {
            eprintln!("Error: {problem}");
            problem.code()
        }
    }
}

#[derive(Debug, Parser)]
#[command(about = "Serve an agent, or use a server that serves one", version)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Serve the agent.
    Start(start::Start),
    /// Show whether a server is alive, and how busy it is.
    Health(Server),
    /// Create a session.
    Create {
        #[command(flatten)]
        server: Server,
        /// Attach this metadata to the session. May be repeated.
        #[arg(long, value_name = "KEY=VALUE", value_parser = pair)]
        metadata: Vec<(String, String)>,
    },
    /// Show a session.
    Get {
        #[command(flatten)]
        server: Server,
        /// The session's id.
        id: String,
        /// Wait until no turn runs.
        #[arg(long)]
        wait: bool,
        /// Wait at most this many seconds.
        #[arg(long, value_name = "SECONDS", requires = "wait")]
        timeout: Option<f64>,
    },
    /// List sessions, in order of creation.
    Sessions {
        #[command(flatten)]
        server: Server,
        /// Show only sessions with this status: idle, running, interrupted or error.
        #[arg(long)]
        status: Option<String>,
        /// Show only sessions with this metadata. May be repeated.
        #[arg(long, value_name = "KEY=VALUE", value_parser = pair)]
        metadata: Vec<(String, String)>,
    },
    /// Send a message to a session.
    Send {
        #[command(flatten)]
        server: Server,
        /// The session's id.
        id: String,
        /// The text of the message.
        message: String,
        /// The role of the message: user, system, assistant or tool.
        #[arg(long, default_value = "user")]
        role: String,
        /// Wait until the turn ends.
        #[arg(long)]
        wait: bool,
        /// Wait at most this many seconds.
        #[arg(long, value_name = "SECONDS", requires = "wait")]
        timeout: Option<f64>,
        /// Send a webhook to this URL when the turn ends.
        #[arg(long, value_name = "URL")]
        webhook_url: Option<String>,
        /// Send the webhook with this bearer token.
        #[arg(long, value_name = "TOKEN", requires = "webhook_url")]
        webhook_token: Option<String>,
        /// Sign the webhook with this secret: `whsec_` followed by base64.
        #[arg(long, value_name = "SECRET", requires = "webhook_url")]
        webhook_secret: Option<String>,
        /// Include all messages in the webhook.
        #[arg(long, requires = "webhook_url")]
        webhook_include_messages: bool,
        /// Send the message only once, even if the command is repeated with this key.
        #[arg(long, value_name = "KEY")]
        idempotency_key: Option<String>,
    },
    /// Show a session's messages.
    Messages {
        #[command(flatten)]
        server: Server,
        /// The session's id.
        id: String,
        /// Show the messages in the form that the model receives.
        #[arg(long)]
        anthropic: bool,
    },
    /// Show a session's events.
    Events {
        #[command(flatten)]
        server: Server,
        /// The session's id.
        id: String,
        /// Begin after the event with this number.
        #[arg(long, value_name = "SEQ", default_value_t = 0)]
        after: u64,
        /// Continue to show new events until stopped.
        #[arg(long)]
        follow: bool,
    },
    /// Chat with the agent.
    Chat {
        #[command(flatten)]
        server: Server,
        /// Send this message, show the answer, and exit.
        message: Option<String>,
        /// Continue this session.
        #[arg(long, value_name = "ID")]
        session: Option<String>,
    },
    /// Answer an interrupt.
    Resume {
        #[command(flatten)]
        server: Server,
        /// The session's id.
        id: String,
        /// The interrupt's id.
        interrupt: String,
        /// The answer as JSON.
        #[arg(required_unless_present_any = ["approve", "reject"])]
        value: Option<String>,
        /// Approve the call.
        #[arg(long, conflicts_with_all = ["value", "reject"])]
        approve: bool,
        /// Reject the call.
        #[arg(long, conflicts_with = "value")]
        reject: bool,
        /// Tell the model why the call is rejected.
        #[arg(long, requires = "reject")]
        reason: Option<String>,
    },
    /// Cancel the current turn of a session.
    Cancel {
        #[command(flatten)]
        server: Server,
        /// The session's id.
        id: String,
    },
    /// Delete a session.
    Delete {
        #[command(flatten)]
        server: Server,
        /// The session's id.
        id: String,
    },
}

/// The server to use, and how its answers are shown.
#[derive(Debug, Args)]
struct Server {
    /// The server's URL, such as http://127.0.0.1:8000
    url: String,
    /// Read the bearer token from the first line of this file. The default is the environment
    /// variable TOOLRUNNER_TOKEN.
    #[arg(long, value_name = "FILE")]
    token_file: Option<PathBuf>,
    /// Show the server's answer as JSON on one line.
    #[arg(long)]
    json: bool,
}

fn pair(text: &str) -> Result<(String, String), String> {
    let (key, value) = text.split_once('=').ok_or("must have the form KEY=VALUE")?;
    Ok((key.to_owned(), value.to_owned()))
}

impl Server {
    fn client(&self) -> Result<Client, Problem> {
        let token = match &self.token_file {
            Some(path) => {
                let text = std::fs::read_to_string(path)
                    .map_err(|error| Problem::Other(format!("{}: {error}", path.display())))?;
                Some(text.lines().next().unwrap_or_default().trim().to_owned())
            }
            None => std::env::var("TOOLRUNNER_TOKEN").ok(),
        };
        Client::new(&self.url, token.filter(|token| !token.is_empty()))
    }

    /// Prints JSON: indented and without nulls, unless `--json` is given.
    fn show(&self, value: &Value) {
        if self.json {
            println!("{value}");
        } else {
            println!("{:#}", without_nulls(value));
        }
    }
}

fn without_nulls(value: &Value) -> Value {
    match value {
        Value::Object(object) => {
            let members = object.iter().filter(|(_, value)| !value.is_null());
            members
                .map(|(name, value)| (name.clone(), without_nulls(value)))
                .collect::<Map<_, _>>()
                .into()
        }
        Value::Array(list) => list.iter().map(without_nulls).collect(),
        other => other.clone(),
    }
}

/// Returns an error if the turn that was waited for failed.
fn check_turn(session: &Value) -> Result<(), Problem> {
    if session["status"] == "error" {
        return Err(Problem::Turn(
            session["error"].as_str().unwrap_or("the turn failed").to_owned(),
        ));
    }
    Ok(())
}

async fn talk(command: Command) -> Result<(), Problem> {
    match command {
        Command::Start(_) => Ok(()),
        Command::Health(server) => {
            let health = server.client()?.get("/health").await?;
            if server.json {
                println!("{health}");
            } else {
                let most = health["max_workers"].as_u64().filter(|most| *most > 0);
                let most = most.map_or_else(|| "unlimited".to_owned(), |most| most.to_string());
                println!("Status: {}", health["status"].as_str().unwrap_or_default());
                println!("Workers: {}/{most}", health["running_workers"]);
                println!("Total sessions: {}", health["total_sessions"]);
            }
            Ok(())
        }
        Command::Create { server, metadata } => {
            let metadata: Map<String, Value> =
                metadata.into_iter().map(|(key, value)| (key, value.into())).collect();
            let session =
                server.client()?.post("/sessions", &json!({"metadata": metadata}), None).await?;
            server.show(&session);
            Ok(())
        }
        Command::Get { server, id, wait, timeout } => {
            let client = server.client()?;
            let session = if wait {
                client.settled(&id, timeout).await?
            } else {
                client.get(&format!("/sessions/{id}")).await?
            };
            server.show(&session);
            if wait { check_turn(&session) } else { Ok(()) }
        }
        Command::Sessions { server, status, metadata } => {
            let mut query = url::form_urlencoded::Serializer::new(String::new());
            query.append_pair("limit", "1000");
            if let Some(status) = status {
                query.append_pair("status", &status);
            }
            for (key, value) in metadata {
                query.append_pair(&format!("metadata.{key}"), &value);
            }
            let all = server.client()?.pages(format!("/sessions?{}", query.finish())).await?;
            server.show(&Value::from(all));
            Ok(())
        }
        Command::Send {
            server,
            id,
            message,
            role,
            wait,
            timeout,
            webhook_url,
            webhook_token,
            webhook_secret,
            webhook_include_messages,
            idempotency_key,
        } => {
            let client = server.client()?;
            let mut body = json!({"role": role, "content": message});
            if let Some(url) = webhook_url {
                body["webhook"] = json!({"url": url, "token": webhook_token, "secret": webhook_secret, "include_messages": webhook_include_messages});
            }
            let sent = client
                .post(&format!("/sessions/{id}/messages"), &body, idempotency_key.as_deref())
                .await?;
            if !wait {
                server.show(&sent);
                return Ok(());
            }
            let session = client.settled(&id, timeout).await?;
            server.show(&session);
            check_turn(&session)
        }
        Command::Messages { server, id, anthropic } => {
            let format = if anthropic { "?format=anthropic" } else { "" };
            let messages =
                server.client()?.get(&format!("/sessions/{id}/messages{format}")).await?;
            server.show(&messages);
            Ok(())
        }
        Command::Events { server, id, mut after, follow } => {
            let client = server.client()?;
            if follow {
                return client
                    .follow(&format!("/sessions/{id}/events?after={after}"), |_, data| {
                        println!("{data}")
                    })
                    .await;
            }
            loop {
                let page = client.get(&format!("/sessions/{id}/events?after={after}")).await?;
                page["data"].as_array().into_iter().flatten().for_each(|event| println!("{event}"));
                after = page["last_seq"].as_u64().unwrap_or(after);
                if page["has_more"] != true {
                    return Ok(());
                }
            }
        }
        Command::Chat { server, message, session } => {
            chat::run(&server.client()?, message, session, server.json).await
        }
        Command::Resume { server, id, interrupt, value, approve, reject: _, reason } => {
            let value = match value {
                Some(value) => serde_json::from_str(&value)
                    .map_err(|error| Problem::Other(format!("the answer is not JSON: {error}")))?,
                None => match reason {
                    Some(reason) => json!({"approved": approve, "reason": reason}),
                    None => json!({"approved": approve}),
                },
            };
            let body = json!({"interrupt_id": interrupt, "value": value});
            let state =
                server.client()?.post(&format!("/sessions/{id}/resume"), &body, None).await?;
            server.show(&state);
            Ok(())
        }
        Command::Cancel { server, id } => {
            let state = server
                .client()?
                .post(&format!("/sessions/{id}/cancel"), &Value::Null, None)
                .await?;
            server.show(&state);
            Ok(())
        }
        Command::Delete { server, id } => {
            server.client()?.delete(&format!("/sessions/{id}")).await?;
            if server.json {
                println!("{}", json!({"deleted": id}));
            } else {
                println!("Deleted session {id}");
            }
            Ok(())
        }
    }
}

/// Parses a time in seconds; 0 means none.
fn seconds(text: &str) -> Result<Duration, String> {
    let seconds: f64 = text.parse().map_err(|_| "must be a number of seconds".to_owned())?;
    Duration::try_from_secs_f64(seconds).map_err(|error| error.to_string())
}
