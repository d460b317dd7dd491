//! The partitions of AWS, which have accounts, ARNs and some names of their own (docs/aws.md §3.6).

/// The partition of the regions that every account outside China and GovCloud can use.
pub const COMMERCIAL: &str = "aws";

/// The other partitions, by the beginning of the names of their regions.
const OTHERS: &[(&str, &str)] = &[("cn-", CHINA), ("us-gov-", "aws-us-gov")];

const CHINA: &str = "aws-cn";

/// The service that assumes the roles of instances.
pub const EC2: &str = "ec2.amazonaws.com";

/// The partition of a region, as ARNs begin with it: `aws` of `arn:aws:s3:::images`.
pub fn of(region: &str) -> &'static str {
    OTHERS.iter().find(|(prefix, _)| region.starts_with(prefix)).map_or(COMMERCIAL, |(_, partition)| partition)
}

/// The name of a service in the policies of a partition. Only EC2's depends on it.
pub fn principal(service: &'static str, partition: &str) -> &'static str {
    match (service, partition) {
        (EC2, CHINA) => "ec2.amazonaws.com.cn",
        _ => service,
    }
}

/// The values of `kms:ViaService` for a service in a region, such as `s3` (docs/aws.md §2.7).
pub fn via(service: &str, region: &str) -> Vec<String> {
    let host = format!("{service}.{region}.amazonaws.com");
    if of(region) == CHINA { vec![format!("{host}.cn"), host] } else { vec![host] }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_partition_follows_from_the_region() {
        assert_eq!(["us-east-1", "cn-north-1", "us-gov-west-1"].map(of), ["aws", "aws-cn", "aws-us-gov"]);
    }

    #[test]
    fn a_key_is_used_by_way_of_the_services_of_its_region() {
        assert_eq!(via("s3", "eu-west-3"), ["s3.eu-west-3.amazonaws.com"]);
        assert_eq!(via("s3", "cn-north-1"), ["s3.cn-north-1.amazonaws.com.cn", "s3.cn-north-1.amazonaws.com"]);
    }

    #[test]
    fn ec2_has_a_name_of_its_own_in_china() {
        let names = |partition| [EC2, "lambda.amazonaws.com"].map(|service| principal(service, partition));
        assert_eq!(names("aws-cn"), ["ec2.amazonaws.com.cn", "lambda.amazonaws.com"]);
        assert_eq!(names("aws-us-gov"), ["ec2.amazonaws.com", "lambda.amazonaws.com"]);
    }
}
