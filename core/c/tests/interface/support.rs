//! A program in C, written in Rust: it uses nothing but the interface.

use core::ffi::{CStr, c_char};
use core::ptr;

use toolrunner::*;
use toolrunner_core::testing::http1::{Connection, Framing};
use toolrunner_core::testing::{Chunk, ScriptedModel};

pub(crate) const TOOLS: &CStr = cr#"[{"name":"sum","description":"Adds.","input_schema":{"type":"object","properties":{"a":{"type":"integer"},"b":{"type":"integer"}},"required":["a","b"]}},
    {"name":"note","input_schema":{"type":"object","properties":{"text":{"type":"string"}}}}]"#;

/// A configuration with this system prompt and these tools.
pub(crate) fn config(system: Option<&'static CStr>) -> toolrunner_config {
    toolrunner_config {
        abi: TOOLRUNNER_ABI,
        max_tokens: 100,
        model: c"claude-haiku-4-5".as_ptr(),
        system: system.map_or(ptr::null(), CStr::as_ptr),
        tools: TOOLS.as_ptr(),
        params: c"\"temperature\":0".as_ptr(),
        base_url: c"http://scripted:8080/gateway".as_ptr(),
        path: ptr::null(),
        api_key: c"key".as_ptr(),
        authorization: ptr::null(),
        betas: ptr::null(),
        whole_replies: 0,
        reserved: 0,
    }
}

/// A call, copied.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Call {
    pub(crate) index: u32,
    pub(crate) tool: i32,
    pub(crate) id: String,
    pub(crate) name: String,
    pub(crate) input: String,
}

/// The machine, its memory, and what happened.
pub(crate) struct Program {
    machine: Box<toolrunner_t>,
    memory: Vec<u8>,
    /// Bytes that it reads and sends at a time.
    pub(crate) step: usize,
    pub(crate) now: u64,
    /// Kinds of events, and what the text events said.
    pub(crate) kinds: Vec<u32>,
    pub(crate) text: String,
    pub(crate) requests: Vec<String>,
}

pub(crate) fn string(text: toolrunner_text) -> String {
    if text.len == 0 {
        return String::new();
    }
    // SAFETY: the library lends what is valid until the next call.
    let bytes = unsafe { core::slice::from_raw_parts(text.ptr.cast::<u8>(), text.len) };
    String::from_utf8(bytes.to_vec()).unwrap()
}

pub(crate) fn unescaped(text: toolrunner_text) -> String {
    let mut out = vec![0_u8; text.len + 1];
    // SAFETY: the lengths are right.
    let len = unsafe { toolrunner_unescape(text, out.as_mut_ptr().cast(), out.len()) };
    assert_eq!(out[len], 0);
    out.truncate(len);
    String::from_utf8(out).unwrap()
}

pub(crate) const NOTHING: toolrunner_event =
    toolrunner_event { kind: 0, index: 0, data: toolrunner_text { ptr: ptr::null(), len: 0 } };

impl Program {
    pub(crate) fn new(config: &toolrunner_config, memory: usize) -> Self {
        let mut this = Self::empty(memory);
        assert_eq!(this.init(config), TOOLRUNNER_OK, "{}", this.error());
        this
    }

    pub(crate) fn empty(memory: usize) -> Self {
        Self {
            machine: Box::new(toolrunner_t { state: 0, opaque: [0; TOOLRUNNER_WORDS] }),
            memory: vec![0xa5; memory],
            step: 7,
            now: 0,
            kinds: Vec::new(),
            text: String::new(),
            requests: Vec::new(),
        }
    }

    pub(crate) fn init(&mut self, config: &toolrunner_config) -> i32 {
        let (memory, len) = (self.memory.as_mut_ptr().cast(), self.memory.len());
        // SAFETY: the memory lives as long as the machine, and so do the texts, which are
        // constants.
        unsafe { toolrunner_init(self.at(), config, memory, len) }
    }

    pub(crate) fn restore(config: &toolrunner_config, memory: usize, snapshot: &str) -> Self {
        let mut this = Self::empty(memory);
        let (place, memory, len) = (this.at(), this.memory.as_mut_ptr().cast(), this.memory.len());
        // SAFETY: as in `init`.
        let code = unsafe {
            toolrunner_restore(place, config, memory, len, snapshot.as_ptr().cast(), snapshot.len())
        };
        assert_eq!(code, TOOLRUNNER_OK, "{}", this.error());
        this
    }

    pub(crate) fn at(&mut self) -> *mut toolrunner_t {
        &raw mut *self.machine
    }

    pub(crate) fn user(&mut self, text: &str) -> i32 {
        // SAFETY: the length is right.
        unsafe { toolrunner_user(self.at(), text.as_ptr().cast(), text.len()) }
    }

    pub(crate) fn step(&mut self) -> i32 {
        let (mut until, now) = (0, self.now);
        // SAFETY: the machine is this program's.
        let step = unsafe { toolrunner_step(self.at(), now, &raw mut until) };
        if step == TOOLRUNNER_STEP_WAIT {
            self.now = until;
        }
        step
    }

    /// All that a function writes piece by piece.
    pub(crate) fn pull(
        &mut self,
        from: unsafe extern "C" fn(*mut toolrunner_t, usize, *mut c_char, usize) -> i32,
    ) -> Vec<u8> {
        let (mut all, mut buffer) = (Vec::new(), vec![0_u8; self.step]);
        loop {
            let (at, place) = (all.len(), self.at());
            // SAFETY: the buffer is as long as it says.
            let len = unsafe { from(place, at, buffer.as_mut_ptr().cast(), buffer.len()) };
            match usize::try_from(len).unwrap() {
                0 => return all,
                len => all.extend_from_slice(&buffer[..len]),
            }
        }
    }

    /// One request and what came back, over HTTP. Gives what `toolrunner_failed` did if it failed.
    pub(crate) fn exchange(&mut self, model: &mut ScriptedModel, framing: Framing) -> i32 {
        let mut request = self.pull(toolrunner_head);
        request.extend(self.pull(toolrunner_body));
        self.requests.push(String::from_utf8(request.clone()).unwrap());
        let mut connection = Connection::new().framing(framing);
        let chunks = connection.respond(model, &request);
        let mut code = 0;
        for chunk in chunks {
            let Chunk::Data(bytes) = chunk else { continue };
            for piece in bytes.chunks(self.step) {
                code = self.feed_http(piece);
                if code < 0 {
                    return self.failed(TOOLRUNNER_FAILED_CLOSED);
                }
            }
        }
        // SAFETY: the machine is this program's.
        if unsafe { toolrunner_http_is_done(self.at()) } == 0 {
            loop {
                let mut event = NOTHING;
                // SAFETY: the same.
                code = unsafe { toolrunner_close_http(self.at(), &raw mut event) };
                self.see(event);
                if code <= 0 {
                    break;
                }
            }
        }
        // SAFETY: the same.
        if code < 0 || unsafe { toolrunner_reply_is_whole(self.at()) } != 1 {
            return self.failed(TOOLRUNNER_FAILED_CLOSED);
        }
        code
    }

    /// Feeds all of `bytes`; gives the last code.
    pub(crate) fn feed_http(&mut self, bytes: &[u8]) -> i32 {
        let mut rest = bytes;
        loop {
            let (mut used, mut event) = (usize::MAX, NOTHING);
            let place = self.at();
            // SAFETY: the length is right.
            let code = unsafe {
                toolrunner_feed_http(
                    place,
                    rest.as_ptr().cast(),
                    rest.len(),
                    &raw mut used,
                    &raw mut event,
                )
            };
            rest = &rest[used..];
            self.see(event);
            if code <= 0 {
                return code;
            }
        }
    }

    pub(crate) fn see(&mut self, event: toolrunner_event) {
        if event.kind == TOOLRUNNER_EVENT_NONE {
            return;
        }
        self.kinds.push(event.kind);
        if event.kind == TOOLRUNNER_EVENT_TEXT {
            self.text += &unescaped(event.data);
        }
    }

    pub(crate) fn failed(&mut self, why: i32) -> i32 {
        let now = self.now;
        // SAFETY: the machine is this program's.
        unsafe { toolrunner_failed(self.at(), why, now, 7) }
    }

    /// The next call that is given out.
    pub(crate) fn next_call(&mut self) -> Option<Call> {
        self.given(toolrunner_next_call)
    }

    /// A call that a function gives.
    pub(crate) fn given(
        &mut self,
        by: unsafe extern "C" fn(*mut toolrunner_t, *mut toolrunner_call) -> i32,
    ) -> Option<Call> {
        let empty = toolrunner_text { ptr: ptr::null(), len: 0 };
        let mut call = toolrunner_call {
            index: 0,
            tool: 0,
            id: empty,
            name: empty,
            toolset: empty,
            input: empty,
        };
        // SAFETY: there is a place for the result.
        let code = unsafe { by(self.at(), &raw mut call) };
        assert!(code >= 0, "{}", self.error());
        (code == 1).then(|| Call {
            index: call.index,
            tool: call.tool,
            id: string(call.id),
            name: string(call.name),
            input: string(call.input),
        })
    }

    pub(crate) fn answer(&mut self, call: u32, text: &str, is_error: bool) -> i32 {
        let (text, len) = (text.as_ptr().cast(), text.len());
        // SAFETY: the length is right.
        unsafe { toolrunner_answer(self.at(), call, text, len, i32::from(is_error)) }
    }

    /// The content of a call's result, and what `toolrunner_result` returned.
    pub(crate) fn result(&mut self, call: u32) -> (i32, String) {
        let mut content = toolrunner_text { ptr: ptr::null(), len: 0 };
        // SAFETY: there is a place for the result.
        let code = unsafe { toolrunner_result(self.at(), call, &raw mut content) };
        (code, string(content))
    }

    /// Goes on until something else than a request or a wait is to be done.
    pub(crate) fn go(&mut self, model: &mut ScriptedModel) -> i32 {
        loop {
            match self.step() {
                TOOLRUNNER_STEP_SEND => {
                    let code = self.exchange(model, Framing::Chunked);
                    if code < 0 {
                        return code;
                    }
                }
                TOOLRUNNER_STEP_WAIT => {}
                other => return other,
            }
        }
    }

    pub(crate) fn outcome(&mut self) -> (i32, String) {
        let mut detail = toolrunner_text { ptr: ptr::null(), len: 0 };
        // SAFETY: there is a place for the result.
        let outcome = unsafe { toolrunner_outcome(self.at(), &raw mut detail) };
        (outcome, string(detail))
    }

    pub(crate) fn snapshot(&mut self) -> String {
        let mut len = 0;
        // SAFETY: null with length 0 is the empty place.
        let code = unsafe { toolrunner_snapshot(self.at(), ptr::null_mut(), 0, &raw mut len) };
        assert_eq!(code, TOOLRUNNER_ERROR_CAPACITY);
        let mut out = vec![0_u8; len];
        let place = self.at();
        // SAFETY: the length is right.
        let code =
            unsafe { toolrunner_snapshot(place, out.as_mut_ptr().cast(), out.len(), &raw mut len) };
        assert_eq!((code, len), (TOOLRUNNER_OK, out.len()));
        String::from_utf8(out).unwrap()
    }

    pub(crate) fn messages(&mut self) -> String {
        let mut messages = toolrunner_text { ptr: ptr::null(), len: 0 };
        // SAFETY: there is a place for the result.
        assert_eq!(unsafe { toolrunner_messages(self.at(), &raw mut messages) }, TOOLRUNNER_OK);
        string(messages)
    }

    pub(crate) fn error(&mut self) -> String {
        self.told(toolrunner_error_text)
    }

    /// A text that a function writes, which is as long as it says and has a zero at its end.
    pub(crate) fn told(
        &mut self,
        by: unsafe extern "C" fn(*mut toolrunner_t, *mut c_char, usize) -> usize,
    ) -> String {
        let mut out = vec![b'x'; 4096];
        // SAFETY: the length is right.
        let len = unsafe { by(self.at(), out.as_mut_ptr().cast(), out.len()) };
        let text = CStr::from_bytes_until_nul(&out).unwrap().to_str().unwrap().to_owned();
        assert_eq!(text.len(), len);
        text
    }
}
