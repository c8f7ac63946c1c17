//! The samples in `deploy/on-site`, in the programs they are for.
//!
//! Where such a program is not installed, or network namespaces are not allowed, a test says so and is over; under CI it fails.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use iotedge_ha_e2e::{PATIENCE, Stage, free_port, wait_until};

use crate::site::Site;

fn sample(name: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../deploy/on-site").join(name);
    std::fs::read_to_string(path).expect("the sample is there")
}

/// Whether a program can be started at all.
fn is_there(program: &str, argument: &str) -> bool {
    let found = Command::new(program).arg(argument).stdout(Stdio::null()).stderr(Stdio::null()).status().is_ok();
    assert!(found || std::env::var_os("CI").is_none(), "{program} is not installed");
    if !found {
        println!("skipped: {program} is not installed");
    }
    found
}

/// Ends with the value.
struct Started(Child);

impl Drop for Started {
    fn drop(&mut self) {
        // Keepalived ends its children only when it is asked to.
        let _ = Command::new("kill").arg(self.0.id().to_string()).status();
        let deadline = Instant::now() + PATIENCE;
        while matches!(self.0.try_wait(), Ok(None)) && Instant::now() < deadline {
            std::thread::sleep(Duration::from_millis(20));
        }
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A device's workload as a client sees it: says its name and closes.
fn workload(name: &'static str) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = listener.local_addr().expect("an address").port();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let _ = stream.and_then(|mut stream| stream.write_all(name.as_bytes()));
        }
    });
    port
}

/// Who answers there; nobody is the empty name.
fn answers(port: u16) -> String {
    let mut name = String::new();
    if let Ok(mut stream) = TcpStream::connect(("127.0.0.1", port)) {
        let _ = stream.set_read_timeout(Some(Duration::from_secs(5)));
        let _ = stream.read_to_string(&mut name);
    }
    name
}

#[test]
fn haproxy_sends_everything_to_the_active_device() {
    if !is_there("haproxy", "-v") {
        return;
    }
    let (gates, front) = ([free_port(), free_port()], free_port());
    let [a, b] = ["edge-a", "edge-b"].map(workload);
    let site = Site::open(gates.map(|port| format!("--http-addr=127.0.0.1:{port}")), "");
    let _controller = site.start_controller();
    // Before its first check HAProxy believes every device to be active.
    wait_until("edge-a is active", || site.shown()["members"][0]["state"] == "active");
    let config = sample("haproxy.cfg")
        .replace("bind :4840", &format!("bind 127.0.0.1:{front}"))
        .replace("192.0.2.11:4840 port 8780", &format!("127.0.0.1:{a} port {}", gates[0]))
        .replace("192.0.2.12:4840 port 8780", &format!("127.0.0.1:{b} port {}", gates[1]));
    let config = site.stage.file("haproxy.cfg", &config);
    let child =
        site.stage.bare("haproxy").args(["-db", "-f", &config]).stdout(Stdio::null()).stderr(Stdio::null()).spawn();
    let _haproxy = Started(child.expect("it starts"));

    wait_until("all goes to edge-a", || (0..20).all(|_| answers(front) == "edge-a"));
    site.run(&["switchover", "press_1", "--to", "edge-b", "--yes"]).expect(0);
    // Until HAProxy has asked both, some still goes to the former device.
    wait_until("all goes to edge-b", || (0..20).all(|_| answers(front) == "edge-b"));
}

/// An agent's gate that says what it is told.
fn gate(name: &str, ip: &str, flag: &Path) -> Option<Started> {
    let script = format!(
        "import http.server, os\n\
         class Gate(http.server.BaseHTTPRequestHandler):\n\
         \x20def do_GET(self):\n\
         \x20 self.send_response(200 if os.path.exists({flag:?}) else 503)\n\
         \x20 self.end_headers()\n\
         \x20def log_message(self, *_):\n\
         \x20 pass\n\
         http.server.HTTPServer(({ip:?}, 8780), Gate).serve_forever()\n"
    );
    let child = Command::new("ip").args(["netns", "exec", name, "python3", "-c", &script]).spawn();
    child.ok().map(Started)
}

/// Two hosts on a wire of their own; gone with the value.
struct Hosts([String; 2]);

impl Hosts {
    /// `None`: this machine does not let us.
    fn connect() -> Option<Self> {
        let names = ["a", "b"].map(|host| format!("ha-{}-{host}", std::process::id()));
        let hosts = Self(names);
        let [a, b] = &hosts.0;
        let mut steps = vec![
            format!("netns add {a}"),
            format!("netns add {b}"),
            format!("-n {a} link add wire0 type veth peer name wire0 netns {b}"),
        ];
        for (name, number) in [(a, 1), (b, 2)] {
            steps.extend(["link set lo up", "link set wire0 up"].map(|verb| format!("-n {name} {verb}")));
            steps.push(format!("-n {name} addr add 198.51.100.{number}/24 dev wire0"));
        }
        steps.iter().all(|step| ip(step)).then_some(hosts)
    }

    fn has_address(&self, host: usize) -> bool {
        let shown = Command::new("ip").args(["-n", &self.0[host], "-o", "addr", "show", "dev", "wire0"]).output();
        shown.is_ok_and(|shown| String::from_utf8_lossy(&shown.stdout).contains("192.0.2.10/24"))
    }
}

impl Drop for Hosts {
    fn drop(&mut self) {
        for name in &self.0 {
            ip(&format!("netns del {name}"));
        }
    }
}

fn ip(words: &str) -> bool {
    let done = Command::new("ip").args(words.split(' ')).stderr(Stdio::null()).status();
    done.is_ok_and(|status| status.success())
}

#[test]
fn keepalived_gives_the_address_to_the_active_device_and_to_nobody_else() {
    if !is_there("keepalived", "--version") || !is_there("curl", "--version") || !is_there("python3", "--version") {
        return;
    }
    let Some(hosts) = Hosts::connect() else {
        println!("skipped: this machine allows no network namespaces");
        return;
    };
    let stage = Stage::default();
    let flags = ["a", "b"].map(|host| stage.folder().join(format!("active-{host}")));
    let mut programs = Vec::new();
    for (name, flag) in hosts.0.iter().zip(&flags) {
        programs.extend(gate(name, "127.0.0.1", flag));
        let check = stage.file("ha-check-active", &sample("ha-check-active"));
        let config = sample("keepalived.conf")
            .replace("/usr/local/bin/ha-check-active", &format!("/bin/sh {check}"))
            .replace("interface eth0", "interface wire0")
            // The test's folder is anybody's to write.
            .replace("    enable_script_security\n", "")
            .replace("script_user nobody", "script_user root");
        let config = stage.file(&format!("{name}.conf"), &config);
        let pids = ["p", "c", "r"]
            .map(|kind| format!("-{kind}{}", stage.folder().join(format!("{name}-{kind}.pid")).display()));
        let mut command = Command::new("ip");
        command.args(["netns", "exec", name, "keepalived", "-n", "-l", "-P", "-f", &config]).args(pids);
        let log = std::fs::File::create(stage.folder().join(format!("{name}.log"))).expect("a log");
        let child = command.stdout(log.try_clone().expect("a log")).stderr(log).spawn().expect("it starts");
        programs.push(Started(child));
    }
    let has = |host| hosts.has_address(host);
    let told = |what: &str| {
        let logs = hosts.0.iter().map(|name| std::fs::read_to_string(stage.folder().join(format!("{name}.log"))));
        format!("{what}\n{:#?}", logs.map(Result::unwrap_or_default).collect::<Vec<_>>())
    };
    std::fs::write(&flags[0], "").expect("it is active");
    wait_until(&told("a has the address"), || has(0) && !has(1));
    std::fs::remove_file(&flags[0]).expect("it is active no more");
    wait_until(&told("nobody has the address"), || !has(0) && !has(1));
    std::fs::write(&flags[1], "").expect("it is active");
    wait_until(&told("b has the address"), || has(1) && !has(0));
    drop(programs);
}
