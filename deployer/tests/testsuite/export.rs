//! The configuration that `export terraform` writes: an independent parser reads it, every resource of the stack is in it,
//! and no value is that AWS keeps. `.ci/terraform` plans it with Terraform itself.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    process::Command,
};

use serde_json::Value;
use testkit::programs::{root, tool};

use crate::support::{Project, SENSITIVE, STORED_VALUE, cloud::TestAws, domain, shared};

/// The files of a folder as the parser of python-hcl2 reads them.
fn parsed(folder: &Path) -> BTreeMap<String, Value> {
    let parse = Command::new(tool("checkov/bin/python"))
        .arg(root().join("deployer/tests/testsuite/support/hcl.py"))
        .arg(folder)
        .output()
        .expect("the parser can be started");
    let said = String::from_utf8_lossy(&parse.stderr);
    serde_json::from_slice(&parse.stdout).unwrap_or_else(|error| panic!("{error}: {said}"))
}

/// The blocks of this type in all files.
fn blocks<'a>(files: &'a BTreeMap<String, Value>, kind: &str) -> Vec<&'a Value> {
    files.values().filter_map(|file| file[kind].as_array()).flatten().collect()
}

/// The resources in all files, by address.
fn resources(files: &BTreeMap<String, Value>) -> BTreeMap<String, Value> {
    let mut all = BTreeMap::new();
    for block in blocks(files, "resource") {
        for (kind, named) in block.as_object().expect("types") {
            for (label, body) in named.as_object().expect("labels") {
                let twice = all.insert(format!("{kind}.{label}"), body.clone());
                assert!(twice.is_none(), "{kind}.{label} is there twice");
            }
        }
    }
    all
}

/// The only value of an argument: the parser puts each into a list.
fn one<'a>(body: &'a Value, argument: &str) -> &'a Value {
    body[argument].get(0).unwrap_or_else(|| panic!("there is no {argument} in {body}"))
}

/// The ids of the imports, by address.
fn imports(files: &BTreeMap<String, Value>) -> BTreeMap<String, String> {
    let import = |block: &Value| {
        let address = one(block, "to").as_str().expect("an address");
        let address = address.trim_start_matches("${").trim_end_matches('}');
        (address.to_owned(), one(block, "id").as_str().expect("an id").to_owned())
    };
    blocks(files, "import").into_iter().map(import).collect()
}

/// The provider's arguments, by block.
fn arguments() -> BTreeMap<String, BTreeSet<String>> {
    let file = root().join("deployer/tests/testsuite/support/terraform_arguments.txt");
    let text = fs::read_to_string(file).expect("the list is there");
    let lines = text.lines().filter(|line| !line.starts_with('#'));
    let block = |line: &str| {
        let (block, names) = line.split_once(':').unwrap_or_else(|| panic!("{line}"));
        (block.to_owned(), names.split_whitespace().map(str::to_owned).collect())
    };
    lines.map(block).collect()
}

/// Arguments that every resource has, and what the parser adds.
const OF_ALL: &[&str] = &["depends_on", "lifecycle", "__start_line__", "__end_line__"];

/// Adds the arguments of a block that the provider does not know.
fn unknown(block: &str, body: &Value, known: &BTreeMap<String, BTreeSet<String>>, found: &mut Vec<String>) {
    for (name, values) in body.as_object().into_iter().flatten().filter(|(name, _)| !OF_ALL.contains(&name.as_str())) {
        let path = format!("{block}.{name}");
        if known.contains_key(&path) {
            values.as_array().into_iter().flatten().for_each(|inner| unknown(&path, inner, known, found));
        } else if !known.get(block).is_some_and(|names| names.contains(name)) {
            found.push(path);
        }
    }
}

/// Asserts that the provider supports every argument.
fn assert_known(all: &BTreeMap<String, Value>) {
    let (known, mut found) = (arguments(), Vec::new());
    for (address, body) in all {
        unknown(address.split('.').next().unwrap_or_default(), body, &known, &mut found);
    }
    assert!(found.is_empty(), "the provider does not know {found:?}");
}

/// Every file below a folder.
fn files(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).expect("a folder").map(|entry| entry.expect("an entry").path());
    entries.flat_map(|path| if path.is_dir() { files(&path) } else { vec![path] }).collect()
}

/// The files in `tf` that Git would add to a repository.
fn seen_by_git(project: &Project) -> BTreeSet<String> {
    let git = |arguments: &[&str]| {
        let git = Command::new("git").args(arguments).current_dir(project.path()).output().expect("git can be started");
        assert!(git.status.success(), "git {arguments:?}: {}", String::from_utf8_lossy(&git.stderr));
        String::from_utf8(git.stdout).expect("names are texts")
    };
    git(&["init", "--quiet"]);
    git(&["ls-files", "--others", "--exclude-standard", "tf"]).lines().map(str::to_owned).collect()
}

/// The types of a stack without a domain, each with the number of its resources.
const FULL: &[(&str, usize)] = &[
    ("aws_autoscaling_group", 1),
    ("aws_autoscaling_policy", 1),
    ("aws_cloudwatch_log_group", 2),
    ("aws_cloudwatch_metric_alarm", 3),
    ("aws_dynamodb_table", 1),
    ("aws_iam_instance_profile", 1),
    ("aws_iam_role", 2),
    ("aws_iam_role_policy", 2),
    ("aws_lambda_function", 1),
    ("aws_lambda_permission", 1),
    ("aws_launch_template", 1),
    ("aws_lb", 1),
    ("aws_lb_listener", 1),
    ("aws_lb_target_group", 1),
    ("aws_s3_bucket", 2),
    ("aws_s3_bucket_cors_configuration", 1),
    ("aws_s3_bucket_lifecycle_configuration", 2),
    ("aws_s3_bucket_notification", 1),
    ("aws_s3_bucket_ownership_controls", 2),
    ("aws_s3_bucket_policy", 2),
    ("aws_s3_bucket_public_access_block", 2),
    ("aws_s3_bucket_server_side_encryption_configuration", 2),
    ("aws_s3_object", 1),
    ("aws_secretsmanager_secret", 1),
    ("aws_security_group", 2),
    ("aws_ssm_parameter", 1),
    ("aws_vpc_security_group_egress_rule", 2),
    ("aws_vpc_security_group_ingress_rule", 3),
];

#[test]
fn every_resource_of_the_stack_is_imported_and_no_kept_value_is_written() {
    let project = Project::full();
    project.done(&["local", "start"]);
    project.set_values();
    project.done(&["up", "--local", "--yes"]);
    let said = project.done(&["export", "terraform", "tf", "--local", "-v"]);
    assert!(said.stderr.contains(" calls, 0 of them mutating"), "it only reads: {}", said.all());
    let folder = project.path().join("tf");
    let files_of = parsed(&folder);
    let all = resources(&files_of);
    let mut kinds: BTreeMap<&str, usize> = BTreeMap::new();
    all.keys().for_each(|address| *kinds.entry(address.split_once('.').expect("an address").0).or_default() += 1);
    assert_eq!(kinds.into_iter().collect::<Vec<_>>(), FULL);
    assert_known(&all);
    let imports = imports(&files_of);
    assert_eq!(imports.keys().collect::<Vec<_>>(), all.keys().collect::<Vec<_>>(), "each has its import");
    for (address, id) in [
        ("aws_s3_bucket.images", "full-images-000000000000-us-east-1"),
        ("aws_iam_role_policy.labeler_fn", "full-us-east-1-labeler-fn:deployer"),
        ("aws_lambda_permission.labeler_deployer_images", "full-labeler/deployer-images"),
        ("aws_autoscaling_policy.web", "full-web-8080/cpu"),
        ("aws_ssm_parameter.app_password", "/app/password"),
    ] {
        assert_eq!(imports[address], id, "{address}");
    }
    let begins = |address: &str, prefix: &str| assert!(imports[address].starts_with(prefix), "{}", imports[address]);
    begins("aws_lb.web", "arn:aws:elasticloadbalancing:us-east-1:000000000000:loadbalancer/app/full-web/");
    begins("aws_secretsmanager_secret.app_token", "arn:aws:secretsmanager:us-east-1:000000000000:secret:app/token-");
    begins("aws_vpc_security_group_ingress_rule.web", "sgr-");
    begins("aws_launch_template.web", "lt-");

    // References instead of ids, and the tags of the stack.
    assert_eq!(*one(&all["aws_lb_listener.web"], "load_balancer_arn"), "${aws_lb.web.arn}");
    let environment = one(one(&all["aws_lambda_function.labeler"], "environment"), "variables").clone();
    assert_eq!(environment["DYNAMO_TABLE"], "${aws_dynamodb_table.posts.name}");
    assert_eq!(environment["GREETING"], "${var.function_labeler_environment_GREETING}");
    let tags = one(&all["aws_dynamodb_table.posts"], "tags").clone();
    assert_eq!(tags["course"], "Zoé:1");
    assert_eq!((&tags["deployer:stack"], &tags["deployer:resource"]), (&"full".into(), &"table.posts".into()));

    // A secret that Terraform deletes can be restored, as one that `down` deletes.
    let secret = &all["aws_secretsmanager_secret.app_token"];
    assert_eq!(*one(secret, "recovery_window_in_days"), 7);
    assert!(!one(secret, "lifecycle").to_string().contains("recovery_window_in_days"), "{secret}");
    let readme = fs::read_to_string(folder.join("README.md")).expect("it is there");
    assert!(readme.contains(" to import, 0 to add, 2 to change, 0 to destroy\""), "{readme}");
    assert!(readme.contains("\n- 1 function: ") && readme.contains("\n- 1 secret: "), "{readme}");

    // A parameter that Terraform recreates has the placeholder.
    let placeholder = one(&all["aws_ssm_parameter.app_password"], "value").as_str().expect("a text");
    assert!(readme.contains(&format!("a parameter has the value `{placeholder}`")), "{readme}");
    let secrets = fs::read_to_string(folder.join("secrets.tf")).expect("it is there");
    assert!(!secrets.contains("never writes") && secrets.contains("creates anew has the value above"), "{secrets}");

    // The old program stays until the new one is there.
    let lifecycle = one(&all["aws_s3_object.web"], "lifecycle").clone();
    assert_eq!(*one(&lifecycle, "create_before_destroy"), true, "{lifecycle}");
    assert!(readme.contains("Keep the old object until the refresh has ended"), "{readme}");

    // The programs are those of the description.
    let program = fs::read(folder.join("files/web-program")).expect("the program of the service");
    assert_eq!(program, fs::read(testkit::small_programs::tiny_service()).expect("the program"));
    assert!(fs::read(folder.join("files/labeler.zip")).expect("the program of the function").starts_with(b"PK"));

    let seen = seen_by_git(&project);
    for file in files(&folder) {
        let name = file.strip_prefix(project.path()).expect("a file in it").display().to_string();
        let text = String::from_utf8_lossy(&fs::read(&file).expect("it can be read")).into_owned();
        assert!(!text.contains(STORED_VALUE), "{name} has a value that AWS keeps");
        if text.contains(SENSITIVE) {
            assert!(!seen.contains(&name), "{name} belongs in no repository");
            let mode = fs::metadata(&file).expect("a file").permissions().mode();
            assert_eq!(mode & 0o077, 0, "{name} is for us alone");
        }
    }
    assert!(seen.contains("tf/functions.tf") && seen.contains("tf/files/web-program"), "{seen:?}");
    assert!(!seen.contains("tf/secrets.auto.tfvars") && !seen.contains("tf/files/web-user-data.yaml"), "{seen:?}");
    // Again, over the same folder, it is the same.
    let before = parsed(&folder);
    fs::write(folder.join("notes.txt"), "mine").expect("the folder can be written to");
    project.done(&["export", "terraform", "tf", "--local", "--overwrite"]);
    assert_eq!(parsed(&folder), before);
    assert_eq!(fs::read_to_string(folder.join("notes.txt")).expect("it is kept"), "mine");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_domain_is_exported_with_its_certificate_and_records() {
    let (cloud, project) = (TestAws::start().await, Project::of_service("    domain: app.example.org\n"));
    domain::make_zone(&cloud.aws).await;
    cloud.done(&project, &["up", "--yes"]).await;
    cloud.done(&project, &["export", "terraform", "tf"]).await;
    let files = parsed(&project.path().join("tf"));
    let (all, imports) = (resources(&files), imports(&files));
    assert_eq!(imports.keys().collect::<Vec<_>>(), all.keys().collect::<Vec<_>>());
    assert_known(&all);
    assert_eq!(*one(&all["aws_acm_certificate.web"], "domain_name"), "app.example.org");
    let listener = &all["aws_lb_listener.web_https"];
    assert_eq!(*one(listener, "certificate_arn"), "${aws_acm_certificate.web.arn}");
    let redirect = one(one(&all["aws_lb_listener.web"], "default_action"), "redirect").clone();
    assert_eq!((one(&redirect, "port"), one(&redirect, "status_code")), (&"443".into(), &"HTTP_301".into()));
    let alias = one(&all["aws_route53_record.web_aaaa"], "alias").clone();
    assert_eq!(*one(&alias, "name"), "${aws_lb.web.dns_name}");
    assert!(imports["aws_route53_record.web_a"].ends_with("_app.example.org_A"), "{imports:?}");
    assert!(imports["aws_route53_record.web_validation"].ends_with(".app.example.org_CNAME"), "{imports:?}");
    cloud.done(&project, &["down", "--yes"]).await;
    cloud.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn services_that_share_a_load_balancer_are_exported_with_their_rules() {
    let (cloud, project) = (TestAws::start().await, shared::project());
    project.edit("    behind:", "    bake: 3m\n    behind:");
    cloud.done(&project, &["up", "--yes"]).await;
    cloud.done(&project, &["export", "terraform", "tf"]).await;
    let files = parsed(&project.path().join("tf"));
    let (all, imports) = (resources(&files), imports(&files));
    assert_eq!(imports.keys().collect::<Vec<_>>(), all.keys().collect::<Vec<_>>());
    assert_known(&all);
    assert!(imports["aws_lb_listener_rule.api"].contains(":listener-rule/app/s-web/"), "{imports:?}");
    let rule = &all["aws_lb_listener_rule.api"];
    assert_eq!(*one(rule, "listener_arn"), "${aws_lb_listener.web.arn}");
    assert_eq!(*one(one(rule, "action"), "target_group_arn"), "${aws_lb_target_group.api.arn}");
    let path = one(one(one(rule, "condition"), "path_pattern"), "values").clone();
    assert_eq!(path, serde_json::json!(["/environment"]));
    let priority = shared::rules(&cloud.aws).await[0].priority().map(str::to_owned);
    assert_eq!(Some(one(rule, "priority").to_string()), priority);
    // The alarm counts the responses of the service's own targets.
    let alarm = all["aws_cloudwatch_metric_alarm.api_target_5xx"].to_string();
    assert!(alarm.contains("${aws_lb_target_group.api.arn_suffix}"), "{alarm}");
    assert!(!all.keys().any(|address| address == "aws_lb.api" || address == "aws_lb_listener.api"), "{all:?}");
    cloud.done(&project, &["down", "--yes"]).await;
    cloud.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_web_acl_is_exported_as_an_association() {
    let web_acl = "arn:aws:wafv2:us-east-1:000000000000:regional/webacl/app/12345678-1234-1234-1234-123456789012";
    let field = format!("    load_balancer: {{ port: 80, waf: {web_acl:?} }}\n");
    let (cloud, project) = (TestAws::start().await, Project::of_service(&field));
    cloud.done(&project, &["up", "--yes"]).await;
    let exported = async || {
        cloud.done(&project, &["export", "terraform", "tf", "--overwrite"]).await;
        let files = parsed(&project.path().join("tf"));
        let (all, imports) = (resources(&files), imports(&files));
        assert_eq!(imports.keys().collect::<Vec<_>>(), all.keys().collect::<Vec<_>>());
        assert_known(&all);
        (all, imports)
    };
    let (all, imports) = exported().await;
    let association = &all["aws_wafv2_web_acl_association.web"];
    assert_eq!(*one(association, "resource_arn"), "${aws_lb.web.arn}");
    assert_eq!(*one(association, "web_acl_arn"), web_acl);
    let id = format!("{web_acl},{}", imports["aws_lb.web"]);
    assert_eq!(imports["aws_wafv2_web_acl_association.web"], id);
    // An association that stack.yaml does not describe is not exported.
    project.edit(&field, "    load_balancer: { port: 80 }\n");
    let (all, _) = exported().await;
    assert!(!all.contains_key("aws_wafv2_web_acl_association.web"), "{all:?}");
    cloud.done(&project, &["down", "--yes"]).await;
    cloud.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn retries_of_failed_events_stay_as_they_are() {
    let binary = testkit::small_programs::echo_function();
    let description = format!(
        "name: small\nregion: us-east-1\nbuckets: {{ a: }}\nfunctions:\n  f:\n    binary: {}\n    on_failure: ${{buckets.a.arn}}\n",
        binary.display()
    );
    let (cloud, project) = (TestAws::start().await, Project::with(&description));
    cloud.done(&project, &["up", "--yes"]).await;
    // AWS returns no number until there is one.
    for (retries, changes) in [(2, 1), (0, 0)] {
        if changes == 0 {
            let call = cloud.aws.lambda.update_function_event_invoke_config().function_name("small-f");
            call.maximum_retry_attempts(retries).send().await.expect("it can be changed");
        }
        cloud.done(&project, &["export", "terraform", "tf", "--overwrite"]).await;
        let folder = project.path().join("tf");
        let all = resources(&parsed(&folder));
        assert_known(&all);
        let events = &all["aws_lambda_function_event_invoke_config.f"];
        assert_eq!(*one(events, "maximum_retry_attempts"), retries);
        assert!(!one(events, "lifecycle").to_string().contains("maximum_retry_attempts"), "{events}");
        let readme = fs::read_to_string(folder.join("README.md")).expect("it is there");
        assert!(readme.contains(&format!(" 0 to add, {changes} to change, ")), "{readme}");
    }
    cloud.done(&project, &["down", "--yes"]).await;
    cloud.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn commands_of_a_folder_are_kept_from_others_and_from_git() {
    let folder = "\
name: s
region: us-east-1
services:
  web:
    files: app
    run: TOKEN=hunter2 python3 server.py
    port: 8080
    instance_type: t3.micro
    instances: { min: 1, max: 1 }
    health_check: /health
    environment: { GREETING: hello }
";
    let (cloud, project) = (TestAws::start().await, Project::with(folder));
    fs::create_dir(project.path().join("app")).expect("a folder can be made");
    let server = include_str!("folders/server.py");
    fs::write(project.path().join("app/server.py"), server).expect("it can be written to");
    fs::write(project.path().join("app/name.txt"), "Ada").expect("it can be written to");
    cloud.done(&project, &["up", "--yes"]).await;
    cloud.done(&project, &["export", "terraform", "tf"]).await;
    let file = project.path().join("tf/files/web-user-data.yaml");
    assert!(fs::read_to_string(&file).expect("it is there").contains("TOKEN=hunter2"));
    assert_eq!(fs::metadata(&file).expect("a file").permissions().mode() & 0o077, 0, "it is for us alone");
    assert!(!seen_by_git(&project).contains("tf/files/web-user-data.yaml"));
    cloud.done(&project, &["down", "--yes"]).await;
    cloud.end().await;
}

#[test]
fn files_that_no_export_wrote_are_not_replaced() {
    let project = Project::with("name: small\nregion: us-east-1\ntables: { t: { partition_key: k } }\n");
    let mine = [".gitignore", "README.md", "network.tf", "versions.tf"];
    mine.iter().for_each(|name| fs::write(project.path().join(name), "mine\n").expect("it can be written to"));
    project.done(&["local", "start"]);
    project.done(&["up", "--local", "--yes"]);
    let said = project.run(&["export", "terraform", ".", "--local", "--overwrite"]);
    assert_eq!(said.code, 64, "{}", said.all());
    let why = "is not the folder of an earlier export: it has .gitignore, README.md, network.tf, versions.tf, ";
    assert!(said.stderr.contains(why) && said.stderr.contains("hint: "), "{}", said.all());
    for name in mine {
        assert_eq!(fs::read_to_string(project.path().join(name)).expect(name), "mine\n");
    }
    assert!(!project.path().join("files").exists() && !project.path().join("tables.tf").exists());
}

#[test]
fn a_folder_with_files_and_an_unfinished_stack_are_refused() {
    let project = Project::with("name: small\nregion: us-east-1\ntables: { t: { partition_key: k } }\n");
    let folder = project.path().join("tf");
    let refused = |code: i32, why: &str| {
        let said = project.run(&["export", "terraform", "tf", "--local"]);
        assert!(said.code == code && said.stderr.contains(why), "{why}: {}", said.all());
        assert!(said.stderr.contains("hint: "), "there is a remedy: {}", said.all());
    };
    refused(1, "there is no local AWS here");
    fs::create_dir(&folder).expect("a folder can be made");
    fs::write(folder.join("mine.tf"), "# mine\n").expect("it can be written to");
    refused(64, "tf is not empty");
    assert_eq!(files(&folder).len(), 1, "nothing was written");
    fs::remove_dir_all(&folder).expect("it can be removed");
    fs::write(&folder, "").expect("a file can be made");
    refused(64, "tf is not a folder");
    fs::remove_file(&folder).expect("it can be removed");

    project.done(&["local", "start"]);
    refused(1, "the stack does not exist");
    project.done(&["up", "--local", "--yes"]);
    project.edit("partition_key: k", "partition_key: k, point_in_time_recovery: true");
    refused(1, "the stack differs from stack.yaml in table.t");
    project.describe("name: small\nregion: us-east-1\n");
    refused(1, "the stack differs from stack.yaml in table.small-t");
    assert!(!folder.exists(), "nothing was written");

    // A file of an earlier export that is not written any more.
    project.describe("name: small\nregion: us-east-1\ntables: { t: { partition_key: k } }\n");
    project.done(&["export", "terraform", "tf", "--local"]);
    let stale = ["services.tf", "files/old-user-data.yaml", "files/old-program", "files/old.zip"];
    stale.iter().for_each(|name| fs::write(folder.join(name), "left over").expect("it can be written to"));
    fs::write(folder.join("files/notes.txt"), "mine").expect("it can be written to");
    project.done(&["export", "terraform", "tf", "--local", "--overwrite"]);
    stale.iter().for_each(|name| assert!(!folder.join(name).exists(), "{name}"));
    assert!(folder.join("files/notes.txt").exists());
    assert!(parsed(&folder).contains_key("tables.tf"));

    // An export that fails half way leaves nothing that Git sees and should not.
    fs::remove_file(folder.join(".gitignore")).expect("it can be removed");
    fs::remove_file(folder.join("imports.tf")).expect("it can be removed");
    fs::create_dir(folder.join("imports.tf")).expect("a folder can be made");
    let said = project.run(&["export", "terraform", "tf", "--local", "--overwrite"]);
    assert!(said.code == 1 && said.stderr.contains("cannot write tf/imports.tf"), "{}", said.all());
    let ignored = fs::read_to_string(folder.join(".gitignore")).expect("it is there");
    assert!(ignored.starts_with("/files/*-user-data.yaml\n/secrets.auto.tfvars\n"), "{ignored}");
}
