//! Start, run, stop.

use std::fs::File;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use rustls::ServerConfig;
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::access::{Access, Authorities, Issuer, Policies};
use crate::doors::Doors;
use crate::error::Error;
use crate::events::{Events, Place};
use crate::files::{self, Readers};
use crate::hub::{Dice, Hub};
use crate::journal::Journal;
use crate::listen::{Door, Doorstep, Signpost};
use crate::management::ControlPlane;
use crate::options::Options;
use crate::rest::{App, ControlToken, Recorder};
use crate::running::Running;
use crate::secrets::Secrets;
use crate::seeds::Seeds;
use crate::shell::Shell;
use crate::{evaluation, jobs, journal, listen, script, snapshot, tls, transfers};

/// An IoT Hub in this process.
#[derive(Debug)]
pub struct Emulator;

impl Emulator {
    /// Opens the ports and serves until [`Running::shutdown`] or until the value is dropped.
    ///
    /// # Errors
    /// When a port is taken, or a file of the state folder or the snapshot is damaged or cannot be written.
    pub async fn start(options: Options) -> Result<Running, Error> {
        prepare(&options)?;
        let steps = options.faults_script.as_deref().map(script::read).transpose()?.unwrap_or_default();
        let mut dice = Dice::new(options.random_seed.unwrap_or_else(rand::random));
        let secrets = Secrets::take(keys_dir(&options), &mut dice)?;
        let identity = tls::identity(keys_dir(&options), options.bind, &options.host_names)?;
        let ca_file = ca_file(&options, &identity.ca_pem)?;
        let (hub, journal) = open_hub(&options, dice)?;
        let https = listen::open(SocketAddr::new(options.bind, options.https_port)).await?;
        let mqtt = listen::open(SocketAddr::new(options.bind, options.mqtt_port)).await?;
        let (https_addr, mqtt_addr) = (local(&https)?, local(&mqtt)?);
        let access = access(&options, secrets.policies.clone(), &secrets.token_key)?;
        let (stop, tasks) = (CancellationToken::new(), TaskTracker::new());
        let place = Place {
            port: https_addr.port(),
            ca_pem: identity.ca_pem.clone(),
            policies: secrets.policies,
            issuer: Arc::clone(access.issuer()),
            tasks: tasks.clone(),
            stop: stop.clone(),
        };
        let events = Events::open(&options, &hub, place).map_err(Error::Option)?;
        let shell = Shell::new(hub, access, events).with_connect_rate(options.connect_rate);
        let shell = furnished(shell, &options)?;
        let log = journal.map(|journal| shell.keep(journal)).transpose()?;
        // Tells of the identities that were made before there was anybody to listen.
        shell.act(|_, _| ());
        let control_token = options.control_token.clone().unwrap_or(secrets.control_token);
        let app = app(&options, &shell, &control_token, &stop)?;
        let signpost = Signpost {
            names: identity.names,
            authority: authority_place(ca_file.as_deref()),
            https_port: https_addr.port(),
            mqtt_port: mqtt_addr.port(),
        };
        let door = door(&options, identity.config, signpost, &app.stop, &tasks);
        let amqp_addr = open_amqp(&options, &door).await;
        let (restarts, asked) = mpsc::channel(1);
        shell.set_restarts(restarts);
        let doors = Doors { https, mqtt, app, door, seeds: Seeds::of(&options), restarts: asked };
        tasks.spawn(doors.keep_open());
        do_chores(&options, &shell, log, &tasks, &stop).await?;
        if !steps.is_empty() {
            tasks.spawn(script::play(Arc::clone(&shell), steps, stop.clone()));
        }
        tasks.close();
        tracing::info!(https = %https_addr, mqtt = %mqtt_addr, "the hub is open");
        Ok(Running {
            https_addr,
            mqtt_addr,
            amqp_addr,
            ca_pem: identity.ca_pem,
            ca_file,
            control_token,
            host_name: options.host_names.first().cloned(),
            shell,
            stop,
            tasks,
            snapshot: options.snapshot,
        })
    }
}

fn prepare(options: &Options) -> Result<(), Error> {
    if let Some(throttling) = &options.throttling {
        throttling.check().map_err(Error::Option)?;
    }
    for name in &options.host_names {
        Options::host_name(name).map_err(|reason| Error::Option(format!("host name: {reason}")))?;
    }
    let region = ControlPlane::region(&options.control_plane.location);
    region.map_err(|reason| Error::Option(format!("location: {reason}")))?;
    // Whoever embeds us may have installed it already.
    let _ = rustls::crypto::ring::default_provider().install_default();
    for folder in options.state_dir.iter().chain(&options.keys_dir) {
        std::fs::create_dir_all(folder).map_err(Error::make(folder))?;
    }
    Ok(())
}

fn furnished(shell: Shell, options: &Options) -> Result<Arc<Shell>, Error> {
    let shell = shell.with_blobs(options.blob_dir.as_deref())?;
    shell.set_throttling(options.throttling);
    shell.trust_registered().map_err(Error::Option)?;
    Ok(Arc::new(shell))
}

/// What goes on beside the ports.
async fn do_chores(
    options: &Options,
    shell: &Arc<Shell>,
    log: Option<Arc<File>>,
    tasks: &TaskTracker,
    stop: &CancellationToken,
) -> Result<(), Error> {
    if let Some(path) = &options.snapshot {
        snapshot_now(shell, path).await?;
        tasks.spawn(snapshot::keep(Arc::clone(shell), path.clone(), stop.clone()));
    }
    tasks.spawn(jobs::run(Arc::clone(shell), stop.clone()));
    tasks.spawn(transfers::run(Arc::clone(shell), stop.clone()));
    if !options.evaluation_interval.is_zero() {
        tasks.spawn(evaluation::keep(Arc::clone(shell), options.evaluation_interval, stop.clone()));
    }
    if let Some(log) = log {
        tasks.spawn(journal::keep(Arc::clone(shell), log, stop.clone()));
    }
    Ok(())
}

fn access(options: &Options, policies: Policies, token_key: &str) -> Result<Access, Error> {
    let issuer = Issuer::from_key(token_key).map_err(Error::Option)?;
    let access = Access::new(policies, &names(options), options.entra.clone(), issuer);
    Ok(access.with_authorities(Authorities::read(&options.device_authorities)?))
}

fn app(options: &Options, shell: &Arc<Shell>, control_token: &str, stop: &CancellationToken) -> Result<App, Error> {
    let recorder = options.record.as_deref().map(Recorder::open).transpose()?.map(Arc::new);
    Ok(App { shell: Arc::clone(shell), control_token: ControlToken::new(control_token), recorder, stop: stop.clone() })
}

fn door(
    options: &Options,
    config: Arc<ServerConfig>,
    signpost: Signpost,
    stop: &CancellationToken,
    tasks: &TaskTracker,
) -> Door {
    Door {
        name: listen::HTTPS,
        config,
        signpost: Arc::new(signpost),
        doorstep: Doorstep::new(options.strangers.per_source, options.strangers.in_all),
        login_within: options.login_within,
        tasks: tasks.clone(),
        stop: stop.clone(),
    }
}

/// A convenience: whatever else has the port may keep it.
async fn open_amqp(options: &Options, door: &Door) -> Option<SocketAddr> {
    let port = options.amqp_port?;
    match listen::open(SocketAddr::new(options.bind, port)).await {
        Ok(listener) => {
            let address = listener.local_addr().ok();
            let declined = listen::decline_amqp(listener, Arc::clone(&door.signpost), door.stop.clone());
            door.tasks.spawn(declined);
            address
        }
        Err(e) => {
            tracing::debug!(port, error = %e, "AMQP clients will find nobody to tell them what to use");
            None
        }
    }
}

fn authority_place(file: Option<&Path>) -> String {
    match file {
        Some(path) => path.display().to_string(),
        None => "the authority's certificate (name a file with --ca-file to have it written)".into(),
    }
}

fn open_hub(options: &Options, dice: Dice) -> Result<(Hub, Option<Journal>), Error> {
    let lag = SignedDuration::try_from(options.index_lag).map_err(|e| Error::Option(format!("index_lag: {e}")))?;
    let mut hub = Hub::new(dice, lag);
    let now = Timestamp::now();
    let mut journal = None;
    let (path, saved) = match (&options.snapshot, &options.state_dir) {
        (Some(path), _) => (path, snapshot::read(path)?),
        (None, Some(folder)) => {
            let (opened, saved) = Journal::open(folder)?;
            journal = Some(opened);
            (folder, saved)
        }
        (None, None) => (&PathBuf::new(), None),
    };
    if let Some(saved) = saved {
        hub.load(saved, now).map_err(|reason| Error::Damaged { path: path.clone(), reason })?;
    }
    Seeds::of(options).plant(&mut hub, now)?;
    Ok((hub, journal))
}

fn keys_dir(options: &Options) -> Option<&Path> {
    options.state_dir.as_deref().or(options.keys_dir.as_deref())
}

fn ca_file(options: &Options, ca_pem: &str) -> Result<Option<PathBuf>, Error> {
    if let Some(path) = &options.ca_file {
        files::write(path, ca_pem.as_bytes(), Readers::Everyone).map_err(Error::write(path))?;
        return Ok(Some(absolute(path)));
    }
    Ok(keys_dir(options).map(|folder| absolute(&tls::ca_path(folder))))
}

/// Clients that read the printed lines may work in another folder.
fn absolute(path: &Path) -> PathBuf {
    std::path::absolute(path).unwrap_or_else(|_| path.to_owned())
}

fn names(options: &Options) -> Vec<String> {
    let mut names = vec!["localhost".to_owned(), "127.0.0.1".to_owned()];
    for name in std::iter::once(options.bind.to_string()).chain(options.host_names.iter().cloned()) {
        if !names.contains(&name) {
            names.push(name);
        }
    }
    names
}

fn local(listener: &TcpListener) -> Result<SocketAddr, Error> {
    listener.local_addr().map_err(|source| Error::Listen { address: "a port".into(), source })
}

/// A place that cannot be written is better known at the start than after an hour.
async fn snapshot_now(shell: &Arc<Shell>, path: &Path) -> Result<(), Error> {
    if snapshot::write(shell, path).await {
        return Ok(());
    }
    Err(Error::Option(format!("cannot write the snapshot {}", path.display())))
}
