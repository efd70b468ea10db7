//! No key appears in the log, neither in this crate's messages nor in those of its dependencies, at
//! any level.

mod captured;
mod support;

use captured::Log;
use support::{Do, OK, Server, exchange, self_signed, trusting};

#[tokio::test]
async fn a_log_of_everything_holds_no_key() {
    let log = Log::of_everything();
    let plain =
        Server::start(
            |_, n| if n == 1 { Do::Last(OK.to_owned()) } else { Do::Answer(OK.to_owned()) },
        )
        .await;
    let (tls, pem) = self_signed(&["http/1.1"]);
    let secure = Server::start_with(Some(tls), |_, _| Do::Answer(OK.to_owned())).await;
    let (tls, http2_pem) = self_signed(&["h2"]);
    // The server speaks HTTP/1.1 although HTTP/2 was negotiated: the request is written, and fails.
    let http2 = Server::start_with(Some(tls), |_, _| Do::Stall(OK.to_owned())).await;

    let mut transport = trusting(&(pem + &http2_pem));
    for _ in 0..3 {
        let mut reply = exchange(&mut transport, &plain.url()).await;
        if let Err(error) = reply {
            // The server closed after the request had been written, so the retry policy decides.
            assert!(!format!("{error} {error:?}").contains("hush"));
            reply = exchange(&mut transport, &plain.url()).await;
        }
        assert_eq!(reply.unwrap().0, 200);
        assert_eq!(
            exchange(&mut transport, &format!("https://{}", secure.address)).await.unwrap().0,
            200
        );
    }
    let error = exchange(&mut transport, &format!("https://{}", http2.address)).await.unwrap_err();
    assert!(!format!("{error} {error:?}").contains("hush"));

    let log = log.text();
    assert!(log.contains("toolrunner_std") && log.contains("path=\"/v1/messages\""), "{log}");
    assert!(!log.contains("hush"), "{log}");
}
