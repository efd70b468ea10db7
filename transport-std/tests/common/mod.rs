//! Shared by the suites: tools written by hand, a server on loopback, and accessors for requests.
#![allow(dead_code, unreachable_pub, reason = "each suite uses a part of it")]

use core::net::SocketAddr;
use std::io::{Read, Write};
use std::net::TcpListener;
use std::sync::{Arc, Mutex, mpsc};
use std::thread;

use toolrunner_core::json::Value;
use toolrunner_core::testing::http1::Connection;
use toolrunner_core::testing::validity::{Tail, check};
use toolrunner_core::testing::{Answer, Chunk, Script, ScriptedModel, ScriptedReply};
use toolrunner_core::tool::{Definition, Output, ToolCall, ToolError, Tools};
use toolrunner_std::testing::ScriptedServer;
use toolrunner_std::{Client, Run};

pub type Work = dyn Fn(&Value<'_>) -> Result<String, ToolError> + Send + Sync;

/// A tool of one function, and the calls that it ran.
#[derive(Clone)]
pub struct Fun {
    pub name: &'static str,
    pub json: String,
    pub shape: fn(Definition<'_>) -> Definition<'_>,
    pub work: Arc<Work>,
    pub ran: Arc<Mutex<Vec<String>>>,
}

impl Tools for Fun {
    fn count(&self) -> usize {
        1
    }

    fn definition(&self, i: usize) -> Option<Definition<'_>> {
        (i == 0).then(|| (self.shape)(Definition::new(self.name, &self.json)))
    }

    async fn call(
        &self,
        _: usize,
        call: ToolCall<'_>,
        out: &mut Output<'_>,
    ) -> Result<(), ToolError> {
        self.ran.lock().unwrap().push(call.id.to_string());
        let text = (self.work)(&call.input)?;
        // The output itself reports that it is full.
        let _ = out.text(&text);
        Ok(())
    }
}

impl Fun {
    /// Returns the ids of the calls that ran.
    pub fn ran(&self) -> Vec<String> {
        self.ran.lock().unwrap().clone()
    }
}

/// Creates a tool that returns the output of `work`.
pub fn fun(
    name: &'static str,
    work: impl Fn(&Value<'_>) -> Result<String, ToolError> + Send + Sync + 'static,
) -> Fun {
    let json = format!(
        r#"{{"name":"{name}","description":"d","input_schema":{{"type":"object","properties":{{}}}}}}"#
    );
    Fun { name, json, shape: |definition| definition, work: Arc::new(work), ran: Arc::default() }
}

/// Creates a tool that returns its name.
pub fn echo(name: &'static str) -> Fun {
    fun(name, move |_| Ok(format!("{name}!")))
}

/// Creates a blocking tool that works until the returned sender is dropped, so that it is late on
/// any machine.
pub fn busy(name: &'static str) -> (Fun, mpsc::Sender<()>) {
    let (over, until_over) = mpsc::channel();
    let until_over = Mutex::new(until_over);
    let mut tool = fun(name, move |_| {
        let _ = until_over.lock().unwrap().recv();
        Ok("late".to_owned())
    });
    tool.shape = |definition| definition.blocking();
    (tool, over)
}

pub fn scripted(script: Script) -> ScriptedServer {
    ScriptedServer::new(ScriptedModel::new(script))
}

pub fn calls(ids: &[&str], name: &str) -> ScriptedReply {
    ids.iter().fold(ScriptedReply::new(), |reply, id| reply.tool_use(id, name, "{}"))
}

/// Returns the messages of each request, as JSON.
pub fn conversations(scripted: &ScriptedServer) -> Vec<String> {
    let of = |request: &toolrunner_core::testing::Request| {
        format!("[{}]", String::from_utf8_lossy(request.transcript()))
    };
    scripted.model().requests().iter().map(of).collect()
}

/// Returns the complete body of each request.
pub fn bodies(scripted: &ScriptedServer) -> Vec<String> {
    scripted
        .model()
        .requests()
        .iter()
        .map(|request| String::from_utf8(request.body.clone()).unwrap())
        .collect()
}

/// Asserts that the API would accept every request, and that the run's conversation is valid.
#[track_caller]
pub fn assert_valid(run: &Run, scripted: &ScriptedServer) {
    assert_eq!(scripted.model().complaints(), [] as [String; 0]);
    if let Err(invalid) = check(run.machine().messages(), Tail::Open) {
        panic!("{invalid}: {}", run.messages());
    }
}

/// Serves a scripted model on loopback. The thread ends with the process.
pub fn serve(model: ScriptedModel) -> (SocketAddr, Arc<Mutex<ScriptedModel>>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let model = Arc::new(Mutex::new(model));
    let shared = Arc::clone(&model);
    thread::spawn(move || {
        for socket in listener.incoming().flatten() {
            let model = Arc::clone(&shared);
            thread::spawn(move || {
                let mut socket = socket;
                let (mut connection, mut buffer) = (Connection::new(), [0; 4096]);
                while !connection.is_closed() {
                    let Ok(length @ 1..) = socket.read(&mut buffer) else { return };
                    let chunks = connection.respond(&mut model.lock().unwrap(), &buffer[..length]);
                    for chunk in chunks {
                        match chunk {
                            Chunk::Data(bytes) if socket.write_all(&bytes).is_ok() => {}
                            Chunk::Wait(pause) => thread::sleep(pause),
                            _ => return,
                        }
                    }
                }
            });
        }
    });
    (address, model)
}

/// Returns a client, without retries, of a server on loopback that answers with this script.
pub fn client_of(script: Script) -> (Client, Arc<Mutex<ScriptedModel>>) {
    let (address, model) = serve(ScriptedModel::new(script));
    let builder =
        Client::builder().base_url(format!("http://{address}")).api_key("k").max_retries(0);
    (builder.proxies(toolrunner_std::http::Proxies::none()).build().unwrap(), model)
}

pub fn answers(list: impl IntoIterator<Item = Answer>) -> Script {
    list.into_iter().fold(Script::new(), Script::answer)
}

/// A stream with comments, pings, and an event and a delta of unknown types.
pub const NOISY_STREAM: &str = concat!(
    ": a comment\n\n",
    "event: message_start\ndata: {\"type\":\"message_start\",\"message\":{\"id\":\"m1\",\"type\":\"message\",\"role\":\"assistant\",\"model\":\"m\",\"content\":[],\"stop_reason\":null,\"stop_sequence\":null,\"usage\":{\"input_tokens\":1,\"output_tokens\":1}}}\n\n",
    "event: ping\ndata: {\"type\":\"ping\"}\n\n",
    "event: news\ndata: {\"type\":\"news\",\"x\":1}\n\n",
    "event: content_block_start\ndata: {\"type\":\"content_block_start\",\"index\":0,\"content_block\":{\"type\":\"text\",\"text\":\"\"}}\n\n",
    "event: content_block_delta\ndata: {\"type\":\"content_block_delta\",\"index\":0,\"delta\":{\"type\":\"smell_delta\",\"smell\":\"x\"}}\n\n",
    "event: content_block_delta\ndata: {\"type\":\"content_block_delta\",\"index\":0,\"delta\":{\"type\":\"text_delta\",\"text\":\"Hi\"}}\n\n",
    "event: content_block_stop\ndata: {\"type\":\"content_block_stop\",\"index\":0}\n\n",
    "event: message_delta\ndata: {\"type\":\"message_delta\",\"delta\":{\"stop_reason\":\"end_turn\",\"stop_sequence\":null},\"usage\":{\"output_tokens\":2}}\n\n",
    "event: message_stop\ndata: {\"type\":\"message_stop\"}\n\n",
);
