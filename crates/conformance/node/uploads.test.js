"use strict";

// azure-iot-device's Client: files for the hub's storage.

const assert = require("node:assert/strict");
const { readFileSync } = require("node:fs");
const { join } = require("node:path");
const { Readable } = require("node:stream");
const { test } = require("node:test");
const { Client } = require("azure-iot-device");
const { Mqtt } = require("azure-iot-device-mqtt");
const hub = require("./hub.js");

/** A client that never connects: files go over HTTPS. With a key instead it would keep a timer that outlives it. */
const client = (deviceId, key = hub.KEY) =>
  Client.fromSharedAccessSignature(hub.signature(`${hub.HOST}/devices/${deviceId}`, undefined, key), Mqtt);

const read = (deviceId, name) => readFileSync(join(process.env.BLOB_DIR, "uploads", deviceId, name), "utf8");

test("a file arrives, in one block or more", async () => {
  const deviceId = await hub.makeDevice();
  const device = client(deviceId);
  // The SDK cuts what it uploads at 4 MiB.
  for (const [name, text] of [["small.txt", "all is well"], ["logs/large.txt", "0123456789abcdef".repeat(320 * 1024)]]) {
    await device.uploadToBlob(name, Readable.from(Buffer.from(text)), text.length);
    assert.ok(read(deviceId, name) === text, name);
  }
});

test("its steps one by one", async () => {
  const deviceId = await hub.makeDevice();
  const device = client(deviceId);
  const begun = await device.getBlobSharedAccessSignature("a.txt");
  assert.deepEqual([begun.hostName, begun.containerName, begun.blobName], [hub.HOST, "uploads", `${deviceId}/a.txt`]);
  const address = `https://${begun.hostName}/${begun.containerName}/${begun.blobName}${begun.sasToken}`;
  const headers = { "x-ms-blob-type": "BlockBlob" };
  const put = async (where) => (await fetch(where, { method: "PUT", headers, body: "text" })).status;
  assert.deepEqual([await put(address), await put(address.replace("a.txt", "b.txt"))], [201, 403]);
  assert.equal(read(deviceId, "a.txt"), "text");
  await device.notifyBlobUploadStatus(begun.correlationId, true, 201, "done");
  await assert.rejects(device.notifyBlobUploadStatus(begun.correlationId, true, 201, "again"), { message: "Bad Request" });
});

test("what is refused", async () => {
  const device = client(await hub.makeDevice());
  await assert.rejects(device.getBlobSharedAccessSignature("../elsewhere.txt"), { message: "Bad Request" });
  const text = Readable.from(Buffer.from("text"));
  await assert.rejects(device.uploadToBlob("..", text, 4), { name: "BlobSasError" });
  const stranger = client(await hub.makeDevice(), hub.OTHER_KEY.toLowerCase());
  await assert.rejects(stranger.getBlobSharedAccessSignature("a.txt"), { message: "Unauthorized" });
});
