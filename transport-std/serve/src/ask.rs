//! Questions of tools to the user.

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
    /// A question without options: the answer is free.
    pub fn new(question: impl Into<String>) -> Self {
        Self { question: question.into(), ..Self::default() }
    }

    /// A few words above the question.
    #[must_use]
    pub fn header(mut self, header: impl Into<String>) -> Self {
        self.header = header.into();
        self
    }

    /// Offers this answer.
    #[must_use]
    pub fn option(mut self, label: impl Into<String>) -> Self {
        self.options.push(Choice { label: label.into(), description: String::new() });
        self
    }

    /// Offers this answer, and says what it means.
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

/// What the user answered: by question, the label that was chosen, or the text that was written.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
pub struct Answers {
    answers: BTreeMap<String, Text>,
}

/// Of several labels a list.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(untagged)]
enum Text {
    One(String),
    Several(Vec<String>),
}

impl Answers {
    /// The answer to this question; several labels with commas between. `None` if it was not
    /// answered.
    pub fn get(&self, question: &str) -> Option<String> {
        Some(match self.answers.get(question)? {
            Text::One(text) => text.clone(),
            Text::Several(labels) => labels.join(", "),
        })
    }
}

/// Asks the user. The session waits as `interrupted` until somebody answers, and holds nothing
/// meanwhile.
///
/// Return the error at once, with `?`: the tool is called again from its beginning when the answer
/// is there, and then this function returns it. So ask before you do anything that must not happen
/// twice.
///
/// ```
/// use toolrunner_serve::{Question, ask};
/// use toolrunner_std::{ToolContext, ToolError, tool};
///
/// /// Books a table.
/// #[tool]
/// async fn book_table(context: &ToolContext<'_>, restaurant: String) -> Result<String, ToolError> {
///     let when = "When do you want to eat?";
///     let answers = ask(context, &[Question::new(when).option("at noon").option("in the evening")])?;
///     Ok(format!("{restaurant}: {}", answers.get(when).unwrap_or_default()))
/// }
/// ```
///
/// # Errors
/// The answer is not known yet, or it cannot be read, or the tool does not run in a session.
pub fn ask(context: &ToolContext<'_>, questions: &[Question]) -> Result<Answers, ToolError> {
    let json = serde_json::to_string(questions)?;
    Ok(serde_json::from_str(context.ask(&json)?)?)
}
