use ha_core::ids::MemberId;
use tokio::sync::broadcast;

/// As many may wait; who falls behind misses some, and asks in its own time.
const WAITING_MAX: usize = 1024;

/// Hints that something may have happened to a device, for whichever pools it belongs to. Clones share them.
#[derive(Clone, Debug)]
pub struct Hints(broadcast::Sender<MemberId>);

impl Default for Hints {
    fn default() -> Self {
        Self(broadcast::Sender::new(WAITING_MAX))
    }
}

impl Hints {
    /// Tells all pools that run.
    pub fn give(&self, device: &MemberId) {
        // Nobody listens while no pool runs here, which is no loss.
        let _ = self.0.send(device.clone());
    }

    pub(super) fn listen(&self) -> Listener {
        Listener(self.0.subscribe())
    }
}

pub(super) struct Listener(broadcast::Receiver<MemberId>);

impl Listener {
    /// The next hint. Never ends.
    pub(super) async fn next(&mut self) -> MemberId {
        loop {
            match self.0.recv().await {
                Ok(device) => return device,
                Err(broadcast::error::RecvError::Lagged(_)) => {}
                Err(broadcast::error::RecvError::Closed) => std::future::pending().await,
            }
        }
    }
}
