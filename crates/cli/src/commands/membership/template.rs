//! The agent's module, put into a deployment manifest.

use std::path::PathBuf;

use clap::ValueEnum;
use ha_controller::config::PoolConfig;
use ha_deployment::template::{AgentModule, Gate};

use crate::exit::Exit;
use crate::failure::{Failure, OrExit, Result};
use crate::printer::Printer;

#[derive(clap::Args)]
#[command(next_help_heading = "Deployment manifest")]
pub(crate) struct TemplateArgs {
    /// A deployment manifest, full or layered, to put the agent's module into
    #[arg(long, value_name = "FILE", requires_all = ["output", "image"])]
    manifest: Option<PathBuf>,

    /// Where the manifest with the agent goes
    #[arg(long, value_name = "FILE", requires = "manifest")]
    output: Option<PathBuf>,

    /// The agent's image; for the exec gate one that holds the workload too
    #[arg(long, requires = "manifest")]
    image: Option<String>,

    /// How the workload learns that it is active
    #[arg(long, value_enum, default_value_t = GateArg::Http)]
    gate: GateArg,

    /// With the exec gate: the workload's command in the image [default: the image says it]
    #[arg(last = true, value_name = "COMMAND", requires = "manifest")]
    command: Vec<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum GateArg {
    /// The agent starts the workload and ends it; both are in one image
    Exec,
    /// The workload asks the agent over the module network
    Http,
    /// The workload reads a file in a folder that both mount
    File,
}

/// A manifest with the agent in it, not written yet.
pub(crate) struct Prepared {
    output: PathBuf,
    text: String,
    hint: Option<String>,
}

impl TemplateArgs {
    /// Reads the manifest and puts the agent into it; `None`: there is none.
    pub(crate) fn prepare(&self, pool: &PoolConfig) -> Result<Option<Prepared>> {
        if self.gate != GateArg::Exec && !self.command.is_empty() {
            return Err(Failure::says(Exit::Usage, "a command is given, but the gate is not exec")
                .hint("give --gate exec, or leave out what stands after `--`"));
        }
        let (Some(manifest), Some(output), Some(image)) = (&self.manifest, &self.output, &self.image) else {
            return Ok(None);
        };
        let shown = manifest.display();
        let text = std::fs::read_to_string(manifest)
            .map_err(|e| anyhow::Error::new(e).context(format!("cannot read {shown}")))
            .or_exit(Exit::Usage)?;
        let agent = self.agent(pool, image.clone());
        let document = agent.insert_into(&text).map_err(|error| {
            Failure::new(
                Exit::Usage,
                anyhow::Error::new(error).context(format!("{shown} is no manifest to put the agent into")),
            )
        })?;
        let text = format!("{}\n", serde_json::to_string_pretty(&document)?);
        let hint = self.hint(&agent.id);
        Ok(Some(Prepared { output: output.clone(), text, hint }))
    }

    fn agent(&self, pool: &PoolConfig, image: String) -> AgentModule {
        let gate = match self.gate {
            GateArg::Exec => Gate::Exec(self.command.clone()),
            GateArg::Http => Gate::Http,
            GateArg::File => Gate::File,
        };
        AgentModule { id: pool.agent_module.clone(), pool: pool.name.to_string(), image, gate }
    }

    /// What the workload's own module needs.
    fn hint(&self, agent: &str) -> Option<String> {
        match self.gate {
            GateArg::Exec => None,
            GateArg::Http => Some(format!("the workload asks http://{agent}:8780/active before each act")),
            GateArg::File => {
                Some("the workload mounts /run/iotedge-ha and reads gate.json there before each act".to_owned())
            }
        }
    }
}

impl Prepared {
    pub(crate) fn keep(&self, dry_run: bool, printer: &Printer) -> Result<()> {
        let shown = self.output.display();
        if dry_run {
            printer.note(format_args!("would write the manifest with the agent to {shown}"));
            return Ok(());
        }
        std::fs::write(&self.output, &self.text)
            .map_err(|e| anyhow::Error::new(e).context(format!("cannot write {shown}")))
            .or_exit(Exit::Failed)?;
        printer.note(format_args!("the manifest with the agent is in {shown}"));
        if let Some(hint) = &self.hint {
            printer.note(format_args!("hint: {hint}"));
        }
        Ok(())
    }

    pub(crate) fn output(&self) -> &PathBuf {
        &self.output
    }
}
