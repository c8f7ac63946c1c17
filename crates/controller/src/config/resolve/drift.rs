//! Settings in which members are meant to differ.

use std::collections::BTreeMap;

use ha_core::ids::MemberId;
use ha_deployment::{Ignore, Place};

use super::Resolver;
use crate::config::Members;
use crate::config::file::RawDrift;
use crate::config::origin::At;

impl Resolver<'_> {
    pub(super) fn ignore(&mut self, key: &dyn Fn(&str) -> String, raw: &RawDrift, members: &Members) -> Ignore {
        let mut ignore = Ignore::default();
        if let Some(at) = &raw.ignore {
            ignore.of_all = self.places(&at.value);
            self.note(&key("drift.ignore"), at, &ignore.of_all);
        }
        if let Some(at) = &raw.ignore_of {
            for (member, places) in &at.value {
                self.known_member(member, at, members);
                ignore.of_member.insert(member.clone(), self.places(places));
            }
            self.note(&key("drift.ignore_of"), at, &ignore.of_member);
        }
        ignore
    }

    fn places(&mut self, given: &[At<String>]) -> Vec<Place> {
        let mut places = Vec::new();
        for at in given {
            match at.value.parse::<Place>() {
                Ok(place) => places.push(place),
                Err(why) => self.complain(&at.origin, format!("{:?} is no setting", at.value), why),
            }
        }
        places
    }

    fn known_member(&mut self, member: &str, at: &At<BTreeMap<String, Vec<At<String>>>>, members: &Members) {
        if let Members::Listed(listed) = members
            && !listed.iter().any(|known| known.as_str() == member)
        {
            let known: Vec<&str> = listed.iter().map(MemberId::as_str).collect();
            self.complain(
                &at.origin,
                format!("{member} is no member of the pool"),
                format!("they are {}", known.join(", ")),
            );
        }
    }
}
