// Lean Node: the platform's own crypto and the one SDK client that is needed, bundled into one file.
import { createHmac, timingSafeEqual } from "node:crypto";
import { DynamoDBClient, PutItemCommand } from "@aws-sdk/client-dynamodb";

const dynamodb = new DynamoDBClient({});
const table = process.env.DELIVERIES_TABLE;
const secret = Buffer.from(process.env.WEBHOOK_SECRET.replace("whsec_", ""), "base64");

const isSigned = (headers, body) => {
  const { "webhook-id": id, "webhook-timestamp": timestamp, "webhook-signature": signatures } = headers;
  if (!id || !signatures || !(Math.abs(Date.now() / 1000 - Number(timestamp)) <= 300)) return false;
  const expected = createHmac("sha256", secret).update(`${id}.${timestamp}.${body}`).digest();
  return signatures.split(" ").some((entry) => {
    const given = Buffer.from(entry.replace(/^v1,/, ""), "base64");
    return given.length === expected.length && timingSafeEqual(given, expected);
  });
};

export const handler = async ({ headers, body }) => {
  if (!isSigned(headers, body)) {
    console.log(JSON.stringify({ level: "WARN", message: "refused" }));
    return { statusCode: 401, body: "refused" };
  }
  const id = headers["webhook-id"];
  const command = new PutItemCommand({
    TableName: table,
    Item: { webhook_id: { S: id }, body: { S: body } },
    ConditionExpression: "attribute_not_exists(webhook_id)",
  });
  let message = "stored";
  try {
    await dynamodb.send(command);
  } catch (error) {
    if (error.name !== "ConditionalCheckFailedException") throw error;
    message = "duplicate";
  }
  console.log(JSON.stringify({ level: "INFO", message, id }));
  return { statusCode: 200, body: "accepted" };
};
