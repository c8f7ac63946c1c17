//! Query conditions that demand certain tags and nothing else: those a device can be made to fit, and judged by without a query.

use ha_wire::Map;
use serde_json::Value;

/// Tags that must have certain values, as in `tags.site = 'm1' AND tags.line.press = 'a'`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct TagCondition {
    demands: Vec<Demand>,
}

#[derive(Clone, PartialEq, Eq, Debug)]
struct Demand {
    path: Vec<String>,
    value: String,
}

impl TagCondition {
    /// Reads a condition; `None`: it demands something else too.
    pub fn read(condition: &str) -> Option<Self> {
        let mut rest = condition.trim();
        let mut demands = Vec::new();
        loop {
            let (demand, after) = demand(rest)?;
            demands.push(demand);
            rest = after.trim_start();
            if rest.is_empty() {
                return Some(Self { demands });
            }
            let (word, after) = rest.split_at_checked(3)?;
            if !word.eq_ignore_ascii_case("and") || !after.starts_with(char::is_whitespace) {
                return None;
            }
            rest = after.trim_start();
        }
    }

    /// Whether a device with these tags fits.
    pub fn fits(&self, tags: &Map) -> bool {
        self.demands.iter().all(|demand| {
            let first = tags.get(&demand.path[0]);
            let found = demand.path[1..].iter().try_fold(first, |at, name| Some(at?.get(name))).flatten();
            found.and_then(Value::as_str) == Some(&demand.value)
        })
    }

    /// The change to tags that makes a device fit.
    pub fn patch(&self) -> Map {
        let mut patch = Map::new();
        for demand in &self.demands {
            ha_wire::twin::merge(&mut patch, &nested(&demand.path, Value::String(demand.value.clone())));
        }
        patch
    }

    /// The change to tags that makes a device fit no more: the last tag that is demanded is removed.
    pub fn removal(&self) -> Map {
        self.demands.last().map(|demand| nested(&demand.path, Value::Null)).unwrap_or_default()
    }
}

/// `tags.a.b = 'value'` at the beginning of `text`, and what follows.
fn demand(text: &str) -> Option<(Demand, &str)> {
    let (path, rest) = text.split_once('=')?;
    let mut names = path.trim().split('.').map(str::to_owned);
    if names.next()? != "tags" {
        return None;
    }
    let path: Vec<String> = names.collect();
    let plain = |name: &String| !name.is_empty() && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
    if path.is_empty() || !path.iter().all(plain) {
        return None;
    }
    let (value, rest) = rest.trim_start().strip_prefix('\'')?.split_once('\'')?;
    // A doubled quote is one within the text, which nobody's tag needs.
    if rest.starts_with('\'') { None } else { Some((Demand { path, value: value.to_owned() }, rest)) }
}

fn nested(path: &[String], value: Value) -> Map {
    let (first, rest) = path.split_first().expect("a path has a name at least");
    let value = if rest.is_empty() { value } else { Value::Object(nested(rest, value)) };
    Map::from_iter([(first.clone(), value)])
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn map(value: Value) -> Map {
        value.as_object().expect("an object").clone()
    }

    #[test]
    fn a_device_is_made_to_fit_and_not_to_fit() {
        let condition = TagCondition::read("tags.site = 'm1' AND tags.line.press='a and b'").expect("tags alone");
        let patch = condition.patch();
        assert_eq!(patch, map(json!({ "site": "m1", "line": { "press": "a and b" } })));
        let mut tags = map(json!({ "other": 1, "line": { "oven": "x" } }));
        assert!(!condition.fits(&tags));
        ha_wire::twin::merge(&mut tags, &patch);
        assert!(condition.fits(&tags));
        ha_wire::twin::merge(&mut tags, &condition.removal());
        assert!(!condition.fits(&tags));
        assert_eq!(Value::Object(tags), json!({ "other": 1, "line": { "oven": "x" }, "site": "m1" }));
    }

    #[test]
    fn conditions_that_demand_anything_else_are_not_read() {
        for condition in [
            "",
            "tags.a = 'x' OR tags.b = 'y'",
            "tags.a != 'x'",
            "tags.a >= 'x'",
            "NOT tags.a = 'x'",
            "tags.a = 1",
            "tags = 'x'",
            "tags.a = 'x' AND",
            "tags.a = 'x' ANDtags.b = 'y'",
            "tags.a = 'it''s'",
            "properties.reported.a = 'x'",
            "(tags.a = 'x')",
            "tags.a = 'x' é",
        ] {
            assert_eq!(TagCondition::read(condition), None, "{condition}");
        }
    }
}
