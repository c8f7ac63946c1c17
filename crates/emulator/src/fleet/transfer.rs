//! `devices.txt` as the service's import and export jobs write and read it: one JSON object a line.

use std::collections::BTreeMap;
use std::fmt;

use jiff::Timestamp;
use serde_json::{Value, json};

use crate::hub::{Hub, Id};

/// Carries out a file of lines, each by its `importMode` (`createOrUpdate` unless it says otherwise), up to the first
/// line that cannot be carried out. Answers with how many were.
///
/// # Errors
/// With the line's number and what is wrong with it. The lines before it stay carried out.
pub fn import(hub: &mut Hub, text: &str, now: Timestamp) -> Result<usize, String> {
    let (mut lines, mut done) = (Import::default(), 0);
    for (at, line) in text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty()) {
        lines.carry_out(hub, at + 1, line, now).map_err(|reason| format!("line {}: {reason}", at + 1))?;
        done += 1;
    }
    match lines.finish(hub, now).first() {
        Some((at, reason)) => Err(format!("line {at}: {reason}")),
        None => Ok(done),
    }
}

/// Lines of one file, carried out one by one.
///
/// An edge device that is made gets a scope of this hub. Those who name the one in its line as their parent get the new
/// one, wherever in the file they stand.
#[derive(Default)]
pub(crate) struct Import {
    scopes: BTreeMap<String, String>,
    children: Vec<(usize, Value)>,
}

impl Import {
    /// Carries out the line of this number.
    pub(crate) fn carry_out(&mut self, hub: &mut Hub, at: usize, line: &str, now: Timestamp) -> Result<(), LineError> {
        let mut entry = parse(line).map_err(LineError::Unreadable)?;
        let given = entry["deviceScope"].as_str().map(str::to_owned);
        let whole =
            entry["importMode"].as_str().is_none_or(|mode| !mode.to_ascii_lowercase().starts_with("updatetwin"));
        adopt(&mut entry, &self.scopes);
        import_line(hub, &mut entry, now)?;
        if let (Some(given), Some(own)) = (given, own_scope(hub, &entry)) {
            self.scopes.insert(given, own);
        }
        if whole && entry["moduleId"].is_null() {
            self.children.push((at, entry));
        }
        Ok(())
    }

    /// Gives children their parents' new scopes; answers with the lines for which that failed.
    pub(crate) fn finish(self, hub: &mut Hub, now: Timestamp) -> Vec<(usize, LineError)> {
        let mut failed = Vec::new();
        for (at, mut entry) in self.children {
            if adopt(&mut entry, &self.scopes) && hub.exists(&Id::device(entry["id"].as_str().unwrap_or_default())) {
                entry["importMode"] = json!("update");
                failed.extend(carry_out(hub, &entry, now).err().map(|reason| (at, reason)));
            }
        }
        failed
    }
}

fn parse(line: &str) -> Result<Value, String> {
    let entry: Value = serde_json::from_str(line).map_err(|e| {
        // It is the line of the file that counts.
        let (reason, column) = (e.to_string(), e.column());
        format!("{} at column {column}", reason.split(" at line ").next().unwrap_or_default())
    })?;
    if entry.is_object() { Ok(entry) } else { Err("a JSON object is expected".into()) }
}

/// The scope of an edge device as it is in this hub.
fn own_scope(hub: &Hub, entry: &Value) -> Option<String> {
    let device = entry["moduleId"].is_null().then(|| hub.device(entry["id"].as_str()?).ok()).flatten()?;
    let edge = device.body["capabilities"]["iotEdge"] == true;
    edge.then(|| device.body["deviceScope"].as_str().map(str::to_owned)).flatten()
}

/// Puts the scopes of this hub in the place of those that were exported; tells whether there were any.
fn adopt(entry: &mut Value, scopes: &BTreeMap<String, String>) -> bool {
    let mut adopted = false;
    let mut put = |value: &mut Value| {
        if let Some(own) = value.as_str().and_then(|given| scopes.get(given)).filter(|own| value != own.as_str()) {
            *value = json!(own);
            adopted = true;
        }
    };
    entry.get_mut("deviceScope").into_iter().for_each(&mut put);
    entry.get_mut("parentScopes").and_then(Value::as_array_mut).into_iter().flatten().for_each(&mut put);
    adopted
}

/// Every identity with its keys and twin, ready to be imported: one JSON object a line.
pub fn export(hub: &Hub) -> String {
    export_lines(hub, |_| ())
}

/// The same with nulls for keys: importing it makes new ones.
pub(crate) fn export_without_keys(hub: &Hub) -> String {
    export_lines(hub, |line| {
        for name in ["primaryKey", "secondaryKey"] {
            if let Some(key) = line.pointer_mut(&format!("/authentication/symmetricKey/{name}")) {
                *key = Value::Null;
            }
        }
    })
}

fn export_lines(hub: &Hub, adjust: impl Fn(&mut Value)) -> String {
    let mut lines = String::new();
    for id in hub.identities() {
        if let Some(mut line) = export_line(hub, &id) {
            adjust(&mut line);
            lines += &line.to_string();
            lines.push('\n');
        }
    }
    lines
}

/// Why a line was not carried out.
#[derive(Debug)]
pub(crate) enum LineError {
    /// It is no entry at all.
    Unreadable(String),
    /// With the hub's own account, as bulk calls give it.
    Refused(Value),
}

impl LineError {
    /// An entry of `importErrors.log`.
    pub(crate) fn told(self, line: usize) -> Value {
        let mut told = match self {
            Self::Unreadable(reason) => json!({"errorCode": "ArgumentInvalid", "errorStatus": reason}),
            Self::Refused(error) => error,
        };
        told["line"] = json!(line);
        told
    }
}

impl fmt::Display for LineError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unreadable(reason) => f.write_str(reason),
            Self::Refused(error) => {
                let text = |name: &str| error[name].as_str().unwrap_or_default();
                write!(f, "{}: {}", text("errorCode"), text("errorStatus"))
            }
        }
    }
}

fn import_line(hub: &mut Hub, entry: &mut Value, now: Timestamp) -> Result<(), LineError> {
    let unreadable = |reason: &str| LineError::Unreadable(reason.to_owned());
    let mode = entry.get("importMode").and_then(Value::as_str).unwrap_or("createOrUpdate");
    if mode.eq_ignore_ascii_case("createOrUpdate") {
        let text = |name: &str| entry.get(name).and_then(Value::as_str).map(str::to_owned);
        let id = Id { device: text("id").ok_or_else(|| unreadable("'id' is missing"))?, module: text("moduleId") };
        let exists = hub.exists(&id);
        entry["importMode"] = json!(if exists { "update" } else { "create" });
        carry_out(hub, entry, now)?;
        if exists {
            entry["importMode"] = json!("updateTwin");
            return carry_out(hub, entry, now);
        }
        return Ok(());
    }
    carry_out(hub, entry, now)
}

/// Carries out one entry. A device without its twin is not what the line says.
pub(super) fn carry_out(hub: &mut Hub, entry: &Value, now: Timestamp) -> Result<(), LineError> {
    let outcome = hub.bulk(&json!([entry]), now).map_err(|refusal| LineError::Unreadable(refusal.to_string()))?;
    let warning = &outcome.body["warnings"][0]["warningStatus"];
    match (outcome.successful, warning.as_str()) {
        (true, None) => Ok(()),
        (true, Some(reason)) => {
            let id = entry["id"].as_str().unwrap_or_default();
            Err(LineError::Unreadable(format!("'{id}' is there, without its twin: {reason}")))
        }
        (false, _) => Err(LineError::Refused(outcome.body["errors"][0].clone())),
    }
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

    #[test]
    fn children_find_their_parents_scope_in_another_hub() {
        let now = Timestamp::UNIX_EPOCH;
        let mut first = hub();
        let lines = "{\"id\":\"z-gateway\",\"capabilities\":{\"iotEdge\":true}}\n{\"id\":\"a-leaf\"}\n";
        import(&mut first, lines, now).expect("imported");
        let scope = |hub: &Hub, id: &str| hub.device(id).expect("there").body["deviceScope"].clone();
        let parent = json!({"id": "a-leaf", "deviceScope": scope(&first, "z-gateway"), "importMode": "update"});
        import(&mut first, &parent.to_string(), now).expect("imported");
        let mut second = hub();
        let later = now + jiff::SignedDuration::from_secs(1);
        let mode = |line: &str| line.replacen('{', "{\"importMode\":\"create\",", 1);
        let exported: Vec<String> = export(&first).lines().map(mode).collect();
        assert!(exported[0].contains("a-leaf"), "the child comes first: {exported:?}");
        assert_eq!(import(&mut second, &exported.join("\n"), later), Ok(2));
        assert_ne!(scope(&second, "z-gateway"), scope(&first, "z-gateway"));
        assert_eq!(scope(&second, "a-leaf"), scope(&second, "z-gateway"));
    }

    #[test]
    fn mistakes_are_named_with_their_line() {
        for (text, said) in [
            ("{\"id\":\"a\"}\nx", "line 2: expected value at column 1"),
            ("\n[]", "line 2: a JSON object is expected"),
            ("{\"idd\":\"a\"}", "line 1: 'id' is missing"),
            ("{\"id\":\"a\",\"tags\":{\"x.y\":1}}", "line 1: 'a' is there, without its twin: "),
        ] {
            let error = import(&mut hub(), text, Timestamp::UNIX_EPOCH).expect_err("refused");
            assert!(error.starts_with(said), "{text}: {error}");
        }
    }

    #[test]
    fn an_export_without_keys_makes_new_ones() {
        let now = Timestamp::UNIX_EPOCH;
        let (mut first, mut second) = (hub(), Hub::new(Dice::new([7; 32]), jiff::SignedDuration::ZERO));
        import(&mut first, "{\"id\":\"a\"}", now).expect("made");
        let text = export_without_keys(&first);
        let key =
            |hub: &Hub| hub.device("a").expect("there").body["authentication"]["symmetricKey"]["primaryKey"].clone();
        assert!(!text.contains(key(&first).as_str().expect("a key")) && text.contains("\"primaryKey\":null"), "{text}");
        assert_eq!(import(&mut second, &text, now), Ok(1));
        assert!(key(&second).is_string());
        assert_ne!(key(&second), key(&first));
    }
}
