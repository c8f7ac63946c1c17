//! Whether a token proves what its bearer claims.

use ha_wire::sas::Token;

use crate::id::Id;
use crate::registry::Identity;

/// Why a token does not do. Never holds the token.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub(crate) enum Denied {
    #[error("the token cannot be read")]
    Unreadable,
    #[error("the token has expired")]
    Expired,
    #[error("the token is for another hub")]
    OtherHub,
    #[error("the token is for another identity")]
    OtherIdentity,
    #[error("the signature is wrong")]
    Signature,
}

/// Checks a token against the keys of the identity it should be for; answers when it expires, in Unix seconds.
pub(crate) fn check(text: &str, id: &Id, identity: &Identity, hosts: &[String], now_s: u64) -> Result<u64, Denied> {
    let token = Token::parse(text).map_err(|_| Denied::Unreadable)?;
    let scope = token.scope().map_err(|_| Denied::Unreadable)?;
    if !hosts.iter().any(|host| host.eq_ignore_ascii_case(scope.host_name())) {
        return Err(Denied::OtherHub);
    }
    if !scope.covers(&id.path()) || scope.covers_hub() {
        return Err(Denied::OtherIdentity);
    }
    if !identity.keys.iter().any(|key| token.verify(key)) {
        return Err(Denied::Signature);
    }
    if token.is_expired(now_s) {
        return Err(Denied::Expired);
    }
    Ok(token.expiry_unix_s())
}

/// The wall clock, in Unix seconds.
pub(crate) fn now_unix_s() -> u64 {
    u64::try_from(jiff::Timestamp::now().as_second()).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use ha_wire::SharedAccessKey;
    use ha_wire::sas::Unsigned;

    use super::*;

    #[test]
    fn tokens_by_table() {
        let key = SharedAccessKey::from_bytes([1; 32]);
        let other = SharedAccessKey::from_bytes([2; 32]);
        let identity = Identity { keys: vec![key.clone()], generation: String::new() };
        let id = Id::module("edge-1", "a");
        let hosts = ["hub".to_owned(), "edge-1.local".to_owned()];
        let module = |host: &str, module: &str, expiry| Unsigned::module(host, "edge-1", module, expiry);
        for (token, expected) in [
            (module("hub", "a", 100).sign(&key), Ok(100)),
            (module("edge-1.local", "a", 100).sign(&key), Ok(100)),
            (module("hub", "a", 100).sign(&other), Err(Denied::Signature)),
            (module("hub", "b", 100).sign(&key), Err(Denied::OtherIdentity)),
            (module("elsewhere", "a", 100).sign(&key), Err(Denied::OtherHub)),
            (module("hub", "a", 10).sign(&key), Err(Denied::Expired)),
            (Unsigned::service("hub", "p", 100).sign(&key), Err(Denied::OtherIdentity)),
            (String::new(), Err(Denied::Unreadable)),
        ] {
            assert_eq!(check(&token, &id, &identity, &hosts, 50), expected, "{token}");
        }
    }
}
