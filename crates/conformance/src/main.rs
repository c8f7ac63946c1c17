//! `with-hub COMMAND…` runs a command while an emulator answers on ports 443 and 8883 of this network, and exits as it did.
//!
//! The command finds in its environment what `iotedge-ha emulator --print-env` prints. What the emulator says goes to stderr. When
//! the command has succeeded, every answer that came over HTTP is held against Microsoft's descriptions.

mod exchanges;

use std::ffi::OsString;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitCode, Stdio};

use anyhow::{Context, Result, bail};
use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair};

/// What `--print-env` prints last: everything before it has been read when it is there.
const LAST: &str = "IOTHUB_RESOURCE_ID";

/// The certificate of the authority whose devices the emulator knows, in its folder.
const AUTHORITY: &str = "devices-ca.pem";
/// Whom that authority has signed for.
const SIGNED_DEVICE: &str = "signed-device";

/// Brings up a loopback interface where there is no `ip` program: SIOCSIFFLAGS with IFF_UP and IFF_RUNNING.
const LOOPBACK_UP: &str = "import fcntl, socket, struct; \
    fcntl.ioctl(socket.socket(), 0x8914, struct.pack('16sH14x', b'lo', 0x41))";

fn main() -> ExitCode {
    match run(std::env::args_os().skip(1).collect()) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::from(125)
        }
    }
}

fn run(words: Vec<OsString>) -> Result<ExitCode> {
    let Some((program, args)) = words.split_first() else { bail!("usage: with-hub COMMAND…") };
    loopback_up()?;
    let folder = tempfile::tempdir().context("no folder for the emulator")?;
    let own = devices(folder.path()).context("no certificates for devices")?;
    let blobs = folder.path().join("blobs");
    std::fs::create_dir(&blobs).context("no folder for blob containers")?;
    let record = folder.path().join("exchanges.jsonl");
    let mut hub = Hub::start(folder.path(), &blobs, &record)?;
    let variables = hub.variables()?;
    let ca_file = folder.path().join("ca.pem");
    // How Python's `requests` and Node learn whom to trust; both read it before a script's first line.
    let trust = [("REQUESTS_CA_BUNDLE", &ca_file), ("NODE_EXTRA_CA_CERTS", &ca_file)];
    let status = Command::new(program)
        .args(args)
        .envs(variables)
        .envs(trust)
        .envs(own)
        .env("SIGNED_DEVICE", SIGNED_DEVICE)
        .env("BLOB_DIR", &blobs)
        .status();
    let status = status.with_context(|| format!("cannot start {}", program.to_string_lossy()))?;
    if let Some(ended) = hub.0.try_wait()? {
        bail!("the emulator ended by itself: {ended}");
    }
    drop(hub);
    if status.success() {
        exchanges::check(&record)?;
    }
    Ok(status.code().and_then(|code| u8::try_from(code).ok()).map_or(ExitCode::FAILURE, ExitCode::from))
}

/// A new network namespace has a loopback interface that is down; elsewhere this changes nothing.
fn loopback_up() -> Result<()> {
    if std::net::TcpListener::bind("127.0.0.1:0")
        .is_ok_and(|probe| probe.local_addr().is_ok_and(|address| std::net::TcpStream::connect(address).is_ok()))
    {
        return Ok(());
    }
    let ways: [&[&str]; 2] = [&["ip", "link", "set", "lo", "up"], &["python3", "-c", LOOPBACK_UP]];
    for way in ways {
        if Command::new(way[0]).args(&way[1..]).status().is_ok_and(|status| status.success()) {
            return Ok(());
        }
    }
    bail!("cannot bring up the loopback interface; neither `ip` nor `python3` could")
}

/// What devices log in with, as files: a certificate for thumbprints, and one that [`AUTHORITY`] signed for [`SIGNED_DEVICE`].
fn devices(folder: &Path) -> Result<Vec<(&'static str, PathBuf)>> {
    let own = rcgen::generate_simple_self_signed(["device".to_owned()])?;
    let mut authority = CertificateParams::default();
    authority.distinguished_name.push(DnType::CommonName, "an authority of the test");
    authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let authority_key = KeyPair::generate()?;
    let authority_pem = authority.self_signed(&authority_key)?.pem();
    let mut device = CertificateParams::default();
    device.distinguished_name.push(DnType::CommonName, SIGNED_DEVICE);
    let key = KeyPair::generate()?;
    let signed = device.signed_by(&key, &Issuer::new(authority, authority_key))?;
    std::fs::write(folder.join(AUTHORITY), authority_pem)?;
    let mut files = vec![("DEVICE_AUTHORITY_FILE", folder.join(AUTHORITY))];
    for (variable, name, content) in [
        ("DEVICE_CERTIFICATE_FILE", "device.pem", own.cert.pem()),
        ("DEVICE_KEY_FILE", "device.key", own.signing_key.serialize_pem()),
        ("SIGNED_CERTIFICATE_FILE", "signed.pem", signed.pem()),
        ("SIGNED_KEY_FILE", "signed.key", key.serialize_pem()),
    ] {
        let path = folder.join(name);
        std::fs::write(&path, content)?;
        files.push((variable, path));
    }
    Ok(files)
}

/// The emulator, which ends with the value.
struct Hub(Child);

impl Hub {
    fn start(folder: &Path, blobs: &Path, record: &Path) -> Result<Self> {
        let program =
            std::env::var_os("IOTEDGE_HA_BIN").context("IOTEDGE_HA_BIN does not name the emulator's program")?;
        let mut command = Command::new(program);
        command
            .args(["emulator", "--print-env", "--operation-ms=200", "--https-port=443", "--mqtt-port=8883", "--state"])
            .arg(folder);
        command.arg("--device-ca").arg(folder.join(AUTHORITY)).arg("--blob-dir").arg(blobs);
        command.args(["--upload-container", "uploads"]);
        command.arg("--record").arg(record);
        Ok(Self(command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn().context("cannot start the emulator")?))
    }

    /// Waits until the emulator has printed what clients need to know.
    fn variables(&mut self) -> Result<Vec<(String, String)>> {
        let stdout = self.0.stdout.take().context("the emulator's output is not ours")?;
        let mut variables = Vec::new();
        for line in BufReader::new(stdout).lines() {
            let line = line?;
            let (name, value) = line.split_once('=').with_context(|| format!("not a variable: {line}"))?;
            variables.push((name.to_owned(), value.trim_matches('\'').to_owned()));
            if name == LAST {
                return Ok(variables);
            }
        }
        bail!("the emulator ended before it was open")
    }
}

impl Drop for Hub {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
