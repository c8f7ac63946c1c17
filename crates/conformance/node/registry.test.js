"use strict";

// azure-iothub's Registry: identities, bulk calls, twins, queries, configurations.

const assert = require("node:assert/strict");
const { test } = require("node:test");
const { Registry } = require("azure-iothub");
const hub = require("./hub.js");

const { registry } = hub;

/** What the SDK makes of a refusal: its class, the status and the hub's word. */
const refusal = (name, status, code) => (error) => {
  assert.deepEqual(
    { name: error.name, status: error.response.statusCode, code: error.response.headers["iothub-errorcode"] },
    { name, status, code },
  );
  return true;
};

test("a device with keys", async () => {
  const deviceId = hub.unique("device");
  const { responseBody: made, httpResponse } = await registry.create({ deviceId, status: "enabled" });
  assert.equal(httpResponse.statusCode, 200);
  assert.equal(made.deviceId, deviceId);
  assert.equal(made.authentication.type, "sas");
  // The SDK sends empty keys, and the hub makes some.
  assert.ok(Buffer.from(made.authentication.symmetricKey.primaryKey, "base64").length >= 16);

  await assert.rejects(registry.create({ deviceId }), refusal("DeviceAlreadyExistsError", 409, "DeviceAlreadyExists"));
  const { responseBody: read } = await registry.get(deviceId);
  assert.equal(read.etag, made.etag);

  const { responseBody: updated } = await registry.update({ ...made, status: "disabled", statusReason: "old" });
  assert.deepEqual([updated.status, updated.statusReason], ["disabled", "old"]);
  assert.equal(updated.generationId, made.generationId);
  assert.notEqual(updated.etag, made.etag);

  await registry.delete(deviceId);
  await assert.rejects(registry.get(deviceId), refusal("DeviceNotFoundError", 404, "DeviceNotFound"));
  await assert.rejects(registry.delete(deviceId), refusal("DeviceNotFoundError", 404, "DeviceNotFound"));
});

test("a signature in place of a connection string", async () => {
  const deviceId = await hub.makeDevice();
  const signed = Registry.fromSharedAccessSignature(hub.serviceSignature());
  assert.equal((await signed.get(deviceId)).responseBody.deviceId, deviceId);
  const wrong = Registry.fromSharedAccessSignature(hub.signature(hub.HOST, "iothubowner", hub.KEY));
  await assert.rejects(wrong.get(deviceId), refusal("UnauthorizedError", 401, "IotHubUnauthorizedAccess"));
});

test("devices with certificates", async () => {
  const thumbprint = "0123456789ABCDEF0123456789ABCDEF01234567";
  const x509Thumbprint = { primaryThumbprint: thumbprint, secondaryThumbprint: thumbprint };
  const { responseBody: own } = await registry.create({
    deviceId: hub.unique("own"),
    authentication: { x509Thumbprint },
  });
  assert.equal(own.authentication.type, "selfSigned");
  assert.equal(own.authentication.x509Thumbprint.primaryThumbprint, thumbprint);
  const { responseBody: signed } = await registry.create({
    deviceId: hub.unique("signed"),
    authentication: { type: "certificateAuthority" },
  });
  assert.equal(signed.authentication.type, "certificateAuthority");
});

test("edge devices, their modules and children", async () => {
  const deviceId = hub.unique("edge");
  const { responseBody: edge } = await registry.create({ deviceId, capabilities: { iotEdge: true } });
  assert.equal(edge.capabilities.iotEdge, true);
  assert.ok(edge.deviceScope.startsWith(`ms-azure-iot-edge://${deviceId}-`));
  const { responseBody: modules } = await registry.getModulesOnDevice(deviceId);
  assert.deepEqual(modules.map((module) => module.moduleId).sort(), ["$edgeAgent", "$edgeHub"]);
  const { responseBody: leaf } = await registry.create({ deviceId: hub.unique("leaf"), deviceScope: edge.deviceScope });
  assert.deepEqual(leaf.parentScopes, [edge.deviceScope]);
});

test("a module", async () => {
  const deviceId = await hub.makeDevice();
  const { responseBody: made } = await registry.addModule({ deviceId, moduleId: "filter" });
  assert.deepEqual([made.deviceId, made.moduleId], [deviceId, "filter"]);
  await assert.rejects(
    registry.addModule({ deviceId, moduleId: "filter" }),
    (error) => error.response.headers["iothub-errorcode"] === "ModuleAlreadyExistsOnDevice",
  );
  const { responseBody: updated } = await registry.updateModule({ ...made, managedBy: "somebody" });
  assert.equal(updated.managedBy, "somebody");
  await assert.rejects(registry.updateModule({ ...made, managedBy: "late" }), (error) => error.response.statusCode === 412);
  const { responseBody: forced } = await registry.updateModule({ ...made, managedBy: "forced" }, true);
  assert.equal(forced.managedBy, "forced");
  const { responseBody: read } = await registry.getModule(deviceId, "filter");
  assert.equal(read.etag, forced.etag);
  await registry.removeModule(deviceId, "filter");
  await assert.rejects(
    registry.getModule(deviceId, "filter"),
    (error) => error.response.headers["iothub-errorcode"] === "ModuleNotFound",
  );
});

test("a list, and statistics", async () => {
  const before = (await registry.getRegistryStatistics()).responseBody;
  const deviceId = await hub.makeDevice();
  const { responseBody: devices } = await registry.list();
  assert.ok(devices.some((device) => device.deviceId === deviceId));
  const { responseBody: after } = await registry.getRegistryStatistics();
  assert.equal(after.totalDeviceCount, before.totalDeviceCount + 1);
  assert.equal(after.enabledDeviceCount, before.enabledDeviceCount + 1);
});

test("bulk calls", async () => {
  const devices = [1, 2].map(() => ({ deviceId: hub.unique("bulk"), status: "enabled" }));
  const { responseBody: made } = await registry.addDevices(devices);
  assert.deepEqual(made, { isSuccessful: true, errors: [], warnings: [] });

  const { responseBody: first } = await registry.get(devices[0].deviceId);
  const { responseBody: updated } = await registry.updateDevices([{ ...first, status: "disabled" }], true);
  assert.equal(updated.isSuccessful, true);
  assert.equal((await registry.get(devices[0].deviceId)).responseBody.status, "disabled");

  const stale = [{ ...devices[0], etag: first.etag }];
  await assert.rejects(registry.removeDevices(stale, false), (error) => {
    assert.equal(error.response.statusCode, 400);
    return true;
  });
  const { responseBody: removed } = await registry.removeDevices(devices, true);
  assert.equal(removed.isSuccessful, true);
  await assert.rejects(registry.get(devices[0].deviceId), refusal("DeviceNotFoundError", 404, "DeviceNotFound"));
});

test("twins of devices and modules", async () => {
  const deviceId = await hub.makeDevice();
  const { responseBody: twin } = await registry.getTwin(deviceId);
  assert.equal(twin.etag, "AAAAAAAAAAE=");
  const patch = { tags: { site: "m1" }, properties: { desired: { speed: 5, deep: { a: 1, b: 2 } } } };
  await twin.update(patch);
  assert.deepEqual([twin.tags, twin.etag], [{ site: "m1" }, "AAAAAAAAAAI="]);
  assert.equal(twin.properties.desired.$version, 2);
  await assert.rejects(
    registry.updateTwin(deviceId, { tags: { site: "m2" } }, "AAAAAAAAAAE="),
    (error) => error.response.headers["iothub-errorcode"] === "PreconditionFailed",
  );
  const change = { properties: { desired: { deep: { a: null } } } };
  const { responseBody: again } = await registry.updateTwin(deviceId, change, "*");
  assert.deepEqual(again.properties.desired.deep, { b: 2 });

  await registry.addModule({ deviceId, moduleId: "filter" });
  const { responseBody: module } = await registry.getModuleTwin(deviceId, "filter");
  assert.deepEqual([module.deviceId, module.moduleId], [deviceId, "filter"]);
  const { responseBody: changed } = await registry.updateModuleTwin(
    deviceId,
    "filter",
    { properties: { desired: { on: true } } },
    module.etag,
  );
  assert.equal(changed.properties.desired.on, true);
});

test("queries, page by page", async () => {
  const group = hub.unique("group");
  const devices = [];
  for (let n = 0; n < 5; n++) {
    const deviceId = await hub.makeDevice();
    devices.push(deviceId);
    await registry.updateTwin(deviceId, { tags: { group, n } }, "*");
  }
  const query = registry.createQuery(`SELECT * FROM devices WHERE tags.group = '${group}'`, 2);
  const pages = [];
  while (query.hasMoreResults) {
    const { result } = await query.nextAsTwin();
    pages.push(result.map((twin) => twin.deviceId));
    assert.equal(typeof result[0].update, "function");
  }
  assert.deepEqual(pages.map((page) => page.length), [2, 2, 1]);
  assert.deepEqual(pages.flat().sort(), devices.sort());

  const count = registry.createQuery(`SELECT COUNT() AS total FROM devices WHERE tags.group = '${group}' AND tags.n > 2`);
  assert.deepEqual((await count.next()).result, [{ total: 2 }]);
  assert.equal(count.hasMoreResults, false);
  await assert.rejects(registry.createQuery("SELECT").next(), refusal("ArgumentError", 400, "ArgumentInvalid"));
});

test("configurations", async () => {
  const id = hub.unique("config");
  const configuration = {
    id,
    content: { deviceContent: { "properties.desired.speed": 5 } },
    targetCondition: "tags.site = 'nowhere'",
    priority: 10,
    schemaVersion: "1.0",
    metrics: { queries: { fast: "SELECT deviceId FROM devices WHERE properties.reported.speed > 3" } },
  };
  const { responseBody: made } = await registry.addConfiguration(configuration);
  assert.deepEqual([made.id, made.priority, made.etag], [id, 10, "MQ=="]);
  await assert.rejects(registry.addConfiguration(configuration), (error) => error.response.statusCode === 409);
  const { responseBody: updated } = await registry.updateConfiguration({ ...made, priority: 20 });
  assert.deepEqual([updated.priority, updated.etag], [20, "Mg=="]);
  await assert.rejects(registry.updateConfiguration({ ...made, priority: 30 }), (error) => error.response.statusCode === 412);
  const { responseBody: forced } = await registry.updateConfiguration({ ...made, priority: 40 }, true);
  assert.equal(forced.priority, 40);
  assert.deepEqual(forced.content, configuration.content);
  assert.equal((await registry.getConfiguration(id)).responseBody.etag, forced.etag);
  assert.ok((await registry.getConfigurations()).responseBody.some((other) => other.id === id));
  await registry.removeConfiguration(id);
  await assert.rejects(
    registry.getConfiguration(id),
    (error) => error.response.headers["iothub-errorcode"] === "ConfigurationNotFound",
  );
});

test("content for one edge device", async () => {
  const deviceId = await hub.makeDevice("edge", { capabilities: { iotEdge: true } });
  const content = {
    modulesContent: {
      $edgeAgent: { "properties.desired": { schemaVersion: "1.1", modules: { filter: {} } } },
      $edgeHub: { "properties.desired": { schemaVersion: "1.1", routes: {} } },
      filter: { "properties.desired": { speed: 5 } },
    },
  };
  const { httpResponse } = await registry.applyConfigurationContentOnDevice(deviceId, content);
  assert.equal(httpResponse.statusCode, 204);
  const { responseBody: twin } = await registry.getModuleTwin(deviceId, "filter");
  assert.equal(twin.properties.desired.speed, 5);
});

test("a stranger", async () => {
  const wrong = Registry.fromConnectionString(hub.SERVICE.replace(/SharedAccessKey=.*/, `SharedAccessKey=${hub.KEY}`));
  await assert.rejects(wrong.list(), refusal("UnauthorizedError", 401, "IotHubUnauthorizedAccess"));
});
