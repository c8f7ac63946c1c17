use std::path::Path;
use std::process::Stdio;
use std::time::{Duration, SystemTime};

use super::ProbeKind;

/// One probe, once. The error is a reason in words.
pub(super) async fn check(kind: &ProbeKind, client: Option<&reqwest::Client>, timeout: Duration) -> Result<(), String> {
    let checking = async {
        match kind {
            ProbeKind::Http { url } => http(client, url).await,
            ProbeKind::Tcp { address } => tcp(address).await,
            ProbeKind::File { path, age_max } => file(path, *age_max).await,
            ProbeKind::Command { command } => run(command).await,
        }
    };
    match tokio::time::timeout(timeout, checking).await {
        Ok(found) => found,
        Err(_) => Err(format!("no answer within {} ms", timeout.as_millis())),
    }
}

async fn http(client: Option<&reqwest::Client>, url: &str) -> Result<(), String> {
    let client = client.ok_or("no HTTP client could be made")?;
    let answer = client.get(url).send().await.map_err(|error| crate::chain(&error.without_url()))?;
    if answer.status().is_success() { Ok(()) } else { Err(format!("answered {}", answer.status())) }
}

async fn tcp(address: &str) -> Result<(), String> {
    let connected = tokio::net::TcpStream::connect(address).await;
    connected.map(drop).map_err(|error| format!("cannot connect to {address}: {error}"))
}

async fn file(path: &Path, age_max: Duration) -> Result<(), String> {
    let written = tokio::fs::metadata(path).await.and_then(|meta| meta.modified());
    let written = written.map_err(|error| format!("{}: {error}", path.display()))?;
    // A file from the future was written while the clock was wrong; it counts as fresh.
    let age = SystemTime::now().duration_since(written).unwrap_or_default();
    if age <= age_max {
        return Ok(());
    }
    Err(format!("{} was last written {} ms ago", path.display(), age.as_millis()))
}

async fn run(command: &[String]) -> Result<(), String> {
    let (program, arguments) = command.split_first().ok_or("there is no command")?;
    let child = tokio::process::Command::new(program)
        .args(arguments)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .kill_on_drop(true)
        .status();
    let status = child.await.map_err(|error| format!("cannot run {program}: {error}"))?;
    if status.success() { Ok(()) } else { Err(format!("{program} ended with {status}")) }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PATIENCE: Duration = Duration::from_secs(60);

    async fn failing(kind: ProbeKind) -> Option<String> {
        check(&kind, None, PATIENCE).await.err()
    }

    #[tokio::test]
    async fn a_port_that_takes_connections_passes() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        assert_eq!(failing(ProbeKind::Tcp { address: address.clone() }).await, None);
        drop(listener);
        assert!(failing(ProbeKind::Tcp { address }).await.unwrap().contains("cannot connect"));
    }

    #[tokio::test]
    async fn a_file_passes_while_it_is_fresh() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let kind = |age_max| ProbeKind::File { path: file.path().to_owned(), age_max };
        assert_eq!(failing(kind(PATIENCE)).await, None);
        file.as_file().set_modified(SystemTime::now() - PATIENCE * 2).unwrap();
        assert!(failing(kind(PATIENCE)).await.unwrap().contains("last written"));
        let missing = ProbeKind::File { path: "/nonexistent".into(), age_max: PATIENCE };
        assert!(failing(missing).await.is_some());
    }

    #[tokio::test]
    async fn a_command_passes_by_its_exit_code() {
        let kind = |script: &str| ProbeKind::Command { command: ["sh", "-c", script].map(str::to_owned).to_vec() };
        assert_eq!(failing(kind("exit 0")).await, None);
        assert!(failing(kind("exit 3")).await.unwrap().contains('3'));
        let slow = check(&kind("sleep 600"), None, Duration::from_millis(20)).await;
        assert_eq!(slow, Err("no answer within 20 ms".to_owned()));
    }

    #[tokio::test]
    async fn http_passes_by_its_status() {
        let _ = rustls::crypto::ring::default_provider().install_default();
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let base = format!("http://{}", listener.local_addr().unwrap());
        let router = axum::Router::new().route("/good", axum::routing::get(|| async {}));
        tokio::spawn(async move { axum::serve(listener, router).await });
        let client = reqwest::Client::new();
        let ask = async |path| check(&ProbeKind::Http { url: format!("{base}{path}") }, Some(&client), PATIENCE).await;
        assert_eq!(ask("/good").await, Ok(()));
        assert_eq!(ask("/bad").await, Err("answered 404 Not Found".to_owned()));
    }
}
