"""What the scripts know of the hub: addresses, keys and the emulator's control API."""

import contextlib
import json
import os
import ssl
import urllib.request
import uuid

SERVICE = os.environ["IOTHUB_CONNECTION_STRING"]
CA_FILE = os.environ["IOTHUB_CA_FILE"]
CONTROL_URL = os.environ["EMULATOR_CONTROL_URL"]
CONTROL_TOKEN = os.environ["EMULATOR_CONTROL_TOKEN"]

with open(CA_FILE) as file:
    CA = file.read()


def unique(name):
    """An id that no other test uses."""
    return f"{name}-{uuid.uuid4().hex[:8]}"


def control(method, path, body=None):
    """A call of the emulator's control API."""
    request = urllib.request.Request(CONTROL_URL + path, method=method)
    request.add_header("Authorization", "Bearer " + CONTROL_TOKEN)
    data = None if body is None else json.dumps(body).encode()
    context = ssl.create_default_context(cafile=CA_FILE)
    with urllib.request.urlopen(request, data, context=context) as answer:
        text = answer.read()
    return json.loads(text) if text else None


class Refused:
    """How the hub said no: the status and the name of the error."""

    status = None
    name = None
    body = None


@contextlib.contextmanager
def refused(test):
    """Expects the SDK to raise what it raises when the hub says no."""
    from msrest.exceptions import HttpOperationError

    said = Refused()
    with test.assertRaises(HttpOperationError) as caught:
        yield said
    response = caught.exception.response
    said.status = response.status_code
    said.name = response.headers.get("iothub-errorcode")
    said.body = json.loads(response.text) if response.text else None
