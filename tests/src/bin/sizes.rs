//! Measures the cost of each stage of a firmware. A figure above its limit in
//! `examples/firmware/sizes.txt` is a failure, and so is one that grows by more than 3 % over the
//! last one there (for instructions: by more than 10 % and 5,000). `BLESS=1` rewrites the last
//! figures; limits and goals are kept. With arguments, only these stages are measured.
//!
//! Needs the packages of the program `firmware`, and Debian's llvm. The images have no log output,
//! and are built as small as the compiler can: see [`SMALL`] and [`target_without_frame_pointers`].
//! Flash is text and data. Memory is the statics and the deepest stack; the stack is filled with a
//! pattern before a conversation of two questions and inspected after it. `turn` is the number of
//! instructions for one turn in thousands: all that are executed while a task has work to do,
//! divided by the number of requests; with TLS it includes a share of the one handshake. `core` is
//! the cost of the loop, its tools and their use: `agent-http` less `http`, and for memory also
//! less the transcript, which belongs to the caller. `core-small` is the same of `agent-small`,
//! the agent without the features `fast-path`, `gateways`, `input-words` and `whole-replies`.
//! Memory varies by a few per cent with the way in which replies are split into packets, and its
//! limits allow that.
//!
//! Where a goal is not met, the limit is what was measured when it was set.

use core::fmt::Write as _;
use core::net::Ipv4Addr;
use std::io::{Read as _, Write as _};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};

use toolrunner_core::testing::http1::Connection;
use toolrunner_core::testing::{Chunk, Script, ScriptedModel, ScriptedReply};
use toolrunner_tests::firmware::{cargo, tls_identity};

const BOARD: &str = "lm3s6965evb";

struct Stage {
    name: &'static str,
    program: &'static str,
    /// Features besides the board's and `quiet`: `tls`, and `small-records` for records of 4 KiB.
    features: &'static [&'static str],
    /// The number of requests that the image sends.
    turns: u32,
}

/// Stands for `--no-default-features`: the image without what a chip can do without.
const SMALL_PROFILE: &str = "small-profile";

const STAGES: [Stage; 10] = [
    Stage { name: "bare", program: "bare", features: &[], turns: 1 },
    Stage { name: "network", program: "network", features: &[], turns: 1 },
    Stage { name: "http", program: "exchange", features: &[], turns: 2 },
    Stage { name: "tls", program: "exchange", features: &["tls"], turns: 2 },
    Stage { name: "agent-http", program: "agent", features: &[], turns: 3 },
    Stage { name: "agent-small", program: "agent", features: &[SMALL_PROFILE], turns: 3 },
    Stage { name: "agent-reqwless", program: "agent", features: &["reqwless"], turns: 3 },
    Stage { name: "agent-per-request", program: "agent", features: &["per-request"], turns: 3 },
    Stage { name: "agent-tls", program: "agent", features: &["tls"], turns: 3 },
    Stage { name: "agent-tls-4k", program: "agent", features: &["tls", "small-records"], turns: 3 },
];

/// The size of the agent's transcript in bytes.
const TRANSCRIPT: u32 = 8192;

/// The number of instructions in a cycle of the board's clock (80 ns) at QEMU's `-icount shift=4`
/// (16 ns each).
const INSTRUCTIONS_IN_A_CYCLE: u32 = 5;

/// Flags for small images: they omit the output of `{:?}`, and the place and text of panics.
const SMALL: &str = r#"target."cfg(all(target_arch = \"arm\", target_os = \"none\"))".rustflags=["-Z","fmt-debug=none","-Z","location-detail=none","-Z","unstable-options","-C","panic=immediate-abort"]"#;

/// The target of the images.
const TARGET: &str = "thumbv7m-none-eabi";

fn main() -> ExitCode {
    let firmware = Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples/firmware");
    let file = firmware.join("sizes.txt");
    let kept = std::fs::read_to_string(&file).unwrap_or_default();
    let mut text = String::from(
        "# stage figure goal limit last (bytes, `turn` in 1000 instructions; - for none). Written by `BLESS=1 cargo run -p toolrunner-tests --bin sizes`.\n",
    );
    let (mut passed, mut failed) = (0, 0);
    let mut measured: Vec<(&str, Vec<(&str, u32)>)> = Vec::new();
    let wanted: Vec<String> = std::env::args().skip(1).collect();
    let is_wanted = |name: &str| wanted.is_empty() || wanted.iter().any(|word| word == name);
    let Some(target) = target_without_frame_pointers(&firmware) else {
        println!("FAILED: the compiler does not print its description of {TARGET}");
        return ExitCode::FAILURE;
    };
    for stage in STAGES.into_iter().filter(|stage| is_wanted(stage.name)) {
        let mut figures = measure(&firmware, &target, &stage);
        // Rarely, a packet is late and the board tries again, which is counted too. Such a run is
        // repeated; a turn that takes more each time is a failure.
        for _ in 0..2 {
            let last = last_of(&kept, stage.name, "turn");
            let is_late = |figures: &[(&str, u32)]| {
                figures.iter().any(|&(name, value)| {
                    name == "turn" && last.is_some_and(|last| value > most("turn", last))
                })
            };
            if figures.as_ref().is_some_and(|figures| is_late(figures)) {
                figures = measure(&firmware, &target, &stage);
            }
        }
        match figures {
            Some(figures) => measured.push((stage.name, figures.to_vec())),
            None => {
                println!("FAILED {}: no image, or it did not run", stage.name);
                failed += 1;
            }
        }
    }
    for (part, agent) in [("core", "agent-http"), ("core-small", "agent-small")] {
        match core(&measured, agent) {
            Some(figures) => measured.push((part, figures.to_vec())),
            None if !wanted.is_empty() => {}
            None => {
                println!("FAILED {part}: no two images to compare");
                failed += 1;
            }
        }
    }
    for (stage, figures) in measured {
        for (figure, value) in figures {
            let words = kept
                .lines()
                .map(|line| line.split(' ').collect::<Vec<_>>())
                .find(|words| words.starts_with(&[stage, figure]));
            let word =
                |i: usize| words.as_ref().and_then(|words| words.get(i)).copied().unwrap_or("-");
            let (goal, limit, last) = (word(2), word(3), word(4).parse::<u32>().unwrap_or(value));
            let verdict = match goal.parse::<u32>() {
                _ if limit.parse().is_ok_and(|limit: u32| value > limit) => "FAILED, too large",
                _ if value > most(figure, last) => "FAILED, grown",
                Ok(goal) if value > goal => "ok, over the goal",
                _ => "ok",
            };
            if verdict.starts_with("FAILED") {
                failed += 1
            } else {
                passed += 1
            }
            println!(
                "{verdict:18} {stage:17} {figure:8} {value:7}, before {last:7}, limit {limit}, goal {goal}"
            );
            writeln!(text, "{stage} {figure} {goal} {limit} {value}").expect("a string grows");
        }
    }
    if !wanted.is_empty() {
        text = merged(&kept, &text);
    }
    println!("{passed} passed, {failed} failed");
    if std::env::var_os("BLESS").is_some() {
        std::fs::write(file, text).expect("sizes.txt can be written");
        return ExitCode::SUCCESS;
    }
    if failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Returns the lines of `kept`, with those of the same stage and figure in `measured` in their
/// place, and the other lines of `measured` at the end.
fn merged(kept: &str, measured: &str) -> String {
    let key = |line: &str| line.split(' ').take(2).collect::<Vec<_>>().join(" ");
    let of = |text: &str, wanted: &str| {
        text.lines().find(|line| key(line) == wanted).map(|line| format!("{line}\n"))
    };
    let replaced =
        kept.lines().filter_map(|line| of(measured, &key(line)).or_else(|| of(kept, &key(line))));
    let new = measured.lines().filter(|line| of(kept, &key(line)).is_none());
    replaced.chain(new.map(|line| format!("{line}\n"))).collect()
}

/// Returns the last figure of this name in `kept`.
fn last_of(kept: &str, stage: &str, figure: &str) -> Option<u32> {
    let words: Vec<_> = kept
        .lines()
        .map(|line| line.split(' ').collect::<Vec<_>>())
        .find(|words| words.starts_with(&[stage, figure]))?;
    words.get(4)?.parse().ok()
}

/// Returns the maximum for a figure that was `last`.
fn most(figure: &str, last: u32) -> u32 {
    // Instructions are counted in whole thousands and depend on the number of packets.
    if figure == "turn" { last + last / 10 + 5 } else { last + last * 3 / 100 }
}

/// Returns the difference between an agent and an exchange without the loop.
fn core(measured: &[(&str, Vec<(&str, u32)>)], agent: &str) -> Option<[(&'static str, u32); 2]> {
    let of = |stage: &str, figure: &str| {
        let (_, figures) = measured.iter().find(|(name, _)| *name == stage)?;
        figures.iter().find(|(name, _)| *name == figure).map(|(_, value)| *value)
    };
    let more = |figure: &str| of(agent, figure)?.checked_sub(of("http", figure)?);
    Some([("flash", more("flash")?), ("memory", more("memory")?.checked_sub(TRANSCRIPT)?)])
}

/// Writes the compiler's own description of [`TARGET`], with one change: functions need not keep a
/// frame pointer, which takes one of the eight registers that short instructions can use. Returns
/// the place of the file.
fn target_without_frame_pointers(firmware: &Path) -> Option<PathBuf> {
    let print = ["-Z", "unstable-options", "--print", "target-spec-json", "--target", TARGET];
    let mut rustc = Command::new("/usr/bin/rustc");
    let description = output(rustc.env("RUSTC_BOOTSTRAP", "1").args(print))?;
    let (kept, omitted) = (r#""frame-pointer": "always""#, r#""frame-pointer": "may-omit""#);
    if !description.contains(kept) {
        return None;
    }
    let folder = firmware.join("target/sizes");
    let file = folder.join(TARGET).with_extension("json");
    std::fs::create_dir_all(folder).ok()?;
    std::fs::write(&file, description.replace(kept, omitted)).ok()?;
    Some(file)
}

/// Measures flash, statics, stack, the sum of the last two, the future of the main task, and the
/// instructions for a turn.
fn measure(firmware: &Path, target: &Path, stage: &Stage) -> Option<[(&'static str, u32); 6]> {
    let Stage { program, features, turns, .. } = *stage;
    let is_small = features.contains(&SMALL_PROFILE);
    let features = [&[BOARD, "quiet"], features].concat();
    let features: Vec<_> = features.into_iter().filter(|name| *name != SMALL_PROFILE).collect();
    let features = features.join(",");
    let mut build = cargo(firmware);
    build.args([
        "build",
        "--release",
        "--quiet",
        "--bin",
        program,
        "--features",
        &features,
        "--target-dir",
        "target/sizes",
    ]);
    build.args(["--config", SMALL, "-Zjson-target-spec", "--target"]).arg(target);
    if is_small {
        build.arg("--no-default-features");
    }
    if !build.status().ok()?.success() {
        return None;
    }
    let image = firmware.join("target/sizes").join(TARGET).join("release").join(program);
    let sizes = output(Command::new("llvm-size").arg(&image))?;
    let mut sizes = sizes.lines().nth(1)?.split_ascii_whitespace().map(str::parse::<u32>);
    let (text, data, bss) = (sizes.next()?.ok()?, sizes.next()?.ok()?, sizes.next()?.ok()?);
    let symbols = output(Command::new("llvm-nm").args(["-S", "--demangle"]).arg(&image))?;
    let pool = symbols.lines().find(|line| line.ends_with("__embassy_main::POOL"))?;
    let future = u32::from_str_radix(pool.split(' ').nth(1)?, 16).ok()?;
    let (stack, cycles) = run(firmware, &image, stage.features)?;
    let turn = cycles / turns * INSTRUCTIONS_IN_A_CYCLE / 1000;
    let memory = data + bss + stack;
    Some([
        ("flash", text + data),
        ("statics", data + bss),
        ("stack", stack),
        ("memory", memory),
        ("future", future),
        ("turn", turn),
    ])
}

/// Runs the image against a model that calls a tool and then ends the turn. Returns what the image
/// reports: its deepest stack, and the cycles in which it had work to do.
fn run(firmware: &Path, image: &Path, features: &[&str]) -> Option<(u32, u32)> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).ok()?;
    let port = listener.local_addr().ok()?.port();
    let tls = features.contains(&"tls");
    // The content of a record that fits in the board's buffer together with the overhead.
    let most = features.contains(&"small-records").then_some(4096);
    let identity = tls.then(|| tls_identity(firmware, most));
    std::thread::spawn(move || {
        let mut model = ScriptedModel::new(Script::new().then(|request| {
            let asked =
                request.transcript().windows(7).filter(|part| part == b"toolu_1").count() > 0;
            if asked {
                ScriptedReply::text("Done.").into()
            } else {
                ScriptedReply::new().tool_use("toolu_1", "temperature", "{}").into()
            }
        }))
        .lenient();
        for socket in listener.incoming().flatten() {
            let mut stream: Box<dyn Stream> =
                match identity.clone().map(rustls::ServerConnection::new) {
                    None => Box::new(socket),
                    Some(Ok(session)) => Box::new(rustls::StreamOwned::new(session, socket)),
                    Some(Err(_)) => return,
                };
            let (mut connection, mut buffer) = (Connection::new(), [0; 4096]);
            while let Ok(len @ 1..) = stream.read(&mut buffer) {
                for chunk in connection.respond(&mut model, &buffer[..len]) {
                    if let Chunk::Data(bytes) = chunk {
                        let _ = stream.write_all(&bytes).and_then(|()| stream.flush());
                    }
                }
            }
        }
    });
    let scheme = if tls { "https" } else { "http" };
    let options =
        format!("enable=on,target=native,chardev=console,arg=image,arg={scheme}://api.test:{port}");
    let mut qemu = Command::new("timeout");
    qemu.args([
        "60",
        "qemu-system-arm",
        "-M",
        BOARD,
        "-icount",
        "shift=4",
        "-nographic",
        "-monitor",
        "none",
        "-serial",
        "none",
    ]);
    qemu.args([
        "-chardev",
        "stdio,id=console",
        "-semihosting-config",
        &options,
        "-nic",
        "user,model=stellaris",
        "-kernel",
    ])
    .arg(image);
    let printed = output(qemu.stdin(Stdio::null()))?;
    let figure = |name: &str| {
        printed
            .lines()
            .find_map(|line| line.strip_prefix(name))
            .and_then(|figure| figure.trim().parse().ok())
    };
    Some((figure("stack: ")?, figure("busy: ")?))
}

trait Stream: std::io::Read + std::io::Write {}
impl<S: std::io::Read + std::io::Write> Stream for S {}

fn output(command: &mut Command) -> Option<String> {
    String::from_utf8(command.stderr(Stdio::null()).output().ok()?.stdout).ok()
}
