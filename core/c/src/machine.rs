//! Initialization, snapshots and settings.

use core::ffi::c_char;
use core::time::Duration;
use toolrunner_core::__private::check;
use toolrunner_core::__private::{base_of, check_tools};

use toolrunner_core::__private::BaseUrl;
use toolrunner_core::error::{Error, Misuse};
use toolrunner_core::json::{Kind, Text, Value};
use toolrunner_core::policy::Limits;
use toolrunner_core::run::{MakeRoom, Run, WhenFull};
use toolrunner_core::tool::{Definition, Output, ToolCall, ToolError, Toolbox};
use toolrunner_core::transcript::Transcript;
use toolrunner_core::transport::ReplyHead;
use toolrunner_core::wire::{Auth, Config};

use crate::http::Http;
use crate::raw;
use crate::request::SYSTEM;
use crate::types::*;

/// A conversation and the other contents of its requests.
pub(crate) struct Machine {
    pub(crate) run: Run<'static>,
    /// The configuration. In place of a system prompt, which is escaped when it is sent, it has
    /// [`SYSTEM`].
    pub(crate) config: Config<'static>,
    pub(crate) system: Option<&'static str>,
    pub(crate) tools: Tools,
    /// The last error, for `toolrunner_error` and `toolrunner_error_text`.
    pub(crate) error: Option<Error>,
    /// The error that ended a reply, for the retry policy.
    pub(crate) broke: Option<Error>,
    pub(crate) head: ReplyHead,
    pub(crate) http: Http,
    pub(crate) phase: Phase,
}

/// What the machine expects.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Phase {
    /// Nothing: the initialization failed. The machine can only report the error.
    Void,
    /// No reply, or the rest of one that has reached the run.
    Idle,
    /// The reply to a request that was handed out.
    ReplyDue,
    /// The body of a reply whose head has arrived.
    BodyDue,
}

impl Phase {
    /// Returns whether a request was handed out whose reply has not reached the run yet.
    pub(crate) const fn is_due(self) -> bool {
        matches!(self, Self::ReplyDue | Self::BodyDue)
    }
}

impl Machine {
    fn new(setup: Setup, run: Run<'static>) -> Self {
        let Setup { config, system, tools } = setup;
        Self {
            run,
            config,
            system,
            tools,
            error: None,
            broke: None,
            head: ReplyHead::default(),
            http: Http::new(),
            phase: Phase::Idle,
        }
    }

    /// Creates a machine that can only report why its initialization failed.
    pub(crate) fn void(error: Error) -> Self {
        let setup =
            Setup { config: Config::new("", 0), system: None, tools: Tools(Value::default()) };
        let mut this = Self::new(setup, Run::new(Transcript::new(&mut [])));
        (this.error, this.phase) = (Some(error), Phase::Void);
        this
    }

    /// Stores an error and returns its code.
    pub(crate) fn note(&mut self, error: Error) -> i32 {
        self.error = Some(error);
        code(&error)
    }
}

pub(crate) const fn code(error: &Error) -> i32 {
    match error {
        Error::Api(_) => TOOLRUNNER_ERROR_API,
        Error::Capacity(_) => TOOLRUNNER_ERROR_CAPACITY,
        Error::Protocol(_) => TOOLRUNNER_ERROR_PROTOCOL,
        Error::Transport(_) => TOOLRUNNER_ERROR_TRANSPORT,
        _ => TOOLRUNNER_ERROR_MISUSE,
    }
}

/// The definitions of the tools, a JSON array.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Tools(Value<'static>);

impl Tools {
    fn new(json: Option<&'static str>) -> Result<Self, Misuse> {
        const NONE: Misuse = Misuse::Json("tools must be a JSON array of definitions");
        let Some(json) = json else { return Ok(Self(Value::default())) };
        check(json.as_bytes()).map_err(|_| NONE)?;
        let array = Value::first(json.as_bytes()).filter(|json| json.kind() == Kind::Array);
        let tools = Self(array.ok_or(NONE)?);
        check_tools(&tools)?;
        Ok(tools)
    }

    /// Returns the text between the array's brackets.
    pub(crate) fn inside(self) -> &'static str {
        let json = self.0.as_json();
        json.strip_prefix('[')
            .and_then(|rest| rest.strip_suffix(']'))
            .unwrap_or_default()
            .trim_ascii()
    }
}

impl Toolbox for Tools {
    fn count(&self) -> usize {
        self.0.elements().count()
    }

    fn definition(&self, i: usize) -> Option<Definition<'_>> {
        let tool = self.0.elements().nth(i)?;
        let name = tool.member("name").and_then(Value::as_text);
        let definition = Definition::new(
            name.and_then(|name| name.as_plain()).unwrap_or_default(),
            tool.as_json(),
        );
        // A tool without a name runs on the server.
        Some(if name.is_some() { definition } else { definition.declared() })
    }

    /// The C program knows the members of toolsets. None of them has a definition.
    fn find_member(&self, _: Text<'_>, _: Text<'_>) -> Option<usize> {
        Some(usize::MAX)
    }

    async fn call(&self, _: usize, _: ToolCall<'_>, _: &mut Output<'_>) -> Result<(), ToolError> {
        // The C program runs the tools.
        Err(ToolError::written())
    }
}

/// A checked configuration.
struct Setup {
    config: Config<'static>,
    system: Option<&'static str>,
    tools: Tools,
}

impl Setup {
    /// # Safety
    /// The texts must satisfy the contract of `toolrunner_config`.
    unsafe fn new(given: Option<&toolrunner_config>) -> Result<Self, Error> {
        let given = given.ok_or(Misuse::Setting("the configuration is a null pointer"))?;
        if given.abi != TOOLRUNNER_ABI {
            return Err(Misuse::Setting(
                "the program was compiled with a header of a different interface version",
            )
            .into());
        }
        let toolrunner_config {
            max_tokens,
            model,
            system,
            tools,
            params,
            base_url,
            path,
            api_key,
            authorization,
            betas,
            whole_replies,
            ..
        } = *given;
        let text = |start| {
            // SAFETY: guaranteed by this function's contract.
            unsafe { raw::constant(start) }
        };
        let mut config = Config::new(text(model)?.unwrap_or_default(), max_tokens);
        config.params = text(params)?.unwrap_or_default();
        config.base_url = text(base_url)?.unwrap_or(Config::BASE_URL);
        config.path = text(path)?.unwrap_or(config.path);
        config.betas = text(betas)?.unwrap_or_default();
        config.stream = whole_replies == 0;
        config.auth = match (text(authorization)?, text(api_key)?) {
            (Some(token), _) => Auth::Bearer(token),
            (None, Some(key)) => Auth::Key(key),
            (None, None) => Auth::None,
        };
        let (system, tools) = (text(system)?, Tools::new(text(tools)?)?);
        config.system = system.map(|_| SYSTEM);
        config.check_beside(tools.count())?;
        BaseUrl::parse(base_of(config.base_url, config.path)).map_err(Misuse::BaseUrl)?;
        Ok(Self { config, system, tools })
    }
}

/// Creates a machine in `place`, which uses `memory` of `len` bytes. The conversation and an
/// incoming reply must fit into it: 4 KiB are enough for short conversations, long ones need 64 KiB
/// or more. `place` and `memory` must stay in place and must not be written by anyone else as long
/// as the machine is used.
///
/// Returns 0, or `TOOLRUNNER_ERROR_MISUSE` if the configuration is not valid for any request, or
/// has another version. `toolrunner_error_text` then returns the reason, and the other functions do
/// nothing.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn toolrunner_init(
    place: *mut toolrunner_t,
    config: *const toolrunner_config,
    memory: *mut c_char,
    len: usize,
) -> i32 {
    // SAFETY: the caller upholds the contract in the crate's documentation.
    unsafe { make(place, config, memory, len, |transcript| Ok(Run::new(transcript))) }
}

/// Creates a machine like `toolrunner_init`, with the conversation from a snapshot. Limits and
/// policies have their defaults: set them again. The snapshot is needed only during the call, and
/// must not overlap `memory`.
///
/// Returns 0. Returns `TOOLRUNNER_ERROR_MISUSE` if the configuration is not valid, or if the
/// snapshot is not a snapshot, was changed after it was written, or has a newer version. Returns
/// `TOOLRUNNER_ERROR_CAPACITY` if the conversation does not fit.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn toolrunner_restore(
    place: *mut toolrunner_t,
    config: *const toolrunner_config,
    memory: *mut c_char,
    len: usize,
    snapshot: *const c_char,
    snapshot_len: usize,
) -> i32 {
    // SAFETY: the caller upholds the contract in the crate's documentation.
    unsafe {
        let snapshot = raw::bytes(snapshot, snapshot_len);
        make(place, config, memory, len, |transcript| Run::from_snapshot(snapshot, transcript))
    }
}

/// # Safety
/// The contract is that of [`toolrunner_init`].
unsafe fn make(
    place: *mut toolrunner_t,
    config: *const toolrunner_config,
    memory: *mut c_char,
    len: usize,
    run: impl FnOnce(Transcript<'static>) -> Result<Run<'static>, Error>,
) -> i32 {
    if place.is_null() {
        return TOOLRUNNER_ERROR_MISUSE;
    }
    // SAFETY: `place` is not null. This function's contract guarantees the rest. From now on the
    // machine has exclusive access to the memory, so the borrow may have any lifetime.
    unsafe {
        let made = Setup::new(raw::lent(config)).and_then(|setup| {
            run(Transcript::new(raw::memory(memory, len))).map(|run| Machine::new(setup, run))
        });
        let code = made.as_ref().map_or_else(code, |_| TOOLRUNNER_OK);
        raw::put(place, made.unwrap_or_else(Machine::void));
        code
    }
}

/// Writes the state of the run to `out`: a JSON object from which `toolrunner_restore` continues,
/// in another process or after a crash. An unfinished reply is left out. A call that was handed out
/// and not answered counts as started. After a restore it does not run again, and the model
/// receives an error that it was interrupted.
///
/// `written` receives the size of the snapshot in bytes, even if it does not fit. Returns 0, or
/// `TOOLRUNNER_ERROR_CAPACITY`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn toolrunner_snapshot(
    machine: *mut toolrunner_t,
    out: *mut c_char,
    cap: usize,
    written: *mut usize,
) -> i32 {
    // SAFETY: the caller upholds the contract in the crate's documentation.
    unsafe {
        raw::with(machine, |machine| {
            match machine.run.snapshot_into(raw::memory(out, cap)) {
                Ok(len) => raw::give(written, len),
                Err(error) => {
                    if let Error::Capacity(full) = error {
                        raw::give(written, full.needed);
                    }
                    return Err(error);
                }
            }
            Ok(TOOLRUNNER_OK)
        })
    }
}

/// Limits what the run may spend until its next prompt. `which` is one of `TOOLRUNNER_LIMIT_…`, and
/// `most` is a number or `TOOLRUNNER_UNLIMITED`. This function may be called at any time. A run
/// that ended at a limit continues when the limit is raised. By default there are no limits.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn toolrunner_limit(
    machine: *mut toolrunner_t,
    which: i32,
    most: u64,
) -> i32 {
    // SAFETY: the caller upholds the contract in the crate's documentation.
    unsafe {
        raw::with(machine, |machine| {
            let most = (most != TOOLRUNNER_UNLIMITED).then_some(most);
            let small = most.map(|most| u32::try_from(most).unwrap_or(u32::MAX));
            let Limits { turns, calls, input_tokens, output_tokens, time, repeats } =
                machine.run.limits_mut();
            match which {
                TOOLRUNNER_LIMIT_TURNS => *turns = small,
                TOOLRUNNER_LIMIT_CALLS => *calls = small,
                TOOLRUNNER_LIMIT_INPUT_TOKENS => *input_tokens = most,
                TOOLRUNNER_LIMIT_OUTPUT_TOKENS => *output_tokens = most,
                TOOLRUNNER_LIMIT_TIME_MS => *time = most.map(Duration::from_millis),
                TOOLRUNNER_LIMIT_REPEATS => *repeats = small,
                _ => return Err(Misuse::Setting("unknown TOOLRUNNER_LIMIT_ value").into()),
            }
            Ok(TOOLRUNNER_OK)
        })
    }
}

/// Sets when requests are sent again: the maximum number of retries (default 2), the first wait in
/// milliseconds (default 500, doubled for each retry), the longest wait (default 8000 ms), and the
/// longest wait that the server may ask for (default 60000 ms).
#[unsafe(no_mangle)]
pub unsafe extern "C" fn toolrunner_retries(
    machine: *mut toolrunner_t,
    retries: u32,
    first_wait_ms: u32,
    longest_wait_ms: u32,
    longest_asked_ms: u32,
) -> i32 {
    // SAFETY: the caller upholds the contract in the crate's documentation.
    unsafe {
        raw::with(machine, |machine| {
            let policy = machine.run.retry_policy_mut();
            let millis = |number| Duration::from_millis(u64::from(number));
            policy.retries = retries;
            policy.first_wait = millis(first_wait_ms);
            policy.longest_wait = millis(longest_wait_ms);
            policy.retry_after_cap = millis(longest_asked_ms);
            Ok(TOOLRUNNER_OK)
        })
    }
}

/// Sets what happens if fewer than `room` bytes of the memory are free before a request: one of
/// `TOOLRUNNER_FULL_…`. By default nothing happens, and a reply that does not fit is a capacity
/// error.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn toolrunner_when_full(
    machine: *mut toolrunner_t,
    what: i32,
    room: usize,
) -> i32 {
    // SAFETY: the caller upholds the contract in the crate's documentation.
    unsafe {
        raw::with(machine, |machine| {
            let then = match what {
                TOOLRUNNER_FULL_DROP_OLDEST => MakeRoom::DropOldest,
                TOOLRUNNER_FULL_STOP => MakeRoom::Stop,
                _ => return Err(Misuse::Setting("unknown TOOLRUNNER_FULL_ value").into()),
            };
            *machine.run.when_full_mut() = WhenFull { room, then };
            Ok(TOOLRUNNER_OK)
        })
    }
}

/// Returns the version of the interface of the library: the `TOOLRUNNER_ABI` of its header.
#[unsafe(no_mangle)]
pub extern "C" fn toolrunner_abi() -> u32 {
    TOOLRUNNER_ABI
}

/// Returns the size of a `toolrunner_t` in bytes, for languages that do not read the header.
#[unsafe(no_mangle)]
pub extern "C" fn toolrunner_size() -> usize {
    size_of::<toolrunner_t>()
}
