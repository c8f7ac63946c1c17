use ha_core::time::Millis;

use super::Resolver;
use crate::config::file::RawHook;
use crate::config::origin::{At, Origin};
use crate::config::{Address, HookConfig, HookEvent, HookTarget, OnTimeout, SecretHeader, SecretPlace, WebhookConfig};

/// So many followers have room in a pool's record, and there are others besides hooks.
const HOOKS_MAX: usize = 12;

/// A hook that needs longer had better begin something of its own and be done.
const TIMEOUT_MAX: u64 = 120_000;

const TARGET_HINT: &str = "webhook = \"https://…\", webhook_env, webhook_file, or command = [\"/path/to/program\"]";

impl Resolver<'_> {
    /// The hooks of a pool: those for all pools, then its own.
    pub(super) fn hooks(
        &mut self,
        key: &dyn Fn(&str) -> String,
        all: &[At<RawHook>],
        own: &[At<RawHook>],
    ) -> Vec<HookConfig> {
        let mut hooks: Vec<HookConfig> = Vec::new();
        for at in all.iter().chain(own) {
            let Some(hook) = self.hook(key, at) else { continue };
            if hooks.iter().any(|other| other.name == hook.name) {
                let reason = format!("the hook {} is there already", hook.name);
                self.complain(&at.value.name.origin, reason, "a name stands for one hook in a pool");
            } else if hooks.len() == HOOKS_MAX {
                let reason = format!("a pool has at most {HOOKS_MAX} hooks");
                self.complain(&at.value.name.origin, reason, "let one receiver tell the others");
            } else {
                hooks.push(hook);
            }
        }
        hooks
    }

    fn hook(&mut self, key: &dyn Fn(&str) -> String, at: &At<RawHook>) -> Option<HookConfig> {
        let raw = &at.value;
        let name = &raw.name.value;
        if !is_hook_name(name) {
            let reason = format!("{name:?} is no name of a hook");
            let hint = "a lower-case letter, then lower-case letters, digits, '-' or '_', at most 32 in all";
            self.complain(&raw.name.origin, reason, hint);
            return None;
        }
        let key = |rest: &str| key(&format!("hook.{name}.{rest}"));
        let on = self.hook_event(&key, raw);
        let target = self.hook_target(&key, raw)?;
        let timeout = self.number(&key("timeout_ms"), &[&raw.timeout_ms], 5_000, 100..=TIMEOUT_MAX);
        let retries = self.number(&key("retries"), &[&raw.retries], 2, 0..=10);
        let on_timeout = match self.word(&key("on_timeout"), &[&raw.on_timeout], ["veto", "go"]) {
            "go" => OnTimeout::Go,
            _ => OnTimeout::Veto,
        };
        if let (Some(at), HookEvent::AfterHandover) = (&raw.on_timeout, on) {
            let reason = "on_timeout is for hooks that are asked before a change";
            self.complain(&at.origin, reason, "leave it out: what cannot be delivered is tried again");
        }
        let retries = u32::try_from(retries).unwrap_or(2);
        Some(HookConfig { name: name.clone(), on, target, timeout: Millis(timeout), retries, on_timeout })
    }

    fn hook_event(&mut self, key: &dyn Fn(&str) -> String, raw: &RawHook) -> HookEvent {
        let given = [&Some(raw.on.clone())];
        let words = [HookEvent::AfterHandover, HookEvent::BeforeSwitchover].map(HookEvent::as_str);
        match self.word(&key("on"), &given, words) {
            word if word == HookEvent::BeforeSwitchover.as_str() => HookEvent::BeforeSwitchover,
            _ => HookEvent::AfterHandover,
        }
    }

    fn hook_target(&mut self, key: &dyn Fn(&str) -> String, raw: &RawHook) -> Option<HookTarget> {
        let webhooks = [&raw.webhook, &raw.webhook_env, &raw.webhook_file];
        let given: Vec<&At<String>> = webhooks.into_iter().flatten().collect();
        if given.len() + usize::from(raw.command.is_some()) != 1 {
            self.complain(&raw.name.origin, format!("the hook {} calls not one thing", raw.name.value), TARGET_HINT);
            return None;
        }
        if let Some(command) = &raw.command {
            return self.hook_command(key, raw, command);
        }
        let address = self.hook_address(key, raw)?;
        let secret = self.hook_secret(key, raw);
        let ca_file = raw.ca_file.as_ref().map(|at| self.note(&key("ca_file"), at, self.beside(&at.value)));
        Some(HookTarget::Webhook(WebhookConfig { address, secret, ca_file }))
    }

    fn hook_command(
        &mut self,
        key: &dyn Fn(&str) -> String,
        raw: &RawHook,
        command: &At<Vec<String>>,
    ) -> Option<HookTarget> {
        for at in [&raw.secret_env, &raw.secret_file, &raw.secret_header, &raw.ca_file].into_iter().flatten() {
            self.complain(&at.origin, "this is for webhooks", "a command finds its own secrets");
        }
        let program = command.value.first().map_or("", String::as_str);
        if program.is_empty() || command.value.iter().any(|word| word.contains('\0')) {
            let hint = "command = [\"/usr/local/bin/may-move\", \"--line\", \"1\"]";
            self.complain(&command.origin, "this is no program to run", hint);
            return None;
        }
        Some(HookTarget::Command(self.note(&key("command"), command, command.value.clone())))
    }

    fn hook_address(&mut self, key: &dyn Fn(&str) -> String, raw: &RawHook) -> Option<Address> {
        if let Some(at) = &raw.webhook_env {
            let place = SecretPlace::Environment(self.note(&key("webhook_env"), at, at.value.clone()));
            return Some(Address::Secret(place));
        }
        if let Some(at) = &raw.webhook_file {
            let place = SecretPlace::File(self.note(&key("webhook_file"), at, self.beside(&at.value)));
            return Some(Address::Secret(place));
        }
        let at = raw.webhook.as_ref()?;
        if at.value.contains(['?', '@']) {
            let hint = "name the place of the address instead: webhook_env or webhook_file";
            self.complain(&at.origin, "this address may hold a secret", hint);
            return None;
        }
        if let Err((reason, hint)) = crate::hook::check_address(&at.value) {
            self.complain(&at.origin, reason, hint);
            return None;
        }
        Some(Address::Here(self.note(&key("webhook"), at, at.value.clone())))
    }

    fn hook_secret(&mut self, key: &dyn Fn(&str) -> String, raw: &RawHook) -> Option<SecretHeader> {
        let place = match (&raw.secret_env, &raw.secret_file) {
            (Some(_), Some(at)) => {
                self.complain(&at.origin, "secret_env is given as well", "keep one of the two");
                return None;
            }
            (Some(at), None) => SecretPlace::Environment(self.note(&key("secret_env"), at, at.value.clone())),
            (None, Some(at)) => SecretPlace::File(self.note(&key("secret_file"), at, self.beside(&at.value))),
            (None, None) => {
                if let Some(at) = &raw.secret_header {
                    self.complain(&at.origin, "there is no secret for this header", "secret_env or secret_file");
                }
                return None;
            }
        };
        let name = self.text(&key("secret_header"), &raw.secret_header, "Authorization");
        if !crate::hook::is_header_name(&name) {
            let origin = raw.secret_header.as_ref().map_or(Origin::File(0..0), |at| at.origin.clone());
            self.complain(&origin, format!("{name:?} is no name of a header"), "such as X-Api-Key");
        }
        Some(SecretHeader { name, place })
    }
}

fn is_hook_name(name: &str) -> bool {
    let mut chars = name.chars();
    name.len() <= 32
        && chars.next().is_some_and(|first| first.is_ascii_lowercase())
        && chars.all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || "-_".contains(c))
}
