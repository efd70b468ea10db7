//! Two embassy-net stacks in one process, with a wire between them that loses and doubles frames,
//! in virtual time.

use core::cell::RefCell;
use core::pin::Pin;
use core::sync::atomic::{AtomicBool, Ordering};
use core::task::{Context, Poll, Waker};
use std::rc::Rc;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::Wake;

use embassy_net::tcp::client::{TcpClient, TcpClientState};
use embassy_net::{Config, Ipv4Address, Ipv4Cidr, Stack, StackResources, StaticConfigV4};
use embassy_net_driver_channel as channel;
use embassy_time::{Duration, Instant, MockDriver, Timer};

const MTU: usize = 1514;

/// The server's address.
pub(crate) const SERVER: Ipv4Address = Ipv4Address::new(10, 0, 0, 1);
/// The client's address, unless it comes from DHCP.
pub(crate) const CLIENT: Ipv4Address = Ipv4Address::new(10, 0, 0, 2);

/// The client's TCP: one socket, with buffers of a board's size.
pub(crate) type Tcp = TcpClient<'static, 1, 1024, 2048>;

/// How good the wire is.
#[derive(Clone, Copy, Default)]
pub(crate) struct Wire {
    /// Every so many-th frame is lost; 0 for none.
    pub(crate) lose: usize,
    /// Every so many-th frame comes twice; 0 for none.
    pub(crate) double: usize,
}

/// One thread of tasks and the one virtual clock of the process; tests take turns.
pub(crate) struct Lab {
    tasks: Spawner,
    _turn: MutexGuard<'static, ()>,
}

/// Starts tasks.
#[derive(Clone, Default)]
pub(crate) struct Spawner(Rc<RefCell<Vec<Task>>>);

impl Spawner {
    pub(crate) fn spawn(&self, future: impl Future<Output = ()> + 'static) {
        self.0
            .borrow_mut()
            .push(Task { future: Box::pin(future), ready: Arc::new(Ready(AtomicBool::new(true))) });
    }
}

struct Task {
    future: Pin<Box<dyn Future<Output = ()>>>,
    ready: Arc<Ready>,
}

struct Ready(AtomicBool);

impl Wake for Ready {
    fn wake(self: Arc<Self>) {
        self.0.store(true, Ordering::Relaxed);
    }
}

static TURN: Mutex<()> = Mutex::new(());

impl Lab {
    pub(crate) fn new() -> Self {
        let turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
        MockDriver::get().reset();
        Self { tasks: Spawner::default(), _turn: turn }
    }

    pub(crate) fn spawn(&self, future: impl Future<Output = ()> + 'static) {
        self.tasks.spawn(future);
    }

    pub(crate) fn spawner(&self) -> Spawner {
        self.tasks.clone()
    }

    /// The client's TCP and the server's stack, running.
    pub(crate) fn network(&self, wire: Wire) -> (&'static Tcp, Stack<'static>) {
        let (client, server) = self.stacks(wire, fixed(CLIENT));
        (tcp(client), server)
    }

    /// The client's and the server's stack, running; the client with this configuration.
    pub(crate) fn stacks(&self, wire: Wire, client: Config) -> (Stack<'static>, Stack<'static>) {
        let (client, to_client) = self.stack(client, 1);
        let (server, to_server) = self.stack(fixed(SERVER), 2);
        let (_, client_rx, client_tx) = to_client.split();
        let (_, server_rx, server_tx) = to_server.split();
        self.spawn(carry(client_tx, server_rx, wire));
        self.spawn(carry(server_tx, client_rx, wire));
        (client, server)
    }

    fn stack(&self, config: Config, last: u8) -> (Stack<'static>, channel::Runner<'static, MTU>) {
        let (mut frames, device) = channel::new(
            kept(channel::State::<MTU, 8, 8>::new()),
            channel::driver::HardwareAddress::Ethernet([2, 0, 0, 0, 0, last]),
        );
        frames.set_link_state(channel::driver::LinkState::Up);
        let (stack, mut runner) =
            embassy_net::new(device, config, kept(StackResources::<8>::new()), u64::from(last));
        self.spawn(async move { runner.run().await });
        (stack, frames)
    }

    /// Runs all until `main` is ready. When nobody can go on, the clock does.
    pub(crate) fn run<T>(&self, main: impl Future<Output = T>) -> T {
        let mut main = std::pin::pin!(main);
        let ready = Arc::new(Ready(AtomicBool::new(true)));
        let end = Instant::now() + Duration::from_secs(7200);
        loop {
            if ready.0.swap(false, Ordering::Relaxed)
                && let Poll::Ready(value) =
                    main.as_mut().poll(&mut Context::from_waker(&Waker::from(ready.clone())))
            {
                return value;
            }
            let mut idle = !ready.0.load(Ordering::Relaxed);
            // A task may spawn others while it is polled, so the list is not borrowed meanwhile.
            for mut task in self.tasks.0.take() {
                if task.ready.0.swap(false, Ordering::Relaxed) {
                    idle = false;
                    if task
                        .future
                        .as_mut()
                        .poll(&mut Context::from_waker(&Waker::from(task.ready.clone())))
                        .is_ready()
                    {
                        continue;
                    }
                }
                self.tasks.0.borrow_mut().push(task);
            }
            if idle {
                assert!(Instant::now() < end, "nothing happens any more");
                MockDriver::get().advance(Duration::from_millis(1));
            }
        }
    }
}

/// A client's TCP over its stack.
pub(crate) fn tcp(client: Stack<'static>) -> &'static Tcp {
    kept(TcpClient::new(client, kept(TcpClientState::new())))
}

/// A fixed address. The server is the network's DNS server.
pub(crate) fn fixed(address: Ipv4Address) -> Config {
    Config::ipv4_static(StaticConfigV4 {
        address: Ipv4Cidr::new(address, 24),
        gateway: None,
        dns_servers: core::iter::once(SERVER).collect(),
    })
}

impl Drop for Lab {
    fn drop(&mut self) {
        // A task that may spawn others holds the list that it is in.
        drop(self.tasks.0.take());
    }
}

/// Where [`kept`] things are, so that whoever looks for lost memory, as valgrind does, finds that
/// these are not.
static KEPT: Mutex<Vec<usize>> = Mutex::new(Vec::new());

/// Keeps what a board would have in a static.
pub(crate) fn kept<T>(thing: T) -> &'static mut T {
    let thing = Box::leak(Box::new(thing));
    KEPT.lock().unwrap_or_else(PoisonError::into_inner).push(core::ptr::from_mut(thing).addr());
    thing
}

/// Carries frames one way, each 1 ms late.
async fn carry(
    mut from: channel::TxRunner<'static, MTU>,
    mut to: channel::RxRunner<'static, MTU>,
    wire: Wire,
) {
    let chosen = |every: usize, count: usize| every != 0 && count.is_multiple_of(every);
    for count in 1_usize.. {
        let frame = from.tx_buf().await.to_vec();
        from.tx_done();
        Timer::after_millis(1).await;
        if chosen(wire.lose, count) {
            continue;
        }
        for _ in 0..if chosen(wire.double, count) { 2 } else { 1 } {
            if let Some(place) = to.try_rx_buf() {
                place[..frame.len()].copy_from_slice(&frame);
                to.rx_done(frame.len());
            }
        }
    }
}
