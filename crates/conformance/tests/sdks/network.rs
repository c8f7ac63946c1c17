//! A network in which ports 443 and 8883 are free.

use std::fs::File;
use std::process::{Command, Stdio};
use std::sync::OnceLock;

/// How to come by a network of one's own: as root, as a user, and as a user who may not but has `sudo` without a password.
const WAYS: [&[&str]; 3] = [
    &["unshare", "--net"],
    &["unshare", "--map-root-user", "--net"],
    &["sudo", "--non-interactive", "--preserve-env", "unshare", "--net"],
];

/// Where a command runs.
pub(crate) enum Network {
    /// In a network namespace that ends with it.
    Own(&'static [&'static str]),
    /// In the machine's network, one at a time: where there are no namespaces, as in most containers.
    Shared(#[expect(dead_code, reason = "the lock ends with the value")] File),
}

impl Network {
    /// The best that this machine has, or why it has none.
    pub(crate) fn find() -> Result<Self, String> {
        static WAY: OnceLock<Option<&'static [&'static str]>> = OnceLock::new();
        match WAY.get_or_init(|| WAYS.into_iter().find(|way| works(way))) {
            Some(way) => Ok(Self::Own(way)),
            None => shared(),
        }
    }

    /// The command that runs this program there.
    pub(crate) fn command(&self, program: &str) -> Command {
        match self {
            Self::Own(way) => {
                let mut command = Command::new(way[0]);
                command.args(&way[1..]).arg(program);
                command
            }
            Self::Shared(_) => Command::new(program),
        }
    }
}

fn works(way: &[&str]) -> bool {
    let mut command = Command::new(way[0]);
    command.args(&way[1..]).arg("true").stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    command.status().is_ok_and(|status| status.success())
}

fn shared() -> Result<Network, String> {
    let lock = File::create(std::env::temp_dir().join("iotedge-ha-conformance.lock")).map_err(|e| e.to_string())?;
    lock.lock().map_err(|e| e.to_string())?;
    for port in [443, 8883] {
        let probe = std::net::TcpListener::bind(("127.0.0.1", port));
        probe.map_err(|e| {
            format!("`unshare --net` does not work here, and neither does port {port} (which SDKs insist on): {e}")
        })?;
    }
    Ok(Network::Shared(lock))
}
