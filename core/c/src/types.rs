//! The types and numbers of the interface.

use core::ffi::c_char;
use core::ptr;

/// The version of this interface. It changes when a program that was compiled with an older header
/// would not work with the library; what is only added does not change it.
pub const TOOLRUNNER_ABI: u32 = 1;

/// Most of the size of a `toolrunner_t`, in words of the machine's.
pub const TOOLRUNNER_WORDS: usize = 480;

/// A machine: a conversation and where its loop is. It lies where the caller puts it, in static
/// memory for example, with all bytes zero before `toolrunner_init`. It needs no clean-up. Do not
/// copy it.
#[repr(C)]
#[derive(Debug)]
pub struct toolrunner_t {
    /// Nobody's but the library's.
    pub state: u64,
    /// The same.
    pub opaque: [usize; TOOLRUNNER_WORDS],
}

/// Bytes that the library lends, without a zero at the end. They are valid until the next call with
/// the same machine, unless the function says otherwise.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct toolrunner_text {
    /// The first byte; not null when `len` is not 0.
    pub ptr: *const c_char,
    /// How many bytes there are.
    pub len: usize,
}

impl toolrunner_text {
    /// Nothing.
    pub const EMPTY: Self = Self { ptr: ptr::null(), len: 0 };
}

/// What requests say besides the conversation. The texts end with a zero byte, are UTF-8, and stay
/// in place as long as the machine is used. Null stands for the default.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct toolrunner_config {
    /// `TOOLRUNNER_ABI`, so that a library of another version refuses the program.
    pub abi: u32,
    /// Most tokens of a reply.
    pub max_tokens: u32,
    /// The model's name. Has no default.
    pub model: *const c_char,
    /// The system prompt, as plain text.
    pub system: *const c_char,
    /// The tools, as the JSON array that the API takes: `[{"name":…,"description":…,
    /// "input_schema":{…}}]`.
    pub tools: *const c_char,
    /// Further members of the request's body as JSON, without braces:
    /// `"thinking":{"type":"adaptive"},"temperature":0`.
    pub params: *const c_char,
    /// Scheme, host and perhaps a port and a path. Default: `https://api.anthropic.com`.
    pub base_url: *const c_char,
    /// The path below it. Default: `/v1/messages`.
    pub path: *const c_char,
    /// The key, sent as `x-api-key`. Default: none.
    pub api_key: *const c_char,
    /// The value of `authorization`, with `Bearer ` before the token. Used instead of `api_key`.
    pub authorization: *const c_char,
    /// The value of `anthropic-beta`: names with commas between. Default: none.
    pub betas: *const c_char,
    /// Not 0: replies come as one JSON object instead of a stream.
    pub whole_replies: u32,
    /// 0.
    pub reserved: u32,
}

/// Returned by functions that had nothing to say, or that found nothing.
pub const TOOLRUNNER_OK: i32 = 0;
/// The server reported an error: `toolrunner_error_text` has its words.
pub const TOOLRUNNER_ERROR_API: i32 = -1;
/// A buffer was full. Nothing was lost; `toolrunner_error` says how much was needed.
pub const TOOLRUNNER_ERROR_CAPACITY: i32 = -2;
/// The call was not allowed, or an argument was wrong, or there is no machine.
pub const TOOLRUNNER_ERROR_MISUSE: i32 = -3;
/// The server, or something between, sent what is no reply.
pub const TOOLRUNNER_ERROR_PROTOCOL: i32 = -4;
/// The network failed.
pub const TOOLRUNNER_ERROR_TRANSPORT: i32 = -5;

/// The run is over, until something is said: see `toolrunner_outcome`.
pub const TOOLRUNNER_STEP_DONE: i32 = 0;
/// Send a request and read its reply.
pub const TOOLRUNNER_STEP_SEND: i32 = 1;
/// Answer the calls that `toolrunner_next_call` gives, all of them, then ask again.
pub const TOOLRUNNER_STEP_CALL: i32 = 2;
/// Wait until the time that `toolrunner_step` gave, and ask again.
pub const TOOLRUNNER_STEP_WAIT: i32 = 3;
/// A reply was abandoned half-way: read the rest of it, or call `toolrunner_failed`.
pub const TOOLRUNNER_STEP_RECEIVE: i32 = 4;

/// The run goes on.
pub const TOOLRUNNER_OUTCOME_NONE: i32 = 0;
/// The model stopped; the detail is its stop reason, such as `end_turn`.
pub const TOOLRUNNER_OUTCOME_ENDED: i32 = 1;
/// A limit was reached; the detail names it. Open calls run if it is raised.
pub const TOOLRUNNER_OUTCOME_LIMIT: i32 = 2;
/// A call waits for the caller's answer: one that was suspended.
pub const TOOLRUNNER_OUTCOME_NEEDS_ANSWER: i32 = 3;
/// The caller stopped it.
pub const TOOLRUNNER_OUTCOME_STOPPED: i32 = 4;
/// A later version's.
pub const TOOLRUNNER_OUTCOME_OTHER: i32 = 5;

/// The transport failed in no way that is listed, or the request was given up: it is taken back and
/// sent again at the next step.
pub const TOOLRUNNER_FAILED_GIVEN_UP: i32 = 0;
/// The connection ended or was reset.
pub const TOOLRUNNER_FAILED_CLOSED: i32 = 1;
/// No connection could be made.
pub const TOOLRUNNER_FAILED_CONNECT: i32 = 2;
/// The name has no address.
pub const TOOLRUNNER_FAILED_DNS: i32 = 3;
/// What came back is no HTTP.
pub const TOOLRUNNER_FAILED_HTTP: i32 = 4;
/// Nothing came in time.
pub const TOOLRUNNER_FAILED_TIMEOUT: i32 = 5;
/// The server could not be verified, or the TLS session failed. Never tried again.
pub const TOOLRUNNER_FAILED_TLS: i32 = 6;
/// Anything else.
pub const TOOLRUNNER_FAILED_OTHER: i32 = 7;

/// Nothing happened yet.
pub const TOOLRUNNER_EVENT_NONE: u32 = 0;
/// A reply begins; `data` is its message as JSON.
pub const TOOLRUNNER_EVENT_MESSAGE_START: u32 = 1;
/// A block begins; `data` is the block as JSON.
pub const TOOLRUNNER_EVENT_BLOCK_START: u32 = 2;
/// A piece of text; `data` is the inside of a JSON string: see `toolrunner_unescape`.
pub const TOOLRUNNER_EVENT_TEXT: u32 = 3;
/// A piece of thinking; `data` is the inside of a JSON string.
pub const TOOLRUNNER_EVENT_THINKING: u32 = 4;
/// A piece of a call's input; `data` is JSON text, cut anywhere.
pub const TOOLRUNNER_EVENT_INPUT: u32 = 5;
/// A block is whole; `data` is the block as JSON, as it goes back to the model.
pub const TOOLRUNNER_EVENT_BLOCK_STOP: u32 = 6;
/// Why the reply ends; `data` is the stop reason. It may come more than once.
pub const TOOLRUNNER_EVENT_STOP: u32 = 7;
/// The reply is whole.
pub const TOOLRUNNER_EVENT_MESSAGE_STOP: u32 = 8;
/// Something else, such as a citation or a sign of life; `data` is JSON or empty.
pub const TOOLRUNNER_EVENT_OTHER: u32 = 9;

/// One thing that happened in a reply.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct toolrunner_event {
    /// One of `TOOLRUNNER_EVENT_…`.
    pub kind: u32,
    /// The place of the block in the message, if it is about a block.
    pub index: u32,
    /// What it is about. Valid until the next call with the machine.
    pub data: toolrunner_text,
}

/// One call of a tool. The texts are valid until the next call with the machine.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct toolrunner_call {
    /// Its number in the turn, by which it is answered.
    pub index: u32,
    /// The tool's place in the `tools` of the configuration; -1 for a member of a toolset.
    pub tool: i32,
    /// Its id: the inside of a JSON string.
    pub id: toolrunner_text,
    /// The tool's name: the inside of a JSON string.
    pub name: toolrunner_text,
    /// The toolset that the tool is a member of, such as `computer`. Empty if it is of none.
    pub toolset: toolrunner_text,
    /// Its input: a JSON object that fits the tool's `input_schema`. See `toolrunner_member`.
    pub input: toolrunner_text,
}

/// Tokens.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct toolrunner_usage {
    /// Input that was neither read from a cache nor written to one.
    pub input_tokens: u64,
    /// Output, thinking included.
    pub output_tokens: u64,
    /// Input that was written to a cache.
    pub cache_creation_input_tokens: u64,
    /// Input that was read from a cache.
    pub cache_read_input_tokens: u64,
}

/// The last error in numbers.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct toolrunner_error_info {
    /// One of `TOOLRUNNER_ERROR_…`; 0 if there was none.
    pub code: i32,
    /// The HTTP status of an API error; 200 for one in a stream.
    pub status: u32,
    /// What a capacity error needed, in bytes as a rule, and what was free.
    pub needed: u64,
    /// See `needed`.
    pub free: u64,
    /// The `type` of an API error, or the name of the buffer that was full. Always valid.
    pub what: toolrunner_text,
}

/// Most replies of the model.
pub const TOOLRUNNER_LIMIT_TURNS: i32 = 1;
/// Most calls.
pub const TOOLRUNNER_LIMIT_CALLS: i32 = 2;
/// Most input tokens, caches included.
pub const TOOLRUNNER_LIMIT_INPUT_TOKENS: i32 = 3;
/// Most output tokens.
pub const TOOLRUNNER_LIMIT_OUTPUT_TOKENS: i32 = 4;
/// Most milliseconds since the first request.
pub const TOOLRUNNER_LIMIT_TIME_MS: i32 = 5;
/// Most times in a row that a turn's calls may be the same.
pub const TOOLRUNNER_LIMIT_REPEATS: i32 = 6;
/// For `toolrunner_limit`: no limit.
pub const TOOLRUNNER_UNLIMITED: u64 = 0xffff_ffff_ffff_ffff;

/// The oldest turns are dropped when the memory is nearly full.
pub const TOOLRUNNER_FULL_DROP_OLDEST: i32 = 1;
/// The run ends with a limit when the memory is nearly full.
pub const TOOLRUNNER_FULL_STOP: i32 = 2;
