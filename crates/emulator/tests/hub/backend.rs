//! A back end: REST with tokens of a policy.

use ha_wire::SharedAccessKey;
use ha_wire::sas::Unsigned;
use iotedge_ha_emulator::Running;
use reqwest::{Body, Method, StatusCode};
use serde_json::Value;

use super::device::{Login, PATIENCE, unix_s};

pub(crate) struct Backend {
    client: reqwest::Client,
    base: String,
    token: String,
    control: String,
}

pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: reqwest::header::HeaderMap,
    pub(crate) body: Value,
}

impl Answer {
    pub(crate) fn error_code(&self) -> &str {
        self.header("iothub-errorcode").unwrap_or_default()
    }

    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).and_then(|value| value.to_str().ok())
    }

    fn described<'a>(&'a self, method: &'a str, path: &'a str) -> ha_swagger::Answer<'a> {
        let (status, item_type) = (self.status.as_u16(), self.header("x-ms-item-type"));
        ha_swagger::Answer { method, path, status, item_type, body: &self.body }
    }
}

impl Backend {
    pub(crate) fn new(hub: &Running) -> Self {
        Self::with_policy(hub, "iothubowner")
    }

    pub(crate) fn with_policy(hub: &Running, policy: &str) -> Self {
        let text = hub.policy_connection_string(policy).expect("a policy");
        let key = text.split("SharedAccessKey=").nth(1).expect("a key");
        let key = SharedAccessKey::from_base64(key).expect("base64");
        let host = format!("localhost:{}", hub.https_addr.port());
        Self::with_token(hub, Unsigned::service(&host, policy, unix_s() + 600).sign(&key))
    }

    /// A device on its own paths, with its own token.
    pub(crate) fn device(hub: &Running, device: &str) -> Self {
        Self::with_token(hub, Login::of(hub, device, None).token)
    }

    /// The same for a module.
    pub(crate) fn module(hub: &Running, device: &str, module: &str) -> Self {
        Self::with_token(hub, Login::of(hub, device, Some(module)).token)
    }

    /// Without a token; `identity` is PEM of a certificate and its key.
    pub(crate) fn with_certificate(hub: &Running, identity: &str) -> Self {
        let identity = reqwest::Identity::from_pem(identity.as_bytes()).expect("PEM");
        Self::with_client(hub, String::new(), |builder| builder.identity(identity))
    }

    /// With any `Authorization` header.
    pub(crate) fn with_token(hub: &Running, token: String) -> Self {
        Self::with_client(hub, token, |builder| builder)
    }

    fn with_client(
        hub: &Running,
        token: String,
        adjust: impl FnOnce(reqwest::ClientBuilder) -> reqwest::ClientBuilder,
    ) -> Self {
        let _ = rustls::crypto::ring::default_provider().install_default();
        let ca = reqwest::Certificate::from_pem(hub.ca_pem.as_bytes()).expect("PEM");
        let builder = reqwest::Client::builder().tls_certs_only([ca]).timeout(PATIENCE);
        Self {
            client: adjust(builder).build().expect("a client"),
            base: format!("https://localhost:{}", hub.https_addr.port()),
            token,
            control: hub.control_token().to_owned(),
        }
    }

    /// From what a hub in another process has printed.
    pub(crate) fn from_env(connection_string: &str, control_token: &str, ca_pem: &str) -> Self {
        let _ = rustls::crypto::ring::default_provider().install_default();
        let part = |name: &str| {
            let part = connection_string.split(';').find_map(|part| part.strip_prefix(&format!("{name}=")));
            part.expect("a part of the connection string")
        };
        let key = SharedAccessKey::from_base64(part("SharedAccessKey")).expect("base64");
        let host = part("HostName");
        let ca = reqwest::Certificate::from_pem(ca_pem.as_bytes()).expect("PEM");
        Self {
            client: reqwest::Client::builder().tls_certs_only([ca]).timeout(PATIENCE).build().expect("a client"),
            base: format!("https://{host}"),
            token: Unsigned::service(host, "iothubowner", unix_s() + 600).sign(&key),
            control: control_token.to_owned(),
        }
    }

    pub(crate) async fn get(&self, path: &str) -> Answer {
        self.call(Method::GET, path, None, None).await
    }

    pub(crate) async fn put(&self, path: &str, body: Value) -> Answer {
        self.call(Method::PUT, path, None, Some(body)).await
    }

    pub(crate) async fn patch(&self, path: &str, body: Value) -> Answer {
        self.call(Method::PATCH, path, None, Some(body)).await
    }

    pub(crate) async fn post(&self, path: &str, body: Value) -> Answer {
        self.call(Method::POST, path, None, Some(body)).await
    }

    pub(crate) async fn call(&self, method: Method, path: &str, if_match: Option<&str>, body: Option<Value>) -> Answer {
        self.try_call(method, path, if_match, body).await.expect("an answer")
    }

    pub(crate) async fn try_call(
        &self,
        method: Method,
        path: &str,
        if_match: Option<&str>,
        body: Option<Value>,
    ) -> reqwest::Result<Answer> {
        let mark = if path.contains('?') { '&' } else { '?' };
        let url = format!("{}{path}{mark}api-version=2021-04-12", self.base);
        let mut request = self.client.request(method.clone(), url).header("authorization", &self.token);
        if let Some(etag) = if_match {
            request = request.header("if-match", etag);
        }
        if let Some(body) = body {
            request = request.json(&body);
        }
        let answer = answer(request).await?;
        answer.described(method.as_str(), path).check();
        Ok(answer)
    }

    /// Posts text with headers, as devices do.
    pub(crate) async fn post_raw(&self, path: &str, headers: &[(&str, &str)], body: &str) -> Answer {
        let url = format!("{}{path}?api-version=2021-04-12", self.base);
        let request = self.client.post(url).header("authorization", &self.token).body(body.to_owned());
        let request = headers.iter().fold(request, |request, (name, value)| request.header(*name, *value));
        answer(request).await.expect("an answer")
    }

    /// Writes to a blob, with the signature in the address and no other credentials; gives status and error code.
    pub(crate) async fn put_blob(&self, path: &str, headers: &[(&str, &str)], body: impl Into<Body>) -> (u16, String) {
        let request = self.client.put(format!("{}{path}", self.base)).body(body);
        let request = headers.iter().fold(request, |request, (name, value)| request.header(*name, *value));
        let response = request.send().await.expect("an answer");
        let code = response.headers().get("x-ms-error-code").map(|code| code.to_str().expect("text").to_owned());
        (response.status().as_u16(), code.unwrap_or_default())
    }

    /// Sends a message by the emulator's own call.
    pub(crate) async fn send_to_device(&self, device: &str, headers: &[(&str, &str)], body: &str) -> Answer {
        let url = format!("{}/_emulator/v1/devices/{device}/messages/deviceBound", self.base);
        let request = self.client.post(url).bearer_auth(&self.control).body(body.to_owned());
        let request = headers.iter().fold(request, |request, (name, value)| request.header(*name, *value));
        answer(request).await.expect("an answer")
    }

    /// Sends a form without credentials in a header.
    pub(crate) async fn form(&self, path: &str, form: String) -> Answer {
        let request = self.client.post(format!("{}{path}", self.base)).body(form);
        answer(request.header("content-type", "application/x-www-form-urlencoded")).await.expect("an answer")
    }

    /// Asks with one header and nothing else.
    pub(crate) async fn get_with(&self, path: &str, name: &str, value: &str) -> Answer {
        answer(self.client.get(format!("{}{path}", self.base)).header(name, value)).await.expect("an answer")
    }

    /// A file that takes no credentials.
    pub(crate) async fn file(&self, path: &str) -> (reqwest::header::HeaderMap, String) {
        let response = self.client.get(format!("{}{path}", self.base)).send().await.expect("an answer");
        assert_eq!(response.status(), 200, "{path}");
        (response.headers().clone(), response.text().await.expect("text"))
    }

    /// Content type and text of the metrics.
    pub(crate) async fn metrics(&self) -> (String, String) {
        let request = self.client.get(format!("{}/_emulator/metrics", self.base)).bearer_auth(&self.control);
        let response = request.send().await.expect("an answer");
        let content_type = response.headers()["content-type"].to_str().expect("text").to_owned();
        (content_type, response.text().await.expect("text"))
    }

    /// A control call that may find the hub down.
    pub(crate) async fn try_control(&self, method: Method, path: &str) -> reqwest::Result<Answer> {
        let url = format!("{}/_emulator/v1{path}", self.base);
        answer(self.client.request(method, url).bearer_auth(&self.control)).await
    }

    pub(crate) async fn control(&self, method: Method, path: &str, body: Option<Value>) -> Answer {
        let url = format!("{}/_emulator/v1{path}", self.base);
        let mut request = self.client.request(method, url).bearer_auth(&self.control);
        if let Some(body) = body {
            request = request.json(&body);
        }
        answer(request).await.expect("an answer")
    }
}

async fn answer(request: reqwest::RequestBuilder) -> reqwest::Result<Answer> {
    let response = request.send().await?;
    let (status, headers) = (response.status(), response.headers().clone());
    let bytes = response.bytes().await?;
    let body = match bytes.as_ref() {
        [] => Value::Null,
        bytes if headers.contains_key("content-type") => serde_json::from_slice(bytes).expect("JSON"),
        bytes => String::from_utf8_lossy(bytes).into(),
    };
    Ok(Answer { status, headers, body })
}
