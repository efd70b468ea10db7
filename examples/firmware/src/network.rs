//! The network stack on the emulated network, where the host is 10.0.2.2 and the guest 10.0.2.15.

use embassy_executor::Spawner;
use embassy_net::{Config, Ipv4Address, Ipv4Cidr, Runner, Stack, StackResources, StaticConfigV4};
use static_cell::ConstStaticCell;

use crate::board::Ethernet;
use crate::host;
use crate::names::HOST;

/// The transport uses one socket for its one connection. Add one each for DHCP and DNS if they are
/// used: the stack panics if there are too few.
const SOCKETS: usize = 1;

/// Runs the stack. A separate task: in one task with its users it would wake itself forever.
#[embassy_executor::task]
async fn run(mut runner: Runner<'static, Ethernet>) -> ! {
    runner.run().await
}

/// Starts the stack. Must be called only once.
// Not inlined: its stack frame would be a part of the caller's, which is below everything that the
// task calls later.
#[inline(never)]
pub fn start(spawner: Spawner) -> Stack<'static> {
    static RESOURCES: ConstStaticCell<StackResources<SOCKETS>> =
        ConstStaticCell::new(StackResources::new());
    let config = StaticConfigV4 {
        address: Ipv4Cidr::new(Ipv4Address::new(10, 0, 2, 15), 24),
        gateway: Some(HOST),
        dns_servers: Default::default(),
    };
    // Seeds port and sequence numbers, so that they differ after a restart of the board.
    let mut seed = [0; 8];
    host::random(&mut seed);
    let (stack, runner) = embassy_net::new(
        Ethernet::start(),
        Config::ipv4_static(config),
        RESOURCES.take(),
        u64::from_le_bytes(seed),
    );
    if let Ok(task) = run(runner) {
        spawner.spawn(task);
    }
    stack
}
