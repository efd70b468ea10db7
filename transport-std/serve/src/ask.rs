//! Questions that a tool asks the user.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use toolrunner_std::{ToolContext, ToolError};

/// A question to the user, with the answers to choose from.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Question {
    question: String,
    header: String,
    multi_select: bool,
    options: Vec<Choice>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
struct Choice {
    label: String,
    description: String,
}

impl Question {
    /// Creates a question without options. The user answers with any text.
    pub fn new(question: impl Into<String>) -> Self {
        Self { question: question.into(), ..Self::default() }
    }

    /// Sets a short heading above the question.
    #[must_use]
    pub fn header(mut self, header: impl Into<String>) -> Self {
        self.header = header.into();
        self
    }

    /// Adds an answer to choose from.
    #[must_use]
    pub fn option(mut self, label: impl Into<String>) -> Self {
        self.options.push(Choice { label: label.into(), description: String::new() });
        self
    }

    /// Adds an answer to choose from, with a description of what it means.
    #[must_use]
    pub fn option_with(mut self, label: impl Into<String>, description: impl Into<String>) -> Self {
        self.options.push(Choice { label: label.into(), description: description.into() });
        self
    }

    /// Lets the user choose several answers.
    #[must_use]
    pub const fn multi_select(mut self) -> Self {
        self.multi_select = true;
        self
    }
}

/// The user's answers: for each question, the label that was chosen, or the text that was written.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
pub struct Answers {
    answers: BTreeMap<String, Text>,
}

/// An answer; a list if several labels were chosen.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(untagged)]
enum Text {
    One(String),
    Several(Vec<String>),
}

impl Answers {
    /// Returns the answer to this question; several labels are joined with commas. Returns `None`
    /// if the question was not answered.
    pub fn get(&self, question: &str) -> Option<String> {
        Some(match self.answers.get(question)? {
            Text::One(text) => text.clone(),
            Text::Several(labels) => labels.join(", "),
        })
    }
}

/// Asks the user. The session waits as `interrupted` until somebody answers; meanwhile it occupies
/// no worker and no server.
///
/// Return the error at once, with `?`. When the answer arrives, the tool is called again from its
/// beginning, and this function returns the answer. So ask before you do anything that must not
/// happen twice.
///
/// ```
/// use toolrunner_serve::{Question, ask};
/// use toolrunner_std::{ToolContext, ToolError, tool};
///
/// /// Books a table.
/// #[tool]
/// async fn book_table(
///     context: &ToolContext<'_>,
///     restaurant: String,
/// ) -> Result<String, ToolError> {
///     let when = "When do you want to eat?";
///     let question = Question::new(when).option("at noon").option("in the evening");
///     let answers = ask(context, &[question])?;
///     Ok(format!("{restaurant}: {}", answers.get(when).unwrap_or_default()))
/// }
/// ```
///
/// # Errors
/// Returns an error if the answer is not known yet, if it cannot be read, or if the tool does not
/// run in a session.
pub fn ask(context: &ToolContext<'_>, questions: &[Question]) -> Result<Answers, ToolError> {
    let json = serde_json::to_string(questions)?;
    Ok(serde_json::from_str(context.ask(&json)?)?)
}
