//! An agent without a model: it answers `echo: ` and the text. The load test measures the server
//! with it.
//!
//! `cargo run -p toolrunner-examples-serve --bin echo_agent -- start`

use std::process::ExitCode;

use toolrunner_serve::Agent;

fn main() -> ExitCode {
    toolrunner_serve::main(Agent::function(|text| async move {
        Ok::<_, String>(format!("echo: {text}"))
    }))
}
