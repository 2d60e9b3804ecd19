// Reads cases as lines of JSON and says of each what the official JavaScript library makes of it.
import { createInterface } from "node:readline";
import { createRequire } from "node:module";

const { Webhook, WebhookVerificationError } = createRequire(process.argv[2])("standardwebhooks");

function verdict({ secret, headers, body }) {
  try {
    new Webhook(secret).verify(Buffer.from(body, "base64"), headers, { jsonParse: false });
    return "accept";
  } catch (error) {
    return error instanceof WebhookVerificationError ? "refuse" : "crash";
  }
}

for await (const line of createInterface({ input: process.stdin })) {
  console.log(verdict(JSON.parse(line)));
}
