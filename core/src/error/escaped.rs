//! Display of untrusted text on one line: text from a model, a tool, a panic or a server, made safe
//! for a log or a terminal.

use core::fmt::{self, Display, Formatter, Write};

/// Displays a value on one line, and without control sequences for a terminal.
///
/// Line ends (including Unicode's line and paragraph separators), all other control characters (C0,
/// DEL and C1) and the characters that change the direction of text are shown as escapes: `\n`,
/// `\u{1b}`, `\u{2028}`. Everything else is unchanged, including a backslash.
#[derive(Clone, Copy, Debug)]
pub struct EscapedText<T>(pub T);

impl<T: Display> Display for EscapedText<T> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(Writer(f), "{}", self.0)
    }
}

struct Writer<'f, 'b>(&'f mut Formatter<'b>);

impl Write for Writer<'_, '_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        text.chars().try_for_each(|c| match is_escaped(c) {
            true => write!(self.0, "{}", c.escape_default()),
            false => self.0.write_char(c),
        })
    }
}

const fn is_escaped(c: char) -> bool {
    matches!(
        c,
        '\0'..='\x1f' | '\x7f'..='\u{9f}' | '\u{2028}' | '\u{2029}' // controls and line ends
            | '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' // direction of text
    )
}

#[cfg(test)]
mod tests {
    use alloc::format;
    use alloc::string::ToString;

    use super::*;

    #[test]
    fn nothing_starts_a_line_or_an_escape_sequence() {
        let others = ['\u{2028}', '\u{2029}', '\u{202e}', '\u{2066}'];
        for c in ('\0'..' ').chain('\x7f'..'\u{a0}').chain(others) {
            let shown = EscapedText(format!("a{c}b")).to_string();
            assert!(
                shown.starts_with("a\\") && shown.ends_with('b') && !shown.contains(c),
                "{shown:?}"
            );
        }
    }

    #[test]
    fn what_is_harmless_stays() {
        for text in ["", "plain", r"C:\new\table", "Zürich 東京 🦀", "\u{a0}"] {
            assert_eq!(EscapedText(text).to_string(), text);
        }
    }

    #[test]
    fn what_is_written_in_parts_is_escaped_in_each() {
        assert_eq!(
            EscapedText(format_args!("{}\n{}", "a\r", "\u{85}b")).to_string(),
            r"a\r\n\u{85}b"
        );
    }
}
