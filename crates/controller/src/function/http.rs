//! What people and programs ask over HTTP: the state of pools, and an operator's verbs.

use ha_core::anchor::Verb;
use ha_core::time::WallTime;
use serde_json::{Value, json};

use super::invocation::{HttpRequest, Reply};
use crate::config::PoolConfig;
use crate::hub::iot::IotHub;
use crate::hub::{Error, chain};
use crate::operate::{AskError, ask, report};
use crate::run::Setup;

/// The two are functions of their own, so that each has its own key: `GET …/pools[/POOL]` to look,
/// `POST …/pools/POOL/VERB` to ask for something.
pub(super) async fn answer(setup: &Setup<IotHub>, request: &HttpRequest) -> Reply {
    let param = |name: &str| request.params.get(name).map(String::as_str).filter(|value| !value.is_empty());
    let answer = match (request.method.to_ascii_uppercase().as_str(), param("pool"), param("verb")) {
        ("GET", None, None) => all(setup).await,
        ("GET", Some(pool), None) => one(setup, pool).await,
        ("POST", Some(pool), Some(verb)) => operate(setup, pool, verb, request).await,
        _ => Err(Refused { status: 405, why: "GET pools, GET pools/POOL, or POST pools/POOL/VERB".to_owned() }),
    };
    match answer {
        Ok((status, body)) => Reply::http(status, &body),
        Err(refused) => Reply::http(refused.status, &json!({"error": refused.why})),
    }
}

struct Refused {
    status: u16,
    why: String,
}

impl From<Error> for Refused {
    fn from(error: Error) -> Self {
        let status = if error.is_transient() { 503 } else { 502 };
        Self { status, why: chain(&error) }
    }
}

type Answer = Result<(u16, Value), Refused>;

async fn all(setup: &Setup<IotHub>) -> Answer {
    let asked = setup.config.pools.iter().map(|pool| report(&setup.hub, pool, setup.clock));
    Ok((200, json!(futures_util::future::try_join_all(asked).await?)))
}

async fn one(setup: &Setup<IotHub>, name: &str) -> Answer {
    let pool = find(setup, name)?;
    Ok((200, json!(report(&setup.hub, pool, setup.clock).await?)))
}

/// Writes the request into the pool's record, as the command line does; whoever is in charge carries it out.
async fn operate(setup: &Setup<IotHub>, name: &str, word: &str, request: &HttpRequest) -> Answer {
    let pool = find(setup, name)?;
    let bad = |why: String| Refused { status: 400, why };
    let mut body = request.object().map_err(bad)?;
    let by = body.remove("by").and_then(|by| by.as_str().map(str::to_owned)).unwrap_or_else(|| "http".to_owned());
    body.insert("verb".to_owned(), json!(word));
    let verb: Verb = serde_json::from_value(Value::Object(body)).map_err(|error| bad(format!("{word}: {error}")))?;
    if matches!(verb, Verb::Failover { fenced: true, .. }) {
        let why = "vouching that a holder is fenced is for a person at the command line: iotedge-ha failover --fenced";
        return Err(Refused { status: 403, why: why.to_owned() });
    }
    let now = WallTime(jiff::Timestamp::now().as_millisecond());
    match ask(&*setup.hub, &pool.name, verb, &by, now).await {
        Ok(id) => Ok((202, json!({"request": id}))),
        Err(AskError::Hub(error)) => Err(error.into()),
        Err(error @ AskError::NoRecord { .. }) => Err(Refused { status: 404, why: error.to_string() }),
        Err(error) => Err(Refused { status: 409, why: error.to_string() }),
    }
}

fn find<'a>(setup: &'a Setup<IotHub>, name: &str) -> Result<&'a PoolConfig, Refused> {
    let missing = || Refused { status: 404, why: format!("there is no pool {name:?}") };
    setup.config.pool(name).ok_or_else(missing)
}
