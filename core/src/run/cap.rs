//! Truncation of results: the beginning and the end of a text stay, cut at character boundaries,
//! with a note of how much was cut between them.

use super::{CallIndex, Run};
use crate::error::{Error, Misuse};
use crate::history::is_type;
use crate::json::{Decimal, Value, hex4};
use crate::transcript::Span;

const CUT: (&[u8], &[u8]) = ("\\n[… ".as_bytes(), " bytes cut …]\\n".as_bytes());

impl Run<'_> {
    /// Truncates every text in the result of call `i` that is longer than `bytes`, counted in UTF-8
    /// without escapes. The parts that stay have at most that length; the note `\n[… N bytes cut
    /// …]\n` is added to it.
    ///
    /// # Errors
    /// `Misuse` if there is no such result, or it was already sent. `Capacity` if there is no space
    /// for the note: a text before it may have been truncated in this case.
    pub fn cap_result(&mut self, i: CallIndex, bytes: usize) -> Result<(), Error> {
        self.ensure_unsent()?;
        self.result(i).ok_or(Misuse::NoSuchCall)?;
        self.cancel_compaction();
        let mut after = 0;
        while let Some(text) = self.next_text_of(i, after)? {
            after = text.start;
            let Some(cut) = cut_of(text.of(self.transcript.bytes()), bytes) else { continue };
            let gone = Span::new(text.start + cut.from, text.start + cut.to);
            let digits = Decimal::new(u64::try_from(cut.bytes).unwrap_or(u64::MAX));
            let digits = digits.as_bytes();
            let mark = CUT.0.len() + digits.len() + CUT.1.len();
            self.reserve_beyond_answers(mark.saturating_sub(gone.len()))?;
            self.splice(gone, &[CUT.0, digits, CUT.1])?;
        }
        Ok(())
    }

    /// Returns the first text in the result of call `i` that begins after `after`, without its
    /// quotes.
    fn next_text_of(&self, i: CallIndex, after: usize) -> Result<Option<Span>, Error> {
        let bytes = self.transcript.bytes();
        let content =
            self.result(i).ok_or(Misuse::NoSuchCall)?.member("content").unwrap_or_default();
        Ok(next_text(content, bytes, after))
    }
}

/// Truncates every text in a result's content that is longer than `bytes`, as
/// [`Run::cap_result`] does.
#[cfg(feature = "alloc")]
pub(crate) fn cap_content(content: &mut alloc::vec::Vec<u8>, bytes: usize) {
    // Escapes and the rest of the JSON only make it longer.
    if content.len() <= bytes {
        return;
    }
    let mut after = 0;
    while let Some(text) = next_text(Value::first(content).unwrap_or_default(), content, after) {
        after = text.start;
        let Some(cut) = cut_of(text.of(content), bytes) else { continue };
        let gone = text.start + cut.from..text.start + cut.to;
        let digits = Decimal::new(u64::try_from(cut.bytes).unwrap_or(u64::MAX));
        let mark = [CUT.0, digits.as_bytes(), CUT.1].concat();
        if gone.end <= content.len() {
            content.splice(gone, mark);
        }
    }
}

/// Returns the first text of `content` that begins after `after` in `bytes`, without its quotes.
fn next_text(content: Value<'_>, bytes: &[u8], after: usize) -> Option<Span> {
    let inside = |text: Value<'_>| {
        let start = text.offset_in(bytes)? + 1;
        Some(Span::new(start, start + text.raw().len().saturating_sub(2)))
            .filter(|span| span.start > after)
    };
    if content.as_text().is_some() {
        return inside(content);
    }
    let texts = content
        .elements()
        .filter(|block| is_type(*block, "text"))
        .filter_map(|block| block.member("text"));
    texts.filter(|text| text.as_text().is_some()).find_map(inside)
}

/// The part that is cut out of a JSON string's content: its start and end, and the length of its
/// text.
struct CutRange {
    from: usize,
    to: usize,
    bytes: usize,
}

fn cut_of(raw: &[u8], most: usize) -> Option<CutRange> {
    // Escapes only make a text longer.
    if raw.len() <= most {
        return None;
    }
    let all = Characters { raw, at: 0, text: 0 };
    let whole = all.clone().last().map_or(0, |end| end.1);
    if whole <= most {
        return None;
    }
    let (mut from, mut to) = ((0, 0), (raw.len(), whole));
    let mut found = false;
    for (at, text) in all {
        if text <= most.div_ceil(2) {
            from = (at, text);
        }
        if !found && whole.saturating_sub(text) <= most / 2 {
            to = (at, text);
            found = true;
        }
    }
    Some(CutRange { from: from.0, to: to.0, bytes: to.1.saturating_sub(from.1) })
}

/// Iterates over the characters of a JSON string's content. Each item is the end of a character and
/// the length of the text up to there.
#[derive(Clone)]
struct Characters<'a> {
    raw: &'a [u8],
    at: usize,
    text: usize,
}

impl Iterator for Characters<'_> {
    type Item = (usize, usize);

    fn next(&mut self) -> Option<(usize, usize)> {
        let rest = self.raw.get(self.at..)?;
        let (len, bytes) = match (rest.first()?, rest.get(1)) {
            (b'\\', Some(b'u')) => match hex4(rest, 2) {
                // A surrogate pair is one character.
                Some(0xd800..0xdc00) => (12, 4),
                Some(0..0x80) => (6, 1),
                Some(0x80..0x800) => (6, 2),
                _ => (6, 3),
            },
            (b'\\', _) => (2, 1),
            (0..0x80, _) => (1, 1),
            (0x80..0xe0, _) => (2, 2),
            (0xe0..0xf0, _) => (3, 3),
            (0xf0.., _) => (4, 4),
        };
        self.at = (self.at + len).min(self.raw.len());
        self.text += bytes;
        Some((self.at, self.text))
    }
}
