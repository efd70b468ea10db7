//! Runs the firmware images in QEMU against the scripted model, and compares what they print with
//! the files in `examples/firmware/expected`. `BLESS=1` writes those files instead.
//!
//! Needs Debian's packages rustc-web, cargo-web, rust-web-src, lld, qemu-system-arm and
//! qemu-system-misc. No traffic leaves the host's loopback. With arguments, only the scenarios run
//! whose name contains one of them (`lm3s6965evb/tls/cut`).

#[path = "../../../transport-embassy/tests/network/rogue.rs"]
#[expect(dead_code, reason = "the transport's own tests use all of it")]
mod rogue;

use core::net::Ipv4Addr;
use core::sync::atomic::{AtomicUsize, Ordering};
use core::time::Duration;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};
use std::sync::{Arc, Mutex};
use std::time::Instant;

use rogue::Rogue;
use toolrunner_core::testing::http1::Connection;
use toolrunner_core::testing::{Answer, BadLink, Chunk, Script, ScriptedModel, ScriptedReply};
use toolrunner_tests::firmware::{cargo, tls_identity};

/// The boards, by the names of their features, which are also QEMU's names for the machines, and
/// their network cards. The last one is a RISC-V machine.
const BOARDS: [(&str, &str); 4] = [
    ("lm3s6965evb", "stellaris"),
    ("mps2-an386", "lan9118"),
    ("mps2-an500", "lan9118"),
    ("virt", "virtio-net-device"),
];

/// The compiler's target for a board.
fn target(board: &str) -> &'static str {
    if board == "virt" { "riscv32imac-unknown-none-elf" } else { "thumbv7m-none-eabi" }
}

/// The number of boards that are emulated at once. Each uses less than one processor, and mostly
/// waits.
const AT_ONCE: usize = 2;

/// How the server behaves.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Manner {
    Good,
    /// Closes the connection after each reply, without announcing it.
    Closes,
    /// Cuts off the first reply.
    Cuts,
    /// Sends messages of the TLS handshake after its end, a different one instead of each of the
    /// first replies.
    Rogue,
    /// Does not answer the first request.
    Silent,
    /// Answers in small pieces with pauses.
    Slow,
}

/// The maximum stack that an image may use in any scenario in bytes, without and with TLS. A larger
/// value means that the stack has begun to grow with the input.
const STACK: [u32; 2] = [6 * 1024, 22 * 1024];
/// The maximum stack of an image with reqwless, whose tables of fields take several KiB.
const STACK_OF_REQWLESS: [u32; 2] = [7 * 1024, 24 * 1024];
/// The maximum stack of an image on the RISC-V machine, which has wider frames.
const STACK_RISCV: u32 = 8 * 1024;

struct Scenario {
    name: &'static str,
    manner: Manner,
    script: fn() -> Script,
    /// Arguments to the image after the base URL: the size of the transcript, and the base URL for
    /// the first question.
    arguments: &'static [&'static str],
    /// Whether the image must have TLS. With `None`, the scenario runs with both.
    tls: Option<bool>,
}

const SCENARIOS: &[Scenario] = &[
    scenario("good", Manner::Good, room),
    scenario("slow", Manner::Slow, room),
    scenario("cut", Manner::Cuts, room),
    scenario("closes", Manner::Closes, room),
    scenario("silent", Manner::Silent, room),
    Scenario { tls: Some(true), ..scenario("rogue", Manner::Rogue, room) },
    scenario("overloaded", Manner::Good, || {
        room_after(Answer::error(529, "overloaded_error", "Overloaded").header("retry-after", "1"))
    }),
    scenario("refused", Manner::Good, || {
        room_after(Answer::error(401, "authentication_error", "invalid x-api-key"))
    }),
    scenario("large-head", Manner::Good, || {
        room_after(
            Answer::from(ScriptedReply::text("One moment."))
                .header("set-cookie", &"c".repeat(2000)),
        )
    }),
    scenario("large-reply", Manner::Good, || {
        room_after(ScriptedReply::text(&"What a long story. ".repeat(600)).into())
    }),
    scenario("large-input", Manner::Good, large_input),
    scenario("deep-input", Manner::Good, deep_input),
    scenario("deep-reply", Manner::Good, || {
        room_after(
            ScriptedReply::new()
                .block(&format!(r#"{{"type":"x","x":{}}}"#, nested(100_000)))
                .into(),
        )
    }),
    scenario("no-utf8", Manner::Good, || {
        room_after(Answer::raw(
            200,
            b"event: message_start\ndata: {\"type\":\"\xff\"}\n\n".as_slice(),
        ))
    }),
    scenario("no-reply", Manner::Good, || {
        room_after(Answer::raw(200, "<html>").header("content-type", "text/html"))
    }),
    Scenario {
        arguments: &["900"],
        ..scenario("overflow", Manner::Good, || room_that_says(&"It was 27.5 degrees. ".repeat(20)))
    },
    Scenario {
        arguments: &["8192", "http://nowhere.test"],
        tls: Some(false),
        ..scenario("no-name", Manner::Good, room)
    },
    Scenario {
        arguments: &["8192", "http://10.0.2.2:9"],
        tls: Some(false),
        ..scenario("nobody", Manner::Good, room)
    },
    Scenario {
        arguments: &["8192", "http://10.0.2.99"],
        tls: Some(false),
        ..scenario("no-host", Manner::Good, room)
    },
    Scenario {
        arguments: &["8192", "https://10.0.2.2:PORT"],
        tls: Some(true),
        ..scenario("wrong-name", Manner::Good, room)
    },
];

/// Two questions, the second of which is repeated after a power cut. Runs with the image
/// `snapshot`, on the first board only.
const POWER_CUT: Scenario = scenario("power-cut", Manner::Good, thermometer);
/// The number of words that the board can still write while it saves the answer to the second
/// question: the power is cut in the middle of the snapshot.
const WORDS: usize = 120;
/// The size of a slot in the flash. There are two slots of four sectors.
const SLOT: usize = 4096;

/// A server that does not answer, and an interrupt that ends the run. Runs with the image `cancel`,
/// on the first board only.
const CANCEL: Scenario =
    scenario("cancel", Manner::Silent, || Script::new().reply(ScriptedReply::text("I am.")));

/// Calls of a tool whose argument and result are serde's types: with a number that does not fit,
/// and with a correct input that contains an escape. Runs with the image `serde`, on the first
/// board only.
const SERDE: Scenario = scenario("serde", Manner::Good, || {
    let wrong = r#"{"command":{"room":"Kitchen","percent":300}}"#;
    let right = r#"{"command":{"speed":"fast","percent":0,"why":"\u0022dark\"","room":"Kitchen"}}"#;
    Script::new()
        .reply(ScriptedReply::new().tool_use("toolu_1", "move_blind", wrong))
        .reply(ScriptedReply::new().tool_use("toolu_2", "move_blind", right))
        .reply(ScriptedReply::text("It is closed."))
});

/// Images over reqwless: the index of the board and the features. The scenarios `good` and `cut`
/// run with them. With TLS and text output, the image does not fit in the first board's flash.
const REQWLESS: [(&str, usize, &[&str]); 3] = [
    ("reqwless", 0, &["reqwless"]),
    ("reqwless-tls", 1, &["reqwless", "tls"]),
    ("reqwless-per-request", 0, &["per-request"]),
];

/// The scenario `good`, logged by defmt instead of printed as text. Runs on the first board only.
const DEFMT: Scenario = scenario("defmt", Manner::Good, room);

const fn scenario(name: &'static str, manner: Manner, script: fn() -> Script) -> Scenario {
    Scenario { name, manner, script, arguments: &[], tls: None }
}

/// Answers two questions: one needs a turn with two calls, the other a turn with a call that fails.
fn room() -> Script {
    room_that_says("It was 27.5 degrees, so I switched the LED on.")
}

/// Answers the questions of [`room`], with this text for the first one.
fn room_that_says(answer: &str) -> Script {
    let answer = answer.to_owned();
    Script::new().then(move |request| {
        let transcript = String::from_utf8_lossy(request.transcript());
        let said = |text: &str| transcript.contains(text);
        match (said("What did you do?"), said("toolu_1"), said("toolu_3")) {
            (false, false, _) => first_calls().into(),
            (false, true, _) => ScriptedReply::text(&answer).into(),
            (true, _, false) => second_calls().into(),
            (true, _, true) => ScriptedReply::text(
                "I switched the LED on, and nothing else.\nAsk me \"why\" if you like: \u{1f321}",
            )
            .into(),
        }
    })
}

/// Answers two questions about the temperature.
fn thermometer() -> Script {
    Script::new().then(|request| {
        let transcript = String::from_utf8_lossy(request.transcript());
        let said = |text: &str| transcript.contains(text);
        match (said("toolu_1"), said("Fahrenheit"), said("27.5 degrees")) {
            (false, false, _) => {
                ScriptedReply::new().tool_use("toolu_1", "temperature", "{}").into()
            }
            (true, false, _) => ScriptedReply::text("It is 27.5 degrees.").into(),
            (true, true, true) => ScriptedReply::text("That is 81.5 degrees Fahrenheit.").into(),
            _ => ScriptedReply::text("Of what was that?").into(),
        }
    })
}

/// Sends `first`, and then answers the questions of [`room`].
fn room_after(first: Answer) -> Script {
    room().answer(first)
}

fn first_calls() -> ScriptedReply {
    ScriptedReply::text("Let me see.").tool_use("toolu_1", "temperature", "{}").tool_use(
        "toolu_2",
        "set_led",
        r#"{"on":true}"#,
    )
}

fn second_calls() -> ScriptedReply {
    ScriptedReply::new().tool_use("toolu_3", "log", r#"{"line":0}"#).tool_use(
        "toolu_4",
        "log",
        r#"{"line":7}"#,
    )
}

/// Sends a call whose input is larger than the transcript.
fn large_input() -> Script {
    let long = format!("{{\"on\":true,\"why\":\"{}\"}}", "because ".repeat(2000));
    room_after(ScriptedReply::new().tool_use("toolu_0", "set_led", &long).into())
}

/// Sends a call whose input fits and is nested 1000 levels deep, which the model must correct.
fn deep_input() -> Script {
    let deep = format!("{{\"on\":{}}}", nested(1000));
    room_after(ScriptedReply::new().tool_use_cut("toolu_0", "set_led", &deep).into())
}

/// Returns arrays that are nested `levels` deep.
fn nested(levels: usize) -> String {
    ["[".repeat(levels), "]".repeat(levels)].concat()
}

fn main() -> ExitCode {
    let wanted: Vec<String> = std::env::args().skip(1).collect();
    let firmware = Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples/firmware");
    let (mut passed, mut failed) = (0, 0);
    for (board, card) in BOARDS {
        for tls in [false, true] {
            // The RISC-V machine shows that the rest is not bound to an architecture.
            if tls && board == "virt" {
                continue;
            }
            let kind = if tls { "tls" } else { "plain" };
            let name = |scenario: &Scenario| format!("{board}/{kind}/{}", scenario.name);
            let chosen = |scenario: &&Scenario| {
                wanted.is_empty() || wanted.iter().any(|word| name(scenario).contains(word))
            };
            let fits = |scenario: &&Scenario| scenario.tls.is_none_or(|only| only == tls);
            let scenarios: Vec<&Scenario> = SCENARIOS.iter().filter(fits).filter(chosen).collect();
            if scenarios.is_empty() {
                continue;
            }
            let Some(image) = build(&firmware, "agent", board, if tls { &["tls"] } else { &[] })
            else {
                println!("FAILED {board}/{kind}: no image");
                failed += scenarios.len();
                continue;
            };
            let next = AtomicUsize::new(0);
            let good = AtomicUsize::new(0);
            let work = || {
                while let Some(scenario) = scenarios.get(next.fetch_add(1, Ordering::Relaxed)) {
                    let most = if board == "virt" { STACK_RISCV } else { STACK[usize::from(tls)] };
                    let board = (board, card);
                    let passes = report(&name(scenario), || {
                        run(&firmware, &image, board, tls, most, scenario)
                    });
                    good.fetch_add(usize::from(passes), Ordering::Relaxed);
                }
            };
            std::thread::scope(|scope| {
                for _ in 0..AT_ONCE {
                    scope.spawn(work);
                }
            });
            passed += good.load(Ordering::Relaxed);
            failed += scenarios.len() - good.load(Ordering::Relaxed);
        }
    }
    for (kind, board, features) in REQWLESS {
        let board = BOARDS[board];
        let scenarios =
            SCENARIOS.iter().filter(|scenario| ["good", "cut"].contains(&scenario.name));
        let name = |scenario: &Scenario| format!("{}/{kind}/{}", board.0, scenario.name);
        let chosen = |scenario: &&Scenario| {
            wanted.is_empty() || wanted.iter().any(|word| name(scenario).contains(word))
        };
        let scenarios: Vec<&Scenario> = scenarios.filter(chosen).collect();
        if scenarios.is_empty() {
            continue;
        }
        let image = build(&firmware, "agent", board.0, features);
        for scenario in scenarios {
            let passes = report(&name(scenario), || {
                let image = image.as_ref().ok_or("no image")?;
                let tls = features.contains(&"tls");
                let most = STACK_OF_REQWLESS[usize::from(tls)];
                run(&firmware, image, board, tls, most, scenario)
            });
            *if passes { &mut passed } else { &mut failed } += 1;
        }
    }
    let name = format!("{}/plain/{}", BOARDS[0].0, POWER_CUT.name);
    if wanted.is_empty() || wanted.iter().any(|word| name.contains(word)) {
        let passes = report(&name, || power_cut(&firmware));
        *if passes { &mut passed } else { &mut failed } += 1;
    }
    let name = format!("{}/plain/{}", BOARDS[0].0, SERDE.name);
    if wanted.is_empty() || wanted.iter().any(|word| name.contains(word)) {
        let passes = report(&name, || {
            let image = build(&firmware, "serde", BOARDS[0].0, &["serde"]).ok_or("no image")?;
            run(&firmware, &image, BOARDS[0], false, STACK[0], &SERDE)
        });
        *if passes { &mut passed } else { &mut failed } += 1;
    }
    let name = format!("{}/plain/{}", BOARDS[0].0, CANCEL.name);
    if wanted.is_empty() || wanted.iter().any(|word| name.contains(word)) {
        let passes = report(&name, || cancelled(&firmware));
        *if passes { &mut passed } else { &mut failed } += 1;
    }
    let name = format!("{}/plain/{}", BOARDS[0].0, DEFMT.name);
    if wanted.is_empty() || wanted.iter().any(|word| name.contains(word)) {
        let passes = report(&name, || told_by_defmt(&firmware));
        *if passes { &mut passed } else { &mut failed } += 1;
    }
    println!("{passed} passed, {failed} failed");
    if failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Runs one scenario, which returns its stack usage, and prints the result.
fn report(name: &str, scenario: impl FnOnce() -> Result<String, String>) -> bool {
    let start = Instant::now();
    let outcome = scenario();
    match &outcome {
        Ok(stack) => println!("ok {name} ({} ms, stack {stack})", start.elapsed().as_millis()),
        Err(why) => println!("FAILED {name}: {why}"),
    }
    outcome.is_ok()
}

/// Builds an image and copies it, because the next build overwrites it.
fn build(firmware: &Path, program: &str, board: &str, features: &[&str]) -> Option<PathBuf> {
    let features = [&[board], features].concat();
    let mut build = cargo(firmware);
    // The log level of defmt is fixed when an image is built.
    build.env("DEFMT_LOG", "trace");
    build.args([
        "build",
        "--release",
        "--quiet",
        "--target",
        target(board),
        "--bin",
        program,
        "--features",
        &features.join(","),
    ]);
    if !build.status().ok()?.success() {
        return None;
    }
    let built = firmware.join("target").join(target(board)).join("release").join(program);
    let image = firmware.join("target").join(format!("{program}-{}", features.join("-")));
    std::fs::copy(built, &image).ok()?;
    Some(image)
}

/// Runs one scenario, compares the output, and returns the stack usage, which may be at most
/// `most`.
fn run(
    firmware: &Path,
    image: &Path,
    board: (&str, &str),
    tls: bool,
    most: u32,
    scenario: &Scenario,
) -> Result<String, String> {
    let identity = if tls { Some(tls_identity(firmware, None)) } else { None };
    let (port, model) = start_model(scenario, identity)?;
    let scheme = if tls { "https" } else { "http" };
    let mut arguments = vec![format!("{scheme}://api.test:{port}")];
    arguments.extend(
        scenario.arguments.iter().map(|argument| argument.replace("PORT", &port.to_string())),
    );
    let stack = compare(firmware, scenario, &emulate(image, board, &arguments)?, &model)?;
    if stack.parse().is_ok_and(|stack: u32| stack <= most) {
        Ok(stack)
    } else {
        Err(format!("stack {stack}, at most {most}"))
    }
}

/// Runs the image `snapshot` three times with one flash: first the power is cut during the second
/// save; then the run continues from the stored snapshot and saves; then that snapshot is found.
fn power_cut(firmware: &Path) -> Result<String, String> {
    let image = build(firmware, "snapshot", BOARDS[0].0, &["flash"]).ok_or("no image")?;
    let (port, model) = start_model(&POWER_CUT, None)?;
    let flash = std::env::temp_dir().join(format!("toolrunner-flash-{port}"));
    std::fs::write(&flash, [0xff; 2 * SLOT]).map_err(|e| e.to_string())?;
    let mut arguments = vec![
        format!("http://api.test:{port}"),
        flash.to_string_lossy().into_owned(),
        WORDS.to_string(),
    ];
    let printed = emulate(&image, BOARDS[0], &arguments).and_then(|first| {
        let bytes = std::fs::read(&flash).map_err(|e| e.to_string())?;
        let written = bytes.iter().skip(SLOT).filter(|byte| **byte != 0xff).count();
        if written != 4 * WORDS {
            return Err(format!("{written} bytes in the second slot\n{first}"));
        }
        arguments.pop();
        Ok(first
            + &emulate(&image, BOARDS[0], &arguments)?
            + &emulate(&image, BOARDS[0], &arguments)?)
    });
    let _ = std::fs::remove_file(flash);
    compare(firmware, &POWER_CUT, &printed?, &model)
}

/// Runs the image `cancel`.
fn cancelled(firmware: &Path) -> Result<String, String> {
    let image = build(firmware, "cancel", BOARDS[0].0, &["alarm"]).ok_or("no image")?;
    let (port, model) = start_model(&CANCEL, None)?;
    compare(
        firmware,
        &CANCEL,
        &emulate(&image, BOARDS[0], &[format!("http://api.test:{port}")])?,
        &model,
    )
}

/// Runs the image `agent` with defmt logs at every level, and decodes its frames with
/// `defmt-print`.
fn told_by_defmt(firmware: &Path) -> Result<String, String> {
    let image = build(firmware, "agent", BOARDS[0].0, &["defmt"]).ok_or("no image")?;
    let (port, model) = start_model(&DEFMT, None)?;
    let frames = emulate_bytes(&image, BOARDS[0], &[format!("http://api.test:{port}")])?;
    let tool = Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/tools/bin/defmt-print");
    let mut print = Command::new(&tool);
    print.arg("-e").arg(&image).stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut print = print.spawn().map_err(|e| {
        format!(
            "{}: {e}: cargo install --locked --root target/tools defmt-print@1.2.0",
            tool.display()
        )
    })?;
    // The input is closed at the end of this statement, so that the program ends.
    print.stdin.take().ok_or("no input")?.write_all(&frames).map_err(|e| e.to_string())?;
    let output = print.wait_with_output().map_err(|e| e.to_string())?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    if !output.status.success() {
        return Err(format!("{}\n{text}", output.status));
    }
    compare(firmware, &DEFMT, &text, &model).map(|_| "not told".to_owned())
}

/// Starts a server for the scenario, on its own port.
fn start_model(
    scenario: &Scenario,
    identity: Option<Arc<rustls::ServerConfig>>,
) -> Result<(u16, Arc<Mutex<ScriptedModel>>), String> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).map_err(|e| e.to_string())?;
    let port = listener.local_addr().map_err(|e| e.to_string())?.port();
    let model = Arc::new(Mutex::new(ScriptedModel::new((scenario.script)())));
    let manner = scenario.manner;
    // The thread accepts connections until the process ends. Each server has its own port and
    // model.
    std::thread::spawn({
        let model = Arc::clone(&model);
        move || {
            for (count, socket) in listener.incoming().flatten().enumerate() {
                let (model, identity) = (Arc::clone(&model), identity.clone());
                std::thread::spawn(move || serve(socket, identity, &model, manner, count));
            }
        }
    });
    Ok((port, model))
}

/// Runs an image until it ends, and returns its output.
fn emulate(image: &Path, board: (&str, &str), arguments: &[String]) -> Result<String, String> {
    emulate_bytes(image, board, arguments).map(|bytes| String::from_utf8_lossy(&bytes).into_owned())
}

fn emulate_bytes(
    image: &Path,
    (board, card): (&str, &str),
    arguments: &[String],
) -> Result<Vec<u8>, String> {
    let mut options = "enable=on,target=native,chardev=console,arg=image".to_owned();
    for argument in arguments {
        options.push_str(",arg=");
        options.push_str(argument);
    }
    let is_riscv = target(board).starts_with("riscv");
    let mut qemu = Command::new("timeout");
    // The clock counts instructions (16 ns each), so that the board loses no ticks on a busy host.
    qemu.args([
        "60",
        if is_riscv { "qemu-system-riscv32" } else { "qemu-system-arm" },
        "-M",
        board,
        "-icount",
        "shift=4",
        "-nographic",
        "-monitor",
        "none",
        "-serial",
        "none",
        "-semihosting-config",
        &options,
    ]);
    if is_riscv {
        // Without firmware below the image, and with the current version of virtio.
        qemu.args(["-bios", "none", "-global", "virtio-mmio.force-legacy=false"]);
        qemu.args(["-netdev", "user,id=net", "-device", &format!("{card},netdev=net")]);
    } else {
        qemu.args(["-nic", &format!("user,model={card}")]);
    }
    qemu.args(["-chardev", "stdio,id=console", "-kernel"])
        .arg(image)
        .stdin(Stdio::null())
        .stderr(Stdio::null());
    let output = qemu.output().map_err(|e| e.to_string())?;
    if output.status.success() {
        return Ok(output.stdout);
    }
    Err(format!("{}\n{}", output.status, String::from_utf8_lossy(&output.stdout)))
}

/// Compares the output with the expected output, and returns the stack usage.
fn compare(
    firmware: &Path,
    scenario: &Scenario,
    text: &str,
    model: &Mutex<ScriptedModel>,
) -> Result<String, String> {
    let mut printed: String =
        text.lines().filter_map(shown).flat_map(|line| [line, "\n"]).collect();
    if scenario.manner == Manner::Closes {
        // A busy machine may suspend the server between a reply and the end of the connection, and
        // then the board's next request comes first. A board that never notices an end tells this
        // three times.
        printed = printed.replacen("[again: the connection was closed]\n", "", 2);
    }
    let complaints = model.lock().map_err(|e| e.to_string())?.complaints().join("; ");
    if !complaints.is_empty() {
        return Err(format!("the model complains: {complaints}\n{printed}"));
    }
    let file = firmware.join("expected").join(format!("{}.txt", scenario.name));
    if std::env::var_os("BLESS").is_some() {
        std::fs::write(&file, &printed).map_err(|e| e.to_string())?;
    }
    let expected = std::fs::read_to_string(file).unwrap_or_default();
    let stack =
        text.lines().find_map(|line| line.strip_prefix("stack: ")).unwrap_or_default().to_owned();
    if printed == expected {
        Ok(stack)
    } else {
        Err(format!("printed:\n{printed}expected:\n{expected}"))
    }
}

/// Removes from a line what depends on how the bytes arrived: the stack usage, times, how much was
/// stored when something was full, and how far a long text got. Returns `None` if the whole line
/// depends on it.
fn shown(line: &str) -> Option<&str> {
    let line = line.split_inclusive(" full").next().unwrap_or_default();
    let line = if line.len() > 200 { line.get(..60).unwrap_or_default() } else { line };
    if ["stack: ", "busy: ", "waited: ", "late: "].iter().any(|figure| line.starts_with(figure)) {
        None
    } else {
        Some(line.trim_end())
    }
}

/// Answers a request with a message that no server may send after the handshake, and waits until
/// the client closes the connection.
fn break_the_rules(socket: TcpStream, identity: &Arc<rustls::ServerConfig>, rogue: Rogue) {
    let Ok(session) = rustls::ServerConnection::new(Arc::clone(identity)) else { return };
    let mut stream = rustls::StreamOwned::new(session, socket);
    let mut buffer = [0; 4096];
    let Ok(1..) = stream.read(&mut buffer) else { return };
    let (record, mut socket) = (rogue.record(stream.conn), stream.sock);
    let _ = socket.write_all(&record);
    while let Ok(1..) = socket.read(&mut buffer) {}
}

trait Stream: Read + Write {}
impl<S: Read + Write> Stream for S {}

fn serve(
    socket: TcpStream,
    identity: Option<Arc<rustls::ServerConfig>>,
    model: &Mutex<ScriptedModel>,
    manner: Manner,
    count: usize,
) {
    let Ok(reset) = socket.try_clone() else { return };
    if let (Manner::Rogue, Some(identity), Some(&rogue)) =
        (manner, &identity, Rogue::MESSAGES.get(count))
    {
        return break_the_rules(socket, identity, rogue);
    }
    let mut stream: Box<dyn Stream> = match identity.map(rustls::ServerConnection::new) {
        None => Box::new(socket),
        Some(Ok(session)) => Box::new(rustls::StreamOwned::new(session, socket)),
        Some(Err(_)) => return,
    };
    let mut connection = Connection::new();
    if manner == Manner::Slow {
        connection = connection
            .link(BadLink::new(7).longest_piece(60).delays(100, Duration::from_millis(40)));
    }
    let mut buffer = [0; 4096];
    let silent = manner == Manner::Silent && count == 0;
    while !connection.is_closed() {
        let Ok(len @ 1..) = stream.read(&mut buffer) else { return };
        let Ok(mut model) = model.lock() else { return };
        if silent {
            // Ignored: the request will be sent again, over another connection.
            continue;
        }
        let chunks = connection.respond(&mut model, &buffer[..len]);
        if chunks.is_empty() {
            continue;
        }
        let cut = manner == Manner::Cuts && count == 0;
        if cut {
            model.broken();
        }
        drop(model);
        let whole: usize = chunks
            .iter()
            .map(|chunk| if let Chunk::Data(bytes) = chunk { bytes.len() } else { 0 })
            .sum();
        let mut left = if cut { whole / 2 } else { usize::MAX };
        for chunk in chunks {
            let sent = match chunk {
                Chunk::Data(bytes) => {
                    let len = bytes.len().min(left);
                    left -= len;
                    stream.write_all(&bytes[..len]).and_then(|()| stream.flush()).is_ok()
                }
                Chunk::Wait(pause) => {
                    std::thread::sleep(pause);
                    true
                }
                Chunk::Reset => false,
            };
            if !sent || left == 0 {
                let _ = reset.shutdown(std::net::Shutdown::Both);
                return;
            }
        }
        if manner == Manner::Closes {
            let _ = reset.shutdown(std::net::Shutdown::Both);
            return;
        }
    }
}
