//! The causes, each with its remedy and its field of `stack.yaml`.

use super::boot::{
    disk_full, fetch_denied, no_profile, packages, program_damaged, program_missing, secret_denied, secret_missing,
    secret_unfit, secret_unreachable, secret_unread, setup, user_data,
};
use super::group::{alarm, impaired, launch_refused, no_group, no_instances, rolled_back, suspended};
use super::health::{another_port, health_error, health_failed, no_answer, slow_start, starting, stopped, wrong_path};
use super::path::{address_not_taken, detached, firewall, listener_elsewhere, no_address, no_listener};
use super::program::{
    architecture, command_missing, denied, exits, key_unusable, newer_libraries, out_of_memory, port_taken, setting_up,
};
use crate::cloud::why::evidence::Evidence;

/// A cause for a service that is not healthy.
pub(super) struct Cause {
    pub(super) name: &'static str,
    /// Returns the sentence if the evidence matches.
    pub(super) shown: fn(&Evidence) -> Option<String>,
    pub(super) remedy: &'static str,
    pub(super) field: &'static str,
}

const fn cause(
    name: &'static str,
    shown: fn(&Evidence) -> Option<String>,
    remedy: &'static str,
    field: &'static str,
) -> Cause {
    Cause { name, shown, remedy, field }
}

const UP: &str = "run `up`, which reverts the manual change";

pub(super) const CAUSES: &[Cause] = &[
    cause("alarm", alarm, "correct the service, and run `up`; `bake: 0` turns the alarms off", "bake"),
    cause("rolled-back", rolled_back, "correct the service, and run `up`", ""),
    cause("no-group", no_group, "run `up`", ""),
    cause(
        "suspended",
        suspended,
        "resume it by hand: `aws autoscaling resume-processes --auto-scaling-group-name NAME`",
        "",
    ),
    cause("detached", detached, UP, ""),
    cause("no-address", no_address, "run `up`", "load_balancer"),
    cause("no-listener", no_listener, UP, "load_balancer.port"),
    cause("listener-elsewhere", listener_elsewhere, UP, "load_balancer.port"),
    cause("launch-refused", launch_refused, "", "instance_type"),
    cause("firewall", firewall, UP, "port"),
    cause("no-instances", no_instances, "set `instances.min` to 1 or more", "instances.min"),
    cause("impaired", impaired, "the group replaces it by itself: wait, or terminate the instance", ""),
    cause("user-data", user_data, "correct what cloud-init names, then run `up`", "environment"),
    cause("disk-full", disk_full, "raise `disk_gb`, or make the service store less", "disk_gb"),
    cause("no-profile", no_profile, "run `up`; with `roles`, name an instance profile that has a role", ""),
    cause(
        "fetch-denied",
        fetch_denied,
        "run `up`, which restores the role's policy; with `roles`, allow it `s3:GetObject` on the artifact bucket",
        "uses",
    ),
    cause(
        "secret-missing",
        secret_missing,
        "set it with `deployer secret set`: each instance tries again, about every 20 s",
        "environment",
    ),
    cause(
        "secret-denied",
        secret_denied,
        "run `up`, which restores the role's policy; with `roles`, allow it `secretsmanager:GetSecretValue` or \
         `ssm:GetParameter`, and with a key of your own `kms:Decrypt`",
        "environment",
    ),
    cause(
        "secret-unreachable",
        secret_unreachable,
        "give its subnets a route to the internet, or the network an interface endpoint of `secretsmanager` or `ssm`",
        "environment",
    ),
    cause(
        "secret-unfit",
        secret_unfit,
        "correct `key`, or set another value with `deployer secret set`",
        "environment",
    ),
    cause(
        "secret-unread",
        secret_unread,
        "correct what the message names: each instance tries again, about every 20 s",
        "environment",
    ),
    cause("program-missing", program_missing, "run `up`, which uploads the program again", "package"),
    cause("program-damaged", program_damaged, "run `up`, which uploads the program again", "package"),
    cause(
        "packages",
        packages,
        "correct `packages`: `dnf search` on an instance, or the list of packages of Amazon Linux 2023, has the names",
        "packages",
    ),
    cause("setup", setup, "correct `setup` or the files of the folder, and run `up`", "setup"),
    cause(
        "architecture",
        architecture,
        "choose an `instance_type` of the program's architecture, or build the program for it",
        "instance_type",
    ),
    cause(
        "newer-libraries",
        newer_libraries,
        "build it with `package`, which links against the C library of Amazon Linux 2023",
        "package",
    ),
    cause(
        "out-of-memory",
        out_of_memory,
        "choose a larger `instance_type`, or make the service use less memory",
        "instance_type",
    ),
    cause(
        "key-unusable",
        key_unusable,
        "enable the key, or cancel its deletion, and allow the service's role to use it in the key's policy; `up` restores the \
         role's policy",
        "uses",
    ),
    cause("denied", denied, "add what the service uses to `uses`, and run `up`", "uses"),
    cause("port-taken", port_taken, "choose another `port`", "port"),
    cause(
        "command-missing",
        command_missing,
        "correct `run`, add the package with the program to `packages`, or install it in `setup`",
        "run",
    ),
    cause("exits", exits, "correct the service or its `environment`, and run `up`", "environment"),
    cause(
        "setting-up",
        setting_up,
        "wait; if it takes longer than the grace period, raise `grace_period_s`: the group replaces the instance before it is \
         ready",
        "setup",
    ),
    cause(
        "another-port",
        another_port,
        "make the service listen on 0.0.0.0 and the port in the variable PORT, or raise `grace_period_s`",
        "port",
    ),
    cause(
        "wrong-path",
        wrong_path,
        "correct `health_check.path`, or make the service answer it with 200",
        "health_check",
    ),
    cause("health-error", health_error, "make the service answer its health check with 200", "health_check"),
    cause("health-failed", health_failed, "make the service answer its health check with 200", "health_check"),
    cause("slow-start", slow_start, "raise `grace_period_s`, or make it start faster", "grace_period_s"),
    cause(
        "no-answer",
        no_answer,
        "find out why the service is slow, or raise `health_check.timeout_s`",
        "health_check",
    ),
    cause(
        "address-not-taken",
        address_not_taken,
        "wait a minute, or run `up`, which restores the role's policy; with `roles`, allow it `ec2:AssociateAddress`. If it was \
         taken away by hand, terminate the instance: its successor takes it",
        "load_balancer",
    ),
    cause("stopped", stopped, "the group replaces it by itself: wait", ""),
    cause("starting", starting, "wait", ""),
];
