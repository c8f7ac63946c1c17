use std::time::Duration;

use ha_wire::method::{MethodAnswer, MethodRequest};
use reqwest::Method;

use super::request::{Effect, Request};
use super::twins::name;
use crate::{Call, Client, Error, Operation};

/// The hub answers at the end of the time it was given; this is for the way back.
const ANSWER_MARGIN: Duration = Duration::from_secs(5);

impl Client {
    /// Calls a method of a device, or of a module, and waits for its answer (held up to 300 s, if the request says so).
    ///
    /// An attempt may take as long as the request's time-outs and five seconds, unless the call says otherwise. A call that
    /// may have reached the device is never repeated: [`Error::MethodTimeout`] and lost answers have
    /// [`Error::outcome_unknown`]. [`Error::DeviceNotOnline`] means that nothing was delivered, and comes at once unless the
    /// request has a connect time-out.
    pub async fn call_method(
        &self,
        device: &str,
        module: Option<&str>,
        method: &MethodRequest,
        call: &Call,
    ) -> Result<MethodAnswer, Error> {
        let what = format!("call {} on {}", method.method_name, name(device, module));
        if let Err(source) = method.validate() {
            return Err(Error::Invalid { what, source });
        }
        let mut path = vec!["twins", device];
        path.extend(module.into_iter().flat_map(|module| ["modules", module]));
        path.push("methods");
        let request = Request::new(what, Operation::Method, Effect::Write, Method::POST, &path).json(method);
        let held = Duration::from_secs(u64::from(method.held_s_max()));
        let call = call.attempt_or(held + ANSWER_MARGIN);
        request.decode(&self.send(&request, &call).await?)
    }
}
