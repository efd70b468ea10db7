//! The adapters under test, each as the core's `Transport` over real connections on loopback.

use core::net::{IpAddr, Ipv4Addr, SocketAddr};
use core::time::Duration;
use std::sync::Once;

use embassy_time::MockDriver;
use embedded_io_async::{ErrorType, Read, Write};
use embedded_nal_async::{AddrType, Dns, TcpConnect};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use toolrunner_embassy::reqwless::{HttpClient, KeepAlive, PerRequest, Resources};
use toolrunner_embassy::{Plain, Timeouts, Transport};
use toolrunner_std::HttpTransport;
use toolrunner_std::http::{HttpSettings, Proxies};

/// The time that an adapter waits for the next piece.
const PATIENCE: Duration = Duration::from_millis(400);

/// Returns the server's adapter.
pub(crate) fn server() -> HttpTransport {
    HttpTransport::new(HttpSettings {
        read_timeout: PATIENCE,
        proxies: Proxies::none(),
        ..HttpSettings::default()
    })
}

/// Returns the board's adapter, with this buffer.
pub(crate) fn board(buffer: &mut [u8]) -> Transport<Plain<'_, Loopback, Loopback>> {
    Transport::new(Plain::new(&Loopback, &Loopback, buffer), timeouts())
}

/// Returns the board's adapter over reqwless that keeps its connection.
pub(crate) fn keep_alive(
    resources: &mut Resources,
) -> KeepAlive<'_, Plain<'_, Loopback, Loopback>> {
    keep_alive_in(&mut resources.head, &mut resources.buffer)
}

/// Returns the same adapter, with these buffers.
pub(crate) fn keep_alive_in<'b>(
    head: &'b mut [u8],
    buffer: &'b mut [u8],
) -> KeepAlive<'b, Plain<'b, Loopback, Loopback>> {
    KeepAlive::new(Plain::new(&Loopback, &Loopback, buffer), head, timeouts())
}

/// Returns the board's adapter over reqwless that opens a connection for each request.
pub(crate) fn per_request(resources: &mut Resources) -> PerRequest<'_, Loopback, Loopback> {
    let client = HttpClient::new(&Loopback, &Loopback);
    PerRequest::new(client, &mut resources.head, &mut resources.buffer, timeouts())
}

/// Starts the board's clock, and returns the timeouts of its adapters.
fn timeouts() -> Timeouts {
    static TIME: Once = Once::new();
    // embassy-time's clock follows the host's.
    TIME.call_once(|| {
        std::thread::spawn(|| {
            loop {
                std::thread::sleep(Duration::from_millis(5));
                MockDriver::get().advance(embassy_time::Duration::from_millis(5));
            }
        });
    });
    let idle = embassy_time::Duration::from_millis(PATIENCE.as_millis().try_into().unwrap());
    Timeouts { idle, ..Timeouts::DEFAULT }
}

/// The host's network, as a board's network stack.
pub(crate) struct Loopback;

pub(crate) struct Connection(TcpStream);

impl TcpConnect for Loopback {
    type Error = std::io::Error;
    type Connection<'a> = Connection;

    async fn connect(&self, remote: SocketAddr) -> Result<Connection, std::io::Error> {
        let stream = TcpStream::connect(remote).await?;
        stream.set_nodelay(true)?;
        Ok(Connection(stream))
    }
}

impl Dns for Loopback {
    type Error = std::io::Error;

    async fn get_host_by_name(&self, host: &str, _: AddrType) -> Result<IpAddr, std::io::Error> {
        match host {
            "localhost" => Ok(Ipv4Addr::LOCALHOST.into()),
            // reqwless' client passes addresses too, which embassy-net's resolver accepts.
            host => host.parse().map_err(|_| std::io::ErrorKind::NotFound.into()),
        }
    }

    async fn get_host_by_address(&self, _: IpAddr, _: &mut [u8]) -> Result<usize, std::io::Error> {
        Err(std::io::ErrorKind::Unsupported.into())
    }
}

impl ErrorType for Connection {
    type Error = std::io::Error;
}

impl Read for Connection {
    async fn read(&mut self, buffer: &mut [u8]) -> Result<usize, std::io::Error> {
        self.0.read(buffer).await
    }
}

impl Write for Connection {
    async fn write(&mut self, bytes: &[u8]) -> Result<usize, std::io::Error> {
        self.0.write(bytes).await
    }

    async fn flush(&mut self) -> Result<(), std::io::Error> {
        self.0.flush().await
    }
}
