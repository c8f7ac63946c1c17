//! Fleets written down: a seed file in TOML or YAML, and the service's own import and export format.

mod file;
mod transfer;

use std::collections::BTreeSet;
use std::path::Path;

use jiff::Timestamp;
use serde_json::{Map, Value, json};

use crate::error::Error;
use crate::hub::{Hub, Id};

use file::{Entry, Format, ModuleEntry};
pub(crate) use transfer::{Import, LineError, export_without_keys};
pub use transfer::{export, import};

/// The most devices of one entry.
const COUNT_MAX: u32 = 100_000;

/// Makes the devices of a seed file; those that exist are left alone.
pub(crate) fn plant(hub: &mut Hub, path: &Path, now: Timestamp) -> Result<(), Error> {
    let text = std::fs::read_to_string(path).map_err(Error::read(path))?;
    let planted = plant_text(hub, Format::of(path), &text, now);
    planted.map_err(|reason| Error::Option(format!("{}: {reason}", path.display())))
}

fn plant_text(hub: &mut Hub, format: Format, text: &str, now: Timestamp) -> Result<(), String> {
    let mut named = BTreeSet::new();
    for (line, entry) in &file::read(format, text)? {
        plant_entry(hub, entry, &mut named, now).map_err(|reason| format!("line {line}: {reason}"))?;
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

    const FLEET: &str = "[[device]]\nid = \"gateway\"\nedge = true\n[[device.module]]\nid = \"work\"\ndesired = { a = 1 }\n\
        [[device]]\nid = \"leaf-{n}\"\ncount = 3\nfirst = 7\nparent = \"gateway\"\ntags = { on = \"no\", r = 1.0, site = \"m1\" }\n";
    const SAME_FLEET: &str = "device:\n  - id: gateway\n    edge: true\n    module:\n      - id: work\n        desired: {a: 1}\n  \
        - id: leaf-{n}\n    count: 3\n    first: 7\n    parent: gateway\n    tags:\n      on: no\n      r: 1.0\n      site: m1\n";

    fn planted(format: Format, text: &str) -> Result<Hub, String> {
        let mut hub = Hub::new(Dice::new([4; 32]), jiff::SignedDuration::ZERO);
        plant_text(&mut hub, format, text, Timestamp::UNIX_EPOCH).map(|()| hub)
    }

    #[test]
    fn a_fleet_by_example() {
        let hub = planted(Format::Toml, FLEET).expect("planted");
        assert_eq!(hub.list_devices(None).len(), 4);
        let scope = hub.device("gateway").expect("there").body["deviceScope"].clone();
        let leaf = hub.twin(&Id::device("leaf-9")).expect("there");
        assert_eq!((&leaf["deviceScope"], &leaf["tags"]["site"]), (&scope, &json!("m1")));
        let module = hub.twin(&Id::module("gateway", "work")).expect("there");
        assert_eq!(module["properties"]["desired"]["a"], 1);
    }

    #[test]
    fn yaml_makes_the_same_fleet() {
        let exported = |format, text| export(&planted(format, text).expect("planted"));
        assert_eq!(exported(Format::Yaml, SAME_FLEET), exported(Format::Toml, FLEET));
        for (name, format) in
            [("a.yaml", Format::Yaml), ("a.YML", Format::Yaml), ("a.toml", Format::Toml), ("a", Format::Toml)]
        {
            assert_eq!(Format::of(Path::new(name)), format, "{name}");
        }
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
            let error = planted(Format::Toml, text).expect_err("refused");
            assert!(error.contains(said), "{text}: {error}");
        }
    }

    #[test]
    fn mistakes_in_yaml_are_named_with_their_line() {
        for (text, said) in [
            ("device:\n  - id: a\n    colour: 1\n", "line 3"),
            ("devices:\n  - id: a\n", "line 1"),
            ("device:\n  - id: a\n    edge: yes\n", "line 3"),
            ("device:\n  - id: a\n   edge: true\n", "line 3"),
            ("device:\n\n  - id: a\n    count: 2\n", "line 3: 'a' names 2 devices; put {n}"),
            ("device: [{id: a},\n  {id: b, parent: a}]\n", "line 2: 'a' is no edge device"),
            ("device:\n  - id: a\n    tags: {site: a, site: b}\n", "line 3"),
        ] {
            let error = planted(Format::Yaml, text).expect_err("refused");
            assert!(error.contains(said), "{text}: {error}");
        }
    }
}
