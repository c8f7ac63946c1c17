//! What a change of holder costs besides the renewals of a quiet day.

use ha_controller::config::{HookEvent, ParentsConfig, PoolConfig};
use ha_controller::parents;
use ha_controller::routing::Mode;
use ha_iothub::{Operation, Sku};
use serde::Serialize;

use crate::printer::Printer;

/// Calls for one planned change of holder of one pool.
#[derive(Debug, PartialEq, Eq, Serialize)]
pub(super) struct Handover {
    /// To agents and edgeHubs.
    methods: u64,
    twin_reads: u64,
    twin_updates: u64,
    /// Identities read and written.
    registry: u64,
    queries: u64,
    /// Writes of the hub as a resource of Azure.
    resource_writes: u64,
    /// Hooks asked before, and told after.
    hooks: u64,
    /// Leaf devices that change their parent.
    children: u64,
}

/// Counts for a pool; as many children as assumed where they are discovered.
pub(super) fn of(pool: &PoolConfig, members: u64, assumed: u64) -> Handover {
    let children = pool.parents.as_ref().map_or(0, |config| match config {
        ParentsConfig::Listed(children) => children.len() as u64,
        ParentsConfig::Discovered => assumed,
    });
    let moved = pool.parents.as_ref().map(|config| parents::calls(config, children, members)).unwrap_or_default();
    let rules = pool.routing.as_ref().is_some_and(|routing| routing.mode == Mode::Rules);
    let told = pool.hooks.iter().any(|hook| hook.on == HookEvent::AfterHandover);
    let follows = u64::from(told || rules || pool.parents.is_some());
    // Each member's tags bear the new term: on the device, with the agent's flag or the workload's own, and on the workload's module.
    let twins = members * (2 + u64::from(pool.workload_module.is_some()));
    Handover {
        // A revoke and a grant; a pool of flags is told by twins.
        methods: moved.methods + if pool.flag.is_some() { 0 } else { 2 },
        twin_reads: twins,
        // The new holder's record, and what followers have done.
        twin_updates: twins + 1 + follows,
        registry: moved.registry,
        queries: moved.queries,
        resource_writes: u64::from(rules),
        hooks: pool.hooks.len() as u64,
        children,
    }
}

impl Handover {
    /// How long leaf devices keep the hub busy, if that is worth a word.
    pub(super) fn remark(&self, sku: Sku, units: u32) -> Option<String> {
        let seconds = self.registry as f64 / sku.per_second(Operation::Registry, units);
        (seconds > 5.0).then(|| {
            format!(
                "after a change of holder its {} leaf devices take {} identity registry operations, {seconds:.0} s at what {units} × {sku} serves",
                self.children, self.registry
            )
        })
    }
}

pub(super) fn show<'a>(pools: impl Iterator<Item = (&'a str, &'a Handover)>, printer: &Printer) {
    let mut table = printer.table([
        "a change of holder",
        "methods",
        "twin reads",
        "twin updates",
        "registry",
        "queries",
        "hub's routes",
        "hooks",
        "leaf devices",
    ]);
    for (pool, handover) in pools {
        let Handover { methods, twin_reads, twin_updates, registry, queries, resource_writes, hooks, children } =
            handover;
        let counts = [methods, twin_reads, twin_updates, registry, queries, resource_writes, hooks, children];
        table.add_row([pool.to_owned()].into_iter().chain(counts.map(ToString::to_string)).collect::<Vec<_>>());
    }
    printer.line("");
    printer.print_table(&table);
}
