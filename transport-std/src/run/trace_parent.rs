//! The `traceparent` header of W3C Trace Context.

use core::fmt;
use core::str::FromStr;

/// The trace and the span that something belongs to: a `traceparent` header of [W3C Trace
/// Context](https://www.w3.org/TR/trace-context/), version 00.
///
/// ```
/// use toolrunner_std::TraceParent;
/// let header = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
/// let parent: TraceParent = header.parse()?;
/// assert_eq!(parent.trace_id(), "4bf92f3577b34da6a3ce929d0e0e4736");
/// assert_eq!(parent.to_string(), header);
/// # Ok::<(), toolrunner_std::run::BadTraceParent>(())
/// ```
/// A header of a later version is parsed as the specification requires: by its first four fields.
/// Only the flag `sampled` is kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TraceParent(String);

/// The error for a text that is not a `traceparent` header. The specification requires such a
/// header to be ignored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct BadTraceParent;

impl TraceParent {
    /// Returns the trace id: 32 hexadecimal digits in lower case.
    pub fn trace_id(&self) -> &str {
        &self.0[3..35]
    }

    /// Returns the span id: 16 hexadecimal digits in lower case.
    pub fn span_id(&self) -> &str {
        &self.0[36..52]
    }

    /// Returns whether the caller records the trace.
    pub fn is_sampled(&self) -> bool {
        self.0.ends_with('1')
    }

    /// Returns the header's value.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for TraceParent {
    type Err = BadTraceParent;

    fn from_str(text: &str) -> Result<Self, BadTraceParent> {
        let mut fields = text.split('-');
        let mut hex = |len| {
            fields
                .next()
                .filter(|field| field.len() == len)
                .filter(|field| field.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f')))
                .ok_or(BadTraceParent)
        };
        let (version, trace, span, flags) = (hex(2)?, hex(32)?, hex(16)?, hex(2)?);
        let is_zero = |id: &str| id.bytes().all(|byte| byte == b'0');
        if version == "ff"
            || is_zero(trace)
            || is_zero(span)
            || (version == "00" && fields.next().is_some())
        {
            return Err(BadTraceParent);
        }
        let sampled = u8::from_str_radix(flags, 16).map_err(|_| BadTraceParent)? & 1;
        Ok(Self(format!("00-{trace}-{span}-{sampled:02x}")))
    }
}

impl fmt::Display for TraceParent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Display for BadTraceParent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("not a valid W3C traceparent header")
    }
}

impl core::error::Error for BadTraceParent {}

#[cfg(test)]
mod tests {
    use super::TraceParent;

    #[test]
    fn what_the_specification_refuses_is_refused() {
        let (trace, span) = ("4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7");
        let parse =
            |text: String| text.parse::<TraceParent>().ok().map(|parent| parent.to_string());
        let whole = format!("00-{trace}-{span}-01");
        for good in [
            format!("00-{trace}-{span}-01"),
            format!("00-{trace}-{span}-ff"),
            format!("01-{trace}-{span}-03"),
            format!("cc-{trace}-{span}-01-what-comes-later"),
        ] {
            assert_eq!(parse(good.clone()), Some(whole.clone()), "{good}");
        }
        assert_eq!(parse(format!("00-{trace}-{span}-02")), Some(format!("00-{trace}-{span}-00")));
        for bad in [
            String::new(),
            trace.to_owned(),
            format!("00-{trace}-{span}"),
            format!("00-{trace}-{span}-01-more"),
            format!("ff-{trace}-{span}-01"),
            format!("00-{}-{span}-01", "0".repeat(32)),
            format!("00-{trace}-{}-01", "0".repeat(16)),
            format!("00-{}-{span}-01", trace.to_uppercase()),
            format!("00-{trace}-{span}-1"),
            format!("0-{trace}-{span}-01"),
            format!("00-{trace}é-{span}-01"),
        ] {
            assert_eq!(parse(bad.clone()), None, "{bad}");
        }
    }
}
