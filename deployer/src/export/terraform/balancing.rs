//! Load balancers with their listeners, rules and target groups, and the alarms that watch them.

use std::collections::BTreeSet;

use super::{
    Sheet, Terraform,
    hcl::{Body, Expr},
    sheet::link,
};
use crate::{
    cloud::aws::Aws,
    config::HTTPS_PORT,
    engine::{Fault, Live},
    kinds::{
        alarm::{self, Alarm},
        default_action::DefaultAction,
        listener::Listener,
        load_balancer::LoadBalancer,
        rule::ListenerRule,
        rule_action::RuleAction,
        target_group::TargetGroup,
    },
};

impl Terraform for LoadBalancer {
    async fn write(&self, live: &Live<Self>, _: &Aws, sheet: &mut Sheet) -> Result<(), Fault> {
        let settings = &live.settings;
        let protected = sheet.setting("load_balancer.protect", "bool", Expr::Bool(settings.protected));
        let body = Body::new()
            .text("name", &self.name)
            .text("load_balancer_type", "application")
            .flag("internal", settings.scheme == "internal")
            .set("subnets", Expr::List(settings.subnets.iter().map(|id| link(id)).collect()))
            .set("security_groups", Expr::List(settings.security_groups.iter().map(|id| link(id)).collect()))
            .flag("drop_invalid_header_fields", settings.invalid_headers_dropped)
            .set("enable_deletion_protection", protected)
            .set("tags", sheet.tags())
            .blocks("access_logs", settings.access_logs.as_deref().map(access_logs));
        let address = sheet.add("aws_lb", &live.output.arn, body);
        sheet.know(&live.output.arn, format!("{address}.arn"));
        sheet.know(alarm::dimension(&live.output.arn), format!("{address}.arn_suffix"));
        sheet.know(&live.output.dns_name, format!("{address}.dns_name"));
        if let Some(web_acl) = &settings.web_acl {
            let body = Body::new().set("resource_arn", link(&live.output.arn)).text("web_acl_arn", web_acl);
            sheet.add("aws_wafv2_web_acl_association", &format!("{web_acl},{}", live.output.arn), body);
        }
        Ok(())
    }
}

/// The place is that of a bucket and a prefix, as in `logs/web`.
fn access_logs(place: &str) -> Body {
    let (bucket, prefix) = place.split_once('/').unwrap_or((place, ""));
    let prefix = Some(prefix).filter(|prefix| !prefix.is_empty()).map(Expr::text);
    Body::new().flag("enabled", true).set("bucket", link(bucket)).set_some("prefix", prefix)
}

impl Terraform for TargetGroup {
    async fn write(&self, live: &Live<Self>, _: &Aws, sheet: &mut Sheet) -> Result<(), Fault> {
        let settings = &live.settings;
        let check = &settings.health_check;
        let health_check = Body::new()
            .text("path", &check.path)
            .int("interval", check.interval_s)
            .int("timeout", check.timeout_s)
            .int("healthy_threshold", check.healthy)
            .int("unhealthy_threshold", check.unhealthy)
            .text("matcher", &check.matcher);
        let body = Body::new()
            .text("name", &self.name)
            .text("target_type", "instance")
            .int("port", settings.port)
            .text("protocol", &settings.protocol)
            .set("vpc_id", link(&settings.vpc))
            .int("deregistration_delay", settings.deregistration_delay_s)
            .set("tags", sheet.tags())
            .block("health_check", health_check);
        let address = sheet.add("aws_lb_target_group", &live.output.arn, body);
        sheet.know(&live.output.arn, format!("{address}.arn"));
        sheet.know(alarm::dimension_of_targets(&live.output.arn), format!("{address}.arn_suffix"));
        Ok(())
    }
}

impl Terraform for Listener {
    /// With its default action, which is a resource of its own for the deployer.
    async fn write(&self, live: &Live<Self>, _: &Aws, sheet: &mut Sheet) -> Result<(), Fault> {
        let settings = &live.settings;
        let actions: Vec<Body> = match &live.output.redirect {
            Some(_) => vec![redirect()],
            None => live.output.forwards.keys().map(|arn| forward(arn)).collect(),
        };
        let body = Body::new()
            .set("load_balancer_arn", link(&self.load_balancer))
            .int("port", settings.port)
            .text("protocol", &settings.protocol)
            .set_some("ssl_policy", settings.tls_policy.as_ref().map(Expr::text))
            .set_some("certificate_arn", settings.certificate.as_deref().map(link))
            .set("tags", sheet.tags())
            .blocks("default_action", actions);
        let address = sheet.add("aws_lb_listener", &live.output.arn, body);
        sheet.know(&live.output.arn, format!("{address}.arn"));
        Ok(())
    }
}

/// An import reads the only target group into both arguments that can name it.
fn forward(target_group: &str) -> Body {
    let target = Body::new().set("arn", link(target_group)).int("weight", 1);
    let body = Body::new().text("type", "forward").set("target_group_arn", link(target_group));
    body.block("forward", Body::new().block("target_group", target))
}

/// The only redirect of ours (`kinds/listener.rs`).
fn redirect() -> Body {
    let target =
        Body::new().text("protocol", "HTTPS").text("port", &HTTPS_PORT.to_string()).text("status_code", "HTTP_301");
    Body::new().text("type", "redirect").block("redirect", target)
}

impl Terraform for DefaultAction {
    /// Part of its listener.
    async fn write(&self, _: &Live<Self>, _: &Aws, _: &mut Sheet) -> Result<(), Fault> {
        Ok(())
    }
}

impl Terraform for ListenerRule {
    /// With its action, which is a resource of its own for the deployer.
    async fn write(&self, live: &Live<Self>, _: &Aws, sheet: &mut Sheet) -> Result<(), Fault> {
        let settings = &live.settings;
        let body = Body::new()
            .set("listener_arn", link(&self.listener))
            .int("priority", settings.priority)
            .set("tags", sheet.tags())
            .blocks("action", live.output.forwards.keys().map(|arn| forward(arn)))
            .blocks("condition", condition("host_header", &settings.hosts))
            .blocks("condition", condition("path_pattern", &settings.paths));
        sheet.add("aws_lb_listener_rule", &live.output.arn, body);
        Ok(())
    }
}

/// A condition with these patterns, if there are any.
fn condition(field: &str, patterns: &BTreeSet<String>) -> Option<Body> {
    let values = || Body::new().set("values", Expr::List(patterns.iter().map(Expr::text).collect()));
    (!patterns.is_empty()).then(|| Body::new().block(field, values()))
}

impl Terraform for RuleAction {
    /// Part of its rule.
    async fn write(&self, _: &Live<Self>, _: &Aws, _: &mut Sheet) -> Result<(), Fault> {
        Ok(())
    }
}

impl Terraform for Alarm {
    async fn write(&self, live: &Live<Self>, _: &Aws, sheet: &mut Sheet) -> Result<(), Fault> {
        let settings = &live.settings;
        let share = Body::new().text("id", alarm::SHARE_ID).text("expression", &settings.expression);
        let body = Body::new()
            .text("alarm_name", &self.name)
            .text("alarm_description", alarm::DESCRIPTION)
            .text("comparison_operator", &settings.comparison)
            .set("threshold", Expr::float(settings.over_percent))
            .int("evaluation_periods", settings.minutes)
            .int("datapoints_to_alarm", settings.minutes_over)
            .text("treat_missing_data", &settings.missing_data)
            .set("tags", sheet.tags())
            .block("metric_query", share.flag("return_data", true))
            .block("metric_query", count(alarm::ERRORS_ID, &settings.errors, settings))
            .block("metric_query", count(alarm::REQUESTS_ID, alarm::REQUESTS, settings));
        sheet.add("aws_cloudwatch_metric_alarm", &self.name, body);
        Ok(())
    }
}

/// The sum of a metric of what an alarm watches.
fn count(id: &str, metric: &str, watched: &alarm::Settings) -> Body {
    let load_balancer = (alarm::LOAD_BALANCER.to_owned(), link(&watched.load_balancer));
    let target_group = watched.target_group.as_deref().map(|group| (alarm::TARGET_GROUP.to_owned(), link(group)));
    let dimensions = Expr::Map([load_balancer].into_iter().chain(target_group).collect());
    let metric = Body::new()
        .text("namespace", alarm::NAMESPACE)
        .text("metric_name", metric)
        .int("period", alarm::PERIOD_S)
        .text("stat", "Sum")
        .set("dimensions", dimensions);
    Body::new().text("id", id).flag("return_data", false).block("metric", metric)
}
