//! Things that go wrong on request.

mod device;
mod rest;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::watch;

pub use device::{Cut, DeviceFault};
pub use rest::{RestFault, RestKind, Verdict};

use rest::Armed;

/// Connections of one device that are kept open though nothing flows.
const HELD_MAX: usize = 256;

type ByDevice = Arc<BTreeMap<String, DeviceFault>>;

/// All faults in force.
#[derive(Debug)]
pub struct Faults {
    devices: watch::Sender<ByDevice>,
    rest: Mutex<BTreeMap<RestKind, Armed>>,
    held: Arc<Mutex<BTreeMap<String, usize>>>,
}

impl Default for Faults {
    fn default() -> Self {
        Self { devices: watch::Sender::new(Arc::new(BTreeMap::new())), rest: Mutex::default(), held: Arc::default() }
    }
}

impl Faults {
    /// Puts a fault on the link of a device and all its modules, in place of an earlier one.
    pub fn set_device(&self, device: &str, fault: DeviceFault) {
        self.devices.send_modify(|all| {
            Arc::make_mut(all).insert(device.to_owned(), fault);
        });
    }

    /// Heals the link; what was held back flows, in order.
    pub fn heal_device(&self, device: &str) -> bool {
        let mut healed = false;
        self.devices.send_if_modified(|all| {
            healed = Arc::make_mut(all).remove(device).is_some();
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

    /// Heals everything.
    pub fn heal_all(&self) {
        lock(&self.rest).clear();
        self.devices.send_replace(Arc::new(BTreeMap::new()));
    }

    /// Faults on links.
    pub fn devices(&self) -> BTreeMap<String, DeviceFault> {
        (**self.devices.borrow()).clone()
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
        Watch(self.devices.subscribe())
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
pub(crate) struct Watch(watch::Receiver<ByDevice>);

impl Watch {
    /// The fault in force.
    pub(crate) fn fault(&mut self, device: &str) -> DeviceFault {
        let all = self.0.borrow_and_update();
        all.get(device).cloned().unwrap_or_default()
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
