//! Modules as processes: a command line stands in for each image.

use std::collections::HashMap;
use std::io;
use std::os::unix::process::ExitStatusExt as _;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process_group};
use serde_json::Value;
use tokio::process::{Child, Command};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::desired::Spec;
use super::supervisor::Run;
use crate::options::Images;

/// The end of a process.
#[derive(Debug)]
pub(super) struct Exit {
    pub(super) name: String,
    pub(super) run: Run,
    pub(super) code: i32,
}

/// The processes of one device.
pub(super) struct Processes {
    images: Images,
    logs: PathBuf,
    grace: Duration,
    exits: mpsc::UnboundedSender<Exit>,
    stops: HashMap<Run, CancellationToken>,
    tasks: TaskTracker,
}

/// The exit code of what could not be started, as a shell gives it.
const NOT_STARTED: i32 = 127;

impl Processes {
    pub(super) fn new(
        images: Images,
        logs: PathBuf,
        grace: Duration,
        exits: mpsc::UnboundedSender<Exit>,
    ) -> io::Result<Self> {
        std::fs::create_dir_all(&logs)?;
        Ok(Self { images, logs, grace, exits, stops: HashMap::new(), tasks: TaskTracker::new() })
    }

    /// The command line for an image: by its whole name, else without its tag.
    pub(super) fn command_of(&self, image: &str) -> Option<&[String]> {
        let name = image.rsplit_once(':').filter(|(_, tag)| !tag.contains('/')).map_or(image, |(name, _)| name);
        let command = self.images.get(image).or_else(|| self.images.get(name))?;
        (!command.is_empty()).then_some(command)
    }

    /// Starts a process; its end, or that it could not be started, comes as an [`Exit`].
    pub(super) fn start(&mut self, name: &str, spec: &Spec, run: Run, environment: Vec<(String, String)>) {
        let spawned = self.spawn(name, spec, environment);
        let (exits, grace, name) = (self.exits.clone(), self.grace, name.to_owned());
        let stop = CancellationToken::new();
        self.stops.retain(|_, stop| !stop.is_cancelled());
        self.stops.insert(run, stop.clone());
        self.tasks.spawn(async move {
            let code = match spawned {
                Ok(child) => watch(child, grace, stop.clone()).await,
                Err(error) => {
                    tracing::warn!(module = name, %error, "a module cannot be started");
                    NOT_STARTED
                }
            };
            stop.cancel();
            let _ = exits.send(Exit { name, run, code });
        });
    }

    /// Tells a process to stop; it is killed if it takes too long.
    pub(super) fn stop(&mut self, run: Run) {
        if let Some(stop) = self.stops.remove(&run) {
            stop.cancel();
        }
    }

    /// Stops all and waits until they are gone.
    pub(super) async fn stop_all(&mut self) {
        for (_, stop) in self.stops.drain() {
            stop.cancel();
        }
        self.tasks.close();
        self.tasks.wait().await;
    }

    /// The last lines that a module has printed.
    pub(super) fn log(&self, name: &str, tail: Option<usize>, bytes_max: u64) -> io::Result<String> {
        use std::io::{Read as _, Seek as _};
        let mut file = std::fs::File::open(log_path(&self.logs, name))?;
        let length = file.metadata()?.len();
        file.seek(io::SeekFrom::Start(length.saturating_sub(bytes_max)))?;
        let mut bytes = Vec::new();
        file.take(bytes_max).read_to_end(&mut bytes)?;
        let text = String::from_utf8_lossy(&bytes).into_owned();
        let Some(tail) = tail else { return Ok(text) };
        let lines: Vec<&str> = text.lines().collect();
        Ok(lines[lines.len().saturating_sub(tail)..].iter().map(|line| format!("{line}\n")).collect())
    }

    fn spawn(&self, name: &str, spec: &Spec, environment: Vec<(String, String)>) -> io::Result<Child> {
        let unknown = || io::Error::other(format!("no command stands in for the image {}", spec.image));
        let (program, arguments) = self.command_of(&spec.image).and_then(<[_]>::split_first).ok_or_else(unknown)?;
        let path = log_path(&self.logs, name);
        let log = std::fs::OpenOptions::new().create(true).append(true).open(path)?;
        let mut command = Command::new(program);
        let variables = spec.env.iter().map(|(name, value)| (name.clone(), text(value)));
        command.args(arguments).envs(variables).envs(environment);
        command.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log);
        command.process_group(0).kill_on_drop(true);
        command.spawn()
    }
}

fn log_path(folder: &Path, name: &str) -> PathBuf {
    folder.join(format!("{name}.log"))
}

fn text(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        value => value.to_string(),
    }
}

/// Waits for the end of a process, of its own or because it is told to stop.
async fn watch(mut child: Child, grace: Duration, stop: CancellationToken) -> i32 {
    let group = child.id().and_then(|id| Pid::from_raw(i32::try_from(id).ok()?));
    let ended = tokio::select! {
        ended = child.wait() => Some(ended),
        () = stop.cancelled() => None,
    };
    let ended = match ended {
        Some(ended) => ended,
        None => {
            signal(group, Signal::TERM);
            match tokio::time::timeout(grace, child.wait()).await {
                Ok(ended) => ended,
                Err(_) => {
                    signal(group, Signal::KILL);
                    child.wait().await
                }
            }
        }
    };
    // What the module leaves behind in its group goes with it, as in a container.
    signal(group, Signal::KILL);
    ended.map_or(NOT_STARTED, code)
}

fn signal(group: Option<Pid>, signal: Signal) {
    if let Some(group) = group {
        let _ = kill_process_group(group, signal);
    }
}

/// As Docker counts: a signal is 128 and its number.
fn code(status: ExitStatus) -> i32 {
    status.code().or_else(|| status.signal().map(|signal| 128 + signal)).unwrap_or(NOT_STARTED)
}
