//! Columns of a row, and what becomes of many rows.

use std::collections::HashMap;

use serde_json::{Map, Value};

use super::eval::tidy;
use super::names::Path;
use super::{Aggregate, Item, What};

pub(super) fn project(items: &[Item], row: &Value) -> Value {
    let columns = items.iter().filter_map(|item| match &item.what {
        What::Path(path) => Some((column(item, path), path.look(row)?.clone())),
        What::Aggregate(..) => None,
    });
    Value::Object(columns.collect())
}

pub(super) fn fold(items: &[Item], group_by: Option<&Path>, rows: &[Value]) -> Vec<Value> {
    let Some(path) = group_by else {
        return vec![fold_one(items, &rows.iter().collect::<Vec<_>>())];
    };
    let mut places = HashMap::new();
    let mut groups: Vec<Vec<&Value>> = Vec::new();
    for row in rows {
        let place = *places.entry(path.look(row).map(Value::to_string)).or_insert(groups.len());
        match groups.get_mut(place) {
            Some(members) => members.push(row),
            None => groups.push(vec![row]),
        }
    }
    groups.iter().map(|members| fold_one(items, members)).collect()
}

fn fold_one(items: &[Item], rows: &[&Value]) -> Value {
    let mut out = Map::new();
    let mut unnamed = 0;
    for item in items {
        let (name, value) = match &item.what {
            What::Path(path) => (column(item, path), rows.first().and_then(|row| path.look(row)).cloned()),
            What::Aggregate(aggregate, path) => {
                unnamed += usize::from(item.alias.is_none());
                let name = item.alias.clone().unwrap_or_else(|| format!("${unnamed}"));
                (name, accumulate(*aggregate, path.as_ref(), rows))
            }
        };
        if let Some(value) = value {
            out.insert(name, value);
        }
    }
    Value::Object(out)
}

fn accumulate(aggregate: Aggregate, path: Option<&Path>, rows: &[&Value]) -> Option<Value> {
    let at = |row: &&Value| path.and_then(|path| path.look(row)).and_then(Value::as_f64);
    let numbers = rows.iter().filter_map(at);
    let number = match aggregate {
        Aggregate::Count => return Some(Value::from(rows.len())),
        Aggregate::Sum => numbers.sum(),
        Aggregate::Avg => {
            let (count, sum) = numbers.fold((0.0, 0.0), |(count, sum), n| (count + 1.0, sum + n));
            sum / count
        }
        Aggregate::Min => numbers.reduce(f64::min)?,
        Aggregate::Max => numbers.reduce(f64::max)?,
    };
    number.is_finite().then(|| tidy(number))
}

fn column(item: &Item, path: &Path) -> String {
    item.alias.clone().unwrap_or_else(|| path.last().to_owned())
}
