//! Bearer tokens, and the owners that they belong to.

use core::fmt;
use std::path::Path;

use ring::digest::{SHA256, digest};
use subtle::ConstantTimeEq;

/// The bearer tokens that a server accepts, and their owners. Without tokens anybody may use the
/// server, as the owner whose name is empty.
#[derive(Clone, Default)]
pub struct Tokens {
    /// The owners and the hashes of their tokens. Hashes have equal lengths, so a comparison takes
    /// the same time for every token.
    known: Vec<(String, [u8; 32])>,
}

/// Shows the owners and no tokens.
impl fmt::Debug for Tokens {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.known.iter().map(|(owner, _)| owner)).finish()
    }
}

impl Tokens {
    /// Reads a file with a line `OWNER TOKEN` for each token; `#` starts a comment.
    ///
    /// # Errors
    /// Returns an error if the file cannot be read, has a line of another form, or has no token.
    /// The error contains the number of the line and never a token.
    pub fn from_file(path: &Path) -> Result<Self, String> {
        let text = std::fs::read_to_string(path)
            .map_err(|error| format!("the tokens file {}: {error}", path.display()))?;
        Self::from_text(&text)
            .map_err(|error| format!("the tokens file {}: {error}", path.display()))
    }

    /// Reads tokens from text with a line `OWNER TOKEN` for each token; `#` starts a comment.
    ///
    /// # Errors
    /// Returns an error if the text has a line of another form, or no token. The error contains the
    /// number of the line and never a token.
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
                        "line {}: a line must be `OWNER TOKEN`, with an owner of at most 128 bytes",
                        i + 1
                    ));
                }
            }
        }
        if this.known.is_empty() {
            // An empty file must not open the server to everybody.
            return Err("it contains no token".to_owned());
        }
        Ok(this)
    }

    /// Returns whether anybody may use the server.
    pub(crate) fn is_empty(&self) -> bool {
        self.known.is_empty()
    }

    /// Returns the owner of a token. Takes the same time for every token.
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
