//! The clocks that are handed to the cores.

use std::time::Duration;

use ha_core::time::{Now, Time, WallTime};

/// This process's clocks. Copies agree with each other.
#[derive(Clone, Copy, Debug)]
pub struct Clock {
    mono: Mono,
}

#[derive(Clone, Copy, Debug)]
enum Mono {
    /// The boot clock, which counts suspend: a controller that was asleep must not believe its charge goes on.
    Boot { zero_ms: u64 },
    #[cfg(test)]
    Paused { zero: tokio::time::Instant },
}

impl Clock {
    /// A clock that starts at zero now.
    pub fn start() -> Self {
        Self { mono: Mono::Boot { zero_ms: boot_ms() } }
    }

    /// tokio's clock, which tests can pause.
    #[cfg(test)]
    pub(crate) fn paused() -> Self {
        Self { mono: Mono::Paused { zero: tokio::time::Instant::now() } }
    }

    /// The present.
    pub fn now(&self) -> Now {
        Now { mono: self.mono(), wall: wall() }
    }

    /// The present on the monotonic clock.
    pub fn mono(&self) -> Time {
        match self.mono {
            Mono::Boot { zero_ms } => Time::from_ms(boot_ms().saturating_sub(zero_ms)),
            #[cfg(test)]
            Mono::Paused { zero } => Time::from_ms(u64::try_from(zero.elapsed().as_millis()).expect("tests are short")),
        }
    }

    /// Sleeps until `at`, or for ever. May wake late after a suspend: ask for the time again.
    pub async fn sleep_until(&self, at: Option<Time>) {
        match at {
            Some(at) => tokio::time::sleep(Duration::from_millis(self.mono().until(at).0)).await,
            None => std::future::pending().await,
        }
    }
}

/// The wall clock.
pub fn wall() -> WallTime {
    WallTime(jiff::Timestamp::now().as_millisecond())
}

fn boot_ms() -> u64 {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::Boottime);
    let (s, ns) = (u64::try_from(now.tv_sec).unwrap_or(0), u64::try_from(now.tv_nsec).unwrap_or(0));
    s * 1_000 + ns / 1_000_000
}
