"""IoTHubRegistryManager: identities of devices."""

import base64
import unittest

import hub
from azure.iot.hub import IoTHubRegistryManager

KEY = base64.b64encode(b"a key of the test, long enough").decode()
OTHER_KEY = base64.b64encode(b"another key of the test, as long").decode()


def registry():
    return IoTHubRegistryManager.from_connection_string(hub.SERVICE)


class Devices(unittest.TestCase):
    def setUp(self):
        self.registry = registry()

    def test_a_device_with_keys(self):
        name = hub.unique("device")
        made = self.registry.create_device_with_sas(name, KEY, OTHER_KEY, "enabled", status_reason="new")
        self.assertEqual((made.device_id, made.status, made.status_reason), (name, "enabled", "new"))
        self.assertEqual(made.authentication.type, "sas")
        self.assertEqual(made.authentication.symmetric_key.primary_key, KEY)
        self.assertEqual(made.authentication.symmetric_key.secondary_key, OTHER_KEY)
        self.assertEqual(made.connection_state, "Disconnected")
        self.assertEqual(made.cloud_to_device_message_count, 0)
        self.assertFalse(made.capabilities.iot_edge)

        read = self.registry.get_device(name)
        self.assertEqual((read.etag, read.generation_id), (made.etag, made.generation_id))

        with hub.refused(self) as said:
            self.registry.create_device_with_sas(name, KEY, OTHER_KEY, "enabled")
        self.assertEqual((said.status, said.name), (409, "DeviceAlreadyExists"))

        updated = self.registry.update_device_with_sas(name, made.etag, OTHER_KEY, KEY, "disabled")
        self.assertNotEqual(updated.etag, made.etag)
        self.assertEqual((updated.status, updated.generation_id), ("disabled", made.generation_id))
        self.assertEqual(updated.authentication.symmetric_key.primary_key, OTHER_KEY)

        with hub.refused(self) as said:
            self.registry.update_device_with_sas(name, made.etag, KEY, KEY, "enabled")
        self.assertEqual((said.status, said.name), (412, "PreconditionFailed"))
        with hub.refused(self) as said:
            self.registry.delete_device(name, made.etag)
        self.assertEqual((said.status, said.name), (412, "PreconditionFailed"))

        self.registry.delete_device(name, updated.etag)
        with hub.refused(self) as said:
            self.registry.get_device(name)
        self.assertEqual((said.status, said.name), (404, "DeviceNotFound"))
        self.assertIn(f"ErrorCode:DeviceNotFound;{name}", said.body["Message"])
