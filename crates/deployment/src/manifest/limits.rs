//! What the hub takes in a twin (Microsoft docs: understand module twins, tags and properties format).

use serde_json::{Map, Value};

use super::Sections;
use super::claim::{self, Claim};
use crate::error::Problem;

const DEPTH_MAX: usize = ha_wire::twin::DEPTH_MAX;
const TEXT_BYTES_MAX: usize = 4_096;
const NUMBER_MAX: i64 = (1 << 52) - 1;

/// What in the content no twin can hold.
pub(super) fn check(claims: &[Claim]) -> Vec<Problem> {
    let mut problems = Vec::new();
    for (module, section) in claim::settle_all(&Sections::new(), claims) {
        let mut path = vec!["modulesContent".to_owned(), module, claim::ROOT.to_owned()];
        let bytes = size_of_map(&section);
        if bytes > ha_wire::twin::SECTION_BYTES_MAX {
            problems.push(Problem {
                path: claim::pointer_of(&path, claims),
                reason: format!("takes {bytes} of at most {} bytes", ha_wire::twin::SECTION_BYTES_MAX),
                hint: "shorten it, or let the module fetch what is large",
            });
        }
        walk_map(&section, &mut path, &mut |path, (reason, hint)| {
            problems.push(Problem { path: claim::pointer_of(path, claims), reason, hint });
        });
    }
    problems
}

type Fault = (String, &'static str);

fn walk_map(map: &Map<String, Value>, path: &mut Vec<String>, note: &mut impl FnMut(&[String], Fault)) {
    for (key, value) in map {
        path.push(key.clone());
        let odd = |c: char| c.is_control() || matches!(c, '.' | '$' | '#' | ' ');
        if key.is_empty() || key.contains(odd) {
            note(path, ("a name in a twin has no . $ # blank or control character".into(), "rename it"));
        }
        // The module and the root come before the first level.
        if path.len() - 3 > DEPTH_MAX {
            note(path, (format!("deeper than {DEPTH_MAX} levels"), "flatten it, or put it into a text"));
        } else {
            walk(value, path, note);
        }
        path.pop();
    }
}

fn walk(value: &Value, path: &mut Vec<String>, note: &mut impl FnMut(&[String], Fault)) {
    match value {
        Value::Object(map) => walk_map(map, path, note),
        Value::String(text) if text.len() > TEXT_BYTES_MAX => {
            let reason = format!("a text of {} bytes, a twin holds at most {TEXT_BYTES_MAX}", text.len());
            note(path, (reason, "go on in createOptions01, createOptions02, … of 512 characters each"));
        }
        Value::Number(number)
            if number.as_i64().is_some_and(|n| n.abs() > NUMBER_MAX) || number.is_u64() && !number.is_i64() =>
        {
            note(path, ("a number outside ±(2^52−1)".into(), "write it as a text"));
        }
        _ => {}
    }
}

/// As the hub counts: names and texts by their bytes, numbers 8, booleans 4.
fn size_of_map(map: &Map<String, Value>) -> usize {
    map.iter().map(|(key, value)| key.len() + size(value)).sum()
}

fn size(value: &Value) -> usize {
    match value {
        Value::Null => 0,
        Value::Bool(_) => 4,
        Value::Number(_) => 8,
        Value::String(text) => text.len(),
        Value::Array(entries) => entries.iter().map(size).sum(),
        Value::Object(map) => size_of_map(map),
    }
}
