//! Records in the tags of devices that never connect: their etag moves by our writes alone.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use ha_core::charge::Version;
use ha_iothub::{Call, Client};
use ha_protocol::HA;
use ha_wire::identity::Status;
use ha_wire::twin::TwinPatch;
use ha_wire::{Device, ETag, IfMatch, Twin};
use serde_json::Value;

use super::errors::{error, not_written};
use super::record_call;
use crate::hub::{Error, NotWritten, Written, chain};

/// The tags as last seen: a patch must name what it removes.
#[derive(Default)]
pub(super) struct Records {
    seen: Mutex<HashMap<String, (Version, Value)>>,
}

impl Records {
    /// The tags and their version; `None` if there is no device, or nothing of ours on it.
    pub(super) async fn read(
        &self,
        client: &Client,
        device: &str,
        call: Call,
    ) -> Result<Option<(Value, Version)>, Error> {
        match client.twin(device, None, &call).await {
            Ok(twin) => {
                let version = version(device, &twin)?;
                let tags = self.remember(device, &version, twin);
                Ok(has_record(&tags).then_some((tags, version)))
            }
            Err(ha_iothub::Error::NotFound(_)) => {
                self.lock().remove(device);
                Ok(None)
            }
            Err(e) => Err(error(&e)),
        }
    }

    /// Writes what `patch` makes of the old tags, if the record still has version `basis`; `None`: if there is none.
    pub(super) async fn write(
        &self,
        client: &Client,
        device: &str,
        basis: Option<&Version>,
        patch: impl Fn(&Value) -> Result<Value, ha_protocol::Error>,
    ) -> Written {
        let (tags, version) = match basis {
            Some(basis) => (self.tags_of(client, device, basis).await?, basis.clone()),
            None => self.vacancy(client, device).await?,
        };
        let refused = |why: String| NotWritten::Failed(Error::Refused(why));
        let patch = patch(&tags).map_err(|e| refused(chain(&e)))?;
        let Value::Object(patch) = patch else { return Err(refused("a record is no object".to_owned())) };
        let condition = IfMatch::Is(ETag::new(version.0));
        let call = record_call();
        let written = client.patch_twin(device, None, &TwinPatch::tags(patch), Some(&condition), &call).await;
        let twin = written.map_err(|e| not_written(&e))?;
        let version = self::version(device, &twin).map_err(NotWritten::Unsure)?;
        self.remember(device, &version, twin);
        Ok(version)
    }

    async fn tags_of(&self, client: &Client, device: &str, basis: &Version) -> Result<Value, NotWritten> {
        if let Some((version, tags)) = self.lock().get(device)
            && version == basis
        {
            return Ok(tags.clone());
        }
        match self.read(client, device, record_call()).await.map_err(NotWritten::Failed)? {
            Some((tags, version)) if version == *basis => Ok(tags),
            _ => Err(NotWritten::Conflict),
        }
    }

    /// A device without a record, made if need be.
    pub(super) async fn vacancy(&self, client: &Client, device: &str) -> Result<(Value, Version), NotWritten> {
        let mut new = Device::new(device);
        new.status = Some(Status::Disabled);
        new.status_reason = Some("record of iotedge-ha; never connects".to_owned());
        match client.create_device(&new, &record_call()).await {
            Ok(_) => {}
            Err(ha_iothub::Error::Conflict(_)) => Self::check_is_record(client, device).await?,
            Err(e) => return Err(NotWritten::Failed(error(&e))),
        }
        let twin = client.twin(device, None, &record_call()).await.map_err(|e| NotWritten::Failed(error(&e)))?;
        let version = version(device, &twin).map_err(NotWritten::Failed)?;
        let tags = self.remember(device, &version, twin);
        if has_record(&tags) { Err(NotWritten::Conflict) } else { Ok((tags, version)) }
    }

    /// A device that may connect is somebody's device, not a place for records.
    async fn check_is_record(client: &Client, device: &str) -> Result<(), NotWritten> {
        let found = client.device(device, &record_call()).await.map_err(|e| NotWritten::Failed(error(&e)))?;
        if found.is_edge() || found.is_enabled() {
            let why = format!(
                "{device} is a device that may connect, so no record is kept there: disable it, or choose another name"
            );
            return Err(NotWritten::Failed(Error::Refused(why)));
        }
        Ok(())
    }

    fn remember(&self, device: &str, version: &Version, twin: Twin) -> Value {
        let tags = Value::Object(twin.tags);
        self.lock().insert(device.to_owned(), (version.clone(), tags.clone()));
        tags
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<String, (Version, Value)>> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn has_record(tags: &Value) -> bool {
    tags.get(HA).is_some_and(|ha| !ha.is_null())
}

fn version(device: &str, twin: &Twin) -> Result<Version, Error> {
    let missing = || Error::Malformed { what: format!("the twin of {device}"), why: "it has no etag".to_owned() };
    twin.etag.as_ref().map(|etag| Version(etag.as_str().to_owned())).ok_or_else(missing)
}
