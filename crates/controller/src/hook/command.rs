use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::process::ExitStatusExt as _;
use std::path::Path;
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process_group};
use tokio::io::{AsyncRead, AsyncReadExt as _};
use tokio::process::{Child, Command};

use super::{Answer, Event, Failed, SAID_MAX, tamed};

/// What a command inherits of our environment. The rest may hold secrets.
const INHERITED: [&str; 5] = ["PATH", "HOME", "LANG", "TZ", "TMPDIR"];

/// So many lines of a command's output go into the log.
const LINES_MAX: usize = 50;

/// Runs a command to its end: exit code 0 is a yes, any other a no. It has ended when nothing holds its output any
/// more; what runs longer than `time` is killed, with everything that it has started.
pub(super) async fn call(words: &[String], time: Duration, event: &Event, hook: &str) -> Result<Answer, Failed> {
    let Some((program, arguments)) = words.split_first() else {
        return Err(Failed::Lasting("there is no program to run".to_owned()));
    };
    let mut command = Command::new(program);
    command.args(arguments).env_clear().envs(event.environment(hook));
    command.envs(INHERITED.iter().filter_map(|name| Some((name, std::env::var_os(name)?))));
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).process_group(0);
    let child = command.spawn().map_err(|e| Failed::Lasting(format!("{program} cannot be started: {e}")))?;
    let group = Group::of(&child);
    let ended = tokio::time::timeout(time, to_the_end(child, event, hook)).await;
    match ended {
        Ok(Ok((status, last))) => {
            group.let_go();
            answer(status, last)
        }
        Ok(Err(error)) => Err(Failed::Passing(format!("{program} cannot be waited for: {error}"))),
        Err(_) => Err(Failed::Passing(format!("{program} was killed: it ran longer than {} ms", time.as_millis()))),
    }
}

/// Whether there is such a program, as a call would find it.
pub(super) fn look(words: &[String]) -> Result<(), String> {
    let program = words.first().map_or("", String::as_str);
    let may_run =
        |path: &Path| path.metadata().is_ok_and(|found| found.is_file() && found.permissions().mode() & 0o111 != 0);
    let path = std::env::var_os("PATH").unwrap_or_default();
    let found = if program.contains('/') {
        may_run(Path::new(program))
    } else {
        std::env::split_paths(&path).any(|folder| may_run(&folder.join(program)))
    };
    if found { Ok(()) } else { Err(format!("there is no program {program} that may be run")) }
}

async fn to_the_end(mut child: Child, event: &Event, hook: &str) -> std::io::Result<(ExitStatus, String)> {
    let (out, err) = (child.stdout.take(), child.stderr.take());
    let log = |line: &str| tracing::info!(pool = %event.pool, hook, "{line}");
    let (status, out, err) = tokio::join!(child.wait(), last_line(out, log), last_line(err, log));
    Ok((status?, if err.is_empty() { out } else { err }))
}

fn answer(status: ExitStatus, last: String) -> Result<Answer, Failed> {
    if status.success() {
        return Ok(Answer::Yes);
    }
    match status.code() {
        Some(code) if last.is_empty() => Ok(Answer::No(format!("exit code {code}"))),
        Some(_) => Ok(Answer::No(last)),
        None => Err(Failed::Passing(format!("it was ended by signal {}", status.signal().unwrap_or_default()))),
    }
}

/// Logs what comes, line by line, and gives the last line that says something.
async fn last_line(from: Option<impl AsyncRead + Unpin>, log: impl Fn(&str)) -> String {
    let Some(mut from) = from else { return String::new() };
    let (mut last, mut line, mut lines) = (String::new(), Vec::new(), 0);
    let mut chunk = [0; 4_096];
    loop {
        let read = from.read(&mut chunk).await.unwrap_or(0);
        for byte in chunk[..read].iter().copied().chain((read == 0).then_some(b'\n')) {
            if byte != b'\n' {
                // The end of a long line is let go.
                if line.len() < SAID_MAX {
                    line.push(byte);
                }
                continue;
            }
            let said = tamed(&String::from_utf8_lossy(&line));
            line.clear();
            if !said.is_empty() {
                lines += 1;
                if lines <= LINES_MAX {
                    log(&said);
                }
                last = said;
            }
        }
        if read == 0 {
            return last;
        }
    }
}

/// A command and all that it has started; killed when dropped.
struct Group(Option<Pid>);

impl Group {
    fn of(child: &Child) -> Self {
        Self(child.id().and_then(|id| i32::try_from(id).ok()).and_then(Pid::from_raw))
    }

    /// Nothing holds its output any more, so there is nothing to kill.
    fn let_go(mut self) {
        self.0 = None;
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        if let Some(group) = self.0 {
            let _ = kill_process_group(group, Signal::KILL);
        }
    }
}
