//! The table of causes; the first one that matches the evidence is reported.
//!
//! Certain causes come before likely ones, and causes early in the path of a request before later ones.

mod boot;
mod facts;
mod group;
mod health;
mod path;
mod program;
mod table;

use super::evidence::Evidence;
use crate::cloud::health::refusal_of;

pub(super) use facts::has_run;
use table::{CAUSES, Cause};

/// Why something is not healthy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verdict {
    /// The name of the cause.
    pub cause: &'static str,
    /// One sentence, without the name of the service.
    pub words: String,
    /// The remedy.
    pub remedy: String,
    /// The field of the service in `stack.yaml` that decides it; empty if none does.
    pub field: &'static str,
}

/// Returns the first cause that matches the evidence, if any.
pub fn verdict(evidence: &Evidence) -> Option<Verdict> {
    let found = |cause: &Cause| Some((cause.name, (cause.shown)(evidence)?, cause.remedy, cause.field));
    let (cause, words, remedy, field) = CAUSES.iter().find_map(found)?;
    // Refused launches have a table of remedies of their own.
    let remedy = match cause {
        "launch-refused" => refusal_of(&words).map_or("correct what AWS names, then run `up`", |it| it.advice),
        _ => remedy,
    };
    Some(Verdict { cause, words, remedy: remedy.into(), field })
}

#[cfg(test)]
mod tests {
    use super::super::{Group, Instance, Launch, Member, RollOut, UnreadableValue, Wiring, report::Report};
    use super::*;
    use crate::cloud::health::Target;
    use crate::cloud::stored_values::Presence;
    use crate::cloud::why::evidence::Stage;
    use crate::cloud::why::report::Line;
    use crate::kinds::elastic_address::Output;

    /// A service whose instance runs and is not healthy, for an unknown reason.
    fn unhealthy() -> Evidence {
        let group = Group { suspended: Vec::new(), target_groups: vec!["tg".into()], min: 1, ..Group::default() };
        let profile = Some("arn:aws:iam::1:instance-profile/web".to_owned());
        let instance = Instance { id: "i-1".into(), state: "running".into(), profile, ..Instance::default() };
        let wiring = Wiring { target_group: "tg".into(), listens: true, forwards: true, ..Wiring::default() };
        Evidence {
            service: "web".into(),
            port: 8080,
            path: "/health".into(),
            grace_s: 120,
            instance_type: "t3.micro".into(),
            group: Some(Some(group)),
            instances: vec![instance],
            wiring: Some(wiring),
            ..Evidence::default()
        }
    }

    fn target(reason: &str, description: &str) -> Vec<Target> {
        let (id, state) = ("i-1".to_owned(), "unhealthy".to_owned());
        vec![Target { id, state, reason: reason.into(), description: description.into() }]
    }

    fn exited(words: &str, end: &str) -> Vec<Report> {
        let line = |program: &str, text: &str| format!("2026 host {program}[1]: {text}\n");
        let text = format!("stage=exit port=8080\nNRestarts=2\n{}{}", line("service", words), line("systemd", end));
        vec![Report::parse("i-1", "exit", 0, &text)]
    }

    fn fetching(words: &str) -> Vec<Report> {
        let text = format!(
            "stage=exit\n2026 host aws[1]: {words}\n2026 host systemd[1]: web.service: Control process exited, code=exited, status=1/FAILURE\n"
        );
        vec![Report::parse("i-1", "exit", 0, &text)]
    }

    fn unreadable(why: &str, presence: Option<Presence>) -> Option<UnreadableValue> {
        Some(UnreadableValue { what: "TOKEN from the secret app/jwt".into(), why: why.into(), presence })
    }

    fn group(change: impl FnOnce(&mut Group)) -> Option<Option<Group>> {
        let mut group = unhealthy().group.flatten().expect("there is one");
        change(&mut group);
        Some(Some(group))
    }

    const CRASH: &str = "web.service: Main process exited, code=exited, status=78/CONFIG";

    #[test]
    fn a_denied_download_is_the_cause_even_if_the_report_is_denied_too() {
        let console =
            ["aws[9]: fatal error: s3://a/b: AccessDenied", "bash[9]: upload failed: is not authorized to perform"];
        let console = console.map(|line| Line::parse(&format!("2026 {line}"))).into();
        let words = verdict(&Evidence { console, ..unhealthy() }).map(|verdict| verdict.words).unwrap_or_default();
        assert!(words.contains("not allowed to download"), "{words}");
    }

    fn failed(text: &str) -> Vec<Launch> {
        vec![Launch { failure: Some(text.into()), ..Launch::default() }]
    }

    /// The launch of an instance at this time, and its replacement, newest first.
    fn replaced(id: &str, at_s: i64) -> [Launch; 2] {
        let cause = "taken out of service in response to an ELB system health check failure".into();
        let launch = launched(id, at_s);
        [Launch { cause, ends: true, at_s: at_s + 240, ..launch.clone() }, launch]
    }

    fn launched(id: &str, at_s: i64) -> Launch {
        Launch { instance: id.into(), at_s, ..Launch::default() }
    }

    fn roll_out(stage: Stage) -> RollOut {
        RollOut { release: "7".into(), begun_s: 100, stage, ..RollOut::default() }
    }

    fn healthy() -> Vec<Target> {
        vec![Target { state: "healthy".into(), ..target("", "").remove(0) }]
    }

    fn wiring(change: fn(&mut Wiring)) -> Option<Wiring> {
        let mut wiring = unhealthy().wiring.expect("there is one");
        change(&mut wiring);
        Some(wiring)
    }

    fn answers(http: &str) -> Vec<Report> {
        let text = format!("stage=answers port=8080 http={http}\nActiveState=active\nSubState=running\n");
        vec![Report::parse("i-1", "answers", 0, &text)]
    }

    /// A cause, a part of its words, and what changes in the evidence of an unhealthy service. The causes have the order
    /// of the table.
    type Case = (&'static str, &'static str, fn(&mut Evidence));

    const CASES: &[Case] = &[
        ("alarm", "AWS rolled release 7 back: too many errors", |it| {
            let why = Some("too many errors".into());
            it.roll_out = Some(RollOut { why, is_alarmed: true, ..roll_out(Stage::Back) });
            it.targets = healthy();
        }),
        ("rolled-back", "release 7 was rolled back: Rolled back by user.", |it| {
            it.roll_out = Some(RollOut { why: Some("Rolled back by user.".into()), ..roll_out(Stage::Back) });
            it.targets = healthy();
        }),
        ("no-group", "does not exist", |it| it.group = Some(None)),
        ("suspended", "processes: Launch", |it| it.group = group(|it| it.suspended.push("Launch".into()))),
        ("detached", "not attached", |it| it.group = group(|it| it.target_groups.clear())),
        ("no-address", "elastic IP address does not exist", |it| it.wiring = wiring(|it| it.is_direct = true)),
        ("no-listener", "no listener", |it| it.wiring = wiring(|it| it.listens = false)),
        ("listener-elsewhere", "another target group", |it| {
            it.wiring = wiring(|it| it.forwards = false);
            it.targets = target("Target.NotInUse", "");
        }),
        ("launch-refused", "not eligible for Free Tier", |it| it.launches = failed("not eligible for Free Tier")),
        ("firewall", "port 8080", |it| {
            it.wiring = wiring(|it| it.admits = Some(false));
            it.targets = target("Target.Timeout", "Request timed out");
        }),
        ("no-instances", "no instance is running", |it| {
            it.group = group(|it| it.min = 0);
            it.instances = Vec::new();
        }),
        ("impaired", "i-1", |it| {
            it.instances = vec![Instance { is_impaired: true, ..unhealthy().instances.remove(0) }]
        }),
        ("user-data", "not YAML", |it| {
            it.console = vec![Line::parse("2026 cloud-init: ERROR: the user data is not YAML")]
        }),
        ("disk-full", "No space left on device", |it| {
            it.reports = fetching("download failed: s3://a/b to /opt/web [Errno 28] No space left on device")
        }),
        ("no-profile", "no role", |it| {
            it.instances = vec![Instance { profile: None, ..unhealthy().instances.remove(0) }]
        }),
        ("fetch-denied", "not allowed to download", |it| {
            it.reports = fetching("fatal error: s3://a/b: AccessDenied: x is not authorized to perform: s3:GetObject")
        }),
        ("secret-missing", "TOKEN from the secret app/jwt, which does not exist", |it| {
            it.unreadable_value = unreadable("(AccessDeniedException)", Some(Presence::Absent))
        }),
        ("secret-missing", "scheduled for deletion", |it| {
            it.unreadable_value = unreadable("(InvalidRequestException)", Some(Presence::Ending))
        }),
        ("secret-missing", "ParameterNotFound", |it| it.unreadable_value = unreadable("(ParameterNotFound)", None)),
        ("secret-denied", "its role may not read TOKEN", |it| {
            it.unreadable_value = unreadable("(AccessDeniedException)", None)
        }),
        ("secret-unreachable", "do not reach the service that keeps TOKEN from the secret app/jwt", |it| {
            let why = "Connect timeout on endpoint URL: \"https://secretsmanager.us-east-1.amazonaws.com/\"";
            it.unreadable_value = unreadable(why, Some(Presence::Present("1".into())));
        }),
        ("secret-unfit", "there is no such text", |it| {
            it.unreadable_value =
                unreadable("jq: error (at <stdin>:1): there is no such text", Some(Presence::Present("1".into())))
        }),
        ("secret-unread", "(ThrottlingException)", |it| {
            it.unreadable_value = unreadable("(ThrottlingException)", None)
        }),
        ("program-missing", "not in the artifact bucket", |it| {
            it.reports = fetching("fatal error: s3://a/b: NoSuchKey: The specified key does not exist.")
        }),
        ("program-missing", "not in the artifact bucket", |it| {
            it.has_program = Some(false);
            it.reports =
                fetching("fatal error: An error occurred (403) when calling the HeadObject operation: Forbidden");
        }),
        ("program-damaged", "not the one that was built", |it| {
            it.reports = fetching("sha256sum: WARNING: 1 computed checksum did NOT match")
        }),
        ("packages", "dnf cannot install its `packages`: Unable to find a match: pyton3", |it| {
            it.reports = fetching("Error: Unable to find a match: pyton3")
        }),
        ("setup", "it cannot be set up: `setup` exits with 127: setup: line 1: pip: command not found", |it| {
            let text = "stage=exit\n2026 host setup[1]: setup: line 1: pip: command not found\n\
                2026 host systemd[1]: web.service: Control process exited, code=exited, status=127/n/a\n";
            it.reports = vec![Report::parse("i-1", "exit", 0, text)];
        }),
        ("architecture", "another architecture", |it| {
            it.reports = exited("", "web.service: Failed at step EXEC spawning /opt/web: Exec format error")
        }),
        ("newer-libraries", "GLIBC_2.39", |it| {
            it.reports = exited(
                "/opt/web: /lib64/libc.so.6: version `GLIBC_2.39' not found (required by /opt/web)",
                "web.service: Main process exited, code=exited, status=1/FAILURE",
            )
        }),
        ("out-of-memory", "more memory than t3.micro", |it| {
            it.reports = exited(
                "memory allocation of 9 bytes failed",
                "web.service: Main process exited, code=killed, status=6/ABRT",
            )
        }),
        ("key-unusable", "kms:GenerateDataKey", |it| {
            it.reports = exited("x is not authorized to perform: kms:GenerateDataKey on resource: y", CRASH)
        }),
        ("key-unusable", "is pending deletion", |it| {
            it.reports = exited("KMS.KMSInvalidStateException: y is pending deletion.", CRASH)
        }),
        ("denied", "dynamodb:PutItem", |it| {
            it.reports = exited("x is not authorized to perform: dynamodb:PutItem", CRASH)
        }),
        ("denied", "DynamoDB answers Query", |it| {
            it.denial = Some("DynamoDB answers Query with 400, AccessDeniedException, to request R1".into());
            it.targets = healthy();
        }),
        ("port-taken", "cannot listen on port 8080", |it| it.reports = exited("Address already in use", CRASH)),
        ("command-missing", "its instances do not have uvicorn, which `run` starts: it exits with 127", |it| {
            it.reports = exited(
                "run: line 1: uvicorn: command not found",
                "web.service: Main process exited, code=exited, status=127/n/a",
            )
        }),
        ("exits", "exits with 78: JWT_AUDIENCE is not set, 3 times so far", |it| {
            it.reports = exited("JWT_AUDIENCE is not set", CRASH)
        }),
        ("setting-up", "its `setup` is still running", |it| {
            it.console = vec![Line::parse("2026 setup[7]: setting up"), Line::parse("2026 setup[7]: a package is old")];
            it.targets = target("Target.FailedHealthChecks", "");
        }),
        ("another-port", "did not listen on port 8080", |it| {
            it.reports = answers("000");
            it.targets = target("Target.FailedHealthChecks", "");
        }),
        ("wrong-path", "/health, with 404", |it| {
            it.reports = answers("404");
            it.targets = target("Target.ResponseCodeMismatch", "Health checks failed with these codes: [404]");
        }),
        ("health-error", "with 500", |it| {
            it.targets = target("Target.ResponseCodeMismatch", "Health checks failed with these codes: [500]")
        }),
        ("health-failed", "fails its health check, /health", |it| {
            it.launches = replaced("i-1", 0).into();
            it.reports = answers("200");
        }),
        ("slow-start", "within 120 s", |it| it.launches = replaced("i-1", 0).into()),
        ("no-answer", "Request timed out", |it| it.targets = target("Target.Timeout", "Request timed out")),
        ("address-not-taken", "its instance i-1 has not taken the address 192.0.2.1", |it| {
            it.wiring = wiring(|it| {
                let (allocation, public_ip) = ("eipalloc-1".to_owned(), "192.0.2.1".to_owned());
                it.host.clone_from(&public_ip);
                it.address = Some(Output { allocation, public_ip, association: None, instance: None });
            })
        }),
        ("stopped", "i-1 was stopped", |it| {
            it.targets = target("Target.InvalidState", "Target is in the stopped state")
        }),
        ("starting", "starting", |it| {
            it.instances = vec![Instance { state: "pending".into(), profile: Some("p".into()), ..Instance::default() }]
        }),
    ];

    #[test]
    fn each_cause_is_found_from_its_evidence() {
        for (cause, words, change) in CASES {
            let mut evidence = unhealthy();
            change(&mut evidence);
            let verdict = verdict(&evidence).unwrap_or_else(|| panic!("{cause} is not found"));
            assert!(verdict.cause == *cause && verdict.words.contains(words), "{cause}: {verdict:?}");
            assert!(!verdict.remedy.is_empty(), "{cause}");
        }
        let mut named: Vec<&str> = CASES.iter().map(|(cause, ..)| *cause).collect();
        named.dedup();
        assert_eq!(named, CAUSES.iter().map(|cause| cause.name).collect::<Vec<_>>(), "a cause without a test");
        assert_eq!(verdict(&unhealthy()), None);
    }

    #[test]
    fn a_start_is_slow_only_if_the_newest_instance_of_the_release_was_replaced() {
        let cause = |launches: &[&[Launch]], roll_out: Option<RollOut>| {
            let evidence = Evidence { launches: launches.concat(), roll_out, ..unhealthy() };
            verdict(&evidence).map(|verdict| verdict.cause)
        };
        let old = replaced("i-1", 0);
        assert_eq!(cause(&[&[launched("i-2", 240)], &old], None), Some("slow-start"), "i-2 is starting in its place");
        assert_eq!(cause(&[&[launched("i-3", 999)], &[launched("i-2", 240)], &old], None), None, "i-2 was healthy");
        assert_eq!(cause(&[&[launched("i-2", 240)], &old], Some(roll_out(Stage::Over))), None, "of an earlier release");
        let back = RollOut { undone_s: Some(500), ..roll_out(Stage::Back) };
        assert_eq!(cause(&[&replaced("i-2", 200)], Some(back.clone())), None, "of the release that was rolled back");
        assert_eq!(cause(&[&replaced("i-2", 600)], Some(back)), Some("slow-start"));
        assert_eq!(cause(&[&replaced("i-2", 200)], Some(roll_out(Stage::Forward))), Some("slow-start"));
    }

    #[test]
    fn a_service_is_well_only_if_its_new_release_is_and_it_stays_up() {
        let member =
            |id: &str, release: &str| Member { id: id.into(), release: Some(release.into()), ..Member::default() };
        let ill = Target { id: "i-2".into(), ..target("Target.ResponseCodeMismatch", "[500]").remove(0) };
        let of = |stage: Stage, state: &str| Evidence {
            group: group(|it| it.members = vec![member("i-1", "6"), member("i-2", "7")]),
            roll_out: Some(roll_out(stage)),
            targets: vec![healthy().remove(0), Target { state: state.into(), ..ill.clone() }],
            ..unhealthy()
        };
        assert!(of(Stage::Forward, "initial").is_well() && of(Stage::Over, "unhealthy").is_well());
        assert!(!of(Stage::Forward, "unhealthy").is_well());
        let launches = [&[launched("i-3", 500)][..], &replaced("i-2", 200)].concat();
        assert!(!Evidence { launches, ..of(Stage::Forward, "initial") }.is_well(), "one was replaced");
        let crash = "stage=exit\n".to_owned() + &format!("2026 host systemd[1]: {CRASH}\n").repeat(3);
        let reports = vec![Report::parse("i-1", "exit", 0, &crash)];
        let evidence = Evidence { reports, targets: healthy(), ..unhealthy() };
        assert!(evidence.is_up() && !evidence.is_well());
        assert_eq!(verdict(&evidence).map(|verdict| verdict.cause), Some("exits"));
    }

    #[test]
    fn a_download_that_failed_only_at_first_is_no_cause() {
        let text = "stage=exit port=8080\nNRestarts=4\n\
            2026 host aws[1]: fatal error: Unable to locate credentials\n\
            2026 host systemd[1]: web.service: Control process exited, code=exited, status=1/FAILURE\n\
            2026 host service[1]: JWT_AUDIENCE is not set\n\
            2026 host systemd[1]: web.service: Main process exited, code=exited, status=78/CONFIG\n";
        let evidence = Evidence { reports: vec![Report::parse("i-1", "exit", 0, text)], ..unhealthy() };
        assert_eq!(verdict(&evidence).map(|verdict| verdict.cause), Some("exits"));
        let again = text.to_owned() + "2026 host aws[1]: fatal error: Unable to locate credentials\n";
        let evidence = Evidence { reports: vec![Report::parse("i-1", "exit", 0, &again)], ..unhealthy() };
        assert_eq!(verdict(&evidence).map(|verdict| verdict.cause), Some("no-profile"));
    }

    #[test]
    fn a_program_that_has_not_begun_listens_on_no_wrong_port() {
        let verdict_of = |text: &str| {
            let reports = vec![Report::parse("i-1", "answers", 0, text)];
            let evidence = Evidence { reports, targets: target("Target.FailedHealthChecks", ""), ..unhealthy() };
            verdict(&evidence).map(|verdict| verdict.cause)
        };
        let silent = "stage=answers port=8080 http=000\nActiveState=activating\nSubState=start-pre\n";
        let line = |program: &str, text: &str| format!("2026 host {program}[1]: {text}\n");
        assert_eq!(verdict_of(&(silent.to_owned() + &line("setup", "setting up"))), Some("setting-up"));
        assert_ne!(verdict_of(silent), Some("another-port"));
        assert_eq!(verdict_of(&(silent.to_owned() + &line("service", "listening on 3000"))), Some("another-port"));
        let active = silent.replace("activating", "active").replace("start-pre", "running");
        assert_eq!(verdict_of(&(active + &line("setup", "setting up"))), Some("another-port"));
        let failed = line("setup", "setting up")
            + &line("systemd", "web.service: Control process exited, code=exited, status=3/n/a");
        assert_eq!(verdict_of(&(silent.to_owned() + &failed)), Some("setup"));
    }

    #[test]
    fn evidence_is_shown_once() {
        let failed = |text: &str| Launch { failure: Some(text.into()), ..Launch::default() };
        let launches = vec![failed("no room"), failed("no room"), failed("quota")];
        let unread = vec!["could not read the console: denied (GetConsoleOutput)".to_owned()];
        let evidence =
            Evidence { launches, unread, targets: target("Target.Timeout", "Request timed out"), ..unhealthy() };
        let summary = evidence.summary().join("\n");
        assert_eq!(summary.matches("no room").count(), 1, "{summary}");
        assert!(
            summary.contains("quota") && summary.contains("denied") && summary.contains("i-1 is unhealthy"),
            "{summary}"
        );
    }
}
