//! The demonstration: a hub, three devices and a controller on this machine, stories of failure, and a plant that keeps the record.

pub(crate) mod plant;
mod record;
mod report;
mod stories;
mod timeline;
mod world;

use std::time::Instant;

use self::report::Outcome;
pub(crate) use self::stories::Story;
use self::timeline::{Timeline, What};
pub(crate) use self::world::Timings;
use self::world::World;
use crate::exit::Exit;
use crate::failure::Result;
use crate::interruption::Interruption;
use crate::printer::Printer;

pub(crate) struct Script {
    pub(crate) stories: Vec<Story>,
    pub(crate) runs: u32,
    pub(crate) timings: Timings,
    pub(crate) keep: bool,
}

/// Plays the script. Whatever happens, nothing that was started is left when this returns.
pub(crate) async fn play(script: &Script, printer: &Printer) -> Result<Exit> {
    let mut interruption = Interruption::listen()?;
    tokio::select! {
        played = play_all(script, printer) => played,
        () = interruption.comes() => {
            printer.note("interrupted: everything that was started has been ended");
            Ok(Exit::Interrupted)
        }
    }
}

async fn play_all(script: &Script, printer: &Printer) -> Result<Exit> {
    let start = Instant::now();
    let timeline = Timeline::new(start, printer.clone());
    timeline.headline("setup", "a hub, three devices, a controller and a plant");
    let mut world = World::start(timeline, start, script.timings).await?;
    let mut outcomes = Vec::new();
    let mut failed = None;
    'runs: for _ in 0..script.runs {
        for story in &script.stories {
            match stories::play(*story, &mut world).await {
                Ok(outcome) => {
                    if printer.wants_json() {
                        printer.json(&outcome);
                    }
                    outcomes.push(outcome);
                }
                Err(error) => {
                    failed = Some(error.context(format!("the story {} did not come to its end", story.name())));
                    break 'runs;
                }
            }
            let now = world.plant.now();
            world.plant.forget(now - 10_000.0);
        }
    }
    let ok = failed.is_none() && outcomes.iter().all(|outcome| outcome.ok);
    if !script.keep {
        world.timeline.end();
    }
    conclude(&outcomes, ok, script, printer);
    if script.keep {
        world.put_in_order().await?;
        keep(&world, printer).await?;
    }
    world.end().await;
    match failed {
        Some(error) => Err(error.into()),
        None if ok => Ok(Exit::Ok),
        None => Ok(Exit::Failed),
    }
}

fn conclude(outcomes: &[Outcome], ok: bool, script: &Script, printer: &Printer) {
    if printer.wants_json() {
        if script.runs > 1 {
            report::summaries(outcomes).iter().for_each(|one| printer.json(one));
        }
        printer.json(&serde_json::json!({ "ok": ok }));
        return;
    }
    if script.runs > 1 {
        printer.line(format_args!("\n{}", report::summary_table(&report::summaries(outcomes))));
    } else {
        printer.line(format_args!("\n{}", report::table(outcomes)));
    }
    let verdict = if ok { "every story held: at no instant were two devices active" } else { "not every story held" };
    printer.line(format_args!("\n{verdict}"));
}

async fn keep(world: &World, printer: &Printer) -> Result<()> {
    world.timeline.tell("demo", What::Setup, "goes on running until Ctrl-C; to look around:");
    printer.note(world.how_to_reach());
    printer.note(format_args!("logs: {}", world.folder().display()));
    loop {
        tokio::time::sleep(std::time::Duration::from_secs(10)).await;
        let now = world.plant.now();
        world.plant.forget(now - 10_000.0);
    }
}
