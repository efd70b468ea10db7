//! The parameters of a request: all members of its body except the conversation and the tools, as
//! JSON, in order.

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
    /// Returns [`Error::Invalid`] if the text is not valid JSON, if a string in it contains an
    /// unpaired surrogate (which the API refuses), or if the run writes this parameter itself:
    /// `messages`, `tools`, `stream`. Then nothing changes.
    pub fn set_json(&mut self, name: &str, value: impl Into<String>) -> Result<&mut Self, Error> {
        let value = value.into();
        if OWN_MEMBERS.contains(&name) {
            return Err(Error::Invalid(format!("the run sets the parameter {name:?} itself")));
        }
        let checked = toolrunner_core::__private::check(value.as_bytes()).map_err(|error| {
            Error::Invalid(format!("the parameter {name:?} is not valid JSON {error}"))
        })?;
        if let Some(at) = checked.lone_surrogate {
            return Err(Error::Invalid(format!(
                "the parameter {name:?} has an unpaired surrogate at byte {at}"
            )));
        }
        Ok(self.put(name, value))
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

    fn put(&mut self, name: &str, json: String) -> &mut Self {
        match self.list.iter_mut().find(|(known, _)| known == name) {
            Some((_, known)) => *known = json,
            None => self.list.push((name.to_owned(), json)),
        }
        self
    }
}
