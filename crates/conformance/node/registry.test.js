"use strict";

// azure-iothub's Registry: identities of devices.

const assert = require("node:assert/strict");
const { test } = require("node:test");
const { Registry } = require("azure-iothub");
const hub = require("./hub.js");

const registry = Registry.fromConnectionString(hub.SERVICE);

test("a device with keys", async () => {
  const deviceId = hub.unique("device");
  const { responseBody: made, httpResponse } = await registry.create({ deviceId, status: "enabled" });
  assert.equal(httpResponse.statusCode, 200);
  assert.equal(made.deviceId, deviceId);
  assert.equal(made.authentication.type, "sas");
  assert.notEqual(made.authentication.symmetricKey.primaryKey, "");

  await assert.rejects(registry.create({ deviceId }), { name: "DeviceAlreadyExistsError" });

  const { responseBody: updated } = await registry.update({ ...made, status: "disabled" });
  assert.equal(updated.status, "disabled");
  assert.equal(updated.generationId, made.generationId);
  assert.notEqual(updated.etag, made.etag);

  await registry.delete(deviceId);
  await assert.rejects(registry.get(deviceId), { name: "DeviceNotFoundError" });
});
