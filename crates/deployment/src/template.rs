//! The agent's module entry, put into a manifest that somebody has already.

use serde_json::{Map, Value, json};

use crate::error::{Error, Problem};
use crate::manifest::Kind;
use crate::{EDGE_AGENT, Manifest};

/// Where the agent keeps what proves that an earlier workload is gone; on the host too.
const STATE_DIR: &str = "/var/lib/iotedge-ha";
/// The folder of the file gate; on the host too.
const RUN_DIR: &str = "/run/iotedge-ha";
/// The file that the workload reads.
const GATE_FILE: &str = "/run/iotedge-ha/gate.json";
/// Where the agent answers on the module network.
const HTTP_ADDR: &str = "0.0.0.0:8780";
/// Longer than the agent waits to be relieved, in seconds: Docker kills it after this.
const STOP_TIMEOUT_S: u64 = 30;

/// How the workload learns that it is active.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Gate {
    /// The agent starts this command, which is in its own image, and ends it. Empty: the image says it.
    Exec(Vec<String>),
    /// The workload asks `GET http://AGENT:8780/active`.
    Http,
    /// The workload reads `/run/iotedge-ha/gate.json`, from a mounted folder.
    File,
}

/// The agent as a module.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct AgentModule {
    /// Its module id.
    pub id: String,
    /// The pool it serves.
    pub pool: String,
    /// Its image.
    pub image: String,
    /// The gate it keeps.
    pub gate: Gate,
}

impl AgentModule {
    /// The entry under `modules` in the manifest.
    pub fn entry(&self) -> Value {
        let env: Map<String, Value> =
            self.environment().into_iter().map(|(name, value)| (name.to_owned(), json!({ "value": value }))).collect();
        json!({
            "type": "docker",
            "status": "running",
            "restartPolicy": "always",
            "startupOrder": 1,
            "env": env,
            "settings": { "image": self.image, "createOptions": self.create_options().to_string() }
        })
    }

    fn environment(&self) -> Vec<(&'static str, &str)> {
        let mut env = vec![("HA_AGENT_POOL", self.pool.as_str()), ("HA_AGENT_STATE_DIR", STATE_DIR)];
        match &self.gate {
            Gate::Exec(_) => {}
            Gate::Http => env.push(("HA_AGENT_HTTP_ADDR", HTTP_ADDR)),
            Gate::File => env.push(("HA_AGENT_STATE_FILE", GATE_FILE)),
        }
        env
    }

    fn create_options(&self) -> Value {
        let mut binds = vec![format!("{STATE_DIR}:{STATE_DIR}")];
        if self.gate == Gate::File {
            binds.push(format!("{RUN_DIR}:{RUN_DIR}"));
        }
        let mut options = json!({ "StopTimeout": STOP_TIMEOUT_S, "HostConfig": { "Binds": binds } });
        if let Gate::Exec(command) = &self.gate
            && !command.is_empty()
        {
            let words = std::iter::once("--").chain(command.iter().map(String::as_str));
            options["Cmd"] = words.collect();
        }
        options
    }

    /// Puts the agent into a manifest, full or layered, and leaves everything else as it is written. Twice is like once.
    ///
    /// # Errors
    /// What [`Manifest::read`] says of the manifest, before or after; or another pool's agent has that module id.
    pub fn insert_into(&self, manifest: &str) -> Result<Value, Error> {
        let kind = Manifest::read(manifest)?.kind();
        let mut document: Value = serde_json::from_str(manifest).map_err(|e| Error::NoJson(e.to_string()))?;
        let content =
            if document.get("modulesContent").is_some() { Some(&mut document) } else { document.get_mut("content") };
        if let Some(content) = content {
            let agent = &mut content["modulesContent"][EDGE_AGENT];
            let place = match kind {
                Kind::Full => &mut agent["properties.desired"]["modules"][&self.id],
                Kind::Layered => &mut agent[format!("properties.desired.modules.{}", self.id)],
            };
            self.check_free(place)?;
            *place = self.entry();
        }
        Manifest::read(&document.to_string())?.spare(&[&self.id])?;
        Ok(document)
    }

    /// A module that is no agent of this pool is somebody else's.
    fn check_free(&self, found: &Value) -> Result<(), Error> {
        let pool = found.pointer("/env/HA_AGENT_POOL/value").and_then(Value::as_str);
        if found.is_null() || pool == Some(&self.pool) {
            return Ok(());
        }
        let reason = match pool {
            Some(pool) => format!("the module {} is the agent of the pool {pool}", self.id),
            None => format!("there is a module {} already, and it is no agent", self.id),
        };
        let path = format!("/modulesContent/{EDGE_AGENT}/properties.desired/modules/{}", self.id);
        Err(Error::Malformed(vec![Problem { path, reason, hint: "give the agent of this pool another module id" }]))
    }
}

#[cfg(test)]
mod tests {
    use expect_test::{Expect, expect};

    use super::*;

    const FULL: &str = include_str!("../tests/samples/test_edge_deployment_v11.json");
    const LAYERED: &str = include_str!("../tests/samples/ha_layered_deployment.synthetic.json");

    fn agent(gate: Gate) -> AgentModule {
        let (id, pool, image) = ("ha-agent-2".to_owned(), "press_1".to_owned(), "reg.example.com/ha:1".to_owned());
        AgentModule { id, pool, image, gate }
    }

    fn check(gate: Gate, expected: Expect) {
        let entry = agent(gate).entry();
        let env: Vec<_> = entry["env"].as_object().expect("an object").iter().collect();
        let env: Vec<_> =
            env.iter().map(|(name, value)| format!("{name}={}", value["value"].as_str().expect("a text"))).collect();
        expected.assert_eq(&format!(
            "{}\n{}",
            env.join(" "),
            entry["settings"]["createOptions"].as_str().expect("a text")
        ));
    }

    #[test]
    fn each_gate_has_what_it_needs() {
        check(
            Gate::Http,
            expect![[r#"
            HA_AGENT_POOL=press_1 HA_AGENT_STATE_DIR=/var/lib/iotedge-ha HA_AGENT_HTTP_ADDR=0.0.0.0:8780
            {"StopTimeout":30,"HostConfig":{"Binds":["/var/lib/iotedge-ha:/var/lib/iotedge-ha"]}}"#]],
        );
        check(
            Gate::File,
            expect![[r#"
            HA_AGENT_POOL=press_1 HA_AGENT_STATE_DIR=/var/lib/iotedge-ha HA_AGENT_STATE_FILE=/run/iotedge-ha/gate.json
            {"StopTimeout":30,"HostConfig":{"Binds":["/var/lib/iotedge-ha:/var/lib/iotedge-ha","/run/iotedge-ha:/run/iotedge-ha"]}}"#]],
        );
        check(
            Gate::Exec(vec!["python3".to_owned(), "/app/advise.py".to_owned()]),
            expect![[r#"
            HA_AGENT_POOL=press_1 HA_AGENT_STATE_DIR=/var/lib/iotedge-ha
            {"StopTimeout":30,"HostConfig":{"Binds":["/var/lib/iotedge-ha:/var/lib/iotedge-ha"]},"Cmd":["--","python3","/app/advise.py"]}"#]],
        );
    }

    #[test]
    fn the_rest_of_the_manifest_stays_and_twice_is_like_once() {
        for manifest in [FULL, LAYERED] {
            let after = agent(Gate::Http).insert_into(manifest).expect("it is taken");
            assert_eq!(agent(Gate::Http).insert_into(&after.to_string()).expect("again"), after);
            let before = Manifest::read(manifest).expect("a manifest");
            let claims = Manifest::read(&after.to_string()).expect("still one").claims().len();
            assert!(claims >= before.claims().len());
            assert!(after.to_string().contains("HA_AGENT_POOL"));
        }
    }

    #[test]
    fn a_module_of_somebody_else_is_not_overwritten() {
        let after = agent(Gate::Http).insert_into(FULL).expect("it is taken").to_string();
        let other = AgentModule { pool: "oven".to_owned(), ..agent(Gate::Http) };
        let refused = other.insert_into(&after).expect_err("refused").to_string();
        assert!(refused.contains("ha-agent-2 is the agent of the pool press_1"), "{refused}");
    }
}
