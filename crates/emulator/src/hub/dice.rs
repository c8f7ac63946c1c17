//! Randomness from one seed that is handed in.

use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};

use super::identity::Key;

/// Makes keys and the first values of etag counters.
#[derive(Debug)]
pub struct Dice(StdRng);

impl Dice {
    /// The same seed gives the same hub.
    pub fn new(seed: [u8; 32]) -> Self {
        Self(StdRng::from_seed(seed))
    }

    /// A fresh key of 32 bytes.
    pub fn key(&mut self) -> Key {
        Key::from_bytes(&self.0.random::<[u8; 32]>())
    }

    /// A fresh bearer token.
    pub fn token(&mut self) -> String {
        let bytes = self.0.random::<[u8; 24]>();
        bytes.iter().map(|b| format!("{b:02x}")).collect()
    }

    /// Where an identity's etag counter starts.
    pub fn etag(&mut self) -> u64 {
        self.0.random_range(10_000_000..1_000_000_000)
    }
}
