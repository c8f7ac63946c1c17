//! edgeHub's routes: `FROM <source> [WHERE <condition>] INTO <sink>`.

mod passing;

use std::time::Duration;

use ha_condition::{Condition, Verdict};
use serde_json::Value;

pub(super) use self::passing::Passing;

/// Where a message goes.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Sink {
    Upstream,
    Input { module: String, input: String },
}

/// One route of the `$edgeHub` twin.
#[derive(Clone, Debug)]
pub(super) struct Route {
    source: Source,
    condition: Option<Condition>,
    pub(super) sink: Sink,
    /// 0 goes first; a route without one goes last.
    pub(super) priority: u8,
    pub(super) ttl: Option<Duration>,
}

#[derive(Clone, PartialEq, Eq, Debug)]
enum Source {
    Everything,
    Modules,
    Module(String),
    Output { module: String, output: String },
}

const PRIORITY_LAST: u8 = 10;

impl Route {
    /// Reads a route as it stands in the twin: a text, or an object with `route`, `priority`, `timeToLiveSecs`.
    pub(super) fn read(value: &Value) -> Result<Self, String> {
        match value {
            Value::String(text) => Self::parse(text),
            Value::Object(map) => {
                let text = map.get("route").and_then(Value::as_str).ok_or("`route` is missing")?;
                let mut route = Self::parse(text)?;
                if let Some(priority) = map.get("priority") {
                    let priority = priority.as_u64().filter(|n| *n <= 9).ok_or("priority is not 0 to 9")?;
                    route.priority = u8::try_from(priority).unwrap_or(PRIORITY_LAST);
                }
                if let Some(ttl) = map.get("timeToLiveSecs") {
                    route.ttl = Some(Duration::from_secs(ttl.as_u64().ok_or("timeToLiveSecs is no number")?));
                }
                Ok(route)
            }
            _ => Err("a route is a text or an object".to_owned()),
        }
    }

    fn parse(text: &str) -> Result<Self, String> {
        let text = text.trim();
        let rest = after_word(text, "FROM").ok_or("a route begins with FROM")?;
        let (source, rest) = rest.split_once(char::is_whitespace).ok_or("INTO is missing")?;
        let into = find_into(rest).ok_or("INTO is missing")?;
        let (middle, sink) = (rest[..into].trim(), rest[into + "INTO".len()..].trim());
        let condition = match middle {
            "" => None,
            middle => Some(read_condition(after_word(middle, "WHERE").ok_or("WHERE is missing")?)?),
        };
        let (source, sink) = (Source::parse(source)?, Sink::parse(sink)?);
        Ok(Self { source, condition, sink, priority: PRIORITY_LAST, ttl: None })
    }

    pub(super) fn takes(&self, message: &Passing<'_>) -> bool {
        let holds = |condition: &Condition| condition.ask(&message.subject()) == Verdict::True;
        self.source.takes(message) && self.condition.as_ref().is_none_or(holds)
    }
}

impl Source {
    fn parse(text: &str) -> Result<Self, String> {
        let parts: Vec<&str> = text.trim_matches('/').split('/').collect();
        Ok(match parts.as_slice() {
            ["*"] | ["messages", "*"] => Self::Everything,
            ["messages", "modules", "*"] => Self::Modules,
            ["messages", "modules", module, "*"] | ["messages", "modules", module, "outputs", "*"] => {
                Self::Module((*module).to_owned())
            }
            ["messages", "modules", module, "outputs", output] => {
                Self::Output { module: (*module).to_owned(), output: (*output).to_owned() }
            }
            _ => return Err(format!("the source {text:?} is not one that this edgeHub knows")),
        })
    }

    fn takes(&self, message: &Passing<'_>) -> bool {
        let from = message.from().module.as_deref();
        match self {
            Self::Everything => true,
            Self::Modules => from.is_some(),
            Self::Module(module) => from == Some(module),
            Self::Output { module, output } => from == Some(module) && message.output() == Some(output),
        }
    }
}

impl Sink {
    fn parse(text: &str) -> Result<Self, String> {
        if text.eq_ignore_ascii_case("$upstream") {
            return Ok(Self::Upstream);
        }
        let unknown = || format!("the sink {text:?} is neither $upstream nor BrokeredEndpoint(\"…\")");
        let name = "BrokeredEndpoint";
        let head = text.get(..name.len()).filter(|head| head.eq_ignore_ascii_case(name));
        let inner = head.map(|_| text[name.len()..].trim()).ok_or_else(unknown)?;
        let inner = inner.strip_prefix('(').and_then(|inner| inner.strip_suffix(')')).ok_or_else(unknown)?;
        let path = inner.trim().trim_matches(['"', '\'']);
        match path.trim_matches('/').split('/').collect::<Vec<_>>().as_slice() {
            ["modules", module, "inputs", input] => {
                Ok(Self::Input { module: (*module).to_owned(), input: (*input).to_owned() })
            }
            _ => Err(unknown()),
        }
    }
}

fn read_condition(text: &str) -> Result<Condition, String> {
    let condition = Condition::compile(text).map_err(|error| format!("condition: {error}"))?;
    if condition.needs_twin() {
        return Err("condition: $twin is IoT Hub's; edgeHub has no twin to ask".to_owned());
    }
    Ok(condition)
}

fn after_word<'a>(text: &'a str, word: &str) -> Option<&'a str> {
    let head = text.get(..word.len())?;
    let rest = &text[word.len()..];
    (head.eq_ignore_ascii_case(word) && rest.starts_with(char::is_whitespace)).then(|| rest.trim_start())
}

/// Where the last INTO outside of quotes begins.
fn find_into(text: &str) -> Option<usize> {
    let mut quote = None;
    let mut found = None;
    for (at, c) in text.char_indices() {
        match (quote, c) {
            (Some(open), c) if c == open => quote = None,
            (None, '\'' | '"') => quote = Some(c),
            (None, _) => {
                let before = text[..at].chars().next_back().is_none_or(char::is_whitespace);
                if before && after_word(&text[at..], "INTO").is_some() {
                    found = Some(at);
                }
            }
            _ => {}
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;
    use crate::id::Id;

    fn takes(route: &str, from: &Id, properties: &str, body: &str) -> bool {
        let properties = properties.parse().expect("properties");
        Route::read(&json!(route)).expect(route).takes(&Passing::new(from, &properties, body.as_bytes()))
    }

    #[test]
    fn routes_by_table() {
        let (module, leaf) = (Id::module("d", "press"), Id::device("leaf"));
        for (route, from, properties, expected) in [
            ("FROM /messages/* INTO $upstream", &module, "", true),
            ("FROM /* INTO $upstream", &leaf, "", true),
            ("from /messages/modules/* into $upstream", &leaf, "", false),
            ("FROM /messages/modules/press/* INTO $upstream", &module, "", true),
            ("FROM /messages/modules/other/* INTO $upstream", &module, "", false),
            ("FROM /messages/modules/press/outputs/hot INTO $upstream", &module, "%24.on=hot", true),
            ("FROM /messages/modules/press/outputs/hot INTO $upstream", &module, "%24.on=cold", false),
            ("FROM /messages/* WHERE NOT IS_DEFINED($connectionModuleId) INTO $upstream", &leaf, "", true),
            ("FROM /messages/* WHERE NOT IS_DEFINED($connectionModuleId) INTO $upstream", &module, "", false),
            (
                "FROM /messages/* WHERE kind = 'a INTO b' AND as_number(level) * 2 > 5 INTO $upstream",
                &module,
                "kind=a%20INTO%20b&level=3",
                true,
            ),
            ("FROM /messages/* WHERE kind = 'x' OR (level >= '3') INTO $upstream", &module, "level=2", false),
            ("FROM /messages/* WHERE level > 2 INTO $upstream", &module, "level=3", false),
            ("FROM /messages/* WHERE starts_with(KIND, 'pre') INTO $upstream", &module, "kind=press", true),
            ("FROM /messages/* WHERE $connectionModuleId = 'press' INTO $upstream", &module, "", true),
            ("FROM /messages/* WHERE $messageId = 'x' INTO $upstream", &module, "%24.mid=x", true),
            ("FROM /messages/* WHERE bare = '' INTO $upstream", &module, "bare", true),
        ] {
            assert_eq!(takes(route, from, properties, "{}"), expected, "{route} {properties}");
        }
        let body = "{\"temperature\": 21.5, \"machine\": {\"name\": \"p1\"}}";
        let by_body = "FROM /messages/* WHERE $body.temperature > 20 AND $body.machine.name <> 'p2' INTO $upstream";
        let as_json = "%24.ct=application%2Fjson&%24.ce=utf-8";
        assert!(takes(by_body, &module, as_json, body));
        assert!(!takes(by_body, &module, as_json, "not json"));
        assert!(!takes(by_body, &module, "%24.ct=application%2Fjson", body), "the encoding is not named");
    }

    #[test]
    fn objects_carry_priority_and_ttl() {
        let route = json!({"route": "FROM /* INTO BrokeredEndpoint(\"/modules/y/inputs/i\")", "priority": 0, "timeToLiveSecs": 9});
        let route = Route::read(&route).expect("a route");
        assert_eq!(route.sink, Sink::Input { module: "y".into(), input: "i".into() });
        assert_eq!((route.priority, route.ttl), (0, Some(Duration::from_secs(9))));
    }

    #[test]
    fn what_is_no_route_is_refused() {
        for (route, reason) in [
            (json!("INTO $upstream"), "FROM"),
            (json!("FROM /messages/*"), "INTO"),
            (json!("FROM /messages/* INTO nowhere"), "nowhere"),
            (json!("FROM /elsewhere INTO $upstream"), "/elsewhere"),
            (json!("FROM /messages/* WHERE a = INTO $upstream"), "condition: a value is expected (line 1, column 4)"),
            (json!("FROM /messages/* WHERE $twin.tags.a = 1 INTO $upstream"), "edgeHub has no twin"),
            (json!({"route": "FROM /* INTO $upstream", "priority": 10}), "priority"),
            (json!(7), "a text or an object"),
        ] {
            let error = Route::read(&route).expect_err(&route.to_string());
            assert!(error.contains(reason), "{route}: {error}");
        }
    }

    proptest! {
        #[test]
        fn no_sequence_of_pieces_panics(
            pieces in prop::collection::vec(prop::sample::select(vec![
                "FROM", "from ", "/messages/*", "/messages/modules/m/outputs/o", " WHERE ", " INTO ", "$upstream", "'", "\"", "é", "\u{3000}",
                "BrokeredEndpoint", "(", ")", "/modules/m/inputs/i", "a = 1", "AND", "/", " ",
            ]), 0..16),
        ) {
            let text = pieces.concat();
            let plain = Route::read(&json!(text)).map(|route| route.sink);
            let rich = Route::read(&json!({"route": text, "priority": 9})).map(|route| route.sink);
            prop_assert_eq!(plain, rich);
        }
    }
}
