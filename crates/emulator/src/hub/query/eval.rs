//! Queries over rows. Missing is undefined, and an undefined condition does not hold.

use std::cmp::Ordering;

use serde_json::{Map, Value};

use super::{Aggregate, Comparison, Expr, Item, Path, What, put};

/// One row: a twin as the service API shows it.
pub(super) type Row = Value;

pub(super) fn holds(condition: &Expr, row: &Row) -> bool {
    truth(condition, row) == Some(true)
}

pub(super) fn project(items: &[Item], row: &Row) -> Value {
    let mut out = Map::new();
    for item in items {
        if let What::Path(path) = &item.what {
            put(&mut out, &column(item, 0), look(path, row).cloned());
        }
    }
    Value::Object(out)
}

pub(super) fn fold(items: &[Item], group_by: Option<&Path>, rows: &[Row]) -> Vec<Value> {
    let Some(path) = group_by else {
        return vec![fold_one(items, &rows.iter().collect::<Vec<_>>())];
    };
    let mut groups: Vec<(Option<&Value>, Vec<&Row>)> = Vec::new();
    for row in rows {
        let key = look(path, row);
        match groups.iter_mut().find(|(k, _)| *k == key) {
            Some((_, members)) => members.push(row),
            None => groups.push((key, vec![row])),
        }
    }
    groups.iter().map(|(_, members)| fold_one(items, members)).collect()
}

fn fold_one(items: &[Item], rows: &[&Row]) -> Value {
    let mut out = Map::new();
    for (index, item) in items.iter().enumerate() {
        let value = match &item.what {
            What::Path(path) => rows.first().and_then(|row| look(path, row)).cloned(),
            What::Aggregate(aggregate, path) => accumulate(*aggregate, path.as_ref(), rows),
        };
        put(&mut out, &column(item, index), value);
    }
    Value::Object(out)
}

fn accumulate(aggregate: Aggregate, path: Option<&Path>, rows: &[&Row]) -> Option<Value> {
    let numbers = || -> Vec<f64> {
        let at = |row: &&Row| path.and_then(|p| look(p, row)).and_then(Value::as_f64);
        rows.iter().filter_map(at).collect()
    };
    let number = match aggregate {
        Aggregate::Count => return Some(Value::from(rows.len())),
        Aggregate::Sum => numbers().into_iter().sum(),
        Aggregate::Avg => {
            let all = numbers();
            let count = u32::try_from(all.len()).ok().filter(|n| *n > 0)?;
            all.into_iter().sum::<f64>() / f64::from(count)
        }
        Aggregate::Min => numbers().into_iter().reduce(f64::min)?,
        Aggregate::Max => numbers().into_iter().reduce(f64::max)?,
    };
    Some(tidy(number))
}

fn column(item: &Item, index: usize) -> String {
    match (&item.alias, &item.what) {
        (Some(alias), _) => alias.clone(),
        (None, What::Path(path)) => path.last().cloned().unwrap_or_default(),
        (None, What::Aggregate(..)) => format!("${}", index + 1),
    }
}

fn truth(expr: &Expr, row: &Row) -> Option<bool> {
    match expr {
        Expr::And(left, right) => match (truth(left, row), truth(right, row)) {
            (Some(false), _) | (_, Some(false)) => Some(false),
            (Some(true), Some(true)) => Some(true),
            _ => None,
        },
        Expr::Or(left, right) => match (truth(left, row), truth(right, row)) {
            (Some(true), _) | (_, Some(true)) => Some(true),
            (Some(false), Some(false)) => Some(false),
            _ => None,
        },
        Expr::Not(inner) => truth(inner, row).map(|t| !t),
        Expr::IsDefined(path) => Some(look(path, row).is_some()),
        Expr::In(left, list, negated) => {
            let value = worth(left, row)?;
            let hit = list.iter().any(|item| order(&value, item) == Some(Ordering::Equal));
            Some(hit != *negated)
        }
        Expr::Compare(operator, left, right) => compare(*operator, &worth(left, row)?, &worth(right, row)?),
        other => worth(other, row)?.as_bool(),
    }
}

fn worth(expr: &Expr, row: &Row) -> Option<Value> {
    match expr {
        Expr::Path(path) => look(path, row).cloned(),
        Expr::Const(value) => Some(value.clone()),
        Expr::Undefined => None,
        Expr::Negative(inner) => worth(inner, row)?.as_f64().map(|n| tidy(-n)),
        Expr::Arithmetic(sign, left, right) => {
            let (left, right) = (worth(left, row)?.as_f64()?, worth(right, row)?.as_f64()?);
            let number = match sign {
                '+' => left + right,
                '-' => left - right,
                '*' => left * right,
                '/' => left / right,
                _ => left % right,
            };
            number.is_finite().then(|| tidy(number))
        }
        condition => truth(condition, row).map(Value::Bool),
    }
}

fn compare(operator: Comparison, left: &Value, right: &Value) -> Option<bool> {
    let primitive = |v: &Value| !v.is_object() && !v.is_array();
    if !primitive(left) || !primitive(right) {
        return None;
    }
    let order = order(left, right);
    match operator {
        Comparison::Equal => Some(order == Some(Ordering::Equal)),
        Comparison::NotEqual => Some(order != Some(Ordering::Equal)),
        Comparison::Less => order.map(Ordering::is_lt),
        Comparison::LessOrEqual => order.map(Ordering::is_le),
        Comparison::Greater => order.map(Ordering::is_gt),
        Comparison::GreaterOrEqual => order.map(Ordering::is_ge),
    }
}

fn order(left: &Value, right: &Value) -> Option<Ordering> {
    match (left, right) {
        (Value::Null, Value::Null) => Some(Ordering::Equal),
        (Value::Bool(l), Value::Bool(r)) => Some(l.cmp(r)),
        (Value::String(l), Value::String(r)) => Some(l.cmp(r)),
        (Value::Number(l), Value::Number(r)) => match (l.as_i64(), r.as_i64()) {
            (Some(l), Some(r)) => Some(l.cmp(&r)),
            _ => l.as_f64()?.partial_cmp(&r.as_f64()?),
        },
        _ => None,
    }
}

fn look<'a>(path: &Path, row: &'a Row) -> Option<&'a Value> {
    path.iter().try_fold(row, |value, name| value.as_object()?.get(name))
}

/// Whole numbers print without a fraction.
fn tidy(number: f64) -> Value {
    #[expect(clippy::cast_possible_truncation, reason = "the bound keeps the value exactly representable")]
    if number.fract() == 0.0 && number.abs() < 9e15 {
        return Value::from(number as i64);
    }
    Value::from(number)
}
