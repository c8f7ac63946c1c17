//! Who may do what: shared access policies, tokens, the names of the hub.

mod certificate;
mod device;
mod entra;
mod issuer;
mod policies;
mod roles;

use std::sync::{Arc, Mutex, PoisonError};

use ha_wire::SharedAccessKey;
use ha_wire::sas::Token;
use jiff::Timestamp;
use rustls::pki_types::CertificateDer;

pub(crate) use certificate::{Authorities, Described, proves};
pub(crate) use device::{Credentials, Granted};
pub(crate) use entra::{Audience, Bearer, Refused};
pub use entra::{Authority, Entra, Principal};
pub(crate) use issuer::{Issuer, LIFETIME_S, Request as TokenRequest, TENANT, fresh_key, issuer_url};
pub(crate) use policies::{Policies, Policy, Right, Rights};
pub use roles::Role;

use crate::hub::Key;
use crate::tls::host_of;

/// Checks credentials.
#[derive(Debug)]
pub(crate) struct Access {
    rules: Mutex<Arc<Rules>>,
    hosts: Vec<String>,
    entra: Entra,
    issuer: Arc<Issuer>,
    authorities: Authorities,
}

/// What may change while the hub runs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Rules {
    /// The shared access policies.
    pub(crate) policies: Policies,
    /// Whose shared access signatures count.
    pub(crate) signatures: Signatures,
}

/// Whose shared access signatures count.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Signatures {
    /// Those made with a policy's key, by back ends and for devices.
    pub(crate) of_policies: bool,
    /// Those of devices, made with their own keys.
    pub(crate) of_devices: bool,
    /// Those of modules, made with their own keys.
    pub(crate) of_modules: bool,
}

impl Default for Signatures {
    fn default() -> Self {
        Self { of_policies: true, of_devices: true, of_modules: true }
    }
}

/// A back end that was let in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Caller {
    /// By a shared access policy.
    Policy,
    /// By a bearer token.
    Bearer,
}

/// Why credentials are not accepted. For the log; the other side learns less.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
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
    /// `sr` names another identity.
    #[error("the shared access signature is for another resource")]
    OtherResource,
    /// `sr`, or a user name, names another hub.
    #[error("this is for the host '{named}'; this hub is {known} (add names with --host-name)")]
    OtherHost {
        /// The name that was given.
        named: String,
        /// The names of this hub.
        known: String,
    },
    /// The identity has no keys.
    #[error("the identity has no symmetric key")]
    NoKey,
    /// The hub takes no signatures of its policies.
    #[error("signatures of shared access policies are turned off (disableLocalAuth)")]
    LocalAuthDisabled,
    /// The hub takes no signatures made with keys of devices.
    #[error("signatures with keys of devices are turned off (disableDeviceSAS)")]
    DeviceSasDisabled,
    /// The hub takes no signatures made with keys of modules.
    #[error("signatures with keys of modules are turned off (disableModuleSAS)")]
    ModuleSasDisabled,
    /// A bearer token that is not accepted.
    #[error(transparent)]
    Bearer(#[from] Refused),
    /// A good bearer token without the role.
    #[error("the principal {0} holds no role for this")]
    NoRole(String),
    /// The identity is registered with a certificate.
    #[error("the identity logs in with a certificate, and with an empty password")]
    TokenForCertificate,
    /// TLS brought no certificate.
    #[error("there is no client certificate, and the identity logs in with one")]
    NoCertificate,
    /// The certificate makes no sense.
    #[error("the client certificate cannot be used: {0}")]
    BadCertificate(String),
    /// Not one of the registered thumbprints.
    #[error("the client certificate's thumbprint {0} is not registered for the identity")]
    WrongThumbprint(String),
    /// Nobody could have signed.
    #[error("no authority for device certificates is known; name one with --device-ca")]
    NoAuthorities,
    /// Signed by someone else.
    #[error("the client certificate was issued by '{0}', which no --device-ca knows")]
    UnknownAuthority(String),
    /// Its time is over.
    #[error("the client certificate expired on {0}")]
    CertificateExpired(String),
    /// Its time has not come.
    #[error("the client certificate is not valid before {0}")]
    CertificateNotYetValid(String),
    /// The subject is someone else.
    #[error("the client certificate's subject names '{named}', and this is '{wanted}'")]
    WrongName {
        /// The common name.
        named: String,
        /// `{device}` or `{device}/{module}`.
        wanted: String,
    },
}

impl Access {
    /// Accepts tokens of these policies, and bearer tokens, for a hub of these names.
    pub(crate) fn new(policies: Policies, hosts: &[String], entra: Entra, issuer: Issuer) -> Self {
        let hosts = hosts.iter().map(|name| host_of(name).to_ascii_lowercase()).collect();
        let rules = Rules { policies, signatures: Signatures::default() };
        let issuer = Arc::new(issuer);
        Self { rules: Mutex::new(Arc::new(rules)), hosts, entra, issuer, authorities: Authorities::default() }
    }

    /// Goes by other rules from here on. Connections that are open stay so.
    pub(crate) fn set_rules(&self, rules: Rules) {
        *self.rules.lock().unwrap_or_else(PoisonError::into_inner) = Arc::new(rules);
    }

    /// The rules in force.
    pub(crate) fn rules(&self) -> Arc<Rules> {
        Arc::clone(&self.rules.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// A hub named `localhost` with fresh keys.
    #[cfg(test)]
    pub(crate) fn example(dice: &mut crate::hub::Dice) -> Self {
        let issuer = fresh_key().and_then(|key| Issuer::from_key(&key)).expect("a key");
        Self::new(Policies::make(|| dice.key()), &["localhost".into()], Entra::default(), issuer)
    }

    /// Accepts certificates of these authorities as well.
    pub(crate) fn with_authorities(self, authorities: Authorities) -> Self {
        Self { authorities, ..self }
    }

    /// Accepts certificates of these authorities too, and no longer of others that were accepted so before.
    pub(crate) fn trust(&self, registered: &[CertificateDer<'static>]) -> Result<(), String> {
        self.authorities.trust(registered)
    }

    /// Whether tokens are given as instance metadata.
    pub(crate) fn gives_instance_metadata(&self) -> bool {
        self.entra.instance_metadata
    }

    /// The emulator's own token authority.
    pub(crate) fn issuer(&self) -> &Arc<Issuer> {
        &self.issuer
    }

    /// Whether the `Authorization` header of a back end carries the right, or the data action that the call needs.
    /// `path` is the resource asked for.
    pub(crate) fn check_service(
        &self,
        header: Option<&str>,
        right: Right,
        (method, path): (&str, &[&str]),
        now: Timestamp,
    ) -> Result<Caller, Denied> {
        if header.and_then(ha_jwt::bearer).is_some() {
            let bearer = self.check_bearer(header, Audience::Hub, now)?;
            return if bearer.may(method, path) { Ok(Caller::Bearer) } else { Err(Denied::NoRole(bearer.id)) };
        }
        self.check_policy(header, right, path, now).map(|()| Caller::Policy)
    }

    /// Who sent a bearer token that is valid for the audience. What it may do is the answer's to say.
    pub(crate) fn check_bearer(
        &self,
        header: Option<&str>,
        audience: Audience,
        now: Timestamp,
    ) -> Result<Bearer, Denied> {
        let token = ha_jwt::bearer(header.ok_or(Denied::Absent)?).ok_or(Refused::Malformed)?;
        Ok(entra::check(&self.entra, &self.issuer, &self.hosts, token, audience, now)?)
    }

    fn check_policy(&self, header: Option<&str>, right: Right, path: &[&str], now: Timestamp) -> Result<(), Denied> {
        let token = read(header.ok_or(Denied::Absent)?)?;
        let rules = self.rules();
        if !rules.signatures.of_policies {
            return Err(Denied::LocalAuthDisabled);
        }
        self.check_reach(&token, path, now)?;
        let name = token.policy().ok_or(Denied::NoRight)?;
        let policy = rules.policies.find(name).ok_or(Denied::UnknownPolicy)?;
        if !is_signed(&token, &policy.keys()) {
            return Err(Denied::WrongKey);
        }
        if !policy.has(right) {
            return Err(Denied::NoRight);
        }
        Ok(())
    }

    fn check_reach(&self, token: &Token, path: &[&str], now: Timestamp) -> Result<(), Denied> {
        if token.is_expired(u64::try_from(now.as_second()).unwrap_or(0)) {
            return Err(Denied::Expired);
        }
        let scope = token.scope().map_err(|_| Denied::Malformed)?;
        self.check_host(scope.host_name())?;
        if !scope.covers(path) {
            return Err(Denied::OtherResource);
        }
        Ok(())
    }

    /// Whether this is a name of the hub, with or without a port.
    pub(crate) fn check_host(&self, named: &str) -> Result<(), Denied> {
        let host = host_of(named).to_ascii_lowercase();
        if self.hosts.contains(&host) {
            return Ok(());
        }
        let named = named.chars().take(256).flat_map(char::escape_debug).collect();
        Err(Denied::OtherHost { named, known: self.hosts.join(", ") })
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

    pub(super) fn access() -> Access {
        Access::example(&mut crate::hub::Dice::new([1; 32]))
    }

    pub(super) fn sign(sr: &str, key: &Key, expiry: u64, policy: Option<&str>) -> String {
        let key = SharedAccessKey::from_base64(key.reveal()).expect("base64");
        let signature = key.sign(format!("{sr}\n{expiry}").as_bytes());
        let signature = ha_wire::percent_encode(&signature);
        let policy = policy.map_or_else(String::new, |name| format!("&skn={name}"));
        format!("SharedAccessSignature sr={sr}&sig={signature}&se={expiry}{policy}")
    }

    pub(super) fn now() -> Timestamp {
        Timestamp::from_second(1_000).expect("a time")
    }

    fn service(access: &Access, policy: &str, key: usize, sr: &str, right: Right) -> Result<Caller, Denied> {
        let found = access.rules().policies.find(policy).expect("a policy").clone();
        let token = sign(sr, found.keys()[key], 2_000, Some(policy));
        access.check_service(Some(&token), right, ("GET", &["devices", "a"]), now())
    }

    #[test]
    fn policies_by_table() {
        let access = access();
        for (policy, sr, right, outcome) in [
            ("iothubowner", "localhost", Right::RegistryWrite, Ok(Caller::Policy)),
            ("iothubowner", "localhost%3A8443", Right::ServiceConnect, Ok(Caller::Policy)),
            ("service", "LOCALHOST", Right::ServiceConnect, Ok(Caller::Policy)),
            ("service", "localhost", Right::RegistryRead, Err(Denied::NoRight)),
            ("registryRead", "localhost", Right::RegistryRead, Ok(Caller::Policy)),
            ("registryRead", "localhost", Right::RegistryWrite, Err(Denied::NoRight)),
            ("registryReadWrite", "localhost%2fdevices", Right::RegistryWrite, Ok(Caller::Policy)),
            ("registryReadWrite", "localhost", Right::ServiceConnect, Err(Denied::NoRight)),
            ("iothubowner", "localhost%2Fdevices%2Fa", Right::RegistryRead, Ok(Caller::Policy)),
            ("iothubowner", "localhost%2Fdevices%2Fb", Right::RegistryRead, Err(Denied::OtherResource)),
            ("iothubowner", "localhost%2Ftwins", Right::RegistryRead, Err(Denied::OtherResource)),
            ("service", "localhost%2Fdevi", Right::ServiceConnect, Err(Denied::OtherResource)),
        ] {
            for key in 0..2 {
                assert_eq!(service(&access, policy, key, sr, right), outcome, "{policy} {sr}");
            }
        }
        let elsewhere = service(&access, "service", 0, "otherhost", Right::ServiceConnect);
        let said = elsewhere.expect_err("refused").to_string();
        assert!(said.contains("'otherhost'") && said.contains("localhost"), "{said}");
    }

    #[test]
    fn bearers_are_told_apart_from_signatures() {
        let access = access();
        let request = TokenRequest { host: "localhost", tenant: "t", client_id: "app", audience: "https://localhost" };
        let token = access.issuer().mint(&request, now()).expect("a token");
        let check = |access: &Access, header: &str| {
            access.check_service(Some(header), Right::RegistryRead, ("GET", &["devices", "a"]), now())
        };
        assert_eq!(check(&access, &format!("Bearer {token}")), Ok(Caller::Bearer));
        assert_eq!(check(&access, &format!("bearer {token}")), Ok(Caller::Bearer));
        assert_eq!(check(&access, &token), Err(Denied::Malformed));
        assert_eq!(check(&access, "Bearer x"), Err(Denied::Bearer(Refused::Malformed)));
        let rules = access.rules();
        let key = rules.policies.find("iothubowner").expect("a policy").keys()[0].clone();
        let signature = sign("localhost", &key, 2_000, Some("iothubowner"));
        let signatures = Signatures { of_policies: false, ..Signatures::default() };
        access.set_rules(Rules { signatures, ..(*rules).clone() });
        assert_eq!(check(&access, &signature), Err(Denied::LocalAuthDisabled));
        assert_eq!(check(&access, &format!("Bearer {token}")), Ok(Caller::Bearer));
    }
}
