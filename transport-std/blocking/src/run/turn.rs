//! A turn handed to the caller: the reply is complete, but its calls have not run.

use toolrunner_core::__private::client;
use toolrunner_core::run::ToolAnswer;

use super::Run;
use crate::error::Error;
use crate::params::Params;

/// One complete reply of the model. By default, the next `next_turn` runs its calls and sends their
/// results; the methods of this type change that. None of them can make a call run twice, or break
/// the conversation.
///
/// ```no_run
/// # fn f(mut run: toolrunner_blocking::Run) -> Result<(), toolrunner_blocking::Error> {
/// while let Some(mut turn) = run.next_turn()? {
///     println!("turn {}: {}", turn.number(), turn.text());
///     // Answers a call instead of its tool. `results` runs the others; their results can be
///     // edited before they are sent.
///     let guesses = turn.calls().filter(|call| call.name == *"guess");
///     let guesses: Vec<String> = guesses.map(|call| call.id.to_string()).collect();
///     for id in guesses {
///         turn.answer(&id, "42")?;
///     }
///     turn.results()?.edit(|result| result.cap(10_000).map(|_| ()))?;
///     if !turn.is_last() {
///         turn.append_user("Please be concise.")?;
///     }
/// }
/// # Ok(()) }
/// ```
#[derive(Debug)]
#[must_use = "dropping a turn is fine; the next `next_turn` continues it"]
pub struct Turn<'r> {
    run: &'r mut Run,
}

impl<'r> Turn<'r> {
    pub(super) const fn new(run: &'r mut Run) -> Self {
        Self { run }
    }

    client::turn!();

    /// Runs the turn's calls, once, and returns their results, to inspect or edit before they are
    /// sent. Empty if there are no calls, or if the stop reason or a limit prevents them from
    /// running.
    ///
    /// # Errors
    /// See [`Error`].
    pub fn results(&mut self) -> Result<ToolResults<'_>, Error> {
        self.run.run_calls()?;
        Ok(ToolResults { run: self.run })
    }

    /// Answers an open call with this text instead of running its tool, as [`Run::answer`] does.
    ///
    /// # Errors
    /// Returns `Misuse` if no open call has this id.
    pub fn answer(&mut self, id: &str, text: &str) -> Result<&mut Self, Error> {
        self.run.answer(id, text)?;
        Ok(self)
    }

    /// Answers an open call instead of running its tool, also with a failure, or with content in
    /// wire format, as [`Run::answer_with`] does.
    ///
    /// # Errors
    /// Returns `Misuse` if no open call has this id, or if the content is not valid.
    pub fn answer_with(&mut self, id: &str, answer: ToolAnswer<'_>) -> Result<&mut Self, Error> {
        self.run.answer_with(id, answer)?;
        Ok(self)
    }

    /// Appends a message in JSON after the results, as [`Run::append`] does.
    ///
    /// # Errors
    /// Returns `Misuse` if the API would refuse the message, or `Capacity` if the conversation is
    /// full. Then nothing was appended.
    pub fn append(&mut self, message: &str) -> Result<&mut Self, Error> {
        self.run.append(message)?;
        Ok(self)
    }

    /// Appends a user message after the results.
    ///
    /// # Errors
    /// Returns the errors of [`Run::append`].
    pub fn append_user(&mut self, text: &str) -> Result<&mut Self, Error> {
        self.append(&format!("{{\"role\":\"user\",\"content\":{}}}", crate::params::quoted(text)))
    }

    /// Returns the request's parameters, to change them for all later turns, as [`Run::params_mut`]
    /// does.
    pub const fn params_mut(&mut self) -> &mut Params {
        self.run.params_mut()
    }

    /// Drops this reply, with its results, and requests it again, as [`Run::ask_again`]
    /// does.
    ///
    /// # Errors
    /// Returns `Misuse` if there is no reply.
    pub fn ask_again(self) -> Result<(), Error> {
        self.run.ask_again().map(|_| ())
    }

    /// Replaces the conversation with a JSON array of messages, as [`Run::replace_history`] does.
    ///
    /// # Errors
    /// Returns `Misuse` if the API would refuse the messages, or `Capacity` if they do not fit.
    /// Then nothing changes.
    pub fn replace_history(self, messages: &str) -> Result<(), Error> {
        self.run.replace_history(messages).map(|_| ())
    }

    /// Ends the run where it is, as [`Run::stop`] does. Running calls are dropped.
    pub fn stop(self) {
        self.run.stop();
    }

    /// Returns the run.
    pub const fn run(&mut self) -> &mut Run {
        self.run
    }
}

client::tool_results!(note_front);
