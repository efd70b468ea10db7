//! Names of keys, as the model writes them.

use serde_json::{Value, json};

/// The bits of the modifiers in events of the DevTools protocol.
const MODIFIERS: [(&[&str], u32, &str); 4] = [
    (&["alt", "option"], 1, "Alt"),
    (&["ctrl", "control"], 2, "Control"),
    (&["cmd", "command", "meta", "super", "win"], 4, "Meta"),
    (&["shift"], 8, "Shift"),
];

/// The names of a key, its name in the DOM, its code in Windows, and what it types.
const KEYS: [(&[&str], &str, u32, &str); 15] = [
    (&["return", "enter", "kp_enter"], "Enter", 13, "\r"),
    (&["tab"], "Tab", 9, ""),
    (&["escape", "esc"], "Escape", 27, ""),
    (&["backspace"], "Backspace", 8, ""),
    (&["delete", "del"], "Delete", 46, ""),
    (&["insert"], "Insert", 45, ""),
    (&["up", "arrowup"], "ArrowUp", 38, ""),
    (&["down", "arrowdown"], "ArrowDown", 40, ""),
    (&["left", "arrowleft"], "ArrowLeft", 37, ""),
    (&["right", "arrowright"], "ArrowRight", 39, ""),
    (&["home"], "Home", 36, ""),
    (&["end"], "End", 35, ""),
    (&["page_up", "pageup", "prior"], "PageUp", 33, ""),
    (&["page_down", "pagedown", "next"], "PageDown", 34, ""),
    (&["space"], " ", 32, " "),
];

/// Returns the bits of modifiers that are joined by `+`.
///
/// # Errors
/// Returns the reason if one is not known.
pub(crate) fn modifiers(names: &str) -> Result<u32, String> {
    names.split('+').filter(|name| !name.is_empty()).try_fold(0, |bits, name| {
        modifier(name)
            .map(|(bit, _)| bits | bit)
            .ok_or_else(|| format!("no modifier is called '{name}'"))
    })
}

fn modifier(name: &str) -> Option<(u32, &'static str)> {
    let name = name.to_ascii_lowercase();
    let found = MODIFIERS.iter().find(|(names, ..)| names.contains(&&*name));
    found.map(|(_, bit, dom)| (*bit, *dom))
}

/// A key with modifiers.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Chord {
    modifiers: u32,
    key: String,
    code: u32,
    text: String,
}

impl Chord {
    /// Reads a key or a combination, such as `ctrl+a` or `Return`.
    ///
    /// # Errors
    /// Returns the reason if a key is not known.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        // `ctrl++` is a combination with the key `+`.
        let (before, name) = match text.strip_suffix('+') {
            Some(before) => (before.trim_end_matches('+'), "+"),
            None => text.rsplit_once('+').unwrap_or(("", text)),
        };
        let modifiers = modifiers(before)?;
        let lower = name.to_ascii_lowercase();
        let has_text = modifiers & !8 == 0;
        let chord = |key: &str, code, text: &str| Self {
            modifiers,
            key: key.to_owned(),
            code,
            text: if has_text { text.to_owned() } else { String::new() },
        };
        if let Some((_, key, code, text)) = KEYS.iter().find(|(names, ..)| names.contains(&&*lower))
        {
            return Ok(chord(key, *code, text));
        }
        if let Some((_, dom)) = modifier(name) {
            return Ok(chord(dom, 0, ""));
        }
        let number = lower.strip_prefix('f').and_then(|number| number.parse::<u32>().ok());
        if let Some(number) = number.filter(|number| (1..=12).contains(number)) {
            return Ok(chord(&format!("F{number}"), 111 + number, ""));
        }
        let mut chars = name.chars();
        match (chars.next(), chars.next()) {
            (Some(one), None) => {
                let upper = one.to_ascii_uppercase();
                let code = if upper.is_ascii_alphanumeric() { u32::from(upper) } else { 0 };
                let shown = if modifiers & 8 == 0 { one } else { upper };
                Ok(chord(&shown.to_string(), code, &shown.to_string()))
            }
            _ => Err(format!("no key is called '{name}'")),
        }
    }

    /// Returns the parameters of `Input.dispatchKeyEvent` that press the key.
    pub(crate) fn down(&self) -> Value {
        let kind = if self.text.is_empty() { "rawKeyDown" } else { "keyDown" };
        let mut event = self.event(kind);
        if let Some(event) = event.as_object_mut().filter(|_| !self.text.is_empty()) {
            event.insert("text".to_owned(), self.text.clone().into());
        }
        event
    }

    /// Returns the parameters that release the key.
    pub(crate) fn up(&self) -> Value {
        self.event("keyUp")
    }

    fn event(&self, kind: &str) -> Value {
        json!({
            "type": kind,
            "modifiers": self.modifiers,
            "key": self.key,
            "windowsVirtualKeyCode": self.code,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_combinations() {
        let read = |text: &str| {
            Chord::parse(text).map(|chord| (chord.modifiers, chord.key, chord.code, chord.text))
        };
        let key = |modifiers, key: &str, code, text: &str| {
            Ok((modifiers, key.to_owned(), code, text.to_owned()))
        };
        assert_eq!(read("a"), key(0, "a", 65, "a"));
        assert_eq!(read("shift+a"), key(8, "A", 65, "A"));
        assert_eq!(read("Ctrl+A"), key(2, "A", 65, ""));
        assert_eq!(read("ctrl+shift+Tab"), key(10, "Tab", 9, ""));
        assert_eq!(read("RETURN"), key(0, "Enter", 13, "\r"));
        assert_eq!(read("+"), key(0, "+", 0, "+"));
        assert_eq!(read("ctrl++"), key(2, "+", 0, ""));
        assert_eq!(read("F5"), key(0, "F5", 116, ""));
        assert_eq!(read("shift"), key(0, "Shift", 0, ""));
        assert_eq!(read("ctrl+bogus"), Err("no key is called 'bogus'".to_owned()));
        assert_eq!(read("hyper+a"), Err("no modifier is called 'hyper'".to_owned()));
        assert_eq!(modifiers("cmd+alt"), Ok(5));
    }
}
