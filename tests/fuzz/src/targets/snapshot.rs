//! A snapshot from anywhere: refused, or a run that goes on, gives its snapshot again, and answers each call once.

use toolrunner_core::run::{Run, Step};
use toolrunner_core::testing::validity::{self, Tail};
use toolrunner_core::time::Instant;
use toolrunner_core::transcript::Transcript;

/// See the module.
pub fn run(data: &[u8]) {
    let mut memory = vec![0; data.len() + 4096];
    let in_fixed = Run::from_snapshot(data, Transcript::new(&mut memory)).is_ok();
    let loaded = Run::from_snapshot(data, Transcript::growing());
    assert_eq!(in_fixed, loaded.is_ok());
    let Ok(mut run) = loaded else { return };
    let was_valid = validity::check(run.transcript().bytes(), Tail::Open).is_ok();
    let mut first = Vec::new();
    run.snapshot(&mut first).expect("a snapshot");
    let again = Run::from_snapshot(&first, Transcript::growing()).expect("its own snapshot");
    let mut second = Vec::new();
    again.snapshot(&mut second).expect("a snapshot");
    assert_eq!(first, second, "a snapshot of a snapshot");
    let mut answered = Vec::new();
    for _ in 0..200 {
        match run.step(Instant::ZERO) {
            Ok(Step::Call) => {
                let Some(i) = run.next_call() else { break };
                let id = run.call(i).map(|call| call.id.to_string()).expect("the call that is next");
                assert!(!answered.contains(&i), "call {i} ({id}) is open again");
                answered.push(i);
                run.answer(i, br#""ok""#, false).expect("an answer");
            }
            _ => break,
        }
    }
    let _ = run.close_open_calls();
    if was_valid && let Err(invalid) = validity::check(run.transcript().bytes(), Tail::Open) {
        panic!("{invalid}: {}", String::from_utf8_lossy(run.transcript().bytes()));
    }
    let _ = (run.user("More."), run.retry(), run.drop_oldest_turn());
}
