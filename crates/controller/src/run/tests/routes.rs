//! Routes that name the holder, while Azure takes its time.

use std::time::Duration;

use super::Controller;
use super::world::{World, a, b, c};

/// A pool whose routes name the holder.
const RULES: &str = "[pool.routing]\nmode = \"rules\"\nroute = [{ endpoint = \"events\" }]\n\
    [hub]\nconnection_string_env = \"X\"\nidentity.source = \"azure_cli\"\n\
    resource = { subscription = \"s\", group = \"g\", name = \"h\" }\n";

#[tokio::test(start_paused = true)]
async fn routes_follow_the_holder_and_hold_nothing_up() {
    let world = World::new();
    world.azure(Duration::from_secs(120), 0);
    let controller = Controller::start_with(&world, RULES);
    world.until_active(&a()).await;
    assert_eq!(world.steered(), None, "only after it is active, and Azure takes its time");
    world.until_steered(&a()).await;
    world.kill(&a());
    let silent = tokio::time::Instant::now();
    world.until_active(&b()).await;
    assert!(silent.elapsed() < Duration::from_secs(60), "a failover waits for no route");
    assert_eq!(world.steered(), Some(a()));
    world.until_steered(&b()).await;
    world.until_followed("routes").await;
    assert_eq!(world.overlap_ms(), 0);
    controller.stop().await;
}

#[tokio::test(start_paused = true)]
async fn of_several_holders_the_latest_gets_the_routes() {
    let world = World::new();
    world.azure(Duration::from_secs(120), 0);
    let controller = Controller::start_with(&world, RULES);
    for holder in [a(), b()] {
        world.until_asked_to_steer(&holder).await;
        world.kill(&holder);
    }
    world.until_steered(&c()).await;
    assert_eq!(world.asked_to_steer(), [a(), b(), c()], "each is begun at once, and none is waited for in vain");
    controller.stop().await;
}

#[tokio::test(start_paused = true)]
async fn what_azure_does_not_do_is_asked_for_again_and_said() {
    let world = World::new();
    world.azure(Duration::from_secs(1), 6);
    let controller = Controller::start_with(&world, RULES);
    world.until_active(&a()).await;
    tokio::time::sleep(Duration::from_secs(10)).await;
    let summary = controller.stop().await;
    let row = summary.pools.values().next().expect("one pool");
    assert!(row.sentence.contains("routes is left to do: Azure is out of reach"), "{}", row.sentence);
    let controller = Controller::start_with(&world, RULES);
    world.until_steered(&a()).await;
    assert_eq!(world.active(), [a()]);
    controller.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_controller_that_begins_mends_what_somebody_did_to_the_routes() {
    let world = World::new();
    let controller = Controller::start_with(&world, RULES);
    world.until_followed("routes").await;
    controller.stop().await;
    world.steer_by_hand(&c());
    let controller = Controller::start_with(&world, RULES);
    world.until_steered(&a()).await;
    controller.stop().await;
}
