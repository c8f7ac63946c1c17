//! Which bearer tokens a delivery may bring.

use ha_jwt::{KeySet, Token};

use crate::config::TokenConfig;

/// Clocks differ; Microsoft's own libraries bear as much.
const CLOCKS_DIFFER_S: i64 = 300;

/// A token authority as its discovery documents describe it.
#[derive(Debug, Clone)]
pub(super) struct Authority {
    /// What its tokens name as their issuer, those of both versions.
    pub(super) issuers: Vec<String>,
    pub(super) keys: KeySet,
}

/// Why a token does not count. The token itself is in none of these.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(super) enum Refused {
    #[error("there is no bearer token")]
    Absent,
    #[error("the bearer token cannot be read")]
    Malformed,
    #[error("the bearer token is from another authority than event_authority and event_tenant name")]
    OtherIssuer,
    #[error("the bearer token was not signed with a key of its authority")]
    WrongKey,
    #[error("the bearer token has expired")]
    Expired,
    #[error("the bearer token is not valid yet")]
    TooEarly,
    #[error("the bearer token is for another audience than event_audience")]
    OtherAudience,
    #[error("the bearer token was issued to another application than event_client")]
    OtherClient,
}

/// Whether the token is one of `authority`'s, for us, and of whoever may deliver. The signature comes first: nothing else of a token is known
/// before.
pub(super) fn judge(token: &Token<'_>, authority: &Authority, wanted: &TokenConfig, now_s: i64) -> Result<(), Refused> {
    let claims = &token.claims;
    if !authority.issuers.contains(&claims.iss) {
        return Err(Refused::OtherIssuer);
    }
    if !authority.keys.signed(token) {
        return Err(Refused::WrongKey);
    }
    if claims.exp.saturating_add(CLOCKS_DIFFER_S) <= now_s {
        return Err(Refused::Expired);
    }
    if claims.nbf.is_some_and(|from| from.saturating_sub(CLOCKS_DIFFER_S) > now_s) {
        return Err(Refused::TooEarly);
    }
    if !claims.audiences().contains(&wanted.audience.as_str()) {
        return Err(Refused::OtherAudience);
    }
    match claims.application() {
        Some(client) if client.eq_ignore_ascii_case(&wanted.client) => Ok(()),
        _ => Err(Refused::OtherClient),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// For `https://iothubs.azure.net`, valid from second 1000 to 5000, signed by the key of `jwks.json` with OpenSSL.
    const GOOD: &str = include_str!("../../../jwt/testdata/rs256.jwt");
    const OTHER_KEY: &str = include_str!("../../../jwt/testdata/rs256-other-key.jwt");
    const KEYS: &str = include_str!("../../../jwt/testdata/jwks.json");
    const ISSUER: &str = "https://sts.windows.net/11111111-2222-3333-4444-555555555555/";
    const AUDIENCE: &str = "https://iothubs.azure.net";
    const CLIENT: &str = "aaaaaaaa-0000-0000-0000-000000000001";

    fn verdict(token: &str, issuer: &str, audience: &str, client: &str, second: i64) -> Result<(), Refused> {
        let authority = Authority { issuers: vec![issuer.to_owned()], keys: KeySet::parse(KEYS).expect("keys") };
        let wanted = TokenConfig {
            audience: audience.to_owned(),
            tenant: "t".to_owned(),
            client: client.to_owned(),
            authority: "https://a".to_owned(),
        };
        judge(&Token::parse(token.trim()).expect("a token"), &authority, &wanted, second)
    }

    #[test]
    fn tokens_by_table() {
        let unsigned = format!("{}.", GOOD.rsplit_once('.').expect("three parts").0);
        // {"alg":"none"}
        let none = format!("eyJhbGciOiJub25lIn0.{}.", GOOD.split('.').nth(1).expect("claims"));
        for (token, issuer, audience, client, second, outcome) in [
            (GOOD, ISSUER, AUDIENCE, CLIENT, 2_000, Ok(())),
            (GOOD, ISSUER, AUDIENCE, CLIENT, 700, Ok(())),
            (GOOD, ISSUER, AUDIENCE, CLIENT, 699, Err(Refused::TooEarly)),
            (GOOD, ISSUER, AUDIENCE, CLIENT, 5_299, Ok(())),
            (GOOD, ISSUER, AUDIENCE, CLIENT, 5_300, Err(Refused::Expired)),
            (GOOD, "https://elsewhere/", AUDIENCE, CLIENT, 2_000, Err(Refused::OtherIssuer)),
            (GOOD, ISSUER, "api://other", CLIENT, 2_000, Err(Refused::OtherAudience)),
            (GOOD, ISSUER, AUDIENCE, "somebody", 2_000, Err(Refused::OtherClient)),
            (OTHER_KEY, ISSUER, AUDIENCE, CLIENT, 2_000, Err(Refused::WrongKey)),
            (&unsigned, ISSUER, AUDIENCE, CLIENT, 2_000, Err(Refused::WrongKey)),
            (&none, ISSUER, AUDIENCE, CLIENT, 2_000, Err(Refused::WrongKey)),
        ] {
            assert_eq!(
                verdict(token, issuer, audience, client, second),
                outcome,
                "{issuer} {audience} {client} {second}"
            );
        }
    }
}
