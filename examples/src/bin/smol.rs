//! The loop on another executor: tokio does not run here. The run needs two things from the
//! program: a clock and a transport.
//!
//! This example shows `DynClock` over smol's timers, `DynTransport` over hyper on smol's sockets
//! (plain HTTP, one connection per request; `toolrunner_std::http` is the complete transport, for
//! tokio), and the same run as everywhere else.

use core::error::Error;
use core::time::Duration;
use std::process::ExitCode;
use std::time;

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use smol_hyper::rt::FuturesIo;
use toolrunner_core::error::TransportKind;
use toolrunner_core::testing::ScriptedModel;
use toolrunner_core::time::Instant;
use toolrunner_core::transport::{Body, Head, Reply, ReplyHead};
use toolrunner_std::clock::{DynClock, WaitFuture};
use toolrunner_std::http::{DynTransport, SendFuture};
use toolrunner_std::{Client, HttpBody, HttpError, HttpTransport, init_logging, tool};

struct SmolClock {
    start: time::Instant,
}

impl DynClock for SmolClock {
    fn now(&self) -> Instant {
        Instant::ZERO.after(self.start.elapsed())
    }

    fn wait_until(&self, deadline: Instant) -> WaitFuture<'_> {
        let at = self.start + Duration::from_micros(deadline.as_micros());
        Box::pin(async move {
            smol::Timer::at(at).await;
        })
    }

    fn jitter(&self) -> u32 {
        self.start.elapsed().subsec_nanos()
    }
}

struct SmolTransport;

impl DynTransport for SmolTransport {
    fn send<'a>(&'a self, head: &'a Head<'_>, body: &'a Body<'_>) -> SendFuture<'a> {
        Box::pin(exchange(head, body))
    }
}

async fn exchange(head: &Head<'_>, body: &Body<'_>) -> Result<Reply<HttpBody>, HttpError> {
    let no_http = |error: hyper::http::Error| {
        HttpError::new(TransportKind::Other, "no such request can be made").with_source(error)
    };
    let closed = |error: hyper::Error| {
        HttpError::new(TransportKind::Closed, "the connection broke").with_source(error)
    };

    let address = head.base_url.trim_start_matches("http://");
    let socket = smol::net::TcpStream::connect(address).await;
    let socket = socket.map_err(|error| {
        HttpError::new(TransportKind::Connect, format!("could not connect to {address}"))
            .with_source(error)
    })?;
    let (mut sender, connection) =
        hyper::client::conn::http1::handshake(FuturesIo::new(socket)).await.map_err(closed)?;
    // The connection transfers bytes until the reply's body was read or dropped.
    smol::spawn(async move {
        // The body reports the same errors.
        let _ = connection.await;
    })
    .detach();

    let mut request = hyper::Request::post(head.path).header("host", address);
    for (name, value) in head.headers {
        request = request.header(*name, *value);
    }
    let whole: Vec<u8> = body.pieces().flatten().copied().collect();
    let response = sender
        .send_request(request.body(Full::new(Bytes::from(whole))).map_err(no_http)?)
        .await
        .map_err(closed)?;
    let mut reply = ReplyHead::new(response.status().as_u16());
    for (name, value) in response.headers() {
        reply.field(name.as_str(), value.as_bytes());
    }
    Ok(Reply { head: reply, body: HttpBody::from_body(response.into_body().map_err(closed)) })
}

/// Get the current weather in a given location.
#[tool]
async fn get_weather(
    /** The city and state, e.g. San Francisco, CA */
    location: &str,
) -> String {
    smol::Timer::after(Duration::from_millis(50)).await;
    format!("Sunny, 20°C in {location}")
}

async fn ask() -> Result<(), Box<dyn Error>> {
    let url = toolrunner_examples::loopback::serve(ScriptedModel::demo())?;
    let client = Client::builder()
        .base_url(url)
        .transport(HttpTransport::from_dyn(SmolTransport))
        .build()?;
    let clock = SmolClock { start: time::Instant::now() };
    let mut run = client
        .run("claude-opus-4-7")
        .clock(clock)
        .tools(get_weather)
        .user("What's the weather in Oslo?");
    // `until_done` is `Send`: any executor with threads may run it.
    let finished = smol::spawn(async move { run.until_done().await }).await?;
    println!("{}", finished.text());
    Ok(())
}

fn main() -> ExitCode {
    init_logging();
    toolrunner_examples::exit(smol::block_on(ask()))
}
