use std::fmt;
use std::str::FromStr;

use ha_core::ids::Term;
use ha_core::time::Time;

/// What the agent tells the keeper, one line each. All instants are on the boot clock.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Order {
    /// Run the workload until `end`.
    Open {
        /// The term, told to the workload.
        term: Term,
        /// How long.
        lease: Lease,
    },
    /// Let it run longer.
    Extend {
        /// The term it runs for.
        term: Term,
        /// How long.
        lease: Lease,
    },
    /// Stop it now; what is left at `kill_at` is killed.
    Close {
        /// The term it runs for.
        term: Term,
        /// When to kill.
        kill_at: Time,
    },
}

/// The instants of one lease.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Lease {
    /// SIGTERM.
    pub stop_at: Time,
    /// SIGKILL.
    pub kill_at: Time,
    /// Everything is gone.
    pub end: Time,
}

/// What the keeper tells the agent, one line each.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Report {
    /// The lock is ours: no process of an earlier keeper is left.
    Ready,
    /// The workload will be gone at `end`.
    Armed {
        /// The term.
        term: Term,
        /// The end that the timer holds.
        end: Time,
    },
    /// The workload was started.
    Running {
        /// The term.
        term: Term,
    },
    /// The workload ended by itself, or could not be started.
    Exited {
        /// The term.
        term: Term,
        /// How, in words.
        how: String,
    },
    /// Nothing of the workload is left.
    Closed {
        /// The term.
        term: Term,
    },
    /// An order was not followed.
    Refused {
        /// The term in the order.
        term: Term,
        /// Why.
        why: String,
    },
}

impl fmt::Display for Order {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut with_lease = |word: &str, term: &Term, lease: &Lease| {
            let (stop, kill, end) = (lease.stop_at.as_ms(), lease.kill_at.as_ms(), lease.end.as_ms());
            write!(f, "{word} {term} {stop} {kill} {end}")
        };
        match self {
            Self::Open { term, lease } => with_lease("open", term, lease),
            Self::Extend { term, lease } => with_lease("extend", term, lease),
            Self::Close { term, kill_at } => write!(f, "close {term} {}", kill_at.as_ms()),
        }
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ready => f.write_str("ready"),
            Self::Armed { term, end } => write!(f, "armed {term} {}", end.as_ms()),
            Self::Running { term } => write!(f, "running {term}"),
            Self::Exited { term, how } => write!(f, "exited {term} {}", one_line(how)),
            Self::Closed { term } => write!(f, "closed {term}"),
            Self::Refused { term, why } => write!(f, "refused {term} {}", one_line(why)),
        }
    }
}

fn one_line(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).take(300).collect()
}

/// A line that is no order or report.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("the line {0:?} means nothing")]
pub struct BadLine(String);

impl FromStr for Order {
    type Err = BadLine;

    fn from_str(line: &str) -> Result<Self, BadLine> {
        let bad = || BadLine(one_line(line));
        let (word, numbers) = line.split_once(' ').ok_or_else(bad)?;
        let numbers: Vec<u64> = numbers.split(' ').map(str::parse).collect::<Result<_, _>>().map_err(|_| bad())?;
        let instant = Time::from_ms;
        match (word, numbers.as_slice()) {
            ("open" | "extend", &[term, stop, kill, end]) if stop <= kill && kill <= end => {
                let term = Term(term);
                let lease = Lease { stop_at: instant(stop), kill_at: instant(kill), end: instant(end) };
                Ok(if word == "open" { Self::Open { term, lease } } else { Self::Extend { term, lease } })
            }
            ("close", &[term, kill]) => Ok(Self::Close { term: Term(term), kill_at: instant(kill) }),
            _ => Err(bad()),
        }
    }
}

impl FromStr for Report {
    type Err = BadLine;

    fn from_str(line: &str) -> Result<Self, BadLine> {
        let bad = || BadLine(one_line(line));
        let mut parts = line.splitn(3, ' ');
        let word = parts.next().unwrap_or_default();
        if word == "ready" {
            return Ok(Self::Ready);
        }
        let term = Term(parts.next().and_then(|t| t.parse().ok()).ok_or_else(bad)?);
        let rest = parts.next().unwrap_or_default();
        match word {
            "armed" => Ok(Self::Armed { term, end: Time::from_ms(rest.parse().map_err(|_| bad())?) }),
            "running" => Ok(Self::Running { term }),
            "exited" => Ok(Self::Exited { term, how: rest.to_owned() }),
            "closed" => Ok(Self::Closed { term }),
            "refused" => Ok(Self::Refused { term, why: rest.to_owned() }),
            _ => Err(bad()),
        }
    }
}

/// Cuts a stream into lines of bounded length.
#[derive(Debug, Default)]
pub struct LineBuffer {
    bytes: Vec<u8>,
}

/// Longer lines are nobody's honest words.
const LINE_BYTES_MAX: usize = 1_024;

impl LineBuffer {
    /// Takes in what was read; gives the complete lines, or `None` if a line is too long or no text.
    pub fn feed(&mut self, read: &[u8]) -> Option<Vec<String>> {
        let mut lines = Vec::new();
        for &byte in read {
            if byte == b'\n' {
                lines.push(String::from_utf8(std::mem::take(&mut self.bytes)).ok()?);
            } else if self.bytes.len() < LINE_BYTES_MAX {
                self.bytes.push(byte);
            } else {
                return None;
            }
        }
        Some(lines)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_line_reads_back() {
        for line in ["open 7 100 200 300", "extend 7 1 1 1", "close 7 200"] {
            assert_eq!(line.parse::<Order>().map(|o| o.to_string()).as_deref(), Ok(line));
        }
        for line in ["ready", "armed 7 300", "running 7", "exited 7 with code 3", "closed 7", "refused 7 too late"] {
            assert_eq!(line.parse::<Report>().map(|r| r.to_string()).as_deref(), Ok(line));
        }
    }

    #[test]
    fn nonsense_is_no_order() {
        for line in ["", "open", "open 7", "open 7 3 2 1", "open 7 1 2 3 4", "close -1 2", "close 7 x", "shut 7 2"] {
            assert!(line.parse::<Order>().is_err(), "{line}");
        }
        assert!("armed 7".parse::<Report>().is_err());
    }

    #[test]
    fn a_line_never_grows_without_bound() {
        let mut buffer = LineBuffer::default();
        assert_eq!(buffer.feed(b"one\ntw"), Some(vec!["one".to_owned()]));
        assert_eq!(buffer.feed(b"o\n\n"), Some(vec!["two".to_owned(), String::new()]));
        assert_eq!(buffer.feed(&[b'x'; LINE_BYTES_MAX]), Some(vec![]));
        assert_eq!(buffer.feed(b"x"), None);
        assert_eq!(LineBuffer::default().feed(b"\xff\n"), None);
    }
}
