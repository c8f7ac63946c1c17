//! The key that a controller and one member share.

use std::fmt;
use std::str::FromStr;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use crate::Error;

/// 32 random bytes, one such key for each member of each pool.
///
/// The receiver of a direct method cannot otherwise tell the cloud from a neighbouring module.
#[derive(Clone)]
pub struct MemberKey([u8; 32]);

impl MemberKey {
    /// Takes bytes that were drawn at random.
    pub const fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// The text that goes into the twin. It is the secret itself.
    pub fn to_base64(&self) -> String {
        STANDARD.encode(self.0)
    }

    pub(crate) fn bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

impl FromStr for MemberKey {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        // 32 bytes take 44 characters; anything longer is not worth decoding.
        let bytes = if text.len() == 44 { STANDARD.decode(text).ok() } else { None };
        bytes.and_then(|bytes| bytes.try_into().ok()).map(Self).ok_or(Error::BadKey)
    }
}

impl PartialEq for MemberKey {
    fn eq(&self, other: &Self) -> bool {
        self.0.iter().zip(&other.0).fold(0, |differing, (a, b)| differing | (a ^ b)) == 0
    }
}

impl Eq for MemberKey {}

impl fmt::Debug for MemberKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("MemberKey(redacted)")
    }
}

/// The keys that lie in an agent's twin.
///
/// Requests are made with the current one. An agent takes the others too, so that a key can be changed
/// while leases go on: see [`crate::rotation`].
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct KeyRing {
    /// The key that requests are made with.
    pub current: Option<MemberKey>,
    /// The key that is to become the current one.
    pub next: Option<MemberKey>,
    /// The key that was the current one, for whoever has not heard of the change.
    pub previous: Option<MemberKey>,
}

impl KeyRing {
    /// A ring with one key.
    pub const fn of(current: MemberKey) -> Self {
        Self { current: Some(current), next: None, previous: None }
    }

    /// The keys that an agent takes.
    pub fn taken(&self) -> impl Iterator<Item = &MemberKey> {
        [&self.current, &self.next, &self.previous].into_iter().flatten()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_key_never_shows_itself() {
        let key = MemberKey::from_bytes([7; 32]);
        assert_eq!(format!("{key:?}"), "MemberKey(redacted)");
    }

    #[test]
    fn texts_that_are_no_keys_are_refused() {
        let short = STANDARD.encode([1; 31]);
        let long = STANDARD.encode([1; 33]);
        for bad in ["", "AAAA", &short, &long, &"=".repeat(44), &"ä".repeat(22)] {
            assert_eq!(bad.parse::<MemberKey>(), Err(Error::BadKey), "{bad}");
        }
    }

    proptest! {
        #[test]
        fn keys_survive_the_twin(bytes: [u8; 32]) {
            let key = MemberKey::from_bytes(bytes);
            prop_assert_eq!(key.to_base64().parse::<MemberKey>(), Ok(key));
        }

        #[test]
        fn no_text_panics(text: String) {
            let _ = text.parse::<MemberKey>();
        }
    }
}
