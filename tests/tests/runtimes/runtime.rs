//! What a runtime provides: it drives a future, opens sockets, and waits.

use std::future::Future;
use std::io;
use std::marker::PhantomData;
use std::time::{self, Duration};

use hyper_util::rt::TokioIo;
use smol_hyper::rt::FuturesIo;
use toolrunner_core::time::{Clock, Instant};
use toolrunner_examples::own_transport::Dial;
use toolrunner_std::clock::{DynClock, WaitFuture};

use crate::by_hand;

/// A runtime under test.
pub(crate) trait Runtime: Send + Sync + 'static {
    /// Whether tokio's runtime surrounds the future.
    const IS_TOKIO: bool;
    type Sockets: Dial + Clone + Send + Sync + 'static;
    const SOCKETS: Self::Sockets;

    fn block_on<F: Future>(future: F) -> F::Output;

    fn wait_until(deadline: time::Instant) -> impl Future<Output = ()> + Send;
}

#[derive(Clone)]
pub(crate) struct Tokio;
#[derive(Clone)]
pub(crate) struct Smol;
#[derive(Clone)]
pub(crate) struct ByHand;

impl Runtime for Tokio {
    const IS_TOKIO: bool = true;
    type Sockets = Self;
    const SOCKETS: Self = Self;

    fn block_on<F: Future>(future: F) -> F::Output {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(future)
    }

    async fn wait_until(deadline: time::Instant) {
        tokio::time::sleep_until(deadline.into()).await;
    }
}

impl Dial for Tokio {
    type Socket = TokioIo<tokio::net::TcpStream>;

    async fn dial(&self, address: String) -> io::Result<Self::Socket> {
        Ok(TokioIo::new(tokio::net::TcpStream::connect(address).await?))
    }
}

impl Runtime for Smol {
    const IS_TOKIO: bool = false;
    type Sockets = Self;
    const SOCKETS: Self = Self;

    fn block_on<F: Future>(future: F) -> F::Output {
        smol::block_on(future)
    }

    async fn wait_until(deadline: time::Instant) {
        smol::Timer::at(deadline).await;
    }
}

impl Dial for Smol {
    type Socket = FuturesIo<smol::net::TcpStream>;

    async fn dial(&self, address: String) -> io::Result<Self::Socket> {
        Ok(FuturesIo::new(smol::net::TcpStream::connect(address).await?))
    }
}

impl Runtime for ByHand {
    const IS_TOKIO: bool = false;
    type Sockets = Self;
    const SOCKETS: Self = Self;

    fn block_on<F: Future>(future: F) -> F::Output {
        by_hand::block_on(future)
    }

    fn wait_until(deadline: time::Instant) -> impl Future<Output = ()> + Send {
        by_hand::wait_until(deadline)
    }
}

impl Dial for ByHand {
    type Socket = by_hand::Socket;

    async fn dial(&self, address: String) -> io::Result<Self::Socket> {
        by_hand::Socket::connect(&address)
    }
}

/// A runtime's timers, as the core and the front end of servers take them.
pub(crate) struct Timers<R>(time::Instant, PhantomData<R>);

impl<R: Runtime> Timers<R> {
    pub(crate) fn new() -> Self {
        Self(time::Instant::now(), PhantomData)
    }

    fn at(&self, deadline: Instant) -> time::Instant {
        self.0 + Duration::from_micros(deadline.as_micros())
    }
}

impl<R: Runtime> Clock for Timers<R> {
    fn now(&self) -> Instant {
        Instant::ZERO.after(self.0.elapsed())
    }

    async fn wait_until(&self, deadline: Instant) {
        R::wait_until(self.at(deadline)).await;
    }

    fn jitter(&self) -> u32 {
        self.0.elapsed().subsec_nanos()
    }
}

impl<R: Runtime> DynClock for Timers<R> {
    fn now(&self) -> Instant {
        Clock::now(self)
    }

    fn wait_until(&self, deadline: Instant) -> WaitFuture<'_> {
        Box::pin(R::wait_until(self.at(deadline)))
    }

    fn jitter(&self) -> u32 {
        Clock::jitter(self)
    }
}
