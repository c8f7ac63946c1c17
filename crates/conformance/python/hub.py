"""What the scripts know of the hub: addresses, keys and the emulator's control API."""

import base64
import contextlib
import hashlib
import hmac
import json
import os
import ssl
import time
import urllib.error
import urllib.parse
import urllib.request
import uuid

from azure.iot.hub import IoTHubRegistryManager
from msrest.exceptions import HttpOperationError

SERVICE = os.environ["IOTHUB_CONNECTION_STRING"]
CA_FILE = os.environ["IOTHUB_CA_FILE"]
CONTROL_URL = os.environ["EMULATOR_CONTROL_URL"]
CONTROL_TOKEN = os.environ["EMULATOR_CONTROL_TOKEN"]
HOST = "localhost"

KEY = base64.b64encode(b"a key of the test, long enough").decode()
OTHER_KEY = base64.b64encode(b"another key of the test, as long").decode()

# Long enough for a busy machine; a test that passes does not wait for it.
PATIENCE = 120

with open(CA_FILE) as file:
    CA = file.read()


def unique(name):
    """An id that no other test uses."""
    return f"{name}-{uuid.uuid4().hex[:8]}"


def registry():
    return IoTHubRegistryManager.from_connection_string(SERVICE)


def make_device(name="device", **options):
    """A new device with keys; gives its id."""
    name = unique(name)
    registry().create_device_with_sas(name, KEY, OTHER_KEY, "enabled", **options)
    return name


def device_string(device, key=KEY, module=None):
    middle = "" if module is None else f";ModuleId={module}"
    return f"HostName={HOST};DeviceId={device}{middle};SharedAccessKey={key}"


def token(resource, expiry, key=KEY):
    """A shared access signature of a device."""
    resource = urllib.parse.quote(resource, safe="")
    digest = hmac.new(base64.b64decode(key), f"{resource}\n{expiry}".encode(), hashlib.sha256).digest()
    signature = urllib.parse.quote(base64.b64encode(digest).decode(), safe="")
    return f"SharedAccessSignature sr={resource}&sig={signature}&se={expiry}"


def control(method, path, body=None):
    """A call of the emulator's control API."""
    request = urllib.request.Request(CONTROL_URL + path, method=method)
    request.add_header("Authorization", "Bearer " + CONTROL_TOKEN)
    if body is not None:
        request.add_header("Content-Type", "application/json")
    data = None if body is None else json.dumps(body).encode()
    context = ssl.create_default_context(cafile=CA_FILE)
    with urllib.request.urlopen(request, data, context=context) as answer:
        text = answer.read()
    return json.loads(text) if text else None


def eventually(what, holds):
    """Waits for a condition and gives what made it true."""
    deadline = time.monotonic() + PATIENCE
    while True:
        found = holds()
        if found:
            return found
        if time.monotonic() > deadline:
            raise AssertionError(f"never happened: {what}")
        time.sleep(0.02)


@contextlib.contextmanager
def refused(test, status, name):
    """Expects the SDK to raise what it raises when the hub answers this status with this error."""
    with test.assertRaises(HttpOperationError) as caught:
        yield caught
    response = caught.exception.response
    answered = (response.status_code, response.headers.get("iothub-errorcode"))
    test.assertEqual(answered, (status, name), response.text)
