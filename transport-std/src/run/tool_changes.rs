//! Tools that are added and removed while a run continues, without a change of the `tools` of its
//! requests.

use std::sync::Arc;

use toolrunner_core::__private::CallFuture;
use toolrunner_core::tool::{Definition, Output, ToolCall, Tools};

use super::tools::{DynTools, OwnTools, Toolset};
use super::{Run, RunBuilder, Turn};
use crate::error::Error;

/// Tools that a message of the conversation defines, so that requests do not list them.
struct UnlistedTools(Toolset);

// Not `Tools`: a call would be boxed once more.
impl DynTools for UnlistedTools {
    fn dyn_count(&self) -> usize {
        self.0.tools.dyn_count()
    }

    fn dyn_definition(&self, i: usize) -> Option<Definition<'_>> {
        self.0.tools.dyn_definition(i).map(Definition::unlisted)
    }

    fn dyn_call<'a>(
        &'a self,
        i: usize,
        call: ToolCall<'a>,
        out: &'a mut Output<'_>,
    ) -> CallFuture<'a> {
        self.0.tools.dyn_call(i, call, out)
    }
}

/// Checks that these tools can be added to a conversation by messages.
fn addable(tools: impl Tools) -> Result<Toolset, Error> {
    let tools = Toolset::new(tools)?;
    if let Some(toolset) = tools.definitions().find_map(|tool| tool.toolset) {
        return Err(Error::Invalid(format!(
            "a member of the toolset {toolset:?} cannot be added to a run: only the request's tools can contain a toolset"
        )));
    }
    tools.check_strict()?;
    Ok(tools)
}

impl Run {
    /// Gives the model more tools from the next request on, and leaves the request's `tools` as
    /// they are, so that the prompt cache stays valid. The next request contains a system message
    /// with a `tool_addition` block for each tool.
    ///
    /// The tools run from now on, also for a call of the last reply that has not started. A tool
    /// replaces one of the same name. Calls that are running continue with the old one. A
    /// [`DeclaredTool`](crate::DeclaredTool), such as a server tool, can be added too.
    ///
    /// All changes since the last request are sent in one message, after the results of the last
    /// reply. While the last reply is a paused turn, which must be sent back as the last message,
    /// the changes wait. Changes after the last request of a run are sent only if the run
    /// continues.
    ///
    /// The API requires the beta `inline-tools-2026-09-15`. The caller sets it, as for every beta:
    ///
    /// ```no_run
    /// # use toolrunner_std::{Client, tool};
    /// /// Sends a mail.
    /// #[tool]
    /// fn send_mail(to: String, text: String) -> &'static str {
    ///     "sent"
    /// }
    ///
    /// # async fn f(client: Client) -> Result<(), toolrunner_std::Error> {
    /// let mut run = client
    ///     .run("claude-haiku-4-5")
    ///     .settings(|client| client.beta("inline-tools-2026-09-15"))
    ///     .user("Who should know about this?");
    /// while let Some(mut turn) = run.next_turn().await? {
    ///     if turn.number() == 1 {
    ///         turn.add_tools(send_mail)?;
    ///     }
    /// }
    /// # Ok(()) }
    /// ```
    ///
    /// A [snapshot](Self::snapshot) contains changes that wait, but no tools: give the added tools
    /// to [`RunBuilder::added_tools`] when the run is resumed.
    ///
    /// # Errors
    /// Returns an error if a name, schema or definition is invalid, if two of the added tools have
    /// the same name, or if a tool is a member of a toolset. Then nothing changes.
    pub fn add_tools(&mut self, tools: impl Tools) -> Result<&mut Self, Error> {
        let added = addable(tools)?;
        for tool in added.definitions() {
            self.machine.add_tool(tool.json)?;
        }
        self.turns.tools = OwnTools(self.turns.tools.preceded_by(added));
        Ok(self)
    }

    /// Removes tools from the model's reach from the next request on, by name, and leaves the
    /// request's `tools` as they are, so that the prompt cache stays valid. The next request
    /// contains a system message with a `tool_removal` block for each name, sent as for
    /// [`add_tools`](Self::add_tools) and with the same beta.
    ///
    /// From now on, a call of a removed tool does not run, also if it is in the last reply and has
    /// not started: the model receives an error result. Calls that are running continue.
    ///
    /// # Errors
    /// Returns an error if there is no tool of a name here. The API refuses each later request of
    /// such a conversation. To remove a tool that only a message of the conversation defines,
    /// [`append`](Self::append) the system message. Then nothing changes.
    pub fn remove_tools<'n>(
        &mut self,
        names: impl IntoIterator<Item = &'n str>,
    ) -> Result<&mut Self, Error> {
        let names: Vec<&str> = names.into_iter().collect();
        for &name in &names {
            if name.is_empty() || !self.turns.tools.knows(name) {
                return Err(Error::Invalid(format!(
                    "there is no tool {name:?} that could be removed"
                )));
            }
        }
        for name in names {
            self.machine.remove_tool(name)?;
        }
        Ok(self)
    }
}

impl Turn<'_> {
    /// Gives the model more tools, as [`Run::add_tools`] does. Calls of this turn that have not
    /// started find them.
    ///
    /// # Errors
    /// Returns the errors of [`Run::add_tools`].
    pub fn add_tools(&mut self, tools: impl Tools) -> Result<&mut Self, Error> {
        self.run().add_tools(tools)?;
        Ok(self)
    }

    /// Removes tools by name, as [`Run::remove_tools`] does. Calls of this turn that have not
    /// started do not run.
    ///
    /// # Errors
    /// Returns the errors of [`Run::remove_tools`].
    pub fn remove_tools<'n>(
        &mut self,
        names: impl IntoIterator<Item = &'n str>,
    ) -> Result<&mut Self, Error> {
        self.run().remove_tools(names)?;
        Ok(self)
    }
}

impl RunBuilder {
    /// Adds tools that a `tool_addition` block of the conversation defines: they run here, but the
    /// request's `tools` do not list them. Use this to continue a conversation whose tools were
    /// added by [`Run::add_tools`]. They take precedence over tools of the same name.
    pub fn added_tools(mut self, tools: impl Tools) -> Self {
        match addable(tools) {
            Ok(added) => self.toolset = self.toolset.preceded_by(added),
            Err(error) => self.note::<()>(Err(error)),
        }
        self
    }
}

impl Toolset {
    /// Returns these tools behind `added`, which requests do not list, and whose names take
    /// precedence.
    fn preceded_by(&self, added: Self) -> Self {
        let count = added.count;
        self.behind(Self { tools: Arc::new(UnlistedTools(added)), count, declared: None })
    }
}
