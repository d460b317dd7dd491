//! The cost of a stack, for people and as JSON.

use super::line;
use crate::cost::{
    Estimate, Item, Sure,
    difference::Difference,
    prices::{dollars, prices},
};

/// Prints the cost of a stack.
pub fn cost(estimate: &Estimate) {
    lines(estimate).iter().for_each(|text| line(text));
}

/// The same as one JSON document.
pub fn cost_json(estimate: &Estimate) -> String {
    format!("{:#}\n", serde_json::to_value(estimate).expect("an estimate is plain data with string keys"))
}

/// The difference that a plan makes, in one line: `cost: + $6.13 a month (prices of 2026-07-20)`.
pub fn difference(difference: Difference, region: &str) -> String {
    let cents = (difference.amount * 100.0).round();
    let sign = if cents < 0.0 { "-" } else { "+" };
    let amount = match cents == 0.0 {
        true => "as before, without charges by use".to_owned(),
        false => format!("{sign} {} a month", dollars(difference.amount.abs())),
    };
    let rest = if difference.is_complete { "" } else { ", and instances whose price is unknown" };
    format!("cost: {amount}{rest} ({})", prices().words(region))
}

fn lines(estimate: &Estimate) -> Vec<String> {
    let Estimate { stack, region, least, most, hours, .. } = estimate;
    let mut lines = vec![format!("{stack} in {region}: US dollars a month of {hours} h, {}", prices().words(region))];
    let mut section = "";
    for item in &estimate.items {
        if item.section != section {
            section = &item.section;
            lines.push(section.to_owned());
        }
        lines.push(row(item));
    }
    lines.push(format!("sum {:>43}", amounts(*least, *most)));
    lines.push("without tax, free tier, credits, and charges by use".to_owned());
    if region != estimate.prices_region {
        lines.push(format!("the prices are those of {}; {region} differs", estimate.prices_region));
    }
    if !estimate.complete {
        lines.push("the sum lacks the instances without a price".to_owned());
    }
    lines
}

fn row(item: &Item) -> String {
    let amount = match (item.least, item.most) {
        (Some(least), Some(most)) => amounts(least, most),
        _ if item.sure == Sure::Unknown => "?".to_owned(),
        _ => String::new(),
    };
    let sure = match item.sure {
        Sure::Exact => "exact",
        Sure::Assumed => "assumed",
        Sure::ByUse => "by use",
        Sure::Unknown => "unknown",
    };
    let note = if item.note.is_empty() { String::new() } else { format!(": {}", item.note) };
    // An item billed by use has no amount, and its unit prices need the room.
    match amount.is_empty() {
        true => format!("  {:18} {sure}{note}", item.what),
        false => format!("  {:30} {amount:>14}  {sure}{note}", item.what),
    }
}

fn amounts(least: f64, most: f64) -> String {
    match least == most {
        true => format!("{least:.2}"),
        false => format!("{least:.2}–{most:.2}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{config::Config, cost::estimate};

    #[test]
    fn every_figure_says_how_sure_it_is_and_fits_into_80_columns() {
        let text = include_str!("../../../../stack.yaml");
        let config = Config::parse("stack.yaml", text).unwrap_or_else(|errors| panic!("{errors}"));
        let lines = lines(&estimate(&config, None));
        assert!(lines.iter().all(|line| line.chars().count() <= 80), "{lines:#?}");
        expect_test::expect![[r#"
            postagram in us-east-1: US dollars a month of 730 h, prices of 2026-07-20
            services.web
              1–4 × t3.micro                     7.59–30.37  exact
              1–4 × 8 GB gp3 volume               0.64–2.56  exact
              1–4 × public IPv4 address          3.65–14.60  exact
              load balancer                           16.43  exact
              3 × public IPv4 address of it           10.95  assumed: three zones
              0.1 LCU                                  0.58  assumed: 2.5 connections/s
              2 alarms of its scaling policy      0.00–0.20  assumed: 10 metrics are free
              3 alarms of its roll-outs           0.00–0.60  assumed: 6 metrics; 10 are free
              log                by use: $0.50 per GB written, $0.03 per GB kept
            functions.labeler
              function, 256 MB   by use: $0.20 per 1M requests, $0.004167 per 1000 s
              log                by use: $0.50 per GB written, $0.03 per GB kept
              Rekognition        by use: $0.001 per picture
            tables.posts
              table              by use: $0.625/$0.125 per 1M writes/reads, $0.25 per GB
            buckets.images
              bucket             by use: $0.023 per GB, $0.005/$0.0004 per 1000 PUTs/GETs
            artifacts
              bucket             by use: $0.023 per GB, $0.005/$0.0004 per 1000 PUTs/GETs
            services
              data transfer out  by use: $0.09 per GB after the first 100 GB
            sum                                 39.84–76.29
            without tax, free tier, credits, and charges by use
        "#]]
        .assert_eq(&(lines.join("\n") + "\n"));
    }

    #[test]
    fn each_section_is_shown_once_and_prices_of_what_is_yours_fit_into_80_columns() {
        let (key, acl) = ("    key: alias/app\n", "arn:aws:wafv2:us-east-1:123456789012:regional/webacl/app/1");
        let text = include_str!("../../../../stack.yaml")
            .replace("    port: 8080\n", &format!("    port: 8080\n{key}"))
            .replace("{ port: 80,", &format!("{{ waf: \"{acl}\", port: 80,"));
        let config = Config::parse("stack.yaml", &text).unwrap_or_else(|errors| panic!("{errors}"));
        let lines = lines(&estimate(&config, None));
        assert!(lines.iter().all(|line| line.chars().count() <= 80), "{lines:#?}");
        for what in ["  web ACL ", "  key "] {
            assert!(lines.iter().any(|line| line.starts_with(what)), "{what} {lines:#?}");
        }
        let sections: Vec<&String> = lines.iter().filter(|line| *line == "services.web").collect();
        assert_eq!(sections.len(), 1, "{lines:#?}");
    }

    #[test]
    fn the_difference_has_a_sign_and_names_what_it_lacks() {
        let shown = |amount, is_complete| difference(Difference { amount, is_complete }, prices().region);
        let date = prices().date;
        assert_eq!(shown(6.132, true), format!("cost: + $6.13 a month (prices of {date})"));
        assert_eq!(shown(-6.132, true), format!("cost: - $6.13 a month (prices of {date})"));
        assert_eq!(shown(0.001, true), format!("cost: as before, without charges by use (prices of {date})"));
        let lacks = format!("cost: - $16.43 a month, and instances whose price is unknown (prices of {date})");
        assert_eq!(shown(-16.425001, false), lacks);
    }
}
