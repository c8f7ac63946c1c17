//! Settings in which members are meant to differ.

use std::collections::BTreeMap;

use serde::Serialize;
use serde_json::{Value, json};

use crate::runs::{Place, Runs};
use crate::{Digest, diff::Difference};

/// Which settings are not compared between members. A place stands for all that lies below it as well.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Debug, Serialize)]
pub struct Ignore {
    /// Not in any member.
    pub of_all: Vec<Place>,
    /// Not in the member of this name.
    pub of_member: BTreeMap<String, Vec<Place>>,
}

/// What a member is told, for comparing it with others without having both at hand.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Told {
    /// Of all that no member has for itself.
    pub common: Digest,
    /// Of what other members have for themselves and this one has not, by place.
    pub apart: BTreeMap<String, Digest>,
}

impl Ignore {
    /// Whether nothing is to be ignored.
    pub fn is_empty(&self) -> bool {
        self.of_all.is_empty() && self.of_member.is_empty()
    }

    /// Whether `difference` between these members is meant.
    pub fn covers(&self, difference: &Difference, members: &[&str]) -> bool {
        let own = members.iter().filter_map(|member| self.of_member.get(*member)).flatten();
        self.of_all.iter().chain(own).any(|ignored| ignored.holds(&difference.place))
    }

    /// What `member` is told, without what is ignored.
    pub fn told(&self, member: &str, told: &Runs) -> Told {
        let own = self.of_member.get(member);
        let others = self.of_member.values().flatten();
        let mut common = told.clone();
        common.retain(|place| !self.of_all.iter().chain(others.clone()).any(|ignored| ignored.holds(place)));
        let is_own = |place: &Place| self.of_all.iter().chain(own.into_iter().flatten()).any(|o| o.holds(place));
        let apart = others.filter(|place| !is_own(place));
        let apart = apart.map(|place| (place.to_string(), digest_at(place, told))).collect();
        Told { common: common.digest(), apart }
    }
}

fn digest_at(place: &Place, told: &Runs) -> Digest {
    let settings = told.modules.iter().chain(&told.twins);
    let there = settings.filter(|(found, _)| place.holds(found));
    Digest::of(&there.map(|(found, value)| json!([found.key, value])).collect::<Value>())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(port: &str, mode: &str) -> Runs {
        let entry =
            json!({"settings": {"image": "press:1"}, "env": {"PORT": {"value": port}, "MODE": {"value": mode}}});
        let section = json!({"modules": {"press": entry}});
        let section = section.as_object().expect("an object").clone();
        Runs::told(&[("$edgeAgent".to_owned(), section)].into())
    }

    fn place(text: &str) -> Place {
        text.parse().expect("a place")
    }

    #[test]
    fn what_is_ignored_makes_no_difference() {
        let of_all = Ignore { of_all: vec![place("press env.PORT")], ..Ignore::default() };
        assert_eq!(of_all.told("a", &told("S0", "x")), of_all.told("b", &told("S1", "x")));
        assert_ne!(of_all.told("a", &told("S0", "x")), of_all.told("b", &told("S0", "y")));
        let broad = Ignore { of_all: vec![place("press env")], ..Ignore::default() };
        assert_eq!(broad.told("a", &told("S0", "x")), broad.told("b", &told("S1", "y")));
        let other = Ignore { of_all: vec![place("press env.POR"), place("other env")], ..Ignore::default() };
        assert_ne!(other.told("a", &told("S0", "x")), other.told("b", &told("S1", "x")));
    }

    #[test]
    fn what_one_member_has_for_itself_is_compared_among_the_others() {
        let ignore =
            Ignore { of_member: [("a".to_owned(), vec![place("press env.PORT")])].into(), ..Ignore::default() };
        let [a, b, c] = [("a", "S0"), ("b", "S1"), ("c", "S2")].map(|(name, port)| ignore.told(name, &told(port, "x")));
        assert_eq!((&a.common, &b.common), (&b.common, &c.common));
        assert!(a.apart.is_empty());
        assert_ne!(b.apart["press env.PORT"], c.apart["press env.PORT"]);
        let difference = Difference { place: place("press env.PORT"), left: None, right: None };
        assert!(ignore.covers(&difference, &["a", "b"]) && !ignore.covers(&difference, &["b", "c"]));
    }
}
