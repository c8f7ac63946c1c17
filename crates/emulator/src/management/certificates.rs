//! Certificates of authorities that sign for devices, as the resource lists them.
//!
//! One is trusted once it is verified: by a certificate that it has signed for a code, or at its owner's word.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use jiff::Timestamp;
use rustls::pki_types::CertificateDer;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::failure::Failure;
use super::is_name;
use super::state::{check_if_match, etag};
use crate::access::{Described, proves};

/// Under what name they are kept beside the hub.
pub(crate) const KEPT_AS: &str = "certificates";
const CERTIFICATES_MAX: usize = 25;

/// All of them, by name.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub(crate) struct Certificates(BTreeMap<String, Registered>);

#[derive(Debug, Clone, Serialize, Deserialize)]
struct Registered {
    /// Base64 of its DER form.
    certificate: String,
    etag: u64,
    created: Timestamp,
    updated: Timestamp,
    is_verified: bool,
    /// What a proof must be signed for.
    code: Option<String>,
}

impl Certificates {
    /// Those that were kept; none if nothing was.
    ///
    /// # Errors
    /// When they cannot be read.
    pub(crate) fn resume(kept: Option<&Value>) -> Result<Self, String> {
        let Some(kept) = kept else { return Ok(Self::default()) };
        Self::deserialize(kept).map_err(|error| format!("the kept certificates cannot be read: {error}"))
    }

    pub(crate) fn keep(&self) -> Value {
        json!(self)
    }

    /// Those whose word on a device counts.
    pub(crate) fn verified(&self) -> Vec<CertificateDer<'static>> {
        let verified = self.0.values().filter(|registered| registered.is_verified);
        verified.filter_map(|registered| registered.described().ok()).map(|described| described.der).collect()
    }

    /// All, as `below` the resource.
    pub(crate) fn list(&self, below: &str) -> Result<Value, Failure> {
        let shown: Result<Vec<_>, _> = self.0.keys().map(|name| self.show(below, name)).collect();
        Ok(json!({"value": shown?}))
    }

    pub(crate) fn show(&self, below: &str, name: &str) -> Result<Value, Failure> {
        let registered = self.find(name)?;
        let Described { subject, expiry, thumbprint, .. } = registered.described()?;
        let mut properties = json!({"subject": subject, "expiry": day(expiry), "thumbprint": thumbprint,
            "isVerified": registered.is_verified, "created": day(registered.created), "updated": day(registered.updated),
            "certificate": registered.certificate});
        if let Some(code) = &registered.code {
            properties["verificationCode"] = json!(code);
        }
        Ok(json!({"id": format!("{below}/certificates/{name}"), "name": name, "etag": etag(registered.etag),
            "type": "Microsoft.Devices/IotHubs/Certificates", "properties": properties}))
    }

    /// Registers one, or renews it; tells whether it is new.
    pub(crate) fn put(
        &mut self,
        name: &str,
        body: &Value,
        if_match: Option<&str>,
        now: Timestamp,
    ) -> Result<bool, Failure> {
        check_name(name)?;
        let content = body["properties"]["certificate"].as_str();
        let content = content.ok_or_else(|| Failure::bad_request("properties.certificate is missing"))?;
        let described = Described::read(content).map_err(refused)?;
        let is_verified = body["properties"]["isVerified"].as_bool().unwrap_or(false);
        let before = self.0.get(name).cloned();
        if let Some(before) = &before {
            before.check_etag(if_match)?;
        } else if self.0.len() >= CERTIFICATES_MAX {
            return Err(Failure::bad_request(format!("A hub has at most {CERTIFICATES_MAX} certificates.")));
        }
        let registered = Registered {
            certificate: STANDARD.encode(&described.der),
            etag: before.as_ref().map_or(1, |before| before.etag + 1),
            created: before.as_ref().map_or(now, |before| before.created),
            updated: now,
            is_verified,
            code: None,
        };
        self.0.insert(name.to_owned(), registered);
        Ok(before.is_none())
    }

    pub(crate) fn delete(&mut self, name: &str, if_match: Option<&str>) -> Result<(), Failure> {
        self.find(name)?.check_etag(if_match)?;
        self.0.remove(name);
        Ok(())
    }

    /// Asks for a proof: a certificate for the name `code`.
    pub(crate) fn ask_for_proof(
        &mut self,
        name: &str,
        if_match: Option<&str>,
        code: String,
        now: Timestamp,
    ) -> Result<(), Failure> {
        let registered = self.changing(name, if_match, now)?;
        registered.code = Some(code);
        registered.is_verified = false;
        Ok(())
    }

    /// Takes a proof.
    pub(crate) fn verify(
        &mut self,
        name: &str,
        body: &Value,
        if_match: Option<&str>,
        now: Timestamp,
    ) -> Result<(), Failure> {
        let proof = body["certificate"].as_str().ok_or_else(|| Failure::bad_request("certificate is missing"))?;
        let proof = Described::read(proof).map_err(refused)?;
        let registered = self.changing(name, if_match, now)?;
        let code = registered.code.as_deref().ok_or_else(|| {
            Failure::bad_request("no verification code was generated since the certificate was written")
        })?;
        proves(&proof.der, &registered.described()?.der, code, now)
            .map_err(|why| Failure::bad_request(format!("this proves nothing: {why}")))?;
        (registered.is_verified, registered.code) = (true, None);
        Ok(())
    }

    fn find(&self, name: &str) -> Result<&Registered, Failure> {
        self.0.get(name).ok_or_else(|| not_there(name))
    }

    fn changing(&mut self, name: &str, if_match: Option<&str>, now: Timestamp) -> Result<&mut Registered, Failure> {
        let registered = self.0.get_mut(name).ok_or_else(|| not_there(name))?;
        registered.check_etag(if_match)?;
        registered.etag += 1;
        registered.updated = now;
        Ok(registered)
    }
}

impl Registered {
    fn described(&self) -> Result<Described, Failure> {
        Described::read(&self.certificate).map_err(refused)
    }

    fn check_etag(&self, if_match: Option<&str>) -> Result<(), Failure> {
        check_if_match("certificate", self.etag, if_match)
    }
}

fn not_there(name: &str) -> Failure {
    Failure { status: 404, code: "NotFound", message: format!("There is no certificate '{name}'.") }
}

fn refused(why: String) -> Failure {
    Failure::bad_request(format!("the certificate: {why}"))
}

fn check_name(name: &str) -> Result<(), Failure> {
    if is_name(name, 64) {
        return Ok(());
    }
    Err(Failure::bad_request("A certificate's name has 1 to 64 letters, digits, dots, underscores and hyphens."))
}

/// As in `Sat, 31 Dec 2039 23:59:59 GMT`.
fn day(at: Timestamp) -> String {
    at.strftime("%a, %d %b %Y %H:%M:%S GMT").to_string()
}
