//! Runs conversations with one tool against a mock of the Messages API, through the public client,
//! for a benchmark that compares clients.
//!
//! ```text
//! bench-client base=http://127.0.0.1:PORT/SPEC loops=N conc=C stream=0|1 thread=0|1 tool_ms=M
//!     result_bytes=R
//! ```
//! It runs N conversations, C at a time, on one thread. A conversation has one user message and one
//! tool, and ends when the model makes no more calls. The tool waits M ms and returns `"<sum> "`,
//! padded with `x` to R bytes. With `thread=1` the server keeps the conversation in a message
//! thread. Each conversation starts from scratch; connections are kept. The last line of the output
//! is `{"loops":N,"secs":S,"tool_calls":T}`.

use core::str::FromStr;
use core::sync::atomic::{AtomicU64, Ordering};
use core::time::Duration;
use std::process::ExitCode;
use std::sync::{Arc, OnceLock};
use std::time::Instant;

use tokio::task::JoinSet;
use toolrunner_std::{Client, MessageThread, tool};

static CALLS: AtomicU64 = AtomicU64::new(0);
/// The delay of the tool and the length of its result. They are global because a tool made from a
/// function has no state.
static TOOL: OnceLock<(Duration, usize)> = OnceLock::new();

/// Adds two numbers.
#[tool]
async fn calculate_sum(a: i64, b: i64) -> String {
    let (wait, length) = TOOL.get().copied().unwrap_or_default();
    if !wait.is_zero() {
        tokio::time::sleep(wait).await;
    }
    CALLS.fetch_add(1, Ordering::Relaxed);
    format!("{:x<length$}", format!("{} ", a + b))
}

struct Arguments {
    base: String,
    loops: u64,
    conc: u64,
    stream: bool,
    thread: MessageThread,
}

/// Returns the value of `name=value` on the command line.
fn argument<T: FromStr>(name: &str) -> Result<Option<T>, String> {
    let given = std::env::args()
        .skip(1)
        .find_map(|word| Some(word.strip_prefix(name)?.strip_prefix('=')?.to_owned()));
    given
        .map(|text| text.parse().map_err(|_| format!("{name}={text}: not a value of this kind")))
        .transpose()
}

fn arguments() -> Result<Arguments, String> {
    let wait = Duration::from_millis(argument("tool_ms")?.unwrap_or(0));
    // This is the only place that sets it.
    let _ = TOOL.set((wait, argument("result_bytes")?.unwrap_or(0)));
    Ok(Arguments {
        base: argument("base")?.ok_or("base=http://127.0.0.1:PORT/SPEC is missing")?,
        loops: argument("loops")?.unwrap_or(1),
        conc: argument("conc")?.unwrap_or(1),
        stream: argument("stream")? == Some(1),
        thread: match argument("thread")? {
            Some(1) => MessageThread::Keep,
            _ => MessageThread::Off,
        },
    })
}

async fn converse(
    client: &Client,
    stream: bool,
    thread: MessageThread,
) -> Result<(), toolrunner_std::Error> {
    let run = client.run("claude-opus-5").max_tokens(1024).tools(calculate_sum).stream(stream);
    let mut run = run.message_thread(thread).user("Add the numbers, one step at a time.");
    while run.next_event().await?.is_some() {}
    Ok(())
}

async fn work(
    client: Client,
    stream: bool,
    thread: MessageThread,
    left: Arc<AtomicU64>,
) -> Result<(), toolrunner_std::Error> {
    while left
        .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(1))
        .is_ok()
    {
        converse(&client, stream, thread).await?;
    }
    Ok(())
}

fn run() -> Result<(), Box<dyn core::error::Error>> {
    let Arguments { base, loops, conc, stream, thread } = arguments()?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let client = Client::builder().base_url(base).api_key("k").build()?;
    let left = Arc::new(AtomicU64::new(loops));
    let start = Instant::now();
    runtime.block_on(async {
        let mut workers: JoinSet<_> =
            (0..conc).map(|_| work(client.clone(), stream, thread, Arc::clone(&left))).collect();
        while let Some(worker) = workers.join_next().await {
            worker??;
        }
        Ok::<(), Box<dyn core::error::Error>>(())
    })?;
    let (secs, calls) = (start.elapsed().as_secs_f64(), CALLS.load(Ordering::Relaxed));
    println!("{{\"loops\":{loops},\"secs\":{secs},\"tool_calls\":{calls}}}");
    Ok(())
}

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}
