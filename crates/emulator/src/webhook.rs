//! The client that calls webhooks: Event Grid subscriptions and routed endpoints.

use std::sync::OnceLock;

/// Made at the first use: most hubs call nobody.
#[derive(Debug, Default)]
pub(crate) struct Webhooks {
    ca_pem: String,
    client: OnceLock<Option<reqwest::Client>>,
}

impl Webhooks {
    /// Trusts the system's authorities and this one.
    pub(crate) fn trusting(ca_pem: String) -> Self {
        Self { ca_pem, client: OnceLock::new() }
    }

    /// The client; `None` if TLS cannot be set up, which was logged.
    pub(crate) fn client(&self) -> Option<&reqwest::Client> {
        self.client.get_or_init(|| self.build()).as_ref()
    }

    fn build(&self) -> Option<reqwest::Client> {
        let own = reqwest::Certificate::from_pem(self.ca_pem.as_bytes()).ok();
        let client = reqwest::Client::builder()
            // A redirect is no success; nobody should follow one with somebody's events.
            .redirect(reqwest::redirect::Policy::none())
            .tls_certs_merge(own)
            .build();
        client.inspect_err(|e| tracing::error!(error = %e, "webhooks cannot be called")).ok()
    }
}
