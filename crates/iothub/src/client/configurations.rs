use ha_wire::IfMatch;
use ha_wire::configuration::Configuration;
use reqwest::Method;

use super::request::{Effect, Request};
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

    /// Creates a configuration. [`Error::Conflict`] if there is one of that id, whatever it holds.
    pub async fn create_configuration(
        &self,
        configuration: &Configuration,
        call: &Call,
    ) -> Result<Configuration, Error> {
        self.put_configuration("create", configuration, None, call).await
    }

    /// Changes target condition, priority, labels and metrics. Content never changes: the hub keeps what it has and says nothing.
    /// The hub evaluates shortly after every such write.
    pub async fn update_configuration(
        &self,
        configuration: &Configuration,
        condition: &IfMatch,
        call: &Call,
    ) -> Result<Configuration, Error> {
        self.put_configuration("update", configuration, Some(condition), call).await
    }

    /// Deletes a configuration. What it set on devices stays.
    pub async fn delete_configuration(&self, id: &str, condition: &IfMatch, call: &Call) -> Result<(), Error> {
        let (what, path) = (format!("delete configuration {id}"), ["configurations", id]);
        let request = Request::new(what, Operation::Configuration, Effect::Write, Method::DELETE, &path);
        self.send(&request.if_match(Some(condition)), call).await.map(drop)
    }

    async fn put_configuration(
        &self,
        verb: &str,
        configuration: &Configuration,
        condition: Option<&IfMatch>,
        call: &Call,
    ) -> Result<Configuration, Error> {
        let what = format!("{verb} configuration {}", configuration.id);
        let path = ["configurations", configuration.id.as_str()];
        let request = Request::new(what, Operation::Configuration, Effect::Write, Method::PUT, &path);
        let request = request.if_match(condition).json(configuration);
        request.decode(&self.send(&request, call).await?)
    }
}
