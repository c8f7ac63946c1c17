#![no_main]
//! Conditions of message routes, asked of a message whose body is the rest of the input.

use ha_condition::{Condition, Lookup, Subject, Verdict};
use libfuzzer_sys::fuzz_target;
use serde_json::json;

fuzz_target!(|text: &str| {
    let (condition, body) = text.split_once('\0').unwrap_or((text, "{}"));
    let body = serde_json::from_str(body).ok();
    let pair = |name: &str, value: &str| (name.to_owned(), value.to_owned());
    let application = [pair("level", "3"), pair("kind", "press"), pair("bare", "")];
    let system = [pair("contentType", "application/json"), pair("iothub-connection-device-id", "d")];
    let twin = json!({"tags": {"a": {"b": [1, "x"]}}, "properties": {"desired": {"n": 2}, "reported": {}}});
    let subject = Subject { application: &application, system: &system, body: body.as_ref(), twin: Some(&twin) };
    if let Ok(lookup) = Lookup::compile(condition) {
        lookup.text(&subject);
    }
    let Ok(compiled) = Condition::compile(condition) else { return };
    let verdict = compiled.ask(&subject);
    assert_eq!(compiled.ask(&subject), verdict, "asking changed something");
    let nothing = Subject { application: &[], system: &[], body: None, twin: None };
    compiled.ask(&nothing);
    if !compiled.needs_twin() {
        assert_eq!(compiled.ask(&Subject { twin: None, ..subject }), verdict, "the twin mattered");
    }
    let opposite = match verdict {
        Verdict::True => Verdict::False,
        Verdict::False => Verdict::True,
        Verdict::Undefined => Verdict::Undefined,
    };
    // One more level may be one too many.
    if let Ok(negated) = Condition::compile(&format!("NOT ({condition})")) {
        assert_eq!(negated.ask(&subject), opposite, "NOT does not negate");
    }
});
