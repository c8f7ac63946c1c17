//! One Edge device of the demo: an identity in the hub, and an agent that runs the workload.

use std::net::SocketAddr;
use std::path::Path;

use anyhow::{Context, Result};

use super::Timings;
use super::hub::{Addresses, Hub};
use super::process::Process;

pub(crate) struct Device {
    name: &'static str,
    connection_string: String,
    agent: Option<Process>,
}

impl Device {
    pub(crate) async fn register(name: &'static str, _hub: &Hub) -> Result<Self> {
        Ok(Self { name, connection_string: String::new(), agent: None })
    }

    pub(crate) fn start(&mut self, folder: &Path, hub: &Addresses, plant: SocketAddr, timings: Timings) -> Result<()> {
        let args = ["agent"].map(str::to_owned);
        let env = Vec::new();
        let _ = (hub, plant, timings, &self.connection_string);
        // The old process, if there was one, is reaped here.
        self.agent = Some(Process::start(self.name, folder, &args, &env)?);
        Ok(())
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
        Some(format!("# {}: agent is process {}", self.name, agent.pid()))
    }
}
