// A receiver that verifies with the official library, and prints a line of JSON for each delivery. It prints its address,
// reads the signing secret from its standard input, and answers from then on: official_receiver.mjs PACKAGES

import { once } from "node:events";
import { createServer } from "node:http";
import { createRequire } from "node:module";
import { resolve } from "node:path";
import { createInterface } from "node:readline";

const { Webhook, WebhookVerificationError } = createRequire(resolve(process.argv[2]) + "/")("standardwebhooks");
const say = (value) => console.log(JSON.stringify(value));
const secret = once(createInterface({ input: process.stdin }), "line").then(([line]) => line.trim());

const server = createServer(async (request, response) => {
  const body = Buffer.concat(await request.toArray()).toString();
  let seen;
  try {
    const { type } = new Webhook(await secret).verify(body, request.headers);
    seen = { verified: true, type, id: request.headers["webhook-id"] };
  } catch (error) {
    if (!(error instanceof WebhookVerificationError)) throw error;
    seen = { verified: false, error: error.message };
  }
  say(seen);
  response.writeHead(seen.verified ? 204 : 400).end();
});
await once(server.listen(0, "127.0.0.1"), "listening");
say({ url: `http://127.0.0.1:${server.address().port}/hook` });
