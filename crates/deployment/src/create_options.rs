//! A container's create options: JSON in a text, which long texts bring in pieces.

use serde_json::{Map, Value};

const KEY: &str = "createOptions";
const PIECES_MAX: usize = 100;

/// Create options with their pieces joined.
#[derive(Clone, PartialEq, Debug)]
pub(crate) struct CreateOptions(pub(crate) Map<String, Value>);

/// What is wrong with them.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Bad {
    /// Which piece.
    pub(crate) key: String,
    /// Why.
    pub(crate) reason: String,
}

impl CreateOptions {
    /// Joins `createOptions`, `createOptions01`, … of a module's settings; none and an empty text are no options.
    pub(crate) fn read(settings: &Map<String, Value>) -> Result<Self, Bad> {
        let joined = join(settings)?;
        if joined.trim().is_empty() {
            return Ok(Self(Map::new()));
        }
        match serde_json::from_str(&joined) {
            Ok(Value::Object(options)) => Ok(Self(options)),
            Ok(_) => Err(Bad { key: KEY.into(), reason: "the text holds JSON, but no object".into() }),
            Err(err) => Err(Bad { key: KEY.into(), reason: format!("the text is no JSON: {err}") }),
        }
    }
}

/// Whether it is the key of a piece.
pub(crate) fn is_piece(key: &str) -> bool {
    rest(key).is_some()
}

/// The texts of all pieces, in their order.
pub(crate) fn join(settings: &Map<String, Value>) -> Result<String, Bad> {
    let mut pieces = Vec::new();
    for (key, value) in settings {
        let Some(rest) = rest(key) else { continue };
        let number = if rest.is_empty() { Some(0) } else { rest.parse::<usize>().ok().filter(|n| *n < PIECES_MAX) };
        let bad = |reason: &str| Bad { key: key.clone(), reason: reason.into() };
        let number = number.ok_or_else(|| bad("pieces go from createOptions01 to createOptions99"))?;
        let text = value.as_str().ok_or_else(|| bad("expected a text"))?;
        pieces.push((number, key, text));
    }
    pieces.sort();
    for (expected, (number, key, _)) in pieces.iter().enumerate() {
        if *number != expected {
            let reason = format!("piece {expected} is missing, or there twice");
            return Err(Bad { key: (*key).clone(), reason });
        }
    }
    Ok(pieces.into_iter().map(|(_, _, text)| text).collect())
}

/// Old tools wrote a small `o`.
fn rest(key: &str) -> Option<&str> {
    let rest = key.strip_prefix(KEY).or_else(|| key.strip_prefix("createoptions"))?;
    rest.bytes().all(|b| b.is_ascii_digit()).then_some(rest)
}
