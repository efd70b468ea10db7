/* toolrunner: the loop that lets a Claude model use your tools, without I/O and without allocation.
 *
 * cbindgen generates this file from the Rust sources. README.md shows the loop of a program.
 *
 * The contract of all functions:
 * - A `toolrunner_t *` points to memory that no other thread uses during the call. All its bytes
 *   are zero before toolrunner_init(). Null is refused.
 * - A pointer with a length points to that many bytes, or is null with length 0. Such bytes must
 *   not lie in the memory passed to toolrunner_init(): copy a lent text before you pass it back.
 *   (toolrunner_member(), _element(), _integer(), _number() and _unescape() take lent texts.) A
 *   pointer to a result is null if the result is not wanted.
 * - The texts of the configuration and the memory, which are passed to toolrunner_init(), stay in
 *   place and are not written by anyone else as long as the machine is used.
 * - A function that returns an int32_t returns 0 or more on success, and a TOOLRUNNER_ERROR_…
 *   otherwise. After any error the conversation is valid and the run can continue.
 * - No function allocates, blocks, calls back, or keeps a pointer that was passed to it, except for
 *   the pointers passed to toolrunner_init().
 */

#ifndef TOOLRUNNER_H
#define TOOLRUNNER_H

#include <stddef.h>
#include <stdint.h>

// The version of this interface. It changes when a program that was compiled with an older header
// would not work with the library. Additions alone do not change it.
#define TOOLRUNNER_ABI 1

// Most of the size of a `toolrunner_t`, in machine words.
#define TOOLRUNNER_WORDS 520

// Success, without a result or with nothing found.
#define TOOLRUNNER_OK 0

// The server reported an error. `toolrunner_error_text` returns its message.
#define TOOLRUNNER_ERROR_API -1

// A buffer was full. Nothing was lost. `toolrunner_error` reports how much was needed.
#define TOOLRUNNER_ERROR_CAPACITY -2

// The call was not allowed, an argument was invalid, or there is no machine.
#define TOOLRUNNER_ERROR_MISUSE -3

// The server, or something between, sent an invalid reply.
#define TOOLRUNNER_ERROR_PROTOCOL -4

// The network failed.
#define TOOLRUNNER_ERROR_TRANSPORT -5

// The run has ended, until a new message is added. See `toolrunner_outcome`.
#define TOOLRUNNER_STEP_DONE 0

// Send a request and read its reply.
#define TOOLRUNNER_STEP_SEND 1

// Answer all calls that `toolrunner_next_call` hands out, then get the next step.
#define TOOLRUNNER_STEP_CALL 2

// Wait until the time that `toolrunner_step` returned, then get the next step.
#define TOOLRUNNER_STEP_WAIT 3

// A reply was abandoned before its end. Read the rest of it, or call `toolrunner_failed`.
#define TOOLRUNNER_STEP_RECEIVE 4

// The run has not ended.
#define TOOLRUNNER_OUTCOME_NONE 0

// The model stopped. The detail is its stop reason, such as `end_turn`.
#define TOOLRUNNER_OUTCOME_ENDED 1

// A limit was reached. The detail is its name. Open calls run if the limit is raised.
#define TOOLRUNNER_OUTCOME_LIMIT 2

// A suspended call waits for the caller's answer.
#define TOOLRUNNER_OUTCOME_NEEDS_ANSWER 3

// The caller stopped the run.
#define TOOLRUNNER_OUTCOME_STOPPED 4

// An outcome of a later version.
#define TOOLRUNNER_OUTCOME_OTHER 5

// No listed reason applies, or the caller abandoned the request. It is taken back and sent again
// at the next step.
#define TOOLRUNNER_FAILED_GIVEN_UP 0

// The connection was closed or reset.
#define TOOLRUNNER_FAILED_CLOSED 1

// No connection could be established.
#define TOOLRUNNER_FAILED_CONNECT 2

// The host name could not be resolved.
#define TOOLRUNNER_FAILED_DNS 3

// The reply is not HTTP.
#define TOOLRUNNER_FAILED_HTTP 4

// A timeout expired before data arrived.
#define TOOLRUNNER_FAILED_TIMEOUT 5

// The server could not be verified, or the TLS session failed. Never retried.
#define TOOLRUNNER_FAILED_TLS 6

// Any other failure.
#define TOOLRUNNER_FAILED_OTHER 7

// No event yet.
#define TOOLRUNNER_EVENT_NONE 0

// A reply begins. `data` is its message as JSON.
#define TOOLRUNNER_EVENT_MESSAGE_START 1

// A block begins. `data` is the block as JSON.
#define TOOLRUNNER_EVENT_BLOCK_START 2

// A piece of text. `data` is the contents of a JSON string: see `toolrunner_unescape`.
#define TOOLRUNNER_EVENT_TEXT 3

// A piece of thinking. `data` is the contents of a JSON string.
#define TOOLRUNNER_EVENT_THINKING 4

// A piece of a call's input. `data` is JSON text, cut at any position.
#define TOOLRUNNER_EVENT_INPUT 5

// A block is complete. `data` is the block as JSON, as it is sent back to the model.
#define TOOLRUNNER_EVENT_BLOCK_STOP 6

// The reply has a stop reason, which is `data`. This event may occur more than once.
#define TOOLRUNNER_EVENT_STOP 7

// The reply is complete.
#define TOOLRUNNER_EVENT_MESSAGE_STOP 8

// Another event, such as a citation or a ping. `data` is JSON or empty.
#define TOOLRUNNER_EVENT_OTHER 9

// The maximum number of replies of the model.
#define TOOLRUNNER_LIMIT_TURNS 1

// The maximum number of calls.
#define TOOLRUNNER_LIMIT_CALLS 2

// The maximum number of input tokens, including cached ones.
#define TOOLRUNNER_LIMIT_INPUT_TOKENS 3

// The maximum number of output tokens.
#define TOOLRUNNER_LIMIT_OUTPUT_TOKENS 4

// The maximum time since the first request, in milliseconds.
#define TOOLRUNNER_LIMIT_TIME_MS 5

// The maximum number of consecutive turns with the same calls.
#define TOOLRUNNER_LIMIT_REPEATS 6

// No limit, for `toolrunner_limit`.
#define TOOLRUNNER_UNLIMITED 18446744073709551615ull

// Drop the oldest turns when the memory is nearly full.
#define TOOLRUNNER_FULL_DROP_OLDEST 1

// End the run with a limit when the memory is nearly full.
#define TOOLRUNNER_FULL_STOP 2

// A machine: a conversation and the state of its loop. The caller provides its storage, for
// example in static memory, with all bytes zero before `toolrunner_init`. It needs no cleanup. Do
// not copy it.
typedef struct toolrunner_t {
  // Private to the library.
  uint64_t state;
  // Private to the library.
  size_t opaque[TOOLRUNNER_WORDS];
} toolrunner_t;

// The contents of requests apart from the conversation. The texts end with a zero byte, are UTF-8,
// and stay in place as long as the machine is used. A null pointer selects the default.
typedef struct toolrunner_config {
  // `TOOLRUNNER_ABI`, so that a library of another version refuses the program.
  uint32_t abi;
  // The maximum number of tokens of a reply.
  uint32_t max_tokens;
  // The model's name. It has no default.
  const char *model;
  // The system prompt, as plain text.
  const char *system;
  // The tools, as the JSON array in the API's format: `[{"name":…,"description":…,
  // "input_schema":{…}}]`.
  const char *tools;
  // Additional members of the request's body as JSON, without braces:
  // `"thinking":{"type":"adaptive"},"temperature":0`.
  const char *params;
  // Scheme, host, and optionally a port and a path. Default: `https://api.anthropic.com`.
  const char *base_url;
  // The path below the base URL. Default: `/v1/messages`.
  const char *path;
  // The API key, sent as `x-api-key`. Default: none.
  const char *api_key;
  // The value of the `authorization` header, with `Bearer ` before the token. It replaces
  // `api_key`.
  const char *authorization;
  // The value of the `anthropic-beta` header: names separated by commas. Default: none.
  const char *betas;
  // If not 0, replies arrive as one JSON object instead of a stream.
  uint32_t whole_replies;
  // Must be 0.
  uint32_t reserved;
} toolrunner_config;

// Bytes that the library lends, without a terminating zero byte. They are valid until the next
// call with the same machine, unless the function says otherwise.
typedef struct toolrunner_text {
  // The first byte. Not null if `len` is not 0.
  const char *ptr;
  // The number of bytes.
  size_t len;
} toolrunner_text;

// Numbers of tokens.
typedef struct toolrunner_usage {
  // Input tokens that were neither read from a cache nor written to one.
  uint64_t input_tokens;
  // Output tokens, including thinking.
  uint64_t output_tokens;
  // Input tokens that were written to a cache.
  uint64_t cache_creation_input_tokens;
  // Input tokens that were read from a cache.
  uint64_t cache_read_input_tokens;
} toolrunner_usage;

// The numbers of the last error.
typedef struct toolrunner_error_info {
  // One of `TOOLRUNNER_ERROR_…`, or 0 if there was no error.
  int32_t code;
  // The HTTP status of an API error; 200 for an error in a stream.
  uint32_t status;
  // The size that a capacity error needed, usually in bytes.
  uint64_t needed;
  // The size that was free at a capacity error, usually in bytes.
  uint64_t free;
  // The `type` of an API error, or the name of the buffer that was full. Always valid.
  struct toolrunner_text what;
} toolrunner_error_info;

// An event in a reply.
typedef struct toolrunner_event {
  // One of `TOOLRUNNER_EVENT_…`.
  uint32_t kind;
  // The index of the block in the message, if the event is about a block.
  uint32_t index;
  // The data of the event. Valid until the next call with the machine.
  struct toolrunner_text data;
} toolrunner_event;

// A call of a tool. The texts are valid until the next call with the machine.
typedef struct toolrunner_call {
  // The number of the call in the turn, which identifies it in an answer.
  uint32_t index;
  // The index of the tool in the `tools` of the configuration; -1 for a member of a toolset, and
  // for a suspended call whose tool no longer exists.
  int32_t tool;
  // The id of the call: the contents of a JSON string.
  struct toolrunner_text id;
  // The tool's name: the contents of a JSON string.
  struct toolrunner_text name;
  // The toolset that contains the tool, such as `computer`. Empty if there is none.
  struct toolrunner_text toolset;
  // The input: a JSON object that fits the tool's `input_schema`. See `toolrunner_member`.
  struct toolrunner_text input;
} toolrunner_call;

#ifdef __cplusplus
extern "C" {
#endif // __cplusplus

// Creates a machine in `place`, which uses `memory` of `len` bytes. The conversation and an
// incoming reply must fit into it: 4 KiB are enough for short conversations, long ones need 64 KiB
// or more. `place` and `memory` must stay in place and must not be written by anyone else as long
// as the machine is used.
//
// Returns 0, or `TOOLRUNNER_ERROR_MISUSE` if the configuration is not valid for any request, or
// has another version. `toolrunner_error_text` then returns the reason, and the other functions do
// nothing.
int32_t toolrunner_init(struct toolrunner_t *place,
                        const struct toolrunner_config *config,
                        char *memory,
                        size_t len);

// Creates a machine like `toolrunner_init`, with the conversation from a snapshot. Limits and
// policies have their defaults: set them again. The snapshot is needed only during the call, and
// must not overlap `memory`.
//
// Returns 0. Returns `TOOLRUNNER_ERROR_MISUSE` if the configuration is not valid, or if the
// snapshot is not a snapshot, was changed after it was written, or has a newer version. Returns
// `TOOLRUNNER_ERROR_CAPACITY` if the conversation does not fit.
int32_t toolrunner_restore(struct toolrunner_t *place,
                           const struct toolrunner_config *config,
                           char *memory,
                           size_t len,
                           const char *snapshot,
                           size_t snapshot_len);

// Writes the state of the run to `out`: a JSON object from which `toolrunner_restore` continues,
// in another process or after a crash. An unfinished reply is left out. A call that was handed out
// and not answered counts as started. After a restore it does not run again, and the model
// receives an error that it was interrupted.
//
// `written` receives the size of the snapshot in bytes, even if it does not fit. Returns 0, or
// `TOOLRUNNER_ERROR_CAPACITY`.
int32_t toolrunner_snapshot(struct toolrunner_t *machine, char *out, size_t cap, size_t *written);

// Limits what the run may spend until its next prompt. `which` is one of `TOOLRUNNER_LIMIT_…`, and
// `most` is a number or `TOOLRUNNER_UNLIMITED`. This function may be called at any time. A run
// that ended at a limit continues when the limit is raised. By default there are no limits.
int32_t toolrunner_limit(struct toolrunner_t *machine,
                         int32_t which,
                         uint64_t most);

// Sets when requests are sent again: the maximum number of retries (default 2), the first wait in
// milliseconds (default 500, doubled for each retry), the longest wait (default 8000 ms), and the
// longest wait that the server may ask for (default 60000 ms).
int32_t toolrunner_retries(struct toolrunner_t *machine,
                           uint32_t retries,
                           uint32_t first_wait_ms,
                           uint32_t longest_wait_ms,
                           uint32_t longest_asked_ms);

// Sets what happens if fewer than `room` bytes of the memory are free before a request: one of
// `TOOLRUNNER_FULL_…`. By default nothing happens, and a reply that does not fit is a capacity
// error.
int32_t toolrunner_when_full(struct toolrunner_t *machine, int32_t what, size_t room);

// Returns the version of the interface of the library: the `TOOLRUNNER_ABI` of its header.
uint32_t toolrunner_abi(void);

// Returns the size of a `toolrunner_t` in bytes, for languages that do not read the header.
size_t toolrunner_size(void);

// Appends a user message. Open calls are answered as not run, and the limits count from the
// beginning again. Returns 0, or an error; then nothing was added.
int32_t toolrunner_user(struct toolrunner_t *machine, const char *text, size_t len);

// Appends a message as JSON, `{"role":…,"content":…}`, or several messages separated by commas.
// They follow the reply and all its results.
int32_t toolrunner_append(struct toolrunner_t *machine, const char *messages, size_t len);

// Removes the whole conversation, so that the next message begins a new one.
int32_t toolrunner_clear(struct toolrunner_t *machine);

// Replaces the conversation with `messages`, a JSON array.
int32_t toolrunner_replace_history(struct toolrunner_t *machine, const char *messages, size_t len);

// Removes the last reply, with its results if there are any, and requests it again.
int32_t toolrunner_retry(struct toolrunner_t *machine);

// Stops the run at its current state. An unfinished reply is discarded: close its connection. The
// run continues after `toolrunner_resume` or a new message.
int32_t toolrunner_cancel(struct toolrunner_t *machine);

// Continues the run after `toolrunner_cancel`.
int32_t toolrunner_resume(struct toolrunner_t *machine);

// Returns why the run ended: one of `TOOLRUNNER_OUTCOME_…`. `detail` receives the stop reason or
// the limit, as a constant text.
int32_t toolrunner_outcome(struct toolrunner_t *machine, struct toolrunner_text *detail);

// Reads the number of tokens of all turns.
int32_t toolrunner_tokens(struct toolrunner_t *machine, struct toolrunner_usage *usage);

// Returns the number of the model's replies since the last prompt.
int32_t toolrunner_turns(struct toolrunner_t *machine);

// Reads the conversation: JSON objects separated by commas, without brackets.
int32_t toolrunner_messages(struct toolrunner_t *machine, struct toolrunner_text *messages);

// Writes the text of the model's last message to `out`, without escapes. Writes at most `cap`
// bytes, including a zero byte at the end. Returns the size of the text in bytes without the zero
// byte. If it is `cap` or more, the text was cut.
size_t toolrunner_last_text(struct toolrunner_t *machine, char *out, size_t cap);

// Reads the numbers of the last error. `code` is 0 if there was none.
int32_t toolrunner_error(struct toolrunner_t *machine, struct toolrunner_error_info *error);

// Writes the message of the last error to `out`, including the server's own message. Writes at
// most `cap` bytes, including a zero byte at the end. Returns the size of the message in bytes
// without the zero byte. If it is `cap` or more, the message was cut. The message is for people,
// and its wording may change.
size_t toolrunner_error_text(struct toolrunner_t *machine, char *out, size_t cap);

// Returns the next step, one of `TOOLRUNNER_STEP_…`, or an error. `now_ms` is the time of a
// monotonic clock in milliseconds. The machine has no other source of time. For
// `TOOLRUNNER_STEP_WAIT`, `until_ms` receives the time of the next call of this function.
//
// Calls that were handed out and not answered are answered as cancelled.
int32_t toolrunner_step(struct toolrunner_t *machine, uint64_t now_ms, uint64_t *until_ms);

// Writes the request's head as HTTP/1.1 to `out`, from byte `offset`, after
// `TOOLRUNNER_STEP_SEND`. Returns the number of bytes written, 0 at the end, or an error. For
// programs without an HTTP client.
int32_t toolrunner_head(struct toolrunner_t *machine, size_t offset, char *out, size_t cap);

// Writes the request's body to `out`, from byte `offset`, after `TOOLRUNNER_STEP_SEND`. Returns
// the number of bytes written, 0 at the end, or an error.
int32_t toolrunner_body(struct toolrunner_t *machine, size_t offset, char *out, size_t cap);

// Returns the size of the request's body in bytes: its `content-length`. Returns 0 if there is no
// machine.
size_t toolrunner_body_len(struct toolrunner_t *machine);

// Reads a header field of the request, for programs with an HTTP client. Returns 1, or 0 if there
// are not that many fields. The client itself adds `host` and `content-length`. A value may be the
// API key, so never log the values. The texts belong to the configuration or are constants.
int32_t toolrunner_field(struct toolrunner_t *machine,
                         size_t i,
                         struct toolrunner_text *name,
                         struct toolrunner_text *value);

// Reads the URL of requests, for programs with an HTTP client. It consists of two parts, base URL
// and path, which must be joined. The texts belong to the configuration or are constants.
int32_t toolrunner_url(struct toolrunner_t *machine,
                       struct toolrunner_text *base,
                       struct toolrunner_text *path);

// Processes bytes from the socket: the reply's head and body as HTTP/1.1. Returns 1 if there is an
// event, 0 if all bytes were read or the reply has ended, or an error. Report an error with
// `toolrunner_failed`. `used` receives the number of bytes read. Call this function with the
// remaining bytes until it returns 0.
int32_t toolrunner_feed_http(struct toolrunner_t *machine,
                             const char *bytes,
                             size_t len,
                             size_t *used,
                             struct toolrunner_event *event);

// Reports that the connection was closed and there are no more bytes. Returns 1 if there is an
// event, 0 if there are no more events, or an error. Report an error with `toolrunner_failed`.
// Call this function until it returns 0.
int32_t toolrunner_close_http(struct toolrunner_t *machine, struct toolrunner_event *event);

// Returns whether `toolrunner_feed_http` has read the reply to its end: 1 if it has, 2 if the
// connection can also carry another request, and 0 if it has not.
int32_t toolrunner_http_is_done(struct toolrunner_t *machine);

// Begins a reply with this HTTP status, for programs with an HTTP client. Pass its header fields
// to `toolrunner_reply_field`, and its body to `toolrunner_feed` and `toolrunner_end_of_body`.
// Returns `TOOLRUNNER_ERROR_MISUSE` if no request waits for a reply, for example because it was
// cancelled.
int32_t toolrunner_reply(struct toolrunner_t *machine, uint32_t status);

// Adds a header field of the reply. The loop uses `retry-after`, `retry-after-ms`,
// `x-should-retry` and `request-id`. Other fields are ignored.
int32_t toolrunner_reply_field(struct toolrunner_t *machine,
                               const char *name,
                               size_t name_len,
                               const char *value,
                               size_t value_len);

// Processes bytes of the reply's body, in pieces of any size. Returns 1 if there is an event, 0 if
// all bytes were read, or an error. Report an error with `toolrunner_failed`. `used` receives the
// number of bytes read. Call this function with the remaining bytes until it returns 0.
int32_t toolrunner_feed(struct toolrunner_t *machine,
                        const char *bytes,
                        size_t len,
                        size_t *used,
                        struct toolrunner_event *event);

// Reports the end of the reply's body. Returns 1 if there is an event, 0 if there are no more
// events, or an error. Report an error with `toolrunner_failed`. Call this function until it
// returns 0.
int32_t toolrunner_end_of_body(struct toolrunner_t *machine, struct toolrunner_event *event);

// Returns 1 if the reply is complete, and 0 if not. The rest of a complete reply's body matters
// only if the connection is to be used again.
int32_t toolrunner_reply_is_whole(struct toolrunner_t *machine);

// Reports that the request or its reply failed: after an error of the functions above, which the
// machine knows, or after an error of the transport, whose reason is `why`
// (`TOOLRUNNER_FAILED_…`). The received part of the reply is discarded. `jitter` is any number,
// which should be different in each call.
//
// Returns 0 if the run continues. The next step then states whether to wait. Otherwise returns the
// error. The run can continue even then: it sends the same request again.
int32_t toolrunner_failed(struct toolrunner_t *machine,
                          int32_t why,
                          uint64_t now_ms,
                          uint32_t jitter);

// Returns the maximum time, in milliseconds, to spend on the rest of a body after
// `toolrunner_reply_is_whole` returns 1, so that the connection can be used again.
uint32_t toolrunner_drain_ms(void);

// Hands out the next call, after `TOOLRUNNER_STEP_CALL`. Returns 1, 0 if there are no more calls,
// or an error. The library itself answers calls of unknown tools and calls whose input does not
// fit the tool's schema. It does not hand them out.
//
// Several calls may be handed out before the first is answered, and the answers may come in any
// order. This is the place for an approval gate: pass a call that must not run to
// `toolrunner_deny`, and a call that a person must decide about to `toolrunner_suspend`.
int32_t toolrunner_next_call(struct toolrunner_t *machine, struct toolrunner_call *call);

// Answers a call with a text. The text is copied. If it does not fit into the memory, the model
// receives an error that says so. If it is empty, the model receives `(no output)`, or `Error: (no
// message)`. `is_error` is not 0 if the tool failed.
int32_t toolrunner_answer(struct toolrunner_t *machine,
                          uint32_t call,
                          const char *text,
                          size_t len,
                          int32_t is_error);

// Answers a call whose tool failed with an error of the program's language, such as an exception.
// The model receives `Error: ` and the message, or `Error: (no message)` if it is empty.
int32_t toolrunner_answer_failed(struct toolrunner_t *machine,
                                 uint32_t call,
                                 const char *message,
                                 size_t len);

// Answers a call that must not run, with the reason for the model. If the reason is empty, the
// model receives `Error: not allowed`.
int32_t toolrunner_deny(struct toolrunner_t *machine,
                        uint32_t call,
                        const char *reason,
                        size_t len);

// Answers a call that the program has no tool for, such as an unknown member of a toolset. The
// model receives an error that says so.
int32_t toolrunner_not_found(struct toolrunner_t *machine, uint32_t call);

// Answers a call with content in the API's format: a JSON string, or an array of blocks such as
// images. The content is copied. `is_error` is not 0 if the tool failed.
int32_t toolrunner_answer_json(struct toolrunner_t *machine,
                               uint32_t call,
                               const char *content,
                               size_t len,
                               int32_t is_error);

// Reads the answer to a call, as the model receives it: a JSON string, or an array of blocks.
// Returns 1, 2 if the answer is an error, or 0 if the call has no answer.
int32_t toolrunner_result(struct toolrunner_t *machine,
                          uint32_t call,
                          struct toolrunner_text *content);

// Leaves a call undecided that was handed out. When everything else is done, the run ends with
// `TOOLRUNNER_OUTCOME_NEEDS_ANSWER`. It can be saved as a snapshot meanwhile. `toolrunner_allow`
// or an answer lets it continue.
int32_t toolrunner_suspend(struct toolrunner_t *machine, uint32_t call);

// Returns 1 and the next suspended call, or 0 if there is none. This does not hand the call out.
int32_t toolrunner_suspended(struct toolrunner_t *machine, struct toolrunner_call *call);

// Hands out a call that was suspended. It may run now, and must be answered before the next step.
//
// Returns 0. Returns 1 if the call must not run, because its tool no longer exists or its input
// does not fit the tool's schema. The library has answered it then, and `given` is empty: get the
// next step.
int32_t toolrunner_allow(struct toolrunner_t *machine,
                         uint32_t call,
                         struct toolrunner_call *given);

// Finds a member of a JSON object that came from the library. Returns 1 and the value as JSON, or
// 0 if there is no such member. A string value includes its quotes.
int32_t toolrunner_member(struct toolrunner_text object,
                          const char *name,
                          struct toolrunner_text *value);

// Reads the element at index `i`, counted from 0, of a JSON array that came from the library.
// Returns 1, or 0 if there are not that many elements.
int32_t toolrunner_element(struct toolrunner_text array, size_t i, struct toolrunner_text *value);

// Reads a JSON number that is an integer. Returns 1, or 0 if it is not a number, not an integer,
// or too large.
int32_t toolrunner_integer(struct toolrunner_text json, int64_t *number);

// Reads a JSON number. Returns 1, or 0 if it is not a number, or too large.
int32_t toolrunner_number(struct toolrunner_text json, double *number);

// Decodes the escapes of a JSON string, with or without its quotes: the text of an event, a name,
// or a member of an input. Writes at most `cap` bytes to `out`, including a zero byte at the end.
// Returns the size of the decoded text in bytes without the zero byte, which is never more than
// the size of `string`. If it is `cap` or more, the text was cut.
size_t toolrunner_unescape(struct toolrunner_text string, char *out, size_t cap);

#ifdef __cplusplus
}  // extern "C"
#endif  // __cplusplus

#endif  /* TOOLRUNNER_H */
