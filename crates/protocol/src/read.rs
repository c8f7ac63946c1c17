//! Reads objects that others wrote, and notes everything that is wrong with them.

use std::cell::RefCell;

use ha_core::ids::{MemberId, NUMBER_MAX, PoolName};
use ha_core::time::WallTime;
use serde_json::{Map, Value};

use crate::error::{Error, Problem};
use crate::{VERSION, text};

/// More than a person would read.
const PROBLEMS_MAX: usize = 32;

/// The longest device id that IoT Hub takes; also the bound on all other names of ours.
pub(crate) const NAME_MAX: usize = 128;

/// Collects the problems of one document.
pub(crate) struct Reader {
    hint: &'static str,
    problems: RefCell<Vec<Problem>>,
}

impl Reader {
    pub(crate) fn new(hint: &'static str) -> Self {
        Self { hint, problems: RefCell::new(Vec::new()) }
    }

    /// The document as an object; a problem if it is none.
    pub(crate) fn root<'a>(&'a self, path: &str, value: &'a Value) -> Option<Fields<'a>> {
        self.fields(path.to_owned(), value)
    }

    /// `read` if nothing was wrong.
    pub(crate) fn finish<T>(self, read: Option<T>) -> Result<T, Error> {
        let problems = self.problems.into_inner();
        match read {
            Some(read) if problems.is_empty() => Ok(read),
            _ => Err(Error::Malformed(problems)),
        }
    }

    pub(crate) fn into_problems(self) -> Vec<Problem> {
        self.problems.into_inner()
    }

    fn fields<'a>(&'a self, path: String, value: &'a Value) -> Option<Fields<'a>> {
        match value {
            Value::Object(map) => Some(Fields { reader: self, path, map }),
            _ => {
                self.note(path, "an object", found(value));
                None
            }
        }
    }

    fn note(&self, path: String, expected: impl Into<String>, found: String) {
        let mut problems = self.problems.borrow_mut();
        if problems.len() < PROBLEMS_MAX {
            problems.push(Problem { path, expected: expected.into(), found, hint: self.hint });
        }
    }
}

/// One object of the document.
///
/// A null counts as absent throughout: that is how a twin forgets a key.
pub(crate) struct Fields<'a> {
    reader: &'a Reader,
    path: String,
    map: &'a Map<String, Value>,
}

impl<'a> Fields<'a> {
    /// A field that must be there.
    pub(crate) fn need<T>(&self, name: &str, kind: &Kind<T>) -> Option<T> {
        if self.value(name).is_none() {
            self.reader.note(self.path_of(name), kind.expected.as_str(), "nothing".to_owned());
        }
        self.take(name, kind)
    }

    /// A field that may be absent.
    pub(crate) fn take<T>(&self, name: &str, kind: &Kind<T>) -> Option<T> {
        let value = self.value(name)?;
        let read = (kind.parse)(value);
        if read.is_none() {
            let found = if kind.secret { found_secret(value) } else { found(value) };
            self.reader.note(self.path_of(name), kind.expected.as_str(), found);
        }
        read
    }

    /// An object within, which may be absent.
    pub(crate) fn inner(&self, name: &str) -> Option<Fields<'a>> {
        self.reader.fields(self.path_of(name), self.value(name)?)
    }

    /// An object within, which must be there.
    pub(crate) fn need_inner(&self, name: &str) -> Option<Fields<'a>> {
        if self.value(name).is_none() {
            self.reader.note(self.path_of(name), "an object", "nothing".to_owned());
        }
        self.inner(name)
    }

    /// A list of objects within; empty if absent. Every entry is read, so that every problem is noted.
    pub(crate) fn list<T>(&self, name: &str, max: usize, read: impl Fn(&Fields<'_>) -> Option<T>) -> Option<Vec<T>> {
        let Some(value) = self.value(name) else { return Some(Vec::new()) };
        let Some(entries) = value.as_array().filter(|entries| entries.len() <= max) else {
            self.refuse(name, format!("a list of at most {max} entries"));
            return None;
        };
        let path = self.path_of(name);
        let entries = entries.iter().enumerate();
        let entries = entries.map(|(i, entry)| read(&self.reader.fields(format!("{path}[{i}]"), entry)?));
        entries.collect::<Vec<_>>().into_iter().collect()
    }

    /// The names of all fields that are not null.
    pub(crate) fn names(&self) -> impl Iterator<Item = &'a str> {
        self.map.iter().filter(|(_, value)| !value.is_null()).map(|(name, _)| name.as_str())
    }

    /// The field as it is.
    pub(crate) fn value(&self, name: &str) -> Option<&'a Value> {
        self.map.get(name).filter(|value| !value.is_null())
    }

    /// Notes a problem with a field.
    pub(crate) fn refuse(&self, name: &str, expected: impl Into<String>) {
        let found = self.value(name).map_or_else(|| "nothing".to_owned(), found);
        self.reader.note(self.path_of(name), expected, found);
    }

    /// Notes a problem with the name of a field.
    pub(crate) fn refuse_name(&self, name: &str, expected: impl Into<String>) {
        self.reader.note(self.path.clone(), expected, found(&Value::String(name.to_owned())));
    }

    fn path_of(&self, name: &str) -> String {
        format!("{}.{}", self.path, text::bounded(name, 40))
    }
}

type Parse<T> = Box<dyn Fn(&Value) -> Option<T>>;

/// What a field should hold.
pub(crate) struct Kind<T> {
    expected: String,
    parse: Parse<T>,
    secret: bool,
}

impl<T: 'static> Kind<T> {
    pub(crate) fn of_text(expected: impl Into<String>, parse: impl Fn(&str) -> Option<T> + 'static) -> Self {
        Self { expected: expected.into(), parse: Box::new(move |v| v.as_str().and_then(&parse)), secret: false }
    }

    pub(crate) fn expected(&self) -> &str {
        &self.expected
    }

    pub(crate) fn of_object(
        expected: impl Into<String>,
        parse: impl Fn(&Map<String, Value>) -> Option<T> + 'static,
    ) -> Self {
        Self { expected: expected.into(), parse: Box::new(move |v| v.as_object().and_then(&parse)), secret: false }
    }

    /// Shows nothing of a value that is refused.
    pub(crate) fn secret(self) -> Self {
        Self { secret: true, ..self }
    }
}

pub(crate) fn whole(max: u64) -> Kind<u64> {
    Kind {
        expected: format!("a whole number from 0 to {max}"),
        parse: Box::new(move |v| v.as_u64().filter(|n| *n <= max)),
        secret: false,
    }
}

/// A term, an epoch or a like number.
pub(crate) fn number() -> Kind<u64> {
    whole(NUMBER_MAX)
}

pub(crate) fn flag() -> Kind<bool> {
    Kind { expected: "true or false".to_owned(), parse: Box::new(Value::as_bool), secret: false }
}

/// A text of at least one and at most `max` bytes.
pub(crate) fn name(max: usize) -> Kind<String> {
    let ok = move |t: &str| !t.is_empty() && t.len() <= max;
    Kind::of_text(format!("a text of 1 to {max} bytes"), move |t| ok(t).then(|| t.to_owned()))
}

/// A text of at most `max` bytes.
pub(crate) fn sentence(max: usize) -> Kind<String> {
    Kind::of_text(format!("a text of at most {max} bytes"), move |t| (t.len() <= max).then(|| t.to_owned()))
}

pub(crate) fn member() -> Kind<MemberId> {
    let ok = |t: &str| !t.is_empty() && t.len() <= NAME_MAX;
    Kind::of_text(format!("a device id of at most {NAME_MAX} characters"), move |t| ok(t).then(|| MemberId::new(t)))
}

pub(crate) fn pool() -> Kind<PoolName> {
    Kind::of_text("a pool name ([a-z][a-z0-9_]*, at most 64 characters)", |t| t.parse().ok())
}

pub(crate) fn time() -> Kind<WallTime> {
    Kind::of_text("a time as in 2026-01-31T12:00:00Z", text::to_wall)
}

/// One of a few words.
pub(crate) fn word<T: Clone + 'static>(words: &[(&'static str, T)]) -> Kind<T> {
    let listed: Vec<String> = words.iter().map(|(word, _)| format!("{word:?}")).collect();
    let words = words.to_vec();
    let find = move |t: &str| words.iter().find(|(word, _)| *word == t).map(|(_, value)| value.clone());
    let expected = if listed.len() == 1 { listed.concat() } else { format!("one of {}", listed.join(", ")) };
    Kind::of_text(expected, find)
}

/// The version of the shape: ours, or none.
pub(crate) fn version() -> Kind<u64> {
    Kind {
        expected: format!("{VERSION} (another version of iotedge-ha may have written this)"),
        parse: Box::new(|v| v.as_u64().filter(|n| *n == VERSION)),
        secret: false,
    }
}

fn found(value: &Value) -> String {
    match value {
        Value::Null => "null".to_owned(),
        Value::Bool(b) => b.to_string(),
        Value::Number(n) => n.to_string(),
        Value::String(s) => format!("{:?}", text::bounded(s, 40)),
        Value::Array(entries) => format!("a list (length {})", entries.len()),
        Value::Object(_) => "an object".to_owned(),
    }
}

fn found_secret(value: &Value) -> String {
    match value {
        Value::String(s) => format!("a text of {} bytes", s.len()),
        Value::Number(_) => "a number".to_owned(),
        other => found(other),
    }
}
