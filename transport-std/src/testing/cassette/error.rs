//! Why a cassette failed.

use core::error::Error;
use core::fmt;
use std::io;
use std::path::PathBuf;

use super::MODE_VARIABLE;

/// An error of a [`Cassette`](super::Cassette). Its text has no secrets.
#[non_exhaustive]
pub enum CassetteError {
    /// The environment variable `TOOLRUNNER_CASSETTE` has this value, which is not a mode.
    Mode(String),
    /// The file to replay does not exist.
    Missing(PathBuf),
    /// The file cannot be read or written.
    Io(PathBuf, io::Error),
    /// The file is not a cassette, for this reason.
    Format(PathBuf, String),
    /// A request differs from the recorded one.
    Changed {
        /// The file.
        path: PathBuf,
        /// The number of the exchange, counted from 1. It is one more than the number of exchanges
        /// if the recording has no more.
        exchange: usize,
        /// The difference as a unified diff: lines that begin with `-` are recorded, and lines that
        /// begin with `+` were sent.
        difference: String,
    },
    /// Exchanges of the recording were not used.
    Unused {
        /// The file.
        path: PathBuf,
        /// The requests of these exchanges: a number, counted from 1, and the method and path.
        requests: Vec<(usize, String)>,
    },
    /// The recording was not written, because a reply has a secret in several pieces, in a format
    /// in which it cannot be replaced. The number of the exchange is counted from 1.
    Secret(PathBuf, usize),
}

impl fmt::Display for CassetteError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Mode(value) => write!(
                f,
                "{MODE_VARIABLE} is {value:?}, but must be `replay`, `record` or `record-missing`"
            ),
            Self::Missing(path) => write!(
                f,
                "there is no cassette {}: run the test once with {MODE_VARIABLE}=record and a credential",
                path.display()
            ),
            Self::Io(path, error) => write!(f, "the cassette {}: {error}", path.display()),
            Self::Format(path, fault) => {
                write!(f, "{} is not a cassette: {fault}", path.display())
            }
            Self::Changed { path, exchange, difference } => write!(
                f,
                "request {exchange} is not the one in the cassette {}\n\
                 (lines with - are recorded, lines with + were sent; to record again, run the test \
                 with {MODE_VARIABLE}=record):\n{difference}",
                path.display()
            ),
            Self::Unused { path, requests } => {
                write!(f, "exchanges of the cassette {} were not used:", path.display())?;
                requests.iter().try_for_each(|(i, request)| write!(f, "\n  {i}. {request}"))
            }
            Self::Secret(path, exchange) => write!(
                f,
                "{} was not written: the reply of exchange {exchange} has a secret in several pieces, which cannot be replaced",
                path.display()
            ),
        }
    }
}

/// Writes the message with its line breaks, because a test prints an error that it returns or
/// unwraps with `Debug`.
impl fmt::Debug for CassetteError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl Error for CassetteError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            Self::Io(_, error) => Some(error),
            _ => None,
        }
    }
}
