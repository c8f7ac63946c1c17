//! Azure's roles for a hub, and the data actions that calls need.

use std::fmt;
use std::str::FromStr;

/// A built-in role, assigned to a principal in [`Principal`](super::Principal).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// All data actions.
    IotHubDataContributor,
    /// Reads of all kinds, queries included.
    IotHubDataReader,
    /// Identities.
    IotHubRegistryContributor,
    /// Twins and queries.
    IotHubTwinContributor,
    /// The management side only: Azure gives owners no data actions.
    Owner,
    /// The management side only.
    Contributor,
    /// Reads of the management side only.
    Reader,
}

const ROLES: [(Role, &str); 7] = [
    (Role::IotHubDataContributor, "IoT Hub Data Contributor"),
    (Role::IotHubDataReader, "IoT Hub Data Reader"),
    (Role::IotHubRegistryContributor, "IoT Hub Registry Contributor"),
    (Role::IotHubTwinContributor, "IoT Hub Twin Contributor"),
    (Role::Owner, "Owner"),
    (Role::Contributor, "Contributor"),
    (Role::Reader, "Reader"),
];

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let found = ROLES.iter().find(|(role, _)| role == self);
        f.write_str(found.map_or("", |(_, name)| name))
    }
}

impl FromStr for Role {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let found = ROLES.iter().find(|(_, name)| name.eq_ignore_ascii_case(text.trim()));
        found.map(|(role, _)| *role).ok_or_else(|| {
            let names: Vec<&str> = ROLES.iter().map(|(_, name)| *name).collect();
            format!("'{text}' is no role; say one of: {}", names.join(", "))
        })
    }
}

impl Role {
    /// Whether the role holds the data action `Microsoft.Devices/IotHubs/{action}`.
    pub(super) fn allows(self, action: &str) -> bool {
        match self {
            Self::IotHubDataContributor => true,
            Self::IotHubDataReader => action.ends_with("/read"),
            Self::IotHubRegistryContributor => action.starts_with("devices/"),
            Self::IotHubTwinContributor => action.starts_with("twins/"),
            Self::Owner | Self::Contributor | Self::Reader => false,
        }
    }

    /// Whether the role may use the management side.
    pub(super) fn manages(self, write: bool) -> bool {
        match self {
            Self::Owner | Self::Contributor => true,
            Self::Reader => !write,
            _ => false,
        }
    }
}

/// The data actions that a call needs, without the leading `Microsoft.Devices/IotHubs/`; a call that is not listed needs
/// one that only a contributor to all data holds.
pub(super) fn actions(method: &str, path: &[&str]) -> &'static [&'static str] {
    match (method, path) {
        ("POST", ["devices"]) => &["devices/write", "devices/delete"],
        ("POST", ["devices", "query"]) => &["twins/read"],
        ("POST", ["devices", _, "applyConfigurationContent"]) => &["configurations/applyToEdgeDevice/action"],
        ("DELETE", ["devices", _, "commands"]) => &["cloudToDeviceMessages/queue/purge/action"],
        (_, ["messages", "serviceBound", "feedback", ..]) => &["cloudToDeviceMessages/feedback/action"],
        ("POST", ["devices", .., "messages", "deviceBound"]) => &["cloudToDeviceMessages/send/action"],
        ("GET", ["devices", ..]) => &["devices/read"],
        ("PUT", ["devices", ..]) => &["devices/write"],
        ("DELETE", ["devices", ..]) => &["devices/delete"],
        ("POST", ["twins", _, "methods"] | ["twins", _, "modules", _, "methods"]) => &["directMethods/invoke/action"],
        ("GET", ["twins" | "digitaltwins", ..]) => &["twins/read"],
        ("PUT" | "PATCH", ["twins" | "digitaltwins", ..]) => &["twins/write"],
        ("POST", ["digitaltwins", ..]) => &["directMethods/invoke/action"],
        ("POST", ["configurations", "testQueries"]) => &["configurations/testQueries/action"],
        ("GET", ["configurations", ..]) => &["configurations/read"],
        ("PUT", ["configurations", ..]) => &["configurations/write"],
        ("DELETE", ["configurations", ..]) => &["configurations/delete"],
        ("GET", ["jobs", ..]) => &["jobs/read"],
        ("POST", ["jobs", .., "cancel"]) | ("DELETE", ["jobs", ..]) => &["jobs/delete"],
        (_, ["jobs", ..]) => &["jobs/write"],
        (_, ["statistics", ..]) => &["statistics/read"],
        _ => &["unlisted/action"],
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn roles_by_table() {
        use Role::{
            IotHubDataContributor as All, IotHubDataReader as Read, IotHubRegistryContributor as Registry,
            IotHubTwinContributor as Twins,
        };
        for (method, path, allowed) in [
            ("GET", "devices/a", &[All, Read, Registry][..]),
            ("PUT", "devices/a/modules/m", &[All, Registry]),
            ("POST", "devices", &[All, Registry]),
            ("DELETE", "devices/a", &[All, Registry]),
            ("POST", "devices/query", &[All, Read, Twins]),
            ("GET", "twins/a", &[All, Read, Twins]),
            ("PATCH", "twins/a/modules/m", &[All, Twins]),
            ("POST", "twins/a/methods", &[All]),
            ("GET", "configurations", &[All, Read]),
            ("POST", "devices/a/applyConfigurationContent", &[All]),
            ("GET", "jobs/v2/j", &[All, Read]),
            ("PUT", "jobs/v2/j", &[All]),
            ("GET", "statistics/devices", &[All, Read]),
            ("DELETE", "devices/a/commands", &[All]),
            ("GET", "messages/serviceBound/feedback", &[All]),
            ("PUT", "something/new", &[All]),
        ] {
            let path: Vec<&str> = path.split('/').collect();
            for (role, name) in ROLES {
                let may = actions(method, &path).iter().all(|action| role.allows(action));
                assert_eq!(may, allowed.contains(&role), "{name}: {method} {path:?}");
            }
        }
    }

    #[test]
    fn names_are_read_as_azure_writes_them() {
        assert_eq!("iot hub data reader".parse(), Ok(Role::IotHubDataReader));
        assert_eq!(Role::IotHubDataReader.to_string(), "IoT Hub Data Reader");
        assert!("King".parse::<Role>().expect_err("no role").contains("IoT Hub Twin Contributor"));
    }
}
