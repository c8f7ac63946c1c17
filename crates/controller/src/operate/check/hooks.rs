use super::{Check, Outcome};
use crate::config::{HookConfig, HookTarget};

pub(super) const CHECK: Check =
    Check { id: "hook", description: "the program of a hook is there, or its address and secret can be read" };

/// Calls nobody: a hook that is told something should be told the truth.
pub(super) fn check(hook: &HookConfig) -> Outcome {
    let what = match &hook.target {
        HookTarget::Webhook(_) => "address, secret and certificates can be read",
        HookTarget::Command(_) => "the program is there",
    };
    match crate::hook::look(&hook.target) {
        Ok(()) => Outcome::ok(format!("{what}; it is not called by this check")),
        Err(why) => {
            Outcome::error(why, "mend it here, where the controller runs, or take the hook off the configuration")
        }
    }
}
