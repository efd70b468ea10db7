//! The network stack and one TCP connection that sends a line: the baseline of all images with a
//! network.
#![no_std]
#![no_main]

use core::net::SocketAddr;

use embassy_executor::Spawner;
use embassy_net::tcp::client::{TcpClient, TcpClientState};
use embedded_io_async::Write as _;
use embedded_nal_async::TcpConnect as _;
use static_cell::ConstStaticCell;
use toolrunner_firmware::names::HOST;
use toolrunner_firmware::{console, executor, host, network, stack, time};

#[embassy_executor::main(
    entry = "cortex_m_rt::entry",
    executor = "toolrunner_firmware::executor::Executor"
)]
async fn main(spawner: Spawner) {
    stack::paint();
    let Some(core) = cortex_m::Peripherals::take() else { host::exit(102) };
    time::start(core.SYST);
    static TCP: ConstStaticCell<TcpClientState<1, 1024, 2048>> =
        ConstStaticCell::new(TcpClientState::new());
    let tcp = TcpClient::new(network::start(spawner), TCP.take());
    if let Ok(mut connection) = tcp.connect(SocketAddr::new(HOST.into(), 9)).await {
        let _ = connection.write_all(b"\n").await;
    }
    console::number("stack: ", stack::deepest());
    console::number("busy: ", executor::busy());
    host::exit(0);
}
