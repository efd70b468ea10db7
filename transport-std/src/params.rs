//! The parameters of a request: all members of its body except the conversation and the tools, as
//! JSON, in order.

use serde::Serialize;
use serde::de::DeserializeOwned;
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

    /// Sets a parameter to any value that serde can serialize.
    ///
    /// # Errors
    /// Returns the errors of [`set_json`](Self::set_json), or an error if the value cannot be
    /// written as JSON.
    pub fn set(&mut self, name: &str, value: impl Serialize) -> Result<&mut Self, Error> {
        let text = serde_json::to_string(&value)
            .map_err(|error| Error::Invalid(format!("the parameter {name:?}: {error}")))?;
        self.set_json(name, text)
    }

    /// Returns the value of a parameter as a type: `params.value::<f64>("temperature")`, or `None`
    /// if the parameter is not set.
    ///
    /// # Errors
    /// Returns an error if the value is not one of this type.
    pub fn value<T: DeserializeOwned>(&self, name: &str) -> Result<Option<T>, Error> {
        self.json(name).map(serde_json::from_str).transpose().map_err(|error| {
            Error::Invalid(format!("the parameter {name:?} is of another type: {error}"))
        })
    }

    /// Sets `cache_control` of the whole request, or removes it: see
    /// [`RunBuilder::cache`](crate::RunBuilder::cache).
    pub fn cache(&mut self, is_on: bool) -> &mut Self {
        match is_on {
            true => self.put("cache_control", "{\"type\":\"ephemeral\"}".to_owned()),
            false => self.remove("cache_control"),
        }
    }

    /// Returns the names and JSON values, in order.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.list.iter().map(|(name, json)| (name.as_str(), json.as_str()))
    }
}
