//! Bearer tokens of Microsoft Entra ID, or of an authority that stands in for it.

use ha_jwt::{KeySet, Token};
use jiff::Timestamp;

use super::issuer::{self, Issuer};
use super::roles::{Role, actions};
use crate::tls::host_of;

/// Which bearer tokens the hub takes, and what their bearers may do. The emulator's own tokens are always taken.
#[derive(Debug, Clone, Default)]
pub struct Entra {
    /// Authorities besides the emulator itself.
    pub authorities: Vec<Authority>,
    /// Who may do what. Empty: whoever holds a valid token may do everything.
    pub principals: Vec<Principal>,
    /// Whether `/metadata/identity/oauth2/token` gives tokens, as a virtual machine's metadata service does: to anybody
    /// who can reach the port, without any secret.
    pub instance_metadata: bool,
}

/// A token authority and its public keys. They are read once; the emulator fetches nothing.
#[derive(Debug, Clone)]
pub struct Authority {
    issuer: String,
    keys: KeySet,
}

/// A principal and its roles on this hub.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Principal {
    /// Object id, or application (client) id.
    pub id: String,
    /// What it was assigned.
    pub roles: Vec<Role>,
}

/// Whom a token must be for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Audience {
    /// The hub's data: `https://iothubs.azure.net`, or the hub under one of its names.
    Hub,
    /// The management side: `https://management.azure.com`, or the hub under one of its names.
    Management,
}

/// Who sent a valid token.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Bearer {
    /// Object id or application id, for logs and for the refusal.
    pub(crate) id: String,
    /// `None` when no principals are configured: then everything is allowed.
    roles: Option<Vec<Role>>,
}

/// Why a bearer token is not accepted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Refused {
    /// It cannot be read.
    #[error("the bearer token cannot be read")]
    Malformed,
    /// Nobody we know issued it.
    #[error("the bearer token is from an unknown authority")]
    UnknownIssuer,
    /// Signed with another key or another algorithm.
    #[error("the bearer token was made with another key")]
    WrongKey,
    /// Its time is over.
    #[error("the bearer token has expired")]
    Expired,
    /// Its time has not come.
    #[error("the bearer token is not valid yet")]
    TooEarly,
    /// For another service.
    #[error("the bearer token is for another audience")]
    OtherAudience,
    /// It names nobody.
    #[error("the bearer token names neither oid nor appid")]
    Nameless,
}

impl Authority {
    /// An authority by the exact `iss` of its tokens and its JSON Web Key Set.
    ///
    /// # Errors
    /// When the key set cannot be read or holds no usable key.
    pub fn new(issuer: impl Into<String>, key_set_json: &str) -> Result<Self, String> {
        Ok(Self { issuer: issuer.into(), keys: KeySet::parse(key_set_json)? })
    }
}

impl Principal {
    /// Reads `id=role,role`.
    ///
    /// # Errors
    /// When there is no `=` or a role is unknown.
    pub fn parse(text: &str) -> Result<Self, String> {
        let (id, roles) = text.split_once('=').ok_or_else(|| format!("'{text}' is not id=role[,role…]"))?;
        let roles: Result<Vec<Role>, String> = roles.split(',').map(str::parse).collect();
        Ok(Self { id: id.trim().to_owned(), roles: roles? })
    }
}

impl Bearer {
    /// Whether the call is within the principal's data actions.
    pub(crate) fn may(&self, method: &str, path: &[&str]) -> bool {
        let Some(roles) = &self.roles else {
            return true;
        };
        actions(method, path).iter().all(|action| roles.iter().any(|role| role.allows(action)))
    }

    /// Whether the principal may use the management side, to change something or to look.
    pub(crate) fn may_manage(&self, write: bool) -> bool {
        let Some(roles) = &self.roles else {
            return true;
        };
        roles.iter().any(|role| role.manages(write))
    }
}

/// Checks a token for a hub of these names.
pub(super) fn check(
    entra: &Entra,
    own: &Issuer,
    hosts: &[String],
    token: &str,
    audience: Audience,
    now: Timestamp,
) -> Result<Bearer, Refused> {
    let token = Token::parse(token).ok_or(Refused::Malformed)?;
    let claims = &token.claims;
    let keys = match issuer::own_host(&claims.iss) {
        Some(host) if is_ours(hosts, host) => own.keys(),
        _ => {
            let known = entra.authorities.iter().find(|authority| authority.issuer == claims.iss);
            &known.ok_or(Refused::UnknownIssuer)?.keys
        }
    };
    if !keys.signed(&token) {
        return Err(Refused::WrongKey);
    }
    if claims.exp <= now.as_second() {
        return Err(Refused::Expired);
    }
    if claims.nbf.is_some_and(|from| from > now.as_second()) {
        return Err(Refused::TooEarly);
    }
    if !claims.audiences().iter().any(|named| audience.is_named(named, hosts)) {
        return Err(Refused::OtherAudience);
    }
    let names: Vec<&str> = [claims.oid.as_deref(), claims.application()].into_iter().flatten().collect();
    let id = (*names.first().ok_or(Refused::Nameless)?).to_owned();
    let roles = (!entra.principals.is_empty()).then(|| roles_of(&entra.principals, &names));
    Ok(Bearer { id, roles })
}

impl Audience {
    fn is_named(self, audience: &str, hosts: &[String]) -> bool {
        let bare = audience.strip_suffix('/').unwrap_or(audience);
        let Some(host) = bare.strip_prefix("https://") else {
            return false;
        };
        let known: &[&str] = match self {
            Self::Hub => &["iothubs.azure.net"],
            Self::Management => &["management.azure.com", "management.core.windows.net"],
        };
        known.iter().any(|name| name.eq_ignore_ascii_case(host)) || is_ours(hosts, host)
    }
}

fn is_ours(hosts: &[String], host: &str) -> bool {
    let host = host_of(host).to_ascii_lowercase();
    hosts.contains(&host)
}

fn roles_of(principals: &[Principal], names: &[&str]) -> Vec<Role> {
    let same = |principal: &&Principal| names.iter().any(|name| name.eq_ignore_ascii_case(&principal.id));
    principals.iter().filter(same).flat_map(|principal| principal.roles.iter().copied()).collect()
}

#[cfg(test)]
mod tests {
    use super::super::issuer::{Request, fresh_key};
    use super::*;

    const ISSUER: &str = "https://sts.windows.net/11111111-2222-3333-4444-555555555555/";
    const KEYS: &str = include_str!("../../../jwt/testdata/jwks.json");
    /// For `https://iothubs.azure.net`, valid from second 1000 to 5000, signed by the key of `jwks.json` with OpenSSL.
    const GOOD: &str = include_str!("../../../jwt/testdata/rs256.jwt");
    const OTHER_KEY: &str = include_str!("../../../jwt/testdata/rs256-other-key.jwt");

    fn entra(issuer: &str, principals: &[&str]) -> Entra {
        Entra {
            authorities: vec![Authority::new(issuer, KEYS).expect("keys")],
            principals: principals.iter().map(|text| Principal::parse(text).expect("a principal")).collect(),
            instance_metadata: false,
        }
    }

    fn own() -> Issuer {
        Issuer::from_key(&fresh_key().expect("a key")).expect("an issuer")
    }

    fn verdict(entra: &Entra, own: &Issuer, token: &str, audience: Audience, second: i64) -> Result<Bearer, Refused> {
        let now = Timestamp::from_second(second).expect("a time");
        check(entra, own, &["localhost".into()], token, audience, now)
    }

    #[test]
    fn entra_tokens_by_table() {
        let altered = GOOD.replacen(".eyJ", ".eyK", 1);
        let unsigned = format!("{}.", GOOD.rsplit_once('.').expect("three parts").0);
        let by = |issuer: &str, token: &str, audience, second| {
            let bearer = verdict(&entra(issuer, &[]), &own(), token, audience, second)?;
            assert_eq!(bearer.id, "bbbbbbbb-0000-0000-0000-000000000001");
            Ok(())
        };
        for (issuer, token, audience, second, outcome) in [
            (ISSUER, GOOD, Audience::Hub, 2_000, Ok(())),
            (ISSUER, GOOD, Audience::Hub, 1_000, Ok(())),
            (ISSUER, GOOD, Audience::Hub, 999, Err(Refused::TooEarly)),
            (ISSUER, GOOD, Audience::Hub, 5_000, Err(Refused::Expired)),
            (ISSUER, GOOD, Audience::Management, 2_000, Err(Refused::OtherAudience)),
            ("https://elsewhere/", GOOD, Audience::Hub, 2_000, Err(Refused::UnknownIssuer)),
            (ISSUER, OTHER_KEY, Audience::Hub, 2_000, Err(Refused::WrongKey)),
            (ISSUER, altered.as_str(), Audience::Hub, 2_000, Err(Refused::Malformed)),
            (ISSUER, unsigned.as_str(), Audience::Hub, 2_000, Err(Refused::WrongKey)),
            (ISSUER, "a.b", Audience::Hub, 2_000, Err(Refused::Malformed)),
        ] {
            assert_eq!(by(issuer, token, audience, second), outcome, "{issuer} {audience:?} {second}");
        }
    }

    #[test]
    fn our_own_tokens_by_table() {
        let own = own();
        let entra = Entra::default();
        let at = Timestamp::from_second(10_000).expect("a time");
        let mint = |host, audience| {
            let request = Request { host, tenant: "t", client_id: "app", audience };
            own.mint(&request, at).expect("a token")
        };
        for (host, aud, audience, second, outcome) in [
            ("localhost:8443", "https://iothubs.azure.net", Audience::Hub, 10_000, Ok(())),
            ("localhost:8443", "https://iothubs.azure.net/", Audience::Hub, 10_000, Ok(())),
            ("localhost", "https://LOCALHOST:8443/", Audience::Hub, 10_000, Ok(())),
            ("localhost", "https://localhost:8443", Audience::Management, 10_000, Ok(())),
            ("localhost", "https://management.azure.com/", Audience::Management, 10_000, Ok(())),
            ("localhost", "https://management.azure.com/", Audience::Hub, 10_000, Err(Refused::OtherAudience)),
            ("localhost", "iothubs.azure.net", Audience::Hub, 10_000, Err(Refused::OtherAudience)),
            ("elsewhere", "https://iothubs.azure.net", Audience::Hub, 10_000, Err(Refused::UnknownIssuer)),
            ("localhost", "https://iothubs.azure.net", Audience::Hub, 13_598, Ok(())),
            ("localhost", "https://iothubs.azure.net", Audience::Hub, 13_599, Err(Refused::Expired)),
        ] {
            let got = verdict(&entra, &own, &mint(host, aud), audience, second).map(|_| ());
            assert_eq!(got, outcome, "{host} {aud} {second}");
        }
        let stranger = Issuer::from_key(&fresh_key().expect("a key")).expect("an issuer");
        let token = mint("localhost", "https://iothubs.azure.net");
        assert_eq!(verdict(&entra, &stranger, &token, Audience::Hub, 10_000), Err(Refused::WrongKey));
    }

    #[test]
    fn principals_have_what_they_were_assigned() {
        let check = |principals: &[&str], method: &str, path: &[&str]| {
            let bearer = verdict(&entra(ISSUER, principals), &own(), GOOD, Audience::Hub, 2_000).expect("valid");
            bearer.may(method, path)
        };
        let by_application = "AAAAAAAA-0000-0000-0000-000000000001=IoT Hub Data Reader";
        let by_object = "bbbbbbbb-0000-0000-0000-000000000001=IoT Hub Twin Contributor";
        assert!(check(&[], "DELETE", &["devices", "a"]));
        assert!(!check(&["somebody=IoT Hub Data Contributor"], "GET", &["twins", "a"]));
        assert!(check(&[by_application], "GET", &["twins", "a"]));
        assert!(!check(&[by_application], "PATCH", &["twins", "a"]));
        assert!(check(&[by_application, by_object], "PATCH", &["twins", "a"]));
        assert!(!check(&["bbbbbbbb-0000-0000-0000-000000000001=Owner"], "GET", &["twins", "a"]));
        let manages = |principals: &[&str], write| {
            let bearer = verdict(&entra(ISSUER, principals), &own(), GOOD, Audience::Hub, 2_000).expect("valid");
            bearer.may_manage(write)
        };
        assert!(manages(&[], true) && manages(&["bbbbbbbb-0000-0000-0000-000000000001=Owner"], true));
        assert!(manages(&["bbbbbbbb-0000-0000-0000-000000000001=Reader"], false));
        assert!(!manages(&["bbbbbbbb-0000-0000-0000-000000000001=Reader"], true));
        assert!(!manages(&[by_application], false));
    }
}
