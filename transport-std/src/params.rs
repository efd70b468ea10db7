//! The parameters of a request: all members of its body except the conversation and the tools, as
//! JSON, in order.

use serde::Serialize;
use serde::de::DeserializeOwned;
use toolrunner_core::__private::OWN_MEMBERS;
pub(crate) use toolrunner_core::__private::quoted;

use crate::error::Error;

/// The members of a request's body, except `messages`, `tools` and `stream`. They keep the order in
/// which they were first set, so that the same parameters always produce the same bytes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Params {
    list: Vec<(String, String)>,
}

impl Params {
    /// Returns the value of a parameter, as JSON text.
    pub fn json(&self, name: &str) -> Option<&str> {
        self.list.iter().find(|(known, _)| known == name).map(|(_, json)| json.as_str())
    }

    /// Sets a parameter to JSON text. A parameter that is already set keeps its position.
    ///
    /// # Errors
    /// Returns an error if the text is not valid JSON, if a string in it contains an unpaired
    /// surrogate (which the API refuses), or if the loop writes this parameter itself: `messages`,
    /// `tools`, `stream`.
    pub fn set_json(&mut self, name: &str, value: impl Into<String>) -> Result<&mut Self, Error> {
        let value = value.into();
        if OWN_MEMBERS.contains(&name) {
            return Err(Error::Invalid(format!(
                "the run sets the parameter {name:?} itself: use the method of that name"
            )));
        }
        let checked = toolrunner_core::__private::check(value.as_bytes());
        let checked = checked.map_err(|error| {
            Error::Invalid(format!("the parameter {name:?} is not valid JSON {error}"))
        })?;
        if let Some(at) = checked.lone_surrogate {
            return Err(Error::Invalid(format!(
                "the parameter {name:?} has an unpaired surrogate at byte {at}"
            )));
        }
        match self.list.iter_mut().find(|(known, _)| known == name) {
            Some((_, known)) => *known = value,
            None => self.list.push((name.to_owned(), value)),
        }
        Ok(self)
    }

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

    /// Removes a parameter.
    pub fn remove(&mut self, name: &str) -> &mut Self {
        self.list.retain(|(known, _)| known != name);
        self
    }

    /// Sets `max_tokens`.
    pub fn max_tokens(&mut self, most: u32) -> &mut Self {
        self.put("max_tokens", most.to_string())
    }

    /// Sets `model`.
    pub fn model(&mut self, model: &str) -> &mut Self {
        self.put("model", quoted(model))
    }

    /// Sets `system` to a text.
    pub fn system(&mut self, text: &str) -> &mut Self {
        self.put("system", quoted(text))
    }

    /// Returns the names and JSON values, in order.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.list.iter().map(|(name, json)| (name.as_str(), json.as_str()))
    }

    fn put(&mut self, name: &str, json: String) -> &mut Self {
        match self.list.iter_mut().find(|(known, _)| known == name) {
            Some((_, known)) => *known = json,
            None => self.list.push((name.to_owned(), json)),
        }
        self
    }
}
