//! A call that owns its texts, so that its tool can run on any thread.

use alloc::boxed::Box;
use alloc::vec;
use alloc::vec::Vec;

use crate::json::{Text, Value};
use crate::run::{Call, Run};
use crate::time::Instant;
use crate::tool::{DynTools, Output, ToolCall, ToolError, ToolHost};

/// A copy of a call. Its texts are in one allocation, because many calls may wait at the same time.
#[derive(Debug)]
pub struct OwnedCall {
    /// The id, the name, the input and the toolset.
    all: Box<[u8]>,
    /// Where the first three end.
    ends: [usize; 3],
    has_toolset: bool,
    turn: u32,
}

impl OwnedCall {
    /// Copies a call of the last turn, or of the reply under way.
    pub fn new(run: &Run<'_>, call: &Call<'_>) -> Self {
        let (id, name) = (call.id.raw_bytes(), call.name.raw_bytes());
        let (input, toolset) = (call.input.raw(), call.toolset.map(Text::raw_bytes));
        let ends = [id.len(), id.len() + name.len(), id.len() + name.len() + input.len()];
        Self {
            all: [id, name, input, toolset.unwrap_or_default()].concat().into(),
            ends,
            has_toolset: toolset.is_some(),
            turn: run.turns() + u32::from(!run.reply_is_whole()),
        }
    }

    fn part(&self, start: usize, end: usize) -> &[u8] {
        self.all.get(start..end).unwrap_or_default()
    }

    /// Returns the input as JSON.
    pub fn input(&self) -> &[u8] {
        self.part(self.ends[1], self.ends[2])
    }

    /// Returns the memory that [`tool_call`](Self::tool_call) needs for this input.
    pub fn scratch(input: &[u8]) -> Vec<u8> {
        if input.contains(&b'\\') { vec![0; input.len()] } else { Vec::new() }
    }

    /// Returns the call for a tool, with this input.
    pub fn tool_call<'a>(&'a self, input: &'a [u8], scratch: &'a mut [u8]) -> ToolCall<'a> {
        let [id, name, end] = self.ends;
        let texts = [self.part(0, id), self.part(id, name)].map(Text::from_bytes);
        let input = Value::whole(input).unwrap_or_default();
        let mut call = ToolCall::new(texts[0], texts[1], input, scratch);
        let toolset = self.has_toolset.then(|| self.part(end, self.all.len()));
        call.toolset = toolset.map(Text::from_bytes);
        call.turn = self.turn;
        call
    }

    /// Runs the tool at `i` with this input. Returns the content, and the tool's error, whose text
    /// is already written to it.
    pub async fn run(
        &self,
        tools: &dyn DynTools,
        i: usize,
        input: &[u8],
        deadline: Option<Instant>,
        host: &dyn ToolHost,
    ) -> (Vec<u8>, Option<ToolError>) {
        let (mut content, mut scratch) = (Vec::new(), Self::scratch(input));
        let mut call = self.tool_call(input, &mut scratch);
        call.deadline = deadline;
        call.host = Some(host);
        let mut out = Output::growing(&mut content);
        let result = tools.dyn_call(i, call, &mut out).await;
        let fits = result.as_ref().err().map_or(Ok(()), |error| error.write_to(&mut out));
        let len = fits.and_then(|()| out.finish()).map_or(0, <[u8]>::len);
        content.truncate(len);
        (content, result.err())
    }
}
