//! Fleets written down: a seed file in TOML, and the service's own import and export format.

mod transfer;

use std::collections::BTreeSet;
use std::path::Path;

use jiff::Timestamp;
use serde::Deserialize;
use serde_json::{Map, Value, json};
use toml::Spanned;

use crate::error::Error;
use crate::hub::{Hub, Id};

pub(crate) use transfer::{Import, LineError, export_without_keys};
pub use transfer::{export, import};

/// The most devices of one entry.
const COUNT_MAX: u32 = 100_000;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    #[serde(default)]
    device: Vec<Spanned<Entry>>,
}

/// One device, or many of a kind.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Entry {
    id: String,
    #[serde(default = "one")]
    count: u32,
    #[serde(default = "one")]
    first: u32,
    #[serde(default)]
    edge: bool,
    status: Option<String>,
    parent: Option<String>,
    primary_key: Option<String>,
    secondary_key: Option<String>,
    tags: Option<Map<String, Value>>,
    desired: Option<Map<String, Value>>,
    #[serde(default)]
    module: Vec<ModuleEntry>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ModuleEntry {
    id: String,
    primary_key: Option<String>,
    secondary_key: Option<String>,
    tags: Option<Map<String, Value>>,
    desired: Option<Map<String, Value>>,
}

fn one() -> u32 {
    1
}

/// Makes the devices of a seed file; those that exist are left alone.
pub(crate) fn plant(hub: &mut Hub, path: &Path, now: Timestamp) -> Result<(), Error> {
    let text = std::fs::read_to_string(path).map_err(Error::read(path))?;
    plant_text(hub, &text, now).map_err(|reason| Error::Option(format!("{}: {reason}", path.display())))
}

fn plant_text(hub: &mut Hub, text: &str, now: Timestamp) -> Result<(), String> {
    let file: File = toml::from_str(text).map_err(|e| e.to_string())?;
    let mut named = BTreeSet::new();
    for entry in &file.device {
        let line = text[..entry.span().start].matches('\n').count() + 1;
        plant_entry(hub, entry.as_ref(), &mut named, now).map_err(|reason| format!("line {line}: {reason}"))?;
    }
    Ok(())
}

/// `named` are the identities of the file so far: what stands there twice is a slip.
fn plant_entry(hub: &mut Hub, entry: &Entry, named: &mut BTreeSet<Id>, now: Timestamp) -> Result<(), String> {
    if entry.count == 0 || entry.count > COUNT_MAX {
        return Err(format!("count is 1 to {COUNT_MAX}"));
    }
    if entry.count > 1 && !entry.id.contains("{n}") {
        return Err(format!("'{}' names {} devices; put {{n}} where their numbers go", entry.id, entry.count));
    }
    for n in entry.first..entry.first.saturating_add(entry.count) {
        let id = entry.id.replace("{n}", &n.to_string());
        name(named, Id::device(&id))?;
        if !hub.exists(&Id::device(&id)) {
            let device = entry.device(hub, &id)?;
            create(hub, &device, now)?;
        }
        for module in &entry.module {
            name(named, Id::module(&id, &module.id))?;
            if !hub.exists(&Id::module(&id, &module.id)) {
                create(hub, &module.of(&id)?, now)?;
            }
        }
    }
    Ok(())
}

fn name(named: &mut BTreeSet<Id>, id: Id) -> Result<(), String> {
    let said = format!("'{id}' stands in the file twice");
    if named.insert(id) { Ok(()) } else { Err(said) }
}

fn create(hub: &mut Hub, entry: &Value, now: Timestamp) -> Result<(), String> {
    transfer::carry_out(hub, entry, now).map_err(|error| error.to_string())
}

impl Entry {
    fn device(&self, hub: &Hub, id: &str) -> Result<Value, String> {
        let mut out = json!({"id": id, "importMode": "create", "capabilities": {"iotEdge": self.edge}});
        fill(&mut out, self.tags.as_ref(), self.desired.as_ref());
        keys(&mut out, self.primary_key.as_deref(), self.secondary_key.as_deref())?;
        if let Some(status) = &self.status {
            out["status"] = json!(status);
        }
        if let Some(parent) = &self.parent {
            let scope = hub.device(parent).ok().and_then(|shown| shown.body.get("deviceScope").cloned());
            let scope = scope.ok_or_else(|| format!("'{parent}' is no edge device that was made before '{id}'"))?;
            match self.edge {
                true => out["parentScopes"] = json!([scope]),
                false => out["deviceScope"] = scope,
            }
        }
        Ok(out)
    }
}

impl ModuleEntry {
    fn of(&self, device: &str) -> Result<Value, String> {
        let mut out = json!({"id": device, "moduleId": self.id, "importMode": "create"});
        fill(&mut out, self.tags.as_ref(), self.desired.as_ref());
        keys(&mut out, self.primary_key.as_deref(), self.secondary_key.as_deref())?;
        Ok(out)
    }
}

fn fill(out: &mut Value, tags: Option<&Map<String, Value>>, desired: Option<&Map<String, Value>>) {
    if let Some(tags) = tags {
        out["tags"] = json!(tags);
    }
    if let Some(desired) = desired {
        out["properties"] = json!({"desired": desired});
    }
}

fn keys(out: &mut Value, primary: Option<&str>, secondary: Option<&str>) -> Result<(), String> {
    match (primary, secondary) {
        (None, None) => Ok(()),
        (Some(primary), Some(secondary)) => {
            out["authentication"] =
                json!({"type": "sas", "symmetricKey": {"primaryKey": primary, "secondaryKey": secondary}});
            Ok(())
        }
        _ => Err("primary_key and secondary_key come together".into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hub::Dice;

    fn planted(text: &str) -> Result<Hub, String> {
        let mut hub = Hub::new(Dice::new([4; 32]), jiff::SignedDuration::ZERO);
        plant_text(&mut hub, text, Timestamp::UNIX_EPOCH).map(|()| hub)
    }

    #[test]
    fn a_fleet_by_example() {
        let hub = planted(
            "[[device]]\nid = \"gateway\"\nedge = true\n[[device.module]]\nid = \"work\"\ndesired = { a = 1 }\n\
             [[device]]\nid = \"leaf-{n}\"\ncount = 3\nfirst = 7\nparent = \"gateway\"\ntags = { site = \"m1\" }\n",
        )
        .expect("planted");
        assert_eq!(hub.list_devices(None).len(), 4);
        let scope = hub.device("gateway").expect("there").body["deviceScope"].clone();
        let leaf = hub.twin(&Id::device("leaf-9")).expect("there");
        assert_eq!((&leaf["deviceScope"], &leaf["tags"]["site"]), (&scope, &json!("m1")));
        let module = hub.twin(&Id::module("gateway", "work")).expect("there");
        assert_eq!(module["properties"]["desired"]["a"], 1);
    }

    #[test]
    fn mistakes_are_named_with_their_line() {
        for (text, said) in [
            ("[[device]]\nid = \"a\"\ncolour = 1\n", "line 3"),
            ("\n[[device]]\nid = \"a\"\ncount = 2\n", "line 2: 'a' names 2 devices; put {n}"),
            ("[[device]]\nid = \"a\"\n\n[[device]]\nid = \"b\"\nparent = \"a\"\n", "line 4: 'a' is no edge device"),
            ("[[device]]\nid = \"a b\"\n", "line 1: "),
            ("[[device]]\nid = \"a\"\nprimary_key = \"x\"\n", "come together"),
            ("[[device]]\nid = \"a\"\n[[device]]\nid = \"a\"\n", "line 3: 'a' stands in the file twice"),
            ("[[device]]\nid = \"a\"\ntags = { \"x.y\" = 1 }\n", "line 1: 'a' is there, without its twin: "),
        ] {
            let error = planted(text).expect_err("refused");
            assert!(error.contains(said), "{text}: {error}");
        }
    }
}
