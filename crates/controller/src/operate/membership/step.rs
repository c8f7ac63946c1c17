use std::fmt;

use ha_core::ids::{MemberId, PoolName, Term};
use ha_protocol::anchor;
use ha_protocol::twin::{Role, RoleTag, role_patch};
use ha_wire::identity::Capabilities;
use ha_wire::twin::TwinPatch;
use ha_wire::{Device, Map, Module};
use serde::{Serialize, Serializer};
use serde_json::{Value, json};

use super::super::deploy;
use super::super::report::seat;
use crate::config::PoolConfig;
use crate::hub::Error;
use crate::hub::iot::{IotHub, routine_call};

/// One thing that is made at the hub. Making it again does no harm.
#[derive(Clone, PartialEq, Debug)]
pub enum Step {
    /// A device identity for a pool's record, without the record.
    KeepPlace(PoolName),
    /// An IoT Edge device.
    CreateDevice(MemberId),
    /// The module identity of an agent.
    CreateAgent(MemberId, String),
    /// The key with which the controller's calls to an agent are signed.
    InstallKey(MemberId, String),
    /// The tag by which deployments, queries and routes find a member.
    TagRole(MemberId, PoolName),
    /// The tags that the pool's own condition demands.
    TagSelected(MemberId, Map),
    /// The tag by which a deployment of the pool finds a member.
    TagRelease {
        /// Who.
        member: MemberId,
        /// The tag's key, beside the role.
        key: String,
        /// The deployment's id.
        id: String,
    },
    /// Have the hub look at the tags that the target condition of a deployment asks for.
    Evaluate(String),
}

impl Eq for Step {}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::KeepPlace(pool) => {
                write!(f, "create device {} (disabled: the place of the pool's record)", anchor::device_id(pool))
            }
            Self::CreateDevice(member) => write!(f, "create device {member} (IoT Edge)"),
            Self::CreateAgent(member, module) => write!(f, "create module {member}/{module}"),
            Self::InstallKey(member, module) => {
                write!(f, "patch twin {member}/{module}: properties.desired.ha, with a new key")
            }
            Self::TagRole(member, pool) => {
                write!(f, "patch twin {member}: tags.ha.{pool} = {}", role(pool)["ha"][pool.as_str()])
            }
            Self::TagSelected(member, tags) => {
                write!(f, "patch twin {member}: tags {}", Value::Object(tags.clone()))
            }
            Self::TagRelease { member, id, .. } => write!(f, "patch twin {member}: the tag of the deployment {id}"),
            Self::Evaluate(id) => write!(f, "write deployment {id} as it is, so that the hub evaluates it"),
        }
    }
}

impl Serialize for Step {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// Makes one thing.
pub async fn carry_out(hub: &IotHub, pool: &PoolConfig, step: &Step) -> Result<(), Error> {
    match step {
        Step::KeepPlace(pool) => hub.keep_place(pool).await,
        Step::CreateDevice(member) => {
            let mut device = Device::new(member.as_str());
            device.capabilities = Some(Capabilities { iot_edge: true, other: Map::new() });
            made(hub.client().create_device(&device, &routine_call()).await)
        }
        Step::CreateAgent(member, module) => {
            let module = Module::new(member.as_str(), module.as_str());
            made(hub.client().create_module(&module, &routine_call()).await)
        }
        Step::InstallKey(member, _) => hub.install_key(&seat(pool, member)).await,
        Step::TagRole(member, pool) => hub.patch_tags(member, object(role(pool))).await,
        Step::TagSelected(member, tags) => hub.patch_tags(member, tags.clone()).await,
        Step::TagRelease { member, key, id } => {
            let tags = json!({ "ha": { pool.name.as_str(): { key.as_str(): id } } });
            hub.patch_tags(member, object(tags)).await
        }
        Step::Evaluate(id) => deploy::evaluate(hub, id).await,
    }
}

impl IotHub {
    pub(super) async fn patch_tags(&self, member: &MemberId, tags: Map) -> Result<(), Error> {
        let patch = TwinPatch::tags(tags);
        let done = self.client().patch_twin(member.as_str(), None, &patch, None, &routine_call()).await;
        done.map(drop).map_err(|e| crate::hub::iot::error(&e))
    }
}

/// Somebody else may have made it meanwhile.
fn made<T>(result: Result<T, ha_iothub::Error>) -> Result<(), Error> {
    match result {
        Ok(_) | Err(ha_iothub::Error::Conflict(_)) => Ok(()),
        Err(e) => Err(crate::hub::iot::error(&e)),
    }
}

/// What every member is before the controller says otherwise.
fn role(pool: &PoolName) -> Value {
    role_patch(pool, Some(RoleTag { role: Role::Standby, term: Term(0) }))
}

fn object(value: Value) -> Map {
    if let Value::Object(map) = value { map } else { Map::new() }
}
