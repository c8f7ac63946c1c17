//! Certificates of device authorities: what they sign for counts as soon as they are verified.

use axum::http::StatusCode;
use axum::response::Response;

use super::super::answer::{ok, with_body};
use super::super::call::Call;
use super::{Outcome, Problem, body};
use crate::management::Failure;
use crate::management::certificates::{Certificates, KEPT_AS};
use crate::shell::Shell;

/// `…/certificates` and what lies below it, each word as it was written.
pub(super) fn certificates(shell: &Shell, call: &Call, below: &[&str]) -> Outcome {
    let at = shell.events.management.id();
    let if_match = call.header("if-match");
    match (call.method.as_str(), below) {
        ("GET", []) => Ok(ok(&read(shell)?.list(&at)?)),
        ("GET", [name]) => Ok(ok(&read(shell)?.show(&at, name)?)),
        ("PUT", [name]) => {
            let (body, now) = (body(call)?, shell.clock.now());
            let (is_new, shown) =
                shell.change_certificates(|all| Ok((all.put(name, &body, if_match, now)?, all.show(&at, name)?)))?;
            Ok(with_body(if is_new { StatusCode::CREATED } else { StatusCode::OK }, &shown))
        }
        ("DELETE", [name]) => {
            shell.change_certificates(|all| all.delete(name, if_match))?;
            Ok(Response::default())
        }
        ("POST", [name, verb]) if verb.eq_ignore_ascii_case("generateVerificationCode") => {
            let (code, now) = (uuid::Uuid::new_v4().simple().to_string().to_uppercase(), shell.clock.now());
            Ok(ok(&shell.change_certificates(|all| {
                all.ask_for_proof(name, if_match, code, now)?;
                all.show(&at, name)
            })?))
        }
        ("POST", [name, verb]) if verb.eq_ignore_ascii_case("verify") => {
            let (body, now) = (body(call)?, shell.clock.now());
            Ok(ok(&shell.change_certificates(|all| {
                all.verify(name, &body, if_match, now)?;
                all.show(&at, name)
            })?))
        }
        _ => Err(Problem::not_found("NotFound", "The emulator does not know this operation.")),
    }
}

fn read(shell: &Shell) -> Result<Certificates, Failure> {
    shell.act(|hub, _| Certificates::resume(hub.kept_beside(KEPT_AS))).map_err(Failure::bad_request)
}
