"use strict";

// azure-iothub's DigitalTwinClient: digital twins of devices that name a model, patches and commands.

const assert = require("node:assert/strict");
const { test } = require("node:test");
const { DigitalTwinClient, IoTHubTokenCredentials } = require("azure-iothub");
const { Client } = require("azure-iot-device");
const { Mqtt } = require("azure-iot-device-mqtt");
const hub = require("./hub.js");

const MODEL = "dtmi:com:example:TemperatureController;2";
const twins = new DigitalTwinClient(new IoTHubTokenCredentials(hub.SERVICE));

/** A connected client of a device that names its model; it ends with the test. */
const connected = async (t, deviceId) => {
  const made = Client.fromConnectionString(hub.deviceString(deviceId), Mqtt);
  await made.setOptions({ ca: hub.CA, modelId: MODEL });
  made.on("error", () => {});
  t.after(() => made.close().catch(() => {}));
  await made.open();
  return made;
};

const report = (twin, patch) =>
  new Promise((resolve, reject) => twin.properties.reported.update(patch, (error) => (error ? reject(error) : resolve())));

const refusal = (status, code) => (error) => {
  assert.equal(error.statusCode ?? error.response.status, status);
  assert.equal(error.response.headers.get("iothub-errorcode"), code);
  return true;
};

test("a device that has never connected", async () => {
  const deviceId = await hub.makeDevice();
  const found = await twins.getDigitalTwin(deviceId);
  assert.deepEqual([found.$dtId, found.$metadata], [deviceId, {}]);
  await assert.rejects(twins.getDigitalTwin(hub.unique("nobody")), refusal(404, "DeviceNotFound"));
});

test("a patch and its acknowledgement", async (t) => {
  const deviceId = await hub.makeDevice();
  const device = await connected(t, deviceId);
  const twin = await device.getTwin();
  const told = hub.next(twin, "properties.desired.thermostat1");
  await hub.heard(twin);
  const value = { targetTemperature: 20.5, $metadata: {} };
  await twins.updateDigitalTwin(deviceId, [{ op: "add", path: "/thermostat1", value }]);
  assert.deepEqual(await told, { __t: "c", targetTemperature: 20.5 });
  await report(twin, { thermostat1: { __t: "c", targetTemperature: { value: 20.5, ac: 200, av: 2, ad: "done" } } });
  const found = await twins.getDigitalTwin(deviceId);
  assert.equal(found.$metadata.$model, MODEL);
  assert.equal(found.thermostat1.targetTemperature, 20.5);
  const { lastUpdateTime, ...known } = found.thermostat1.$metadata.targetTemperature;
  assert.ok(lastUpdateTime);
  assert.deepEqual(known, { desiredValue: 20.5, desiredVersion: 2, ackVersion: 2, ackCode: 200, ackDescription: "done" });
});

test("etags", async () => {
  const deviceId = await hub.makeDevice();
  const etag = (await twins.getDigitalTwin(deviceId))._response.headers.get("etag");
  const patch = [{ op: "add", path: "/targetTemperature", value: 42 }];
  await twins.updateDigitalTwin(deviceId, patch, etag);
  await assert.rejects(twins.updateDigitalTwin(deviceId, patch, etag), refusal(412, "PreconditionFailed"));
});

test("commands", async (t) => {
  const deviceId = await hub.makeDevice();
  await assert.rejects(twins.invokeCommand(deviceId, "reboot", 1), refusal(404, "DeviceNotOnline"));
  const device = await connected(t, deviceId);
  device.onDeviceMethod("reboot", (request, response) => response.send(202, { delay: request.payload }));
  device.onDeviceMethod("thermostat1*getMaxMinReport", (request, response) => response.send(200, request.payload));
  const options = { connectTimeoutInSeconds: 30, responseTimeoutInSeconds: 30 };
  const rebooted = await twins.invokeCommand(deviceId, "reboot", 3, options);
  assert.deepEqual([rebooted.body.delay, rebooted.xMsCommandStatuscode], [3, 202]);
  assert.ok(rebooted.xMsRequestId);
  const told = await twins.invokeComponentCommand(deviceId, "thermostat1", "getMaxMinReport", { since: "x" }, options);
  assert.deepEqual([told.body.since, told.xMsCommandStatuscode], ["x", 200]);
});
