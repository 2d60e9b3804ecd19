"""Python as AWS recommends it: Powertools for idempotency and logs, the official library for signatures."""

import os

from aws_lambda_powertools import Logger
from aws_lambda_powertools.utilities.idempotency import (
    DynamoDBPersistenceLayer,
    IdempotencyConfig,
    idempotent_function,
)
from standardwebhooks import Webhook, WebhookVerificationError

logger = Logger(service="receiver")
webhook = Webhook(os.environ["WEBHOOK_SECRET"])
store = DynamoDBPersistenceLayer(table_name=os.environ["DELIVERIES_TABLE"], key_attr="webhook_id")
config = IdempotencyConfig(event_key_jmespath='headers."webhook-id"', raise_on_no_idempotency_key=True)


@idempotent_function(data_keyword_argument="event", persistence_store=store, config=config)
def take(event):
    logger.info("stored", id=event["headers"]["webhook-id"])
    return {"statusCode": 200, "body": "accepted"}


def handler(event, context):
    try:
        webhook.verify(event["body"], event["headers"])
    except WebhookVerificationError as error:
        logger.warning("refused", reason=str(error))
        return {"statusCode": 401, "body": "refused"}
    config.register_lambda_context(context)
    return take(event=event)
