//! One exchange after the other through the transport, without the loop: what the board, the stack and TLS need by themselves.
//!
//! `arg=exchange,arg=PORT` asks `http[s]://api.test:PORT/v1/messages` twice and prints status and body.
#![no_std]
#![no_main]

use core::mem::MaybeUninit;

use embassy_executor::Spawner;
use embassy_net::tcp::client::{TcpClient, TcpClientState};
use embassy_net::{Ipv4Address, Ipv4Cidr, StackResources, StaticConfigV4};
use embedded_io_async::BufRead as _;
use static_cell::ConstStaticCell;
use toolrunner_core::transport::{Body, Head, Transport as _};
use toolrunner_embassy::{Error, Link, Timeouts, Transport};
use toolrunner_firmware::board::Ethernet;
use toolrunner_firmware::console::{number, print, text};
use toolrunner_firmware::names::{HOST, Names};
use toolrunner_firmware::{host, stack as painted, time};

type Runner = embassy_net::Runner<'static, Ethernet>;

#[embassy_executor::task]
async fn network(mut runner: Runner) -> ! {
    runner.run().await
}

#[embassy_executor::main]
async fn main(spawner: Spawner) {
    let Some(core) = cortex_m::Peripherals::take() else { host::exit(102) };
    painted::paint();
    time::start(core.SYST);

    static SOCKETS: ConstStaticCell<StackResources<1>> = ConstStaticCell::new(StackResources::new());
    let config = StaticConfigV4 {
        address: Ipv4Cidr::new(Ipv4Address::new(10, 0, 2, 15), 24),
        gateway: Some(HOST),
        dns_servers: Default::default(),
    };
    let mut seed = [0; 8];
    host::random(&mut seed);
    let config = embassy_net::Config::ipv4_static(config);
    let (stack, runner) = embassy_net::new(Ethernet::start(), config, SOCKETS.take(), u64::from_le_bytes(seed));
    spawner.spawn(network(runner).expect("the only one"));

    let mut line = [MaybeUninit::uninit(); 64];
    let port = host::command_line(&mut line).split(' ').nth(1).unwrap_or("8080");

    static TCP: ConstStaticCell<TcpClientState<1, 1024, 2048>> = ConstStaticCell::new(TcpClientState::new());
    let tcp = TcpClient::new(stack, TCP.take());
    let mut url = heapless::String::<40>::new();
    for piece in [if cfg!(feature = "tls") { "https" } else { "http" }, "://api.test:", port] {
        url.push_str(piece).expect("a short port");
    }

    #[cfg(not(feature = "tls"))]
    {
        use toolrunner_embassy::{Plain, Resources};
        static RESOURCES: ConstStaticCell<Resources> = ConstStaticCell::new(Resources::new());
        let resources = RESOURCES.take();
        ask(Transport::new(Plain::new(&tcp, &Names, &mut resources.buffer), Timeouts::DEFAULT), &url).await;
    }
    #[cfg(feature = "tls")]
    {
        use toolrunner_embassy::tls::{CertificateDer, Handoff, Resources, Secure, Security, Trust, anchor_from_trusted_cert, session};
        static RESOURCES: ConstStaticCell<Resources> = ConstStaticCell::new(Resources::new());
        let (buffer, records) = RESOURCES.take().split();
        let root = CertificateDer::from(include_bytes!("../../certificates/root.der").as_slice());
        let anchors = [anchor_from_trusted_cert(&root).expect("a root")];
        let security = Security { trust: Trust::anchors(&anchors), clock: host::Host, entropy: host::Host };
        let handoff = Handoff::new();
        let session = core::pin::pin!(session(&handoff, records, &tcp, &Names, security));
        ask(Transport::new(Secure::new(&handoff, session, buffer), Timeouts::DEFAULT), &url).await;
    }
    text("stack ");
    number(painted::deepest());
    print(&[]);
    host::exit(0);
}

async fn ask<L: Link>(mut transport: Transport<L>, base_url: &str) {
    for _ in 0..2 {
        match one(&mut transport, base_url).await {
            Ok(()) => print(&[]),
            Err(e) => print(&["failed: ", reason(e)]),
        }
    }
}

async fn one<L: Link>(transport: &mut Transport<L>, base_url: &str) -> Result<(), Error> {
    let head = Head { base_url, path: "/v1/messages", headers: &[("content-type", "application/json")] };
    let mut reply = transport.send(&head, &Body::new(&[b"{}"], b"", b"")).await?;
    number(u32::from(reply.head.status));
    text(" ");
    loop {
        let piece = reply.body.fill_buf().await?;
        if piece.is_empty() {
            return Ok(());
        }
        text(core::str::from_utf8(piece).unwrap_or("?"));
        let len = piece.len();
        reply.body.consume(len);
    }
}

/// `Display` would bring core::fmt in.
fn reason(error: Error) -> &'static str {
    match error {
        Error::Closed => "closed",
        Error::Connect => "no connection",
        Error::Dns => "no address",
        Error::Timeout => "timeout",
        #[cfg(feature = "tls")]
        Error::Refused(why) => why.text(),
        #[cfg(feature = "tls")]
        Error::HandshakeRefused => "handshake refused",
        #[cfg(feature = "tls")]
        Error::Tls => "tls",
        _ => "another error",
    }
}
