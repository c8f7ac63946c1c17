//! Routes of the hub that follow the active device.

mod apply;
mod plan;
mod show;

use std::time::Duration;

use ha_controller::config::{Config, PoolConfig};
use ha_controller::hub::iot::IotHub;
use ha_controller::operate::{Look, RouteError, look};
use ha_controller::routing::Problem;
use ha_iothub::management::{Error as ArmError, Management};
use tokio::time::Instant;

use super::common::{ConfigArgs, hub_failure, open_hub, pool};
use crate::exit::Exit;
use crate::failure::{Failure, Result};
use crate::printer::Printer;

/// How long reading may take.
const READ: Duration = Duration::from_secs(60);

/// Let messages follow the active device: see, plan and set the hub's routes for it.
///
/// Routes are changed through Azure Resource Manager, which takes minutes. Standing routes are set once and follow the tags that each change
/// of holder writes anyway; rules are rewritten by the controller.
#[derive(clap::Args)]
#[command(arg_required_else_help = true)]
pub(crate) struct Args {
    #[command(subcommand)]
    what: What,
}

#[derive(clap::Subcommand)]
enum What {
    Plan(plan::Args),
    Apply(apply::Args),
    Show(show::Args),
}

pub(crate) async fn run(args: Args, printer: &Printer) -> Result<Exit> {
    match args.what {
        What::Plan(args) => plan::run(args, printer).await,
        What::Apply(args) => apply::run(args, printer).await,
        What::Show(args) => show::run(args, printer).await,
    }
}

/// A pool, its hub, and the hub's resource.
struct Site {
    config: Config,
    hub: IotHub,
    pool: String,
}

impl Site {
    fn open(args: &ConfigArgs, name: &str) -> Result<Self> {
        let config = args.load(Vec::new())?;
        if pool(&config, name)?.routing.is_none() {
            return Err(Failure::new(Exit::Usage, RouteError::NotConfigured(name.to_owned())).hint(
                "add [[pool.routing.route]] with endpoint = \"events\" below the pool; see docs/guides/routing.md",
            ));
        }
        let hub = open_hub(&config)?;
        if hub.management().is_none() {
            let what = "the configuration does not say where the hub is in Azure Resource Manager";
            return Err(Failure::says(Exit::Usage, what).hint(
                "add [hub.resource] with subscription, group and name (`az iot hub show --name NAME --query id` prints them), \
                 and [hub.identity]",
            ));
        }
        Ok(Self { config, hub, pool: name.to_owned() })
    }

    fn pool(&self) -> Result<&PoolConfig> {
        pool(&self.config, &self.pool)
    }

    fn management(&self) -> Result<&Management> {
        self.hub.management().ok_or_else(|| Failure::says(Exit::Usage, "there is no way to Azure Resource Manager"))
    }

    async fn look(&self) -> Result<Look> {
        let until = Instant::now() + READ;
        let looked = look(&self.hub, self.management()?, self.pool()?, until).await;
        looked.map_err(|error| self.failure(error))
    }

    /// An error as an operator should see it.
    fn failure(&self, error: RouteError) -> Failure {
        let resource = self.hub.management().map(|management| management.resource().clone());
        match error {
            RouteError::Hub(error) => hub_failure(error),
            RouteError::Problem(problem) => {
                let hint = problem.hint();
                let exit = if matches!(problem, Problem::Taken { .. }) { Exit::Refused } else { Exit::Failed };
                Failure::new(exit, problem).hint(hint)
            }
            RouteError::NobodyHolds(_) => Failure::new(Exit::Failed, error)
                .hint("start a controller: `iotedge-ha run` sets such routes itself once a member is active"),
            RouteError::Management(error) => {
                let (exit, hint) = arm_advice(&error, &resource.map(|resource| resource.id()).unwrap_or_default());
                let failure = Failure::new(exit, error);
                if hint.is_empty() { failure } else { failure.hint(hint) }
            }
            RouteError::Condition { .. } => Failure::new(Exit::Failed, error)
                .hint("mend `condition` in [[pool.routing.route]]; it is in IoT Hub's language for routes"),
            error => Failure::new(Exit::Failed, error),
        }
    }
}

/// Exit code and hint for what Azure Resource Manager says.
fn arm_advice(error: &ArmError, id: &str) -> (Exit, String) {
    match error {
        ArmError::Token(_) => {
            (Exit::Hub, "see [hub.identity] in the configuration; with source = \"azure_cli\", run `az login`".to_owned())
        }
        ArmError::Unauthorised(_) => {
            (Exit::Hub, "the identity is of another directory than the subscription, or its token has ended".to_owned())
        }
        ArmError::Forbidden(_) => (
            Exit::Hub,
            format!(
                "give the identity the right: `az role assignment create --assignee PRINCIPAL --role Contributor --scope {id}`; \
                 docs/guides/routing.md has a narrower role"
            ),
        ),
        ArmError::NotFound(_) => {
            (Exit::Hub, "`az iot hub show --name NAME --query id` prints subscription, resource group and name".to_owned())
        }
        ArmError::Stuck { .. } => (
            Exit::TimedOut,
            "a write that was accepted may still come into force: `iotedge-ha route show POOL` says when; a larger --timeout-s waits \
             longer"
                .to_owned(),
        ),
        ArmError::Unreachable { .. } | ArmError::NoAnswer { .. } => (
            Exit::Hub,
            "see whether hub.resource.endpoint is right and whether a firewall lets port 443 through".to_owned(),
        ),
        _ => (Exit::Failed, String::new()),
    }
}
