//! Lists of tools: optional tools, and tools of different types behind one pointer.

use super::{Definition, Output, ToolCall, ToolError, Toolbox, Tools, not_found};

macro_rules! optional {
    ($($trait:ident)*) => {$(
        /// `None` is a toolbox without tools.
        impl<T: $trait> $trait for Option<T> {
            fn count(&self) -> usize {
                self.as_ref().map_or(0, T::count)
            }

            fn definition(&self, i: usize) -> Option<Definition<'_>> {
                self.as_ref()?.definition(i)
            }

            async fn call(&self, i: usize, call: ToolCall<'_>, out: &mut Output<'_>) -> Result<(), ToolError> {
                match self {
                    Some(tools) => tools.call(i, call, out).await,
                    None => Err(not_found(&call, out)),
                }
            }
        }
    )*};
}

optional!(Toolbox Tools);

#[cfg(feature = "alloc")]
mod pointers {
    use alloc::boxed::Box;
    use core::fmt;
    use core::pin::Pin;

    use super::{Definition, Output, ToolCall, ToolError, Tools};

    /// The future of a call.
    pub type CallFuture<'a> = Pin<Box<dyn Future<Output = Result<(), ToolError>> + Send + 'a>>;

    /// [`Tools`] as a trait object, so that tools of different types fit into one list. Every
    /// [`Tools`] implements it.
    ///
    /// `Box<dyn DynTools>` and `Arc<dyn DynTools>` are [`Tools`], and so is a `Vec` of them. The
    /// names of the methods differ from those of [`Tools`], so that a call is never ambiguous.
    ///
    /// ```
    /// use toolrunner_core::tool::{BoxTools, RawTool, Tools};
    ///
    /// const NOTHING: &str = r#"{"type":"object","properties":{}}"#;
    /// let mut tools: Vec<BoxTools> = Vec::new();
    /// for name in ["read", "write"] {
    ///     // Each closure has a type of its own.
    ///     tools.push(Box::new(RawTool::new(name, "", NOTHING, move |_| async move { name })?));
    /// }
    /// assert_eq!(tools.count(), 2);
    /// # Ok::<(), toolrunner_core::error::Misuse>(())
    /// ```
    pub trait DynTools: Send + Sync + 'static {
        /// Calls [`Tools::count`].
        fn dyn_count(&self) -> usize;

        /// Calls [`Tools::definition`].
        fn dyn_definition(&self, i: usize) -> Option<Definition<'_>>;

        /// Calls [`Tools::call`].
        fn dyn_call<'a>(
            &'a self,
            i: usize,
            call: ToolCall<'a>,
            out: &'a mut Output<'_>,
        ) -> CallFuture<'a>;
    }

    /// Tools of any type.
    pub type BoxTools = Box<dyn DynTools>;

    impl<T: Tools> DynTools for T {
        fn dyn_count(&self) -> usize {
            self.count()
        }

        fn dyn_definition(&self, i: usize) -> Option<Definition<'_>> {
            self.definition(i)
        }

        fn dyn_call<'a>(
            &'a self,
            i: usize,
            call: ToolCall<'a>,
            out: &'a mut Output<'_>,
        ) -> CallFuture<'a> {
            Box::pin(self.call(i, call, out))
        }
    }

    impl Tools for dyn DynTools {
        fn count(&self) -> usize {
            self.dyn_count()
        }

        fn definition(&self, i: usize) -> Option<Definition<'_>> {
            self.dyn_definition(i)
        }

        async fn call(
            &self,
            i: usize,
            call: ToolCall<'_>,
            out: &mut Output<'_>,
        ) -> Result<(), ToolError> {
            self.dyn_call(i, call, out).await
        }
    }

    // Not for any `Box<T>`: the function that a `#[tool]` generates is a tool too, and a box of a
    // function is a function.
    impl Tools for BoxTools {
        fn count(&self) -> usize {
            (**self).dyn_count()
        }

        fn definition(&self, i: usize) -> Option<Definition<'_>> {
            (**self).dyn_definition(i)
        }

        async fn call(
            &self,
            i: usize,
            call: ToolCall<'_>,
            out: &mut Output<'_>,
        ) -> Result<(), ToolError> {
            (**self).dyn_call(i, call, out).await
        }
    }

    impl fmt::Debug for dyn DynTools {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            let names = (0..self.dyn_count()).filter_map(|i| Some(self.dyn_definition(i)?.name));
            f.debug_list().entries(names).finish()
        }
    }
}

#[cfg(feature = "alloc")]
pub use pointers::{BoxTools, CallFuture, DynTools};
