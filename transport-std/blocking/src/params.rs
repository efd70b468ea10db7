//! The parameters of a request: all members of its body except the conversation and the tools, as
//! JSON, in order.

pub(crate) use toolrunner_core::__private::quoted;

use crate::error::Error;

/// The members of a request's body, except `messages`, `tools` and `stream`. They keep the order in
/// which they were first set, so that the same parameters always produce the same bytes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Params {
    list: Vec<(String, String)>,
}

impl Params {
    toolrunner_core::__private::client::params!();

    /// Returns the parameters as members of a JSON object, without braces. `model` replaces the
    /// model.
    pub(crate) fn members(&self, model: Option<&str>) -> String {
        let model = model.map(quoted);
        let member = |(name, json): &(String, String)| {
            let json = model.as_deref().filter(|_| name == "model").unwrap_or(json);
            format!("{}:{json}", quoted(name))
        };
        self.list.iter().map(member).collect::<Vec<_>>().join(",")
    }
}
