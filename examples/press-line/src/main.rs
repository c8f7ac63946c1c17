//! A press line in small: a plant that keeps a record of who wrote what, and a workload that scores a model and writes its advice.
//!
//! The workload knows nothing of high availability but its term, which it sends along; the plant refuses older terms.

mod model;
mod plant;
mod record;
mod registers;
mod score;

use std::net::SocketAddr;
use std::path::PathBuf;

use anyhow::Result;
use clap::Parser;

/// A press line in small.
#[derive(Parser)]
#[command(name = "press-line", version)]
enum Command {
    /// Write the model file; the same revision gives the same bytes
    Model {
        /// Which revision of the model: 1 or 2
        #[arg(long, default_value_t = 1)]
        revision: u16,
        file: PathBuf,
    },
    /// Run the plant: a Modbus TCP server with three sensors and a block of registers for advice
    Plant {
        #[arg(long, default_value = "127.0.0.1:5020")]
        listen: SocketAddr,
        /// Where every write is recorded, taken or refused, one JSON line each
        #[arg(long)]
        record: PathBuf,
    },
    /// Run the workload: read the sensors, score the model, write the advice
    Score {
        #[arg(long)]
        plant: SocketAddr,
        #[arg(long)]
        model: PathBuf,
        /// End after so many writes
        #[arg(long)]
        count: Option<u64>,
        /// Who writes; the agent says it
        #[arg(long, env = "HA_MEMBER")]
        member: String,
        /// In which term; the agent says it
        #[arg(long, env = "HA_TERM")]
        term: u32,
    },
    /// Say from the plant's record who wrote when, and whether any two wrote at once
    Report {
        record: PathBuf,
        /// How many late writes of an older term were sent on purpose
        #[arg(long, default_value_t = 0)]
        late: usize,
    },
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<()> {
    match Command::parse() {
        Command::Model { revision, file } => model::write(revision, &file),
        Command::Plant { listen, record } => plant::run(listen, &record).await,
        Command::Score { plant, model, count, member, term } => {
            score::run(plant, &model, count, score::Writer { member, term }).await
        }
        Command::Report { record, late } => record::report(&record, late),
    }
}
