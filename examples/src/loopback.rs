//! The scripted Messages API on a port of this machine, over real HTTP, in threads, so that it
//! serves any client on any executor.

use core::time::Duration;
use std::io::{self, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

use toolrunner_core::testing::http1::Connection;
use toolrunner_core::testing::{Chunk, ScriptedModel, Style};

/// Serves `model` until the program ends, in small pieces with short pauses, so that a person sees
/// text arrive. Returns its base URL.
///
/// # Errors
/// Returns an error if no port can be opened.
pub fn serve(model: ScriptedModel) -> io::Result<String> {
    let model =
        model.style(Style { delta: 5, pause: Duration::from_millis(12), ..Style::default() });
    let model = Arc::new(Mutex::new(model));
    let listener = TcpListener::bind(("127.0.0.1", 0))?;
    let url = format!("http://{}", listener.local_addr()?);
    thread::spawn(move || {
        for socket in listener.incoming().flatten() {
            let model = Arc::clone(&model);
            // A client may disconnect at any time.
            thread::spawn(move || answer(socket, &model));
        }
    });
    Ok(url)
}

fn answer(mut socket: TcpStream, model: &Mutex<ScriptedModel>) -> io::Result<()> {
    socket.set_nodelay(true)?;
    let (mut connection, mut buffer) = (Connection::new(), [0; 4096]);
    while !connection.is_closed() {
        let length = socket.read(&mut buffer)?;
        if length == 0 {
            break;
        }
        let chunks = connection
            .respond(&mut model.lock().unwrap_or_else(PoisonError::into_inner), &buffer[..length]);
        for chunk in chunks {
            match chunk {
                Chunk::Data(bytes) => socket.write_all(&bytes)?,
                Chunk::Wait(pause) => thread::sleep(pause),
                Chunk::Reset => return Ok(()),
            }
        }
    }
    Ok(())
}
