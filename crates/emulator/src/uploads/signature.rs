//! Signatures that open one blob until they expire. Only this emulator reads them, so what is signed is its own affair.

use ha_wire::{SharedAccessKey, percent_encode};
use jiff::Timestamp;

use super::place::Place;

/// What a signature lets its bearer do: read and write, as the service has it.
const PERMISSIONS: &str = "rw";

/// What a request shows of its signature.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Shown<'a> {
    pub(crate) signature: &'a str,
    pub(crate) expiry: &'a str,
    pub(crate) permissions: &'a str,
}

/// The query that follows the blob's address.
pub(super) fn token(key: &SharedAccessKey, place: &Place, expires: Timestamp) -> String {
    let expiry = expires.strftime("%Y-%m-%dT%H:%M:%SZ").to_string();
    let signature = key.sign(to_sign(place, &expiry).as_bytes());
    let (sig, se) = (percent_encode(&signature), percent_encode(&expiry));
    format!("?sv=2018-03-28&sr=b&sig={sig}&se={se}&sp={PERMISSIONS}")
}

/// Whether the signature is ours, for this place, and still good.
pub(super) fn opens(key: &SharedAccessKey, place: &Place, shown: &Shown<'_>, now: Timestamp) -> bool {
    let is_late = shown.expiry.parse::<Timestamp>().map_or(true, |expires| expires <= now);
    let is_ours = key.verify(to_sign(place, shown.expiry).as_bytes(), shown.signature);
    is_ours && !is_late && shown.permissions == PERMISSIONS
}

fn to_sign(place: &Place, expiry: &str) -> String {
    format!("{PERMISSIONS}\n{expiry}\n{place}")
}

#[cfg(test)]
mod tests {
    use jiff::SignedDuration;

    use super::*;

    #[test]
    fn one_blob_until_it_expires() {
        let key = SharedAccessKey::from_bytes([1; 32]);
        let (now, later) = (Timestamp::UNIX_EPOCH, Timestamp::UNIX_EPOCH + SignedDuration::from_mins(1));
        let place = Place::parse("files/press-1/a.txt").expect("a place");
        let text = token(&key, &place, later);
        let part = |name: &str| {
            let part = text.trim_start_matches('?').split('&').find_map(|part| part.strip_prefix(name));
            ha_wire::percent_decode(part.expect("a part")).expect("text").into_owned()
        };
        let (signature, expiry) = (part("sig="), part("se="));
        let shown = Shown { signature: &signature, expiry: &expiry, permissions: "rw" };
        assert!(opens(&key, &place, &shown, now));
        assert!(!opens(&key, &place, &shown, later), "expired");
        assert!(!opens(&key, &place, &Shown { expiry: "2100-01-01T00:00:00Z", ..shown }, now), "stretched");
        assert!(!opens(&key, &place, &Shown { expiry: "soon", ..shown }, now));
        assert!(!opens(&key, &place, &Shown { permissions: "rwd", ..shown }, now));
        let other = Place::parse("files/press-2/a.txt").expect("a place");
        assert!(!opens(&key, &other, &shown, now), "another blob");
        assert!(!opens(&SharedAccessKey::from_bytes([2; 32]), &place, &shown, now), "another key");
    }
}
