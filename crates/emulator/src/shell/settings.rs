//! What is set from outside while the hub runs: its resource, event subscriptions, throttles. Whoever goes by it is told.

use std::sync::Arc;

use jiff::Timestamp;

use super::{Core, Shell};
use crate::access::Access;
use crate::event_grid;
use crate::hub::Hub;
use crate::management::certificates::{self, Certificates};
use crate::management::{self, Failure, Management};
use crate::throttle::Throttling;

impl Shell {
    /// Writes to the hub as a resource; what came of it is in the log before anybody is told.
    pub(crate) fn manage<T>(
        &self,
        deed: impl FnOnce(&Management, &mut Hub, Timestamp) -> Result<T, Failure>,
    ) -> Result<T, Failure> {
        let management = &self.events.management;
        self.act(|hub, now| {
            let done = deed(management, hub, now)?;
            hub.keep_beside(management::KEPT_AS, management.keep(now));
            Ok(done)
        })
    }

    /// Writes down which event subscriptions there are.
    pub(crate) fn keep_subscriptions(&self) {
        self.act(|hub, _| hub.keep_beside(event_grid::KEPT_AS, self.events.event_grid.keep()));
    }

    /// Throttles as a hub of this size from here on, which the hub then has; `None` turns them off.
    pub(crate) fn set_throttling(&self, throttling: Option<Throttling>) {
        let core = &mut self.lock();
        let now = self.clock.now();
        if let Some(throttling) = &throttling {
            self.events.management.resize(throttling.size(), now);
        }
        self.gate.set(throttling);
        self.obey(core, now);
    }

    /// Who may do what at this moment.
    pub(crate) fn access(&self) -> &Access {
        self.obey(&mut self.lock(), self.clock.now());
        &self.access
    }

    /// Brings all who go by the resource's document up to date with it.
    pub(super) fn obey(&self, core: &mut Core, now: Timestamp) {
        let in_force = self.events.management.in_force(now);
        if core.obeyed.as_ref().is_some_and(|obeyed| Arc::ptr_eq(obeyed, &in_force)) {
            return;
        }
        core.hub.set_settings(in_force.settings());
        self.gate.resize(in_force.size);
        self.access.set_rules(in_force.rules.clone());
        core.obeyed = Some(in_force);
    }

    /// Goes by the authorities for devices that the hub has registered.
    ///
    /// # Errors
    /// When what was kept of them cannot be read.
    pub(crate) fn trust_registered(&self) -> Result<(), String> {
        let registered = Certificates::resume(self.lock().hub.kept_beside(certificates::KEPT_AS))?;
        self.access.trust(&registered.verified())
    }

    /// Changes the authorities for devices, and goes by those that are verified then.
    pub(crate) fn change_certificates<T>(
        &self,
        change: impl FnOnce(&mut Certificates) -> Result<T, Failure>,
    ) -> Result<T, Failure> {
        self.act(|hub, _| {
            let kept = hub.kept_beside(certificates::KEPT_AS);
            let mut registered = Certificates::resume(kept).map_err(Failure::bad_request)?;
            let changed = change(&mut registered)?;
            self.access.trust(&registered.verified()).map_err(Failure::bad_request)?;
            hub.keep_beside(certificates::KEPT_AS, registered.keep());
            Ok(changed)
        })
    }
}
