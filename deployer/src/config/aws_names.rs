//! The regions and instance types there are, known without asking AWS.

use crate::package::Architecture;

/// The regions of the commercial partition.
pub const REGIONS: &[&str] = &[
    "af-south-1",
    "ap-east-1",
    "ap-east-2",
    "ap-northeast-1",
    "ap-northeast-2",
    "ap-northeast-3",
    "ap-south-1",
    "ap-south-2",
    "ap-southeast-1",
    "ap-southeast-2",
    "ap-southeast-3",
    "ap-southeast-4",
    "ap-southeast-5",
    "ap-southeast-6",
    "ap-southeast-7",
    "ca-central-1",
    "ca-west-1",
    "eu-central-1",
    "eu-central-2",
    "eu-north-1",
    "eu-south-1",
    "eu-south-2",
    "eu-west-1",
    "eu-west-2",
    "eu-west-3",
    "il-central-1",
    "me-central-1",
    "me-south-1",
    "mx-central-1",
    "sa-east-1",
    "us-east-1",
    "us-east-2",
    "us-west-1",
    "us-west-2",
];

/// The instance families that Amazon Linux 2023 runs on, with their processors.
pub const FAMILIES: &[(&str, Architecture)] = &[
    ("t2", Architecture::X86_64),
    ("t3", Architecture::X86_64),
    ("t3a", Architecture::X86_64),
    ("t4g", Architecture::Arm64),
    ("m5", Architecture::X86_64),
    ("m5a", Architecture::X86_64),
    ("m5n", Architecture::X86_64),
    ("m6a", Architecture::X86_64),
    ("m6g", Architecture::Arm64),
    ("m6i", Architecture::X86_64),
    ("m7a", Architecture::X86_64),
    ("m7g", Architecture::Arm64),
    ("m7i", Architecture::X86_64),
    ("m7i-flex", Architecture::X86_64),
    ("m8g", Architecture::Arm64),
    ("c5", Architecture::X86_64),
    ("c5a", Architecture::X86_64),
    ("c6a", Architecture::X86_64),
    ("c6g", Architecture::Arm64),
    ("c6i", Architecture::X86_64),
    ("c7a", Architecture::X86_64),
    ("c7g", Architecture::Arm64),
    ("c7i", Architecture::X86_64),
    ("c7i-flex", Architecture::X86_64),
    ("c8g", Architecture::Arm64),
    ("r5", Architecture::X86_64),
    ("r6g", Architecture::Arm64),
    ("r6i", Architecture::X86_64),
    ("r7g", Architecture::Arm64),
    ("r7i", Architecture::X86_64),
    ("r8g", Architecture::Arm64),
];

/// The sizes within a family.
pub const SIZES: &[&str] = &[
    "nano", "micro", "small", "medium", "large", "xlarge", "2xlarge", "3xlarge", "4xlarge", "6xlarge", "8xlarge",
    "9xlarge", "12xlarge", "16xlarge", "18xlarge", "24xlarge", "32xlarge", "48xlarge", "metal",
];

/// How many days CloudWatch Logs may keep a log (aws-facts §7.6).
pub const RETENTIONS: &[i64] =
    &[1, 3, 5, 7, 14, 30, 60, 90, 120, 150, 180, 365, 400, 545, 731, 1096, 1827, 2192, 2557, 2922, 3288, 3653];
