//! What the emulator carries: `cargo bench --package iotedge-ha-emulator --bench load -- --help`.
//!
//! The server is a process of its own, so that its memory and processor time can be read apart from the load's. On
//! a machine with few cores the two compete; the processor time per operation is the figure to compare.

mod client;
mod emulator;
mod measure;
mod mosquitto;
mod server;

use std::time::Duration;

use clap::Parser;

use measure::{Load, Row};

/// Load on the emulator, and on a plain broker beside it.
#[derive(Parser)]
struct Args {
    /// Idle connections to hold
    #[arg(long, default_value_t = 10_000)]
    devices: usize,
    /// Devices that work at the same time
    #[arg(long, default_value_t = 64)]
    working: usize,
    /// Operations of each of them
    #[arg(long, default_value_t = 200)]
    operations: usize,
    /// Measure mosquitto too, which must be on the PATH
    #[arg(long)]
    mosquitto: bool,
    /// Print JSON
    #[arg(long)]
    json: bool,
    /// Become the emulator to be measured
    #[arg(long, hide = true)]
    serve: bool,
    /// What cargo adds
    #[arg(long, hide = true)]
    bench: bool,
}

fn main() {
    let args = Args::parse();
    let _ = rustls::crypto::ring::default_provider().install_default();
    server::raise_file_limit();
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().expect("a runtime");
    if args.serve {
        runtime.block_on(emulator::serve(args.devices));
        return;
    }
    let rows = runtime.block_on(load(&args));
    runtime.shutdown_timeout(Duration::from_secs(1));
    if args.json {
        println!("{}", serde_json::to_string_pretty(&rows).expect("JSON"));
    } else {
        measure::print(&rows);
    }
}

async fn load(args: &Args) -> Vec<Row> {
    let size = Load { devices: args.devices, working: args.working.min(args.devices), operations: args.operations };
    let hub = emulator::start(args.devices).await;
    let mut rows = measure::connections("emulator", &hub.server, &hub, &size).await;
    rows.push(measure::publishes("emulator", &hub.server, &hub, &size).await);
    rows.push(measure::reports(&hub, &size).await);
    rows.push(measure::patches(&hub, &size).await);
    rows.push(measure::methods(&hub, 1, size.operations).await);
    rows.push(measure::methods(&hub, 32, size.operations).await);
    drop(hub);
    if args.mosquitto {
        let broker = mosquitto::start().await;
        rows.extend(measure::connections("mosquitto", &broker.server, &broker, &size).await);
        rows.push(measure::publishes("mosquitto", &broker.server, &broker, &size).await);
    }
    rows
}
