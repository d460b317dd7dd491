//! Further settings of launch templates.

use super::launch_templates::Data;
use crate::state::InstanceSettings;

impl InstanceSettings {
    /// Reads the settings from the data of a template. `by_subnet` is whether the subnet gives public addresses.
    ///
    /// Errors: why EC2 would refuse to launch it.
    pub fn of(data: Data, by_subnet: bool) -> Result<InstanceSettings, String> {
        let usual = InstanceSettings::default();
        let one_of = |path: &str, known: &[&str], usual: &str| match data.text(path) {
            Some(text) if known.contains(&text) => Ok(text.to_owned()),
            Some(text) => Err(format!("Invalid value '{text}' for {path}.")),
            None => Ok(usual.to_owned()),
        };
        let interface = data.elements("NetworkInterface").first().copied();
        let hop_limit = match data.text("MetadataOptions.HttpPutResponseHopLimit") {
            Some(text) => {
                let hops = text.parse().ok().filter(|hops| (1..=64).contains(hops));
                hops.ok_or_else(|| format!("Value ({text}) for parameter HttpPutResponseHopLimit is invalid."))?
            }
            None => usual.hop_limit,
        };
        Ok(InstanceSettings {
            metadata_enabled: one_of("MetadataOptions.HttpEndpoint", &["enabled", "disabled"], "enabled")? == "enabled",
            needs_token: one_of("MetadataOptions.HttpTokens", &["required", "optional"], "required")? == "required",
            hop_limit,
            has_public_address: interface.and_then(|one| one.flag("AssociatePublicIpAddress")).unwrap_or(by_subnet),
            interface: interface.and_then(|one| one.text("Description")).unwrap_or_default().to_owned(),
            ebs_optimized: data.flag("EbsOptimized").unwrap_or(false),
            is_monitored: data.flag("Monitoring.Enabled").unwrap_or(false),
            may_not_terminate: data.flag("DisableApiTermination").unwrap_or(false),
            may_not_stop: data.flag("DisableApiStop").unwrap_or(false),
            on_shutdown: one_of("InstanceInitiatedShutdownBehavior", &["stop", "terminate"], "stop")?,
        })
    }
}
