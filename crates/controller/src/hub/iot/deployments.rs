//! Deployments that would overwrite what we write into an agent's twin.

use std::sync::Arc;
use std::time::Duration;

use ha_iothub::Client;
use ha_wire::Map;
use ha_wire::configuration::Configuration;
use tokio::sync::Mutex;
use tokio::time::Instant;

use super::errors::error;
use super::routine_call;
use crate::hub::{Error, Reassertion};

/// Configurations are rationed to 20 a minute, and every pool asks.
const FRESH: Duration = Duration::from_secs(30);

#[derive(Default)]
pub(super) struct Deployments {
    last: Mutex<Option<(Instant, Arc<Vec<Configuration>>)>>,
}

impl Deployments {
    pub(super) async fn reassertions(&self, client: &Client, agent_module: &str) -> Result<Vec<Reassertion>, Error> {
        let configurations = self.all(client).await?;
        Ok(configurations.iter().filter_map(|configuration| reassertion(configuration, agent_module)).collect())
    }

    async fn all(&self, client: &Client) -> Result<Arc<Vec<Configuration>>, Error> {
        let mut last = self.last.lock().await;
        if let Some((at, configurations)) = &*last
            && at.elapsed() < FRESH
        {
            return Ok(Arc::clone(configurations));
        }
        let configurations = Arc::new(client.configurations(&routine_call()).await.map_err(|e| error(&e))?);
        *last = Some((Instant::now(), Arc::clone(&configurations)));
        Ok(configurations)
    }
}

fn reassertion(configuration: &Configuration, agent_module: &str) -> Option<Reassertion> {
    let content = configuration.content.as_ref()?;
    let of_deployment = content.modules_content.as_ref().and_then(|modules| modules.get(agent_module)?.as_object());
    let condition = configuration.target_condition.as_deref().unwrap_or_default();
    let of_modules = content.module_content.as_ref().filter(|_| condition.contains(agent_module));
    let key = [of_deployment, of_modules].into_iter().flatten().find_map(our_key)?;
    Some(Reassertion {
        deployment: configuration.id.clone(),
        target_condition: configuration.target_condition.clone(),
        key: key.to_owned(),
    })
}

/// The key by which a module's content touches what is ours: all desired properties, or our own.
fn our_key(content: &Map) -> Option<&str> {
    let ours = |key: &&str| {
        *key == "properties.desired" || *key == "properties.desired.ha" || key.starts_with("properties.desired.ha.")
    };
    content.keys().map(String::as_str).find(ours)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn check(content: serde_json::Value) -> Option<String> {
        let configuration = json!({ "id": "dep1", "targetCondition": "moduleId = 'ha-agent'", "content": content });
        let configuration = serde_json::from_value(configuration).expect("it has the shape of one");
        reassertion(&configuration, "ha-agent").map(|r| r.key)
    }

    #[test]
    fn only_what_touches_our_keys_counts() {
        let all = Some("properties.desired".to_owned());
        assert_eq!(check(json!({ "modulesContent": { "ha-agent": { "properties.desired": {} } } })), all);
        assert_eq!(check(json!({ "moduleContent": { "properties.desired": {} } })), all);
        let part = check(json!({ "modulesContent": { "ha-agent": { "properties.desired.ha.active": true } } }));
        assert_eq!(part, Some("properties.desired.ha.active".to_owned()));
        assert_eq!(check(json!({ "modulesContent": { "ha-agent": { "properties.desired.hall": 1 } } })), None);
        assert_eq!(check(json!({ "modulesContent": { "other": { "properties.desired": {} } } })), None);
        assert_eq!(check(json!({ "deviceContent": { "properties.desired": {} } })), None);
        assert_eq!(check(json!({})), None);
    }
}
