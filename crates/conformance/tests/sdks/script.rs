//! Runs one script with its hub and tells what came of it.

use std::ffi::OsString;
use std::fs::File;
use std::io::{Read, Seek};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use crate::network::Network;

/// Long enough for the slowest machine: only a script that hangs comes to its end.
const PATIENCE: Duration = Duration::from_secs(480);

/// Runs `python/test_{area}.py`; fails with what it printed unless all its tests pass.
#[track_caller]
pub(crate) fn python(area: &str) {
    let Some(python) = std::env::var_os("IOTEDGE_HA_SDK_PYTHON") else {
        return skip(area, "the Python SDKs are not set up");
    };
    let words = [python, "-m".into(), "unittest".into(), "-v".into(), format!("test_{area}").into()];
    run(area, "python", &words);
}

/// Runs `node/{area}.test.js`; fails with what it printed unless all its tests pass.
#[track_caller]
pub(crate) fn node(area: &str) {
    if std::env::var_os("IOTEDGE_HA_SDK_NODE_MODULES").is_none() {
        return skip(area, "the Node SDKs are not set up");
    }
    run(area, "node", &["node".into(), "--test".into(), format!("{area}.test.js").into()]);
}

#[track_caller]
fn run(area: &str, folder: &str, words: &[OsString]) {
    let network = match Network::find() {
        Ok(network) => network,
        Err(why) => return skip(area, &why),
    };
    let mut output = tempfile::tempfile().expect("a file for the output");
    let handle = |file: &File| file.try_clone().expect("another handle");
    let mut command = network.command(env!("CARGO_BIN_EXE_with-hub"));
    command
        .args(words)
        .current_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join(folder))
        .env("IOTEDGE_HA_BIN", program())
        .env("NODE_PATH", std::env::var_os("IOTEDGE_HA_SDK_NODE_MODULES").unwrap_or_default())
        .env("PYTHONDONTWRITEBYTECODE", "1")
        .env("NO_COLOR", "1")
        .stdin(Stdio::null())
        .stdout(handle(&output))
        .stderr(handle(&output))
        .process_group(0);
    let failure = Group(command.spawn().expect("a process for the script")).failure();
    let Some(failure) = failure else { return };
    let mut said = Vec::new();
    output.rewind().and_then(|()| output.read_to_end(&mut said)).expect("the output can be read");
    panic!("{folder}/{area}: {failure}\n{}", String::from_utf8_lossy(&said));
}

/// Says why a script does not run; where it must run, fails.
#[track_caller]
fn skip(area: &str, why: &str) {
    let required = ["CI", "IOTEDGE_HA_REQUIRE_SDKS"].iter().any(|name| std::env::var_os(name).is_some());
    assert!(!required, "{area} cannot run: {why}; `cargo xtask test` sets the SDKs up");
    println!("skipped: {why}; `cargo xtask test` sets the SDKs up");
}

/// The built `iotedge-ha`: where `cargo xtask test` says, else beside the tests.
fn program() -> PathBuf {
    match std::env::var_os("IOTEDGE_HA_BIN") {
        Some(path) => path.into(),
        None => Path::new(env!("CARGO_BIN_EXE_with-hub")).with_file_name("iotedge-ha"),
    }
}

/// A script, its hub and all that they start; ends with the value.
struct Group(Child);

impl Group {
    /// Waits for the end; `None` is success.
    fn failure(mut self) -> Option<String> {
        let deadline = Instant::now() + PATIENCE;
        while Instant::now() < deadline {
            if let Some(status) = self.0.try_wait().expect("the script can be waited for") {
                return (!status.success()).then(|| status.to_string());
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        Some(format!("still running after {} s", PATIENCE.as_secs()))
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        let group = format!("-{}", self.0.id());
        let _ = Command::new("kill").args(["-KILL", "--", &group]).stderr(Stdio::null()).status();
        let _ = self.0.wait();
    }
}
