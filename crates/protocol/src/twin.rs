//! Twins and tags: the flag, the key and the settings of an agent, what it reports, and members' roles.
//!
//! Every encoder makes a merge patch, for `properties.desired`, `properties.reported` or `tags` as its
//! name says.

mod desired;
mod reported;
mod roles;

pub use self::desired::{Desired, SETTINGS_SIZE_MAX, decode_desired, flag_patch, install_patch};
pub use self::reported::{Reported, decode_reported, reported_patch};
pub use self::roles::{Role, RoleTag, Roles, decode_roles, role_patch};

#[cfg(test)]
mod tests;
