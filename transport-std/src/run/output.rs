//! Structured output: the last reply as a value of a type.

use toolrunner_core::__private::structured;
use toolrunner_core::message::ReplyMessage;
use toolrunner_core::structured::StructuredResult;
use toolrunner_core::tool::ToolInput;

use super::{Run, RunBuilder, Turn};
use crate::edit::set;
use crate::error::Error;
use crate::params::Params;

const PARAM: &str = "output_config";

impl RunBuilder {
    /// Sets the type of the replies: the API enforces its schema. Each final reply can then be read
    /// with [`Turn::output`]. [`Run::output`] needs no such setting.
    ///
    /// A type that the API does not support as an output, such as a map, does not compile, or is
    /// reported when the run is first used if it is a [`Json`](crate::Json).
    pub fn output<T: for<'x> ToolInput<'x>>(mut self) -> Self {
        let set = set_format::<T>(self.params_mut());
        self.note(set);
        self
    }
}

impl Run {
    /// Drives the run until it is done, and reads its last reply as a value of this type. If the
    /// reply does not fit, the model is asked once more, with the reason.
    ///
    /// The schema is that of [`ToolInput`](trait@crate::ToolInput) (or of schemars, for
    /// [`Json<T>`](crate::Json)), in the strict form that the API enforces: all members are
    /// required, and keywords that the API does not support are part of the descriptions. It is
    /// sent as `output_config.format` with each request, so tools can be used before. A type that
    /// is not a struct, such as an enum or a `Vec`, is sent as the member `value` of an object.
    ///
    /// A refusal and a reply that was cut off are results of their own. The text of the last reply
    /// remains available: [`message`](Self::message).
    ///
    /// ```no_run
    /// # async fn f(client: toolrunner_std::Client) -> Result<(), toolrunner_std::Error> {
    /// use toolrunner_std::{StructuredResult, ToolInput};
    ///
    /// #[derive(ToolInput, Debug)]
    /// struct Invoice {
    ///     number: String,
    ///     /// In cents
    ///     total: u64,
    /// }
    ///
    /// let mut run = client.run("claude-opus-4-7").user("Invoice 7/2026 about 12 euros");
    /// match run.output::<Invoice>().await? {
    ///     StructuredResult::Value(invoice) => println!("{invoice:?}"),
    ///     StructuredResult::Mismatch(reason) => println!("no invoice: {reason}"),
    ///     other => println!("{other:?}"),
    /// }
    /// # Ok(()) }
    /// ```
    /// If the future is dropped, the next call continues the run. The parameter stays set until a
    /// call returns.
    ///
    /// # Errors
    /// Returns the errors of [`until_done`](Self::until_done), or an error if the API does not
    /// support the schema of a [`Json<T>`](crate::Json). Then nothing was sent.
    pub async fn output<T: for<'x> ToolInput<'x>>(&mut self) -> Result<StructuredResult<T>, Error> {
        let before = self.request.params.json(PARAM).map(str::to_owned);
        set_format::<T>(self.params_mut())?;
        let result = self.typed().await;
        match before {
            Some(json) => self.params_mut().set_json(PARAM, json)?,
            None => self.params_mut().remove(PARAM),
        };
        result
    }

    async fn typed<T: for<'x> ToolInput<'x>>(&mut self) -> Result<StructuredResult<T>, Error> {
        let finished = self.until_done().await?;
        let view = finished.message.as_ref().map(ReplyMessage::view);
        let first = structured::read_owned(finished.outcome, view);
        let StructuredResult::Mismatch(reason) = first else { return Ok(first) };
        self.append(structured::correction(&reason))?;
        let finished = self.until_done().await?;
        let view = finished.message.as_ref().map(ReplyMessage::view);
        Ok(structured::read_owned(finished.outcome, view))
    }
}

impl Turn<'_> {
    /// Reads this turn's reply as a value of the type that [`RunBuilder::output`] set. Unlike
    /// [`Run::output`], it does not ask again: [`append_user`](Self::append_user) does.
    ///
    /// A reply that calls tools is [`StructuredResult::Ended`].
    ///
    /// # Errors
    /// Returns the errors of [`message`](Self::message).
    pub fn output<T: for<'x> ToolInput<'x>>(&self) -> Result<StructuredResult<T>, Error> {
        let outcome = structured::outcome_of(self.stop_reason());
        if !self.is_last() {
            return Ok(StructuredResult::Ended(outcome));
        }
        let message = self.message()?;
        Ok(structured::read_owned(outcome, Some(message.view())))
    }
}

/// Sets `output_config.format`, and keeps the other members of `output_config`.
fn set_format<T: for<'x> ToolInput<'x>>(params: &mut Params) -> Result<(), Error> {
    let format = structured::format::<T>().map_err(|reason| Error::Invalid(reason.to_owned()))?;
    let json = set(params.json(PARAM).unwrap_or("{}"), "format", Some(&format));
    params.set_json(PARAM, json)?;
    Ok(())
}
