//! No key in what is logged, by us or by what we use, whatever the level.

mod support;

use std::io;
use std::sync::{Arc, Mutex};

use support::{Do, OK, Server, exchange, self_signed, trusting};
use tracing_subscriber::filter::LevelFilter;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;

#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl io::Write for Log {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[tokio::test]
async fn a_log_of_everything_holds_no_key() {
    let log = Log::default();
    let writer = log.clone();
    tracing_subscriber::registry()
        .with(tracing_subscriber::fmt::layer().with_writer(move || writer.clone()).with_ansi(false))
        .with(LevelFilter::TRACE)
        .init();

    let plain = Server::start(|_, n| if n == 1 { Do::Last(String::new()) } else { Do::Answer(OK.to_owned()) }).await;
    let (tls, pem) = self_signed(&["http/1.1"]);
    let secure = Server::start_with(Some(tls), |_, _| Do::Answer(OK.to_owned())).await;
    let (tls, http2_pem) = self_signed(&["h2"]);
    // It speaks HTTP/1.1 where HTTP/2 was agreed on: the request is written, and fails.
    let http2 = Server::start_with(Some(tls), |_, _| Do::Stall(OK.to_owned())).await;

    let mut transport = trusting(&(pem + &http2_pem));
    for _ in 0..3 {
        assert_eq!(exchange(&mut transport, &plain.url()).await.unwrap().0, 200);
        assert_eq!(exchange(&mut transport, &format!("https://{}", secure.address)).await.unwrap().0, 200);
    }
    let error = exchange(&mut transport, &format!("https://{}", http2.address)).await.unwrap_err();
    assert!(!format!("{error} {error:?}").contains("hush"));

    let log = String::from_utf8(log.0.lock().unwrap().clone()).unwrap();
    assert!(log.contains("toolrunner_std") && log.contains("path=\"/v1/messages\""), "{log}");
    assert!(!log.contains("hush"), "{log}");
}
