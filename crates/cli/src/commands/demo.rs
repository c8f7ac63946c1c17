use crate::demo::{Script, Story, Timings, play};
use crate::exit::Exit;
use crate::failure::Result;
use crate::printer::Printer;

/// Watch a pool of three devices survive the loss of its active one, on this machine.
///
/// Starts a hub, three agents and a controller as processes of their own, plays stories of failure, and measures by the
/// record of a plant that all of them write to. Leaves nothing behind.
#[derive(clap::Args, Debug)]
#[command(after_help = "Examples:
  iotedge-ha demo
  iotedge-ha demo --story crash --runs 10
  iotedge-ha demo --json | jq -c 'select(.story)'
  iotedge-ha demo --keep")]
pub(crate) struct Args {
    /// Play only this story; may be given several times
    #[arg(long = "story", value_enum, value_name = "NAME")]
    stories: Vec<Story>,

    /// Leave everything running at the end and print how to reach it, until Ctrl-C
    #[arg(long)]
    keep: bool,

    /// Play everything this many times, and print the median and the maximum
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=1000))]
    runs: u32,

    /// How long leases last: fast fails over in two seconds, default is what a pool has that says nothing
    #[arg(long, value_enum, default_value_t = Timings::Fast)]
    timings: Timings,
}

pub(crate) async fn run(args: Args, printer: &Printer) -> Result<Exit> {
    let stories = if args.stories.is_empty() { Story::ALL.to_vec() } else { args.stories };
    let script = Script { stories, runs: args.runs, timings: args.timings, keep: args.keep };
    play(&script, printer).await
}
