//! Deployments that would overwrite what we write into an agent's twin.

use std::sync::Arc;
use std::time::Duration;

use ha_iothub::Client;
use ha_wire::configuration::Configuration;
use tokio::sync::Mutex;
use tokio::time::Instant;

use super::errors::error;
use super::routine_call;
use crate::hub::{Error, OwnKey, Reassertion};

/// Configurations are rationed to 20 a minute, and every pool asks.
const FRESH: Duration = Duration::from_secs(30);

#[derive(Default)]
pub(super) struct Deployments {
    last: Mutex<Option<(Instant, Arc<Vec<Configuration>>)>>,
}

impl Deployments {
    pub(super) async fn reassertions(&self, client: &Client, own: &[OwnKey]) -> Result<Vec<Reassertion>, Error> {
        let configurations = self.all(client).await?;
        let found = |configuration| own.iter().find_map(|own| reassertion(configuration, own));
        Ok(configurations.iter().filter_map(found).collect())
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

fn reassertion(configuration: &Configuration, own: &OwnKey) -> Option<Reassertion> {
    let content = configuration.content.as_ref()?;
    let condition = configuration.target_condition.as_deref().unwrap_or_default();
    let contents = match &own.module {
        Some(module) => {
            let of_deployment = content.modules_content.as_ref().and_then(|modules| modules.get(module)?.as_object());
            let of_modules = content.module_content.as_ref().filter(|_| condition.contains(module.as_str()));
            [of_deployment, of_modules]
        }
        None => [content.device_content.as_ref(), None],
    };
    let key = contents.into_iter().flatten().find_map(|content| content.keys().find(|key| touches(key, own)))?;
    Some(Reassertion {
        deployment: configuration.id.clone(),
        target_condition: configuration.target_condition.clone(),
        key: key.clone(),
    })
}

/// Whether content that sets `key` touches what is ours: all desired properties, ours, or what is above or below it.
fn touches(key: &str, own: &OwnKey) -> bool {
    let Some(rest) = key.strip_prefix("properties.desired") else { return false };
    let ours = format!(".{}", own.path.join("."));
    let within =
        |long: &str, short: &str| long.strip_prefix(short).is_some_and(|rest| rest.is_empty() || rest.starts_with('.'));
    within(rest, &ours) || within(&ours, rest)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn check_for(own: &OwnKey, content: serde_json::Value) -> Option<String> {
        let configuration = json!({ "id": "dep1", "targetCondition": "moduleId = 'ha-agent'", "content": content });
        let configuration = serde_json::from_value(configuration).expect("it has the shape of one");
        reassertion(&configuration, own).map(|r| r.key)
    }

    fn check(content: serde_json::Value) -> Option<String> {
        check_for(&OwnKey { module: Some("ha-agent".to_owned()), path: vec!["ha".to_owned()] }, content)
    }

    #[test]
    fn a_flag_of_the_device_is_ours_too() {
        let own = OwnKey { module: None, path: vec!["ha".to_owned(), "active".to_owned()] };
        let found = |key: &str| check_for(&own, json!({ "deviceContent": { key: 1 } })).is_some();
        assert!(found("properties.desired") && found("properties.desired.ha") && found("properties.desired.ha.active"));
        assert!(
            !found("properties.desired.ha.mode") && !found("properties.desired.hall") && !found("properties.other")
        );
        assert_eq!(check_for(&own, json!({ "modulesContent": { "ha-agent": { "properties.desired": {} } } })), None);
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
