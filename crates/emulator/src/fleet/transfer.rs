//! `devices.txt` as the service's import and export jobs write and read it: one JSON object a line.

use jiff::Timestamp;
use serde_json::{Value, json};

use crate::hub::{Hub, Id};

/// Carries out a file of lines, each by its `importMode` (`createOrUpdate` unless it says otherwise), up to the first
/// line that cannot be carried out. Answers with how many were.
pub(crate) fn import(hub: &mut Hub, text: &str, now: Timestamp) -> Result<usize, String> {
    let mut done = 0;
    for (at, line) in text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty()) {
        import_line(hub, line, now).map_err(|reason| format!("line {}: {reason}", at + 1))?;
        done += 1;
    }
    Ok(done)
}

/// Every identity with its keys and twin, ready to be imported.
pub(crate) fn export(hub: &Hub) -> String {
    let mut lines = String::new();
    for id in hub.identities() {
        if let Some(line) = export_line(hub, &id) {
            lines += &line.to_string();
            lines.push('\n');
        }
    }
    lines
}

/// The first complaint of a bulk call.
pub(super) fn first_error(body: &Value) -> String {
    let error = &body["errors"][0];
    let text = |name: &str| error[name].as_str().unwrap_or_default().to_owned();
    format!("{}: {}", text("errorCode"), text("errorStatus"))
}

fn import_line(hub: &mut Hub, line: &str, now: Timestamp) -> Result<(), String> {
    let mut entry: Value = serde_json::from_str(line).map_err(|e| e.to_string())?;
    let mode = entry.get("importMode").and_then(Value::as_str).unwrap_or("createOrUpdate");
    if mode.eq_ignore_ascii_case("createOrUpdate") {
        let text = |name: &str| entry.get(name).and_then(Value::as_str).map(str::to_owned);
        let id = Id { device: text("id").ok_or("'id' is missing")?, module: text("moduleId") };
        let exists = hub.exists(&id);
        entry["importMode"] = json!(if exists { "update" } else { "create" });
        carry_out(hub, &entry, now)?;
        if exists {
            entry["importMode"] = json!("updateTwin");
            return carry_out(hub, &entry, now);
        }
        return Ok(());
    }
    carry_out(hub, &entry, now)
}

fn carry_out(hub: &mut Hub, entry: &Value, now: Timestamp) -> Result<(), String> {
    let outcome = hub.bulk(&json!([entry]), now).map_err(|refusal| refusal.to_string())?;
    if outcome.successful { Ok(()) } else { Err(first_error(&outcome.body)) }
}

fn export_line(hub: &Hub, id: &Id) -> Option<Value> {
    let twin = hub.twin(id).ok()?;
    let identity = match &id.module {
        None => hub.device(&id.device).ok()?.body,
        Some(module) => hub.module(&id.device, module).ok()?.body,
    };
    let mut line = json!({"id": id.device});
    let mut put = |name: &str, value: &Value| {
        if !value.is_null() {
            line[name] = value.clone();
        }
    };
    put("moduleId", &json!(id.module));
    put("eTag", &identity["etag"]);
    put("status", &identity["status"]);
    put("statusReason", &identity["statusReason"]);
    put("managedBy", &identity["managedBy"]);
    put("authentication", &identity["authentication"]);
    put("twinETag", &twin["etag"]);
    put("tags", &twin["tags"]);
    put("properties", &twin["properties"]);
    put("capabilities", &identity["capabilities"]);
    put("deviceScope", &identity["deviceScope"]);
    put("parentScopes", &identity["parentScopes"]);
    Some(line)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hub::{Dice, Expect};

    fn hub() -> Hub {
        Hub::new(Dice::new([6; 32]), jiff::SignedDuration::ZERO)
    }

    #[test]
    fn what_is_exported_can_be_imported() {
        let now = Timestamp::UNIX_EPOCH;
        let mut first = hub();
        let lines = "{\"id\":\"a\",\"tags\":{\"x\":1},\"properties\":{\"desired\":{\"y\":2}}}\n\
                     \n{\"id\":\"a\",\"moduleId\":\"m\",\"importMode\":\"create\"}\n{\"id\":\"b\"}\n";
        assert_eq!(import(&mut first, lines, now), Ok(3));
        let mut second = hub();
        assert_eq!(import(&mut second, &export(&first), now), Ok(3));
        let key = |hub: &Hub| hub.device("a").expect("there").body["authentication"].clone();
        assert_eq!(key(&second), key(&first));
        let twin = second.twin(&Id::device("a")).expect("there");
        assert_eq!((&twin["tags"]["x"], &twin["properties"]["desired"]["y"]), (&json!(1), &json!(2)));
        second.patch_twin(&Id::device("a"), &json!({"tags": {"x": 5}}), &Expect::Any, now).expect("written");
        assert_eq!(import(&mut second, &export(&first), now), Ok(3), "what is there is updated");
        assert_eq!(second.twin(&Id::device("a")).expect("there")["tags"]["x"], 1);
        assert_eq!(import(&mut second, "{\"id\":\"b\",\"importMode\":\"delete\"}", now), Ok(1));
        let error = import(&mut second, "\n{\"id\":\"b\",\"importMode\":\"delete\"}", now).expect_err("gone");
        assert!(error.starts_with("line 2: DeviceNotFound"), "{error}");
    }
}
