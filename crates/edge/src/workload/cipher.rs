//! `encrypt` and `decrypt`: a module's secrets, sealed for itself alone.

use std::path::Path;

use ring::aead::{AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use ring::hmac;

use crate::error::Error;
use crate::store::replace;

const KEY_FILE: &str = "edge-cipher.key";
const KEY_BYTES: usize = 32;

/// The device's master key, which seals for each module with a key of its own.
pub(crate) struct Cipher(hmac::Key);

impl Cipher {
    /// Takes the master key from the state folder, or makes one there.
    pub(crate) fn open(state_dir: &Path) -> Result<Self, Error> {
        let path = state_dir.join(KEY_FILE);
        let key = match std::fs::read(&path) {
            Ok(key) if key.len() == KEY_BYTES => key,
            Ok(_) => return Err(Error::Damaged { path, reason: format!("it does not hold {KEY_BYTES} bytes") }),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                let key: [u8; KEY_BYTES] = rand::random();
                replace(&path, &key).map_err(Error::file(&path))?;
                key.to_vec()
            }
            Err(error) => return Err(Error::file(&path)(error)),
        };
        Ok(Self(hmac::Key::new(hmac::HMAC_SHA256, &key)))
    }

    /// Seals what is only opened for the same module, of the same generation, with the same vector.
    pub(super) fn seal(&self, (module, generation): (&str, &str), vector: &[u8], text: &[u8]) -> Option<Vec<u8>> {
        let mut sealed = text.to_vec();
        let (key, nonce) = self.of(module, generation, vector)?;
        key.seal_in_place_append_tag(nonce, Aad::empty(), &mut sealed).ok()?;
        Some(sealed)
    }

    /// Opens it again; `None` when it was sealed otherwise, or altered.
    pub(super) fn open_sealed(
        &self,
        (module, generation): (&str, &str),
        vector: &[u8],
        sealed: &[u8],
    ) -> Option<Vec<u8>> {
        let mut text = sealed.to_vec();
        let (key, nonce) = self.of(module, generation, vector)?;
        key.open_in_place(nonce, Aad::empty(), &mut text).ok().map(|text| text.to_vec())
    }

    /// The key of one module for one vector, and the nonce: vectors have any length, so both are derived.
    fn of(&self, module: &str, generation: &str, vector: &[u8]) -> Option<(LessSafeKey, Nonce)> {
        let owner = hmac::sign(&self.0, format!("{}/{module}/{generation}", module.len()).as_bytes());
        let own = hmac::Key::new(hmac::HMAC_SHA256, owner.as_ref());
        let key = hmac::sign(&own, &[b"key", vector].concat());
        let nonce = hmac::sign(&own, &[b"nonce", vector].concat());
        let key = UnboundKey::new(&AES_256_GCM, key.as_ref()).ok()?;
        Some((LessSafeKey::new(key), Nonce::try_assume_unique_for_key(nonce.as_ref().get(..12)?).ok()?))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_sealed_opens_for_its_module_alone_and_over_a_restart() {
        let folder = tempfile::tempdir().expect("a folder");
        let cipher = Cipher::open(folder.path()).expect("a cipher");
        let sealed = cipher.seal(("press", "g1"), b"iv", b"secret").expect("sealed");
        assert_ne!(sealed, cipher.seal(("press", "g1"), b"another", b"secret").expect("sealed"));
        let later = Cipher::open(folder.path()).expect("a cipher");
        assert_eq!(later.open_sealed(("press", "g1"), b"iv", &sealed).as_deref(), Some(&b"secret"[..]));
        let mut altered = sealed.clone();
        altered[0] ^= 1;
        for (owner, vector, sealed) in [
            (("log", "g1"), &b"iv"[..], &sealed),
            (("press", "g2"), b"iv", &sealed),
            (("press", "g1"), b"other", &sealed),
            (("press", "g1"), b"iv", &altered),
            (("press", "g1"), b"iv", &Vec::new()),
        ] {
            assert_eq!(later.open_sealed(owner, vector, sealed), None, "{owner:?}");
        }
    }
}
