//! Measures what each stage of a firmware costs, and holds it: a figure that grows by more than 3 %
//! over the one kept in `examples/firmware/sizes.txt` is a failure (10 % and 5,000 for
//! instructions). `BLESS=1` writes that file anew; goals stay.
//!
//! Needs what `firmware` needs, and Debian's llvm. The images have no log output. Flash is text and
//! data; memory is statics and the deepest stack, which is painted before and looked at after a
//! conversation of two questions. `turn` is thousands of instructions for one turn: all that was
//! executed while a task had something to do, by the number of requests; with TLS it has its share
//! of the one handshake in it. `core` is what the loop, its tools and the use of them come to:
//! `agent-http` less `http`, and in memory less the transcript, which is the caller's. How the
//! replies happen to be cut into packets moves it by some per cent.

use core::fmt::Write as _;
use core::net::Ipv4Addr;
use std::io::{Read as _, Write as _};
use std::net::TcpListener;
use std::path::Path;
use std::process::{Command, ExitCode, Stdio};

use toolrunner_core::testing::http1::Connection;
use toolrunner_core::testing::{Chunk, Reply, Script, ScriptedModel};
use toolrunner_tests::firmware::{cargo, tls_identity};

const BOARD: &str = "lm3s6965evb";

struct Stage {
    name: &'static str,
    program: &'static str,
    /// Features beside the board's and `quiet`; TLS is `tls`, and with records of 4 KiB
    /// `small-records` too.
    features: &'static [&'static str],
    /// Requests that the image makes.
    turns: u32,
}

const STAGES: [Stage; 7] = [
    Stage { name: "bare", program: "bare", features: &[], turns: 1 },
    Stage { name: "network", program: "network", features: &[], turns: 1 },
    Stage { name: "http", program: "exchange", features: &[], turns: 2 },
    Stage { name: "tls", program: "exchange", features: &["tls"], turns: 2 },
    Stage { name: "agent-http", program: "agent", features: &[], turns: 3 },
    Stage { name: "agent-tls", program: "agent", features: &["tls"], turns: 3 },
    Stage { name: "agent-tls-4k", program: "agent", features: &["tls", "small-records"], turns: 3 },
];

/// Bytes of the agent's transcript.
const TRANSCRIPT: u32 = 8192;

/// Instructions in a cycle of the board's clock (80 ns) at QEMU's `-icount shift=4` (16 ns each).
const INSTRUCTIONS_IN_A_CYCLE: u32 = 5;

/// Spared in images that are to be small: what `{:?}` prints, where a panic was, and its text.
const SMALL: &str = r#"target."cfg(all(target_arch = \"arm\", target_os = \"none\"))".rustflags=["-Z","fmt-debug=none","-Z","location-detail=none","-Z","unstable-options","-C","panic=immediate-abort"]"#;

fn main() -> ExitCode {
    let firmware = Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples/firmware");
    let file = firmware.join("sizes.txt");
    let kept = std::fs::read_to_string(&file).unwrap_or_default();
    let mut text = String::from(
        "# stage figure goal last (bytes, `turn` in 1000 instructions; goal - for none). Written by `BLESS=1 cargo run -p toolrunner-tests --bin sizes`.\n",
    );
    let (mut passed, mut failed) = (0, 0);
    let mut measured: Vec<(&str, Vec<(&str, u32)>)> = Vec::new();
    for stage in STAGES {
        match measure(&firmware, &stage) {
            Some(figures) => measured.push((stage.name, figures.to_vec())),
            None => {
                println!("FAILED {}: no image, or it did not run", stage.name);
                failed += 1;
            }
        }
    }
    match core(&measured) {
        Some(figures) => measured.push(("core", figures.to_vec())),
        None => {
            println!("FAILED core: no two images to compare");
            failed += 1;
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
            let (goal, last) = (word(2), word(3).parse::<u32>().unwrap_or(value));
            let verdict = match goal.parse::<u32>() {
                _ if value > most(figure, last) => "FAILED, grown",
                Ok(goal) if value > goal => "ok, over the goal",
                _ => "ok",
            };
            if verdict.starts_with("FAILED") {
                failed += 1
            } else {
                passed += 1
            }
            println!("{verdict:18} {stage:12} {figure:8} {value:7}, before {last:7}, goal {goal}");
            writeln!(text, "{stage} {figure} {goal} {value}").expect("a string grows");
        }
    }
    println!("{passed} passed, {failed} failed");
    if std::env::var_os("BLESS").is_some() {
        std::fs::write(file, text).expect("sizes.txt can be written");
        return ExitCode::SUCCESS;
    }
    if failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// How much a figure may be that was `last`.
fn most(figure: &str, last: u32) -> u32 {
    // Few instructions are counted in whole thousands, and depend on how many packets there were.
    if figure == "turn" { last + last / 10 + 5 } else { last + last * 3 / 100 }
}

/// What an agent needs over an exchange without the loop.
fn core(measured: &[(&str, Vec<(&str, u32)>)]) -> Option<[(&'static str, u32); 2]> {
    let of = |stage: &str, figure: &str| {
        let (_, figures) = measured.iter().find(|(name, _)| *name == stage)?;
        figures.iter().find(|(name, _)| *name == figure).map(|(_, value)| *value)
    };
    let more = |figure: &str| of("agent-http", figure)?.checked_sub(of("http", figure)?);
    Some([("flash", more("flash")?), ("memory", more("memory")?.checked_sub(TRANSCRIPT)?)])
}

/// Flash, statics, stack, their sum, the main task's future, and instructions for a turn.
fn measure(firmware: &Path, stage: &Stage) -> Option<[(&'static str, u32); 6]> {
    let Stage { program, features, turns, .. } = *stage;
    let features = [&[BOARD, "quiet"], features].concat().join(",");
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
    build.args(["--config", SMALL]);
    if !build.status().ok()?.success() {
        return None;
    }
    let image = firmware.join("target/sizes/thumbv7m-none-eabi/release").join(program);
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

/// Runs the image against a model that calls a tool and says something, and gives what it reports:
/// its deepest stack, and the cycles in which it had something to do.
fn run(firmware: &Path, image: &Path, features: &[&str]) -> Option<(u32, u32)> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).ok()?;
    let port = listener.local_addr().ok()?.port();
    let tls = features.contains(&"tls");
    // What fits the board's buffer with what a record has around its content.
    let most = features.contains(&"small-records").then_some(4096);
    let identity = tls.then(|| tls_identity(firmware, most));
    std::thread::spawn(move || {
        let mut model = ScriptedModel::new(Script::new().then(|request| {
            let asked =
                request.transcript().windows(7).filter(|part| part == b"toolu_1").count() > 0;
            if asked {
                Reply::text("Done.").into()
            } else {
                Reply::new().tool_use("toolu_1", "temperature", "{}").into()
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
