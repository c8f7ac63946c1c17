use std::ffi::OsString;
use std::fs::{File, OpenOptions};
use std::io::{ErrorKind, Read as _, Write as _};
use std::os::fd::{AsFd as _, OwnedFd};
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use ha_core::ids::Term;
use ha_core::time::{Millis, Time};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{FlockOperation, flock};
use rustix::io::{Errno, FdFlags, fcntl_setfd, retry_on_intr};
use rustix::process::{Pid, Signal, kill_process_group};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};

use super::lines::{LineBuffer, Order, Report};
use super::state::{Act, Ending, Restart, State};
use super::{Ended, Error, own_executable, tree, workload_command};
use crate::clock::{BootTimer, boot_now};

/// The command line of a keeper.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct KeeperArgs {
    /// Its lock file: held by the keeper and everything below it.
    pub lock: PathBuf,
    /// When to start the workload again.
    pub restart: Restart,
    /// The workload's command line.
    pub workload: Vec<OsString>,
}

impl KeeperArgs {
    /// The arguments that start this keeper, the hidden subcommand first.
    pub fn to_args(&self) -> Vec<OsString> {
        let restart = self.restart;
        let mut args: Vec<OsString> = vec!["keeper".into(), self.lock.clone().into()];
        args.push(restart.policy.as_str().into());
        args.extend([restart.backoff_min, restart.backoff_max].map(|ms| ms.0.to_string().into()));
        args.push("--".into());
        args.extend(self.workload.iter().cloned());
        args
    }

    fn parse(args: &[OsString]) -> Result<Self, Error> {
        let (program, arguments) = workload_command(args)?;
        let [lock, policy, min, max, ..] = args else { return Err(Error::Usage("too few arguments")) };
        let ms = |arg: &OsString| arg.to_str().and_then(|a| a.parse().ok()).map(Millis);
        let parsed = || {
            let policy = policy.to_str()?.parse().ok()?;
            Some(Restart { policy, backoff_min: ms(min)?, backoff_max: ms(max)? })
        };
        let restart = parsed().ok_or(Error::Usage("bad restart policy"))?;
        let workload = std::iter::once(program).chain(arguments).cloned().collect();
        Ok(Self { lock: lock.into(), restart, workload })
    }
}

pub(super) fn main(args: &[OsString]) -> Ended {
    let args = KeeperArgs::parse(args)?;
    shrug_off_signals()?;
    tree::adopt_orphans()?;
    let socket = socket_on_stdin()?;
    let Some(_lock) = lock(&args.lock, &socket)? else { return Ok(0) };
    let state = State::new(args.restart);
    let mut keeper = Keeper {
        state,
        agent: Agent { socket, lines: LineBuffer::default(), gone: false },
        guard: None,
        timer: BootTimer::new().map_err(Error::system("make a timer"))?,
        workload: args.workload,
    };
    keeper.agent.say(&Report::Ready);
    let ended = keeper.work();
    keeper.guard.take().into_iter().for_each(|guard| tree::destroy(Some(guard.pid)));
    tree::destroy(None);
    ended.map(|()| 0)
}

/// Signals meant for the agent or the workload must not end those who look after the workload. Ignoring them would
/// be inherited by the workload, a handler is not.
pub(super) fn shrug_off_signals() -> Result<(), Error> {
    for signal in [SIGTERM, SIGINT, SIGHUP] {
        signal_hook::flag::register(signal, Arc::new(AtomicBool::new(false)))
            .map_err(Error::system("handle signals"))?;
    }
    Ok(())
}

pub(super) fn socket_on_stdin() -> Result<UnixStream, Error> {
    let socket = std::io::stdin().as_fd().try_clone_to_owned().map_err(Error::system("keep the socket"))?;
    let socket = UnixStream::from(socket);
    socket.set_nonblocking(true).map_err(Error::system("set up the socket"))?;
    Ok(socket)
}

/// Waits until no process of an earlier keeper is left; `None` if the agent dies first.
fn lock(path: &Path, agent: &UnixStream) -> Result<Option<File>, Error> {
    let file = OpenOptions::new().create(true).truncate(false).write(true).open(path);
    let file = file.map_err(Error::system("open the lock file"))?;
    fcntl_setfd(&file, FdFlags::empty()).map_err(Error::system("share the lock file"))?;
    loop {
        match flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => return Ok(Some(file)),
            Err(Errno::WOULDBLOCK | Errno::INTR) => {}
            Err(error) => return Err(Error::system("lock the lock file")(error)),
        }
        let pause = Timespec { tv_sec: 0, tv_nsec: 10_000_000 };
        let mut fds = [PollFd::new(agent, PollFlags::empty())];
        let _ = poll(&mut fds, Some(&pause));
        if fds[0].revents().intersects(PollFlags::HUP | PollFlags::ERR) {
            return Ok(None);
        }
    }
}

struct Keeper {
    state: State,
    agent: Agent,
    guard: Option<Guard>,
    timer: BootTimer,
    workload: Vec<OsString>,
}

struct Guard {
    pid: Pid,
    socket: UnixStream,
    lines: LineBuffer,
}

impl Keeper {
    /// Returns when the agent has gone.
    fn work(&mut self) -> Result<(), Error> {
        while !self.agent.gone {
            self.timer.set(self.state.next_wake()).map_err(Error::system("set a timer"))?;
            let (agent_ready, guard_ready) = self.wait()?;
            let acts = self.state.time_passed(boot_now());
            self.carry_out(acts)?;
            if guard_ready && let Some(ending) = self.guard.as_mut().and_then(Guard::hear) {
                let acts = self.state.ended(boot_now(), ending);
                self.carry_out(acts)?;
            }
            if agent_ready {
                for order in self.agent.hear() {
                    let acts = self.state.ordered(boot_now(), order);
                    self.carry_out(acts)?;
                }
            }
        }
        Ok(())
    }

    fn wait(&self) -> Result<(bool, bool), Error> {
        let agent = self.agent.socket.as_fd();
        let guard = self.guard.as_ref().map_or(agent, |guard| guard.socket.as_fd());
        let mut fds = [agent, guard, self.timer.as_fd()].map(|fd| PollFd::from_borrowed_fd(fd, PollFlags::IN));
        retry_on_intr(|| poll(&mut fds, None)).map_err(Error::system("wait"))?;
        Ok((!fds[0].revents().is_empty(), self.guard.is_some() && !fds[1].revents().is_empty()))
    }

    fn carry_out(&mut self, acts: Vec<Act>) -> Result<(), Error> {
        for act in acts {
            match act {
                Act::Start { term, kill_at } => match start(&self.workload, term, kill_at) {
                    Ok(guard) => self.guard = Some(guard),
                    Err(error) => {
                        let ending = Ending { success: false, how: format!("cannot be started: {error}") };
                        let acts = self.state.ended(boot_now(), ending);
                        return self.carry_out(acts);
                    }
                },
                Act::Prolong { kill_at } => self.guard.iter_mut().for_each(|guard| guard.prolong(kill_at)),
                Act::Terminate => {
                    if let Some(guard) = &self.guard {
                        let _ = kill_process_group(guard.pid, Signal::TERM);
                    }
                }
                Act::Destroy => tree::destroy(self.guard.take().map(|guard| guard.pid)),
                Act::Say(report) => self.agent.say(&report),
            }
        }
        Ok(())
    }
}

fn start(workload: &[OsString], term: Term, kill_at: Time) -> std::io::Result<Guard> {
    let (socket, theirs) = UnixStream::pair()?;
    socket.set_nonblocking(true)?;
    let child = Command::new(own_executable())
        .arg("guard")
        .arg("--")
        .args(workload)
        .env("HA_TERM", term.to_string())
        .stdin(Stdio::from(OwnedFd::from(theirs)))
        .process_group(0)
        .spawn()?;
    let mut guard = Guard { pid: Pid::from_child(&child), socket, lines: LineBuffer::default() };
    guard.prolong(kill_at);
    Ok(guard)
}

impl Guard {
    /// A guard that does not listen kills at the earlier end, which is safe.
    fn prolong(&mut self, kill_at: Time) {
        let _ = writeln!(self.socket, "{}", kill_at.as_ms());
    }

    /// How the workload ended, if it has.
    fn hear(&mut self) -> Option<Ending> {
        let mut buffer = [0; 512];
        match self.socket.read(&mut buffer) {
            Err(error) if nothing_yet(&error) => None,
            Ok(0) | Err(_) => Some(Ending { success: false, how: "its guard died".to_owned() }),
            Ok(n) => {
                let line = self.lines.feed(&buffer[..n])?.into_iter().next()?;
                let (word, how) = line.split_once(' ')?;
                Some(Ending { success: word == "done", how: how.to_owned() })
            }
        }
    }
}

pub(super) fn nothing_yet(error: &std::io::Error) -> bool {
    matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted)
}

/// The agent's end of the socket on standard input.
struct Agent {
    socket: UnixStream,
    lines: LineBuffer,
    gone: bool,
}

impl Agent {
    fn hear(&mut self) -> Vec<Order> {
        let mut buffer = [0; 1_024];
        match self.socket.read(&mut buffer) {
            Err(error) if nothing_yet(&error) => vec![],
            Ok(0) | Err(_) => {
                self.gone = true;
                vec![]
            }
            Ok(n) => self.understand(&buffer[..n]),
        }
    }

    /// Whoever speaks nonsense is not our agent: the workload ends.
    fn understand(&mut self, read: &[u8]) -> Vec<Order> {
        let orders = self.lines.feed(read).and_then(|lines| lines.iter().map(|line| line.parse().ok()).collect());
        self.gone |= orders.is_none();
        orders.unwrap_or_default()
    }

    /// An agent that has not read hundreds of lines is as good as gone.
    fn say(&mut self, report: &Report) {
        self.gone |= self.socket.write_all(format!("{report}\n").as_bytes()).is_err();
    }
}
