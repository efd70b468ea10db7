//! An agent without a model: it answers `echo: ` followed by the text. The load test uses it to
//! measure the server.
//!
//! `cargo run -p toolrunner-examples-serve --bin echo_agent -- start`

use std::process::ExitCode;

use toolrunner_serve::Agent;

fn main() -> ExitCode {
    toolrunner_serve::main(Agent::function(|text| async move {
        Ok::<_, String>(format!("echo: {text}"))
    }))
}
