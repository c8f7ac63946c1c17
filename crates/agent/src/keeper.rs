//! The keeper: a tiny process of its own that starts the workload and ends it in time, whatever the agent does.
//!
//! The tree is agent → keeper → guard → workload. The keeper holds the lease end on a boot-clock timer and
//! speaks with the agent in lines ([`Order`], [`Report`]) over a socket on its standard input. The guard leads
//! the workload's process group and ends it if the keeper dies. Keeper and guard know no runtime, no network
//! and no lease rules: only instants at which things must have stopped.

mod guard;
mod lines;
mod process;
mod state;
mod tree;

use std::ffi::OsString;
use std::os::unix::ffi::OsStrExt as _;
use std::path::PathBuf;

pub use self::lines::{Lease, LineBuffer, Order, Report};
pub use self::process::KeeperArgs;
pub use self::state::{Restart, RestartPolicy};

/// Becomes the keeper, the guard or the workload if the command line says so, and then never returns.
///
/// Call it first in `main`, before any thread or runtime is started.
pub fn dispatch_if_asked() {
    let args: Vec<OsString> = std::env::args_os().skip(1).collect();
    let Some((role, rest)) = args.split_first() else { return };
    let ended = match role.as_bytes() {
        b"keeper" => process::main(rest),
        b"guard" => guard::main(rest),
        b"exec-workload" => guard::exec_workload(rest),
        _ => return,
    };
    let code = ended.unwrap_or_else(|error| {
        eprintln!("error: {}: {error}", role.display());
        FAILED
    });
    std::process::exit(code.into());
}

const FAILED: u8 = 1;

/// This program's own file, also after an update has replaced it on disk.
pub fn own_executable() -> PathBuf {
    match std::env::current_exe() {
        Ok(path) if path.exists() => path,
        _ => PathBuf::from("/proc/self/exe"),
    }
}

/// What went wrong in a keeper or guard: said once on standard error, then the process ends.
#[derive(Debug, thiserror::Error)]
enum Error {
    #[error("it is started by the agent, not by hand: {0}")]
    Usage(&'static str),
    #[error("cannot {what}: {source}")]
    System { what: &'static str, source: std::io::Error },
}

impl Error {
    fn system<E: Into<std::io::Error>>(what: &'static str) -> impl FnOnce(E) -> Self {
        move |source| Self::System { what, source: source.into() }
    }
}

type Ended = Result<u8, Error>;

/// The part behind `--`: the workload's own command line.
fn workload_command(args: &[OsString]) -> Result<(&OsString, &[OsString]), Error> {
    let from = 1 + args.iter().position(|arg| arg == "--").ok_or(Error::Usage("no `--`"))?;
    args[from..].split_first().ok_or(Error::Usage("no command after `--`"))
}
