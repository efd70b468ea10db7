//! DHCP during a run: leases that are renewed, and an address that changes.

use core::cell::{Cell, RefCell};
use std::rc::Rc;

use embassy_net::{Config, Ipv4Address, Stack};
use embassy_time::{Duration, Instant, Timer};
use toolrunner_core::drive::Driver;
use toolrunner_core::message::StopReason;
use toolrunner_core::run::{Outcome, Run};
use toolrunner_core::transcript::Transcript;
use toolrunner_core::wire::Config as RunConfig;
use toolrunner_embassy::{EmbassyClock, Plain, Timeouts, Transport};

use crate::lab::{Lab, SERVER, Wire, kept, tcp};
use crate::server::{Act, say, serve};
use crate::{Log, Names, udp};

const URL: &str = "http://api.example.com:8080";
const FIRST: Ipv4Address = Ipv4Address::new(10, 0, 0, 50);
const SECOND: Ipv4Address = Ipv4Address::new(10, 0, 0, 51);
/// The length of a lease in seconds. The client renews it after half of it.
const LEASE: u32 = 20;

const DISCOVER: u8 = 1;
const OFFER: u8 = 2;
const REQUEST: u8 = 3;
const ACK: u8 = 5;
const NAK: u8 = 6;

/// A DHCP server that gives one address, which may change.
struct Dhcp {
    gives: Cell<Ipv4Address>,
    /// The kinds of messages that it has answered.
    asked: RefCell<Vec<u8>>,
    /// The number of requests from an address that the client already has.
    renewals: Cell<u32>,
}

/// A message of RFC 2131, section 2: the fixed part, the magic cookie, and the options.
fn option(message: &[u8], wanted: u8) -> Option<&[u8]> {
    let mut options = message.get(240..)?;
    loop {
        let [code, len, rest @ ..] = options else { return None };
        let value = rest.get(..usize::from(*len))?;
        if *code == wanted {
            return Some(value);
        }
        options = &rest[value.len()..];
    }
}

impl Dhcp {
    fn new() -> Self {
        Self { gives: Cell::new(FIRST), asked: RefCell::default(), renewals: Cell::new(0) }
    }

    fn answer(&self, message: &[u8]) -> Option<Vec<u8>> {
        let kind = option(message, 53)?[0];
        let gives = self.gives.get();
        // The address that the client has, if it renews one, or else the one that it asks for.
        let wanted = option(message, 50).unwrap_or_else(|| &message[12..16]);
        let answer = match kind {
            DISCOVER => OFFER,
            REQUEST if *wanted == gives.octets() => ACK,
            REQUEST => NAK,
            _ => return None,
        };
        self.asked.borrow_mut().push(kind);
        if message[12..16] != [0; 4] {
            self.renewals.set(self.renewals.get() + 1);
        }
        let mut reply = message[..240].to_vec();
        reply[0] = 2;
        reply[16..20].copy_from_slice(&if answer == NAK { [0; 4] } else { gives.octets() });
        reply.extend([53, 1, answer]);
        reply.extend([54, 4]);
        reply.extend(SERVER.octets());
        if answer != NAK {
            reply.extend([51, 4]);
            reply.extend(LEASE.to_be_bytes());
            reply.extend([1, 4, 255, 255, 255, 0]);
        }
        reply.push(255);
        Some(reply)
    }
}

/// The client's stack, with an address by DHCP, and the server's.
fn leased(lab: &Lab) -> (Stack<'static>, Stack<'static>, Rc<Dhcp>) {
    let (client, server) = lab.stacks(Wire::default(), Config::dhcpv4(Default::default()));
    let dhcp = Rc::new(Dhcp::new());
    let serving = Rc::clone(&dhcp);
    lab.spawn(udp::serve(server, 67, move |message, from| {
        // A client without an address is reached only by a broadcast.
        let to = if message[12..16] == [0; 4] { (Ipv4Address::BROADCAST, 68).into() } else { from };
        serving.answer(message).into_iter().map(|reply| (reply, to)).collect()
    }));
    (client, server, dhcp)
}

fn address(stack: Stack<'static>) -> Option<Ipv4Address> {
    stack.config_v4().map(|config| config.address.address())
}

/// A reply in two halves.
fn message(text: &str) -> (String, String) {
    let body = format!(
        r#"{{"role":"assistant","content":[{{"type":"text","text":"{text}"}}],"stop_reason":"end_turn"}}"#
    );
    let head = format!(
        "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n",
        body.len()
    );
    let (first, rest) = body.split_at(20);
    (head + first, rest.to_owned())
}

/// Runs one question to its end, over a transport that waits `idle` for bytes.
async fn ask(client: Stack<'static>, idle: Duration) -> Result<Outcome, String> {
    client.wait_config_up().await;
    let link = Plain::new(tcp(client), &Names, kept([0; 256]));
    let transport = Transport::new(link, Timeouts { idle, ..Timeouts::DEFAULT });
    let config = RunConfig::new("m", 64).stream(false).base_url(URL);
    let mut driver = Driver::new(config, transport, &(), EmbassyClock::new(1)).expect("a config");
    let mut run = Run::new(Transcript::new(kept([0; 512])));
    run.user("hello?").expect("room");
    driver.until_done(&mut run, &mut ()).await.map_err(|e| e.error.to_string())
}

const ENDED: Result<Outcome, String> = Ok(Outcome::Ended(Some(StopReason::EndTurn)));

#[test]
fn a_run_does_not_notice_that_its_lease_is_renewed() {
    let lab = Lab::new();
    let (client, server, dhcp) = leased(&lab);
    let (first, rest) = message("hello");
    // Four leases long.
    let wait = Act::Wait(Duration::from_secs(u64::from(4 * LEASE)));
    let seen = Log::default();
    let script = vec![vec![Act::Request, say(first), wait, say(rest)]];
    lab.spawn(serve(lab.spawner(), server, None, script, Rc::clone(&seen)));
    assert_eq!(lab.run(ask(client, Duration::from_secs(120))), ENDED);
    assert_eq!(address(client), Some(FIRST));
    assert_eq!((seen.borrow().connections, seen.borrow().requests.len()), (1, 1));
    // One after every half of a lease.
    assert!((6..=9).contains(&dhcp.renewals.get()), "{:?}", dhcp.asked);
}

#[test]
fn a_run_goes_on_from_a_new_address() {
    let lab = Lab::new();
    let (client, server, dhcp) = leased(&lab);
    let (first, rest) = message("hello");
    let seen = Log::default();
    // The rest of the first reply is sent to an address that the board has no more.
    let lost = vec![Act::Request, say(&first), Act::Wait(Duration::from_secs(15)), say(&rest)];
    let script = vec![lost, vec![Act::Request, say(&first), say(&rest)]];
    lab.spawn(serve(lab.spawner(), server, None, script, Rc::clone(&seen)));
    lab.spawn({
        let dhcp = Rc::clone(&dhcp);
        async move {
            Timer::after_secs(5).await;
            dhcp.gives.set(SECOND);
        }
    });
    let idle = Duration::from_secs(30);
    assert_eq!(lab.run(ask(client, idle)), ENDED);
    assert_eq!(address(client), Some(SECOND));
    assert!(dhcp.asked.borrow().iter().filter(|kind| **kind == DISCOVER).count() >= 2);
    let seen = seen.borrow();
    assert_eq!(seen.requests.len(), 2);
    assert_eq!(seen.requests[0], seen.requests[1]);
    assert_eq!(seen.peers, [FIRST.into(), SECOND.into()]);
    // embassy-net ends the connections of an address that is gone, when half of its lease is over:
    // the run does not wait until its connection is idle for too long.
    let end = Instant::now().as_secs();
    assert!((u64::from(LEASE / 2)..15).contains(&end), "{end}");
}
