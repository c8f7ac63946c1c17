//! The hub as a resource of Azure Resource Manager: what the service API cannot say, such as routes.
//!
//! Azure has no call that changes one route. The whole resource is read, edited and written back under `If-Match`, and the write goes on
//! for minutes after it was accepted. [`Management::change`] does all of that: it waits while another write goes on, begins anew from
//! a fresh read when somebody else was faster, and follows its own write to the end. It edits the JSON as it came, so what this client
//! does not know of is sent back untouched (ARM swagger 2023-06-30, `IotHubResource_CreateOrUpdate`).

mod error;
mod hub;
mod operation;
mod request;

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use ha_wire::{Secret, percent_encode};
use reqwest::Method;
use serde_json::{Value, json};
use tokio::time::Instant;

pub use self::error::{Error, Refusal};
pub use self::hub::{Fallback, Hub, Route};
use self::request::{Request, Sender};
use crate::Cloud;

const API_VERSION: &str = "2023-06-30";

/// Whoever asks for more is not obeyed to the letter: the operation may be over long before.
const POLL_MAX: Duration = Duration::from_secs(60);

/// Where bearer tokens come from.
pub trait Bearer: Send + Sync {
    /// A token for `scope`, such as `https://management.azure.com/.default`, good for some minutes at least.
    fn token<'a>(&'a self, scope: &'a str) -> TokenFuture<'a>;
}

/// A token on its way, or why there is none.
pub type TokenFuture<'a> =
    Pin<Box<dyn Future<Output = Result<Secret, Box<dyn std::error::Error + Send + Sync>>> + Send + 'a>>;

/// Which resource.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Resource {
    /// The subscription's id.
    pub subscription: String,
    /// The resource group.
    pub group: String,
    /// The hub's name: the first label of its host name.
    pub name: String,
}

impl Resource {
    /// The resource's id, as `az … --scope` takes it.
    pub fn id(&self) -> String {
        let Self { subscription, group, name } = self;
        format!("/subscriptions/{subscription}/resourceGroups/{group}/providers/Microsoft.Devices/IotHubs/{name}")
    }

    fn path(&self) -> String {
        let [subscription, group, name] =
            [&self.subscription, &self.group, &self.name].map(|part| percent_encode(part));
        format!("/subscriptions/{subscription}/resourceGroups/{group}/providers/Microsoft.Devices/IotHubs/{name}")
    }
}

/// How a [`Management`] is set up.
#[derive(Debug, Clone)]
pub struct Options {
    /// Scheme and host, and a port where it is not the usual one.
    pub endpoint: String,
    /// Certificates (PEM) to trust instead of the system's: for an emulator or a private endpoint.
    pub ca_pem: Option<Vec<u8>>,
    /// How long one attempt may take.
    pub attempt: Duration,
    /// How long to wait before asking again, where Azure names no time. It says `Retry-After: 15`; an emulator is quicker.
    pub poll: Duration,
}

impl Default for Options {
    fn default() -> Self {
        let (attempt, poll) = (Duration::from_secs(60), Duration::from_secs(5));
        Options { endpoint: Cloud::Public.resource_manager().to_owned(), ca_pem: None, attempt, poll }
    }
}

/// What is going on while a change is made: for people who wait.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Progress {
    /// Another write goes on; ours waits. What the hub says of its state.
    Busy(String),
    /// Somebody else wrote first, or the answer to the write was lost: the hub is read again.
    Raced,
    /// Azure has taken the write in.
    Accepted,
    /// The write goes on. What the operation says of its state.
    Running(String),
}

/// What came of a change.
#[derive(Debug, Clone)]
pub struct Changed {
    /// The hub as it is afterwards.
    pub hub: Hub,
    /// Whether anything was written; if not, everything was as wanted already.
    pub written: bool,
}

/// A client of one hub's resource. Cheap to clone.
#[derive(Clone)]
pub struct Management {
    resource: Resource,
    sender: Arc<Sender>,
    poll: Duration,
}

impl Management {
    /// A client for that resource. Opens no connection yet.
    ///
    /// # Errors
    /// When the endpoint is no HTTPS address, or the certificates cannot be read.
    pub fn new(resource: Resource, bearer: Arc<dyn Bearer>, options: &Options) -> Result<Self, Error> {
        Ok(Self { resource, sender: Arc::new(Sender::new(bearer, options)?), poll: options.poll })
    }

    /// Which resource.
    pub fn resource(&self) -> &Resource {
        &self.resource
    }

    /// Reads the resource; what may pass is tried again until then.
    pub async fn get(&self, until: Instant) -> Result<Hub, Error> {
        let what = format!("read the hub {} at Azure Resource Manager", self.resource.name);
        let request = Request::new(what, Method::GET, self.url(""));
        let answer = self.sender.read(&request, until).await?;
        Hub::from_json(answer.json(&request)?).map_err(|reason| request.bad_answer(reason))
    }

    /// The names of the routes in force that would take this message of this sender (`$testall`).
    ///
    /// `message` is `{"body", "appProperties", "systemProperties"}`, `twin` is `{"tags", "properties"}`; both as ARM's schema has them.
    pub async fn matching(
        &self,
        source: &str,
        message: &Value,
        twin: &Value,
        until: Instant,
    ) -> Result<Vec<String>, Error> {
        let body = json!({ "routingSource": source, "message": message, "twin": twin });
        let request =
            Request::new("try the hub's routes", Method::POST, self.url("/routing/routes/$testall")).json(body);
        let answer = self.sender.read(&request, until).await?.json(&request)?;
        let routes = answer["routes"].as_array().ok_or_else(|| request.bad_answer("it holds no routes"))?;
        Ok(routes.iter().filter_map(|route| route["properties"]["name"].as_str().map(str::to_owned)).collect())
    }

    /// Whether this condition would take this message, and what is wrong with the condition (`$testnew`). Changes nothing.
    pub async fn try_route(
        &self,
        route: &Route,
        message: &Value,
        twin: &Value,
        until: Instant,
    ) -> Result<Trial, Error> {
        let body = json!({ "message": message, "route": route.to_json(), "twin": twin });
        let request = Request::new("try a route", Method::POST, self.url("/routing/routes/$testnew")).json(body);
        let answer = self.sender.read(&request, until).await?.json(&request)?;
        let problems = answer["details"]["compilationErrors"].as_array().into_iter().flatten();
        let problems = problems.map(|problem| problem["message"].as_str().unwrap_or("it does not compile").to_owned());
        Ok(Trial { takes: answer["result"] == "true", problems: problems.collect() })
    }

    /// Edits the resource and sees the write to its end. `edit` gets a fresh copy each time somebody else was faster; what it refuses
    /// ends the change, and what it leaves as it is is not written. `told` hears what is going on.
    ///
    /// A write whose answer was lost needs no special care: the next read shows whether there is still something to do.
    pub async fn change<E: From<Error>>(
        &self,
        until: Instant,
        mut edit: impl FnMut(&mut Hub) -> Result<(), E>,
        told: &(dyn Fn(Progress) + Sync),
    ) -> Result<Changed, E> {
        let (mut written, mut attempt) = (false, 0_u32);
        loop {
            attempt = attempt.saturating_add(1);
            let before = self.settled(until, told).await?;
            let mut after = before.clone();
            edit(&mut after)?;
            if after == before {
                return Ok(Changed { hub: after, written });
            }
            match self.put(&after, until, told).await {
                Ok(()) => written = true,
                Err(Error::Busy(refusal)) => {
                    told(Progress::Busy(refusal.message.clone()));
                    self.pause(refusal.retry_after, "another write on the hub", &refusal.message, until).await?;
                }
                Err(error) => {
                    written |= error.outcome_unknown();
                    let wait = self.sender.wait_before(attempt, &error);
                    let may_help = matches!(error, Error::Raced(_)) || error.outcome_unknown();
                    if !may_help || Instant::now() + wait >= until {
                        return Err(error.into());
                    }
                    tracing::debug!(%error, "the hub is read again");
                    told(Progress::Raced);
                    tokio::time::sleep(wait).await;
                }
            }
        }
    }

    /// The hub once no write goes on.
    async fn settled(&self, until: Instant, told: &(dyn Fn(Progress) + Sync)) -> Result<Hub, Error> {
        loop {
            let hub = self.get(until).await?;
            if hub.is_settled() {
                return Ok(hub);
            }
            let state = hub.state();
            told(Progress::Busy(state.clone()));
            self.pause(None, "another write on the hub", &state, until).await?;
        }
    }

    async fn put(&self, hub: &Hub, until: Instant, told: &(dyn Fn(Progress) + Sync)) -> Result<(), Error> {
        let what = format!("write the hub {} at Azure Resource Manager", self.resource.name);
        let request = Request::new(what, Method::PUT, self.url("")).if_match(hub.etag()).json(hub.as_json().clone());
        let answer = self.sender.write(&request, until).await?;
        told(Progress::Accepted);
        self.follow(&request, &answer, until, told).await
    }

    /// Waits before asking again; ends with an error when there is no time for that.
    async fn pause(&self, asked: Option<Duration>, what: &str, state: &str, until: Instant) -> Result<(), Error> {
        let wait = asked.unwrap_or(self.poll).min(POLL_MAX);
        if Instant::now() + wait >= until {
            return Err(Error::Stuck { what: what.to_owned(), state: state.to_owned() });
        }
        tokio::time::sleep(wait).await;
        Ok(())
    }

    fn url(&self, rest: &str) -> String {
        format!("{}{}{rest}?api-version={API_VERSION}", self.sender.endpoint(), self.resource.path())
    }
}

/// What came of trying a route.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Trial {
    /// It takes the message.
    pub takes: bool,
    /// What is wrong with the condition.
    pub problems: Vec<String>,
}

impl fmt::Debug for Management {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Management").field("resource", &self.resource).finish_non_exhaustive()
    }
}
