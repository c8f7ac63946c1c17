//! The conditions of routes, written and recognised.

use ha_core::ids::{MemberId, PoolName};

/// The longest condition that is written. Azure names no figure; what is longer is hardly meant.
pub const CHARS_MAX: usize = 8_192;

const DEVICE: &str = "$connectionDeviceId = '";

/// True of messages whose sender's twin says that it is active. A module's messages are judged by the module's twin.
pub(super) fn standing(pool: &PoolName, extra: Option<&str>) -> String {
    and(active(pool), extra)
}

/// True of messages from `member` and its modules.
pub(super) fn rule(member: &MemberId, extra: Option<&str>) -> String {
    and(format!("{DEVICE}{member}'"), extra)
}

/// Whether a condition is one of ours for this pool: whoever else has a route of that name wrote something else.
pub fn belongs(condition: &str, pool: &PoolName) -> bool {
    rest_after(condition, &active(pool)) || steered_to(condition).is_some()
}

/// The device that a rule of ours names.
pub fn steered_to(condition: &str) -> Option<MemberId> {
    let (device, rest) = condition.strip_prefix(DEVICE)?.split_once('\'')?;
    is_rest(rest).then(|| MemberId::new(device))
}

/// Whether a device's name can stand in a rule: how a quote is written in a condition is nowhere documented.
pub fn holder(member: &MemberId) -> bool {
    !member.as_str().contains('\'')
}

fn active(pool: &PoolName) -> String {
    format!("$twin.tags.ha.{pool}.role = 'active'")
}

fn and(condition: String, extra: Option<&str>) -> String {
    match extra {
        Some(extra) => format!("{condition} AND ({extra})"),
        None => condition,
    }
}

fn rest_after(condition: &str, prefix: &str) -> bool {
    condition.strip_prefix(prefix).is_some_and(is_rest)
}

fn is_rest(rest: &str) -> bool {
    rest.is_empty() || (rest.starts_with(" AND (") && rest.ends_with(')'))
}
