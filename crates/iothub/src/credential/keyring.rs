use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use ha_wire::connection_string::{Credential, Identity};
use ha_wire::sas::Unsigned;
use ha_wire::{ConnectionString, Secret, SharedAccessKey};
use tokio::time::Instant;

use super::host_of;
use crate::Error;

/// As long as Microsoft's SDKs let theirs live.
const TOKEN_LIFE_S: u64 = 3600;
/// A token with less left than this is replaced before the next call.
const TOKEN_RENEW_AHEAD_S: u64 = 720;
/// After a change of key the next refusal within this time is about rights, not about keys.
const CHANGE_HOLD: Duration = Duration::from_secs(2);

/// Reads the connection strings from their place, the preferred one first.
pub type ReadStrings = Arc<dyn Fn() -> Result<Vec<ConnectionString>, String> + Send + Sync>;

/// The keys of one hub. When the hub refuses the one in use, their place is read anew, and then the next one is tried: keys
/// are rotated while programs run.
pub(crate) struct Keyring {
    host: String,
    read: Option<ReadStrings>,
    state: Mutex<State>,
}

struct State {
    keys: Vec<Key>,
    /// Which of them is in use.
    current: usize,
    cached: Option<Cached>,
    changed: Option<Instant>,
}

#[derive(Clone, PartialEq)]
enum Key {
    Policy {
        name: String,
        key: SharedAccessKey,
    },
    /// A ready-made token.
    Token(Secret),
}

struct Cached {
    token: Secret,
    expiry_unix_s: u64,
}

impl Keyring {
    pub(crate) fn new(strings: &[ConnectionString], read: Option<ReadStrings>) -> Result<Self, Error> {
        let host = host_of(strings)?.host_and_port();
        let state = State { keys: keys(strings), current: 0, cached: None, changed: None };
        if state.keys.is_empty() {
            return Err(Error::Setup { reason: "the connection string has no SharedAccessKeyName" });
        }
        Ok(Self { host, read, state: Mutex::new(state) })
    }

    pub(crate) fn authorization(&self, now_unix_s: u64) -> Secret {
        let mut state = self.state();
        if let Some(fresh) = state.cached.as_ref().filter(|cached| is_fresh(cached.expiry_unix_s, now_unix_s)) {
            return fresh.token.clone();
        }
        match &state.keys[state.current] {
            Key::Token(token) => token.clone(),
            Key::Policy { name, key } => {
                let expiry_unix_s = now_unix_s + TOKEN_LIFE_S;
                let token = Secret::new(Unsigned::service(&self.host, name, expiry_unix_s).sign(key));
                state.cached = Some(Cached { token: token.clone(), expiry_unix_s });
                token
            }
        }
    }

    /// Whether there is now another signature than the one that was refused.
    pub(crate) fn refused(&self, authorization: &Secret) -> bool {
        let reread = self.reread();
        let mut state = self.state();
        let in_use = match &state.cached {
            Some(cached) => cached.token == *authorization,
            None => state.keys[state.current] == Key::Token(authorization.clone()),
        };
        if !in_use {
            return true;
        }
        // Also after a clock was set back and forth.
        state.cached = None;
        if let Some(keys) = reread.filter(|keys| *keys != state.keys) {
            tracing::info!(host = self.host, "the hub refused the key; there is another in its place");
            state.change(keys, 0);
            return true;
        }
        let rested = state.changed.is_none_or(|at| at.elapsed() >= CHANGE_HOLD);
        if state.keys.len() > 1 && rested {
            tracing::warn!(host = self.host, "the hub refused the key in use; trying the next one");
            let (keys, next) = (state.keys.clone(), (state.current + 1) % state.keys.len());
            state.change(keys, next);
            return true;
        }
        false
    }

    /// What stands in the keys' place. What is wrong with it leaves the keys as they are.
    fn reread(&self) -> Option<Vec<Key>> {
        let strings = self.read.as_ref()?().and_then(|strings| {
            let host = host_of(&strings).map_err(|error| error.to_string())?.host_and_port();
            if host == self.host {
                Ok(strings)
            } else {
                Err(format!("it is for another hub, {host}: start anew for that"))
            }
        });
        match strings {
            Ok(strings) => Some(keys(&strings)).filter(|keys| !keys.is_empty()),
            Err(reason) => {
                tracing::warn!(host = self.host, reason, "the connection string cannot be read anew");
                None
            }
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn change(&mut self, keys: Vec<Key>, current: usize) {
        *self = Self { keys, current, cached: None, changed: Some(Instant::now()) };
    }
}

fn keys(strings: &[ConnectionString]) -> Vec<Key> {
    let key = |string: &ConnectionString| match (string.identity(), string.credential()) {
        (Identity::Service { policy: Some(name) }, Credential::Key(key)) => {
            Some(Key::Policy { name: name.clone(), key: key.clone() })
        }
        (Identity::Service { .. }, Credential::Signature(token)) => Some(Key::Token(token.clone())),
        _ => None,
    };
    strings.iter().filter_map(key).collect()
}

/// Also false when the clock was set back far: such a token would be refused for living too long, or be forged-looking.
fn is_fresh(expiry_unix_s: u64, now_unix_s: u64) -> bool {
    (now_unix_s + TOKEN_RENEW_AHEAD_S..=now_unix_s + TOKEN_LIFE_S).contains(&expiry_unix_s)
}

impl fmt::Debug for Keyring {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Keyring").field("host", &self.host).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use ha_wire::sas::Token;

    use super::*;

    const FIRST: &str = "HostName=h:8443;SharedAccessKeyName=service;SharedAccessKey=a2V5LWtleS1rZXkta2V5";
    const SECOND: &str = "HostName=h:8443;SharedAccessKeyName=service;SharedAccessKey=a2V5LWtleS1rZXkta2V6";
    const THIRD: &str = "HostName=h:8443;SharedAccessKeyName=service;SharedAccessKey=a2V5LWtleS1rZXkta2V7";
    const ELSEWHERE: &str = "HostName=i;SharedAccessKeyName=service;SharedAccessKey=a2V5LWtleS1rZXkta2V5";

    fn parsed(strings: &[&str]) -> Vec<ConnectionString> {
        strings.iter().map(|string| string.parse().unwrap()).collect()
    }

    fn keyring(strings: &[&str]) -> Keyring {
        Keyring::new(&parsed(strings), None).unwrap()
    }

    /// Whose key signed what the keyring shows.
    fn signed_by(keyring: &Keyring) -> usize {
        let token = Token::parse(keyring.authorization(1000).expose()).unwrap();
        let signed = |string: &&str| token.verify(string.parse::<ConnectionString>().unwrap().key().unwrap());
        1 + [FIRST, SECOND, THIRD].iter().position(signed).unwrap()
    }

    #[test]
    fn a_token_is_kept_and_renewed_ahead() {
        let keyring = keyring(&[FIRST]);
        let first = keyring.authorization(1000);
        let token = Token::parse(first.expose()).unwrap();
        assert_eq!((token.expiry_unix_s(), token.policy(), token.resource()), (4600, Some("service"), "h%3A8443"));
        assert_eq!(keyring.authorization(1000 + 2880), first);
        assert_ne!(keyring.authorization(1000 + 2881), first);
        assert_ne!(keyring.authorization(10), first, "the clock was set back");
        assert!(!format!("{keyring:?}").contains("a2V5"));
    }

    #[tokio::test(start_paused = true)]
    async fn the_other_key_is_tried_once_and_again_later() {
        let keyring = keyring(&[FIRST, SECOND]);
        assert_eq!(signed_by(&keyring), 1);
        let stale = keyring.authorization(1000);
        assert!(keyring.refused(&stale));
        assert_eq!(signed_by(&keyring), 2);
        assert!(keyring.refused(&stale), "another call has changed it already");
        assert!(!keyring.refused(&keyring.authorization(1000)), "both are refused: it is not about the key");
        assert_eq!(signed_by(&keyring), 2);
        tokio::time::advance(CHANGE_HOLD).await;
        assert!(keyring.refused(&keyring.authorization(1000)));
        assert_eq!(signed_by(&keyring), 1);
    }

    #[tokio::test]
    async fn what_stands_in_their_place_is_read_anew() {
        let place = Arc::new(Mutex::new(Ok(parsed(&[FIRST, SECOND]))));
        let read = Arc::clone(&place);
        let read: ReadStrings = Arc::new(move || read.lock().unwrap().clone());
        let keyring = Keyring::new(&parsed(&[FIRST, SECOND]), Some(read)).unwrap();
        *place.lock().unwrap() = Ok(parsed(&[THIRD, SECOND]));
        assert!(keyring.refused(&keyring.authorization(1000)));
        assert_eq!(signed_by(&keyring), 3);
        for broken in [Err("gone".to_owned()), Ok(Vec::new()), Ok(parsed(&[ELSEWHERE]))] {
            *place.lock().unwrap() = broken;
            assert!(!keyring.refused(&keyring.authorization(1000)));
            assert_eq!(signed_by(&keyring), 3);
        }
    }

    #[test]
    fn what_makes_no_keyring() {
        let device = "HostName=h;DeviceId=d;SharedAccessKey=a2V5";
        for strings in [&[][..], &[device], &[FIRST, ELSEWHERE], &[FIRST, device]] {
            assert!(matches!(Keyring::new(&parsed(strings), None), Err(Error::Setup { .. })), "{strings:?}");
        }
    }
}
