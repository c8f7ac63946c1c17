//! Twin queries (IoT Hub REST reference: query twins).

use serde::{Deserialize, Serialize};

use crate::text::text_enum;

/// Request: how many items a page may have. Response pages may have fewer.
pub const HEADER_MAX_ITEM_COUNT: &str = "x-ms-max-item-count";
/// Request and response: where the next page begins. Absent from the last page.
pub const HEADER_CONTINUATION: &str = "x-ms-continuation";
/// Response: what the items are, an [`ItemType`].
pub const HEADER_ITEM_TYPE: &str = "x-ms-item-type";
/// Largest page (Microsoft docs: query language).
pub const PAGE_ITEMS_MAX: u32 = 100;
/// Longest query.
pub const QUERY_LENGTH_MAX: usize = 8192;

/// The body of a query.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct QueryRequest {
    /// `SELECT … FROM …`
    pub query: String,
}

text_enum! {
    /// What the items of a page are.
    ItemType {
        /// Whole twins: the answer to `SELECT *`.
        Twin = "Twin",
        /// Projections.
        Raw = "Raw",
        /// Results of jobs.
        DeviceJob = "DeviceJob",
    }
}
