//! The results of a turn, for the caller to inspect and edit.

use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

use super::gate::text_of;
use crate::json::Value;
use crate::run::{CallIndex, Run};

/// Returns the text of a `tool_result` block.
pub fn text_of_result(result: Option<Value<'_>>) -> String {
    text_of(result.and_then(|result| result.member("content")).unwrap_or_default())
}

/// Returns the message with the results of the turn as JSON, or `None` if there are no results.
pub fn results_message(run: &Run<'_>) -> Option<String> {
    let blocks: Vec<&str> = run.results().map(Value::as_json).collect();
    (!blocks.is_empty())
        .then(|| format!("{{\"role\":\"user\",\"content\":[{}]}}", blocks.join(",")))
}

/// Returns the answered call with this id.
pub fn answered_call(run: &Run<'_>, id: &str) -> Option<CallIndex> {
    run.calls().find(|&i| run.call(i).is_some_and(|call| call.is_answered && call.id == *id))
}

/// Defines `ToolResults` and `ToolResult` over a client's `Run`, whose field `machine` is the state
/// machine, and whose method `$note_front` tells the machine the front of the next request. The
/// client's `Error` must be in scope.
#[doc(hidden)]
#[macro_export]
macro_rules! __tool_results {
    ($note_front:ident) => {
        /// The results of a turn, before they are sent.
        #[derive(Debug)]
        pub struct ToolResults<'t> {
            run: &'t mut Run,
        }

        /// One result of a turn.
        #[derive(Debug)]
        pub struct ToolResult<'t> {
            run: &'t mut Run,
            call: $crate::run::CallIndex,
        }

        impl ToolResults<'_> {
            /// Returns the number of results.
            pub fn len(&self) -> usize {
                self.run.machine.results().count()
            }

            /// Returns whether there are no results.
            pub fn is_empty(&self) -> bool {
                self.len() == 0
            }

            /// Returns the `tool_result` blocks as they will be sent, in the model's order.
            pub fn iter(&self) -> impl Iterator<Item = $crate::message::ToolResultBlock<'_>> {
                self.run.machine.results().filter_map(|result| {
                    match $crate::message::Block::new(result) {
                        $crate::message::Block::ToolResult(result) => Some(result),
                        _ => None,
                    }
                })
            }

            /// Returns the text of the first result that is an error.
            pub fn first_error(&self) -> Option<String> {
                let failed = self.iter().find(|result| result.is_error())?;
                Some($crate::__private::client::text_of_result(Some(failed.value())))
            }

            /// Returns the message that will be sent, as JSON, or `None` if there are no results.
            pub fn message_json(&self) -> Option<String> {
                $crate::__private::client::results_message(&self.run.machine)
            }

            /// Returns the result of the call with this id, to edit it.
            pub fn of(&mut self, id: &str) -> Option<ToolResult<'_>> {
                let call = $crate::__private::client::answered_call(&self.run.machine, id)?;
                Some(ToolResult { run: self.run, call })
            }

            /// Calls `edit` with each result, in order.
            ///
            /// # Errors
            /// Returns the first error of `edit`.
            pub fn edit(
                &mut self,
                mut edit: impl FnMut(&mut ToolResult<'_>) -> Result<(), Error>,
            ) -> Result<(), Error> {
                for call in self.run.machine.calls() {
                    if self.run.machine.result(call).is_some() {
                        edit(&mut ToolResult { run: self.run, call })?;
                    }
                }
                Ok(())
            }
        }

        impl ToolResult<'_> {
            /// Returns the block as it will be sent, as JSON.
            pub fn json(&self) -> &str {
                let result = self.run.machine.result(self.call);
                result.map($crate::json::Value::as_json).unwrap_or_default()
            }

            /// Returns whether the tool failed.
            pub fn is_error(&self) -> bool {
                let result = self.run.machine.result(self.call);
                result
                    .and_then(|result| result.member("is_error"))
                    .and_then($crate::json::Value::as_bool)
                    .unwrap_or(false)
            }

            /// Returns the text of the content: that of a string, or of all text blocks, joined.
            pub fn text(&self) -> String {
                $crate::__private::client::text_of_result(self.run.machine.result(self.call))
            }

            /// Returns the call that this result answers.
            pub fn call(&self) -> Option<$crate::run::Call<'_>> {
                self.run.machine.call(self.call)
            }

            /// Sets `cache_control` to this JSON, such as `{"type":"ephemeral"}`. A request may
            /// have four cache breakpoints, in its tools, system prompt and messages together, and
            /// results stay in the conversation. To cache each turn, set the breakpoint of the
            /// request instead, which moves with the conversation:
            /// `.param_json("cache_control", …)`.
            ///
            /// # Errors
            /// Returns `Misuse` if `json` is not valid, or if it would be the fifth breakpoint of
            /// the request.
            pub fn cache_control(&mut self, json: &str) -> Result<&mut Self, Error> {
                self.add(&format!("\"cache_control\":{json}"))
            }

            /// Adds members in JSON to the block, such as `"cache_control":{"type":"ephemeral"}`.
            ///
            /// # Errors
            /// Returns `Misuse` if `members` are not valid members of a JSON object.
            pub fn add(&mut self, members: &str) -> Result<&mut Self, Error> {
                self.run.$note_front();
                self.run.machine.add_to_result(self.call, members)?;
                Ok(self)
            }

            /// Replaces the content with a text.
            ///
            /// # Errors
            /// Returns `Capacity` if the conversation is full; then the old content stays.
            pub fn replace(&mut self, text: &str) -> Result<&mut Self, Error> {
                let is_error = self.is_error();
                self.replace_with($crate::run::ToolAnswer::ok(text).with_error(is_error))
            }

            /// Cuts every text that is longer than `bytes`. Its beginning and end stay, with a note
            /// of how much was cut between them.
            ///
            /// # Errors
            /// Returns `Capacity` if the conversation is full; then the old content stays.
            pub fn cap(&mut self, bytes: usize) -> Result<&mut Self, Error> {
                self.run.machine.cap_result(self.call, bytes)?;
                Ok(self)
            }

            /// Replaces the content, and whether it is an error. Members that were added to the
            /// block are removed.
            ///
            /// # Errors
            /// Returns `Misuse` if the content is not valid, or `Capacity` if the conversation is
            /// full. Then the old content stays.
            pub fn replace_with(
                &mut self,
                answer: $crate::run::ToolAnswer<'_>,
            ) -> Result<&mut Self, Error> {
                self.run.$note_front();
                self.run.machine.replace_result(self.call, answer)?;
                Ok(self)
            }
        }
    };
}
