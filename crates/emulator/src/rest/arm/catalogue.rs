//! What Azure says about the provider, the subscription, and what a hub could be.

use serde_json::{Value, json};

use crate::management::ControlPlane;
use crate::throttle::{Size, Sku};

/// Operations of the provider, as far as they are spoken here.
const OPERATIONS: [(&str, &str); 5] = [
    ("iotHubs/Read", "Get IotHub(s)"),
    ("iotHubs/Write", "Create or update IotHub Resource"),
    ("iotHubs/listkeys/Action", "Get all IotHub Keys"),
    ("iotHubs/exportDevices/Action", "Export Devices"),
    ("iotHubs/importDevices/Action", "Import Devices"),
];
/// How many hubs a subscription may have.
const HUBS_MAX: u64 = 50;
const FREE_HUBS_MAX: u64 = 1;

pub(super) fn operations() -> Value {
    let operation = |(name, sentence)| {
        let display = json!({"provider": "Microsoft Devices", "resource": "IotHubs", "operation": sentence, "description": sentence});
        json!({"name": format!("Microsoft.Devices/{name}"), "display": display})
    };
    json!({"value": OPERATIONS.map(operation)})
}

/// The hubs that there are and could be.
pub(super) fn usages(plane: &ControlPlane, size: Size) -> Value {
    let usage = |name: &str, most: u64, is_ours: bool| {
        let id = format!("/subscriptions/{}/providers/Microsoft.Devices/usages/{name}", plane.subscription);
        let name = json!({"value": name, "localizedValue": name});
        let current = u64::from(is_ours);
        json!({"id": id, "unit": "Count", "currentValue": current, "limit": most, "name": name})
    };
    let is_free = size.sku == Sku::F1;
    json!({"value": [usage("PaidHubCount", HUBS_MAX, !is_free), usage("FreeHubCount", FREE_HUBS_MAX, is_free)]})
}

/// Every size that a hub may take.
pub(super) fn sizes() -> Value {
    let size = |sku: Sku| {
        let most = sku.units_max();
        let scale = if most == 1 { "None" } else { "Manual" };
        json!({
            "resourceType": "Microsoft.Devices/IotHubs",
            "sku": {"name": sku.name(), "tier": sku.tier()},
            "capacity": {"minimum": 1, "maximum": most, "default": 1, "scaleType": scale},
        })
    };
    json!({"value": Sku::ALL.map(size)})
}

/// Whether a hub of this name could be made beside ours.
pub(super) fn availability(name: &str, ours: &str) -> Value {
    let fits = (3..=50).contains(&name.len())
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
        && !name.ends_with('-');
    let refused = |reason: &str, message: String| json!({"nameAvailable": false, "reason": reason, "message": message});
    match () {
        () if !fits => {
            refused("Invalid", "A name has 3 to 50 letters, digits and hyphens, and ends with no hyphen.".to_owned())
        }
        () if name.eq_ignore_ascii_case(ours) => refused("AlreadyExists", format!("'{name}' exists already.")),
        () => json!({"nameAvailable": true}),
    }
}
