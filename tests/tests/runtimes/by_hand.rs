//! An executor of one future, sockets and timers, over threads of std's.

use std::collections::VecDeque;
use std::io::{self, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::pin::{Pin, pin};
use std::sync::mpsc::{self, Sender};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Wake, Waker};
use std::thread::{self, Thread};
use std::time::Instant;

use hyper::rt::ReadBufCursor;

/// Wakes the future by unparking the thread that polls it.
struct Unpark(Thread);

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}

/// Polls `future` on this thread, which is parked until it is woken.
pub(crate) fn block_on<F: Future>(future: F) -> F::Output {
    let mut future = pin!(future);
    let waker = Waker::from(Arc::new(Unpark(thread::current())));
    let mut context = Context::from_waker(&waker);
    loop {
        if let Poll::Ready(output) = future.as_mut().poll(&mut context) {
            return output;
        }
        // Returns at once if it was woken during the poll.
        thread::park();
    }
}

/// Waits until `deadline`, on a thread that ends early if the future is dropped.
pub(crate) async fn wait_until(deadline: Instant) {
    let shared = Arc::new(Mutex::new((false, None::<Waker>)));
    let alarm = Arc::clone(&shared);
    let (dropped, is_dropped) = mpsc::channel::<()>();
    thread::spawn(move || {
        let left = deadline.saturating_duration_since(Instant::now());
        let _ = is_dropped.recv_timeout(left);
        let mut alarm = alarm.lock().unwrap();
        alarm.0 = true;
        if let Some(waker) = alarm.1.take() {
            waker.wake();
        }
    });
    let _held: Sender<()> = dropped;
    std::future::poll_fn(|cx| {
        let mut state = shared.lock().unwrap();
        state.1 = Some(cx.waker().clone());
        if state.0 { Poll::Ready(()) } else { Poll::Pending }
    })
    .await;
}

/// What a connection received.
#[derive(Default)]
struct Inbox {
    bytes: VecDeque<u8>,
    end: Option<io::Result<()>>,
    waker: Option<Waker>,
}

/// A connection, which a thread reads. It writes on the caller's thread, because a request fits
/// into the buffers of the loopback.
pub(crate) struct Socket {
    stream: TcpStream,
    inbox: Arc<Mutex<Inbox>>,
}

impl Socket {
    pub(crate) fn connect(address: &str) -> io::Result<Self> {
        let stream = TcpStream::connect(address)?;
        stream.set_nodelay(true)?;
        let inbox = Arc::<Mutex<Inbox>>::default();
        let (mut reader, filled) = (stream.try_clone()?, Arc::clone(&inbox));
        thread::spawn(move || {
            let mut buffer = [0; 4096];
            loop {
                let read = reader.read(&mut buffer);
                let mut inbox = filled.lock().unwrap();
                match read {
                    Ok(0) => inbox.end = Some(Ok(())),
                    Ok(length) => inbox.bytes.extend(&buffer[..length]),
                    Err(error) => inbox.end = Some(Err(error)),
                }
                if let Some(waker) = inbox.waker.take() {
                    waker.wake();
                }
                if inbox.end.is_some() {
                    return;
                }
            }
        });
        Ok(Self { stream, inbox })
    }
}

impl Drop for Socket {
    fn drop(&mut self) {
        // Also ends the thread that reads.
        let _ = self.stream.shutdown(Shutdown::Both);
    }
}

impl hyper::rt::Read for Socket {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        mut buffer: ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        let mut inbox = self.inbox.lock().unwrap();
        if inbox.bytes.is_empty() {
            if let Some(end) = inbox.end.take() {
                return Poll::Ready(end);
            }
            inbox.waker = Some(cx.waker().clone());
            return Poll::Pending;
        }
        let length = inbox.bytes.len().min(buffer.remaining());
        let bytes: Vec<u8> = inbox.bytes.drain(..length).collect();
        buffer.put_slice(&bytes);
        Poll::Ready(Ok(()))
    }
}

impl hyper::rt::Write for Socket {
    fn poll_write(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Poll::Ready(self.stream.write(bytes))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(self.stream.shutdown(Shutdown::Write))
    }
}
