use std::net::SocketAddr;
use std::time::Duration;

use anyhow::Context;
use ha_controller::clock::Clock;
use ha_controller::dashboard::{Dashboard, serve};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use crate::commands::common::{ConfigArgs, open_hub, pool};
use crate::exit::Exit;
use crate::failure::Result;
use crate::interruption::Interruption;
use crate::printer::Printer;

/// Show the pools in a browser: who holds, how every member is, what is waited for.
///
/// The page tells what `list` tells and only reads. The hub is asked while somebody looks, at most once in a period. There is no
/// login: whoever reaches the address can look, so it listens on this machine alone unless told otherwise.
#[derive(clap::Args)]
#[command(after_help = "Examples:
  iotedge-ha dashboard
  iotedge-ha dashboard press_1 --listen 127.0.0.1:9000 --every-s 10
  curl http://127.0.0.1:8460/v1/pools")]
pub(crate) struct Args {
    /// Only these pools
    #[arg(value_name = "POOL")]
    pools: Vec<String>,

    #[command(flatten)]
    config: ConfigArgs,

    /// Where the page is served
    #[arg(long, value_name = "ADDRESS:PORT", default_value = "127.0.0.1:8460")]
    listen: SocketAddr,

    /// How often the page is loaded and the hub is asked
    #[arg(long, value_name = "SECONDS", default_value_t = 5, value_parser = clap::value_parser!(u64).range(1..=3600))]
    every_s: u64,
}

pub(crate) async fn run(args: Args, printer: &Printer) -> Result<Exit> {
    let interruption = Interruption::listen()?;
    let mut config = args.config.load(Vec::new())?;
    for name in &args.pools {
        pool(&config, name)?;
    }
    config.pools.retain(|pool| args.pools.is_empty() || args.pools.iter().any(|name| name == pool.name.as_str()));
    let hub = open_hub(&config)?;
    let listener = TcpListener::bind(args.listen).await.with_context(|| format!("cannot listen at {}", args.listen))?;
    let address = listener.local_addr()?;
    printer.line(format_args!("http://{address}/"));
    printer.note("that is the dashboard, until Ctrl-C");
    if !address.ip().is_loopback() {
        printer.note("whoever reaches that address can read it: put a proxy with a login before it");
    }
    let stop = CancellationToken::new();
    let dashboard = Dashboard::new(hub, config, Clock::start(), Duration::from_secs(args.every_s));
    let serving = serve(listener, dashboard, stop.clone());
    interruption.stops(&stop, serving).await?;
    Ok(Exit::Ok)
}
