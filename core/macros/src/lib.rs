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
enum TargetCrate {
    Blocking,
    Core,
    Std,
    Embassy,
}

impl TargetCrate {
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

/// Defines the macros of one crate.
macro_rules! macros {
    ($crate_name:literal, $for:ident, $tool:ident, $toolbox:ident, $input:ident, $derive:ident) => {
        #[doc = concat!("`#[tool]` of ", $crate_name, ".")]
        #[proc_macro_attribute]
        pub fn $tool(options: TokenStream, item: TokenStream) -> TokenStream {
            function::expand(options.into(), item.into(), TargetCrate::$for).into()
        }

        #[doc = concat!("`#[toolbox]` of ", $crate_name, ".")]
        #[proc_macro_attribute]
        pub fn $toolbox(options: TokenStream, item: TokenStream) -> TokenStream {
            toolbox::expand(&options.into(), item.into(), TargetCrate::$for).into()
        }

        #[doc = concat!("`derive(ToolInput)` of ", $crate_name, ".")]
        #[proc_macro_derive($derive, attributes(tool, serde))]
        pub fn $input(item: TokenStream) -> TokenStream {
            derive::expand(item.into(), TargetCrate::$for).into()
        }
    };
}

macros!("toolrunner-core", Core, tool_core, toolbox_core, tool_input_core, ToolInputCore);
macros!("toolrunner-std", Std, tool_std, toolbox_std, tool_input_std, ToolInputStd);
macros!(
    "toolrunner-embassy",
    Embassy,
    tool_embassy,
    toolbox_embassy,
    tool_input_embassy,
    ToolInputEmbassy
);
macros!(
    "toolrunner-blocking",
    Blocking,
    tool_blocking,
    toolbox_blocking,
    tool_input_blocking,
    ToolInputBlocking
);
