use std::fs;
use std::thread;
use std::time::Duration;

use rustix::io::Errno;
use rustix::process::{
    Pid, Signal, WaitOptions, WaitStatus, getpid, kill_process, kill_process_group, set_child_subreaper, wait,
};

use super::Error;

/// From now on descendants whose parents die become our own children, so none gets out of reach.
pub(super) fn adopt_orphans() -> Result<(), Error> {
    set_child_subreaper(Some(getpid())).map_err(Error::system("become the parent of orphans"))
}

/// Kills the group, if its leader is our unreaped child, and all children, until nothing of them is left.
///
/// Having no child proves that there is no descendant either: a living one would have an ancestor that is our
/// child, since orphans are handed to us.
pub(super) fn destroy(mut group: Option<Pid>) {
    let mut pause = PAUSE_MIN;
    loop {
        if let Some(leader) = group {
            let _ = kill_process_group(leader, Signal::KILL);
        }
        for child in children() {
            let _ = kill_process(child, Signal::KILL);
        }
        loop {
            match wait(WaitOptions::NOHANG) {
                // A group's number may be given away once its leader is reaped.
                Ok(Some((pid, _))) if Some(pid) == group => group = None,
                Ok(Some(_)) | Err(Errno::INTR) => {}
                Ok(None) => break,
                Err(_) => return,
            }
        }
        thread::sleep(pause);
        pause = (pause * 2).min(PAUSE_MAX);
    }
}

const PAUSE_MIN: Duration = Duration::from_millis(1);
const PAUSE_MAX: Duration = Duration::from_millis(20);

/// Reaps what has ended and gives the status of `wanted`, if it is among them.
pub(super) fn reap(wanted: Pid) -> Option<WaitStatus> {
    let mut found = None;
    while let Ok(Some((pid, status))) = wait(WaitOptions::NOHANG) {
        if pid == wanted {
            found = Some(status);
        }
    }
    found
}

/// Our children. Their numbers cannot be given away while we have not reaped them, so killing them hits nobody else.
fn children() -> Vec<Pid> {
    let me = getpid().as_raw_nonzero().get();
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    entries
        .filter_map(|entry| entry.file_name().to_str()?.parse::<i32>().ok())
        .filter(|pid| parent(*pid) == Some(me))
        .filter_map(Pid::from_raw)
        .collect()
}

fn parent(pid: i32) -> Option<i32> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    parent_in(&stat)
}

/// The program's name, in brackets, may itself hold brackets and spaces.
fn parent_in(stat: &str) -> Option<i32> {
    let (_, after_name) = stat.rsplit_once(')')?;
    after_name.split_ascii_whitespace().nth(1)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_strange_name_hides_no_parent() {
        assert_eq!(parent_in("42 (a) b (c) S 7 42 42 0 -1"), Some(7));
        assert_eq!(parent_in("42"), None);
    }

    #[test]
    fn own_parent_is_found() {
        let me = i32::try_from(std::process::id()).unwrap();
        assert_eq!(parent(me), i32::try_from(std::os::unix::process::parent_id()).ok());
    }
}
