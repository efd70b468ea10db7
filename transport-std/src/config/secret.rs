//! A key that is not shown by accident.

use core::fmt;
use std::sync::Arc;

use zeroize::Zeroizing;

/// A text that `Debug` does not show, and that is wiped from memory when its last clone is dropped.
///
/// That goes for this copy. Those that HTTP makes of a header while it sends it are not wiped.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(Arc<Zeroizing<String>>);

impl Secret {
    /// The text itself.
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl From<String> for Secret {
    fn from(text: String) -> Self {
        Self(Arc::new(Zeroizing::new(text)))
    }
}

impl From<&str> for Secret {
    fn from(text: &str) -> Self {
        text.to_owned().into()
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(…)")
    }
}
