//! Instance types and their properties.

use super::network;
use crate::Site;
use crate::state::{State, Tags};
use kit::query::{Answer, ApiError, Filters, Params, Xml, fact};

/// An instance type.
#[derive(Debug, Clone, Copy)]
pub struct InstanceType {
    family: &'static Family,
    size: &'static Size,
}

impl InstanceType {
    /// Returns its name, such as `t3.micro`.
    pub fn name(&self) -> String {
        format!("{}.{}", self.family.0, self.size.0)
    }

    /// Returns `x86_64` or `arm64`.
    pub fn architecture(&self) -> &'static str {
        self.family.1
    }

    /// Returns the number of its vCPUs.
    pub fn processors(&self) -> u32 {
        self.size.1
    }

    /// Returns the number of its cores, each with [`InstanceType::threads_per_core`] vCPUs.
    pub fn cores(&self) -> u32 {
        self.processors() / self.threads_per_core()
    }

    /// Returns the number of threads per core.
    pub fn threads_per_core(&self) -> u32 {
        self.family.3
    }

    /// Returns its memory in MiB.
    pub fn memory_mib(&self) -> u32 {
        self.size.2
    }

    /// Returns whether an account on the free plan may launch it (docs/aws.md §3.3).
    pub fn is_free(&self) -> bool {
        let names = ["t3.micro", "t3.small", "t4g.micro", "t4g.small", "c7i-flex.large", "m7i-flex.large"];
        names.contains(&self.name().as_str())
    }

    /// Returns whether it runs on the Nitro hypervisor (docs/aws.md §8.5).
    pub fn is_nitro(&self) -> bool {
        self.family.0 != "t2"
    }

    fn hypervisor(&self) -> &'static str {
        if self.is_nitro() { "nitro" } else { "xen" }
    }

    /// Returns whether a zone offers it. As on AWS, not every zone has the newest types.
    pub fn is_offered_in(&self, zone: &str) -> bool {
        !(zone.ends_with('c') && self.family.0.starts_with(['c', 'm', 'r']) && self.family.0.contains('7'))
    }
}

/// Name, vCPUs, memory in MiB.
type Size = (&'static str, u32, u32);
/// Name, architecture, whether it is burstable, threads per core (docs/aws.md §8.4), sizes.
type Family = (&'static str, &'static str, bool, u32, &'static [Size]);

const T2: &[Size] = &[
    ("nano", 1, 512),
    ("micro", 1, 1024),
    ("small", 1, 2048),
    ("medium", 2, 4096),
    ("large", 2, 8192),
    ("xlarge", 4, 16384),
    ("2xlarge", 8, 32768),
];
const BURSTABLE: &[Size] = &[
    ("nano", 2, 512),
    ("micro", 2, 1024),
    ("small", 2, 2048),
    ("medium", 2, 4096),
    ("large", 2, 8192),
    ("xlarge", 4, 16384),
    ("2xlarge", 8, 32768),
];
const GENERAL: &[Size] = &[
    ("large", 2, 8192),
    ("xlarge", 4, 16384),
    ("2xlarge", 8, 32768),
    ("4xlarge", 16, 65536),
    ("8xlarge", 32, 131_072),
];
const COMPUTE: &[Size] =
    &[("large", 2, 4096), ("xlarge", 4, 8192), ("2xlarge", 8, 16384), ("4xlarge", 16, 32768), ("8xlarge", 32, 65536)];
const C5: &[Size] =
    &[("large", 2, 4096), ("xlarge", 4, 8192), ("2xlarge", 8, 16384), ("4xlarge", 16, 32768), ("9xlarge", 36, 73728)];
const MEMORY: &[Size] = &[
    ("large", 2, 16384),
    ("xlarge", 4, 32768),
    ("2xlarge", 8, 65536),
    ("4xlarge", 16, 131_072),
    ("8xlarge", 32, 262_144),
];

const FAMILIES: &[Family] = &[
    ("t2", "x86_64", true, 1, T2),
    ("t3", "x86_64", true, 2, BURSTABLE),
    ("t3a", "x86_64", true, 2, BURSTABLE),
    ("t4g", "arm64", true, 1, BURSTABLE),
    ("m5", "x86_64", false, 2, GENERAL),
    ("m6i", "x86_64", false, 2, GENERAL),
    ("m6a", "x86_64", false, 2, GENERAL),
    ("m6g", "arm64", false, 1, GENERAL),
    ("m7i", "x86_64", false, 2, GENERAL),
    ("m7g", "arm64", false, 1, GENERAL),
    ("m7i-flex", "x86_64", false, 2, GENERAL),
    ("c5", "x86_64", false, 2, C5),
    ("c6i", "x86_64", false, 2, COMPUTE),
    ("c6g", "arm64", false, 1, COMPUTE),
    ("c7g", "arm64", false, 1, COMPUTE),
    ("c7i-flex", "x86_64", false, 2, COMPUTE),
    ("r5", "x86_64", false, 2, MEMORY),
    ("r6i", "x86_64", false, 2, MEMORY),
    ("r6g", "arm64", false, 1, MEMORY),
    ("r7g", "arm64", false, 1, MEMORY),
];

/// Returns the type with a name.
pub fn find(name: &str) -> Option<InstanceType> {
    all().into_iter().find(|kind| kind.name() == name)
}

fn all() -> Vec<InstanceType> {
    FAMILIES.iter().flat_map(|family| family.4.iter().map(move |size| InstanceType { family, size })).collect()
}

pub fn describe(_state: &State, _site: &Site, params: &Params) -> Answer {
    let wanted = params.texts("InstanceType");
    if let Some(unknown) = wanted.iter().find(|name| find(name).is_none()) {
        let message = format!("The following supplied instance types do not exist: [{unknown}]");
        return Err(ApiError::new("InvalidInstanceType", message));
    }
    let filters = Filters::of(params);
    let mut found = Vec::new();
    for kind in all() {
        let passes = filters.pass(&Tags::new(), |name| match name {
            "instance-type" => fact(kind.name()),
            "processor-info.supported-architecture" => fact(kind.architecture()),
            "current-generation" => fact(kind.family.0 != "t2"),
            "burstable-performance-supported" => fact(kind.family.2),
            "free-tier-eligible" => fact(kind.is_free()),
            "vcpu-info.default-vcpus" => fact(kind.processors()),
            "memory-info.size-in-mib" => fact(kind.memory_mib()),
            "bare-metal" | "instance-storage-supported" => fact(false),
            "hypervisor" => fact(kind.hypervisor()),
            "supported-usage-class" => fact("on-demand"),
            "supported-root-device-type" => fact("ebs"),
            "supported-virtualization-type" => fact("hvm"),
            _ => None,
        })?;
        if passes && (wanted.is_empty() || wanted.contains(&kind.name())) {
            found.push(kind);
        }
    }
    let mut xml = Xml::new();
    xml.set("instanceTypeSet", found, |xml, kind| write(xml, &kind));
    Ok(xml)
}

fn write(xml: &mut Xml, kind: &InstanceType) {
    xml.text("instanceType", kind.name()).text("currentGeneration", kind.family.0 != "t2");
    xml.text("freeTierEligible", kind.is_free()).text("bareMetal", false).text("hypervisor", kind.hypervisor());
    xml.within("supportedUsageClasses", |xml| {
        xml.text("item", "on-demand").text("item", "spot");
    });
    xml.within("supportedRootDeviceTypes", |xml| {
        xml.text("item", "ebs");
    });
    xml.within("supportedVirtualizationTypes", |xml| {
        xml.text("item", "hvm");
    });
    xml.within("processorInfo", |xml| {
        xml.within("supportedArchitectures", |xml| {
            xml.text("item", kind.architecture());
        });
        xml.text("sustainedClockSpeedInGhz", "2.5");
    });
    xml.within("vCpuInfo", |xml| {
        xml.text("defaultVCpus", kind.processors()).text("defaultCores", kind.cores());
        xml.text("defaultThreadsPerCore", kind.threads_per_core());
    });
    xml.within("memoryInfo", |xml| {
        xml.text("sizeInMiB", kind.memory_mib());
    });
    xml.text("instanceStorageSupported", false).text("burstablePerformanceSupported", kind.family.2);
    xml.text("hibernationSupported", false).text("dedicatedHostsSupported", false).text("autoRecoverySupported", true);
}

pub fn describe_offerings(_state: &State, site: &Site, params: &Params) -> Answer {
    let location = params.text("LocationType").unwrap_or("region");
    let zones = network::zones(site);
    let places: Vec<String> = match location {
        "region" => vec![site.region.clone()],
        "availability-zone" => zones.clone(),
        "availability-zone-id" => zones.iter().map(|zone| network::zone_id(zone)).collect(),
        other => {
            let message = format!("Value ({other}) for parameter LocationType is invalid.");
            return Err(ApiError::new("InvalidParameterValue", message));
        }
    };
    let filters = Filters::of(params);
    let mut found = Vec::new();
    let offered = |kind: &InstanceType, place: &str| match zones.iter().find(|zone| network::zone_id(zone) == place) {
        Some(zone) => kind.is_offered_in(zone),
        None => location == "region" || kind.is_offered_in(place),
    };
    for kind in all() {
        for place in places.iter().filter(|place| offered(&kind, place)) {
            let passes = filters.pass(&Tags::new(), |name| match name {
                "instance-type" => fact(kind.name()),
                "location" => fact(place),
                _ => None,
            })?;
            if passes {
                found.push((kind, place));
            }
        }
    }
    let mut xml = Xml::new();
    xml.set("instanceTypeOfferingSet", found, |xml, (kind, place)| {
        xml.text("instanceType", kind.name()).text("locationType", location).text("location", place);
    });
    Ok(xml)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn vcpus_are_cores_times_threads_per_core() {
        for (name, expected) in [
            ("t2.micro", (1, 1, 1)),
            ("t2.medium", (2, 2, 1)),
            ("t3.micro", (2, 1, 2)),
            ("t3a.2xlarge", (8, 4, 2)),
            ("t4g.micro", (2, 2, 1)),
            ("m6a.large", (2, 1, 2)),
            ("m7g.large", (2, 2, 1)),
            ("c5.9xlarge", (36, 18, 2)),
            ("c7i-flex.large", (2, 1, 2)),
        ] {
            let kind = find(name).unwrap();
            assert_eq!((kind.processors(), kind.cores(), kind.threads_per_core()), expected, "{name}");
        }
        for kind in all() {
            assert_eq!(kind.cores() * kind.threads_per_core(), kind.processors(), "{}", kind.name());
        }
    }
}
