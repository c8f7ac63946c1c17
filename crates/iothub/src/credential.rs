use std::sync::{Mutex, PoisonError};

use ha_wire::connection_string::{Credential as Given, Identity};
use ha_wire::sas::Unsigned;
use ha_wire::{ConnectionString, Secret, SharedAccessKey};

use crate::Error;
use crate::entra::{self, Entra, HUB_SCOPE};

/// As long as Microsoft's SDKs let theirs live.
const TOKEN_LIFE_S: u64 = 3600;
/// A token with less left than this is replaced before the next call.
const TOKEN_RENEW_AHEAD_S: u64 = 720;
const BEARER: &str = "Bearer ";

/// What the client proves itself with: a policy's key, a ready-made token, or tokens of Entra ID.
#[derive(Debug)]
pub(crate) enum Credential {
    Policy { host: String, policy: String, key: SharedAccessKey, cached: Mutex<Option<Cached>> },
    Token(Secret),
    Entra(Entra),
}

#[derive(Debug, Clone)]
pub(crate) struct Cached {
    token: Secret,
    expiry_unix_s: u64,
}

impl Credential {
    pub(crate) fn from_connection(connection: &ConnectionString) -> Result<Self, Error> {
        match (connection.identity(), connection.credential()) {
            (Identity::Service { policy: Some(policy) }, Given::Key(key)) => Ok(Credential::Policy {
                host: connection.host_and_port(),
                policy: policy.clone(),
                key: key.clone(),
                cached: Mutex::new(None),
            }),
            (Identity::Service { .. }, Given::Signature(token)) => Ok(Credential::Token(token.clone())),
            _ => Err(Error::Setup { reason: "the connection string is a device's or module's, not a service's" }),
        }
    }

    /// The `Authorization` header, good at `now_unix_s` and for a while after.
    pub(crate) async fn authorization(&self, now_unix_s: u64) -> Result<Secret, entra::Error> {
        match self {
            Credential::Token(token) => Ok(token.clone()),
            Credential::Policy { host, policy, key, cached } => Ok(signature(host, policy, key, cached, now_unix_s)),
            Credential::Entra(entra) => {
                let token = entra.token(HUB_SCOPE).await?;
                Ok(Secret::new(format!("{BEARER}{}", token.expose())))
            }
        }
    }

    /// The hub said 401 to this header: it is not used again, for a clock set back and forth can cause that.
    pub(crate) fn refused(&self, authorization: &Secret) {
        match self {
            Credential::Policy { cached, .. } => *cached.lock().unwrap_or_else(PoisonError::into_inner) = None,
            Credential::Entra(entra) => {
                let token = authorization.expose().trim_start_matches(BEARER);
                entra.refused(HUB_SCOPE, &Secret::new(token));
            }
            Credential::Token(_) => {}
        }
    }
}

fn signature(
    host: &str,
    policy: &str,
    key: &SharedAccessKey,
    cached: &Mutex<Option<Cached>>,
    now_unix_s: u64,
) -> Secret {
    let mut cached = cached.lock().unwrap_or_else(PoisonError::into_inner);
    match cached.as_ref().filter(|cached| is_fresh(cached.expiry_unix_s, now_unix_s)) {
        Some(fresh) => fresh.token.clone(),
        None => {
            let expiry_unix_s = now_unix_s + TOKEN_LIFE_S;
            let token = Secret::new(Unsigned::service(host, policy, expiry_unix_s).sign(key));
            *cached = Some(Cached { token: token.clone(), expiry_unix_s });
            token
        }
    }
}

/// Also false when the clock was set back far: such a token would be refused for living too long, or be forged-looking.
fn is_fresh(expiry_unix_s: u64, now_unix_s: u64) -> bool {
    (now_unix_s + TOKEN_RENEW_AHEAD_S..=now_unix_s + TOKEN_LIFE_S).contains(&expiry_unix_s)
}

#[cfg(test)]
mod tests {
    use super::*;
    use ha_wire::sas::Token;

    fn credential() -> Credential {
        let text = "HostName=h:8443;SharedAccessKeyName=service;SharedAccessKey=a2V5LWtleS1rZXkta2V5";
        Credential::from_connection(&text.parse().unwrap()).unwrap()
    }

    #[tokio::test]
    async fn a_token_is_kept_and_renewed_ahead() {
        let credential = credential();
        let at = async |now_unix_s| credential.authorization(now_unix_s).await.unwrap();
        let first = at(1000).await;
        let token = Token::parse(first.expose()).unwrap();
        assert_eq!((token.expiry_unix_s(), token.policy(), token.resource()), (4600, Some("service"), "h%3A8443"));
        assert_eq!(at(1000 + 2880).await, first);
        assert_ne!(at(1000 + 2881).await, first);
        assert_ne!(at(10).await, first, "the clock was set back");
        assert!(!format!("{credential:?}").contains("a2V5"));
    }

    #[test]
    fn a_device_cannot_be_a_service() {
        let device = "HostName=h;DeviceId=d;SharedAccessKey=a2V5".parse().unwrap();
        assert!(matches!(Credential::from_connection(&device), Err(Error::Setup { .. })));
    }
}
