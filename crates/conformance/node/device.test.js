"use strict";

// azure-iot-device over MQTT and over MQTT in a WebSocket, and azure-iothub's Client for methods.

const assert = require("node:assert/strict");
const { X509Certificate } = require("node:crypto");
const { readFileSync } = require("node:fs");
const { describe, test } = require("node:test");
const { Client: Service } = require("azure-iothub");
const { NoRetry } = require("azure-iot-common");
const {
  Client,
  Message,
  ModuleClient,
  SharedAccessSignatureAuthenticationProvider,
} = require("azure-iot-device");
const { Mqtt, MqttWs } = require("azure-iot-device-mqtt");
const hub = require("./hub.js");

const { registry } = hub;
const service = Service.fromConnectionString(hub.SERVICE);

/** A client that ends with the test, not yet connected. */
const client = async (t, deviceId, { transport = Mqtt, key = hub.KEY, module } = {}) => {
  const kind = module === undefined ? Client : ModuleClient;
  const made = kind.fromConnectionString(hub.deviceString(deviceId, key, module), transport);
  await made.setOptions({ ca: hub.CA });
  made.on("error", () => {});
  t.after(() => made.close().catch(() => {}));
  return made;
};

const echo = (request, response) => response.send(200, request.payload);

const report = (twin, patch) =>
  new Promise((resolve, reject) => twin.properties.reported.update(patch, (error) => (error ? reject(error) : resolve())));

for (const transport of [Mqtt, MqttWs]) {
  describe(transport.name, () => {
    test("messages are accepted", async (t) => {
      const device = await client(t, await hub.makeDevice(), { transport });
      await device.open();
      const before = await hub.meter("telemetry");
      const message = new Message(JSON.stringify({ level: 3 }));
      message.contentType = "application/json";
      message.contentEncoding = "utf-8";
      message.properties.add("severity", "high & rising=yes/no");
      await device.sendEvent(message);
      // The second time around the SDK's topic ends in a slash.
      await device.sendEvent(message);
      message.setAsSecurityMessage();
      await device.sendEvent(message);
      assert.equal(await hub.meter("telemetry"), before + 3);
    });

    test("the twin", async (t) => {
      const deviceId = await hub.makeDevice();
      await registry.updateTwin(deviceId, { properties: { desired: { speed: 5 } } }, "*");
      const device = await client(t, deviceId, { transport });
      await device.open();
      const twin = await device.getTwin();
      assert.deepEqual([twin.properties.desired.speed, twin.properties.desired.$version], [5, 2]);
      const told = hub.next(twin, "properties.desired.deep");
      await hub.heard(twin);
      await report(twin, { speed: 4, deep: { a: 1 } });
      await report(twin, { deep: { a: null, b: 2 } });
      // A listener hears at once what it asks for if it is there, so this comes from the hub.
      await registry.updateTwin(deviceId, { properties: { desired: { deep: { on: true } } } }, "*");
      assert.deepEqual(await told, { on: true });
      const { responseBody: seen } = await registry.getTwin(deviceId);
      assert.equal(seen.properties.reported.speed, 4);
      assert.deepEqual(seen.properties.reported.deep, { b: 2 });
      assert.equal(seen.properties.reported.$version, 3);
    });

    test("methods", async (t) => {
      const deviceId = await hub.makeDevice();
      const device = await client(t, deviceId, { transport });
      await device.open();
      device.onDeviceMethod("echo", echo);
      const invoke = (payload) => service.invokeDeviceMethod(deviceId, { methodName: "echo", payload, connectTimeoutInSeconds: 30 });
      for (const payload of [{ a: [1, null, "x"] }, "text", 7, [], true, null]) {
        const { result } = await invoke(payload);
        assert.deepEqual(result, { status: 200, payload });
      }
    });
  });
}

test("with a signature instead of a key", async (t) => {
  const deviceId = await hub.makeDevice();
  const signature = () => hub.signature(`${hub.HOST}/devices/${deviceId}`, undefined, hub.KEY);
  const provider = SharedAccessSignatureAuthenticationProvider.fromSharedAccessSignature(signature());
  for (const device of [
    Client.fromSharedAccessSignature(signature(), Mqtt),
    Client.fromAuthenticationProvider(provider, Mqtt),
  ]) {
    t.after(() => device.close().catch(() => {}));
    await device.setOptions({ ca: hub.CA });
    await device.open();
    device.onDeviceMethod("echo", echo);
    const backEnd = Service.fromSharedAccessSignature(hub.serviceSignature());
    const ask = () => backEnd.invokeDeviceMethod(deviceId, { methodName: "echo", payload: 1, connectTimeoutInSeconds: 30 });
    assert.deepEqual((await ask()).result, { status: 200, payload: 1 });
    // Another signature is another connection, or two: a call that comes in between is lost with the first.
    const before = await hub.meter("connects");
    await device.updateSharedAccessSignature(signature());
    await hub.eventually("a new connection", async () => (await hub.meter("connects")) > before);
    const answered = await hub.eventually("an answer over it", () => ask().catch(() => undefined));
    assert.deepEqual(answered.result, { status: 200, payload: 1 });
    await device.close();
  }
});

test("what the SDK does not do over MQTT", async (t) => {
  const device = await client(t, await hub.makeDevice());
  await device.open();
  await assert.rejects(async () => device.sendEventBatch([new Message("a")]), { name: "NotImplementedError" });
  for (const settle of ["abandon", "reject"]) {
    await assert.rejects(async () => device[settle](new Message("a")), { name: "NotImplementedError" }, settle);
  }
});

test("a module", async (t) => {
  const deviceId = await hub.makeDevice();
  const symmetricKey = { primaryKey: hub.OTHER_KEY, secondaryKey: hub.KEY };
  await registry.addModule({ deviceId, moduleId: "filter", authentication: { type: "sas", symmetricKey } });
  const module = await client(t, deviceId, { module: "filter", key: hub.OTHER_KEY });
  await module.open();
  module.onMethod("echo", echo);
  const { result } = await service.invokeDeviceMethod(deviceId, "filter", {
    methodName: "echo",
    payload: 1,
    connectTimeoutInSeconds: 30,
  });
  assert.deepEqual(result, { status: 200, payload: 1 });
  const twin = await module.getTwin();
  await report(twin, { up: true });
  assert.equal((await registry.getModuleTwin(deviceId, "filter")).responseBody.properties.reported.up, true);
});

test("methods that fail", async (t) => {
  const deviceId = await hub.makeDevice();
  const invoke = (id, more) => service.invokeDeviceMethod(id, { methodName: "echo", payload: 1, ...more });
  await assert.rejects(invoke(deviceId), (error) => {
    assert.deepEqual(
      [error.response.statusCode, error.response.headers["iothub-errorcode"]],
      [404, "DeviceNotOnline"],
    );
    return true;
  });
  await assert.rejects(
    invoke(hub.unique("nobody")),
    (error) => error.response.headers["iothub-errorcode"] === "DeviceNotFound",
  );
  const device = await client(t, deviceId);
  await device.open();
  device.onDeviceMethod("echo", echo);
  device.onDeviceMethod("silence", () => {});
  assert.deepEqual((await invoke(deviceId, { connectTimeoutInSeconds: 30 })).result, { status: 200, payload: 1 });
  await assert.rejects(
    invoke(deviceId, { methodName: "silence", responseTimeoutInSeconds: 5 }),
    (error) => error.response.headers["iothub-errorcode"] === "GatewayTimeout",
  );
});

test("who is not let in", async (t) => {
  for (const transport of [Mqtt, MqttWs]) {
    const stranger = await client(t, await hub.makeDevice(), { transport, key: hub.OTHER_KEY.toLowerCase() });
    stranger.setRetryPolicy(new NoRetry());
    await assert.rejects(stranger.open(), { name: "UnauthorizedError" });
  }
});

test("one connection for each identity", async (t) => {
  const deviceId = await hub.makeDevice();
  const first = await client(t, deviceId);
  first.setRetryPolicy(new NoRetry());
  await first.open();
  const gone = hub.next(first, "disconnect");
  const second = await client(t, deviceId);
  second.setRetryPolicy(new NoRetry());
  await second.open();
  await gone;
  const twin = await second.getTwin();
  assert.equal(twin.properties.desired.$version, 1);
});

test("a device with a certificate", async (t) => {
  const cert = readFileSync(process.env.DEVICE_CERTIFICATE_FILE, "utf8");
  const key = readFileSync(process.env.DEVICE_KEY_FILE, "utf8");
  const thumbprint = new X509Certificate(cert).fingerprint.replaceAll(":", "");
  for (const transport of [Mqtt, MqttWs]) {
    for (const [registered, welcome] of [[thumbprint, true], ["0".repeat(40), false]]) {
      const deviceId = hub.unique("device");
      const x509Thumbprint = { primaryThumbprint: registered, secondaryThumbprint: registered };
      await registry.create({ deviceId, authentication: { type: "selfSigned", x509Thumbprint } });
      const device = Client.fromConnectionString(`HostName=${hub.HOST};DeviceId=${deviceId};x509=true`, transport);
      device.on("error", () => {});
      device.setRetryPolicy(new NoRetry());
      t.after(() => device.close().catch(() => {}));
      await device.setOptions({ ca: hub.CA, cert, key });
      if (!welcome) {
        await assert.rejects(device.open(), { name: "UnauthorizedError" });
        continue;
      }
      await device.open();
      const twin = await device.getTwin();
      assert.equal(twin.properties.desired.$version, 1);
    }
  }
});

test("a device with a certificate of an authority", async (t) => {
  const cert = readFileSync(process.env.SIGNED_CERTIFICATE_FILE, "utf8");
  const key = readFileSync(process.env.SIGNED_KEY_FILE, "utf8");
  const signed = process.env.SIGNED_DEVICE;
  const other = hub.unique("device");
  for (const deviceId of [signed, other]) {
    await registry.create({ deviceId, authentication: { type: "certificateAuthority" } });
  }
  for (const transport of [Mqtt, MqttWs]) {
    for (const deviceId of [signed, other]) {
      const device = Client.fromConnectionString(`HostName=${hub.HOST};DeviceId=${deviceId};x509=true`, transport);
      device.on("error", () => {});
      device.setRetryPolicy(new NoRetry());
      t.after(() => device.close().catch(() => {}));
      await device.setOptions({ ca: hub.CA, cert, key });
      if (deviceId === other) {
        await assert.rejects(device.open(), { name: "UnauthorizedError" });
        continue;
      }
      await device.open();
      assert.equal((await device.getTwin()).properties.desired.$version, 1);
    }
  }
});

test("messages for the device", async (t) => {
  for (const transport of [Mqtt, MqttWs]) {
    const deviceId = await hub.makeDevice();
    const device = await client(t, deviceId, { transport });
    await device.open();
    const message = hub.next(device, "message");
    const ours = (c) => c.device_id === deviceId && c.messaging;
    await hub.eventually("subscribed", async () => (await hub.control("GET", "/connections")).some(ours));
    await hub.control("POST", `/devices/${deviceId}/messages/deviceBound`, "hello", { "iothub-messageid": "m-1" });
    const told = await message;
    assert.deepEqual([told.messageId, JSON.parse(told.getData().toString())], ["m-1", "hello"]);
    await device.complete(told);
    await hub.eventually(
      "done",
      async () => (await registry.get(deviceId)).responseBody.cloudToDeviceMessageCount === 0,
    );
  }
});
