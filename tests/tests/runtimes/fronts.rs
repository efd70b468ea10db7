//! The two front ends, which hold the same conversations.

use std::fmt::Display;
use std::future::Future;
use std::marker::PhantomData;
use std::pin::pin;
use std::task::Poll;
use std::time::Duration;

use toolrunner_core::drive::Driver;
use toolrunner_core::observe::{Event, Observer};
use toolrunner_core::policy::{Limits, RetryPolicy};
use toolrunner_core::run::{Outcome, Run};
use toolrunner_core::transcript::Transcript;
use toolrunner_core::wire::Config;
use toolrunner_embassy::Cancel;
use toolrunner_examples::own_transport::OwnTransport;
use toolrunner_std::http::Proxies;
use toolrunner_std::{Client, HttpTransport, RunEnd};

use crate::bench::Bench;
use crate::far::Far;
use crate::runtime::{Runtime, Timers};
use crate::{PATIENCE, Report, Stop, Talk};

const RETRY: RetryPolicy =
    RetryPolicy { retries: 3, first_wait: Duration::from_millis(10), ..RetryPolicy::DEFAULT };

/// Bounds a run, so that none hangs.
fn limits(time: Duration) -> Limits {
    Limits { time: Some(time), ..Limits::NONE }
}

/// What holds a conversation.
pub(crate) trait Front {
    fn converse(&self, talk: &Talk, far: &Far) -> Report;

    fn runs_calls_at_once(&self) -> bool;
}

/// Drives `run` until it is done, or until the server goes silent, and drops the future.
async fn or_drop<T>(far: &Far, run: impl Future<Output = T>) -> Option<T> {
    let (mut run, mut silence) = (pin!(run), pin!(far.silence()));
    std::future::poll_fn(|cx| match run.as_mut().poll(cx) {
        Poll::Ready(output) => Poll::Ready(Some(output)),
        Poll::Pending => silence.as_mut().poll(cx).map(|()| None),
    })
    .await
}

/// Returns the outcome of an attempt, or its error, as the table spells it.
fn ended<E: Display>(done: Result<Outcome, E>) -> String {
    done.map_or_else(|error| error.to_string(), |outcome| outcome.to_string())
}

fn outcome(finished: RunEnd) -> Outcome {
    finished.outcome
}

/// The core's driver over the transport of the examples, in memory that does not grow.
pub(crate) struct Chip<R>(PhantomData<R>);

impl<R> Chip<R> {
    pub(crate) fn new() -> Self {
        Self(PhantomData)
    }
}

/// Counts the pieces of text, and tells the server of each.
struct Watch<'f> {
    far: &'f Far,
    on: bool,
    texts: usize,
}

impl Observer for Watch<'_> {
    fn see(&mut self, event: &Event<'_>) {
        if self.on && matches!(event, Event::Text { .. }) {
            self.texts += 1;
            self.far.saw_text();
        }
    }

    /// What was handed on cannot be taken back, and its reply is not asked for again.
    fn hands_on(&self) -> bool {
        self.on
    }
}

impl<R: Runtime> Front for Chip<R> {
    fn converse(&self, talk: &Talk, far: &Far) -> Report {
        let (bench, cancel, url) = (Bench::<R>::new(), Cancel::new(), far.url());
        let config = Config::new("m", 64)
            .base_url(&url)
            .stream(talk.stream)
            .limits(limits(talk.time()))
            .retry(RETRY);
        let transport = OwnTransport(R::SOCKETS);
        let mut driver =
            Driver::new(config, transport, &bench, Timers::<R>::new()).unwrap().hooks(&cancel);
        let mut memory = vec![0; 16 * 1024];
        let mut run = Run::new(Transcript::new(&mut memory));
        let mut watch = Watch { far, on: talk.watch, texts: 0 };
        let mut outcomes = Vec::new();
        run.user("Go.").unwrap();
        std::thread::scope(|scope| {
            if talk.stop == Stop::Cancel {
                scope.spawn(|| {
                    far.wait_for_silence();
                    cancel.cancel();
                });
            }
            R::block_on(async {
                if talk.stop == Stop::Drop {
                    let done = or_drop(far, driver.until_done(&mut run, &mut watch)).await;
                    outcomes.push(done.map_or_else(|| "dropped".to_owned(), ended));
                } else if talk.stop != Stop::Never {
                    outcomes.push(ended(driver.until_done(&mut run, &mut watch).await));
                    cancel.clear();
                    *run.limits_mut() = limits(PATIENCE);
                    run.user("Go on.").unwrap();
                }
                outcomes.push(ended(driver.until_done(&mut run, &mut watch).await));
            });
        });
        let last = run.last_message().into_iter().flat_map(|message| message.texts());
        Report {
            says: last.map(|text| text.to_string()).collect(),
            messages: String::from_utf8(run.messages().to_vec()).unwrap(),
            began: bench.began(),
            outcomes,
            texts: watch.texts,
        }
    }

    fn runs_calls_at_once(&self) -> bool {
        false
    }
}

/// The front end of servers.
pub(crate) struct Server<R> {
    transport: Box<dyn Fn() -> HttpTransport + Send + Sync>,
    runtime: PhantomData<R>,
}

impl<R: Runtime> Server<R> {
    pub(crate) fn over_own_transport() -> Self {
        Self::over(Box::new(|| HttpTransport::from_dyn(OwnTransport(R::SOCKETS))))
    }

    pub(crate) fn over(transport: Box<dyn Fn() -> HttpTransport + Send + Sync>) -> Self {
        Self { transport, runtime: PhantomData }
    }
}

impl<R: Runtime> Front for Server<R> {
    fn converse(&self, talk: &Talk, far: &Far) -> Report {
        let bench = Bench::<R>::new();
        let client = Client::builder()
            .api_key("test-key")
            .base_url(far.url())
            .proxies(Proxies::none())
            .transport((self.transport)())
            .build()
            .unwrap();
        let mut run = client
            .run("m")
            .max_tokens(64)
            .stream(talk.stream)
            .tools(bench.clone())
            .clock(Timers::<R>::new())
            .limits(limits(talk.time()))
            .retry_policy(RETRY)
            .user("Go.");
        let (mut outcomes, mut texts) = (Vec::new(), 0);
        let cancel = run.cancellation();
        std::thread::scope(|scope| {
            if talk.stop == Stop::Cancel {
                scope.spawn(|| {
                    far.wait_for_silence();
                    cancel.cancel();
                });
            }
            R::block_on(async {
                if talk.stop == Stop::Drop {
                    let done = or_drop(far, run.until_done()).await;
                    let done = done.map(|done| done.map(outcome));
                    // This front end keeps a reply whose head it has, and goes on with it.
                    far.speak();
                    outcomes.push(done.map_or_else(|| "dropped".to_owned(), ended));
                } else if talk.stop != Stop::Never {
                    outcomes.push(ended(run.until_done().await.map(outcome)));
                    *run.limits_mut() = limits(PATIENCE);
                    run.user("Go on.").unwrap();
                }
                if talk.watch {
                    while let Some(event) = run.next_event().await.unwrap() {
                        if let Event::Text { .. } = event {
                            texts += 1;
                            far.saw_text();
                        }
                    }
                }
                outcomes.push(ended(run.until_done().await.map(outcome)));
            });
        });
        Report {
            says: run.message().map(|message| message.text()).unwrap_or_default(),
            messages: String::from_utf8(run.machine().messages().to_vec()).unwrap(),
            began: bench.began(),
            outcomes,
            texts,
        }
    }

    fn runs_calls_at_once(&self) -> bool {
        true
    }
}
