//! The releases of a function: its published versions. Each holds the code and the configuration.

use aws_sdk_lambda::types::FunctionConfiguration;

use crate::{
    cloud::aws::Aws,
    engine::{Fault, Owner},
    kinds::{
        function::{self, Described, Function, Settings},
        origin::Origin,
    },
};

use super::KEPT;

/// One release of a function.
#[derive(Debug, Clone)]
pub struct FunctionRelease {
    /// Its number: that of the version.
    pub number: i64,
    /// When it was made, as Lambda writes it.
    pub made: String,
    /// Its creator and commit.
    pub origin: Origin,
    /// Whether the deployer made it.
    pub is_ours: bool,
    /// Its settings.
    pub settings: Settings,
}

/// The releases of a function.
#[derive(Debug)]
pub struct FunctionReleases {
    /// Its owner.
    pub owner: Owner,
    /// The releases, newest first.
    pub all: Vec<FunctionRelease>,
    /// The newest release with the present code and configuration.
    pub in_service: Option<i64>,
    /// The present settings.
    pub present: Settings,
}

impl FunctionReleases {
    /// Reads the releases of a function; `None` if it does not exist.
    pub async fn read(aws: &Aws, function: &Function) -> Result<Option<FunctionReleases>, Fault> {
        let Some(Described { configuration, owner, concurrency }) = function.describe(aws).await? else {
            return Ok(None);
        };
        let beside = function.beside(aws).await?.reserving(concurrency);
        let present = function.settings(&configuration).with(&beside);
        let versions = function.versions(aws).await?;
        let mut all: Vec<FunctionRelease> = versions.iter().filter_map(|version| release(function, version)).collect();
        // Settings that versions do not include stay as they are.
        all.iter_mut().for_each(|release| release.settings = release.settings.clone().with(&beside));
        all.sort_by_key(|release| std::cmp::Reverse(release.number));
        let is_present = |release: &&FunctionRelease| release.settings.is_like(&present);
        let in_service = all.iter().find(is_present).map(|release| release.number);
        Ok(Some(FunctionReleases { owner, all, in_service, present }))
    }

    /// The release of this number, unless it has been deleted.
    pub fn get(&self, number: i64) -> Option<&FunctionRelease> {
        self.all.iter().find(|release| release.number == number)
    }

    /// The release before this one.
    pub fn before(&self, number: i64) -> Option<&FunctionRelease> {
        self.all.iter().find(|release| release.number < number)
    }

    /// The versions that are no longer kept: made by the deployer, neither among the newest nor in service.
    pub fn obsolete(&self) -> impl Iterator<Item = i64> {
        let ours = self.all.iter().filter(|release| release.is_ours).skip(KEPT);
        ours.map(|release| release.number).filter(|number| self.in_service != Some(*number))
    }
}

fn release(function: &Function, version: &FunctionConfiguration) -> Option<FunctionRelease> {
    let (first, origin) = Origin::parse(version.description().unwrap_or_default());
    Some(FunctionRelease {
        number: version.version()?.parse().ok()?,
        made: version.last_modified().unwrap_or_default().to_owned(),
        is_ours: first == function::PUBLISHED,
        origin,
        settings: function.settings(version),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::Tags;

    fn version(number: i64, sha256: &str, description: &str) -> FunctionConfiguration {
        let version = FunctionConfiguration::builder().version(number.to_string()).code_sha256(sha256);
        version.description(description).build()
    }

    fn releases(in_service: Option<i64>, versions: &[FunctionConfiguration]) -> FunctionReleases {
        let function = Function::named("app-labels");
        let mut all: Vec<FunctionRelease> = versions.iter().filter_map(|it| release(&function, it)).collect();
        all.sort_by_key(|release| std::cmp::Reverse(release.number));
        let present = function.settings(&FunctionConfiguration::builder().build());
        FunctionReleases { owner: Owner::Tags(Tags::new()), all, in_service, present }
    }

    #[test]
    fn only_old_versions_of_ours_are_obsolete() {
        let ours = |number: i64| version(number, "x", "deployer; by ada");
        let mut versions: Vec<FunctionConfiguration> = (1..=8).map(ours).collect();
        versions[1] = version(2, "x", "made by hand");
        let obsolete = |in_service| releases(in_service, &versions).obsolete().collect::<Vec<_>>();
        assert_eq!(obsolete(Some(8)), [3, 1]);
        assert_eq!(obsolete(Some(1)), [3]);
        assert_eq!(releases(None, &versions[..5]).obsolete().count(), 0);
    }

    #[test]
    fn a_version_names_its_origin() {
        let all = releases(None, &[version(7, "x", "deployer; by ada; commit 0123456"), version(3, "x", "")]).all;
        assert_eq!(all[0].origin.who.as_deref(), Some("ada"));
        assert_eq!((all[0].number, all[0].is_ours, all[1].is_ours), (7, true, false));
        assert!(
            release(&Function::named("app-labels"), &FunctionConfiguration::builder().version("$LATEST").build())
                .is_none()
        );
    }
}
