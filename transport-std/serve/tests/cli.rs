//! Tests each command of the command line as a process: its output and its exit code.
//!
//! The program under test is this one: with `TOOLRUNNER_TEST_PROGRAM` in its environment it is an
//! agent, otherwise it runs the checks. So it has its own `main` and ignores the arguments of
//! `cargo test`.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::process::{Child, Command, ExitCode, Output, Stdio};

use serde_json::{Value, json};
use toolrunner_serve::{Agent, Question, ask};
use toolrunner_std::{ToolContext, ToolError, tool};

const PROGRAM: &str = "TOOLRUNNER_TEST_PROGRAM";
const UNKNOWN: &str = "01890a5d-ac96-774b-bcce-b302099a8057";

type Check = fn(&Server);

/// Delete a note.
#[tool(requires_approval)]
fn delete_note(title: String) -> String {
    format!("Deleted {title}.")
}

/// Book a table.
#[tool]
fn book_table(context: &ToolContext<'_>, title: String) -> Result<String, ToolError> {
    let when = "When?";
    let answers = ask(context, &[Question::new(when).option("at noon").option("at eight")])?;
    Ok(format!("Booked {title} {}.", answers.get(when).unwrap_or_default()))
}

fn main() -> ExitCode {
    if std::env::var_os(PROGRAM).is_some() {
        return toolrunner_serve::main(Agent::from_env("model").tools((delete_note, book_table)));
    }
    let checks: [(&str, Check); 6] = [
        ("sessions_are_made_shown_listed_and_deleted", sessions),
        ("messages_are_sent_and_shown", messages),
        ("interrupts_are_answered", interrupts),
        ("chats_go_on_in_the_terminal", chats),
        ("exit_codes_tell_what_failed", exit_codes),
        ("tokens_come_from_a_file_or_the_environment", tokens),
    ];
    let folder = tempfile::tempdir().unwrap();
    let tokens = folder.path().join("tokens");
    std::fs::write(&tokens, "ann secret\n").unwrap();
    let open = Server::start(folder.path(), &["--store", "sqlite:open.db"]);
    let closed = Server::start(folder.path(), &["--store", "memory:", "--tokens", "tokens"]);
    for (name, check) in checks {
        check(if name.starts_with("tokens") { &closed } else { &open });
        println!("test {name} ... ok");
    }
    ExitCode::SUCCESS
}

/// Answers like the model's API: calls the tool that the text names, fails for `fail`, never
/// answers `hang`, and echoes any other text.
fn model() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            std::thread::spawn(move || answer(stream.unwrap()));
        }
    });
    url
}

fn answer(stream: TcpStream) {
    let mut reader = BufReader::new(&stream);
    let (mut length, mut line) = (0, String::new());
    while reader.read_line(&mut line).unwrap() > 2 {
        let (name, value) = line.split_once(':').unwrap_or_default();
        if name.eq_ignore_ascii_case("content-length") {
            length = value.trim().parse().unwrap();
        }
        line.clear();
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body).unwrap();
    let request: Value = serde_json::from_slice(&body).unwrap();
    let last = request["messages"].as_array().unwrap().last().unwrap()["content"].clone();
    let text = last.as_str().map_or_else(|| last.to_string(), str::to_owned);
    let (kind, rest) = text.split_once(' ').unwrap_or((&text, ""));
    let (block, delta, stop) = match kind {
        "hang" => return drop(reader.read_to_end(&mut body)),
        "fail" => {
            let told =
                r#"{"type":"error","error":{"type":"invalid_request_error","message":"no"}}"#;
            let head =
                "HTTP/1.1 400 Bad Request\r\ncontent-type: application/json\r\nconnection: close";
            write!(&stream, "{head}\r\n\r\n{told}").unwrap();
            return;
        }
        "delete_note" | "book_table" => (
            json!({"type": "tool_use", "id": format!("toolu_{rest}"), "name": kind, "input": {}}),
            json!({"type": "input_json_delta", "partial_json": json!({"title": rest}).to_string()}),
            "tool_use",
        ),
        _ => (
            json!({"type": "text", "text": ""}),
            json!({"type": "text_delta", "text": format!("echo: {text}")}),
            "end_turn",
        ),
    };
    let usage = json!({"input_tokens": 1, "output_tokens": 1});
    let message = json!({"id": "msg_1", "type": "message", "role": "assistant", "model": "model",
        "content": [], "stop_reason": null, "stop_sequence": null, "usage": usage});
    let events = [
        json!({"type": "message_start", "message": message}),
        json!({"type": "content_block_start", "index": 0, "content_block": block}),
        json!({"type": "content_block_delta", "index": 0, "delta": delta}),
        json!({"type": "content_block_stop", "index": 0}),
        json!({"type": "message_delta", "delta": {"stop_reason": stop, "stop_sequence": null}, "usage": usage}),
        json!({"type": "message_stop"}),
    ];
    let head = "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\nconnection: close\r\n\r\n";
    let told: String = events
        .iter()
        .map(|event| format!("event: {}\ndata: {event}\n\n", event["type"].as_str().unwrap()))
        .collect();
    // The server may have disconnected, for example after a cancel.
    let _ = write!(&stream, "{head}{told}");
}

fn program() -> Command {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.env(PROGRAM, "1").env_remove("TOOLRUNNER_TOKEN").env_remove("TOOLRUNNER_STORE");
    command
}

/// A server, which ends when this is dropped.
struct Server {
    process: Child,
    url: String,
    tokens: String,
}

impl Server {
    fn start(folder: &std::path::Path, options: &[&str]) -> Self {
        let mut process = program()
            .args(["start", "--port", "0"])
            .args(options)
            .env("ANTHROPIC_BASE_URL", model())
            .env("ANTHROPIC_API_KEY", "key")
            .current_dir(folder)
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(process.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let url = line.strip_prefix("Serving at ").unwrap().trim().to_owned();
        Self { process, url, tokens: folder.join("token").display().to_string() }
    }

    /// Runs `COMMAND URL …`.
    fn run(&self, command: &str, rest: &[&str]) -> Output {
        program().args([command, &self.url]).args(rest).output().unwrap()
    }

    /// Returns the output of a command, which must succeed.
    #[track_caller]
    fn text(&self, command: &str, rest: &[&str]) -> String {
        let output = self.run(command, rest);
        let error = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(0), "{command} {rest:?}: {error}");
        String::from_utf8(output.stdout).unwrap()
    }

    /// Returns the JSON output of a command, which must succeed: one line.
    #[track_caller]
    fn json(&self, command: &str, rest: &[&str]) -> Value {
        let text = self.text(command, &[rest, &["--json"]].concat());
        assert_eq!(text.lines().count(), 1, "{text}");
        serde_json::from_str(&text).unwrap()
    }

    #[track_caller]
    fn fails(&self, command: &str, rest: &[&str], code: i32, told: &str) {
        let output = self.run(command, rest);
        let error = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(code), "{command} {rest:?}: {error}");
        assert!(error.contains(told), "{command} {rest:?}: {error}");
    }

    fn session(&self) -> String {
        self.json("create", &[])["session_id"].as_str().unwrap().to_owned()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn sessions(server: &Server) {
    let made = server.json("create", &["--metadata", "team=a", "--metadata", "place=b=c"]);
    assert_eq!(made["metadata"], json!({"team": "a", "place": "b=c"}));
    let id = made["session_id"].as_str().unwrap();
    assert_eq!(server.json("get", &[id])["status"], "idle");
    // The output for people is indented and has no nulls.
    let shown = server.text("get", &[id]);
    assert!(shown.lines().count() > 3 && !shown.contains("null"), "{shown}");
    server.session();
    let listed = server.json("sessions", &["--metadata", "team=a", "--status", "idle"]);
    assert_eq!(listed.as_array().map(Vec::len), Some(1));
    assert_eq!(listed[0]["session_id"], id);
    assert_eq!(server.json("sessions", &["--status", "error"]), json!([]));
    assert_eq!(server.json("health", &[])["total_sessions"], 2);
    let health = server.text("health", &[]);
    assert_eq!(health, "Status: ok\nWorkers: 0/unlimited\nTotal sessions: 2\n");
    assert_eq!(server.text("delete", &[id]), format!("Deleted session {id}\n"));
    server.fails("get", &[id], 1, "Session not found");
}

fn messages(server: &Server) {
    let id = &server.session();
    let sent = server.json("send", &[id, "one", "--idempotency-key", "k"]);
    assert_eq!(sent, json!({"session_id": id, "status": "running"}));
    let ended = server.json("get", &[id, "--wait", "--timeout", "10"]);
    assert_eq!(ended["response"]["content"], "echo: one");
    server.json("send", &[id, "one", "--idempotency-key", "k"]);
    let ended = server.json("send", &[id, "two", "--wait"]);
    assert_eq!(ended["response"]["content"], "echo: two");
    let told = server.json("messages", &[id]);
    let texts: Vec<_> = told.as_array().unwrap().iter().map(|one| &one["content"]).collect();
    assert_eq!(texts, ["one", "echo: one", "two", "echo: two"]);
    let blocks = server.json("messages", &[id, "--anthropic"]);
    assert_eq!(blocks[0]["content"][0]["text"], "one");
    let events = server.text("events", &[id]);
    let seqs: Vec<u64> = events
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).unwrap()["seq"].as_u64().unwrap())
        .collect();
    assert_eq!(seqs, (1..=seqs.len() as u64).collect::<Vec<_>>());
    let after = server.text("events", &[id, "--after", "2"]);
    assert_eq!(after.lines().count(), seqs.len() - 2);
    let mut following = program()
        .args(["events", &server.url, id, "--after", "2", "--follow"])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(following.stdout.take().unwrap()).lines();
    let event = |line: &str| serde_json::from_str::<Value>(line).unwrap();
    for expected in after.lines() {
        assert_eq!(event(&lines.next().unwrap().unwrap()), event(expected));
    }
    server.json("send", &[id, "three"]);
    assert!(lines.next().unwrap().unwrap().contains("three"));
    following.kill().unwrap();
    following.wait().unwrap();
    server.json("get", &[id, "--wait"]);
    // The turn runs until it is cancelled.
    let running = server.json("send", &[id, "hang", "--wait", "--timeout", "0.1"]);
    assert_eq!(running["status"], "running");
    server.fails("send", &[id, "busy"], 1, "Session is running");
    assert_eq!(server.json("cancel", &[id])["session_id"], **id);
    assert_eq!(server.json("get", &[id, "--wait", "--timeout", "10"])["status"], "idle");
}

fn interrupts(server: &Server) {
    for (answer, told) in [
        (&["--approve"][..], "Deleted a."),
        (&["--reject", "--reason", "I need it"], "the user rejected this call: I need it"),
        (&[r#"{"approved": true}"#], "Deleted a."),
    ] {
        let id = &server.session();
        let asked = server.json("send", &[id, "delete_note a", "--wait"]);
        assert_eq!(asked["status"], "interrupted");
        let interrupt = asked["interrupts"][0]["interrupt_id"].as_str().unwrap();
        server.fails("resume", &[id, "other", "--approve"], 1, "Unknown interrupt_id");
        server.json("resume", &[&[id.as_str(), interrupt], answer].concat());
        let ended = server.json("get", &[id, "--wait"]);
        let text = ended["response"]["content"].as_str().unwrap();
        assert!(text.contains(told), "{text}");
    }
}

fn chats(server: &Server) {
    let id = &server.session();
    assert_eq!(server.text("chat", &["hello", "--session", id]), "echo: hello\n");
    let mut chat = program()
        .args(["chat", &server.url, "--session", id])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let typed = "again\n\ndelete_note a\ny\nbook_table b\n2\nfail\nquit\n";
    chat.stdin.take().unwrap().write_all(typed.as_bytes()).unwrap();
    let output = chat.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(0));
    let shown = String::from_utf8(output.stdout).unwrap();
    for told in [
        &format!("Session: {id}"),
        "> echo: again",
        r#"call   delete_note {"title":"a"}"#,
        "Approve? [y/N]",
        "result Deleted a.",
        "2. at eight",
        "result Booked b at eight.",
        "Bye!",
    ] {
        assert!(shown.contains(told), "{told:?} is missing in\n{shown}");
    }
}

fn exit_codes(server: &Server) {
    let id = &server.session();
    server.fails("send", &[id, "fail", "--wait"], 3, "invalid_request_error (400): no");
    server.fails("get", &[id, "--wait"], 3, "no");
    server.text("get", &[id]);
    server.fails("chat", &["fail"], 3, "no");
    server.fails("get", &[UNKNOWN], 1, "Session not found");
    server.fails("resume", &[id, "a", "{"], 1, "the answer is not JSON");
    server.fails("resume", &[id, "a"], 2, "required");
    server.fails("send", &[id], 2, "required");
    server.fails("create", &["--metadata", "x"], 2, "KEY=VALUE");
    server.fails("nonsense", &[], 2, "unrecognized subcommand");
    let gone = program().args(["health", "http://127.0.0.1:1"]).output().unwrap();
    assert_eq!(gone.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&gone.stderr).contains("Could not connect"));
    let keyless = program()
        .args(["start", "--port", "0", "--store", "memory:"])
        .env_remove("ANTHROPIC_API_KEY")
        .env_remove("ANTHROPIC_AUTH_TOKEN")
        .env_remove("ANTHROPIC_BASE_URL")
        .output()
        .unwrap();
    assert_eq!(keyless.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&keyless.stderr).contains("ANTHROPIC_API_KEY"));
}

fn tokens(server: &Server) {
    server.fails("sessions", &[], 1, "A valid bearer token is required");
    std::fs::write(&server.tokens, "secret\n").unwrap();
    assert_eq!(server.json("sessions", &["--token-file", &server.tokens]), json!([]));
    let output = program()
        .args(["create", &server.url, "--json"])
        .env("TOOLRUNNER_TOKEN", "secret")
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(0));
    server.fails("sessions", &["--token-file", "none"], 1, "none");
}
