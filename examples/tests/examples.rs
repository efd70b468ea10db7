//! Every example runs offline and prints the contents of the file beside it. `BLESS=1` rewrites
//! those files.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use toolrunner_core::testing::ScriptedModel;
use toolrunner_examples::loopback;

/// Runs a program without a key and without a network to find, with this for its standard input.
fn run(program: &str, arguments: &[&str], input: &str) -> Output {
    let mut command = Command::new(program);
    command.args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    for name in ["ANTHROPIC_API_KEY", "ANTHROPIC_AUTH_TOKEN", "ANTHROPIC_BASE_URL", "ANTHROPIC_LOG"]
    {
        command.env_remove(name);
    }
    let mut child = command.spawn().unwrap();
    child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
    child.wait_with_output().unwrap()
}

fn stdout_of(program: &str, arguments: &[&str], input: &str) -> String {
    let output = run(program, arguments, input);
    let (out, err) =
        (String::from_utf8(output.stdout).unwrap(), String::from_utf8(output.stderr).unwrap());
    assert!(output.status.success(), "{out}\n{err}");
    assert_eq!(err, "");
    out
}

/// Compares with the file beside the example.
fn check(name: &str, got: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/bin").join(name);
    if std::env::var_os("BLESS").is_some() {
        fs::write(&path, got).unwrap();
    }
    assert_eq!(got, fs::read_to_string(&path).unwrap(), "{name}");
}

fn fresh_file(name: &str) -> PathBuf {
    let path = std::env::temp_dir().join(format!("toolrunner-{name}-{}.json", std::process::id()));
    let _ = fs::remove_file(&path);
    path
}

#[test]
fn quickstart() {
    let program = env!("CARGO_BIN_EXE_quickstart");
    check("quickstart.txt", &stdout_of(program, &[], ""));
    let whole =
        stdout_of(program, &["--json", "--model", "claude-haiku-4-5", "What", "is", "2 + 2?"], "");
    assert!(whole.contains("  result calculate_sum 4\n\nModel: 2 + 2 = 4.\n"), "{whole}");
    assert!(stdout_of(program, &["--help"], "").contains("Usage: quickstart"));
}

#[test]
fn quickstart_asks_the_server_of_the_environment_and_says_what_is_wrong() {
    let program = env!("CARGO_BIN_EXE_quickstart");
    let output = run(program, &["--bogus"], "");
    assert_eq!(output.status.code(), Some(1));
    assert!(
        String::from_utf8(output.stderr).unwrap().starts_with("error: invalid option '--bogus'\n")
    );

    let url = loopback::serve(ScriptedModel::demo().require_key("right")).unwrap();
    let ask = |key: &str| {
        let mut command = Command::new(program);
        command
            .env("ANTHROPIC_API_KEY", key)
            .env("ANTHROPIC_BASE_URL", &url)
            .env("NO_PROXY", "127.0.0.1")
            .arg("15 + 27");
        command.output().unwrap()
    };
    let right = ask("right");
    let out = String::from_utf8(right.stdout).unwrap();
    assert!(
        right.status.success()
            && out.starts_with("You: 15 + 27\n")
            && out.contains("Model: 15 + 27 = 42.\n"),
        "{out}"
    );
    let wrong = ask("wrong");
    assert_eq!(wrong.status.code(), Some(1));
    let error =
        "error: API error: authentication_error (status 401): invalid x-api-key [request id ";
    assert!(String::from_utf8(wrong.stderr).unwrap().starts_with(error));

    let output = Command::new(program)
        .env("ANTHROPIC_API_KEY", "k")
        .env("ANTHROPIC_BASE_URL", "example.org")
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert_eq!(
        String::from_utf8(output.stderr).unwrap(),
        "error: the base URL must begin with http:// or https://\n"
    );
}

#[cfg(feature = "memory-agent")]
#[test]
fn memory_agent() {
    let program = env!("CARGO_BIN_EXE_memory_agent");
    check("memory_agent.txt", &stdout_of(program, &[], ""));
}

#[test]
fn chat() {
    let lines = "What's the weather in Oslo?\ny\nAnd 15 + 27, and the weather in Rome?\nn\ny\n\n";
    check("chat.txt", &stdout_of(env!("CARGO_BIN_EXE_chat"), &[], lines));
}

#[test]
fn batch_goes_on_where_it_was_stopped() {
    let program = env!("CARGO_BIN_EXE_batch");
    let file = fresh_file("batch");
    let path = file.to_str().unwrap();
    let mut all = String::new();
    for _ in 0..4 {
        all += &stdout_of(program, &[path, "1"], "");
    }
    all += &stdout_of(program, &[path], "");
    fs::remove_file(&file).unwrap();
    check("batch.txt", &all);
}

#[cfg(feature = "types")]
#[test]
fn research_agent() {
    let program = env!("CARGO_BIN_EXE_research_agent");
    let guest = stdout_of(program, &[], "");
    assert!(
        guest.contains("  failed delete_notes: Error: Tool 'delete_notes' not found\n"),
        "{guest}"
    );
    check("research_agent.txt", &guest);
    let admin = stdout_of(program, &["--admin"], "");
    assert!(admin.contains("  result delete_notes: (no output)\n"), "{admin}");
}

#[test]
fn the_others() {
    for (name, program) in [
        ("by_hand.txt", env!("CARGO_BIN_EXE_by_hand")),
        ("embedded_on_host.txt", env!("CARGO_BIN_EXE_embedded_on_host")),
        ("offline_test.txt", env!("CARGO_BIN_EXE_offline_test")),
        ("own_transport.txt", env!("CARGO_BIN_EXE_own_transport")),
        ("smol.txt", env!("CARGO_BIN_EXE_smol")),
    ] {
        check(name, &stdout_of(program, &[], ""));
    }
}
