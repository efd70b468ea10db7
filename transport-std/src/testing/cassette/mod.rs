//! Recorded exchanges with the API, replayed without a network.

mod diff;
mod error;
mod exchange;
mod hide;
mod json;
mod play;
mod record;
mod sse;

use core::fmt;
use core::mem;
use std::env;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use http::Method;
use toolrunner_core::transport::{Body, Head};

pub use error::CassetteError;

use crate::client::Client;
use crate::clock::{DynClock, SharedClock};
use crate::config::{ClientBuilder, Secret, SetupError};
use crate::http::{DynTransport, HttpTransport, SendFuture, Timeouts};
use crate::lock::lock;
use exchange::Request;
use hide::Secrets;
use play::Player;
use record::Recorder;

/// The environment variable that sets the mode of every cassette whose program does not set it:
/// `replay`, `record` or `record-missing`.
pub const MODE_VARIABLE: &str = "TOOLRUNNER_CASSETTE";

/// What a [`Cassette`] does.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum CassetteMode {
    /// Answers from the file. Nothing is sent. A file that does not exist is an error.
    #[default]
    Replay,
    /// Sends every request, and replaces the file.
    Record,
    /// Replays if the file exists, and records if it does not.
    RecordMissing,
}

/// A recording of the exchanges between a client and the API, in a file that is committed with the
/// test that uses it.
///
/// By default the exchanges are replayed: nothing is sent, and no credential is needed. To record
/// them, run the test with `TOOLRUNNER_CASSETTE=record` and a credential, read the file, and commit
/// it. It is JSON text with one event of a stream on each line.
///
/// ```no_run
/// # async fn f() -> Result<(), Box<dyn std::error::Error>> {
/// use toolrunner_std::testing::Cassette;
///
/// let cassette = Cassette::at("tests/cassettes/greeting.json").start()?;
/// let mut run = cassette.client()?.run("claude-opus-4-7").user("Say hello.");
/// assert_eq!(run.until_done().await?.text(), "Hello!");
/// cassette.finish()?;
/// # Ok(()) }
/// ```
///
/// # Replay
///
/// Each request is compared with the next one of the recording: the method, the path and the query,
/// the headers `accept`, `anthropic-beta`, `anthropic-version` and `content-type`, and the body.
/// The order of the members of a JSON object and its white space do not matter. A request that
/// differs is not answered: it fails at once, and [`finish`](Self::finish) shows the difference. It
/// is an error too if exchanges of the recording were not used.
///
/// The replies have the recorded status, pieces and end, so errors, retries and broken connections
/// are replayed as well. A wait that a recorded `retry-after` asks for takes real time unless the
/// run has another [clock](crate::RunBuilder::clock).
///
/// # Secrets
///
/// Only the headers named above are kept of a request, and of a reply `content-type`, `request-id`,
/// the retry headers and the rate limits. The base URL is not kept. The values of a query are
/// replaced with `[hidden]`, except for parameters of the API such as `limit`. The value of every
/// header that is left out, such as the key, and each of its parts are replaced wherever else they
/// occur, if they have at least 8 bytes. So is each value that the test names with
/// [`CassetteBuilder::hide`], even if a reply has it in several pieces. Everything else is kept as
/// it is: the prompts, the inputs and results of tools, and the replies.
///
/// The exchange of a [workload identity](crate::identity) for a token is not recorded. A replay
/// answers it with a token that has no meaning.
///
/// # Drop
///
/// A cassette that is dropped without [`finish`](Self::finish) finishes then and panics if that
/// fails, so that no test passes by accident. If the thread is already panicking, it prints the
/// failure instead, and a recording is not written.
pub struct Cassette {
    shared: Option<Arc<CassetteState>>,
}

/// The options of a [`Cassette`].
#[must_use = "a cassette does nothing until it is started"]
pub struct CassetteBuilder {
    path: PathBuf,
    mode: Option<CassetteMode>,
    secrets: Secrets,
    ignored: Vec<String>,
    in_any_order: bool,
    clock: Option<SharedClock>,
}

struct CassetteState {
    path: PathBuf,
    secrets: Mutex<Secrets>,
    deck: Deck,
}

enum Deck {
    Player(Mutex<Player>),
    Recorder(Mutex<Recorder>),
}

impl Cassette {
    /// Starts the configuration of a cassette in this file. A relative path begins at the current
    /// folder, which is the folder of the package in a test that cargo runs.
    pub fn at(path: impl Into<PathBuf>) -> CassetteBuilder {
        CassetteBuilder {
            path: path.into(),
            mode: None,
            secrets: Secrets::default(),
            ignored: Vec::new(),
            in_any_order: false,
            clock: None,
        }
    }

    /// Returns whether requests are sent and recorded.
    pub fn is_recording(&self) -> bool {
        self.shared().is_some_and(|shared| matches!(shared.deck, Deck::Recorder(_)))
    }

    /// Returns a client that uses this cassette. While it records, the client has the settings of
    /// [`Client::from_env`].
    ///
    /// # Errors
    /// Returns the error of [`Client::from_env`] while the cassette records.
    pub fn client(&self) -> Result<Client, SetupError> {
        self.builder()?.build()
    }

    /// Returns the builder of a client that uses this cassette. While it records, the builder has
    /// the settings of [`ClientBuilder::from_env`], and it connects with the default timeouts.
    ///
    /// # Errors
    /// Returns the error of [`ClientBuilder::from_env`] while the cassette records.
    pub fn builder(&self) -> Result<ClientBuilder, SetupError> {
        let builder = if self.is_recording() {
            ClientBuilder::from_env()?
        } else {
            // Too short to be hidden wherever else it occurs.
            ClientBuilder::new().base_url("http://cassette").api_key("replay")
        };
        Ok(builder.transport(self.transport(HttpTransport::default())))
    }

    /// Returns a transport that uses this cassette, for [`ClientBuilder::transport`]. While it
    /// records, requests go to `inner`. While it replays, `inner` is not used.
    pub fn transport(&self, inner: HttpTransport) -> HttpTransport {
        match self.shared() {
            Some(shared) => HttpTransport::from_dyn(CassetteTransport {
                shared: Arc::clone(shared),
                inner: inner.clone(),
            }),
            None => inner,
        }
    }

    /// Returns the requests so far, without their secrets and with the headers that are compared.
    /// `Display` shows one as text.
    pub fn requests(&self) -> Vec<toolrunner_core::testing::Request> {
        let Some(shared) = self.shared() else { return Vec::new() };
        let requests = match &shared.deck {
            Deck::Player(player) => lock(player).requests().to_vec(),
            Deck::Recorder(recorder) => lock(recorder).requests(&lock(&shared.secrets)),
        };
        let sent = |request: Request| toolrunner_core::testing::Request {
            path: request.path,
            headers: request.headers,
            body: request.body.bytes().to_vec(),
        };
        requests.into_iter().map(sent).collect()
    }

    /// Ends the cassette. A recording is written to its file.
    ///
    /// # Errors
    /// Returns [`CassetteError::Changed`] with the difference if a request differed from the
    /// recorded one, [`CassetteError::Unused`] if exchanges of the recording were not used, or an
    /// error if the file cannot be written.
    pub fn finish(mut self) -> Result<(), CassetteError> {
        self.shared.take().map_or(Ok(()), |shared| shared.finish())
    }

    const fn shared(&self) -> Option<&Arc<CassetteState>> {
        self.shared.as_ref()
    }
}

impl Drop for Cassette {
    fn drop(&mut self) {
        let Some(shared) = self.shared.take() else { return };
        let is_panicking = std::thread::panicking();
        if is_panicking && matches!(shared.deck, Deck::Recorder(_)) {
            eprintln!("{} was not written, because the test failed", shared.path.display());
            return;
        }
        match shared.finish() {
            Err(error) if is_panicking => {
                // Exchanges are left whenever a test fails early.
                if !matches!(error, CassetteError::Unused { .. }) {
                    eprintln!("{error}");
                }
            }
            Err(error) => panic!("{error}"),
            Ok(()) => {}
        }
    }
}

impl fmt::Debug for Cassette {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Cassette")
            .field("path", &self.shared().map(|shared| &shared.path))
            .field("is_recording", &self.is_recording())
            .finish_non_exhaustive()
    }
}

impl CassetteBuilder {
    /// Sets the mode. Default: that of the environment variable `TOOLRUNNER_CASSETTE`, or
    /// [`CassetteMode::Replay`] if it is not set.
    pub const fn mode(mut self, mode: CassetteMode) -> Self {
        self.mode = Some(mode);
        self
    }

    /// Replaces this value with `[hidden]` wherever it occurs: in paths, bodies and the texts of
    /// failures. A replay replaces it in the requests that it compares, too.
    pub fn hide(mut self, secret: impl Into<Secret>) -> Self {
        self.secrets.add(secret.into());
        self
    }

    /// Does not compare the value at this JSON pointer in the bodies of requests, such as
    /// `/metadata/user_id` or `/messages/0/content`. It is recorded.
    pub fn ignore(mut self, pointer: impl Into<String>) -> Self {
        self.ignored.push(pointer.into());
        self
    }

    /// Answers each request from the first unused exchange that has the same request, for tests
    /// with several runs at a time, whose requests have no fixed order.
    pub const fn in_any_order(mut self) -> Self {
        self.in_any_order = true;
        self
    }

    /// Records the times between the pieces of replies, and repeats them in a replay on this clock:
    /// [`TokioClock`](crate::clock::TokioClock) for real time, or the
    /// [`VirtualClock`](toolrunner_core::testing::VirtualClock) of the run. By default no times are
    /// recorded, and replies take none.
    pub fn pauses(mut self, clock: impl DynClock) -> Self {
        self.clock = Some(SharedClock(Arc::new(clock)));
        self
    }

    /// Starts the cassette. In a replay this reads the file.
    ///
    /// # Errors
    /// Returns an error if `TOOLRUNNER_CASSETTE` has an unknown value, or if the file cannot be
    /// read or is not a cassette.
    pub fn start(self) -> Result<Cassette, CassetteError> {
        let Self { path, mode, secrets, ignored, in_any_order, clock } = self;
        let mode = mode.map_or_else(mode_of_environment, Ok)?;
        let records = match mode {
            CassetteMode::Replay => false,
            CassetteMode::Record => true,
            CassetteMode::RecordMissing => !path.exists(),
        };
        let deck = if records {
            Deck::Recorder(Mutex::new(Recorder::new(clock)))
        } else {
            let exchanges = read(&path)?;
            Deck::Player(Mutex::new(Player::new(exchanges, ignored, in_any_order, clock)))
        };
        let shared = CassetteState { path, secrets: Mutex::new(secrets), deck };
        Ok(Cassette { shared: Some(Arc::new(shared)) })
    }
}

impl fmt::Debug for CassetteBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CassetteBuilder")
            .field("path", &self.path)
            .field("mode", &self.mode)
            .finish_non_exhaustive()
    }
}

fn mode_of_environment() -> Result<CassetteMode, CassetteError> {
    let Some(value) = env::var_os(MODE_VARIABLE) else { return Ok(CassetteMode::Replay) };
    match value.to_str().unwrap_or_default() {
        "" | "replay" => Ok(CassetteMode::Replay),
        "record" => Ok(CassetteMode::Record),
        "record-missing" => Ok(CassetteMode::RecordMissing),
        _ => Err(CassetteError::Mode(value.to_string_lossy().into_owned())),
    }
}

fn read(path: &Path) -> Result<Vec<exchange::Exchange>, CassetteError> {
    let text = match std::fs::read_to_string(path) {
        Ok(text) => text,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            return Err(CassetteError::Missing(path.to_owned()));
        }
        Err(error) => return Err(CassetteError::Io(path.to_owned(), error)),
    };
    exchange::read(&text).map_err(|fault| CassetteError::Format(path.to_owned(), fault))
}

impl CassetteState {
    fn finish(&self) -> Result<(), CassetteError> {
        match &self.deck {
            Deck::Player(player) => lock(player).finish(&self.path),
            Deck::Recorder(recorder) => lock(recorder).finish(&self.path, &lock(&self.secrets)),
        }
    }

    /// Returns a request without its secrets.
    fn request(&self, method: &Method, head: &Head<'_>, body: &[u8]) -> Request {
        let mut secrets = lock(&self.secrets);
        secrets.add_of_request(head.path, head.headers);
        request(method, head.path, head.headers, body, &secrets)
    }
}

fn request(
    method: &Method,
    path: &str,
    headers: &[(&str, &str)],
    body: &[u8],
    secrets: &Secrets,
) -> Request {
    let kept = headers.iter().filter(|(name, _)| hide::keeps_request_header(name));
    Request {
        method: method.to_string(),
        path: secrets.path(path),
        headers: kept
            .map(|(name, value)| ((*name).to_owned(), secrets.text(value).into_owned()))
            .collect(),
        // `of` fails only for a stream of events, and a request is not a stream.
        body: exchange::Content::of(body, secrets).unwrap_or(exchange::Content::Empty),
    }
}

/// The transport of one client of a cassette.
struct CassetteTransport {
    shared: Arc<CassetteState>,
    inner: HttpTransport,
}

impl DynTransport for CassetteTransport {
    fn send<'a>(&'a self, head: &'a Head<'_>, body: &'a Body<'_>) -> SendFuture<'a> {
        self.send_with(&Method::POST, head, body, Timeouts::default())
    }

    fn send_within<'a>(
        &'a self,
        head: &'a Head<'_>,
        body: &'a Body<'_>,
        timeouts: Timeouts,
    ) -> SendFuture<'a> {
        self.send_with(&Method::POST, head, body, timeouts)
    }

    fn send_with<'a>(
        &'a self,
        method: &'a Method,
        head: &'a Head<'_>,
        body: &'a Body<'_>,
        timeouts: Timeouts,
    ) -> SendFuture<'a> {
        Box::pin(async move {
            let is_token = head.path.split('?').next().is_some_and(|path| path.ends_with(TOKEN));
            match &self.shared.deck {
                Deck::Player(_) if is_token => Ok(play::token()),
                Deck::Player(player) => {
                    let bytes: Vec<u8> = body.pieces().flatten().copied().collect();
                    let request = self.shared.request(method, head, &bytes);
                    lock(player).answer(request, &self.shared.path, timeouts.read)
                }
                Deck::Recorder(recorder) => {
                    let mut inner = self.inner.clone().with_timeouts(timeouts);
                    if is_token {
                        return inner.exchange(method, head, body).await;
                    }
                    let bytes: Vec<u8> = body.pieces().flatten().copied().collect();
                    lock(&self.shared.secrets).add_of_request(head.path, head.headers);
                    let tape = lock(recorder).begin(method, head, bytes);
                    let reply = inner.exchange(method, head, body).await;
                    record::tap(reply, &tape)
                }
            }
        })
    }
}

/// The endpoint that exchanges a workload identity for a token.
const TOKEN: &str = "/v1/oauth/token";

/// Takes what a mutex holds.
fn take<T: Default>(mutex: &Mutex<T>) -> T {
    mem::take(&mut *lock(mutex))
}
