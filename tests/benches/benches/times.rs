//! Measures the processor time of each piece of work, beside its floors: scanning and copying the
//! same bytes. A conversation over HTTP on loopback is compared with hyper, which sends the same
//! requests and does not parse the replies.
//!
//! The time is that of this thread. It excludes other programs, and the server, which has its own
//! thread.

use core::net::SocketAddr;
use core::time::Duration;
use std::hint::black_box;
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use cpu_time::ThreadTime;
use criterion::Criterion;
use criterion::measurement::{Measurement, ValueFormatter, WallTime};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::client::conn::http1::SendRequest;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use memchr::memmem;
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Builder;
use toolrunner_benches::{CASES, FLOORS, last_turn, turn};
use toolrunner_std::{Client, tool};

/// Measures the thread's processor time.
struct Processor(WallTime);

impl Measurement for Processor {
    type Intermediate = ThreadTime;
    type Value = Duration;

    fn start(&self) -> ThreadTime {
        ThreadTime::now()
    }

    fn end(&self, start: ThreadTime) -> Duration {
        start.elapsed()
    }

    fn add(&self, a: &Duration, b: &Duration) -> Duration {
        *a + *b
    }

    fn zero(&self) -> Duration {
        Duration::ZERO
    }

    fn to_f64(&self, value: &Duration) -> f64 {
        self.0.to_f64(value)
    }

    fn formatter(&self) -> &dyn ValueFormatter {
        self.0.formatter()
    }
}

fn main() {
    let criterion = Criterion::default().with_measurement(Processor(WallTime));
    let short = criterion
        .sample_size(30)
        .warm_up_time(Duration::from_millis(300))
        .measurement_time(Duration::from_secs(1));
    let mut criterion = short.configure_from_args();
    for (name, make) in CASES {
        let mut work = make();
        let mut group = criterion.benchmark_group(name);
        for (floor, make) in FLOORS {
            let mut floor_work = make(work.bytes.clone());
            group.bench_function(floor, |bencher| bencher.iter(|| (floor_work.once)()));
        }
        group.bench_function("toolrunner", |bencher| bencher.iter(|| (work.once)()));
        group.finish();
    }
    conversations(&mut criterion);
    criterion.final_summary();
}

/// Measures a conversation of three turns, the first two with a call.
fn conversations(criterion: &mut Criterion<Processor>) {
    for stream in [false, true] {
        let runtime = Builder::new_current_thread().enable_all().build().expect("a runtime");
        let (address, requests) = serve(stream);
        let client = Client::builder()
            .base_url(format!("http://{address}"))
            .api_key("k")
            .build()
            .expect("good settings");
        runtime.block_on(converse(&client, stream));
        let requests = std::mem::take(&mut *requests.lock().expect("nobody panicked"));
        assert_eq!(requests.len(), TURNS);
        let mut sender = runtime.block_on(connect(address));
        let mut group = criterion.benchmark_group(if stream {
            "conversation over HTTP, SSE"
        } else {
            "conversation over HTTP, JSON"
        });
        group.bench_function("hyper", |bencher| {
            bencher.iter(|| runtime.block_on(exchange(&mut sender, &requests)))
        });
        group.bench_function("toolrunner", |bencher| {
            bencher.iter(|| runtime.block_on(converse(&client, stream)))
        });
        group.finish();
    }
}

const TURNS: usize = 3;

/// Add two numbers together.
#[tool]
fn calculate_sum(
    /// First number
    a: i64,
    /// Second number
    b: i64,
) -> i64 {
    a.saturating_add(b)
}

async fn converse(client: &Client, stream: bool) {
    let mut run = client
        .run("claude-opus-4-7")
        .stream(stream)
        .tools(calculate_sum)
        .user("Add the numbers, one step at a time.");
    while let Some(event) = run.next_event().await.expect("a good server") {
        black_box(event);
    }
    assert_eq!(run.turns() as usize, TURNS);
}

async fn connect(address: SocketAddr) -> SendRequest<Full<Bytes>> {
    let stream = TcpStream::connect(address).await.expect("a server");
    stream.set_nodelay(true).expect("a socket");
    let (sender, connection) =
        hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.expect("a server");
    tokio::spawn(connection);
    sender
}

/// Sends these requests one after another, and does not parse the replies.
async fn exchange(sender: &mut SendRequest<Full<Bytes>>, requests: &[Bytes]) {
    for request in requests {
        let head = Request::post("/v1/messages")
            .header("host", "localhost")
            .header("content-type", "application/json");
        let request = head.body(Full::new(request.clone())).expect("a request");
        let mut body = sender.send_request(request).await.expect("a reply").into_body();
        while let Some(frame) = body.frame().await {
            black_box(frame.expect("a whole reply"));
        }
    }
}

/// Serves one turn of the conversation after another, on a separate thread. Also returns the
/// requests of the first conversation.
fn serve(stream: bool) -> (SocketAddr, Arc<Mutex<Vec<Bytes>>>) {
    let replies =
        [turn("toolu_1", stream), turn("toolu_2", stream), last_turn(stream)].map(Bytes::from);
    let requests = Arc::new(Mutex::new(Vec::new()));
    let kept = Arc::clone(&requests);
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("a port");
    listener.set_nonblocking(true).expect("a socket");
    let answer = service_fn(move |request: Request<Incoming>| {
        let (replies, kept) = (replies.clone(), Arc::clone(&kept));
        async move {
            let body = request.into_body().collect().await?.to_bytes();
            let results = memmem::find_iter(&body, "\"tool_result\"").count();
            let mut kept = kept.lock().expect("nobody panicked");
            if kept.len() < TURNS {
                kept.push(body);
            }
            let kind = if stream { "text/event-stream" } else { "application/json" };
            let reply = replies.into_iter().nth(results).unwrap_or_default();
            Ok::<_, hyper::Error>(
                Response::builder()
                    .header("content-type", kind)
                    .body(Full::new(reply))
                    .expect("a reply"),
            )
        }
    });
    std::thread::spawn(move || {
        let runtime = Builder::new_current_thread().enable_all().build().expect("a runtime");
        runtime.block_on(async move {
            let listener = TcpListener::from_std(listener).expect("a socket");
            loop {
                let (connection, _) = listener.accept().await.expect("a client");
                connection.set_nodelay(true).expect("a socket");
                tokio::spawn(
                    hyper::server::conn::http1::Builder::new()
                        .serve_connection(TokioIo::new(connection), answer.clone()),
                );
            }
        });
    });
    (address, requests)
}
