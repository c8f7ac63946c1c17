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
    // Another key must not make it too long.
    let roomy = text.len() < 4_000;
    if let Some(parsed) = text.parse::<ConnectionString>().ok().filter(|_| roomy) {
        assert_eq!(shown(&parsed), shown(&with_another_key(text)), "what is shown tells something of the key");
    }
});

fn shown(parsed: &ConnectionString) -> String {
    format!("{parsed:?}")
}

fn with_another_key(text: &str) -> ConnectionString {
    let part = |part: &str| match part.split_once('=') {
        Some((name, _)) if matches!(name.trim(), "SharedAccessKey" | "SharedAccessSignature") => format!("{name}=AAAA"),
        _ => part.to_owned(),
    };
    let parts: Vec<_> = text.split(';').map(part).collect();
    parts.join(";").parse().expect("a connection string with another key is one too")
}
