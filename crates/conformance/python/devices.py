"""What the scripts about devices share."""

import contextlib
import queue
import threading

import hub
from azure.iot.device import IoTHubDeviceClient, IoTHubModuleClient, MethodResponse

# The two ways to a hub: MQTT on port 8883, and MQTT in a WebSocket on port 443.
TRANSPORTS = {"mqtt": {}, "websocket": {"websockets": True}}


@contextlib.contextmanager
def client(device, module=None, key=hub.KEY, **options):
    """A client that ends with the block. It comes unconnected."""
    kind = IoTHubDeviceClient if module is None else IoTHubModuleClient
    text = hub.device_string(device, key, module)
    made = kind.create_from_connection_string(text, server_verification_cert=hub.CA, **options)
    try:
        yield made
    finally:
        made.shutdown()


class Answers:
    """A device that answers methods: `echo` gives the payload back, `fail` a status of 500, `sleep` nothing at all."""

    def __init__(self, client):
        self.client = client
        self.seen = queue.Queue()
        client.on_method_request_received = self.answer

    def answer(self, request):
        self.seen.put((request.name, request.payload))
        if request.name == "sleep":
            return
        status, payload = (500, {"why": "asked to"}) if request.name == "fail" else (200, request.payload)
        self.client.send_method_response(MethodResponse.create_from_method_request(request, status, payload))


class Flag:
    """Whether a client is connected, by its own account. It tells of each change, but not which: a late reader sees the next one."""

    def __init__(self, client):
        self.client = client
        self.changed = threading.Condition()
        self.changes = 0
        client.on_connection_state_change = self.note

    def note(self):
        with self.changed:
            self.changes += 1
            self.changed.notify_all()

    def expect(self, *history):
        """Waits until the changes so far are these: they alternate, so their number and the last one say it all."""
        as_wanted = lambda: (self.changes, self.client.connected) == (len(history), history[-1])
        with self.changed:
            came = self.changed.wait_for(as_wanted, hub.PATIENCE)
        if not came:
            raise AssertionError(f"expected {history}, came {self.changes} changes, connected: {self.client.connected}")


def meter(name):
    """How often something has happened on this hub."""
    return hub.control("GET", "/meters").get(name, 0)
