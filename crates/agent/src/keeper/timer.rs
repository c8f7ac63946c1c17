use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use ha_core::time::Time;
use rustix::event::Timespec;
use rustix::time::{Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, timerfd_create, timerfd_settime};

use super::Error;

/// Becomes readable at an instant of the boot clock, however long the process or the machine slept in between.
#[derive(Debug)]
pub(super) struct BootTimer(OwnedFd);

impl BootTimer {
    pub(super) fn new() -> Result<Self, Error> {
        let flags = TimerfdFlags::CLOEXEC | TimerfdFlags::NONBLOCK;
        timerfd_create(TimerfdClockId::Boottime, flags).map(Self).map_err(Error::system("make a timer"))
    }

    pub(super) fn set(&self, at: Option<Time>) -> Result<(), Error> {
        // A timer set to zero is off, so an instant that has long passed becomes the first nanosecond.
        let value = at.map_or(Timespec::default(), |at| Timespec {
            tv_sec: i64::try_from(at.as_ms() / 1_000).unwrap_or(i64::MAX),
            tv_nsec: i64::try_from(at.as_ms() % 1_000).unwrap_or(0) * 1_000_000 + 1,
        });
        let spec = Itimerspec { it_interval: Timespec::default(), it_value: value };
        timerfd_settime(&self.0, TimerfdTimerFlags::ABSTIME, &spec).map(drop).map_err(Error::system("set a timer"))
    }
}

impl AsFd for BootTimer {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}
