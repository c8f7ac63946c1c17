//! Scripts in TOML.

use std::time::Duration;

use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value, json};
use toml::Spanned;

use super::{Action, Step};
use crate::doors::Restart;
use crate::faults::{DeviceFault, RestFault, RestKind};
use crate::hub::Id;
use crate::throttle::Throttling;

const AT_MAX: Duration = Duration::from_secs(30 * 24 * 3600);

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    #[serde(default)]
    seed: u64,
    #[serde(default)]
    step: Vec<Spanned<Map<String, Value>>>,
}

/// All steps in the order of their time; a fault with an end makes two of them.
pub(super) fn steps(text: &str) -> Result<Vec<Step>, String> {
    let file: File = toml::from_str(text).map_err(|e| e.to_string())?;
    let mut dice = StdRng::seed_from_u64(file.seed);
    let mut steps = Vec::new();
    for (index, step) in file.step.into_iter().enumerate() {
        let line = text[..step.span().start].matches('\n').count() + 1;
        let seed = file.seed.wrapping_add(index as u64);
        let read = one(step.into_inner(), seed, &mut dice).map_err(|reason| format!("line {line}: {reason}"))?;
        steps.extend(read);
    }
    // Stable: what is written first happens first.
    steps.sort_by_key(|step| step.at);
    Ok(steps)
}

fn one(mut step: Map<String, Value>, seed: u64, dice: &mut StdRng) -> Result<Vec<Step>, String> {
    let mut at = span(&mut step, "at")?.ok_or("'at' is missing, such as at = \"5s\"")?;
    if let Some(jitter) = span(&mut step, "jitter")? {
        at += jitter.mul_f64(dice.random::<f64>());
    }
    let lasts = span(&mut step, "for")?;
    let (action, end) = match (step.remove("device"), step.remove("hub")) {
        (Some(Value::String(device)), None) => on_device(device, step, seed)?,
        (None, Some(Value::String(fault))) => on_hub(&fault, step, seed)?,
        _ => return Err("a step names either a device or a fault of the hub: device = \"…\" or hub = \"…\"".into()),
    };
    let mut steps = vec![Step { at, action }];
    match (lasts, end) {
        (Some(lasts), Some(end)) => steps.push(Step { at: at + lasts, action: end }),
        (Some(_), None) => return Err("'for' makes no sense here: it happens at once".into()),
        (None, _) => {}
    }
    Ok(steps)
}

fn on_device(device: String, mut step: Map<String, Value>, seed: u64) -> Result<(Action, Option<Action>), String> {
    if let Some(count) = step.remove("flap") {
        let count = count.as_u64().filter(|n| (1..=1000).contains(n)).ok_or("flap is a count of 1 to 1000")?;
        let module = step.remove("module").and_then(|module| module.as_str().map(str::to_owned));
        nothing_else(&step)?;
        let count = u32::try_from(count).unwrap_or(1);
        return Ok((Action::Flap(Id { device, module }, count), None));
    }
    if step.is_empty() {
        return Err("say what is wrong: cut, delay_ms, drop, frozen or flap".into());
    }
    let fault: DeviceFault = read(step, seed)?;
    fault.check()?;
    Ok((Action::Device(device.clone(), fault), Some(Action::HealDevice(device))))
}

fn on_hub(fault: &str, mut step: Map<String, Value>, seed: u64) -> Result<(Action, Option<Action>), String> {
    let mut number = |name: &str| {
        let number = step.remove(name).and_then(|value| value.as_i64());
        number.ok_or_else(|| format!("'{fault}' needs {name}"))
    };
    match fault {
        "frozen" => nothing_else(&step).map(|()| (Action::Frozen(true), Some(Action::Frozen(false)))),
        "clock" => {
            let skew_ms = number("skew_ms")?;
            nothing_else(&step).map(|()| (Action::Clock(skew_ms), Some(Action::Clock(0))))
        }
        "index" => {
            let lag_ms = u64::try_from(number("lag_ms")?).map_err(|_| "lag_ms is not negative")?;
            nothing_else(&step).map(|()| (Action::Index(lag_ms), Some(Action::Index(0))))
        }
        "restart" => {
            let restart: Restart = serde_json::from_value(Value::Object(step)).map_err(|e| e.to_string())?;
            restart.check()?;
            Ok((Action::Restart(restart), None))
        }
        "throttles" => {
            let throttling: Throttling = serde_json::from_value(Value::Object(step)).map_err(|e| e.to_string())?;
            throttling.check()?;
            Ok((Action::Throttles(Some(throttling)), Some(Action::Throttles(None))))
        }
        _ => {
            let kind: RestKind = serde_json::from_value(json!(fault)).map_err(|_| {
                let known =
                    "throttle, server_error, refusal, lost_answers, latency, frozen, clock, index, restart, throttles";
                format!("'{fault}' is none of {known}")
            })?;
            let fault: RestFault = read(step, seed)?;
            fault.check(kind)?;
            Ok((Action::Rest(kind, fault), Some(Action::HealRest(kind))))
        }
    }
}

fn read<T: DeserializeOwned>(mut step: Map<String, Value>, seed: u64) -> Result<T, String> {
    step.entry("seed").or_insert_with(|| json!(seed));
    serde_json::from_value(Value::Object(step)).map_err(|e| e.to_string())
}

fn nothing_else(step: &Map<String, Value>) -> Result<(), String> {
    match step.keys().next() {
        Some(key) => Err(format!("'{key}' makes no sense here")),
        None => Ok(()),
    }
}

/// `500ms`, `5s`, `2m`, `1h`.
fn span(step: &mut Map<String, Value>, name: &str) -> Result<Option<Duration>, String> {
    let Some(value) = step.remove(name) else {
        return Ok(None);
    };
    let bad = || format!("'{name}' is a span of time such as \"500ms\", \"5s\", \"2m\" or \"1h\"");
    let text = value.as_str().ok_or_else(bad)?;
    let digits = text.find(|c: char| !c.is_ascii_digit()).ok_or_else(bad)?;
    let (number, unit) = text.split_at(digits);
    let number: u64 = number.parse().map_err(|_| bad())?;
    let unit_ms: u64 = match unit {
        "ms" => 1,
        "s" => 1000,
        "m" => 60_000,
        "h" => 3_600_000,
        _ => return Err(bad()),
    };
    let span = number.checked_mul(unit_ms).map(Duration::from_millis);
    span.filter(|span| *span <= AT_MAX).map(Some).ok_or_else(|| format!("'{name}' is at most 30 days"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::faults::Cut;

    #[test]
    fn a_script_by_example() {
        let script = "seed = 7\n[[step]]\nat = \"5s\"\nfor = \"10s\"\ndevice = \"edge-a\"\ncut = \"both\"\n\
                      [[step]]\nat = \"6s\"\nhub = \"restart\"\ndown_ms = 100\n\
                      [[step]]\nat = \"500ms\"\ndevice = \"b\"\nflap = 2\n\
                      [[step]]\nat = \"20s\"\nfor = \"1s\"\nhub = \"throttles\"\nsku = \"S1\"\nqueue_s = 0\n";
        let read = steps(script).expect("a script");
        let at = |step: &Step| step.at.as_millis();
        assert_eq!(read.iter().map(at).collect::<Vec<_>>(), [500, 5000, 6000, 15_000, 20_000, 21_000]);
        let cut = DeviceFault { seed: 7, ..DeviceFault::cut(Cut::Both) };
        assert_eq!(read[1].action, Action::Device("edge-a".into(), cut));
        assert_eq!(read[3].action, Action::HealDevice("edge-a".into()));
        let shown: Vec<String> = read.iter().map(|step| step.action.to_string()).collect();
        assert_eq!(shown[0], "b flaps 2 times");
        assert_eq!(shown[1], "the link of edge-a: {\"cut\":\"both\",\"delay_ms\":0,\"drop\":0.0,\"seed\":7}");
        assert_eq!(shown[2], "restart: {\"down_ms\":100,\"keep_state\":true}");
        assert_eq!(shown[4], "throttles: {\"sku\":\"S1\",\"units\":1,\"burst_s\":120,\"queue_s\":0}");
        assert_eq!(shown[5], "throttles end");
    }

    #[test]
    fn the_same_seed_plays_the_same() {
        let script = |seed: u64| {
            let step = "[[step]]\nat = \"1s\"\njitter = \"10s\"\nhub = \"frozen\"\nfor = \"1s\"\n".repeat(5);
            steps(&format!("seed = {seed}\n{step}")).expect("a script")
        };
        assert_eq!(script(1), script(1));
        assert_ne!(script(1), script(2));
    }

    #[test]
    fn mistakes_are_named_with_their_line() {
        for (text, said) in [
            ("[[step]]\nat = 5\nhub = \"frozen\"\n", "line 1: 'at' is a span"),
            ("\n\n[[step]]\nat = \"5s\"\nhub = \"earthquake\"\n", "line 3: 'earthquake' is none of"),
            ("[[step]]\nat = \"5s\"\ndevice = \"a\"\ncuts = \"both\"\n", "unknown field `cuts`"),
            ("[[step]]\nat = \"5s\"\ndevice = \"a\"\ndrop = 2.0\n", "between 0 and 1"),
            ("[[step]]\nat = \"5s\"\nfor = \"1s\"\nhub = \"restart\"\n", "'for' makes no sense"),
            ("[[step]]\nat = \"5s\"\nhub = \"clock\"\n", "'clock' needs skew_ms"),
            ("[[step]]\nat = \"5s\"\nhub = \"throttles\"\n", "missing field `sku`"),
            ("[[step]]\nat = \"5s\"\nhub = \"throttles\"\nsku = \"F1\"\nunits = 2\n", "F1 has one unit"),
            ("steps = 1\n", "unknown field"),
        ] {
            let error = steps(text).expect_err("refused");
            assert!(error.contains(said), "{text}: {error}");
        }
    }
}
