//! The services that programs in user data use from an instance: buckets, logs, values, and the clock.

use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use serde_json::Value;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::{sleep, timeout};

use chaos::ChaosKind;

use super::Host;
use super::journal_file::read_from;
use super::machine::UnitState;
use crate::commands::{NoAnswer, Tools};
use crate::{Objects, Right, ec2};
use kit::call::Need;
use kit::query::Params;

/// The instance's own tools access objects with the permissions of its role.
#[async_trait]
impl Objects for Host {
    async fn get(&self, bucket: &str, key: &str) -> Result<Bytes, String> {
        let Some(profile) = &self.profile else {
            return Err("Unable to locate credentials".to_owned());
        };
        self.reach("s3")?;
        self.check(profile, Right::Read, bucket, key).await?;
        let got = self.compute.objects.get(bucket, key).await;
        // Without permission to list the bucket, a missing object is a 403 (docs/aws.md §8.5).
        match got {
            Err(why) if why.starts_with("NoSuchKey") && self.check(profile, Right::List, bucket, "").await.is_err() => {
                Err("An error occurred (403) when calling the HeadObject operation: Forbidden".to_owned())
            }
            got => got,
        }
    }

    async fn put(&self, bucket: &str, key: &str, bytes: Bytes) -> Result<(), String> {
        let Some(profile) = &self.profile else {
            return Err("Unable to locate credentials".to_owned());
        };
        self.reach("s3")?;
        self.check(profile, Right::Write, bucket, key).await?;
        self.compute.objects.put(bucket, key, bytes).await
    }
}

#[async_trait]
impl Tools for Host {
    fn journal(&self, unit: &str, from: u64) -> (u64, String) {
        let _printing = self.prints.lock();
        read_from(&self.journal_of(unit), from)
    }

    async fn log(&self, region: Option<&str>, operation: &str, input: Value) -> Result<Value, String> {
        let Some(profile) = &self.profile else {
            return Err(
                "Unable to locate credentials. You can configure credentials by running \"aws configure\".".into()
            );
        };
        self.reach("logs")?;
        if let Some(other) = region.filter(|region| *region != self.compute.site.region) {
            return Err(format!("Could not connect to the endpoint URL: \"https://logs.{other}.amazonaws.com/\""));
        }
        let right = if operation == "CreateLogStream" { Right::MakeStream } else { Right::PutEvents };
        let name = |name: &str| input[name].as_str().unwrap_or_default();
        let refused = |code: &str, message: &str| {
            format!("An error occurred ({code}) when calling the {operation} operation: {message}")
        };
        if let Err(denial) = self.check(profile, right, name("logGroupName"), name("logStreamName")).await {
            let denial = denial.strip_prefix("AccessDenied: ").unwrap_or(&denial);
            return Err(refused("AccessDeniedException", denial));
        }
        self.compute.logs.call(operation, &input).map_err(|(code, message)| refused(&code, &message))
    }

    async fn value(&self, region: Option<&str>, operation: &str, input: Value) -> Result<Value, String> {
        let Some(profile) = &self.profile else {
            return Err(
                "Unable to locate credentials. You can configure credentials by running \"aws configure\".".into()
            );
        };
        let (service, right, id) = match operation {
            "GetSecretValue" => ("secretsmanager", Right::ReadSecret, &input["SecretId"]),
            _ => ("ssm", Right::ReadParameter, &input["Name"]),
        };
        if let Some(other) = region.filter(|region| *region != self.compute.site.region) {
            return Err(format!("Could not connect to the endpoint URL: \"https://{service}.{other}.amazonaws.com/\""));
        }
        let refused = |code: &str, message: &str| {
            format!("An error occurred ({code}) when calling the {operation} operation: {message}")
        };
        if let Err(denial) = self.check(profile, right, "", id.as_str().unwrap_or_default()).await {
            let denial = denial.strip_prefix("AccessDenied: ").unwrap_or(&denial);
            return Err(refused("AccessDeniedException", denial));
        }
        self.compute.values.call(operation, &input).map_err(|(code, message)| refused(&code, &message))
    }

    async fn associate(
        &self,
        region: Option<&str>,
        allocation: &str,
        instance: &str,
        may_move: bool,
    ) -> Result<String, String> {
        let Some(profile) = &self.profile else {
            return Err(
                "Unable to locate credentials. You can configure credentials by running \"aws configure\".".into()
            );
        };
        self.reach("ec2")?;
        let site = &self.compute.site;
        if let Some(other) = region.filter(|region| *region != site.region) {
            return Err(format!("Could not connect to the endpoint URL: \"https://ec2.{other}.amazonaws.com/\""));
        }
        let refused = |code: &str, message: &str| {
            format!("An error occurred ({code}) when calling the AssociateAddress operation: {message}")
        };
        let interface = ec2::interface_of(instance);
        let parts = [("elastic-ip", allocation), ("instance", instance), ("network-interface", interface.as_str())];
        let needs = parts.map(|(kind, id)| {
            let need =
                Need::new("ec2:AssociateAddress", format!("arn:aws:ec2:{}:{}:{kind}/{id}", site.region, site.account));
            let (need, tags) = (Need { has_tags: true, ..need }, self.compute.tags_of(id));
            tags.into_iter()
                .fold(need, |need, (key, value)| need.knowing(format!("aws:ResourceTag/{key}"), Some(value)))
        });
        let roles = &self.compute.roles;
        let role = roles.role_of_profile(profile).await.ok_or("Unable to locate credentials")?;
        if let Err(denial) = roles.may_all(&role, &self.id, needs.to_vec()).await {
            return Err(refused("UnauthorizedOperation", denial.strip_prefix("AccessDenied: ").unwrap_or(&denial)));
        }
        let form = [("AllocationId", allocation), ("InstanceId", instance)]
            .map(|(name, value)| (name.to_owned(), value.to_owned()));
        let mut form = std::collections::BTreeMap::from(form);
        form.insert("AllowReassociation".to_owned(), may_move.to_string());
        let params = Params::parse(&form);
        let associated = self.compute.try_change(|state, site| ec2::associate_address(state, site, &params));
        self.compute.wake.notify_one();
        associated.map_err(|fault| refused(fault.code, &fault.message))?;
        let association = self.compute.read(|state| state.addresses.get(allocation)?.association.clone());
        Ok(association.map(|association| association.id).unwrap_or_default())
    }

    async fn pause(&self, seconds: u64) {
        sleep(self.compute.site.speed.lasts(seconds)).await;
    }

    fn properties(&self, unit: &str) -> Vec<(&'static str, String)> {
        let units = self.machine.units.lock();
        let state = units.get(unit).cloned().unwrap_or(UnitState { active: "inactive", sub: "dead", restarts: 0 });
        vec![
            ("NRestarts", state.restarts.to_string()),
            ("ActiveState", state.active.to_owned()),
            ("SubState", state.sub.to_owned()),
        ]
    }

    async fn answer(&self, port: u16, most: Option<Duration>) -> Result<u16, NoAnswer> {
        let place = self.compute.read(|state| {
            let one = state.instances.get(&self.id)?;
            one.port.filter(|_| one.declared_port == Some(port))
        });
        let answer = first_answer(place.ok_or(NoAnswer::Refused)?);
        match most {
            Some(most) => timeout(most, answer).await.unwrap_or(Err(NoAnswer::TooSlow)),
            None => answer.await,
        }
    }

    async fn back_off(&self, seconds: u64) {
        sleep(self.compute.site.speed.takes(seconds)).await;
    }

    fn reach_repositories(&self) -> Result<(), String> {
        self.reach("s3")
    }

    fn is_full(&self) -> bool {
        self.compute.site.chaos.borrow().kinds.contains(&ChaosKind::DiskFull)
    }
}

/// Returns the status of the response to `GET /`.
async fn first_answer(port: u16) -> Result<u16, NoAnswer> {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).await.map_err(|_| NoAnswer::Refused)?;
    let request =
        format!("GET / HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nUser-Agent: curl/8\r\nConnection: close\r\n\r\n");
    let mut head = [0; 12];
    let exchanged = async {
        stream.write_all(request.as_bytes()).await?;
        stream.read_exact(&mut head).await
    };
    exchanged.await.map_err(|_| NoAnswer::Empty)?;
    let status = || -> Option<u16> { std::str::from_utf8(&head).ok()?.strip_prefix("HTTP/1.")?.get(2..)?.parse().ok() };
    status().ok_or(NoAnswer::Garbled)
}
