//! The HMAC of a request; its encoding is written down in the parent module.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ha_core::ids::{MemberId, PoolName};
use ha_core::messages::Request;
use ha_core::time::Millis;
use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::Sha256;

use super::request::method_of;
use crate::key::MemberKey;

const DOMAIN: &str = "iotedge-ha method v1";

/// Everything that a request's HMAC covers.
pub(super) struct Signed<'a> {
    pub(super) member: &'a MemberId,
    pub(super) pool: &'a PoolName,
    pub(super) request: &'a Request,
    pub(super) hold: Millis,
}

impl Signed<'_> {
    pub(super) fn sign(&self, key: &MemberKey) -> String {
        STANDARD.encode(self.mac(key).finalize().into_bytes())
    }

    /// Takes the same time wherever the two first differ.
    pub(super) fn verify(&self, key: &MemberKey, auth: &str) -> bool {
        STANDARD.decode(auth).is_ok_and(|tag| self.mac(key).verify_slice(&tag).is_ok())
    }

    fn mac(&self, key: &MemberKey) -> Hmac<Sha256> {
        // HMAC itself fills a short key with zeros up to one block of the hash.
        let mut block = [0; 64];
        block[..32].copy_from_slice(key.bytes());
        let mut mac = Hmac::<Sha256>::new(&block.into());
        let mut item = |bytes: &[u8]| {
            let length = u32::try_from(bytes.len()).unwrap_or(u32::MAX);
            mac.update(&length.to_be_bytes());
            mac.update(bytes);
        };
        item(DOMAIN.as_bytes());
        item(method_of(self.request).as_bytes());
        item(self.member.as_str().as_bytes());
        item(self.pool.as_str().as_bytes());
        item(self.request.grantor().as_str().as_bytes());
        item(&self.request.epoch().0.to_be_bytes());
        item(&self.hold.0.to_be_bytes());
        match self.request {
            Request::Hello(hello) => item(&[u8::from(hello.wants_nonce)]),
            Request::Grant(grant) => {
                item(&grant.term.0.to_be_bytes());
                item(&grant.nonce.run.to_be_bytes());
                item(&grant.nonce.count.to_be_bytes());
                item(&grant.ttl.0.to_be_bytes());
            }
            Request::Revoke(revoke) => item(&revoke.term.0.to_be_bytes()),
        }
        mac
    }
}
