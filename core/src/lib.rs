//! The loop that lets a Claude model use your tools: no_std, allocation-free, sans-I/O.
//!
//! The modules are listed in order: each uses only the modules above it.
//!
//! | Module | Contents |
//! |---|---|
//! | [`error`], [`time`] | errors by origin; time as an argument |
//! | [`json`] | JSON, validated once and then read lazily, in place |
//! | [`message`] | views of messages and blocks |
//! | [`schema`], [`mod@tool`] | schemas as constants; tools, their inputs and results |
//! | [`transcript`] | the conversation as the bytes of the next request |
//! | [`transport`], [`policy`], [`wire`] | transport trait; limits and retries; the wire format |
//! | [`observe`], [`run`] | events and observers; the loop as a state machine |
//! | [`drive`] | the driver: machine, transport, tools and clock combined |
//! | [`structured`] | the last reply of a run as a value of a type |
//!
//! Start with [`run`] for the state machine, or with [`drive`] for a microcontroller. A server uses
//! the front end in `toolrunner_std`.
#![no_std]
// core/clippy.toml lists the methods. Cargo.toml allows them in tests.
#![cfg_attr(not(test), deny(clippy::disallowed_methods))]

#[cfg(any(test, feature = "alloc"))]
extern crate alloc;
#[cfg(any(feature = "std", test))]
extern crate std;

#[cfg(feature = "alloc")]
mod client;
pub mod drive;
pub mod error;
mod history;
pub mod json;
pub mod message;
pub mod observe;
pub mod policy;
pub mod run;
pub mod schema;
#[cfg(feature = "serde")]
mod serialize;
pub mod structured;
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

/// Turns a function, sync or async, into a tool.
///
/// The function's name then also denotes the tool: `(now, calculate_sum)` is a
/// [`Toolbox`](tool::Toolbox) of two tools. It remains the name of a function, so variables,
/// arguments and patterns can have the same name. `name()` creates the tool, a value of the type
/// `name`, and `name().run(…)` calls the function itself, for example in a test.
///
/// The function's doc comment becomes the description of the tool, and the doc comment of an
/// argument becomes the description of that argument. The input is checked against the schema
/// before the function runs. [`ToolInput`] lists the types that an argument can have. The function
/// can return any [`ToolOutput`](tool::ToolOutput), or a `Result` of one and any error that
/// implements `Display`. Two kinds of argument are not part of the schema: through an `out: &mut
/// Output<'_>` the tool can write its result itself, and a `context: &ToolContext<'_>` describes
/// the circumstances of the call: see [`ToolContext`](tool::ToolContext).
///
/// Options of the tool: `name = "…"`, `description = "…"`, `toolset = "…"` (the tool is a member of
/// the API's toolset with this name), `strict`, `serial` or `serial = "group"` (no two calls of one
/// group run at the same time), `blocking`, `timeout_ms = …`, `lenient` (with `alloc`: accepts
/// `"5"` where a number is expected, and so on, see [`RawTool::lenient`](tool::RawTool::lenient)),
/// `idempotent` (a call may run a second time without further effect), `requires_approval` (a
/// person must approve each call; a gate enforces it), `input` (the only argument, a struct, a map
/// or [`Json`](tool::Json), is the whole input), `defer_loading`, `eager_input_streaming`,
/// `raw = "…"` (members of the definition as JSON, without braces, such as `raw =
/// r#""cache_control":{"type":"ephemeral"}"#`). Options of an argument, written as `#[tool(…)]`:
/// `default = …` (with `default_json = "…"` where the macro cannot derive the JSON form), `rename =
/// "…"`, `alias = "…"` (the input may also use this name; the schema does not state it),
/// `description = "…"`, `parse` (the type implements `FromStr`: the model writes a string), `format
/// = "…"` (of a string, for the model), `flatten` (the members of the struct are members of the
/// input), `min`, `max`, `min_len`, `max_len`, `min_items`, `max_items`.
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
///
/// # A type as the tool
///
/// On an impl block of a type with `derive(ToolInput)`, the attribute makes the type a tool. The
/// tool's name is the type's name in `snake_case`, its description is that of the type, and the
/// type's fields are the input. The block has a method `run`, sync or async, that takes `self` or
/// `&self` and returns what a function could. It may also take `&ToolContext<'_>` and `&mut
/// Output<'_>`. Other methods are left as they are. The attribute adds the function `tool`, which
/// returns the tool and is as visible as `run`. The options are those of a function.
///
/// ```
/// use toolrunner_core::tool::Toolbox;
/// use toolrunner_core::{ToolInput, tool};
///
/// /// Add two numbers together.
/// #[derive(ToolInput)]
/// struct CalculateSum {
///     /// First number
///     a: i64,
///     /// Second number
///     b: i64,
/// }
///
/// #[tool]
/// impl CalculateSum {
///     fn run(self) -> i64 {
///         self.a + self.b
///     }
/// }
/// assert_eq!(CalculateSum::tool().definition(0).unwrap().name, "calculate_sum");
/// assert_eq!(CalculateSum { a: 15, b: 27 }.run(), 42);
/// ```
#[cfg(feature = "macros")]
pub use toolrunner_macros::tool_core as tool;

/// Turns the methods of an impl block that are marked `#[tool]` into tools. The type then
/// implements [`Toolbox`](tool::Toolbox).
///
/// The methods take `&self`. All other rules and options are those of [`tool`](macro@tool).
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
/// Doc comments become descriptions. Fields accept the same `#[tool(…)]` options as the arguments
/// of a tool. Of serde's attributes, `rename`, `rename_all`, `rename_all_fields`, `tag`, `content`,
/// `untagged`, `default`, `alias`, `flatten` (of a struct) and `skip` are honoured; those that
/// would change the input in a way that no schema can express are refused. A type that does not use
/// serde writes the same attributes as `#[tool(…)]`. Unknown members are always refused. A type
/// that needs more of serde can be an argument as [`Json`](tool::Json), with the feature
/// `schemars`.
///
/// An enum whose variants have no fields is a string: the name of a variant. Otherwise the variant
/// is identified by its tag, or by its key if there is no tag, as in serde; an untagged enum is the
/// first variant that fits. A struct or variant with several unnamed fields is an array. Type
/// parameters must be inputs too. A recursive type is refused, because its schema would be
/// infinite.
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

/// What the macros, the C interface and the transports of this project need beyond the public
/// interface. It can change in any release.
#[doc(hidden)]
pub mod __private {
    /// What clients with a heap share.
    #[cfg(feature = "alloc")]
    pub mod client {
        pub use crate::__of_delta as of_delta;
        pub use crate::__params as params;
        pub use crate::__run_options as run_options;
        pub use crate::__secret as secret;
        pub use crate::__tool_results as tool_results;
        pub use crate::__turn as turn;
        pub use crate::client::envelope::Envelope;
        pub use crate::client::owned_call::OwnedCall;
        pub use crate::client::params::{
            check_beside_options, check_param, is_counted, is_settable,
        };
        pub use crate::client::results::{answered_call, results_message, text_of_result};
        pub use crate::client::{OwnTools, open_call, push_member};
        pub use crate::error::escaped::EscapedText;
    }

    /// The loop, and the parts that the executors and front ends of this project use.
    pub mod drive {
        pub use crate::drive::admit::{start_allowed, start_next, tool_of};
        #[cfg(feature = "alloc")]
        pub use crate::drive::execute::put_own;
        pub use crate::drive::execute::{CallEnd, Conclusion, Env, Execute, Job, denied, work};
        pub use crate::drive::fixed::{LaneCall, LaneEnd};
        pub use crate::drive::progress::{Loop, Progress, Stop};
        pub use crate::drive::reply::{DRAIN, Exchange, send, send_with_noted_front};
    }

    /// A gate's call and decision, and the draft of a result, as values that own their texts.
    #[cfg(feature = "alloc")]
    pub mod gate {
        pub use crate::client::gate::{
            Decision, GatedCall, ResultDraft, carry_out, draft, gated, not_run, put_draft,
        };
    }

    /// Structured output, step by step.
    pub mod structured {
        #[cfg(feature = "alloc")]
        pub use crate::run::table::outcome_of;
        pub use crate::structured::parts::{ask_again, read};
        #[cfg(feature = "alloc")]
        pub use crate::structured::parts::{correction, format, read_owned};
    }

    pub use crate::__deltas as deltas;
    pub use crate::error::REFUSED_SCHEMA;
    pub use crate::history::Tail;
    pub use crate::json::check::check;
    pub use crate::json::number::{parse_f64, write_f32, write_f64};
    pub use crate::json::text::{Piece, Pieces};
    #[cfg(feature = "alloc")]
    pub use crate::json::write::quoted;
    pub use crate::json::write::{Decimal, EscapedString, Sink, escape};
    #[cfg(feature = "alloc")]
    pub use crate::run::options::Options;
    pub use crate::schema::compose::{
        choice, description, flat_member, flattened, flattened_len, whole_input, with_default,
        without_description,
    };
    #[cfg(feature = "alloc")]
    pub use crate::schema::lenient::lenient;
    pub use crate::schema::parts::{Default as SchemaDefault, Discriminator, Variant};
    pub use crate::schema::strict::{is_supported as is_strict_format, output, output_len};
    pub use crate::schema::write::{definition, definition_len, text};
    pub use crate::tool::error::{of_chain as error_of_chain, of_message as error_of_message};
    #[cfg(feature = "alloc")]
    pub use crate::tool::generated::with_input;
    pub use crate::tool::generated::{complete_definition, made_definition};
    pub use crate::tool::input::{begin, check_input, fits, invalid_input};
    #[cfg(feature = "alloc")]
    pub use crate::tool::list::CallFuture;
    #[cfg(feature = "alloc")]
    pub use crate::tool::raw::Async;
    pub use crate::tool::result::kinds;
    pub use crate::tool::texts::{EMPTY_RESULT, Notice};
    pub use crate::tool::toolbox::{
        HasToolAttribute, ToolFunction, check_server_tools, check_tools, not_found,
    };
    pub use crate::wire::base_url::{BaseUrl, base_of};
    pub use crate::wire::compaction::ServerCompaction;
    pub use crate::wire::kinds::{DELTA_TYPES, DeltaType, Growth};
    pub use crate::wire::request::{Front, Pieces as RequestPieces};
    pub use crate::wire::thread::ThreadContinuation;
    #[cfg(feature = "macros")]
    pub use toolrunner_macros as macros;
}

/// Compiles the code blocks of the README as tests.
#[cfg(all(doctest, feature = "macros"))]
#[doc = include_str!("../README.md")]
pub struct Readme;
