//! How the members of a pool learn that they are active.

use ha_core::ids::MemberId;
use ha_core::time::Millis;
use serde::Serialize;

use super::Members;
use super::file::{RawFlag, RawPool};
use super::origin::{At, Origin};
use super::resolve::{DEVICE_ID_HINT, Resolver, is_device_id};

/// A boolean in a twin, for members without an agent.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize)]
pub struct FlagConfig {
    /// The module whose twin holds it; `None`: the device's own.
    pub module: Option<String>,
    /// Its keys below `properties.desired`.
    pub path: Vec<String>,
    /// The keys below `properties.reported` at which the device reports what it does.
    pub confirm: Option<Vec<String>>,
    /// How long a device is given to hear that its flag was cleared.
    pub fence_delay: Millis,
    /// How long the active device must have been disconnected to be taken for dead.
    pub down_after: Millis,
    /// Members that have an agent already.
    pub agents: Vec<MemberId>,
}

impl FlagConfig {
    /// Whether `member` is told by the flag.
    pub fn tells(&self, member: &MemberId) -> bool {
        !self.agents.contains(member)
    }
}

/// Longer than anybody waits for a failover.
const DELAY_MAX_MS: u64 = 600_000;

impl Resolver<'_> {
    pub(super) fn flag(
        &mut self,
        key: &dyn Fn(&str) -> String,
        pool: &RawPool,
        members: &Members,
    ) -> Option<FlagConfig> {
        if self.word(&key("gate"), &[&pool.gate], ["agent", "flag"]) == "agent" {
            if let Some(origin) = first_given(&pool.flag) {
                self.complain(&origin, "the pool has no flag", "add gate = \"flag\" to the pool, or remove this");
            }
            return None;
        }
        let raw = &pool.flag;
        let module = raw.module.as_ref().map(|at| self.note(&key("flag.module"), at, at.value.clone()));
        if let Some(at) = raw.module.as_ref().filter(|at| !is_device_id(&at.value) || at.value.starts_with('$')) {
            self.complain(&at.origin, format!("{:?} is no module id", at.value), DEVICE_ID_HINT);
        }
        let path = self.text(&key("flag.path"), &raw.path, "active");
        let path = self.twin_path(raw.path.as_ref(), &path);
        let confirm = raw.confirm.as_ref().map(|at| {
            let text = self.note(&key("flag.confirm"), at, at.value.clone());
            self.twin_path(Some(at), &text)
        });
        let fence_delay = self.number(&key("flag.fence_delay_ms"), &[&raw.fence_delay_ms], 30_000, 0..=DELAY_MAX_MS);
        let down_after = self.number(&key("flag.down_after_ms"), &[&raw.down_after_ms], 60_000, 0..=DELAY_MAX_MS);
        let agents = self.agents_among(key, raw, members);
        Some(FlagConfig {
            module,
            path,
            confirm,
            fence_delay: Millis(fence_delay),
            down_after: Millis(down_after),
            agents,
        })
    }

    fn twin_path(&mut self, at: Option<&At<String>>, text: &str) -> Vec<String> {
        let keys: Vec<String> = text.split('.').map(str::to_owned).collect();
        let is_key = |key: &String| {
            !key.is_empty() && key.len() <= 128 && !key.contains(|c: char| c.is_control() || " $#".contains(c))
        };
        if let Some(at) = at.filter(|_| keys.len() > 9 || !keys.iter().all(is_key)) {
            self.complain(
                &at.origin,
                format!("{text:?} is no path of a twin"),
                "keys with dots between them, at most nine, without '$', '#' and spaces: such as ha.active",
            );
        }
        keys
    }

    fn agents_among(&mut self, key: &dyn Fn(&str) -> String, raw: &RawFlag, members: &Members) -> Vec<MemberId> {
        let Some(listed) = &raw.agents else { return Vec::new() };
        for at in &listed.value {
            let known = match members {
                Members::Listed(members) => members.iter().any(|member| member.as_str() == at.value),
                Members::Selected(_) => is_device_id(&at.value),
            };
            if !known {
                let reason = format!("{:?} is no member of the pool", at.value);
                self.complain(&at.origin, reason, "list members of this pool that have an agent");
            }
        }
        let ids = listed.value.iter().map(|at| MemberId::new(at.value.clone())).collect();
        self.note(&key("flag.agents"), listed, ids)
    }
}

fn first_given(raw: &RawFlag) -> Option<Origin> {
    let texts = [&raw.module, &raw.path, &raw.confirm].into_iter().flatten().map(|at| &at.origin);
    let numbers = [&raw.fence_delay_ms, &raw.down_after_ms].into_iter().flatten().map(|at| &at.origin);
    texts.chain(numbers).chain(raw.agents.iter().map(|at| &at.origin)).next().cloned()
}
