//! The built binaries against the emulator: the only tests that open ports or wait.
//!
//! Knows the programs from outside, as their users do: command lines, exit codes, what they print and what they leave behind.

pub mod guide;

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs::File;
use std::io::Read;
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::atomic::{AtomicU16, AtomicU32, Ordering};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use tempfile::TempDir;

/// How long anything is waited for before it is given up.
pub const PATIENCE: Duration = Duration::from_secs(120);

/// Timings of a pool whose holder keeps its lease whatever this machine is busy with; for stories in which none is to end.
pub const PATIENT: &str = "[pool.timings]\nttl_ms = 60000\ncall_timeout_ms = 20000\n";

/// Fails unless it comes about.
#[track_caller]
pub fn wait_until(what: &str, mut holds: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !holds() {
        assert!(Instant::now() < deadline, "never happened: {what}");
        std::thread::sleep(Duration::from_millis(50));
    }
}

/// The place of one test: a folder of its own, which is also the programs' place for temporary files, and a mark by which every
/// process that the test has started can be found.
pub struct Stage {
    folder: TempDir,
    mark: String,
}

/// The variable that carries the mark.
const MARK: &str = "IOTEDGE_HA_E2E_MARK";

impl Default for Stage {
    fn default() -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        Self {
            folder: tempfile::tempdir().expect("a folder for the test"),
            mark: format!("{}-{number}", std::process::id()),
        }
    }
}

impl Stage {
    /// Where the test and the programs may write.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Writes a file and gives its path.
    pub fn file(&self, name: &str, text: &str) -> String {
        let path = self.folder().join(name);
        std::fs::write(&path, text).expect("a file of the test");
        path.display().to_string()
    }

    /// `iotedge-ha` with these arguments, in a clean environment.
    pub fn command(&self, args: &[&str]) -> Command {
        let mut command = self.bare(program());
        command.args(args);
        command
    }

    /// Another program in the same clean environment.
    pub fn bare(&self, program: impl AsRef<OsStr>) -> Command {
        let mut command = Command::new(program);
        command
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap_or_default())
            .env("TMPDIR", self.folder())
            .env(MARK, &self.mark)
            .current_dir(self.folder())
            .stdin(Stdio::null());
        command
    }

    /// A search path on which `iotedge-ha` is found, for scripts.
    pub fn programs(&self) -> String {
        let folder = self.folder().join("programs");
        std::fs::create_dir_all(&folder).expect("a folder for the program");
        let link = folder.join("iotedge-ha");
        if !link.exists() {
            std::os::unix::fs::symlink(program(), &link).expect("a link to the program");
        }
        format!("{}:{}", folder.display(), std::env::var("PATH").unwrap_or_default())
    }

    /// Runs `iotedge-ha` to its end.
    pub fn run(&self, args: &[&str]) -> Ran {
        Ran::from(self.command(args).output().expect("the program starts"))
    }

    /// Starts `iotedge-ha` and leaves it running; it ends with the value.
    pub fn start(&self, args: &[&str]) -> Running {
        self.start_with(args, &[])
    }

    /// The same with variables in its environment.
    pub fn start_with(&self, args: &[&str], variables: &[(&str, &str)]) -> Running {
        let log = File::create(self.folder().join(format!("{}.log", args[0]))).expect("a log file");
        let mut command = self.command(args);
        command.envs(variables.iter().copied()).stdout(Stdio::piped()).stderr(log);
        Running { child: command.spawn().expect("the program starts") }
    }

    /// Starts an emulator on free ports, its state in the folder `hub`, and reads what it prints for a shell up to the variable `last`.
    pub fn start_hub(&self, more: &[&str], last: &str) -> (Running, BTreeMap<String, String>) {
        let state = self.folder().join("hub").display().to_string();
        let args = ["emulator", "--https-port=0", "--mqtt-port=0", "--print-env", "--state", &state];
        let mut hub = self.start(&[&args[..], more].concat());
        let variables = hub.wait_for_variables(last);
        (hub, variables)
    }

    /// The command lines of the processes that carry this test's mark.
    pub fn processes(&self) -> Vec<String> {
        self.marked(&[]).into_iter().map(|(_, line)| line).collect()
    }

    /// Kills the processes of this test that have a variable like `NAME=value` in their environment.
    pub fn kill_with(&self, variable: &str) {
        for (pid, _) in self.marked(&[variable]) {
            kill(&pid);
        }
    }

    fn marked(&self, more: &[&str]) -> Vec<(String, String)> {
        let mark = format!("{MARK}={}", self.mark);
        let Ok(entries) = std::fs::read_dir("/proc") else { return Vec::new() };
        let marked = entries.flatten().filter(|entry| {
            let environment = std::fs::read(entry.path().join("environ")).unwrap_or_default();
            let has = |wanted: &str| environment.split(|byte| *byte == 0).any(|found| found == wanted.as_bytes());
            has(&mark) && more.iter().all(|variable| has(variable))
        });
        marked
            .map(|entry| {
                let line = std::fs::read(entry.path().join("cmdline")).unwrap_or_default();
                let pid = entry.file_name().to_string_lossy().into_owned();
                (pid, String::from_utf8_lossy(&line).replace('\0', " "))
            })
            .filter(|(_, line)| !line.is_empty())
            .collect()
    }

    /// Fails unless every process of this test ends soon.
    pub fn expect_no_processes(&self) {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let left = self.processes();
            if left.is_empty() {
                return;
            }
            assert!(Instant::now() < deadline, "still running: {left:#?}");
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// Fails if anything lies about in the test's folder.
    pub fn expect_empty_folder(&self) {
        let entries = std::fs::read_dir(self.folder()).expect("the test's folder");
        let names = entries.flatten().map(|entry| entry.file_name());
        // The logs are the test's own.
        let left: Vec<_> = names.filter(|name| !name.to_string_lossy().ends_with(".log")).collect();
        assert!(left.is_empty(), "left behind: {left:?}");
    }
}

impl Drop for Stage {
    /// A program that is killed leaves behind what it has started: the modules of a stand-in, say.
    fn drop(&mut self) {
        for (pid, _) in self.marked(&[]) {
            kill(&pid);
        }
    }
}

fn kill(pid: &str) {
    let _ = Command::new("kill").args(["-KILL", pid]).stderr(Stdio::null()).status();
}

/// A program that has ended.
#[derive(Debug)]
pub struct Ran {
    /// The exit code; `None` if a signal ended it.
    pub code: Option<i32>,
    /// What it printed for programs.
    pub stdout: String,
    /// What it said to people.
    pub stderr: String,
}

impl Ran {
    /// Fails, showing everything, unless the code is this one.
    #[track_caller]
    pub fn expect(self, code: i32) -> Self {
        assert_eq!(self.code, Some(code), "stdout:\n{}\nstderr:\n{}", self.stdout, self.stderr);
        self
    }

    /// Fails unless the text for people holds this.
    #[track_caller]
    pub fn says(self, text: &str) -> Self {
        assert!(self.stderr.contains(text), "does not say {text:?}:\n{}", self.stderr);
        self
    }

    /// Every line of stdout as JSON.
    #[track_caller]
    pub fn json_lines(&self) -> Vec<serde_json::Value> {
        let lines = self.stdout.lines();
        lines.map(|line| serde_json::from_str(line).unwrap_or_else(|e| panic!("{e}: {line}"))).collect()
    }
}

impl From<Output> for Ran {
    fn from(output: Output) -> Self {
        Self {
            code: output.status.code(),
            stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    }
}

/// A program that runs.
pub struct Running {
    child: Child,
}

impl Running {
    /// Reads stdout up to the first line that `find` takes.
    #[track_caller]
    pub fn wait_for_line(&mut self, mut find: impl FnMut(&str) -> bool) {
        let stdout = self.child.stdout.as_mut().expect("stdout is ours");
        let deadline = Instant::now() + PATIENCE;
        // Byte by byte: a buffer would swallow what comes after the line.
        let (mut line, mut byte) = (Vec::new(), [0]);
        loop {
            assert!(is_readable(stdout, deadline), "the program has not said what was waited for");
            assert!(stdout.read(&mut byte).expect("stdout can be read") == 1, "the program ended before it said that");
            line.push(byte[0]);
            if byte == *b"\n" && find(&String::from_utf8_lossy(&std::mem::take(&mut line))) {
                return;
            }
        }
    }

    /// Reads the first line of stdout, without its end.
    pub fn first_line(&mut self) -> String {
        let mut first = String::new();
        self.wait_for_line(|line| {
            line.trim_end().clone_into(&mut first);
            true
        });
        first
    }

    /// Reads `NAME='value'` lines from stdout, as `--print-env` writes them, up to the one called `last`.
    pub fn wait_for_variables(&mut self, last: &str) -> BTreeMap<String, String> {
        let mut variables = BTreeMap::new();
        self.wait_for_line(|line| {
            if let Some((name, value)) = line.trim_end().split_once('=') {
                variables.insert(name.to_owned(), value.trim_matches('\'').to_owned());
            }
            variables.contains_key(last)
        });
        variables
    }

    /// Sends a signal, by the name that `kill` knows it by.
    pub fn signal(&self, name: &str) {
        let status = Command::new("kill").arg(format!("-{name}")).arg(self.child.id().to_string()).status();
        assert!(status.expect("kill runs").success());
    }

    /// Stops it as SIGSTOP does, and returns when it stands still.
    pub fn freeze(&self) {
        self.signal("STOP");
        let stat = format!("/proc/{}/stat", self.child.id());
        wait_until("the program stands still", || {
            let stat = std::fs::read_to_string(&stat).expect("it is there");
            stat.rsplit_once(") ").is_some_and(|(_, rest)| rest.starts_with('T'))
        });
    }

    /// Waits for the end. What it said to people stands in its log, in the test's folder.
    pub fn wait(mut self) -> Ran {
        let stdout = read_all(self.child.stdout.take());
        let status = self.child.wait().expect("the program can be waited for");
        Ran { code: status.code(), stdout, stderr: String::new() }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The port of an address, as the programs print it.
pub fn port(address: &str) -> &str {
    address.rsplit_once(':').expect("a port").1
}

/// A port for a program that cannot take one by itself: free a moment ago, and none of those that the system gives to whoever asks for any,
/// connections included.
pub fn free_port() -> u16 {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    let first = 10_000 + u16::try_from(std::process::id() % 500 * 40).expect("a small number");
    let mut ports = (0..2_000).map(|_| first + NEXT.fetch_add(1, Ordering::Relaxed));
    ports.find(|port| std::net::TcpListener::bind(("127.0.0.1", *port)).is_ok()).expect("a free port")
}

/// Whether there is something to read, or an end, before it is too late.
fn is_readable(from: &impl AsFd, deadline: Instant) -> bool {
    let mut fds = [PollFd::new(from, PollFlags::IN)];
    let left = deadline.saturating_duration_since(Instant::now());
    let left = Timespec::try_from(left).expect("a short time");
    rustix::io::retry_on_intr(|| poll(&mut fds, Some(&left))).expect("it can be waited for") > 0
}

fn read_all(from: Option<impl Read>) -> String {
    let mut bytes = Vec::new();
    if let Some(mut from) = from {
        let _ = from.read_to_end(&mut bytes);
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

/// The built `iotedge-ha`: where `cargo xtask test` says, else beside the tests.
fn program() -> PathBuf {
    if let Some(path) = std::env::var_os("IOTEDGE_HA_BIN") {
        return path.into();
    }
    let test = std::env::current_exe().expect("the test knows its own file");
    let path = test.ancestors().nth(2).expect("target/debug/deps/test").join("iotedge-ha");
    assert!(path.is_file(), "{} is not built: run `cargo xtask test`", path.display());
    path
}
