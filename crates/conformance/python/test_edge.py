"""Modules and leaf devices behind IoT Edge: `create_from_edge_environment`, routes, methods, and a line that is cut."""

import contextlib
import json
import queue
import unittest

import edge
import hub
from azure.iot.device import IoTHubDeviceClient, Message, MethodResponse, exceptions
from azure.iot.hub.models import CloudToDeviceMethod, Twin, TwinProperties
from devices import TRANSPORTS, Answers


def hot(level, machine="p1"):
    message = Message(json.dumps({"machine": {"id": machine}, "level": level}))
    message.content_type, message.content_encoding = "application/json", "utf-8"
    message.custom_properties["level"] = str(level)
    return message


class Edge(unittest.TestCase):
    def setUp(self):
        self.registry = hub.registry()
        self.device = self.enterContext(edge.device())

    def module(self, name, **options):
        return self.enterContext(self.device.module(name, **options))

    @contextlib.contextmanager
    def leaf(self, text, **options):
        made = IoTHubDeviceClient.create_from_connection_string(text, server_verification_cert=self.device.ca, **options)
        try:
            yield made
        finally:
            made.shutdown()

    def reported(self, module):
        return self.registry.get_module_twin(self.device.name, module).properties.reported

    def desire(self, module, desired):
        self.registry.update_module_twin(self.device.name, module, Twin(properties=TwinProperties(desired=desired)), "*")

    def invoke(self, module, method, payload, **timeouts):
        asked = CloudToDeviceMethod(method_name=method, payload=payload, **timeouts)
        answer = self.registry.invoke_device_module_method(self.device.name, module, asked)
        return answer.status, answer.payload

    def test_the_twin_of_a_module(self):
        for name, options in TRANSPORTS.items():
            with self.subTest(name), self.device.module(edge.PRESS, **options) as press:
                press.connect()
                told = queue.Queue()
                press.on_twin_desired_properties_patch_received = told.put
                self.device.hears_changes(edge.PRESS)
                before = press.get_twin()["desired"]["$version"]
                self.desire(edge.PRESS, {"speed": name, "gone": None})
                self.assertEqual(told.get(timeout=hub.PATIENCE), {"speed": name, "gone": None, "$version": before + 1})
                press.patch_twin_reported_properties({"seen": name, "deep": {"a": 1}})
                hub.eventually("the report is in the cloud", lambda: self.reported(edge.PRESS).get("seen") == name)
                twin = press.get_twin()
                self.assertEqual((twin["desired"]["speed"], twin["reported"]["deep"]), (name, {"a": 1}))
            self.device.lets_go(self.device.name, edge.PRESS)

    def test_messages_take_the_routes(self):
        tail = self.enterContext(edge.tail(self.device.name))
        log, press = self.module(edge.LOG), self.module(edge.PRESS)
        heard = queue.Queue()
        log.on_message_received = heard.put
        log.connect()
        press.connect()
        press.send_message_to_output("lukewarm", "cold")
        press.send_message_to_output(hot(2), "hot")
        press.send_message_to_output(hot(4, "p2"), "hot")
        press.send_message_to_output(hot(3), "hot")
        press.send_message("plain")
        alarm = heard.get(timeout=hub.PATIENCE)
        self.assertEqual((alarm.input_name, json.loads(alarm.data)), ("alarms", {"machine": {"id": "p1"}, "level": 3}))
        # The SDK takes for the application's what it does not know: by which output and from whom.
        system = {"$.on": "hot", "$.cdid": self.device.name, "$.cmid": edge.PRESS}
        self.assertEqual(alarm.custom_properties, {"level": "3", **system})
        self.assertEqual((alarm.content_type, alarm.content_encoding), ("application/json", "utf-8"))
        arrived = [tail.get(timeout=hub.PATIENCE) for _ in range(2)]
        self.assertEqual([(line["module"], line["body"]) for line in arrived], [("press", "lukewarm"), ("press", "plain")])
        self.assertTrue(heard.empty(), "what no route takes goes nowhere")

    def test_methods_from_the_cloud(self):
        for name, options in TRANSPORTS.items():
            with self.subTest(name), self.device.module(edge.PRESS, **options) as press:
                press.connect()
                answers = Answers(press)
                payload = {"a": [1, None, "x"]}
                self.assertEqual(self.invoke(edge.PRESS, "echo", payload, connect_timeout_in_seconds=30), (200, payload))
                self.assertEqual(self.invoke(edge.PRESS, "fail", 7), (500, {"why": "asked to"}))
                self.assertEqual(answers.seen.get_nowait(), ("echo", payload))
            self.device.lets_go(self.device.name, edge.PRESS)
        with hub.refused(self, 404, "DeviceNotOnline"):
            self.invoke(edge.LOG, "echo", None)

    def test_methods_from_module_to_module(self):
        press, log = self.module(edge.PRESS), self.module(edge.LOG)
        log.connect()
        Answers(log)
        call = lambda method, payload, patience_s=60: press.invoke_method(
            {"methodName": method, "payload": payload, "connectTimeoutInSeconds": patience_s, "responseTimeoutInSeconds": patience_s},
            self.device.name,
            edge.LOG,
        )
        self.assertEqual(call("echo", {"a": 1}), {"status": 200, "payload": {"a": 1}})
        self.assertEqual(call("fail", None), {"status": 500, "payload": {"why": "asked to"}})
        # No cloud is needed for it.
        self.device.cut("silent")
        self.assertEqual(call("echo", "still here"), {"status": 200, "payload": "still here"})
        with self.assertRaises(exceptions.ClientError) as caught:
            call("sleep", None, patience_s=5)
        self.assertIn("504", str(caught.exception.__cause__))

    def test_a_leaf_device(self):
        scope = self.registry.get_device(self.device.name).device_scope
        leaf = hub.make_device("leaf", device_scope=scope)
        tail = self.enterContext(edge.tail(leaf))
        text = hub.device_string(leaf) + f";GatewayHostName={self.device.host}"
        for name, options in TRANSPORTS.items():
            with self.subTest(name), self.leaf(text, **options) as client:
                client.connect()
                Answers(client)
                message = Message(name)
                message.custom_properties["kind"] = "pressure"
                client.send_message(message)
                line = tail.get(timeout=hub.PATIENCE)
                self.assertEqual((line["device"], line["body"], line["properties"]), (leaf, name, {"kind": "pressure"}))
                asked = CloudToDeviceMethod(method_name="echo", payload=name, connect_timeout_in_seconds=30)
                self.assertEqual(self.registry.invoke_device_method(leaf, asked).payload, name)
                client.patch_twin_reported_properties({"by": name})
                told = lambda: self.registry.get_twin(leaf).properties.reported.get("by") == name
                hub.eventually("the report is in the cloud", told)
            self.device.lets_go(leaf)
        stranger = text.replace(hub.KEY, hub.base64.b64encode(b"a key that nobody knows").decode())
        with self.leaf(stranger, connection_retry=False) as client, self.assertRaises(exceptions.CredentialError):
            client.connect()

    def test_a_line_that_is_cut_and_restored(self):
        tail = self.enterContext(edge.tail(self.device.name))
        press = self.module(edge.PRESS)
        press.connect()
        told = queue.Queue()
        press.on_twin_desired_properties_patch_received = told.put
        self.device.hears_changes(edge.PRESS)
        self.desire(edge.PRESS, {"speed": 1})
        known = told.get(timeout=hub.PATIENCE)
        self.device.cut("refused")
        # All of this is answered although nobody is there to ask.
        press.send_message_to_output("while away", "cold")
        press.patch_twin_reported_properties({"mood": "lonely"})
        twin = press.get_twin()
        self.assertEqual(twin["desired"], {"speed": 1, "$version": known["$version"]})
        self.assertEqual(twin["reported"]["mood"], "lonely")
        self.desire(edge.PRESS, {"speed": 2})
        self.assertNotIn("mood", self.reported(edge.PRESS))
        with self.assertRaises(hub.HttpOperationError):
            self.invoke(edge.PRESS, "echo", None)
        self.device.cut("none")
        self.assertEqual(tail.get(timeout=hub.PATIENCE)["body"], "while away")
        hub.eventually("the report is in the cloud", lambda: self.reported(edge.PRESS).get("mood") == "lonely")
        self.assertEqual(told.get(timeout=hub.PATIENCE)["speed"], 2)
        Answers(press)
        echo = lambda: self.invoke(edge.PRESS, "echo", "back", connect_timeout_in_seconds=30)
        self.assertEqual(echo(), (200, "back"))
        self.assertTrue(press.connected)
