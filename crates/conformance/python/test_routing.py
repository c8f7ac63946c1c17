"""Messages of IoTHubModuleClient follow the holder of a pool, by both kinds of route."""

import contextlib
import itertools
import json
import os
import subprocess
import tempfile
import threading
import time
import unittest

import hub
from azure.iot.device import Message
from devices import client

PROGRAM = os.environ["IOTEDGE_HA_BIN"]
RESOURCE = os.environ["IOTHUB_RESOURCE_ID"].split("/")

CONFIG = """
[hub]
connection_string_env = "IOTHUB_CONNECTION_STRING"
ca_file = "{ca_file}"

[hub.identity]
source = "client_secret"
tenant = "emulator"
client_id = "operator"
client_secret_env = "EMULATOR_CONTROL_TOKEN"
authority = "https://localhost/_emulator/entra"

[hub.resource]
subscription = "{subscription}"
group = "{group}"
name = "{name}"
endpoint = "https://localhost"

[controller]
state_dir = "{folder}/state"

[[pool]]
name = "{pool}"
members = {members}
workload_module = "press"

[pool.routing]
mode = "{mode}"

[[pool.routing.route]]
endpoint = "events"
"""


class Site:
    """Two members with agents, a controller, and whoever reads the built-in endpoint."""

    def __init__(self, stack, mode):
        self.folder = stack.enter_context(tempfile.TemporaryDirectory())
        self.config = os.path.join(self.folder, "pool.toml")
        self.stack = stack
        # A pool and devices of its own, whose record no other test has written and whose messages no other route takes.
        self.pool, self.members = f"press_{mode}", [f"{mode}-a", f"{mode}-b"]
        with open(self.config, "w") as file:
            values = {"subscription": RESOURCE[2], "group": RESOURCE[4], "name": RESOURCE[8]}
            file.write(CONFIG.format(mode=mode, pool=self.pool, members=json.dumps(self.members), folder=self.folder,
                                     ca_file=hub.CA_FILE, **values))
        self.received = []
        self.changed = threading.Condition()
        self.senders = {}
        for member in self.members:
            self.make_member(member)

    def make_member(self, member):
        registry = hub.registry()
        registry.create_device_with_sas(member, hub.KEY, hub.OTHER_KEY, "enabled", iot_edge=True)
        for module in ["ha-agent", "press"]:
            registry.create_module_with_sas(member, module, None, hub.KEY, hub.OTHER_KEY)
        self.senders[member] = self.stack.enter_context(client(member, "press"))
        self.senders[member].connect()

    def start(self, *words, **variables):
        log = open(os.path.join(self.folder, f"{words[0]}-{len(os.listdir(self.folder))}.log"), "w+")
        running = subprocess.Popen([PROGRAM, *words], stdout=subprocess.PIPE, stderr=log, text=True, env={**os.environ, **variables})
        self.stack.callback(log.close)
        self.stack.callback(running.wait)
        self.stack.callback(running.kill)
        return running

    def start_all(self):
        tail = self.start("emulator", "tail", "--endpoint", "events", "--kind", "telemetry")
        threading.Thread(target=self.read, args=[tail.stdout], daemon=True).start()
        for member in self.members:
            key = hub.device_string(member, module="ha-agent")
            self.start("agent", "--pool", self.pool, "--connection-string-env", "KEY", "--ca-file", hub.CA_FILE, "--http-addr",
                       "127.0.0.1:0", "--stop-ms", "500", "--settle-ms", "100", KEY=key)
        self.start("run", "--config", self.config)

    def read(self, lines):
        for line in lines:
            with self.changed:
                self.received.append(json.loads(line))
                self.changed.notify_all()

    def run(self, *words):
        ran = subprocess.run([PROGRAM, *words, "--config", self.config], capture_output=True, text=True)
        if ran.returncode != 0:
            raise AssertionError(f"{words}: {ran.returncode}\n{ran.stdout}\n{ran.stderr}")
        return json.loads(ran.stdout) if ran.stdout.strip() else None

    def holder(self):
        ran = subprocess.run([PROGRAM, "list", "--json", "--config", self.config], capture_output=True, text=True)
        [pool] = json.loads(ran.stdout)
        return pool["holder"]

    def arrived(self, mark):
        return {message["device"] for message in list(self.received) if message["body"]["mark"] == mark}

    def send(self, member, mark):
        message = Message(json.dumps({"mark": mark}), content_type="application/json", content_encoding="utf-8")
        self.senders[member].send_message(message)

    def until_only(self, holder):
        """Sends from all members, again and again, until of one round the holder's messages alone have arrived."""
        for number in itertools.count():
            mark = f"{holder}-{number}"
            for member in self.members:
                self.send(member, mark)
            # What is read comes in order: once this has arrived, so has everything before it.
            self.send(holder, mark + "-end")
            with self.changed:
                ended = self.changed.wait_for(lambda: self.arrived(mark + "-end"), timeout=1)
            if ended and self.arrived(mark) == {holder}:
                return
            if time.monotonic() > self.deadline:
                raise AssertionError(f"{holder} never was the only one: {self.run('route', 'show', self.pool, '--json')}")


class Routing(unittest.TestCase):
    def follow_the_holder(self, mode):
        with contextlib.ExitStack() as stack:
            site = Site(stack, mode)
            site.deadline = time.monotonic() + 3 * hub.PATIENCE
            site.start_all()
            first = hub.eventually("a holder", site.holder)
            applied = site.run("route", "apply", site.pool, "--yes", "--fallback", "off", "--json")
            # Rules are written by the controller too, whoever comes first.
            self.assertTrue(applied["written"] or mode == "rules")
            self.assertFalse(site.run("route", "apply", site.pool, "--yes", "--json")["written"], "once is enough")
            site.until_only(first)
            [second] = set(site.members) - {first}
            site.run("switchover", site.pool, "--to", second, "--yes", "--json")
            site.until_only(second)
            shown = site.run("route", "show", site.pool, "--json")
            self.assertEqual([trial["as_wanted"] for trial in shown["trials"]], [True, True])

    def test_standing_routes(self):
        self.follow_the_holder("standing")

    def test_rules(self):
        self.follow_the_holder("rules")


if __name__ == "__main__":
    unittest.main()
