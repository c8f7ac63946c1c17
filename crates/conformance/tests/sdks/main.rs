//! Microsoft's own SDKs, unchanged, against the built emulator.
//!
//! Each script under `python/` and `node/` is one area of an SDK. It runs with a hub of its own in a network of its own, because
//! the SDKs insist on ports 443 and 8883. `cargo xtask test` installs the SDKs below `target/` and says where they are.

mod network;
mod script;

use script::{node, python};

#[test]
fn python_registry() {
    python("registry");
}

#[test]
fn python_twins() {
    python("twins");
}

#[test]
fn python_digital_twins() {
    python("digital_twins");
}

#[test]
fn python_configurations() {
    python("configurations");
}

#[test]
fn python_entra() {
    python("entra");
}

#[test]
fn python_device() {
    python("device");
}

#[test]
fn python_device_aio() {
    python("device_aio");
}

#[test]
fn python_x509() {
    python("x509");
}

#[test]
fn python_c2d() {
    python("c2d");
}

#[test]
fn python_jobs() {
    python("jobs");
}

#[test]
fn python_routing() {
    python("routing");
}

#[test]
fn python_transfers() {
    python("transfers");
}

#[test]
fn python_uploads() {
    python("uploads");
}

#[test]
fn python_edge() {
    python("edge");
}

#[test]
fn python_recipe() {
    python("recipe");
}

#[test]
fn node_registry() {
    node("registry");
}

#[test]
fn node_digital_twins() {
    node("digital_twins");
}

#[test]
fn node_device() {
    node("device");
}

#[test]
fn node_jobs() {
    node("jobs");
}

#[test]
fn node_transfers() {
    node("transfers");
}

#[test]
fn node_uploads() {
    node("uploads");
}

#[test]
fn node_management() {
    node("management");
}

#[test]
fn node_routes() {
    node("routes");
}

#[test]
fn node_handover() {
    node("handover");
}

#[test]
fn node_edge() {
    node("edge");
}
