use std::collections::VecDeque;

use super::clock::{Instant, MS};

/// What happened, in words.
#[derive(Debug)]
pub struct Trace {
    lines: VecDeque<(Instant, String)>,
    pub notes: bool,
    pub details: bool,
    kept: usize,
}

impl Trace {
    pub fn silent() -> Self {
        Self { lines: VecDeque::new(), notes: false, details: false, kept: 0 }
    }

    /// The story alone.
    pub fn story() -> Self {
        Self { lines: VecDeque::new(), notes: true, details: false, kept: 1_000 }
    }

    /// Everything, the last lines of it.
    pub fn last(kept: usize) -> Self {
        Self { lines: VecDeque::new(), notes: true, details: true, kept }
    }

    pub fn push(&mut self, at: Instant, line: String) {
        if self.lines.len() >= self.kept {
            self.lines.pop_front();
        }
        self.lines.push_back((at, line));
    }

    pub fn render(&self) -> String {
        let line = |(at, line): &(Instant, String)| format!("{:>9.3} s  {line}\n", *at as f64 / 1_000.0 / MS as f64);
        self.lines.iter().map(line).collect()
    }
}
