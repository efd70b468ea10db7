//! Tools behind a pointer, so that `Run` is not generic over them.

use core::fmt;
use core::ops::Deref;
use std::sync::Arc;

use toolrunner_core::__private::check_server_tools;
use toolrunner_core::tool::{
    BoxTools, Definition, DynTools, Output, ToolCall, ToolError, Toolbox, Tools,
};

use crate::error::Error;

/// A run's tools, which the threads of its calls share.
#[derive(Clone)]
pub(crate) struct Toolset(pub(crate) Arc<dyn DynTools>);

impl Toolset {
    /// Checks tools that were added one after the other.
    ///
    /// # Errors
    /// `Misuse` if two have the same name, or if a name, schema or definition is invalid.
    pub(crate) fn new(tools: Vec<BoxTools>) -> Result<Self, Error> {
        check_server_tools(&tools)?;
        Ok(Self(Arc::new(tools)))
    }

    /// Returns the definitions that a request lists, or `None` if there are no tools.
    pub(crate) fn listed(&self) -> Option<impl Iterator<Item = &str>> {
        let count = self.0.dyn_count();
        let definitions = (0..count).filter_map(|i| self.0.dyn_definition(i));
        (count > 0).then(|| definitions.filter_map(|tool| tool.listed_json()))
    }
}

impl Toolbox for Toolset {
    fn count(&self) -> usize {
        self.0.dyn_count()
    }

    fn definition(&self, i: usize) -> Option<Definition<'_>> {
        self.0.dyn_definition(i)
    }

    async fn call(
        &self,
        i: usize,
        call: ToolCall<'_>,
        out: &mut Output<'_>,
    ) -> Result<(), ToolError> {
        self.0.dyn_call(i, call, out).await
    }
}

impl fmt::Debug for Toolset {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names = (0..self.0.dyn_count()).filter_map(|i| Some(self.0.dyn_definition(i)?.name));
        f.debug_set().entries(names).finish()
    }
}

/// A run's tools as the loop takes them.
#[derive(Debug)]
pub(crate) struct OwnTools(pub(crate) Toolset);

impl Deref for OwnTools {
    type Target = Toolset;

    fn deref(&self) -> &Toolset {
        &self.0
    }
}

/// A way to add any [`Tools`] to a list.
pub(crate) fn boxed(tools: impl Tools) -> BoxTools {
    Box::new(tools)
}
