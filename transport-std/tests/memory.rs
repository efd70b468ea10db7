//! The memory tool: the SDKs' texts, and attacks on the directory's walls.
#![cfg(feature = "memory")]

mod call;

use core::sync::atomic::{AtomicBool, Ordering};
use std::fs;
use std::path::Path;
use std::sync::Arc;

use call::{called, input};
use tempfile::TempDir;
use toolrunner_core::testing::{Request, Script, ScriptedModel, ScriptedReply};
use toolrunner_std::builtin::{DirectoryMemory, MemoryPath, MemoryTool};
use toolrunner_std::testing::ScriptedServer;

type Tool = MemoryTool<DirectoryMemory>;

fn memory() -> (TempDir, Tool) {
    let dir = tempfile::tempdir().unwrap();
    let tool = MemoryTool::new(DirectoryMemory::open(dir.path()).unwrap());
    (dir, tool)
}

async fn create(tool: &Tool, path: &str, text: &str) -> Result<String, String> {
    called(tool, "memory", &input(&[("command", "create"), ("path", path), ("file_text", text)]))
        .await
}

async fn view(tool: &Tool, path: &str) -> Result<String, String> {
    called(tool, "memory", &input(&[("command", "view"), ("path", path)])).await
}

async fn replace(tool: &Tool, path: &str, old: &str, new: &str) -> Result<String, String> {
    let arguments =
        [("command", "str_replace"), ("path", path), ("old_str", old), ("new_str", new)];
    called(tool, "memory", &input(&arguments)).await
}

async fn insert(tool: &Tool, path: &str, line: i64, text: &str) -> Result<String, String> {
    let json = serde_json::json!({"command": "insert", "path": path, "insert_line": line, "insert_text": text});
    called(tool, "memory", &json.to_string()).await
}

async fn delete(tool: &Tool, path: &str) -> Result<String, String> {
    called(tool, "memory", &input(&[("command", "delete"), ("path", path)])).await
}

async fn rename(tool: &Tool, old: &str, new: &str) -> Result<String, String> {
    called(tool, "memory", &input(&[("command", "rename"), ("old_path", old), ("new_path", new)]))
        .await
}

fn ok(text: &str) -> Result<String, String> {
    Ok(text.to_owned())
}

fn refused(text: &str) -> Result<String, String> {
    Err(text.to_owned())
}

#[tokio::test]
async fn a_run_sends_the_definition_without_a_schema_and_runs_the_calls_here() {
    let (dir, tool) = memory();
    let create = r#"{"command":"create","path":"/memories/a.md","file_text":"coffee\n"}"#;
    let script = Script::new()
        .reply(ScriptedReply::new().tool_use("t1", "memory", create))
        .reply(ScriptedReply::text("Noted."));
    let scripted = ScriptedServer::new(ScriptedModel::new(script));
    let mut run = scripted.client().run("m").tools(tool).user("I like coffee.");
    assert_eq!(run.until_done().await.unwrap().text(), "Noted.");
    assert_eq!(fs::read_to_string(dir.path().join("memories/a.md")).unwrap(), "coffee\n");
    let [first, second] = &*scripted.requests() else { panic!() };
    let body = |request: &Request| String::from_utf8(request.body.clone()).unwrap();
    let (first, second) = (body(first), body(second));
    assert!(first.contains(r#""tools":[{"type":"memory_20250818","name":"memory"}]"#), "{first}");
    assert!(second.contains("File created successfully at: /memories/a.md"), "{second}");
}

#[tokio::test]
async fn the_texts_are_those_of_the_sdks() {
    let (_dir, tool) = memory();
    let file = "/memories/notes.md";
    assert_eq!(
        create(&tool, file, "one\ntwo\nthree\n").await,
        ok("File created successfully at: /memories/notes.md")
    );
    assert_eq!(create(&tool, file, "x").await, refused("File /memories/notes.md already exists"));
    assert_eq!(
        view(&tool, file).await,
        ok(
            "Here's the content of /memories/notes.md with line numbers:\n     1\tone\n     2\ttwo\n     3\tthree\n     4\t"
        )
    );
    let part = r#"{"command":"view","path":"/memories/notes.md","view_range":[2,3]}"#;
    assert_eq!(
        called(&tool, "memory", part).await,
        ok(
            "Here's the content of /memories/notes.md with line numbers:\n     2\ttwo\n     3\tthree"
        )
    );
    assert_eq!(
        replace(&tool, file, "two", "2").await,
        ok(
            "The memory file has been edited. Here is the snippet showing the change (with line numbers):\n     1\tone\n     2\t2\n     3\tthree\n     4\t"
        )
    );
    assert_eq!(
        replace(&tool, file, "four", "4").await,
        refused(
            "No replacement was performed, old_str `four` did not appear verbatim in /memories/notes.md."
        )
    );
    assert_eq!(
        replace(&tool, file, "e", "E").await,
        refused(
            "No replacement was performed. Multiple occurrences of old_str `e` in lines: 1, 3, 3. Please ensure it is unique"
        )
    );
    assert_eq!(
        insert(&tool, file, 0, "zero\n").await,
        ok("The file /memories/notes.md has been edited.")
    );
    assert_eq!(
        insert(&tool, file, 5, "six").await,
        refused("Invalid `insert_line` parameter: 5. It should be within the range [0, 4].")
    );
    assert_eq!(
        insert(&tool, file, 4, "four").await,
        ok("The file /memories/notes.md has been edited.")
    );
    assert_eq!(
        view(&tool, file).await,
        ok(
            "Here's the content of /memories/notes.md with line numbers:\n     1\tzero\n     2\tone\n     3\t2\n     4\tthree\n     5\tfour\n     6\t"
        )
    );
    assert_eq!(
        rename(&tool, file, "/memories/deep/er/n.md").await,
        ok("Successfully renamed /memories/notes.md to /memories/deep/er/n.md")
    );
    assert_eq!(
        rename(&tool, file, "/memories/x").await,
        refused("The path /memories/notes.md does not exist")
    );
    create(&tool, "/memories/b", "").await.unwrap();
    assert_eq!(
        rename(&tool, "/memories/b", "/memories/deep/er/n.md").await,
        refused("The destination /memories/deep/er/n.md already exists")
    );
    create(&tool, "/memories/.hidden", "").await.unwrap();
    create(&tool, "/memories/big", &"x".repeat(1536)).await.unwrap();
    let listed = view(&tool, "/memories").await.unwrap();
    let lines: Vec<_> = listed.lines().map(|line| line.split('\t').next_back().unwrap()).collect();
    assert_eq!(
        lines,
        [
            "Here're the files and directories up to 2 levels deep in /memories, excluding hidden items:",
            "/memories",
            "/memories/b",
            "/memories/big",
            "/memories/deep/",
            "/memories/deep/er/"
        ]
    );
    assert!(listed.contains("\n0B\t/memories/b\n1.5K\t/memories/big\n"), "{listed}");
    assert_eq!(delete(&tool, "/memories/deep").await, ok("Successfully deleted /memories/deep"));
    assert_eq!(
        delete(&tool, "/memories/deep").await,
        refused("The path /memories/deep does not exist")
    );
    assert_eq!(
        delete(&tool, "/memories/").await,
        refused("Cannot delete the /memories directory itself")
    );
    assert_eq!(
        rename(&tool, "/memories", "/memories/a").await,
        refused("Cannot rename the /memories directory itself")
    );
    assert_eq!(
        view(&tool, "/memories/none").await,
        refused("The path /memories/none does not exist. Please provide a valid path.")
    );
}

#[tokio::test]
async fn invalid_arguments_are_named() {
    let (_dir, tool) = memory();
    for (json, part) in [
        (r#"{"command":"undo"}"#, "command"),
        (r#"{"path":"/memories"}"#, "command"),
        (r#"{"command":"create","path":"/memories/a"}"#, "file_text"),
        (r#"{"command":"str_replace","path":"/memories/a","old_str":"","new_str":"b"}"#, "old_str"),
        (r#"{"command":"view","path":"/memories/a","view_range":[1]}"#, "view_range"),
        (r#"{"command":"view","path":5}"#, "path"),
    ] {
        let text = called(&tool, "memory", json).await.unwrap_err();
        assert!(text.contains(part), "{json}: {text}");
    }
}

const OUTSIDE: &[&str] = &[
    "/etc/passwd",
    "memories/a",
    "/memoriesx/a",
    "/memories/../../etc/passwd",
    "/memories/..",
    "/memories/a/../../b",
    "/memories/./../secret",
    "/memories//../secret",
    "/memories/%2e%2e/secret",
    "/memories/%2E%2e%2fsecret",
    "/memories/%252e%252e/secret",
    "/memories/%25252e%25252e/secret",
    "/memories/a%2f..%2f..%2fsecret",
    "/memories/..%c0%af",
    "/memories/%5c",
    "/memories/%00",
    "/memories/\u{ff0e}\u{ff0e}/secret",
    "/memories/\u{2025}/secret",
    "/memories/\u{2024}\u{2024}/secret",
    "/memories/\u{ff05}2e\u{ff05}2e/secret",
    "/memories/a\u{ff0f}b",
    "/memories/..\\secret",
    "/memories/a\\b",
    "/memories/a\0b",
    "/memories/a\nb",
    "\0/memories",
    "C:\\memories",
    "//memories/a",
    "~/memories",
    "file:///memories/a",
    "",
];

#[tokio::test]
async fn no_path_leaves_the_directory() {
    let (dir, tool) = memory();
    fs::write(dir.path().join("secret"), "secret").unwrap();
    create(&tool, "/memories/mine", "mine").await.unwrap();
    for path in OUTSIDE {
        assert!(MemoryPath::new(path).is_err() || *path == "/memories/..%c0%af", "{path:?}");
        for outcome in [
            view(&tool, path).await,
            create(&tool, path, "attack").await,
            replace(&tool, path, "secret", "attack").await,
            insert(&tool, path, 0, "attack").await,
            delete(&tool, path).await,
            rename(&tool, path, "/memories/stolen").await,
            rename(&tool, "/memories/mine", path).await,
        ] {
            if *path == "/memories/..%c0%af" {
                // An overlong encoding of a slash decodes to no slash: an odd name, and nothing
                // else.
                continue;
            }
            let text = outcome.expect_err(path);
            assert!(!text.contains('\0') && !text.contains(dir.path().to_str().unwrap()), "{text}");
        }
    }
    assert_eq!(fs::read_to_string(dir.path().join("secret")).unwrap(), "secret");
    let names: Vec<_> = fs::read_dir(dir.path()).unwrap().map(|e| e.unwrap().file_name()).collect();
    assert_eq!(names.len(), 2, "{names:?}");
}

#[tokio::test]
async fn paths_inside_are_normalized_and_odd_names_are_only_names() {
    let (dir, tool) = memory();
    for path in [
        "/memories/a/../b",
        "/memories//c/./d/",
        "/memories/100%",
        "/memories/a%20b",
        "/memories/é…ü",
        "/memories/...",
        "/memories/-rf",
        "/memories/$(x)",
    ] {
        create(&tool, path, path).await.unwrap();
        assert!(view(&tool, path).await.unwrap().ends_with(path));
    }
    let root = dir.path().join("memories");
    assert!(root.join("b").is_file() && root.join("c/d").is_file() && root.join("a%20b").is_file());
    assert!(!root.join("a").exists());
}

#[tokio::test]
async fn long_paths_are_refused_without_an_echo() {
    let (_dir, tool) = memory();
    let long = format!("/memories/{}", "x".repeat(256));
    assert_eq!(
        create(&tool, &long, "").await,
        refused("Path has a name of 256 bytes, at most 255 are allowed")
    );
    let deep = format!("/memories{}", "/x".repeat(100_000));
    assert_eq!(
        view(&tool, &deep).await,
        refused("Path is too long: 200009 bytes, at most 1024 are allowed")
    );
    let deep = format!("/memories{}", "/x".repeat(500));
    create(&tool, &deep, "deep").await.unwrap();
    delete(&tool, "/memories/x").await.unwrap();
    let longest = format!("/memories/{}", "é".repeat(127));
    create(&tool, &longest, "").await.unwrap();
}

#[tokio::test]
async fn sizes_are_limited_and_nothing_is_half_written() {
    let dir = tempfile::tempdir().unwrap();
    let tool = MemoryTool::new(DirectoryMemory::open(dir.path()).unwrap().max_file_bytes(10));
    let text = "The file /memories/a has 11 bytes, more than the limit of 10 bytes.";
    assert_eq!(create(&tool, "/memories/a", &"x".repeat(11)).await, refused(text));
    create(&tool, "/memories/a", "0123456789").await.unwrap();
    assert_eq!(replace(&tool, "/memories/a", "0", "00").await, refused(text));
    fs::write(dir.path().join("memories/b"), "x".repeat(12)).unwrap();
    assert!(view(&tool, "/memories/b").await.unwrap_err().contains("12 bytes"));
    fs::write(dir.path().join("memories/c"), b"\xff").unwrap();
    assert_eq!(
        view(&tool, "/memories/c").await,
        refused("The file /memories/c is not UTF-8 text.")
    );
    let names = fs::read_dir(dir.path().join("memories")).unwrap().count();
    assert_eq!(names, 3);
}

#[cfg(unix)]
mod unix {
    use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};

    use super::*;

    const LINK: &str = "Path would escape /memories directory via symlink";

    fn mode(path: &Path) -> u32 {
        fs::symlink_metadata(path).unwrap().permissions().mode() & 0o777
    }

    #[tokio::test]
    async fn links_are_not_followed() {
        let (dir, tool) = memory();
        let root = dir.path().join("memories");
        let outside = tempfile::tempdir().unwrap();
        fs::write(outside.path().join("secret"), "secret").unwrap();
        fs::write(root.join("mine"), "mine").unwrap();
        symlink(outside.path(), root.join("dir")).unwrap();
        symlink(outside.path().join("secret"), root.join("file")).unwrap();
        symlink(outside.path().join("new"), root.join("dangling")).unwrap();
        symlink("../../..", root.join("up")).unwrap();
        symlink("loop", root.join("loop")).unwrap();
        symlink("mine", root.join("inside")).unwrap();
        symlink("/proc/self/root", root.join("magic")).unwrap();
        for path in [
            "dir/secret",
            "file",
            "dangling",
            "up/etc/passwd",
            "loop",
            "inside",
            "magic/etc/passwd",
            "dir",
        ] {
            let path = &format!("/memories/{path}");
            assert!(view(&tool, path).await.is_err(), "{path}");
            assert!(create(&tool, path, "attack").await.is_err(), "{path}");
            assert!(replace(&tool, path, "secret", "attack").await.is_err(), "{path}");
            assert!(insert(&tool, path, 0, "attack").await.is_err(), "{path}");
            assert!(rename(&tool, path, "/memories/stolen").await.is_err(), "{path}");
            assert!(rename(&tool, "/memories/mine", path).await.is_err(), "{path}");
        }
        assert_eq!(view(&tool, "/memories/dir/secret").await, refused(LINK));
        assert_eq!(view(&tool, "/memories/file").await, refused(LINK));
        assert_eq!(create(&tool, "/memories/dir/new", "").await, refused(LINK));
        assert_eq!(delete(&tool, "/memories/dir/secret").await, refused(LINK));
        assert_eq!(rename(&tool, "/memories/mine", "/memories/dir/x").await, refused(LINK));
        // A listing does not show them.
        let listed = view(&tool, "/memories").await.unwrap();
        assert_eq!(listed.lines().count(), 3, "{listed}");
        // Deleting a link deletes the link.
        delete(&tool, "/memories/dir").await.unwrap();
        delete(&tool, "/memories/file").await.unwrap();
        assert_eq!(fs::read_to_string(outside.path().join("secret")).unwrap(), "secret");
        assert_eq!(fs::read_dir(outside.path()).unwrap().count(), 1);
        assert_eq!(fs::read_to_string(root.join("mine")).unwrap(), "mine");
    }

    #[tokio::test]
    async fn deleting_a_directory_does_not_follow_links_in_it() {
        let (dir, tool) = memory();
        let outside = tempfile::tempdir().unwrap();
        fs::write(outside.path().join("secret"), "secret").unwrap();
        create(&tool, "/memories/d/e/f", "").await.unwrap();
        symlink(outside.path(), dir.path().join("memories/d/e/link")).unwrap();
        delete(&tool, "/memories/d").await.unwrap();
        assert_eq!(fs::read_to_string(outside.path().join("secret")).unwrap(), "secret");
    }

    #[tokio::test]
    async fn the_memories_may_not_be_a_link() {
        let dir = tempfile::tempdir().unwrap();
        let outside = tempfile::tempdir().unwrap();
        symlink(outside.path(), dir.path().join("memories")).unwrap();
        DirectoryMemory::open(dir.path()).unwrap_err();
    }

    #[tokio::test]
    async fn special_files_neither_block_nor_are_read() {
        let (dir, tool) = memory();
        let pipe = dir.path().join("memories/pipe");
        assert!(std::process::Command::new("mkfifo").arg(&pipe).status().unwrap().success());
        let _socket =
            std::os::unix::net::UnixListener::bind(dir.path().join("memories/socket")).unwrap();
        for path in ["/memories/pipe", "/memories/socket"] {
            assert_eq!(
                view(&tool, path).await,
                refused(&format!("Unsupported file type for {path}"))
            );
            assert_eq!(
                replace(&tool, path, "a", "b").await,
                refused(&format!("The path {path} is not a file."))
            );
            assert!(create(&tool, path, "").await.is_err());
        }
    }

    #[tokio::test]
    async fn an_edit_does_not_write_through_a_hard_link() {
        let (dir, tool) = memory();
        let outside = dir.path().join("outside");
        fs::write(&outside, "old").unwrap();
        fs::hard_link(&outside, dir.path().join("memories/a")).unwrap();
        replace(&tool, "/memories/a", "old", "new").await.unwrap();
        assert_eq!(fs::read_to_string(&outside).unwrap(), "old");
        assert_eq!(fs::metadata(&outside).unwrap().nlink(), 1);
    }

    #[tokio::test]
    async fn files_and_directories_are_private() {
        let dir = tempfile::tempdir().unwrap();
        let base = dir.path().join("a/b");
        let tool = MemoryTool::new(DirectoryMemory::open(&base).unwrap());
        create(&tool, "/memories/c/d", "x").await.unwrap();
        insert(&tool, "/memories/c/d", 0, "y").await.unwrap();
        for (path, expected) in
            [("", 0o700), ("memories", 0o700), ("memories/c", 0o700), ("memories/c/d", 0o600)]
        {
            assert_eq!(mode(&base.join(path)), expected, "{path}");
        }
    }

    #[tokio::test]
    async fn a_directory_that_is_replaced_by_a_link_leads_nowhere() {
        // One thread swaps a directory and a link to the outside as fast as it can.
        let (dir, tool) = memory();
        let outside = tempfile::tempdir().unwrap();
        fs::write(outside.path().join("file"), "secret").unwrap();
        let root = dir.path().join("memories");
        fs::create_dir(root.join("real")).unwrap();
        fs::write(root.join("real/file"), "mine").unwrap();
        symlink(outside.path(), root.join("evil")).unwrap();
        let stop = Arc::new(AtomicBool::new(false));
        let swapping = {
            let (stop, root) = (Arc::clone(&stop), root.clone());
            std::thread::spawn(move || {
                let mut swaps = 0_u32;
                while !stop.load(Ordering::Relaxed) {
                    let _ = fs::rename(root.join("real"), root.join("d"));
                    let _ = fs::rename(root.join("d"), root.join("real"));
                    let _ = fs::rename(root.join("evil"), root.join("d"));
                    let _ = fs::rename(root.join("d"), root.join("evil"));
                    // A `create` between two renames has made the directory anew.
                    let _ = fs::remove_dir_all(root.join("d"));
                    swaps += 1;
                }
                swaps
            })
        };
        let (mut seen, mut stopped) = (0, 0);
        let patience = std::time::Instant::now();
        for i in 0.. {
            if patience.elapsed().as_secs() > 30 || (i > 300 && seen > 3 && stopped > 3) {
                break;
            }
            match view(&tool, "/memories/d/file").await {
                Ok(text) => {
                    assert!(!text.contains("secret"), "{text}");
                    seen += 1;
                }
                Err(text) if text == LINK => stopped += 1,
                Err(_) => {}
            }
            let _ = create(&tool, &format!("/memories/d/new{i}"), "attack").await;
            let _ = replace(&tool, "/memories/d/file", "secret", "attack").await;
            let _ = delete(&tool, "/memories/d/file2").await;
        }
        stop.store(true, Ordering::Relaxed);
        assert!(swapping.join().unwrap() > 10);
        assert!(seen > 0 && stopped > 0, "the race did not happen: {seen} {stopped}");
        assert_eq!(fs::read_dir(outside.path()).unwrap().count(), 1);
        assert_eq!(fs::read_to_string(outside.path().join("file")).unwrap(), "secret");
    }

    #[tokio::test]
    async fn a_reader_sees_old_or_new_contents_and_nothing_in_between() {
        let (dir, tool) = memory();
        let (old, new) = ("a".repeat(100_000), "b".repeat(100_000));
        create(&tool, "/memories/f", &old).await.unwrap();
        let file = dir.path().join("memories/f");
        let stop = Arc::new(AtomicBool::new(false));
        let reading = {
            let stop = Arc::clone(&stop);
            std::thread::spawn(move || {
                let mut reads = 0;
                while !stop.load(Ordering::Relaxed) || reads == 0 {
                    let text = fs::read_to_string(&file).unwrap();
                    assert!(text.len() == 100_000 && (text.starts_with(&text[99_999..])), "torn");
                    reads += 1;
                }
            })
        };
        for _ in 0..20 {
            replace(&tool, "/memories/f", &old, &new).await.unwrap();
            replace(&tool, "/memories/f", &new, &old).await.unwrap();
        }
        stop.store(true, Ordering::Relaxed);
        reading.join().unwrap();
        let names: Vec<_> = fs::read_dir(dir.path().join("memories")).unwrap().collect();
        assert_eq!(names.len(), 1, "{names:?}");
    }

    #[tokio::test]
    async fn edits_at_the_same_time_are_all_kept() {
        let (_dir, tool) = memory();
        let tool = Arc::new(tool);
        create(&tool, "/memories/f", "").await.unwrap();
        let mut tasks = Vec::new();
        for i in 0..4 {
            let tool = Arc::clone(&tool);
            tasks.push(std::thread::spawn(move || {
                let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
                runtime.block_on(async {
                    for n in 0..10 {
                        insert(&tool, "/memories/f", 0, &format!("{i}.{n}")).await.unwrap();
                    }
                });
            }));
        }
        tasks.into_iter().for_each(|task| task.join().unwrap());
        let text = view(&tool, "/memories/f").await.unwrap();
        assert_eq!(text.lines().count(), 42, "{text}");
    }
}
