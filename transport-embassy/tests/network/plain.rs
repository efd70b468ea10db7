//! Without TLS: what HTTP/1.1 asks for, what can go wrong with it, and keep-alive.

use std::rc::Rc;

use embassy_time::{Duration, Instant, Timer, with_timeout};
use embedded_io_async::BufRead as _;
use toolrunner_core::drive::Driver;
use toolrunner_core::error::{Capacity, CapacityKind, Error as CoreError, Phrase};
use toolrunner_core::message::StopReason;
use toolrunner_core::observe::{Event, Observer};
use toolrunner_core::run::{Outcome, Run};
use toolrunner_core::transcript::Transcript;
use toolrunner_core::transport::ReplyHead;
use toolrunner_core::wire::Config;
use toolrunner_embassy::{Cancel, EmbassyClock, Error, MIN_BUFFER, Plain, Timeouts, Transport};

use crate::lab::{Lab, Tcp, Wire, kept};
use crate::server::{Act, say, serve};
use crate::{Log, Names, exchange, post};

const URL: &str = "http://api.example.com:8080";
const OK: &str = "HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhello";

type Client = Transport<Plain<'static, Tcp, Names>>;

/// A transport through a buffer of `len` bytes to a server that follows `script`.
fn client(lab: &Lab, wire: Wire, len: usize, script: Vec<Vec<Act>>) -> (Client, Log) {
    let (tcp, server) = lab.network(wire);
    let seen = Log::default();
    lab.spawn(serve(lab.spawner(), server, None, script, Rc::clone(&seen)));
    (Transport::new(Plain::new(tcp, &Names, kept(vec![0; len])), Timeouts::DEFAULT), seen)
}

/// The outcome of one request to a server that follows `acts`, and how long it took.
fn one(acts: Vec<Act>) -> (Result<(u16, String), Error>, Duration) {
    let lab = Lab::new();
    let (mut transport, _) = client(&lab, Wire::default(), 256, vec![acts]);
    lab.run(async {
        let start = Instant::now();
        let outcome =
            exchange(&mut transport, URL, "[]").await.map(|(head, text)| (head.status, text));
        (outcome, start.elapsed())
    })
}

fn reply(bytes: &str) -> Result<(u16, String), Error> {
    one(vec![Act::Request, say(bytes), Act::Close]).0
}

#[test]
fn the_request_is_exact() {
    let lab = Lab::new();
    // A buffer that is smaller than the request.
    let (mut transport, seen) =
        client(&lab, Wire::default(), 64, vec![vec![Act::Request, say(OK)]]);
    lab.run(async {
        exchange(&mut transport, "http://api.example.com:8080/gateway/", "[1,2,3]")
            .await
            .expect("a reply")
    });
    assert_eq!(
        seen.borrow().requests[0],
        "POST /gateway/v1/messages HTTP/1.1\r\nhost: api.example.com:8080\r\ncontent-length: 20\r\nx-api-key: secret\r\n\
         anthropic-version: 2023-06-01\r\n\r\n{\"messages\":[1,2,3]}"
    );
}

#[test]
fn a_body_of_known_length_in_chunks_and_to_the_end() {
    assert_eq!(reply(OK), Ok((200, "hello".into())));
    let chunked = "HTTP/1.1 200 OK\r\nTransfer-Encoding: Chunked\r\n\r\n3;name=value\r\nhel\r\n0002\r\nlo\r\n0\r\nx-trailer: 1\r\n\r\n";
    assert_eq!(reply(chunked), Ok((200, "hello".into())));
    assert_eq!(reply("HTTP/1.1 200 OK\r\n\r\nhello"), Ok((200, "hello".into())));
    assert_eq!(reply("HTTP/1.0 200 OK\r\n\r\nhello"), Ok((200, "hello".into())));
    assert_eq!(reply("HTTP/1.1 200\r\ncontent-length: 0\r\n\r\n"), Ok((200, String::new())));
    assert_eq!(reply("HTTP/1.1 204 No Content\r\n\r\n"), Ok((204, String::new())));
    assert_eq!(
        reply(&format!("HTTP/1.1 103 Early Hints\r\nlink: </a>\r\n\r\n{OK}")),
        Ok((200, "hello".into()))
    );
}

#[test]
fn a_reply_cut_anywhere_into_two() {
    let text =
        "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n3\r\nhel\r\n2\r\nlo\r\n0\r\n\r\n";
    for at in 1..text.len() {
        let (first, rest) = text.split_at(at);
        let acts = vec![Act::Request, say(first), Act::Wait(Duration::from_millis(20)), say(rest)];
        assert_eq!(one(acts).0, Ok((200, "hello".into())), "cut at {at}");
        assert_eq!(reply(first), Err(Error::Closed), "ends at {at}");
    }
}

#[test]
fn what_the_core_reads_of_a_head() {
    let lab = Lab::new();
    let text = "HTTP/1.1 529 Overloaded\r\nRequest-Id: req_1\r\nretry-after: 3\r\nretry-after-ms: 250\r\nX-Should-Retry: true\r\n\
                set-cookie: a=b\r\ncontent-length: 2\r\n\r\n{}";
    let (mut transport, _) =
        client(&lab, Wire::default(), 256, vec![vec![Act::Request, say(text)]]);
    let (head, body) =
        lab.run(async { exchange(&mut transport, URL, "[]").await.expect("a reply") });
    assert_eq!(
        (head.status, head.request_id(), head.should_retry, body.as_str()),
        (529, "req_1", Some(true), "{}")
    );
    assert_eq!(head.retry_after, Some(core::time::Duration::from_millis(250)));
}

#[test]
fn what_is_no_http() {
    for text in [
        "SSH-2.0-OpenSSH\r\n\r\n",
        "HTTP/2 200 OK\r\n\r\n",
        "HTTP/1.1 2000 OK\r\n\r\n",
        "HTTP/1.1 abc\r\n\r\n",
        "HTTP/1.1 200 OK\r\nno colon\r\n\r\n",
        "HTTP/1.1 200 OK\r\ncontent-length: -1\r\n\r\n",
        "HTTP/1.1 200 OK\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\n",
        "HTTP/1.1 200 OK\r\ntransfer-encoding: gzip\r\n\r\n",
        "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nxyz\r\n",
        "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n1\r\nab\r\n",
        "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n11111111111111111\r\n",
    ] {
        assert_eq!(reply(text), Err(Error::Http), "{text:?}");
    }
}

#[test]
fn a_head_larger_than_the_buffer() {
    // A line that is longer and says how the body ends.
    for name in ["content-length", "Transfer-Encoding", "connection"] {
        let line = format!("HTTP/1.1 200 OK\r\n{name}: {}5\r\n\r\nhello", " ".repeat(300));
        assert_eq!(reply(&line), Err(Error::Capacity(ReplyHead::full(257, 256))), "{name}");
    }
    // Many lines that fit are no problem, however large the head is.
    let lines = format!(
        "HTTP/1.1 200 OK\r\n{}content-length: 5\r\n\r\nhello",
        "x-filler: abcdefgh\r\n".repeat(200)
    );
    assert_eq!(reply(&lines), Ok((200, "hello".into())));
}

/// A long line at every place where it says nothing that is needed, of every length around the
/// buffer's.
#[test]
fn long_lines_that_nobody_reads() {
    for len in (230..280).chain([511, 512, 513, 1500, 5000]) {
        let long = "a".repeat(len);
        for head in [
            format!("HTTP/1.1 200 {long}\r\ncontent-length: 5\r\n\r\nhello"),
            format!(
                "HTTP/1.1 200 OK\r\ncontent-security-policy: {long}\r\ncontent-length: 5\r\n\r\nhello"
            ),
            format!(
                "HTTP/1.1 200 OK\r\ncontent-length: 5\r\nset-cookie: {long}\r\nrequest-id: {long}\r\n\r\nhello"
            ),
            format!("HTTP/1.1 200 OK\r\n{long}: {long}\r\ncontent-length: 5\r\n\r\nhello"),
            format!(
                "HTTP/1.1 103 Early Hints\r\nlink: {long}\r\n\r\nHTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhello"
            ),
            format!(
                "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5;{long}\r\nhello\r\n0;{long}\r\nx: {long}\r\n\r\n"
            ),
        ] {
            assert_eq!(reply(&head), Ok((200, "hello".into())), "{len}");
        }
        assert_eq!(reply(&format!("HTTP/1.1 200 OK\r\nx: {long}")), Err(Error::Closed), "{len}");
    }
}

/// The outcome of one request through a buffer of `len` bytes, and how many connections there were.
fn through(len: usize, url: &str) -> (Result<String, Error>, usize) {
    let lab = Lab::new();
    let text = format!(
        "HTTP/1.1 200 Everything is fine and more than forty bytes long\r\nx-filler: {}\r\n{}",
        "a".repeat(99),
        &OK[17..]
    );
    let (mut transport, seen) =
        client(&lab, Wire::default(), len, vec![vec![Act::Request, say(text)]]);
    let outcome =
        lab.run(async { exchange(&mut transport, url, "[]").await.map(|(_, text)| text) });
    let connections = seen.borrow().connections;
    (outcome, connections)
}

#[test]
fn a_buffer_that_is_too_small_is_named_before_anything_is_sent() {
    for len in 0..MIN_BUFFER {
        assert_eq!(through(len, URL), (Err(Error::Capacity(ReplyHead::full(MIN_BUFFER, len))), 0));
    }
    for len in MIN_BUFFER..100 {
        assert_eq!(through(len, URL), (Ok("hello".into()), 1), "{len}");
    }
}

#[test]
fn a_host_that_is_too_long_is_named_with_its_length() {
    let url = format!("http://{}", "a".repeat(200));
    assert_eq!(
        through(256, &url),
        (Err(Error::Capacity(Capacity { what: CapacityKind::Host, needed: 200, free: 128 })), 0)
    );
}

#[test]
fn sockets_that_are_all_in_use_are_named() {
    let lab = Lab::new();
    let (tcp, server) = lab.network(Wire::default());
    lab.spawn(serve(
        lab.spawner(),
        server,
        None,
        vec![vec![Act::Request, say(OK)]; 2],
        Log::default(),
    ));
    let transport =
        || Transport::new(Plain::new(tcp, &Names, kept(vec![0; 256])), Timeouts::DEFAULT);
    let (mut one, mut two) = (transport(), transport());
    lab.run(async {
        assert_eq!(exchange(&mut one, URL, "[]").await.expect("a reply").1, "hello");
        assert_eq!(exchange(&mut two, URL, "[]").await.map(|_| ()), Err(Error::Socket));
        // Somebody who does not answer is another thing.
        one.close();
        assert_eq!(
            exchange(&mut two, "http://10.0.0.1:81", "[]").await.map(|_| ()),
            Err(Error::Connect)
        );
        assert_eq!(exchange(&mut two, URL, "[]").await.expect("a reply").1, "hello");
    });
}

/// A run that waits for a reply, or for its second half, ends in the moment in which another task
/// cancels it, and goes on afterwards.
#[test]
fn a_cancelled_run_ends_at_once() {
    static CANCEL: Cancel = Cancel::new();
    let whole = r#"{"role":"assistant","content":[{"type":"text","text":"hello"}],"stop_reason":"end_turn"}"#;
    let head = format!(
        "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n",
        whole.len()
    );
    for said in [String::new(), format!("{head}{}", &whole[..30])] {
        CANCEL.clear();
        let lab = Lab::new();
        let script =
            vec![vec![Act::Request, say(said)], vec![Act::Request, say(format!("{head}{whole}"))]];
        let (transport, seen) = client(&lab, Wire::default(), 256, script);
        lab.spawn(async {
            Timer::after_secs(2).await;
            CANCEL.cancel();
        });
        let config = Config::new("m", 64).stream(false).base_url(URL);
        let mut driver = Driver::new(config, transport, &(), EmbassyClock::new(1))
            .expect("a configuration")
            .hooks(&CANCEL);
        let mut run = Run::new(Transcript::new(kept([0; 512])));
        run.user("hello?").expect("room");
        lab.run(async {
            assert_eq!(
                driver.until_done(&mut run, &mut ()).await.map_err(|e| e.error),
                Ok(Outcome::Stopped)
            );
            assert_eq!(Instant::now().as_millis(), 2000);
            CANCEL.clear();
            run.resume();
            let ended = Ok(Outcome::Ended(Some(StopReason::EndTurn)));
            assert_eq!(driver.until_done(&mut run, &mut ()).await.map_err(|e| e.error), ended);
        });
        assert_eq!(seen.borrow().connections, 2);
    }
}

#[test]
fn keep_alive_over_three_turns() {
    let lab = Lab::new();
    let chunked = "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n";
    let script =
        vec![vec![Act::Request, say(OK), Act::Request, say(chunked), Act::Request, say(OK)]];
    let (mut transport, seen) = client(&lab, Wire::default(), 256, script);
    lab.run(async {
        for _ in 0..3 {
            assert_eq!(exchange(&mut transport, URL, "[]").await.expect("a reply").1, "hello");
            Timer::after_secs(30).await;
        }
    });
    assert_eq!((seen.borrow().connections, seen.borrow().requests.len()), (1, 3));
}

#[test]
fn the_server_closes_between_turns() {
    for close in ["content-length: 5\r\n", "content-length: 5\r\nConnection: Close\r\n"] {
        let lab = Lab::new();
        let turn =
            vec![Act::Request, say(format!("HTTP/1.1 200 OK\r\n{close}\r\nhello")), Act::Close];
        let (mut transport, seen) = client(&lab, Wire::default(), 256, vec![turn; 3]);
        lab.run(async {
            for _ in 0..3 {
                assert_eq!(exchange(&mut transport, URL, "[]").await.expect("a reply").1, "hello");
                Timer::after_secs(5).await;
            }
        });
        assert_eq!((seen.borrow().connections, seen.borrow().requests.len()), (3, 3));
    }
}

/// Whole replies to whole requests, over a driver: how often the run reported a retry, and what the
/// server saw.
fn two_runs(script: Vec<Vec<Act>>, wait: u64) -> (u32, Vec<Result<Outcome, CoreError>>, Log) {
    struct Retries(u32);
    impl Observer for Retries {
        fn see(&mut self, event: &Event<'_>) {
            self.0 += u32::from(matches!(event, Event::Retry { .. }));
        }
    }
    let lab = Lab::new();
    let (transport, seen) = client(&lab, Wire::default(), 256, script);
    let config = Config::new("m", 64).stream(false).base_url(URL);
    let mut driver =
        Driver::new(config, transport, &(), EmbassyClock::new(1)).expect("a configuration");
    let mut retries = Retries(0);
    let outcomes = lab.run(async {
        let mut outcomes = Vec::new();
        for _ in 0..2 {
            let mut run = Run::new(Transcript::new(kept([0; 512])));
            run.user("hello?").expect("room");
            let outcome = driver.until_done(&mut run, &mut retries).await.map_err(|e| e.error);
            outcomes.push(outcome);
            Timer::after_millis(wait).await;
        }
        outcomes
    });
    (retries.0, outcomes, seen)
}

const ENDED: Result<Outcome, CoreError> = Ok(Outcome::Ended(Some(StopReason::EndTurn)));

fn message(text: &str) -> String {
    let body = format!(
        r#"{{"role":"assistant","content":[{{"type":"text","text":"{text}"}}],"stop_reason":"end_turn"}}"#
    );
    format!(
        "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    )
}

/// A server that reads a request on a kept connection and closes may have begun the turn, so the
/// second try is counted and reported. One that closes before the request is not.
#[test]
fn a_request_that_a_server_may_have_read_is_not_sent_again_in_silence() {
    let again = || vec![Act::Request, say(message("hello"))];
    for end in [Act::Close, Act::Cut] {
        let read = [again(), vec![Act::Request, end.clone()]].concat();
        let (retries, outcomes, seen) = two_runs(vec![read, again()], 1000);
        assert_eq!((retries, outcomes), (1, vec![ENDED, ENDED]), "{end:?}");
        assert_eq!((seen.borrow().connections, seen.borrow().requests.len()), (2, 3));

        let before = [again(), vec![end.clone()]].concat();
        let (retries, outcomes, seen) = two_runs(vec![before, again()], 1000);
        assert_eq!((retries, outcomes), (0, vec![ENDED, ENDED]), "{end:?}");
        assert_eq!((seen.borrow().connections, seen.borrow().requests.len()), (2, 2));
    }
}

/// A second reply behind the first one is not the reply to the next request, whether it comes with
/// the first one, in pieces, or later.
#[test]
fn a_reply_that_no_request_asked_for_is_not_read() {
    let poison = message("poison");
    let (head, rest) = poison.split_at(1);
    for extra in [
        vec![say(&poison)],
        vec![Act::Wait(Duration::from_millis(20)), say(&poison)],
        vec![Act::Wait(Duration::from_millis(20)), say(head)],
        vec![say(head), Act::Wait(Duration::from_millis(20)), say(rest)],
    ] {
        let first = [vec![Act::Request, say(message("hello"))], extra.clone()].concat();
        let script = vec![first, vec![Act::Request, say(message("hello"))]];
        let (retries, outcomes, seen) = two_runs(script, 1000);
        assert_eq!((retries, outcomes), (0, vec![ENDED, ENDED]), "{extra:?}");
        assert_eq!(seen.borrow().connections, 2, "{extra:?}");
    }
}

#[test]
fn a_dropped_reply_s_connection_is_not_used_again() {
    let lab = Lab::new();
    let half = vec![Act::Request, say("HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nhello")];
    let (mut transport, seen) =
        client(&lab, Wire::default(), 256, vec![half.clone(), half, vec![Act::Request, say(OK)]]);
    lab.run(async {
        let mut reply = post(&mut transport, URL, "[]").await.expect("a reply");
        assert_eq!(reply.body.fill_buf().await, Ok(&b"hello"[..]));
        drop(reply);
        let mut reply = post(&mut transport, URL, "[]").await.expect("a reply");
        reply.body.consume(5);
        let more = with_timeout(Duration::from_secs(1), reply.body.fill_buf()).await;
        assert!(more.is_err(), "nothing more comes");
        core::mem::forget(reply);
        assert_eq!(exchange(&mut transport, URL, "[]").await.expect("a reply").1, "hello");
    });
    assert_eq!(seen.borrow().connections, 3);
}

#[test]
fn a_send_that_is_dropped() {
    let lab = Lab::new();
    let script = vec![vec![Act::Request], vec![Act::Request, say(OK)]];
    let (mut transport, seen) = client(&lab, Wire::default(), 256, script);
    lab.run(async {
        assert!(
            with_timeout(Duration::from_secs(1), exchange(&mut transport, URL, "[]"))
                .await
                .is_err()
        );
        assert_eq!(exchange(&mut transport, URL, "[]").await.expect("a reply").1, "hello");
    });
    assert_eq!(seen.borrow().connections, 2);
}

#[test]
fn a_reply_that_breaks_off() {
    assert_eq!(reply("HTTP/1.1 200 OK\r\ncontent-length: 6\r\n\r\nhello"), Err(Error::Closed));
    assert_eq!(reply(""), Err(Error::Closed));
}

#[test]
fn time_outs() {
    let silent = one(vec![Act::Request, Act::Wait(Duration::from_secs(1000))]);
    assert_eq!(silent.0, Err(Error::Timeout));
    assert_eq!(silent.1.as_secs(), 120);
    let slow = |pieces: usize, wait: u64| {
        let mut acts =
            vec![Act::Request, say("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n")];
        for _ in 0..pieces {
            acts.extend([Act::Wait(Duration::from_secs(wait)), say("1\r\na\r\n")]);
        }
        acts.push(say("0\r\n\r\n"));
        one(acts)
    };
    assert_eq!(slow(5, 110).0, Ok((200, "aaaaa".into())));
    let stuck = slow(1, 130);
    assert_eq!((stuck.0, stuck.1.as_secs()), (Err(Error::Timeout), 120));
    let endless = slow(20, 100);
    assert_eq!((endless.0, endless.1.as_secs()), (Err(Error::Timeout), 600));
}

#[test]
fn nobody_is_there() {
    let lab = Lab::new();
    let (mut transport, _) = client(&lab, Wire::default(), 256, vec![vec![Act::Request, say(OK)]]);
    lab.run(async {
        assert_eq!(
            exchange(&mut transport, "http://nowhere.example.com", "[]").await,
            Err(Error::Dns)
        );
        assert_eq!(exchange(&mut transport, "http://10.0.0.1:9", "[]").await, Err(Error::Connect));
        let start = Instant::now();
        assert_eq!(
            exchange(&mut transport, "http://10.0.0.77:80", "[]").await,
            Err(Error::Timeout)
        );
        assert_eq!(start.elapsed().as_secs(), 30);
        assert_eq!(
            exchange(&mut transport, "https://api.example.com", "[]").await,
            Err(Error::BaseUrl(Phrase::of("a base URL with https needs a link with TLS")))
        );
        assert_eq!(
            exchange(&mut transport, "http://api.example.com:70000", "[]").await,
            Err(Error::BaseUrl(Phrase::of(
                "the base URL must have a port from 1 to 65535, if any"
            )))
        );
        assert_eq!(exchange(&mut transport, URL, "[]").await.expect("a reply").1, "hello");
    });
}

#[test]
fn lost_and_doubled_frames() {
    for wire in
        [Wire { lose: 5, double: 0 }, Wire { lose: 0, double: 2 }, Wire { lose: 7, double: 3 }]
    {
        let lab = Lab::new();
        let text = "0123456789abcdef".repeat(1000);
        let reply = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{text}", text.len());
        let (mut transport, seen) =
            client(&lab, wire, 1024, vec![vec![Act::Request, say(reply), Act::Request, say(OK)]]);
        let question = "x".repeat(6000);
        lab.run(async {
            assert_eq!(exchange(&mut transport, URL, &question).await.expect("a reply").1, text);
            assert_eq!(exchange(&mut transport, URL, "[]").await.expect("a reply").1, "hello");
        });
        assert!(seen.borrow().requests[0].ends_with(&format!("{question}}}")));
        assert_eq!(seen.borrow().connections, 1);
    }
}
