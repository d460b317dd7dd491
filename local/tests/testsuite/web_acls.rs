//! Web ACLs of load balancers through the SDK: associations, the permissions for them, and a restart.

use aws_sdk_elasticloadbalancingv2::types::LoadBalancerStateEnum;
use aws_sdk_wafv2::Client;
use aws_sdk_wafv2::error::ProvideErrorMetadata;
use aws_sdk_wafv2::types::Scope;
use serde_json::{Value, json};
use testkit::{LocalAws, clients, until};

const WEB_ACL: &str = "arn:aws:wafv2:us-east-1:000000000000:regional/webacl/app/12345678-1234-1234-1234-123456789012";

/// Creates a load balancer, waits until it is active, and returns its ARN.
async fn balancer(aws: &LocalAws) -> String {
    let ec2 = aws_sdk_ec2::Client::new(&aws.config);
    let elb = aws_sdk_elasticloadbalancingv2::Client::new(&aws.config);
    let subnets = ec2.describe_subnets().send().await.unwrap();
    let subnets = subnets.subnets().iter().take(2).filter_map(|subnet| subnet.subnet_id.clone()).collect();
    let made = elb.create_load_balancer().name("web").set_subnets(Some(subnets)).send().await.unwrap();
    until("the load balancer to be active", async || {
        let found = elb.describe_load_balancers().names("web").send().await.unwrap();
        let state = found.load_balancers()[0].state().and_then(|state| state.code()).cloned();
        state == Some(LoadBalancerStateEnum::Active)
    })
    .await;
    made.load_balancers()[0].load_balancer_arn().unwrap().to_owned()
}

/// The name and the ARN of the web ACL of a load balancer.
async fn associated(waf: &Client, balancer: &str) -> Option<(String, String)> {
    let answer = waf.get_web_acl_for_resource().resource_arn(balancer).send().await.unwrap();
    answer.web_acl.map(|web_acl| (web_acl.name, web_acl.arn))
}

#[tokio::test]
async fn an_association_survives_a_restart_and_ends_with_its_load_balancer() {
    let aws = LocalAws::start().await;
    let balancer = balancer(&aws).await;
    let waf = Client::new(&aws.config);
    assert_eq!(associated(&waf, &balancer).await, None);
    let [name, id] = ["app", "12345678-1234-1234-1234-123456789012"];
    let there = waf.get_web_acl().name(name).id(id).scope(Scope::Regional).send().await.unwrap();
    assert_eq!(there.web_acl().map(|web_acl| web_acl.arn()), Some(WEB_ACL));
    // Without one, there is nothing to do.
    waf.disassociate_web_acl().resource_arn(&balancer).send().await.unwrap();
    let other = WEB_ACL.replace("/app/", "/other/");
    for web_acl in [other.as_str(), WEB_ACL] {
        waf.associate_web_acl().resource_arn(&balancer).web_acl_arn(web_acl).send().await.unwrap();
    }
    let there = Some(("app".to_owned(), WEB_ACL.to_owned()));
    assert_eq!(associated(&waf, &balancer).await, there);
    let aws = aws.restarted().await;
    let waf = Client::new(&aws.config);
    assert_eq!(associated(&waf, &balancer).await, there);
    let elb = aws_sdk_elasticloadbalancingv2::Client::new(&aws.config);
    elb.delete_load_balancer().load_balancer_arn(&balancer).send().await.unwrap();
    let gone = waf.get_web_acl_for_resource().resource_arn(&balancer).send().await.unwrap_err();
    assert_eq!(gone.code(), Some("WAFNonexistentItemException"));
    aws.stop().await;
}

#[tokio::test]
async fn web_acls_need_permissions_of_waf_and_of_elastic_load_balancing() {
    let aws = LocalAws::start().await;
    let balancer = balancer(&aws).await;
    let iam = aws_sdk_iam::Client::new(&aws.config);
    let trust = json!({ "Version": "2012-10-17", "Statement": {
        "Effect": "Allow", "Principal": { "AWS": "arn:aws:iam::000000000000:root" }, "Action": "sts:AssumeRole",
    } });
    iam.create_role().role_name("web").assume_role_policy_document(trust.to_string()).send().await.unwrap();
    let taken = aws_sdk_sts::Client::new(&aws.config).assume_role().role_arn("arn:aws:iam::000000000000:role/web");
    let taken = taken.role_session_name("me").send().await.unwrap();
    let keys = taken.credentials().unwrap();
    let token = Some(keys.session_token().to_owned());
    let config = clients::config_of(&aws.endpoint(), keys.access_key_id(), keys.secret_access_key(), token).await;
    let waf = Client::new(&config);

    let on = balancer.as_str();
    let needed: [(&str, [(&str, &str); 3]); 3] = [
        (
            "associate",
            [
                ("wafv2:AssociateWebACL", WEB_ACL),
                ("elasticloadbalancing:CreateWebACLAssociation", on),
                ("elasticloadbalancing:SetWebAcl", on),
            ],
        ),
        (
            "get",
            [
                ("wafv2:GetWebACLForResource", WEB_ACL),
                ("wafv2:GetWebACL", WEB_ACL),
                ("elasticloadbalancing:GetLoadBalancerWebACL", on),
            ],
        ),
        (
            "disassociate",
            [
                ("wafv2:DisassociateWebACL", "*"),
                ("elasticloadbalancing:DeleteWebACLAssociation", on),
                ("elasticloadbalancing:SetWebAcl", on),
            ],
        ),
    ];
    let allow = async |needs: &[(&str, &str)]| {
        let nothing = [("s3:ListBucket", "*")];
        let statements = needs.iter().chain(&nothing);
        let statements: Vec<Value> = statements
            .map(|(action, resource)| json!({ "Effect": "Allow", "Action": action, "Resource": resource }))
            .collect();
        let document = json!({ "Version": "2012-10-17", "Statement": statements }).to_string();
        let put = iam.put_role_policy().role_name("web").policy_name("uses").policy_document(document);
        put.send().await.unwrap();
    };
    for (call, needs) in needed {
        // Each of them is missing once those before it are there.
        for (at, (missing, resource)) in needs.into_iter().enumerate() {
            allow(&needs[..at]).await;
            let denied = attempt(&waf, call, on).await.unwrap_err();
            let on = if resource == "*" { String::new() } else { format!(" on resource: {resource}") };
            assert!(denied.contains(&format!("perform: {missing}{on} because ")), "{call}: {denied}");
        }
        allow(&needs).await;
        attempt(&waf, call, on).await.unwrap();
    }
    aws.stop().await;
}

/// Makes a call, and returns the message of its refusal.
async fn attempt(waf: &Client, call: &str, balancer: &str) -> Result<(), String> {
    match call {
        "associate" => {
            let sent = waf.associate_web_acl().resource_arn(balancer).web_acl_arn(WEB_ACL).send().await;
            sent.map(drop).map_err(|error| error.message().unwrap_or_default().to_owned())
        }
        "get" => {
            let sent = waf.get_web_acl_for_resource().resource_arn(balancer).send().await;
            sent.map(drop).map_err(|error| error.message().unwrap_or_default().to_owned())
        }
        _ => {
            let sent = waf.disassociate_web_acl().resource_arn(balancer).send().await;
            sent.map(drop).map_err(|error| error.message().unwrap_or_default().to_owned())
        }
    }
}
