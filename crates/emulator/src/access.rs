//! Who may do what: shared access policies, tokens, the names of the hub.

mod policies;

use ha_wire::SharedAccessKey;
use ha_wire::sas::Token;
use jiff::Timestamp;

pub(crate) use policies::{Policies, Right};

use crate::hub::{Id, Key, Proof};
use crate::tls::host_of;

/// Checks credentials.
#[derive(Debug)]
pub(crate) struct Access {
    policies: Policies,
    hosts: Vec<String>,
}

/// Why credentials are not accepted. For the log; the other side learns less.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Denied {
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
pub(crate) struct Granted {
    /// What it was proved with.
    pub proof: Proof,
    /// When the token ends, in Unix seconds.
    pub expires: u64,
}

impl Access {
    /// Accepts tokens of these policies for a hub of these names.
    pub(crate) fn new(policies: Policies, hosts: Vec<String>) -> Self {
        let hosts = hosts.iter().map(|name| host_of(name).to_ascii_lowercase()).collect();
        Self { policies, hosts }
    }

    /// The policies.
    pub(crate) fn policies(&self) -> &Policies {
        &self.policies
    }

    /// Whether the `Authorization` header of a back end carries the right. `path` is the resource asked for.
    pub(crate) fn check_service(
        &self,
        header: Option<&str>,
        right: Right,
        path: &[&str],
        now: Timestamp,
    ) -> Result<(), Denied> {
        let token = read(header.ok_or(Denied::Absent)?)?;
        self.check_reach(&token, path, now)?;
        let name = token.policy().ok_or(Denied::NoRight)?;
        let policy = self.policies.find(name).ok_or(Denied::UnknownPolicy)?;
        if !is_signed(&token, &policy.keys()) {
            return Err(Denied::WrongKey);
        }
        if !policy.has(right) {
            return Err(Denied::NoRight);
        }
        Ok(())
    }

    /// Whether a device's or module's token is good: signed by its own key, or by a policy with DeviceConnect.
    pub(crate) fn check_device(&self, token: &str, id: &Id, keys: &[Key], now: Timestamp) -> Result<Granted, Denied> {
        let token = read(token)?;
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
                if !is_signed(&token, &policy.keys()) {
                    return Err(Denied::WrongKey);
                }
                Proof::Policy
            }
            None if keys.is_empty() => return Err(Denied::NoKey),
            None => {
                let keys: Vec<&Key> = keys.iter().collect();
                if !is_signed(&token, &keys) {
                    return Err(Denied::WrongKey);
                }
                Proof::OwnKey
            }
        };
        Ok(Granted { proof, expires: token.expiry_unix_s() })
    }

    fn check_reach(&self, token: &Token, path: &[&str], now: Timestamp) -> Result<(), Denied> {
        if token.is_expired(u64::try_from(now.as_second()).unwrap_or(0)) {
            return Err(Denied::Expired);
        }
        let scope = token.scope().map_err(|_| Denied::Malformed)?;
        let host = scope.host_name().to_ascii_lowercase();
        if !self.hosts.contains(&host) || !scope.covers(path) {
            return Err(Denied::OtherResource);
        }
        Ok(())
    }
}

fn read(token: &str) -> Result<Token, Denied> {
    Token::parse(token).map_err(|_| Denied::Malformed)
}

fn is_signed(token: &Token, keys: &[&Key]) -> bool {
    keys.iter().filter_map(|key| SharedAccessKey::from_base64(key.reveal()).ok()).any(|key| token.verify(&key))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn access() -> Access {
        let mut dice = crate::hub::Dice::new([1; 32]);
        Access::new(Policies::make(|| dice.key()), vec!["localhost".into()])
    }

    fn sign(sr: &str, key: &Key, expiry: u64, policy: Option<&str>) -> String {
        let key = SharedAccessKey::from_base64(key.reveal()).expect("base64");
        let signature = key.sign(format!("{sr}\n{expiry}").as_bytes());
        let signature = ha_wire::percent_encode(&signature);
        let policy = policy.map_or_else(String::new, |name| format!("&skn={name}"));
        format!("SharedAccessSignature sr={sr}&sig={signature}&se={expiry}{policy}")
    }

    fn now() -> Timestamp {
        Timestamp::from_second(1_000).expect("a time")
    }

    fn service(access: &Access, policy: &str, sr: &str, right: Right) -> Result<(), Denied> {
        let found = access.policies.find(policy).expect("a policy");
        let token = sign(sr, found.keys()[1], 2_000, Some(policy));
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
        let own = |sr: &str| sign(sr, &key, 2_000, None);
        assert_eq!(check(&device, &own("localhost%2Fdevices%2Fa")), Ok(Proof::OwnKey));
        assert_eq!(check(&device, &own("localhost%2Fdevices%2Fb")), Err(Denied::OtherResource));
        for sr in [
            "localhost%2Fdevices%2Fa%2Fmodules%2F%24edgeAgent",
            "localhost/devices/a/modules/$edgeAgent",
            "localhost%2Fdevices%2Fa%2Fmodules%2F%2524edgeAgent",
        ] {
            assert_eq!(check(&module, &own(sr)), Ok(Proof::OwnKey), "{sr}");
        }
        let late = sign("localhost", &key, 999, None);
        assert_eq!(check(&device, &late), Err(Denied::Expired));
        let other = sign("localhost", &Key::from_bytes(&[8; 32]), 2_000, None);
        assert_eq!(check(&device, &other), Err(Denied::WrongKey));
        let policy = access.policies.find("device").expect("a policy");
        let signed = sign("localhost%2Fdevices", policy.keys()[0], 2_000, Some("device"));
        assert_eq!(check(&device, &signed), Ok(Proof::Policy));
        assert_eq!(check(&device, "SharedAccessSignature sr=x"), Err(Denied::Malformed));
    }
}
