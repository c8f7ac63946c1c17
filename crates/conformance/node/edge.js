"use strict";

// An IoT Edge device in front of the hub: the stand-in's edgeHub and workload API, and modules as its runtime starts them.

const { spawn } = require("node:child_process");
const { once } = require("node:events");
const { mkdtempSync, readFileSync, rmSync } = require("node:fs");
const https = require("node:https");
const { tmpdir } = require("node:os");
const path = require("node:path");
const { createInterface } = require("node:readline");
const { ModuleClient } = require("azure-iot-device");
const hub = require("./hub.js");

exports.PRESS = "press";
exports.LOG = "log";

const ROUTES = {
  cold: "FROM /messages/modules/press/outputs/cold INTO $upstream",
  hot: 'FROM /messages/modules/press/outputs/hot WHERE as_number(level) > 2 INTO BrokeredEndpoint("/modules/log/inputs/alarms")',
  leaves: "FROM /messages/* WHERE NOT IS_DEFINED($connectionModuleId) INTO $upstream",
};

const desired = (section) => ({ "properties.desired": { schemaVersion: "1.1", ...section } });

const DEPLOYMENT = {
  $edgeAgent: desired({ runtime: { type: "docker", settings: {} }, systemModules: {}, modules: {} }),
  $edgeHub: desired({ routes: ROUTES, storeAndForwardConfiguration: { timeToLiveSecs: 7200 } }),
};

// The SDKs insist on ports, so each device has an address of its own. It is its name as well: there is no name service here.
let addresses = 1;

/** A running device with a press and a log, its routes in force; it ends with the test. */
exports.device = async (t) => {
  const deviceId = await hub.makeDevice("edge", { capabilities: { iotEdge: true } });
  await hub.registry.applyConfigurationContentOnDevice(deviceId, { modulesContent: DEPLOYMENT });
  const address = `127.0.0.${++addresses}`;
  const folder = mkdtempSync(path.join(tmpdir(), "edge-"));
  const words = ["emulator", "edge-hub", "--device", deviceId, "--state", folder, "--json", "--bind", address, "--host-name", address];
  words.push("--mqtt-port", "8883", "--https-port", "443", "--module", exports.PRESS, "--module", exports.LOG);
  // The real runtime's waits are for a site, not for a test.
  words.push("--reported-sync-ms", "100", "--min-twin-sync-ms", "0");
  const child = spawn(process.env.IOTEDGE_HA_BIN, words, { stdio: ["ignore", "pipe", "inherit"] });
  // A client whose edgeHub has gone would try again for minutes.
  const clients = [];
  t.after(async () => {
    await Promise.all(clients.map((client) => client.close().catch(() => {})));
    child.kill();
    if (child.exitCode === null) await once(child, "exit");
    rmSync(folder, { recursive: true });
  });
  const [line] = await once(createInterface({ input: child.stdout }), "line");
  const { device: variables, modules } = JSON.parse(line);
  const made = { deviceId, address, modules, clients, ca: readFileSync(variables.EDGE_CA_FILE, "utf8"), variables };
  await hub.eventually("the routes are in force", async () => {
    const { responseBody } = await hub.registry.getModuleTwin(deviceId, "$edgeHub");
    return responseBody.properties.reported.lastDesiredStatus?.code === 200;
  });
  return made;
};

/** The SDK's client of a module, made from the environment alone; it ends with the device. */
exports.module = async (device, name, transport) => {
  // Only what comes before the first `await` sees the environment as it is set here.
  const before = { ...process.env };
  Object.assign(process.env, device.modules[name]);
  const making = ModuleClient.fromEnvironment(transport);
  for (const variable of Object.keys(device.modules[name])) delete process.env[variable];
  Object.assign(process.env, before);
  const made = await making;
  made.on("error", () => {});
  device.clients.push(made);
  return made;
};

/** Waits until edgeHub has subscribed to changes of the module's twin; those before that are not told. */
exports.hearsChanges = (device, moduleId) => {
  const ours = (c) => c.device_id === device.deviceId && c.module_id === moduleId && c.desired;
  return hub.eventually("edgeHub listens", async () => (await hub.control("GET", "/connections")).some(ours));
};

/** What happens to the line to the cloud: `none`, `silent` or `refused`. */
exports.cut = (device, kind) =>
  new Promise((resolve, reject) => {
    const headers = { authorization: `Bearer ${device.variables.EDGE_CONTROL_TOKEN}` };
    const options = { method: "PUT", ca: device.ca, headers };
    const request = https.request(`${device.variables.EDGE_CONTROL_URL}/upstream`, options, (answer) => {
      answer.resume();
      answer.on("end", () => (answer.statusCode === 204 ? resolve() : reject(new Error(`cut: ${answer.statusCode}`))));
    });
    request.on("error", reject);
    request.end(JSON.stringify({ cut: kind }));
  });
