#![no_main]
//! Tokens and connection strings.

use ha_wire::sas::Token;
use ha_wire::{ConnectionString, SharedAccessKey};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    if let Ok(token) = Token::parse(text) {
        assert!(!token.verify(&SharedAccessKey::from_bytes([7; 32])), "a forged signature is taken");
        if let Ok(scope) = token.scope() {
            scope.covers(&["devices", "d", "modules", "m"]);
        }
    }
    if let Ok(parsed) = text.parse::<ConnectionString>() {
        let names = [parsed.device_id(), parsed.module_id(), parsed.policy()];
        let in_name = names.into_iter().flatten().any(|name| name.contains("c2VjcmV0"));
        assert!(in_name || !format!("{parsed:?}").contains("c2VjcmV0"), "a key is shown");
    }
});
