//! File uploads of devices: which are under way, and the signatures that open a blob each.

mod blobs;
mod place;
mod signature;

use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use ha_wire::SharedAccessKey;
use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

pub(crate) use blobs::{Blobs, Problem};
pub(crate) use place::{Place, is_container};
pub(crate) use signature::Shown;

use crate::error::Error;
use crate::hub::{Code, Refusal};

/// What one device may have under way, as the service bounds it.
const ACTIVE_MAX: usize = 10;

/// Where files go, by the hub's document.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Destination {
    pub(crate) container: String,
    /// How long a signature is good for.
    pub(crate) ttl: SignedDuration,
}

/// The uploads of all devices. They end with the process.
#[derive(Debug)]
pub(crate) struct Uploads {
    blobs: Option<Arc<Blobs>>,
    key: SharedAccessKey,
    begun: Mutex<Vec<Upload>>,
}

#[derive(Debug)]
struct Upload {
    correlation: String,
    device: String,
    expires: Timestamp,
}

impl Default for Uploads {
    fn default() -> Self {
        let key = SharedAccessKey::from_bytes(rand::random::<[u8; 32]>());
        Self { blobs: None, key, begun: Mutex::default() }
    }
}

impl Uploads {
    /// Containers are folders in this folder; without one there is nowhere to upload to.
    pub(crate) fn open(folder: Option<&Path>) -> Result<Self, Error> {
        let blobs = folder.map(Blobs::open).transpose()?.map(Arc::new);
        Ok(Self { blobs, ..Self::default() })
    }

    /// `POST /devices/{d}/files`; `host` is where the device finds the blob.
    pub(crate) fn begin(
        &self,
        device: &str,
        body: &Value,
        destination: Option<&Destination>,
        host: &str,
        now: Timestamp,
    ) -> Result<Value, Refusal> {
        let refuse = |text: &str| Refusal::new(Code::DefaultStorageEndpointNotConfigured, text);
        if self.blobs.is_none() {
            return Err(refuse("this emulator has no blob containers; start it with --blob-dir FOLDER"));
        }
        let none = "the hub has no container for uploads; start the emulator with --upload-container NAME, or write \
            properties.storageEndpoints.$default.containerName";
        let Destination { container, ttl } = destination.ok_or_else(|| refuse(none))?;
        let name = body["blobName"].as_str().ok_or_else(|| Refusal::argument("blobName must be a text"))?;
        let place = Place::parse(&format!("{container}/{device}/{name}"));
        let place = place.map_err(|reason| Refusal::argument(format!("blobName: {reason}")))?;
        let expires = now.saturating_add(*ttl).unwrap_or(Timestamp::MAX);
        let correlation = uuid::Uuid::new_v4().to_string();
        let mut begun = self.lock();
        begun.retain(|upload| upload.expires > now);
        if begun.iter().filter(|upload| upload.device == device).count() >= ACTIVE_MAX {
            let text = format!("Number of active file upload requests cannot exceed {ACTIVE_MAX}");
            return Err(Refusal::new(Code::DeviceMaximumActiveFileUploadLimitExceeded, text));
        }
        begun.push(Upload { correlation: correlation.clone(), device: device.to_owned(), expires });
        Ok(json!({
            "correlationId": correlation,
            "hostName": host,
            "containerName": container,
            "blobName": place.blob(),
            "sasToken": signature::token(&self.key, &place, expires),
        }))
    }

    /// `POST /devices/{d}/files/notifications`: how it ended is told nobody, for that takes AMQP.
    pub(crate) fn end(&self, device: &str, correlation: &str, now: Timestamp) -> Result<(), Refusal> {
        let mut begun = self.lock();
        let found = begun.iter().position(|upload| upload.device == device && upload.correlation == correlation);
        let Some(found) = found else {
            let text = format!("'{}' is no upload that is under way", correlation.escape_debug());
            return Err(Refusal::new(Code::InvalidFileUploadCorrelationId, text));
        };
        match begun.swap_remove(found).expires > now {
            true => Ok(()),
            false => Err(Refusal::new(Code::ExpiredFileUploadCorrelationId, "the upload took too long")),
        }
    }

    /// The store, for whoever shows a signature that opens this place.
    pub(crate) fn unlock(&self, place: &Place, shown: &Shown<'_>, now: Timestamp) -> Option<Arc<Blobs>> {
        let blobs = self.blobs.as_ref()?;
        signature::opens(&self.key, place, shown, now).then(|| Arc::clone(blobs))
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Upload>> {
        self.begun.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Timestamp = Timestamp::UNIX_EPOCH;

    fn begin(uploads: &Uploads, device: &str, now: Timestamp) -> Result<Value, Refusal> {
        let destination = Destination { container: "files".into(), ttl: SignedDuration::from_mins(1) };
        uploads.begin(device, &json!({"blobName": "a.txt"}), Some(&destination), "localhost", now)
    }

    #[test]
    fn a_device_has_so_many_under_way_until_they_end_or_expire() {
        let folder = tempfile::tempdir().expect("a folder");
        let uploads = Uploads::open(Some(folder.path())).expect("there");
        let first = begin(&uploads, "one", NOW).expect("begun");
        assert_eq!((first["containerName"].as_str(), first["blobName"].as_str()), (Some("files"), Some("one/a.txt")));
        let correlation = first["correlationId"].as_str().expect("an id");
        for _ in 1..ACTIVE_MAX {
            begin(&uploads, "one", NOW).expect("begun");
        }
        let refused = begin(&uploads, "one", NOW).expect_err("too many");
        assert_eq!(refused.code, Code::DeviceMaximumActiveFileUploadLimitExceeded);
        begin(&uploads, "two", NOW).expect("another device");
        let end = |device: &str, now| uploads.end(device, correlation, now).map_err(|refusal| refusal.code);
        assert_eq!(end("two", NOW), Err(Code::InvalidFileUploadCorrelationId), "it is another device's");
        assert_eq!(end("one", NOW), Ok(()));
        assert_eq!(end("one", NOW), Err(Code::InvalidFileUploadCorrelationId), "once is enough");
        let last = begin(&uploads, "one", NOW).expect("one has ended");
        let later = NOW + SignedDuration::from_mins(1);
        let expired = uploads.end("one", last["correlationId"].as_str().expect("an id"), later).expect_err("too late");
        assert_eq!(expired.code, Code::ExpiredFileUploadCorrelationId);
        begin(&uploads, "one", later).expect("all have expired");
    }

    #[test]
    fn without_a_folder_or_a_container_there_is_nowhere_to_upload_to() {
        let refused = begin(&Uploads::default(), "one", NOW).expect_err("no folder");
        assert!(refused.text.contains("--blob-dir"), "{refused}");
        let folder = tempfile::tempdir().expect("a folder");
        let uploads = Uploads::open(Some(folder.path())).expect("there");
        let refused =
            uploads.begin("one", &json!({"blobName": "a"}), None, "localhost", NOW).expect_err("no container");
        assert_eq!(refused.code, Code::DefaultStorageEndpointNotConfigured);
    }
}
