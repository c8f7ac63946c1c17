//! A seeded little world in virtual time around the real `Holder`, `Charge` and `Pool`.
//!
//! `WORLD_SEED=n` plays one world and shows its last events if it fails; `WORLD_RUNS=n` plays more
//! of them, `WORLD_FROM=n` from another seed on.

#![expect(unreachable_pub, reason = "one test binary: everything in it is its own")]

extern crate iotedge_ha_core as ha_core;

mod agent;
mod bugs;
mod calm;
mod check;
mod clock;
mod controller;
mod dice;
mod event;
mod fault;
mod hub;
mod keeper;
mod limits;
mod moves;
mod net;
mod quorum;
mod random;
mod stories;
mod trace;
mod world;

use random::{Figures, check_seed};

const RUNS: u64 = 400;

#[expect(clippy::disallowed_methods, reason = "the tests, not core, are told by the environment which worlds to play")]
fn asked(name: &str) -> Option<u64> {
    std::env::var(name).ok().and_then(|value| value.parse().ok())
}

#[test]
fn random_worlds_keep_their_word() {
    let from = asked("WORLD_SEED").or(asked("WORLD_FROM")).unwrap_or(1);
    let runs = if asked("WORLD_SEED").is_some() { 1 } else { asked("WORLD_RUNS").unwrap_or(RUNS) };
    let mut figures = Figures::default();
    let mut failed = Vec::new();
    for seed in from..from + runs {
        match check_seed(seed) {
            Ok(more) => figures.add(more),
            Err(said) => failed.push(said),
        }
        if failed.len() >= 5 {
            break;
        }
    }
    println!("{figures:?}");
    assert!(failed.is_empty(), "{}", failed.join("\n"));
}
