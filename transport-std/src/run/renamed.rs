//! Methods under their former names, for programs written before they were renamed.

use toolrunner_core::run::ToolAnswer;

use super::{Run, ToolResult, Turn};
use crate::error::Error;

/// Returns the answer of the former forms, whose last argument was whether the call failed.
const fn answer(content: &str, is_error: bool) -> ToolAnswer<'_> {
    ToolAnswer::ok_json(content.as_bytes()).with_error(is_error)
}

impl Run {
    #[doc(hidden)]
    #[deprecated(note = "renamed to `ask_again`")]
    pub fn retry(&mut self) -> Result<&mut Self, Error> {
        self.ask_again()
    }

    #[doc(hidden)]
    #[deprecated(note = "use `answer_with` and a `ToolAnswer`")]
    pub fn answer_json(
        &mut self,
        id: &str,
        content: &str,
        is_error: bool,
    ) -> Result<&mut Self, Error> {
        self.answer_with(id, answer(content, is_error))
    }

    #[doc(hidden)]
    #[deprecated(note = "use `replace_result_with` and a `ToolAnswer`")]
    pub fn replace_result_json(
        &mut self,
        id: &str,
        content: &str,
        is_error: bool,
    ) -> Result<&mut Self, Error> {
        self.replace_result_with(id, answer(content, is_error))
    }
}

impl Turn<'_> {
    #[doc(hidden)]
    #[deprecated(note = "renamed to `ask_again`")]
    pub fn retry(self) -> Result<(), Error> {
        self.ask_again()
    }

    #[doc(hidden)]
    #[deprecated(note = "use `answer_with` and a `ToolAnswer`")]
    pub fn answer_json(
        &mut self,
        id: &str,
        content: &str,
        is_error: bool,
    ) -> Result<&mut Self, Error> {
        self.answer_with(id, answer(content, is_error))
    }
}

impl ToolResult<'_> {
    #[doc(hidden)]
    #[deprecated(note = "use `replace_with` and a `ToolAnswer`")]
    pub fn replace_json(&mut self, content: &str, is_error: bool) -> Result<&mut Self, Error> {
        self.replace_with(answer(content, is_error))
    }
}
