use ha_wire::twin::TwinPatch;
use ha_wire::{IfMatch, Twin};
use reqwest::Method;

use super::request::{Effect, Request};
use crate::{Call, Client, Error, Operation};

impl Client {
    /// A device's twin, or a module's: authoritative and cheap, unlike a query.
    pub async fn twin(&self, device: &str, module: Option<&str>, call: &Call) -> Result<Twin, Error> {
        let what = format!("get twin {}", name(device, module));
        let request = Request::read(what, Operation::TwinRead, &path(device, module));
        request.decode(&self.send(&request, call).await?)
    }

    /// Merges a change into a device's twin, or a module's, and answers with the whole twin.
    ///
    /// With a condition ([`IfMatch::Is`]) this is the compare-and-swap: [`Error::PreconditionFailed`] means somebody else
    /// wrote first, and an error with [`Error::outcome_unknown`] means that it may have been written; either way read
    /// again. Without one, lost answers are repeated by the client, since merging twice is like merging once.
    pub async fn patch_twin(
        &self,
        device: &str,
        module: Option<&str>,
        patch: &TwinPatch,
        condition: Option<&IfMatch>,
        call: &Call,
    ) -> Result<Twin, Error> {
        let what = format!("patch twin {}", name(device, module));
        let effect = if matches!(condition, Some(IfMatch::Is(_))) { Effect::Write } else { Effect::Merge };
        let request = Request::new(what, Operation::TwinUpdate, effect, Method::PATCH, &path(device, module));
        let request = request.if_match(condition).json(patch);
        request.decode(&self.send(&request, call).await?)
    }
}

fn path<'a>(device: &'a str, module: Option<&'a str>) -> Vec<&'a str> {
    let mut path = vec!["twins", device];
    path.extend(module.into_iter().flat_map(|module| ["modules", module]));
    path
}

pub(super) fn name(device: &str, module: Option<&str>) -> String {
    module.map_or_else(|| device.to_owned(), |module| format!("{device}/{module}"))
}
