//! What the log says of tools that fail: one record each, with all that there is to know.

mod common;

use core::time::Duration;
use std::io::{Result as IoResult, Write};
use std::sync::{Arc, Mutex};

use common::{busy, fun, scripted};
use toolrunner_core::testing::{Reply, Script};
use toolrunner_std::ToolError;
use tracing_subscriber::fmt::MakeWriter;

#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl Write for Log {
    fn write(&mut self, bytes: &[u8]) -> IoResult<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> IoResult<()> {
        Ok(())
    }
}

impl<'a> MakeWriter<'a> for Log {
    type Writer = Self;

    fn make_writer(&'a self) -> Self {
        self.clone()
    }
}

#[derive(Debug)]
struct Outer(std::io::Error);

impl core::fmt::Display for Outer {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str("no weather")
    }
}

impl core::error::Error for Outer {
    fn source(&self) -> Option<&(dyn core::error::Error + 'static)> {
        Some(&self.0)
    }
}

#[tokio::test]
async fn one_error_record_for_each_tool_that_fails() {
    let log = Log::default();
    let subscriber = tracing_subscriber::fmt().with_writer(log.clone()).with_ansi(false).with_max_level(tracing::Level::INFO).finish();
    let _guard = tracing::subscriber::set_default(subscriber);
    let chain = fun("chain", |_| Err(Outer(std::io::Error::other("cable cut")).into()));
    let panics = fun("panics", |_| panic!("index 7"));
    let own = fun("own", |_| Err(ToolError::new("not on Sundays")));
    let fine = fun("fine", |_| Ok("ok".to_owned()));
    let (mut late, over) = busy("late");
    late.shape = |definition| definition.blocking().timeout(Duration::from_millis(20));
    let names = ["chain", "panics", "own", "fine", "late"];
    let reply = names.iter().enumerate().fold(Reply::new(), |reply, (i, name)| reply.tool_use(&format!("t{i}"), name, "{}"));
    let scripted = scripted(Script::new().reply(reply).reply(Reply::text("ok")));
    let mut run = scripted.client().run("m").tools((chain, panics, own, fine, late)).user("Go.");
    run.until_done().await.unwrap();
    drop(over);
    let log = String::from_utf8(log.0.lock().unwrap().clone()).unwrap();
    let errors = log.lines().filter(|line| line.contains(" ERROR "));
    let mut errors: Vec<&str> = errors.filter_map(|line| Some(line.split_once("jobs: ")?.1)).collect();
    errors.sort_unstable();
    assert_eq!(
        errors.iter().map(|line| line.split(" backtrace=").next().unwrap()).collect::<Vec<_>>(),
        [
            "tool failed: Error: no weather tool=chain call=t0 sources=cable cut",
            "tool failed: not on Sundays tool=own call=t2 sources=",
            "tool panicked: index 7 tool=panics call=t1",
            "tool timed out after 20ms tool=late call=t4",
        ],
        "{log}"
    );
    assert_eq!(log.matches("INFO").count(), 2, "one for each turn: {log}");
}
