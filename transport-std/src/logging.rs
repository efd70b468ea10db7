//! What happens, on stderr.

use std::env;
use std::io;

use tracing::level_filters::LevelFilter;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{fmt, registry};

use crate::run::TRACE_TARGET;

/// Prints this library's log to stderr as far as `ANTHROPIC_LOG` says: `error`, `warn`, `info`,
/// `debug` or `off`. Unset or empty is `off`. Other libraries' logs stay off, and no secret is ever
/// in ours.
///
/// For programs that do not set up `tracing` themselves; in one that did, this has no effect.
pub fn init_logging() {
    let wanted = env::var("ANTHROPIC_LOG").unwrap_or_default();
    let Some(level) = level(&wanted) else {
        eprintln!(
            "ANTHROPIC_LOG={wanted:?} is none of error, warn, info, debug and off; logging stays off"
        );
        return;
    };
    if level == LevelFilter::OFF {
        return;
    }
    let ours =
        Targets::new().with_target("toolrunner_std", level).with_target("toolrunner_core", level);
    // Spans for traces carry more than a line should repeat.
    let ours = ours.with_target(TRACE_TARGET, LevelFilter::OFF);
    // Fails if the program has a subscriber already, and then that one is right.
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
