//! The table of faults.

use crate::far::{Claim, Harm, Then};

/// What a fault may change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Leaves {
    /// Nothing: after the fault, the conversation is the same as without it.
    Same,
    /// The contents, because the fault looks like an ordinary reply.
    Valid,
}

pub(crate) struct Row {
    pub(crate) name: &'static str,
    /// Returns the cases for one correct body.
    pub(crate) cases: fn(&[u8]) -> Vec<Harm>,
    /// The errors that may be reported, by the beginnings of their names.
    pub(crate) named: &'static [&'static str],
    pub(crate) leaves: Leaves,
}

const fn row(
    name: &'static str,
    cases: fn(&[u8]) -> Vec<Harm>,
    named: &'static [&'static str],
    leaves: Leaves,
) -> Row {
    Row { name, cases, named, leaves }
}

const CLOSED: &[&str] = &["transport Closed"];
const BROKEN: &[&str] = &["transport Closed", "transport Http", "protocol error"];

pub(crate) const ROWS: &[Row] = &[
    row("nothing", |_| vec![Harm::None], &[], Leaves::Same),
    row("connect refused", |_| vec![Harm::Refused], &["transport Connect"], Leaves::Same),
    row("reset before the head", |_| vec![Harm::NoHead("", Then::Reset)], CLOSED, Leaves::Same),
    row("reset in the head", |_| in_the_head(Then::Reset), BROKEN, Leaves::Same),
    row("closed in the head", |_| in_the_head(Then::Close), BROKEN, Leaves::Same),
    row(
        "stall before the head",
        |_| vec![Harm::NoHead("", Then::Stall)],
        &["transport Timeout"],
        Leaves::Same,
    ),
    row("reset in the body", |body| cuts(body, Then::Reset), CLOSED, Leaves::Same),
    row("closed in the body", |body| cuts(body, Then::Close), BROKEN, Leaves::Same),
    row("stall in the body", |body| cuts(body, Then::Stall), &["transport Timeout"], Leaves::Same),
    row("garbage for a head", |_| heads(), BROKEN, Leaves::Same),
    row("garbage for a body", garbage, &["protocol error", "capacity"], Leaves::Same),
    row("wrong length", |_| lengths(), BROKEN, Leaves::Same),
    row(
        "4xx",
        |_| statuses(&[400, 401, 403, 404, 408, 409, 413, 422, 429, 499]),
        &["api 4"],
        Leaves::Same,
    ),
    row("5xx and 529", |_| statuses(&[500, 502, 503, 504, 529, 599]), &["api 5"], Leaves::Same),
    row("error event", error_events, &["api 200"], Leaves::Same),
    row(
        "duplicate event",
        |body| events(body, |all, i| all.insert(i, all[i].clone())),
        &["protocol error"],
        Leaves::Valid,
    ),
    row(
        "missing event",
        |body| events(body, |all, i| drop(all.remove(i))),
        &["protocol error"],
        Leaves::Valid,
    ),
    row(
        "swapped events",
        |body| events(body, |all, i| swap(all, i)),
        &["protocol error"],
        Leaves::Valid,
    ),
    row(
        "clock jumps",
        |_| [3600, -3600, -9, 31_536_000].map(Harm::Jump).to_vec(),
        CLOSED,
        Leaves::Same,
    ),
];

fn in_the_head(then: Then) -> Vec<Harm> {
    [
        "H",
        "HTTP/1.1 20",
        "HTTP/1.1 200 OK\r\n",
        "HTTP/1.1 200 OK\r\ncontent-ty",
        "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r",
    ]
    .map(|bytes| Harm::NoHead(bytes, then))
    .to_vec()
}

fn heads() -> Vec<Harm> {
    [
        "220 mail.example ESMTP\r\n\r\n",
        "HTTP/9.9 200 OK\r\n\r\n",
        "\0\0\0\r\n\r\n",
        "HTTP/1.1 99999 X\r\n\r\n",
        "{\"type\":\"message\"}\r\n\r\n",
    ]
    .map(|bytes| Harm::NoHead(bytes, Then::Close))
    .to_vec()
}

fn lengths() -> Vec<Harm> {
    [Claim::Length(10), Claim::Length(-10), Claim::NoSize, Claim::Both].map(Harm::Claim).to_vec()
}

/// Cuts the body at the end of every event, at the bytes around it, and at every 29th byte.
fn cuts(body: &[u8], then: Then) -> Vec<Harm> {
    let ends = body
        .windows(2)
        .enumerate()
        .filter(|(_, pair)| pair == b"\n\n")
        .flat_map(|(at, _)| [at, at + 1, at + 2, at + 3]);
    let mut all: Vec<usize> =
        ends.chain((0..body.len()).step_by(29)).filter(|at| *at < body.len()).collect();
    all.sort_unstable();
    all.dedup();
    all.into_iter().map(|at| Harm::Cut(at, then)).collect()
}

const STREAM: &str = "text/event-stream";
const JSON: &str = "application/json";

/// Returns the content type of the correct body.
fn kind(body: &[u8]) -> &'static str {
    if body.starts_with(b"{") { JSON } else { STREAM }
}

fn garbage(body: &[u8]) -> Vec<Harm> {
    let with = |bytes: &[u8], at: usize| [&body[..at], bytes, &body[at..]].concat();
    // In the middle of an event's JSON. Garbage in its name would make it an unknown event, which
    // is skipped.
    let middle = body.len() / 2;
    let rest = &body[middle..];
    let middle =
        rest.windows(7).position(|part| part == b"data: {").map_or(middle, |at| middle + at + 12);
    let mut all = vec![
        Harm::Body(
            b"<html><body>Sign in to the hotel's network</body></html>".to_vec(),
            "text/html",
        ),
        Harm::Body(Vec::new(), STREAM),
        Harm::Body(Vec::new(), JSON),
        Harm::Body(b"\0\x01\x02\xff\xfe\r\n\r\n\0".to_vec(), STREAM),
        Harm::Body((0..=255).collect(), JSON),
        Harm::Body(b"[1,2,3]".to_vec(), JSON),
        Harm::Body(b"null".to_vec(), JSON),
        Harm::Body(b"{\"content\":".repeat(2000), JSON),
        Harm::Body(b"[".repeat(100_000), JSON),
        Harm::Body([b"data: ".as_slice(), &b"[".repeat(100_000), b"\n\n"].concat(), STREAM),
        Harm::Body(b"event: message_start\ndata: {\"type\":\n\n".to_vec(), STREAM),
        Harm::Body(b"data: {\"type\":\"message_stop\"}\n\n".to_vec(), STREAM),
    ];
    all.extend([1, middle, body.len() - 5].map(|at| Harm::Body(with(b"\xff", at), kind(body))));
    all.extend([1, middle, body.len() - 5].map(|at| Harm::Body(with(b"\0", at), kind(body))));
    all
}

/// All forms of `Retry-After`, and the header that takes precedence over the status.
const FORMS: [&[(&str, &str)]; 12] = [
    &[],
    &[("retry-after", "2")],
    &[("retry-after", "0.25")],
    &[("retry-after-ms", "1500")],
    &[("retry-after-ms", "1500"), ("retry-after", "9")],
    &[("retry-after", "Fri, 31 Dec 1999 23:59:59 GMT")],
    &[("retry-after", "Tue, 01 Jan 2999 00:00:00 GMT")],
    &[("retry-after", "0")],
    &[("retry-after", "-1")],
    &[("retry-after", "soon")],
    &[("x-should-retry", "false"), ("retry-after", "5")],
    &[("x-should-retry", "true"), ("retry-after", "86400")],
];

fn statuses(statuses: &[u16]) -> Vec<Harm> {
    statuses.iter().flat_map(|status| FORMS.map(|fields| Harm::Status(*status, fields))).collect()
}

/// Returns the records of a stream; none for a whole reply.
fn records(body: &[u8]) -> Vec<Vec<u8>> {
    if kind(body) == JSON {
        return Vec::new();
    }
    let text = String::from_utf8(body.to_vec()).unwrap();
    text.split_inclusive("\n\n").map(|record| record.as_bytes().to_vec()).collect()
}

fn events(body: &[u8], change: fn(&mut Vec<Vec<u8>>, usize)) -> Vec<Harm> {
    let all = records(body);
    (0..all.len())
        .map(|i| {
            let mut changed = all.clone();
            change(&mut changed, i);
            Harm::Body(changed.concat(), STREAM)
        })
        .collect()
}

fn swap(all: &mut [Vec<u8>], i: usize) {
    let next = (i + 1) % all.len();
    all.swap(i, next);
}

fn error_events(body: &[u8]) -> Vec<Harm> {
    let mut cases = Vec::new();
    for kind in [
        "overloaded_error",
        "api_error",
        "rate_limit_error",
        "timeout_error",
        "invalid_request_error",
        "new_error",
    ] {
        let json = format!(
            r#"{{"type":"error","error":{{"type":"{kind}","message":"as the table has it"}}}}"#
        );
        let all = records(body);
        if all.is_empty() {
            cases.push(Harm::Body(json.into_bytes(), JSON));
            continue;
        }
        // After the last event the reply is complete, so no error is added there.
        for i in 0..all.len() {
            let record = format!("event: error\ndata: {json}\n\n");
            cases.push(Harm::Body(
                [all[..i].concat(), record.into_bytes(), all[i..].concat()].concat(),
                STREAM,
            ));
        }
    }
    cases
}
