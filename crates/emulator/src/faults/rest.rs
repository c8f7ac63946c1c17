//! Faults on the hub's REST answers.

use ha_wire::error::ErrorCode;
use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};
use serde::{Deserialize, Serialize};

/// What goes wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RestKind {
    /// 429 before anything is done.
    Throttle,
    /// A 5xx before anything is done.
    ServerError,
    /// The error `code` before anything is done.
    Refusal,
    /// The call is carried out, then the connection is dropped without an answer.
    LostAnswers,
    /// The call is carried out `delay_ms` later.
    Latency,
}

/// When it goes wrong.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RestFault {
    /// So many times, then never again; absent: until healed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub count: Option<u64>,
    /// Only for this HTTP method.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub method: Option<String>,
    /// Only for paths that start with this (percent-decoded, no query).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub path: Option<String>,
    /// How likely each time; absent: always.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub probability: Option<f64>,
    /// Seed of the choice.
    #[serde(default)]
    pub seed: u64,
    /// Status for `server_error`: 500 (default), 503 or 504.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status: Option<u16>,
    /// Name of the error for `refusal`, as IoT Hub's header `iothub-errorcode` has it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub code: Option<String>,
    /// Delay for `latency`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub delay_ms: Option<u64>,
}

/// What becomes of one call.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Verdict {
    /// The fault that strikes, other than latency.
    pub kind: Option<RestKind>,
    /// What a server error or a refusal says.
    pub code: Option<ErrorCode>,
    /// Wait so long first.
    pub delay_ms: u64,
}

impl Verdict {
    pub(super) fn add(&mut self, kind: RestKind, fault: &RestFault) {
        self.delay_ms += fault.delay_ms.unwrap_or(0);
        if kind != RestKind::Latency {
            self.kind = Some(kind);
            self.code = fault.error(kind);
        }
    }
}

impl RestFault {
    /// Why it cannot be put in force.
    pub fn check(&self, kind: RestKind) -> Result<(), String> {
        if self.probability.is_some_and(|p| !(0.0..=1.0).contains(&p)) {
            return Err("probability is between 0 and 1".into());
        }
        if self.status.is_some_and(|s| ![500, 503, 504].contains(&s)) {
            return Err("status is 500, 503 or 504".into());
        }
        if self.delay_ms.is_some_and(|ms| ms > 600_000) {
            return Err("delay_ms is at most 600000".into());
        }
        if kind == RestKind::Latency && self.delay_ms.is_none() {
            return Err("latency needs delay_ms".into());
        }
        if kind == RestKind::Refusal && self.error(kind).is_none() {
            return Err("refusal needs code, the name of an error of IoT Hub, as in DeviceDisabled".into());
        }
        Ok(())
    }

    fn error(&self, kind: RestKind) -> Option<ErrorCode> {
        match (kind, self.status) {
            (RestKind::Refusal, _) => self.code.as_deref().and_then(ErrorCode::from_name),
            (RestKind::ServerError, Some(503)) => Some(ErrorCode::ServiceUnavailable),
            (RestKind::ServerError, Some(504)) => Some(ErrorCode::GatewayTimeout),
            (RestKind::ServerError, _) => Some(ErrorCode::ServerError),
            _ => None,
        }
    }
}

/// A fault in force, with its dice.
#[derive(Debug)]
pub(super) struct Armed {
    fault: RestFault,
    dice: StdRng,
}

impl Armed {
    pub(super) fn new(fault: RestFault) -> Self {
        let dice = StdRng::seed_from_u64(fault.seed);
        Self { fault, dice }
    }

    pub(super) fn fault(&self) -> &RestFault {
        &self.fault
    }

    pub(super) fn shown(&self) -> RestFault {
        self.fault.clone()
    }

    pub(super) fn spent(&self) -> bool {
        self.fault.count == Some(0)
    }

    pub(super) fn strikes(&mut self, method: &str, path: &str) -> bool {
        let fault = &mut self.fault;
        let fits = fault.method.as_ref().is_none_or(|m| m.eq_ignore_ascii_case(method))
            && fault.path.as_ref().is_none_or(|p| path.starts_with(p));
        if !fits || fault.count == Some(0) {
            return false;
        }
        let lucky = fault.probability.is_some_and(|p| self.dice.random::<f64>() >= p);
        if lucky {
            return false;
        }
        if let Some(count) = &mut fault.count {
            *count -= 1;
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::faults::Faults;

    #[test]
    fn a_count_runs_out_and_only_matching_calls_use_it_up() {
        let faults = Faults::default();
        let fault = RestFault {
            count: Some(2),
            method: Some("PATCH".into()),
            path: Some("/twins/a".into()),
            ..RestFault::default()
        };
        faults.set_rest(RestKind::Throttle, fault);
        let kind = |method, path| faults.judge(method, path).kind;
        assert_eq!(kind("GET", "/twins/a"), None);
        assert_eq!(kind("PATCH", "/twins/b"), None);
        assert_eq!(kind("PATCH", "/twins/a"), Some(RestKind::Throttle));
        assert_eq!(kind("PATCH", "/twins/a/modules/m"), Some(RestKind::Throttle));
        assert_eq!(kind("PATCH", "/twins/a"), None);
        assert!(faults.rest().is_empty());
    }

    #[test]
    fn the_same_seed_strikes_the_same_calls() {
        let run = |seed| -> Vec<bool> {
            let faults = Faults::default();
            let fault = RestFault { probability: Some(0.5), seed, ..RestFault::default() };
            faults.set_rest(RestKind::ServerError, fault);
            (0..32).map(|_| faults.judge("GET", "/").kind.is_some()).collect()
        };
        assert_eq!(run(7), run(7));
        assert_ne!(run(7), run(8));
        assert!(run(7).contains(&true) && run(7).contains(&false));
    }
}
