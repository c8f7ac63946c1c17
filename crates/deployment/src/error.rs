//! What can be wrong with a manifest or a twin.

use std::fmt;

/// Why something could not be read.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// It is no JSON.
    #[error("no JSON: {0}")]
    NoJson(String),
    /// It is JSON, but not what it should be: everything that is wrong with it.
    #[error("{}", Listed(.0))]
    Malformed(Vec<Problem>),
}

impl Error {
    /// All problems, each once, by place.
    pub(crate) fn malformed(mut problems: Vec<Problem>) -> Self {
        problems.sort();
        problems.dedup();
        Self::Malformed(problems)
    }

    /// What is wrong, place by place; empty where the whole is no JSON.
    pub fn problems(&self) -> &[Problem] {
        match self {
            Self::NoJson(_) => &[],
            Self::Malformed(problems) => problems,
        }
    }
}

/// One thing that is wrong.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug, thiserror::Error)]
#[error("{path}: {reason}; {hint}")]
pub struct Problem {
    /// Where, as a JSON pointer: keys may have dots.
    pub path: String,
    /// What is wrong there.
    pub reason: String,
    /// What to try.
    pub hint: &'static str,
}

struct Listed<'a>(&'a [Problem]);

impl fmt::Display for Listed<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (n, problem) in self.0.iter().enumerate() {
            if n > 0 {
                f.write_str("\n")?;
            }
            write!(f, "{problem}")?;
        }
        Ok(())
    }
}
