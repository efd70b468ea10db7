//! A secret that is not shown by accident.

use core::fmt;
use std::sync::Arc;

use zeroize::Zeroizing;

/// A string that `Debug` does not show, and that is wiped from memory when its last clone is
/// dropped.
///
/// This applies only to the copy in this value. The copies that the HTTP implementation makes of a
/// header while it sends it are not wiped.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(Arc<Zeroizing<String>>);

impl Secret {
    /// Returns the text.
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
