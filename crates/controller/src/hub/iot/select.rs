//! Finds the members that a condition selects.

use ha_core::ids::MemberId;
use ha_iothub::Client;
use serde::Deserialize;

use super::errors::error;
use super::routine_call;
use crate::hub::Error;

/// More members than this are a mistake in the condition.
const MEMBERS_MAX: usize = 1_000;

#[derive(Deserialize)]
struct Row {
    #[serde(rename = "deviceId")]
    device: String,
}

/// The devices that a query condition finds.
pub(super) async fn devices(client: &Client, condition: &str) -> Result<Vec<MemberId>, Error> {
    let mut query = client.query(format!("SELECT deviceId FROM devices WHERE {condition}"));
    let mut found = Vec::new();
    while let Some(page) = query.next_page(&routine_call()).await.map_err(|e| error(&e))? {
        let rows: Vec<Row> = page.decode().map_err(|e| error(&e))?;
        found.extend(rows.into_iter().map(|row| MemberId::new(row.device)));
        if found.len() > MEMBERS_MAX {
            return Err(Error::Refused(format!("the condition {condition} selects more than {MEMBERS_MAX} devices")));
        }
    }
    found.sort();
    Ok(found)
}
