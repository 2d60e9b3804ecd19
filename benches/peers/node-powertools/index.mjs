// Node as AWS recommends it: Powertools for idempotency and logs, the official library for signatures.
import { IdempotencyConfig, makeIdempotent } from "@aws-lambda-powertools/idempotency";
import { DynamoDBPersistenceLayer } from "@aws-lambda-powertools/idempotency/dynamodb";
import { Logger } from "@aws-lambda-powertools/logger";
import { Webhook } from "standardwebhooks";

const logger = new Logger({ serviceName: "receiver" });
const webhook = new Webhook(process.env.WEBHOOK_SECRET);
const persistenceStore = new DynamoDBPersistenceLayer({
  tableName: process.env.DELIVERIES_TABLE,
  keyAttr: "webhook_id",
});
const config = new IdempotencyConfig({ eventKeyJmesPath: 'headers."webhook-id"', throwOnNoIdempotencyKey: true });

const take = makeIdempotent(
  async (event) => {
    logger.info("stored", { id: event.headers["webhook-id"] });
    return { statusCode: 200, body: "accepted" };
  },
  { persistenceStore, config },
);

export const handler = async (event, context) => {
  try {
    webhook.verify(event.body, event.headers);
  } catch (error) {
    logger.warn("refused", error);
    return { statusCode: 401, body: "refused" };
  }
  config.registerLambdaContext(context);
  return take(event, context);
};
