//! An expression's value for a message.

use std::borrow::Cow;
use std::cmp::Ordering;

use serde_json::Value;

use super::functions::finite;
use super::{Comparison, Datum, Expr, Operation, Root, Step, Subject};

/// Names of system properties in conditions, and on the wire.
const SYSTEM: [(&str, &str); 6] = [
    ("connectionDeviceId", "iothub-connection-device-id"),
    ("connectionModuleId", "iothub-connection-module-id"),
    ("connectionAuthMethod", "iothub-connection-auth-method"),
    ("connectionDeviceGenerationId", "iothub-connection-auth-generation-id"),
    ("enqueuedTime", "iothub-enqueuedtime"),
    ("messageSource", "iothub-message-source"),
];

impl Expr {
    pub(super) fn eval<'a>(&'a self, subject: &Subject<'a>) -> Datum<'a> {
        match self {
            Self::Undefined => Datum::Undefined,
            Self::Null => Datum::Null,
            Self::Bool(value) => Datum::Bool(*value),
            Self::Number(value) => Datum::Number(*value),
            Self::Text(text) => Datum::Text(Cow::Borrowed(text)),
            Self::Path(root, steps) => look_up(root, steps, subject),
            Self::Not(inner) => match inner.eval(subject) {
                Datum::Bool(value) => Datum::Bool(!value),
                _ => Datum::Undefined,
            },
            Self::Minus(inner) => match inner.eval(subject) {
                Datum::Number(value) => Datum::Number(-value),
                _ => Datum::Undefined,
            },
            Self::And(parts) => joined(parts, subject, false),
            Self::Or(parts) => joined(parts, subject, true),
            Self::Compare(left, comparison, right) => compare(&left.eval(subject), *comparison, &right.eval(subject)),
            Self::Compute(left, operation, right) => compute(&left.eval(subject), *operation, &right.eval(subject)),
            Self::In(left, list, within) => is_in(&left.eval(subject), list, subject, *within),
            Self::Call(function, arguments) => {
                function.call(arguments.iter().map(|argument| argument.eval(subject)).collect())
            }
        }
    }
}

/// One part that decides is enough (`false` for AND, `true` for OR); else anything undefined makes all undefined.
fn joined<'a>(parts: &'a [Expr], subject: &Subject<'a>, decides: bool) -> Datum<'a> {
    let mut all = Datum::Bool(!decides);
    for part in parts {
        match part.eval(subject) {
            Datum::Bool(value) if value == decides => return Datum::Bool(decides),
            Datum::Bool(_) => {}
            _ => all = Datum::Undefined,
        }
    }
    all
}

fn compare<'a>(left: &Datum<'_>, comparison: Comparison, right: &Datum<'_>) -> Datum<'a> {
    match comparison {
        Comparison::Equal => equal(left, right).map_or(Datum::Undefined, Datum::Bool),
        Comparison::Unequal => equal(left, right).map_or(Datum::Undefined, |same| Datum::Bool(!same)),
        _ => order(left, right).map_or(Datum::Undefined, |order| Datum::Bool(holds(comparison, order))),
    }
}

/// Only primitives of one type can be equal or unequal.
fn equal(left: &Datum<'_>, right: &Datum<'_>) -> Option<bool> {
    match (left, right) {
        (Datum::Null, Datum::Null) => Some(true),
        (Datum::Bool(left), Datum::Bool(right)) => Some(left == right),
        _ => order(left, right).map(|order| order == Ordering::Equal),
    }
}

fn order(left: &Datum<'_>, right: &Datum<'_>) -> Option<Ordering> {
    match (left, right) {
        (Datum::Number(left), Datum::Number(right)) => left.partial_cmp(right),
        (Datum::Text(left), Datum::Text(right)) => Some(left.cmp(right)),
        _ => None,
    }
}

fn holds(comparison: Comparison, order: Ordering) -> bool {
    match comparison {
        Comparison::Less => order.is_lt(),
        Comparison::LessOrEqual => order.is_le(),
        Comparison::Greater => order.is_gt(),
        Comparison::GreaterOrEqual => order.is_ge(),
        Comparison::Equal => order.is_eq(),
        Comparison::Unequal => order.is_ne(),
    }
}

fn compute<'a>(left: &Datum<'_>, operation: Operation, right: &Datum<'_>) -> Datum<'a> {
    let (Datum::Number(left), Datum::Number(right)) = (left, right) else {
        return Datum::Undefined;
    };
    finite(match operation {
        Operation::Add => left + right,
        Operation::Subtract => left - right,
        Operation::Multiply => left * right,
        Operation::Divide => left / right,
        Operation::Remainder => left % right,
    })
}

fn is_in<'a>(left: &Datum<'a>, list: &'a [Expr], subject: &Subject<'a>, within: bool) -> Datum<'a> {
    if matches!(left, Datum::Undefined | Datum::Whole(_)) {
        return Datum::Undefined;
    }
    let found = list.iter().any(|item| equal(left, &item.eval(subject)) == Some(true));
    Datum::Bool(found == within)
}

fn look_up<'a>(root: &'a Root, steps: &'a [Step], subject: &Subject<'a>) -> Datum<'a> {
    match root {
        Root::Application(name) => property(subject.application, name),
        Root::System(name) => system(subject.system, name),
        Root::Body => subject.body.map_or(Datum::Undefined, |body| walk(body, steps, Case::Matters)),
        Root::Tags => twin(subject, &["tags"], steps),
        Root::Desired => twin(subject, &["properties", "desired"], steps),
        Root::Reported => twin(subject, &["properties", "reported"], steps),
    }
}

fn property<'a>(properties: &'a [(String, String)], name: &str) -> Datum<'a> {
    let found = properties.iter().find(|(known, _)| known.eq_ignore_ascii_case(name));
    found.map_or(Datum::Undefined, |(_, value)| Datum::Text(Cow::Borrowed(value)))
}

fn system<'a>(properties: &'a [(String, String)], name: &str) -> Datum<'a> {
    let as_asked = property(properties, name);
    let on_the_wire = SYSTEM.iter().find(|(known, _)| known.eq_ignore_ascii_case(name));
    match (as_asked, on_the_wire) {
        (Datum::Undefined, Some((_, name))) => property(properties, name),
        (found, _) => found,
    }
}

fn twin<'a>(subject: &Subject<'a>, section: &[&str], steps: &'a [Step]) -> Datum<'a> {
    let section = subject.twin.and_then(|twin| section.iter().try_fold(twin, |at, name| at.get(name)));
    section.map_or(Datum::Undefined, |section| walk(section, steps, Case::Ignored))
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Case {
    Matters,
    Ignored,
}

fn walk<'a>(from: &'a Value, steps: &[Step], case: Case) -> Datum<'a> {
    let found = steps.iter().try_fold(from, |at, step| match step {
        Step::Index(index) => at.as_array()?.get(*index),
        Step::Name(name) => {
            let fields = at.as_object()?;
            let exact = fields.get(name);
            exact.or_else(|| {
                let alike = |(key, _): &(&String, &Value)| case == Case::Ignored && key.eq_ignore_ascii_case(name);
                fields.iter().find(alike).map(|(_, value)| value)
            })
        }
    });
    match found {
        None => Datum::Undefined,
        Some(Value::Null) => Datum::Null,
        Some(Value::Bool(value)) => Datum::Bool(*value),
        Some(Value::Number(number)) => number.as_f64().map_or(Datum::Undefined, Datum::Number),
        Some(Value::String(text)) => Datum::Text(Cow::Borrowed(text)),
        Some(whole @ (Value::Array(_) | Value::Object(_))) => Datum::Whole(whole),
    }
}
