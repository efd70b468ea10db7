//! A shell that keeps its state between commands.

use core::hash::{BuildHasher, Hasher};
use core::time::Duration;
use std::collections::BTreeMap;
use std::hash::RandomState;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use rustix::process::{Pid, Signal, kill_process_group};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::process::{Child, ChildStdin, ChildStdout, Command};
use tokio::sync::Mutex;
use toolrunner_core::tool::ToolError;

use super::bash::Commands;

/// How a [`Shell`] runs.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct ShellSettings {
    /// The program. Default: `/bin/bash`.
    pub program: PathBuf,
    /// The directory where the shell starts. It can leave it.
    pub directory: PathBuf,
    /// The whole environment of the shell. Default: `PATH` with the system's directories, `HOME`
    /// with [`directory`](Self::directory), and `LANG`. Nothing of this process's environment, so
    /// that no credential is in reach of a command.
    pub environment: BTreeMap<String, String>,
    /// How long a command may run, unless the call says otherwise. Default: 120 s.
    pub time: Duration,
    /// The longest time that a call may ask for. Default: 10 minutes.
    pub longest_time: Duration,
    /// How many bytes of a command's output the model receives: the last ones, with a note that
    /// the beginning was cut. Default: 100 KiB.
    pub output_bytes: usize,
}

impl ShellSettings {
    /// Returns the defaults for a directory.
    pub fn new(directory: impl Into<PathBuf>) -> Self {
        let directory = directory.into();
        let home = directory.to_string_lossy().into_owned();
        let environment = [
            ("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin".to_owned()),
            ("HOME", home),
            ("LANG", "C.UTF-8".to_owned()),
        ];
        Self {
            program: "/bin/bash".into(),
            directory,
            environment: environment.map(|(name, value)| (name.to_owned(), value)).into(),
            time: Duration::from_secs(120),
            longest_time: Duration::from_mins(10),
            output_bytes: 100 << 10,
        }
    }
}

/// A shell that keeps its directory, its variables and its background jobs between commands, as
/// the SDKs' bash tool does.
///
/// **Not confined**: a command can do whatever this process may do. Run it in a container or a
/// virtual machine.
///
/// A command receives no input. Its output and its errors are one text. If it runs too long, or if
/// the call is dropped, the shell and the whole process group are killed; the next command starts a
/// new shell after a restart. A program that leaves the group (`setsid`) is not killed. The shell
/// is killed when this value is dropped.
///
/// It needs a tokio runtime.
#[derive(Debug)]
pub struct Shell {
    settings: ShellSettings,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
enum State {
    /// No command ran yet.
    #[default]
    New,
    Running(Box<Session>),
    /// The shell exited or was killed.
    Ended,
}

impl Shell {
    /// Creates a shell with the default settings, which starts in this directory. The process
    /// starts with the first command.
    pub fn new(directory: impl AsRef<Path>) -> Self {
        Self::with(ShellSettings::new(directory.as_ref()))
    }

    /// Creates a shell with these settings.
    pub fn with(settings: ShellSettings) -> Self {
        Self { settings, state: Mutex::default() }
    }
}

impl Commands for Shell {
    async fn run(&self, command: &str, time: Option<Duration>) -> Result<String, ToolError> {
        if command.contains('\0') {
            return Err(ToolError::new("bash: command must not contain NUL"));
        }
        let time = time.unwrap_or(self.settings.time).min(self.settings.longest_time);
        let mut state = self.state.lock().await;
        // A call that is dropped leaves `Ended` behind, and the session's drop kills the group.
        let mut session = match core::mem::replace(&mut *state, State::Ended) {
            State::Running(session) => session,
            State::New => Box::new(Session::start(&self.settings)?),
            State::Ended => {
                return Err(ToolError::new("bash: bash session terminated; restart required"));
            }
        };
        let work = session.run(command, self.settings.output_bytes);
        let Ok(outcome) = tokio::time::timeout(time, work).await else {
            return Err(ToolError::format(format_args!(
                "bash: bash command timed out after {}s",
                time.as_secs_f64()
            )));
        };
        let (text, code) = outcome?;
        if code.is_some() {
            *state = State::Running(session);
        }
        match code {
            Some(0) => Ok(text),
            _ if !text.is_empty() => Err(ToolError::text(text)),
            Some(code) => Err(ToolError::format(format_args!("exit code {code}"))),
            None => Err(ToolError::new("the shell exited")),
        }
    }

    async fn restart(&self) -> Result<String, ToolError> {
        let mut state = self.state.lock().await;
        *state = State::Ended;
        *state = State::Running(Box::new(Session::start(&self.settings)?));
        Ok("bash session restarted".to_owned())
    }
}

/// A running shell. Its process group is killed when this is dropped.
#[derive(Debug)]
struct Session {
    child: Child,
    input: ChildStdin,
    output: ChildStdout,
    group: Option<Pid>,
}

impl Session {
    fn start(settings: &ShellSettings) -> Result<Self, ToolError> {
        let mut child = Command::new(&settings.program)
            .args(["--noprofile", "--norc"])
            .current_dir(&settings.directory)
            .env_clear()
            .envs(&settings.environment)
            .envs([("PS1", ""), ("PS2", ""), ("TERM", "dumb")])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            // Commands redirect theirs. What the shell itself writes there has no reader.
            .stderr(Stdio::null())
            .process_group(0)
            .kill_on_drop(true)
            .spawn()
            .map_err(|error| {
                tracing::error!(error = %crate::EscapedText(&error), "the shell did not start");
                ToolError::format(format_args!("bash: the shell did not start: {}", error.kind()))
            })?;
        let group = child.id().and_then(|id| Pid::from_raw(i32::try_from(id).ok()?));
        match (child.stdin.take(), child.stdout.take()) {
            (Some(input), Some(output)) => Ok(Self { child, input, output, group }),
            _ => Err(ToolError::new("bash: the shell has no pipes")),
        }
    }

    /// Runs a command. Returns its output and its exit code, or no code if the shell exited.
    async fn run(
        &mut self,
        command: &str,
        limit: usize,
    ) -> Result<(String, Option<i32>), ToolError> {
        // Random, so that no command can print the end of its own output. Random keys come from the
        // system.
        let [a, b] = [(), ()].map(|()| RandomState::new().build_hasher().finish());
        let mark = format!("__END_{a:016x}{b:016x}__");
        // `eval` of a quoted text: a command with a syntax error cannot swallow what follows.
        let quoted = command.replace('\'', r"'\''");
        let line = format!("eval '{quoted}' </dev/null 2>&1\nprintf '\\n{mark}%d\\n' \"$?\"\n");
        if self.input.write_all(line.as_bytes()).await.is_err() {
            return Ok((String::new(), None));
        }
        let mut output = Tail { bytes: Vec::new(), limit, cut: false };
        let mut chunk = [0; 8192];
        let code = loop {
            let read = self.output.read(&mut chunk).await.unwrap_or(0);
            if read == 0 {
                break None;
            }
            output.push(chunk.get(..read).unwrap_or_default(), mark.len() + 16);
            if let Some(code) = output.code_after(&mark) {
                break Some(code);
            }
        };
        if code.is_none() {
            let _status = self.child.wait().await;
        }
        Ok((output.into_text(), code))
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        // Not if the shell was waited for: then its id may belong to another process.
        if let (Some(group), Some(_running)) = (self.group, self.child.id()) {
            let _gone = kill_process_group(group, Signal::KILL);
        }
    }
}

/// The last bytes of an output.
struct Tail {
    bytes: Vec<u8>,
    limit: usize,
    cut: bool,
}

impl Tail {
    /// Appends bytes, and removes the first ones beyond the limit and `room` for the mark.
    fn push(&mut self, bytes: &[u8], room: usize) {
        self.bytes.extend_from_slice(bytes);
        let excess = self.bytes.len().saturating_sub(self.limit.saturating_add(room));
        if excess > 0 {
            self.bytes.drain(..excess);
            self.cut = true;
        }
    }

    /// If the output ends with the mark and an exit code, removes both and returns the code.
    fn code_after(&mut self, mark: &str) -> Option<i32> {
        // The mark is near the end: it is the last thing that the shell writes.
        let from = self.bytes.len().saturating_sub(8192 + mark.len() + 16);
        let recent = self.bytes.get(from..)?;
        let at = recent.windows(mark.len()).position(|window| window == mark.as_bytes())?;
        let rest = recent.get(at + mark.len()..)?;
        let end = rest.iter().position(|byte| *byte == b'\n')?;
        let code = core::str::from_utf8(rest.get(..end)?).ok()?.parse().ok()?;
        self.bytes.truncate(from + at);
        Some(code)
    }

    fn into_text(mut self) -> String {
        let excess = self.bytes.len().saturating_sub(self.limit.saturating_add(1));
        if excess > 0 {
            self.bytes.drain(..excess);
            self.cut = true;
        }
        let text = without_escapes(&String::from_utf8_lossy(&self.bytes));
        let text = text.trim_end_matches('\n');
        if self.cut { format!("[output truncated]\n{text}") } else { text.to_owned() }
    }
}

/// Removes the escape sequences of terminals (CSI).
fn without_escapes(text: &str) -> String {
    let mut plain = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, after)) = rest.split_once("\u{1b}[") {
        plain.push_str(before);
        let parameters = after.trim_start_matches(|c| matches!(c, '0'..='?'));
        let intermediate = parameters.trim_start_matches(|c| matches!(c, ' '..='/'));
        let mut end = intermediate.chars();
        match end.next() {
            Some('@'..='~') => rest = end.as_str(),
            _ => {
                plain.push_str("\u{1b}[");
                rest = after;
            }
        }
    }
    plain.push_str(rest);
    plain
}
