//! The time by SNTP: from a good server, over a bad wire, and against hostile packets.

use core::cell::RefCell;
use std::rc::Rc;

use embassy_net::IpEndpoint;
use embassy_time::{Duration, Instant, Timer};
use toolrunner_embassy::sntp::{self, Invalid, KissCode, NetworkTime, Patience, Sample, SntpError};
use toolrunner_embassy::tls::{Entropy, EntropyError};
use toolrunner_embassy::{WallClock as _, net};

use crate::lab::{CLIENT, Lab, Wire, fixed};
use crate::udp;

/// 2026-06-01 00:00:00 UTC, when the board starts.
const START: u64 = 1_780_272_000;
const UNIX_EPOCH: u64 = 2_208_988_800;
const SERVER_NAME: &str = "10.0.0.1";

/// Counts, so that each request differs.
struct Counted(u8);

impl Entropy for Counted {
    fn fill(&mut self, bytes: &mut [u8]) -> Result<(), EntropyError> {
        self.0 = self.0.checked_add(1).ok_or(EntropyError)?;
        bytes.fill(self.0);
        Ok(())
    }
}

/// A server's reply to `request` at this instant of the lab.
fn reply(request: &[u8]) -> Vec<u8> {
    let now = Instant::now().as_micros();
    let seconds = u32::try_from(START + UNIX_EPOCH + now / 1_000_000).expect("era 0");
    let fraction = u32::try_from(((now % 1_000_000) << 32) / 1_000_000).expect("less than 1 s");
    let stamp = [seconds.to_be_bytes(), fraction.to_be_bytes()].concat();
    let mut reply = vec![0; 48];
    reply[..2].copy_from_slice(&[0x24, 1]);
    reply[24..32].copy_from_slice(&request[40..48]);
    reply[32..40].copy_from_slice(&stamp);
    reply[40..48].copy_from_slice(&stamp);
    reply
}

type Answers = Vec<(Vec<u8>, IpEndpoint)>;

/// Asks a server that answers the n-th request with `answers(n, request, client)`. Returns the
/// outcome, the number of requests and the time that it took.
fn ask(
    wire: Wire,
    mut answers: impl FnMut(usize, &[u8], IpEndpoint) -> Answers + 'static,
) -> (Result<Sample, SntpError>, usize, Duration) {
    let lab = Lab::new();
    let (client, server) = lab.stacks(wire, fixed(CLIENT));
    let seen = Rc::new(RefCell::new(Vec::<Vec<u8>>::new()));
    let requests = Rc::clone(&seen);
    lab.spawn(udp::serve(server, sntp::PORT, move |request, from| {
        requests.borrow_mut().push(request.to_vec());
        let count = requests.borrow().len();
        answers(count, request, from)
    }));
    let (outcome, time) = lab.run(async {
        // The board has run for a while.
        Timer::after_secs(100).await;
        let start = Instant::now();
        let outcome = net::time(client, SERVER_NAME, &mut Counted(0), Patience::DEFAULT).await;
        (outcome, start.elapsed())
    });
    for request in seen.borrow().iter() {
        // Client, version 4, and nothing of the board but the random bytes.
        assert_eq!((request.len(), request[0]), (48, 0x23));
        assert!(request[1..40].iter().all(|byte| *byte == 0));
    }
    let count = seen.borrow().len();
    (outcome, count, time)
}

#[test]
fn a_server_sets_the_clock() {
    let (outcome, requests, time) =
        ask(Wire::default(), |_, request, from| vec![(reply(request), from)]);
    let sample = outcome.expect("a time");
    assert_eq!((requests, sample.stratum), (1, 1));
    // The wire takes a millisecond each way, and so does ARP the first time.
    assert!(sample.round_trip <= Duration::from_millis(10), "{:?}", sample.round_trip);
    assert!(time < Duration::from_secs(1));
    let off = sample.offset_micros() - (START * 1_000_000).cast_signed();
    assert!(off.abs() <= 5_000, "off by {off} microseconds");

    let clock = NetworkTime::new();
    assert_eq!((clock.unix_seconds(), clock.unix_micros()), (None, None));
    let lab = Lab::new();
    clock.set(sample);
    lab.run(Timer::after_secs(1000));
    assert_eq!(clock.unix_seconds(), Some(START + 1000));
    let micros = clock.unix_micros().expect("a time");
    assert!(micros.abs_diff((START + 1000) * 1_000_000) < 10_000, "{micros}");
}

#[test]
fn lost_packets_are_asked_for_again() {
    let (outcome, requests, time) =
        ask(
            Wire::default(),
            |count, request, from| {
                if count < 3 { vec![] } else { vec![(reply(request), from)] }
            },
        );
    assert!(outcome.is_ok(), "{outcome:?}");
    // Two waits, of 2 and 4 seconds.
    assert_eq!((requests, time.as_secs()), (3, 6));
    let (outcome, requests, time) = ask(Wire::default(), |_, _, _| vec![]);
    assert_eq!(outcome, Err(SntpError::NoReply { ignored: None }));
    assert_eq!((requests, time.as_secs()), (4, 30));
    let (outcome, ..) =
        ask(Wire { lose: 3, double: 2 }, |_, request, from| vec![(reply(request), from)]);
    assert!(outcome.is_ok(), "{outcome:?}");
}

#[test]
fn a_kiss_of_death_ends_the_requests() {
    for code in [KissCode::DENY, KissCode::RSTR, KissCode::RATE] {
        let (outcome, requests, _) = ask(Wire::default(), move |_, request, from| {
            let mut kiss = reply(request);
            kiss[1] = 0;
            kiss[12..16].copy_from_slice(&code.0);
            vec![(kiss, from)]
        });
        assert_eq!((outcome, requests), (Err(SntpError::KissOfDeath(code)), 1));
    }
}

/// The outcome if each request is answered with packets that `spoil` makes of the good reply.
fn spoiled(
    spoil: impl Fn(Vec<u8>) -> Vec<Vec<u8>> + 'static,
) -> (Result<Sample, SntpError>, usize) {
    let (outcome, requests, time) = ask(Wire::default(), move |_, request, from| {
        spoil(reply(request)).into_iter().map(|packet| (packet, from)).collect()
    });
    assert!(time <= Duration::from_secs(30), "{time}");
    (outcome, requests)
}

#[test]
fn hostile_packets_are_ignored() {
    let change = |at: usize, value: u8| {
        move |mut packet: Vec<u8>| {
            packet[at] = value;
            vec![packet]
        }
    };
    let ignored = |why| (Err(SntpError::NoReply { ignored: Some(why) }), 4);
    assert_eq!(spoiled(change(0, 0x23)), ignored(Invalid::Mode));
    assert_eq!(spoiled(change(0, 0x0c)), ignored(Invalid::Version));
    assert_eq!(spoiled(change(0, 0xe4)), ignored(Invalid::Unsynchronized));
    assert_eq!(spoiled(change(1, 16)), ignored(Invalid::Stratum));
    assert_eq!(spoiled(change(24, 0xaa)), ignored(Invalid::Origin));
    assert_eq!(spoiled(change(32, 0xff)), ignored(Invalid::Times));
    assert_eq!(spoiled(|packet| vec![packet[..47].to_vec()]), ignored(Invalid::Short));
    assert_eq!(spoiled(|_| vec![vec![]]), ignored(Invalid::Short));
    assert_eq!(spoiled(|_| vec![vec![0x24; 200]]), ignored(Invalid::Unreadable));
    // A refusal by somebody who has not read the request.
    let forged = |mut packet: Vec<u8>| {
        packet[1] = 0;
        packet[24..32].fill(0);
        vec![packet]
    };
    assert_eq!(spoiled(forged), ignored(Invalid::Origin));
    // A good reply after them counts.
    let late = |packet: Vec<u8>| {
        let mut forged = packet.clone();
        forged[24] ^= 0xff;
        vec![vec![], forged, vec![0xff; 200], packet]
    };
    let (outcome, requests) = spoiled(late);
    assert_eq!((outcome.is_ok(), requests), (true, 1));
}

#[test]
fn replies_to_an_earlier_request_and_from_elsewhere_do_not_count() {
    // The reply to each request is sent only with the next one.
    let mut before = Vec::new();
    let (outcome, requests, _) = ask(Wire::default(), move |_, request, from| {
        let late = core::mem::replace(&mut before, reply(request));
        vec![(late, from)]
    });
    assert_eq!(
        (outcome, requests),
        (Err(SntpError::NoReply { ignored: Some(Invalid::Origin) }), 4)
    );
    // Right in all but the port that it comes from.
    let lab = Lab::new();
    let (client, server) = lab.stacks(Wire::default(), fixed(CLIENT));
    let seen = Rc::new(RefCell::new(None));
    let asked = Rc::clone(&seen);
    lab.spawn(udp::serve(server, sntp::PORT, move |request, from| {
        *asked.borrow_mut() = Some((reply(request), from));
        vec![]
    }));
    lab.spawn(async move {
        use embassy_net::udp::{PacketMetadata, UdpSocket};
        let (mut meta, mut buffer) = ([PacketMetadata::EMPTY; 1], [0; 128]);
        let mut other = UdpSocket::new(server, &mut [], &mut [], &mut meta, &mut buffer);
        other.bind(124).expect("a free port");
        loop {
            Timer::after_millis(5).await;
            let packet = seen.take();
            if let Some((bytes, from)) = packet {
                other.send_to(&bytes, from).await.expect("a route");
            }
        }
    });
    let outcome = lab.run(net::time(client, SERVER_NAME, &mut Counted(0), Patience::DEFAULT));
    assert_eq!(outcome, Err(SntpError::NoReply { ignored: None }));
}

#[test]
fn random_packets_never_set_the_clock() {
    let mut state = 1_u64;
    let (outcome, requests, _) = ask(Wire::default(), move |_, _, from| {
        (0..8)
            .map(|_| {
                let mut packet = Vec::new();
                for _ in 0..40 + state % 40 {
                    state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                    packet.push((state >> 56) as u8);
                }
                (packet, from)
            })
            .collect()
    });
    assert!(matches!(outcome, Err(SntpError::NoReply { ignored: Some(_) })), "{outcome:?}");
    assert_eq!(requests, 4);
}

#[test]
fn what_cannot_be_asked() {
    let lab = Lab::new();
    let (client, _) = lab.stacks(Wire::default(), fixed(CLIENT));
    // Its randomness has failed.
    let outcome = lab.run(net::time(client, SERVER_NAME, &mut Counted(255), Patience::DEFAULT));
    assert_eq!(outcome, Err(SntpError::Entropy));
    // Nobody is there: neither a DNS server, nor a time server.
    let outcome = lab.run(net::time(client, "time.test", &mut Counted(0), Patience::DEFAULT));
    assert_eq!(outcome, Err(SntpError::Lookup));
    let outcome = lab.run(net::time(client, "10.0.0.99", &mut Counted(0), Patience::DEFAULT));
    assert_eq!(outcome, Err(SntpError::NoReply { ignored: None }));
}
