//! Parameters of Parameter Store. Like secrets, they are made by `deployer secret set`.

use serde::Serialize;

use super::tags::bounded;
use crate::{
    cloud::{
        aws::{Aws, gone},
        stored_values::{parameter_tags, tag_parameter, tagged_parameters},
    },
    engine::{AllTagged, Fault, Live, Names, Observed, Owner, Resource, STACK_TAG, Tagged, Tags},
};

/// A parameter, identified by its name.
#[derive(Debug, Clone)]
pub struct Parameter {
    /// Its name.
    pub name: String,
}

/// There are no settings that `stack.yaml` decides.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Settings {}

impl Resource for Parameter {
    const KIND: &'static str = "parameter";
    const HOLDS_DATA: bool = true;
    type Cloud = Aws;
    type Settings = Settings;
    type Output = ();

    fn name(&self) -> &str {
        &self.name
    }

    async fn read(&self, aws: &Aws) -> Result<Observed<Self>, Fault> {
        let Some(tags) = parameter_tags(aws, &self.name).await? else { return Ok(Observed::Absent) };
        Ok(Observed::Present(Live { settings: Settings {}, output: (), owner: Owner::Tags(tags) }))
    }

    async fn create(&self, _: &Aws, _: &Settings, _: &Tags) -> Result<Option<Live<Self>>, Fault> {
        let remedy = format!("set its value: `deployer secret set --parameter {}`", self.name);
        Err(Fault::new("PutParameter", "NoValue", remedy))
    }

    async fn update(&self, _: &Aws, _: &Settings, _: &Live<Self>) -> Result<(), Fault> {
        Ok(())
    }

    async fn tag(&self, aws: &Aws, _live: &Live<Self>, tags: &Tags) -> Result<(), Fault> {
        tag_parameter(aws, &self.name, tags).await
    }

    async fn delete(&self, aws: &Aws, _live: &Live<Self>) -> Result<(), Fault> {
        gone(aws.ssm.delete_parameter().name(&self.name).send().await)
    }

    async fn loss(&self, _: &Aws) -> Result<Option<String>, Fault> {
        Ok(Some("its value".into()))
    }

    async fn owned(aws: &Aws, stack: &str, but: &Names) -> Result<Vec<Self>, Fault> {
        let found = tagged_parameters(aws, STACK_TAG, Some(stack)).await?;
        let names = found.into_iter().filter_map(|it| it.name).filter(|name| !but.contains(name));
        Ok(names.map(|name| Parameter { name }).collect())
    }

    async fn tagged(aws: &Aws) -> Result<AllTagged, Fault> {
        let found = tagged_parameters(aws, STACK_TAG, None).await?;
        let reads = found.into_iter().filter_map(|it| it.name).map(async |name| {
            let tags = parameter_tags(aws, &name).await?;
            Ok(tags.map(|tags| Tagged::new(name, tags, None)))
        });
        Ok(bounded(reads.collect()).await.into_iter().filter_map(Result::transpose).collect())
    }
}
