//! Strangers' bytes disturb nobody.

use mqtt_protocol_core::mqtt::packet::Qos;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use crate::backend::Backend;
use crate::device::{Device, Login, tls};
use crate::{eventually, hub};

#[tokio::test]
async fn garbage_on_every_port_leaves_others_alone() {
    let hub = hub().await;
    let login = Login::of(&hub, "leaf", None);
    let mut device = Device::connect(&hub, &login).await.expect("connected");
    device.subscribe("$iothub/twin/res/#", Qos::AtMostOnce).await;
    let garbage: [&[u8]; 6] = [
        b"GET / HTTP/1.1\r\n\r\n",
        &[0x10, 0xff, 0xff, 0xff, 0x7f],
        &[0x10, 0x02, 0x00, 0x04],
        &[0x10, 0x0c, 0, 4, b'M', b'Q', b'T', b'T', 4, 2, 0, 60, 0, 0],
        &[0x30, 0x00],
        &[0xff; 2000],
    ];
    for bytes in garbage {
        for address in [hub.mqtt_addr, hub.https_addr] {
            let mut stream = tls(&hub, address).await;
            // It may be closed in our face, which is fine.
            let _ = stream.write_all(bytes).await;
            let _ = stream.shutdown().await;
            let mut rest = Vec::new();
            let _ = stream.read_to_end(&mut rest).await;
            let mut plain = tokio::net::TcpStream::connect(address).await.expect("open");
            let _ = plain.write_all(bytes).await;
        }
    }
    let answer = device.request("$iothub/twin/GET/?$rid=1", b"").await;
    assert_eq!(answer.topic, "$iothub/twin/res/200/?$rid=1");
    assert_eq!(Backend::new(&hub).get("/twins/leaf").await.status, 200);
}

#[tokio::test]
async fn garbage_after_connect_ends_that_connection_only() {
    let hub = hub().await;
    for bytes in [
        &[0x32, 0x05, 0x00, 0x01, b'a', 0x00, 0x00][..],
        &[0x82, 0x02, 0x00, 0x00],
        &[0x82, 0x06, 0x00, 0x00, 0x00, 0x01, b'#', 0x00],
        &[0x30, 0xff, 0xff, 0xff, 0x7f],
        &[0xf0, 0x00],
        &[0x10, 0x00],
    ] {
        let login = Login::of(&hub, "leaf", None);
        let mut device = Device::connect(&hub, &login).await.expect("connected");
        device.write_raw(bytes).await;
        assert_eq!(device.receive().await, None, "{bytes:?}");
    }
    eventually("all are forgotten", async || hub.connections().is_empty()).await;
}
