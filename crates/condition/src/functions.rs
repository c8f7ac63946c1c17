//! The functions of the route language.

use std::borrow::Cow;

use super::Datum;

/// A function, by what it does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Function {
    Abs,
    Exp,
    Power,
    Square,
    Ceiling,
    Floor,
    Sign,
    Sqrt,
    AsNumber,
    IsArray,
    IsBool,
    IsDefined,
    IsNull,
    IsNumber,
    IsObject,
    IsPrimitive,
    IsString,
    Concat,
    Length,
    Lower,
    Upper,
    Substring,
    IndexOf,
    StartsWith,
    EndsWith,
    Contains,
}

/// Name, function, fewest and most arguments.
const TABLE: [(&str, Function, usize, usize); 26] = [
    ("abs", Function::Abs, 1, 1),
    ("exp", Function::Exp, 1, 1),
    ("power", Function::Power, 2, 2),
    ("square", Function::Square, 1, 1),
    ("ceiling", Function::Ceiling, 1, 1),
    ("floor", Function::Floor, 1, 1),
    ("sign", Function::Sign, 1, 1),
    ("sqrt", Function::Sqrt, 1, 1),
    ("as_number", Function::AsNumber, 1, 1),
    ("is_array", Function::IsArray, 1, 1),
    ("is_bool", Function::IsBool, 1, 1),
    ("is_defined", Function::IsDefined, 1, 1),
    ("is_null", Function::IsNull, 1, 1),
    ("is_number", Function::IsNumber, 1, 1),
    ("is_object", Function::IsObject, 1, 1),
    ("is_primitive", Function::IsPrimitive, 1, 1),
    ("is_string", Function::IsString, 1, 1),
    ("concat", Function::Concat, 2, 64),
    ("length", Function::Length, 1, 1),
    ("lower", Function::Lower, 1, 1),
    ("upper", Function::Upper, 1, 1),
    ("substring", Function::Substring, 2, 3),
    ("index_of", Function::IndexOf, 2, 2),
    ("starts_with", Function::StartsWith, 2, 2),
    ("ends_with", Function::EndsWith, 2, 2),
    ("contains", Function::Contains, 2, 2),
];

/// What `concat` may make.
const TEXT_BYTES_MAX: usize = 1024 * 1024;

impl Function {
    /// The function of this name, in any case.
    pub(super) fn find(name: &str) -> Option<Self> {
        TABLE.iter().find(|row| row.0.eq_ignore_ascii_case(name)).map(|row| row.1)
    }

    /// Whether it takes so many arguments.
    pub(super) fn takes(self, count: usize) -> bool {
        let (fewest, most) = self.arity();
        (fewest..=most).contains(&count)
    }

    /// How many arguments it takes, in words.
    pub(super) fn usage(self) -> String {
        match self.arity() {
            (1, 1) => "1 argument".to_owned(),
            (fewest, most) if fewest == most => format!("{fewest} arguments"),
            (fewest, most) => format!("{fewest} to {most} arguments"),
        }
    }

    fn arity(self) -> (usize, usize) {
        TABLE.iter().find(|row| row.1 == self).map_or((0, 0), |row| (row.2, row.3))
    }

    /// Its value; undefined for arguments of another type.
    pub(super) fn call<'a>(self, arguments: Vec<Datum<'a>>) -> Datum<'a> {
        let mut arguments = arguments.into_iter();
        let mut next = || arguments.next().unwrap_or(Datum::Undefined);
        match self {
            Self::Abs => number(&next(), f64::abs),
            Self::Exp => number(&next(), f64::exp),
            Self::Square => number(&next(), |x| x * x),
            Self::Ceiling => number(&next(), f64::ceil),
            Self::Floor => number(&next(), f64::floor),
            Self::Sign => number(&next(), |x| if x == 0.0 { 0.0 } else { x.signum() }),
            Self::Sqrt => number(&next(), f64::sqrt),
            Self::Power => match (next(), next()) {
                (Datum::Number(base), Datum::Number(exponent)) => finite(base.powf(exponent)),
                _ => Datum::Undefined,
            },
            Self::AsNumber => as_number(next()),
            Self::IsArray => Datum::Bool(matches!(next(), Datum::Whole(whole) if whole.is_array())),
            Self::IsBool => Datum::Bool(matches!(next(), Datum::Bool(_))),
            Self::IsDefined => Datum::Bool(next() != Datum::Undefined),
            Self::IsNull => Datum::Bool(next() == Datum::Null),
            Self::IsNumber => Datum::Bool(matches!(next(), Datum::Number(_))),
            Self::IsObject => Datum::Bool(matches!(next(), Datum::Whole(whole) if whole.is_object())),
            Self::IsPrimitive => Datum::Bool(!matches!(next(), Datum::Undefined | Datum::Whole(_))),
            Self::IsString => Datum::Bool(matches!(next(), Datum::Text(_))),
            Self::Concat => concat(arguments),
            Self::Length => text(&next(), |t| count(t.chars().count())),
            Self::Lower => text(&next(), |t| owned(t.to_lowercase())),
            Self::Upper => text(&next(), |t| owned(t.to_uppercase())),
            Self::Substring => {
                let (text, start) = (next(), next());
                substring(&text, &start, arguments.next().as_ref())
            }
            Self::IndexOf => texts(&next(), &next(), |whole, part| match whole.find(part) {
                Some(at) => count(whole[..at].chars().count()),
                None => Datum::Number(-1.0),
            }),
            Self::StartsWith => texts(&next(), &next(), |whole, part| Datum::Bool(whole.starts_with(part))),
            Self::EndsWith => texts(&next(), &next(), |whole, part| Datum::Bool(whole.ends_with(part))),
            Self::Contains => texts(&next(), &next(), |whole, part| Datum::Bool(whole.contains(part))),
        }
    }
}

/// A number, unless it is none.
pub(super) fn finite<'a>(value: f64) -> Datum<'a> {
    if value.is_finite() { Datum::Number(value) } else { Datum::Undefined }
}

fn number<'a>(datum: &Datum<'_>, f: impl FnOnce(f64) -> f64) -> Datum<'a> {
    match datum {
        Datum::Number(x) => finite(f(*x)),
        _ => Datum::Undefined,
    }
}

fn text<'a>(datum: &Datum<'_>, f: impl FnOnce(&str) -> Datum<'a>) -> Datum<'a> {
    match datum {
        Datum::Text(text) => f(text),
        _ => Datum::Undefined,
    }
}

fn texts<'a>(left: &Datum<'_>, right: &Datum<'_>, f: impl FnOnce(&str, &str) -> Datum<'a>) -> Datum<'a> {
    match (left, right) {
        (Datum::Text(left), Datum::Text(right)) => f(left, right),
        _ => Datum::Undefined,
    }
}

fn as_number(datum: Datum<'_>) -> Datum<'_> {
    match datum {
        Datum::Number(_) => datum,
        Datum::Text(text) => text.trim().parse().map_or(Datum::Undefined, finite),
        _ => Datum::Undefined,
    }
}

fn concat<'a>(parts: impl Iterator<Item = Datum<'a>>) -> Datum<'a> {
    let mut whole = String::new();
    for part in parts {
        let Datum::Text(part) = part else {
            return Datum::Undefined;
        };
        if whole.len() + part.len() > TEXT_BYTES_MAX {
            return Datum::Undefined;
        }
        whole += &part;
    }
    owned(whole)
}

fn substring<'a>(text: &Datum<'_>, start: &Datum<'_>, length: Option<&Datum<'_>>) -> Datum<'a> {
    let (Datum::Text(text), Some(start)) = (text, place(start)) else {
        return Datum::Undefined;
    };
    let rest = text.chars().skip(start);
    match length {
        None => owned(rest.collect()),
        Some(length) => place(length).map_or(Datum::Undefined, |length| owned(rest.take(length).collect())),
    }
}

/// A position or a length: a whole number that is not negative.
fn place(datum: &Datum<'_>) -> Option<usize> {
    match datum {
        Datum::Number(x) if x.fract() == 0.0 && (0.0..=4_294_967_295.0).contains(x) => {
            #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a whole number in range")]
            let place = *x as usize;
            Some(place)
        }
        _ => None,
    }
}

fn count<'a>(n: usize) -> Datum<'a> {
    #[expect(clippy::cast_precision_loss, reason = "texts are shorter than 2^53 characters")]
    let n = n as f64;
    Datum::Number(n)
}

fn owned<'a>(text: String) -> Datum<'a> {
    Datum::Text(Cow::Owned(text))
}
