"""The recipe of 2018, literally: a timer asks after the primary, a flag in the device twin says who is active, and the devices know nothing else."""

import json
import os
import subprocess
import tempfile
import threading
import time
import unittest
from datetime import datetime

import hub
from azure.iot.device import IoTHubDeviceClient

PROGRAM = os.environ["IOTEDGE_HA_BIN"]
DELAY_MS = 8_000

CONFIG = """
[hub]
connection_string_env = "IOTHUB_CONNECTION_STRING"
ca_file = "{ca}"
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
"""


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
        self.configure(delay=DELAY_MS)

    def configure(self, delay):
        with open(self.config, "w") as file:
            file.write(CONFIG.format(ca=hub.CA_FILE, primary=self.primary, secondary=self.secondary, delay=delay))

    def flag_written(self, name):
        """When the device's flag was last written, by the hub's clock."""
        metadata = hub.registry().get_twin(name).properties.desired["$metadata"]
        return datetime.fromisoformat(metadata["activation"]["active"]["$lastUpdated"][:19])

    def turn_timer_until(self, device):
        deadline = time.monotonic() + 180
        while not device.active:
            self.assertLess(time.monotonic(), deadline, self.diary)
            self.timer()

    def run_program(self, *words):
        words = [PROGRAM, *words, "--config", self.config]
        done = subprocess.run(words, capture_output=True, text=True, timeout=200)
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
        return done

    def timer(self):
        """One turn of the timer."""
        self.run_program("tick")

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
        self.timer()
        a.expect(True)
        self.assertFalse(b.active)

        registry = self.members()[self.primary]["evidence"]["registry"]["value"]
        seven = ["connection_state", "connection_state_updated", "etag", "last_activity", "status", "status_reason", "status_updated"]
        self.assertEqual(sorted(registry), seven)
        self.assertEqual((registry["connection_state"], registry["status"]), ("Connected", "enabled"))
        self.assertEqual([member["fenced"] for member in self.members().values()], [False, False])

        a.die()
        hub.eventually("the hub has noticed", lambda: hub.registry().get_device(a.name).connection_state == "Disconnected")
        self.turn_timer_until(b)
        # A device that has died confirms nothing: the whole delay is waited for.
        waited = self.flag_written(b.name) - self.flag_written(a.name)
        self.assertGreaterEqual(waited.total_seconds(), DELAY_MS / 1000 - 1)

        back = Device(self.primary, self.diary)
        self.assertFalse(back.active, "its flag was cleared while it was away")
        self.timer()
        self.assertTrue(b.active)

        # Both are there: what the other reports ends the wait, which would be longer than the test.
        self.configure(delay=600_000)
        self.run_program("switchover", "press_1", "--to", self.primary, "--yes", "--no-wait")
        self.turn_timer_until(back)
        b.expect(False)
        self.assertFalse(self.both_at_once(), self.diary)
        for device in (back, b):
            device.die()


if __name__ == "__main__":
    unittest.main()
