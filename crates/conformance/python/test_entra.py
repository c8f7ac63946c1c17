"""The service SDK with bearer tokens instead of a connection string."""

import json
import ssl
import time
import unittest
import urllib.parse
import urllib.request

import hub
from azure.core.credentials import AccessToken
from azure.iot.hub import IoTHubConfigurationManager, IoTHubRegistryManager
from azure.iot.hub.models import QuerySpecification, Twin
from hub import refused

TOKENS = "https://localhost/_emulator/entra/11111111-2222-3333-4444-555555555555/oauth2/v2.0/token"


class Credential:
    """Takes tokens from the emulator's own authority, as azure-identity takes them from Entra's."""

    def get_token(self, *scopes, **kwargs):
        form = {"grant_type": "client_credentials", "client_id": "a-test", "client_secret": hub.CONTROL_TOKEN, "scope": " ".join(scopes)}
        context = ssl.create_default_context(cafile=hub.CA_FILE)
        with urllib.request.urlopen(TOKENS, urllib.parse.urlencode(form).encode(), context=context) as answer:
            body = json.load(answer)
        return AccessToken(body["access_token"], int(time.time()) + int(body["expires_in"]))


class Stranger:
    def get_token(self, *scopes, **kwargs):
        return AccessToken("no.such.token", int(time.time()) + 3600)


class Bearer(unittest.TestCase):
    def test_a_registry(self):
        registry = IoTHubRegistryManager.from_token_credential(hub.HOST, Credential())
        name = hub.unique("device")
        registry.create_device_with_sas(name, hub.KEY, hub.OTHER_KEY, "enabled")
        registry.update_twin(name, Twin(tags={"site": "m1"}))
        found = registry.query_iot_hub(QuerySpecification(query=f"SELECT * FROM devices WHERE deviceId = '{name}'"))
        self.assertEqual(found.items[0].tags, {"site": "m1"})
        # Modules of nobody: "not found", where a shared access policy hears "unauthorised".
        with refused(self, 404, "DeviceNotFound"):
            registry.get_modules(hub.unique("nobody"))

    def test_configurations(self):
        manager = IoTHubConfigurationManager.from_token_credential(hub.HOST, Credential())
        self.assertEqual(manager.get_configurations(), [])

    def test_a_stranger(self):
        with self.assertRaises(hub.HttpOperationError) as caught:
            IoTHubRegistryManager.from_token_credential(hub.HOST, Stranger()).get_devices()
        self.assertEqual(caught.exception.response.status_code, 401)
