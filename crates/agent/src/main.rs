//! The slim program for devices.

fn main() {
    iotedge_ha_agent::keeper::dispatch_if_asked();
}
