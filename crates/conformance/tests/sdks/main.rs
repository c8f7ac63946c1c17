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
fn node_registry() {
    node("registry");
}
