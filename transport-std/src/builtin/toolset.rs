//! Toolsets that the API defines: their entry in `tools`, and the definitions of their members.

use core::fmt::Write;
use core::future::{Ready, ready};

use toolrunner_core::__private::invalid_input;
#[cfg(feature = "browser")]
use toolrunner_core::error::Misuse;
use toolrunner_core::json::Value;
use toolrunner_core::tool::{ContentBlock, Decoder, Definition, Output, ToolError, ToolInput};

use super::screen::Screenshot;

/// A member of a toolset.
pub(super) trait Member: Copy + PartialEq + Send + Sync + 'static {
    /// The `toolset_name` of a call.
    const TOOLSET: &'static str;
    /// The `type` of the entry in `tools`.
    const TYPE: &'static str;
    /// All members, in the order of the SDKs.
    const ALL: &'static [Self];

    fn name(self) -> &'static str;

    /// Returns an object with the name, which represents the definition of the member. The API
    /// knows the rest.
    fn json(self) -> &'static str;

    /// Returns whether the API offers the member unless the entry says otherwise.
    fn is_on_by_default(self) -> bool;

    /// Returns whether the SDKs require a person to confirm the calls.
    fn needs_approval(self) -> bool;
}

/// Defines the enumeration of a toolset's members.
macro_rules! members {
    (
        $(#[$attribute:meta])* $type:ident of $toolset:literal, $kind:literal;
        on: $($(#[$on_doc:meta])* $on:ident $on_name:literal)*;
        off: $($(#[$off_doc:meta])* $off:ident $off_name:literal)*;
        approved: $($approved:ident)*;
    ) => {
        $(#[$attribute])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        #[non_exhaustive]
        pub enum $type {
            $($(#[$on_doc])* $on,)*
            $($(#[$off_doc])* $off,)*
        }

        impl $type {
            /// All members.
            pub const ALL: &'static [Self] = &[$(Self::$on,)* $(Self::$off,)*];

            /// Returns the name that the model uses.
            pub const fn name(self) -> &'static str {
                match self {
                    $(Self::$on => $on_name,)*
                    $(Self::$off => $off_name,)*
                }
            }
        }

        impl $crate::builtin::toolset::Member for $type {
            const TOOLSET: &'static str = $toolset;
            const TYPE: &'static str = $kind;
            const ALL: &'static [Self] = Self::ALL;

            fn name(self) -> &'static str {
                self.name()
            }

            fn json(self) -> &'static str {
                match self {
                    $(Self::$on => concat!("{\"name\":\"", $on_name, "\"}"),)*
                    $(Self::$off => concat!("{\"name\":\"", $off_name, "\"}"),)*
                }
            }

            fn is_on_by_default(self) -> bool {
                match self {
                    $(Self::$on => true,)*
                    $(Self::$off => false,)*
                }
            }

            fn needs_approval(self) -> bool {
                matches!(self, $(Self::$approved)|*)
            }
        }
    };
}
pub(super) use members;

/// The entry of a toolset in `tools`, and which members it offers.
#[derive(Clone, Debug)]
pub(super) struct Entry<M: 'static> {
    /// The members that the implementation has.
    implemented: &'static [M],
    /// The members that the program turned on or off. The last setting applies.
    switched: Vec<(M, bool)>,
    is_cached: bool,
    is_deferred: bool,
    json: String,
}

impl<M: Member> Entry<M> {
    pub(super) fn new(implemented: &'static [M]) -> Self {
        let entry = Self {
            implemented,
            switched: Vec::new(),
            is_cached: false,
            is_deferred: false,
            json: String::new(),
        };
        entry.written()
    }

    #[cfg(feature = "browser")]
    pub(super) fn with(mut self, member: M) -> Result<Self, Misuse> {
        if !self.implemented.contains(&member) {
            return Err(Misuse::Setting("a toolset enables a member that is not implemented"));
        }
        self.switched.push((member, true));
        Ok(self.written())
    }

    pub(super) fn without(mut self, member: M) -> Self {
        self.switched.push((member, false));
        self.written()
    }

    pub(super) fn cached(mut self) -> Self {
        self.is_cached = true;
        self.written()
    }

    pub(super) fn deferred(mut self) -> Self {
        self.is_deferred = true;
        self.written()
    }

    fn switch(&self, member: M) -> Option<bool> {
        self.switched.iter().rev().find(|(known, _)| *known == member).map(|(_, is_on)| *is_on)
    }

    fn is_on(&self, member: M) -> bool {
        self.implemented.contains(&member)
            && self.switch(member).unwrap_or_else(|| member.is_on_by_default())
    }

    /// Writes the JSON. `configs` has only what differs from the API's defaults, and turns off
    /// every member that is not implemented, as in the SDKs.
    fn written(mut self) -> Self {
        let mut configs = String::new();
        for &member in M::ALL {
            let (is_on, is_deferred) = (self.is_on(member), self.is_deferred);
            let is_said = self.switch(member).is_some() || !self.implemented.contains(&member);
            let config = match (is_on, is_on && is_deferred) {
                (true, true) if is_said => r#"{"enabled":true,"defer_loading":true}"#,
                (true, true) => r#"{"defer_loading":true}"#,
                (true, false) if is_said => r#"{"enabled":true}"#,
                (false, _) if is_said => r#"{"enabled":false}"#,
                _ => continue,
            };
            let comma = if configs.is_empty() { "" } else { "," };
            let _fits = write!(configs, r#"{comma}"{}":{config}"#, member.name());
        }
        self.json = format!(r#"{{"type":"{}""#, M::TYPE);
        if !configs.is_empty() {
            let _fits = write!(self.json, r#","configs":{{{configs}}}"#);
        }
        if self.is_cached {
            self.json.push_str(r#","cache_control":{"type":"ephemeral"}"#);
        }
        self.json.push('}');
        self
    }

    /// Returns the number of definitions: the entry, and all members. Calls of members that are
    /// off are answered too.
    pub(super) const fn count() -> usize {
        M::ALL.len() + 1
    }

    pub(super) fn definition(&self, i: usize) -> Option<Definition<'_>> {
        let Some(i) = i.checked_sub(1) else {
            return Some(Definition::new("", &self.json).declared());
        };
        let member = *M::ALL.get(i)?;
        let definition = Definition::new(member.name(), member.json()).member_of(M::TOOLSET);
        Some(if member.needs_approval() { definition.requires_approval() } else { definition })
    }

    /// Returns the member at `i`, or the text with which the SDKs refuse a call of it.
    pub(super) fn member(&self, i: usize) -> Result<M, ToolError> {
        let Some(member) = i.checked_sub(1).and_then(|i| M::ALL.get(i)).copied() else {
            return Err(ToolError::new("Error: the toolset has no such member"));
        };
        if self.is_on(member) {
            Ok(member)
        } else if self.implemented.contains(&member) || self.switch(member).is_some() {
            Err(ToolError::format(format_args!(
                "The '{}' action is not permitted by this application's permissions and cannot be used in this session.",
                member.name()
            )))
        } else {
            Err(unavailable_error(member))
        }
    }
}

/// Defines the setters of a toolset that only change its entry.
macro_rules! entry_setters {
    ($member:ty) => {
        /// Turns a member off. If the model calls it nevertheless, it reads that the application does
        /// not permit it.
        #[must_use]
        pub fn without(mut self, member: $member) -> Self {
            self.entry = self.entry.without(member);
            self
        }

        /// Ends the cached part of the prompt after this entry, with
        /// `cache_control: {"type":"ephemeral"}`.
        #[must_use]
        pub fn cached(mut self) -> Self {
            self.entry = self.entry.cached();
            self
        }

        /// Sets `defer_loading` for all members: the model finds them by a tool search.
        #[must_use]
        pub fn deferred(mut self) -> Self {
            self.entry = self.entry.deferred();
            self
        }
    };
}
pub(super) use entry_setters;

fn unavailable_error<M: Member>(member: M) -> ToolError {
    ToolError::format(format_args!(
        "The {} toolset member '{}' is not available in this environment.",
        M::TOOLSET,
        member.name()
    ))
}

/// Returns what a member answers by default, in the words of the SDKs.
pub(super) fn unavailable<T>(member: impl Member) -> Ready<Result<T, ToolError>> {
    ready(Err(unavailable_error(member)))
}

/// Decodes the input of a member. If it does not fit, writes the reason to `out`.
pub(super) fn decode<'a, T: ToolInput<'a>>(
    name: &str,
    input: Value<'a>,
    scratch: &'a mut [u8],
    out: &mut Output<'_>,
) -> Result<T, ToolError> {
    if let Err(error) = T::SCHEMA.check(input) {
        return Err(invalid_input(name, &error, input, out));
    }
    T::decode(input, &mut Decoder::new(input, scratch))
        .map_err(|error| invalid_input(name, &error, input, out))
}

/// What a member answered.
pub(super) enum Answer {
    /// The toolset's text, and the line of the implementation.
    Acted(String, Option<String>),
    Image(Screenshot),
    Text(String),
    /// The browser's state is the whole answer, and which tab was opened.
    #[cfg(feature = "browser")]
    State(Option<String>),
}

/// Returns the answer of a member that acts.
pub(super) fn acted(text: impl Into<String>, line: Option<String>) -> Answer {
    Answer::Acted(text.into(), line)
}

impl Answer {
    /// Writes the answer of the member `name`, without the browser's state.
    pub(super) fn write_to(&self, name: &str, out: &mut Output<'_>) -> Result<(), ToolError> {
        match self {
            Self::Acted(text, line) => {
                out.block(ContentBlock::text(text))?;
                let line = line.as_ref().map(|line| one_line(line, FIELD)).unwrap_or_default();
                out.block(ContentBlock::text(&line))?;
            }
            Self::Image(image) => image.write_to(name, out)?,
            Self::Text(text) => {
                out.block(ContentBlock::text(if text.is_empty() { "(empty)" } else { text }))?;
            }
            #[cfg(feature = "browser")]
            Self::State(_) => {}
        }
        Ok(())
    }
}

/// The maximum length of a field that a page supplies, in characters: the API's limit.
pub(super) const FIELD: usize = 4096;

/// Returns a text that somebody else supplied as one line, as in the SDKs: control characters,
/// separators of lines and characters that change the direction of text become one space, and the
/// line is cut to `limit` characters.
pub(super) fn one_line(text: &str, limit: usize) -> String {
    let is_unsafe = |c: char| {
        c.is_control()
            || matches!(c, '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
    };
    let mut line = String::with_capacity(text.len());
    let mut was_unsafe = false;
    for c in text.chars() {
        if !is_unsafe(c) {
            line.push(c);
        } else if !was_unsafe {
            line.push(' ');
        }
        was_unsafe = is_unsafe(c);
    }
    line.trim().chars().take(limit).collect()
}
