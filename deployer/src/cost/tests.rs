use super::*;

#[test]
fn tracing_and_keys_cost_by_use() {
    let text = "name: s\nregion: us-east-1\nbuckets: { one: { key: alias/app } }\nfunctions:\n  f: { binary: f, tracing: true }\n";
    let config = Config::parse("stack.yaml", text).unwrap_or_else(|errors| panic!("{errors}"));
    let shown = format!("{:?}", estimate(&config, None));
    assert!(shown.contains("$5.00 per 1M traces") && shown.contains("$0.03 per 10,000 requests"), "{shown}");
}

#[test]
fn a_web_acl_is_priced_and_not_counted() {
    let waf = "{ waf: \"arn:aws:wafv2:us-east-1:123456789012:regional/webacl/app/1\", port: 80,";
    let text = include_str!("../../../stack.yaml").replace("{ port: 80,", waf);
    let config = Config::parse("stack.yaml", &text).unwrap_or_else(|errors| panic!("{errors}"));
    let (with, without) = (estimate(&config, Some(2)), estimate(&postagram(), Some(2)));
    assert_eq!((with.least, with.most), (without.least, without.most));
    let item = with.items.iter().find(|item| item.what == "web ACL").unwrap();
    assert!(item.sure == Sure::ByUse && item.note.contains("$5.00 a month"), "{item:?}");
}

#[test]
fn a_stack_without_fixed_costs_costs_zero() {
    let config = Config::parse("stack.yaml", "name: s\nregion: us-east-1\nbuckets: { one: {} }\n");
    let estimate = estimate(&config.unwrap_or_else(|errors| panic!("{errors}")), None);
    assert_eq!((format!("{:.2}", estimate.least), format!("{:.2}", estimate.most)), ("0.00".into(), "0.00".into()));
}

fn postagram() -> Config {
    Config::parse("stack.yaml", include_str!("../../../stack.yaml")).unwrap_or_else(|errors| panic!("{errors}"))
}

fn near(left: f64, right: f64) {
    assert!((left - right).abs() < 0.005, "{left} is not {right}");
}

#[test]
fn a_service_costs_its_instances_disks_addresses_and_load_balancer() {
    let config = postagram();
    let fleet = Fleet::described(config.services.values().next().unwrap(), 2, USUAL_BAKE_MINUTES);
    // By hand: 7.592 + 0.64 + 3.65, and 16.425 + 0.584 + 7.30, and 0.20 + 0.60.
    near(fleet.monthly().unwrap(), 36.991);
    near(Fleet { instances: 2, ..fleet.clone() }.monthly().unwrap(), 48.873);
    near(Fleet { has_balancer: false, instances: 0, ..fleet.clone() }.monthly().unwrap(), 0.80);
    assert_eq!(Fleet { instance_type: "t3.mega".into(), ..fleet.clone() }.monthly(), None);
    let none = Fleet { instance_type: "t3.mega".into(), instances: 0, ..fleet };
    near(none.monthly().unwrap(), 25.109);
}

#[test]
fn the_sum_is_that_of_the_items_and_says_how_sure_each_is() {
    let config = postagram();
    let estimate = estimate(&config, Some(2));
    let fleet = Fleet::described(config.services.values().next().unwrap(), 2, USUAL_BAKE_MINUTES);
    near(estimate.least, fleet.monthly().unwrap() - 0.80);
    near(estimate.most, Fleet { instances: 4, ..fleet }.monthly().unwrap());
    let sure = |what: &str| estimate.items.iter().find(|item| item.what.contains(what)).map(|item| item.sure);
    assert_eq!([sure("t3.micro"), sure("LCU"), sure("log")], [Sure::Exact, Sure::Assumed, Sure::ByUse].map(Some));
    assert_eq!(sure("2 × public IPv4 address of it"), Some(Sure::Exact));
    let unknown = super::estimate(&config, None);
    let of_it = unknown.items.iter().find(|item| item.what == "3 × public IPv4 address of it").unwrap();
    assert_eq!(of_it.sure, Sure::Assumed);
    for section in ["functions.labeler", "tables.posts", "buckets.images", "artifacts"] {
        assert!(estimate.items.iter().any(|it| it.section == section && it.sure == Sure::ByUse), "{section}");
    }
    assert!(estimate.complete);
}

#[test]
fn an_internal_load_balancer_has_no_public_addresses_to_pay_for() {
    let text = include_str!("../../../stack.yaml")
        .replace("    load_balancer: { port: 80, allow: [\"0.0.0.0/0\"] }\n", "    load_balancer: internal\n");
    let config = Config::parse("stack.yaml", &text).unwrap_or_else(|errors| panic!("{errors}"));
    let (inside, outside) = (super::estimate(&config, Some(2)), super::estimate(&postagram(), Some(2)));
    near(outside.least - inside.least, 7.30);
    let fleet = Fleet::described(config.services.values().next().unwrap(), 2, USUAL_BAKE_MINUTES);
    near(fleet.monthly().unwrap() - 0.80, inside.least);
    assert!(!inside.items.iter().any(|item| item.what.ends_with("public IPv4 address of it")));
}

#[test]
fn https_is_free_and_the_hosted_zone_is_not_counted() {
    let text =
        include_str!("../../../stack.yaml").replace("    port: 8080\n", "    port: 8080\n    domain: a.example.org\n");
    let config = Config::parse("stack.yaml", &text).unwrap_or_else(|errors| panic!("{errors}"));
    let (with, without) = (super::estimate(&config, Some(2)), super::estimate(&postagram(), Some(2)));
    assert_eq!((with.least, with.most), (without.least, without.most));
    let item = with.items.iter().find(|item| item.what.starts_with("certificate")).unwrap();
    assert_eq!((item.least, item.sure), (Some(0.0), Sure::Exact));
    assert!(item.note.contains("hosted zone"), "{item:?}");
}

#[test]
fn only_what_a_stack_has_is_priced() {
    let config = Config::parse("stack.yaml", "name: s\nregion: eu-west-3\ntables: { t: { partition_key: k } }\n");
    let estimate = estimate(&config.unwrap_or_else(|errors| panic!("{errors}")), None);
    assert_eq!((estimate.least, estimate.most), (0.0, 0.0));
    let sections: Vec<&str> = estimate.items.iter().map(|item| item.section.as_str()).collect();
    assert_eq!(sections, ["tables.t", "artifacts"]);
    assert_eq!((estimate.region.as_str(), estimate.prices_region), ("eu-west-3", "us-east-1"));
}
