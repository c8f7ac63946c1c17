use serde_json::Value;

/// The first value outside the range that the schema gives for it: where, what, and what would do.
pub(super) fn outside(value: &Value, schema: &Value) -> Option<(String, String)> {
    find(value, schema, schema, "")
}

fn find(value: &Value, part: &Value, schema: &Value, path: &str) -> Option<(String, String)> {
    let part = part["$ref"].as_str().and_then(|place| schema.pointer(place.strip_prefix('#')?)).unwrap_or(part);
    match value {
        Value::Object(fields) => fields.iter().find_map(|(key, value)| {
            let dot = if path.is_empty() { "" } else { "." };
            find(value, &part["properties"][key], schema, &format!("{path}{dot}{key}"))
        }),
        Value::Array(items) => items.iter().find_map(|item| find(item, &part["items"], schema, path)),
        Value::Number(number) => {
            let (number, min, max) = (number.as_u64()?, part["minimum"].as_u64(), part["maximum"].as_u64());
            let within = min.is_none_or(|min| min <= number) && max.is_none_or(|max| number <= max);
            let range = match (min.unwrap_or(0), max) {
                (min, Some(max)) => format!("{min}..={max}"),
                (min, None) => format!("{min}.."),
            };
            (!within).then(|| (format!("{path} = {number}"), range))
        }
        _ => None,
    }
}
