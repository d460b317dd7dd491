//! The values kept in AWS that deployed services and functions read, even if `stack.yaml` no longer names them.

use std::collections::BTreeSet;

use aws_sdk_autoscaling::types::Filter;

use crate::{
    cloud::aws::{Aws, found, items},
    config::{REFERENCES, Store, read_references},
    engine::{Fault, Names, RESOURCE_TAG, Resource as _, STACK_TAG},
    kinds::{auto_scaling_group, function::Function, launch_template},
    page::user_data,
};

/// Returns the services and functions of a stack that read a value at their next start, by their names in `stack.yaml`.
pub async fn readers(aws: &Aws, stack: &str, store: Store, name: &str) -> Result<BTreeSet<String>, Fault> {
    let (services, functions) = futures::try_join!(of_services(aws, stack), of_functions(aws, stack))?;
    let reads = |stored: &[(Store, String)]| stored.iter().any(|(its, value)| (*its, value.as_str()) == (store, name));
    Ok(services.into_iter().chain(functions).filter(|(_, stored)| reads(stored)).map(|(reader, _)| reader).collect())
}

/// A service or function, and the values that it reads.
type Reader = (String, Vec<(Store, String)>);

/// The services, by the launch templates of their groups and of the instances in them.
async fn of_services(aws: &Aws, stack: &str) -> Result<Vec<Reader>, Fault> {
    let filter = Filter::builder().name(format!("tag:{STACK_TAG}")).values(stack).build();
    let call = aws.autoscaling.describe_auto_scaling_groups().filters(filter);
    let mut readers = Vec::new();
    for group in items(call.into_paginator().send()).await? {
        let tags = auto_scaling_group::tags_of(&group);
        let address = tags.get(RESOURCE_TAG).map(String::as_str).unwrap_or_default();
        let entry = address.split_once('.').map_or(address, |(_, entry)| entry);
        let running = group.instances().iter().filter_map(|instance| instance.launch_template());
        let templates = group.launch_template().into_iter().chain(running).map(auto_scaling_group::template);
        let templates: BTreeSet<(String, String)> = templates.map(|it| (it.id, it.version)).collect();
        for (id, version) in templates {
            let call = aws.ec2.describe_launch_template_versions().launch_template_id(id).versions(version);
            let versions = found(call.send().await)?.and_then(|answer| answer.launch_template_versions);
            for version in versions.unwrap_or_default() {
                let (settings, _) = launch_template::chosen(&version);
                let stored = user_data::stored_values(&settings.user_data).into_iter();
                readers.push((entry.to_owned(), stored.map(|(store, name)| (store, name.to_owned())).collect()));
            }
        }
    }
    Ok(readers)
}

async fn of_functions(aws: &Aws, stack: &str) -> Result<Vec<Reader>, Fault> {
    let mut readers = Vec::new();
    for function in Function::owned(aws, stack, &Names::new()).await? {
        let call = aws.lambda.get_function_configuration().function_name(&function.name);
        let environment = found(call.send().await)?.and_then(|it| it.environment).and_then(|it| it.variables);
        let references = environment.and_then(|mut variables| variables.remove(REFERENCES)).unwrap_or_default();
        let entry = function.name.strip_prefix(&format!("{stack}-")).unwrap_or(&function.name);
        readers.push((entry.to_owned(), read_references(&references)));
    }
    Ok(readers)
}
