//! The configuration page, from the schema.

use std::fmt::Write;

use serde_json::Value;

pub(super) const CONTROLLER: &str = "\
# Configuration

Generated from the schema by `cargo xtask docs`; do not edit. The schema itself is [config.schema.json](config.schema.json).

One TOML file. `IOTEDGE_HA_` and a key in capitals, its dots as underscores, overrides a value outside the pools; \
`iotedge-ha config show` prints the result and where each value came from. Unknown keys, bad values and unsafe timings are refused.
";

pub(super) const AGENT: &str = "\
# Settings of the agent

Generated from the schema by `cargo xtask docs`; do not edit. The schema itself is [agent.schema.json](agent.schema.json).

One TOML file, named by `--config` or `HA_AGENT_CONFIG`; an agent that is told everything by its command line or environment \
([`iotedge-ha agent --help`](cli.md)) needs none. The command line wins over the environment, and that over the file. \
Unknown keys and bad values are refused.

The key `settings` of the agent's module twin, which the controller writes, may set `probe_interval_ms` (100 to 600000) and \
`leave_grace_ms` (0 to 600000), and nothing else: whoever can write a twin shall not be able to run commands.
";

/// A section with a table for each object of the schema, in the order in which they are met.
pub(super) fn page(opening: &str, schema: &Value) -> String {
    let mut page = opening.to_owned();
    let mut sections = vec![(String::new(), schema)];
    while !sections.is_empty() {
        let (name, object) = sections.remove(0);
        let found = section(&mut page, &name, object, schema);
        sections.splice(0..0, found);
    }
    page
}

/// Writes one section, and gives those that it holds.
fn section<'a>(page: &mut String, name: &str, object: &'a Value, schema: &'a Value) -> Vec<(String, &'a Value)> {
    let mut rows = String::new();
    let mut inner = Vec::new();
    let required: Vec<_> = object["required"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
    for (key, property) in object["properties"].as_object().into_iter().flatten() {
        let key_path = if name.is_empty() { key.clone() } else { format!("{name}.{key}") };
        let target = resolved(property, schema);
        let items = resolved(&target["items"], schema);
        if target.get("properties").is_some() {
            inner.push((key_path, target));
        } else if items.get("properties").is_some() {
            inner.push((format!("{key_path}[]"), items));
        } else {
            let about = property["description"].as_str().or(target["description"].as_str()).unwrap_or_default();
            let must = if required.contains(&key.as_str()) { " Required." } else { "" };
            let default = default(property);
            row(&mut rows, key, &kind(target), &format!("{}{must}{default}", about.replace('\n', " ")));
        }
    }
    if !rows.is_empty() {
        let title = title(name);
        let about = object["description"].as_str().unwrap_or_default().replace('\n', " ");
        // Writing to a string cannot fail.
        let _ = write!(page, "\n## {title}\n\n{about}\n\n| key | type | meaning |\n| --- | --- | --- |\n{rows}");
    }
    inner
}

/// Says what holds when the key is left out, if the schema knows and it says something.
fn default(property: &Value) -> String {
    match &property["default"] {
        Value::Null => String::new(),
        Value::Array(items) if items.is_empty() => String::new(),
        Value::String(text) => format!(" Default: `{text}`."),
        value => format!(" Default: {value}."),
    }
}

fn row(rows: &mut String, key: &str, kind: &str, about: &str) {
    let about = about.replace('|', "\\|");
    let _ = writeln!(rows, "| `{key}` | {kind} | {about} |");
}

/// As the section is written in TOML: a list if its last part is one.
fn title(name: &str) -> String {
    let path = name.replace("[]", "");
    match name {
        "" => "At the top of the file".to_owned(),
        list if list.ends_with("[]") => format!("`[[{path}]]`"),
        _ => format!("`[{path}]`"),
    }
}

fn resolved<'a>(property: &'a Value, schema: &'a Value) -> &'a Value {
    let place = ["", "/allOf/0", "/anyOf/0"].iter().find_map(|at| property.pointer(&format!("{at}/$ref"))?.as_str());
    let target = place.and_then(|place| schema.pointer(place.strip_prefix('#')?));
    target.unwrap_or(property)
}

fn kind(property: &Value) -> String {
    let word = |name: &str| match name {
        "integer" => "number".to_owned(),
        "string" => "text".to_owned(),
        "array" => "list".to_owned(),
        "boolean" => "true or false".to_owned(),
        other => other.to_owned(),
    };
    let base = match &property["type"] {
        _ if property.get("enum").is_some() || property.get("oneOf").is_some() => "text".to_owned(),
        Value::String(name) => word(name),
        Value::Array(names) => {
            let names = names.iter().filter_map(Value::as_str).filter(|name| *name != "null");
            names.map(word).collect::<Vec<_>>().join(" or ")
        }
        _ => "any".to_owned(),
    };
    match (property["minimum"].as_u64(), property["maximum"].as_u64()) {
        (Some(min), Some(max)) => format!("{base}, {min} to {max}"),
        (None, Some(max)) => format!("{base}, at most {max}"),
        (Some(min), None) if min > 0 => format!("{base}, at least {min}"),
        _ => base,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn sections_follow_the_schema() {
        let schema = json!({
            "properties": {
                "hub": { "$ref": "#/$defs/Hub" },
                "pool": { "type": "array", "items": { "$ref": "#/$defs/Pool" } },
            },
            "$defs": {
                "Hub": { "description": "The hub.", "properties": {
                    "units": { "type": ["integer", "null"], "minimum": 1, "maximum": 200, "description": "How many.", "default": 1 },
                } },
                "Pool": { "description": "A pool.", "required": ["name"], "properties": {
                    "name": { "type": "string", "description": "Its name." },
                    "timings": { "$ref": "#/$defs/Hub" },
                    "routing": { "anyOf": [{ "$ref": "#/$defs/Routing" }, { "type": "null" }] },
                } },
                "Routing": { "properties": {
                    "route": { "type": "array", "items": { "$ref": "#/$defs/Hub" } },
                    "mode": { "type": "string" },
                } },
            },
        });
        let page = page("", &schema);
        let sections: Vec<_> = page.lines().filter(|line| line.starts_with("## ")).collect();
        let expected = [
            "## `[hub]`",
            "## `[[pool]]`",
            "## `[pool.timings]`",
            "## `[pool.routing]`",
            "## `[[pool.routing.route]]`",
        ];
        assert_eq!(sections, expected);
        assert!(page.contains("| `units` | number, 1 to 200 | How many. Default: 1. |"), "{page}");
        assert!(page.contains("| `name` | text | Its name. Required. |"), "{page}");
    }
}
