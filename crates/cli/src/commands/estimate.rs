mod handover;

use ha_controller::config::{Config, Members, Override, PoolConfig};
use ha_controller::function::{Function, Timing};
use ha_core::bounds::{Bounds, Load, bounds, charge_load, pool_load};
use ha_core::time::Millis;
use ha_iothub::{Operation, Sku};
use serde::Serialize;

use self::handover::Handover;
use crate::commands::common::ConfigArgs;
use crate::exit::Exit;
use crate::failure::{OrExit, Result};
use crate::printer::{Printer, Tone};

/// Compute the worst case of a configuration: failover time, gap, hub calls against the hub's limits.
///
/// Asks nothing of the hub. Refuses what cannot be safe, what misses a declared `rto_ms`, and what the hub would throttle.
#[derive(clap::Args)]
#[command(after_help = "Examples:
  iotedge-ha estimate --config pool.toml
  iotedge-ha estimate --config pool.toml --sku S2 --units 2 --json
  iotedge-ha estimate --config pool.toml --function 10")]
pub(crate) struct Args {
    #[command(flatten)]
    config: ConfigArgs,

    /// The hub's tier: F1, B1, B2, B3, S1, S2 or S3 [default: from the configuration]
    #[arg(long)]
    sku: Option<String>,

    /// The hub's number of units [default: from the configuration]
    #[arg(long)]
    units: Option<u32>,

    /// Assume that a round trip through the hub takes so long
    #[arg(long, value_name = "MS", default_value_t = 300)]
    call_ms: u64,

    /// Assume that the workload needs so long from its start to its first act
    #[arg(long, value_name = "MS", default_value_t = 500)]
    start_ms: u64,

    /// Assume so many members in a pool that selects them by a query
    #[arg(long, value_name = "N", default_value_t = 2)]
    members: u64,

    /// Assume so many leaf devices where they are discovered
    #[arg(long, value_name = "N", default_value_t = 10)]
    children: u64,

    #[command(flatten)]
    function: FunctionArgs,

    /// Assume so many controllers
    #[arg(long, value_name = "N", default_value_t = 2)]
    controllers: u64,
}

/// For a controller that runs as an Azure Function.
#[derive(clap::Args)]
#[command(next_help_heading = "As a Function")]
struct FunctionArgs {
    /// The controller runs as an Azure Function on a timer that is due every so many seconds
    #[arg(long = "function", value_name = "SECONDS", value_parser = clap::value_parser!(u64).range(1..=86_400))]
    every_s: Option<u64>,

    /// How long a pass renews, as in `iotedge-ha function --hold-s`
    #[arg(long, value_name = "SECONDS", default_value_t = 240, requires = "every_s")]
    hold_s: u64,

    /// The host's functionTimeout
    #[arg(long, value_name = "SECONDS", default_value_t = 300, requires = "every_s")]
    function_timeout_s: u64,

    /// Assume that the host needs so long to start the program
    #[arg(long, value_name = "MS", default_value_t = 5000, requires = "every_s")]
    cold_start_ms: u64,
}

impl FunctionArgs {
    fn function(&self) -> Option<Function> {
        let seconds = |s: u64| Millis(s.saturating_mul(1000));
        Some(Function {
            every: seconds(self.every_s?),
            hold: seconds(self.hold_s),
            timeout: seconds(self.function_timeout_s),
            start: Millis(self.cold_start_ms),
        })
    }
}

#[derive(Serialize)]
struct Estimate {
    sku: String,
    units: u32,
    pools: Vec<PoolEstimate>,
    calls: Vec<Calls>,
    messages_per_day: u64,
    messages_per_day_max: u64,
    remarks: Vec<String>,
    problems: Vec<String>,
}

#[derive(Serialize)]
struct PoolEstimate {
    pool: String,
    members: u64,
    rto_ms: Option<u64>,
    #[serde(flatten)]
    bounds: Bounds,
    #[serde(skip_serializing_if = "Option::is_none")]
    function: Option<Timing>,
    /// What one change of holder costs.
    handover: Handover,
    #[serde(skip)]
    ttl: Millis,
}

/// One kind of operation against what the hub serves.
#[derive(Serialize)]
struct Calls {
    operation: &'static str,
    per_second: f64,
    per_second_max: f64,
}

pub(crate) async fn run(args: Args, printer: &Printer) -> Result<Exit> {
    let mut flags = Vec::new();
    flags.extend(args.sku.as_ref().map(|sku| Override::flag("hub.sku", sku, "--sku")));
    flags.extend(args.units.map(|units| Override::flag("hub.units", units.to_string(), "--units")));
    let config = args.config.load(flags)?;
    let estimate = estimate(&config, &args)?;
    if printer.wants_json() {
        printer.json_pretty(&estimate);
    } else {
        show(&estimate, printer);
    }
    Ok(if estimate.problems.is_empty() { Exit::Ok } else { Exit::Refused })
}

fn estimate(config: &Config, args: &Args) -> Result<Estimate> {
    let sku: Sku = config.hub.sku.parse().or_exit(Exit::Usage)?;
    let units = config.hub.units;
    let pools: Vec<_> = config.pools.iter().map(|pool| pool_estimate(pool, config, args)).collect();
    let loads = config.pools.iter().map(|pool| pool_load(&pool.policy.timings, members(pool, args)));
    let load = loads.fold(charge_load(&config.controller.charge, args.controllers), Load::plus);
    let calls = calls(load, sku, units);
    let messages_per_day_max = sku.messages_per_day(units);
    let mut problems: Vec<_> = pools.iter().filter_map(missed_rto).collect();
    problems.extend(calls.iter().filter(|calls| calls.per_second > calls.per_second_max).map(|calls| {
        format!(
            "{:.1} {} a second are more than the {:.1} that {units} × {sku} serves",
            calls.per_second, calls.operation, calls.per_second_max
        )
    }));
    if load.messages_per_day > messages_per_day_max {
        problems.push(format!(
            "{} messages a day are more than the {messages_per_day_max} that {units} × {sku} allows",
            load.messages_per_day
        ));
    }
    problems.extend(args.function.function().and_then(|function| function.problem()));
    let timings = pools.iter().filter_map(|pool| Some((pool, pool.function.as_ref()?)));
    let named = |pool: &PoolEstimate, said| format!("pool {}: {said}", pool.pool);
    let slow = |pool: &PoolEstimate| Some(named(pool, pool.handover.remark(sku, units)?));
    let mut remarks: Vec<_> = pools.iter().filter_map(slow).collect();
    for (pool, timing) in timings {
        match timing.problem(pool.ttl) {
            Some(problem) => problems.push(named(pool, problem)),
            None => remarks.extend(timing.remark().map(|remark| named(pool, remark))),
        }
    }
    if !sku.supports_edge() {
        problems.push(format!("{sku} has no twins, no direct methods and no IoT Edge; take S1 or more"));
    }
    Ok(Estimate {
        sku: sku.to_string(),
        units,
        pools,
        calls,
        messages_per_day: load.messages_per_day,
        messages_per_day_max,
        remarks,
        problems,
    })
}

fn pool_estimate(pool: &PoolConfig, config: &Config, args: &Args) -> PoolEstimate {
    let (call, start) = (Millis(args.call_ms), Millis(args.start_ms));
    let charge = &config.controller.charge;
    let bounds = bounds(&pool.policy.timings, charge, call, start);
    let function = args.function.function().map(|function| function.timing(&bounds, charge, call));
    PoolEstimate {
        pool: pool.name.to_string(),
        members: members(pool, args),
        rto_ms: pool.rto.map(|rto| rto.0),
        bounds,
        function,
        handover: handover::of(pool, members(pool, args), args.children),
        ttl: pool.policy.timings.ttl,
    }
}

fn members(pool: &PoolConfig, args: &Args) -> u64 {
    match &pool.members {
        Members::Listed(members) => members.len() as u64,
        Members::Selected(_) => args.members,
    }
}

fn missed_rto(pool: &PoolEstimate) -> Option<String> {
    let crash = pool.function.as_ref().map_or(pool.bounds.failover_crash, |timing| timing.failover_crash);
    let (rto, worst) = (pool.rto_ms?, crash.0);
    (worst > rto).then(|| {
        format!("pool {}: a failover may take {worst} ms, but rto_ms = {rto}; a shorter ttl_ms would help", pool.pool)
    })
}

fn calls(load: Load, sku: Sku, units: u32) -> Vec<Calls> {
    let kinds = [
        (Operation::Method, load.methods_per_1000s),
        (Operation::TwinRead, load.twin_reads_per_1000s),
        (Operation::TwinUpdate, load.twin_writes_per_1000s),
        (Operation::Registry, load.registry_per_1000s),
    ];
    let calls = kinds.into_iter().map(|(operation, per_1000s)| Calls {
        operation: operation.name(),
        per_second: per_1000s as f64 / 1000.0,
        per_second_max: sku.per_second(operation, units),
    });
    calls.collect()
}

fn show(estimate: &Estimate, printer: &Printer) {
    let mut table = printer.table([
        "pool",
        "members",
        "failover, crash",
        "nobody active: crash",
        "cut off",
        "planned",
        "two active",
        "holds without controllers",
    ]);
    for pool in &estimate.pools {
        let bounds = &pool.bounds;
        let spans = [bounds.failover_crash, bounds.gap_crash, bounds.gap_cut, bounds.gap_planned, bounds.overlap];
        let mut row = vec![pool.pool.clone(), pool.members.to_string()];
        row.extend(spans.iter().map(|span| format!("{} ms", span.0)));
        row.push(format!("{} ms", bounds.controller_absence.0));
        table.add_row(row);
    }
    printer.print_table(&table);
    printer.line("");
    let mut table =
        printer.table(["calls", "a second", &format!("of, at {} × {}", estimate.units, estimate.sku), "share"]);
    for calls in &estimate.calls {
        table.add_row([
            calls.operation.to_owned(),
            format!("{:.2}", calls.per_second),
            format!("{:.1}", calls.per_second_max),
            format!("{:.1} %", 100.0 * calls.per_second / calls.per_second_max),
        ]);
    }
    let (count, most) = (estimate.messages_per_day, estimate.messages_per_day_max);
    table.add_row([
        "messages a day".to_owned(),
        count.to_string(),
        most.to_string(),
        format!("{:.1} %", 100.0 * count as f64 / most as f64),
    ]);
    printer.print_table(&table);
    handover::show(estimate.pools.iter().map(|pool| (pool.pool.as_str(), &pool.handover)), printer);
    show_function(estimate, printer);
    for remark in &estimate.remarks {
        printer.line(format_args!("\n{} {remark}", printer.tone(Tone::Warning, "note:")));
    }
    for problem in &estimate.problems {
        printer.line(format_args!("\n{} {problem}", printer.tone(Tone::Bad, "refused:")));
    }
}

fn show_function(estimate: &Estimate, printer: &Printer) {
    let mut table =
        printer.table(["as a Function", "nobody renews for", "after a kill", "the holder bears", "failover, crash"]);
    let pools = estimate.pools.iter().filter_map(|pool| Some((pool, pool.function.as_ref()?)));
    let mut any = false;
    for (pool, timing) in pools {
        any = true;
        let spans = [timing.gap, timing.gap_after_kill, timing.borne, timing.failover_crash];
        let mut row = vec![pool.pool.clone()];
        row.extend(spans.iter().map(|span| format!("{} ms", span.0)));
        table.add_row(row);
    }
    if any {
        printer.line("");
        printer.print_table(&table);
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        args: Args,
    }

    fn problems(text: &str) -> Vec<String> {
        problems_with(text, &[])
    }

    fn problems_with(text: &str, args: &[&str]) -> Vec<String> {
        let config = ha_controller::config::parse(Path::new("pool.toml"), text, &[]).expect("a good configuration");
        let line = Line::parse_from([&["estimate"], args].concat());
        estimate(&config, &line.args).expect("an estimate").problems
    }

    const POOL: &str = "[[pool]]\nname = \"press_1\"\nmembers = [\"edge-1\", \"edge-2\"]\n";

    #[test]
    fn the_defaults_fit_into_the_smallest_hub() {
        assert_eq!(problems(POOL), Vec::<String>::new());
    }

    #[test]
    fn a_timer_needs_a_lease_that_outlives_its_gaps() {
        let slow = format!("{POOL}[pool.timings]\nttl_ms = 30000\n");
        assert!(problems_with(POOL, &["--function", "10"])[0].contains("ttl_ms of "));
        assert_eq!(problems_with(&slow, &["--function", "10"]), Vec::<String>::new());
        assert!(problems_with(&slow, &["--function", "10", "--hold-s", "300"])[0].contains("time-out"));
    }

    #[test]
    fn what_the_hub_cannot_bear_is_refused() {
        let found = problems(&format!("[hub]\nsku = \"F1\"\n{POOL}rto_ms = 10000\n"));
        assert!(found.iter().any(|problem| problem.contains("rto_ms = 10000")), "{found:?}");
        assert!(found.iter().any(|problem| problem.contains("messages a day")), "{found:?}");
        assert!(problems(&format!("[hub]\nsku = \"B1\"\n{POOL}"))[0].contains("no IoT Edge"));
    }
    #[test]
    fn hooks_and_leaf_devices_are_counted_for_each_change_of_holder() {
        let more = "workload_module = \"press\"\nhook = [{ name = \"ask\", on = \"before_switchover\", command = [\"/ask\"] },\n\
             { name = \"tell\", on = \"after_handover\", command = [\"/tell\"] }]\nparents.";
        let found = |parents: &str| {
            let text = format!("{POOL}{more}{parents}\n");
            let config =
                ha_controller::config::parse(Path::new("pool.toml"), &text, &[]).expect("a good configuration");
            let line = Line::parse_from(["estimate", "--children", "60"]);
            let estimate = estimate(&config, &line.args).expect("an estimate");
            (serde_json::to_value(&estimate.pools[0].handover).expect("JSON"), estimate.remarks)
        };
        let (listed, remarks) = found("children = [\"leaf-1\", \"leaf-2\"]");
        let counts = serde_json::json!({"methods": 3, "twin_reads": 6, "twin_updates": 8, "registry": 7, "queries": 0,
            "resource_writes": 0, "hooks": 2, "children": 2});
        assert_eq!((listed, remarks), (counts, vec![]));
        let (many, remarks) = found("mode = \"discovered\"");
        assert_eq!([&many["registry"], &many["methods"], &many["queries"]], [123, 5, 2]);
        assert!(remarks[0].contains("60 leaf devices take 123 identity registry operations, 74 s"), "{remarks:?}");
    }
}
