"""IoTHubRegistryManager: identities of devices and modules, bulk calls, statistics."""

import base64
import json
import unittest

import hub
from azure.iot.hub.models import ExportImportDevice
from hub import KEY, OTHER_KEY, refused

THUMBPRINT = "0123456789ABCDEF0123456789ABCDEF01234567"
OTHER_THUMBPRINT = "89ABCDEF0123456789ABCDEF0123456789ABCDEF"


class Devices(unittest.TestCase):
    def setUp(self):
        self.registry = hub.registry()

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
        with refused(self, 409, "DeviceAlreadyExists"):
            self.registry.create_device_with_sas(name, KEY, OTHER_KEY, "enabled")

        updated = self.registry.update_device_with_sas(name, made.etag, OTHER_KEY, KEY, "disabled", status_reason="old")
        self.assertNotEqual(updated.etag, made.etag)
        self.assertEqual((updated.status, updated.status_reason), ("disabled", "old"))
        self.assertEqual(updated.generation_id, made.generation_id)
        # "Never" comes without a time zone in the answer to a creation.
        self.assertIsNone(made.status_updated_time.tzinfo)
        self.assertGreater(updated.status_updated_time.replace(tzinfo=None), made.status_updated_time)
        self.assertEqual(updated.authentication.symmetric_key.primary_key, OTHER_KEY)

        with refused(self, 412, "PreconditionFailed"):
            self.registry.update_device_with_sas(name, made.etag, KEY, KEY, "enabled")
        with refused(self, 412, "PreconditionFailed"):
            self.registry.delete_device(name, made.etag)
        self.registry.delete_device(name, updated.etag)
        with refused(self, 404, "DeviceNotFound") as caught:
            self.registry.get_device(name)
        self.assertIn(f"ErrorCode:DeviceNotFound;{name}", json.loads(caught.exception.response.text)["Message"])

    def test_keys_that_are_left_out_are_made(self):
        name = hub.unique("device")
        keys = self.registry.create_device_with_sas(name, None, None, "enabled").authentication.symmetric_key
        self.assertNotEqual(keys.primary_key, keys.secondary_key)
        self.assertGreaterEqual(len(base64.b64decode(keys.primary_key)), 16)

    def test_a_device_that_comes_back_is_another_one(self):
        name = hub.make_device()
        first = self.registry.get_device(name)
        self.registry.delete_device(name)
        again = self.registry.create_device_with_sas(name, KEY, OTHER_KEY, "enabled")
        self.assertNotEqual(again.generation_id, first.generation_id)

    def test_a_device_with_thumbprints(self):
        name = hub.unique("device")
        made = self.registry.create_device_with_x509(name, THUMBPRINT, OTHER_THUMBPRINT, "enabled")
        self.assertEqual(made.authentication.type, "selfSigned")
        self.assertEqual(made.authentication.x509_thumbprint.primary_thumbprint, THUMBPRINT)
        self.assertEqual(made.authentication.x509_thumbprint.secondary_thumbprint, OTHER_THUMBPRINT)
        updated = self.registry.update_device_with_x509(name, made.etag, OTHER_THUMBPRINT, THUMBPRINT, "disabled")
        self.assertEqual(updated.authentication.x509_thumbprint.primary_thumbprint, OTHER_THUMBPRINT)
        self.assertEqual(self.registry.get_twin(name).authentication_type, "selfSigned")

    def test_a_device_of_an_authority(self):
        name = hub.unique("device")
        made = self.registry.create_device_with_certificate_authority(name, "enabled")
        self.assertEqual(made.authentication.type, "certificateAuthority")
        updated = self.registry.update_device_with_certificate_authority(name, made.etag, "disabled")
        self.assertEqual((updated.authentication.type, updated.status), ("certificateAuthority", "disabled"))
        changed = self.registry.update_device_with_sas(name, None, KEY, OTHER_KEY, "enabled")
        self.assertEqual((changed.authentication.type, changed.status), ("sas", "enabled"))

    def test_edge_devices_and_their_children(self):
        name = hub.unique("edge")
        edge = self.registry.create_device_with_sas(name, KEY, OTHER_KEY, "enabled", iot_edge=True)
        self.assertTrue(edge.capabilities.iot_edge)
        self.assertRegex(edge.device_scope, f"^ms-azure-iot-edge://{name}-[0-9]+$")
        modules = {module.module_id: module for module in self.registry.get_modules(name)}
        self.assertEqual(sorted(modules), ["$edgeAgent", "$edgeHub"])
        self.assertEqual({module.managed_by for module in modules.values()}, {"iotEdge"})

        leaf = hub.unique("leaf")
        made = self.registry.create_device_with_sas(leaf, KEY, OTHER_KEY, "enabled", device_scope=edge.device_scope)
        self.assertEqual(made.device_scope, edge.device_scope)
        self.assertEqual(made.parent_scopes, [edge.device_scope])
        child = hub.unique("child")
        made = self.registry.create_device_with_sas(
            child, KEY, OTHER_KEY, "enabled", iot_edge=True, parent_scopes=[edge.device_scope]
        )
        self.assertNotEqual(made.device_scope, edge.device_scope)
        self.assertEqual(made.parent_scopes, [edge.device_scope])

    def test_what_the_hub_does_not_take(self):
        with refused(self, 400, "ArgumentInvalid"):
            self.registry.create_device_with_sas("no blank", KEY, OTHER_KEY, "enabled")
        with refused(self, 400, "ArgumentInvalid"):
            self.registry.create_device_with_sas(hub.unique("device"), "no base64!", OTHER_KEY, "enabled")
        with refused(self, 404, "DeviceNotFound"):
            self.registry.update_device_with_sas(hub.unique("nobody"), None, KEY, OTHER_KEY, "enabled")
        with refused(self, 404, "DeviceNotFound"):
            self.registry.delete_device(hub.unique("nobody"))

    def test_odd_ids(self):
        name = hub.unique("-:.+%_#*?!(),=@;$'")
        made = self.registry.create_device_with_sas(name, KEY, OTHER_KEY, "enabled")
        self.assertEqual(made.device_id, name)
        self.assertEqual(self.registry.get_device(name).device_id, name)
        self.assertEqual(self.registry.get_twin(name).device_id, name)
        self.registry.delete_device(name)

    def test_a_list_of_devices(self):
        names = {hub.make_device() for _ in range(3)}
        self.assertLessEqual(names, {device.device_id for device in self.registry.get_devices()})
        self.assertEqual(len(self.registry.get_devices(2)), 2)

    def test_a_policy_that_may_only_read(self):
        with self.assertRaises(Exception) as caught:
            hub.IoTHubRegistryManager.from_connection_string("HostName=localhost;SharedAccessKeyName=service")
        self.assertIsInstance(caught.exception, ValueError)
        wrong = hub.SERVICE.split("SharedAccessKey=")[0] + "SharedAccessKey=" + KEY
        with refused(self, 401, "IotHubUnauthorizedAccess"):
            hub.IoTHubRegistryManager.from_connection_string(wrong).get_devices()


class Modules(unittest.TestCase):
    def setUp(self):
        self.registry = hub.registry()
        self.device = hub.make_device()

    def test_a_module_with_keys(self):
        made = self.registry.create_module_with_sas(self.device, "filter", "somebody", KEY, OTHER_KEY)
        self.assertEqual((made.device_id, made.module_id, made.managed_by), (self.device, "filter", "somebody"))
        self.assertEqual(made.authentication.symmetric_key.primary_key, KEY)
        with refused(self, 409, "ModuleAlreadyExistsOnDevice"):
            self.registry.create_module_with_sas(self.device, "filter", "", KEY, OTHER_KEY)
        read = self.registry.get_module(self.device, "filter")
        self.assertEqual((read.etag, read.generation_id), (made.etag, made.generation_id))

        updated = self.registry.update_module_with_sas(self.device, "filter", "other", made.etag, OTHER_KEY, KEY)
        self.assertEqual(updated.managed_by, "other")
        self.assertEqual(updated.authentication.symmetric_key.primary_key, OTHER_KEY)
        with refused(self, 412, "PreconditionFailed"):
            self.registry.update_module_with_sas(self.device, "filter", "", made.etag, KEY, OTHER_KEY)
        with refused(self, 412, "PreconditionFailed"):
            self.registry.delete_module(self.device, "filter", made.etag)
        self.registry.delete_module(self.device, "filter", updated.etag)
        with refused(self, 404, "ModuleNotFound"):
            self.registry.get_module(self.device, "filter")

    def test_modules_with_certificates(self):
        made = self.registry.create_module_with_x509(self.device, "own", "", THUMBPRINT, OTHER_THUMBPRINT)
        self.assertEqual(made.authentication.type, "selfSigned")
        made = self.registry.update_module_with_x509(
            self.device, "own", "", made.etag, OTHER_THUMBPRINT, THUMBPRINT
        )
        self.assertEqual(made.authentication.x509_thumbprint.primary_thumbprint, OTHER_THUMBPRINT)
        made = self.registry.create_module_with_certificate_authority(self.device, "authority", "")
        self.assertEqual(made.authentication.type, "certificateAuthority")
        made = self.registry.update_module_with_certificate_authority(self.device, "authority", "me", made.etag)
        self.assertEqual((made.authentication.type, made.managed_by), ("certificateAuthority", "me"))
        self.assertEqual(len(self.registry.get_modules(self.device)), 2)

    def test_the_names_of_the_runtime_are_taken(self):
        with refused(self, 400, "ArgumentInvalid"):
            self.registry.create_module_with_sas(self.device, "$mine", "", KEY, OTHER_KEY)

    def test_modules_of_nobody(self):
        with refused(self, 401, "IotHubUnauthorizedAccess"):
            self.registry.create_module_with_sas(hub.unique("nobody"), "filter", "", KEY, OTHER_KEY)


class Bulk(unittest.TestCase):
    def setUp(self):
        self.registry = hub.registry()

    def test_made_changed_and_deleted_at_once(self):
        names = [hub.unique("bulk") for _ in range(3)]
        made = self.registry.bulk_create_or_update_devices(
            [ExportImportDevice(id=name, import_mode="create", tags={"n": n}) for n, name in enumerate(names)]
        )
        self.assertTrue(made.is_successful)
        self.assertEqual((made.errors, made.warnings), ([], []))
        self.assertEqual(self.registry.get_twin(names[2]).tags, {"n": 2})

        device = self.registry.get_device(names[0])
        changed = self.registry.bulk_create_or_update_devices(
            [
                ExportImportDevice(id=names[0], import_mode="updateIfMatchETag", e_tag=device.etag, status="disabled"),
                ExportImportDevice(id=names[1], import_mode="updateTwin", tags={"n": 9}),
            ]
        )
        self.assertTrue(changed.is_successful)
        self.assertEqual(self.registry.get_device(names[0]).status, "disabled")
        self.assertEqual(self.registry.get_twin(names[1]).tags, {"n": 9})

        stale = self.registry.bulk_create_or_update_devices(
            [
                ExportImportDevice(id=names[0], import_mode="deleteIfMatchETag", e_tag=device.etag),
                ExportImportDevice(id=names[1], import_mode="delete"),
            ]
        )
        self.assertFalse(stale.is_successful)
        self.assertEqual([(error.device_id, error.error_code) for error in stale.errors], [(names[0], "PreconditionFailed")])
        with refused(self, 404, "DeviceNotFound"):
            self.registry.get_device(names[1])

    def test_modules_in_bulk(self):
        device = hub.make_device()
        made = self.registry.bulk_create_or_update_devices(
            [ExportImportDevice(id=device, module_id=module, import_mode="create") for module in ("one", "two")]
        )
        self.assertTrue(made.is_successful)
        self.assertEqual(sorted(module.module_id for module in self.registry.get_modules(device)), ["one", "two"])

    def test_the_limit(self):
        entries = [ExportImportDevice(id=hub.unique("bulk"), import_mode="create") for _ in range(101)]
        with refused(self, 413, "TooManyDevices"):
            self.registry.bulk_create_or_update_devices(entries)
        with refused(self, 404, "DeviceNotFound"):
            self.registry.get_device(entries[0].id)


class Statistics(unittest.TestCase):
    def test_the_counts(self):
        registry = hub.registry()
        before = registry.get_device_registry_statistics()
        name = hub.make_device()
        registry.update_device_with_sas(name, None, KEY, OTHER_KEY, "disabled")
        after = registry.get_device_registry_statistics()
        self.assertEqual(after.total_device_count, before.total_device_count + 1)
        self.assertEqual(after.disabled_device_count, before.disabled_device_count + 1)
        self.assertEqual(after.enabled_device_count, before.enabled_device_count)
        self.assertEqual(registry.get_service_statistics().connected_device_count, 0)
