"use strict";

// azure-iothub's JobClient, and a bearer token in place of a connection string.

const assert = require("node:assert/strict");
const { test } = require("node:test");
const { JobClient, Registry } = require("azure-iothub");
const hub = require("./hub.js");

const { registry } = hub;
const jobs = JobClient.fromSharedAccessSignature(hub.serviceSignature());

const finished = (jobId) =>
  hub.eventually("the job's end", async () => {
    const { jobStatus: job } = await jobs.getJob(jobId);
    return ["completed", "failed", "cancelled"].includes(job.status) ? job : undefined;
  });

const group = async (size) => {
  const name = hub.unique("group");
  const devices = [];
  for (let n = 0; n < size; n++) {
    devices.push(await hub.makeDevice());
    await registry.updateTwin(devices[n], { tags: { group: name } }, "*");
  }
  return { devices, condition: `tags.group = '${name}'` };
};

test("a twin update", async () => {
  const { devices, condition } = await group(2);
  const jobId = hub.unique("job");
  const patch = { etag: "*", tags: { done: true }, properties: { desired: { speed: 5 } } };
  await jobs.scheduleTwinUpdate(jobId, condition, patch, new Date(), 60);
  const job = await finished(jobId);
  assert.deepEqual([job.status, job.type], ["completed", "scheduleUpdateTwin"]);
  assert.equal(job.deviceJobStatistics.succeededCount, 2);
  const { responseBody: twin } = await registry.getTwin(devices[0]);
  assert.deepEqual([twin.tags.done, twin.properties.desired.speed], [true, 5]);

  const { result } = await jobs.createQuery("scheduleUpdateTwin", "completed").next();
  assert.ok(result.some((other) => other.jobId === jobId));
});

test("a method that nobody answers", async () => {
  const { condition } = await group(2);
  const jobId = hub.unique("job");
  const method = { methodName: "echo", payload: null, responseTimeoutInSeconds: 5 };
  await jobs.scheduleDeviceMethod(jobId, condition, method, new Date(), 60);
  const job = await finished(jobId);
  assert.equal(job.type, "scheduleDeviceMethod");
  assert.equal(job.deviceJobStatistics.failedCount, 2);
});

test("a job for later", async () => {
  const { condition } = await group(1);
  const jobId = hub.unique("job");
  await jobs.scheduleTwinUpdate(jobId, condition, { etag: "*", tags: { done: true } }, new Date(Date.now() + 86_400_000), 60);
  await jobs.cancelJob(jobId);
  const { jobStatus: cancelled } = await jobs.getJob(jobId);
  assert.equal(cancelled.status, "cancelled");
});

test("a bearer token", async () => {
  const bearer = Registry.fromTokenCredential("localhost", hub.credential);
  const deviceId = await hub.makeDevice();
  assert.equal((await bearer.get(deviceId)).responseBody.deviceId, deviceId);
  const stranger = Registry.fromTokenCredential("localhost", {
    getToken: async () => ({ token: "no.such.token", expiresOnTimestamp: Date.now() + 3_600_000 }),
  });
  await assert.rejects(stranger.get(deviceId), { name: "UnauthorizedError" });
});
