//! Keys of a shared access policy that change while a client is at work.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use ha_emulator::{Emulator, Running, Seed};
use ha_wire::{ConnectionString, Secret};
use iotedge_ha_iothub::management::{Bearer, Error as ManagementError, Hub, Management, Resource, TokenFuture};
use iotedge_ha_iothub::{Call, Client, Error, Options, ReadStrings, management};
use serde_json::json;
use tokio::time::Instant;

struct Fixed(String);

impl Bearer for Fixed {
    fn token<'a>(&'a self, _: &'a str) -> TokenFuture<'a> {
        Box::pin(async { Ok(Secret::new(&self.0)) })
    }
}

/// 32 bytes in base64, told apart by a letter.
fn key(letter: char) -> String {
    format!("{}A=", letter.to_string().repeat(42))
}

async fn hub() -> Running {
    let seed = vec![Seed::parse("leaf").unwrap()];
    let control_plane = ha_emulator::ControlPlane { takes: Duration::ZERO, ..Default::default() };
    Emulator::start(ha_emulator::Options { seed, control_plane, ..Default::default() }).await.unwrap()
}

/// As an operator does with `az iot hub policy renew-key`.
async fn set_keys(hub: &Running, primary: &str, secondary: &str) {
    let id = hub.resource_id();
    let part = |n: usize| id.split('/').nth(n).unwrap().to_owned();
    let resource = Resource { subscription: part(2), group: part(4), name: part(8) };
    let options = management::Options {
        endpoint: hub.https_url(),
        ca_pem: Some(hub.ca_pem.clone().into()),
        poll: Duration::from_millis(5),
        ..Default::default()
    };
    let token = hub.bearer_token("operator", "https://management.azure.com").unwrap();
    let management = Management::new(resource, Arc::new(Fixed(token)), &options).unwrap();
    // A hub that is read shows no keys, so the edit never sees its own work: it is done once.
    let mut written = false;
    let edit = |found: &mut Hub| {
        if std::mem::replace(&mut written, true) {
            return Ok(());
        }
        let mut document = found.as_json().clone();
        document["properties"]["authorizationPolicies"] = json!([{
            "keyName": "ours", "rights": "RegistryWrite, ServiceConnect", "primaryKey": primary, "secondaryKey": secondary
        }]);
        *found = Hub::from_json(document).unwrap();
        Ok(())
    };
    let until = Instant::now() + Duration::from_secs(60);
    management.change::<ManagementError>(until, edit, &|_| {}).await.unwrap();
}

fn string(hub: &Running, key: &str) -> ConnectionString {
    let host = hub.https_url().trim_start_matches("https://").to_owned();
    format!("HostName={host};SharedAccessKeyName=ours;SharedAccessKey={key}").parse().unwrap()
}

fn client(hub: &Running, place: &Arc<Mutex<Vec<ConnectionString>>>) -> Client {
    let place = Arc::clone(place);
    let read: ReadStrings = Arc::new(move || Ok(place.lock().unwrap().clone()));
    Client::with_strings(read, &Options { ca_pem: Some(hub.ca_pem.clone().into()), ..Options::default() }).unwrap()
}

#[tokio::test]
async fn both_keys_are_rotated_under_a_client_that_works_on() {
    let hub = hub().await;
    let [a, b, c, d, e] = ['a', 'b', 'c', 'd', 'e'].map(key);
    set_keys(&hub, &a, &b).await;
    let place = Arc::new(Mutex::new(vec![string(&hub, &a), string(&hub, &b)]));
    let client = client(&hub, &place);
    let call = Call::within(Duration::from_secs(60));
    let works = async || client.twin("leaf", None, &call).await.unwrap().device_id == "leaf";
    assert!(works().await);
    // The primary key is renewed: the secondary serves, before anybody has written the new one down.
    set_keys(&hub, &c, &b).await;
    assert!(works().await);
    *place.lock().unwrap() = vec![string(&hub, &c), string(&hub, &b)];
    // Then the secondary: the place is read anew.
    set_keys(&hub, &c, &d).await;
    assert!(works().await);
    // Neither is known any more, and that is said.
    set_keys(&hub, &a, &e).await;
    let refused = client.twin("leaf", None, &call).await.unwrap_err();
    assert!(matches!(refused, Error::Unauthorised(_)), "{refused}");
    *place.lock().unwrap() = vec![string(&hub, &a)];
    assert!(works().await);
}
