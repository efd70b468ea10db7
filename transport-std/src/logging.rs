//! Logging to stderr.

use std::env;
use std::io;

use tracing::level_filters::LevelFilter;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{fmt, registry};

use crate::run::TRACE_TARGET;

/// Logs this library's messages to stderr at the level in `ANTHROPIC_LOG`: `error`, `warn`, `info`,
/// `debug` or `off`. Unset or empty means `off`. Other libraries' messages are not logged, and the
/// log never contains a secret.
///
/// This is for programs that do not set up `tracing` themselves; if the program has a subscriber,
/// this has no effect.
pub fn init_logging() {
    let wanted = env::var("ANTHROPIC_LOG").unwrap_or_default();
    let Some(level) = level(&wanted) else {
        eprintln!(
            "ANTHROPIC_LOG={wanted:?} must be error, warn, info, debug or off; logging stays off"
        );
        return;
    };
    if level == LevelFilter::OFF {
        return;
    }
    let ours =
        Targets::new().with_target("toolrunner_std", level).with_target("toolrunner_core", level);
    // The spans for traces carry more attributes than a log line should repeat.
    let ours = ours.with_target(TRACE_TARGET, LevelFilter::OFF);
    // This fails if the program already has a subscriber, which then takes precedence.
    let _ = registry()
        .with(fmt::layer().with_writer(io::stderr).with_ansi(false))
        .with(ours)
        .try_init();
}

fn level(text: &str) -> Option<LevelFilter> {
    let text = text.trim();
    Some(match text.to_ascii_lowercase().as_str() {
        "" | "off" => LevelFilter::OFF,
        "error" => LevelFilter::ERROR,
        "warn" => LevelFilter::WARN,
        "info" => LevelFilter::INFO,
        "debug" => LevelFilter::DEBUG,
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn levels_by_name() {
        assert_eq!(level("debug"), Some(LevelFilter::DEBUG));
        assert_eq!(level(" INFO "), Some(LevelFilter::INFO));
        assert_eq!(level(""), Some(LevelFilter::OFF));
        assert_eq!(level("verbose"), None);
    }
}
