//! Checks the machine images that `stack.yaml` names: whether they exist, and for which architecture.

use anyhow::anyhow;

use super::{Session, place, unless_stopped};
use crate::{
    config::Service,
    engine::{self, Fault},
    output::exit::{Exit, Failure},
};

/// Without permission to read images, continues: EC2 decides when an instance starts.
const NOT_ALLOWED: &[&str] = &["UnauthorizedOperation", "AccessDenied"];

impl Session {
    /// Rejects images for another architecture than the instance type's: instances would never start.
    pub(super) async fn check_images(&self, is_needed: impl Fn(&str) -> bool) -> Result<(), Failure> {
        for (entry, service) in &self.config.services {
            let section = format!("services.{entry}");
            if is_needed(&section)
                && let Some(image) = &service.image
            {
                unless_stopped(self.check_image(&format!("{section}.image"), image, service)).await?;
            }
        }
        Ok(())
    }

    async fn check_image(&self, path: &str, image: &str, service: &Service) -> Result<(), Failure> {
        let at = || place(&self.config, &self.file, path);
        let ask = || async { Ok::<_, Fault>(self.aws.ec2.describe_images().image_ids(image).send().await?) };
        let answer = match engine::look(ask).await {
            Err(fault) if NOT_ALLOWED.contains(&fault.code.as_str()) => return Ok(()),
            answer => {
                answer.map_err(|fault| Failure::to(&format!("look for the machine image {image}"), fault).at(at()))?
            }
        };
        let (wanted, machine) = (service.instance_type.architecture(), &service.instance_type);
        match answer.images().first().and_then(|image| image.architecture()) {
            Some(has) if has.as_str() != wanted.name() => {
                let error =
                    anyhow!("the machine image {image} is for {}, and {machine} has {}", has.as_str(), wanted.name());
                Err(Failure::new(Exit::Config, error).at(at()).hint(format!(
                    "name an image for {}, or leave `image` out to use the newest Amazon Linux 2023 for {machine}",
                    wanted.name()
                )))
            }
            _ => Ok(()),
        }
    }
}
