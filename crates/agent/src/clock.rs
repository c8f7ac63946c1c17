//! The clocks of a device: the boot clock, by which leases run, and the wall clock, for people.

mod timer;

use ha_core::time::{Millis, Time, WallTime};
use rustix::time::{ClockId, clock_gettime};

pub(crate) use self::timer::{BootSleep, BootTimer};

/// The present on `CLOCK_BOOTTIME`, which counts suspend and is never set.
pub fn boot_now() -> Time {
    Time::from_ms(millis(ClockId::Boottime).unsigned_abs())
}

/// The present on the wall clock.
pub fn wall_now() -> WallTime {
    WallTime(millis(ClockId::Realtime))
}

fn millis(clock: ClockId) -> i64 {
    let t = clock_gettime(clock);
    t.tv_sec.saturating_mul(1_000).saturating_add(t.tv_nsec / 1_000_000)
}

/// Notices that the wall clock and the boot clock moved apart between two looks.
///
/// Both run on while a process or a machine merely sleeps. When a virtual machine is frozen or restored
/// from a snapshot its boot clock stands still, and the wall clock is set forward afterwards.
#[derive(Debug)]
pub struct JumpWatch {
    last: Option<(Time, WallTime)>,
    tolerance: Millis,
}

impl JumpWatch {
    /// Reports steps of more than `tolerance`.
    pub fn new(tolerance: Millis) -> Self {
        Self { last: None, tolerance }
    }

    /// By how much the wall clock has moved against the boot clock since the last look, if by more than the tolerance.
    pub fn look(&mut self, boot: Time, wall: WallTime) -> Option<i64> {
        let (boot_before, wall_before) = self.last.replace((boot, wall))?;
        let boot_passed = i64::try_from(boot.since(boot_before).0).unwrap_or(i64::MAX);
        let wall_passed = wall.0.saturating_sub(wall_before.0);
        let step_ms = wall_passed.saturating_sub(boot_passed);
        (step_ms.unsigned_abs() > self.tolerance.0).then_some(step_ms)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn look(watch: &mut JumpWatch, boot: u64, wall: i64) -> Option<i64> {
        watch.look(Time::from_ms(boot), WallTime(wall))
    }

    #[test]
    fn only_clocks_that_move_apart_are_reported() {
        let mut watch = JumpWatch::new(Millis(1_000));
        assert_eq!(look(&mut watch, 5, 1_000_000), None);
        assert_eq!(look(&mut watch, 60_005, 1_060_900), None, "both went on for a minute");
        assert_eq!(look(&mut watch, 60_105, 1_075_000), Some(14_000), "frozen for 14 s");
        assert_eq!(look(&mut watch, 60_205, 1_075_100), None, "told once");
        assert_eq!(look(&mut watch, 60_305, 1_000_000), Some(-75_200), "restored from a snapshot");
    }

    #[tokio::test]
    async fn a_sleep_ends_at_its_instant_also_one_that_has_passed() {
        let sleep = BootSleep::new().unwrap();
        for at in [boot_now() + Millis(20), boot_now() + Millis(1), Time::from_ms(0), boot_now()] {
            sleep.until(Some(at)).await;
            assert!(boot_now() >= at);
        }
    }

    #[test]
    fn the_boot_clock_never_goes_back() {
        let before = boot_now();
        assert!(boot_now() >= before);
    }
}
