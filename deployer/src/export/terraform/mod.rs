//! A stack as a configuration of Terraform, with an import block for each of its resources.
//!
//! Every argument has the value that the provider reads back from AWS, so that the first plan only imports. Arguments that AWS does not return, such as the path of a program, exist in Terraform alone;
//! `ignore_changes` makes Terraform leave them as they are.

mod balancing;
mod domains;
mod functions;
mod hcl;
mod identity;
mod instances;
mod network;
mod sheet;
mod storage;
mod stored_values;
mod written;

pub use sheet::{FILES, Sheet, is_of_export};
pub use written::{ALL, VERSIONS, Written, is_marked, written};

use crate::{
    cloud::aws::Aws,
    engine::{Address, Fault, Live, Names, Observed, Planned, Resource, look},
};

/// A kind of resource that Terraform can take over.
pub trait Terraform: Resource<Cloud = Aws> {
    /// Writes it as resources of Terraform.
    fn write(&self, live: &Live<Self>, aws: &Aws, sheet: &mut Sheet) -> impl Future<Output = Result<(), Fault>> + Send;
}

/// Writes a resource of a plan, if it is of this kind and present.
pub async fn write_planned<R: Terraform>(line: &Planned, aws: &Aws, sheet: &mut Sheet) -> Result<(), Fault> {
    let Some((resource, live)) = line.found::<R>() else { return Ok(()) };
    sheet.begin(&line.address, &live.owner);
    resource.write(live, aws, sheet).await
}

/// Writes every resource of this kind that carries the stack's tag.
pub async fn write_owned<R: Terraform>(stack: &str, aws: &Aws, sheet: &mut Sheet) -> Result<(), Fault> {
    let none = Names::new();
    for resource in look(|| R::owned(aws, stack, &none)).await? {
        if let Observed::Present(live) = look(|| resource.read(aws)).await? {
            let address = Address { kind: R::KIND, key: resource.name().to_owned(), section: String::new() };
            sheet.begin(&address, &live.owner);
            resource.write(&live, aws, sheet).await?;
        }
    }
    Ok(())
}

/// The reason for `ignore_changes` of an argument that exists in Terraform alone.
const TERRAFORMS_OWN: &str = "AWS does not return these arguments. An import leaves them empty.";
