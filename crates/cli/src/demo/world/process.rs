//! Processes that the demo starts: each with a log file, none of which outlives the demo.

use std::collections::BTreeMap;
use std::fs::File;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, anyhow, bail};
use rustix::process::{Pid, Signal, getpid, kill_process, set_child_subreaper};

/// A process and, if it is dropped, the end of it and of everything below it.
pub(crate) struct Process {
    name: String,
    child: Child,
    log: PathBuf,
}

const LOOK_AGAIN: Duration = Duration::from_millis(10);

impl Process {
    /// Starts this program once more with `args`; what it says goes to a log file in `folder`.
    pub(crate) fn start(name: &str, folder: &Path, args: &[String], env: &[(String, String)]) -> Result<Self> {
        let log = folder.join(format!("{name}.log"));
        let file = File::options().create(true).append(true).open(&log)?;
        let program = std::env::current_exe().context("cannot find this program's own file")?;
        let child = Command::new(program)
            .arg(format!("--dies-with={}", getpid().as_raw_nonzero()))
            .args(args)
            .env_remove("RUST_LOG")
            .envs(env.iter().map(|(name, value)| (name, value)))
            .stdin(Stdio::null())
            .stdout(file.try_clone()?)
            .stderr(file)
            // Ctrl-C on a terminal goes to a whole group; the demo wants to end things in its own order.
            .process_group(0)
            .spawn()
            .with_context(|| format!("cannot start {name}"))?;
        Ok(Self { name: name.to_owned(), child, log })
    }

    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// This process alone.
    pub(crate) fn signal(&self, signal: Signal) -> Result<()> {
        kill_process(Pid::from_child(&self.child), signal).with_context(|| format!("cannot signal {}", self.name))
    }

    /// This process and everything that it has started, as when the power goes.
    pub(crate) fn kill_with_all_below(&self) {
        let pid = Pid::from_child(&self.child);
        let mut doomed = vec![pid];
        doomed.extend(below(pid));
        kill_all(&doomed);
    }

    pub(crate) fn ended(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().ok().flatten()
    }

    /// Waits for the end, but not longer than `limit`; says whether it came.
    pub(crate) async fn wait_for_end(&mut self, limit: Duration) -> bool {
        let ended = async {
            while self.ended().is_none() {
                tokio::time::sleep(LOOK_AGAIN).await;
            }
        };
        tokio::time::timeout(limit, ended).await.is_ok()
    }

    /// Waits until `find` makes something of the log.
    pub(crate) async fn wait_for_log<T>(
        &mut self,
        limit: Duration,
        mut find: impl FnMut(&str) -> Option<T>,
    ) -> Result<T> {
        let deadline = tokio::time::Instant::now() + limit;
        loop {
            let ended = self.ended();
            let text = self.log_text();
            if let Some(found) = find(&text) {
                return Ok(found);
            }
            if let Some(status) = ended {
                return Err(anyhow!("{}", self.last_lines(8)).context(format!("{} ended: {status}", self.name)));
            }
            if tokio::time::Instant::now() > deadline {
                bail!("{} said nothing useful in {limit:?}; it said\n{}", self.name, self.last_lines(8));
            }
            tokio::time::sleep(LOOK_AGAIN).await;
        }
    }

    pub(crate) fn log_text(&self) -> String {
        std::fs::read(&self.log).map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).unwrap_or_default()
    }

    pub(crate) fn last_lines(&self, count: usize) -> String {
        let text = self.log_text();
        let lines: Vec<_> = text.lines().collect();
        lines[lines.len().saturating_sub(count)..].join("\n")
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill_with_all_below();
        let _ = self.child.wait();
    }
}

/// Makes whatever loses its parent below us our own child, so that we can find and end it.
pub(crate) fn adopt_orphans() -> Result<()> {
    set_child_subreaper(Some(getpid())).context("cannot adopt orphaned processes")
}

/// Ends everything below this process.
pub(crate) fn end_all_below_us() {
    // What is being started while we look is found by looking again.
    for _ in 0..20 {
        let found = below(getpid());
        if found.is_empty() {
            return;
        }
        kill_all(&found);
        std::thread::sleep(LOOK_AGAIN);
    }
}

fn kill_all(doomed: &[Pid]) {
    for pid in doomed {
        // It may have ended by itself.
        let _ = kill_process(*pid, Signal::KILL);
    }
}

/// Everything alive below a process, parents first.
pub(crate) fn below(pid: Pid) -> Vec<Pid> {
    let mut children: BTreeMap<i32, Vec<i32>> = BTreeMap::new();
    for (child, parent) in parents() {
        children.entry(parent).or_default().push(child);
    }
    let mut found = Vec::new();
    let mut next = vec![pid.as_raw_nonzero().get()];
    while let Some(parent) = next.pop() {
        for child in children.remove(&parent).unwrap_or_default() {
            found.extend(Pid::from_raw(child));
            next.push(child);
        }
    }
    found
}

/// Each live process with its parent.
fn parents() -> Vec<(i32, i32)> {
    let Ok(entries) = std::fs::read_dir("/proc") else { return Vec::new() };
    let pids = entries.flatten().filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    pids.filter_map(|pid: i32| {
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        // The name stands in parentheses and may itself hold any of them.
        let mut rest = stat.rsplit_once(") ")?.1.split_whitespace();
        let state = rest.next()?;
        let parent = rest.next()?.parse().ok()?;
        (state != "Z").then_some((pid, parent))
    })
    .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn children_of_children_are_found() {
        let mut shell =
            Command::new("sh").args(["-c", "sleep 600 & echo started; wait"]).stdout(Stdio::piped()).spawn().unwrap();
        let mut said = [0; 8];
        std::io::Read::read_exact(shell.stdout.as_mut().unwrap(), &mut said).unwrap();
        let found = below(Pid::from_child(&shell));
        kill_all(&found);
        shell.kill().unwrap();
        shell.wait().unwrap();
        assert_eq!(found.len(), 1);
    }
}
