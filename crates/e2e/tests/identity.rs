//! Identities of Entra ID from outside: what the environment of a Function or a person's login gives, and what is said when it does not suffice.

use std::collections::BTreeMap;
use std::os::unix::fs::PermissionsExt;

use iotedge_ha_e2e::{Ran, Running, Stage, guide, port};

struct Site {
    stage: Stage,
    env: BTreeMap<String, String>,
    _hub: Running,
}

impl Site {
    fn open(more: &[&str]) -> Self {
        let stage = Stage::default();
        let device = ["--device=edge-1:edge:ha-agent"];
        let (hub, env) = stage.start_hub(&[&device, more].concat(), "EDGE_1_HA_AGENT_CONNECTION_STRING");
        Self { stage, env, _hub: hub }
    }

    fn host(&self) -> String {
        let port = port(&self.env["EMULATOR_HTTPS"]);
        format!("localhost:{port}")
    }

    fn config(&self, identity: &str) -> String {
        let text = format!(
            "[hub]\nhost = \"{}\"\nca_file = \"{}\"\n[hub.identity]\n{identity}\n\
             [[pool]]\nname = \"press_1\"\nmembers = [\"edge-1\"]\n",
            self.host(),
            self.env["IOTHUB_CA_FILE"]
        );
        self.stage.file("pools.toml", &text)
    }

    fn run(&self, args: &[&str], variables: &[(&str, &str)]) -> Ran {
        let mut command = self.stage.command(args);
        command.envs(variables.iter().copied());
        Ran::from(command.output().expect("the program starts"))
    }
}

#[test]
fn the_identity_of_a_function_app_lists_pools() {
    let site = Site::open(&[]);
    let config = site.config("source = \"managed\"");
    let endpoint = format!("https://{}/msi/token", site.host());
    let header = site.env["EMULATOR_CONTROL_TOKEN"].as_str();
    let variables = [("IDENTITY_ENDPOINT", endpoint.as_str()), ("IDENTITY_HEADER", header)];
    let ran = site.run(&["list", "--config", &config], &variables).expect(0);
    assert!(ran.stdout.contains("edge-1"), "{}", ran.stdout);
    let wrong = [("IDENTITY_ENDPOINT", endpoint.as_str()), ("IDENTITY_HEADER", "a-guess")];
    let ran = site.run(&["list", "--config", &config], &wrong).expect(4).says("no token from the managed identity");
    assert!(!ran.stderr.contains("a-guess"), "{}", ran.stderr);
}

#[test]
fn a_login_of_the_azure_cli_lists_pools() {
    let site = Site::open(&[]);
    let config = site.config("source = \"azure_cli\"");
    let ran = site.run(&["list", "--config", &config], &[("PATH", "/nowhere")]).expect(4);
    ran.says("no token from the Azure CLI");
    // What `az account get-access-token` does, from the emulator's authority.
    let script = format!(
        "#!/bin/sh\ntoken=$(curl --silent --cacert {} --header 'X-IDENTITY-HEADER: {}' \
         'https://{}/msi/token?resource=https%3A%2F%2Fiothubs.azure.net&api-version=2019-08-01' \
         | sed 's/.*\"access_token\":\"\\([^\"]*\\)\".*/\\1/')\n\
         echo \"{{\\\"tokenType\\\":\\\"Bearer\\\",\\\"accessToken\\\":\\\"$token\\\",\\\"expires_on\\\":$(($(date +%s) + 3600))}}\"\n",
        site.env["IOTHUB_CA_FILE"],
        site.env["EMULATOR_CONTROL_TOKEN"],
        site.host()
    );
    let az = site.stage.file("az", &script);
    std::fs::set_permissions(&az, std::fs::Permissions::from_mode(0o755)).expect("it can be made a program");
    let path = format!("{}:/usr/bin:/bin", site.stage.folder().display());
    let ran = site.run(&["list", "--config", &config], &[("PATH", &path)]).expect(0);
    assert!(ran.stdout.contains("edge-1"), "{}", ran.stdout);
}

#[test]
fn missing_rights_are_named_with_the_command_that_grants_them() {
    let site = Site::open(&["--entra-principal", "app=IoT Hub Data Reader"]);
    let authority = format!("https://{}/_emulator/entra", site.host());
    let config = site.config(&format!(
        "source = \"client_secret\"\ntenant = \"t\"\nclient_id = \"app\"\nauthority = \"{authority}\""
    ));
    let secret = [("AZURE_CLIENT_SECRET", site.env["EMULATOR_CONTROL_TOKEN"].as_str())];
    let ran = site.run(&["check", "--config", &config], &secret).expect(4);
    let said = format!("{}{}", ran.stdout, ran.stderr);
    for part in ["the identity lacks: ", "twins/write", "directMethods/invoke/action", "az role assignment create"] {
        assert!(said.contains(part), "{part}: {said}");
    }
    assert!(!said.contains(site.env["EMULATOR_CONTROL_TOKEN"].as_str()));
    let other = [("AZURE_CLIENT_SECRET", "another")];
    site.run(&["list", "--config", &config], &other).expect(4).says("AADSTS7000215");
    site.run(&["list", "--config", &config], &[]).expect(4).says("AZURE_CLIENT_SECRET");
}

#[test]
fn the_guides_commands_work() {
    let site = Site::open(&[]);
    let authority = format!("https://{}/_emulator/entra", site.host());
    site.config(&format!(
        "source = \"client_secret\"\ntenant = \"t\"\nclient_id = \"app\"\nauthority = \"{authority}\""
    ));
    let secret = [("AZURE_CLIENT_SECRET", site.env["EMULATOR_CONTROL_TOKEN"].as_str())];
    guide::run(&site.stage, "guides/identity.md", "", &secret).expect(0);
}
