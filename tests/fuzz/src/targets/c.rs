//! The C interface, called in any order and with any bytes: no write exceeds a buffer, no call is
//! handed out twice, nothing invalid is sent or kept, and lent memory can be read.

use core::ffi::{CStr, c_char};
use core::ptr;

use toolrunner::*;
use toolrunner_core::message::{Messages, Role};
use toolrunner_core::testing::http1::{Connection, Framing};
use toolrunner_core::testing::validity::{self, Tail};
use toolrunner_core::testing::{Chunk, Request, Script, ScriptedModel};

use crate::choices::Choices;
use crate::replies;

const TOOLS: &CStr =
    cr#"[{"name":"plain","input_schema":{"type":"object","properties":{"a":{}}}}]"#;
/// Follows each buffer, so that a write beyond it is detected without a sanitizer too.
const CANARY: u8 = 0x5c;

/// The possible sizes of the memory. Small ones overflow.
const MEMORY: [usize; 4] = [96, 700, 4096, 32768];

/// Runs the target, whose properties the module's documentation lists.
pub fn run(data: &[u8]) {
    let choices = &mut Choices::new(data);
    let mut program = Program::new(choices.one_of(&MEMORY));
    for _ in 0..400 {
        if choices.is_over() {
            break;
        }
        program.act(choices);
        program.check();
    }
    program.end();
}

struct Program {
    machine: Box<toolrunner_t>,
    memory: Vec<u8>,
    now: u64,
    /// The number of replies so far. Each reply uses new call ids.
    replies: usize,
    /// The ids of the calls that were handed out.
    given: Vec<Vec<u8>>,
    /// The calls of this turn that were handed out and not answered.
    open: Vec<u32>,
    /// Whether a modified reply was received: its calls are unknown.
    is_foreign: bool,
    /// Whether a message was appended since the last request: it may follow calls that have no
    /// results yet.
    is_appended: bool,
    /// The last error that ended the run.
    gave_up: i32,
}

fn read<'a>(text: toolrunner_text) -> &'a [u8] {
    if text.len == 0 {
        return &[];
    }
    // SAFETY: lent memory is valid until the machine's next call, and is used before that.
    let bytes = unsafe { std::slice::from_raw_parts(text.ptr.cast::<u8>(), text.len) };
    assert!(std::str::from_utf8(bytes).is_ok(), "a text is lent that is none");
    bytes
}

const EMPTY: toolrunner_text = toolrunner_text { ptr: ptr::null(), len: 0 };
const NO_EVENT: toolrunner_event = toolrunner_event { kind: 0, index: 0, data: EMPTY };
const NO_CALL: toolrunner_call =
    toolrunner_call { index: 0, tool: 0, id: EMPTY, name: EMPTY, toolset: EMPTY, input: EMPTY };

/// Calls `write` with a buffer of this length. Returns the result and the buffer, after a check of
/// the canaries behind it.
fn lent<R>(len: usize, write: impl FnOnce(*mut c_char, usize) -> R) -> (R, Vec<u8>) {
    let mut buffer = vec![CANARY; len + 16];
    let result = write(buffer.as_mut_ptr().cast(), len);
    assert!(buffer[len..].iter().all(|byte| *byte == CANARY), "a write beyond {len} bytes");
    buffer.truncate(len);
    (result, buffer)
}

fn config() -> toolrunner_config {
    toolrunner_config {
        abi: TOOLRUNNER_ABI,
        max_tokens: 9,
        model: c"m".as_ptr(),
        system: c"Say \"hi\".".as_ptr(),
        tools: TOOLS.as_ptr(),
        params: ptr::null(),
        base_url: c"http://h".as_ptr(),
        path: ptr::null(),
        api_key: ptr::null(),
        authorization: ptr::null(),
        betas: ptr::null(),
        whole_replies: 0,
        reserved: 0,
    }
}

impl Program {
    fn new(memory: usize) -> Self {
        let mut this = Self {
            machine: Box::new(toolrunner_t { state: 0, opaque: [0; TOOLRUNNER_WORDS] }),
            memory: vec![CANARY; memory + 16],
            now: 0,
            replies: 0,
            given: Vec::new(),
            open: Vec::new(),
            is_foreign: false,
            is_appended: false,
            gave_up: 0,
        };
        let (at, config) = (this.at(), config());
        let place = this.memory.as_mut_ptr().cast();
        // SAFETY: the memory and the texts live as long as the machine.
        assert_eq!(unsafe { toolrunner_init(at, &raw const config, place, memory) }, 0);
        this
    }

    fn at(&mut self) -> *mut toolrunner_t {
        &raw mut *self.machine
    }

    fn size(&self) -> usize {
        self.memory.len() - 16
    }

    /// Performs one action of a program.
    fn act(&mut self, choices: &mut Choices<'_>) {
        let at = self.at();
        let now = self.now;
        // SAFETY: for all calls: the machine belongs to this program, and all lengths are right.
        unsafe {
            match choices.below(16) {
                0..=5 => self.step(choices),
                6 => {
                    let text = choices.one_of(&["Hi", "", " ", "\u{e9}\n\"", "\u{1f600}"]);
                    if toolrunner_user(at, text.as_ptr().cast(), text.len()) == 0 {
                        self.open.clear();
                    }
                }
                7 => self.answer(choices),
                8 => {
                    toolrunner_cancel(at);
                }
                9 => {
                    toolrunner_resume(at);
                }
                10 => {
                    let limit = if choices.below(2) == 0 { TOOLRUNNER_UNLIMITED } else { 2 };
                    toolrunner_limit(at, choices.below(8) as i32, limit);
                    toolrunner_retries(at, choices.below(4) as u32, 10, 100, 50);
                }
                11 => self.restore(),
                12 if choices.below(8) == 7 => {
                    if toolrunner_clear(at) == 0 {
                        self.open.clear();
                        self.is_appended = true;
                    }
                }
                12 => {
                    if toolrunner_retry(at) == 0 {
                        self.open.clear();
                    }
                }
                13 => {
                    let room = choices.word();
                    toolrunner_when_full(at, choices.below(3) as i32, room);
                }
                14 => {
                    toolrunner_failed(at, choices.below(9) as i32, now, 3);
                }
                _ => {
                    let messages = choices.one_of(&[
                        r#"{"role":"user","content":"More."}"#,
                        r#"{"role":"assistant","content":[{"type":"tool_use","id":"x","name":"plain","input":{}}]}"#,
                        "[",
                        "\u{fc}",
                    ]);
                    let (text, len) = (messages.as_ptr().cast(), messages.len());
                    let code = if choices.below(2) == 0 {
                        toolrunner_append(at, text, len)
                    } else {
                        toolrunner_replace_history(at, text, len)
                    };
                    self.is_foreign |= code == 0 && messages.len() > 40;
                    self.is_appended |= code == 0;
                }
            }
        }
    }

    fn step(&mut self, choices: &mut Choices<'_>) {
        let (at, now) = (self.at(), self.now);
        let mut until = 0;
        // SAFETY: the pointer for the result is valid.
        match unsafe { toolrunner_step(at, now, &raw mut until) } {
            TOOLRUNNER_STEP_SEND => self.exchange(choices),
            TOOLRUNNER_STEP_WAIT => {
                assert!(until > self.now, "a wait that is over");
                self.now = until;
            }
            TOOLRUNNER_STEP_CALL => self.calls(choices),
            TOOLRUNNER_STEP_DONE | TOOLRUNNER_STEP_RECEIVE => self.open.clear(),
            code => assert!((-5..0).contains(&code), "step gave {code}"),
        }
    }

    fn calls(&mut self, choices: &mut Choices<'_>) {
        self.open.clear();
        for _ in 0..=choices.below(4) {
            let mut call = NO_CALL;
            // SAFETY: the pointer for the result is valid.
            match unsafe { toolrunner_next_call(self.at(), &raw mut call) } {
                1 => {}
                0 => break,
                code => {
                    assert_eq!(code, TOOLRUNNER_ERROR_CAPACITY, "{}", self.error());
                    break;
                }
            }
            let id = read(call.id).to_vec();
            assert!(
                self.is_foreign || !self.given.contains(&id),
                "{} is given out again",
                String::from_utf8_lossy(&id)
            );
            assert_eq!(read(call.name), b"plain");
            assert!(toolrunner_core::__private::check(read(call.input)).is_ok());
            let mut value = EMPTY;
            // SAFETY: the name ends with a zero byte, and the pointer for the result is valid.
            unsafe {
                let found = toolrunner_member(call.input, c"a".as_ptr(), &raw mut value);
                assert_eq!(found == 1, value.len > 0);
                let (len, _) =
                    lent(choices.below(20), |out, cap| toolrunner_unescape(value, out, cap));
                assert!(len <= value.len);
            }
            self.given.push(id);
            self.open.push(call.index);
            if choices.below(3) > 0 {
                self.answer(choices);
            }
        }
    }

    /// Answers, suspends or allows a call: an open one, or any.
    fn answer(&mut self, choices: &mut Choices<'_>) {
        let any = choices.below(200) as u32;
        let (call, is_open) = match self.open.pop() {
            Some(call) if choices.below(5) > 0 => (call, true),
            Some(call) => {
                self.open.push(call);
                (any, false)
            }
            None => (any, false),
        };
        self.open.retain(|open| *open != call);
        let text = "r\"\n".repeat(choices.one_of(&[0, 1, 3, 100, 5000]));
        let content = choices.one_of(&["\"x\"", "", "[]", r#"[{"type":"text","text":"x"}]"#]);
        let (at, is_error) = (self.at(), choices.below(2) as i32);
        // SAFETY: all lengths are right.
        let code = unsafe {
            match choices.below(5) {
                0 => toolrunner_suspend(at, call),
                1 => toolrunner_allow(at, call, ptr::null_mut()),
                2 => {
                    let content = content.as_bytes();
                    toolrunner_answer_json(
                        at,
                        call,
                        content.as_ptr().cast(),
                        content.len(),
                        is_error,
                    )
                }
                _ => {
                    let code =
                        toolrunner_answer(at, call, text.as_ptr().cast(), text.len(), is_error);
                    // An answer is accepted whatever its length, in memory of any size.
                    assert!(code == 0 || !is_open, "an answer was refused: {}", self.error());
                    code
                }
            }
        };
        assert!((-5..=0).contains(&code));
    }

    /// Performs a request. Its reply may be truncated or modified.
    fn exchange(&mut self, choices: &mut Choices<'_>) {
        self.open.clear();
        self.is_appended = false;
        let step = choices.one_of(&[1000, 7, 1]);
        let head = self.pull(toolrunner_head, 1000);
        let body = self.pull(toolrunner_body, step);
        // SAFETY: the machine belongs to this program.
        assert_eq!(unsafe { toolrunner_body_len(self.at()) }, body.len());
        check_request(&body);
        let framing = choices.one_of(&[Framing::Chunked, Framing::Length, Framing::Close]);
        let name = format!("r{}", self.replies);
        self.replies += 1;
        let answer = Script::new().reply(replies::reply(choices, &name));
        let mut connection = Connection::new().framing(framing);
        let chunks =
            connection.respond(&mut ScriptedModel::new(answer).lenient(), &[head, body].concat());
        let mut bytes: Vec<u8> = Vec::new();
        for chunk in chunks {
            if let Chunk::Data(data) = chunk {
                bytes.extend(data);
            }
        }
        match choices.below(8) {
            7 => bytes.truncate(choices.word() % (bytes.len() + 1)),
            6 => {
                let place = choices.word() % bytes.len();
                // A modified id could equal one that was handed out before.
                if bytes[place].is_ascii_punctuation() {
                    bytes[place] = choices.below(256) as u8;
                    self.is_foreign = true;
                }
            }
            _ => {}
        }
        let step = choices.one_of(&[10_000, 100, 3, 1]);
        for piece in bytes.chunks(step) {
            if !self.feed(piece) {
                return self.fail();
            }
            if choices.below(64) == 63 {
                // The program abandons the exchange.
                return;
            }
        }
        // SAFETY: the machine belongs to this program.
        let code = unsafe {
            let mut code = 1;
            while code > 0 && toolrunner_http_is_done(self.at()) == 0 || code == 1 && self.is_done()
            {
                let mut event = NO_EVENT;
                code = toolrunner_close_http(self.at(), &raw mut event);
                read(event.data);
            }
            code
        };
        if code < 0 {
            self.fail();
        }
    }

    fn is_done(&mut self) -> bool {
        // SAFETY: the machine belongs to this program.
        unsafe { toolrunner_http_is_done(self.at()) > 0 }
    }

    fn feed(&mut self, piece: &[u8]) -> bool {
        let mut rest = piece;
        loop {
            let (mut used, mut event) = (usize::MAX, NO_EVENT);
            let (at, bytes, len) = (self.at(), rest.as_ptr().cast(), rest.len());
            // SAFETY: the length is right.
            let code =
                unsafe { toolrunner_feed_http(at, bytes, len, &raw mut used, &raw mut event) };
            assert!(used <= rest.len(), "it read more than there was");
            rest = &rest[used..];
            read(event.data);
            match code {
                1 => assert_ne!(event.kind, TOOLRUNNER_EVENT_NONE),
                0 => return true,
                code => {
                    assert!((-5..0).contains(&code));
                    return false;
                }
            }
        }
    }

    fn fail(&mut self) {
        let (at, now) = (self.at(), self.now);
        // SAFETY: the machine belongs to this program.
        let code = unsafe { toolrunner_failed(at, TOOLRUNNER_FAILED_CLOSED, now, 7) };
        assert!((-5..=0).contains(&code));
        self.gave_up = code;
    }

    fn pull(
        &mut self,
        from: unsafe extern "C" fn(*mut toolrunner_t, usize, *mut c_char, usize) -> i32,
        step: usize,
    ) -> Vec<u8> {
        let mut all = Vec::new();
        loop {
            let at = self.at();
            // SAFETY: the buffer has the stated length.
            let (len, part) = lent(step, |out, cap| unsafe { from(at, all.len(), out, cap) });
            match usize::try_from(len).expect("a part of the request") {
                0 => return all,
                len => all.extend_from_slice(&part[..len]),
            }
        }
    }

    /// Continues from a snapshot, in other memory.
    fn restore(&mut self) {
        let mut len = 0;
        let at = self.at();
        // SAFETY: null with length 0 is an absent buffer, and the other buffers have the stated
        // lengths.
        unsafe {
            let code = toolrunner_snapshot(at, ptr::null_mut(), 0, &raw mut len);
            assert_eq!(code, TOOLRUNNER_ERROR_CAPACITY);
            let (code, text) =
                lent(len, |out, cap| toolrunner_snapshot(at, out, cap, ptr::null_mut()));
            assert_eq!(code, 0);
            let mut other = Self::new(self.size());
            let (place, memory, config) = (other.at(), other.memory.as_mut_ptr().cast(), config());
            let size = other.size();
            let code = toolrunner_restore(
                place,
                &raw const config,
                memory,
                size,
                text.as_ptr().cast(),
                text.len(),
            );
            assert_eq!(code, 0, "its own snapshot: {}", other.error());
            other.now = self.now;
            other.replies = self.replies;
            other.given = core::mem::take(&mut self.given);
            other.is_foreign = self.is_foreign;
            other.is_appended = self.is_appended;
            *self = other;
        }
    }

    /// Checks what must hold between any two calls.
    fn check(&mut self) {
        let size = self.size();
        assert!(self.memory[size..].iter().all(|byte| *byte == CANARY), "beyond the memory");
        let mut messages = EMPTY;
        // SAFETY: the pointer for the result is valid.
        assert_eq!(unsafe { toolrunner_messages(self.at(), &raw mut messages) }, 0);
        if let Err(invalid) = validity::check(read(messages), Tail::Open)
            && !self.is_appended
        {
            panic!("{invalid}: {}", String::from_utf8_lossy(read(messages)));
        }
        self.error();
        let at = self.at();
        // SAFETY: the buffer has the stated length.
        let (len, text) = lent(64, |out, cap| unsafe { toolrunner_last_text(at, out, cap) });
        assert_eq!(text[len.min(63)], 0, "the text has no zero at its end");
    }

    fn error(&mut self) -> String {
        let at = self.at();
        // SAFETY: the buffer has the stated length.
        let (len, text) = lent(200, |out, cap| unsafe { toolrunner_error_text(at, out, cap) });
        assert_eq!(text[len.min(199)], 0, "the text has no zero at its end");
        String::from_utf8_lossy(&text[..len.min(199)]).into_owned()
    }

    /// Checks that the run ends once faults stop.
    fn end(&mut self) {
        let choices = &mut Choices::new(&[]);
        let at = self.at();
        // SAFETY: the machine belongs to this program.
        unsafe {
            toolrunner_cancel(at);
            toolrunner_resume(at);
            for which in 1..=6 {
                toolrunner_limit(at, which, TOOLRUNNER_UNLIMITED);
            }
            toolrunner_when_full(at, TOOLRUNNER_FULL_STOP, 0);
        }
        self.gave_up = 0;
        for _ in 0..200 {
            if self.gave_up == TOOLRUNNER_ERROR_CAPACITY {
                return;
            }
            let (at, now) = (self.at(), self.now);
            let (mut until, mut call) = (0, NO_CALL);
            // SAFETY: all lengths are right, and the pointers for results are valid.
            unsafe {
                match toolrunner_step(at, now, &raw mut until) {
                    TOOLRUNNER_STEP_SEND => self.exchange(choices),
                    TOOLRUNNER_STEP_WAIT => self.now = until,
                    TOOLRUNNER_STEP_CALL => {
                        while toolrunner_next_call(at, &raw mut call) == 1 {
                            assert_eq!(toolrunner_answer(at, call.index, ptr::null(), 0, 0), 0);
                        }
                    }
                    TOOLRUNNER_STEP_RECEIVE => self.fail(),
                    TOOLRUNNER_STEP_DONE => {
                        if toolrunner_suspended(at, &raw mut call) != 1 {
                            return;
                        }
                        assert_eq!(toolrunner_answer(at, call.index, ptr::null(), 0, 1), 0);
                    }
                    // There is nothing to send, or no room.
                    _ => return,
                }
            }
            self.check();
        }
        panic!("it does not end");
    }
}

fn check_request(body: &[u8]) {
    let request = Request::new("/v1/messages", body);
    let system = request.json().member("system").expect("a body that is JSON");
    assert_eq!(system.as_json(), r#""Say \"hi\".""#);
    let messages = request.transcript();
    let is_paused =
        Messages::new(messages).last().and_then(|message| message.role()) == Some(Role::Assistant);
    let tail = if is_paused { Tail::Open } else { Tail::Closed };
    if let Err(invalid) = validity::check(messages, tail) {
        panic!("{invalid} is sent: {}", String::from_utf8_lossy(messages));
    }
}
