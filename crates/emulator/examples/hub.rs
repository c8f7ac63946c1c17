//! A hub on the ports that Microsoft's SDKs expect, with one edge device and one leaf, until Ctrl-C.

use iotedge_ha_emulator::{Emulator, Options, Seed};

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let options = Options {
        https_port: 8443,
        mqtt_port: 8883,
        ca_file: Some(std::env::temp_dir().join("emulator-ca.pem")),
        seed: vec![Seed::parse("edge-a:edge:ha-agent")?, Seed::parse("leaf")?],
        ..Options::default()
    };
    let hub = Emulator::start(options).await?;
    print!("{}", hub.print_env());
    println!("LEAF_CONNECTION_STRING='{}'", hub.device_connection_string("leaf").unwrap_or_default());
    let module = hub.module_connection_string("edge-a", "ha-agent");
    println!("MODULE_CONNECTION_STRING='{}'", module.unwrap_or_default());
    hub.serve_until(async {
        // Without a signal handler there is nothing to wait for.
        let _ = tokio::signal::ctrl_c().await;
    })
    .await;
    Ok(())
}
