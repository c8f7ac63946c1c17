use std::ffi::OsString;
use std::io::{Read as _, Write as _};
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt as _;
use std::process::{Command, Stdio};

use ha_core::time::Time;
use rustix::event::{PollFd, PollFlags, poll};
use rustix::io::retry_on_intr;
use rustix::process::{Pid, Signal, WaitStatus, getpid, getppid, set_parent_process_death_signal};
use signal_hook::consts::SIGCHLD;

use super::lines::LineBuffer;
use super::{Ended, Error, own_executable, process, tree, workload_command};
use crate::clock::BootTimer;

/// Leads the workload's group: ends it when the keeper dies, and also at the end that the keeper told it,
/// should the keeper be frozen.
pub(super) fn main(args: &[OsString]) -> Ended {
    let (program, arguments) = workload_command(args)?;
    process::shrug_off_signals()?;
    tree::adopt_orphans()?;
    let mut keeper = process::socket_on_stdin()?;
    let (died, died_tx) = UnixStream::pair().map_err(Error::system("make a socket"))?;
    died.set_nonblocking(true).map_err(Error::system("set up a socket"))?;
    signal_hook::low_level::pipe::register(SIGCHLD, died_tx).map_err(Error::system("watch the workload"))?;

    let timer = BootTimer::new().map_err(Error::system("make a timer"))?;
    let me = getpid().as_raw_nonzero().get().to_string();
    let workload = Command::new(own_executable())
        .arg("exec-workload")
        .arg(me)
        .arg("--")
        .arg(program)
        .args(arguments)
        .stdin(Stdio::null())
        .spawn();
    let workload = match workload {
        Ok(child) => Pid::from_child(&child),
        Err(error) => {
            let _ = writeln!(keeper, "failed cannot be started: {error}");
            return Ok(super::FAILED);
        }
    };
    watch(&mut keeper, &died, &timer, workload)?;
    tree::destroy(None);
    Ok(0)
}

/// Returns when the workload has to end.
fn watch(keeper: &mut UnixStream, mut died: &UnixStream, timer: &BootTimer, workload: Pid) -> Result<(), Error> {
    let mut lines = LineBuffer::default();
    let mut buffer = [0; 512];
    loop {
        let ready = {
            let mut fds = [
                PollFd::new(keeper, PollFlags::IN),
                PollFd::new(died, PollFlags::IN),
                PollFd::new(timer, PollFlags::IN),
            ];
            retry_on_intr(|| poll(&mut fds, None)).map_err(Error::system("wait"))?;
            fds.map(|fd| !fd.revents().is_empty())
        };
        if ready[2] {
            return Ok(());
        }
        if ready[1] {
            let _ = died.read(&mut buffer);
            if let Some(status) = tree::reap(workload) {
                let _ = writeln!(keeper, "{}", ending(status));
            }
        }
        if ready[0] {
            match keeper.read(&mut buffer) {
                Err(error) if process::nothing_yet(&error) => {}
                Ok(0) | Err(_) => return Ok(()),
                Ok(n) => {
                    let Some(told) = lines.feed(&buffer[..n]) else { return Ok(()) };
                    let end = told.last().and_then(|line| line.parse().ok()).map(Time::from_ms);
                    if end.is_some() {
                        timer.set(end).map_err(Error::system("set a timer"))?;
                    }
                }
            }
        }
    }
}

fn ending(status: WaitStatus) -> String {
    match (status.exit_status(), status.terminating_signal()) {
        (Some(0), _) => "done with code 0".to_owned(),
        (Some(code), _) => format!("failed with code {code}"),
        (_, Some(signal)) => format!("failed by signal {signal}"),
        _ => "failed in an unknown way".to_owned(),
    }
}

/// Becomes the workload, which the kernel kills when the guard dies.
pub(super) fn exec_workload(args: &[OsString]) -> Ended {
    let guard = args.first().and_then(|arg| arg.to_str()?.parse::<i32>().ok()).ok_or(Error::Usage("no guard"))?;
    let (program, arguments) = workload_command(args)?;
    set_parent_process_death_signal(Some(Signal::KILL)).map_err(Error::system("tie the workload to its guard"))?;
    if getppid().map(|pid| pid.as_raw_nonzero().get()) != Some(guard) {
        return Ok(super::FAILED);
    }
    let error = Command::new(program).args(arguments).exec();
    eprintln!("error: cannot run the workload {}: {error}", program.display());
    Ok(if error.kind() == std::io::ErrorKind::NotFound { NOT_FOUND } else { NOT_EXECUTABLE })
}

/// The codes that shells use.
const NOT_FOUND: u8 = 127;
const NOT_EXECUTABLE: u8 = 126;
