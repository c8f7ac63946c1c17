//! Things that go wrong on request.

mod device;
mod rest;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::watch;

pub use device::{Cut, DeviceFault};
pub use rest::{RestFault, RestKind, Verdict};

use crate::clock::Clock;
use rest::Armed;

/// Connections of one device that are kept open though nothing flows.
const HELD_MAX: usize = 256;

/// How far the hub's clock may be wrong: a year.
const SKEW_MS_MAX: i64 = 365 * 24 * 3600 * 1000;

/// What is wrong with the links, one by one and all together.
#[derive(Debug, Clone, Default)]
struct Links {
    devices: BTreeMap<String, DeviceFault>,
    frozen: bool,
}

/// All faults in force.
#[derive(Debug)]
pub struct Faults {
    links: watch::Sender<Arc<Links>>,
    rest: Mutex<BTreeMap<RestKind, Armed>>,
    clock: Arc<Clock>,
    held: Arc<Mutex<BTreeMap<String, usize>>>,
}

impl Default for Faults {
    fn default() -> Self {
        Self {
            links: watch::Sender::new(Arc::default()),
            rest: Mutex::default(),
            clock: Arc::default(),
            held: Arc::default(),
        }
    }
}

impl Faults {
    /// Puts a fault on the link of a device and all its modules, in place of an earlier one.
    pub fn set_device(&self, device: &str, fault: DeviceFault) {
        self.links.send_modify(|all| {
            Arc::make_mut(all).devices.insert(device.to_owned(), fault);
        });
    }

    /// Heals the link; what was held back flows, in order.
    pub fn heal_device(&self, device: &str) -> bool {
        let mut healed = false;
        self.links.send_if_modified(|all| {
            healed = Arc::make_mut(all).devices.remove(device).is_some();
            healed
        });
        healed
    }

    /// Makes REST answers go wrong, in place of an earlier fault of the kind.
    pub fn set_rest(&self, kind: RestKind, fault: RestFault) {
        lock(&self.rest).insert(kind, Armed::new(fault));
    }

    /// Ends a REST fault.
    pub fn heal_rest(&self, kind: RestKind) -> bool {
        lock(&self.rest).remove(&kind).is_some()
    }

    /// Stops the whole hub, or lets it go on: connections open and TLS is set up, then nothing happens.
    pub fn set_frozen(&self, frozen: bool) {
        self.links.send_modify(|all| Arc::make_mut(all).frozen = frozen);
    }

    /// Whether the whole hub is stopped.
    pub fn frozen(&self) -> bool {
        self.links.borrow().frozen
    }

    /// Puts the hub's clock so far ahead, or with a negative number behind; tokens and timestamps go by it.
    pub fn set_clock_skew_ms(&self, skew_ms: i64) {
        self.clock.set_skew_ms(skew_ms.clamp(-SKEW_MS_MAX, SKEW_MS_MAX));
        // Connections look at the clock again.
        self.links.send_modify(|_| {});
    }

    /// How far the hub's clock is ahead.
    pub fn clock_skew_ms(&self) -> i64 {
        self.clock.skew_ms()
    }

    /// Heals everything.
    pub fn heal_all(&self) {
        lock(&self.rest).clear();
        self.clock.set_skew_ms(0);
        self.links.send_replace(Arc::default());
    }

    /// Faults on links.
    pub fn devices(&self) -> BTreeMap<String, DeviceFault> {
        self.links.borrow().devices.clone()
    }

    /// Faults on REST answers, with what is left of their counts.
    pub fn rest(&self) -> BTreeMap<RestKind, RestFault> {
        let all = lock(&self.rest);
        all.iter().map(|(k, armed)| (*k, armed.shown())).collect()
    }

    /// What becomes of a REST call.
    pub fn judge(&self, method: &str, path: &str) -> Verdict {
        let mut verdict = Verdict::default();
        let mut all = lock(&self.rest);
        for (kind, armed) in all.iter_mut() {
            if (verdict.kind.is_none() || *kind == RestKind::Latency) && armed.strikes(method, path) {
                verdict.add(*kind, armed.fault());
            }
        }
        all.retain(|_, armed| !armed.spent());
        verdict
    }

    pub(crate) fn watch(&self) -> Watch {
        Watch(self.links.subscribe())
    }

    pub(crate) fn clock(&self) -> Arc<Clock> {
        Arc::clone(&self.clock)
    }

    /// Returns when the hub is not frozen.
    pub(crate) async fn thaw(&self) {
        let mut links = self.links.subscribe();
        // The sender is ours, so waiting cannot fail.
        let _ = links.wait_for(|links| !links.frozen).await;
    }

    /// Room for one more silent connection of the device.
    pub(crate) fn hold(&self, device: &str) -> Option<Held> {
        let mut held = lock(&self.held);
        let count = held.entry(device.to_owned()).or_default();
        if *count >= HELD_MAX {
            return None;
        }
        *count += 1;
        Some(Held { all: Arc::clone(&self.held), device: device.to_owned() })
    }
}

/// Follows the faults on one link.
#[derive(Debug)]
pub(crate) struct Watch(watch::Receiver<Arc<Links>>);

impl Watch {
    /// The fault in force.
    pub(crate) fn fault(&mut self, device: &str) -> DeviceFault {
        let all = self.0.borrow_and_update();
        let mut fault = all.devices.get(device).cloned().unwrap_or_default();
        fault.frozen |= all.frozen;
        fault
    }

    /// Whether any fault changed since the last look.
    pub(crate) fn has_changed(&self) -> bool {
        self.0.has_changed().unwrap_or(false)
    }

    /// Returns when any fault changed.
    pub(crate) async fn changed(&mut self) {
        if self.0.changed().await.is_err() {
            std::future::pending::<()>().await;
        }
    }

    /// Returns when the link of the device is whole as far as `matters` is concerned.
    pub(crate) async fn until(&mut self, device: &str, matters: impl Fn(&DeviceFault) -> bool) {
        while matters(&self.fault(device)) {
            self.changed().await;
        }
    }
}

/// Counts a silent connection for as long as it lives.
#[derive(Debug)]
pub(crate) struct Held {
    all: Arc<Mutex<BTreeMap<String, usize>>>,
    device: String,
}

impl Drop for Held {
    fn drop(&mut self) {
        let mut all = lock(&self.all);
        if let Some(count) = all.get_mut(&self.device) {
            *count -= 1;
            if *count == 0 {
                all.remove(&self.device);
            }
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
