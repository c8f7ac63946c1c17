use ha_controller::operate::{Look, Trial, try_members};
use ha_controller::routing::{Problem, plan};
use ha_iothub::management::Route;
use serde::Serialize;
use serde_json::{Map, Value, json};
use tokio::time::Instant;

use super::plan::warn;
use super::{READ, Site};
use crate::commands::common::ConfigArgs;
use crate::exit::Exit;
use crate::failure::{Failure, Result};
use crate::printer::Printer;

/// Show the pool's routes, whether they are in force, and what becomes of a sample message of each member.
#[derive(clap::Args)]
#[command(after_help = "Examples:
  iotedge-ha route show press_1
  iotedge-ha route show press_1 --property level=high --json")]
pub(super) struct Args {
    pool: String,

    /// A property of the sample message
    #[arg(long = "property", value_name = "NAME=VALUE")]
    properties: Vec<String>,

    /// The body of the sample message, in JSON
    #[arg(long, value_name = "JSON")]
    body: Option<String>,

    #[command(flatten)]
    config: ConfigArgs,
}

#[derive(Serialize)]
struct Row {
    route: String,
    state: &'static str,
    endpoint: String,
    condition: String,
}

pub(super) async fn run(args: Args, printer: &Printer) -> Result<Exit> {
    let sample = sample(&args)?;
    let site = Site::open(&args.config, &args.pool)?;
    let look = site.look().await?;
    let pool = site.pool()?;
    let rows: Vec<Row> = look.wanted.iter().map(|route| row(&look, pool, route)).collect();
    let until = Instant::now() + READ;
    let trials = try_members(&site.hub, site.management()?, pool, &look, &sample, until).await;
    let trials = trials.map_err(|error| site.failure(error))?;
    let in_force = look.in_force(pool);
    if printer.wants_json() {
        printer.json_pretty(&json!({
            "pool": args.pool, "mode": look.mode, "holder": look.holder, "in_force": in_force,
            "hub_state": look.resource.state(), "routes": rows, "trials": trials, "consequences": look.consequences(),
        }));
        return Ok(Exit::Ok);
    }
    let mut table = printer.table(["ROUTE", "STATE", "ENDPOINT", "CONDITION"]);
    for row in &rows {
        table.add_row([row.route.as_str(), row.state, row.endpoint.as_str(), row.condition.as_str()]);
    }
    printer.print_table(&table);
    printer.line("");
    for trial in &trials {
        printer.line(described(trial));
    }
    if !look.resource.is_settled() {
        printer
            .note(format_args!("a write on the hub goes on ({}); the old routes are in force", look.resource.state()));
    }
    warn(&look, printer);
    Ok(Exit::Ok)
}

fn row(look: &Look, pool: &ha_controller::config::PoolConfig, wanted: &Route) -> Row {
    let alone = std::slice::from_ref(wanted);
    let state = match plan(&look.resource, &pool.name, alone, false) {
        Ok(plan) if plan.is_empty() && look.resource.is_settled() => "in force",
        Ok(plan) if plan.is_empty() => "on its way",
        Ok(plan) if plan.steps.iter().all(|step| step.before.is_none()) => "missing",
        Ok(_) => "differs",
        Err(Problem::Taken { .. }) => "somebody else's",
        Err(_) if look.resource.route(&wanted.name).is_none() => "missing",
        Err(_) => "differs",
    };
    let (route, condition) = (wanted.name.clone(), wanted.condition.clone());
    Row { route, state, endpoint: wanted.endpoint_names.join(", "), condition }
}

fn described(trial: &Trial) -> String {
    let sender = trial.module.as_ref().map_or_else(|| trial.member.to_string(), |m| format!("{}/{m}", trial.member));
    let role = trial.role.as_deref().unwrap_or("no role");
    let way = if trial.taken_by.is_empty() {
        "is not routed".to_owned()
    } else {
        format!("takes {}", trial.taken_by.join(", "))
    };
    let doubt = if trial.as_wanted { "" } else { "  <- not as it should be" };
    format!("a message of {sender} ({role}) {way}{doubt}")
}

/// As Azure's schema has a message.
fn sample(args: &Args) -> Result<Value> {
    let mut properties = Map::new();
    for given in &args.properties {
        let Some((name, value)) = given.split_once('=').filter(|(name, _)| !name.is_empty()) else {
            return Err(
                Failure::says(Exit::Usage, format!("{given:?} is no property")).hint("such as --property level=high")
            );
        };
        properties.insert(name.to_owned(), json!(value));
    }
    let mut system = Map::new();
    let body = args.body.clone().unwrap_or_default();
    if args.body.is_some() {
        if let Err(error) = serde_json::from_str::<Value>(&body) {
            return Err(Failure::new(Exit::Usage, error).hint("--body takes JSON, such as '{\"value\":1}'"));
        }
        system.insert("contentType".to_owned(), json!("application/json"));
        system.insert("contentEncoding".to_owned(), json!("utf-8"));
    }
    Ok(json!({ "body": body, "appProperties": properties, "systemProperties": system }))
}
