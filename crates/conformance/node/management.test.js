"use strict";

// @azure/arm-iothub: the hub as a resource, its keys and routes.

const assert = require("node:assert/strict");
const { mkdirSync, readFileSync } = require("node:fs");
const { join } = require("node:path");
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

test("what Azure knows around a hub", async () => {
  const operations = await all(management.operations.list());
  assert.ok(operations.some((operation) => operation.name === "Microsoft.Devices/iotHubs/Write"));
  const { value: usages } = await management.resourceProviderCommon.getSubscriptionQuota();
  assert.deepEqual(usages.map((usage) => [usage.name.value, usage.currentValue]), [["PaidHubCount", 1], ["FreeHubCount", 0]]);
  assert.ok((await all(resource.listValidSkus(group, name))).some((size) => size.sku.name === "S2"));
  const available = (wanted) => resource.checkNameAvailability({ name: wanted });
  assert.equal((await available("another-hub")).nameAvailable, true);
  assert.equal((await available(name)).reason, "AlreadyExists");
  assert.deepEqual((await management.certificates.listByIotHub(group, name)).value, []);
  assert.deepEqual((await management.privateLinkResourcesOperations.list(group, name)).value, []);
  assert.deepEqual(await management.privateEndpointConnections.list(group, name), []);
  const connection = { properties: { privateLinkServiceConnectionState: { status: "Approved", description: "ours" } } };
  for (const asked of [
    () => management.privateLinkResourcesOperations.get(group, name, "iotHub"),
    () => management.privateEndpointConnections.get(group, name, "ours"),
    () => management.privateEndpointConnections.beginUpdateAndWait(group, name, "ours", connection),
    () => management.privateEndpointConnections.beginDeleteAndWait(group, name, "ours"),
  ]) {
    await assert.rejects(asked, { statusCode: 404 });
  }
  assert.deepEqual(await all(resource.listEndpointHealth(group, name)), []);
});

test("authorities for devices", async () => {
  const authority = readFileSync(process.env.DEVICE_AUTHORITY_FILE, "utf8");
  const certificates = management.certificates;
  const made = await certificates.createOrUpdate(group, name, "plant", { properties: { certificate: authority } });
  assert.deepEqual([made.name, made.properties.isVerified], ["plant", false]);
  assert.equal(made.properties.subject, "CN=an authority of the test");
  assert.deepEqual((await certificates.listByIotHub(group, name)).value.map((one) => one.name), ["plant"]);
  const asked = await certificates.generateVerificationCode(group, name, "plant", made.etag);
  assert.equal(asked.properties.verificationCode.length > 0, true);
  await assert.rejects(certificates.verify(group, name, "plant", made.etag, { certificate: authority }), { statusCode: 412 });
  await assert.rejects(certificates.verify(group, name, "plant", asked.etag, { certificate: authority }), { statusCode: 400 });
  const vouched = { properties: { certificate: authority, isVerified: true } };
  await assert.rejects(certificates.createOrUpdate(group, name, "plant", vouched), { statusCode: 412 });
  const renewed = await certificates.createOrUpdate(group, name, "plant", vouched, { ifMatch: asked.etag });
  assert.equal((await certificates.get(group, name, "plant")).properties.isVerified, true);
  await certificates.delete(group, name, "plant", renewed.etag);
  await assert.rejects(certificates.get(group, name, "plant"), { statusCode: 404 });
});

test("consumer groups", async () => {
  const made = await resource.createEventHubConsumerGroup(group, name, "events", "Watch", { properties: { name: "Watch" } });
  assert.equal(made.name, "Watch");
  assert.equal((await resource.getEventHubConsumerGroup(group, name, "events", "Watch")).id, made.id);
  const names = async () => (await all(resource.listEventHubConsumerGroups(group, name, "events"))).map((one) => one.name);
  assert.deepEqual(await names(), ["$Default", "Watch"]);
  await resource.deleteEventHubConsumerGroup(group, name, "events", "Watch");
  assert.deepEqual(await names(), ["$Default"]);
  await assert.rejects(resource.getEventHubConsumerGroup(group, name, "events", "Watch"), { statusCode: 404 });
});

test("devices are exported and imported", async () => {
  const deviceId = await hub.makeDevice();
  const container = hub.unique("container");
  mkdirSync(join(process.env.BLOB_DIR, container));
  const address = `https://store.blob.core.windows.net/${container}?sig=c2VjcmV0`;
  const finished = (job) =>
    hub.eventually("the job's end", async () => {
      const found = await resource.getJob(group, name, job.jobId);
      return ["enqueued", "running"].includes(found.status) ? undefined : found;
    });
  const exported = await finished(await resource.exportDevices(group, name, { exportBlobContainerUri: address, excludeKeys: false }));
  assert.deepEqual([exported.type, exported.status], ["export", "completed"]);
  await hub.registry.delete(deviceId);
  const order = { inputBlobContainerUri: address, outputBlobContainerUri: address };
  const imported = await finished(await resource.importDevices(group, name, order));
  assert.deepEqual([imported.type, imported.status], ["import", "completed"]);
  assert.ok(imported.endTimeUtc >= exported.startTimeUtc);
  assert.equal((await hub.registry.get(deviceId)).responseBody.authentication.symmetricKey.primaryKey, hub.KEY);
  assert.deepEqual((await all(resource.listJobs(group, name))).map((job) => job.jobId), [exported.jobId, imported.jobId]);
});

test("the hub fails over", async () => {
  const found = await resource.get(group, name);
  const [paired] = found.properties.locations.filter((place) => place.role !== "primary");
  await management.iotHub.beginManualFailoverAndWait(name, group, { failoverRegion: paired.location }, { updateIntervalInMs: 50 });
  const after = await resource.get(group, name);
  assert.equal(after.properties.locations.find((place) => place.role === "primary").location, paired.location);
});

test("the hub stays while its process runs", async () => {
  await assert.rejects(resource.beginDeleteAndWait(group, name), { statusCode: 409, code: "ResourceDeletionFailed" });
  assert.equal((await resource.get(group, name)).name, name);
});

test("numbers", async () => {
  const quotas = await all(resource.listQuotaMetrics(group, name));
  assert.deepEqual(quotas.map((quota) => quota.name).sort(), ["TotalDeviceCount", "TotalMessages"]);
  const before = (await resource.getStats(group, name)).totalDeviceCount;
  await hub.makeDevice();
  assert.equal((await resource.getStats(group, name)).totalDeviceCount, before + 1);
});
