//! Texts of bounded length, and times and nonces as texts.

use ha_core::ids::Nonce;
use ha_core::time::WallTime;
use jiff::Timestamp;

/// The first `max` bytes of a text that others chose, without control characters; `…` where it was cut.
pub(crate) fn bounded(text: &str, max: usize) -> String {
    const CUT: char = '…';
    let clean = |c: char| if c.is_control() { ' ' } else { c };
    if text.len() <= max {
        return text.chars().map(clean).collect();
    }
    let mut kept = String::new();
    for c in text.chars().map(clean) {
        if kept.len() + c.len_utf8() + CUT.len_utf8() > max {
            break;
        }
        kept.push(c);
    }
    kept.push(CUT);
    kept
}

/// RFC 3339, in UTC. Instants that no calendar of ours holds become the nearest that it does.
pub(crate) fn from_wall(at: WallTime) -> String {
    let nearest = if at.0 < 0 { Timestamp::MIN } else { Timestamp::MAX };
    Timestamp::from_millisecond(at.0).unwrap_or(nearest).to_string()
}

pub(crate) fn to_wall(text: &str) -> Option<WallTime> {
    if text.len() > 40 {
        return None;
    }
    text.parse::<Timestamp>().ok().map(|t| WallTime(t.as_millisecond()))
}

/// `<run in 32 hexadecimal digits>-<count>`.
pub(crate) fn from_nonce(nonce: Nonce) -> String {
    format!("{:032x}-{}", nonce.run, nonce.count)
}

/// Takes exactly what [`from_nonce`] makes: one nonce, one text.
pub(crate) fn to_nonce(text: &str) -> Option<Nonce> {
    let (run, count) = text.split_once('-')?;
    let nonce = Nonce { run: u128::from_str_radix(run, 16).ok()?, count: count.parse().ok()? };
    (from_nonce(nonce) == text).then_some(nonce)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cut_texts_stay_within_their_bound() {
        assert_eq!(bounded("ab\ncd", 5), "ab cd");
        assert_eq!(bounded("abcdef", 5), "ab…");
        assert_eq!(bounded("äääää", 6), "ä…");
    }

    #[test]
    fn times_are_rfc_3339() {
        assert_eq!(from_wall(WallTime(1_700_000_000_123)), "2023-11-14T22:13:20.123Z");
        assert_eq!(to_wall("2023-11-14T23:13:20.123+01:00"), Some(WallTime(1_700_000_000_123)));
        for extreme in [i64::MIN, -1, 0, i64::MAX] {
            assert!(to_wall(&from_wall(WallTime(extreme))).is_some(), "{extreme}");
        }
    }

    #[test]
    fn a_nonce_has_one_text() {
        let nonce = Nonce { run: 10, count: 7 };
        assert_eq!(to_nonce(&from_nonce(nonce)), Some(nonce));
        let hex = "0000000000000000000000000000000a";
        for bad in ["", "-", "a-7", &format!("{hex}-07"), &format!("{hex}-+7"), &format!("{}-7", hex.to_uppercase())] {
            assert_eq!(to_nonce(bad), None, "{bad}");
        }
    }
}
