// npm's emulate, as GitHub's API. Usage: node github.mjs FILE; where it listens is written to FILE.
// Two users: duke has more repositories than fit on a page, paul has a few with something in them.

import { renameSync, writeFileSync } from "node:fs";
import { createEmulator } from "emulate";

const file = process.argv[2];
const repo = (owner, name) => ({ owner, name, auto_init: true });
const emulator = await createEmulator({
  service: "github",
  port: 0,
  seed: {
    tokens: {
      gho_duke: { login: "duke", scopes: ["repo"] },
      gho_paul: { login: "paul", scopes: ["repo"] },
    },
    github: {
      users: [{ login: "duke" }, { login: "paul" }],
      repos: [
        ...Array.from({ length: 101 }, (_, number) => repo("duke", `keep-${number}`)),
        ...["dunes", "sietch", "spice"].map((name) => repo("paul", name)),
      ],
    },
  },
});
writeFileSync(`${file}.new`, emulator.url.replace("localhost", "127.0.0.1"));
renameSync(`${file}.new`, file);
