//! Posts in DynamoDB and pictures in S3.

pub mod batch_writes;
pub mod clients;
pub mod dynamodb;
pub mod index;
pub mod known;
pub mod pictures;
pub mod row;
pub mod rows;
pub mod s3_pages;
pub mod scan;
pub mod sigv4;
pub mod single_flight;
pub mod transport;
