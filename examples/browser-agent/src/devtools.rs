//! A client of the DevTools protocol over a pipe.
//!
//! Chromium with `--remote-debugging-pipe` reads commands from file descriptor 3 and writes replies
//! and events to file descriptor 4: JSON texts that each end with a NUL. Unlike a WebSocket, this
//! opens no port that other programs of the machine, or the pages themselves, could reach, and it
//! needs no library. See <https://chromedevtools.github.io/devtools-protocol/>.

use core::sync::atomic::{AtomicU64, Ordering};
use core::time::Duration;
use std::collections::HashMap;
use std::io;
use std::process::Stdio;
use std::sync::{Arc, Mutex, PoisonError};

use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::process::{Child, ChildStdin, ChildStdout, Command};
use tokio::sync::{mpsc, oneshot};

/// Gives the program its standard input and output as file descriptors 3 and 4. `exec` keeps the
/// process, so that it ends when its `Child` is dropped.
const PIPES: &str = r#"exec "$0" "$@" 3<&0 4>&1 </dev/null >/dev/null 2>&1"#;

/// Something that the browser says without being asked.
#[derive(Debug)]
pub(crate) struct Event {
    /// The session of the page that it is about.
    pub(crate) session: String,
    /// The name, such as `Page.loadEventFired`.
    pub(crate) method: String,
    /// The parameters.
    pub(crate) params: Value,
}

type Answer = Result<Value, String>;
/// Who waits for the result of a command. `None` if the browser has ended.
type PendingCommands = Mutex<Option<HashMap<u64, oneshot::Sender<Answer>>>>;

/// A connection to a browser.
#[derive(Debug)]
pub(crate) struct DevTools {
    commands: mpsc::UnboundedSender<String>,
    waiting: Arc<PendingCommands>,
    next: AtomicU64,
    /// The time limit of a command.
    limit: Duration,
    /// Kills the browser when it is dropped.
    child: tokio::sync::Mutex<Child>,
}

impl DevTools {
    /// Starts a browser. Returns the connection, and the events.
    ///
    /// # Errors
    /// Returns the error of the system if no process can be started.
    pub(crate) fn start(
        program: &str,
        arguments: &[String],
        limit: Duration,
    ) -> io::Result<(Self, mpsc::UnboundedReceiver<Event>)> {
        let mut child = Command::new("/bin/sh")
            .args(["-c", PIPES, program])
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .kill_on_drop(true)
            .spawn()?;
        let (Some(input), Some(output)) = (child.stdin.take(), child.stdout.take()) else {
            return Err(io::Error::other("the browser has no pipes"));
        };
        let (commands, outgoing) = mpsc::unbounded_channel();
        let (incoming, events) = mpsc::unbounded_channel();
        let waiting = Arc::<PendingCommands>::new(Mutex::new(Some(HashMap::new())));
        tokio::spawn(write(input, outgoing));
        tokio::spawn(read(output, Arc::clone(&waiting), incoming));
        let (next, child) = (AtomicU64::new(1), child.into());
        Ok((Self { commands, waiting, next, limit, child }, events))
    }

    /// Sends a command without waiting for its result. An empty `session` is the browser itself.
    pub(crate) fn post(&self, session: &str, method: &str, params: &Value) {
        self.send(session, method, params);
    }

    /// Sends a command and returns its result.
    ///
    /// # Errors
    /// Returns the reason if the command failed, if the browser is gone, or if there is no result
    /// in time.
    pub(crate) async fn call(&self, session: &str, method: &str, params: &Value) -> Answer {
        self.call_within(self.limit, session, method, params).await
    }

    /// Sends a command and returns its result, as [`call`](Self::call) does, with this time limit.
    pub(crate) async fn call_within(
        &self,
        limit: Duration,
        session: &str,
        method: &str,
        params: &Value,
    ) -> Answer {
        const ENDED: &str = "the browser has ended";
        let (sender, receiver) = oneshot::channel();
        let id = self.next.fetch_add(1, Ordering::Relaxed);
        lock(&self.waiting).as_mut().ok_or(ENDED)?.insert(id, sender);
        self.write(id, session, method, params);
        match tokio::time::timeout(limit, receiver).await {
            Ok(Ok(answer)) => answer.map_err(|error| format!("{method}: {error}")),
            Ok(Err(_)) => Err(ENDED.to_owned()),
            Err(_) => {
                self.forget(id);
                Err(format!("{method}: no answer within {} s", limit.as_secs_f64()))
            }
        }
    }

    fn forget(&self, id: u64) {
        lock(&self.waiting).as_mut().and_then(|waiting| waiting.remove(&id));
    }

    /// Ends the browser. If that takes more than 5 seconds, kills it.
    pub(crate) async fn close(&self) {
        self.post("", "Browser.close", &json!({}));
        let mut child = self.child.lock().await;
        if tokio::time::timeout(Duration::from_secs(5), child.wait()).await.is_err() {
            let _gone = child.kill().await;
        }
    }

    fn send(&self, session: &str, method: &str, params: &Value) {
        self.write(self.next.fetch_add(1, Ordering::Relaxed), session, method, params);
    }

    fn write(&self, id: u64, session: &str, method: &str, params: &Value) {
        let mut command = json!({"id": id, "method": method, "params": params});
        if let Some(command) = command.as_object_mut().filter(|_| !session.is_empty()) {
            command.insert("sessionId".to_owned(), session.into());
        }
        if self.commands.send(command.to_string()).is_err() {
            self.forget(id);
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

async fn write(mut input: ChildStdin, mut commands: mpsc::UnboundedReceiver<String>) {
    while let Some(command) = commands.recv().await {
        let mut bytes = command.into_bytes();
        bytes.push(0);
        if input.write_all(&bytes).await.is_err() {
            return;
        }
    }
}

async fn read(
    output: ChildStdout,
    waiting: Arc<PendingCommands>,
    events: mpsc::UnboundedSender<Event>,
) {
    let (mut output, mut bytes) = (BufReader::new(output), Vec::new());
    while let Ok(1..) = output.read_until(0, &mut bytes).await {
        bytes.pop();
        let message = serde_json::from_slice::<Value>(&bytes).unwrap_or_default();
        bytes.clear();
        if let Some(id) = message.get("id").and_then(Value::as_u64) {
            let sender = lock(&waiting).as_mut().and_then(|waiting| waiting.remove(&id));
            let Some(sender) = sender else { continue };
            let answer = match message.pointer("/error/message").and_then(Value::as_str) {
                Some(error) => Err(error.to_owned()),
                None => Ok(message.get("result").cloned().unwrap_or_default()),
            };
            let _unless_dropped = sender.send(answer);
        } else {
            let text = |name: &str| {
                message.get(name).and_then(Value::as_str).unwrap_or_default().to_owned()
            };
            let (session, method) = (text("sessionId"), text("method"));
            let params = message.get("params").cloned().unwrap_or_default();
            if events.send(Event { session, method, params }).is_err() {
                break;
            }
        }
    }
    // Whoever waits for a result learns that there will be none.
    *lock(&waiting) = None;
}
