//! Tools behind a pointer, so that `Run` is not generic over them.

use std::sync::Arc;
pub(crate) use toolrunner_core::__private::client::OwnTools;
use toolrunner_core::__private::{CallFuture, check_server_tools};

use toolrunner_core::error::{Misuse, REFUSED_SCHEMA};
use toolrunner_core::json::{Kind, Text, Value};
pub(crate) use toolrunner_core::tool::DynTools;
use toolrunner_core::tool::{
    DeclaredTool, Definition, Output, ToolCall, ToolError, Toolbox, Tools,
};

use crate::error::Error;

/// Two sets of tools that were added one after the other.
struct ToolsetPair {
    first: Toolset,
    second: Toolset,
}

impl ToolsetPair {
    fn of(&self, i: usize) -> (&Toolset, usize) {
        match i.checked_sub(self.first.count) {
            Some(i) => (&self.second, i),
            None => (&self.first, i),
        }
    }
}

// Not `Tools`: a call would be boxed once more for each set.
impl DynTools for ToolsetPair {
    fn dyn_count(&self) -> usize {
        self.first.count + self.second.count
    }

    fn dyn_definition(&self, i: usize) -> Option<Definition<'_>> {
        let (set, i) = self.of(i);
        set.tools.dyn_definition(i)
    }

    fn dyn_call<'a>(
        &'a self,
        i: usize,
        call: ToolCall<'a>,
        out: &'a mut Output<'_>,
    ) -> CallFuture<'a> {
        let (set, i) = self.of(i);
        set.tools.dyn_call(i, call, out)
    }
}

/// A run's tools. Definitions are not copied, because thousands of idle runs may share the same
/// tools.
#[derive(Clone)]
pub(crate) struct Toolset {
    pub(crate) tools: Arc<dyn DynTools>,
    pub(super) count: usize,
    /// The tool definitions of a request body that was passed as a whole: a JSON array.
    pub(super) declared: Option<Arc<str>>,
}

impl Toolbox for Toolset {
    fn count(&self) -> usize {
        self.count
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

    // The first tool of a name takes precedence, even if it is only declared.
    fn find(&self, name: Text<'_>) -> Option<usize> {
        let is_named = |tool: &Definition<'_>| tool.toolset.is_none() && name == *tool.name;
        let i =
            (0..self.count).find(|&i| self.definition(i).is_some_and(|tool| is_named(&tool)))?;
        self.definition(i).filter(|tool| tool.runnable).map(|_| i)
    }

    fn is_declared(&self, name: Text<'_>) -> bool {
        let is_plain = |tool: &Definition<'_>| tool.toolset.is_none() && name == *tool.name;
        let spelled = name.to_string();
        self.definitions().any(|tool| is_plain(&tool))
            || self.declared().filter_map(name_of).any(|known| known == *spelled)
    }
}

impl Toolset {
    pub(crate) fn none() -> Self {
        Self { tools: Arc::new(()), count: 0, declared: None }
    }

    pub(crate) fn new<T: Tools>(tools: T) -> Result<Self, Error> {
        check_server_tools(&tools).map_err(|misuse| told_by_name(misuse, &tools))?;
        Ok(Self { count: tools.count(), tools: Arc::new(tools), declared: None })
    }

    /// Returns these tools followed by others.
    pub(crate) fn with<T: Tools>(&self, tools: T) -> Result<Self, Error> {
        let more = Self::new(tools)?;
        if self.count == 0 {
            return Ok(Self { declared: self.declared.clone(), ..more });
        }
        for tool in more.definitions() {
            if self.definitions().any(|known| known.name == tool.name) {
                return Err(Error::Invalid(format!("two tools have the name {:?}", tool.name)));
            }
        }
        let (count, declared) = (self.count + more.count, self.declared.clone());
        Ok(Self {
            tools: Arc::new(ToolsetPair { first: self.clone(), second: more }),
            count,
            declared,
        })
    }

    /// Returns `first` followed by these tools, which may have the same names.
    pub(super) fn behind(&self, first: Self) -> Self {
        let (count, declared) = (first.count + self.count, self.declared.clone());
        Self { tools: Arc::new(ToolsetPair { first, second: self.clone() }), count, declared }
    }

    /// Returns whether there is a tool of this name that is not a member of a toolset.
    pub(super) fn knows(&self, name: &str) -> bool {
        self.definitions().any(|tool| tool.toolset.is_none() && tool.name == name)
            || self.declared().filter_map(name_of).any(|known| known == *name)
    }

    /// Returns whether an entry has no name: it contains tools that are not known here.
    pub(super) fn has_unnamed(&self) -> bool {
        self.definitions().any(|tool| tool.name.is_empty())
            || self.declared().any(|tool| name_of(tool).is_none())
    }

    /// Adds definitions, a JSON array, of tools that do not run here. Those whose name is already
    /// known are left out.
    pub(crate) fn declare(&mut self, definitions: &str) -> Result<(), Error> {
        let list = Value::first(definitions.as_bytes()).filter(|list| list.kind() == Kind::Array);
        let list = list.ok_or_else(|| {
            Error::Invalid("the request body's \"tools\" must be an array".to_owned())
        })?;
        let (mut json, mut names) = (String::from("["), Vec::<String>::new());
        for tool in list.elements() {
            if let Some(name) = name_of(tool) {
                if names.iter().any(|known| name == **known)
                    || self.definition_of(None, name).is_some()
                {
                    continue;
                }
                names.push(name.to_string());
            }
            if json.len() > 1 {
                json.push(',');
            }
            let declared = DeclaredTool::new(tool.as_json().to_owned())?;
            check_server_tools(&declared).map_err(|misuse| told_by_name(misuse, &declared))?;
            json.push_str(declared.definition().json);
        }
        json.push(']');
        self.declared = Some(json.into());
        Ok(())
    }

    /// Returns the definitions that a request lists, or `None` if there are no tools and the
    /// caller's body had no list, not even an empty one.
    pub(crate) fn listed(&self) -> Option<impl Iterator<Item = &str>> {
        let own = self.definitions().filter_map(|tool| tool.listed_json());
        let is_any = self.definitions().any(|tool| !tool.is_unlisted);
        (is_any || self.declared.is_some()).then(|| own.chain(self.declared().map(Value::as_json)))
    }

    /// Returns the definition of this tool, if it is one of `tools`.
    pub(crate) fn definition_of(
        &self,
        toolset: Option<Text<'_>>,
        name: Text<'_>,
    ) -> Option<Definition<'_>> {
        let is_in = |own: Option<&str>| match (toolset, own) {
            (Some(toolset), Some(own)) => toolset == *own,
            (toolset, own) => toolset.is_none() && own.is_none(),
        };
        self.definitions().find(|tool| name == *tool.name && is_in(tool.toolset))
    }

    pub(super) fn definitions(&self) -> impl Iterator<Item = Definition<'_>> {
        (0..self.count).filter_map(|i| self.tools.dyn_definition(i))
    }

    pub(super) fn declared(&self) -> impl Iterator<Item = Value<'_>> {
        let list = self.declared.as_deref().and_then(|list| Value::first(list.as_bytes()));
        list.unwrap_or_default().elements()
    }
}

/// Replaces tool indices in an error by names: the machine counts tools, but people know them by
/// name.
fn told_by_name(misuse: Misuse, tools: &impl Tools) -> Error {
    let name = |i| tools.definition(i).map_or("", |tool| tool.name);
    Error::Invalid(match misuse {
        Misuse::DuplicateTool(_, i) => format!("two tools have the name {:?}", name(i)),
        Misuse::ToolName(i) => {
            format!(
                "the tool name {:?} must match its definition and be 1 to 128 of a-z, A-Z, 0-9, _ and -",
                name(i)
            )
        }
        Misuse::ToolSchema(i) => {
            format!("the input schema of the tool {:?} {REFUSED_SCHEMA}", name(i))
        }
        Misuse::ToolDefinition(i) => format!(
            "the definition of the tool {:?} must be an object whose input_schema has type object",
            name(i)
        ),
        other => return other.into(),
    })
}

fn name_of(definition: Value<'_>) -> Option<Text<'_>> {
    definition.member("name").and_then(Value::as_text)
}

impl core::fmt::Debug for Toolset {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        let declared = self.declared().filter_map(name_of).map(|name| name.to_string());
        f.debug_set().entries(self.definitions().map(|tool| tool.name)).entries(declared).finish()
    }
}
