//! The control record: `tags.ha` of the control device.

use ha_core::charge::ControlRecord;
use ha_core::ids::{ControllerId, Epoch, NUMBER_MAX};
use ha_core::time::Millis;
use serde_json::{Value, json};

use crate::error::Error;
use crate::read::{NAME_MAX, Reader, flag, name, number, version, word};
use crate::{HA, VERSION};

const HINT: &str = "remove the key ha from this device's tags; a controller then takes charge anew";

/// The device identity that carries the control record unless another is configured.
pub const DEVICE_ID: &str = "ha-control";

/// The patch of the device's tags that writes the record.
///
/// It names every field, so it needs nothing removed; fields of others stay.
pub fn patch(record: &ControlRecord) -> Result<Value, Error> {
    // A beat that has reached the end stays there: the etag still tells one write from the next.
    let beat = record.beat.min(NUMBER_MAX);
    Error::check_number("ha.epoch", record.epoch.0)?;
    Ok(json!({ HA: {
        "v": VERSION,
        "kind": "control",
        "owner": record.owner.as_str(),
        "epoch": record.epoch.0,
        "ttl_ms": record.ttl.0,
        "beat": beat,
        "given_back": record.given_back,
    }}))
}

/// The record in a device's tags, if there is one.
pub fn decode(tags: &Value) -> Result<Option<ControlRecord>, Error> {
    let Some(document) = tags.get(HA).filter(|ha| !ha.is_null()) else { return Ok(None) };
    let reader = Reader::new(HINT);
    let record = reader.root(HA, document).and_then(|fields| {
        fields.need("v", &version());
        fields.need("kind", &word(&[("control", ())]));
        let owner = fields.need("owner", &name(NAME_MAX)).map(ControllerId::new);
        let epoch = fields.need("epoch", &number()).map(Epoch);
        let ttl = fields.need("ttl_ms", &number()).map(Millis);
        let beat = fields.need("beat", &number());
        let given_back = fields.need("given_back", &flag())?;
        Some(ControlRecord { owner: owner?, epoch: epoch?, ttl: ttl?, beat: beat?, given_back })
    });
    reader.finish(record).map(Some)
}

#[cfg(test)]
mod tests {
    use expect_test::expect;
    use proptest::prelude::*;

    use super::*;
    use crate::arbitrary::{any_json, number};
    use crate::merge::merged;

    fn record() -> impl Strategy<Value = ControlRecord> {
        ("[ -~]{1,60}", number(), number(), number(), any::<bool>()).prop_map(
            |(owner, epoch, ttl, beat, given_back)| ControlRecord {
                owner: ControllerId::new(owner),
                epoch: Epoch(epoch),
                ttl: Millis(ttl),
                beat,
                given_back,
            },
        )
    }

    #[test]
    fn nonsense_is_named() {
        let tags =
            json!({ "ha": { "v": 1, "kind": "pool", "owner": "", "epoch": -1, "beat": 0.5, "given_back": "no" } });
        expect![[r#"
            ha.kind: expected "control", found "pool"; remove the key ha from this device's tags; a controller then takes charge anew
            ha.owner: expected a text of 1 to 128 bytes, found ""; remove the key ha from this device's tags; a controller then takes charge anew
            ha.epoch: expected a whole number from 0 to 4503599627370495, found -1; remove the key ha from this device's tags; a controller then takes charge anew
            ha.ttl_ms: expected a whole number from 0 to 4503599627370495, found nothing; remove the key ha from this device's tags; a controller then takes charge anew
            ha.beat: expected a whole number from 0 to 4503599627370495, found 0.5; remove the key ha from this device's tags; a controller then takes charge anew
            ha.given_back: expected true or false, found "no"; remove the key ha from this device's tags; a controller then takes charge anew"#]].assert_eq(&decode(&tags).expect_err("malformed").to_string());
    }

    #[test]
    fn an_epoch_beyond_what_a_twin_holds_is_not_written() {
        let record = ControlRecord {
            owner: ControllerId::new("a"),
            epoch: Epoch(NUMBER_MAX + 1),
            ttl: Millis(1),
            beat: u64::MAX,
            given_back: false,
        };
        expect![[r#"ha.epoch: 4503599627370496 is above 4503599627370495, the most that a twin carries; use a new pool name or control device"#]].assert_eq(&patch(&record).expect_err("too big").to_string());
    }

    proptest! {
        #[test]
        fn records_survive(record in record(), old in any_json()) {
            let patch = patch(&record).expect("a record within bounds");
            prop_assert_eq!(decode(&merged(&old, &patch)), Ok(Some(record)));
        }

        #[test]
        fn no_json_panics(json in any_json()) {
            let _ = decode(&json);
            let _ = decode(&json!({ "ha": json }));
        }
    }
}
