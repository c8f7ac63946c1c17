//! What the hub goes by: what its document says, once the last write to it is over.

use std::sync::Arc;

use serde_json::{Map, Value};

use super::document;
use super::failure::Failure;
use crate::access::{Policies, Rules, Signatures};
use crate::hub::Settings;
use crate::routing::{Limits, Table};
use crate::throttle::Size;
use crate::uploads::Destination;

/// The parts of the document that have an effect, read and found to make sense.
#[derive(Debug, Clone)]
pub(crate) struct InForce {
    pub(crate) routes: Arc<Table>,
    pub(crate) size: Size,
    pub(crate) rules: Rules,
    /// Where devices upload files to, if anywhere.
    pub(crate) uploads: Option<Destination>,
    pub(super) messages: document::Messages,
}

impl InForce {
    /// Reads a document that is complete. `local` are endpoints that routes may name though it does not describe them.
    pub(super) fn read(document: &Map<String, Value>, policies: Policies, local: &[String]) -> Result<Self, Failure> {
        let size = document::size(document)?;
        let routing = document.get("properties").and_then(|properties| properties.get("routing"));
        let routes = Table::compile(routing.unwrap_or(&Value::Null), local, Limits::of(size.sku));
        let routes = routes.map_err(|problem| Failure::bad_request(problem.to_string()))?;
        let turned_off = |name| document::flag(document, name);
        let signatures = Signatures {
            of_policies: !turned_off("disableLocalAuth")?,
            of_devices: !turned_off("disableDeviceSAS")?,
            of_modules: !turned_off("disableModuleSAS")?,
        };
        let rules = Rules { policies, signatures };
        let (uploads, messages) = (document::uploads(document)?, document::messages(document)?);
        Ok(Self { routes: Arc::new(routes), size, rules, uploads, messages })
    }

    /// The bounds that the hub itself keeps.
    pub(crate) fn settings(&self) -> Settings {
        Settings {
            configurations_max: self.size.sku.configurations_max(),
            jobs_active_max: self.size.sku.jobs_active_max(),
            message_ttl: self.messages.ttl,
            message_deliveries_max: self.messages.deliveries_max,
        }
    }
}
