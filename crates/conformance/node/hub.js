"use strict";

// What the scripts know of the hub: addresses, keys and the emulator's control API.

const { randomUUID } = require("node:crypto");
const { readFileSync } = require("node:fs");

exports.SERVICE = process.env.IOTHUB_CONNECTION_STRING;
exports.CA = readFileSync(process.env.IOTHUB_CA_FILE, "utf8");

/** An id that no other test uses. */
exports.unique = (name) => `${name}-${randomUUID().slice(0, 8)}`;
