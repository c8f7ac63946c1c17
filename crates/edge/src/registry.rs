//! The identities of this device and their keys, read from the hub and kept: whoever was known may log in during an outage.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use ha_iothub::{Call, Client};
use ha_wire::identity::{Authentication, SymmetricKey};
use ha_wire::{IfMatch, Module, Secret, SharedAccessKey};
use serde::{Deserialize, Serialize};
use tokio::sync::watch;

use crate::Cut;
use crate::error::Error;
use crate::id::Id;
use crate::store::Store;

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
    store: Store,
    known: Mutex<Known>,
}

#[derive(Debug, Default)]
struct Known {
    identities: BTreeMap<Id, Identity>,
    scope: Option<String>,
    missed: BTreeMap<Id, Instant>,
}

/// What a boot without network knows.
#[derive(Serialize, Deserialize)]
struct Kept {
    scope: Option<String>,
    identities: Vec<KeptIdentity>,
}

#[derive(Serialize, Deserialize)]
struct KeptIdentity {
    id: Id,
    generation: String,
    keys: Vec<String>,
}

const IDENTITIES: &str = "identities.json";
/// How long the hub may take to answer when there is something to go on with.
const PATIENCE_AT_BOOT: Duration = Duration::from_secs(5);
const PATIENCE: Duration = Duration::from_secs(20);
/// Names of strangers that are remembered as unknown.
const MISSED_MAX: usize = 1_000;

impl Registry {
    /// Reads the device and its modules. Its system modules get keys if they have none, as the identity service does it.
    /// While the hub cannot be asked, what an earlier life knew has to do.
    pub(crate) async fn open(
        client: Client,
        device: &str,
        refresh_delay: Duration,
        cut: watch::Receiver<Cut>,
        store: Store,
    ) -> Result<Self, Error> {
        let failed = |source| Error::Registry { device: device.to_owned(), source: Box::new(source) };
        let kept: Option<Known> = store.read::<Kept>(IDENTITIES).map(Kept::known);
        let patience = if kept.is_some() { PATIENCE_AT_BOOT } else { PATIENCE };
        let known = Mutex::default();
        let registry = Self { client, device: device.to_owned(), refresh_delay, cut, store, known };
        match (registry.read_device(patience).await, kept) {
            (Ok(found), _) if !found.is_edge() => return Err(Error::NotEdge(device.to_owned())),
            (Ok(found), _) => {
                registry.lock().scope.clone_from(&found.device_scope);
                registry.read_modules().await.map_err(failed)?;
            }
            (Err(error), Some(kept)) if error.is_retryable() || registry.is_cut() => {
                tracing::warn!(device, %error, "the hub cannot be asked; the identities of the last run have to do");
                *registry.lock() = kept;
            }
            (Err(error), _) => return Err(failed(error)),
        }
        Ok(registry)
    }

    async fn read_device(&self, patience: Duration) -> Result<ha_wire::Device, ha_iothub::Error> {
        self.reachable()?;
        self.client.device(&self.device, &Call::within(patience)).await
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
        self.keep(&known);
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
        self.keep(&known);
    }

    fn keep(&self, known: &Known) {
        let identities = known.identities.iter().map(|(id, identity)| KeptIdentity {
            id: id.clone(),
            generation: identity.generation.clone(),
            keys: identity.keys.iter().map(SharedAccessKey::expose).collect(),
        });
        self.store.write(IDENTITIES, &Kept { scope: known.scope.clone(), identities: identities.collect() });
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

    fn is_cut(&self) -> bool {
        *self.cut.borrow() != Cut::None
    }

    fn reachable(&self) -> Result<(), ha_iothub::Error> {
        if self.is_cut() {
            return Err(ha_iothub::Error::Setup { reason: "the upstream line is cut on purpose" });
        }
        Ok(())
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Kept {
    fn known(self) -> Known {
        let identity = |kept: KeptIdentity| {
            let keys = kept.keys.iter().filter_map(|key| SharedAccessKey::from_base64(key).ok()).collect();
            (kept.id, Identity { keys, generation: kept.generation })
        };
        let identities = self.identities.into_iter().map(identity).collect();
        Known { scope: self.scope, identities, ..Known::default() }
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
