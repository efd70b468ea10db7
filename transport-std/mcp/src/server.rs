//! A connected server.

use core::fmt;
use core::sync::atomic::{AtomicBool, Ordering};
use core::time::Duration;
use std::borrow::Cow;
use std::sync::Arc;

use rmcp::model::{
    CallToolRequestParams, CallToolResult, ClientCapabilities, ClientConfig, Implementation,
};
use rmcp::service::{NotificationContext, Peer, RunningService};
use rmcp::{ClientHandler, RoleClient, ServiceError};
use tokio::sync::{Mutex, Notify};
use toolrunner_std::machine::tool::Input;
use toolrunner_std::{EscapedText, ToolError};

use crate::builder::McpBuilder;
use crate::error::{McpError, first_cause};
use crate::tools::McpTools;

/// How calls are made, as [`McpBuilder`] says.
#[derive(Debug)]
pub(crate) struct CallSettings {
    pub(crate) name: String,
    pub(crate) prefix: String,
    pub(crate) timeout: Duration,
    pub(crate) requires_approval: bool,
}

/// A server, as its tools see it.
pub(crate) struct Remote {
    pub(crate) settings: CallSettings,
    peer: Peer<RoleClient>,
    /// The connection, which ends with this.
    service: Mutex<RunningService<RoleClient, Handler>>,
}

/// A connected MCP server. See [the crate](crate).
///
/// When this value and all [`McpTools`] of it are dropped, the connection ends, and a child process
/// with it.
pub struct McpServer {
    remote: Arc<Remote>,
    changes: Arc<Changes>,
}

/// The announcements of a server.
#[derive(Debug, Default)]
pub(crate) struct Changes {
    pending: AtomicBool,
    announced: Notify,
}

/// Requests and notifications of the server: only the notification that its list of tools has
/// changed is handled.
#[derive(Clone, Debug, Default)]
pub(crate) struct Handler {
    changes: Arc<Changes>,
}

impl ClientHandler for Handler {
    fn get_info(&self) -> ClientConfig {
        let name = Implementation::new("toolrunner", env!("CARGO_PKG_VERSION"));
        ClientConfig::new(ClientCapabilities::default(), name)
    }

    async fn on_tool_list_changed(&self, _: NotificationContext<RoleClient>) {
        self.changes.pending.store(true, Ordering::Release);
        self.changes.announced.notify_waiters();
        self.changes.announced.notify_one();
    }
}

impl McpServer {
    /// Returns the settings of a connection. `name` is for logs and for the texts that the model
    /// receives.
    pub fn builder(name: impl Into<String>) -> McpBuilder {
        McpBuilder::new(name.into())
    }

    pub(crate) fn new(
        settings: CallSettings,
        changes: Arc<Changes>,
        service: RunningService<RoleClient, Handler>,
    ) -> Self {
        let (peer, service) = (service.peer().clone(), Mutex::new(service));
        Self { remote: Arc::new(Remote { settings, peer, service }), changes }
    }

    /// Asks the server for its tools.
    ///
    /// # Errors
    /// Returns an error if the server does not answer in time, has ended, or violates the protocol.
    pub async fn tools(&self) -> Result<McpTools, McpError> {
        let limit = self.remote.settings.timeout;
        // Taken before the list, so that a change while it is listed is not lost.
        self.take_change();
        let listed = tokio::time::timeout(limit, self.remote.peer.list_all_tools()).await;
        let listed = listed.map_err(|_| McpError::Timeout(limit))??;
        Ok(McpTools::new(&self.remote, listed))
    }

    /// Returns whether the server has announced another list of tools since the last call of this
    /// method or of [`tools`](Self::tools).
    ///
    /// Ask between two turns, and pass `tools()` to `Run::set_tools`: the next request then has the
    /// new list.
    pub fn take_change(&self) -> bool {
        self.changes.pending.swap(false, Ordering::AcqRel)
    }

    /// Waits until the server announces another list of tools. Returns at once if it has done so
    /// since the last [`take_change`](Self::take_change).
    pub async fn changed(&self) {
        loop {
            let announced = self.changes.announced.notified();
            if self.changes.pending.load(Ordering::Acquire) {
                return;
            }
            announced.await;
        }
    }

    /// Returns whether the connection has ended. A server over HTTP has no lasting connection, so
    /// that its end shows only in a call.
    pub fn is_closed(&self) -> bool {
        self.remote.peer.is_transport_closed()
    }

    /// Ends the connection. A child process is asked to stop, and killed if it does not within a
    /// few seconds. Calls that still run, and later ones, fail.
    pub async fn close(&self) {
        if let Err(error) = self.remote.service.lock().await.close().await {
            tracing::warn!(error = %EscapedText(error), "the connection to an MCP server did not end well");
        }
    }
}

impl Remote {
    /// Calls a tool. If the future is dropped, the server receives `notifications/cancelled`.
    pub(crate) async fn call(
        &self,
        tool: Cow<'static, str>,
        input: &Input,
    ) -> Result<CallToolResult, ToolError> {
        let name = &self.settings.name;
        let arguments = serde_json::from_str(input.json())?;
        let request = CallToolRequestParams::new(tool).with_arguments(arguments);
        let limit = self.settings.timeout;
        let Ok(answer) = tokio::time::timeout(limit, self.peer.call_tool(request)).await else {
            return Err(ToolError::format(format_args!(
                "Error: the MCP server '{name}' did not answer within {} s; the call was cancelled",
                limit.as_secs_f64()
            )));
        };
        answer.map_err(|error| match error {
            ServiceError::McpError(error) => {
                ToolError::format(format_args!("Error: {} (MCP error {})", error.message, error.code.0))
            }
            ServiceError::TransportClosed => ToolError::format(format_args!(
                "Error: the MCP server '{name}' has ended; its tools are not available"
            )),
            ServiceError::TransportSend(error) => {
                let cause = first_cause(&*error.error);
                tracing::warn!(server = name, error = %EscapedText(&cause), "an MCP server cannot be reached");
                ToolError::format(format_args!(
                    "Error: the MCP server '{name}' cannot be reached; its tools are not available now"
                ))
            }
            ServiceError::UnexpectedResponse => ToolError::format(format_args!(
                "Error: the MCP server '{name}' answered in a form that is not supported"
            )),
            other => {
                tracing::warn!(server = name, error = %EscapedText(first_cause(&other)), "a call of an MCP tool failed");
                ToolError::format(format_args!("Error: the call of the MCP server '{name}' failed"))
            }
        })
    }
}

impl Handler {
    pub(crate) fn changes(&self) -> Arc<Changes> {
        Arc::clone(&self.changes)
    }
}

impl fmt::Debug for McpServer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("McpServer")
            .field("settings", &self.remote.settings)
            .field("is_closed", &self.is_closed())
            .finish_non_exhaustive()
    }
}
