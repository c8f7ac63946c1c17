//! The workload sockets, as a module uses them.

use std::collections::BTreeMap;

use ha_wire::sas::Unsigned;
use ha_wire::workload::{SignAnswer, SignRequest, TrustBundle, sign_path, trust_bundle_path};
use serde_json::{Value, json};

use super::module::Module;
use super::{DEVICE, Site, timings};

struct Socket {
    client: reqwest::Client,
}

impl Socket {
    fn open(environment: &BTreeMap<String, String>) -> Self {
        let path = environment["IOTEDGE_WORKLOADURI"].strip_prefix("unix://").expect("a socket");
        Self { client: reqwest::Client::builder().unix_socket(path).build().expect("a client") }
    }

    async fn get(&self, path: &str) -> (u16, Value) {
        let answer = self.client.get(format!("http://workload{path}")).send().await.expect("an answer");
        (answer.status().as_u16(), answer.json().await.expect("JSON"))
    }

    async fn post(&self, path: &str, body: &Value) -> (u16, Value) {
        // As the Python SDK sends it: without a content type.
        let request = self.client.post(format!("http://workload{path}")).body(body.to_string());
        let answer = request.send().await.expect("an answer");
        (answer.status().as_u16(), answer.json().await.expect("JSON"))
    }
}

#[tokio::test]
async fn a_module_signs_as_itself_and_logs_in() {
    let site = Site::open(timings()).await;
    let environment: BTreeMap<_, _> = site.edge.module_environment("alpha").await.expect("alpha").into_iter().collect();
    let socket = Socket::open(&environment);
    let generation = &environment["IOTEDGE_MODULEGENERATIONID"];
    let (hub, device) = (&environment["IOTEDGE_IOTHUBHOSTNAME"], &environment["IOTEDGE_DEVICEID"]);
    let expiry = u64::try_from(jiff::Timestamp::now().as_second()).expect("after 1970") + 600;
    let unsigned = Unsigned::module(hub, device, "alpha", expiry);
    let body = serde_json::to_value(SignRequest::new(unsigned.string_to_sign().as_bytes())).expect("JSON");
    let (status, answer) = socket.post(&sign_path("alpha", generation), &body).await;
    assert_eq!(status, 200, "{answer}");
    let signed: SignAnswer = serde_json::from_value(answer).expect("a signature");
    Module::connect(&site, "alpha", &unsigned.assemble(&signed.digest)).await.expect("a good token");

    let (status, bundle) = socket.get(&trust_bundle_path()).await;
    let bundle: TrustBundle = serde_json::from_value(bundle).expect("a bundle");
    assert_eq!((status, bundle.certificate), (200, site.edge.trust_bundle.clone()));

    assert_eq!(socket.post(&sign_path("beta", generation), &body).await.0, 403, "somebody else's name");
    assert_eq!(socket.post(&sign_path("alpha", generation), &json!({"data": "%"})).await.0, 400);
    let path = sign_path("alpha", generation);
    assert_eq!(socket.post(path.split('?').next().expect("a path"), &body).await.0, 400, "no api-version");
}

#[tokio::test]
async fn what_a_module_encrypts_it_can_decrypt_and_nobody_else() {
    let site = Site::open(timings()).await;
    let open = async |module: &str| {
        let environment: BTreeMap<_, _> =
            site.edge.module_environment(module).await.expect("there").into_iter().collect();
        let generation = environment["IOTEDGE_MODULEGENERATIONID"].clone();
        let path = format!("/modules/{module}/genid/{generation}");
        (Socket::open(&environment), move |call: &str| format!("{path}/{call}?api-version=2019-01-30"))
    };
    let ((alpha, path_alpha), (beta, path_beta)) = (open("alpha").await, open("beta").await);
    let plain = json!({"plaintext": "c2VjcmV0", "initializationVector": "aXY="});
    let (status, sealed) = alpha.post(&path_alpha("encrypt"), &plain).await;
    assert_eq!(status, 200, "{sealed}");
    let sealed = json!({"ciphertext": sealed["ciphertext"], "initializationVector": "aXY="});
    assert_eq!(alpha.post(&path_alpha("decrypt"), &sealed).await, (200, json!({"plaintext": "c2VjcmV0"})));
    assert_eq!(beta.post(&path_beta("decrypt"), &sealed).await.0, 400, "it is not beta's");
    assert_eq!(beta.post(&path_alpha("decrypt"), &sealed).await.0, 403, "beta is not alpha");
    let (status, said) =
        alpha.post(&path_alpha("encrypt"), &json!({"plaintext": "%", "initializationVector": ""})).await;
    assert_eq!(status, 400);
    assert!(said["message"].as_str().is_some_and(|text| text.contains("not base64")), "{said}");
}

#[tokio::test]
async fn certificates_are_issued_and_modules_are_made_on_demand() {
    let site = Site::open(timings()).await;
    let environment: BTreeMap<_, _> =
        site.edge.module_environment("newcomer").await.expect("made").into_iter().collect();
    assert_eq!(
        (environment["IOTEDGE_DEVICEID"].as_str(), environment["IOTEDGE_MODULEID"].as_str()),
        (DEVICE, "newcomer")
    );
    assert!(site.hub.module_connection_string(DEVICE, "newcomer").is_some());
    let socket = Socket::open(&environment);
    let generation = &environment["IOTEDGE_MODULEGENERATIONID"];
    let path = format!("/modules/newcomer/genid/{generation}/certificate/server?api-version=2019-01-30");
    let (status, server) =
        socket.post(&path, &json!({"commonName": "press.local", "expiration": "2027-01-01T00:00:00Z"})).await;
    assert_eq!(status, 201, "{server}");
    assert_eq!(server["privateKey"]["type"], "key");
    assert!(server["certificate"].as_str().expect("PEM").matches("BEGIN CERTIFICATE").count() == 2, "the whole chain");
    let path = "/modules/newcomer/certificate/identity?api-version=2019-01-30";
    assert_eq!(socket.post(path, &json!({})).await.0, 201);
}
