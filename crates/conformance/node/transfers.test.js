"use strict";

// azure-iothub's Registry: import and export, from and to blob containers.

const assert = require("node:assert/strict");
const { mkdirSync, readFileSync } = require("node:fs");
const { join } = require("node:path");
const { test } = require("node:test");
const hub = require("./hub.js");

const { registry } = hub;

const container = () => {
  const name = hub.unique("container");
  const folder = join(process.env.BLOB_DIR, name);
  mkdirSync(folder);
  const address = `https://store.blob.core.windows.net/${name}?sv=2021-12-02&sig=c2VjcmV0`;
  return { address, read: () => readFileSync(join(folder, "devices.txt"), "utf8").trim().split("\n").map(JSON.parse) };
};

const finished = (job) =>
  hub.eventually("the job's end", async () => {
    const found = await registry.getJob(job.jobId);
    return ["enqueued", "running"].includes(found.status) ? undefined : found;
  });

test("out and in again", async () => {
  const deviceId = await hub.makeDevice();
  const { address, read } = container();
  const exported = await finished(await registry.exportDevicesToBlob(address, false));
  assert.deepEqual([exported.type, exported.status, exported.progress], ["export", "completed", 100]);
  const entry = read().find((line) => line.id === deviceId);
  assert.equal(entry.authentication.symmetricKey.primaryKey, hub.KEY);
  await registry.delete(deviceId);

  const imported = await finished(await registry.importDevicesFromBlob(address, address));
  assert.deepEqual([imported.type, imported.status], ["import", "completed"]);
  const { responseBody: device } = await registry.get(deviceId);
  assert.equal(device.authentication.symmetricKey.primaryKey, hub.KEY);

  const { responseBody: jobs } = await registry.listJobs();
  assert.ok(jobs.some((job) => job.jobId === imported.jobId));
  // It has ended, and stays so.
  await registry.cancelJob(imported.jobId);
  assert.equal((await registry.getJob(imported.jobId)).status, "completed");
});

test("by identity, and without keys", async () => {
  const deviceId = await hub.makeDevice();
  const { address, read } = container();
  const bare = address.split("?")[0];
  const exported = await finished(await registry.exportDevicesToBlobByIdentity(bare, true));
  assert.deepEqual([exported.status, exported.excludeKeysInExport], ["completed", true]);
  const entry = read().find((line) => line.id === deviceId);
  assert.deepEqual(entry.authentication.symmetricKey, { primaryKey: null, secondaryKey: null });
  await registry.delete(deviceId);
  const imported = await finished(await registry.importDevicesFromBlobByIdentity(bare, bare));
  assert.deepEqual([imported.type, imported.status], ["import", "completed"]);
  const { responseBody: device } = await registry.get(deviceId);
  assert.match(device.authentication.symmetricKey.primaryKey, /^.{40,}$/);
});

test("what is refused", async () => {
  const nowhere = "https://store.blob.core.windows.net/nowhere?sig=c2VjcmV0";
  await assert.rejects(registry.exportDevicesToBlob(nowhere, false), { name: "ArgumentError" });
  await assert.rejects(registry.getJob(hub.unique("job")), (error) => error.response.statusCode === 404);
});
