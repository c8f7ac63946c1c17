//! The names of a pool's own deployments.

use crate::Digest;

/// What a release is to the members of a pool.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Part {
    /// All that they run.
    Base,
    /// A layer of this name over that.
    Layer(String),
}

impl Part {
    /// The key in a member's tags, beside its role, that holds the id of the release it is to run. There is no `-` in it: in target
    /// conditions that is a minus.
    pub fn tag(&self) -> String {
        match self {
            Self::Base => "release".to_owned(),
            Self::Layer(name) => format!("layer_{name}"),
        }
    }

    fn prefix(&self, pool: &str) -> String {
        match self {
            Self::Base => format!("ha-{pool}-"),
            Self::Layer(name) => format!("ha-{pool}+{name}-"),
        }
    }
}

/// Whom a release is for: the members whose tag names it. A member's role would move the deployment at each handover.
pub fn target_condition(pool: &str, part: &Part, id: &str) -> String {
    format!("tags.ha.{pool}.{} = '{id}'", part.tag())
}

/// The id of a pool's deployment, as the hub takes it: lower-case letters, digits and `-+_`. `name` is what tells releases apart.
pub fn id(pool: &str, part: &Part, name: &str) -> String {
    format!("{}{name}", part.prefix(pool))
}

/// The name of a release that nobody has named.
pub fn name(content: Digest) -> String {
    content.short()
}

/// Whether `id` is one of this part of the pool's deployments. No pool's name has a `-` or `+`, so nothing else looks like it.
pub fn is_of(id: &str, pool: &str, part: &Part) -> bool {
    id.strip_prefix(&part.prefix(pool)).is_some_and(|name| !name.is_empty())
}

/// Whether `id` is any of the pool's deployments.
pub fn is_of_pool(id: &str, pool: &str) -> bool {
    id.strip_prefix("ha-").and_then(|rest| rest.strip_prefix(pool)).is_some_and(|rest| rest.starts_with(['-', '+']))
}

/// Whether a text can name a release or a layer: lower-case letters, digits and `_`, at most 32.
pub fn is_name(text: &str) -> bool {
    (1..=32).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_tell_pools_and_parts_apart() {
        let base = id("press_1", &Part::Base, "v2");
        let layer = id("press_1", &Part::Layer("models".into()), "v2");
        assert_eq!((base.as_str(), layer.as_str()), ("ha-press_1-v2", "ha-press_1+models-v2"));
        assert!(is_of(&base, "press_1", &Part::Base) && !is_of(&base, "press", &Part::Base));
        assert!(is_of(&layer, "press_1", &Part::Layer("models".into())) && !is_of(&layer, "press_1", &Part::Base));
        assert!(!is_of(&layer, "press_1", &Part::Layer("model".into())));
        assert!(is_of_pool(&base, "press_1") && is_of_pool(&layer, "press_1") && !is_of_pool(&base, "press"));
        assert!(!is_of("ha-press_1-", "press_1", &Part::Base));
    }
}
