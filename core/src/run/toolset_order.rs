//! The members of a toolset act on one thing, such as a screen, so their calls run one after
//! another. After a call that failed, the rest do not run: the model planned them for another
//! state. The text of their answers is that of the official runners.

use super::calls::{blocks_in, is_type};
use super::{CallIndex, Run};
use crate::json::{Value, same};

impl Run<'_> {
    /// Returns whether an earlier call of the same toolset in this turn is running. Call `i` then
    /// starts only after it. Returns `false` for a call without a toolset.
    pub fn waits_for_member(&self, i: CallIndex) -> bool {
        self.earlier_members(i).any(|j| self.is_running(j))
    }

    /// Returns whether an earlier call of the same toolset in this turn failed. Call `i` is then
    /// answered with [`Notice::AfterFailure`](crate::tool::Notice::AfterFailure) instead of
    /// running. Returns `false` for a call without a toolset.
    pub fn is_after_failed_member(&self, i: CallIndex) -> bool {
        let failed = |result: Value<'_>| result.member("is_error").and_then(Value::as_bool);
        self.earlier_members(i).any(|j| self.result(j).and_then(failed) == Some(true))
    }

    /// Returns whether an earlier call of the reply under way belongs to the same toolset as call
    /// `i`. Such a call starts only after the reply is complete.
    pub fn has_earlier_member(&self, i: CallIndex) -> bool {
        let toolsets = || {
            blocks_in(self.reply_so_far())
                .filter(|block| is_type(*block, "tool_use"))
                .map(|call| call.member("toolset_name").and_then(Value::as_text))
        };
        let own = toolsets().nth(i.0).flatten();
        own.is_some_and(|own| toolsets().take(i.0).flatten().any(|other| same(own, other)))
    }

    /// Returns the calls of the turn before call `i` that belong to its toolset.
    fn earlier_members(&self, i: CallIndex) -> impl Iterator<Item = CallIndex> {
        let toolset_of = |j: CallIndex| self.call(j).and_then(|call| call.toolset);
        // Most turns have one call, and its members need not be read.
        let own = if i.0 == 0 { None } else { toolset_of(i) };
        let earlier = self.calls().take_while(move |&j| own.is_some() && j < i);
        earlier
            .filter(move |&j| own.zip(toolset_of(j)).is_some_and(|(own, other)| same(own, other)))
    }
}
