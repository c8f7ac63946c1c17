use std::future::pending;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};

use ha_core::time::Time;
use rustix::event::Timespec;
use rustix::time::{Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, timerfd_create, timerfd_settime};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

use super::boot_now;

/// Becomes readable at an instant of the boot clock, however long the process or the machine slept in between.
#[derive(Debug)]
pub(crate) struct BootTimer(OwnedFd);

impl BootTimer {
    pub(crate) fn new() -> io::Result<Self> {
        let flags = TimerfdFlags::CLOEXEC | TimerfdFlags::NONBLOCK;
        Ok(Self(timerfd_create(TimerfdClockId::Boottime, flags)?))
    }

    pub(crate) fn set(&self, at: Option<Time>) -> io::Result<()> {
        // A timer set to zero is off, so an instant that has long passed becomes the first nanosecond.
        let value = at.map_or(Timespec::default(), |at| Timespec {
            tv_sec: i64::try_from(at.as_ms() / 1_000).unwrap_or(i64::MAX),
            tv_nsec: i64::try_from(at.as_ms() % 1_000).unwrap_or(0) * 1_000_000 + 1,
        });
        let spec = Itimerspec { it_interval: Timespec::default(), it_value: value };
        timerfd_settime(&self.0, TimerfdTimerFlags::ABSTIME, &spec)?;
        Ok(())
    }
}

impl AsFd for BootTimer {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

impl AsRawFd for BootTimer {
    fn as_raw_fd(&self) -> RawFd {
        self.0.as_raw_fd()
    }
}

/// Sleeps on the boot clock. The runtime's own timers stand still while the machine is suspended.
#[derive(Debug)]
pub(crate) struct BootSleep(AsyncFd<BootTimer>);

impl BootSleep {
    #[expect(
        deprecated,
        reason = "its successor is unsafe for types whose descriptor might change, which this one's cannot"
    )]
    pub(crate) fn new() -> io::Result<Self> {
        Ok(Self(AsyncFd::with_interest(BootTimer::new()?, Interest::READABLE)?))
    }

    /// Returns at that instant, or never.
    pub(crate) async fn until(&self, at: Option<Time>) {
        let Some(at) = at else { return pending().await };
        if self.0.get_ref().set(Some(at)).is_err() {
            return;
        }
        while boot_now() < at {
            let Ok(mut ready) = self.0.readable().await else { return };
            ready.clear_ready();
        }
    }
}
