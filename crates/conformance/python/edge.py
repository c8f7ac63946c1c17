"""An IoT Edge device in front of the hub: the stand-in's edgeHub and workload API, and modules as its runtime starts them."""

import contextlib
import itertools
import json
import os
import queue
import ssl
import subprocess
import tempfile
import threading
import unittest.mock
import urllib.request

import hub
from azure.iot.device import IoTHubModuleClient
from azure.iot.hub import IoTHubConfigurationManager
from azure.iot.hub.models import ConfigurationContent

# The SDKs insist on ports, so each device has an address of its own. It is its name as well: there is no name service here.
ADDRESSES = (f"127.0.0.{n}" for n in itertools.count(2))

PRESS, LOG = "press", "log"

# Telemetry of the press goes to the hub; what is hot goes to the log's input; a leaf's messages go to the hub if they say so.
ROUTES = {
    "cold": f"FROM /messages/modules/{PRESS}/outputs/cold INTO $upstream",
    "hot": f"FROM /messages/modules/{PRESS}/outputs/* WHERE as_number(level) * 2 >= 6 AND $body.machine.id = 'p1' "
    f'INTO BrokeredEndpoint("/modules/{LOG}/inputs/alarms")',
    "plain": "FROM /messages/modules/* WHERE NOT is_defined($outputName) INTO $upstream",
    "leaves": "FROM /messages/* WHERE NOT IS_DEFINED($connectionModuleId) AND starts_with(kind, 'pre') INTO $upstream",
}


def deployment():
    desired = lambda section: {"properties.desired": {"schemaVersion": "1.1", **section}}
    return {
        "$edgeAgent": desired({"runtime": {"type": "docker", "settings": {}}, "systemModules": {}, "modules": {}}),
        "$edgeHub": desired({"routes": ROUTES, "storeAndForwardConfiguration": {"timeToLiveSecs": 7200}}),
    }


class Device:
    """A running device."""

    def __init__(self, name, process, printed):
        self.name = name
        self.process = process
        self.environments = printed["modules"]
        self.variables = printed["device"]
        self.host = self.variables["EDGE_MQTT"].split(":")[0]
        with open(self.variables["EDGE_CA_FILE"]) as file:
            self.ca = file.read()

    @contextlib.contextmanager
    def module(self, name, **options):
        """The SDK's client of a module, made from the environment alone."""
        with unittest.mock.patch.dict(os.environ, self.environments[name]):
            made = IoTHubModuleClient.create_from_edge_environment(**options)
        try:
            yield made
        finally:
            made.shutdown()

    def hears_changes(self, module):
        """Waits until edgeHub has subscribed to changes of the module's twin; those before that are not told."""
        ours = lambda c: (c["device_id"], c.get("module_id"), c["desired"]) == (self.name, module, True)
        hub.eventually("edgeHub listens", lambda: any(map(ours, hub.control("GET", "/connections"))))

    def lets_go(self, device, module=None):
        """Waits until edgeHub speaks for nobody of that name, whose next connection will get what is sent from then on."""
        theirs = lambda c: (c["device_id"], c.get("module_id")) == (device, module)
        hub.eventually("edgeHub lets go", lambda: not any(map(theirs, hub.control("GET", "/connections"))))

    def cut(self, kind):
        """What happens to the line to the cloud: `none`, `silent` or `refused`."""
        request = urllib.request.Request(self.variables["EDGE_CONTROL_URL"] + "/upstream", method="PUT")
        request.add_header("Authorization", "Bearer " + self.variables["EDGE_CONTROL_TOKEN"])
        context = ssl.create_default_context(cafile=self.variables["EDGE_CA_FILE"])
        urllib.request.urlopen(request, json.dumps({"cut": kind}).encode(), context=context).close()


@contextlib.contextmanager
def device():
    """A device with a press and a log, its routes in force."""
    name = hub.make_device("edge", iot_edge=True)
    content = ConfigurationContent(modules_content=deployment())
    IoTHubConfigurationManager.from_connection_string(hub.SERVICE).apply_configuration_on_edge_device(name, content)
    address = next(ADDRESSES)
    with tempfile.TemporaryDirectory() as folder:
        words = [os.environ["IOTEDGE_HA_BIN"], "emulator", "edge-hub", "--device", name, "--state", folder, "--json"]
        words += ["--bind", address, "--host-name", address, "--mqtt-port", "8883", "--https-port", "443"]
        # The real runtime's waits are for a site, not for a test.
        words += ["--reported-sync-ms", "100", "--min-twin-sync-ms", "0"]
        words += ["--module", PRESS, "--module", LOG]
        process = subprocess.Popen(words, stdout=subprocess.PIPE, text=True)
        try:
            made = Device(name, process, json.loads(process.stdout.readline()))
            hub.eventually("the routes are in force", lambda: routes_in_force(name))
            yield made
        finally:
            process.terminate()
            process.wait(hub.PATIENCE)
            process.stdout.close()


def routes_in_force(name):
    reported = hub.registry().get_module_twin(name, "$edgeHub").properties.reported
    status = reported.get("lastDesiredStatus", {})
    assert status.get("code", 200) == 200, status
    return reported.get("lastDesiredVersion") is not None and status.get("code") == 200


@contextlib.contextmanager
def tail(device):
    """What arrives at the hub from a device and its modules: a queue of messages as the emulator's tail tells them."""
    request = urllib.request.Request(f"{hub.CONTROL_URL}/tail?kind=telemetry&device={device}")
    request.add_header("Authorization", "Bearer " + hub.CONTROL_TOKEN)
    answer = urllib.request.urlopen(request, context=ssl.create_default_context(cafile=hub.CA_FILE))
    lines = queue.Queue()

    def follow():
        with contextlib.suppress(OSError, ValueError, AttributeError):
            for line in answer:
                lines.put(json.loads(line))

    reader = threading.Thread(target=follow, daemon=True)
    reader.start()
    yield lines
