//! toolrunner on servers: the Messages API over hyper and tokio.
//!
//! [`http`] carries bytes: connections kept and shared, TLS with the platform's roots, HTTP/2 where the server offers it,
//! proxies from the environment. [`config`] says whom to ask and as whom. `init_logging` shows what happens.

pub mod config;
pub mod http;
#[cfg(feature = "logging")]
mod logging;

#[cfg(feature = "logging")]
pub use logging::init_logging;

pub use config::{ClientBuilder, Secret, Settings, SetupError};
pub use http::{HttpBody, HttpError, HttpTransport};
