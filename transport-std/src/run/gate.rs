//! The gate before a call and the hook after it, as objects.

use core::pin::Pin;

#[doc(inline)]
pub use toolrunner_core::__private::gate::{Decision, GatedCall, ResultDraft};

type DecisionFuture<'a> = Pin<Box<dyn Future<Output = Decision> + Send + 'a>>;

/// The object-safe form of a gate.
pub(super) trait DynGate: Send + Sync {
    fn dyn_decide(&self, call: GatedCall) -> DecisionFuture<'_>;
}

impl<F, D> DynGate for F
where
    F: Fn(GatedCall) -> D + Send + Sync,
    D: Future<Output = Decision> + Send + 'static,
{
    fn dyn_decide(&self, call: GatedCall) -> DecisionFuture<'_> {
        // Inside the future, so that a panic of the closure itself is also one of the future.
        Box::pin(async move { self(call).await })
    }
}

/// A function that receives every result of a tool.
pub(super) type Hook = dyn Fn(&mut ResultDraft) + Send + Sync;
