//! The tools of the conversations.

use std::marker::PhantomData;
use std::sync::{Arc, Mutex};
use std::task::{Poll, Waker};
use std::time::{Duration, Instant};

use toolrunner_core::tool::{Definition, Output, ToolCall, ToolError, Toolbox, Tools};

use crate::runtime::Runtime;

const NAMES: [&str; 5] = ["add", "fail", "meet", "slow", "stuck"];
const DEFINITIONS: [&str; 5] = [
    r#"{"name":"add","description":"","input_schema":{"type":"object"}}"#,
    r#"{"name":"fail","description":"","input_schema":{"type":"object"}}"#,
    r#"{"name":"meet","description":"","input_schema":{"type":"object"}}"#,
    r#"{"name":"slow","description":"","input_schema":{"type":"object"}}"#,
    r#"{"name":"stuck","description":"","input_schema":{"type":"object"}}"#,
];

/// How many calls of `meet` wait for each other.
const PARTY: usize = 3;

/// Five tools on a runtime, and the ids of the calls that began, in order.
pub(crate) struct Bench<R> {
    began: Arc<Mutex<Vec<String>>>,
    /// Those who wait at the meeting.
    waiting: Arc<Mutex<Vec<Waker>>>,
    runtime: PhantomData<R>,
}

impl<R> Clone for Bench<R> {
    fn clone(&self) -> Self {
        let (began, waiting) = (Arc::clone(&self.began), Arc::clone(&self.waiting));
        Self { began, waiting, runtime: PhantomData }
    }
}

impl<R: Runtime> Bench<R> {
    pub(crate) fn new() -> Self {
        Self { began: Arc::default(), waiting: Arc::default(), runtime: PhantomData }
    }

    pub(crate) fn began(&self) -> Vec<String> {
        self.began.lock().unwrap().clone()
    }

    async fn work(&self, i: usize, id: String, out: &mut Output<'_>) -> Result<(), ToolError> {
        // A conversation on another runtime must not have tokio's around it.
        assert_eq!(tokio::runtime::Handle::try_current().is_ok(), R::IS_TOKIO);
        self.began.lock().unwrap().push(id.clone());
        match NAMES[i] {
            "fail" => return Err(ToolError::new("no luck")),
            "meet" => self.meet().await,
            "slow" => R::wait_until(Instant::now() + Duration::from_millis(20)).await,
            "stuck" => std::future::pending().await,
            _ => {}
        }
        Ok(out.text(&format!("result of {id}"))?)
    }

    /// Waits until all have begun.
    async fn meet(&self) {
        std::future::poll_fn(|cx| {
            let mut waiting = self.waiting.lock().unwrap();
            if self.began.lock().unwrap().len() == PARTY {
                waiting.drain(..).for_each(Waker::wake);
                return Poll::Ready(());
            }
            waiting.push(cx.waker().clone());
            Poll::Pending
        })
        .await;
    }

    fn define(&self, i: usize) -> Option<Definition<'static>> {
        let definition = Definition::new(NAMES.get(i)?, DEFINITIONS.get(i)?);
        Some(match NAMES[i] {
            "stuck" => definition.timeout(Duration::from_millis(50)),
            _ => definition,
        })
    }
}

impl<R: Runtime> Toolbox for Bench<R> {
    fn count(&self) -> usize {
        NAMES.len()
    }

    fn definition(&self, i: usize) -> Option<Definition<'_>> {
        self.define(i)
    }

    async fn call(
        &self,
        i: usize,
        call: ToolCall<'_>,
        out: &mut Output<'_>,
    ) -> Result<(), ToolError> {
        self.work(i, call.id.to_string(), out).await
    }
}

impl<R: Runtime> Tools for Bench<R> {
    fn count(&self) -> usize {
        NAMES.len()
    }

    fn definition(&self, i: usize) -> Option<Definition<'_>> {
        self.define(i)
    }

    async fn call(
        &self,
        i: usize,
        call: ToolCall<'_>,
        out: &mut Output<'_>,
    ) -> Result<(), ToolError> {
        self.work(i, call.id.to_string(), out).await
    }
}
