use std::io::{Read, Write};
use std::net::TcpListener;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use iotedge_ha_e2e::wait_until;

use crate::site::Site;

/// A receiver that answers 500 until it is well, and remembers the ids of all events.
struct Receiver {
    port: u16,
    well: Arc<AtomicBool>,
    ids: Arc<Mutex<Vec<String>>>,
}

impl Receiver {
    fn open() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let port = listener.local_addr().expect("an address").port();
        let (well, ids): (Arc<AtomicBool>, Arc<Mutex<Vec<String>>>) = Default::default();
        let receiver = Self { port, well: Arc::clone(&well), ids: Arc::clone(&ids) };
        std::thread::spawn(move || {
            for mut stream in listener.incoming().flatten() {
                let event = read_event(&mut stream);
                ids.lock().expect("no panic").push(event["id"].as_str().unwrap_or_default().to_owned());
                let status = if well.load(Ordering::SeqCst) { "204 No Content" } else { "500 Internal Server Error" };
                let _ = write!(stream, "HTTP/1.1 {status}\r\ncontent-length: 0\r\nconnection: close\r\n\r\n");
            }
        });
        receiver
    }

    fn ids(&self) -> Vec<String> {
        self.ids.lock().expect("no panic").clone()
    }
}

fn read_event(stream: &mut impl Read) -> serde_json::Value {
    let mut text = Vec::new();
    let mut chunk = [0; 4_096];
    while let Ok(read @ 1..) = stream.read(&mut chunk) {
        text.extend_from_slice(&chunk[..read]);
        let body = text.windows(4).position(|end| end == b"\r\n\r\n").map(|at| at + 4);
        if let Some(event) = body.and_then(|at| serde_json::from_slice(&text[at..]).ok()) {
            return event;
        }
    }
    serde_json::Value::Null
}

#[test]
fn a_missed_hook_is_told_by_the_next_controller_and_then_no_more() {
    let receiver = Receiver::open();
    let hook = format!(
        "[[pool.hook]]\nname = \"pager\"\non = \"after_handover\"\nretries = 0\nwebhook = \"http://127.0.0.1:{}/ha\"\n",
        receiver.port
    );
    let site = Site::open(["--http-addr=127.0.0.1:0"; 2].map(str::to_owned), &hook);
    let first = site.start_controller();
    wait_until("the first controller has tried", || !receiver.ids().is_empty());
    assert_eq!(site.shown()["followers"][0]["behind"], true);
    site.run(&["list"]).expect(0).says("press_1: hook:pager is left to do for term 1 (never done)");
    first.signal("KILL");
    first.wait();

    receiver.well.store(true, Ordering::SeqCst);
    let second = site.start_controller();
    let told = serde_json::json!([{"follower": "hook:pager", "through": 1, "behind": false, "behind_ms": null}]);
    wait_until("it is told, and the record says so", || site.shown()["followers"] == told);
    let tries = receiver.ids().len();
    second.signal("KILL");
    second.wait();

    let _third = site.start_controller();
    site.run(&["switchover", "press_1", "--yes"]).expect(0);
    wait_until("the next term is told", || receiver.ids().contains(&"press_1/2/pager".to_owned()));
    assert!(!receiver.ids()[tries..].contains(&"press_1/1/pager".to_owned()), "term 1 is told again");
}
