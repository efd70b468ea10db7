//! Settings of a connection, and the ways to connect.

use core::time::Duration;

use rmcp::service::ClientInitializeError;
use rmcp::transport::IntoTransport;
use rmcp::{RoleClient, ServiceExt};

use crate::error::{McpError, first_cause};
use crate::server::{CallSettings, Handler, McpServer};

/// The settings of a connection. See [`McpServer::builder`].
#[derive(Debug)]
pub struct McpBuilder {
    name: String,
    prefix: String,
    timeout: Duration,
    connect_timeout: Duration,
    requires_approval: bool,
    #[cfg(feature = "stdio")]
    environment: Vec<(std::ffi::OsString, std::ffi::OsString)>,
    #[cfg(feature = "stdio")]
    directory: Option<std::path::PathBuf>,
    #[cfg(feature = "http")]
    headers: Vec<(String, toolrunner_std::Secret)>,
}

/// What a child process inherits, as in the official MCP SDKs: no credential of this process.
#[cfg(feature = "stdio")]
const INHERITED: &[&str] = if cfg!(windows) {
    &[
        "APPDATA",
        "HOMEDRIVE",
        "HOMEPATH",
        "LOCALAPPDATA",
        "PATH",
        "PATHEXT",
        "PROCESSOR_ARCHITECTURE",
        "SYSTEMDRIVE",
        "SYSTEMROOT",
        "TEMP",
        "USERNAME",
        "USERPROFILE",
    ]
} else {
    &["HOME", "LOGNAME", "PATH", "SHELL", "TERM", "USER"]
};

impl McpBuilder {
    pub(crate) const fn new(name: String) -> Self {
        Self {
            name,
            prefix: String::new(),
            timeout: Duration::from_secs(60),
            connect_timeout: Duration::from_secs(30),
            requires_approval: false,
            #[cfg(feature = "stdio")]
            environment: Vec::new(),
            #[cfg(feature = "stdio")]
            directory: None,
            #[cfg(feature = "http")]
            headers: Vec::new(),
        }
    }

    /// Puts a text before the name of every tool, so that the tools of two servers stay apart.
    ///
    /// A name that the API refuses with its prefix (it allows 1 to 128 of `a-z`, `A-Z`, `0-9`, `_`
    /// and `-`) is mapped: every other character becomes `_`, and a hash of the name follows. The
    /// same name always becomes the same.
    #[must_use]
    pub fn prefix(mut self, prefix: impl Into<String>) -> Self {
        self.prefix = prefix.into();
        self
    }

    /// Sets how long a call and a list of tools may take. Default: 60 s.
    #[must_use]
    pub const fn timeout(mut self, limit: Duration) -> Self {
        self.timeout = limit;
        self
    }

    /// Sets how long the start of the server and its first answer may take. Default: 30 s.
    #[must_use]
    pub const fn connect_timeout(mut self, limit: Duration) -> Self {
        self.connect_timeout = limit;
        self
    }

    /// Marks every tool as one whose calls a person must approve. A server's own statements about
    /// what its tools do are not used, because they cannot be trusted.
    #[must_use]
    pub const fn requires_approval(mut self) -> Self {
        self.requires_approval = true;
        self
    }

    /// Sets a variable of the child process's environment. It inherits only `HOME`, `LOGNAME`,
    /// `PATH`, `SHELL`, `TERM` and `USER` (on Windows what a program needs to start), as with the
    /// official MCP SDKs.
    #[cfg(feature = "stdio")]
    #[must_use]
    pub fn env(
        mut self,
        name: impl Into<std::ffi::OsString>,
        value: impl Into<std::ffi::OsString>,
    ) -> Self {
        self.environment.push((name.into(), value.into()));
        self
    }

    /// Sets the directory of the child process. Default: that of this process.
    #[cfg(feature = "stdio")]
    #[must_use]
    pub fn directory(mut self, directory: impl Into<std::path::PathBuf>) -> Self {
        self.directory = Some(directory.into());
        self
    }

    /// Adds a header to every HTTP request. Its value does not appear in logs.
    #[cfg(feature = "http")]
    #[must_use]
    pub fn header(
        mut self,
        name: impl Into<String>,
        value: impl Into<toolrunner_std::Secret>,
    ) -> Self {
        self.headers.push((name.into(), value.into()));
        self
    }

    /// Sends `Authorization: Bearer` with this token with every HTTP request.
    #[cfg(feature = "http")]
    #[must_use]
    pub fn bearer(self, token: &str) -> Self {
        self.header("authorization", format!("Bearer {token}"))
    }

    /// Starts a program and connects over its standard input and output. Its standard error is that
    /// of this process.
    ///
    /// On Unix the program has a process group of its own.
    ///
    /// # Errors
    /// Returns an error if the program does not start or does not answer in time.
    #[cfg(feature = "stdio")]
    pub async fn stdio<A: AsRef<std::ffi::OsStr>>(
        self,
        program: impl AsRef<std::ffi::OsStr>,
        arguments: impl IntoIterator<Item = A>,
    ) -> Result<McpServer, McpError> {
        use process_wrap::tokio::{CommandWrap, KillOnDrop};
        let mut command = tokio::process::Command::new(program);
        command.args(arguments).env_clear();
        for name in INHERITED {
            if let Some(value) = std::env::var_os(name) {
                command.env(name, value);
            }
        }
        command.envs(self.environment.iter().map(|(name, value)| (name, value)));
        if let Some(directory) = &self.directory {
            command.current_dir(directory);
        }
        let mut command = CommandWrap::from(command);
        command.wrap(KillOnDrop);
        #[cfg(unix)]
        command.wrap(process_wrap::tokio::ProcessGroup::leader());
        let process = rmcp::transport::TokioChildProcess::new(command).map_err(McpError::Start)?;
        self.transport(process).await
    }

    /// Connects to a server by streamable HTTP, at `https://…` or `http://…`.
    ///
    /// If the program has installed no default provider of cryptography for rustls, this installs
    /// ring.
    ///
    /// # Errors
    /// Returns an error if the URL or a header is invalid, or if the server does not answer in
    /// time.
    #[cfg(feature = "http")]
    pub async fn http(self, url: &str) -> Result<McpServer, McpError> {
        use rmcp::transport::StreamableHttpClientTransport;
        use rmcp::transport::streamable_http_client::StreamableHttpClientTransportConfig;
        if !url.starts_with("http://") && !url.starts_with("https://") {
            return Err(McpError::Setting(
                "the URL must begin with http:// or https://".to_owned(),
            ));
        }
        let mut headers = std::collections::HashMap::new();
        for (name, value) in &self.headers {
            let invalid = || McpError::Setting(format!("the header {name:?} is invalid"));
            let key: http::HeaderName = name.parse().map_err(|_| invalid())?;
            let mut value: http::HeaderValue = value.reveal().parse().map_err(|_| invalid())?;
            value.set_sensitive(true);
            headers.insert(key, value);
        }
        if rustls::crypto::CryptoProvider::get_default().is_none() {
            // Fails only if another thread was faster.
            let _installed = rustls::crypto::ring::default_provider().install_default();
        }
        let config = StreamableHttpClientTransportConfig::with_uri(url).custom_headers(headers);
        self.transport(StreamableHttpClientTransport::from_config(config)).await
    }

    /// Connects over a transport of rmcp: any reader and writer, or one of your own.
    ///
    /// # Errors
    /// Returns an error if the server does not answer in time, or violates the protocol.
    pub async fn transport<T, E, A>(self, transport: T) -> Result<McpServer, McpError>
    where
        T: IntoTransport<RoleClient, E, A>,
        E: core::error::Error + Send + Sync + 'static,
    {
        let handler = Handler::default();
        let changes = handler.changes();
        let limit = self.connect_timeout;
        let service = tokio::time::timeout(limit, handler.serve(transport))
            .await
            .map_err(|_| McpError::Timeout(limit))?
            .map_err(|error| match error {
                ClientInitializeError::JsonRpcError(error) => {
                    McpError::Protocol(format!("{} (code {})", error.message, error.code.0))
                }
                ClientInitializeError::TransportError { error, .. } => {
                    McpError::Closed(first_cause(&*error.error))
                }
                ClientInitializeError::ConnectionClosed(_) => {
                    McpError::Closed("it ended before it answered".to_owned())
                }
                other => McpError::Protocol(first_cause(&other)),
            })?;
        let settings = CallSettings {
            name: self.name,
            prefix: self.prefix,
            timeout: self.timeout,
            requires_approval: self.requires_approval,
        };
        Ok(McpServer::new(settings, changes, service))
    }
}
