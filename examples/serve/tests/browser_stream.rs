//! The example `browser_stream`, asked as a browser asks.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::process::{Child, Command, Stdio};

struct Server(Child);

impl Drop for Server {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn start() -> (Server, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_browser_stream"));
    for name in ["ANTHROPIC_API_KEY", "ANTHROPIC_AUTH_TOKEN", "ANTHROPIC_BASE_URL"] {
        command.env_remove(name);
    }
    let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
    let mut line = String::new();
    BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
    (Server(child), line.trim().strip_prefix("http://").unwrap().to_owned())
}

/// Sends a request and returns the whole response.
fn ask(address: &str, line: &str, body: &str) -> String {
    let mut link = TcpStream::connect(address).unwrap();
    write!(
        link,
        "{line} HTTP/1.1\r\nhost: {address}\r\nconnection: close\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    )
    .unwrap();
    let mut response = String::new();
    link.read_to_string(&mut response).unwrap();
    response
}

#[test]
fn a_browser_receives_the_run() {
    let (_server, address) = start();
    let page = ask(&address, "GET /", "");
    assert!(page.starts_with("HTTP/1.1 200") && page.contains("fetch(\"/chat\""), "{page}");
    let prompt = "What's the weather like in Paris? Also, what's 15 + 27?";
    let response = ask(&address, "POST /chat", prompt);
    assert!(response.contains("content-type: text/event-stream"), "{response}");
    let names: Vec<&str> =
        response.lines().filter_map(|line| line.strip_prefix("event: ")).collect();
    let count = |name: &str| names.iter().filter(|known| **known == name).count();
    assert_eq!(count("tool_end"), 2, "{response}");
    assert_eq!(count("message_stop"), 2, "{response}");
    assert_eq!(names.last(), Some(&"finished"), "{response}");
    assert!(response.contains("20°C and sunny in"), "{response}");
    assert!(response.contains("\"duration_ms\":"), "{response}");
    assert!(response.contains("\"outcome\":{\"type\":\"ended\",\"stop_reason\":\"end_turn\"}"));
}
