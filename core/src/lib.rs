//! The loop that lets a Claude model use your tools: no_std, allocation-free, sans-I/O.
//!
//! The rooms, each of which uses only those before it:
//!
//! | Room | What |
//! |---|---|
//! | [`error`], [`time`] | whose fault; time as an argument |
//! | [`json`] | checked once, then read lazily, in place |
//! | [`message`] | views over messages and blocks |
//! | [`history`] | what the API takes as a conversation |
//! | [`schema`], [`mod@tool`] | schemas as constants; tools, their inputs and results |
//! | [`transcript`] | the conversation as the bytes of the next request |
//! | [`transport`], [`policy`], [`wire`] | the seam; limits and retries; requests, frames, events |
//! | [`observe`], [`run`] | what is told; the loop as a machine |
//! | [`drive`] | machine, transport, tools and clock together |
//!
//! Start at [`run`] for the machine, at [`drive`] for a chip; a server has its own front end in
//! `toolrunner_std`.
#![no_std]
// The list is core/clippy.toml. Cargo.toml allows it, for the tests.
#![cfg_attr(not(test), deny(clippy::disallowed_methods))]

#[cfg(feature = "alloc")]
extern crate alloc;
#[cfg(any(feature = "std", test))]
extern crate std;

pub mod drive;
pub mod error;
pub mod history;
pub mod json;
pub mod message;
pub mod observe;
pub mod policy;
pub mod run;
pub mod schema;
#[cfg(feature = "testing")]
#[allow(clippy::disallowed_methods, reason = "for tests, on a server")]
pub mod testing;
pub mod time;
pub mod tool;
pub mod transcript;
pub mod transport;
mod turn;
pub mod wire;

pub use tool::ToolInput;

/// Makes a tool of a function, sync or async.
///
/// The function's name then stands for the tool: `(now, calculate_sum)` is a
/// [`Toolbox`](tool::Toolbox) of two tools. It is still the name of a function, so variables,
/// arguments and patterns may have the same name. `name()` makes the tool as a value of the type
/// `name`, and `name().run(…)` calls the function itself, for example in a test.
///
/// The doc comment is the tool's description, those of the arguments are theirs. The input is
/// checked against the schema before the function runs. What it may take: [`ToolInput`]; what it
/// may return: [`ToolOutput`](tool::ToolOutput), or a `Result` of one and any error that can be
/// displayed. Two arguments are no part of the schema: to an `out: &mut Output<'_>` the tool may
/// write its result itself, and a `context: &ToolContext<'_>` tells it what surrounds the call: see
/// [`ToolContext`](tool::ToolContext).
///
/// Of the tool: `name = "…"`, `description = "…"`, `toolset = "…"` (a member of the API's toolset
/// of this name), `strict`, `serial` or `serial = "group"` (no two calls of one group run at the
/// same time), `blocking`, `timeout_ms = …`, `lenient` (with `alloc`: reads `"5"` as a number where
/// one is expected, and so on, see [`RawTool::lenient`](tool::RawTool::lenient)), `idempotent` (a
/// call may run a second time without further effect), `requires_approval` (a person must approve
/// each call; a gate enforces it), `defer_loading`, `eager_input_streaming`, `raw = "…"` (members
/// of the definition in JSON, without braces, such as `raw =
/// r#""cache_control":{"type":"ephemeral"}"#`). Of an argument, as `#[tool(…)]`: `default = …`
/// (with `default_json = "…"` where the macro cannot tell what it is in JSON), `rename = "…"`,
/// `description = "…"`, `min`, `max`, `min_len`, `max_len`, `min_items`, `max_items`.
///
/// ```
/// use toolrunner_core::tool;
///
/// /// Add two numbers together.
/// #[tool]
/// fn calculate_sum(
///     /// First number
///     a: i64,
///     /// Second number
///     #[tool(default = 1)]
///     b: i64,
/// ) -> i64 {
///     a + b
/// }
/// assert_eq!(calculate_sum().run(15, 27), 42);
/// ```
#[cfg(feature = "macros")]
pub use toolrunner_macros::tool_core as tool;

/// Makes tools of those methods of an impl block that have `#[tool]`: the type is then a
/// [`Toolbox`](tool::Toolbox).
///
/// The methods take `&self`; everything else is as for [`tool`](macro@tool).
///
/// ```
/// use core::cell::Cell;
/// use toolrunner_core::{tool::Toolbox, toolbox};
///
/// struct Board {
///     led: Cell<bool>,
/// }
///
/// #[toolbox]
/// impl Board {
///     /// Switch the user LED.
///     #[tool]
///     fn set_led(&self, /** true is on */ on: bool) {
///         self.led.set(on);
///     }
/// }
/// assert_eq!(Board { led: Cell::new(false) }.definition(0).unwrap().name, "set_led");
/// ```
#[cfg(feature = "macros")]
pub use toolrunner_macros::toolbox_core as toolbox;

/// Implements [`ToolInput`](trait@ToolInput) for a struct or an enum.
///
/// Doc comments are descriptions. Fields take the same `#[tool(…)]` as arguments of a tool. Of
/// serde's attributes `rename`, `rename_all`, `rename_all_fields`, `tag`, `content`, `default` and
/// `skip` are honoured, and those that would change what is read in a way that no schema says are
/// refused; a type without serde writes the same as `#[tool(…)]`. Unknown members are never taken.
///
/// An enum without content is a string of its names; with content it is told by its tag, or else by
/// its key, as in serde. A type that contains itself is refused: its schema would have no end.
///
/// ```
/// use toolrunner_core::ToolInput;
///
/// #[derive(ToolInput)]
/// #[tool(rename_all = "lowercase")]
/// enum Unit {
///     Celsius,
///     Fahrenheit,
/// }
///
/// #[derive(ToolInput)]
/// struct Place<'a> {
///     /// The city and state, e.g. San Francisco, CA
///     city: &'a str,
///     #[tool(default = Unit::Celsius)]
///     unit: Unit,
/// }
/// ```
#[cfg(feature = "macros")]
pub use toolrunner_macros::ToolInputCore as ToolInput;

/// For the crates that give the macros on under their own paths.
#[cfg(feature = "macros")]
#[doc(hidden)]
pub use toolrunner_macros as macros;
