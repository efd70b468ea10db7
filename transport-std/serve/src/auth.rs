//! Who may use the server.

use core::fmt;
use std::path::Path;

use ring::digest::{SHA256, digest};
use subtle::ConstantTimeEq;

/// The bearer tokens that a server knows, and whose they are. Without any, everybody may use the
/// server, as the owner of the empty name.
#[derive(Clone, Default)]
pub struct Tokens {
    /// Owners, and the hashes of their tokens: of equal length, so that comparing takes the same
    /// time for all.
    known: Vec<(String, [u8; 32])>,
}

/// Shows owners only.
impl fmt::Debug for Tokens {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.known.iter().map(|(owner, _)| owner)).finish()
    }
}

impl Tokens {
    /// Reads a file with a line `OWNER TOKEN` for each token; `#` starts a comment.
    ///
    /// # Errors
    /// The file cannot be read, has a line of another form, or has no token at all. Names the line,
    /// never a token.
    pub fn from_file(path: &Path) -> Result<Self, String> {
        let text = std::fs::read_to_string(path)
            .map_err(|error| format!("the tokens file {}: {error}", path.display()))?;
        Self::from_text(&text)
            .map_err(|error| format!("the tokens file {}: {error}", path.display()))
    }

    /// The same from the file's text.
    ///
    /// # Errors
    /// As [`from_file`](Self::from_file).
    pub fn from_text(text: &str) -> Result<Self, String> {
        let mut this = Self::default();
        for (i, line) in text.lines().enumerate() {
            let line = line.split('#').next().unwrap_or_default();
            let mut words = line.split_whitespace();
            match (words.next(), words.next(), words.next()) {
                (None, ..) => {}
                (Some(owner), Some(token), None) if owner.len() <= 128 => {
                    this.known.push((owner.to_owned(), hash(token)))
                }
                _ => {
                    return Err(format!(
                        "line {}: a line is `OWNER TOKEN`, the owner at most 128 bytes long",
                        i + 1
                    ));
                }
            }
        }
        if this.known.is_empty() {
            // An empty file must not open the server to everybody.
            return Err("there is no token in it".to_owned());
        }
        Ok(this)
    }

    /// Whether everybody may use the server.
    pub(crate) fn is_empty(&self) -> bool {
        self.known.is_empty()
    }

    /// Whose token this is. Takes the same time whichever token it is.
    pub(crate) fn owner(&self, token: &str) -> Option<&str> {
        let token = hash(token);
        let mut found = None;
        for (owner, known) in &self.known {
            if bool::from(known.ct_eq(&token)) {
                found = Some(owner.as_str());
            }
        }
        found
    }
}

fn hash(token: &str) -> [u8; 32] {
    digest(&SHA256, token.as_bytes()).as_ref().try_into().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_owners_and_tokens() {
        let tokens =
            Tokens::from_text("# comment\nalice secret-a\n\n bob\tsecret-b # his\nalice second\n")
                .unwrap();
        assert_eq!(tokens.owner("secret-a"), Some("alice"));
        assert_eq!(tokens.owner("second"), Some("alice"));
        assert_eq!(tokens.owner("secret-b"), Some("bob"));
        assert_eq!(tokens.owner("wrong"), None);
        assert_eq!(format!("{tokens:?}"), r#"["alice", "bob", "alice"]"#);
    }

    #[test]
    fn what_is_no_tokens_file_is_refused_without_its_tokens() {
        let error = Tokens::from_text("alice secret-a extra").unwrap_err();
        assert!(error.starts_with("line 1:") && !error.contains("secret"), "{error}");
        assert!(Tokens::from_text("# nothing").is_err());
    }
}
