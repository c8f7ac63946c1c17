use std::path::PathBuf;

use anyhow::{Context, anyhow};
use ha_controller::config::{Config, TokenConfig};
use ha_controller::hub::iot::IotHub;
use ha_controller::push::{self, Admission, Tokens};
use ha_controller::run::Setup;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use crate::commands::common::ConfigArgs;
use crate::commands::daemon::{ControllerArgs, setup};
use crate::exit::Exit;
use crate::failure::{OrExit, Result};
use crate::interruption::Interruption;
use crate::printer::Printer;

/// Run the controller: watch the pools, keep the leases, move the work when a device fails.
///
/// Any number of controllers may run; one at a time is in charge of a pool, and another takes over when it dies.
/// Ctrl-C or SIGTERM gives the charge back before leaving.
#[derive(clap::Args)]
#[command(after_help = "Examples:
  iotedge-ha run --config pool.toml
  iotedge-ha run --config pool.toml --name site-b --log info,ha_controller=debug")]
pub(crate) struct Args {
    #[command(flatten)]
    config: ConfigArgs,

    #[command(flatten)]
    controller: ControllerArgs,
}

pub(crate) async fn run(args: Args, printer: &Printer) -> Result<Exit> {
    let interruption = Interruption::listen()?;
    let setup = setup(&args.config, &args.controller)?;
    let pools = setup.config.pools.len();
    printer.note(format_args!("watching {pools} {} until Ctrl-C", if pools == 1 { "pool" } else { "pools" }));
    let stop = CancellationToken::new();
    listen_for_events(&setup, stop.clone(), printer).await?;
    let running = ha_controller::run::run(setup, stop.clone());
    let summary = interruption.stops(&stop, running).await;
    printer.detail(format_args!("in charge at the end: {}; given back: {}", summary.in_charge, summary.given_back));
    Ok(Exit::Ok)
}

/// Takes events beside the run, if that is configured.
async fn listen_for_events(setup: &Setup<IotHub>, stop: CancellationToken, printer: &Printer) -> Result<()> {
    let Some(listen) = &setup.config.controller.listen else { return Ok(()) };
    let secret = listen
        .secret()
        .or_hint(Exit::Usage, "`openssl rand -hex 24` makes one; it goes into the webhook's address as ?code=…")?;
    let tokens = listen.event_token.clone().map(|wanted| tokens(wanted, &setup.config)).transpose()?;
    let address = listen.address;
    let listener = TcpListener::bind(address).await.with_context(|| format!("cannot listen at {address}"))?;
    printer.note(format_args!("taking events at http://{}/hooks/eventgrid", listener.local_addr()?));
    let serving = push::serve(listener, Admission { secret, tokens }, setup.hints.clone(), stop);
    tokio::spawn(async move {
        if let Err(error) = serving.await {
            tracing::error!(%error, "events are no longer taken");
        }
    });
    Ok(())
}

fn tokens(wanted: TokenConfig, config: &Config) -> Result<Tokens> {
    let read = |path: &PathBuf| std::fs::read(path).with_context(|| format!("cannot read {}", path.display()));
    let ca_pem = config.hub.ca_file.as_ref().map(read).transpose().or_exit(Exit::Usage)?;
    let tokens = Tokens::new(wanted, ca_pem.as_deref());
    tokens.map_err(|why| anyhow!("TLS cannot be set up for the token authority: {why}")).or_exit(Exit::Usage)
}
