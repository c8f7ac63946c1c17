//! Strangers' bytes disturb nobody.

use std::time::Duration;

use iotedge_ha_emulator::meters::Meter;
use iotedge_ha_emulator::{ConnectRate, Emulator, Options, Running, Seed, Strangers};
use mqtt_protocol_core::mqtt::packet::Qos;
use mqtt_protocol_core::mqtt::result_code::ConnectReturnCode;
use serde_json::json;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::backend::Backend;
use crate::device::{Device, Login, PATIENCE, tls, try_tls};
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
            let mut plain = TcpStream::connect(address).await.expect("open");
            let _ = plain.write_all(bytes).await;
        }
    }
    let answer = device.request("$iothub/twin/GET/?$rid=1", b"").await;
    assert_eq!(answer.topic, "$iothub/twin/res/200/?$rid=1");
    assert_eq!(Backend::new(&hub).get("/twins/leaf").await.status, 200);
}

#[tokio::test]
async fn a_long_body_is_read_only_for_somebody_with_credentials() {
    let hub = hub().await;
    let stranger = Backend::with_token(&hub, "SharedAccessSignature made up".to_owned());
    let long = "x".repeat(1000 * 1000);
    for path in ["/devices/a", "/devices/leaf/messages/events", "/subscriptions/s/providers", "/_emulator/v1/import"] {
        let answer = stranger.post_raw(path, &[], &long).await;
        assert_eq!(answer.status, 401, "{path}: {}", answer.body);
    }
    let known = Backend::new(&hub).post_raw("/devices", &[], &long).await;
    assert_eq!((known.status.as_u16(), known.error_code()), (400, "ArgumentInvalid"));
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
        // An acknowledgement of nothing.
        &[0x40, 0x02, 0x12, 0x34],
        // A topic that is no UTF-8, one with a wildcard, one with a zero character, an empty one.
        &[0x30, 0x05, 0x00, 0x03, b'a', 0xff, 0xfe],
        &[0x30, 0x05, 0x00, 0x03, b'a', b'/', b'+'],
        &[0x30, 0x05, 0x00, 0x03, b'a', 0x00, b'b'],
        &[0x30, 0x02, 0x00, 0x00],
        // A filter that is no UTF-8.
        &[0x82, 0x08, 0x00, 0x01, 0x00, 0x03, b'a', 0xff, 0xfe, 0x00],
    ] {
        let login = Login::of(&hub, "leaf", None);
        let mut device = Device::connect(&hub, &login).await.expect("connected");
        device.write_raw(bytes).await;
        assert_eq!(device.receive().await, None, "{bytes:?}");
    }
    eventually("all are forgotten", async || hub.connections().is_empty()).await;
}

/// A string as MQTT writes it.
fn string(text: &str) -> Vec<u8> {
    let length = u16::try_from(text.len()).expect("short");
    [&length.to_be_bytes(), text.as_bytes()].concat()
}

/// A packet with a correct header.
fn packet(first: u8, body: &[u8]) -> Vec<u8> {
    let mut out = vec![first];
    let mut left = body.len();
    loop {
        let digit = u8::try_from(left % 128).expect("seven bits");
        left /= 128;
        out.push(if left > 0 { digit | 0x80 } else { digit });
        if left == 0 {
            break;
        }
    }
    out.extend_from_slice(body);
    out
}

#[tokio::test]
async fn ten_thousand_filters_in_one_packet_are_answered_and_five_granted() {
    let hub = hub().await;
    let mut device = Device::connect(&hub, &Login::of(&hub, "leaf", None)).await.expect("connected");
    let filter = |n: usize| if n.is_multiple_of(2) { "$iothub/twin/res/#".to_owned() } else { format!("x/{n}") };
    let filters: Vec<String> = (0..10_000).map(filter).collect();
    let codes = device.subscribe_all(&filters, Qos::AtLeastOnce).await;
    assert_eq!((codes.len(), codes.iter().filter(|code| **code == 1).count()), (10_000, 5));
    let answer = device.request("$iothub/twin/GET/?$rid=1", b"").await;
    assert_eq!(answer.topic, "$iothub/twin/res/200/?$rid=1");
}

#[tokio::test]
async fn a_message_may_have_256_kb_and_not_a_byte_more() {
    let hub = hub().await;
    let mut messages = hub.messages();
    let login = Login::of(&hub, "leaf", None);
    let mut device = Device::connect(&hub, &login).await.expect("connected");
    let topic = "devices/leaf/messages/events/";
    device.publish(topic, Qos::AtLeastOnce, &vec![1; 256 * 1024]).await;
    assert_eq!(messages.recv().await.expect("a message").body.len(), 256 * 1024);
    device.publish(topic, Qos::AtLeastOnce, &vec![1; 256 * 1024 + 1]).await;
    assert_eq!(device.receive().await, None);
    let mut device = Device::connect(&hub, &login).await.expect("connected");
    let long = packet(0x30, &[string(topic), vec![1; 300_000]].concat());
    device.write_raw(&long[..64]).await;
    assert_eq!(device.receive().await, None);
}

/// A client that is in a hurry may still be too slow where the machine is.
async fn connect_at_last(hub: &Running, login: &Login) -> Device {
    let mut connected = None;
    eventually("somebody is let in", async || {
        if let Ok(stream) = try_tls(hub, hub.mqtt_addr).await {
            connected = Device::connect_over(stream, login).await.ok();
        }
        connected.is_some()
    })
    .await;
    connected.expect("it is there")
}

/// Waits until the hub hangs up, and gives what it has said.
async fn last_words(mut stream: impl AsyncRead + Unpin) -> Vec<u8> {
    let mut said = Vec::new();
    let _ = stream.read_to_end(&mut said).await;
    said
}

#[tokio::test]
async fn whoever_says_nothing_is_sent_away_and_nobody_else() {
    let seed = vec![Seed::parse("leaf").expect("a seed")];
    let login_within = Duration::from_millis(300);
    let hub = Emulator::start(Options { seed, login_within, ..Options::default() }).await.expect("a hub");
    let mut device = connect_at_last(&hub, &Login::of(&hub, "leaf", None)).await;
    for address in [hub.mqtt_addr, hub.https_addr] {
        let silent = TcpStream::connect(address).await.expect("open");
        let mut half = TcpStream::connect(address).await.expect("open");
        half.write_all(&[0x16, 0x03, 0x01, 0x02, 0x00, 0x01, 0x00]).await.expect("written");
        let shaken = try_tls(&hub, address).await;
        last_words(silent).await;
        last_words(half).await;
        if let Ok(shaken) = shaken {
            assert_eq!(last_words(shaken).await, b"");
        }
    }
    // Half a CONNECT, and one of a length that nothing has.
    for begun in [&[0x10, 0x20, 0x00, 0x04], &[0x10, 0xff, 0xff, 0x7f]] {
        if let Ok(mut slow) = try_tls(&hub, hub.mqtt_addr).await {
            // It may be gone already.
            let _ = slow.write_all(begun).await;
            assert_eq!(last_words(slow).await, b"");
        }
    }
    device.subscribe("$iothub/twin/res/#", Qos::AtMostOnce).await;
    assert_eq!(device.request("$iothub/twin/GET/?$rid=1", b"").await.topic, "$iothub/twin/res/200/?$rid=1");
}

#[tokio::test]
async fn strangers_make_room_for_others_and_those_who_logged_in_do_not() {
    let seed = vec![Seed::parse("leaf").expect("a seed"), Seed::parse("other").expect("a seed")];
    let options = Options {
        seed,
        strangers: Strangers { per_source: 2, in_all: 10 },
        // They stand there until they leave.
        login_within: PATIENCE,
        ..Options::default()
    };
    let hub = Emulator::start(options).await.expect("a hub");
    let backend = Backend::new(&hub);
    assert_eq!(backend.get("/devices/leaf").await.status, 200);
    let mut leaf = Device::connect(&hub, &Login::of(&hub, "leaf", None)).await.expect("connected");
    let silent = [tls(&hub, hub.mqtt_addr).await, tls(&hub, hub.https_addr).await];
    // Both places are taken, and still whoever has credentials comes in; those who say nothing leave, the first one first.
    let mut other = Device::connect(&hub, &Login::of(&hub, "other", None)).await.expect("connected");
    let [first, second] = silent;
    assert_eq!(last_words(first).await, b"");
    let _more = [tls(&hub, hub.https_addr).await, tls(&hub, hub.https_addr).await];
    assert_eq!(last_words(second).await, b"");
    let refused = Backend::with_token(&hub, "SharedAccessSignature made up".to_owned());
    assert_eq!(refused.get("/devices/leaf").await.status, 401);
    assert_eq!(backend.get("/devices/leaf").await.status, 200);
    for device in [&mut leaf, &mut other] {
        device.subscribe("$iothub/twin/res/#", Qos::AtMostOnce).await;
        assert_eq!(device.request("$iothub/twin/GET/?$rid=1", b"").await.topic, "$iothub/twin/res/200/?$rid=1");
    }
}

#[tokio::test]
async fn a_device_that_does_not_read_is_cut_and_others_are_served() {
    let hub = hub().await;
    let backend = Backend::new(&hub);
    let mut deaf = Device::connect(&hub, &Login::of(&hub, "leaf", None)).await.expect("connected");
    deaf.subscribe("$iothub/twin/PATCH/properties/desired/#", Qos::AtMostOnce).await;
    let mut other = Device::connect(&hub, &Login::of(&hub, "edge-a", Some("ha-agent"))).await.expect("connected");
    other.subscribe("$iothub/twin/res/#", Qos::AtMostOnce).await;
    let mut patches = 0;
    while hub.connections().iter().any(|connection| connection.link.device_id == "leaf") {
        let chunks: Vec<String> = (0..7).map(|n| n.to_string().repeat(4_000)).collect();
        let answer =
            backend.patch("/twins/leaf", json!({"properties": {"desired": {"n": patches, "fill": chunks}}})).await;
        assert_eq!(answer.status, 200);
        patches += 1;
        assert!(patches < 5_000, "it is never cut");
    }
    assert_eq!(other.request("$iothub/twin/GET/?$rid=1", b"").await.topic, "$iothub/twin/res/200/?$rid=1");
}

#[tokio::test]
async fn two_clients_with_one_name_are_slowed_and_others_connect() {
    let seed = vec![Seed::parse("leaf").expect("a seed"), Seed::parse("other").expect("a seed")];
    let connect_rate = Some(ConnectRate { burst: 5, per_s: 0.001 });
    let hub = Emulator::start(Options { seed, connect_rate, ..Options::default() }).await.expect("a hub");
    let login = Login::of(&hub, "leaf", None);
    let mut last = None;
    for _ in 0..5 {
        last = Some(Device::connect(&hub, &login).await.expect("connected"));
    }
    let refused = Device::connect(&hub, &login).await.err();
    assert_eq!(refused, Some(Some(ConnectReturnCode::ServerUnavailable)));
    assert_eq!(hub.meters().read(Meter::ConnectsThrottled), 1);
    let mut last = last.expect("five");
    last.subscribe("$iothub/twin/res/#", Qos::AtMostOnce).await;
    assert_eq!(last.request("$iothub/twin/GET/?$rid=1", b"").await.topic, "$iothub/twin/res/200/?$rid=1");
    assert!(Device::connect(&hub, &Login::of(&hub, "other", None)).await.is_ok());
}
