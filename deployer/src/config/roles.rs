//! Existing roles.

/// Existing roles: with these, nothing is ever written to IAM (docs/aws.md §3.4).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExistingRoles {
    /// The role of every function.
    pub existing: String,
    /// The instance profile of every service.
    pub instance_profile: Option<String>,
}

impl ExistingRoles {
    /// Those of every Learner Lab of AWS Academy (docs/aws.md §3.4).
    pub fn of_lab() -> ExistingRoles {
        ExistingRoles { existing: LAB_ROLE.into(), instance_profile: Some("LabInstanceProfile".into()) }
    }
}

/// The role that only Learner Labs of AWS Academy have.
pub(super) const LAB_ROLE: &str = "LabRole";
