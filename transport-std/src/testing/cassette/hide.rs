//! Secrets, and how they are removed from what a cassette keeps.

use core::cell::Cell;
use std::borrow::Cow;

use percent_encoding::utf8_percent_encode;
use toolrunner_core::__private::check;
use toolrunner_core::json::{Kind, Value};

use super::json::compact;
use crate::config::{QUERY, Secret};
use crate::params::quoted;

/// What replaces a secret.
pub(super) const HIDDEN: &str = "[hidden]";
/// The shortest value of a header that is searched for elsewhere, in bytes. Shorter ones would be
/// found by chance.
const SHORTEST: usize = 8;
/// How often a secret may be escaped, in JSON text within JSON text.
const NESTED: usize = 3;

/// The headers of a request that are kept, and compared. Every other header is left out, because
/// its value may be a secret.
const REQUEST: [&str; 4] = ["accept", "anthropic-beta", "anthropic-version", "content-type"];
/// The headers of a reply that are kept, besides those that begin with `anthropic-ratelimit-`.
const REPLY: [&str; 7] = [
    "content-encoding",
    "content-type",
    "request-id",
    "retry-after",
    "retry-after-ms",
    "x-request-id",
    "x-should-retry",
];
/// The headers of a request that are left out but are not secret.
const HARMLESS: [&str; 4] = ["accept-encoding", "content-length", "host", "user-agent"];
/// The parameters of a query that are kept. The value of every other one is hidden.
const PARAMETERS: [&str; 8] =
    ["after", "after_id", "alt", "before", "before_id", "beta", "limit", "page"];

/// Returns whether a header of a request is kept.
pub(super) fn keeps_request_header(name: &str) -> bool {
    REQUEST.iter().any(|kept| name.eq_ignore_ascii_case(kept))
}

/// Returns whether a header of a reply is kept.
pub(super) fn keeps_reply_header(name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    REPLY.contains(&name.as_str()) || name.starts_with("anthropic-ratelimit-")
}

/// The values that must not be kept. `Debug` shows none of them.
#[derive(Clone, Debug, Default)]
pub(super) struct Secrets {
    /// Longer ones come first, because they may contain shorter ones.
    values: Vec<Secret>,
}

impl Secrets {
    /// Adds a secret, as it is and as it occurs in JSON text, in JSON text within a string of JSON,
    /// and so on: the result of a tool is often JSON text, and a model may repeat it in an input.
    pub(super) fn add(&mut self, secret: Secret) {
        let mut form = secret;
        for _ in 0..=NESTED {
            if form.reveal().is_empty() || self.values.contains(&form) {
                break;
            }
            let escaped = quoted(form.reveal());
            let inside = escaped.strip_prefix('"').and_then(|rest| rest.strip_suffix('"'));
            let next = Secret::from(inside.unwrap_or_default());
            self.values.push(form);
            form = next;
        }
        self.values.sort_by_key(|secret| core::cmp::Reverse(secret.reveal().len()));
    }

    /// Adds the values of a request's headers and query that are not kept.
    pub(super) fn add_of_request(&mut self, path: &str, headers: &[(&str, &str)]) {
        for (name, value) in headers {
            let harmless = HARMLESS.iter().any(|known| name.eq_ignore_ascii_case(known))
                || name.to_ascii_lowercase().starts_with("x-stainless-");
            if keeps_request_header(name) || harmless {
                continue;
            }
            // A scheme is not secret; cookies and signatures have several parts.
            let parts = value.split([' ', ';', ',']).map(str::trim);
            for part in parts.chain([*value]) {
                let (_, inner) = part.split_once('=').unwrap_or_default();
                for secret in [part, inner] {
                    if secret.len() >= SHORTEST {
                        self.add(secret.into());
                    }
                }
            }
        }
        for (name, value) in parameters(path) {
            if !PARAMETERS.contains(&name) && value.len() >= SHORTEST {
                let plain = percent_encoding::percent_decode_str(value).decode_utf8_lossy();
                self.add(plain.into_owned().into());
                self.add(value.into());
            }
        }
    }

    /// Returns `text` without secrets.
    pub(super) fn text<'t>(&self, text: &'t str) -> Cow<'t, str> {
        let mut text = Cow::Borrowed(text);
        for secret in &self.values {
            if text.contains(secret.reveal()) {
                text = Cow::Owned(text.replace(secret.reveal(), HIDDEN));
            }
            if let Some(hidden) = without_escaped(&text, secret.reveal()) {
                text = Cow::Owned(hidden);
            }
        }
        text
    }

    /// Returns bytes that are not valid text, with the secrets removed.
    pub(super) fn bytes(&self, bytes: &[u8]) -> Vec<u8> {
        let mut bytes = bytes.to_vec();
        for secret in &self.values {
            let secret = secret.reveal().as_bytes();
            let mut hidden = Vec::with_capacity(bytes.len());
            let mut rest = bytes.as_slice();
            while let Some(at) = rest.windows(secret.len()).position(|part| part == secret) {
                hidden.extend_from_slice(&rest[..at]);
                hidden.extend_from_slice(HIDDEN.as_bytes());
                rest = &rest[at + secret.len()..];
            }
            hidden.extend_from_slice(rest);
            bytes = hidden;
        }
        bytes
    }

    /// Returns a JSON text without white space and without secrets, or `None` if `text` is not
    /// JSON. A number that contains a secret becomes a string.
    pub(super) fn json(&self, text: &str) -> Option<String> {
        check(text.as_bytes()).ok()?;
        let mut out = String::with_capacity(text.len());
        compact(Value::first(text.as_bytes())?, &|value| self.scalar(value), &mut out);
        Some(out)
    }

    /// Returns a JSON text without secrets, or `None` if it has none.
    pub(super) fn changed_json(&self, text: &str) -> Option<String> {
        check(text.as_bytes()).ok()?;
        let (mut out, changed) = (String::with_capacity(text.len()), Cell::new(false));
        let edit = |value: Value<'_>| {
            let edited = self.scalar(value);
            changed.set(changed.get() || edited.is_some());
            edited
        };
        compact(Value::first(text.as_bytes())?, &edit, &mut out);
        changed.get().then_some(out)
    }

    fn scalar(&self, value: Value<'_>) -> Option<String> {
        match value.kind() {
            Kind::String => {
                let text = value.as_text()?.to_string();
                match self.text(&text) {
                    Cow::Borrowed(_) => None,
                    Cow::Owned(hidden) => Some(quoted(&hidden)),
                }
            }
            Kind::Number => match self.text(value.as_json()) {
                Cow::Borrowed(_) => None,
                Cow::Owned(_) => Some(quoted(HIDDEN)),
            },
            _ => None,
        }
    }

    /// Returns a path with its query, without secrets.
    pub(super) fn path(&self, path: &str) -> String {
        let (path, query) = path.split_once('?').map_or((path, None), |(p, q)| (p, Some(q)));
        let mut path = self.text(path).into_owned();
        for secret in &self.values {
            let encoded = utf8_percent_encode(secret.reveal(), QUERY).to_string();
            path = path.replace(&encoded, HIDDEN);
        }
        if query.is_none() {
            return path;
        }
        let shown = parameters(&format!("?{}", query.unwrap_or_default()))
            .map(|(name, value)| {
                let kept = PARAMETERS.contains(&name);
                format!(
                    "{}={}",
                    self.text(name),
                    if kept { self.text(value) } else { HIDDEN.into() }
                )
            })
            .collect::<Vec<_>>();
        format!("{path}?{}", shown.join("&"))
    }
}

/// Returns the names and values of a query, percent-encoded.
fn parameters(path: &str) -> impl Iterator<Item = (&str, &str)> {
    let query = path.split_once('?').map_or("", |(_, query)| query);
    let parts = query.split('&').filter(|part| !part.is_empty());
    parts.map(|part| part.split_once('=').unwrap_or((part, "")))
}

/// Replaces a secret whose characters are escaped in JSON text, such as `\u00eb` or `\/`, which
/// many programs write where it is not necessary. Returns `None` if the text has no such secret. A
/// secret with quotes or backslashes, which are always escaped, is one of the
/// [values](Secrets::add).
fn without_escaped(text: &str, secret: &str) -> Option<String> {
    if !text.contains('\\') || secret.contains(['"', '\\']) {
        return None;
    }
    let (mut hidden, mut rest, mut is_hidden) = (String::new(), text, false);
    while let Some(first) = rest.chars().next() {
        let len = match escaped_prefix(rest, secret) {
            Some(len) => {
                hidden.push_str(HIDDEN);
                is_hidden = true;
                len
            }
            None => {
                hidden.push(first);
                first.len_utf8()
            }
        };
        rest = rest.get(len..).unwrap_or_default();
    }
    is_hidden.then_some(hidden)
}

/// Returns how many bytes at the beginning of `text` are `secret`, with any of its characters
/// escaped. Text within a string has more than one backslash before an escape.
fn escaped_prefix(text: &str, secret: &str) -> Option<usize> {
    let mut rest = text;
    for c in secret.chars() {
        rest = match rest.strip_prefix(c) {
            Some(behind) => behind,
            None => {
                let escape = rest.trim_start_matches('\\');
                if escape.len() == rest.len() {
                    return None;
                }
                let short = match c {
                    '/' => '/',
                    '\n' => 'n',
                    '\r' => 'r',
                    '\t' => 't',
                    _ => 'u',
                };
                match escape.strip_prefix(short).filter(|_| short != 'u') {
                    Some(behind) => behind,
                    None => c.encode_utf16(&mut [0; 2]).iter().try_fold(rest, |rest, unit| {
                        let escape = rest.trim_start_matches('\\').strip_prefix('u')?;
                        let (hex, behind) = escape.split_at_checked(4)?;
                        (u16::from_str_radix(hex, 16) == Ok(*unit)).then_some(behind)
                    })?,
                }
            }
        };
    }
    Some(text.len() - rest.len())
}
