//! `start`: runs the server.

use core::net::{IpAddr, SocketAddr};
use core::time::Duration;
use std::path::PathBuf;

use clap::Args;
use tokio::net::TcpListener;

use super::telemetry::Telemetry;
use crate::agent::Agent;
use crate::auth::Tokens;
use crate::server::{Options, Server};
use crate::store::Kind;

/// A file in the directory where the server is started.
#[cfg(feature = "sqlite")]
const DEFAULT_STORE: &str = "sqlite:toolrunner.db";
#[cfg(not(feature = "sqlite"))]
const DEFAULT_STORE: &str = "memory:";

/// The options of the server.
#[derive(Debug, Args)]
pub(super) struct Start {
    /// Listen on this address. Any address other than a loopback address lets other machines use
    /// the server: then use --tokens, and put TLS in front of it.
    #[arg(long, default_value = "127.0.0.1")]
    host: IpAddr,
    /// Listen on this port; 0 selects a free one.
    #[arg(long, default_value_t = 8000)]
    port: u16,
    /// The maximum number of concurrent turns; 0 for no limit.
    #[arg(long, default_value_t = 0)]
    workers: usize,
    /// Delete a session this many seconds after its last turn; 0 for never.
    #[arg(long, value_name = "SECONDS", default_value = "0", value_parser = super::seconds)]
    ttl: Duration,
    /// End a turn as failed after this many seconds, not counting the time that it waits for
    /// answers; 0 for never.
    #[arg(long, value_name = "SECONDS", default_value = "0", value_parser = super::seconds)]
    timeout: Duration,
    /// The maximum number of sessions; 0 for no limit.
    #[arg(long, value_name = "N", default_value_t = 0)]
    max_sessions: u64,
    /// Let clients choose the ids of sessions, with PUT.
    #[arg(long)]
    allow_custom_ids: bool,
    /// Keep sessions in this store: sqlite:PATH, postgres://…, or memory: for sessions that are
    /// lost when the server stops.
    #[arg(long, value_name = "URL", default_value = DEFAULT_STORE, env = "TOOLRUNNER_STORE", hide_env_values = true)]
    store: String,
    /// Require bearer tokens. This file has one line `OWNER TOKEN` for each token.
    #[arg(long, value_name = "FILE")]
    tokens: Option<PathBuf>,
    /// Let webhooks go to private and loopback addresses.
    #[arg(long)]
    allow_private_webhooks: bool,
    /// Let pages of this origin use the server from a browser, such as https://example.org. May be
    /// repeated.
    #[arg(long, value_name = "ORIGIN")]
    cors: Vec<String>,
    /// Write the spans of runs, model requests and tool calls to a file in this directory, as JSON
    /// lines.
    #[cfg(feature = "otel")]
    #[arg(long, value_name = "DIR")]
    pub(super) traces: Option<PathBuf>,
    /// Include messages, tool inputs and tool results in spans, each up to this many bytes.
    #[arg(long, value_name = "BYTES")]
    trace_content: Option<usize>,
    /// Accept requests for this host name, in addition to localhost and addresses. May be repeated.
    /// By default a server on a loopback address without --tokens accepts no other host name, and
    /// any other server accepts every host name.
    #[arg(long, value_name = "NAME")]
    allowed_host: Vec<String>,
    /// Let turns continue for this many seconds after SIGTERM or Ctrl-C. Then another server, or
    /// the next start, continues them.
    #[arg(long, value_name = "SECONDS", default_value = "10", value_parser = super::seconds)]
    drain: Duration,
    /// What to log: error, warn, info, debug, or a filter such as toolrunner_serve=debug.
    #[arg(long, value_name = "FILTER", default_value = "warn", env = "TOOLRUNNER_LOG")]
    pub(super) log: String,
}

pub(super) async fn run(agent: Agent, kinds: &[Kind], start: Start) -> Result<(), String> {
    let telemetry = Telemetry::begin(&start)?;
    let served = serve(agent, kinds, start).await;
    let flushed = telemetry.end().await;
    served.and(flushed)
}

async fn serve(agent: Agent, kinds: &[Kind], start: Start) -> Result<(), String> {
    if let Some(check) = &agent.check {
        check()?;
    }
    if let Some(bad) = start.cors.iter().find(|origin| !origin.contains("://")) {
        return Err(format!("--cors {bad}: expected an origin such as https://example.com"));
    }
    let some = |duration: Duration| (!duration.is_zero()).then_some(duration);
    let tokens = start.tokens.as_deref().map(Tokens::from_file).transpose()?.unwrap_or_default();
    let is_closed =
        !start.allowed_host.is_empty() || (start.host.is_loopback() && tokens.is_empty());
    let options = Options {
        workers: (start.workers > 0).then_some(start.workers),
        ttl: some(start.ttl),
        timeout: some(start.timeout),
        max_sessions: (start.max_sessions > 0).then_some(start.max_sessions),
        allow_custom_ids: start.allow_custom_ids,
        allow_private_webhooks: start.allow_private_webhooks,
        trace_content: start.trace_content,
        tokens,
        origins: start.cors,
        hosts: is_closed.then_some(start.allowed_host),
    };
    let store = crate::store::open(&start.store, kinds).await.map_err(|error| error.to_string())?;
    let server = Server::new(agent, store, options);
    let address = SocketAddr::new(start.host, start.port);
    let listener =
        TcpListener::bind(address).await.map_err(|error| format!("{address}: {error}"))?;
    server.begin().await.map_err(|error| error.to_string())?;
    let address = listener.local_addr().map_err(|error| error.to_string())?;
    println!("Serving at http://{address}");
    let stopping = std::sync::Arc::clone(&server);
    let served = axum::serve(listener, crate::http::router(std::sync::Arc::clone(&server)))
        .with_graceful_shutdown(async move {
            stop_signal().await;
            // Streams end now, so that their connections close. Clients continue with another
            // server, or with this one after its restart.
            stopping.begin_drain();
        });
    let served = IntoFuture::into_future(served);
    let drained = server.drained();
    tokio::pin!(served);
    let ended = tokio::select! {
        ended = &mut served => ended,
        // An open connection of a client must not keep the server running.
        () = async { drained.await; server.end(start.drain).await; } => return Ok(()),
    };
    server.end(start.drain).await;
    ended.map_err(|error| error.to_string())
}

/// Waits until the process receives a signal to stop.
async fn stop_signal() {
    let interrupt = async {
        if tokio::signal::ctrl_c().await.is_err() {
            core::future::pending::<()>().await;
        }
    };
    #[cfg(unix)]
    let terminate = async {
        match tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate()) {
            Ok(mut signal) => {
                signal.recv().await;
            }
            Err(_) => core::future::pending().await,
        }
    };
    #[cfg(not(unix))]
    let terminate = core::future::pending::<()>();
    tokio::select! {
        () = interrupt => {}
        () = terminate => {}
    }
}
