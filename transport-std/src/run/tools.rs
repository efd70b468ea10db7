//! Tools behind a pointer: a run holds whichever it was given.

use core::pin::Pin;
use std::collections::HashMap;
use std::sync::Arc;

use toolrunner_core::error::Misuse;
use toolrunner_core::json::{Kind, Text, Value};
use toolrunner_core::tool::{Definition, Output, ToolCall, ToolError, Tools, check_server_tools};

use crate::error::Error;

/// The object-safe twin of [`Tools`]; its method's name differs so that the two never get in each other's way.
pub(crate) trait DynTools: Send + Sync {
    fn dyn_call<'a>(
        &'a self,
        i: usize,
        call: ToolCall<'a>,
        out: &'a mut Output<'_>,
    ) -> Pin<Box<dyn Future<Output = Result<(), ToolError>> + Send + 'a>>;
}

impl<T: Tools> DynTools for T {
    fn dyn_call<'a>(
        &'a self,
        i: usize,
        call: ToolCall<'a>,
        out: &'a mut Output<'_>,
    ) -> Pin<Box<dyn Future<Output = Result<(), ToolError>> + Send + 'a>> {
        Box::pin(self.call(i, call, out))
    }
}

/// A run's tools: what they are, by name, and their definitions as the request has them.
#[derive(Clone)]
pub(crate) struct Toolset {
    pub(crate) tools: Arc<dyn DynTools>,
    by_name: Arc<HashMap<String, Entry>>,
    /// `[{…},{…}]`; nothing if there are no tools.
    pub(crate) json: Arc<str>,
}

/// How a tool runs.
#[derive(Clone, Debug)]
pub(crate) struct Entry {
    pub(crate) index: usize,
    pub(crate) runnable: bool,
    /// The serial group, if it is in one.
    pub(crate) serial: Option<Arc<str>>,
    pub(crate) blocking: bool,
    pub(crate) timeout: Option<core::time::Duration>,
}

impl Toolset {
    pub(crate) fn none() -> Self {
        Self { tools: Arc::new(()), by_name: Arc::default(), json: "".into() }
    }

    pub(crate) fn new<T: Tools>(tools: T) -> Result<Self, Misuse> {
        check_server_tools(&tools)?;
        let (mut by_name, mut json) = (HashMap::new(), String::new());
        for index in 0..tools.count() {
            let Some(tool) = tools.definition(index) else { continue };
            json.push(if index == 0 { '[' } else { ',' });
            json.push_str(tool.json);
            let Definition { name, runnable, serial, blocking, timeout, .. } = tool;
            let serial = serial.map(Arc::from);
            by_name.insert(name.to_owned(), Entry { index, runnable, serial, blocking, timeout });
        }
        if !json.is_empty() {
            json.push(']');
        }
        Ok(Self { tools: Arc::new(tools), by_name: Arc::new(by_name), json: json.into() })
    }

    /// Adds definitions, a JSON array, that are not ours: those of a name that is known are left out.
    pub(crate) fn declare(&mut self, definitions: &str) -> Result<(), Error> {
        let list = Value::first(definitions.as_bytes()).filter(|list| list.kind() == Kind::Array);
        let list = list.ok_or_else(|| Error::Invalid("the request body's tools are no array".to_owned()))?;
        let mut json = self.json.trim_end_matches(']').to_owned();
        let mut by_name = HashMap::clone(&self.by_name);
        for tool in list.elements() {
            let name = tool.member("name").and_then(Value::as_text).map(|name| name.to_string());
            if name.as_ref().is_some_and(|name| by_name.contains_key(name)) {
                continue;
            }
            json.push(if json.is_empty() { '[' } else { ',' });
            json.push_str(tool.as_json());
            if let Some(name) = name {
                by_name.insert(name, Entry { index: usize::MAX, runnable: false, serial: None, blocking: false, timeout: None });
            }
        }
        if json.is_empty() {
            json.push('[');
        }
        json.push(']');
        self.json = json.into();
        self.by_name = Arc::new(by_name);
        Ok(())
    }

    pub(crate) fn find(&self, name: Text<'_>) -> Option<Entry> {
        match name.as_plain() {
            Some(plain) => self.by_name.get(plain).cloned(),
            None => self.by_name.get(&name.to_string()).cloned(),
        }
    }
}

impl core::fmt::Debug for Toolset {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_set().entries(self.by_name.keys()).finish()
    }
}
