//! The keeper with real processes: whatever is killed or frozen, the workload is gone in time.

use std::fs;
use std::io::{BufRead as _, BufReader, Write as _};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use ha_core::ids::Term;
use ha_core::time::{Millis, Time};
use iotedge_ha_agent::clock::boot_now;
use iotedge_ha_agent::keeper::{KeeperArgs, Lease, Order, Report, Restart, RestartPolicy};
use rustix::fs::{FlockOperation, flock};
use rustix::process::{Pid, Signal, kill_process};

const PATIENCE: Duration = Duration::from_secs(120);
const TERM: Term = Term(7);

/// A keeper and the agent's end of its socket.
struct Keeper {
    process: Child,
    socket: Option<UnixStream>,
    reports: BufReader<UnixStream>,
    dir: tempfile::TempDir,
}

impl Keeper {
    /// Starts a keeper for a shell script, which finds the folder for its marks in `$DIR`.
    fn start(script: &str) -> Self {
        let dir = tempfile::tempdir().unwrap();
        Self::start_in(dir, script)
    }

    fn start_in(dir: tempfile::TempDir, script: &str) -> Self {
        let (socket, theirs) = UnixStream::pair().unwrap();
        socket.set_read_timeout(Some(PATIENCE)).unwrap();
        let restart = Restart { policy: RestartPolicy::Always, backoff_min: Millis(10), backoff_max: Millis(100) };
        let workload = ["sh", "-c", script].map(Into::into).to_vec();
        let args = KeeperArgs { lock: dir.path().join("keeper.lock"), restart, workload };
        let process = Command::new(env!("CARGO_BIN_EXE_iotedge-ha-agent"))
            .args(args.to_args())
            .env("DIR", dir.path())
            .stdin(Stdio::from(OwnedFd::from(theirs)))
            .spawn()
            .unwrap();
        let reports = BufReader::new(socket.try_clone().unwrap());
        Self { process, socket: Some(socket), reports, dir }
    }

    fn order(&mut self, order: Order) {
        writeln!(self.socket.as_mut().unwrap(), "{order}").unwrap();
    }

    fn report(&mut self) -> Report {
        let mut line = String::new();
        self.reports.read_line(&mut line).unwrap();
        line.trim_end().parse().unwrap()
    }

    fn open(&mut self, lease: Lease) {
        assert_eq!(self.report(), Report::Ready);
        self.order(Order::Open { term: TERM, lease });
        assert_eq!(self.report(), Report::Armed { term: TERM, end: lease.end });
        assert_eq!(self.report(), Report::Running { term: TERM });
    }

    /// Opens with a lease that begins now, and begins again if it ended before the workload had written its number: a short lease may be
    /// too short for a busy machine.
    fn open_shortly(&mut self, stop_ms: u64, kill_ms: u64) -> (Lease, i32) {
        assert_eq!(self.report(), Report::Ready);
        let path = self.dir.path().join("own");
        let start = Instant::now();
        loop {
            assert!(start.elapsed() < PATIENCE, "the workload has not begun within any lease");
            let _ = fs::remove_file(&path);
            let lease = lease(stop_ms, kill_ms);
            self.order(Order::Open { term: TERM, lease });
            if matches!(self.report(), Report::Armed { .. }) {
                assert_eq!(self.report(), Report::Running { term: TERM });
                wait_until("a mark or an end", || is_written(&path) || boot_now() >= lease.stop_at);
                if is_written(&path) {
                    return (lease, self.pid("own"));
                }
            }
            assert_eq!(self.report(), Report::Closed { term: TERM });
        }
    }

    /// The process that wrote its number into this file.
    fn pid(&self, mark: &str) -> i32 {
        let path = self.dir.path().join(mark);
        wait_until(mark, || is_written(&path));
        fs::read_to_string(path).unwrap().trim().parse().unwrap()
    }

    fn kill(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.process), signal).unwrap();
    }

    fn hang_up(&mut self) {
        let socket = self.socket.take().unwrap();
        socket.shutdown(std::net::Shutdown::Both).unwrap();
    }

    fn lock_is_free(&self) -> bool {
        let file = fs::File::open(self.dir.path().join("keeper.lock")).unwrap();
        flock(&file, FlockOperation::NonBlockingLockExclusive).is_ok()
    }
}

impl Drop for Keeper {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn wait_until(what: &str, mut holds: impl FnMut() -> bool) {
    let start = Instant::now();
    while !holds() {
        assert!(start.elapsed() < PATIENCE, "waited in vain: {what}");
        std::thread::sleep(Duration::from_millis(2));
    }
}

fn is_written(mark: &Path) -> bool {
    fs::read_to_string(mark).is_ok_and(|text| text.ends_with('\n'))
}

fn is_gone(pid: i32) -> bool {
    match fs::read_to_string(format!("/proc/{pid}/stat")) {
        Err(_) => true,
        Ok(stat) => stat.rsplit_once(") ").is_some_and(|(_, rest)| rest.starts_with(['Z', 'X'])),
    }
}

/// A lease that asks to stop after `stop_ms`, kills after `kill_ms` and must be over long after that.
fn lease(stop_ms: u64, kill_ms: u64) -> Lease {
    let at = |ms| boot_now() + Millis(ms);
    Lease { stop_at: at(stop_ms), kill_at: at(kill_ms), end: at(kill_ms + 120_000) }
}

fn long() -> Lease {
    lease(600_000, 700_000)
}

const MARK_AND_WAIT: &str = r#"echo $$ > "$DIR/own.new"; mv "$DIR/own.new" "$DIR/own"; while :; do sleep 1; done"#;
const STUBBORN: &str = r#"trap "" TERM; echo $$ > "$DIR/own"; while :; do sleep 1; done"#;
const WITH_ESCAPEE: &str = r#"
    setsid sh -c 'trap "" TERM HUP; exec 1>&- 2>&-; echo $$ > "$DIR/escaped"; while :; do sleep 1; done' &
    sleep 1000 & echo $! > "$DIR/child"
    echo $$ > "$DIR/own"; wait"#;

#[test]
fn a_workload_that_ignores_sigterm_is_gone_at_the_lease_end() {
    let mut keeper = Keeper::start(STUBBORN);
    let (lease, own) = keeper.open_shortly(200, 600);
    assert_eq!(keeper.report(), Report::Closed { term: TERM });
    assert!(is_gone(own));
    assert!(boot_now() >= lease.kill_at && boot_now() < lease.end);
}

#[test]
fn an_extended_workload_runs_on_and_stops_when_asked() {
    let mut keeper = Keeper::start(MARK_AND_WAIT);
    keeper.open(lease(60_000, 70_000));
    let own = keeper.pid("own");
    let longer = long();
    keeper.order(Order::Extend { term: TERM, lease: longer });
    assert_eq!(keeper.report(), Report::Armed { term: TERM, end: longer.end });
    assert!(!is_gone(own));
    keeper.order(Order::Close { term: TERM, kill_at: boot_now() + Millis(300_000) });
    assert_eq!(keeper.report(), Report::Closed { term: TERM });
    assert!(is_gone(own));
}

#[test]
fn children_and_those_who_left_the_group_go_too() {
    let mut keeper = Keeper::start(WITH_ESCAPEE);
    keeper.open(long());
    let pids = ["own", "child", "escaped"].map(|mark| keeper.pid(mark));
    keeper.order(Order::Close { term: TERM, kill_at: boot_now() + Millis(300_000) });
    assert_eq!(keeper.report(), Report::Closed { term: TERM });
    assert!(pids.into_iter().all(is_gone));
}

#[test]
fn a_killed_agent_takes_the_workload_along() {
    let mut keeper = Keeper::start(WITH_ESCAPEE);
    keeper.open(long());
    let pids = ["own", "child", "escaped"].map(|mark| keeper.pid(mark));
    keeper.hang_up();
    assert!(keeper.process.wait().unwrap().success());
    assert!(pids.into_iter().all(is_gone) && keeper.lock_is_free());
}

#[test]
fn a_killed_keeper_takes_the_workload_along() {
    let mut keeper = Keeper::start(WITH_ESCAPEE);
    keeper.open(long());
    let pids = ["own", "child", "escaped"].map(|mark| keeper.pid(mark));
    assert!(!keeper.lock_is_free());
    keeper.kill(Signal::KILL);
    wait_until("the workload is gone", || pids.into_iter().all(is_gone));
    wait_until("the lock is free", || keeper.lock_is_free());
}

#[test]
fn a_frozen_keeper_is_stood_in_for_by_the_guard() {
    let mut keeper = Keeper::start(STUBBORN);
    let (lease, own) = keeper.open_shortly(500, 1_000);
    keeper.kill(Signal::STOP);
    wait_until("the workload is gone", || is_gone(own));
    assert!(boot_now() < lease.end);
}

#[test]
fn a_silent_agent_does_not_keep_the_timer_from_running() {
    let mut keeper = Keeper::start(MARK_AND_WAIT);
    let (lease, own) = keeper.open_shortly(300, 10_000);
    wait_until("the workload is gone", || is_gone(own));
    assert!(boot_now() < lease.end);
    assert_eq!(keeper.report(), Report::Closed { term: TERM });
}

#[test]
fn a_killed_guard_ends_the_workload_and_a_new_one_is_started() {
    let mut keeper = Keeper::start(MARK_AND_WAIT);
    keeper.open(long());
    let own = keeper.pid("own");
    let guard = parent(own);
    kill_process(Pid::from_raw(guard).unwrap(), Signal::KILL).unwrap();
    assert_eq!(keeper.report(), Report::Exited { term: TERM, how: "its guard died".to_owned() });
    assert!(is_gone(own));
    assert_eq!(keeper.report(), Report::Running { term: TERM });
    wait_until("another one runs", || keeper.pid("own") != own);
}

#[test]
fn a_crash_is_told_with_its_code_and_the_term_is_in_the_environment() {
    let mut keeper =
        Keeper::start(r#"[ "$HA_TERM" = 7 ] || exit 99; [ -e "$DIR/once" ] && sleep 1000; > "$DIR/once"; exit 3"#);
    keeper.open(long());
    assert_eq!(keeper.report(), Report::Exited { term: TERM, how: "with code 3".to_owned() });
    assert_eq!(keeper.report(), Report::Running { term: TERM });
}

#[test]
fn a_keeper_waits_until_nothing_of_its_predecessor_is_left() {
    let mut first = Keeper::start(MARK_AND_WAIT);
    first.open(long());
    let own = first.pid("own");
    let lock = first.dir.path().join("keeper.lock");
    let second_dir = tempfile::tempdir().unwrap();
    fs::hard_link(&lock, second_dir.path().join("keeper.lock")).unwrap();
    let mut second = Keeper::start_in(second_dir, "exit 0");
    first.kill(Signal::KILL);
    assert_eq!(second.report(), Report::Ready);
    assert!(is_gone(own));
}

#[test]
fn a_sigterm_to_everybody_leaves_the_stopping_to_the_agent() {
    let mut keeper = Keeper::start(STUBBORN);
    keeper.open(long());
    let own = keeper.pid("own");
    keeper.kill(Signal::TERM);
    kill_process(Pid::from_raw(parent(own)).unwrap(), Signal::TERM).unwrap();
    keeper.order(Order::Extend { term: TERM, lease: long() });
    assert!(matches!(keeper.report(), Report::Armed { .. }));
    assert!(!is_gone(own));
}

#[test]
fn nonsense_from_the_agent_ends_the_workload() {
    let mut keeper = Keeper::start(MARK_AND_WAIT);
    keeper.open(long());
    let own = keeper.pid("own");
    let endless = vec![b'x'; 4_096];
    let _ = keeper.socket.as_mut().unwrap().write_all(&endless);
    assert!(keeper.process.wait().unwrap().success());
    assert!(is_gone(own));
}

#[test]
fn a_lease_in_the_past_opens_nothing() {
    let mut keeper = Keeper::start(MARK_AND_WAIT);
    assert_eq!(keeper.report(), Report::Ready);
    let past = Time::from_ms(1);
    keeper.order(Order::Open { term: TERM, lease: Lease { stop_at: past, kill_at: past, end: past } });
    assert!(matches!(keeper.report(), Report::Refused { .. }));
}

fn parent(pid: i32) -> i32 {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    stat.rsplit_once(") ").unwrap().1.split(' ').nth(1).unwrap().parse().unwrap()
}

#[test]
fn the_lock_and_folder_are_named_when_they_cannot_be_had() {
    let args = KeeperArgs {
        lock: PathBuf::from("/nonexistent/keeper.lock"),
        restart: Restart { policy: RestartPolicy::Never, backoff_min: Millis(1), backoff_max: Millis(1) },
        workload: vec!["true".into()],
    };
    let output = Command::new(env!("CARGO_BIN_EXE_iotedge-ha-agent")).args(args.to_args()).output().unwrap();
    assert!(!output.status.success());
    assert!(String::from_utf8_lossy(&output.stderr).contains("lock file"), "{output:?}");
}
