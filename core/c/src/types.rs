//! The types and constants of the interface.

use core::ffi::c_char;
use core::ptr;

/// The version of this interface. It changes when a program that was compiled with an older header
/// would not work with the library. Additions alone do not change it.
pub const TOOLRUNNER_ABI: u32 = 1;

/// Most of the size of a `toolrunner_t`, in machine words.
pub const TOOLRUNNER_WORDS: usize = 520;

/// A machine: a conversation and the state of its loop. The caller provides its storage, for
/// example in static memory, with all bytes zero before `toolrunner_init`. It needs no cleanup. Do
/// not copy it.
#[repr(C)]
#[derive(Debug)]
pub struct toolrunner_t {
    /// Private to the library.
    pub state: u64,
    /// Private to the library.
    pub opaque: [usize; TOOLRUNNER_WORDS],
}

/// Bytes that the library lends, without a terminating zero byte. They are valid until the next
/// call with the same machine, unless the function says otherwise.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct toolrunner_text {
    /// The first byte. Not null if `len` is not 0.
    pub ptr: *const c_char,
    /// The number of bytes.
    pub len: usize,
}

impl toolrunner_text {
    /// An empty text.
    pub const EMPTY: Self = Self { ptr: ptr::null(), len: 0 };
}

/// The contents of requests apart from the conversation. The texts end with a zero byte, are UTF-8,
/// and stay in place as long as the machine is used. A null pointer selects the default.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct toolrunner_config {
    /// `TOOLRUNNER_ABI`, so that a library of another version refuses the program.
    pub abi: u32,
    /// The maximum number of tokens of a reply.
    pub max_tokens: u32,
    /// The model's name. It has no default.
    pub model: *const c_char,
    /// The system prompt, as plain text.
    pub system: *const c_char,
    /// The tools, as the JSON array in the API's format: `[{"name":…,"description":…,
    /// "input_schema":{…}}]`.
    pub tools: *const c_char,
    /// Additional members of the request's body as JSON, without braces:
    /// `"thinking":{"type":"adaptive"},"temperature":0`.
    pub params: *const c_char,
    /// Scheme, host, and optionally a port and a path. Default: `https://api.anthropic.com`.
    pub base_url: *const c_char,
    /// The path below the base URL. Default: `/v1/messages`.
    pub path: *const c_char,
    /// The API key, sent as `x-api-key`. Default: none.
    pub api_key: *const c_char,
    /// The value of the `authorization` header, with `Bearer ` before the token. It replaces
    /// `api_key`.
    pub authorization: *const c_char,
    /// The value of the `anthropic-beta` header: names separated by commas. Default: none.
    pub betas: *const c_char,
    /// If not 0, replies arrive as one JSON object instead of a stream.
    pub whole_replies: u32,
    /// Must be 0.
    pub reserved: u32,
}

/// Success, without a result or with nothing found.
pub const TOOLRUNNER_OK: i32 = 0;
/// The server reported an error. `toolrunner_error_text` returns its message.
pub const TOOLRUNNER_ERROR_API: i32 = -1;
/// A buffer was full. Nothing was lost. `toolrunner_error` reports how much was needed.
pub const TOOLRUNNER_ERROR_CAPACITY: i32 = -2;
/// The call was not allowed, an argument was invalid, or there is no machine.
pub const TOOLRUNNER_ERROR_MISUSE: i32 = -3;
/// The server, or something between, sent an invalid reply.
pub const TOOLRUNNER_ERROR_PROTOCOL: i32 = -4;
/// The network failed.
pub const TOOLRUNNER_ERROR_TRANSPORT: i32 = -5;

/// The run has ended, until a new message is added. See `toolrunner_outcome`.
pub const TOOLRUNNER_STEP_DONE: i32 = 0;
/// Send a request and read its reply.
pub const TOOLRUNNER_STEP_SEND: i32 = 1;
/// Answer all calls that `toolrunner_next_call` hands out, then get the next step.
pub const TOOLRUNNER_STEP_CALL: i32 = 2;
/// Wait until the time that `toolrunner_step` returned, then get the next step.
pub const TOOLRUNNER_STEP_WAIT: i32 = 3;
/// A reply was abandoned before its end. Read the rest of it, or call `toolrunner_failed`.
pub const TOOLRUNNER_STEP_RECEIVE: i32 = 4;

/// The run has not ended.
pub const TOOLRUNNER_OUTCOME_NONE: i32 = 0;
/// The model stopped. The detail is its stop reason, such as `end_turn`.
pub const TOOLRUNNER_OUTCOME_ENDED: i32 = 1;
/// A limit was reached. The detail is its name. Open calls run if the limit is raised.
pub const TOOLRUNNER_OUTCOME_LIMIT: i32 = 2;
/// A suspended call waits for the caller's answer.
pub const TOOLRUNNER_OUTCOME_NEEDS_ANSWER: i32 = 3;
/// The caller stopped the run.
pub const TOOLRUNNER_OUTCOME_STOPPED: i32 = 4;
/// An outcome of a later version.
pub const TOOLRUNNER_OUTCOME_OTHER: i32 = 5;

/// No listed reason applies, or the caller abandoned the request. It is taken back and sent again
/// at the next step.
pub const TOOLRUNNER_FAILED_GIVEN_UP: i32 = 0;
/// The connection was closed or reset.
pub const TOOLRUNNER_FAILED_CLOSED: i32 = 1;
/// No connection could be established.
pub const TOOLRUNNER_FAILED_CONNECT: i32 = 2;
/// The host name could not be resolved.
pub const TOOLRUNNER_FAILED_DNS: i32 = 3;
/// The reply is not HTTP.
pub const TOOLRUNNER_FAILED_HTTP: i32 = 4;
/// A timeout expired before data arrived.
pub const TOOLRUNNER_FAILED_TIMEOUT: i32 = 5;
/// The server could not be verified, or the TLS session failed. Never retried.
pub const TOOLRUNNER_FAILED_TLS: i32 = 6;
/// Any other failure.
pub const TOOLRUNNER_FAILED_OTHER: i32 = 7;

/// No event yet.
pub const TOOLRUNNER_EVENT_NONE: u32 = 0;
/// A reply begins. `data` is its message as JSON.
pub const TOOLRUNNER_EVENT_MESSAGE_START: u32 = 1;
/// A block begins. `data` is the block as JSON.
pub const TOOLRUNNER_EVENT_BLOCK_START: u32 = 2;
/// A piece of text. `data` is the contents of a JSON string: see `toolrunner_unescape`.
pub const TOOLRUNNER_EVENT_TEXT: u32 = 3;
/// A piece of thinking. `data` is the contents of a JSON string.
pub const TOOLRUNNER_EVENT_THINKING: u32 = 4;
/// A piece of a call's input. `data` is JSON text, cut at any position.
pub const TOOLRUNNER_EVENT_INPUT: u32 = 5;
/// A block is complete. `data` is the block as JSON, as it is sent back to the model.
pub const TOOLRUNNER_EVENT_BLOCK_STOP: u32 = 6;
/// The reply has a stop reason, which is `data`. This event may occur more than once.
pub const TOOLRUNNER_EVENT_STOP: u32 = 7;
/// The reply is complete.
pub const TOOLRUNNER_EVENT_MESSAGE_STOP: u32 = 8;
/// Another event, such as a citation or a ping. `data` is JSON or empty.
pub const TOOLRUNNER_EVENT_OTHER: u32 = 9;

/// An event in a reply.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct toolrunner_event {
    /// One of `TOOLRUNNER_EVENT_…`.
    pub kind: u32,
    /// The index of the block in the message, if the event is about a block.
    pub index: u32,
    /// The data of the event. Valid until the next call with the machine.
    pub data: toolrunner_text,
}

/// A call of a tool. The texts are valid until the next call with the machine.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct toolrunner_call {
    /// The number of the call in the turn, which identifies it in an answer.
    pub index: u32,
    /// The index of the tool in the `tools` of the configuration; -1 for a member of a toolset, and
    /// for a suspended call whose tool no longer exists.
    pub tool: i32,
    /// The id of the call: the contents of a JSON string.
    pub id: toolrunner_text,
    /// The tool's name: the contents of a JSON string.
    pub name: toolrunner_text,
    /// The toolset that contains the tool, such as `computer`. Empty if there is none.
    pub toolset: toolrunner_text,
    /// The input: a JSON object that fits the tool's `input_schema`. See `toolrunner_member`.
    pub input: toolrunner_text,
}

/// Numbers of tokens.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct toolrunner_usage {
    /// Input tokens that were neither read from a cache nor written to one.
    pub input_tokens: u64,
    /// Output tokens, including thinking.
    pub output_tokens: u64,
    /// Input tokens that were written to a cache.
    pub cache_creation_input_tokens: u64,
    /// Input tokens that were read from a cache.
    pub cache_read_input_tokens: u64,
}

/// The numbers of the last error.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct toolrunner_error_info {
    /// One of `TOOLRUNNER_ERROR_…`, or 0 if there was no error.
    pub code: i32,
    /// The HTTP status of an API error; 200 for an error in a stream.
    pub status: u32,
    /// The size that a capacity error needed, usually in bytes.
    pub needed: u64,
    /// The size that was free at a capacity error, usually in bytes.
    pub free: u64,
    /// The `type` of an API error, or the name of the buffer that was full. Always valid.
    pub what: toolrunner_text,
}

/// The maximum number of replies of the model.
pub const TOOLRUNNER_LIMIT_TURNS: i32 = 1;
/// The maximum number of calls.
pub const TOOLRUNNER_LIMIT_CALLS: i32 = 2;
/// The maximum number of input tokens, including cached ones.
pub const TOOLRUNNER_LIMIT_INPUT_TOKENS: i32 = 3;
/// The maximum number of output tokens.
pub const TOOLRUNNER_LIMIT_OUTPUT_TOKENS: i32 = 4;
/// The maximum time since the first request, in milliseconds.
pub const TOOLRUNNER_LIMIT_TIME_MS: i32 = 5;
/// The maximum number of consecutive turns with the same calls.
pub const TOOLRUNNER_LIMIT_REPEATS: i32 = 6;
/// No limit, for `toolrunner_limit`.
pub const TOOLRUNNER_UNLIMITED: u64 = 0xffff_ffff_ffff_ffff;

/// Drop the oldest turns when the memory is nearly full.
pub const TOOLRUNNER_FULL_DROP_OLDEST: i32 = 1;
/// End the run with a limit when the memory is nearly full.
pub const TOOLRUNNER_FULL_STOP: i32 = 2;
