//! IoT Hub, behind [`Hub`].

mod agents;
mod children;
mod deployments;
mod errors;
mod evidence;
mod flag;
mod keys;
mod mirror;
mod records;
mod rotation;
mod select;
mod steer;

use std::sync::Arc;
use std::time::Duration;

use ha_core::anchor::Anchor;
use ha_core::charge::{ControlRecord, Version};
use ha_core::ids::{ControlId, MemberId, PoolName};
use ha_core::messages::{Answer, Hello, Refusal, Request};
use ha_core::pool::Mirror;
use ha_core::seen::CallFailure;
use ha_core::time::Millis;
use ha_iothub::management::{self, Management, Resource};
use ha_iothub::{Call, Client, Options, Sku};
use ha_protocol::{anchor, control};
use ha_wire::ConnectionString;

use self::deployments::Deployments;
pub(crate) use self::errors::error;
use self::flag::FlagGates;
use self::keys::Keys;
use self::records::Records;
use self::steer::Steering;
use super::{
    Error, Hub, NotSteered, NotWritten, Opinions, OwnKey, Placed, Read, Reassertion, Rule, Seat, Steered, Written,
    chain,
};
use crate::config::{HubAccess, HubConfig, ResourceConfig, SecretMissing, SecretPlace};
use crate::selection::TagCondition;

/// How long anything may take that no lease waits for.
const ROUTINE: Duration = Duration::from_secs(30);

/// How long a record may take to be read or written. Shorter than any lease that waits for it at the default timings.
const RECORD: Duration = Duration::from_secs(5);

/// One hub, with what is remembered about it.
pub struct IotHub {
    client: Client,
    management: Option<Management>,
    steering: Steering,
    records: Records,
    keys: Keys,
    deployments: Deployments,
    flags: FlagGates,
}

/// Why there is no way to the hub at all.
#[derive(Debug, thiserror::Error)]
pub enum Unusable {
    /// The connection string is not where it should be.
    #[error(transparent)]
    Missing(#[from] SecretMissing),
    /// It is not one.
    #[error("what {place} holds is no connection string of a service")]
    BadString {
        /// Where it was found.
        place: String,
        /// What is wrong with it; never the string itself.
        #[source]
        source: ha_wire::Error,
    },
    /// The certificates cannot be read.
    #[error("the certificates in {path} cannot be read")]
    CaFile {
        /// Which file.
        path: String,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// The identity cannot be used.
    #[error("the identity cannot be set up")]
    Identity(#[source] ha_iothub::entra::Error),
    /// The client for Azure Resource Manager cannot be set up.
    #[error("the way to Azure Resource Manager cannot be set up")]
    Management(#[source] management::Error),
    /// The client cannot be set up.
    #[error("the hub client cannot be set up")]
    Client(#[source] ha_iothub::Error),
}

impl IotHub {
    /// A hub as configured. Opens no connection yet.
    pub fn new(config: &HubConfig) -> Result<Self, Unusable> {
        let ca_pem = config.ca_file.as_ref().map(|path| {
            let unreadable = |source| Unusable::CaFile { path: path.display().to_string(), source };
            std::fs::read(path).map_err(unreadable)
        });
        let ca_pem = ca_pem.transpose()?;
        let sku: Sku = config.sku.parse().unwrap_or(Sku::S1);
        let limits = sku.limits(config.units).share(0.8);
        let options = Options { ca_pem: ca_pem.clone(), cloud: config.cloud, limits, ..Options::default() };
        let client = match &config.access {
            HubAccess::ConnectionString { place, .. } => {
                // Read once here, for the error that says what is wrong with which line.
                connection_strings(place)?;
                let place = place.clone();
                let read = move || connection_strings(&place).map_err(|error| chain(&error));
                Client::with_strings(Arc::new(read), &options)
            }
            HubAccess::Identity { host, identity } => {
                Client::with_entra(host, identity.entra(ca_pem.clone()).map_err(Unusable::Identity)?, &options)
            }
        };
        let management = management(config, ca_pem)?;
        Ok(Self { management, ..Self::with_client(client.map_err(Unusable::Client)?) })
    }

    /// A hub through a client that is set up already.
    pub fn with_client(client: Client) -> Self {
        let (records, keys, deployments) = (Records::default(), Keys::default(), Deployments::default());
        let (steering, flags) = (Steering::default(), FlagGates::default());
        Self { client, management: None, steering, records, keys, deployments, flags }
    }

    /// The hub as a resource of Azure, if the configuration says where that is.
    pub fn management(&self) -> Option<&Management> {
        self.management.as_ref()
    }

    /// The client, for what has nothing to do with pools.
    pub fn client(&self) -> &Client {
        &self.client
    }

    /// Keeps the place of a pool's record free for it: a device that never connects. The record itself is the controller's to found.
    pub async fn keep_place(&self, pool: &PoolName) -> Result<(), Error> {
        match self.records.vacancy(&self.client, &anchor::device_id(pool)).await {
            Ok(_) | Err(NotWritten::Conflict) => Ok(()),
            Err(NotWritten::Failed(error) | NotWritten::Unsure(error)) => Err(error),
        }
    }

    /// Sees to it that a member's agent has a key.
    pub async fn install_key(&self, seat: &Seat) -> Result<(), Error> {
        let installed = self.keys.of(&self.client, seat, keys::Missing::Install).await;
        installed.map(drop).map_err(|failure| Error::Refused(format!("no key can be installed: {failure}")))
    }

    /// Asks an agent how it is and disturbs nothing: no nonce is taken, no key is installed.
    pub async fn peek(&self, seat: &Seat, timeout: Millis) -> Result<Answer, CallFailure> {
        if let Some(config) = seat.told_by_flag() {
            return self.flags.peek(&self.client, seat, config, timeout).await;
        }
        let hello =
            Hello { grantor: ha_core::ids::GrantorId::controller(), epoch: ha_core::ids::Epoch(0), wants_nonce: false };
        self.call_with_key(seat, &Request::Hello(hello), Millis::ZERO, timeout, keys::Missing::Fail).await
    }
}

/// One string a line: the one to use, and perhaps another to fall back on while keys are rotated.
fn connection_strings(place: &SecretPlace) -> Result<Vec<ConnectionString>, Unusable> {
    let text = place.read("connection string")?;
    let lines = text.lines().map(str::trim).enumerate().filter(|(_, line)| !line.is_empty());
    let parsed = lines.map(|(n, line)| {
        let place = if n == 0 { place.to_string() } else { format!("{place}, line {},", n + 1) };
        line.parse().map_err(|source| Unusable::BadString { place, source })
    });
    parsed.collect()
}

fn management(config: &HubConfig, ca_pem: Option<Vec<u8>>) -> Result<Option<Management>, Unusable> {
    let (Some(resource), Some(identity)) = (&config.resource, config.identity()) else { return Ok(None) };
    let ResourceConfig { subscription, group, name, endpoint } = resource.clone();
    let bearer = identity.entra(ca_pem.clone()).map_err(Unusable::Identity)?;
    let options = management::Options { endpoint, ca_pem, ..management::Options::default() };
    let resource = Resource { subscription, group, name };
    Management::new(resource, Arc::new(bearer), &options).map(Some).map_err(Unusable::Management)
}

impl Hub for IotHub {
    async fn read_anchor(&self, pool: &PoolName) -> Read<Anchor> {
        let device = anchor::device_id(pool);
        let Some((tags, version)) = self.records.read(&self.client, &device, record_call()).await? else {
            return Ok(None);
        };
        let decoded = anchor::decode(&tags)
            .map_err(|e| Error::Malformed { what: format!("the record {device}"), why: chain(&e) })?;
        let Some(decoded) = decoded else { return Ok(None) };
        for problem in &decoded.nonsense {
            tracing::warn!(%pool, %problem, "a request in the record makes no sense and is left out");
        }
        if decoded.anchor.pool != *pool {
            let why = format!("it says that it belongs to the pool {}", decoded.anchor.pool);
            return Err(Error::Malformed { what: format!("the record {device}"), why });
        }
        Ok(Some((decoded.anchor, version)))
    }

    async fn write_anchor(&self, record: &Anchor, basis: Option<&Version>) -> Written {
        let device = anchor::device_id(&record.pool);
        self.records.write(&self.client, &device, basis, |old| anchor::patch(old, record)).await
    }

    async fn read_control(&self, id: &ControlId) -> Read<ControlRecord> {
        let device = id.as_str();
        let Some((tags, version)) = self.records.read(&self.client, device, record_call()).await? else {
            return Ok(None);
        };
        let record = control::decode(&tags)
            .map_err(|e| Error::Malformed { what: format!("the control record {device}"), why: chain(&e) })?;
        Ok(record.map(|record| (record, version)))
    }

    async fn write_control(&self, id: &ControlId, record: &ControlRecord, basis: Option<&Version>) -> Written {
        self.records.write(&self.client, id.as_str(), basis, |_| control::patch(record)).await
    }

    async fn call(&self, seat: &Seat, request: &Request, hold: Millis, timeout: Millis) -> Result<Answer, CallFailure> {
        if let Some(config) = seat.told_by_flag() {
            return self.flags.call(&self.client, seat, config, request, hold, timeout).await;
        }
        if let (Some(flag), Request::Grant(grant)) = (&seat.flag, request)
            && !self.flags.stand_aside(&self.client, seat, &flag.config, grant.term, timeout).await?
        {
            // The agent has not been asked, so it cannot have refused; but it is well, and may be asked again in a moment.
            let hello = Hello { grantor: grant.grantor.clone(), epoch: grant.epoch, wants_nonce: true };
            let hello = Request::Hello(hello);
            let answer = self.call_with_key(seat, &hello, Millis::ZERO, timeout, keys::Missing::Install).await?;
            return Ok(Answer { refused: Some(Refusal::TooLate), ..answer });
        }
        self.call_with_key(seat, request, hold, timeout, keys::Missing::Install).await
    }

    async fn gather(&self, seat: &Seat) -> Opinions {
        evidence::gather(&self.client, seat).await
    }

    async fn mirror(&self, seat: &Seat, mirror: &Mirror) -> Result<(), Error> {
        if let Some(config) = seat.told_by_flag().filter(|_| !mirror.active) {
            let closed = self.flags.close(&self.client, seat, config, mirror.term).await;
            closed.map_err(|failure| Error::Refused(format!("the flag could not be cleared: {failure}")))?;
        }
        mirror::write(&self.client, seat, mirror).await
    }

    async fn steer(&self, rule: Rule) -> Result<Steered, NotSteered> {
        let Some(management) = &self.management else {
            let why = "the configuration does not say where the hub is in Azure; add [hub.resource]".to_owned();
            return Err(NotSteered { why, lasting: true });
        };
        self.steering.steer(management, rule).await
    }

    async fn select(&self, condition: &str) -> Result<Vec<MemberId>, Error> {
        select::devices(&self.client, condition).await
    }

    async fn may_fit(&self, member: &MemberId, condition: &str) -> Result<bool, Error> {
        match self.client.twin(member.as_str(), None, &routine_call()).await {
            Ok(twin) => Ok(TagCondition::read(condition).is_none_or(|condition| condition.fits(&twin.tags))),
            Err(ha_iothub::Error::NotFound(_)) => Ok(false),
            Err(e) => Err(error(&e)),
        }
    }

    async fn adopt(
        &self,
        child: &str,
        scope: &str,
        may: impl Fn(&Placed) -> bool + Send + Sync,
    ) -> Result<Option<Placed>, Error> {
        children::adopt(&self.client, child, scope, may).await
    }

    async fn children_of(&self, scope: &str) -> Result<Vec<String>, Error> {
        children::of(&self.client, scope).await
    }

    async fn tell_of_children(&self, gateway: &MemberId, children: &[String]) -> Result<(), CallFailure> {
        children::tell(&self.client, gateway, children).await
    }

    async fn reassertions(&self, own: &[OwnKey]) -> Result<Vec<Reassertion>, Error> {
        self.deployments.reassertions(&self.client, own).await
    }
}

fn record_call() -> Call {
    Call::within(RECORD).renewal()
}

pub(crate) fn routine_call() -> Call {
    Call::within(ROUTINE)
}
