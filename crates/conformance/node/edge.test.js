"use strict";

// azure-iot-device behind IoT Edge: ModuleClient.fromEnvironment, routes, methods, a leaf device, and a line that is cut.

const assert = require("node:assert/strict");
const { describe, test } = require("node:test");
const { Client: Service } = require("azure-iothub");
const { Client, Message } = require("azure-iot-device");
const { Mqtt, MqttWs } = require("azure-iot-device-mqtt");
const edge = require("./edge.js");
const hub = require("./hub.js");

const { registry } = hub;
const service = Service.fromConnectionString(hub.SERVICE);

const echo = (request, response) => response.send(200, request.payload);

const report = (twin, patch) =>
  new Promise((resolve, reject) => twin.properties.reported.update(patch, (error) => (error ? reject(error) : resolve())));

const reported = async (deviceId, moduleId) =>
  (await registry.getModuleTwin(deviceId, moduleId)).responseBody.properties.reported;

const message = (text, properties = {}) => {
  const made = new Message(text);
  for (const [name, value] of Object.entries(properties)) made.properties.add(name, value);
  return made;
};

for (const transport of [Mqtt, MqttWs]) {
  describe(transport.name, () => {
    test("a module", async (t) => {
      const device = await edge.device(t);
      const press = await edge.module(device, edge.PRESS, transport);
      await press.open();

      const twin = await press.getTwin();
      const told = hub.next(twin, "properties.desired.speed");
      await hub.heard(twin);
      await edge.hearsChanges(device, edge.PRESS);
      await registry.updateModuleTwin(device.deviceId, edge.PRESS, { properties: { desired: { speed: 5 } } }, "*");
      assert.equal(await told, 5);
      await report(twin, { seen: { speed: 5 } });
      await hub.eventually("the report is in the cloud", async () => (await reported(device.deviceId, edge.PRESS)).seen);
      assert.deepEqual((await reported(device.deviceId, edge.PRESS)).seen, { speed: 5 });

      press.onMethod("echo", echo);
      const methodParams = { methodName: "echo", payload: { a: [1, null] }, connectTimeoutInSeconds: 30 };
      const { result } = await service.invokeDeviceMethod(device.deviceId, edge.PRESS, methodParams);
      assert.deepEqual(result, { status: 200, payload: { a: [1, null] } });

      const before = await hub.meter("telemetry");
      await press.sendOutputEvent("cold", message("to the cloud"));
      await hub.eventually("the message is in the cloud", async () => (await hub.meter("telemetry")) === before + 1);
    });

    test("messages and methods from module to module", async (t) => {
      const device = await edge.device(t);
      const log = await edge.module(device, edge.LOG, transport);
      const heard = [];
      log.on("inputMessage", (input, alarm) => {
        heard.push([input, alarm.getData().toString(), alarm.properties.getValue("level")]);
        log.complete(alarm, () => {});
      });
      await log.open();
      log.onMethod("echo", echo);
      const press = await edge.module(device, edge.PRESS, transport);
      await press.open();
      await press.sendOutputEvent("hot", message("too cold", { level: "2" }));
      await press.sendOutputEvent("hot", message("hot", { level: "3" }));
      await hub.eventually("the alarm is heard", () => heard.length > 0);
      assert.deepEqual(heard, [["alarms", "hot", "3"]]);

      const call = { methodName: "echo", payload: "hello", connectTimeoutInSeconds: 30, responseTimeoutInSeconds: 30 };
      const answer = await press.invokeMethod(device.deviceId, edge.LOG, call);
      assert.deepEqual(answer, { status: 200, payload: "hello" });
      await assert.rejects(press.invokeMethod(device.deviceId, "nobody", { ...call, connectTimeoutInSeconds: 0 }));
    });

    test("a leaf device", async (t) => {
      const device = await edge.device(t);
      const { deviceScope } = (await registry.get(device.deviceId)).responseBody;
      const leafId = await hub.makeDevice("leaf", { deviceScope });
      const leaf = Client.fromConnectionString(`${hub.deviceString(leafId)};GatewayHostName=${device.address}`, transport);
      await leaf.setOptions({ ca: device.ca });
      leaf.on("error", () => {});
      device.clients.push(leaf);
      await leaf.open();
      leaf.onDeviceMethod("echo", echo);
      const methodParams = { methodName: "echo", payload: 7, connectTimeoutInSeconds: 30 };
      const { result } = await service.invokeDeviceMethod(leafId, methodParams);
      assert.deepEqual(result, { status: 200, payload: 7 });
      const before = await hub.meter("telemetry");
      await leaf.sendEvent(message("from the leaf"));
      await hub.eventually("the message is in the cloud", async () => (await hub.meter("telemetry")) === before + 1);
    });
  });
}

test("a line that is cut and restored", async (t) => {
  const device = await edge.device(t);
  const press = await edge.module(device, edge.PRESS, Mqtt);
  await press.open();
  const twin = await press.getTwin();
  await edge.cut(device, "silent");
  const before = await hub.meter("telemetry");
  await press.sendOutputEvent("cold", message("while away"));
  await report(twin, { mood: "lonely" });
  assert.equal(twin.properties.reported.mood, "lonely");
  assert.equal((await reported(device.deviceId, edge.PRESS)).mood, undefined);
  assert.equal(await hub.meter("telemetry"), before);
  await edge.cut(device, "none");
  await hub.eventually("the report is in the cloud", async () => (await reported(device.deviceId, edge.PRESS)).mood);
  await hub.eventually("the message is in the cloud", async () => (await hub.meter("telemetry")) === before + 1);
});
