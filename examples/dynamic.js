// Creates jobs with a webhook of their own and a binding token that shows that they are ours.
//
// Usage: WEBHOOK_URL=... BINDING_KEY=... GEMINI_API_KEY=... node dynamic.js batch|interaction

const { createHmac, randomBytes } = require("node:crypto");
const { GoogleGenAI } = require("@google/genai");

// What `gemhook token` mints: a nonce and its HMAC.
function token(key) {
  const nonce = randomBytes(16).toString("hex");
  return `${nonce}.${createHmac("sha256", key).update(`gemhook binding v1:${nonce}`).digest("base64url")}`;
}

function bound(metadata) {
  return { ...metadata, gemhook_token: token(process.env.BINDING_KEY) };
}

async function batch(client) {
  const job = await client.batches.create({
    model: "gemini-flash-latest",
    src: [{ contents: [{ role: "user", parts: [{ text: "Which fruit is ripe in May?" }] }] }],
    config: { webhookConfig: { uris: [process.env.WEBHOOK_URL], userMetadata: bound({ group: "nightly" }) } },
  });
  return job.name;
}

async function interaction(client) {
  const job = await client.interactions.create({
    model: "gemini-flash-latest",
    input: "Which fruit is ripe in May?",
    background: true,
    webhook_config: { uris: [process.env.WEBHOOK_URL], user_metadata: bound({ group: "research" }) },
  });
  return job.id;
}

if (require.main === module) {
  const create = { batch, interaction }[process.argv[2]];
  create(new GoogleGenAI({ apiKey: process.env.GEMINI_API_KEY })).then(console.log);
}
