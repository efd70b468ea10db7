//! The macros `#[tool]`, `#[toolbox]` and `derive(ToolInput)`.
//!
//! Each macro exists once for each crate that users depend on, so that the generated paths resolve
//! there. Use the macros through the names that those crates export, such as `toolrunner_std::tool`
//! and `toolrunner_core::toolbox`. They are documented there.

#![forbid(unsafe_code)]

mod arguments;
mod case;
mod derive;
mod function;
mod options;
mod toolbox;
mod typed;

use proc_macro::TokenStream;
use proc_macro2::TokenStream as Tokens;
use quote::quote;

/// The crate for which code is generated.
#[derive(Clone, Copy)]
enum For {
    Blocking,
    Core,
    Std,
    Embassy,
}

impl For {
    /// Returns the path of toolrunner-core.
    fn core(self) -> Tokens {
        match self {
            Self::Blocking => quote!(::toolrunner_blocking::machine),
            Self::Core => quote!(::toolrunner_core),
            Self::Std => quote!(::toolrunner_std::machine),
            Self::Embassy => quote!(::toolrunner_embassy::machine),
        }
    }

    /// Returns whether `Tools` is implemented in addition to `Toolbox`.
    fn tools(self) -> bool {
        matches!(self, Self::Blocking | Self::Std)
    }
}

/// `#[tool]` of toolrunner-core.
#[proc_macro_attribute]
pub fn tool_core(options: TokenStream, item: TokenStream) -> TokenStream {
    function::expand(options.into(), item.into(), For::Core).into()
}

/// `#[toolbox]` of toolrunner-core.
#[proc_macro_attribute]
pub fn toolbox_core(options: TokenStream, item: TokenStream) -> TokenStream {
    toolbox::expand(&options.into(), item.into(), For::Core).into()
}

/// `derive(ToolInput)` of toolrunner-core.
#[proc_macro_derive(ToolInputCore, attributes(tool, serde))]
pub fn tool_input_core(item: TokenStream) -> TokenStream {
    derive::expand(item.into(), For::Core).into()
}

/// `#[tool]` of toolrunner-std.
#[proc_macro_attribute]
pub fn tool_std(options: TokenStream, item: TokenStream) -> TokenStream {
    function::expand(options.into(), item.into(), For::Std).into()
}

/// `#[toolbox]` of toolrunner-std.
#[proc_macro_attribute]
pub fn toolbox_std(options: TokenStream, item: TokenStream) -> TokenStream {
    toolbox::expand(&options.into(), item.into(), For::Std).into()
}

/// `derive(ToolInput)` of toolrunner-std.
#[proc_macro_derive(ToolInputStd, attributes(tool, serde))]
pub fn tool_input_std(item: TokenStream) -> TokenStream {
    derive::expand(item.into(), For::Std).into()
}

/// `#[tool]` of toolrunner-embassy.
#[proc_macro_attribute]
pub fn tool_embassy(options: TokenStream, item: TokenStream) -> TokenStream {
    function::expand(options.into(), item.into(), For::Embassy).into()
}

/// `#[toolbox]` of toolrunner-embassy.
#[proc_macro_attribute]
pub fn toolbox_embassy(options: TokenStream, item: TokenStream) -> TokenStream {
    toolbox::expand(&options.into(), item.into(), For::Embassy).into()
}

/// `derive(ToolInput)` of toolrunner-embassy.
#[proc_macro_derive(ToolInputEmbassy, attributes(tool, serde))]
pub fn tool_input_embassy(item: TokenStream) -> TokenStream {
    derive::expand(item.into(), For::Embassy).into()
}

/// `#[tool]` of toolrunner-blocking.
#[proc_macro_attribute]
pub fn tool_blocking(options: TokenStream, item: TokenStream) -> TokenStream {
    function::expand(options.into(), item.into(), For::Blocking).into()
}

/// `#[toolbox]` of toolrunner-blocking.
#[proc_macro_attribute]
pub fn toolbox_blocking(options: TokenStream, item: TokenStream) -> TokenStream {
    toolbox::expand(&options.into(), item.into(), For::Blocking).into()
}

/// `derive(ToolInput)` of toolrunner-blocking.
#[proc_macro_derive(ToolInputBlocking, attributes(tool, serde))]
pub fn tool_input_blocking(item: TokenStream) -> TokenStream {
    derive::expand(item.into(), For::Blocking).into()
}
