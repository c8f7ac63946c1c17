"""DigitalTwinClient: digital twins of devices that name a model, patches and commands."""

import queue
import unittest

import hub
from azure.iot.hub import DigitalTwinClient
from devices import Answers, client
from hub import refused

# The device SDK takes a model for a product of that name.
MODEL = "dtmi:com:example:TemperatureController;2"


class DigitalTwins(unittest.TestCase):
    def setUp(self):
        self.twins = DigitalTwinClient.from_connection_string(hub.SERVICE)
        self.device = hub.make_device()

    def test_a_device_that_has_never_connected(self):
        self.assertEqual(self.twins.get_digital_twin(self.device), {"$dtId": self.device, "$metadata": {}})
        with refused(self, 404, "DeviceNotFound"):
            self.twins.get_digital_twin(hub.unique("nobody"))

    def test_a_patch_and_its_acknowledgement(self):
        with client(self.device, product_info=MODEL) as owner:
            told = queue.Queue()
            owner.connect()
            owner.on_twin_desired_properties_patch_received = told.put
            owner.patch_twin_reported_properties({"serialNumber": "a-1"})
            component = {"targetTemperature": 20.5, "$metadata": {}}
            self.twins.update_digital_twin(self.device, [{"op": "add", "path": "/thermostat1", "value": component}])
            wanted = told.get(timeout=hub.PATIENCE)
            self.assertEqual(wanted, {"thermostat1": {"__t": "c", "targetTemperature": 20.5}, "$version": 2})
            acknowledgement = {"value": 20.5, "ac": 200, "av": wanted["$version"], "ad": "done"}
            owner.patch_twin_reported_properties({"thermostat1": {"__t": "c", "targetTemperature": acknowledgement}})
            twin = self.twins.get_digital_twin(self.device)
        self.assertEqual(twin["$metadata"]["$model"], MODEL)
        self.assertEqual((twin["$dtId"], twin["serialNumber"]), (self.device, "a-1"))
        self.assertEqual(twin["thermostat1"]["targetTemperature"], 20.5)
        known = twin["thermostat1"]["$metadata"]["targetTemperature"]
        self.assertTrue(known.pop("lastUpdateTime"))
        self.assertEqual(
            known,
            {"desiredValue": 20.5, "desiredVersion": 2, "ackVersion": 2, "ackCode": 200, "ackDescription": "done"},
        )

    def test_etags(self):
        first = self.twins.protocol.digital_twin.get_digital_twin(self.device, raw=True).headers["ETag"]
        patch = [{"op": "add", "path": "/targetTemperature", "value": 42}]
        self.twins.update_digital_twin(self.device, patch, first)
        with refused(self, 412, "PreconditionFailed"):
            self.twins.update_digital_twin(self.device, patch, first)
        self.twins.update_digital_twin(self.device, [{"op": "remove", "path": "/targetTemperature"}], "*")
        self.assertNotIn("targetTemperature", self.twins.get_digital_twin(self.device)["$metadata"])
        with refused(self, 400, "ArgumentInvalid"):
            self.twins.update_digital_twin(self.device, [{"op": "move", "from": "/a", "path": "/b"}])

    def test_commands(self):
        with client(self.device, product_info=MODEL) as owner:
            owner.connect()
            answers = Answers(owner)
            self.assertEqual(self.twins.invoke_command(self.device, "reboot", {"delay": 3}), {"delay": 3})
            self.assertEqual(answers.seen.get(timeout=hub.PATIENCE), ("reboot", {"delay": 3}))
            given = self.twins.invoke_component_command(self.device, "thermostat1", "getMaxMinReport", "since", 60, 60)
            self.assertEqual(given, "since")
            self.assertEqual(answers.seen.get(timeout=hub.PATIENCE), ("thermostat1*getMaxMinReport", "since"))
            failed = self.twins.protocol.digital_twin.invoke_root_level_command(self.device, "fail", 1, raw=True)
            self.assertEqual((failed.output, failed.headers["x-ms-command-statuscode"]), ({"why": "asked to"}, 500))
            self.assertTrue(failed.headers["x-ms-request-id"])

    def test_commands_for_a_device_that_is_away(self):
        with refused(self, 404, "DeviceNotOnline"):
            self.twins.invoke_command(self.device, "reboot", 1)
        with refused(self, 400, "ArgumentInvalid"):
            self.twins.invoke_command(self.device, "reboot", 1, None, 301)
