//! How devices and modules log in: with a token, or with a certificate and no token.

use jiff::Timestamp;
use rustls::pki_types::CertificateDer;

use super::{Access, Denied, Right, certificate, is_signed, read};
use crate::hub::{Authentication, Id, Key, Proof};

/// What a device shows.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Credentials<'a> {
    /// The password, or the `Authorization` header; empty counts as none.
    pub(crate) token: &'a str,
    /// The certificate of its TLS connection and those behind it. It has the key of the first.
    pub(crate) certificates: &'a [CertificateDer<'static>],
}

/// An accepted device or module.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Granted {
    /// What it was proved with.
    pub proof: Proof,
    /// When the token ends, in Unix seconds. A certificate is looked at once, at log-in.
    pub expires: u64,
}

impl Access {
    /// Whether the identity proves itself the way it is registered. A policy with DeviceConnect may sign for anyone.
    pub(crate) fn check_device(
        &self,
        id: &Id,
        authentication: &Authentication,
        shown: Credentials<'_>,
        now: Timestamp,
    ) -> Result<Granted, Denied> {
        if !shown.token.is_empty() {
            return self.check_device_token(id, authentication, shown.token, now);
        }
        match authentication {
            Authentication::SelfSigned { .. } => {
                certificate::check_thumbprint(&authentication.thumbprint_list(), shown.certificates, now)?;
            }
            Authentication::CertificateAuthority => self.authorities.check(id, shown.certificates, now)?,
            Authentication::Sas { .. } | Authentication::None => return Err(Denied::Absent),
        }
        Ok(Granted { proof: Proof::Certificate, expires: u64::MAX })
    }

    fn check_device_token(
        &self,
        id: &Id,
        authentication: &Authentication,
        token: &str,
        now: Timestamp,
    ) -> Result<Granted, Denied> {
        let token = read(token)?;
        let mut path = vec!["devices", id.device.as_str()];
        if let Some(module) = &id.module {
            path.extend(["modules", module.as_str()]);
        }
        self.check_reach(&token, &path, now)?;
        let rules = self.rules();
        let signatures = rules.signatures;
        let proof = match token.policy() {
            Some(_) if !signatures.of_policies => return Err(Denied::LocalAuthDisabled),
            Some(name) => {
                let policy = rules.policies.find(name).ok_or(Denied::UnknownPolicy)?;
                if !policy.has(Right::DeviceConnect) {
                    return Err(Denied::NoRight);
                }
                if !is_signed(&token, &policy.keys()) {
                    return Err(Denied::WrongKey);
                }
                Proof::Policy
            }
            None if id.module.is_none() && !signatures.of_devices => return Err(Denied::DeviceSasDisabled),
            None if id.module.is_some() && !signatures.of_modules => return Err(Denied::ModuleSasDisabled),
            None => {
                let keys: Vec<&Key> = match authentication {
                    Authentication::Sas { .. } => authentication.keys(),
                    Authentication::None => return Err(Denied::NoKey),
                    _ => return Err(Denied::TokenForCertificate),
                };
                if !is_signed(&token, &keys) {
                    return Err(Denied::WrongKey);
                }
                Proof::OwnKey
            }
        };
        Ok(Granted { proof, expires: token.expiry_unix_s() })
    }
}

#[cfg(test)]
mod tests {
    use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair, date_time_ymd};

    use super::super::tests::{access, now, sign};
    use super::*;
    use crate::access::{Authorities, Rules, Signatures};

    fn check(access: &Access, id: &Id, authentication: &Authentication, shown: Credentials<'_>) -> String {
        let now = if shown.certificates.is_empty() { now() } else { in_2001() };
        match access.check_device(id, authentication, shown, now) {
            Ok(granted) => format!("{:?}", granted.proof),
            Err(denied) => denied.to_string(),
        }
    }

    fn token(token: &str) -> Credentials<'_> {
        Credentials { token, certificates: &[] }
    }

    /// Certificates know no years before 1970, so theirs is a later day.
    fn in_2001() -> Timestamp {
        Timestamp::from_second(1_000_000_000).expect("a time")
    }

    #[test]
    fn signatures_can_be_turned_off_for_some() {
        let access = access();
        let key = Key::from_bytes(&[7; 32]);
        let sas = Authentication::Sas { primary: key.clone(), secondary: key.clone() };
        let rules = access.rules();
        let owner = rules.policies.find("iothubowner").expect("a policy").keys()[0].clone();
        let own = sign("localhost%2Fdevices%2Fa", &key, 2_000, None);
        let lent = sign("localhost", &owner, 2_000, Some("iothubowner"));
        let all = Signatures::default();
        for (signatures, device, module, by_policy) in [
            (all, "OwnKey", "OwnKey", "Policy"),
            (Signatures { of_policies: false, ..all }, "OwnKey", "OwnKey", "disableLocalAuth"),
            (Signatures { of_devices: false, ..all }, "disableDeviceSAS", "OwnKey", "Policy"),
            (Signatures { of_modules: false, ..all }, "OwnKey", "disableModuleSAS", "Policy"),
        ] {
            access.set_rules(Rules { signatures, ..(*rules).clone() });
            for (id, shown, outcome) in [
                (Id::device("a"), &own, device),
                (Id::module("a", "m"), &own, module),
                (Id::device("a"), &lent, by_policy),
            ] {
                let said = check(&access, &id, &sas, token(shown));
                assert!(said.contains(outcome), "{signatures:?} {id}: {said}");
            }
        }
    }

    #[test]
    fn tokens_by_table() {
        let access = access();
        let key = Key::from_bytes(&[7; 32]);
        let sas = Authentication::Sas { primary: Key::from_bytes(&[9; 32]), secondary: key.clone() };
        let (device, module) = (Id::device("a"), Id::module("a", "$edgeAgent"));
        let own = |sr: &str| sign(sr, &key, 2_000, None);
        let rules = access.rules();
        let policy =
            |name: &str| sign("localhost%2Fdevices", rules.policies.find(name).unwrap().keys()[0], 2_000, Some(name));
        let other_key = sign("localhost", &Key::from_bytes(&[8; 32]), 2_000, None);
        let late = sign("localhost", &key, 999, None);
        for (id, shown, outcome) in [
            (&device, own("localhost%2Fdevices%2Fa").as_str(), "OwnKey"),
            (&device, &own("localhost%2Fdevices%2Fb"), "for another resource"),
            (&device, &own("hub.bad%2Fdevices%2Fa"), "for the host 'hub.bad'; this hub is localhost"),
            (&module, &own("localhost%2Fdevices%2Fa%2Fmodules%2F%24edgeAgent"), "OwnKey"),
            (&module, &own("localhost/devices/a/modules/$edgeAgent"), "OwnKey"),
            (&module, &own("localhost%2Fdevices%2Fa%2Fmodules%2F%2524edgeAgent"), "OwnKey"),
            (&device, &late, "has expired"),
            (&device, &other_key, "made with another key"),
            (&device, &policy("device"), "Policy"),
            (&device, &policy("service"), "lacks the right"),
            (&device, "SharedAccessSignature sr=x", "cannot be read"),
            (&device, "", "no shared access signature"),
        ] {
            let said = check(&access, id, &sas, token(shown));
            assert!(said.contains(outcome), "{shown}: {said}");
        }
        for (authentication, outcome) in [
            (Authentication::CertificateAuthority, "logs in with a certificate, and with an empty password"),
            (Authentication::None, "has no symmetric key"),
        ] {
            let said = check(&access, &device, &authentication, token(&own("localhost")));
            assert!(said.contains(outcome), "{said}");
            assert_eq!(check(&access, &device, &authentication, token(&policy("device"))), "Policy");
        }
    }

    /// A certificate for `name`, good in 2001 unless said otherwise.
    fn params(name: &str) -> CertificateParams {
        let mut params = CertificateParams::default();
        params.distinguished_name = rcgen::DistinguishedName::new();
        params.distinguished_name.push(DnType::CommonName, name);
        params.not_before = date_time_ymd(2000, 1, 1);
        params.not_after = date_time_ymd(2003, 1, 1);
        params
    }

    #[test]
    fn thumbprints_by_table() {
        let access = access();
        let id = Id::device("a");
        let made = |params: CertificateParams| {
            let key = KeyPair::generate().expect("a key");
            params.self_signed(&key).expect("signed").der().clone()
        };
        let good = made(params("whatever"));
        let mut old = params("a");
        old.not_after = date_time_ymd(2000, 1, 2);
        let mut young = params("a");
        young.not_before = date_time_ymd(2002, 1, 1);
        let (old, young, other) = (made(old), made(young), made(params("a")));
        let prints =
            |der: &CertificateDer<'_>| match certificate::check_thumbprint(&[], std::slice::from_ref(der), in_2001()) {
                Err(Denied::WrongThumbprint(print)) => print,
                other => panic!("{other:?}"),
            };
        for (primary, secondary, shown, outcome) in [
            (Some(prints(&good)), None, Some(&good), "Certificate"),
            (Some(prints(&good).to_ascii_lowercase()), None, Some(&good), "Certificate"),
            (None, Some(prints(&good)), Some(&good), "Certificate"),
            (Some(prints(&other)), Some(prints(&good)), Some(&other), "Certificate"),
            (Some(prints(&other)), None, Some(&good), "is not registered"),
            (None, None, Some(&good), "is not registered"),
            (Some(prints(&good)), None, None, "no client certificate"),
            (Some(prints(&old)), None, Some(&old), "expired"),
            (Some(prints(&young)), None, Some(&young), "is not valid before"),
        ] {
            let authentication = Authentication::SelfSigned { primary, secondary };
            let certificates: Vec<_> = shown.into_iter().cloned().collect();
            let said = check(&access, &id, &authentication, Credentials { token: "", certificates: &certificates });
            assert!(said.contains(outcome), "{said}");
        }
    }

    #[test]
    fn authorities_by_table() {
        let folder = tempfile::tempdir().expect("a folder");
        let authority = |name: &str| {
            let mut params = params(name);
            params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
            let key = KeyPair::generate().expect("a key");
            let certificate = params.self_signed(&key).expect("signed");
            (certificate, Issuer::new(params, key))
        };
        let ((ca, ours), (_, theirs)) = (authority("plant"), authority("stranger"));
        let file = folder.path().join("ca.pem");
        std::fs::write(&file, ca.pem()).expect("written");
        let mut access = access();
        let leaf = |name: &str, issuer: &Issuer<'_, KeyPair>, until: i32| {
            let mut params = params(name);
            params.not_after = date_time_ymd(until, 1, 2);
            let key = KeyPair::generate().expect("a key");
            params.signed_by(&key, issuer).expect("signed").der().clone()
        };
        let (device, module) = (Id::device("a"), Id::module("a", "m"));
        let ca_login = Authentication::CertificateAuthority;
        let say = |access: &Access, id: &Id, leaf: &CertificateDer<'static>| {
            check(access, id, &ca_login, Credentials { token: "", certificates: std::slice::from_ref(leaf) })
        };
        let good = leaf("a", &ours, 2002);
        assert!(say(&access, &device, &good).contains("no authority"));
        access.authorities = Authorities::read(&[file]).expect("read");
        for (id, leaf, outcome) in [
            (&device, &good, "Certificate"),
            (&module, &leaf("a/m", &ours, 2002), "Certificate"),
            (&module, &good, "names 'a', and this is 'a/m'"),
            (&device, &leaf("b", &ours, 2002), "names 'b', and this is 'a'"),
            (&device, &leaf("a", &theirs, 2002), "'CN=stranger'"),
            (&device, &leaf("a", &ours, 2001), "expired"),
            (&device, &CertificateDer::from(vec![1, 2, 3]), "cannot be used"),
        ] {
            let said = say(&access, id, leaf);
            assert!(said.contains(outcome), "{id}: {said}");
        }
        for (content, reason) in [(&b"nothing"[..], "no certificate in it"), (b"", "no certificate in it")] {
            let file = folder.path().join("bad.pem");
            std::fs::write(&file, content).expect("written");
            let error = Authorities::read(&[file]).expect_err("refused").to_string();
            assert!(error.contains("bad.pem") && error.contains(reason), "{error}");
        }
    }
}
