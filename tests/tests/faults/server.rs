//! The server's adapter: `toolrunner_std::Run`, over a transport in memory or over real HTTP on
//! loopback.

use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};
use std::time::Duration;

use toolrunner_core::error::Error as CoreError;
use toolrunner_core::testing::Request;
use toolrunner_core::transport::{Body, Head, Reply};
use toolrunner_std::http::{DynTransport, Proxies, SendFuture};
use toolrunner_std::{
    Client, Error, HttpBody, HttpError, HttpTransport, Outcome, Run, RunBuilder, StopReason,
};

use crate::far::{Far, Told};
use crate::http::Listening;
use crate::talks::{Bench, PROMPT, yields};
use crate::{Report, Trouble, named};

/// What carries the bytes, and how the run is driven.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Over {
    Memory,
    /// In memory, by events: each event is handed to the caller, so no reply may be discarded
    /// silently after it was reported.
    Events,
    Http,
}

pub(crate) fn run(far: Arc<Mutex<Far>>, trouble: &Trouble, over: Over) -> Report {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(converse(far, trouble, over))
}

async fn converse(far: Arc<Mutex<Far>>, trouble: &Trouble, over: Over) -> Report {
    let (clock, talk) = far.lock().unwrap().surroundings();
    let bench = Bench::default();
    let mut report = Report::default();
    let mut server = None;
    let builder = Client::builder().api_key("test-key").proxies(Proxies::none());
    let builder = if over == Over::Http {
        let listening = Listening::start(Arc::clone(&far)).await;
        let patience = Duration::from_millis(if trouble.stalls { 250 } else { 30_000 });
        let url = format!("http://{}", listening.address);
        server = Some(listening);
        builder.base_url(url).read_timeout(patience)
    } else {
        builder
            .base_url("http://far.test")
            .transport(HttpTransport::from_dyn(InMemory(Arc::clone(&far))))
    };
    let client = builder.build().unwrap();
    let mut capacity = trouble.capacity.unwrap_or(16 * 1024);
    let begin = |capacity: usize| -> RunBuilder {
        client
            .run("m")
            .max_tokens(64)
            .stream(talk.stream)
            .tools(bench.clone())
            .clock(Arc::clone(&clock))
            .capacity(capacity)
    };
    let mut run = begin(capacity).empty();
    for _ in 0..1000 {
        let said = if run.machine().transcript().is_empty() {
            run.user(PROMPT).map(|_| ())
        } else {
            Ok(())
        };
        let ended = match said {
            Ok(()) => {
                let most = trouble.drop_after.filter(|_| report.drops == 0);
                let mut driven = std::pin::pin!(drive(&mut run, over == Over::Events));
                poll_at_most(driven.as_mut(), most, &mut report.polls).await
            }
            Err(error) => Some(Err(error)),
        };
        report.look_at(run.machine().messages());
        match ended {
            None => report.drops += 1,
            Some(Ok(outcome)) => {
                report.outcomes.push(outcome.to_string());
                if outcome == Outcome::Ended(Some(StopReason::EndTurn)) {
                    report.end(run.machine().messages(), &bench, &far);
                    return report;
                }
                far.lock().unwrap().end();
                run.user("Go on.").unwrap();
            }
            Some(Err(error)) => {
                let full = if let Error::Capacity(full) = &error { Some(*full) } else { None };
                report.errors.push(name(error));
                far.lock().unwrap().end();
                if let Some(server) = &mut server {
                    server.listen().await;
                }
                if let Some(full) = full {
                    assert!(full.needed > full.free, "{full:?}");
                    capacity += full.needed - full.free;
                    run = begin(capacity).resume(&run.snapshot().unwrap());
                }
            }
        }
        if report.errors.len() > 10 && trouble.capacity.is_none() {
            break;
        }
    }
    report.problems.push("it does not end".to_owned());
    report
}

async fn drive(run: &mut Run, events: bool) -> Result<Outcome, Error> {
    if events {
        while run.next_event().await?.is_some() {}
    }
    run.until_done().await.map(|finished| finished.outcome)
}

async fn poll_at_most<T>(
    mut future: std::pin::Pin<&mut impl Future<Output = T>>,
    most: Option<usize>,
    polls: &mut usize,
) -> Option<T> {
    let mut left = most.unwrap_or(usize::MAX);
    std::future::poll_fn(|context: &mut Context<'_>| {
        if left == 0 {
            return Poll::Ready(None);
        }
        left -= 1;
        *polls += 1;
        future.as_mut().poll(context).map(Some)
    })
    .await
}

fn name(error: Error) -> String {
    match error {
        Error::Api(failure) => named(&CoreError::Api(failure.error)),
        Error::Capacity(full) => named(&CoreError::Capacity(full)),
        Error::Protocol(protocol) => named(&CoreError::Protocol(protocol.error)),
        Error::Transport(error) => named(&CoreError::Transport(error.transport_kind())),
        other => format!("{other:?}"),
    }
}

/// A transport that passes each request to the far end.
struct InMemory(Arc<Mutex<Far>>);

impl DynTransport for InMemory {
    fn send<'a>(&'a self, head: &'a Head<'_>, body: &'a Body<'_>) -> SendFuture<'a> {
        Box::pin(async move {
            yields(1).await;
            let mut request = Request::new(head.path, body.pieces().collect::<Vec<_>>().concat());
            request.headers = head
                .headers
                .iter()
                .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
                .collect();
            let wire = self.0.lock().unwrap().answer(request);
            yields(1).await;
            let failed = |kind| HttpError::new(kind, "as the table has it");
            let Told { head, body, ends } = wire.told().map_err(failed)?;
            let body =
                HttpBody::from_pieces(body.chunks(100).map(<[u8]>::to_vec).collect::<Vec<_>>());
            Ok(Reply {
                head,
                body: if let Some(kind) = ends { body.then_error(failed(kind)) } else { body },
            })
        })
    }
}
