//! The little world of the demo: a hub, a controller and three devices, each a process of its own, and the plant.

mod device;
mod hub;
pub(crate) mod process;
mod settings;

use std::future::Future;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use clap::ValueEnum;
use rustix::process::Signal;
use tempfile::TempDir;

use self::device::Device;
use self::hub::Hub;
use self::process::Process;
use super::plant::{News, Plant, writer};
use super::record::Ms;
use super::timeline::{Timeline, What};

/// How long leases last in the demo.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Timings {
    /// A lease of two seconds
    Fast,
    /// What a pool has that says nothing about timings
    Default,
}

pub(crate) struct World {
    pub(crate) plant: Plant,
    pub(crate) timeline: Timeline,
    timings: Timings,
    // In the order in which they are ended: devices before the controller, the hub before its folder.
    devices: Vec<Device>,
    operator: Option<Process>,
    controller: Option<Process>,
    hub: Hub,
    folder: TempDir,
}

impl World {
    pub(crate) const POOL: &str = "press_1";
    const DEVICES: [&str; 3] = ["edge-1", "edge-2", "edge-3"];

    /// Starts everything, and returns once the pool is in good order.
    pub(crate) async fn start(timeline: Timeline, start: Instant, timings: Timings) -> Result<Self> {
        process::adopt_orphans()?;
        let folder = tempfile::Builder::new().prefix("iotedge-ha-demo-").tempdir().context("cannot make a folder")?;
        let plant = Plant::open(start, teller(timeline.clone()))?;
        timeline.tell("plant", What::Setup, format_args!("listens on {}", plant.address()));
        let hub = Hub::start(folder.path()).await?;
        timeline.tell("hub", What::Setup, format_args!("an IoT Hub emulator runs: {}", hub.addresses().control_url));
        let mut world =
            Self { plant, timeline, timings, devices: Vec::new(), operator: None, controller: None, hub, folder };
        for name in Self::DEVICES {
            let device = Device::register(name, &world.hub, world.folder.path(), timings).await?;
            world.devices.push(device);
        }
        world.timeline.tell("hub", What::Setup, format_args!("has the Edge devices {}", Self::DEVICES.join(", ")));
        for name in Self::DEVICES {
            world.start_agent(name).await?;
        }
        world.timeline.tell("devices", What::Setup, "three agents run, one process each");
        world.start_controller()?;
        world.timeline.tell("controller", What::Setup, format_args!("runs with {}", world.config_file().display()));
        world.put_in_order().await?;
        Ok(world)
    }

    /// Waits until one device is active and the others are ready to follow; mends what a story has left.
    pub(crate) async fn put_in_order(&mut self) -> Result<()> {
        for name in Self::DEVICES {
            if self.device(name)?.runs() {
                continue;
            }
            self.start_agent(name).await?;
            self.timeline.tell(name, What::Repair, "comes back");
        }
        let since = self.plant.now();
        let fresh = |plant: &Plant| plant.last_write().filter(|write| write.at >= since);
        self.within("nobody is active", self.plant.wait_for(fresh)).await?;
        for name in Self::DEVICES {
            if !self.is_active(name) {
                self.wait_for_standby(name).await?;
            }
        }
        Ok(())
    }

    /// A device whose agent does not run.
    pub(crate) fn down(&mut self) -> Option<String> {
        self.devices.iter_mut().find_map(|device| (!device.runs()).then(|| device.name().to_owned()))
    }

    /// The device of the highest priority besides this one.
    pub(crate) fn preferred_besides(&self, name: &str) -> String {
        let others = Self::DEVICES.iter().find(|other| **other != name);
        others.copied().unwrap_or_default().to_owned()
    }

    pub(crate) async fn start_agent(&mut self, name: &str) -> Result<()> {
        let (folder, plant) = (self.folder.path().to_path_buf(), self.plant.address());
        let device = self.devices.iter_mut().find(|device| device.name() == name).context("no such device")?;
        device.start(&folder, &self.hub, plant).await
    }

    /// The whole device at once, as when its power goes.
    pub(crate) fn crash(&mut self, name: &str) -> Result<()> {
        self.device(name)?.agent()?.kill_with_all_below();
        Ok(())
    }

    pub(crate) fn kill_agent(&mut self, name: &str) -> Result<()> {
        self.device(name)?.agent()?.signal(Signal::KILL)
    }

    pub(crate) fn stop_agent(&mut self, name: &str) -> Result<()> {
        self.device(name)?.agent()?.signal(Signal::TERM)
    }

    pub(crate) fn freeze_agent(&mut self, name: &str) -> Result<()> {
        self.device(name)?.agent()?.signal(Signal::STOP)
    }

    pub(crate) fn thaw_agent(&mut self, name: &str) -> Result<()> {
        self.device(name)?.agent()?.signal(Signal::CONT)
    }

    pub(crate) async fn cut(&self, name: &str) -> Result<()> {
        self.hub.cut(name).await
    }

    pub(crate) async fn heal(&self, name: &str) -> Result<()> {
        self.hub.heal(name).await
    }

    /// Asks as an operator does: with the command, in a process of its own. What that takes belongs to the measured time.
    pub(crate) fn request_switchover(&mut self, to: &str) -> Result<()> {
        let args = ["switchover", Self::POOL, "--to", to, "--yes", "--config"];
        let mut args: Vec<String> = args.map(str::to_owned).to_vec();
        args.push(self.config_file().display().to_string());
        let env = self.hub.addresses().operator_env();
        self.operator = Some(Process::start("operator", self.folder.path(), &args, &env)?);
        Ok(())
    }

    pub(crate) async fn wait_for_standby(&mut self, name: &str) -> Result<()> {
        let limit = self.limit();
        let device = self.devices.iter_mut().find(|device| device.name() == name).context("no such device")?;
        let hub = &self.hub;
        let ready = async {
            while device.runs() && !device.is_standby(hub).await {
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        };
        let in_time = tokio::time::timeout(limit, ready).await.is_ok();
        if !device.runs() {
            bail!("the agent of {name} has ended\n{}", self.last_words());
        }
        if !in_time {
            bail!("{name} did not become a standby within {limit:?}\n{}", self.last_words());
        }
        Ok(())
    }

    /// Long enough that a device which must not write would have.
    pub(crate) async fn watch_for_a_while(&self) {
        tokio::time::sleep(Duration::from_millis(1000)).await;
    }

    /// Waits for what must come, but not for ever.
    pub(crate) async fn within<T>(&self, problem: &str, wait: impl Future<Output = T>) -> Result<T> {
        let limit = self.limit();
        match tokio::time::timeout(limit, wait).await {
            Ok(found) => Ok(found),
            Err(_) => bail!("{problem} within {limit:?}\n{}", self.last_words()),
        }
    }

    /// Far longer than anything may take, also on a slow machine.
    fn limit(&self) -> Duration {
        Duration::from_secs_f64(self.ttl_ms() * 6.0 / 1000.0 + 100.0)
    }

    pub(crate) fn ttl_ms(&self) -> Ms {
        self.timings.ttl_ms()
    }

    pub(crate) fn config_file(&self) -> PathBuf {
        self.folder.path().join("pool.toml")
    }

    pub(crate) fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// What to type to look around.
    pub(crate) fn how_to_reach(&self) -> String {
        let mut lines: Vec<String> = self
            .hub
            .addresses()
            .operator_env()
            .iter()
            .map(|(name, value)| format!("export {name}='{value}'"))
            .collect();
        let config = self.config_file();
        lines.push(format!("iotedge-ha list --config {}", config.display()));
        lines.push(format!("iotedge-ha switchover {} --config {}", Self::POOL, config.display()));
        lines.extend(self.devices.iter().filter_map(Device::how_to_reach));
        lines.join("\n")
    }

    /// Ends everything, kindly first.
    pub(crate) async fn end(mut self) {
        for process in self.devices.iter_mut().filter_map(Device::agent_mut).chain(self.controller.as_mut()) {
            let _ = process.signal(Signal::CONT);
            let _ = process.signal(Signal::TERM);
        }
        for process in self.devices.iter_mut().filter_map(Device::agent_mut).chain(self.controller.as_mut()) {
            process.wait_for_end(Duration::from_secs(2)).await;
        }
    }

    fn is_active(&self, name: &str) -> bool {
        writer(&self.plant).is_some_and(|(device, _)| device == name)
    }

    fn start_controller(&mut self) -> Result<()> {
        let text = settings::pool(Self::POOL, &Self::DEVICES, self.timings, self.hub.addresses());
        std::fs::write(self.config_file(), text)?;
        let args = ["run", "--name", "demo", "--config", &self.config_file().display().to_string()].map(str::to_owned);
        let env = self.hub.addresses().operator_env();
        self.controller = Some(Process::start("controller", self.folder.path(), &args, &env)?);
        Ok(())
    }

    fn device(&mut self, name: &str) -> Result<&mut Device> {
        self.devices.iter_mut().find(|device| device.name() == name).with_context(|| format!("no device {name}"))
    }

    /// The ends of the logs, for whoever has to find out what went wrong.
    fn last_words(&self) -> String {
        let processes =
            self.devices.iter().filter_map(|device| device.agent().ok()).chain(&self.controller).chain(&self.operator);
        let words = processes.map(|process| format!("-- {}\n{}", process.name(), process.last_lines(6)));
        words.collect::<Vec<_>>().join("\n")
    }
}

impl Drop for World {
    fn drop(&mut self) {
        process::end_all_below_us();
    }
}

fn teller(timeline: Timeline) -> impl Fn(News) + Send + 'static {
    move |news| match news {
        News::Began { at, device, term } => {
            timeline.tell_at(
                at,
                &device,
                What::Writes,
                format_args!("is active: writes to the plant under term {term}"),
            );
        }
        News::Ended { at, device, term } => {
            timeline.tell_at(at, &device, What::Silent, format_args!("wrote for the last time under term {term}"));
        }
    }
}
