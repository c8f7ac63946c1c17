use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use azure_core::cloud::CloudConfiguration;
use azure_core::http::{AsyncRawResponse, ClientOptions, HttpClient, Request, RetryOptions, Url};

/// How the library reaches the authority: with our TLS, our patience and no repetition of its own.
pub(super) struct Transport {
    http: reqwest::Client,
    instead: Option<Url>,
}

/// What the library asks when nothing else is said.
#[derive(Clone, Copy)]
pub(super) enum Endpoint {
    Authority,
    Metadata,
}

impl Endpoint {
    fn host(self) -> &'static str {
        match self {
            Self::Authority => "login.microsoftonline.com",
            Self::Metadata => "169.254.169.254",
        }
    }
}

impl Transport {
    pub(super) fn new(authority: Option<&str>, ca_pem: Option<&[u8]>, near: bool) -> Result<Self, String> {
        let instead = authority.map(address).transpose()?;
        let without_proxy = near || instead.as_ref().is_some_and(is_on_this_machine);
        let http = http_client(ca_pem, without_proxy).map_err(|error| error.to_string())?;
        Ok(Self { http, instead })
    }

    pub(super) fn options(&self, endpoint: Endpoint) -> ClientOptions {
        let http: Arc<dyn HttpClient> = match self.instead.clone() {
            Some(to) => Arc::new(Redirect { http: self.http.clone(), from: endpoint.host(), to }),
            None => Arc::new(self.http.clone()),
        };
        ClientOptions {
            retry: RetryOptions::none(),
            transport: Some(azure_core::http::Transport::new(http)),
            // Named, so that AZURE_AUTHORITY_HOST does not compete with the configuration.
            cloud: self.instead.as_ref().map(|_| Arc::new(CloudConfiguration::AzurePublic)),
            ..ClientOptions::default()
        }
    }
}

fn address(text: &str) -> Result<Url, String> {
    let url = Url::parse(text).map_err(|error| format!("{text:?} is no address of an authority: {error}"))?;
    match url.scheme() {
        "https" => Ok(url),
        "http" if is_on_this_machine(&url) => Ok(url),
        _ => Err(format!("{text:?}: a token authority off this machine is asked over https only")),
    }
}

fn is_on_this_machine(url: &Url) -> bool {
    matches!(url.host_str(), Some("localhost" | "127.0.0.1" | "[::1]"))
}

fn http_client(ca_pem: Option<&[u8]>, without_proxy: bool) -> reqwest::Result<reqwest::Client> {
    // Fails only when a provider is installed already, which is just as well.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let mut builder = reqwest::Client::builder()
        .user_agent(concat!("iotedge-ha/", env!("CARGO_PKG_VERSION")))
        .connect_timeout(Duration::from_secs(5))
        .timeout(Duration::from_secs(20))
        .redirect(reqwest::redirect::Policy::none())
        .retry(reqwest::retry::never());
    if let Some(pem) = ca_pem {
        builder = builder.tls_certs_merge(reqwest::Certificate::from_pem_bundle(pem)?);
    }
    if without_proxy {
        builder = builder.no_proxy();
    }
    builder.build()
}

/// Asks elsewhere what is meant for `from`.
#[derive(Debug)]
struct Redirect {
    http: reqwest::Client,
    from: &'static str,
    to: Url,
}

#[async_trait]
impl HttpClient for Redirect {
    async fn execute_request(&self, request: &Request) -> azure_core::Result<AsyncRawResponse> {
        if request.url().host_str() != Some(self.from) {
            return self.http.execute_request(request).await;
        }
        let mut request = request.clone();
        let url = request.url_mut();
        let mut to = self.to.clone();
        to.set_path(&format!("{}{}", self.to.path().trim_end_matches('/'), url.path()));
        to.set_query(url.query());
        *url = to;
        self.http.execute_request(&request).await
    }
}
