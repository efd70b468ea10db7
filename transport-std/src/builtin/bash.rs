//! The bash tool: `bash_20250124`.

use core::time::Duration;

use toolrunner_core::tool::{Definition, Output, ToolCall, ToolError, Tools};

use super::arguments::Arguments;

/// A place where shell commands run. [`Shell`](super::Shell) is one on this machine; implement it
/// for a container or for a remote machine.
pub trait Commands: Send + Sync + 'static {
    /// Runs a command and returns its output. `time` is the time limit that the call asks for.
    ///
    /// If the future is dropped, the command must not continue.
    ///
    /// # Errors
    /// Returns the error that the model receives, for example the output of a command that failed.
    fn run(
        &self,
        command: &str,
        time: Option<Duration>,
    ) -> impl Future<Output = Result<String, ToolError>> + Send;

    /// Starts over, without the state of the commands before.
    ///
    /// # Errors
    /// Returns the error that the model receives.
    fn restart(&self) -> impl Future<Output = Result<String, ToolError>> + Send;
}

impl<C: Commands> Commands for std::sync::Arc<C> {
    async fn run(&self, command: &str, time: Option<Duration>) -> Result<String, ToolError> {
        C::run(self, command, time).await
    }

    async fn restart(&self) -> Result<String, ToolError> {
        C::restart(self).await
    }
}

/// The name of the tool, and its serial group.
const NAME: &str = "bash";

/// The tool `bash_20250124` over [`Commands`].
///
/// ```no_run
/// use toolrunner_std::builtin::{BashTool, Shell};
/// let bash = BashTool::new(Shell::new("/workspace"));
/// # let _ = bash;
/// ```
/// The calls of one run are executed one after the other, in the model's order.
#[derive(Debug)]
pub struct BashTool<C> {
    commands: C,
}

impl<C: Commands> BashTool<C> {
    /// Creates the tool.
    pub const fn new(commands: C) -> Self {
        Self { commands }
    }
}

const SCHEMA: &str = r#"{"type":"object","properties":{"command":{"type":["string","null"]},"restart":{"type":["boolean","null"]}}}"#;

impl<C: Commands> Tools for BashTool<C> {
    fn count(&self) -> usize {
        1
    }

    fn definition(&self, i: usize) -> Option<Definition<'_>> {
        let json = r#"{"type":"bash_20250124","name":"bash"}"#;
        (i == 0).then(|| Definition::new(NAME, json).serial_in(NAME))
    }

    async fn call(
        &self,
        _: usize,
        call: ToolCall<'_>,
        out: &mut Output<'_>,
    ) -> Result<(), ToolError> {
        let arguments = Arguments::check(NAME, SCHEMA, call.input, out)?;
        run(&self.commands, arguments, None, out).await
    }
}

/// Runs a call of a bash tool.
pub(super) async fn run(
    commands: &impl Commands,
    arguments: Arguments<'_>,
    time: Option<Duration>,
    out: &mut Output<'_>,
) -> Result<(), ToolError> {
    let command = arguments.text("command");
    let text = if arguments.flag("restart") {
        commands.restart().await?
    } else if command.is_empty() {
        return Err(ToolError::new("bash: command is required"));
    } else {
        commands.run(&command, time).await?
    };
    Ok(out.text(&text)?)
}
