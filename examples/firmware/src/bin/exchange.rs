//! Sends requests one after another through the transport, without the loop, to measure what the
//! board, the stack and TLS need by themselves.
//!
//! `arg=exchange,arg=BASE_URL` requests `BASE_URL/v1/messages` twice and prints status and body.
#![no_std]
#![no_main]

use core::mem::MaybeUninit;

use embassy_executor::Spawner;
use embassy_net::tcp::client::{TcpClient, TcpClientState};
use embedded_io_async::BufRead as _;
use static_cell::ConstStaticCell;
use toolrunner_embassy::machine::transport::{Body, Head, Transport as _};
use toolrunner_embassy::{Error, Link, Timeouts, Transport};
use toolrunner_firmware::names::Names;
use toolrunner_firmware::{console, executor, host, network, print, stack, time};

#[embassy_executor::main(
    entry = "cortex_m_rt::entry",
    executor = "toolrunner_firmware::executor::Executor"
)]
async fn main(spawner: Spawner) {
    stack::paint();
    let Some(core) = cortex_m::Peripherals::take() else { host::exit(102) };
    time::start(core.SYST);
    let mut line = [MaybeUninit::uninit(); 160];
    let base_url = host::command_line(&mut line).split(' ').nth(1).unwrap_or_default();

    static TCP: ConstStaticCell<TcpClientState<1, 1024, 2048>> =
        ConstStaticCell::new(TcpClientState::new());
    let tcp = TcpClient::new(network::start(spawner), TCP.take());

    #[cfg(not(feature = "tls"))]
    {
        use toolrunner_embassy::{Plain, Resources};
        static RESOURCES: ConstStaticCell<Resources> = ConstStaticCell::new(Resources::new());
        ask(
            Transport::new(
                Plain::new(&tcp, &Names, &mut RESOURCES.take().buffer),
                Timeouts::DEFAULT,
            ),
            base_url,
        )
        .await;
    }
    #[cfg(feature = "tls")]
    {
        use toolrunner_embassy::tls::{Handoff, Resources, Secure, Security, Trust, session};
        static RESOURCES: ConstStaticCell<Resources> = ConstStaticCell::new(Resources::new());
        let (buffer, records) = RESOURCES.take().split();
        let anchors = [toolrunner_firmware::trust::anchor()];
        let security =
            Security { trust: Trust::anchors(&anchors), clock: host::Host, entropy: host::Host };
        let handoff = Handoff::new();
        let session = core::pin::pin!(session(&handoff, records, &tcp, &Names, security));
        ask(Transport::new(Secure::new(&handoff, session, buffer), Timeouts::DEFAULT), base_url)
            .await;
    }
    console::number("stack: ", stack::deepest());
    console::number("busy: ", executor::busy());
    host::exit(0);
}

async fn ask<L: Link>(mut transport: Transport<L>, base_url: &str) {
    for _ in 0..2 {
        match one(&mut transport, base_url).await {
            Ok(()) => print!("\n"),
            Err(e) => print!("error: {e}\n"),
        }
    }
}

async fn one<L: Link>(transport: &mut Transport<L>, base_url: &str) -> Result<(), Error> {
    let head =
        Head { base_url, path: "/v1/messages", headers: &[("content-type", "application/json")] };
    let mut reply = transport.send(&head, &Body::new(&[b"{}"], b"", b"")).await?;
    print!("{} ", reply.head.status);
    loop {
        let piece = reply.body.fill_buf().await?;
        if piece.is_empty() {
            return Ok(());
        }
        print!("{}", core::str::from_utf8(piece).unwrap_or("?"));
        let len = piece.len();
        reply.body.consume(len);
    }
}
