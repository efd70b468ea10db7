//! Init, snapshots and settings.

use core::ffi::c_char;
use core::time::Duration;

use toolrunner_core::error::{Error, Misuse};
use toolrunner_core::json::{Kind, Sink, Value, check, escape};
use toolrunner_core::policy::Limits;
use toolrunner_core::run::{MakeRoom, Run, WhenFull};
use toolrunner_core::tool::{Definition, Output, ToolCall, ToolError, Toolbox, check_tools};
use toolrunner_core::transcript::Transcript;
use toolrunner_core::transport::ReplyHead;
use toolrunner_core::wire::{Auth, BASE_URL, BaseUrl, Config, base_of};

use crate::http::Http;
use crate::raw;
use crate::types::*;

/// A conversation and what its requests say besides it.
pub(crate) struct Machine {
    pub(crate) run: Run<'static>,
    /// Without the system prompt, which is escaped on its way out.
    pub(crate) config: Config<'static>,
    pub(crate) system: Option<&'static str>,
    pub(crate) tools: Tools,
    /// The last error, to be told.
    pub(crate) error: Option<Error>,
    /// What a reply broke with, for the retry policy.
    pub(crate) broke: Option<Error>,
    pub(crate) head: ReplyHead,
    /// Whether the head has come and none of the body.
    pub(crate) has_head: bool,
    pub(crate) http: Http,
    /// Whether init failed: then it can only tell why.
    pub(crate) is_void: bool,
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
            has_head: false,
            http: Http::new(),
            is_void: false,
        }
    }

    /// Tells why there is none.
    fn void(error: Error) -> Self {
        let setup =
            Setup { config: Config::new("", 0), system: None, tools: Tools(Value::default()) };
        let mut this = Self::new(setup, Run::new(Transcript::new(&mut [])));
        (this.error, this.is_void) = (Some(error), true);
        this
    }

    /// Keeps an error to be told, and gives its code.
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

/// The tools' definitions: a JSON array.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Tools(Value<'static>);

impl Tools {
    fn new(json: Option<&'static str>) -> Result<Self, Misuse> {
        const NONE: Misuse = Misuse::Json("tools are a JSON array of definitions");
        let Some(json) = json else { return Ok(Self(Value::default())) };
        check(json.as_bytes()).map_err(|_| NONE)?;
        let array = Value::first(json.as_bytes()).filter(|json| json.kind() == Kind::Array);
        let tools = Self(array.ok_or(NONE)?);
        check_tools(&tools)?;
        Ok(tools)
    }

    /// What stands between the array's brackets.
    pub(crate) fn inside(self) -> &'static str {
        let json = self.0.as_json();
        json.strip_prefix('[')
            .and_then(|rest| rest.strip_suffix(']'))
            .unwrap_or_default()
            .trim_ascii()
    }

    pub(crate) fn schema(self, i: usize) -> Option<Value<'static>> {
        self.0.elements().nth(i)?.member("input_schema")
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
        // A tool without a name is the server's.
        Some(if name.is_some() { definition } else { definition.declared() })
    }

    async fn call(&self, _: usize, _: ToolCall<'_>, _: &mut Output<'_>) -> Result<(), ToolError> {
        // C runs the tools.
        Err(ToolError::written())
    }
}

/// A configuration that was checked.
struct Setup {
    config: Config<'static>,
    system: Option<&'static str>,
    tools: Tools,
}

impl Setup {
    /// # Safety
    /// The texts are as `toolrunner_config` says.
    unsafe fn new(given: Option<&toolrunner_config>) -> Result<Self, Error> {
        let given = given.ok_or(Misuse::Setting("there is no configuration"))?;
        if given.abi != TOOLRUNNER_ABI {
            return Err(Misuse::Setting("the header is of another version than the library").into());
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
            // SAFETY: by this function's contract.
            unsafe { raw::constant(start) }
        };
        let mut config = Config::new(text(model)?.unwrap_or_default(), max_tokens);
        config.params = text(params)?.unwrap_or_default();
        config.base_url = text(base_url)?.unwrap_or(BASE_URL);
        config.path = text(path)?.unwrap_or(config.path);
        config.betas = text(betas)?.unwrap_or_default();
        config.stream = whole_replies == 0;
        config.auth = match (text(authorization)?, text(api_key)?) {
            (Some(token), _) => Auth::Bearer(token),
            (None, Some(key)) => Auth::Key(key),
            (None, None) => Auth::None,
        };
        config.check()?;
        BaseUrl::parse(base_of(config.base_url, config.path)).map_err(Misuse::Setting)?;
        Ok(Self { config, system: text(system)?, tools: Tools::new(text(tools)?)? })
    }
}

/// Makes a machine in `place`, over `memory` of `len` bytes, which the conversation and a reply
/// that comes have to fit into: 4 KiB do for short ones, 64 KiB and more for long ones. Both stay
/// in place, and nobody else writes to them, as long as the machine is used.
///
/// Gives 0, or `TOOLRUNNER_ERROR_MISUSE` if the configuration is one that no request could carry,
/// or of another version. Then `toolrunner_error_text` says why, and the other functions do
/// nothing.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn toolrunner_init(
    place: *mut toolrunner_t,
    config: *const toolrunner_config,
    memory: *mut c_char,
    len: usize,
) -> i32 {
    // SAFETY: the contract of the crate's documentation.
    unsafe { make(place, config, memory, len, |transcript| Ok(Run::new(transcript))) }
}

/// The same with the conversation that a snapshot holds. Limits and policies are the defaults: set
/// them again. The snapshot is needed only during the call, and must not lie in `memory`.
///
/// Gives `TOOLRUNNER_ERROR_MISUSE` also if it is no snapshot, was changed after it was written, or
/// is of a newer version; `TOOLRUNNER_ERROR_CAPACITY` if the conversation does not fit.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn toolrunner_restore(
    place: *mut toolrunner_t,
    config: *const toolrunner_config,
    memory: *mut c_char,
    len: usize,
    snapshot: *const c_char,
    snapshot_len: usize,
) -> i32 {
    // SAFETY: the contract of the crate's documentation.
    unsafe {
        let snapshot = raw::bytes(snapshot, snapshot_len);
        make(place, config, memory, len, |transcript| Run::from_snapshot(snapshot, transcript))
    }
}

/// # Safety
/// As of [`toolrunner_init`].
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
    // SAFETY: `place` is not null; all else is this function's contract. The memory is the
    // machine's alone from now on, so it may be lent for as long as it likes.
    unsafe {
        let made = Setup::new(raw::lent(config)).and_then(|setup| {
            run(Transcript::new(raw::memory(memory, len))).map(|run| Machine::new(setup, run))
        });
        let code = made.as_ref().map_or_else(code, |_| TOOLRUNNER_OK);
        raw::put(place, made.unwrap_or_else(Machine::void));
        code
    }
}

/// Writes the run as it is now into `out`: a JSON object, from which `toolrunner_restore` goes on,
/// in another process or after a crash. A reply under way is left out. A call that was given out
/// and not answered counts as begun: after a restore the model reads that it was interrupted, and
/// it does not run again.
///
/// `written`: how long it is, also if it does not fit. Gives 0, or `TOOLRUNNER_ERROR_CAPACITY`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn toolrunner_snapshot(
    machine: *mut toolrunner_t,
    out: *mut c_char,
    cap: usize,
    written: *mut usize,
) -> i32 {
    // SAFETY: the contract of the crate's documentation.
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

/// Sets what the run may spend until its next prompt: `which` is one of `TOOLRUNNER_LIMIT_…`,
/// `most` a number or `TOOLRUNNER_UNLIMITED`. May be called at any time: a run that ended at a
/// limit goes on when that is raised. Default: no limit.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn toolrunner_limit(
    machine: *mut toolrunner_t,
    which: i32,
    most: u64,
) -> i32 {
    // SAFETY: the contract of the crate's documentation.
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
                _ => return Err(Misuse::Setting("there is no such limit").into()),
            }
            Ok(TOOLRUNNER_OK)
        })
    }
}

/// Sets when requests are sent again: most tries after the first (default 2), the first wait
/// (default 500 ms; doubled each time), the longest (default 8000 ms), and the longest that a
/// server may ask for (default 60000 ms).
#[unsafe(no_mangle)]
pub unsafe extern "C" fn toolrunner_retries(
    machine: *mut toolrunner_t,
    retries: u32,
    first_wait_ms: u32,
    longest_wait_ms: u32,
    longest_asked_ms: u32,
) -> i32 {
    // SAFETY: the contract of the crate's documentation.
    unsafe {
        raw::with(machine, |machine| {
            let policy = machine.run.retry_mut();
            let millis = |number| Duration::from_millis(u64::from(number));
            policy.retries = retries;
            policy.first_wait = millis(first_wait_ms);
            policy.longest_wait = millis(longest_wait_ms);
            policy.retry_after_cap = millis(longest_asked_ms);
            Ok(TOOLRUNNER_OK)
        })
    }
}

/// Sets what is done when fewer than `room` bytes of the memory are free as a request is about to
/// go out: one of `TOOLRUNNER_FULL_…`. Default: nothing, and a reply that does not fit is a
/// capacity error.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn toolrunner_when_full(
    machine: *mut toolrunner_t,
    what: i32,
    room: usize,
) -> i32 {
    // SAFETY: the contract of the crate's documentation.
    unsafe {
        raw::with(machine, |machine| {
            let then = match what {
                TOOLRUNNER_FULL_DROP_OLDEST => MakeRoom::DropOldest,
                TOOLRUNNER_FULL_STOP => MakeRoom::Stop,
                _ => return Err(Misuse::Setting("there is no such way to make room").into()),
            };
            *machine.run.when_full_mut() = WhenFull { room, then };
            Ok(TOOLRUNNER_OK)
        })
    }
}

/// The version of the interface that the library has: `TOOLRUNNER_ABI` of its header.
#[unsafe(no_mangle)]
pub extern "C" fn toolrunner_abi() -> u32 {
    TOOLRUNNER_ABI
}

/// Bytes of a `toolrunner_t`, for languages that do not read the header.
#[unsafe(no_mangle)]
pub extern "C" fn toolrunner_size() -> usize {
    size_of::<toolrunner_t>()
}

/// Bytes that a system prompt takes in the body.
pub(crate) fn put_system(system: &str, out: &mut impl Sink) -> Result<(), Error> {
    out.put(b",\"system\":\"")?;
    escape(system).write_to(out)?;
    Ok(out.put(b"\"")?)
}
