//! One Edge device of the demo: an identity in the hub, and an agent that runs the workload.

use std::net::SocketAddr;
use std::path::Path;

use anyhow::{Context, Result};
use ha_core::messages::HolderState;
use ha_protocol::twin::{Reported, decode_reported};
use serde_json::Value;

use super::hub::Hub;
use super::process::Process;
use super::{Timings, World, settings};

pub(crate) struct Device {
    name: &'static str,
    agent: Option<Process>,
    /// The run of the agent that the hub knew of before this one.
    earlier_boot: Option<String>,
}

impl Device {
    /// Makes the device known to the hub, and writes down what its agent needs.
    pub(crate) async fn register(name: &'static str, hub: &Hub, folder: &Path, timings: Timings) -> Result<Self> {
        let connection_string = hub.register(name).await.with_context(|| format!("cannot register {name}"))?;
        let own = folder.join(name);
        std::fs::create_dir(&own)?;
        std::fs::write(own.join("connection-string"), connection_string.expose())?;
        std::fs::write(own.join("agent.toml"), settings::agent(World::POOL, &own, timings, hub.addresses()))?;
        Ok(Self { name, agent: None, earlier_boot: None })
    }

    pub(crate) async fn start(&mut self, folder: &Path, hub: &Hub, plant: SocketAddr) -> Result<()> {
        self.earlier_boot = reported(hub, self.name).await.map(|reported| reported.boot.to_string());
        let program = std::env::current_exe()?.display().to_string();
        let settings = folder.join(self.name).join("agent.toml").display().to_string();
        let plant = plant.to_string();
        let workload = [&program, "demo-workload", "--plant", &plant];
        let mut args = vec!["agent", "--config", &settings, "--"];
        args.extend(workload);
        let args: Vec<_> = args.into_iter().map(str::to_owned).collect();
        // The old process, if there was one, is reaped here.
        self.agent = Some(Process::start(self.name, folder, &args, &[])?);
        Ok(())
    }

    /// Whether this run of the agent has told the hub that it is a standby.
    pub(crate) async fn is_standby(&self, hub: &Hub) -> bool {
        reported(hub, self.name).await.is_some_and(|reported| {
            let this_run = self.earlier_boot.as_deref() != Some(reported.boot.as_str());
            this_run && !reported.leaving && reported.state == HolderState::Standby
        })
    }

    pub(crate) fn name(&self) -> &'static str {
        self.name
    }

    pub(crate) fn runs(&mut self) -> bool {
        self.agent.as_mut().is_some_and(|agent| agent.ended().is_none())
    }

    /// The agent's process, while it runs.
    pub(crate) fn agent(&self) -> Result<&Process> {
        self.agent.as_ref().with_context(|| format!("{} does not run", self.name))
    }

    pub(crate) fn agent_mut(&mut self) -> Option<&mut Process> {
        self.agent.as_mut()
    }

    pub(crate) fn how_to_reach(&self) -> Option<String> {
        let agent = self.agent.as_ref()?;
        Some(format!("# {}: its agent is process {}", self.name, agent.pid()))
    }
}

async fn reported(hub: &Hub, device: &str) -> Option<Reported> {
    let twin = hub.agent_twin(device).await.ok()?;
    decode_reported(&Value::Object(twin.properties.reported.without_system_fields())).ok()?
}
