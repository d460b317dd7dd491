//! AWS's regions, instance types and other names that are checked without a call.

use crate::package::Architecture::{self, Arm64, X86_64};

/// The regions of the commercial partition.
#[rustfmt::skip]
pub const REGIONS: &[&str] = &[
    "af-south-1", "ap-east-1", "ap-east-2", "ap-northeast-1", "ap-northeast-2", "ap-northeast-3", "ap-south-1",
    "ap-south-2", "ap-southeast-1", "ap-southeast-2", "ap-southeast-3", "ap-southeast-4", "ap-southeast-5",
    "ap-southeast-6", "ap-southeast-7", "ca-central-1", "ca-west-1", "eu-central-1", "eu-central-2", "eu-north-1",
    "eu-south-1", "eu-south-2", "eu-west-1", "eu-west-2", "eu-west-3", "il-central-1", "me-central-1",
    "me-south-1", "mx-central-1", "sa-east-1", "us-east-1", "us-east-2", "us-west-1", "us-west-2",
];

/// The regions of the partitions for China and for GovCloud, which have accounts of their own.
pub const OTHER_REGIONS: &[&str] = &["cn-north-1", "cn-northwest-1", "us-gov-east-1", "us-gov-west-1"];

/// Every region that a stack can name.
pub fn regions() -> impl Iterator<Item = &'static str> {
    REGIONS.iter().chain(OTHER_REGIONS).copied()
}

/// The instance families that Amazon Linux 2023 runs on, with their processors.
#[rustfmt::skip]
pub const FAMILIES: &[(&str, Architecture)] = &[
    ("t2", X86_64), ("t3", X86_64), ("t3a", X86_64), ("t4g", Arm64),
    ("m4", X86_64), ("m5", X86_64), ("m5a", X86_64), ("m5ad", X86_64), ("m5d", X86_64), ("m5dn", X86_64),
    ("m5n", X86_64), ("m5zn", X86_64), ("m6a", X86_64), ("m6g", Arm64), ("m6gd", Arm64), ("m6i", X86_64),
    ("m6id", X86_64), ("m6idn", X86_64), ("m6in", X86_64), ("m7a", X86_64), ("m7g", Arm64), ("m7gd", Arm64),
    ("m7i", X86_64), ("m7i-flex", X86_64), ("m8a", X86_64), ("m8g", Arm64), ("m8gd", Arm64), ("m8i", X86_64),
    ("m8i-flex", X86_64),
    ("c4", X86_64), ("c5", X86_64), ("c5a", X86_64), ("c5ad", X86_64), ("c5d", X86_64), ("c5n", X86_64),
    ("c6a", X86_64), ("c6g", Arm64), ("c6gd", Arm64), ("c6gn", Arm64), ("c6i", X86_64), ("c6id", X86_64),
    ("c6in", X86_64), ("c7a", X86_64), ("c7g", Arm64), ("c7gd", Arm64), ("c7gn", Arm64), ("c7i", X86_64),
    ("c7i-flex", X86_64), ("c8g", Arm64), ("c8gd", Arm64), ("c8gn", Arm64), ("c8i", X86_64), ("c8i-flex", X86_64),
    ("r4", X86_64), ("r5", X86_64), ("r5a", X86_64), ("r5ad", X86_64), ("r5b", X86_64), ("r5d", X86_64),
    ("r5dn", X86_64), ("r5n", X86_64), ("r6a", X86_64), ("r6g", Arm64), ("r6gd", Arm64), ("r6i", X86_64),
    ("r6id", X86_64), ("r6idn", X86_64), ("r6in", X86_64), ("r7a", X86_64), ("r7g", Arm64), ("r7gd", Arm64),
    ("r7i", X86_64), ("r7iz", X86_64), ("r8g", Arm64), ("r8gd", Arm64), ("r8i", X86_64), ("r8i-flex", X86_64),
    ("x2gd", Arm64), ("x2idn", X86_64), ("x2iedn", X86_64), ("x2iezn", X86_64), ("x8g", Arm64), ("z1d", X86_64),
    ("d3", X86_64), ("d3en", X86_64), ("i3", X86_64), ("i3en", X86_64), ("i4g", Arm64), ("i4i", X86_64),
    ("i7i", X86_64), ("i7ie", X86_64), ("i8g", Arm64), ("im4gn", Arm64), ("is4gen", Arm64),
    ("g4ad", X86_64), ("g4dn", X86_64), ("g5", X86_64), ("g5g", Arm64), ("g6", X86_64), ("g6e", X86_64),
    ("inf1", X86_64), ("inf2", X86_64), ("p3", X86_64), ("p4d", X86_64), ("p5", X86_64), ("trn1", X86_64),
];

/// The sizes within a family, smallest first. Which sizes a family has depends on the region.
#[rustfmt::skip]
pub const SIZES: &[&str] = &[
    "nano", "micro", "small", "medium", "large", "xlarge", "2xlarge", "3xlarge", "4xlarge", "6xlarge", "8xlarge",
    "9xlarge", "10xlarge", "12xlarge", "16xlarge", "18xlarge", "24xlarge", "32xlarge", "48xlarge", "56xlarge",
    "64xlarge", "96xlarge", "metal", "metal-16xl", "metal-24xl", "metal-32xl", "metal-48xl", "metal-96xl",
];

/// The retention periods of CloudWatch Logs, in days (docs/aws.md §7.6).
#[rustfmt::skip]
pub const RETENTIONS: &[i64] = &[
    1, 3, 5, 7, 14, 30, 60, 90, 120, 150, 180, 365, 400, 545, 731, 1096, 1827, 2192, 2557, 2922, 3288, 3653,
];

#[cfg(all(test, feature = "local"))]
mod tests {
    use super::*;

    #[test]
    fn the_local_aws_has_the_regions_of_the_commercial_partition() {
        assert_eq!(local::REGIONS, REGIONS);
    }
}
