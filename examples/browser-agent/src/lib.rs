//! The browser toolset over headless Chromium: [`Chromium`] implements
//! [`Browser`](toolrunner_std::builtin::Browser).
//!
//! The browser is confined: see [`Sites`] and [`Chromium`]. What it does not confine are resources:
//! run it where memory and processor time are limited.

mod actions;
mod browser;
mod chromium;
mod devtools;
mod keys;
pub mod site;
mod sites;

pub use chromium::{Chromium, Launch};
pub use sites::Sites;
