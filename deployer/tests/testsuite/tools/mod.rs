//! The commands around a deployment: they check, draw, document and prepare a stack without changing anything in AWS.

mod completions;
mod doctor;
mod init;
mod offline;
