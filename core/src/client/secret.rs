//! A secret that is not shown by accident.

/// Defines `Secret`. A client calls this in a module of its own, and depends on `zeroize`, which
/// core does not need.
#[doc(hidden)]
#[macro_export]
macro_rules! __secret {
    () => {
        /// A string that `Debug` does not show, and that is wiped from memory when its last clone
        /// is dropped.
        ///
        /// This applies only to the copy in this value. The copies that the HTTP implementation
        /// makes of a header while it sends it are not wiped.
        #[derive(Clone, PartialEq, Eq)]
        pub struct Secret(std::sync::Arc<zeroize::Zeroizing<String>>);

        impl Secret {
            /// Returns the text.
            pub fn reveal(&self) -> &str {
                &self.0
            }
        }

        impl From<String> for Secret {
            fn from(text: String) -> Self {
                Self(std::sync::Arc::new(zeroize::Zeroizing::new(text)))
            }
        }

        impl From<&str> for Secret {
            fn from(text: &str) -> Self {
                text.to_owned().into()
            }
        }

        impl core::fmt::Debug for Secret {
            fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
                f.write_str("Secret(…)")
            }
        }
    };
}
