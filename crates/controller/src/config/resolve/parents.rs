use super::{DEVICE_ID_HINT, Resolver, is_device_id};
use crate::config::file::RawParents;
use crate::config::origin::At;
use crate::config::{CHILDREN_MAX, Members, ParentsConfig};

impl Resolver<'_> {
    pub(super) fn parents(
        &mut self,
        key: &dyn Fn(&str) -> String,
        given: Option<&At<RawParents>>,
        members: &Members,
    ) -> Option<ParentsConfig> {
        let at = given?;
        let children = at.value.children.as_ref();
        let usual = if children.is_some() { "listed" } else { "discovered" }.to_owned();
        let mode = self.value(&key("parents.mode"), &[&at.value.mode], usual);
        match (mode.as_str(), children) {
            ("listed", Some(children)) => Some(self.children(key, children, members)),
            ("listed", None) => {
                let hint = "children = [\"sensor-1\", \"sensor-2\"], or mode = \"discovered\"";
                self.complain(&at.origin, "parents lists no children", hint);
                None
            }
            ("discovered", None) => Some(ParentsConfig::Discovered),
            ("discovered", Some(children)) => {
                self.complain(&children.origin, "children are listed and discovered", "keep one of the two");
                None
            }
            (other, _) => {
                let origin = at.value.mode.as_ref().map_or(&at.origin, |mode| &mode.origin);
                let reason = format!("mode = {other:?} is neither \"listed\" nor \"discovered\"");
                self.complain(origin, reason, "choose one of the two");
                None
            }
        }
    }

    fn children(
        &mut self,
        key: &dyn Fn(&str) -> String,
        listed: &At<Vec<At<String>>>,
        members: &Members,
    ) -> ParentsConfig {
        let mut children: Vec<String> = Vec::new();
        if listed.value.len() > CHILDREN_MAX {
            let reason =
                format!("{} children are listed; IoT Hub lets a gateway have {CHILDREN_MAX}", listed.value.len());
            self.complain(
                &listed.origin,
                reason,
                "split the pool, or put a gateway between: its own children come along",
            );
        }
        let is_member = |id: &str| matches!(members, Members::Listed(all) if all.iter().any(|m| m.as_str() == id));
        for at in &listed.value {
            if !is_device_id(&at.value) {
                self.complain(&at.origin, format!("{:?} is no device id", at.value), DEVICE_ID_HINT);
            } else if is_member(&at.value) {
                let reason = format!("{} is a member of the pool and cannot be its child", at.value);
                self.complain(&at.origin, reason, "list the devices that send through the pool's gateways");
            } else if children.contains(&at.value) {
                self.complain(&at.origin, format!("{} is there already", at.value), "each child once");
            } else {
                children.push(at.value.clone());
            }
        }
        ParentsConfig::Listed(self.note(&key("parents.children"), listed, children))
    }
}
