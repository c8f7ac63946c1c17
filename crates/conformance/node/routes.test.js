"use strict";

// `iotedge-ha route` and @azure/arm-iothub on one hub: each sees what the other has written, and neither undoes it.

const assert = require("node:assert/strict");
const { spawn } = require("node:child_process");
const { once } = require("node:events");
const { mkdtempSync, rmSync, writeFileSync } = require("node:fs");
const http = require("node:http");
const { tmpdir } = require("node:os");
const path = require("node:path");
const { after, before, test } = require("node:test");
const { IotHubClient } = require("@azure/arm-iothub");
const hub = require("./hub.js");

const [, , subscription, , group, , , , name] = process.env.IOTHUB_RESOURCE_ID.split("/");
const management = new IotHubClient(hub.credential, subscription, { endpoint: "https://localhost", retryOptions: { maxRetries: 0 } });
const resource = management.iotHubResource;

const folder = mkdtempSync(path.join(tmpdir(), "routes-"));
after(() => rmSync(folder, { recursive: true }));

/** A configuration whose Resource Manager is at `endpoint`. */
const configuration = (endpoint) => {
  const file = path.join(folder, "pool.toml");
  writeFileSync(
    file,
    `[hub]
connection_string_env = "IOTHUB_CONNECTION_STRING"
ca_file = "${process.env.IOTHUB_CA_FILE}"
identity = { source = "client_secret", tenant = "t", client_id = "operator", client_secret_env = "EMULATOR_CONTROL_TOKEN", authority = "https://localhost/_emulator/entra" }
resource = { subscription = "${subscription}", group = "${group}", name = "${name}", endpoint = "${endpoint}" }
[[pool]]
name = "press_1"
members = ["edge-a", "edge-b"]
routing.route = [{ endpoint = "events", condition = "level = 'high'" }]
`,
  );
  return file;
};

/** Runs `iotedge-ha route …`; what it printed and what it said. */
const route = async (endpoint, ...words) => {
  const args = ["route", ...words, "--config", configuration(endpoint)];
  const child = spawn(process.env.IOTEDGE_HA_BIN, args, { stdio: ["ignore", "pipe", "pipe"] });
  const [out, err] = [child.stdout, child.stderr].map((stream) => {
    const text = [];
    stream.on("data", (data) => text.push(data));
    return text;
  });
  const [code] = await once(child, "close");
  const said = { stdout: Buffer.concat(out).toString(), stderr: Buffer.concat(err).toString() };
  assert.equal(code, 0, JSON.stringify(said));
  return said;
};

const apply = (endpoint = "https://localhost") => route(endpoint, "apply", "press_1", "--yes", "--json");

/** The SDK's change of the hub, over what it has read. */
const change = async (edit) => {
  const found = await resource.get(group, name);
  edit(found);
  return resource.beginCreateOrUpdateAndWait(group, name, found, { ifMatch: found.etag, updateIntervalInMs: 50 });
};

const theirs = { name: "theirs", source: "DeviceMessages", condition: "a = 'b'", endpointNames: ["events"], isEnabled: true };
const ours = {
  name: "ha-press_1-events",
  source: "DeviceMessages",
  condition: "$twin.tags.ha.press_1.role = 'active' AND (level = 'high')",
  endpointNames: ["events"],
  isEnabled: true,
};
const routes = (found) => found.properties.routing.routes;

/** The hub without what any write changes, and without its routes. */
const rest = ({ etag, systemData, ...found }) => {
  const copy = structuredClone(found);
  copy.properties.routing.routes = null;
  return copy;
};

/** Resource Manager by a way on which somebody is faster: `act` is done before the first write goes on. */
const overtaken = async (t, act) => {
  let first = true;
  const statuses = [];
  const server = http.createServer(async (request, response) => {
    const chunks = [];
    for await (const chunk of request) chunks.push(chunk);
    if (request.method === "PUT" && first) {
      first = false;
      await act();
    }
    const { host, connection, ...headers } = request.headers;
    // The token that came is for this way's own address.
    headers.authorization = `Bearer ${(await hub.credential.getToken("https://localhost/.default")).token}`;
    const body = request.method === "GET" ? undefined : Buffer.concat(chunks);
    const answer = await fetch(`https://localhost${request.url}`, { method: request.method, headers, body });
    if (request.method === "PUT") statuses.push(answer.status);
    const own = `http://localhost:${server.address().port}`;
    const kept = [...answer.headers].filter(([header]) => !["content-length", "connection", "transfer-encoding"].includes(header));
    const moved = kept.map(([header, value]) => [header, value.replace("https://localhost", own)]);
    response.writeHead(answer.status, Object.fromEntries(moved)).end(Buffer.from(await answer.arrayBuffer()));
  });
  server.listen(0, "localhost");
  await once(server, "listening");
  t.after(() => server.close());
  return { endpoint: `http://localhost:${server.address().port}`, statuses };
};

before(() => change((found) => (found.properties.routing.routes = [theirs])));

test("the SDK reads the routes that were applied, and nothing else has changed", async () => {
  const old = await resource.get(group, name);
  const said = await apply();
  assert.equal(JSON.parse(said.stdout).written, true);
  const found = await resource.get(group, name);
  assert.deepEqual(routes(found), [theirs, ours]);
  assert.deepEqual(rest(found), rest(old));
});

test("what the SDK changes stays as it is", async () => {
  await change((found) => {
    found.tags = { site: "north" };
    found.properties.cloudToDevice.maxDeliveryCount = 7;
    found.properties.routing.enrichments = [{ key: "hub", value: "$iothubname", endpointNames: ["events"] }];
    routes(found)[1].isEnabled = false;
  });
  const old = await resource.get(group, name);
  await apply();
  const found = await resource.get(group, name);
  assert.deepEqual(routes(found), [theirs, ours]);
  assert.deepEqual(rest(found), rest(old));
  assert.equal(JSON.parse((await apply()).stdout).written, false, "a second time there is nothing to do");
  assert.equal((await resource.get(group, name)).etag, found.etag);
});

test("whoever was faster is not undone", async (t) => {
  await change((found) => (found.properties.routing.routes = [theirs]));
  const way = await overtaken(t, () => change((found) => (found.tags = { site: "south" })));
  const said = await apply(way.endpoint);
  assert.deepEqual(way.statuses.map((status) => status === 412), [true, false], "one conflict, one write");
  assert.match(said.stderr, /somebody else wrote first/);
  const found = await resource.get(group, name);
  assert.deepEqual([routes(found), found.tags], [[theirs, ours], { site: "south" }]);
});
