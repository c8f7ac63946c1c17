//! What goes wrong at an operator's hands: each a clear message and the documented exit code.

use iotedge_ha_e2e::Stage;

const POOL: &str = "[[pool]]\nname = \"press_1\"\nmembers = [\"edge-1\", \"edge-2\"]\n";

#[test]
fn no_configuration() {
    Stage::default().run(&["list"]).expect(2).says("error: there is no configuration").says("hint: ");
}

#[test]
fn a_configuration_that_does_not_exist() {
    Stage::default().run(&["list", "--config", "nowhere.toml"]).expect(2).says("nowhere.toml");
}

#[test]
fn an_unknown_key_is_refused_with_its_line() {
    let stage = Stage::default();
    let file = stage.file("pool.toml", &format!("{POOL}mebmers = []\n"));
    stage.run(&["list", "--config", &file]).expect(2).says("pool.toml:4").says("mebmers").says("hint: ");
}

#[test]
fn unsafe_timings_are_refused_with_the_reason() {
    let stage = Stage::default();
    let file = stage.file("pool.toml", &format!("{POOL}[pool.timings]\nttl_ms = 5000\n"));
    stage.run(&["estimate", "--config", &file]).expect(2).says("ttl_ms").says("would lose its lease");
}

#[test]
fn fencing_by_word_needs_a_yes() {
    let stage = Stage::default();
    stage.run(&["failover", "press_1", "--to", "edge-2", "--fenced"]).expect(2).says("--yes");
}

#[test]
fn no_credentials() {
    let stage = Stage::default();
    let file = stage.file("pool.toml", POOL);
    stage.run(&["list", "--config", &file]).expect(2).says("IOTEDGE_HA_CONNECTION_STRING");
}
