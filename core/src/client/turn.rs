//! What a turn of a client reports.

/// Defines methods in the `impl` of a client's `Turn`, whose field `run` is a reference to the
/// client's `Run`. That has the field `machine`, which is the state machine, and the method
/// `message`. The client's `Error` must be in scope.
#[doc(hidden)]
#[macro_export]
macro_rules! __turn {
    () => {
        /// Returns the reply: content, stop reason, usage, and every other field as received.
        ///
        /// # Errors
        /// Returns `Misuse` if the reply contained no message at all, which never happens with
        /// replies of the API.
        pub fn message(&self) -> Result<$crate::message::ReplyMessage, Error> {
            let none = $crate::error::Misuse::State("there is no reply");
            self.run.message().ok_or(Error::Misuse(none))
        }

        /// Returns the text of the reply: all its text blocks, joined.
        pub fn text(&self) -> String {
            self.run.message().map(|message| message.text()).unwrap_or_default()
        }

        /// Returns why the reply ended.
        pub const fn stop_reason(&self) -> Option<$crate::message::StopReason> {
            self.run.machine.stop_reason()
        }

        /// Returns whether the run ends with this turn unless a message is added, because the model
        /// needs no further calls. A limit may still end the run after another turn.
        pub const fn is_last(&self) -> bool {
            self.run.machine.outcome().is_some()
        }

        /// Returns the tokens of this turn.
        pub const fn usage(&self) -> $crate::message::Usage {
            self.run.machine.turn_usage()
        }

        /// Returns the number of the turn, from 1.
        pub const fn number(&self) -> u32 {
            self.run.machine.turns()
        }

        /// Returns the model's calls, in its order.
        pub fn calls(&self) -> impl Iterator<Item = $crate::run::Call<'_>> {
            self.run.machine.calls().filter_map(|i| self.run.machine.call(i))
        }
    };
}
