use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;

fn text(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
    pairs.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect()
}

struct World {
    application: Vec<(String, String)>,
    system: Vec<(String, String)>,
    body: Value,
    twin: Value,
}

impl World {
    fn new() -> Self {
        Self {
            application: text(&[
                ("severity", "high"),
                ("level", "3"),
                ("ha.role", "active"),
                ("op-Type", "x"),
                ("empty", ""),
            ]),
            system: text(&[
                ("contentType", "application/json"),
                ("iothub-connection-device-id", "edge-a"),
                ("iothub-enqueuedtime", "2026-01-01T00:00:00Z"),
            ]),
            body: json!({"Weather": {"T": 50, "H": [{"m": "Feb"}, 7]}, "ok": true, "none": null, "n-m": 1, "s": "3"}),
            twin: json!({"tags": {"Ha": {"role": "active", "epoch": 7}}, "properties": {
                "desired": {"mode": "run", "$version": 4}, "reported": {"load": 0.5}}}),
        }
    }

    fn subject(&self) -> Subject<'_> {
        Subject { application: &self.application, system: &self.system, body: Some(&self.body), twin: Some(&self.twin) }
    }

    fn ask(&self, condition: &str) -> Verdict {
        let compiled = Condition::compile(condition).unwrap_or_else(|e| panic!("{condition}: {e}"));
        compiled.ask(&self.subject())
    }
}

const TABLE: &[(&str, Verdict)] = &[
    ("true", Verdict::True),
    ("false", Verdict::False),
    ("'true'", Verdict::Undefined),
    ("severity = 'high' AND as_number(level) > 2", Verdict::True),
    ("SEVERITY = 'high'", Verdict::True),
    ("severity = 'HIGH'", Verdict::False),
    ("severity <> \"low\"", Verdict::True),
    ("level > 2", Verdict::Undefined),
    ("level = 3", Verdict::Undefined),
    ("missing = 'x'", Verdict::Undefined),
    ("NOT missing = 'x'", Verdict::Undefined),
    ("missing = 'x' OR true", Verdict::True),
    ("missing = 'x' AND false", Verdict::False),
    ("missing = 'x' OR false", Verdict::Undefined),
    ("ha.role = 'active'", Verdict::True),
    ("op-type = 'x'", Verdict::True),
    ("{severity} = 'high' and {$body} = 'x'", Verdict::Undefined),
    ("is_defined(missing)", Verdict::False),
    ("not is_defined(missing)", Verdict::True),
    ("$connectionDeviceId = 'edge-a'", Verdict::True),
    ("$connectiondeviceid = 'edge-a'", Verdict::True),
    ("$iothub-connection-device-id = 'edge-a'", Verdict::True),
    ("$contentType = 'application/json'", Verdict::True),
    ("starts_with($enqueuedTime, '2026')", Verdict::True),
    ("$body.Weather.T > 49", Verdict::True),
    ("$body.weather.T > 49", Verdict::Undefined),
    ("$body.Weather.H[0].m = 'Feb'", Verdict::True),
    ("$body.Weather.H[1] = 7", Verdict::True),
    ("$body.Weather.H[2] = 7", Verdict::Undefined),
    ("$body.n-m = 1 AND $body.Weather.T-1 = 49", Verdict::True),
    ("$body['n-m'] = 1", Verdict::True),
    ("$body.ok", Verdict::True),
    ("$body.none = null", Verdict::True),
    ("$body.none = 1", Verdict::Undefined),
    ("is_null($body.none) AND is_primitive($body.none)", Verdict::True),
    ("is_object($body.Weather) AND is_array($body.Weather.H) AND NOT is_primitive($body.Weather)", Verdict::True),
    ("$body.Weather = $body.Weather", Verdict::Undefined),
    ("$twin.tags.ha.role = 'active'", Verdict::True),
    ("$twin.tags.HA.EPOCH >= 7", Verdict::True),
    ("$twin.properties.desired.mode IN ['stop', 'run']", Verdict::True),
    ("$twin.properties.desired.mode NIN ['stop']", Verdict::True),
    ("$twin.properties.desired.$version = 4", Verdict::True),
    ("$twin.properties.reported.load * 2 = 1", Verdict::True),
    ("1 + 2 * 3 = 7 AND (1 + 2) * 3 = 9 AND 7 % 4 = 3 AND -2 - -2 = 0", Verdict::True),
    ("1 / 0 = 1", Verdict::Undefined),
    ("1 < 2 AND 2 <= 2 AND 'a' < 'b' AND 0x10 = 16 AND 1.5e1 = 15", Verdict::True),
    ("true < false", Verdict::Undefined),
    ("abs(-1) = 1 AND exp(0) = 1 AND power(2, 3) = 8 AND square(3) = 9 AND sqrt(16) = 4", Verdict::True),
    ("ceiling(1.2) = 2 AND floor(1.8) = 1 AND sign(-3) = -1 AND sign(0) = 0", Verdict::True),
    ("sqrt(-1) = 0", Verdict::Undefined),
    ("is_number(as_number('1.5')) AND as_number(2) = 2", Verdict::True),
    ("as_number('x') = 1", Verdict::Undefined),
    ("is_bool(true) AND is_string('') AND NOT is_string(1) AND NOT is_number('1')", Verdict::True),
    ("concat('a', 'b', 'c') = 'abc' AND length('äb') = 2 AND lower('AB') = 'ab' AND upper('ab') = 'AB'", Verdict::True),
    ("substring('hello', 1, 3) = 'ell' AND substring('hello', 3) = 'lo' AND substring('hi', 9) = ''", Verdict::True),
    ("index_of('hello', 'l') = 2 AND index_of('hello', 'z') = -1", Verdict::True),
    ("STARTS_WITH(severity, 'hi') AND ends_with(severity, 'gh') AND contains(severity, 'ig')", Verdict::True),
    ("length(1) = 1", Verdict::Undefined),
    ("'it''s' = 'it\\'s' AND '\\u0041' = 'A'", Verdict::True),
    ("empty = ''", Verdict::True),
    ("null = null", Verdict::True),
    ("undefined = undefined", Verdict::Undefined),
];

#[test]
fn conditions_by_table() {
    let world = World::new();
    for (condition, verdict) in TABLE {
        assert_eq!(world.ask(condition), *verdict, "{condition}");
    }
}

#[test]
fn without_body_or_twin_what_asks_for_them_is_undefined() {
    let subject = Subject { application: &[], system: &[], body: None, twin: None };
    for condition in ["$body.a = 1", "$twin.tags.a = 1", "$twin.properties.reported.a = 1", "$nothing = 'x'"] {
        let compiled = Condition::compile(condition).expect("compiles");
        assert_eq!(compiled.ask(&subject), Verdict::Undefined, "{condition}");
    }
}

#[test]
fn errors_say_what_and_where() {
    for (condition, expected) in [
        ("", "an expression is expected (line 1, column 1)"),
        ("a = ", "a value is expected (line 1, column 5)"),
        ("a = 1 b", "an operator or the end is expected (line 1, column 7)"),
        ("a = 'x", "a string is not closed (line 1, column 5)"),
        ("true AND\n  foo(1)", "there is no function 'foo' (line 2, column 3)"),
        ("power(1)", "power takes 2 arguments (line 1, column 1)"),
        ("$body = 1", "'.' and a name are expected: only what is inside can be asked about (line 1, column 7)"),
        ("$twin.etag = 1", "'tags' or 'properties' is expected (line 1, column 7)"),
        ("$twin.properties.x = 1", "'desired' or 'reported' is expected (line 1, column 18)"),
        ("(a = 1", "')' is expected (line 1, column 7)"),
        ("a == 1", "a value is expected (line 1, column 4)"),
        ("a ~ 1", "unexpected character (line 1, column 3)"),
        ("1x = 1", "not a number (line 1, column 1)"),
    ] {
        let error = Condition::compile(condition).expect_err(condition);
        assert_eq!(error.to_string(), expected, "{condition}");
    }
    let error = Condition::compile("severity = 'high' AN level").expect_err("refused");
    assert_eq!((error.start.column, error.end.column), (19, 21));
}

#[test]
fn depth_and_length_are_bounded() {
    let deep = format!("{}true{}", "(".repeat(65), ")".repeat(65));
    assert!(Condition::compile(&deep).expect_err("too deep").message.contains("nest at most 64 deep"));
    let minus = format!("1 = {}1", "-".repeat(65));
    assert!(Condition::compile(&minus).is_err());
    let sum = format!("1{} = 1", " + 1".repeat(129));
    assert!(Condition::compile(&sum).expect_err("too many").message.contains("at most 128 arithmetic"));
    let long = "a ".repeat(CHARS_MAX);
    assert!(Condition::compile(&long).expect_err("too long").message.contains("at most 8192 characters"));
    let wide = format!("true{}", " AND true".repeat(900));
    assert_eq!(World::new().ask(&wide), Verdict::True);
}

/// A plain model of the language: a tree that prints itself, and answers from JSON values without any of the code above.
#[derive(Debug, Clone)]
enum Plain {
    Leaf(&'static str, Option<Value>),
    Not(Box<Plain>),
    Minus(Box<Plain>),
    Pair(Box<Plain>, &'static str, Box<Plain>),
    Call(&'static str, Vec<Plain>),
}

impl Plain {
    fn print(&self) -> String {
        match self {
            Self::Leaf(text, _) => (*text).to_owned(),
            Self::Not(inner) => format!("(NOT {})", inner.print()),
            Self::Minus(inner) => format!("(- {})", inner.print()),
            Self::Pair(left, sign, right) => format!("({} {sign} {})", left.print(), right.print()),
            Self::Call(name, arguments) => {
                format!("{name}({})", arguments.iter().map(Self::print).collect::<Vec<_>>().join(", "))
            }
        }
    }

    /// `None` is undefined.
    fn value(&self) -> Option<Value> {
        match self {
            Self::Leaf(_, value) => value.clone(),
            Self::Not(inner) => Some(json!(!inner.value()?.as_bool()?)),
            Self::Minus(inner) => Some(json!(-inner.value()?.as_f64()?)),
            Self::Pair(left, sign, right) => pair(left.value(), sign, right.value()),
            Self::Call(name, arguments) => call(name, &arguments.iter().map(Self::value).collect::<Vec<_>>()),
        }
    }
}

fn pair(left: Option<Value>, sign: &str, right: Option<Value>) -> Option<Value> {
    let bools = (left.as_ref().and_then(Value::as_bool), right.as_ref().and_then(Value::as_bool));
    match (sign, bools) {
        ("AND", (Some(false), _) | (_, Some(false))) => return Some(json!(false)),
        ("OR", (Some(true), _) | (_, Some(true))) => return Some(json!(true)),
        ("AND", (Some(_), Some(_))) => return Some(json!(true)),
        ("OR", (Some(_), Some(_))) => return Some(json!(false)),
        ("AND" | "OR", _) => return None,
        _ => {}
    }
    let (left, right) = (left?, right?);
    let numbers = (left.as_f64(), right.as_f64());
    if let (Some(l), Some(r)) = numbers {
        let number = |x: f64| x.is_finite().then(|| json!(x));
        return match sign {
            "=" => Some(json!(l == r)),
            "!=" => Some(json!(l != r)),
            "<" => Some(json!(l < r)),
            "<=" => Some(json!(l <= r)),
            ">" => Some(json!(l > r)),
            ">=" => Some(json!(l >= r)),
            "+" => number(l + r),
            "-" => number(l - r),
            "*" => number(l * r),
            "/" => number(l / r),
            _ => number(l % r),
        };
    }
    match (sign, &left, &right) {
        ("=", Value::Bool(l), Value::Bool(r)) => Some(json!(l == r)),
        ("!=", Value::Bool(l), Value::Bool(r)) => Some(json!(l != r)),
        ("=", Value::Null, Value::Null) => Some(json!(true)),
        ("!=", Value::Null, Value::Null) => Some(json!(false)),
        ("=", Value::String(l), Value::String(r)) => Some(json!(l == r)),
        ("!=", Value::String(l), Value::String(r)) => Some(json!(l != r)),
        ("<", Value::String(l), Value::String(r)) => Some(json!(l < r)),
        ("<=", Value::String(l), Value::String(r)) => Some(json!(l <= r)),
        (">", Value::String(l), Value::String(r)) => Some(json!(l > r)),
        (">=", Value::String(l), Value::String(r)) => Some(json!(l >= r)),
        _ => None,
    }
}

fn call(name: &str, arguments: &[Option<Value>]) -> Option<Value> {
    let first = arguments[0].as_ref();
    let text = |n: usize| arguments.get(n)?.as_ref()?.as_str();
    Some(match name {
        "is_defined" => json!(first.is_some()),
        "is_null" => json!(first.is_some_and(Value::is_null)),
        "is_string" => json!(first.is_some_and(Value::is_string)),
        "is_number" => json!(first.is_some_and(Value::is_number)),
        "is_bool" => json!(first.is_some_and(Value::is_boolean)),
        "is_object" => json!(first.is_some_and(Value::is_object)),
        "is_primitive" => json!(first.is_some_and(|v| !v.is_object() && !v.is_array())),
        "abs" => json!(first?.as_f64()?.abs()),
        "floor" => json!(first?.as_f64()?.floor()),
        "as_number" => match first? {
            Value::String(text) => json!(text.parse::<f64>().ok()?),
            Value::Number(n) => json!(n),
            _ => return None,
        },
        "lower" => json!(text(0)?.to_lowercase()),
        "length" => json!(text(0)?.len()),
        "concat" => json!(format!("{}{}", text(0)?, text(1)?)),
        "contains" => json!(text(0)?.contains(text(1)?)),
        _ => json!(text(0)?.starts_with(text(1)?)),
    })
}

fn plain() -> impl Strategy<Value = Plain> {
    let body = World::new().body;
    let leaves = vec![
        Plain::Leaf("severity", Some(json!("high"))),
        Plain::Leaf("LEVEL", Some(json!("3"))),
        Plain::Leaf("missing", None),
        Plain::Leaf("$connectionDeviceId", Some(json!("edge-a"))),
        Plain::Leaf("$body.Weather.T", Some(json!(50))),
        Plain::Leaf("$body.Weather", Some(body["Weather"].clone())),
        Plain::Leaf("$body.none", Some(Value::Null)),
        Plain::Leaf("$body.ok", Some(json!(true))),
        Plain::Leaf("$twin.tags.ha.epoch", Some(json!(7))),
        Plain::Leaf("$twin.tags.nothing", None),
        Plain::Leaf("true", Some(json!(true))),
        Plain::Leaf("false", Some(json!(false))),
        Plain::Leaf("null", Some(Value::Null)),
        Plain::Leaf("undefined", None),
        Plain::Leaf("0", Some(json!(0))),
        Plain::Leaf("7", Some(json!(7))),
        Plain::Leaf("2.5", Some(json!(2.5))),
        Plain::Leaf("'high'", Some(json!("high"))),
        Plain::Leaf("'h'", Some(json!("h"))),
    ];
    prop::sample::select(leaves).prop_recursive(5, 48, 2, |inner| {
        let sign = prop::sample::select(vec!["AND", "OR", "=", "!=", "<", "<=", ">", ">=", "+", "-", "*", "/", "%"]);
        let one = prop::sample::select(vec![
            "is_defined",
            "is_null",
            "is_string",
            "is_number",
            "is_bool",
            "is_object",
            "is_primitive",
            "abs",
            "floor",
            "as_number",
            "lower",
            "length",
        ]);
        let two = prop::sample::select(vec!["concat", "contains", "starts_with"]);
        prop_oneof![
            4 => (inner.clone(), sign, inner.clone()).prop_map(|(l, s, r)| Plain::Pair(Box::new(l), s, Box::new(r))),
            1 => inner.clone().prop_map(|i| Plain::Not(Box::new(i))),
            1 => inner.clone().prop_map(|i| Plain::Minus(Box::new(i))),
            1 => (one, inner.clone()).prop_map(|(name, i)| Plain::Call(name, vec![i])),
            1 => (two, inner.clone(), inner).prop_map(|(name, l, r)| Plain::Call(name, vec![l, r])),
        ]
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1024))]

    #[test]
    fn the_language_agrees_with_a_plain_model(expression in plain()) {
        let expected = match expression.value() {
            Some(Value::Bool(true)) => Verdict::True,
            Some(Value::Bool(false)) => Verdict::False,
            _ => Verdict::Undefined,
        };
        let text = expression.print();
        prop_assert_eq!(World::new().ask(&text), expected, "{}", text);
    }

    #[test]
    fn no_text_panics(condition in ".{0,80}") {
        if let Ok(compiled) = Condition::compile(&condition) {
            compiled.ask(&World::new().subject());
        }
    }

    #[test]
    fn no_sequence_of_tokens_panics(
        tokens in prop::collection::vec(prop::sample::select(vec![
            "a", "$body", "$twin", ".", "tags", "properties", "desired", "[", "]", "(", ")", "'x'", "1", "-", "+", "*",
            "=", "<", "and", "or", "not", "in", ",", "abs", "concat", "{x}", "null", "$", "0x", "1e", "\\", "'", "é",
        ]), 0..24),
    ) {
        if let Ok(compiled) = Condition::compile(&tokens.join(" ")) {
            compiled.ask(&World::new().subject());
        }
    }
}
