//! What a hub does of itself when it is not well.

use jiff::{SignedDuration, Timestamp};

use super::{Dice, Hub, Id};

impl Hub {
    /// Lets queries trail further, or less far, from here on; what they show at this moment stays shown.
    pub fn set_index_lag(&mut self, lag: SignedDuration, now: Timestamp) {
        self.settle_index(now);
        self.change_index_lag(lag);
    }

    /// How far queries trail.
    pub fn index_lag(&self) -> SignedDuration {
        self.shown_index_lag()
    }

    /// Shows the identity in the other state of connection and back, though nothing has happened to its connection.
    /// False when there is no such identity.
    pub fn flap(&mut self, id: &Id, now: Timestamp) -> bool {
        let Some(connected) = self.shown_connected(id) else {
            return false;
        };
        self.show_link(id, !connected, now);
        self.show_link(id, connected, now);
        true
    }

    /// As after a start on an empty disk. Connections must be closed before.
    pub fn forget(&mut self) {
        let dice = std::mem::replace(&mut self.dice, Dice::new([0; 32]));
        let fresh = Self::new(dice, self.index_lag());
        let (revision, last_ticks, settings) = (self.revision, self.last_ticks, self.settings);
        let sequence = std::mem::take(&mut self.sequence);
        *self =
            Self { revision: revision + 1, taken: revision, forgotten: true, last_ticks, sequence, settings, ..fresh };
    }

    fn shown_connected(&self, id: &Id) -> Option<bool> {
        let device = self.devices.get(&id.device)?;
        match &id.module {
            None => Some(device.presence.connected),
            Some(module) => Some(device.modules.get(module)?.presence.connected),
        }
    }
}
