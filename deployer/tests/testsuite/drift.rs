//! Manual changes are detected field by field and corrected: every managed field of every kind.

use std::collections::{BTreeMap, BTreeSet};

use deployer::{
    cloud::{health::Wait, why::Reports},
    engine::{Observed, Resource},
    kinds::{
        KINDS,
        alarm::{Alarm, WATCHED},
        artifact::{Artifact, Content},
        auto_scaling_group::AutoScalingGroup,
        bucket::Bucket,
        default_action::{self, DefaultAction},
        function::Function,
        instance_profile::InstanceProfile,
        launch_template::LaunchTemplate,
        listener::{Listener, ListenerPart},
        load_balancer::LoadBalancer,
        log_group::LogGroup,
        notification::Notification,
        permissions::Permissions,
        role::Role,
        scaling_policy::ScalingPolicy,
        security_group::{SecurityGroup, Side},
        table::Table,
        target_group::TargetGroup,
    },
};
use serde_json::Value;

use crate::support::{
    Project,
    cloud::{TestAws, connect},
    hands::Hands,
    inventory::inventory,
    moto::Moto,
    plan::{is_like, lines},
};

/// Manual changes, in this order; after each one, the plan has exactly this additional line. A `*` matches anything.
///
/// The launch template is changed later, with [`RETEMPLATED`]: as long as it differs, the resources that take values
/// from it cannot be compared.
const CHANGED: &[(&str, &str)] = &[
    ("bucket.images", "public_access_blocked: false → true"),
    ("bucket.images", "encryption: aws:kms → AES256"),
    ("bucket.images", "key: alias/by-hand → nothing"),
    ("bucket.images", "bucket_key: true → false"),
    ("bucket.images", "ownership: BucketOwnerPreferred → BucketOwnerEnforced"),
    ("bucket.images", "cors: [] → [*"),
    ("bucket.images", "unfinished_uploads_end_days: 1"),
    ("bucket.images", "boot_reports_end_days: 14 → nothing"),
    ("bucket.images", "objects_end_days: 3 → nothing"),
    ("bucket.images", "older_versions_end_days: 4 → nothing"),
    ("bucket.images", "versioned: true → false"),
    ("bucket.images", "access_logs_end_days: 90 → nothing"),
    ("bucket.images", "plain_http_denied: false → true"),
    ("bucket.images", "access_logs: [\"by-hand\"] → []"),
    ("bucket.images", "protected: true → false"),
    ("bucket.images", "tags.course: cloud"),
    ("table.posts", "indexes.by-hand: {* → nothing"),
    ("table.posts", "stream: KEYS_ONLY → nothing"),
    ("table.posts", "time_to_live: ends → nothing"),
    ("table.posts", "billing: PROVISIONED → PAY_PER_REQUEST"),
    ("table.posts", "key: arn:aws:kms:us-east-1:000000000000:key/* → nothing"),
    ("table.posts", "protected: true → false"),
    ("table.posts", "point_in_time_recovery: true → false"),
    ("table.posts", "tags.course: cloud"),
    ("log_group.labeler", "retention_days: 30 → 14"),
    ("log_group.labeler", "key: arn:aws:kms:us-east-1:000000000000:key/* → nothing"),
    ("log_group.labeler", "tags.course: cloud"),
    // While the role may still write there.
    ("function.labeler", "on_failure: arn:aws:s3:::postagram-images-* → nothing"),
    ("role.labeler-fn", "trusted_service: ec2.amazonaws.com → lambda.amazonaws.com"),
    ("role.labeler-fn", "trusted_account: 999999999999 → 000000000000"),
    ("role.labeler-fn", "policy.Statement: * → [*"),
    ("role.labeler-fn", "policy.Version: 2008-10-17 → 2012-10-17"),
    ("role.labeler-fn", "tags.course: cloud"),
    ("instance_profile.web", "tags.course: cloud"),
    ("function.labeler", "concurrency: 5 → nothing"),
    // Every later change of the function is not published either.
    ("function.labeler", "published: false → true"),
    ("function.labeler", "code_sha256: * → *"),
    ("function.labeler", "runtime: provided.al2 → provided.al2023"),
    ("function.labeler", "handler: other → bootstrap"),
    ("function.labeler", "architecture: arm64 → x86_64"),
    ("function.labeler", "memory_mb: 512 → 256"),
    ("function.labeler", "timeout_s: 60 → 30"),
    ("function.labeler", "key: arn:aws:kms:us-east-1:000000000000:key/* → nothing"),
    ("function.labeler", "role: *-other → *"),
    ("function.labeler", "environment.BUCKET: * → postagram-images-000000000000-us-east-1"),
    ("function.labeler", "environment.DEBUG (removed)"),
    ("function.labeler", "log_group: /elsewhere → /aws/lambda/postagram-labeler"),
    ("function.labeler", "tags.course: cloud"),
    ("permissions.labeler", "statements.deployer-images.action: lambda:GetFunction → lambda:InvokeFunction"),
    ("permissions.labeler", "statements.deployer-images.principal: sns.amazonaws.com → s3.amazonaws.com"),
    ("permissions.labeler", "statements.deployer-images.source_arn: arn:aws:s3:::other → arn:aws:s3:::postagram-*"),
    ("permissions.labeler", "statements.deployer-images.source_account: 999999999999 → 000000000000"),
    ("notification.images", "uploads.deployer-upload.function: *:other → *:postagram-labeler"),
    ("notification.images", "uploads.deployer-upload.prefix: in/ → nothing"),
    ("notification.images", "uploads.deployer-upload.suffix: .png → nothing"),
    ("notification.images", "uploads.deployer-upload.events: [\"s3:ObjectRemoved:*\"] → [\"s3:ObjectCreated:*\"]"),
    ("security_group.web-lb", "ingress: [\"tcp 22 from 0.0.0.0/0\",* → [*"),
    ("security_group.web-lb", "egress: [\"tcp 25 to 0.0.0.0/0\"] → []"),
    ("security_group.web-lb", "tags.course: cloud"),
    ("security_group.web", "reached_by: [] → [\"tcp 8080 from sg-* (instances)\"]"),
    ("target_group.web", "health_check.path: /elsewhere → /health"),
    ("target_group.web", "health_check.interval_s: 60 → *"),
    ("target_group.web", "health_check.timeout_s: 7 → *"),
    ("target_group.web", "health_check.healthy: 9 → *"),
    ("target_group.web", "health_check.unhealthy: 8 → *"),
    ("target_group.web", "health_check.matcher: 204 → *"),
    ("target_group.web", "deregistration_delay_s: 300 → 30"),
    ("target_group.web", "tags.course: cloud"),
    ("load_balancer.web", "subnets: [* → [*"),
    ("load_balancer.web", "security_groups: [* → [*"),
    ("load_balancer.web", "invalid_headers_dropped: false → true"),
    ("load_balancer.web", "protected: true → false"),
    ("load_balancer.web", "access_logs: logs-by-hand/by-hand → nothing"),
    ("load_balancer.web", "tags.course: cloud"),
    ("listener.web", "port: 81 → 80"),
    ("default_action.web", "forwards.*/other/*: 9 → nothing"),
    ("listener.web", "target_group: *other* → *web*"),
    ("listener.web", "tags.course: cloud"),
    ("alarm.web-target-5xx", "errors: HTTPCode_Target_4XX_Count → HTTPCode_Target_5XX_Count"),
    ("alarm.web-target-5xx", "load_balancer: app/other/1 → app/postagram-web/*"),
    ("alarm.web-target-5xx", "expression: errors / requests → 100 * errors / requests"),
    ("alarm.web-target-5xx", "comparison: LessThanThreshold → GreaterThanThreshold"),
    ("alarm.web-target-5xx", "over_percent: 7.0 → 1.0"),
    ("alarm.web-target-5xx", "minutes: 5 → 3"),
    ("alarm.web-target-5xx", "minutes_over: 2 → 1"),
    ("alarm.web-target-5xx", "missing_data: breaching → notBreaching"),
    ("alarm.web-target-5xx", "tags.course: cloud"),
    ("scaling_policy.web", "target_percent: 70.0 → 50.0"),
    ("scaling_policy.web", "metric: ASGAverageNetworkIn → ASGAverageCPUUtilization"),
    ("auto_scaling_group.web", "min: 0 → 1"),
    ("auto_scaling_group.web", "max: 5 → 4"),
    ("auto_scaling_group.web", "subnets: [* → [*"),
    ("auto_scaling_group.web", "target_groups: [] → [*"),
    ("auto_scaling_group.web", "health_check_type: EC2 → ELB"),
    ("auto_scaling_group.web", "grace_period_s: 0 → *"),
    ("auto_scaling_group.web", "warmup_s: 10 → 60"),
    ("auto_scaling_group.web", "template.version: $Latest → 1"),
    ("auto_scaling_group.web", "template.id: lt-* → lt-*"),
    ("auto_scaling_group.web", "ends: not scheduled → nothing"),
    ("auto_scaling_group.web", "tags.course: cloud"),
    ("artifact.web", "sha256: *"),
    // A launch template that names a profile without a role could no longer be selected: this change comes after the
    // group's.
    ("instance_profile.web", "role: postagram-us-east-1-web-svc"),
];

/// The launch template's changes, the first of which also changes the group's template.
const RETEMPLATED: &[(&str, &str)] = &[
    ("launch_template.web", "image: ami-* → nothing"),
    ("launch_template.web", "instance_type: t3.small → t3.micro"),
    ("launch_template.web", "instance_profile: other → postagram-us-east-1-web-svc"),
    ("launch_template.web", "security_groups: [* → [*"),
    ("launch_template.web", "user_data (changed)"),
    ("launch_template.web", "disk.device: /dev/sdb → /dev/xvda"),
    ("launch_template.web", "disk.gb: 99 → *"),
    ("launch_template.web", "disk.volume_type: gp2 → gp3"),
    ("launch_template.web", "disk.encrypted: false → true"),
    ("launch_template.web", "disk.key: alias/by-hand → nothing"),
    ("launch_template.web", "disk.ends_with_instance: false → true"),
    ("launch_template.web", "metadata_endpoint: disabled → enabled"),
    ("launch_template.web", "metadata_tokens: optional → required"),
    ("launch_template.web", "metadata_hops: 2 → 1"),
    ("launch_template.web", "instance_tags.course: other → cloud"),
    ("launch_template.web", "volume_tags.course: other → cloud"),
    ("launch_template.web", "tags.course: cloud"),
];

/// Changes that Lambda takes only as long as nothing else of the function and its role is changed.
const TRACED: &[(&str, &str)] =
    &[("function.labeler", "published: false → true"), ("function.labeler", "tracing: true → false")];

/// Resources and settings that are deleted by hand.
const GONE: &[(&str, &str)] = &[
    ("log_group.labeler", "+"),
    ("role.labeler-fn", "policy: {*"),
    ("permissions.labeler", "statements.deployer-images: {*"),
    ("notification.images", "uploads.deployer-upload: {*"),
    ("listener.web", "+"),
    ("scaling_policy.web", "+"),
    ("alarm.web-target-5xx", "+"),
    ("artifact.web", "+"),
];

/// Fields that can only be set at creation: `up` refuses to change them.
const FIXED: &[(&str, &str)] = &[
    ("table.posts", "partition_key: other → user"),
    ("table.posts", "sort_key: also → id"),
    ("table.posts", "local_indexes.by-hand: {* → nothing"),
    ("target_group.web", "port: 9090 → 8080"),
    ("target_group.web", "protocol: HTTPS → HTTP"),
    ("load_balancer.web", "scheme: internal → internet-facing"),
];

/// Fields that cannot be changed by hand, and why.
const UNCHANGEABLE: &[(&str, &str)] = &[
    ("permissions.statements.deployer-images.effect", "AddPermission has no effect other than Allow"),
    ("listener.protocol", "HTTPS needs a certificate, which has to be proven to belong to a domain"),
    ("target_group.vpc", "the account's default network is the only one there"),
    ("load_balancer.vpc", "the same"),
    ("load_balancer.failure", "only AWS fails; it is not a setting"),
    ("load_balancer.web_acl", "of a service with a web ACL: web_acls.rs"),
    ("load_balancer.domain", "of a service with a domain: certificates.rs"),
    ("listener.certificate", "the same"),
    ("listener.tls_policy", "the same"),
    ("listener.superfluous", "the same"),
    ("alarm.target_group", "of a service that shares a load balancer: shared.rs"),
    ("default_action.redirect", "the same"),
    ("role.path", "fixed at creation: adopt.rs makes one at another path"),
    ("instance_profile.path", "the same"),
    ("auto_scaling_group.paused", "a paused stack is not a difference: money.rs pauses and resumes one"),
];

/// The kinds that only a service with a domain has: certificates.rs.
const OF_DOMAINS: &[&str] = &["alias", "certificate", "validation_record"];

/// The kinds that only a network of the stack's own has: `tests/networks/`.
const OF_NETWORKS: &[&str] = &["internet_gateway", "route_table", "subnet", "vpc"];

/// The kinds that only a service without a load balancer has: balancers.rs.
const OF_ADDRESSES: &[&str] = &["elastic_address"];

/// The kinds that only services behind others have: shared.rs.
const OF_RULES: &[&str] = &["rule", "rule_action"];

/// The shipped stack, with a bake time.
fn baked() -> Project {
    let project = Project::light();
    project.edit("    health_check: /health\n", "    health_check: /health\n    bake: 3m\n");
    project
}

#[tokio::test(flavor = "multi_thread")]
async fn every_change_by_hand_is_one_line_of_the_plan_and_is_corrected() {
    let (cloud, project) = (TestAws::start().await, baked());
    cloud.done(&project, &["up", "--yes"]).await;
    let hands = Hands::of(&cloud.aws);
    for rows in [CHANGED, TRACED, RETEMPLATED, GONE] {
        let mut seen = BTreeSet::new();
        for (address, line) in rows {
            hands.change(address, field(line)).await;
            let now = lines(&cloud.run(&project, &["plan"]).await);
            // A listener that forwards to another target group does not forward to ours.
            let besides = |where_: &str| address == &"listener.web" && where_ == "default_action.web";
            let new: Vec<_> =
                now.difference(&seen).filter(|(_, line)| !line.starts_with("takes values from ")).collect();
            let new: Vec<_> = new.into_iter().filter(|(where_, _)| !besides(where_)).collect();
            let [(where_, what)] = new[..] else { panic!("{address} {line}: {new:?} is new") };
            assert!(where_ == address && is_like(what, line), "{address} {line}: {where_} {what}");
            seen = now;
        }
        cloud.done(&project, &["up", "--yes"]).await;
        let plan = cloud.run(&project, &["plan", "--detailed-exitcode"]).await;
        assert_eq!(plan.code, 0, "{}", plan.all());
    }
    cloud.done(&project, &["down", "--yes"]).await;
    cloud.end().await;
}

/// Fields that a field of `stack.yaml` determines, as plans in JSON report it.
const DECIDED: &[(&str, &str, &str)] = &[
    ("auto_scaling_group.web", "max", "services.web.instances.max"),
    ("auto_scaling_group.web", "grace_period_s", "services.web.grace_period_s"),
    ("bucket.images", "cors", "buckets.images.cors"),
    ("function.labeler", "memory_mb", "functions.labeler.memory_mb"),
    ("function.labeler", "environment.BUCKET", "functions.labeler.environment.BUCKET"),
    ("log_group.labeler", "retention_days", "functions.labeler.log_retention_days"),
    ("scaling_policy.web", "target_percent", "services.web.instances.cpu_percent"),
    ("target_group.web", "health_check.path", "services.web.health_check.path"),
];

#[tokio::test(flavor = "multi_thread")]
async fn a_plan_names_the_line_of_the_file_that_decides_a_field() {
    let (cloud, project) = (TestAws::start().await, Project::light());
    cloud.done(&project, &["up", "--yes"]).await;
    let hands = Hands::of(&cloud.aws);
    for (address, field, _) in DECIDED {
        hands.change(address, field).await;
    }
    let plan = cloud.run(&project, &["plan", "--json"]).await;
    let plan: Value = serde_json::from_str(&plan.stdout).expect("a plan is JSON");
    let description = project.description();
    for (address, field, source) in DECIDED {
        let resources = plan["resources"].as_array().expect("a list").iter();
        let mut updates =
            resources.filter(|it| it["address"] == *address).filter_map(|it| it["step"]["update"].as_array());
        let change = updates.next().and_then(|changes| changes.iter().find(|change| change["path"] == *field));
        let decided_by = &change.unwrap_or_else(|| panic!("{address} {field} is not in {plan}"))["source"];
        assert_eq!(decided_by["path"], *source);
        let place = decided_by["place"].as_str().expect("a place");
        let line: usize = place.strip_prefix("stack.yaml:").and_then(|line| line.parse().ok()).expect("a line");
        let written = description.lines().nth(line - 1).expect("a line of the file");
        let names = source.rsplit('.').take(2);
        assert!(names.into_iter().any(|name| written.contains(name)), "{source}: {place} is {written:?}");
    }
    cloud.end().await;
}

/// On moto, whose target groups may use HTTPS.
#[tokio::test(flavor = "multi_thread")]
async fn a_change_that_needs_a_replacement_is_shown_and_refused() {
    let (moto, keys, project) = (Moto::start(), ("testing", "testing"), Project::light());
    let whole = project.description();
    project.describe("name: postagram\nregion: us-east-1\n");
    moto.done(&project, &["up", "--yes"]);
    let aws = connect(&moto.endpoint, keys).await;
    Hands::of(&aws).make_otherwise().await;
    project.describe(&whole);
    let plan = moto.run(&project, &["plan"]);
    let shown = lines(&plan);
    for (address, line) in FIXED {
        let found = shown.iter().any(|(where_, what)| where_ == address && is_like(what, line));
        assert!(found && plan.stderr.contains(&format!("± {address}")), "{address} {line}: {}", plan.all());
    }
    let describes =
        |(where_, what): &&(String, String)| where_ == "security_group.web" && what.starts_with("description");
    assert_eq!(shown.iter().find(describes), None, "a description has no effect");
    let before = inventory(&moto.endpoint, keys).await;
    let up = moto.run(&project, &["up", "--yes"]);
    assert_eq!(up.code, 1, "{}", up.all());
    assert!(up.stderr.contains("would have to be replaced"), "{}", up.all());
    assert_eq!(inventory(&moto.endpoint, keys).await, before, "nothing was done");
}

#[tokio::test(flavor = "multi_thread")]
async fn no_managed_field_is_left_out_of_these_tables() {
    let (cloud, project) = (TestAws::start().await, baked());
    cloud.done(&project, &["up", "--yes"]).await;
    let rows = [CHANGED, TRACED, RETEMPLATED, FIXED].concat();
    let covered: BTreeSet<String> = rows.iter().map(|(address, line)| within(kind(address), field(line))).collect();
    let excused: BTreeSet<&str> = UNCHANGEABLE.iter().map(|(field, _)| *field).collect();
    let managed = managed(&cloud).await;
    let forgotten: Vec<_> =
        managed.iter().filter(|field| !covered.contains(*field) && !excused.contains(field.as_str())).collect();
    assert!(forgotten.is_empty(), "no case changes {forgotten:?}");
    assert!(excused.iter().all(|field| managed.contains(*field)), "an exception for a field that does not exist");
    cloud.end().await;
}

fn kind(address: &str) -> &str {
    address.split('.').next().unwrap_or(address)
}

/// The path of the field in a line of the plan.
fn field(line: &str) -> &str {
    line.split(": ").next().and_then(|path| path.split(" (").next()).unwrap_or(line)
}

/// Returns the name of a managed field. Settings whose keys are chosen by the user count as one field.
fn within(kind: &str, field: &str) -> String {
    match field.split_once('.') {
        Some((
            map @ ("environment" | "forwards" | "indexes" | "instance_tags" | "local_indexes" | "user_data"
            | "volume_tags"),
            _,
        )) => {
            format!("{kind}.{map}")
        }
        _ => format!("{kind}.{field}"),
    }
}

/// Every managed field, as `kind.path`, taken from the live settings of the whole stack.
async fn managed(cloud: &TestAws) -> BTreeSet<String> {
    let aws = &cloud.aws;
    let name = |entry: &str| format!("postagram-{entry}");
    let bucket = |entry: &str| format!("postagram-{entry}-000000000000-us-east-1");
    let account = || "000000000000".to_owned();
    let hands = Hands::of(aws);
    let mut fields = Fields { cloud, found: BTreeSet::new() };
    fields.of(Bucket { name: bucket("images"), account: account() }).await;
    fields.of(Table { name: name("posts") }).await;
    fields.of(LogGroup { name: "/aws/lambda/postagram-labeler".into() }).await;
    fields.of(Role { name: name("us-east-1-labeler-fn") }).await;
    fields.of(InstanceProfile { name: name("us-east-1-web-svc") }).await;
    fields.of(Function::named(&name("labeler"))).await;
    fields.of(Permissions { function: name("labeler") }).await;
    fields.of(Notification { bucket: bucket("images"), account: account() }).await;
    let side = Side::Front(name("web-8080"));
    fields.of(SecurityGroup { name: name("web-lb"), vpc: hands.vpc().await, side }).await;
    fields.of(LaunchTemplate::named(&name("web"))).await;
    fields.of(TargetGroup { name: name("web-8080") }).await;
    fields.of(LoadBalancer::named(&name("web"))).await;
    let target_group = hands.target_group_arn().await;
    let (load_balancer, port) = (hands.load_balancer().await, 80);
    let (part, https) = (ListenerPart::Alone, "listener.web-https".into());
    fields.of(Listener { load_balancer, target_group: target_group.clone(), port, part, https }).await;
    fields.of(Alarm { name: WATCHED[0].name(&name("web")) }).await;
    fields.of(AutoScalingGroup::named(&name("web-8080"))).await;
    fields.of(ScalingPolicy { group: name("web-8080") }).await;
    let (listener, group) = (hands.listener_arn().await, name("web-8080"));
    let seen = default_action::Settings::all_to(&target_group);
    let service = ("web".to_owned(), Reports { bucket: String::new(), prefix: String::new() });
    fields.of(DefaultAction { listener, target_group, group, seen, service, wait: Wait::default() }).await;
    let (bucket, key) = hands.artifact().await;
    fields.of(Artifact { bucket, key, content: Content::default() }).await;
    let others = [OF_DOMAINS, OF_NETWORKS, OF_ADDRESSES, OF_RULES].concat();
    let kinds: BTreeSet<&str> = KINDS.iter().map(|it| it.name).filter(|kind| !others.contains(kind)).collect();
    let seen: BTreeSet<&str> = fields.found.iter().map(|field| kind(field)).collect();
    assert_eq!(seen, kinds, "every kind is listed here");
    fields.found
}

struct Fields<'a> {
    cloud: &'a TestAws,
    found: BTreeSet<String>,
}

impl Fields<'_> {
    async fn of<R: Resource<Cloud = deployer::cloud::aws::Aws>>(&mut self, resource: R) {
        let Ok(Observed::Present(live)) = resource.read(&self.cloud.aws).await else {
            panic!("{} {} is not there", R::KIND, resource.name());
        };
        let settings = serde_json::to_value(&live.settings).expect("settings are plain data");
        let mut leaves = BTreeMap::new();
        flatten("", &settings, &mut leaves);
        self.found.extend(leaves.keys().map(|path| within(R::KIND, path)));
    }
}

fn flatten(path: &str, value: &Value, leaves: &mut BTreeMap<String, Value>) {
    let Value::Object(fields) = value else {
        leaves.insert(path.to_owned(), value.clone());
        return;
    };
    for (key, value) in fields {
        let path = if path.is_empty() { key.clone() } else { format!("{path}.{key}") };
        flatten(&path, value, leaves);
    }
}
