//! What an SDK asked over HTTP and was answered, held against Microsoft's descriptions.

use std::path::Path;

use anyhow::{Context, Result, bail};
use ha_swagger::Answer;
use serde_json::Value;

/// Fails when an answer of the emulator's record departs from its description, or has none.
pub(crate) fn check(record: &Path) -> Result<()> {
    if !ha_swagger::at_hand() {
        println!("skipped: the descriptions of the APIs are not here; the answers are not held against them");
        return Ok(());
    }
    let text = std::fs::read_to_string(record).context("the emulator's record of exchanges cannot be read")?;
    // What the emulator was writing when it was ended has not gone out as an answer either.
    let text = text.rsplit_once('\n').map_or("", |(whole, _)| whole);
    let (mut described, mut wrong) = (0, Vec::new());
    for line in text.lines() {
        let exchange: Value = serde_json::from_str(line).with_context(|| format!("not an exchange: {line}"))?;
        match departures(&exchange) {
            Some(departures) if departures.is_empty() => described += 1,
            Some(departures) => wrong.push(format!("{departures:?}: {line}")),
            None if is_beyond_description(&exchange) => {}
            None => wrong.push(format!("no such operation: {line}")),
        }
    }
    if !wrong.is_empty() {
        bail!("{} of {} answers are not as described\n{}", wrong.len(), text.lines().count(), wrong.join("\n"));
    }
    if described == 0 {
        bail!("the record holds no answer that is described");
    }
    println!("{described} of {} answers are described, and as described", text.lines().count());
    Ok(())
}

fn departures(exchange: &Value) -> Option<Vec<String>> {
    let answered = &exchange["answered"];
    let answer = Answer {
        method: exchange["method"].as_str()?,
        path: exchange["path"].as_str()?,
        status: answered["status"].as_u64().and_then(|status| status.try_into().ok())?,
        item_type: answered["headers"]["x-ms-item-type"].as_str(),
        body: &answered["json"],
    };
    Some(answer.unlisted_departures()?.into_iter().collect())
}

/// Microsoft describes what back ends call. Not described are messages and files of devices and modules, and where Resource Manager tells
/// what has become of a write: that address comes from an answer's header.
fn is_beyond_description(exchange: &Value) -> bool {
    let path: Vec<_> = exchange["path"].as_str().unwrap_or_default().trim_matches('/').split('/').collect();
    matches!(
        path[..],
        ["devices", _, "messages" | "files", ..]
            | ["devices", _, "modules", _, "messages", ..]
            | ["subscriptions", _, "providers", _, "locations", _, "operationResults", _]
    )
}
