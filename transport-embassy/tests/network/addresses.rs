//! A host with several addresses, which are tried in turn.

use std::rc::Rc;

use embassy_time::{Duration, Instant};
use toolrunner_core::error::TransportKind;
use toolrunner_core::transport::TransportError as _;
use toolrunner_embassy::net::Names;
use toolrunner_embassy::{
    Addresses, ConnectFailure, Error, Lookup, LookupError, MAX_ADDRESSES, Plain, Timeouts,
    Transport,
};

use crate::lab::{CLIENT, Lab, SERVER, Wire, fixed, kept, tcp};
use crate::server::{Act, say, serve};
use crate::{Log, exchange, udp};

const URL: &str = "http://api.example.com:8080";
const OK: &str = "HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhello";
const NOBODY: [u8; 4] = [10, 0, 0, 99];
const SOMEBODY: [u8; 4] = [10, 0, 0, 1];

/// The outcome of one request to a host with these addresses in the DNS, the time that it took, and
/// the number of connections that the server saw.
fn ask(addresses: &[[u8; 4]], listens: bool) -> (Result<String, Error>, Duration, usize) {
    let lab = Lab::new();
    let (client, server) = lab.stacks(Wire::default(), fixed(CLIENT));
    lab.spawn(udp::names(server, addresses.to_vec()));
    let seen = Log::default();
    if listens {
        let script = vec![vec![Act::Request, say(OK)]];
        lab.spawn(serve(lab.spawner(), server, None, script, Rc::clone(&seen)));
    }
    let link = Plain::new(tcp(client), kept(Names(client)), kept([0; 256]));
    let mut transport = Transport::new(link, Timeouts::DEFAULT);
    let outcome = lab.run(async {
        let start = Instant::now();
        let outcome = exchange(&mut transport, URL, "[]").await.map(|(_, text)| text);
        (outcome, start.elapsed())
    });
    let connections = seen.borrow().connections;
    (outcome.0, outcome.1, connections)
}

#[test]
fn the_first_address_that_answers_is_used() {
    assert_eq!(SERVER.octets(), SOMEBODY);
    let (outcome, time, connections) = ask(&[SOMEBODY, NOBODY], true);
    assert_eq!((outcome, connections), (Ok("hello".into()), 1));
    assert!(time < Duration::from_secs(1), "{time}");
    // Half of the 30 seconds for the first address.
    let (outcome, time, connections) = ask(&[NOBODY, SOMEBODY], true);
    assert_eq!((outcome, connections), (Ok("hello".into()), 1));
    assert!(time > Duration::from_secs(14) && time < Duration::from_secs(17), "{time}");
    // A third for each of the first two.
    let (outcome, time, _) = ask(&[NOBODY, [10, 0, 0, 98], SOMEBODY], true);
    assert_eq!(outcome, Ok("hello".into()));
    assert!(time > Duration::from_secs(19) && time < Duration::from_secs(22), "{time}");
}

#[test]
fn the_error_has_the_last_failure_and_the_number_of_addresses() {
    let (outcome, time, _) = ask(&[NOBODY, [10, 0, 0, 98]], false);
    let error = Error::Unreachable { tried: 2, last: ConnectFailure::Timeout };
    assert_eq!(outcome, Err(error));
    assert_eq!(error.kind(), TransportKind::Timeout);
    assert!(time > Duration::from_secs(29) && time < Duration::from_secs(31), "{time}");
    // The server's stack refuses, because nobody listens.
    let (outcome, _, _) = ask(&[NOBODY, SOMEBODY], false);
    let error = Error::Unreachable { tried: 2, last: ConnectFailure::Refused };
    assert_eq!(outcome, Err(error));
    assert_eq!(error.kind(), TransportKind::Connect);
    assert_eq!(
        error.to_string(),
        "could not connect to any of the host's 2 addresses; the last: refused, or no route"
    );
    // With one address, the error is that address's.
    assert_eq!(ask(&[SOMEBODY], false).0, Err(Error::Connect));
    assert_eq!(ask(&[NOBODY], false).0, Err(Error::Timeout));
    assert_eq!(ask(&[], false).0, Err(Error::Dns));
}

#[test]
fn at_most_four_addresses_are_tried() {
    let many: Vec<[u8; 4]> = (90..96).map(|last| [10, 0, 0, last]).collect();
    let error = Error::Unreachable { tried: MAX_ADDRESSES, last: ConnectFailure::Timeout };
    assert_eq!(ask(&many, false).0, Err(error));
}

/// A lookup that finds a name without addresses.
struct Empty;

impl Lookup for Empty {
    async fn addresses(&self, _: &str) -> Result<Addresses, LookupError> {
        Ok(Addresses::new())
    }
}

#[test]
fn a_lookup_without_addresses_is_an_error_of_the_lookup() {
    let lab = Lab::new();
    let (tcp, _) = lab.network(Wire::default());
    let mut transport = Transport::new(Plain::new(tcp, &Empty, kept([0; 256])), Timeouts::DEFAULT);
    let outcome = lab.run(async { exchange(&mut transport, URL, "[]").await.map(|_| ()) });
    assert_eq!(outcome, Err(Error::Dns));
}
