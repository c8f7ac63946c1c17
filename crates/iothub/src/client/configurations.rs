use ha_wire::configuration::Configuration;

use super::request::Request;
use crate::{Call, Client, Error, Operation};

impl Client {
    /// Every configuration and deployment of the hub (at most a hundred).
    pub async fn configurations(&self, call: &Call) -> Result<Vec<Configuration>, Error> {
        let request = Request::read("list configurations".to_owned(), Operation::Configuration, &["configurations"]);
        request.decode(&self.send(&request, call).await?)
    }

    /// One configuration or deployment.
    pub async fn configuration(&self, id: &str, call: &Call) -> Result<Configuration, Error> {
        let what = format!("get configuration {id}");
        let request = Request::read(what, Operation::Configuration, &["configurations", id]);
        request.decode(&self.send(&request, call).await?)
    }
}
