"""Cloud-to-device messages. The service SDK sends them over AMQP, so the emulator's own call does; the rest is the SDKs'."""

import queue
import ssl
import unittest
import urllib.request

import hub
from azure.iot.hub import IoTHubHttpRuntimeManager
from devices import TRANSPORTS, client


def send(device, body, **headers):
    request = urllib.request.Request(f"{hub.CONTROL_URL}/devices/{device}/messages/deviceBound", data=body.encode(), method="POST")
    request.add_header("Authorization", "Bearer " + hub.CONTROL_TOKEN)
    for name, value in headers.items():
        request.add_header(name.replace("_", "-"), value)
    with urllib.request.urlopen(request, context=ssl.create_default_context(cafile=hub.CA_FILE)):
        pass


class Messages(unittest.TestCase):
    def setUp(self):
        self.registry = hub.registry()

    def test_a_device_is_told(self):
        for transport, options in TRANSPORTS.items():
            with self.subTest(transport):
                device = hub.make_device()
                # What was sent before the device came waits for it.
                send(device, "first", iothub_messageid="m-1", iothub_correlationid="c-1", iothub_app_severity="high & rising")
                self.assertEqual(self.registry.get_device(device).cloud_to_device_message_count, 1)
                with client(device, **options) as owner:
                    told = queue.Queue()
                    owner.on_message_received = told.put
                    owner.connect()
                    message = told.get(timeout=hub.PATIENCE)
                    self.assertEqual((message.data, message.message_id, message.correlation_id), (b"first", "m-1", "c-1"))
                    self.assertEqual(message.custom_properties, {"severity": "high & rising"})
                    send(device, '{"a": 1}', iothub_contenttype="application/json", iothub_contentencoding="utf-8")
                    message = told.get(timeout=hub.PATIENCE)
                    self.assertEqual((message.content_type, message.content_encoding), ("application/json", "utf-8"))
                    # The SDK acknowledges by itself.
                    hub.eventually("done", lambda: self.registry.get_device(device).cloud_to_device_message_count == 0)

    def test_what_became_of_messages(self):
        device, manager = hub.make_device(), IoTHubHttpRuntimeManager.from_connection_string(hub.SERVICE)
        receive = manager.protocol.cloud_to_device_messages.receive_feedback_notification

        def told():
            # The SDK's own call gives nothing back; what it is made of gives the answer when asked for it.
            response = receive(raw=True).response
            return response if response.status_code == 200 else None

        send(device, "hello", iothub_messageid="m-2", iothub_ack="full")
        with client(device) as owner:
            owner.on_message_received = lambda message: None
            owner.connect()
            response = hub.eventually("feedback", told)
        (record,) = response.json()
        self.assertEqual((record["originalMessageId"], record["statusCode"], record["deviceId"]), ("m-2", "Success", device))
        self.assertEqual(record["deviceGenerationId"], self.registry.get_device(device).generation_id)
        self.assertIsNone(told())
        manager.abandon_feedback_notification(response.headers["ETag"].strip('"'))
        again = hub.eventually("it is back", told)
        self.assertEqual(again.json(), [record])
        lock = again.headers["ETag"].strip('"')
        manager.complete_feedback_notification(lock)
        self.assertIsNone(manager.receive_feedback_notification())
        with hub.refused(self, 412, "DeviceMessageLockLost"):
            manager.complete_feedback_notification(lock)

    def test_what_waits_can_be_purged(self):
        device = hub.make_device()
        for number in range(3):
            send(device, f"message {number}")
        manager = IoTHubHttpRuntimeManager.from_connection_string(hub.SERVICE)
        purged = manager.protocol.cloud_to_device_messages.purge_cloud_to_device_message_queue(device)
        self.assertEqual((purged.total_messages_purged, purged.device_id), (3, device))
        self.assertEqual(self.registry.get_device(device).cloud_to_device_message_count, 0)
        with hub.refused(self, 404, "DeviceNotFound"):
            manager.protocol.cloud_to_device_messages.purge_cloud_to_device_message_queue(hub.unique("nobody"))
