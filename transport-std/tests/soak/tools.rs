//! Tools of every kind of behaviour, and the gate.

use core::time::Duration;
use std::sync::Arc;

use toolrunner_core::tool::{Definition, Output, ToolCall, ToolError, Tools};
use toolrunner_std::Decision;
use toolrunner_std::run::GatedCall;

use super::World;
use super::caller::turns;

pub(crate) const NAMES: [&str; 12] = [
    "plain", "slow", "serial", "fails", "panics", "payload", "hangs", "bomb", "forever", "block",
    "big", "caller",
];

pub(crate) struct Kit {
    pub(crate) world: Arc<World>,
    /// The number of existing tools: the others are unknown.
    pub(crate) count: usize,
}

/// Panics when it is dropped, except during another panic.
struct Bomb;

impl Drop for Bomb {
    fn drop(&mut self) {
        assert!(std::thread::panicking(), "a bomb");
    }
}

impl Tools for Kit {
    fn count(&self) -> usize {
        self.count
    }

    fn definition(&self, i: usize) -> Option<Definition<'_>> {
        const JSON: [&str; 12] = [
            r#"{"name":"plain","input_schema":{"type":"object"}}"#,
            r#"{"name":"slow","input_schema":{"type":"object"}}"#,
            r#"{"name":"serial","input_schema":{"type":"object"}}"#,
            r#"{"name":"fails","input_schema":{"type":"object"}}"#,
            r#"{"name":"panics","input_schema":{"type":"object"}}"#,
            r#"{"name":"payload","input_schema":{"type":"object"}}"#,
            r#"{"name":"hangs","input_schema":{"type":"object"}}"#,
            r#"{"name":"bomb","input_schema":{"type":"object"}}"#,
            r#"{"name":"forever","input_schema":{"type":"object"}}"#,
            r#"{"name":"block","input_schema":{"type":"object"}}"#,
            r#"{"name":"big","input_schema":{"type":"object"}}"#,
            r#"{"name":"caller","input_schema":{"type":"object"}}"#,
        ];
        if i >= self.count {
            return None;
        }
        let tool = Definition::new(NAMES.get(i)?, JSON.get(i)?);
        Some(match NAMES[i] {
            "serial" => tool.serial(),
            "hangs" | "bomb" => tool.timeout(Duration::from_millis(20)),
            "block" => tool.blocking(),
            "caller" => tool.declared(),
            _ => tool,
        })
    }

    async fn call(
        &self,
        i: usize,
        call: ToolCall<'_>,
        out: &mut Output<'_>,
    ) -> Result<(), ToolError> {
        let (id, name, world) = (call.id.to_string(), NAMES[i], &self.world);
        world.ledger.lock().unwrap().start(&id, name);
        match name {
            "slow" | "serial" => turns(1 + world.below(12)).await,
            "panics" => panic!("a tool"),
            "payload" => std::panic::panic_any(Bomb),
            "hangs" => core::future::pending().await,
            "bomb" => {
                let _bomb = Bomb;
                core::future::pending::<()>().await;
            }
            // It ends only if it is cancelled.
            "forever" if !world.is_calm() => core::future::pending().await,
            "block" => {
                world.ledger.lock().unwrap().call(&id).is_blocking = true;
                std::thread::yield_now();
            }
            _ if world.chance(300) => turns(world.below(4)).await,
            _ => {}
        }
        let text = match name {
            "big" => format!("{id} gave {}", "x".repeat(3_000)),
            _ => format!("{id} gave {}", call.input),
        };
        let is_error = name == "fails";
        world.ledger.lock().unwrap().call(&id).returned = Some((text.clone(), is_error));
        if is_error { Err(ToolError::text(text)) } else { Ok(out.text(&text)?) }
    }
}

/// Decides at random, and records its decision.
pub(crate) async fn gate(world: Arc<World>, call: GatedCall) -> Decision {
    if world.chance(200) {
        turns(world.below(5)).await;
    }
    let choice = if world.is_calm() { 0 } else { world.below(20) };
    let mut ledger = world.ledger.lock().unwrap();
    let mut says = |text: String, is_error| {
        ledger.call(&call.id).gate = Some((text.clone(), is_error));
        text
    };
    match choice {
        1 => Decision::deny(&says(format!("{} denied", call.id), true)),
        2 => Decision::answer(&says(format!("{} answered", call.id), false)),
        3 => Decision::Suspend,
        4 => Decision::Input(format!(r#"{{"edited":"{}"}}"#, call.id)),
        5 => {
            drop(ledger);
            panic!("a gate")
        }
        _ => Decision::Allow,
    }
}
