//! The words for verbs and reasons in the record.

pub(super) const SWITCHOVER: &str = "switchover";
pub(super) const FAILOVER: &str = "failover";
pub(super) const PAUSE: &str = "pause";
pub(super) const RESUME: &str = "resume";
pub(super) const MAINTENANCE: &str = "maintenance";

pub(super) const FIRST: &str = "first";
pub(super) const HOLDER_SILENT: &str = "holder_silent";
pub(super) const HOLDER_LEAVING: &str = "holder_leaving";
pub(super) const HOLDER_IN_MAINTENANCE: &str = "holder_in_maintenance";
pub(super) const HOLDER_DISABLED: &str = "holder_disabled";
pub(super) const HOLDER_REMOVED: &str = "holder_removed";
pub(super) const WORKLOAD_FAILING: &str = "workload_failing";
pub(super) const TERM_SPENT: &str = "term_spent";
pub(super) const FAILBACK: &str = "failback";
pub(super) const ASKED: &str = "asked";
pub(super) const REBUILT: &str = "rebuilt";

/// `[a-z0-9]{1,32}`: a request's id is a key in the document, and keys in tags are restricted.
pub(super) fn is_request_id(id: &str) -> bool {
    (1..=32).contains(&id.len()) && id.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit())
}
