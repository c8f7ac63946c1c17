"""IoTHubDeviceClient and IoTHubModuleClient, over MQTT and over WebSocket."""

import json
import logging
import queue
import threading
import time
import unittest

import hub
from azure.iot.device import IoTHubDeviceClient, Message, MethodResponse, exceptions
from azure.iot.hub.models import CloudToDeviceMethod, Twin, TwinProperties
from devices import TRANSPORTS, Answers, Flag, client, meter
from hub import KEY, OTHER_KEY, refused


class Transports(unittest.TestCase):
    """The same stories on both ways to the hub."""

    def setUp(self):
        self.registry = hub.registry()

    def each_transport(self):
        for name, options in TRANSPORTS.items():
            with self.subTest(name):
                yield hub.make_device(), options

    def test_messages_are_accepted(self):
        for device, options in self.each_transport():
            with client(device, **options) as sender:
                sender.connect()
                self.assertTrue(sender.connected)
                before = meter("telemetry")
                sender.send_message("text")
                message = Message(json.dumps({"level": 3}), message_id="m-1", content_type="application/json", content_encoding="utf-8")
                message.custom_properties["severity"] = "high & rising=yes/no"
                sender.send_message(message)
                self.assertEqual(meter("telemetry"), before + 2)
                self.assertEqual(self.registry.get_device(device).connection_state, "Connected")

    def test_the_twin(self):
        for device, options in self.each_transport():
            self.registry.update_twin(device, Twin(tags={"site": "m1"}, properties=TwinProperties(desired={"speed": 5})))
            with client(device, **options) as owner:
                owner.connect()
                self.assertEqual(owner.get_twin(), {"desired": {"speed": 5, "$version": 2}, "reported": {"$version": 1}})
                owner.patch_twin_reported_properties({"speed": 4, "deep": {"a": 1, "b": 2}})
                owner.patch_twin_reported_properties({"speed": 5, "deep": {"a": None}})
                reported = {"speed": 5, "deep": {"b": 2}, "$version": 3}
                self.assertEqual(owner.get_twin()["reported"], reported)
            twin = self.registry.get_twin(device)
            shown = {key: value for key, value in twin.properties.reported.items() if key != "$metadata"}
            self.assertEqual(shown, reported)
            # What devices report leaves the etag alone and moves the version.
            self.assertEqual((twin.etag, twin.version), ("AAAAAAAAAAI=", 5))

    def test_desired_properties_are_told(self):
        for device, options in self.each_transport():
            with client(device, **options) as owner:
                told = queue.Queue()
                owner.connect()
                owner.on_twin_desired_properties_patch_received = told.put
                self.registry.update_twin(device, Twin(properties=TwinProperties(desired={"a": 1, "b": 2})))
                self.assertEqual(told.get(timeout=hub.PATIENCE), {"a": 1, "b": 2, "$version": 2})
                self.registry.update_twin(device, Twin(properties=TwinProperties(desired={"a": None})))
                self.assertEqual(told.get(timeout=hub.PATIENCE), {"a": None, "$version": 3})
                self.registry.replace_twin(device, Twin(properties=TwinProperties(desired={"c": 3})))
                self.assertEqual(told.get(timeout=hub.PATIENCE), {"c": 3, "$version": 4})

    def test_methods(self):
        for device, options in self.each_transport():
            with client(device, **options) as owner:
                owner.connect()
                answers = Answers(owner)
                for payload in ({"a": [1, None, "x"]}, "text", 7, [], True):
                    asked = CloudToDeviceMethod(method_name="echo", payload=payload, response_timeout_in_seconds=30)
                    result = self.registry.invoke_device_method(device, asked)
                    self.assertEqual((result.status, result.payload), (200, payload))
                    self.assertEqual(answers.seen.get(timeout=hub.PATIENCE), ("echo", payload))
                result = self.registry.invoke_device_method(device, CloudToDeviceMethod(method_name="fail"))
                self.assertEqual((result.status, result.payload), (500, {"why": "asked to"}))


class Methods(unittest.TestCase):
    def setUp(self):
        self.registry = hub.registry()
        self.device = hub.make_device()

    def ask(self, name="echo", device=None, **options):
        return self.registry.invoke_device_method(device or self.device, CloudToDeviceMethod(method_name=name, **options))

    def test_a_device_that_is_away(self):
        with refused(self, 404, "DeviceNotOnline") as caught:
            self.ask()
        inner = json.loads(json.loads(caught.exception.response.text)["Message"])
        self.assertEqual(inner["errorCode"], 404103)
        with refused(self, 404, "DeviceNotFound"):
            self.ask(device=hub.unique("nobody"))

    def test_a_device_that_does_not_listen(self):
        with client(self.device) as owner:
            owner.connect()
            with refused(self, 404, "DeviceNotOnline"):
                self.ask()

    def test_a_device_that_does_not_answer(self):
        with client(self.device) as owner:
            owner.connect()
            Answers(owner)
            with refused(self, 504, "GatewayTimeout") as caught:
                self.ask("sleep", response_timeout_in_seconds=5)
            inner = json.loads(json.loads(caught.exception.response.text)["Message"])
            self.assertEqual(inner["errorCode"], 504101)

    def test_waiting_for_a_device(self):
        with client(self.device) as owner:
            # Setting a handler connects, and the method waits until that is done.
            connecting = threading.Timer(0.5, Answers, [owner])
            connecting.start()
            result = self.ask(payload=1, connect_timeout_in_seconds=30, response_timeout_in_seconds=30)
            connecting.join()
            self.assertEqual((result.status, result.payload), (200, 1))

    def test_what_the_hub_does_not_take(self):
        for options in ({"response_timeout_in_seconds": 301}, {"connect_timeout_in_seconds": 301}):
            with refused(self, 400, "ArgumentInvalid"):
                self.ask(**options)


class Inboxes(unittest.TestCase):
    """The older way: the caller waits for what comes."""

    def test_what_a_device_receives(self):
        registry, device = hub.registry(), hub.make_device()
        with client(device) as owner:
            owner.connect()
            self.assertIsNone(owner.receive_message(block=False))
            hub.control("POST", f"/devices/{device}/messages/deviceBound", "hello")
            self.assertEqual(owner.receive_message(timeout=hub.PATIENCE).data, b'"hello"')
            self.assertIsNone(owner.receive_twin_desired_properties_patch(block=False))
            registry.update_twin(device, Twin(properties=TwinProperties(desired={"speed": 6})))
            patch = owner.receive_twin_desired_properties_patch(timeout=hub.PATIENCE)
            self.assertEqual(patch, {"speed": 6, "$version": 2})
            self.assertIsNone(owner.receive_method_request("echo", block=False))

            def answer():
                request = owner.receive_method_request("echo", timeout=hub.PATIENCE)
                owner.send_method_response(MethodResponse.create_from_method_request(request, 200, request.payload))

            thread = threading.Thread(target=answer)
            thread.start()
            result = registry.invoke_device_method(device, CloudToDeviceMethod(method_name="echo", payload={"a": 1}))
            thread.join()
            self.assertEqual((result.status, result.payload), (200, {"a": 1}))


class Modules(unittest.TestCase):
    def setUp(self):
        self.registry = hub.registry()
        self.device = hub.make_device()
        self.registry.create_module_with_sas(self.device, "filter", "", OTHER_KEY, KEY)

    def test_a_module_has_a_life_of_its_own(self):
        with client(self.device, "filter", OTHER_KEY) as module, client(self.device) as device:
            module.connect()
            device.connect()
            answers = Answers(module)
            asked = CloudToDeviceMethod(method_name="echo", payload={"a": 1})
            result = self.registry.invoke_device_module_method(self.device, "filter", asked)
            self.assertEqual((result.status, result.payload), (200, {"a": 1}))
            self.assertEqual(answers.seen.get(timeout=hub.PATIENCE), ("echo", {"a": 1}))
            module.patch_twin_reported_properties({"up": True})
            self.assertTrue(self.registry.get_module_twin(self.device, "filter").properties.reported["up"])
            self.assertNotIn("up", self.registry.get_twin(self.device).properties.reported)
            before = meter("telemetry")
            module.send_message("text")
            self.assertEqual(meter("telemetry"), before + 1)


class Pings(logging.Handler):
    """How many pings have been answered on the present connection; a machine that stalls for long loses one."""

    def __init__(self, client):
        super().__init__(logging.DEBUG)
        client.on_connection_state_change = self.forget
        self.answered = 0
        paho = logging.getLogger("paho")
        paho.setLevel(logging.DEBUG)
        paho.addHandler(self)

    def emit(self, record):
        self.answered += record.getMessage() == "Received PINGRESP"

    def forget(self):
        self.answered = 0


class Connections(unittest.TestCase):
    def setUp(self):
        self.registry = hub.registry()
        self.device = hub.make_device()

    def sign(self, seconds):
        """A token of the device for so long."""
        return hub.token(f"{hub.HOST}/devices/{self.device}", int(time.time()) + seconds)

    def expect_refused(self, key=KEY, device=None, **options):
        with client(device or self.device, key=key, connection_retry=False, **options) as stranger:
            with self.assertRaises(exceptions.CredentialError):
                stranger.connect()
            self.assertFalse(stranger.connected)

    def test_who_is_not_let_in(self):
        for name, options in TRANSPORTS.items():
            with self.subTest(name):
                self.expect_refused(key=hub.base64.b64encode(b"a key that nobody knows").decode(), **options)
                self.expect_refused(device=hub.unique("nobody"), **options)
        self.registry.update_device_with_sas(self.device, None, KEY, OTHER_KEY, "disabled")
        self.expect_refused()

    def test_the_second_key_opens_too(self):
        with client(self.device, key=OTHER_KEY) as owner:
            owner.connect()
            self.assertTrue(owner.connected)

    def test_a_key_without_a_connection_string(self):
        for name, options in TRANSPORTS.items():
            for key, welcome in ((KEY, True), (hub.base64.b64encode(b"a key that nobody knows").decode(), False)):
                with self.subTest(name, welcome=welcome):
                    owner = IoTHubDeviceClient.create_from_symmetric_key(
                        key, hub.HOST, self.device, server_verification_cert=hub.CA, connection_retry=False, **options
                    )
                    self.addCleanup(owner.shutdown)
                    if not welcome:
                        with self.assertRaises(exceptions.CredentialError):
                            owner.connect()
                        continue
                    owner.connect()
                    before = meter("telemetry")
                    owner.send_message("text")
                    self.assertEqual(meter("telemetry"), before + 1)

    def test_a_token_that_runs_out(self):
        with self.assertRaises(ValueError):
            IoTHubDeviceClient.create_from_sastoken(self.sign(-1))
        owner = IoTHubDeviceClient.create_from_sastoken(self.sign(3600), server_verification_cert=hub.CA, connection_retry=False)
        self.addCleanup(owner.shutdown)
        flag = Flag(owner)
        owner.connect()
        self.addCleanup(hub.control, "DELETE", "/faults/hub/clock")
        hub.control("PUT", "/faults/hub/clock", {"skew_ms": 2 * 3600 * 1000})
        flag.expect(True, False)
        hub.control("DELETE", "/faults/hub/clock")
        owner.update_sastoken(self.sign(3600))
        owner.connect()
        flag.expect(True, False, True)
        owner.send_message("again")

    def test_a_token_is_asked_for_in_time(self):
        owner = IoTHubDeviceClient.create_from_sastoken(self.sign(3600), server_verification_cert=hub.CA)
        self.addCleanup(owner.shutdown)
        asked = threading.Event()

        def renew():
            owner.update_sastoken(self.sign(3600))
            asked.set()

        owner.on_new_sastoken_required = renew
        owner.connect()
        before = meter("connects")
        # The SDK asks two minutes ahead.
        owner.update_sastoken(self.sign(122))
        self.assertTrue(asked.wait(hub.PATIENCE))
        hub.eventually("a new connection with each token", lambda: meter("connects") >= before + 2)

    def test_one_connection_for_each_identity(self):
        with client(self.device, connection_retry=False) as first, client(self.device, connection_retry=False) as second:
            flag = Flag(first)
            first.connect()
            second.connect()
            flag.expect(True, False)
            self.assertTrue(second.connected)

    def test_a_client_comes_back(self):
        with client(self.device) as faithful:
            flag = Flag(faithful)
            faithful.connect()
            answers = Answers(faithful)
            with client(self.device, connection_retry=False) as intruder:
                intruder.connect()
                # It is thrown out, and is back at once with what it had subscribed to.
                flag.expect(True, False, True)
            result = self.registry.invoke_device_method(self.device, CloudToDeviceMethod(method_name="echo", payload=1))
            self.assertEqual((result.status, answers.seen.get(timeout=hub.PATIENCE)), (200, ("echo", 1)))

    def test_the_hub_ends_a_connection(self):
        for end in (
            lambda: self.registry.update_device_with_sas(self.device, None, KEY, OTHER_KEY, "disabled"),
            lambda: self.registry.delete_device(self.device),
        ):
            self.device = hub.make_device()
            with client(self.device, connection_retry=False) as owner:
                flag = Flag(owner)
                owner.connect()
                end()
                flag.expect(True, False)
                with self.assertRaises(exceptions.CredentialError):
                    owner.connect()

    def test_a_short_keep_alive(self):
        with client(self.device, keep_alive=2) as owner:
            pings = Pings(owner)
            owner.connect()
            # The first has moved the hub's limit of three seconds, or there would be no second one.
            hub.eventually("two pings are answered on one connection", lambda: pings.answered >= 2)

    def test_the_connection_state(self):
        self.assertEqual(self.registry.get_twin(self.device).connection_state, "Disconnected")
        with client(self.device) as owner:
            owner.connect()
            owner.on_message_received = lambda message: None
            hub.eventually("connected", lambda: self.registry.get_twin(self.device).connection_state == "Connected")
            self.assertGreaterEqual(self.registry.get_service_statistics().connected_device_count, 1)
            owner.disconnect()
            hub.eventually("gone", lambda: self.registry.get_twin(self.device).connection_state == "Disconnected")
