/* toolrunner: the loop that lets a Claude model use your tools, without I/O and without allocation.
 *
 * Made of the Rust sources by cbindgen; README.md beside it shows the loop of a program.
 *
 * The contract of all functions:
 * - A `toolrunner_t *` points to memory that no other thread uses during the call. Before
 *   toolrunner_init() its bytes are all zero. Null is refused.
 * - A pointer with a length points to as many bytes, or is null with length 0. A pointer to a result
 *   is null if the result is not wanted.
 * - What was given to toolrunner_init(), the texts of the configuration and the memory, stays in
 *   place, and nobody else writes to it, as long as the machine is used.
 * - A function that gives an int32_t gives 0 or more if it worked, or else a TOOLRUNNER_ERROR_….
 *   After any error the conversation is valid and the run can go on.
 * - No function allocates, blocks, calls back, or keeps a pointer that it was given, but for those
 *   of toolrunner_init().
 */

#ifndef TOOLRUNNER_H
#define TOOLRUNNER_H

#include <stddef.h>
#include <stdint.h>

// The version of this interface. It changes when a program that was compiled with an older header
// would not work with the library; what is only added does not change it.
#define TOOLRUNNER_ABI 1

// Most of the size of a `toolrunner_t`, in words of the machine's.
#define TOOLRUNNER_WORDS 480

// Returned by functions that had nothing to say, or that found nothing.
#define TOOLRUNNER_OK 0

// The server reported an error: `toolrunner_error_text` has its words.
#define TOOLRUNNER_ERROR_API -1

// A buffer was full. Nothing was lost; `toolrunner_error` says how much was needed.
#define TOOLRUNNER_ERROR_CAPACITY -2

// The call was not allowed, or an argument was wrong, or there is no machine.
#define TOOLRUNNER_ERROR_MISUSE -3

// The server, or something between, sent what is no reply.
#define TOOLRUNNER_ERROR_PROTOCOL -4

// The network failed.
#define TOOLRUNNER_ERROR_TRANSPORT -5

// The run is over, until something is said: see `toolrunner_outcome`.
#define TOOLRUNNER_STEP_DONE 0

// Send a request and read its reply.
#define TOOLRUNNER_STEP_SEND 1

// Answer the calls that `toolrunner_next_call` gives, all of them, then ask again.
#define TOOLRUNNER_STEP_CALL 2

// Wait until the time that `toolrunner_step` gave, and ask again.
#define TOOLRUNNER_STEP_WAIT 3

// A reply was abandoned half-way: read the rest of it, or call `toolrunner_failed`.
#define TOOLRUNNER_STEP_RECEIVE 4

// The run goes on.
#define TOOLRUNNER_OUTCOME_NONE 0

// The model stopped; the detail is its stop reason, such as `end_turn`.
#define TOOLRUNNER_OUTCOME_ENDED 1

// A limit was reached; the detail names it. Open calls run if it is raised.
#define TOOLRUNNER_OUTCOME_LIMIT 2

// A call waits for the caller's answer: one that was suspended.
#define TOOLRUNNER_OUTCOME_NEEDS_ANSWER 3

// The caller stopped it.
#define TOOLRUNNER_OUTCOME_STOPPED 4

// A later version's.
#define TOOLRUNNER_OUTCOME_OTHER 5

// The transport failed in no way that is listed, or the request was given up: it is taken back and
// sent again at the next step.
#define TOOLRUNNER_FAILED_GIVEN_UP 0

// The connection ended or was reset.
#define TOOLRUNNER_FAILED_CLOSED 1

// No connection could be made.
#define TOOLRUNNER_FAILED_CONNECT 2

// The name has no address.
#define TOOLRUNNER_FAILED_DNS 3

// What came back is no HTTP.
#define TOOLRUNNER_FAILED_HTTP 4

// Nothing came in time.
#define TOOLRUNNER_FAILED_TIMEOUT 5

// The server could not be verified, or the TLS session failed. Never tried again.
#define TOOLRUNNER_FAILED_TLS 6

// Anything else.
#define TOOLRUNNER_FAILED_OTHER 7

// Nothing happened yet.
#define TOOLRUNNER_EVENT_NONE 0

// A reply begins; `data` is its message as JSON.
#define TOOLRUNNER_EVENT_MESSAGE_START 1

// A block begins; `data` is the block as JSON.
#define TOOLRUNNER_EVENT_BLOCK_START 2

// A piece of text; `data` is the inside of a JSON string: see `toolrunner_unescape`.
#define TOOLRUNNER_EVENT_TEXT 3

// A piece of thinking; `data` is the inside of a JSON string.
#define TOOLRUNNER_EVENT_THINKING 4

// A piece of a call's input; `data` is JSON text, cut anywhere.
#define TOOLRUNNER_EVENT_INPUT 5

// A block is whole; `data` is the block as JSON, as it goes back to the model.
#define TOOLRUNNER_EVENT_BLOCK_STOP 6

// Why the reply ends; `data` is the stop reason. It may come more than once.
#define TOOLRUNNER_EVENT_STOP 7

// The reply is whole.
#define TOOLRUNNER_EVENT_MESSAGE_STOP 8

// Something else, such as a citation or a sign of life; `data` is JSON or empty.
#define TOOLRUNNER_EVENT_OTHER 9

// Most replies of the model.
#define TOOLRUNNER_LIMIT_TURNS 1

// Most calls.
#define TOOLRUNNER_LIMIT_CALLS 2

// Most input tokens, caches included.
#define TOOLRUNNER_LIMIT_INPUT_TOKENS 3

// Most output tokens.
#define TOOLRUNNER_LIMIT_OUTPUT_TOKENS 4

// Most milliseconds since the first request.
#define TOOLRUNNER_LIMIT_TIME_MS 5

// Most times in a row that a turn's calls may be the same.
#define TOOLRUNNER_LIMIT_REPEATS 6

// For `toolrunner_limit`: no limit.
#define TOOLRUNNER_UNLIMITED 18446744073709551615ull

// The oldest turns are dropped when the memory is nearly full.
#define TOOLRUNNER_FULL_DROP_OLDEST 1

// The run ends with a limit when the memory is nearly full.
#define TOOLRUNNER_FULL_STOP 2

// A machine: a conversation and where its loop is. It lies where the caller puts it, in static
// memory for example, with all bytes zero before `toolrunner_init`. It needs no clean-up. Do not
// copy it.
typedef struct toolrunner_t {
  // Nobody's but the library's.
  uint64_t state;
  // The same.
  size_t opaque[TOOLRUNNER_WORDS];
} toolrunner_t;

// What requests say besides the conversation. The texts end with a zero byte, are UTF-8, and stay
// in place as long as the machine is used. Null stands for the default.
typedef struct toolrunner_config {
  // `TOOLRUNNER_ABI`, so that a library of another version refuses the program.
  uint32_t abi;
  // Most tokens of a reply.
  uint32_t max_tokens;
  // The model's name. Has no default.
  const char *model;
  // The system prompt, as plain text.
  const char *system;
  // The tools, as the JSON array that the API takes: `[{"name":…,"description":…,
  // "input_schema":{…}}]`.
  const char *tools;
  // Further members of the request's body as JSON, without braces:
  // `"thinking":{"type":"adaptive"},"temperature":0`.
  const char *params;
  // Scheme, host and perhaps a port and a path. Default: `https://api.anthropic.com`.
  const char *base_url;
  // The path below it. Default: `/v1/messages`.
  const char *path;
  // The key, sent as `x-api-key`. Default: none.
  const char *api_key;
  // The value of `authorization`, with `Bearer ` before the token. Used instead of `api_key`.
  const char *authorization;
  // The value of `anthropic-beta`: names with commas between. Default: none.
  const char *betas;
  // Not 0: replies come as one JSON object instead of a stream.
  uint32_t whole_replies;
  // 0.
  uint32_t reserved;
} toolrunner_config;

// Bytes that the library lends, without a zero at the end. They are valid until the next call with
// the same machine, unless the function says otherwise.
typedef struct toolrunner_text {
  // The first byte; not null when `len` is not 0.
  const char *ptr;
  // How many bytes there are.
  size_t len;
} toolrunner_text;

// Tokens.
typedef struct toolrunner_usage {
  // Input that was neither read from a cache nor written to one.
  uint64_t input_tokens;
  // Output, thinking included.
  uint64_t output_tokens;
  // Input that was written to a cache.
  uint64_t cache_creation_input_tokens;
  // Input that was read from a cache.
  uint64_t cache_read_input_tokens;
} toolrunner_usage;

// The last error in numbers.
typedef struct toolrunner_error_info {
  // One of `TOOLRUNNER_ERROR_…`; 0 if there was none.
  int32_t code;
  // The HTTP status of an API error; 200 for one in a stream.
  uint32_t status;
  // What a capacity error needed, in bytes as a rule, and what was free.
  uint64_t needed;
  // See `needed`.
  uint64_t free;
  // The `type` of an API error, or the name of the buffer that was full. Always valid.
  struct toolrunner_text what;
} toolrunner_error_info;

// One thing that happened in a reply.
typedef struct toolrunner_event {
  // One of `TOOLRUNNER_EVENT_…`.
  uint32_t kind;
  // The place of the block in the message, if it is about a block.
  uint32_t index;
  // What it is about. Valid until the next call with the machine.
  struct toolrunner_text data;
} toolrunner_event;

// One call of a tool. The texts are valid until the next call with the machine.
typedef struct toolrunner_call {
  // Its number in the turn, by which it is answered.
  uint32_t index;
  // The tool's place in the `tools` of the configuration; -1 for a member of a toolset.
  int32_t tool;
  // Its id: the inside of a JSON string.
  struct toolrunner_text id;
  // The tool's name: the inside of a JSON string.
  struct toolrunner_text name;
  // The toolset that the tool is a member of, such as `computer`. Empty if it is of none.
  struct toolrunner_text toolset;
  // Its input: a JSON object that fits the tool's `input_schema`. See `toolrunner_member`.
  struct toolrunner_text input;
} toolrunner_call;

#ifdef __cplusplus
extern "C" {
#endif // __cplusplus

// Makes a machine in `place`, over `memory` of `len` bytes, which the conversation and a reply
// that comes have to fit into: 4 KiB do for short ones, 64 KiB and more for long ones. Both stay
// in place, and nobody else writes to them, as long as the machine is used.
//
// Gives 0, or `TOOLRUNNER_ERROR_MISUSE` if the configuration is one that no request could carry,
// or of another version. Then `toolrunner_error_text` says why, and the other functions do
// nothing.
int32_t toolrunner_init(struct toolrunner_t *place,
                        const struct toolrunner_config *config,
                        char *memory,
                        size_t len);

// The same with the conversation that a snapshot holds. Limits and policies are the defaults: set
// them again. The snapshot is needed only during the call, and must not lie in `memory`.
//
// Gives `TOOLRUNNER_ERROR_MISUSE` also if it is no snapshot, was changed after it was written, or
// is of a newer version; `TOOLRUNNER_ERROR_CAPACITY` if the conversation does not fit.
int32_t toolrunner_restore(struct toolrunner_t *place,
                           const struct toolrunner_config *config,
                           char *memory,
                           size_t len,
                           const char *snapshot,
                           size_t snapshot_len);

// Writes the run as it is now into `out`: a JSON object, from which `toolrunner_restore` goes on,
// in another process or after a crash. A reply under way is left out. A call that was given out
// and not answered counts as begun: after a restore the model reads that it was interrupted, and
// it does not run again.
//
// `written`: how long it is, also if it does not fit. Gives 0, or `TOOLRUNNER_ERROR_CAPACITY`.
int32_t toolrunner_snapshot(struct toolrunner_t *machine, char *out, size_t cap, size_t *written);

// Sets what the run may spend until its next prompt: `which` is one of `TOOLRUNNER_LIMIT_…`,
// `most` a number or `TOOLRUNNER_UNLIMITED`. May be called at any time: a run that ended at a
// limit goes on when that is raised. Default: no limit.
int32_t toolrunner_limit(struct toolrunner_t *machine, int32_t which, uint64_t most);

// Sets when requests are sent again: most tries after the first (default 2), the first wait
// (default 500 ms; doubled each time), the longest (default 8000 ms), and the longest that a
// server may ask for (default 60000 ms).
int32_t toolrunner_retries(struct toolrunner_t *machine,
                           uint32_t retries,
                           uint32_t first_wait_ms,
                           uint32_t longest_wait_ms,
                           uint32_t longest_asked_ms);

// Sets what is done when fewer than `room` bytes of the memory are free as a request is about to
// go out: one of `TOOLRUNNER_FULL_…`. Default: nothing, and a reply that does not fit is a
// capacity error.
int32_t toolrunner_when_full(struct toolrunner_t *machine, int32_t what, size_t room);

// The version of the interface that the library has: `TOOLRUNNER_ABI` of its header.
uint32_t toolrunner_abi(void);

// Bytes of a `toolrunner_t`, for languages that do not read the header.
size_t toolrunner_size(void);

// Says something: a user message. Calls that are still open are answered as not run, and the
// limits count anew. Gives 0 or an error; then nothing was added.
int32_t toolrunner_user(struct toolrunner_t *machine, const char *text, size_t len);

// Appends a message as JSON, `{"role":…,"content":…}`, or several with commas between. It comes
// behind the reply and all its results.
int32_t toolrunner_append(struct toolrunner_t *machine, const char *messages, size_t len);

// Makes `messages`, a JSON array, the conversation.
int32_t toolrunner_replace_history(struct toolrunner_t *machine, const char *messages, size_t len);

// Drops the last reply, with its results if there are any, and asks for it again.
int32_t toolrunner_retry(struct toolrunner_t *machine);

// Ends the run where it is. A reply under way is taken back: close its connection. It can go on,
// by `toolrunner_resume` or when something is said.
int32_t toolrunner_cancel(struct toolrunner_t *machine);

// Goes on after `toolrunner_cancel`.
int32_t toolrunner_resume(struct toolrunner_t *machine);

// Why the run is over: one of `TOOLRUNNER_OUTCOME_…`. `detail`: the stop reason or the limit, a
// constant text.
int32_t toolrunner_outcome(struct toolrunner_t *machine, struct toolrunner_text *detail);

// Tokens of all turns.
int32_t toolrunner_tokens(struct toolrunner_t *machine, struct toolrunner_usage *usage);

// Replies of the model since the last prompt.
int32_t toolrunner_turns(struct toolrunner_t *machine);

// The conversation: JSON objects with commas between, without brackets.
int32_t toolrunner_messages(struct toolrunner_t *machine, struct toolrunner_text *messages);

// The text of the model's last message, unescaped. Writes at most `cap` bytes to `out`, a zero at
// the end included, and gives how many bytes there are without the zero: if that is `cap` or more,
// the text was cut.
size_t toolrunner_last_text(struct toolrunner_t *machine, char *out, size_t cap);

// The last error in numbers. `code` is 0 if there was none.
int32_t toolrunner_error(struct toolrunner_t *machine, struct toolrunner_error_info *error);

// The last error in words, the server's own included. Writes and gives as `toolrunner_last_text`.
// It is meant for people, and its text is not fixed.
size_t toolrunner_error_text(struct toolrunner_t *machine, char *out, size_t cap);

// What is to be done: one of `TOOLRUNNER_STEP_…`, or an error. `now_ms` is a clock that never
// goes back; time passes only by it. `until_ms`: for `TOOLRUNNER_STEP_WAIT`, when to ask again.
//
// Calls that were given out and not answered are answered as cancelled.
int32_t toolrunner_step(struct toolrunner_t *machine, uint64_t now_ms, uint64_t *until_ms);

// After `TOOLRUNNER_STEP_SEND`: the request's head as HTTP/1.1, from byte `offset` on. Gives how
// many bytes it wrote to `out`, 0 behind the end, or an error. For programs without an HTTP client
// of their own.
int32_t toolrunner_head(struct toolrunner_t *machine, size_t offset, char *out, size_t cap);

// After `TOOLRUNNER_STEP_SEND`: the request's body, from byte `offset` on. Gives how many bytes it
// wrote to `out`, 0 behind the end, or an error.
int32_t toolrunner_body(struct toolrunner_t *machine, size_t offset, char *out, size_t cap);

// Bytes of the request's body: its `content-length`. 0 if there is no machine.
size_t toolrunner_body_len(struct toolrunner_t *machine);

// A field of the request's head, for programs with an HTTP client: gives 1, or 0 if there are not
// so many. `host` and `content-length` are the client's. A value may be the key: never log them.
// The texts are those of the configuration, or constants.
int32_t toolrunner_field(struct toolrunner_t *machine,
                         size_t i,
                         struct toolrunner_text *name,
                         struct toolrunner_text *value);

// The address of requests, for programs with an HTTP client, in two parts that follow each other:
// base URL and path. The texts are those of the configuration, or constants.
int32_t toolrunner_url(struct toolrunner_t *machine,
                       struct toolrunner_text *base,
                       struct toolrunner_text *path);

// Takes bytes that the socket gave: the reply's head and body as HTTP/1.1. Gives 1 if something
// happened, 0 if all bytes were read or the reply is at its end, or an error, which
// `toolrunner_failed` has to decide about. `used`: how many bytes it read. To be called with the
// rest until it gives 0.
int32_t toolrunner_feed_http(struct toolrunner_t *machine,
                             const char *bytes,
                             size_t len,
                             size_t *used,
                             struct toolrunner_event *event);

// The socket has no more bytes: the connection was closed. Gives as `toolrunner_feed_http`, and is
// to be called until it gives 0.
int32_t toolrunner_close_http(struct toolrunner_t *machine, struct toolrunner_event *event);

// Whether the reply that `toolrunner_feed_http` reads is at its end: 1, 2 if the connection can
// carry another request, or 0.
int32_t toolrunner_http_is_done(struct toolrunner_t *machine);

// For programs with an HTTP client: the reply's status is there. Its fields follow by
// `toolrunner_reply_field`, its body by `toolrunner_feed` and `toolrunner_end_of_body`.
int32_t toolrunner_reply(struct toolrunner_t *machine, uint32_t status);

// A field of the reply's head. Those that the loop needs are `retry-after`, `retry-after-ms`,
// `x-should-retry` and `request-id`; others are ignored.
int32_t toolrunner_reply_field(struct toolrunner_t *machine,
                               const char *name,
                               size_t name_len,
                               const char *value,
                               size_t value_len);

// Takes bytes of the reply's body, in any pieces. Gives 1 if something happened, 0 if all bytes
// were read, or an error, which `toolrunner_failed` has to decide about. `used`: how many bytes it
// read. To be called with the rest until it gives 0.
int32_t toolrunner_feed(struct toolrunner_t *machine,
                        const char *bytes,
                        size_t len,
                        size_t *used,
                        struct toolrunner_event *event);

// The reply's body has ended. Gives as `toolrunner_feed`, and is to be called until it gives 0.
int32_t toolrunner_end_of_body(struct toolrunner_t *machine, struct toolrunner_event *event);

// Whether the reply is whole: 1, or 0. What is left of its body does not matter then, but for
// using the connection again.
int32_t toolrunner_reply_is_whole(struct toolrunner_t *machine);

// The request or its reply failed: after an error of the functions above, which it knows, or in
// the transport, for the reason `why` (`TOOLRUNNER_FAILED_…`). What came of the reply is taken
// back. `jitter` is any number, different each time.
//
// Gives 0 if the run goes on: the next step says whether to wait. Otherwise the error; the run can
// go on all the same: it sends the same again.
int32_t toolrunner_failed(struct toolrunner_t *machine,
                          int32_t why,
                          uint64_t now_ms,
                          uint32_t jitter);

// After `TOOLRUNNER_STEP_CALL`: gives out the next call. Gives 1, or 0 if there is no other, or an
// error. Calls of tools that do not exist and inputs that do not fit the tool's schema are
// answered by the library, and are not given out.
//
// Several may be given out before the first is answered, and answers may come in any order. This
// is the place for a gate: a call that must not run is answered with `is_error`, and one that a
// person has to decide about is handed to `toolrunner_suspend`.
int32_t toolrunner_next_call(struct toolrunner_t *machine, struct toolrunner_call *call);

// Answers a call with a text, which is copied. A text that does not fit into the memory becomes an
// error that says so, for the model to read. `is_error`: not 0 if the tool failed, or was not
// allowed to run.
int32_t toolrunner_answer(struct toolrunner_t *machine,
                          uint32_t call,
                          const char *text,
                          size_t len,
                          int32_t is_error);

// The same with content as the API takes it: a JSON string, or an array of blocks, such as
// pictures.
int32_t toolrunner_answer_json(struct toolrunner_t *machine,
                               uint32_t call,
                               const char *content,
                               size_t len,
                               int32_t is_error);

// Leaves a call undecided that was given out: the run ends with `TOOLRUNNER_OUTCOME_NEEDS_ANSWER`
// when all else is done. It can be kept as a snapshot meanwhile. `toolrunner_allow` or an answer
// lets it go on.
int32_t toolrunner_suspend(struct toolrunner_t *machine, uint32_t call);

// The next call that was suspended: gives 1, or 0 if there is none. It is not given out by this.
int32_t toolrunner_suspended(struct toolrunner_t *machine, struct toolrunner_call *call);

// Gives out a call that was suspended: it may run now, and is to be answered before the next step.
int32_t toolrunner_allow(struct toolrunner_t *machine,
                         uint32_t call,
                         struct toolrunner_call *given);

// Finds a member of a JSON object that the library lent: gives 1 and its value as JSON, or 0 if
// there is none. A value that is a string has its quotes.
int32_t toolrunner_member(struct toolrunner_text object,
                          const char *name,
                          struct toolrunner_text *value);

// The `i`th element of a JSON array that the library lent, counted from 0: gives 1, or 0 if there
// are not so many.
int32_t toolrunner_element(struct toolrunner_text array, size_t i, struct toolrunner_text *value);

// A JSON number that is whole: gives 1, or 0 if it is no number, not whole, or too large.
int32_t toolrunner_integer(struct toolrunner_text json, int64_t *number);

// A JSON number: gives 1, or 0 if it is none, or too large.
int32_t toolrunner_number(struct toolrunner_text json, double *number);

// What a JSON string means, with its quotes or without them: the text of an event, a name, a
// member of an input. Writes at most `cap` bytes to `out`, a zero at the end included, and gives
// how many bytes there are without the zero, never more than `string` has: if that is `cap` or
// more, the text was cut.
size_t toolrunner_unescape(struct toolrunner_text string, char *out, size_t cap);

#ifdef __cplusplus
}  // extern "C"
#endif  // __cplusplus

#endif  /* TOOLRUNNER_H */
