use ha_wire::statistics::{DeviceStatistics, ServiceStatistics};

use super::request::Request;
use crate::{Call, Client, Error, Operation};

impl Client {
    /// How many devices there are; lags.
    pub async fn device_statistics(&self, call: &Call) -> Result<DeviceStatistics, Error> {
        let path = ["statistics", "devices"];
        let request = Request::read("get device statistics".to_owned(), Operation::Registry, &path);
        request.decode(&self.send(&request, call).await?)
    }

    /// How many devices are connected; lags. The cheapest call there is: good for checking address and key.
    pub async fn service_statistics(&self, call: &Call) -> Result<ServiceStatistics, Error> {
        let path = ["statistics", "service"];
        let request = Request::read("get service statistics".to_owned(), Operation::Registry, &path);
        request.decode(&self.send(&request, call).await?)
    }

    /// The hub's clock, as the `Date` header of its answers has it: for telling a wrong clock of this machine.
    pub async fn date(&self, call: &Call) -> Result<Option<String>, Error> {
        let path = ["statistics", "service"];
        let request = Request::read("get the hub's date".to_owned(), Operation::Registry, &path);
        Ok(self.send(&request, call).await?.header("date").map(str::to_owned))
    }
}
