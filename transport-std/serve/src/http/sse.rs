//! Streams of events that a client can resume after an interruption.

use core::time::Duration;
use std::collections::VecDeque;
use std::sync::Arc;

use axum::body::{Body, Bytes};
use axum::http::header;
use axum::response::{IntoResponse, Response};
use futures_util::stream;
use serde_json::{Value, json};
use tokio::sync::broadcast::error::RecvError;
use tokio::sync::{broadcast, watch};
use uuid::Uuid;

use crate::engine::{Document, Stop, StoredEvent};
use crate::runner::Preview;
use crate::server::{Live, Server};
use crate::store::Row;

/// A comment is sent after this much silence.
const SILENCE: Duration = Duration::from_secs(15);
/// The maximum number of rows of one read.
const PAGE: usize = 64;
/// The approximate number of bytes of one read. A client that stops reading keeps them in memory.
const PAGE_BYTES: usize = 64 << 10;
/// The maximum number of previews of one read. A client that stops reading keeps them in memory.
const PREVIEWS: usize = 16;
/// An event of at least this many bytes is sent in pieces and looked up again for each of them, so
/// that a client that stops reading keeps one piece in memory and not the whole event. A piece has
/// this many bytes, or a sixteenth of the event if that is more.
const LONG: usize = 256 << 10;
const PIECES: usize = 16;
/// The end of an event.
const END: &[u8] = b"\n\n";

/// What a stream sends, and in which form.
pub(crate) enum View {
    /// The events unchanged, optionally with previews, optionally only until the end of the turn.
    Events { previews: Option<broadcast::Receiver<Preview>>, one_turn: bool },
    /// The states of a session, in Motus' form.
    States(States),
}

/// A stream of a session's log.
struct Feed {
    server: Arc<Server>,
    live: Arc<Live>,
    versions: watch::Receiver<Option<u64>>,
    previews: Option<broadcast::Receiver<Preview>>,
    /// The message whose previews are being sent.
    shown: Option<Arc<str>>,
    view: View,
    after: u64,
    frames: VecDeque<Bytes>,
    /// The long event under way: its number, and how much of it was sent.
    long: Option<(u64, usize)>,
    is_over: bool,
}

/// Streams the log after `after`.
pub(crate) fn respond(
    server: Arc<Server>,
    live: Arc<Live>,
    after: u64,
    mut view: View,
) -> Response {
    let versions = live.versions();
    let previews = match &mut view {
        View::Events { previews, .. } => previews.take(),
        View::States(_) => None,
    };
    let mut feed = Feed {
        server,
        live,
        versions,
        previews,
        shown: None,
        view,
        after,
        frames: VecDeque::new(),
        long: None,
        is_over: false,
    };
    // Shows the client that it is connected, before any event.
    feed.frames.push_back(Bytes::from_static(b": connected\n\n"));
    let frames = stream::unfold(feed, |mut feed| async move {
        let frame = feed.next().await?;
        Some((Ok::<_, core::convert::Infallible>(frame), feed))
    });
    let headers = [
        (header::CONTENT_TYPE, "text/event-stream; charset=utf-8"),
        (header::CACHE_CONTROL, "no-cache"),
    ];
    let mut response = (headers, Body::from_stream(frames)).into_response();
    // nginx buffers streams otherwise.
    response.headers_mut().insert("x-accel-buffering", header::HeaderValue::from_static("no"));
    response
}

impl Feed {
    async fn next(&mut self) -> Option<Bytes> {
        loop {
            if let Some(frame) = self.frames.pop_front() {
                return Some(frame);
            }
            if let Some((seq, sent)) = self.long {
                self.send_piece(seq, sent).await?;
                continue;
            }
            if self.is_over {
                return None;
            }
            // Previews are older than the event that they belong to, so they are sent first.
            self.take_previews();
            if !self.frames.is_empty() {
                continue;
            }
            match self.server.events(self.live.id, self.after, PAGE, PAGE_BYTES).await {
                Ok(rows) if rows.is_empty() => self.wait().await,
                Ok(rows) => {
                    for row in &rows {
                        self.after = row.seq;
                        self.see(row).await;
                        if self.is_over || self.long.is_some() {
                            break;
                        }
                    }
                }
                Err(error) => {
                    tracing::warn!(session = %self.live.id, "{error}");
                    return None;
                }
            }
        }
    }

    /// Queues the next piece of a long event. Returns `None` if the session is gone or the store
    /// fails: a client that reconnects gets the event from its beginning.
    async fn send_piece(&mut self, seq: u64, sent: usize) -> Option<()> {
        let event = self.server.long_event(self.live.id, seq).await.ok()??;
        let end = event.len().min(sent + LONG.max(event.len() / PIECES));
        self.frames.push_back(one_line(event.get(sent..end)?).collect::<Vec<u8>>().into());
        self.long = (end < event.len()).then_some((seq, end));
        if self.long.is_none() {
            self.frames.push_back(Bytes::from_static(END));
            self.server.forget_long_event(self.live.id, seq);
        }
        Some(())
    }

    fn take_previews(&mut self) {
        while let Some(previews) = &mut self.previews
            && self.frames.len() < PREVIEWS
        {
            match previews.try_recv() {
                Ok(preview) => self.preview(preview),
                // The complete message contains the lost previews.
                Err(broadcast::error::TryRecvError::Lagged(_)) => self.shown = None,
                Err(_) => return,
            }
        }
    }

    async fn wait(&mut self) {
        let previews = async {
            match &mut self.previews {
                Some(previews) => previews.recv().await,
                None => core::future::pending().await,
            }
        };
        tokio::select! {
            biased;
            preview = previews => match preview {
                Ok(preview) => self.preview(preview),
                Err(RecvError::Lagged(_)) => self.shown = None,
                Err(RecvError::Closed) => self.previews = None,
            },
            changed = self.versions.changed() => {
                if changed.is_err() || self.versions.borrow_and_update().is_none() {
                    self.is_over = true;
                }
            }
            () = self.server.drain.cancelled() => self.is_over = true,
            () = tokio::time::sleep(SILENCE) => self.frames.push_back(Bytes::from_static(b": keep-alive\n\n")),
        }
    }

    fn preview(&mut self, preview: Preview) {
        let (name, data) = match preview {
            Preview::Start { event } => {
                let data = json!({"type": "event_start", "event": {"id": &*event, "type": "agent.message"}});
                self.shown = Some(event);
                ("event_start", data)
            }
            // A client that connects in the middle of a message receives the complete message only.
            Preview::Delta { event, .. } if self.shown.as_ref() != Some(&event) => return,
            Preview::Delta { event, index, text } => {
                let content = json!({"type": "text", "text": &*text});
                let delta = json!({"type": "content_delta", "index": index, "content": content});
                ("event_delta", json!({"type": "event_delta", "event_id": &*event, "delta": delta}))
            }
        };
        self.frames.push_back(format!("event: {name}\ndata: {data}\n\n").into());
    }

    async fn see(&mut self, row: &Row) {
        let Some(seen) = StoredEvent::of(row) else { return };
        match &mut self.view {
            View::Events { one_turn, .. } => {
                let head = format!("event: {}\nid: {}\ndata: ", seen.kind, seen.seq);
                if row.event.len() < LONG {
                    let mut frame = head.into_bytes();
                    frame.extend(one_line(&row.event));
                    frame.extend_from_slice(END);
                    self.frames.push_back(frame.into());
                } else {
                    self.frames.push_back(head.into());
                    self.long = Some((row.seq, 0));
                }
                self.is_over = *one_turn && seen.kind == "session.status_idle";
            }
            View::States(states) => {
                let interrupts = match seen.stop() {
                    Some(Stop::RequiresAction) => {
                        open_interrupts(&self.server, self.live.id, seen.turn).await
                    }
                    _ => None,
                };
                if let Some((name, data)) = states.see(&seen, self.live.id, interrupts) {
                    self.frames.push_back(
                        format!("event: {name}\nid: {}\ndata: {data}\n\n", seen.seq).into(),
                    );
                }
            }
        }
    }
}

/// Replaces line breaks, which would end the line of a server-sent event. In JSON they occur only
/// between tokens, where a space means the same.
fn one_line(json: &[u8]) -> impl Iterator<Item = u8> + '_ {
    json.iter().map(|byte| if matches!(byte, b'\n' | b'\r') { b' ' } else { *byte })
}

/// Returns the turn's open interrupts.
async fn open_interrupts(server: &Server, id: Uuid, turn: u64) -> Option<Value> {
    let record = server.store.load(id).await.ok()??;
    let document = Document::of(&record).ok().filter(|document| document.turn == turn)?;
    let open: Vec<Value> = document.open_interrupts().map(|interrupt| json!(interrupt)).collect();
    (!open.is_empty()).then(|| Value::from(open))
}

/// Derives a session's states from its events.
#[derive(Debug, Default)]
pub(crate) struct States {
    turn: u64,
    text: Option<String>,
    error: Option<String>,
}

impl States {
    fn see(
        &mut self,
        seen: &StoredEvent<'_>,
        id: Uuid,
        interrupts: Option<Value>,
    ) -> Option<(&'static str, Value)> {
        if seen.turn != self.turn {
            *self = Self { turn: seen.turn, ..Self::default() };
        }
        let mut data = json!({"session_id": id, "status": "running"});
        let name = match (&*seen.kind, seen.stop()) {
            ("session.status_running", _) => "running",
            ("agent.message", _) => {
                self.text = seen.content.and_then(crate::chat::text_of);
                data["message"] = json!({"role": "assistant", "content": self.text});
                "message"
            }
            ("session.error", _) => {
                self.error = seen.error.as_ref().map(|error| error.line());
                return None;
            }
            (_, Some(Stop::RequiresAction)) => {
                data["status"] = json!("interrupted");
                // Interrupts that have been answered since then are left out.
                data["interrupts"] = interrupts.unwrap_or_else(|| json!([]));
                "interrupted"
            }
            (_, Some(Stop::Error)) => {
                data["status"] = json!("error");
                data["error"] = json!(self.error.take().unwrap_or_default());
                "error"
            }
            (_, Some(stop)) => {
                data["status"] = json!("idle");
                if stop != Stop::Cancelled {
                    data["response"] = json!({"role": "assistant", "content": self.text.take().unwrap_or_default()});
                }
                "done"
            }
            _ => return None,
        };
        data["event"] = json!(name);
        Some((name, data))
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn line_breaks_between_tokens_become_spaces() {
        let event = b"{\"input\":{\"a\":1,\r\n\n\"b\":\"x\\n\"}}";
        let line: Vec<u8> = super::one_line(event).collect();
        assert_eq!(line.len(), event.len());
        assert_eq!(line, b"{\"input\":{\"a\":1,   \"b\":\"x\\n\"}}");
    }
}
