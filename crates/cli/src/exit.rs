//! What the exit code says. Scripts rely on it, so a number never changes its meaning.

use std::process::ExitCode;

/// How the program ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Exit {
    /// Done.
    Ok = 0,
    /// Failed, for a reason that has no number of its own.
    Failed = 1,
    /// Wrong usage, or a configuration that was refused.
    Usage = 2,
    /// Refused: unsafe, or not permitted.
    Refused = 3,
    /// The hub could not be reached, or did not accept the credentials.
    Hub = 4,
    /// What was waited for did not happen in time.
    TimedOut = 5,
    /// Members run, or would run, something else than they should.
    Drifted = 6,
    /// Interrupted by Ctrl-C or a signal.
    Interrupted = 130,
}

/// The part of `--help` that lists the codes.
pub(crate) const HELP: &str = "\
Exit codes:
  0    done
  1    failed
  2    wrong usage, or a configuration that was refused
  3    refused: unsafe, or not permitted
  4    the hub could not be reached, or did not accept the credentials
  5    what was waited for did not happen in time
  6    drift: members run, or would run, different things
  130  interrupted";

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        ExitCode::from(exit as u8)
    }
}
