"use strict";

// @azure/arm-iothub: the hub as a resource, its keys and routes.

const assert = require("node:assert/strict");
const { test } = require("node:test");
const { IotHubClient } = require("@azure/arm-iothub");
const hub = require("./hub.js");

const [, , subscription, , group, , , , name] = process.env.IOTHUB_RESOURCE_ID.split("/");
const management = new IotHubClient(hub.credential, subscription, { endpoint: "https://localhost", retryOptions: { maxRetries: 0 } });
const resource = management.iotHubResource;

const all = async (pages) => {
  const found = [];
  for await (const item of pages) found.push(item);
  return found;
};

test("the hub is there, alone and in lists", async () => {
  const found = await resource.get(group, name);
  assert.deepEqual([found.name, found.properties.state], [name, "Active"]);
  assert.equal(found.properties.provisioningState, "Succeeded");
  assert.deepEqual((await all(resource.listByResourceGroup(group))).map((other) => other.name), [name]);
  assert.deepEqual((await all(resource.listBySubscription())).map((other) => other.name), [name]);
  await assert.rejects(resource.get(group, "nothing"), { statusCode: 404 });
});

test("the keys open the hub", async () => {
  const keys = await all(resource.listKeys(group, name));
  assert.deepEqual(
    keys.map((key) => key.keyName).sort(),
    ["device", "iothubowner", "registryRead", "registryReadWrite", "service"],
  );
  const owner = await resource.getKeysForKeyName(group, name, "iothubowner");
  assert.ok(hub.SERVICE.endsWith(`SharedAccessKey=${owner.primaryKey}`));
});

test("a route is added", async () => {
  const found = await resource.get(group, name);
  const route = { name: "active", source: "DeviceMessages", condition: "role = 'active'", endpointNames: ["events"], isEnabled: true };
  found.properties.routing.routes = [route];
  const changed = await resource.beginCreateOrUpdateAndWait(group, name, found, { ifMatch: found.etag, updateIntervalInMs: 50 });
  assert.deepEqual(changed.properties.routing.routes.map((other) => other.name), ["active"]);
  assert.notEqual(changed.etag, found.etag);
  await assert.rejects(
    resource.beginCreateOrUpdateAndWait(group, name, found, { ifMatch: found.etag, updateIntervalInMs: 50 }),
    { statusCode: 412 },
  );
  const input = (role) => ({ routingSource: "DeviceMessages", message: { body: "", appProperties: { role } } });
  assert.deepEqual((await resource.testAllRoutes(name, group, input("active"))).routes.map((r) => r.properties.name), ["active"]);
});

test("a route is tried out", async () => {
  const ask = async (condition, level) => {
    const route = { name: "try", source: "DeviceMessages", condition, endpointNames: ["events"], isEnabled: true };
    const message = { body: "", appProperties: { level } };
    return resource.testRoute(name, group, { message, route });
  };
  assert.equal((await ask("as_number(level) > 2", "3")).result, "true");
  assert.equal((await ask("as_number(level) > 2", "1")).result, "false");
  const broken = await ask("as_number(level >", "1");
  assert.equal(broken.details.compilationErrors.length > 0, true);
});

test("tags", async () => {
  const changed = await resource.beginUpdateAndWait(group, name, { tags: { made: "by-a-test" } }, { updateIntervalInMs: 50 });
  assert.deepEqual(changed.tags, { made: "by-a-test" });
});

test("numbers", async () => {
  const quotas = await all(resource.listQuotaMetrics(group, name));
  assert.deepEqual(quotas.map((quota) => quota.name).sort(), ["TotalDeviceCount", "TotalMessages"]);
  const before = (await resource.getStats(group, name)).totalDeviceCount;
  await hub.makeDevice();
  assert.equal((await resource.getStats(group, name)).totalDeviceCount, before + 1);
});
