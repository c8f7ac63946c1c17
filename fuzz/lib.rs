//! What the targets share.

use std::sync::OnceLock;

use ha_emulator::hub::{DeviceBody, Dice, Expect, Hub, Id};
use ha_emulator::{Authority, Emulator, Entra, Options, Running, Seed};
use jiff::{SignedDuration, Timestamp};
use serde_json::json;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream};
use tokio::runtime::Runtime;

/// One emulator for all inputs: whatever leaks from one connection into the next shows.
pub struct World {
    runtime: Runtime,
    hub: Running,
}

impl World {
    pub fn get() -> &'static Self {
        static WORLD: OnceLock<World> = OnceLock::new();
        WORLD.get_or_init(|| {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
            let seed = vec![Seed::parse("d:edge:m").expect("a seed")];
            let entra = Entra { authorities: vec![authority()], ..Entra::default() };
            // Thousands of log-ins a second are no storm here.
            let options = Options { seed, entra, connect_rate: None, random_seed: Some([7; 32]), ..Options::default() };
            let hub = runtime.block_on(Emulator::start(options)).expect("a hub");
            Self { runtime, hub }
        })
    }

    pub fn hub(&self) -> &Running {
        &self.hub
    }

    /// Sends the bytes through a connection and closes it; gives what came back.
    pub fn send(&self, bytes: &[u8]) -> Vec<u8> {
        self.talk(async |mut stream| {
            // The hub may hang up in the middle.
            let _ = stream.write_all(bytes).await;
            let _ = stream.shutdown().await;
            let mut answer = Vec::new();
            let _ = stream.read_to_end(&mut answer).await;
            answer
        })
    }

    /// Logs in with `connect` and, once that is answered, sends the bytes and closes the connection; gives the answer to the log-in.
    pub fn session(&self, connect: &[u8], bytes: &[u8]) -> [u8; 4] {
        self.talk(async |mut stream| {
            let mut answer = [0; 4];
            stream.write_all(connect).await.expect("the hub reads");
            stream.read_exact(&mut answer).await.expect("the hub answers");
            let _ = stream.write_all(bytes).await;
            let _ = stream.shutdown().await;
            let _ = stream.read_to_end(&mut Vec::new()).await;
            answer
        })
    }

    fn talk<T>(&self, talk: impl AsyncFnOnce(DuplexStream) -> T) -> T {
        let answer = self.runtime.block_on(async {
            let (ours, theirs) = tokio::io::duplex(1 << 20);
            tokio::join!(talk(ours), self.hub.serve_mqtt(theirs)).0
        });
        assert_eq!(self.hub.connections().len(), 0, "a connection outlived its stream");
        answer
    }
}

/// An authority whose good token has long expired.
fn authority() -> Authority {
    let keys = include_str!("../crates/jwt/testdata/jwks.json");
    Authority::new("https://sts.windows.net/11111111-2222-3333-4444-555555555555/", keys).expect("keys")
}

/// A CONNECT of the seeded module that is accepted.
pub fn connect(hub: &Running) -> Vec<u8> {
    let key = hub.module_connection_string("d", "m").expect("a module");
    let key = key.split("SharedAccessKey=").nth(1).expect("a key");
    let key = ha_wire::SharedAccessKey::from_base64(key).expect("base64");
    let password = ha_wire::sas::Unsigned::module("localhost", "d", "m", 4_000_000_000).sign(&key);
    let mut body = b"\x00\x04MQTT\x04\xc2\x00\x3c".to_vec();
    for field in ["d/m", "localhost/d/m/?api-version=2021-04-12", &password] {
        body.extend(u16::try_from(field.len()).expect("short").to_be_bytes());
        body.extend(field.as_bytes());
    }
    let length = body.len();
    let mut packet = vec![0x10, u8::try_from(length % 128).expect("seven bits") | 0x80];
    packet.push(u8::try_from(length / 128).expect("short"));
    packet.extend(body);
    packet
}

/// A hub with one device that has a twin worth asking about.
pub fn pure_hub() -> (Hub, Timestamp) {
    let now = Timestamp::from_second(1_700_000_000).expect("a time");
    let mut hub = Hub::new(Dice::new([7; 32]), SignedDuration::ZERO);
    let body = DeviceBody::read(json!({"capabilities": {"iotEdge": true}})).expect("a body");
    hub.put_device("d", &body, &Expect::Nothing, now).expect("a device");
    let twin = json!({"tags": {"site": "m1", "n": [1, 2.5], "a": {"b": {"c": "x"}}},
                      "properties": {"desired": {"level": 3, "on": true}}});
    hub.patch_twin(&Id::device("d"), &twin, &Expect::Nothing, now).expect("a twin");
    (hub, now)
}
