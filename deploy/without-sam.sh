#!/bin/sh
# Deploys gemhook without SAM: the resources that the functions use by the AWS CLI, the functions by cargo lambda. What
# exists is left or brought up to date, so the script can be run again at any time. See docs/without-sam.md.
#
#   deploy/without-sam.sh NAME          region, account and credentials as the AWS CLI has them
#
# ARCHITECTURE=x86_64 for that processor, RETENTION_DAYS for the logs, EVENT_BUS for another bus, or none. For dynamic
# webhooks DYNAMIC_WEBHOOKS=true, with JWT_AUDIENCE for tokens and BINDING_KEY_SECRET, the ARN of a secret, for binding.
# RECORD_FIRST=n keeps the first n deliveries. RECONCILE_BATCHES, MISSING_JOB_HOURS and WEBHOOK_URL as in the README.
#
# POSIX sh, without arrays and without `local`, so that it runs in any shell, also in the bash 3.2 of macOS. A function
# with variables of its own has a body in parentheses: a subshell.
set -eu
cd "$(dirname "$0")/.."
export AWS_PAGER=""

name=${1:?the name under which everything is deployed}
architecture=${ARCHITECTURE:-arm64}
retention=${RETENTION_DAYS:-30}
bus=${EVENT_BUS:-default}
binding=${BINDING_KEY_SECRET:-}
dynamic=${DYNAMIC_WEBHOOKS:-false}
region=${AWS_REGION:-${AWS_DEFAULT_REGION:-$(aws configure get region)}}
account=$(aws sts get-caller-identity --query Account --output text)
caller=$(aws sts get-caller-identity --query Arn --output text)
partition=${caller#arn:}
partition=${partition%%:*}
bucket=$name-results-$account-$region

said() { printf '%-9s %s\n' "$1" "$2"; }
quietly() { "$@" >/dev/null; }
arn() { printf 'arn:%s:%s:%s:%s:%s' "$partition" "$1" "$region" "$account" "$2"; }

# there WHAT COMMAND... succeeds where the command finds it; made WHAT COMMAND... makes it.
there() ( what=$1; shift; "$@" >/dev/null 2>&1 && said there "$what" )
made() ( what=$1; shift; "$@" >/dev/null; said made "$what" )

permit() (
  function=$1 id=$2; shift 2
  policy=$(aws lambda get-policy --function-name "$function" --query Policy --output text 2>/dev/null || true)
  case $policy in
    (*'"Sid": "'"$id"'"'* | *'"Sid":"'"$id"'"'*) said there "permission $id of $function" ;;
    (*) made "permission $id of $function" \
      aws lambda add-permission --function-name "$function" --statement-id "$id" "$@" ;;
  esac
)

table() (
  table=$1; shift
  there "table $table" aws dynamodb describe-table --table-name "$table" || made "table $table" \
    aws dynamodb create-table --table-name "$table" --billing-mode PAY_PER_REQUEST --sse-specification Enabled=true "$@"
  aws dynamodb wait table-exists --table-name "$table"
  quietly aws dynamodb update-continuous-backups --table-name "$table" \
    --point-in-time-recovery-specification PointInTimeRecoveryEnabled=true
)

table "$name-deliveries" \
  --attribute-definitions AttributeName=webhook_id,AttributeType=S AttributeName=open,AttributeType=S \
    AttributeName=due_at,AttributeType=N \
  --key-schema AttributeName=webhook_id,KeyType=HASH \
  --global-secondary-indexes '[{"IndexName":"due",
    "KeySchema":[{"AttributeName":"open","KeyType":"HASH"},{"AttributeName":"due_at","KeyType":"RANGE"}],
    "Projection":{"ProjectionType":"INCLUDE","NonKeyAttributes":["received_at","error_kind","crashes"]}}]' \
  --stream-specification StreamEnabled=true,StreamViewType=NEW_IMAGE
table "$name-jobs" \
  --attribute-definitions AttributeName=job_id,AttributeType=S AttributeName=watch_until,AttributeType=N \
  --key-schema AttributeName=job_id,KeyType=HASH \
  --global-secondary-indexes '[{"IndexName":"watched",
    "KeySchema":[{"AttributeName":"job_id","KeyType":"HASH"},{"AttributeName":"watch_until","KeyType":"RANGE"}],
    "Projection":{"ProjectionType":"INCLUDE","NonKeyAttributes":["looks","look_at"]}}]'
expiry=$(aws dynamodb describe-time-to-live --table-name "$name-deliveries" \
  --query TimeToLiveDescription.TimeToLiveStatus --output text)
case $expiry in
  ENABL*) ;;
  *) quietly aws dynamodb update-time-to-live --table-name "$name-deliveries" \
    --time-to-live-specification Enabled=true,AttributeName=expires_at ;;
esac
stream=$(aws dynamodb describe-table --table-name "$name-deliveries" --query Table.LatestStreamArn --output text)

# us-east-1 is the one region that may not be named.
set -- aws s3api create-bucket --bucket "$bucket" --object-ownership BucketOwnerEnforced
[ "$region" = us-east-1 ] || set -- "$@" --create-bucket-configuration "LocationConstraint=$region"
there "bucket $bucket" aws s3api head-bucket --bucket "$bucket" || made "bucket $bucket" "$@"
aws s3api put-public-access-block --bucket "$bucket" --public-access-block-configuration \
  BlockPublicAcls=true,IgnorePublicAcls=true,BlockPublicPolicy=true,RestrictPublicBuckets=true
aws s3api put-bucket-versioning --bucket "$bucket" --versioning-configuration Status=Enabled
aws s3api put-bucket-encryption --bucket "$bucket" --server-side-encryption-configuration \
  '{"Rules":[{"ApplyServerSideEncryptionByDefault":{"SSEAlgorithm":"AES256"}}]}'
quietly aws s3api put-bucket-lifecycle-configuration --bucket "$bucket" --lifecycle-configuration \
  '{"Rules":[{"ID":"abort-torn-uploads","Status":"Enabled","Filter":{"Prefix":""},
    "AbortIncompleteMultipartUpload":{"DaysAfterInitiation":1}}]}'
aws s3api put-bucket-policy --bucket "$bucket" --policy '{"Version":"2012-10-17","Statement":[{"Sid":"OnlyByTls",
  "Effect":"Deny","Principal":"*","Action":"s3:*","Condition":{"Bool":{"aws:SecureTransport":"false"}},
  "Resource":["arn:'"$partition:s3:::$bucket"'","arn:'"$partition:s3:::$bucket"'/*"]}]}'
said set "bucket $bucket: private, TLS only, encrypted, versioned"

# A secret keeps its value: the placeholder is written once.
secret() {
  there "secret $1" aws secretsmanager describe-secret --secret-id "$1" || made "secret $1" \
    aws secretsmanager create-secret --name "$1" --secret-string not-set-yet --description "$2"
}
secret "$name-signing-secret" "Signing secrets of the webhook, newest first, separated by spaces"
secret "$name-api-key" "Key of the Gemini API"
signing=$(aws secretsmanager describe-secret --secret-id "$name-signing-secret" --query ARN --output text)
api_key=$(aws secretsmanager describe-secret --secret-id "$name-api-key" --query ARN --output text)

deliveries=$(arn dynamodb "table/$name-deliveries")
jobs=$(arn dynamodb "table/$name-jobs")
allow() { printf '{"Effect":"Allow","Action":%s,"Resource":"%s"}' "$1" "$2"; }

# role NAME STATEMENT...
role() (
  role=$1; shift
  there "role $role" aws iam get-role --role-name "$role" || made "role $role" \
    aws iam create-role --role-name "$role" --assume-role-policy-document '{"Version":"2012-10-17","Statement":[
      {"Effect":"Allow","Principal":{"Service":"lambda.amazonaws.com"},"Action":"sts:AssumeRole"}]}'
  logs=$(allow '["logs:CreateLogStream","logs:PutLogEvents"]' "$(arn logs "log-group:/aws/lambda/$role:*")")
  IFS=,
  aws iam put-role-policy --role-name "$role" --policy-name gemhook --policy-document \
    '{"Version":"2012-10-17","Statement":['"$*,$logs"']}'
)
logs() {
  quietly aws logs create-log-group --log-group-name "/aws/lambda/$1" 2>/dev/null || true
  aws logs put-retention-policy --log-group-name "/aws/lambda/$1" --retention-in-days "$retention"
}

set -- "$(allow '"dynamodb:PutItem"' "$deliveries")" "$(allow '"secretsmanager:GetSecretValue"' "$signing")"
[ -z "$binding" ] || set -- "$@" "$(allow '"secretsmanager:GetSecretValue"' "$binding")"
role "$name-receiver" "$@"

set -- "$(allow '["dynamodb:UpdateItem","dynamodb:PutItem"]' "$deliveries")" \
  "$(allow '"dynamodb:Query"' "$deliveries/index/due")" \
  "$(allow '["dynamodb:DescribeStream","dynamodb:GetRecords","dynamodb:GetShardIterator"]' "$stream")" \
  "$(allow '"dynamodb:ListStreams"' "$deliveries/stream/*")" \
  "$(allow '["dynamodb:UpdateItem","dynamodb:GetItem"]' "$jobs")" \
  "$(allow '"dynamodb:Scan"' "$jobs/index/watched")" \
  "$(allow '["s3:PutObject","s3:GetObject","s3:AbortMultipartUpload","s3:ListMultipartUploadParts"]' "arn:$partition:s3:::$bucket/*")" \
  "$(allow '"s3:ListBucket"' "arn:$partition:s3:::$bucket")" \
  "$(allow '"secretsmanager:GetSecretValue"' "$api_key")"
[ -z "$binding" ] || set -- "$@" "$(allow '"secretsmanager:GetSecretValue"' "$binding")"
[ "$bus" = none ] || set -- "$@" "$(allow '"events:PutEvents"' "$(arn events "event-bus/$bus")")"
role "$name-archiver" "$@"
logs "$name-receiver"
logs "$name-archiver"

case $architecture in arm64) processor=--arm64 ;; *) processor=--x86-64 ;; esac
# CI has no account to deploy to: it builds nothing here and gives a command that deploys in place of cargo lambda.
[ -n "${GEMHOOK_DEPLOY:-}" ] || cargo lambda build --release "$processor" --bin receiver --bin archiver
# deploy_function BINARY MEMORY TIMEOUT VARIABLES
deploy_function() (
  function=$name-$1
  # shellcheck disable=SC2086 # the command is several words
  set -- ${GEMHOOK_DEPLOY:-cargo lambda deploy} --binary-name "$1" --memory "$2" --timeout "$3" \
    --role "arn:$partition:iam::$account:role/$function" --env-var "$4" "$function"
  # A role made a moment ago may not be known everywhere yet.
  quietly "$@" || { sleep 15; quietly "$@"; }
  aws lambda wait function-updated-v2 --function-name "$function"
  quietly aws lambda update-function-configuration --function-name "$function" --logging-config \
    LogFormat=JSON,SystemLogLevel=WARN
  aws lambda wait function-updated-v2 --function-name "$function"
  said deployed "function $function"
)
shared=DELIVERIES_TABLE=$name-deliveries,RECORD_FIRST=${RECORD_FIRST:-0}${binding:+,BINDING_KEY_SECRET_ID=$binding}
deploy_function receiver 128 5 \
  "$shared,WEBHOOK_SECRET_ID=$signing,DYNAMIC_WEBHOOKS=$dynamic${JWT_AUDIENCE:+,JWT_AUDIENCE=$JWT_AUDIENCE}"
there "URL of $name-receiver" aws lambda get-function-url-config --function-name "$name-receiver" ||
  made "URL of $name-receiver" \
    aws lambda create-function-url-config --function-name "$name-receiver" --auth-type NONE
permit "$name-receiver" public-url --action lambda:InvokeFunctionUrl --principal '*' --function-url-auth-type NONE
permit "$name-receiver" public-invoke --action lambda:InvokeFunction --principal '*' --invoked-via-function-url
url=$(aws lambda get-function-url-config --function-name "$name-receiver" --query FunctionUrl --output text)

archiver=$shared,JOBS_TABLE=$name-jobs,BUCKET=$bucket,GEMINI_API_KEY_SECRET_ID=$api_key,EVENT_BUS=$bus
archiver=$archiver,RECONCILE_BATCHES=${RECONCILE_BATCHES:-auto},MISSING_JOB_HOURS=${MISSING_JOB_HOURS:-48}
deploy_function archiver 512 900 "$archiver,WEBHOOK_URL=${WEBHOOK_URL:-$url}"

mapping=$(aws lambda list-event-source-mappings --function-name "$name-archiver" --event-source-arn "$stream" \
  --query 'EventSourceMappings[0].UUID' --output text)
if [ "$mapping" = None ]; then
  made "mapping of the stream to $name-archiver" \
    aws lambda create-event-source-mapping --function-name "$name-archiver" --event-source-arn "$stream" \
    --starting-position TRIM_HORIZON --batch-size 1 --parallelization-factor 2 --maximum-retry-attempts 1 \
    --maximum-record-age-in-seconds 3600 --filter-criteria \
    '{"Filters":[{"Pattern":"{\"dynamodb\":{\"NewImage\":{\"state\":{\"S\":[\"received\"]}}}}"}]}'
else
  said there "mapping of the stream to $name-archiver"
fi
quietly aws lambda put-function-event-invoke-config --function-name "$name-archiver" \
  --maximum-retry-attempts 0 --maximum-event-age-in-seconds 300

# schedule NAME EXPRESSION
schedule() {
  quietly aws events put-rule --name "$name-$1" --schedule-expression "$2"
  quietly aws events put-targets --rule "$name-$1" --targets \
    '[{"Id":"archiver","Arn":"'"$(arn lambda "function:$name-archiver")"'","Input":"{\"schedule\":\"'"$1"'\"}"}]'
  permit "$name-archiver" "$1" --action lambda:InvokeFunction --principal events.amazonaws.com \
    --source-arn "$(arn events "rule/$name-$1")"
  said set "schedule $name-$1, $2"
}
schedule sweep "rate(5 minutes)"
schedule reconcile "rate(1 hour)"

said url "$url"
