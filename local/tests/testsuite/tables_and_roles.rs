//! DynamoDB, IAM, STS, CloudWatch Logs and Rekognition, as the deployer and the service use them.

mod answers;
mod identity;
mod items;
mod labels;
mod logs;
mod raw;
mod support;
mod tables;
mod tagging;
