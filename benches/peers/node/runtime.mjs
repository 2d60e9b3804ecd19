// Stands in for Lambda's Node runtime, whose client needs a native build: the loop over the Runtime API, with one
// kept connection. The handler is in the file that is given.
import http from "node:http";
import { pathToFileURL } from "node:url";

const agent = new http.Agent({ keepAlive: true, maxSockets: 1 });
const [hostname, port] = process.env.AWS_LAMBDA_RUNTIME_API.split(":");

const call = (method, path, body) =>
  new Promise((resolve, reject) => {
    const headers = body ? { "content-type": "application/json", "content-length": Buffer.byteLength(body) } : {};
    const request = http.request({ agent, hostname, port, method, path, headers }, (response) => {
      const parts = [];
      response.on("data", (part) => parts.push(part));
      response.on("end", () => resolve({ headers: response.headers, body: Buffer.concat(parts).toString() }));
      response.on("error", reject);
    });
    request.on("error", reject);
    request.end(body);
  });

const { handler } = await import(pathToFileURL(process.argv[2]).href);
const invocation = "/2018-06-01/runtime/invocation";
for (;;) {
  const { headers, body } = await call("GET", `${invocation}/next`);
  const id = headers["lambda-runtime-aws-request-id"];
  const context = {
    awsRequestId: id,
    functionName: process.env.AWS_LAMBDA_FUNCTION_NAME,
    functionVersion: "$LATEST",
    invokedFunctionArn: headers["lambda-runtime-invoked-function-arn"],
    memoryLimitInMB: process.env.AWS_LAMBDA_FUNCTION_MEMORY_SIZE,
    getRemainingTimeInMillis: () => Number(headers["lambda-runtime-deadline-ms"]) - Date.now(),
  };
  try {
    await call("POST", `${invocation}/${id}/response`, JSON.stringify(await handler(JSON.parse(body), context)));
  } catch (error) {
    const fault = { errorType: error.name, errorMessage: String(error.message), stackTrace: [] };
    await call("POST", `${invocation}/${id}/error`, JSON.stringify(fault));
  }
}
