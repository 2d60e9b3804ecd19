// Has gemhook follow a job whose end may come without an event, such as a video or an interaction.
//
// Usage: JOBS_TABLE=... node watch.js models/veo-3/operations/abc

const { DynamoDBClient, UpdateItemCommand } = require("@aws-sdk/client-dynamodb");

// One conditional update. A put would erase the end of a job that has ended already.
async function watch(job, days = 7) {
  const until = Date.now() + days * 86_400_000;
  try {
    await new DynamoDBClient().send(new UpdateItemCommand({
      TableName: process.env.JOBS_TABLE,
      Key: { job_id: { S: job } },
      UpdateExpression: "SET watch_until = :until",
      ConditionExpression: "attribute_not_exists(ended_by)",
      ExpressionAttributeValues: { ":until": { N: String(until) } },
    }));
    return true;
  } catch (error) {
    if (error.name === "ConditionalCheckFailedException") return false;
    throw error;
  }
}

if (require.main === module) {
  watch(process.argv[2]).then((followed) => console.log(followed ? "followed" : "has ended already"));
}
