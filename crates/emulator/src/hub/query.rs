//! The query language over twins: parsed into a [`Query`], run over rows that the hub hands in.

mod eval;
mod lex;
mod parse;

use serde_json::{Map, Value};

const QUERY_CHARS_MAX: usize = 8192;

/// A parsed query.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Query {
    /// Where the rows come from.
    pub source: Source,
    /// At most so many rows over all pages.
    pub top: Option<usize>,
    select: Select,
    condition: Option<Expr>,
    group_by: Option<Path>,
}

/// The `FROM` clause.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Source {
    /// Device twins.
    Devices,
    /// Module twins.
    Modules,
    /// Jobs; the emulator has none, so the result is empty.
    Jobs,
}

/// Why a text is not a query.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{reason} at character {at}")]
pub(super) struct SyntaxError {
    /// What was found or missed.
    pub reason: String,
    /// Offset into the text, in characters.
    pub at: usize,
}

#[derive(Debug, Clone, PartialEq)]
enum Select {
    All,
    Items(Vec<Item>),
}

#[derive(Debug, Clone, PartialEq)]
struct Item {
    what: What,
    alias: Option<String>,
}

#[derive(Debug, Clone, PartialEq)]
enum What {
    Path(Path),
    Aggregate(Aggregate, Option<Path>),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Aggregate {
    Count,
    Avg,
    Sum,
    Min,
    Max,
}

type Path = Vec<String>;

#[derive(Debug, Clone, PartialEq)]
enum Expr {
    Path(Path),
    Const(Value),
    Undefined,
    Negative(Box<Expr>),
    Arithmetic(char, Box<Expr>, Box<Expr>),
    Compare(Comparison, Box<Expr>, Box<Expr>),
    In(Box<Expr>, Vec<Value>, bool),
    IsDefined(Path),
    Not(Box<Expr>),
    And(Box<Expr>, Box<Expr>),
    Or(Box<Expr>, Box<Expr>),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Comparison {
    Equal,
    NotEqual,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
}

impl Query {
    /// Parses `SELECT … FROM …`.
    pub(super) fn parse(text: &str) -> Result<Self, SyntaxError> {
        if text.chars().count() > QUERY_CHARS_MAX {
            return Err(SyntaxError {
                reason: format!("a query has at most {QUERY_CHARS_MAX} characters"),
                at: QUERY_CHARS_MAX,
            });
        }
        parse::query(text)
    }

    /// Whether rows come back whole (`x-ms-item-type: Twin`) or projected (`Raw`).
    pub(super) fn is_whole(&self) -> bool {
        self.select == Select::All
    }

    /// Whether all rows fold into one or into groups, so that pages make no sense.
    pub(super) fn is_aggregate(&self) -> bool {
        let aggregate = |item: &Item| matches!(item.what, What::Aggregate(..));
        self.group_by.is_some() || matches!(&self.select, Select::Items(items) if items.iter().any(aggregate))
    }

    /// Whether the row satisfies the `WHERE` clause.
    pub(super) fn admits(&self, row: &Value) -> bool {
        self.condition.as_ref().is_none_or(|condition| eval::holds(condition, row))
    }

    /// What the caller gets to see of an admitted row.
    pub(super) fn project(&self, row: Value) -> Value {
        match &self.select {
            Select::All => row,
            Select::Items(items) => eval::project(items, &row),
        }
    }

    /// Folds all admitted rows of an aggregate query.
    pub(super) fn fold(&self, rows: &[Value]) -> Vec<Value> {
        let Select::Items(items) = &self.select else {
            return Vec::new();
        };
        eval::fold(items, self.group_by.as_ref(), rows)
    }
}

/// Whether the text can stand as a configuration's target condition: `*`, or what stands after `WHERE`.
pub(super) fn check_condition(text: &str) -> Result<(), SyntaxError> {
    match text.trim() {
        "*" => Ok(()),
        other => parse::condition(other).map(|_| ()),
    }
}

fn canonical_root(name: &str) -> Option<&'static str> {
    const NAMES: [&str; 22] = [
        "deviceId",
        "moduleId",
        "etag",
        "deviceEtag",
        "status",
        "statusReason",
        "statusUpdateTime",
        "connectionState",
        "lastActivityTime",
        "cloudToDeviceMessageCount",
        "authenticationType",
        "x509Thumbprint",
        "modelId",
        "version",
        "tags",
        "properties",
        "capabilities",
        "configurations",
        "deviceScope",
        "parentScopes",
        "managedBy",
        "generationId",
    ];
    NAMES.into_iter().find(|known| known.eq_ignore_ascii_case(name))
}

fn put(out: &mut Map<String, Value>, name: &str, value: Option<Value>) {
    if let Some(value) = value {
        out.insert(name.to_owned(), value);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn rows() -> Vec<Value> {
        vec![
            json!({"deviceId": "a", "status": "enabled", "version": 2,
                "tags": {"site": "m1", "floor": 3, "my.key": true},
                "capabilities": {"iotEdge": true},
                "properties": {"desired": {"x": {"y": 1}, "$version": 4}, "reported": {"code": 200}}}),
            json!({"deviceId": "b", "status": "disabled", "version": 3,
                "tags": {"site": "m2", "floor": 1},
                "capabilities": {"iotEdge": false},
                "properties": {"desired": {"$version": 1}, "reported": {"code": 406, "gone": null}}}),
            json!({"deviceId": "it's", "status": "enabled", "version": 9,
                "capabilities": {"iotEdge": false},
                "properties": {"desired": {"$version": 1}, "reported": {}}}),
        ]
    }

    fn run(text: &str) -> String {
        let query = match Query::parse(text) {
            Ok(query) => query,
            Err(e) => return e.to_string(),
        };
        let admitted: Vec<Value> = rows().into_iter().filter(|r| query.admits(r)).collect();
        let out = if query.is_aggregate() {
            query.fold(&admitted)
        } else if query.is_whole() {
            admitted.iter().map(|r| r["deviceId"].clone()).collect()
        } else {
            admitted.into_iter().map(|r| query.project(r)).collect()
        };
        Value::Array(out).to_string()
    }

    #[test]
    fn conditions_by_table() {
        for (condition, ids) in [
            ("deviceId = 'a'", r#"["a"]"#),
            ("DEVICEID = 'a'", r#"["a"]"#),
            ("devices.deviceId = \"a\"", r#"["a"]"#),
            (r"deviceId = 'it\'s'", r#"["it's"]"#),
            ("deviceId IN ['a','b']", r#"["a","b"]"#),
            ("deviceId NIN ['a','b']", r#"["it's"]"#),
            ("tags.site = 'm1'", r#"["a"]"#),
            ("tags.site != 'm1'", r#"["b"]"#),
            ("tags.site <> 'm1'", r#"["b"]"#),
            ("NOT tags.site = 'm1'", r#"["b"]"#),
            ("NOT (tags.site = 'm1' OR version > 3)", r#"["b"]"#),
            ("is_defined(tags.site)", r#"["a","b"]"#),
            ("NOT IS_DEFINED(tags.site)", r#"["it's"]"#),
            ("tags.floor >= 1 and tags.floor < 3", r#"["b"]"#),
            ("tags.floor + 1 = 4", r#"["a"]"#),
            ("tags.floor * 2 - 1 = 5", r#"["a"]"#),
            ("version > -1", r#"["a","b","it's"]"#),
            ("version = 0x9", r#"["it's"]"#),
            ("tags.[[my.key]] = true", r#"["a"]"#),
            ("capabilities.iotEdge = true", r#"["a"]"#),
            ("properties.reported.gone = null", r#"["b"]"#),
            ("properties.desired.x.y = 1", r#"["a"]"#),
            ("properties.desired.x = 1", "[]"),
            ("properties.desired.$version = 4", r#"["a"]"#),
            ("tags.Site = 'm1'", "[]"),
            ("tags.site = 1", "[]"),
            ("properties.reported.code = 200 OR status = 'disabled' AND tags.floor = 9", r#"["a"]"#),
        ] {
            let text = format!("select * from devices where {condition}");
            assert_eq!(run(&text), ids, "{condition}");
        }
    }

    #[test]
    fn projections_and_folds_by_table() {
        for (text, out) in [
            (
                "SELECT DeviceId, tags.site AS s FROM devices",
                r#"[{"deviceId":"a","s":"m1"},{"deviceId":"b","s":"m2"},{"deviceId":"it's"}]"#,
            ),
            ("SELECT tags.floor FROM devices WHERE deviceId = 'a'", r#"[{"floor":3}]"#),
            ("SELECT COUNT() AS n FROM devices", r#"[{"n":3}]"#),
            ("SELECT COUNT() FROM devices WHERE version > 99", r#"[{"$1":0}]"#),
            (
                "SELECT status, COUNT() AS n FROM devices GROUP BY status",
                r#"[{"status":"enabled","n":2},{"status":"disabled","n":1}]"#,
            ),
            (
                "SELECT SUM(tags.floor) AS s, MIN(tags.floor) AS lo, MAX(version) AS hi, AVG(tags.floor) AS avg FROM devices",
                r#"[{"s":4,"lo":1,"hi":9,"avg":2}]"#,
            ),
        ] {
            assert_eq!(run(text), out, "{text}");
        }
    }

    #[test]
    fn nonsense_is_refused_with_its_place() {
        for text in [
            "",
            "SELECT",
            "SELECT * FROM",
            "SELECT * FROM nowhere",
            "SELECT * FROM devices WHERE",
            "SELECT * FROM devices WHERE a = 'x",
            "SELECT * FROM devices WHERE a == 1",
            "SELECT * FROM devices WHERE STARTSWITH(a, 'b')",
            "SELECT * FROM devices extra",
            "SELECT COUNT(a) FROM devices",
            "SELECT TOP x * FROM devices",
            "SELECT * FROM devices WHERE a IN 'b'",
            "SELECT * FROM devices WHERE [[a = 1",
            "SELECT * FROM devices WHERE ~",
        ] {
            assert!(Query::parse(text).is_err(), "{text}");
        }
        let deep = format!("SELECT * FROM devices WHERE {}", "(".repeat(4000));
        assert!(Query::parse(&deep).is_err());
        let deep = format!("SELECT * FROM devices WHERE {} a", "NOT ".repeat(2000));
        assert!(Query::parse(&deep).is_err());
    }

    #[test]
    fn top_and_source_are_read() {
        let query = Query::parse("SELECT TOP 2 * FROM devices.modules").expect("valid");
        assert_eq!((query.top, query.source), (Some(2), Source::Modules));
        assert!(query.is_whole() && !query.is_aggregate());
    }

    #[test]
    fn target_conditions() {
        assert!(check_condition("*").is_ok());
        assert!(check_condition("tags.site='m1' AND deviceId != 'x'").is_ok());
        assert!(check_condition("tags.site=").is_err());
    }
}
