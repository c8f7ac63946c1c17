//! Conditions over a row. Missing is undefined, and an undefined condition does not hold.

use std::borrow::Cow;
use std::cmp::Ordering;

use serde_json::Value;

use super::{Comparison, Expr, is_primitive, order};

pub(super) fn holds(condition: &Expr, row: &Value) -> bool {
    truth(condition, row) == Some(true)
}

fn truth(expr: &Expr, row: &Value) -> Option<bool> {
    match expr {
        Expr::And(terms) => all(terms, row, false),
        Expr::Or(terms) => all(terms, row, true),
        Expr::Not(inner) => truth(inner, row).map(|t| !t),
        Expr::IsDefined(path) => Some(path.look(row).is_some()),
        Expr::ArrayContains(path, item) => {
            let list = path.look(row)?.as_array()?;
            Some(list.iter().any(|one| order(one, item).is_some_and(Ordering::is_eq)))
        }
        Expr::In(left, set, negated) => Some(set.contains(&*worth(left, row)?) != *negated),
        Expr::Compare(operator, left, right) => compare(*operator, &*worth(left, row)?, &*worth(right, row)?),
        other => worth(other, row)?.as_bool(),
    }
}

/// `AND` is decided by the first false term, `OR` by the first true one; else an undefined term leaves it open.
fn all(terms: &[Expr], row: &Value, deciding: bool) -> Option<bool> {
    let mut open = false;
    for term in terms {
        match truth(term, row) {
            Some(value) if value == deciding => return Some(deciding),
            Some(_) => {}
            None => open = true,
        }
    }
    (!open).then_some(!deciding)
}

fn worth<'a>(expr: &'a Expr, row: &'a Value) -> Option<Cow<'a, Value>> {
    match expr {
        Expr::Path(path) => path.look(row).map(Cow::Borrowed),
        Expr::Const(value) => Some(Cow::Borrowed(value)),
        Expr::Undefined => None,
        Expr::Negative(_) | Expr::Arithmetic(..) => number(expr, row).map(tidy).map(Cow::Owned),
        condition => truth(condition, row).map(Value::Bool).map(Cow::Owned),
    }
}

fn number(expr: &Expr, row: &Value) -> Option<f64> {
    match expr {
        Expr::Negative(inner) => number(inner, row).map(|n| -n),
        Expr::Arithmetic(first, rest) => rest.iter().try_fold(number(first, row)?, |left, (sign, right)| {
            let right = number(right, row)?;
            let result = match sign {
                '+' => left + right,
                '-' => left - right,
                '*' => left * right,
                '/' => left / right,
                _ => left % right,
            };
            result.is_finite().then_some(result)
        }),
        other => worth(other, row)?.as_f64(),
    }
}

fn compare(operator: Comparison, left: &Value, right: &Value) -> Option<bool> {
    if !is_primitive(left) || !is_primitive(right) {
        return None;
    }
    let order = order(left, right);
    match operator {
        Comparison::Equal => Some(order.is_some_and(Ordering::is_eq)),
        Comparison::NotEqual => Some(!order.is_some_and(Ordering::is_eq)),
        Comparison::Less => order.map(Ordering::is_lt),
        Comparison::LessOrEqual => order.map(Ordering::is_le),
        Comparison::Greater => order.map(Ordering::is_gt),
        Comparison::GreaterOrEqual => order.map(Ordering::is_ge),
    }
}

/// Whole numbers print without a fraction.
pub(super) fn tidy(number: f64) -> Value {
    #[expect(clippy::cast_possible_truncation, reason = "the bound keeps the value exactly representable")]
    if number.fract() == 0.0 && number.abs() < 9e15 {
        return Value::from(number as i64);
    }
    Value::from(number)
}
