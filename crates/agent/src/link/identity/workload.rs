use std::time::Duration;

use ha_wire::workload::{SignAnswer, SignRequest, TrustBundle, sign_path, trust_bundle_path};

use super::Error;

/// What IoT Edge tells each module through its environment.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct WorkloadEnvironment {
    /// The hub's name.
    pub hub: String,
    /// edgeHub's name.
    pub gateway: Option<String>,
    /// The device's id.
    pub device: String,
    /// The module's id.
    pub module: String,
    /// Where the workload API is.
    pub uri: String,
    /// Which making of the module's identity this is.
    pub generation: String,
}

impl WorkloadEnvironment {
    /// Whether this process was started by IoT Edge.
    pub fn is_given(variable: impl Fn(&str) -> Option<String>) -> bool {
        variable("IOTEDGE_WORKLOADURI").is_some()
    }

    /// Reads the `IOTEDGE_…` variables.
    pub fn read(variable: impl Fn(&str) -> Option<String>) -> Result<Self, Error> {
        let need = |name| variable(name).filter(|value| !value.is_empty()).ok_or(Error::Environment(name));
        Ok(Self {
            hub: need("IOTEDGE_IOTHUBHOSTNAME")?,
            gateway: variable("IOTEDGE_GATEWAYHOSTNAME").filter(|value| !value.is_empty()),
            device: need("IOTEDGE_DEVICEID")?,
            module: need("IOTEDGE_MODULEID")?,
            uri: need("IOTEDGE_WORKLOADURI")?,
            generation: need("IOTEDGE_MODULEGENERATIONID")?,
        })
    }
}

/// The workload API: signs for this module and tells whom to trust.
#[derive(Clone, Debug)]
pub struct Workload {
    client: reqwest::Client,
    base: String,
    sign_path: String,
}

const TIMEOUT: Duration = Duration::from_secs(10);
const ANSWER_BYTES_MAX: usize = 1_024 * 1_024;
/// The daemon closes an eleventh connection without a word, and is away for seconds when it restarts.
const TRIES: u32 = 4;

impl Workload {
    /// Prepares to speak with it.
    pub fn new(environment: &WorkloadEnvironment) -> Result<Self, Error> {
        let builder = reqwest::Client::builder().timeout(TIMEOUT).pool_max_idle_per_host(0).no_proxy();
        let (builder, base) = match environment.uri.strip_prefix("unix://") {
            Some(path) => (builder.unix_socket(path), "http://workload".to_owned()),
            None => (builder, environment.uri.trim_end_matches('/').to_owned()),
        };
        let client = builder.build().map_err(|source| Error::Workload { what: "get a client", source })?;
        let sign_path = sign_path(&environment.module, &environment.generation);
        Ok(Self { client, base, sign_path })
    }

    pub(super) async fn sign(&self, data: &[u8]) -> Result<String, Error> {
        let url = format!("{}{}", self.base, self.sign_path);
        let body = SignRequest::new(data);
        let answer = self.ask("sign", || self.client.post(&url).json(&body)).await?;
        let signed: SignAnswer = serde_json::from_slice(&answer).map_err(|_| Error::WorkloadAnswer("signature"))?;
        Ok(signed.digest)
    }

    pub(super) async fn trust_bundle(&self) -> Result<Vec<u8>, Error> {
        let url = format!("{}{}", self.base, trust_bundle_path());
        let answer = self.ask("give the trust bundle", || self.client.get(&url)).await?;
        let bundle: TrustBundle = serde_json::from_slice(&answer).map_err(|_| Error::WorkloadAnswer("trust bundle"))?;
        Ok(bundle.certificate.into_bytes())
    }

    async fn ask(&self, what: &'static str, request: impl Fn() -> reqwest::RequestBuilder) -> Result<Vec<u8>, Error> {
        let mut tries = 0;
        loop {
            let failed = match self.ask_once(request()).await {
                Ok(answer) => return answer.ok_or(Error::WorkloadAnswer("answer: it is too long")),
                Err(source) => source,
            };
            tries += 1;
            if tries >= TRIES || failed.is_status() && !failed.status().is_some_and(|s| s.is_server_error()) {
                return Err(Error::Workload { what, source: failed });
            }
            tokio::time::sleep(Duration::from_millis(rand::random_range(50..300 << tries))).await;
        }
    }

    async fn ask_once(&self, request: reqwest::RequestBuilder) -> Result<Option<Vec<u8>>, reqwest::Error> {
        let mut response = request.send().await?.error_for_status()?;
        let mut answer = Vec::new();
        while let Some(chunk) = response.chunk().await? {
            if answer.len() + chunk.len() > ANSWER_BYTES_MAX {
                return Ok(None);
            }
            answer.extend_from_slice(&chunk);
        }
        Ok(Some(answer))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::path::Path;

    use axum::extract::Json;
    use axum::routing::{get, post};
    use serde_json::json;

    use super::super::Identity;
    use super::*;

    fn environment(uri: String) -> WorkloadEnvironment {
        let variables = BTreeMap::from([
            ("IOTEDGE_IOTHUBHOSTNAME", "hub.example".to_owned()),
            ("IOTEDGE_GATEWAYHOSTNAME", "edge-a".to_owned()),
            ("IOTEDGE_DEVICEID", "edge-a".to_owned()),
            ("IOTEDGE_MODULEID", "ha-agent".to_owned()),
            ("IOTEDGE_MODULEGENERATIONID", "42".to_owned()),
            ("IOTEDGE_WORKLOADURI", uri),
        ]);
        WorkloadEnvironment::read(|name| variables.get(name).cloned()).unwrap()
    }

    /// A workload API that signs with a fixed text and trusts a fresh CA.
    fn serve(path: &Path) {
        let ca = rcgen::generate_simple_self_signed(["edge-a".to_owned()]).unwrap().cert.pem();
        let sign = |Json(request): Json<SignRequest>| async move {
            assert!(
                String::from_utf8(request.decoded().unwrap()).unwrap().starts_with("hub.example%2Fdevices%2Fedge-a")
            );
            Json(json!({ "digest": "c2lnbmVk" }))
        };
        let router = axum::Router::new()
            .route("/modules/ha-agent/genid/42/sign", post(sign))
            .route("/trust-bundle", get(|| async move { Json(json!({ "certificate": ca })) }));
        let listener = tokio::net::UnixListener::bind(path).unwrap();
        tokio::spawn(async move { axum::serve(listener, router).await });
    }

    #[tokio::test]
    async fn the_socket_signs_and_tells_whom_to_trust() {
        let _ = rustls::crypto::ring::default_provider().install_default();
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("workload.sock");
        serve(&path);
        let identity = Identity::from_workload(environment(format!("unix://{}", path.display())), None).unwrap();
        assert_eq!(identity.host(), "edge-a");
        let (token, _) = identity.token(Duration::from_secs(60)).await.unwrap();
        assert!(token.contains("&sig=c2lnbmVk&se="), "{token}");
        identity.tls().await.unwrap();
    }

    #[tokio::test]
    async fn a_token_is_used_on_while_the_daemon_is_away() {
        let _ = rustls::crypto::ring::default_provider().install_default();
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("workload.sock");
        let identity = Identity::from_workload(environment(format!("unix://{}", path.display())), None).unwrap();
        assert!(identity.token(Duration::from_secs(60)).await.is_err());
        serve(&path);
        let first = identity.token(Duration::from_secs(60)).await.unwrap();
        std::fs::rename(&path, dir.path().join("away")).unwrap();
        assert_eq!(identity.token(Duration::from_secs(60)).await.unwrap(), first);
    }

    #[test]
    fn a_missing_variable_is_named() {
        let error = WorkloadEnvironment::read(|_| None).unwrap_err();
        assert!(error.to_string().contains("IOTEDGE_IOTHUBHOSTNAME"));
    }
}
