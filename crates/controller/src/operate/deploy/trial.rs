use std::time::Duration;

use tokio::time::Instant;

use super::follow::Progress;

/// Whether a member gets well in time and stays it for the settling time.
pub(super) struct Trial {
    settle: Duration,
    patience: Duration,
    well_since: Option<Instant>,
    /// Until when it must be well, or be seen again.
    deadline: Instant,
}

/// What follows from a look at the member.
#[derive(PartialEq, Eq, Debug)]
pub(super) enum Verdict {
    /// Look again.
    Open,
    /// It has just got well: look again.
    Settling,
    /// It was well all the time.
    Passed,
    /// It is not well any more, or never will be.
    Failed(String),
    /// It did not get well in time, or could not be looked at for too long.
    Late(String),
}

impl Trial {
    pub(super) fn begin(settle: Duration, patience: Duration, now: Instant) -> Self {
        Self { settle, patience, well_since: None, deadline: now + patience }
    }

    pub(super) fn take(&mut self, progress: &Progress, now: Instant) -> Verdict {
        match (progress, self.well_since) {
            (Progress::Failed(why), _) => Verdict::Failed(why.clone()),
            (Progress::Waiting(why), Some(_)) => Verdict::Failed(why.clone()),
            (Progress::Waiting(why) | Progress::Unknown(why), _) if now >= self.deadline => Verdict::Late(why.clone()),
            (Progress::Waiting(_) | Progress::Unknown(_), _) => Verdict::Open,
            (Progress::Runs, Some(since)) if now - since >= self.settle => Verdict::Passed,
            (Progress::Runs, since) => {
                self.deadline = now + self.patience;
                self.well_since = Some(since.unwrap_or(now));
                match since {
                    None if self.settle.is_zero() => Verdict::Passed,
                    None => Verdict::Settling,
                    Some(_) => Verdict::Open,
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What follows from looks at these seconds, with 10 s to settle and 60 s of patience.
    fn last(looks: &[(u64, &Progress)]) -> Verdict {
        let begin = Instant::now();
        let mut trial = Trial::begin(Duration::from_secs(10), Duration::from_secs(60), begin);
        let verdicts = looks.iter().map(|(s, progress)| trial.take(progress, begin + Duration::from_secs(*s)));
        verdicts.last().expect("a look")
    }

    #[test]
    fn a_member_passes_when_it_gets_well_and_stays_it() {
        let (runs, waits) = (Progress::Runs, Progress::Waiting("no image".to_owned()));
        assert_eq!(last(&[(0, &waits), (59, &waits)]), Verdict::Open);
        assert_eq!(last(&[(0, &waits), (60, &waits)]), Verdict::Late("no image".to_owned()));
        assert_eq!(last(&[(0, &waits), (59, &runs)]), Verdict::Settling);
        assert_eq!(last(&[(59, &runs), (68, &runs)]), Verdict::Open);
        assert_eq!(last(&[(59, &runs), (69, &runs)]), Verdict::Passed);
        assert_eq!(last(&[(59, &runs), (68, &waits)]), Verdict::Failed("no image".to_owned()));
        assert_eq!(last(&[(0, &Progress::Failed("bad".to_owned()))]), Verdict::Failed("bad".to_owned()));
    }

    #[test]
    fn what_could_not_be_seen_speaks_neither_for_nor_against_it() {
        let (runs, unseen) = (Progress::Runs, Progress::Unknown("throttled".to_owned()));
        assert_eq!(last(&[(0, &runs), (5, &unseen), (12, &unseen)]), Verdict::Open);
        assert_eq!(last(&[(0, &runs), (5, &unseen), (12, &runs)]), Verdict::Passed);
        assert_eq!(last(&[(0, &runs), (5, &unseen), (60, &unseen)]), Verdict::Late("throttled".to_owned()));
        assert_eq!(last(&[(0, &unseen), (60, &unseen)]), Verdict::Late("throttled".to_owned()));
    }
}
