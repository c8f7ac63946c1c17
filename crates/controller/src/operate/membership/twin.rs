use ha_core::ids::MemberId;
use ha_wire::Twin;

use crate::hub::Error;
use crate::hub::iot::{IotHub, error, routine_call};

/// `None`: there is none.
pub(super) async fn twin(hub: &IotHub, member: &MemberId, module: Option<&str>) -> Result<Option<Twin>, Error> {
    match hub.client().twin(member.as_str(), module, &routine_call()).await {
        Ok(twin) => Ok(Some(twin)),
        Err(ha_iothub::Error::NotFound(_)) => Ok(None),
        Err(e) => Err(error(&e)),
    }
}
