//! MQTT through the HTTPS port.

use futures_util::{SinkExt as _, StreamExt as _};
use mqtt_protocol_core::mqtt::packet::Qos;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::client::IntoClientRequest as _;
use tokio_tungstenite::tungstenite::http::HeaderValue;

use crate::device::{Device, Login, Stream, tls};
use crate::hub;

#[tokio::test]
async fn a_websocket_carries_mqtt() {
    let hub = hub().await;
    let login = Login::of(&hub, "leaf", None);
    let stream = tls(&hub, hub.https_addr).await;
    let mut request = "wss://localhost/$iothub/websocket".into_client_request().expect("a request");
    request.headers_mut().insert("sec-websocket-protocol", HeaderValue::from_static("mqtt"));
    let (socket, response) = tokio_tungstenite::client_async(request, stream).await.expect("an upgrade");
    assert_eq!(response.headers()["sec-websocket-protocol"], "mqtt");
    let (ours, theirs) = tokio::io::duplex(64 * 1024);
    let bridge = tokio::spawn(carry(socket, theirs));
    let mut device = Device::connect_over(Box::new(ours), &login).await.expect("connected");
    device.subscribe("$iothub/twin/res/#", Qos::AtLeastOnce).await;
    let answer = device.request("$iothub/twin/GET/?$rid=1", b" ").await;
    assert_eq!(answer.topic, "$iothub/twin/res/200/?$rid=1");
    assert_eq!(hub.connections()[0].transport, "websocket");
    let _newer = Device::connect(&hub, &login).await.expect("connected");
    assert_eq!(device.receive().await, None);
    bridge.await.expect("the bridge ends");
}

async fn carry(socket: WebSocketStream<Box<dyn Stream>>, pipe: DuplexStream) {
    let (mut sink, mut frames) = socket.split();
    let (mut reader, mut writer) = tokio::io::split(pipe);
    let outward = async {
        let mut chunk = [0; 4096];
        while let Ok(read) = reader.read(&mut chunk).await {
            let bytes = chunk[..read].to_vec();
            if read == 0 || sink.send(Message::Binary(bytes.into())).await.is_err() {
                break;
            }
        }
    };
    let inward = async {
        while let Some(Ok(frame)) = frames.next().await {
            if let Message::Binary(bytes) = frame
                && writer.write_all(&bytes).await.is_err()
            {
                break;
            }
        }
    };
    tokio::select! {
        () = outward => {}
        () = inward => {}
    }
}
