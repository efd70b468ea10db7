//! Reads and writes the far end's HTTP/1.1, with the faults in it.

use toolrunner_core::testing::Request;

use crate::far::{Claim, Then};

/// Formats a reply as HTTP/1.1: streams with chunked encoding, everything else with a length.
pub(crate) fn written(
    status: u16,
    fields: &[(String, String)],
    body: &[u8],
    then: Then,
    claim: Claim,
    streams: bool,
    last: bool,
) -> Vec<u8> {
    let mut out = format!("HTTP/1.1 {status} Status\r\n").into_bytes();
    for (name, value) in fields {
        out.extend(format!("{name}: {value}\r\n").bytes());
    }
    if last {
        out.extend(b"connection: close\r\n");
    }
    if let (Claim::Length(off), _) = (claim, streams) {
        let length = body.len().saturating_add_signed(off);
        out.extend(format!("content-length: {length}\r\n\r\n").bytes());
        out.extend(body);
        return out;
    }
    if claim == Claim::Both {
        out.extend(format!("content-length: {}\r\n", body.len() / 2).bytes());
    }
    // A body that is cut off was announced as longer.
    let missing = usize::from(then != Then::Good) * 10;
    if streams || claim != Claim::Right {
        out.extend(b"transfer-encoding: chunked\r\n\r\n");
        for piece in body.chunks(150) {
            let size =
                if claim == Claim::NoSize { "zz".to_owned() } else { format!("{:x}", piece.len()) };
            out.extend(format!("{size}\r\n").bytes());
            out.extend(piece);
            out.extend(b"\r\n");
        }
        if missing == 0 || claim == Claim::Both {
            out.extend(b"0\r\n\r\n");
        }
    } else {
        out.extend(format!("content-length: {}\r\n\r\n", body.len() + missing).bytes());
        out.extend(body);
    }
    out
}

/// Removes the request from the received bytes, if it has arrived completely.
pub(crate) fn requested(have: &mut Vec<u8>) -> Option<Request> {
    let end = have.windows(4).position(|part| part == b"\r\n\r\n")?;
    let head = String::from_utf8_lossy(&have[..end]).into_owned();
    let mut lines = head.split("\r\n");
    let path = lines.next().and_then(|line| line.split(' ').nth(1)).unwrap_or_default().to_owned();
    let headers: Vec<(String, String)> = lines
        .filter_map(|line| line.split_once(": "))
        .map(|(name, value)| (name.to_ascii_lowercase(), value.to_owned()))
        .collect();
    let length = headers
        .iter()
        .find(|(name, _)| name == "content-length")
        .map_or(0, |(_, value)| value.parse().unwrap());
    let body = have.get(end + 4..end + 4 + length)?.to_vec();
    have.drain(..end + 4 + length);
    Some(Request { path, headers, body })
}
