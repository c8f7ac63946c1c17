"""The recipe of 2018, literally: a Function on a timer asks after the primary, a flag in the device twin says who is active, and the devices know nothing else."""

import contextlib
import http.client
import json
import os
import socket
import subprocess
import tempfile
import threading
import time
import unittest
from datetime import datetime

import hub
from azure.iot.device import IoTHubDeviceClient

PROGRAM = os.environ["IOTEDGE_HA_BIN"]
DELAY_MS = 5_000

CONFIG = """
[hub]
connection_string_env = "IOTHUB_CONNECTION_STRING"
ca_file = "{ca}"
[controller]
control_ttl_ms = 8000
control_renew_ms = 500
[[pool]]
name = "press_1"
members = ["{primary}", "{secondary}"]
gate = "flag"
flag = {{ path = "activation.active", confirm = "activation.active", fence_delay_ms = {delay}, down_after_ms = 0 }}
[pool.timings]
ttl_ms = 12000
renew_ms = 1000
call_timeout_ms = 5000
stop_ms = 1000
standby_hold_ms = 1000
"""


class Function:
    """The controller as a Function app's custom handler, and what the Functions host does with it."""

    # A pass must outlast a lease: it does not know when the one before it renewed.
    HOLD_S = 20

    def __init__(self, config):
        with socket.create_server(("127.0.0.1", 0)) as probe:
            self.port = probe.getsockname()[1]
        env = {"FUNCTIONS_CUSTOMHANDLER_PORT": str(self.port), "IOTEDGE_HA_CONFIG": config, "IOTEDGE_HA_FUNCTION_HOLD_S": str(self.HOLD_S)}
        self.program = subprocess.Popen([PROGRAM, "function"], env={**os.environ, **env})
        hub.eventually("the handler is ready", self.is_ready)
        self.ended = threading.Event()
        self.timer = threading.Thread(target=self.turn_for_ever, daemon=True)
        self.timer.start()

    def is_ready(self):
        if self.program.poll() is not None:
            raise AssertionError(f"the handler has ended with code {self.program.returncode}")
        try:
            return self.call("GET", "/") is not None
        except OSError:
            return False

    def call(self, method, path, body=None):
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=200)
        with contextlib.closing(connection):
            headers = {"Content-Type": "application/json", "X-Azure-Functions-InvocationId": "0"}
            connection.request(method, path, body, headers)
            answer = connection.getresponse()
            return answer.status, answer.read().decode()

    def invoke(self, function, data):
        status, text = self.call("POST", f"/{function}", json.dumps({"Data": data, "Metadata": {}}))
        if status != 200:
            raise AssertionError(f"{function}: {status} {text}")
        return json.loads(text)

    def turn_for_ever(self):
        """The timer: one invocation after the other, and none at the same time. One that fails is followed by the next."""
        while not self.ended.wait(0.2):
            with contextlib.suppress(OSError, AssertionError):
                self.invoke("reconcile", {"timer": {"ScheduleStatus": None, "IsPastDue": False}})

    def operate(self, pool, verb, body):
        """An operator asks for something, by HTTP with a function key, which the host has checked."""
        request = {"Method": "POST", "Params": {"pool": pool, "verb": verb}, "Body": json.dumps(body)}
        return self.invoke("operate", {"req": request})["Outputs"]["res"]

    def stop(self):
        self.ended.set()
        self.program.terminate()
        self.program.wait(60)
        self.timer.join(60)


class Device:
    """A device as the recipe has it: it works while the flag is set, and reports which."""

    def __init__(self, name, diary):
        self.name, self.diary, self.active = name, diary, False
        self.changed = threading.Condition()
        text = hub.device_string(name)
        self.client = IoTHubDeviceClient.create_from_connection_string(text, server_verification_cert=hub.CA)
        self.client.on_twin_desired_properties_patch_received = self.patched
        self.client.connect()
        self.obey(self.client.get_twin()["desired"])
        self.client.send_message("started")

    def patched(self, patch):
        self.obey(patch)

    def obey(self, desired):
        flag = desired.get("activation", {}).get("active", self.active)
        with self.changed:
            self.active = flag
            self.diary.append((self.name, flag))
            self.changed.notify_all()
        self.client.patch_twin_reported_properties({"activation": {"active": flag}})

    def expect(self, active):
        with self.changed:
            came = self.changed.wait_for(lambda: self.active == active, hub.PATIENCE)
        if not came:
            raise AssertionError(f"{self.name} was never told {active}: {self.diary}")

    def die(self):
        self.client.shutdown()
        self.diary.append((self.name, False))


class Recipe(unittest.TestCase):
    def setUp(self):
        self.diary = []
        self.primary, self.secondary = hub.make_device("primary"), hub.make_device("secondary")
        self.folder = tempfile.TemporaryDirectory()
        self.addCleanup(self.folder.cleanup)
        self.config = os.path.join(self.folder.name, "pool.toml")
        self.function = None
        self.addCleanup(lambda: self.function and self.function.stop())

    def deploy_function(self, delay):
        """A new configuration is a new deployment of the app: the host starts it anew."""
        if self.function:
            self.function.stop()
        with open(self.config, "w") as file:
            file.write(CONFIG.format(ca=hub.CA_FILE, primary=self.primary, secondary=self.secondary, delay=delay))
        self.function = Function(self.config)

    def written(self, name, flag):
        """When the device's flag was last written, by the hub's clock, if that is what was written."""
        desired = hub.registry().get_twin(name).properties.desired
        if desired["activation"]["active"] != flag:
            return None
        return datetime.fromisoformat(desired["$metadata"]["activation"]["active"]["$lastUpdated"][:19])

    def expect_looks(self, name, count):
        """Waits until the Function has read the device's twin so often."""
        looks = lambda: hub.control("GET", "/meters/devices")[name]["twin_reads"]
        wanted = looks() + count
        hub.eventually(f"{count} looks at {name}", lambda: looks() >= wanted)

    def run_program(self, *words):
        words = [PROGRAM, *words, "--config", self.config]
        done = subprocess.run(words, capture_output=True, text=True, timeout=200)
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
        return done

    def both_at_once(self):
        """Whether two devices were ever active at the same time, by their own accounts."""
        active = set()
        for name, flag in self.diary:
            (active.add if flag else active.discard)(name)
            if len(active) > 1:
                return True
        return False

    def members(self):
        """What `show` knows of each member."""
        pool = json.loads(self.run_program("show", "press_1", "--json").stdout)
        return {member["member"]: member for member in pool["members"]}

    def test_the_flag_follows_who_is_connected(self):
        a, b = Device(self.primary, self.diary), Device(self.secondary, self.diary)
        # Both are there from the beginning, so it is the primary's turn.
        self.deploy_function(delay=DELAY_MS)
        a.expect(True)
        self.assertFalse(b.active)
        self.assertGreater(hub.control("GET", "/meters")["registry_reads"], 0, "GET /devices/{id} is what the recipe asks")

        registry = self.members()[self.primary]["evidence"]["registry"]["value"]
        seven = ["connection_state", "connection_state_updated", "etag", "last_activity", "status", "status_reason", "status_updated"]
        self.assertEqual(sorted(registry), seven)
        self.assertEqual((registry["connection_state"], registry["status"]), ("Connected", "enabled"))
        self.assertEqual([member["fenced"] for member in self.members().values()], [False, False])

        a.die()
        hub.eventually("the hub has noticed", lambda: hub.registry().get_device(a.name).connection_state == "Disconnected")
        # Written once more if a pass ends before the delay does: the first time counts.
        cleared = hub.eventually("its flag is cleared", lambda: self.written(a.name, False))
        b.expect(True)
        # A device that has died confirms nothing: the whole delay is waited for.
        waited = self.written(b.name, True) - cleared
        self.assertGreaterEqual(waited.total_seconds(), DELAY_MS / 1000 - 1)

        back = Device(self.primary, self.diary)
        self.assertFalse(back.active, "its flag was cleared while it was away")
        self.expect_looks(self.primary, 5)
        self.assertTrue(b.active)

        # Both are there: what the other reports ends the wait, which would be longer than the test.
        self.deploy_function(delay=600_000)
        self.assertEqual(self.function.operate("press_1", "switchover", {"to": self.primary})["statusCode"], 202)
        back.expect(True)
        b.expect(False)
        self.assertFalse(self.both_at_once(), self.diary)
        for device in (back, b):
            device.die()


if __name__ == "__main__":
    unittest.main()
