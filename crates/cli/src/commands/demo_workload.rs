use std::io::Write;
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow};

use crate::demo::plant::Advice;
use crate::exit::Exit;
use crate::failure;

/// Write advice to the demo's plant until it goes away.
///
/// Stands for any program that was written without a thought of high availability: it works from its start until it is killed.
#[derive(clap::Args)]
pub(crate) struct Args {
    #[arg(long)]
    plant: SocketAddr,
}

const BETWEEN_WRITES: Duration = Duration::from_millis(10);

pub(crate) fn run(args: &Args) -> failure::Result<Exit> {
    let mut plant = TcpStream::connect(args.plant).with_context(|| format!("no plant at {}", args.plant))?;
    plant.set_nodelay(true)?;
    let mut advice = Advice { device: variable("HA_MEMBER")?, term: term()?, value: 0.0 };
    let start = Instant::now();
    loop {
        advice.value = 50.0 + 10.0 * start.elapsed().as_secs_f64().sin();
        let mut line = serde_json::to_vec(&advice)?;
        line.push(b'\n');
        if plant.write_all(&line).is_err() {
            return Ok(Exit::Ok);
        }
        std::thread::sleep(BETWEEN_WRITES);
    }
}

/// The fencing token, which a plant that checks it would ask for.
fn term() -> Result<u64> {
    variable("HA_TERM")?.parse().context("HA_TERM is no number")
}

fn variable(name: &str) -> Result<String> {
    std::env::var(name).map_err(|_| anyhow!("{name} is not set: this program is started by an agent"))
}
