//! The shell, the text editor and the agent toolset: the SDKs' texts, limits, and attacks.
#![cfg(all(unix, feature = "agent-toolset", feature = "text-editor"))]

mod call;

use core::time::Duration;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::time::Instant;

use call::{called, input};
use serde_json::json;
use tempfile::TempDir;
use toolrunner_core::__private::check_server_tools;
use toolrunner_core::testing::{Script, ScriptedModel, ScriptedReply};
use toolrunner_core::tool::Tools;
use toolrunner_std::builtin::{
    AgentTool, AgentToolset, BashTool, DirectoryEditor, EditorTool, Shell, ShellSettings,
};
use toolrunner_std::testing::ScriptedServer;

fn agent() -> (TempDir, AgentToolset) {
    let dir = tempfile::tempdir().unwrap();
    let tools = AgentToolset::open(dir.path()).unwrap();
    (dir, tools)
}

async fn with(tools: &impl Tools, name: &str, members: &[(&str, &str)]) -> Result<String, String> {
    called(tools, name, &input(members)).await
}

fn ok(text: &str) -> Result<String, String> {
    Ok(text.to_owned())
}

fn failed(text: &str) -> Result<String, String> {
    Err(text.to_owned())
}

/// Returns whether a process whose command line contains `mark` runs.
fn runs(mark: &str) -> bool {
    fs::read_dir("/proc").unwrap().filter_map(Result::ok).any(|process| {
        let line = fs::read(process.path().join("cmdline")).unwrap_or_default();
        let state = fs::read_to_string(process.path().join("stat")).unwrap_or_default();
        String::from_utf8_lossy(&line).contains(mark) && !state.contains(") Z ")
    })
}

async fn ends(mark: &str) -> bool {
    for _ in 0..100 {
        if !runs(mark) {
            return true;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    false
}

#[tokio::test]
async fn the_shell_keeps_its_state_and_a_syntax_error_does_not_break_it() {
    let dir = tempfile::tempdir().unwrap();
    let tool = BashTool::new(Shell::new(dir.path()));
    let bash = |command: &'static str| {
        let tool = &tool;
        async move { with(tool, "bash", &[("command", command)]).await }
    };
    assert_eq!(tool.definition(0).unwrap().json, r#"{"type":"bash_20250124","name":"bash"}"#);
    check_server_tools(&tool).unwrap();
    assert_eq!(bash("x=1; mkdir d; cd d").await, ok(""));
    assert_eq!(bash("echo $x; basename $PWD; echo error >&2").await, ok("1\nd\nerror"));
    assert_eq!(bash("echo out; false").await, failed("out"));
    assert_eq!(bash("(exit 7)").await, failed("exit code 7"));
    assert!(bash("echo 'open").await.unwrap_err().contains("unexpected EOF"));
    assert!(bash("if then }").await.unwrap_err().contains("syntax error"));
    assert_eq!(bash("echo it\\'s \"$x\" '''a'").await, ok("it's 1 a"));
    assert_eq!(bash("cat <<'E'\na\nE\necho b").await, ok("a\nb"));
    assert_eq!(bash("cat; read y; echo \"<$y>\"").await, ok("<>"));
    assert_eq!(bash("printf '\\033[31mred\\033[0m\\n\\n'").await, ok("red"));
    assert_eq!(bash("").await, failed("bash: command is required"));
    assert_eq!(
        called(&tool, "bash", r#"{"command":"a\u0000b"}"#).await,
        failed("bash: command must not contain NUL")
    );
    assert_eq!(called(&tool, "bash", r#"{"restart":true}"#).await, ok("bash session restarted"));
    assert_eq!(bash("echo [$x]").await, ok("[]"));
    assert_eq!(bash("echo bye; exit 3").await, failed("bye"));
    assert_eq!(bash("echo a").await, failed("bash: bash session terminated; restart required"));
    called(&tool, "bash", r#"{"restart":true}"#).await.unwrap();
    assert_eq!(bash("echo a").await, ok("a"));
}

#[tokio::test]
async fn the_environment_of_a_command_holds_nothing_of_this_process() {
    // Cargo sets variables for a test.
    assert!(std::env::var_os("CARGO_MANIFEST_DIR").is_some());
    let dir = tempfile::tempdir().unwrap();
    let mut settings = ShellSettings::new(dir.path());
    settings.environment.insert("EXTRA".to_owned(), "it's".to_owned());
    let tool = BashTool::new(Shell::with(settings));
    let names =
        with(&tool, "bash", &[("command", "compgen -e | sort | tr '\\n' ' '; echo $EXTRA")]).await;
    assert_eq!(names, ok("EXTRA HOME LANG PATH PWD SHLVL TERM it's"));
}

#[tokio::test]
async fn a_command_that_takes_too_long_is_killed_with_its_group() {
    let dir = tempfile::tempdir().unwrap();
    let mut settings = ShellSettings::new(dir.path());
    settings.time = Duration::from_millis(500);
    let tool = BashTool::new(Shell::with(settings));
    let begun = Instant::now();
    let text =
        with(&tool, "bash", &[("command", "sleep 98.7601 & (sleep 98.7602); echo done")]).await;
    assert_eq!(text, failed("bash: bash command timed out after 0.5s"));
    assert!(begun.elapsed() < Duration::from_secs(10));
    assert!(ends("98.760").await, "the group was not killed");
    let text = with(&tool, "bash", &[("command", "echo a")]).await;
    assert_eq!(text, failed("bash: bash session terminated; restart required"));
}

#[tokio::test]
async fn a_cancelled_run_kills_the_command() {
    let dir = tempfile::tempdir().unwrap();
    let script = Script::new().reply(ScriptedReply::new().tool_use(
        "t1",
        "bash",
        r#"{"command":"sleep 98.7701"}"#,
    ));
    let scripted = ScriptedServer::new(ScriptedModel::new(script));
    let mut run =
        scripted.client().run("m").tools(BashTool::new(Shell::new(dir.path()))).user("Go.");
    let cancellation = run.cancellation();
    tokio::spawn(async move {
        while !runs("98.7701") {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        cancellation.cancel();
    });
    let _ = run.until_done().await;
    assert!(ends("98.7701").await, "the command still runs");
}

#[tokio::test]
async fn the_end_of_a_long_output_is_shown_and_the_cut_is_noted() {
    let dir = tempfile::tempdir().unwrap();
    let mut settings = ShellSettings::new(dir.path());
    settings.output_bytes = 100;
    let tool = BashTool::new(Shell::with(settings));
    let text = with(&tool, "bash", &[("command", "seq 100000")]).await.unwrap();
    assert!(
        text.starts_with("[output truncated]\n") && text.ends_with("\n99999\n100000"),
        "{text}"
    );
    assert!(text.len() < 130, "{text}");
    // Dropping the tool ends the shell.
    let pid = with(&tool, "bash", &[("command", "echo $$")]).await.unwrap();
    drop(tool);
    let stat = || fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    for _ in 0..100 {
        if stat().is_empty() || stat().contains(") Z ") {
            return;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    panic!("the shell still runs: {}", stat());
}

#[tokio::test]
async fn the_agents_tools_have_the_names_and_texts_of_the_sdks() {
    let (dir, tools) = agent();
    let names: Vec<_> = (0..tools.count()).map(|i| tools.definition(i).unwrap().name).collect();
    assert_eq!(names, ["bash", "read", "write", "edit", "glob", "grep"]);
    check_server_tools(&tools).unwrap();
    let root = dir.path().canonicalize().unwrap();
    let root = root.to_str().unwrap();
    assert_eq!(
        with(&tools, "write", &[("file_path", "a/b.txt"), ("content", "one\ntwo\ntwo\n")]).await,
        ok("wrote 12 bytes to a/b.txt")
    );
    assert_eq!(with(&tools, "read", &[("file_path", "a/b.txt")]).await, ok("one\ntwo\ntwo\n"));
    let absolute = format!("{root}/a/../a/b.txt");
    assert_eq!(with(&tools, "read", &[("file_path", &absolute)]).await, ok("one\ntwo\ntwo\n"));
    let range = |range: &str| format!(r#"{{"file_path":"a/b.txt","view_range":{range}}}"#);
    assert_eq!(called(&tools, "read", &range("[2,0]")).await, ok("two\ntwo\n"));
    assert_eq!(called(&tools, "read", &range("[1,1]")).await, ok("one"));
    assert_eq!(
        called(&tools, "read", &range("[1]")).await,
        failed("read: view_range must be [start_line, end_line]")
    );
    let edit = |old: &str, all: bool| {
        json!({"file_path": "a/b.txt", "old_string": old, "new_string": "2", "replace_all": all})
            .to_string()
    };
    assert_eq!(
        called(&tools, "edit", &edit("four", false)).await,
        failed("edit: old_string not found in a/b.txt")
    );
    assert_eq!(
        called(&tools, "edit", &edit("two", false)).await,
        failed("edit: old_string appears 2 times in a/b.txt (must be unique)")
    );
    assert_eq!(
        called(&tools, "edit", &edit("", true)).await,
        failed("edit: old_string must not be empty")
    );
    assert_eq!(
        called(&tools, "edit", &edit("two", true)).await,
        ok("edited a/b.txt (2 replacement(s))")
    );
    assert_eq!(
        with(&tools, "grep", &[("pattern", "^[0-9]$")]).await,
        ok(&format!("{root}/a/b.txt:2:2\n{root}/a/b.txt:3:2"))
    );
    assert_eq!(
        with(&tools, "grep", &[("pattern", "one"), ("path", "a/b.txt")]).await,
        ok(&format!("{root}/a/b.txt:1:one"))
    );
    assert_eq!(with(&tools, "grep", &[("pattern", "absent")]).await, ok("no matches"));
    assert!(
        with(&tools, "grep", &[("pattern", "(")])
            .await
            .unwrap_err()
            .starts_with("grep: invalid regex: ")
    );
    fs::write(dir.path().join("c.txt"), "").unwrap();
    let old = std::time::SystemTime::now() - Duration::from_secs(60);
    fs::File::open(dir.path().join("a/b.txt")).unwrap().set_modified(old).unwrap();
    assert_eq!(
        with(&tools, "glob", &[("pattern", "**/*.txt")]).await,
        ok(&format!("{root}/c.txt\n{root}/a/b.txt"))
    );
    assert_eq!(
        with(&tools, "glob", &[("pattern", "*.txt"), ("path", "a")]).await,
        ok(&format!("{root}/a/b.txt"))
    );
    assert_eq!(with(&tools, "glob", &[("pattern", "*.rs")]).await, ok("no matches"));
    assert_eq!(
        with(&tools, "glob", &[("pattern", "/etc/*")]).await,
        failed(
            "glob: absolute pattern not permitted; pass a relative pattern (and optionally path)"
        )
    );
    assert_eq!(
        with(&tools, "glob", &[("pattern", "../*")]).await,
        failed("glob: '..' is not permitted in the pattern")
    );
    assert_eq!(
        with(&tools, "read", &[("file_path", "none")]).await,
        failed("read: none: no such file or directory")
    );
    assert_eq!(
        with(&tools, "read", &[("file_path", "a")]).await,
        failed("read: a: not a regular file")
    );
    assert_eq!(with(&tools, "bash", &[("command", "cat a/b.txt")]).await, ok("one\n2\n2"));
    assert_eq!(
        called(&tools, "bash", r#"{"command":"sleep 5","timeout_ms":200}"#).await,
        failed("bash: bash command timed out after 0.2s")
    );
    let fewer =
        AgentToolset::open(dir.path()).unwrap().without(AgentTool::Bash).without(AgentTool::Write);
    assert_eq!(fewer.count(), 4);
    assert_eq!(with(&fewer, "read", &[("file_path", "a/b.txt")]).await, ok("one\n2\n2\n"));
}

#[tokio::test]
async fn a_call_sees_the_effects_of_the_calls_before_it_in_the_turn() {
    let (_dir, tools) = agent();
    let file = r#"{"file_path":"d/a.txt"}"#;
    let script = Script::new()
        .reply(
            ScriptedReply::new()
                .tool_use("t1", "bash", r#"{"command":"sleep 0.3; mkdir d"}"#)
                .tool_use("t2", "write", r#"{"file_path":"d/a.txt","content":"one\n"}"#)
                .tool_use("t3", "read", file)
                .tool_use("t4", "glob", r#"{"pattern":"**/*.txt"}"#)
                .tool_use("t5", "grep", r#"{"pattern":"one"}"#)
                .tool_use(
                    "t6",
                    "edit",
                    r#"{"file_path":"d/a.txt","old_string":"one","new_string":"two"}"#,
                )
                .tool_use("t7", "read", file),
        )
        .reply(ScriptedReply::text("ok"));
    let scripted = ScriptedServer::new(ScriptedModel::new(script));
    let mut run = scripted.client().run("m").tools(tools).user("Go.");
    run.until_done().await.unwrap();
    let requests = scripted.requests();
    let results: Vec<_> = requests[1]
        .messages()
        .last()
        .unwrap()
        .tool_results()
        .map(|result| {
            let content = result.value().member("content").unwrap().as_json().to_owned();
            (
                content.contains("one"),
                content.contains("two"),
                content.contains("a.txt"),
                result.is_error(),
            )
        })
        .collect();
    assert!(results.iter().all(|(.., is_error)| !is_error), "{}", requests[1]);
    assert!(results[2].0 && results[3].2 && results[4].0 && results[6].1, "{}", requests[1]);
}

#[tokio::test]
async fn images_and_pdfs_become_blocks_and_sizes_are_limited() {
    let (dir, tools) = agent();
    let tools = tools.max_file_bytes(20);
    fs::write(dir.path().join("a.PNG"), b"png").unwrap();
    fs::write(dir.path().join("a.pdf"), b"pdf").unwrap();
    fs::write(dir.path().join("bin"), b"\xff\0").unwrap();
    fs::write(dir.path().join("long"), "0123456789\n".repeat(10)).unwrap();
    assert_eq!(
        with(&tools, "read", &[("file_path", "a.PNG")]).await,
        ok(
            r#"[{"type":"image","source":{"type":"base64","media_type":"image/png","data":"cG5n"}}]"#
        )
    );
    assert_eq!(
        with(&tools, "read", &[("file_path", "a.pdf")]).await,
        ok(
            r#"[{"type":"document","source":{"type":"base64","media_type":"application/pdf","data":"cGRm"}}]"#
        )
    );
    assert_eq!(
        with(&tools, "read", &[("file_path", "bin")]).await,
        failed(
            "read: bin: not valid UTF-8 text (binary files are only supported for image/PDF extensions)"
        )
    );
    assert_eq!(
        with(&tools, "read", &[("file_path", "long")]).await,
        failed(
            "read: long is 110 bytes, exceeds 20-byte limit. Use the view_range parameter to read specific line ranges, e.g. view_range: [1, 500]."
        )
    );
    let range = |range: &str| format!(r#"{{"file_path":"long","view_range":{range}}}"#);
    assert_eq!(called(&tools, "read", &range("[10,10]")).await, ok("0123456789"));
    assert_eq!(called(&tools, "read", &range("[10,0]")).await, ok("0123456789\n"));
    assert!(
        called(&tools, "read", &range("[1,2]"))
            .await
            .unwrap_err()
            .contains("exceeds 20-byte limit. Narrow")
    );
    let edit =
        with(&tools, "edit", &[("file_path", "long"), ("old_string", "a"), ("new_string", "b")])
            .await;
    assert!(edit.unwrap_err().contains("The edit tool loads the whole file"));
    let image = fs::File::create(dir.path().join("big.png")).unwrap();
    image.set_len(4 << 20).unwrap();
    assert!(
        with(&tools, "read", &[("file_path", "big.png")])
            .await
            .unwrap_err()
            .contains("3932160-byte limit")
    );
    // A search leaves out binary files, and shows the beginning of long lines.
    fs::write(dir.path().join("line"), "needle".repeat(1000)).unwrap();
    fs::write(dir.path().join("zero"), "needle\0").unwrap();
    let text = with(&tools, "grep", &[("pattern", "needle")]).await.unwrap();
    assert!(text.ends_with(" [line truncated]") && text.lines().count() == 1, "{text}");
    fs::write(dir.path().join("many"), "needle\n".repeat(20_000)).unwrap();
    let text = with(&tools, "grep", &[("pattern", "needle")]).await.unwrap();
    assert!(text.ends_with("\n[output truncated at 102400 bytes]") && text.len() < 103_000);
    for i in 0..210 {
        fs::write(dir.path().join(format!("{i}.x")), "").unwrap();
    }
    let text = with(&tools, "glob", &[("pattern", "*.x")]).await.unwrap();
    assert!(
        text.lines().count() == 201 && text.ends_with("\n[10 older matches are not shown]"),
        "{text}"
    );
}

#[tokio::test]
async fn a_search_that_sees_too_much_says_that_it_ended_early() {
    let (dir, tools) = agent();
    let editor = EditorTool::new(DirectoryEditor::open(dir.path()).unwrap());
    for i in 0..50_000 {
        fs::File::create(dir.path().join(i.to_string())).unwrap();
    }
    let glob = || with(&tools, "glob", &[("pattern", "*.rs")]);
    assert_eq!(glob().await, ok("no matches"));
    let view = [("command", "view"), ("path", ".")];
    let text = with(&editor, "str_replace_based_edit_tool", &view).await.unwrap();
    assert!(text.contains("\n[more than 10000 entries; the rest is not shown]"));
    fs::File::create(dir.path().join("one more")).unwrap();
    let note = "no matches\n[the search ended after 50000 entries]";
    assert_eq!(glob().await, ok(note));
    assert_eq!(with(&tools, "grep", &[("pattern", "x")]).await, ok(note));
}

#[tokio::test]
async fn file_tools_stay_in_their_directory() {
    let (dir, tools) = agent();
    let editor = EditorTool::new(DirectoryEditor::open(dir.path()).unwrap());
    let outside = tempfile::tempdir().unwrap();
    let secret = outside.path().join("secret");
    fs::write(&secret, "secret").unwrap();
    fs::create_dir(dir.path().join("sub")).unwrap();
    fs::write(dir.path().join("sub/mine"), "mine").unwrap();
    symlink(outside.path(), dir.path().join("dir")).unwrap();
    symlink(&secret, dir.path().join("file")).unwrap();
    symlink(outside.path().join("new"), dir.path().join("dangling")).unwrap();
    symlink("../../../..", dir.path().join("up")).unwrap();
    symlink("loop", dir.path().join("loop")).unwrap();
    symlink("sub/mine", dir.path().join("inside")).unwrap();
    symlink("sub", dir.path().join("alias")).unwrap();
    let name = outside.path().file_name().unwrap().to_str().unwrap();
    let paths = [
        secret.to_str().unwrap().to_owned(),
        format!("../{name}/secret"),
        format!("sub/../../{name}/secret"),
        "dir/secret".to_owned(),
        "file".to_owned(),
        "dangling".to_owned(),
        "up/etc/passwd".to_owned(),
        "loop".to_owned(),
        "/etc/passwd".to_owned(),
        "/proc/self/environ".to_owned(),
        "a\0b".to_owned(),
        "x".repeat(300),
    ];
    for path in &paths {
        let name = "str_replace_based_edit_tool";
        for outcome in [
            with(&tools, "read", &[("file_path", path)]).await,
            with(&tools, "write", &[("file_path", path), ("content", "attack")]).await,
            with(
                &tools,
                "edit",
                &[("file_path", path), ("old_string", "secret"), ("new_string", "attack")],
            )
            .await,
            with(&tools, "grep", &[("pattern", "."), ("path", path)]).await,
            with(&editor, name, &[("command", "view"), ("path", path)]).await,
            with(&editor, name, &[("command", "create"), ("path", path), ("file_text", "attack")])
                .await,
            with(
                &editor,
                name,
                &[
                    ("command", "str_replace"),
                    ("path", path),
                    ("old_str", "secret"),
                    ("new_str", "attack"),
                ],
            )
            .await,
        ] {
            let text = outcome.expect_err(path);
            assert!(!text.contains("secret\n"), "{text}");
        }
    }
    // A long path is not repeated in the text.
    let long = "x".repeat(4097);
    let too_long = "the path is too long: 4097 bytes, at most 4096 are allowed";
    for name in ["read", "write", "edit"] {
        let members =
            [("file_path", &*long), ("content", ""), ("old_string", "a"), ("new_string", "b")];
        let members: Vec<_> = match name {
            "write" => members[..2].to_vec(),
            "edit" => [&members[..1], &members[2..]].concat(),
            _ => members[..1].to_vec(),
        };
        assert_eq!(with(&tools, name, &members).await, Err(format!("{name}: {too_long}")));
    }
    for name in ["glob", "grep"] {
        let outcome = with(&tools, name, &[("pattern", "x"), ("path", &long)]).await;
        assert_eq!(outcome, Err(format!("{name}: {too_long}")));
    }
    let view = [("command", "view"), ("path", &*long)];
    let view = with(&editor, "str_replace_based_edit_tool", &view);
    assert_eq!(view.await, Err(format!("Error: {too_long}")));
    assert_eq!(
        with(&tools, "read", &[("file_path", "dir/secret")]).await,
        failed("read: path 'dir/secret' is outside the session's working directory")
    );
    assert_eq!(with(&tools, "grep", &[("pattern", "secret")]).await, ok("no matches"));
    assert_eq!(with(&tools, "glob", &[("pattern", "**/secret")]).await, ok("no matches"));
    assert_eq!(
        with(&tools, "glob", &[("pattern", "*"), ("path", "dir")]).await,
        failed("glob: path 'dir' is outside the session's working directory")
    );
    assert_eq!(fs::read_to_string(&secret).unwrap(), "secret");
    assert_eq!(fs::read_dir(outside.path()).unwrap().count(), 1);
    // Links that stay inside work, and writing through one keeps the link.
    assert_eq!(with(&tools, "read", &[("file_path", "inside")]).await, ok("mine"));
    with(&tools, "write", &[("file_path", "inside"), ("content", "new")]).await.unwrap();
    with(&tools, "write", &[("file_path", "alias/more"), ("content", "more")]).await.unwrap();
    assert!(fs::symlink_metadata(dir.path().join("inside")).unwrap().is_symlink());
    assert_eq!(fs::read_to_string(dir.path().join("sub/mine")).unwrap(), "new");
    assert_eq!(fs::read_to_string(dir.path().join("sub/more")).unwrap(), "more");
}

#[tokio::test]
async fn a_file_keeps_its_permissions_and_pipes_do_not_block() {
    use std::os::unix::fs::PermissionsExt;
    let (dir, tools) = agent();
    let path = dir.path().join("run.sh");
    fs::write(&path, "old").unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
    with(&tools, "write", &[("file_path", "run.sh"), ("content", "new")]).await.unwrap();
    assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o755);
    let pipe = dir.path().join("pipe");
    assert!(std::process::Command::new("mkfifo").arg(&pipe).status().unwrap().success());
    assert_eq!(
        with(&tools, "read", &[("file_path", "pipe")]).await,
        failed("read: pipe: not a regular file")
    );
    assert_eq!(
        with(&tools, "grep", &[("pattern", "new")]).await,
        ok(&format!("{}:1:new", path.canonicalize().unwrap().display()))
    );
    assert!(with(&tools, "write", &[("file_path", "pipe"), ("content", "x")]).await.is_err());
    assert!(!Path::new(&dir.path().join(".tmp")).exists());
}

#[tokio::test]
async fn the_editor_edits_and_limits_what_it_shows() {
    let dir = tempfile::tempdir().unwrap();
    let tool = EditorTool::new(DirectoryEditor::open(dir.path()).unwrap());
    assert_eq!(
        tool.definition(0).unwrap().json,
        r#"{"type":"text_editor_20250728","name":"str_replace_based_edit_tool"}"#
    );
    check_server_tools(&tool).unwrap();
    let name = "str_replace_based_edit_tool";
    let file = ("path", "src/a.txt");
    assert_eq!(
        with(&tool, name, &[("command", "create"), file, ("file_text", "one\ntwo\nthree\n")]).await,
        ok("File created successfully at: src/a.txt")
    );
    assert_eq!(
        with(
            &tool,
            name,
            &[("command", "str_replace"), file, ("old_str", "two"), ("new_str", "2\n2")]
        )
        .await,
        ok(
            "The file src/a.txt has been edited. Here's a snippet with line numbers:\n     1\tone\n     2\t2\n     3\t2\n     4\tthree\n     5\t"
        )
    );
    let insert = |key: &str, line: i64| {
        json!({"command": "insert", "path": "src/a.txt", "insert_line": line, key: "x"}).to_string()
    };
    assert!(
        called(&tool, name, &insert("insert_text", 0))
            .await
            .unwrap()
            .contains("     1\tx\n     2\tone")
    );
    assert!(called(&tool, name, &insert("new_str", 5)).await.is_ok());
    assert_eq!(
        called(&tool, name, &insert("insert_text", 9)).await,
        failed("Invalid `insert_line` parameter: 9. It should be within the range [0, 6].")
    );
    assert_eq!(
        fs::read_to_string(dir.path().join("src/a.txt")).unwrap(),
        "x\none\n2\n2\nthree\nx\n"
    );
    assert!(
        with(&tool, name, &[("command", "str_replace"), file, ("old_str", "2"), ("new_str", "")])
            .await
            .unwrap_err()
            .contains("in lines: 3, 4.")
    );
    assert!(
        with(&tool, name, &[("command", "undo_edit"), file]).await.unwrap_err().contains("command")
    );
    assert_eq!(
        with(&tool, name, &[("command", "view"), ("path", ".")]).await,
        ok(
            "Here're the files and directories up to 2 levels deep in ., excluding hidden items:\nsrc/\nsrc/a.txt"
        )
    );
    assert_eq!(
        with(&tool, name, &[("command", "view"), ("path", "b")]).await,
        failed("Error: The path b does not exist. Please provide a valid path.")
    );
    let short = EditorTool::new(DirectoryEditor::open(dir.path()).unwrap()).max_characters(20);
    assert!(short.definition(0).unwrap().json.ends_with(r#""max_characters":20}"#));
    let text = with(&short, name, &[("command", "view"), file]).await.unwrap();
    assert!(text.starts_with("Here's the content o\n[truncated at 20 of "), "{text}");
}
