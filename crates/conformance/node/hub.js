"use strict";

// What the scripts know of the hub: addresses, keys and the emulator's control API.

const { randomUUID } = require("node:crypto");
const { readFileSync } = require("node:fs");
const { ConnectionString, SharedAccessSignature } = require("azure-iot-common");
const { Registry } = require("azure-iothub");

exports.SERVICE = process.env.IOTHUB_CONNECTION_STRING;
exports.CA = readFileSync(process.env.IOTHUB_CA_FILE, "utf8");
exports.HOST = "localhost";
exports.KEY = Buffer.from("a key of the test, long enough").toString("base64");
exports.OTHER_KEY = Buffer.from("another key of the test, as long").toString("base64");

/** Long enough for a busy machine; a test that passes does not wait for it. */
exports.PATIENCE_MS = 120_000;

exports.registry = Registry.fromConnectionString(exports.SERVICE);

/** An id that no other test uses. */
exports.unique = (name) => `${name}-${randomUUID().slice(0, 8)}`;

/** A new device with keys; gives its id. */
exports.makeDevice = async (name = "device", more = {}) => {
  const deviceId = exports.unique(name);
  const symmetricKey = { primaryKey: exports.KEY, secondaryKey: exports.OTHER_KEY };
  await exports.registry.create({ deviceId, authentication: { symmetricKey }, ...more });
  return deviceId;
};

exports.deviceString = (device, key = exports.KEY, module = undefined) => {
  const middle = module === undefined ? "" : `;ModuleId=${module}`;
  return `HostName=${exports.HOST};DeviceId=${device}${middle};SharedAccessKey=${key}`;
};

/** A shared access signature; with a policy for a back end, without one for a device. */
exports.signature = (resource, policy, key, seconds = 3600) =>
  SharedAccessSignature.create(resource, policy, key, Math.floor(Date.now() / 1000) + seconds).toString();

/** The same for the policy of the connection string. */
exports.serviceSignature = () => {
  const { HostName, SharedAccessKeyName, SharedAccessKey } = ConnectionString.parse(exports.SERVICE);
  return exports.signature(HostName, SharedAccessKeyName, SharedAccessKey);
};

/** A call of the emulator's control API. */
exports.control = async (method, path, body, headers = {}) => {
  const answer = await fetch(process.env.EMULATOR_CONTROL_URL + path, {
    method,
    headers: { authorization: `Bearer ${process.env.EMULATOR_CONTROL_TOKEN}`, ...headers },
    body: body === undefined ? undefined : JSON.stringify(body),
  });
  if (!answer.ok) throw new Error(`${method} ${path}: ${answer.status} ${await answer.text()}`);
  const text = await answer.text();
  return text === "" ? undefined : JSON.parse(text);
};

/** How often something has happened on this hub. */
exports.meter = async (name) => (await exports.control("GET", "/meters"))[name] ?? 0;

/** The first event of a kind, or an error if it never comes. */
exports.next = (emitter, event) =>
  new Promise((resolve, reject) => {
    const timer = setTimeout(() => reject(new Error(`${event} never came`)), exports.PATIENCE_MS);
    emitter.once(event, (value) => {
      clearTimeout(timer);
      resolve(value);
    });
  });

/**
 * Ends when the hub knows what a twin listens to: the SDK subscribes when it is asked to listen and says nothing of it, but what it asks after
 * that is answered after that.
 */
exports.heard = (twin) => twin.get();

/** Waits for a condition and gives what made it true. */
exports.eventually = async (what, holds) => {
  const deadline = Date.now() + exports.PATIENCE_MS;
  for (;;) {
    const found = await holds();
    if (found) return found;
    if (Date.now() > deadline) throw new Error(`never happened: ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
};

const TOKENS = "https://localhost/_emulator/entra/11111111-2222-3333-4444-555555555555/oauth2/v2.0/token";

/** Takes tokens from the emulator's own authority, as @azure/identity takes them from Entra's. */
exports.credential = {
  getToken: async (scopes) => {
    const form = {
      grant_type: "client_credentials",
      client_id: "a-test",
      client_secret: process.env.EMULATOR_CONTROL_TOKEN,
      scope: [scopes].flat().join(" "),
    };
    const answer = await fetch(TOKENS, { method: "POST", body: new URLSearchParams(form) });
    const body = await answer.json();
    return { token: body.access_token, expiresOnTimestamp: Date.now() + body.expires_in * 1000 };
  },
};
