//! The identities of this device and their keys, read from the hub and kept: whoever was known may log in during an outage.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use ha_iothub::{Call, Client};
use ha_wire::identity::{Authentication, SymmetricKey};
use ha_wire::{IfMatch, Module, Secret, SharedAccessKey};
use tokio::sync::watch;

use crate::Cut;
use crate::error::Error;
use crate::id::Id;

/// One identity, as far as it is needed to log in.
#[derive(Clone, Debug)]
pub(crate) struct Identity {
    pub(crate) keys: Vec<SharedAccessKey>,
    pub(crate) generation: String,
}

/// The identities of one device, its modules and the leaf devices behind it.
#[derive(Debug)]
pub(crate) struct Registry {
    client: Client,
    device: String,
    refresh_delay: Duration,
    cut: watch::Receiver<Cut>,
    known: Mutex<Known>,
}

#[derive(Debug, Default)]
struct Known {
    identities: BTreeMap<Id, Identity>,
    scope: Option<String>,
    missed: BTreeMap<Id, Instant>,
}

const PATIENCE: Duration = Duration::from_secs(20);
/// Names of strangers that are remembered as unknown.
const MISSED_MAX: usize = 1_000;

impl Registry {
    /// Reads the device and its modules. Its system modules get keys if they have none, as the identity service does it.
    pub(crate) async fn open(
        client: Client,
        device: &str,
        refresh_delay: Duration,
        cut: watch::Receiver<Cut>,
    ) -> Result<Self, Error> {
        let failed = |source| Error::Registry { device: device.to_owned(), source };
        let found = client.device(device, &Call::within(PATIENCE)).await.map_err(failed)?;
        if !found.is_edge() {
            return Err(Error::NotEdge(device.to_owned()));
        }
        let known = Known { scope: found.device_scope.clone(), ..Known::default() };
        let registry = Self { client, device: device.to_owned(), refresh_delay, cut, known: Mutex::new(known) };
        registry.read_modules().await.map_err(failed)?;
        Ok(registry)
    }

    /// An identity that is known.
    pub(crate) fn known(&self, id: &Id) -> Option<Identity> {
        self.lock().identities.get(id).cloned()
    }

    /// An identity; the hub is asked if it is not known yet, but not all the time.
    pub(crate) async fn find(&self, id: &Id) -> Option<Identity> {
        if let Some(found) = self.known(id) {
            return Some(found);
        }
        if !self.may_ask(id) {
            return None;
        }
        if let Err(error) = self.read(id).await {
            tracing::info!(%id, %error, "the hub does not tell an identity");
        }
        self.known(id)
    }

    /// Reads these devices anew, whatever is known of them; our own with all its modules.
    pub(crate) async fn refresh(&self, devices: &[String]) {
        for device in devices {
            let id = Id::device(device);
            self.lock().missed.remove(&id);
            let read = if *device == self.device { self.read_modules().await } else { self.read(&id).await };
            if let Err(error) = read {
                tracing::warn!(device, %error, "the hub does not tell an identity");
            }
        }
    }

    /// A module of this device, made if it is not there.
    pub(crate) async fn ensure_module(&self, module: &str) -> Result<Identity, ha_iothub::Error> {
        let id = Id::module(&self.device, module);
        if let Some(found) = self.known(&id) {
            return Ok(found);
        }
        self.reachable()?;
        let mut made = Module::new(&self.device, module);
        made.managed_by = Some("iotEdge".to_owned());
        let made = match self.client.create_module(&made, &Call::within(PATIENCE)).await {
            Err(ha_iothub::Error::Conflict(_)) => {
                self.client.module(&self.device, module, &Call::within(PATIENCE)).await?
            }
            made => made?,
        };
        self.keep_module(&made);
        self.known(&id).ok_or(ha_iothub::Error::Setup { reason: "the module has no symmetric key" })
    }

    async fn read(&self, id: &Id) -> Result<(), ha_iothub::Error> {
        self.reachable()?;
        if id.device == self.device {
            return self.read_modules().await;
        }
        let leaf = self.client.device(&id.device, &Call::within(PATIENCE)).await?;
        let mut known = self.lock();
        let scope = known.scope.clone();
        let child = scope.is_some_and(|scope| {
            let parents = leaf.parent_scopes.iter().flatten().any(|parent| *parent == scope);
            parents || leaf.device_scope.as_ref() == Some(&scope)
        });
        let id = Id::device(&leaf.device_id);
        let identity = identity(leaf.authentication.as_ref(), leaf.generation_id.as_deref());
        match identity.filter(|_| child && leaf.is_enabled()) {
            Some(identity) => known.identities.insert(id, identity),
            None => known.identities.remove(&id),
        };
        Ok(())
    }

    async fn read_modules(&self) -> Result<(), ha_iothub::Error> {
        self.reachable()?;
        let modules = self.client.modules(&self.device, &Call::within(PATIENCE)).await?;
        for module in modules {
            let system = module.module_id.starts_with('$');
            let module = if system && keys(module.authentication.as_ref()).is_empty() {
                self.give_keys(module).await?
            } else {
                module
            };
            self.keep_module(&module);
        }
        Ok(())
    }

    async fn give_keys(&self, mut module: Module) -> Result<Module, ha_iothub::Error> {
        // Empty ones count as absent: the hub makes them.
        module.authentication = Some(Authentication::sas(Secret::new(""), Secret::new("")));
        self.client.update_module(&module, &IfMatch::Any, &Call::within(PATIENCE)).await
    }

    fn keep_module(&self, module: &Module) {
        let id = Id::module(&module.device_id, &module.module_id);
        let mut known = self.lock();
        match identity(module.authentication.as_ref(), module.generation_id.as_deref()) {
            Some(identity) => known.identities.insert(id, identity),
            None => known.identities.remove(&id),
        };
    }

    fn may_ask(&self, id: &Id) -> bool {
        let now = Instant::now();
        let mut known = self.lock();
        known.missed.retain(|_, at| now.duration_since(*at) < self.refresh_delay);
        let may = !known.missed.contains_key(id) && known.missed.len() < MISSED_MAX;
        if may {
            known.missed.insert(id.clone(), now);
        }
        may
    }

    fn reachable(&self) -> Result<(), ha_iothub::Error> {
        match *self.cut.borrow() {
            Cut::None => Ok(()),
            Cut::Silent | Cut::Refused => {
                Err(ha_iothub::Error::Setup { reason: "the upstream line is cut on purpose" })
            }
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn identity(authentication: Option<&Authentication>, generation: Option<&str>) -> Option<Identity> {
    let keys = keys(authentication);
    (!keys.is_empty()).then(|| Identity { keys, generation: generation.unwrap_or_default().to_owned() })
}

fn keys(authentication: Option<&Authentication>) -> Vec<SharedAccessKey> {
    let symmetric = authentication.and_then(|authentication| authentication.symmetric_key.as_ref());
    let texts = symmetric.into_iter().flat_map(|keys: &SymmetricKey| [keys.primary(), keys.secondary()]).flatten();
    texts.filter_map(|text| SharedAccessKey::from_base64(text.expose()).ok()).collect()
}
