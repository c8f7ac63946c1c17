use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use anyhow::Context;
use ha_controller::config::{Config, PoolConfig};
use ha_controller::function::{PORT_ENV, hold_needed, serve, short_hold};
use ha_core::bounds::bounds;
use ha_core::time::Millis;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use crate::commands::common::ConfigArgs;
use crate::commands::daemon::{ControllerArgs, setup};
use crate::exit::Exit;
use crate::failure::{Failure, Result};
use crate::interruption::Interruption;
use crate::printer::Printer;

/// Run the controller as the custom handler of an Azure Function app.
///
/// The Functions host starts this program and names the port in FUNCTIONS_CUSTOMHANDLER_PORT. A timer's invocation makes a pass that
/// holds: it renews leases until its time is over. An Event Grid invocation makes one pass at once. HTTP invocations show the pools
/// and take operators' verbs; the host checks their keys. `iotedge-ha estimate --function SECONDS` says which timings a timer can keep.
#[derive(clap::Args)]
#[command(after_help = "Examples:
  FUNCTIONS_CUSTOMHANDLER_PORT=7071 iotedge-ha function --config pool.toml
  curl http://127.0.0.1:7071/")]
pub(crate) struct Args {
    #[command(flatten)]
    config: ConfigArgs,

    #[command(flatten)]
    controller: ControllerArgs,

    /// How long a timer's pass renews; at least ten seconds below the host's functionTimeout
    #[arg(long, value_name = "SECONDS", default_value_t = 240, env = "IOTEDGE_HA_FUNCTION_HOLD_S",
          value_parser = clap::value_parser!(u64).range(1..=3600))]
    hold_s: u64,
}

pub(crate) async fn run(args: Args, printer: &Printer) -> Result<Exit> {
    let port = port(|name| std::env::var(name).ok())?;
    let interruption = Interruption::listen()?;
    let setup = setup(&args.config, &args.controller)?;
    for warning in short_passes(&setup.config, Millis(args.hold_s * 1000)) {
        printer.note(format_args!("warning: {warning}"));
    }
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    let listener = TcpListener::bind(address).await.with_context(|| format!("cannot listen at {address}"))?;
    let address = listener.local_addr()?;
    printer.note(format_args!("waiting for the Functions host at http://{address}"));
    let stop = CancellationToken::new();
    let serving = serve(listener, setup, Duration::from_secs(args.hold_s), stop.clone());
    interruption.stops(&stop, serving).await?;
    Ok(Exit::Ok)
}

/// The pools in which no pass sees a lease end, however quick the hub and the workload are.
fn short_passes(config: &Config, hold: Millis) -> Vec<String> {
    let warning = |pool: &PoolConfig| {
        let bounds = bounds(&pool.policy.timings, &config.controller.charge, Millis::ZERO, Millis::ZERO);
        let short = short_hold(hold, hold_needed(&bounds, Millis::ZERO))?;
        Some(format!("pool {}: {short}", pool.name))
    };
    config.pools.iter().filter_map(warning).collect()
}

fn port(variable: impl Fn(&str) -> Option<String>) -> Result<u16> {
    let found = PORT_ENV.iter().find_map(|name| Some((name, variable(name)?)));
    let hint = "the Functions host sets it; to try the handler by hand, set it to a free port";
    let Some((name, text)) = found else {
        return Err(Failure::says(Exit::Usage, format!("{} is not set", PORT_ENV[0])).hint(hint));
    };
    text.parse().map_err(|_| Failure::says(Exit::Usage, format!("{name} = {text:?} is no port")).hint(hint))
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    #[test]
    fn a_pass_that_sees_no_lease_end_is_warned_of() {
        let text = "[hub]\nconnection_string_env = \"HUB\"\n[[pool]]\nname = \"press_1\"\nmembers = [\"a\", \"b\"]\n";
        let config = ha_controller::config::parse(Path::new("pool.toml"), text, &[]).expect("it is right");
        let short = short_passes(&config, Millis(5_000));
        assert!(
            short.len() == 1 && short[0].starts_with("pool press_1: a pass that holds for 5.0 s ends"),
            "{short:?}"
        );
        assert!(short_passes(&config, Millis(240_000)).is_empty());
    }

    #[test]
    fn the_host_names_the_port() {
        let at = |set: &'static str, value: &'static str| port(move |name| (name == set).then(|| value.to_owned()));
        assert_eq!(at(PORT_ENV[0], "7071").expect("a port"), 7071);
        assert_eq!(at(PORT_ENV[1], "7072").expect("a port"), 7072);
        assert!(at("OTHER", "1").is_err() && at(PORT_ENV[0], "http").is_err());
    }
}
