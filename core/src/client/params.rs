//! The parameters of a request, and the headers that a caller may set.

use alloc::format;
use alloc::string::String;

use crate::json::check::check;
use crate::run::options::Options;
use crate::wire::MessageThread;

/// The names of the members that the run writes into every body. The caller's members must not have
/// these names.
const OWN_MEMBERS: [&str; 3] = ["messages", "stream", "tools"];

/// Headers that belong to the transport: they delimit a message or control the connection.
const NOT_SETTABLE: [&str; 10] = [
    "connection",
    "content-length",
    "expect",
    "host",
    "keep-alive",
    "proxy-connection",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
];

/// Returns whether a caller may set this header, whose name is in lower case.
pub fn is_settable(name: &str) -> bool {
    !NOT_SETTABLE.contains(&name)
}

/// The members of a request that count, from the reference of `/v1/messages/count_tokens`. The API
/// refuses the others.
const COUNTED: [&str; 14] = [
    "billing_policy",
    "cache_control",
    "compaction",
    "context_management",
    "mcp_servers",
    "messages",
    "model",
    "output_config",
    "output_format",
    "speed",
    "system",
    "thinking",
    "tool_choice",
    "tools",
];

/// Returns whether the server takes this member of a request when it counts the request's tokens.
pub fn is_counted(name: &str) -> bool {
    COUNTED.contains(&name)
}

/// Checks a parameter that the caller sets to JSON text.
///
/// # Errors
/// Returns what is wrong, for people.
pub fn check_param(name: &str, json: &str) -> Result<(), String> {
    if OWN_MEMBERS.contains(&name) {
        return Err(format!(
            "the run sets the parameter {name:?} itself: use the method of that name"
        ));
    }
    let checked = check(json.as_bytes())
        .map_err(|error| format!("the parameter {name:?} is not valid JSON {error}"))?;
    match checked.lone_surrogate {
        Some(at) => Err(format!("the parameter {name:?} has an unpaired surrogate at byte {at}")),
        None => Ok(()),
    }
}

/// Checks that the caller has set no parameter that the run's options set. `is_set` returns whether
/// a parameter is set.
///
/// # Errors
/// Returns what is wrong, for people.
pub fn check_beside_options(
    options: &Options,
    is_set: impl Fn(&str) -> bool,
) -> Result<(), &'static str> {
    if options.message_thread != MessageThread::Off && is_set("thread") {
        return Err(
            "the parameter \"thread\" is set beside a message thread: the run sets it itself",
        );
    }
    Ok(())
}

/// Defines methods in the `impl` of a client's `Params`, whose field `list` has names and JSON
/// values. The client's `Error` must be in scope.
#[doc(hidden)]
#[macro_export]
macro_rules! __params {
    () => {
        /// Returns the value of a parameter, as JSON text.
        pub fn json(&self, name: &str) -> Option<&str> {
            self.list.iter().find(|(known, _)| known == name).map(|(_, json)| json.as_str())
        }

        /// Sets a parameter to JSON text. A parameter that is already set keeps its position.
        ///
        /// # Errors
        /// Returns [`Error::Invalid`] if the text is not valid JSON, if a string in it contains an
        /// unpaired surrogate (which the API rejects), or if the run writes this parameter itself:
        /// `messages`, `tools`, `stream`. Then nothing changes.
        pub fn set_json(
            &mut self,
            name: &str,
            value: impl Into<String>,
        ) -> Result<&mut Self, Error> {
            let value = value.into();
            $crate::__private::client::check_param(name, &value).map_err(Error::Invalid)?;
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
            self.put("model", $crate::__private::quoted(model))
        }

        /// Sets `system` to a text.
        pub fn system(&mut self, text: &str) -> &mut Self {
            self.put("system", $crate::__private::quoted(text))
        }

        fn put(&mut self, name: &str, json: String) -> &mut Self {
            match self.list.iter_mut().find(|(known, _)| known == name) {
                Some((_, known)) => *known = json,
                None => self.list.push((name.to_owned(), json)),
            }
            self
        }
    };
}
