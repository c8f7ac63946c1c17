//! The engine against a plain model: the model never parses, it evaluates the tree that the text was printed from.

use std::cell::Cell;

use proptest::prelude::*;
use serde_json::{Value, json};

use super::Query;

const NAMES: [&str; 6] = ["a", "b", "A", "odd key", "not", "$x"];
const TEXTS: [&str; 7] = ["", "x", "X", "it's", "\"q\"", "back\\slash", "ü😀"];

#[derive(Debug, Clone)]
enum Tree {
    Path(Vec<String>),
    Const(Value),
    Undefined,
    Neg(Box<Tree>),
    Math(char, Box<Tree>, Box<Tree>),
    Compare(&'static str, Box<Tree>, Box<Tree>),
    In(bool, Box<Tree>, Vec<Value>),
    Defined(Vec<String>),
    Not(Box<Tree>),
    And(Box<Tree>, Box<Tree>),
    Or(Box<Tree>, Box<Tree>),
}

/// What a tree is worth on a row: `None` is undefined.
fn worth(tree: &Tree, row: &Value) -> Option<Value> {
    use Tree::{And, Compare, Const, Defined, In, Math, Neg, Not, Or, Path, Undefined};
    let number = |tree: &Tree| worth(tree, row).and_then(|v| v.as_f64());
    match tree {
        Path(path) => find(path, row),
        Const(value) => Some(value.clone()),
        Undefined => None,
        Neg(inner) => finite(-number(inner)?),
        Math('+', l, r) => finite(number(l)? + number(r)?),
        Math('-', l, r) => finite(number(l)? - number(r)?),
        Math('*', l, r) => finite(number(l)? * number(r)?),
        Math('/', l, r) => finite(number(l)? / number(r)?),
        Math(_, l, r) => finite(number(l)? % number(r)?),
        Compare(sign, l, r) => compared(sign, &worth(l, row)?, &worth(r, row)?).map(Value::Bool),
        In(negated, left, list) => {
            let left = worth(left, row)?;
            let hit = list.iter().any(|item| compared("=", &left, item) == Some(true));
            Some(Value::Bool(hit != *negated))
        }
        Defined(path) => Some(Value::Bool(find(path, row).is_some())),
        Not(inner) => truth(inner, row).map(|t| Value::Bool(!t)),
        And(l, r) => match (truth(l, row), truth(r, row)) {
            (Some(false), _) | (_, Some(false)) => Some(Value::Bool(false)),
            (Some(true), Some(true)) => Some(Value::Bool(true)),
            _ => None,
        },
        Or(l, r) => match (truth(l, row), truth(r, row)) {
            (Some(true), _) | (_, Some(true)) => Some(Value::Bool(true)),
            (Some(false), Some(false)) => Some(Value::Bool(false)),
            _ => None,
        },
    }
}

fn truth(tree: &Tree, row: &Value) -> Option<bool> {
    worth(tree, row)?.as_bool()
}

fn find(path: &[String], row: &Value) -> Option<Value> {
    let mut at = row;
    for name in path {
        at = at.as_object()?.get(name)?;
    }
    Some(at.clone())
}

fn finite(number: f64) -> Option<Value> {
    number.is_finite().then(|| json!(number))
}

fn compared(sign: &str, left: &Value, right: &Value) -> Option<bool> {
    use std::cmp::Ordering::{Equal, Greater, Less};
    let container = |v: &Value| v.is_array() || v.is_object();
    if container(left) || container(right) {
        return None;
    }
    let order = match (left, right) {
        (Value::Null, Value::Null) => Some(Equal),
        (Value::Bool(l), Value::Bool(r)) => Some(l.cmp(r)),
        (Value::String(l), Value::String(r)) => Some(l.as_str().cmp(r.as_str())),
        (Value::Number(l), Value::Number(r)) => l.as_f64().unwrap().partial_cmp(&r.as_f64().unwrap()),
        _ => None,
    };
    match sign {
        "=" => Some(order == Some(Equal)),
        "!=" | "<>" => Some(order != Some(Equal)),
        "<" => order.map(|o| o == Less),
        "<=" => order.map(|o| o != Greater),
        ">" => order.map(|o| o == Greater),
        _ => order.map(|o| o != Less),
    }
}

/// Writes trees with as few parentheses as precedence allows, keywords and blanks as the whim takes it.
struct Printer(Cell<u64>);

impl Printer {
    fn whim(&self, of: u64) -> u64 {
        let next = self.0.get().wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        self.0.set(next);
        (next >> 33) % of
    }

    fn blank(&self) -> &'static str {
        ["", "", " ", "\n\t"][usize::try_from(self.whim(4)).unwrap()]
    }

    fn word(&self, word: &str) -> String {
        let cased = |c: char| if self.whim(2) == 0 { c.to_ascii_lowercase() } else { c.to_ascii_uppercase() };
        word.chars().map(cased).collect()
    }

    fn name(&self, name: &str) -> String {
        let plain = name.chars().all(|c| c.is_ascii_alphanumeric() || c == '$');
        if plain && self.whim(4) > 0 { name.to_owned() } else { format!("[[{name}]]") }
    }

    fn path(&self, path: &[String]) -> String {
        let (root, rest) = path.split_first().unwrap();
        let prefix = if self.whim(3) == 0 { format!("{}.", self.word("devices")) } else { String::new() };
        let names = rest.iter().map(|name| format!(".{}", self.name(name)));
        format!("{prefix}{}{}", self.word(root), names.collect::<String>())
    }

    fn constant(&self, value: &Value) -> String {
        match value {
            Value::String(text) => self.text(text),
            Value::Number(n) if n.as_u64().is_some() && self.whim(3) == 0 => format!("0x{:X}", n.as_u64().unwrap()),
            Value::Array(items) => {
                format!("[{}]", items.iter().map(|i| self.constant(i)).collect::<Vec<_>>().join(","))
            }
            Value::Null | Value::Bool(_) => self.word(&value.to_string()),
            other => other.to_string(),
        }
    }

    fn text(&self, text: &str) -> String {
        let quote = if self.whim(2) == 0 { '\'' } else { '"' };
        let mut out = String::from(quote);
        for c in text.chars() {
            match c {
                c if self.whim(5) == 0 => {
                    let mut units = [0; 2];
                    c.encode_utf16(&mut units).iter().for_each(|unit| out += &format!("\\u{unit:04x}"));
                }
                '\'' if quote == '\'' && self.whim(2) == 0 => out += "''",
                c if c == quote || c == '\\' => out.extend(['\\', c]),
                c => out.push(c),
            }
        }
        out.push(quote);
        out
    }

    /// `least` is the rank that may stand without parentheses: 0 OR, 1 AND, 2 NOT, 3 comparison, 4 sum, 5 product, 6 atom.
    fn tree(&self, tree: &Tree, least: u8) -> String {
        use Tree::{And, Compare, Const, Defined, In, Math, Neg, Not, Or, Path, Undefined};
        let (rank, text) = match tree {
            Or(l, r) => (0, format!("{} {} {}", self.tree(l, 0), self.word("or"), self.tree(r, 1))),
            And(l, r) => (1, format!("{} {} {}", self.tree(l, 1), self.word("and"), self.tree(r, 2))),
            Not(inner) => (2, format!("{} {}", self.word("not"), self.tree(inner, 2))),
            Compare(sign, l, r) => {
                let (left, right) = (self.tree(l, 4), self.tree(r, 4));
                (3, format!("{left}{}{sign}{}{right}", self.blank(), self.blank()))
            }
            In(negated, left, list) => {
                let word = self.word(if *negated { "nin" } else { "in" });
                (3, format!("{} {word}{}{}", self.tree(left, 4), self.blank(), self.constant(&json!(list))))
            }
            Math(sign @ ('+' | '-'), l, r) => (4, format!("{}{sign} {}", self.tree(l, 4), self.tree(r, 5))),
            Math(sign, l, r) => (5, format!("{}{sign}{}", self.tree(l, 5), self.tree(r, 6))),
            Neg(inner) => (6, format!("- {}", self.tree(inner, 6))),
            Path(path) => (6, self.path(path)),
            Const(value) => (6, self.constant(value)),
            Undefined => (6, self.word("undefined")),
            Defined(path) => (6, format!("{}({})", self.word("is_defined"), self.path(path))),
        };
        if rank < least { format!("({text})") } else { text }
    }
}

fn scalar() -> impl Strategy<Value = Value> {
    prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        (-3..4i64).prop_map(Value::from),
        prop::sample::select(vec![0.5, 1.0, -2.25, 1e-3]).prop_map(Value::from),
        prop::sample::select(TEXTS.to_vec()).prop_map(Value::from),
    ]
}

/// Constants as they can be written: a sign in front is not part of a number, except in a list.
fn literal() -> impl Strategy<Value = Value> {
    scalar().prop_filter("no sign", |value| value.as_f64().is_none_or(|n| n >= 0.0))
}

fn content() -> impl Strategy<Value = Value> {
    scalar().prop_recursive(2, 8, 3, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..3).prop_map(Value::Array),
            prop::collection::vec((prop::sample::select(NAMES.to_vec()), inner), 0..4)
                .prop_map(|pairs| pairs.into_iter().map(|(k, v)| (k.to_owned(), v)).collect()),
        ]
    })
}

fn object() -> impl Strategy<Value = Value> {
    prop::collection::vec((prop::sample::select(NAMES.to_vec()), content()), 0..5)
        .prop_map(|pairs| pairs.into_iter().map(|(k, v)| (k.to_owned(), v)).collect())
}

fn rows() -> impl Strategy<Value = Vec<Value>> {
    let row = (object(), object(), object(), any::<bool>(), 1..4u64);
    prop::collection::vec(row, 0..8).prop_map(|rows| {
        let twin = |(number, (tags, desired, reported, on, version))| {
            let status = if on { "enabled" } else { "disabled" };
            json!({"deviceId": format!("d{number}"), "status": status, "version": version, "tags": tags,
                "properties": {"desired": desired, "reported": reported}})
        };
        rows.into_iter().enumerate().map(twin).collect()
    })
}

fn path() -> impl Strategy<Value = Vec<String>> {
    let owned = |names: &[&str]| names.iter().map(|&n| n.to_owned()).collect::<Vec<_>>();
    let root = prop::sample::select(vec![
        owned(&["tags"]),
        owned(&["properties", "desired"]),
        owned(&["properties", "reported"]),
    ]);
    let below = prop::collection::vec(prop::sample::select(NAMES.to_vec()), 0..3);
    let deep = (root, below).prop_map(|(root, below)| root.into_iter().chain(below.into_iter().map(str::to_owned)));
    prop_oneof![
        4 => deep.prop_map(Iterator::collect),
        1 => prop::sample::select(vec!["deviceId", "status", "version", "moduleId"]).prop_map(|n| vec![n.to_owned()]),
    ]
}

fn tree() -> impl Strategy<Value = Tree> {
    let leaf = prop_oneof![
        4 => path().prop_map(Tree::Path),
        4 => literal().prop_map(Tree::Const),
        1 => path().prop_map(Tree::Defined),
        1 => Just(Tree::Undefined),
    ];
    leaf.prop_recursive(5, 40, 3, |inner| {
        let two = || (inner.clone().prop_map(Box::new), inner.clone().prop_map(Box::new));
        let signs = vec!["=", "!=", "<>", "<", "<=", ">", ">="];
        prop_oneof![
            4 => (prop::sample::select(signs), two()).prop_map(|(sign, (l, r))| Tree::Compare(sign, l, r)),
            2 => (prop::sample::select(vec!['+', '-', '*', '/', '%']), two()).prop_map(|(s, (l, r))| Tree::Math(s, l, r)),
            1 => inner.clone().prop_map(|inner| Tree::Neg(Box::new(inner))),
            1 => (any::<bool>(), inner.clone(), prop::collection::vec(scalar(), 0..5))
                .prop_map(|(negated, left, list)| Tree::In(negated, Box::new(left), list)),
            2 => inner.clone().prop_map(|inner| Tree::Not(Box::new(inner))),
            2 => two().prop_map(|(l, r)| Tree::And(l, r)),
            2 => two().prop_map(|(l, r)| Tree::Or(l, r)),
        ]
    })
}

fn parsed(text: &str) -> Query {
    Query::parse(text).unwrap_or_else(|e| panic!("{e}: {text}"))
}

/// One number for numbers that print differently (`1` and `1.0`).
fn numbers(value: &Value) -> Value {
    match value {
        Value::Number(n) => json!(n.as_f64()),
        Value::Array(items) => items.iter().map(numbers).collect(),
        Value::Object(map) => map.iter().map(|(key, value)| (key.clone(), numbers(value))).collect(),
        other => other.clone(),
    }
}

const AGGREGATES: [&str; 4] = ["sum", "avg", "min", "max"];

fn accumulated(name: &str, path: &[String], rows: &[&Value]) -> Option<Value> {
    let numbers: Vec<f64> = rows.iter().filter_map(|row| find(path, row)?.as_f64()).collect();
    let sum: f64 = numbers.iter().sum();
    match name {
        "sum" => Some(json!(sum)),
        _ if numbers.is_empty() => None,
        "avg" => Some(json!(sum / f64::from(u32::try_from(numbers.len()).unwrap()))),
        "min" => Some(json!(numbers.iter().copied().fold(f64::INFINITY, f64::min))),
        _ => Some(json!(numbers.iter().copied().fold(f64::NEG_INFINITY, f64::max))),
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 256, ..ProptestConfig::default() })]

    #[test]
    fn conditions_hold_where_the_model_says(rows in rows(), tree in tree(), whim in any::<u64>()) {
        let printer = Printer(Cell::new(whim));
        let text = format!("select * from devices where {}", printer.tree(&tree, 0));
        let query = parsed(&text);
        for row in &rows {
            prop_assert_eq!(query.admits(row), truth(&tree, row) == Some(true), "{} on {}", text, row);
        }
    }

    #[test]
    fn columns_are_what_the_model_finds(rows in rows(), paths in prop::collection::vec((path(), any::<bool>()), 1..4),
        whim in any::<u64>())
    {
        let printer = Printer(Cell::new(whim));
        let column = |(n, (path, named)): (usize, &(Vec<String>, bool))| match named {
            true => (path.clone(), format!("c{n}"), format!("{} as c{n}", printer.path(path))),
            false => (path.clone(), path.last().unwrap().clone(), printer.path(path)),
        };
        let columns: Vec<_> = paths.iter().enumerate().map(column).collect();
        let list: Vec<_> = columns.iter().map(|(_, _, text)| text.as_str()).collect();
        let query = parsed(&format!("SELECT {} FROM devices", list.join(" , ")));
        for row in &rows {
            let mut wanted = serde_json::Map::new();
            for (path, name, _) in &columns {
                if let Some(value) = find(path, row) {
                    wanted.insert(name.clone(), value);
                }
            }
            prop_assert_eq!(query.project(row.clone()), Value::Object(wanted));
        }
    }

    #[test]
    fn groups_are_what_the_model_counts(rows in rows(), by in path(), of in path(), grouped in any::<bool>(),
        which in prop::sample::select(AGGREGATES.to_vec()), whim in any::<u64>())
    {
        let printer = Printer(Cell::new(whim));
        let (key, value) = (printer.path(&by), printer.path(&of));
        let fold = format!("{}() AS n, {}({value}) AS v", printer.word("count"), printer.word(which));
        let text = match grouped {
            true => format!("SELECT {key} AS k, {fold} FROM devices GROUP BY {}", printer.path(&by)),
            false => format!("SELECT {fold} FROM devices"),
        };
        let query = parsed(&text);
        let mut groups: Vec<(Option<Value>, Vec<&Value>)> = Vec::new();
        for row in &rows {
            let key = if grouped { find(&by, row) } else { None };
            match groups.iter_mut().find(|(known, _)| *known == key) {
                Some((_, members)) => members.push(row),
                None => groups.push((key, vec![row])),
            }
        }
        if !grouped && groups.is_empty() {
            groups.push((None, Vec::new()));
        }
        let wanted: Vec<Value> = groups.into_iter().map(|(key, members)| {
            let mut out = serde_json::Map::new();
            out.extend(key.map(|key| ("k".to_owned(), key)));
            out.insert("n".into(), json!(members.len()));
            out.extend(accumulated(which, &of, &members).map(|v| ("v".to_owned(), v)));
            numbers(&Value::Object(out))
        }).collect();
        let got: Vec<Value> = query.fold(&rows).iter().map(numbers).collect();
        prop_assert_eq!(got, wanted, "{}", text);
    }

    #[test]
    fn no_text_breaks_the_parser(parts in prop::collection::vec(soup(), 0..60)) {
        let text = parts.concat();
        let verdicts = [Query::parse(&text), Query::parse(&format!("SELECT * FROM devices WHERE {text}"))];
        for query in verdicts.into_iter().flatten() {
            query.admits(&json!({"deviceId": "a", "tags": {"a": 1}}));
            query.fold(&[json!({"tags": {}})]);
        }
    }
}

/// Pieces that a query could be made of, and others.
fn soup() -> impl Strategy<Value = String> {
    let pieces = [
        "SELECT ",
        "*",
        " FROM ",
        "devices",
        ".",
        "modules",
        "jobs",
        " WHERE ",
        " AND ",
        " OR ",
        "NOT ",
        "(",
        ")",
        "[",
        "]",
        "[[",
        "]]",
        "'",
        "\"",
        "\\",
        "\\u",
        "d83d",
        "\\ud83d",
        ",",
        "=",
        "!=",
        "<>",
        "<",
        "-",
        "+",
        "/",
        "%",
        "1",
        "0x",
        "1e",
        "9e999",
        "IN",
        " NIN ",
        "IS_DEFINED(",
        "tags",
        " COUNT()",
        "SUM(",
        " AS ",
        " GROUP BY ",
        "TOP ",
        "null",
        "undefined",
    ];
    prop_oneof![
        8 => prop::sample::select(pieces.to_vec()).prop_map(str::to_owned),
        1 => any::<String>(),
    ]
}
