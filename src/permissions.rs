//! What each function may do in AWS: an entry for each action that its code calls, with the place that calls it.
//!
//! The template's roles say the same in IAM's words. A test fails when a role is wider than this list, or narrower.

/// What an action is allowed on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum On {
    Deliveries,
    /// The index of rows that are due.
    DueIndex,
    DeliveriesStream,
    /// Any stream the table has had: Lambda lists them when it follows one.
    DeliveriesStreams,
    Jobs,
    /// The index of jobs that are followed.
    WatchedIndex,
    /// The objects in the bucket of results.
    Results,
    ResultsBucket,
    SigningSecret,
    ApiKeySecret,
    /// Only where binding tokens are required.
    BindingKeySecret,
    /// Only where announcements are on.
    EventBus,
    OwnLogs,
}

/// An action, what on, and who calls it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Permission(pub &'static str, pub On, pub &'static str);

pub const RECEIVER: &[Permission] = &[
    Permission("dynamodb:PutItem", On::Deliveries, "ledger::DeliveryWriter::insert"),
    Permission("secretsmanager:GetSecretValue", On::SigningSecret, "secrets::SecretStore::get"),
    Permission("secretsmanager:GetSecretValue", On::BindingKeySecret, "secrets::SecretStore::get"),
    Permission("logs:CreateLogStream", On::OwnLogs, "Lambda"),
    Permission("logs:PutLogEvents", On::OwnLogs, "Lambda"),
];

pub const ARCHIVER: &[Permission] = &[
    Permission("dynamodb:UpdateItem", On::Deliveries, "ledger::lease and the transactions of ledger::commit"),
    Permission("dynamodb:Query", On::DueIndex, "ledger::Ledger::due"),
    Permission("dynamodb:DescribeStream", On::DeliveriesStream, "Lambda, for the stream's mapping"),
    Permission("dynamodb:GetRecords", On::DeliveriesStream, "Lambda, for the stream's mapping"),
    Permission("dynamodb:GetShardIterator", On::DeliveriesStream, "Lambda, for the stream's mapping"),
    Permission("dynamodb:ListStreams", On::DeliveriesStreams, "Lambda, for the stream's mapping"),
    Permission("dynamodb:PutItem", On::Deliveries, "ledger::Ledger::enter, for jobs that were found"),
    Permission("dynamodb:UpdateItem", On::Jobs, "the transactions of ledger::commit, and ledger::watch"),
    Permission(
        "dynamodb:GetItem",
        On::Jobs,
        "ledger::Ledger::job and has_ended, for the announcement and the reconciler",
    ),
    Permission("dynamodb:Scan", On::WatchedIndex, "ledger::Ledger::watched"),
    Permission("s3:PutObject", On::Results, "archive::Bucket, whole objects and uploads in parts"),
    Permission("s3:GetObject", On::Results, "archive::Bucket::adopt, also to look an object up"),
    Permission("s3:AbortMultipartUpload", On::Results, "archive::parts"),
    Permission("s3:ListMultipartUploadParts", On::Results, "archive::parts, to go on with an upload"),
    Permission("s3:ListBucket", On::ResultsBucket, "S3 answers 403 for an absent object without it"),
    Permission("secretsmanager:GetSecretValue", On::ApiKeySecret, "secrets::SecretStore::get"),
    Permission("secretsmanager:GetSecretValue", On::BindingKeySecret, "secrets::SecretStore::get"),
    Permission("events:PutEvents", On::EventBus, "the announcement of an ended job"),
    Permission("logs:CreateLogStream", On::OwnLogs, "Lambda"),
    Permission("logs:PutLogEvents", On::OwnLogs, "Lambda"),
];
