"use strict";

// azure-iot-device around a pool: a leaf device that sends through whoever holds, and a module that hears what the agent sends.

const assert = require("node:assert/strict");
const { spawn } = require("node:child_process");
const { once } = require("node:events");
const { mkdtempSync, rmSync, writeFileSync } = require("node:fs");
const { createServer } = require("node:net");
const { tmpdir } = require("node:os");
const path = require("node:path");
const { test } = require("node:test");
const { NoRetry } = require("azure-iot-common");
const { Client, Message } = require("azure-iot-device");
const { Mqtt } = require("azure-iot-device-mqtt");
const edge = require("./edge.js");
const hub = require("./hub.js");

const { registry } = hub;
const AGENT = "ha-agent";

/** Each pool has records of its own: no test waits until the leases of another have ended. */
const CONFIG = (pool, members, more) => `[hub]
ca_file = "${process.env.IOTHUB_CA_FILE}"
connection_string_env = "IOTHUB_CONNECTION_STRING"
[controller]
control = "ha-control-${pool}"
control_ttl_ms = 2000
control_renew_ms = 500
[[pool]]
name = "${pool}"
members = ["${members.join('", "')}"]
${more}
timings = { ttl_ms = 30000, renew_ms = 500, call_timeout_ms = 8000, retry_ms = 200, stop_ms = 500, standby_hold_ms = 2000 }
`;

/** Programs that end with the test. */
const stage = (t) => {
  const folder = mkdtempSync(path.join(tmpdir(), "handover-"));
  const children = [];
  t.after(async () => {
    for (const child of children) child.kill("SIGKILL");
    await Promise.all(children.map((child) => child.exitCode ?? child.signalCode ?? once(child, "exit")));
    rmSync(folder, { recursive: true });
  });
  const start = (words, variables = {}) => {
    const options = { cwd: folder, env: { ...process.env, ...variables }, stdio: ["ignore", "ignore", "inherit"] };
    const child = spawn(process.env.IOTEDGE_HA_BIN, words, options);
    children.push(child);
    return child;
  };
  return { folder, start };
};

const startController = ({ folder, start }, pool, members, more) => {
  const config = path.join(folder, "pool.toml");
  writeFileSync(config, CONFIG(pool, members, more));
  return start(["run", "--config", config]);
};

/** The agent of a device, which speaks with the hub itself. */
const startAgent = async ({ start }, { deviceId }) => {
  const symmetricKey = { primaryKey: hub.KEY, secondaryKey: hub.OTHER_KEY };
  await registry.addModule({ deviceId, moduleId: AGENT, authentication: { type: "sas", symmetricKey } });
  const words = ["agent", "--pool", "press_1", "--ca-file", process.env.IOTHUB_CA_FILE, "--http-addr", "127.0.0.1:0"];
  words.push("--connection-string-env", "KEY", "--stop-ms", "500", "--settle-ms", "200", "--state-dir", deviceId);
  return start(words, { KEY: hub.deviceString(deviceId, hub.KEY, AGENT) });
};

/** The leaf device, connected through a gateway; or the reason why not. */
const connect = async (leafId, gateway) => {
  const leaf = Client.fromConnectionString(`${hub.deviceString(leafId)};GatewayHostName=${gateway.address}`, Mqtt);
  await leaf.setOptions({ ca: gateway.ca });
  leaf.setRetryPolicy(new NoRetry());
  leaf.on("error", () => {});
  gateway.clients.push(leaf);
  await leaf.open();
  return leaf;
};

const sends = async (leaf) => {
  const before = await hub.meter("telemetry");
  await leaf.sendEvent(new Message("warm"));
  await hub.eventually("the message is in the cloud", async () => (await hub.meter("telemetry")) === before + 1);
};

/** Which of the gateways is the leaf device's parent, if any is. */
const parentOf = async (leafId, gateways) => {
  const scope = async (deviceId) => (await registry.get(deviceId)).responseBody.deviceScope;
  const scopes = await Promise.all(gateways.map(({ deviceId }) => scope(deviceId)));
  return gateways[scopes.indexOf(await scope(leafId))];
};

test("a leaf device sends through the gateway that holds", async (t) => {
  const programs = stage(t);
  const gateways = [await edge.device(t), await edge.device(t)];
  const leafId = await hub.makeDevice("leaf");
  const agents = new Map();
  for (const gateway of gateways) agents.set(gateway, await startAgent(programs, gateway));
  startController(programs, "press_1", gateways.map(({ deviceId }) => deviceId), `parents.children = ["${leafId}"]`);

  const first = await hub.eventually("the holder is the leaf's parent", () => parentOf(leafId, gateways));
  const [second] = gateways.filter((gateway) => gateway !== first);
  const leaf = await hub.eventually("edgeHub knows of its child", () => connect(leafId, first).catch(() => undefined));
  await sends(leaf);
  await assert.rejects(connect(leafId, second), "the standby's edgeHub turns it away");

  // An agent that is asked to stop waits until it has been relieved.
  agents.get(first).kill("SIGTERM");
  await hub.eventually("the new holder is the leaf's parent", async () => (await parentOf(leafId, gateways)) === second);
  // A device has one connection to the hub at a time, whichever gateway it is for.
  await leaf.close();
  await sends(await hub.eventually("edgeHub was told of its child", () => connect(leafId, second).catch(() => undefined)));
});

const freePort = async () => {
  const server = createServer().listen(0, "127.0.0.1");
  await once(server, "listening");
  const { port } = server.address();
  server.close();
  return port;
};

test("what the agent sends leaves by the output that is asked for", async (t) => {
  const programs = stage(t);
  const device = await edge.device(t);
  const address = `127.0.0.1:${await freePort()}`;
  const words = ["agent", "--pool", "press_2", "--http-addr", address, "--messages", "--state-dir", "agent"];
  programs.start(words, device.modules[edge.PRESS]);
  startController(programs, "press_2", [device.deviceId], `agent_module = "${edge.PRESS}"`);
  const post = (output, level) =>
    fetch(`http://${address}/v1/messages${output}`, { method: "POST", body: "late", headers: { "iothub-app-level": level } });

  const log = await edge.module(device, edge.LOG, Mqtt);
  const heard = [];
  log.on("inputMessage", (input, message) => {
    heard.push([input, message.getData().toString(), message.properties.getValue("ha-pool")]);
    log.complete(message, () => {});
  });
  await log.open();
  const sent = async () => (await post("?output=hot", "3").catch(() => undefined))?.status === 200;
  await hub.eventually("the agent is active and takes a message", sent);
  await hub.eventually("the other module hears it", () => heard.length > 0);
  assert.deepEqual(heard[0], ["alarms", "late", "press_2"]);

  const before = await hub.meter("telemetry");
  assert.equal((await post("", "3")).status, 200);
  assert.equal((await post("?output=cold", "3")).status, 200);
  await hub.eventually("the message is in the cloud", async () => (await hub.meter("telemetry")) > before);
  assert.equal(await hub.meter("telemetry"), before + 1, "no route takes what has no output");
});
