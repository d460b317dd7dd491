//! The releases of a service: the versions of its launch template. Each holds the whole environment and names the
//! program in the artifact bucket. Nothing else is stored (docs/commands.md).

pub mod changes;
pub mod functions;
pub mod programs;
pub mod stored_values;

use std::collections::BTreeSet;

use aws_sdk_autoscaling::types::{AutoScalingGroup as Group, InstanceRefresh};
use aws_sdk_ec2::types::LaunchTemplateVersion;

use crate::{
    cloud::aws::{Aws, found, items},
    config::Store,
    engine::{Fault, Owner},
    kinds::{
        auto_scaling_group::{self, Template},
        launch_template::{self, LaunchTemplate, Settings},
        origin::{Origin, short_name},
    },
    page::user_data::{self, UploadedProgram},
};

/// The number of releases whose programs are kept.
pub const KEPT: usize = 5;

/// One release of a service.
#[derive(Debug, Clone)]
pub struct Release {
    /// Its number: that of the version of the launch template.
    pub number: i64,
    /// When it was made, in seconds since 1970.
    pub made_s: i64,
    /// Its creator and commit.
    pub origin: Origin,
    /// Its settings.
    pub settings: Settings,
    /// Its machine image.
    pub image: String,
}

/// The releases of a service, and which of them its instances run.
#[derive(Debug)]
pub struct Releases {
    /// `lt-…`.
    pub template: String,
    /// The owner of the launch template.
    pub owner: Owner,
    /// The releases, newest first.
    pub all: Vec<Release>,
    /// The release of the Auto Scaling group: the one in service.
    pub in_service: Option<i64>,
    /// The roll-out in progress, if there is one.
    pub roll_out: Option<OngoingRollOut>,
    /// The releases of the instances.
    running: BTreeSet<i64>,
}

/// A roll-out in progress.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OngoingRollOut {
    /// The release that it brings, or takes back.
    pub release: i64,
    /// Whether it brings the release, or is being undone.
    pub is_forward: bool,
}

/// The state of a release.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    /// The instances run it.
    InService,
    /// It is replacing the one in service.
    RollingOut,
    /// Its roll-out is being rolled back.
    RollingBack,
}

impl State {
    /// Its name in JSON.
    pub fn name(self) -> &'static str {
        match self {
            State::InService => "in_service",
            State::RollingOut => "rolling_out",
            State::RollingBack => "rolling_back",
        }
    }
}

impl Release {
    /// The program of its instances; `None` if the version was not made by us.
    pub fn program(&self) -> Option<UploadedProgram<'_>> {
        user_data::program(&self.settings.user_data)
    }

    /// The values kept in AWS that its instances read.
    pub fn stored_values(&self) -> Vec<(Store, String)> {
        let stored = user_data::stored_values(&self.settings.user_data).into_iter();
        stored.map(|(store, name)| (store, name.to_owned())).collect()
    }

    /// The port that its instances listen on, if it is known.
    pub fn port(&self) -> Option<&str> {
        user_data::variables(&self.settings.user_data)?.remove("PORT")
    }

    fn of(version: &LaunchTemplateVersion) -> Release {
        let (settings, image) = launch_template::chosen(version);
        let (_, origin) = Origin::parse(version.version_description().unwrap_or_default());
        // The description of a version made by hand has no creator; AWS has it.
        let who = origin.who.or_else(|| version.created_by().and_then(short_name));
        Release {
            number: version.version_number().unwrap_or_default(),
            made_s: version.create_time().map(|made| made.secs()).unwrap_or_default(),
            origin: Origin { who, ..origin },
            settings,
            image,
        }
    }
}

impl Releases {
    /// Reads the releases of a service; `None` if it has never been deployed. `group` is the name of its Auto Scaling
    /// group, which may be absent.
    pub async fn read(aws: &Aws, template: &LaunchTemplate, group: &str) -> Result<Option<Releases>, Fault> {
        let (versions, (group, refresh)) = futures::try_join!(template.versions(aws), at_work(aws, group))?;
        let Some((id, owner, versions)) = versions else { return Ok(None) };
        let mut all: Vec<Release> = versions.iter().map(Release::of).collect();
        all.sort_by_key(|release| std::cmp::Reverse(release.number));
        let numbered = |template: Template| template.version.parse().ok().filter(|_| template.id == id);
        let in_service = group.as_ref().and_then(Group::launch_template);
        let in_service = in_service.map(auto_scaling_group::template).and_then(numbered);
        let running = group.iter().flat_map(Group::instances).filter_map(|instance| instance.launch_template());
        let running = running.map(auto_scaling_group::template).filter_map(numbered).collect();
        let roll_out = refresh.as_ref().and_then(|refresh| {
            let (target, is_forward) = auto_scaling_group::in_progress(refresh)?;
            Some(OngoingRollOut { release: numbered(target)?, is_forward })
        });
        Ok(Some(Releases { template: id, owner, all, in_service, roll_out, running }))
    }

    /// The release of this number, unless it has been deleted.
    pub fn get(&self, number: i64) -> Option<&Release> {
        self.all.iter().find(|release| release.number == number)
    }

    /// Whether they are this stack's, and include every release that its instances run or may launch with. Otherwise it
    /// is unknown which programs are needed.
    pub fn is_whole_of(&self, stack: &str) -> bool {
        let brought = self.roll_out.map(|roll_out| roll_out.release);
        let mut in_use = self.running.iter().copied().chain(self.in_service).chain(brought);
        let is_ours = self.owner.foreign_to(stack).is_none();
        is_ours && self.in_service.is_some() && in_use.all(|number| self.get(number).is_some())
    }

    /// The release before this one.
    pub fn before(&self, number: i64) -> Option<&Release> {
        self.all.iter().find(|release| release.number < number)
    }

    /// The state of a release, if it is in use.
    pub fn state(&self, number: i64) -> Option<State> {
        match self.roll_out {
            Some(OngoingRollOut { release, is_forward }) if release == number => {
                Some(if is_forward { State::RollingOut } else { State::RollingBack })
            }
            _ => (self.in_service == Some(number)).then_some(State::InService),
        }
    }

    /// The releases whose programs are needed: the newest ones, and all that instances run or may launch with.
    fn kept(&self) -> impl Iterator<Item = &Release> {
        let is_in_use = |number: i64| self.running.contains(&number) || self.state(number).is_some();
        let kept = self.all.iter().enumerate();
        // A roll-out that fails or is rolled back returns to the release of the group.
        kept.filter(move |(at, release)| {
            *at < KEPT || is_in_use(release.number) || self.in_service == Some(release.number)
        })
        .map(|(_, release)| release)
    }
}

/// Reads a group, and its newest instance refresh.
async fn at_work(aws: &Aws, name: &str) -> Result<(Option<Group>, Option<InstanceRefresh>), Fault> {
    let call = aws.autoscaling.describe_auto_scaling_groups().auto_scaling_group_names(name);
    let Some(group) = items(call.into_paginator().send()).await?.pop() else { return Ok((None, None)) };
    let call = aws.autoscaling.describe_instance_refreshes().auto_scaling_group_name(name).max_records(1);
    let refreshes = found(call.send().await)?.and_then(|answer| answer.instance_refreshes);
    Ok((Some(group), refreshes.unwrap_or_default().into_iter().next()))
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::{
        engine::{STACK_TAG, Tags},
        kinds::launch_template::Disk,
        page::user_data::UserData,
    };

    /// A release with a program of this hash and these variables.
    pub fn release(number: i64, sha256: &str, variables: &[(&str, &str)]) -> Release {
        let user_data = UserData {
            stack: "app".into(),
            service: "web".into(),
            region: "us-east-1".into(),
            bucket: "app-artifacts".into(),
            key: format!("services/web/{sha256}"),
            stored: Vec::new(),
            environment: variables.iter().map(|(name, value)| ((*name).into(), (*value).into())).collect(),
            port: 8080,
            sha256: sha256.into(),
            commands: None,
            log_group: "/deployer/app/web".into(),
            address: None,
        };
        let settings = Settings {
            image: None,
            instance_type: "t3.micro".into(),
            instance_profile: "web".into(),
            security_groups: ["sg-1".to_owned()].into(),
            user_data: user_data.render().expect("it can be rendered"),
            disk: Disk::root(8),
            metadata_endpoint: "enabled".into(),
            metadata_tokens: "required".into(),
            metadata_hops: 1,
            instance_tags: Tags::new(),
            volume_tags: Tags::new(),
        };
        Release { number, made_s: 0, origin: Origin::default(), settings, image: "ami-1".into() }
    }

    /// Seven releases, of which the group runs `in_service`.
    fn releases(in_service: Option<i64>, roll_out: Option<OngoingRollOut>, running: &[i64]) -> Releases {
        let all = (1..=7).rev().map(|number| release(number, &format!("{number:064}"), &[])).collect();
        let running = running.iter().copied().collect();
        Releases { template: "lt-1".into(), owner: Owner::Tags(Tags::new()), all, in_service, roll_out, running }
    }

    fn kept(releases: &Releases) -> Vec<i64> {
        releases.kept().map(|release| release.number).collect()
    }

    #[test]
    fn the_newest_five_and_every_release_in_use_are_kept() {
        assert_eq!(kept(&releases(Some(7), None, &[7])), [7, 6, 5, 4, 3]);
        assert_eq!(kept(&releases(Some(1), None, &[1])), [7, 6, 5, 4, 3, 1]);
        let back = OngoingRollOut { release: 2, is_forward: true };
        assert_eq!(kept(&releases(Some(7), Some(back), &[7])), [7, 6, 5, 4, 3, 2]);
        assert_eq!(kept(&releases(Some(7), None, &[7, 1])), [7, 6, 5, 4, 3, 1], "an instance still runs it");
        let undone = OngoingRollOut { release: 1, is_forward: false };
        assert_eq!(kept(&releases(Some(2), Some(undone), &[])), [7, 6, 5, 4, 3, 2, 1]);
    }

    #[test]
    fn programs_are_only_removed_if_every_release_in_use_is_known_and_ours() {
        let to = |release| Some(OngoingRollOut { release, is_forward: true });
        let check = |expected: bool, in_service, roll_out, running: &[i64]| {
            let tags = Tags::from([(STACK_TAG.to_owned(), "app".to_owned())]);
            let releases = Releases { owner: Owner::Tags(tags), ..releases(in_service, roll_out, running) };
            assert_eq!(releases.is_whole_of("app"), expected, "{in_service:?} {roll_out:?} {running:?}");
            assert!(!releases.is_whole_of("other"));
        };
        check(true, Some(6), to(7), &[5, 6]);
        check(false, None, None, &[]);
        check(false, Some(8), None, &[7]);
        check(false, Some(7), to(8), &[7]);
        check(false, Some(7), None, &[7, 8]);
        assert!(!releases(Some(7), None, &[7]).is_whole_of("app"), "no tags");
    }

    #[test]
    fn a_release_says_what_it_is_doing() {
        let both = releases(Some(6), Some(OngoingRollOut { release: 7, is_forward: true }), &[]);
        assert_eq!(
            [both.state(7), both.state(6), both.state(5)],
            [Some(State::RollingOut), Some(State::InService), None]
        );
        let undone = releases(Some(6), Some(OngoingRollOut { release: 7, is_forward: false }), &[]);
        assert_eq!(undone.state(7), Some(State::RollingBack));
    }

    #[test]
    fn program_and_port_are_read_from_the_user_data() {
        let one = release(1, &"ab".repeat(32), &[("A", "1")]);
        let program = one.program().expect("a program");
        assert_eq!((program.bucket, program.key), ("app-artifacts", &*format!("services/web/{}", "ab".repeat(32))));
        assert_eq!(program.sha256, "ab".repeat(32));
        assert_eq!(one.port(), Some("8080"));
    }

    #[test]
    fn a_deleted_release_is_skipped_on_the_way_back() {
        let mut some = releases(Some(7), None, &[]);
        some.all.retain(|release| release.number != 6);
        assert_eq!(some.before(7).map(|release| release.number), Some(5));
        assert!(some.get(6).is_none() && some.before(1).is_none());
    }
}
