//! Toolboxes: traits that run tools, and their combination into one.

use super::texts::Notice;
use super::{Definition, Output, ToolCall, ToolError};
use crate::error::Misuse;
use crate::json::{self, Kind, Text, Value};

/// Tools by index.
///
/// `#[tool]` and `#[toolbox]` implement this trait. A tuple of up to 16 toolboxes is a toolbox with
/// the tools of all its members, in order, and so is an array, a slice or a `Vec`. `None` is a
/// toolbox without tools.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a tool",
    label = "neither a tool, nor a toolbox, nor a list of them",
    note = "put `#[tool]` on the function, or `#[toolbox]` on the impl block whose methods are tools",
    note = "a tuple has at most 16 members: nest tuples, as in `((a, b), (c, d))`"
)]
#[allow(
    async_fn_in_trait,
    reason = "on a chip nothing is Send; `Tools` is this trait with Send futures"
)]
pub trait Toolbox {
    /// Returns the number of tools.
    fn count(&self) -> usize;

    /// Returns the tool at `i`, or `None` if `i` is not below [`count`](Self::count). Every call
    /// must return the same definition.
    fn definition(&self, i: usize) -> Option<Definition<'_>>;

    /// Runs the tool at `i` and writes its result to `out`, which is empty.
    ///
    /// # Errors
    /// Returns the error that the model receives. The driver writes it to the result with
    /// [`ToolError::write_to`].
    async fn call(
        &self,
        i: usize,
        call: ToolCall<'_>,
        out: &mut Output<'_>,
    ) -> Result<(), ToolError>;

    /// Returns the index of the first runnable tool with this name that is not a member of a
    /// toolset.
    fn find(&self, name: Text<'_>) -> Option<usize> {
        (0..self.count()).find(|&i| {
            self.definition(i)
                .is_some_and(|tool| tool.runnable && tool.toolset.is_none() && name == *tool.name)
        })
    }

    /// Returns the index of the first runnable tool with this name in this toolset.
    fn find_member(&self, toolset: Text<'_>, name: Text<'_>) -> Option<usize> {
        let is_in = |tool: &Definition<'_>| tool.toolset.is_some_and(|own| toolset == *own);
        (0..self.count()).find(|&i| {
            self.definition(i)
                .is_some_and(|tool| tool.runnable && is_in(&tool) && name == *tool.name)
        })
    }

    /// Returns whether a tool with this name is defined that is not a member of a toolset. If it is
    /// not runnable, its calls are for the caller or the server.
    fn is_declared(&self, name: Text<'_>) -> bool {
        (0..self.count()).any(|i| {
            self.definition(i).is_some_and(|tool| tool.toolset.is_none() && name == *tool.name)
        })
    }

    /// Borrows this toolbox, so that it can be part of a tuple: `(board.by_ref(), now)`.
    fn by_ref(&self) -> ByRef<'_, Self> {
        ByRef(self)
    }
}

/// A [`Toolbox`] for servers, whose calls can run on other threads. Implement it with `async fn
/// call`.
///
/// Tuples, arrays, `Vec`, `Option` and `Arc` of tools are tools. A list of tools of different types
/// is a `Vec` of [`BoxTools`](super::BoxTools).
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a server tool",
    label = "neither a tool, nor a toolbox, nor a list of them",
    note = "put `#[tool]` on the function, or `#[toolbox]` on the impl block whose methods are tools: those of `toolrunner_std`",
    note = "tools of different types in a list or behind a pointer are `Box<dyn DynTools>`; a tuple has at most 16 members: nest tuples, as in `((a, b), (c, d))`, or add tools one by one"
)]
pub trait Tools: Send + Sync + 'static {
    /// Returns the number of tools.
    fn count(&self) -> usize;

    /// Returns the tool at `i`, or `None` if `i` is not below [`count`](Self::count). Every call
    /// must return the same definition.
    fn definition(&self, i: usize) -> Option<Definition<'_>>;

    /// Runs the tool at `i` and writes its result to `out`, which is empty.
    ///
    /// # Errors
    /// Returns the error that the model receives. The driver writes it to the result with
    /// [`ToolError::write_to`].
    fn call(
        &self,
        i: usize,
        call: ToolCall<'_>,
        out: &mut Output<'_>,
    ) -> impl Future<Output = Result<(), ToolError>> + Send;

    /// Returns the index of the first runnable tool with this name that is not a member of a
    /// toolset.
    fn find(&self, name: Text<'_>) -> Option<usize> {
        (0..self.count()).find(|&i| {
            self.definition(i)
                .is_some_and(|tool| tool.runnable && tool.toolset.is_none() && name == *tool.name)
        })
    }

    /// Returns the index of the first runnable tool with this name in this toolset.
    fn find_member(&self, toolset: Text<'_>, name: Text<'_>) -> Option<usize> {
        let is_in = |tool: &Definition<'_>| tool.toolset.is_some_and(|own| toolset == *own);
        (0..self.count()).find(|&i| {
            self.definition(i)
                .is_some_and(|tool| tool.runnable && is_in(&tool) && name == *tool.name)
        })
    }
}

/// Writes the answer to a call whose index the toolbox does not have.
pub fn not_found(call: &ToolCall<'_>, out: &mut Output<'_>) -> ToolError {
    let _counted = Notice::NotFound(call.name).write_to(out);
    ToolError::written()
}

/// Checks for tools that the API would refuse or that no loop could run: invalid names, duplicate
/// names and invalid definitions.
///
/// A definition with a `type` other than `custom` needs no input schema, and no name if it is not
/// runnable. Such a tool runs on the server, or on the client like `bash_20250124`.
///
/// # Errors
/// Returns [`Misuse`] with the index of the first invalid tool.
pub fn check_tools(tools: &(impl Toolbox + ?Sized)) -> Result<(), Misuse> {
    check(tools.count(), |i| tools.definition(i))
}

/// Checks for tools that the API would refuse or that no loop could run. This is [`check_tools`]
/// for [`Tools`].
///
/// # Errors
/// Returns [`Misuse`] with the index of the first invalid tool.
pub fn check_server_tools(tools: &(impl Tools + ?Sized)) -> Result<(), Misuse> {
    check(tools.count(), |i| tools.definition(i))
}

/// A function that checks a definition. It takes the definition and its index.
pub(super) type Check = fn(&Definition<'_>, usize) -> Result<(), Misuse>;

fn check<'t>(
    count: usize,
    definition: impl Fn(usize) -> Option<Definition<'t>>,
) -> Result<(), Misuse> {
    for i in 0..count {
        let tool = definition(i).ok_or(Misuse::ToolDefinition(i))?;
        if tool.toolset.is_some() {
            // Its definition is not sent, so only the name matters.
            if !tool.runnable || !is_name(tool.name) {
                return Err(Misuse::ToolName(i));
            }
        } else if let Some(check) = tool.check {
            check(&tool, i)?;
        }
        // Tools without a name run on the server, and there may be several.
        if !tool.name.is_empty()
            && let Some(first) = (0..i).find(|&j| {
                definition(j)
                    .is_some_and(|other| other.name == tool.name && other.toolset == tool.toolset)
            })
        {
            return Err(Misuse::DuplicateTool(first, i));
        }
    }
    Ok(())
}

pub(super) fn check_definition(tool: &Definition<'_>, i: usize) -> Result<(), Misuse> {
    let checked =
        json::check(tool.json.as_bytes()).ok().filter(|checked| checked.lone_surrogate.is_none());
    let json = checked.and_then(|_| Value::whole(tool.json.as_bytes()));
    let json = json.filter(|json| json.kind() == Kind::Object).ok_or(Misuse::ToolDefinition(i))?;
    let [kind, name, schema] = json.pick(["type", "name", "input_schema"]);
    let typed = kind.and_then(Value::as_text).is_some_and(|kind| kind != *"custom");
    if tool.name.is_empty() && name.is_none() && typed && !tool.runnable {
        return Ok(());
    }
    if !is_name(tool.name) || !name.is_some_and(|name| name.is_text(tool.name)) {
        return Err(Misuse::ToolName(i));
    }
    if schema.is_some_and(crate::schema::is_refused) {
        return Err(Misuse::ToolSchema(i));
    }
    let of_object =
        |schema: Value<'_>| schema.member("type").is_some_and(|kind| kind.is_text("object"));
    if schema.map_or(typed, of_object) { Ok(()) } else { Err(Misuse::ToolDefinition(i)) }
}

/// Returns whether the API accepts `name` as a tool's name: `^[a-zA-Z0-9_-]{1,128}$`.
pub(crate) fn is_name(name: &str) -> bool {
    (1..=128).contains(&name.len())
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-')
}

/// A borrowed toolbox, which can be part of a tuple. See [`Toolbox::by_ref`].
#[derive(Debug)]
pub struct ByRef<'t, T: ?Sized>(&'t T);

impl<T: Toolbox + ?Sized> Toolbox for ByRef<'_, T> {
    fn count(&self) -> usize {
        self.0.count()
    }

    fn definition(&self, i: usize) -> Option<Definition<'_>> {
        self.0.definition(i)
    }

    async fn call(
        &self,
        i: usize,
        call: ToolCall<'_>,
        out: &mut Output<'_>,
    ) -> Result<(), ToolError> {
        self.0.call(i, call, out).await
    }
}

#[cfg(feature = "alloc")]
impl<T: Tools + ?Sized> Tools for alloc::sync::Arc<T> {
    fn count(&self) -> usize {
        (**self).count()
    }

    fn definition(&self, i: usize) -> Option<Definition<'_>> {
        (**self).definition(i)
    }

    async fn call(
        &self,
        i: usize,
        call: ToolCall<'_>,
        out: &mut Output<'_>,
    ) -> Result<(), ToolError> {
        (**self).call(i, call, out).await
    }
}

/// The tool that `#[tool]` generates from a function. The function's name becomes a function
/// without arguments that returns this tool.
#[doc(hidden)]
#[diagnostic::on_unimplemented(
    message = "a function that returns `{Self}` is not a tool",
    label = "a function without `#[tool]`",
    note = "put `#[tool]` on the function, or `#[toolbox]` on the impl block whose methods are tools"
)]
pub trait ToolFunction {
    /// The definition of the tool.
    const DEFINITION: Definition<'static>;
}

/// A function with `#[tool]`, by its name. It can be used as its tool wherever a toolbox is
/// expected. The compiler shows the name of this trait if the attribute is missing.
#[doc(hidden)]
pub trait HasToolAttribute {
    /// The generated tool.
    type Tool: ToolFunction;

    /// Creates the tool.
    fn tool(&self) -> Self::Tool;
}

impl<F: Fn() -> T, T: ToolFunction> HasToolAttribute for F {
    type Tool = T;

    fn tool(&self) -> T {
        self()
    }
}

macro_rules! function {
    ($trait:ident, $($bounds:tt)*) => {
        #[diagnostic::do_not_recommend]
        impl<F: HasToolAttribute<Tool: $trait> + $($bounds)*> $trait for F {
            fn count(&self) -> usize {
                1
            }

            fn definition(&self, i: usize) -> Option<Definition<'_>> {
                (i == 0).then(|| super::generated::complete_definition(F::Tool::DEFINITION))
            }

            async fn call(&self, i: usize, call: ToolCall<'_>, out: &mut Output<'_>) -> Result<(), ToolError> {
                self.tool().call(i, call, out).await
            }
        }
    };
}

function!(Toolbox, Sized);
function!(Tools, Send + Sync + 'static);

macro_rules! list {
    ($bound:ident, $($generics:tt)*) => {
        $($generics)* {
            fn count(&self) -> usize {
                self.iter().map($bound::count).sum()
            }

            fn definition(&self, mut i: usize) -> Option<Definition<'_>> {
                for tools in self.iter() {
                    match i.checked_sub(tools.count()) {
                        None => return tools.definition(i),
                        Some(rest) => i = rest,
                    }
                }
                None
            }

            async fn call(&self, mut i: usize, call: ToolCall<'_>, out: &mut Output<'_>) -> Result<(), ToolError> {
                for tools in self.iter() {
                    match i.checked_sub(tools.count()) {
                        None => return tools.call(i, call, out).await,
                        Some(rest) => i = rest,
                    }
                }
                Err(not_found(&call, out))
            }
        }
    };
}

list!(Toolbox, impl<T: Toolbox> Toolbox for [T]);
list!(Toolbox, impl<T: Toolbox, const N: usize> Toolbox for [T; N]);
#[cfg(feature = "alloc")]
list!(Toolbox, impl<T: Toolbox> Toolbox for alloc::vec::Vec<T>);
list!(Tools, impl<T: Tools, const N: usize> Tools for [T; N]);
#[cfg(feature = "alloc")]
list!(Tools, impl<T: Tools> Tools for alloc::vec::Vec<T>);

macro_rules! tuple {
    ($bound:ident: $($T:ident . $n:tt),*) => {
        #[allow(unused_mut, unused_variables, unused_assignments, clippy::unused_async, reason = "one text for every length, also none")]
        impl<$($T: $bound),*> $bound for ($($T,)*) {
            fn count(&self) -> usize {
                0 $(+ self.$n.count())*
            }

            fn definition(&self, mut i: usize) -> Option<Definition<'_>> {
                $(match i.checked_sub(self.$n.count()) {
                    None => return self.$n.definition(i),
                    Some(rest) => i = rest,
                })*
                None
            }

            async fn call(&self, mut i: usize, call: ToolCall<'_>, out: &mut Output<'_>) -> Result<(), ToolError> {
                $(match i.checked_sub(self.$n.count()) {
                    None => return self.$n.call(i, call, out).await,
                    Some(rest) => i = rest,
                })*
                Err(not_found(&call, out))
            }
        }
    };
}

macro_rules! tuples {
    ($($T:ident . $n:tt),*) => {
        tuple!(Toolbox: $($T . $n),*);
        tuple!(Tools: $($T . $n),*);
    };
}

tuples!();
tuples!(A.0);
tuples!(A.0, B.1);
tuples!(A.0, B.1, C.2);
tuples!(A.0, B.1, C.2, D.3);
tuples!(A.0, B.1, C.2, D.3, E.4);
tuples!(A.0, B.1, C.2, D.3, E.4, F.5);
tuples!(A.0, B.1, C.2, D.3, E.4, F.5, G.6);
tuples!(A.0, B.1, C.2, D.3, E.4, F.5, G.6, H.7);
tuples!(A.0, B.1, C.2, D.3, E.4, F.5, G.6, H.7, I.8);
tuples!(A.0, B.1, C.2, D.3, E.4, F.5, G.6, H.7, I.8, J.9);
tuples!(A.0, B.1, C.2, D.3, E.4, F.5, G.6, H.7, I.8, J.9, K.10);
tuples!(A.0, B.1, C.2, D.3, E.4, F.5, G.6, H.7, I.8, J.9, K.10, L.11);
tuples!(A.0, B.1, C.2, D.3, E.4, F.5, G.6, H.7, I.8, J.9, K.10, L.11, M.12);
tuples!(A.0, B.1, C.2, D.3, E.4, F.5, G.6, H.7, I.8, J.9, K.10, L.11, M.12, N.13);
tuples!(A.0, B.1, C.2, D.3, E.4, F.5, G.6, H.7, I.8, J.9, K.10, L.11, M.12, N.13, O.14);
tuples!(A.0, B.1, C.2, D.3, E.4, F.5, G.6, H.7, I.8, J.9, K.10, L.11, M.12, N.13, O.14, P.15);
