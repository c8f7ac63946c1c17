//! Who may do what: shared access policies, tokens, the names of the hub.

mod policies;
mod token;

use jiff::Timestamp;

pub use policies::{Policies, Right};

use crate::hub::{Id, Key, Proof};
use crate::tls::host_of;
use token::Token;

/// Checks credentials.
#[derive(Debug)]
pub struct Access {
    policies: Policies,
    hosts: Vec<String>,
}

/// Why credentials are not accepted. For the log; the other side learns less.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Denied {
    /// There is no token.
    #[error("no shared access signature")]
    Absent,
    /// The token cannot be read.
    #[error("the shared access signature cannot be read")]
    Malformed,
    /// The token's time is over.
    #[error("the shared access signature has expired")]
    Expired,
    /// Signed with another key.
    #[error("the shared access signature was made with another key")]
    WrongKey,
    /// `skn` names no policy.
    #[error("no such shared access policy")]
    UnknownPolicy,
    /// The policy lacks the right.
    #[error("the shared access policy lacks the right")]
    NoRight,
    /// `sr` names another hub or another identity.
    #[error("the shared access signature is for another resource")]
    OtherResource,
    /// The identity has no keys.
    #[error("the identity has no symmetric key")]
    NoKey,
}

/// An accepted device or module.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Granted {
    /// What it was proved with.
    pub proof: Proof,
    /// When the token ends, in Unix seconds.
    pub expires: i64,
}

impl Access {
    /// Accepts tokens of these policies for a hub of these names.
    pub fn new(policies: Policies, hosts: Vec<String>) -> Self {
        let hosts = hosts.iter().map(|name| host_of(name).to_ascii_lowercase()).collect();
        Self { policies, hosts }
    }

    /// The policies.
    pub fn policies(&self) -> &Policies {
        &self.policies
    }

    /// Whether the `Authorization` header of a back end carries the right. `path` is the resource asked for.
    pub fn check_service(
        &self,
        header: Option<&str>,
        right: Right,
        path: &[&str],
        now: Timestamp,
    ) -> Result<(), Denied> {
        let token = Token::parse(header.ok_or(Denied::Absent)?).ok_or(Denied::Malformed)?;
        self.check_reach(&token, path, now)?;
        let name = token.policy().ok_or(Denied::NoRight)?;
        let policy = self.policies.find(name).ok_or(Denied::UnknownPolicy)?;
        if !token.is_signed_with(&policy.keys()) {
            return Err(Denied::WrongKey);
        }
        if !policy.has(right) {
            return Err(Denied::NoRight);
        }
        Ok(())
    }

    /// Whether a device's or module's token is good: signed by its own key, or by a policy with DeviceConnect.
    pub fn check_device(&self, token: &str, id: &Id, keys: &[Key], now: Timestamp) -> Result<Granted, Denied> {
        let token = Token::parse(token).ok_or(Denied::Malformed)?;
        let mut path = vec!["devices", id.device.as_str()];
        if let Some(module) = &id.module {
            path.extend(["modules", module.as_str()]);
        }
        self.check_reach(&token, &path, now)?;
        let proof = match token.policy() {
            Some(name) => {
                let policy = self.policies.find(name).ok_or(Denied::UnknownPolicy)?;
                if !policy.has(Right::DeviceConnect) {
                    return Err(Denied::NoRight);
                }
                if !token.is_signed_with(&policy.keys()) {
                    return Err(Denied::WrongKey);
                }
                Proof::Policy
            }
            None if keys.is_empty() => return Err(Denied::NoKey),
            None => {
                let keys: Vec<&Key> = keys.iter().collect();
                if !token.is_signed_with(&keys) {
                    return Err(Denied::WrongKey);
                }
                Proof::OwnKey
            }
        };
        Ok(Granted { proof, expires: token.expires() })
    }

    fn check_reach(&self, token: &Token, path: &[&str], now: Timestamp) -> Result<(), Denied> {
        if token.expires() <= now.as_second() {
            return Err(Denied::Expired);
        }
        let resource = token.resource();
        let mut parts = resource.split('/').filter(|part| !part.is_empty());
        let host = parts.next().unwrap_or_default().to_ascii_lowercase();
        if !self.hosts.iter().any(|known| known == host_of(&host)) {
            return Err(Denied::OtherResource);
        }
        let mut asked = path.iter();
        let covered = parts.all(|part| {
            let wanted = asked.next().copied();
            wanted.is_some_and(|w| w == part || w == token::decode(part))
        });
        if covered { Ok(()) } else { Err(Denied::OtherResource) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn access() -> Access {
        let mut dice = crate::hub::Dice::new([1; 32]);
        Access::new(Policies::make(|| dice.key()), vec!["localhost".into()])
    }

    fn now() -> Timestamp {
        Timestamp::from_second(1_000).expect("a time")
    }

    fn service(access: &Access, policy: &str, sr: &str, right: Right) -> Result<(), Denied> {
        let found = access.policies.find(policy).expect("a policy");
        let token = token::sign(sr, found.keys()[1], 2_000, Some(policy));
        access.check_service(Some(&token), right, &["devices", "a"], now())
    }

    #[test]
    fn policies_by_table() {
        let access = access();
        for (policy, sr, right, outcome) in [
            ("iothubowner", "localhost", Right::RegistryWrite, Ok(())),
            ("iothubowner", "localhost%3A8443", Right::ServiceConnect, Ok(())),
            ("service", "LOCALHOST", Right::ServiceConnect, Ok(())),
            ("service", "localhost", Right::RegistryRead, Err(Denied::NoRight)),
            ("registryRead", "localhost", Right::RegistryRead, Ok(())),
            ("registryRead", "localhost", Right::RegistryWrite, Err(Denied::NoRight)),
            ("registryReadWrite", "localhost%2fdevices", Right::RegistryWrite, Ok(())),
            ("registryReadWrite", "localhost", Right::ServiceConnect, Err(Denied::NoRight)),
            ("service", "localhost%2Fdevi", Right::ServiceConnect, Err(Denied::OtherResource)),
            ("service", "otherhost", Right::ServiceConnect, Err(Denied::OtherResource)),
        ] {
            assert_eq!(service(&access, policy, sr, right), outcome, "{policy} {sr}");
        }
    }

    #[test]
    fn device_tokens_by_table() {
        let access = access();
        let key = Key::from_bytes(&[7; 32]);
        let device = Id::device("a");
        let module = Id::module("a", "$edgeAgent");
        let check = |id: &Id, token: &str| {
            access.check_device(token, id, std::slice::from_ref(&key), now()).map(|granted| granted.proof)
        };
        let own = |sr: &str| token::sign(sr, &key, 2_000, None);
        assert_eq!(check(&device, &own("localhost%2Fdevices%2Fa")), Ok(Proof::OwnKey));
        assert_eq!(check(&device, &own("localhost%2Fdevices%2Fb")), Err(Denied::OtherResource));
        for sr in [
            "localhost%2Fdevices%2Fa%2Fmodules%2F%24edgeAgent",
            "localhost/devices/a/modules/$edgeAgent",
            "localhost%2Fdevices%2Fa%2Fmodules%2F%2524edgeAgent",
        ] {
            assert_eq!(check(&module, &own(sr)), Ok(Proof::OwnKey), "{sr}");
        }
        let late = token::sign("localhost", &key, 999, None);
        assert_eq!(check(&device, &late), Err(Denied::Expired));
        let other = token::sign("localhost", &Key::from_bytes(&[8; 32]), 2_000, None);
        assert_eq!(check(&device, &other), Err(Denied::WrongKey));
        let policy = access.policies.find("device").expect("a policy");
        let signed = token::sign("localhost%2Fdevices", policy.keys()[0], 2_000, Some("device"));
        assert_eq!(check(&device, &signed), Ok(Proof::Policy));
        assert_eq!(check(&device, "SharedAccessSignature sr=x"), Err(Denied::Malformed));
    }
}
