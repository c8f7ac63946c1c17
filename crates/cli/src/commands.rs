//! One file per command: its arguments, and what it does.

pub(crate) mod agent;
pub(crate) mod check;
pub(crate) mod completions;
pub(crate) mod config;
pub(crate) mod dashboard;
pub(crate) mod demo;
pub(crate) mod demo_workload;
pub(crate) mod deploy;
pub(crate) mod drift;
pub(crate) mod emulator;
pub(crate) mod estimate;
pub(crate) mod failover;
pub(crate) mod function;
pub(crate) mod history;
pub(crate) mod init;
pub(crate) mod join;
pub(crate) mod leave;
pub(crate) mod list;
pub(crate) mod maintenance;
pub(crate) mod parents;
pub(crate) mod pause;
pub(crate) mod reference;
pub(crate) mod replace;
pub(crate) mod resume;
pub(crate) mod rotate_keys;
pub(crate) mod route;
pub(crate) mod run;
pub(crate) mod show;
pub(crate) mod switchover;
pub(crate) mod tick;
pub(crate) mod why;

mod common;
mod daemon;
mod membership;
mod report;
mod request;

use anyhow::Context;

use crate::args::Command;
use crate::exit::Exit;
use crate::failure::Result;
use crate::printer::Printer;

pub(crate) fn run(command: Command, printer: &Printer) -> Result<Exit> {
    match command {
        Command::Completions(args) => Ok(completions::run(&args)),
        Command::Reference(args) => reference::run(&args, printer),
        Command::DemoWorkload(args) => demo_workload::run(&args),
        other => runtime()?.block_on(run_async(other, printer)),
    }
}

async fn run_async(command: Command, printer: &Printer) -> Result<Exit> {
    match command {
        Command::Demo(args) => demo::run(args, printer).await,
        Command::Init(args) => init::run(args, printer).await,
        Command::Join(args) => join::run(args, printer).await,
        Command::Leave(args) => leave::run(args, printer).await,
        Command::Replace(args) => replace::run(args, printer).await,
        Command::Run(args) => run::run(args, printer).await,
        Command::Tick(args) => tick::run(args, printer).await,
        Command::Function(args) => function::run(args, printer).await,
        Command::List(args) => list::run(args, printer).await,
        Command::Dashboard(args) => dashboard::run(args, printer).await,
        Command::Show(args) => show::run(args, printer).await,
        Command::History(args) => history::run(args, printer).await,
        Command::Why(args) => why::run(args, printer).await,
        Command::Switchover(args) => switchover::run(args, printer).await,
        Command::Failover(args) => failover::run(args, printer).await,
        Command::Pause(args) => pause::run(args, printer).await,
        Command::Resume(args) => resume::run(args, printer).await,
        Command::Maintenance(args) => maintenance::run(args, printer).await,
        Command::Parents(args) => parents::run(args, printer).await,
        Command::RotateKeys(args) => rotate_keys::run(args, printer).await,
        Command::Route(args) => route::run(args, printer).await,
        Command::Estimate(args) => estimate::run(args, printer).await,
        Command::Check(args) => check::run(args, printer).await,
        Command::Config(args) => config::run(args, printer).await,
        Command::Deploy(args) => deploy::run(args, printer).await,
        Command::Drift(args) => drift::run(args, printer).await,
        Command::Emulator(args) => emulator::run(args, printer).await,
        Command::Agent(args) => agent::run(args, printer).await,
        Command::Completions(_) | Command::Reference(_) | Command::DemoWorkload(_) => Ok(Exit::Ok),
    }
}

fn runtime() -> Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .context("cannot start the runtime")
        .map_err(Into::into)
}
