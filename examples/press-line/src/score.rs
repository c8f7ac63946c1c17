//! The workload: reads, scores, writes. It is started when its device is active and killed when it is not.

use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, Result};
use tokio_modbus::client::tcp::connect;
use tokio_modbus::client::{Context, Reader as _, Writer as _};

use crate::model::Scorer;
use crate::registers::{ADVICE, Advice, SENSOR_COUNT, SENSORS, Sensors};

/// How often the press is advised.
const EVERY: Duration = Duration::from_millis(100);

/// Who writes, and in which term.
pub struct Writer {
    pub member: String,
    pub term: u32,
}

/// Advises until it is killed, or `count` times.
pub async fn run(plant: SocketAddr, model: &Path, count: Option<u64>, writer: Writer) -> Result<()> {
    let scorer = Scorer::load(model)?;
    let (member, term) = (&writer.member, writer.term);
    println!("{member} advises with revision {} in term {term}", scorer.revision);
    let mut line = None;
    let mut written = 0;
    while count.is_none_or(|count| written < count) {
        let advised = match line.take() {
            Some(mut connected) => advise(&mut connected, &scorer, &writer).await.map(|taken| (connected, taken)),
            None => match connect(plant).await {
                Ok(mut connected) => advise(&mut connected, &scorer, &writer).await.map(|taken| (connected, taken)),
                Err(error) => Err(error.into()),
            },
        };
        match advised {
            Ok((connected, taken)) => {
                if !taken {
                    println!("{member}: the plant refuses term {term}");
                }
                line = Some(connected);
                written += 1;
            }
            Err(error) => eprintln!("{member}: {error:#}"),
        }
        tokio::time::sleep(EVERY).await;
    }
    Ok(())
}

/// One round; whether the plant took the advice.
async fn advise(plant: &mut Context, scorer: &Scorer, writer: &Writer) -> Result<bool> {
    let words = plant.read_input_registers(SENSORS, SENSOR_COUNT).await.context("the sensors cannot be read")??;
    let heat = scorer.score(Sensors::decode(&words)?)?;
    let Writer { member, term } = writer;
    let advice = Advice { term: *term, revision: scorer.revision, heat, member: member.clone() };
    let answer =
        plant.write_multiple_registers(ADVICE, &advice.encode()).await.context("the advice cannot be written")?;
    Ok(answer.is_ok())
}
