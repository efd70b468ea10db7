//! Tools behind a pointer, so that `Run` is not generic over them.

use core::fmt;
use std::sync::Arc;

use toolrunner_core::__private::check_server_tools;
pub(crate) use toolrunner_core::__private::client::OwnTools;
use toolrunner_core::tool::{
    BoxTools, Definition, DynTools, Output, ToolCall, ToolError, Toolbox, Tools,
};

use crate::error::Error;

/// A run's tools, which the threads of its calls share.
#[derive(Clone)]
pub(crate) struct Toolset {
    pub(crate) tools: Arc<dyn DynTools>,
    /// Whether a request has a list of them even if it is empty.
    is_listed: bool,
}

impl Toolset {
    /// Checks tools that were added one after the other.
    ///
    /// # Errors
    /// `Misuse` if two have the same name, or if a name, schema or definition is invalid.
    pub(crate) fn new(tools: Vec<BoxTools>, is_listed: bool) -> Result<Self, Error> {
        check_server_tools(&tools)?;
        let is_listed = is_listed || tools.count() > 0;
        Ok(Self { tools: Arc::new(tools), is_listed })
    }

    pub(crate) fn none() -> Self {
        Self { tools: Arc::new(()), is_listed: false }
    }

    /// Returns the definitions that a request lists, or `None` if there are no tools.
    pub(crate) fn listed(&self) -> Option<impl Iterator<Item = &str>> {
        let definitions = (0..self.tools.dyn_count()).filter_map(|i| self.tools.dyn_definition(i));
        self.is_listed.then(|| definitions.filter_map(|tool| tool.listed_json()))
    }
}

impl Toolbox for Toolset {
    fn count(&self) -> usize {
        self.tools.dyn_count()
    }

    fn definition(&self, i: usize) -> Option<Definition<'_>> {
        self.tools.dyn_definition(i)
    }

    async fn call(
        &self,
        i: usize,
        call: ToolCall<'_>,
        out: &mut Output<'_>,
    ) -> Result<(), ToolError> {
        self.tools.dyn_call(i, call, out).await
    }
}

impl fmt::Debug for Toolset {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names =
            (0..self.tools.dyn_count()).filter_map(|i| Some(self.tools.dyn_definition(i)?.name));
        f.debug_set().entries(names).finish()
    }
}

/// A way to add any [`Tools`] to a list.
pub(crate) fn boxed(tools: impl Tools) -> BoxTools {
    Box::new(tools)
}
