//! Cuts lists into pages, as every AWS client must expect them.
//!
//! Serves EC2, Elastic Load Balancing, IAM and the smaller lists of Auto Scaling; the others page by themselves.

use std::ops::Range;

use bytes::Bytes;
use quick_xml::Reader;
use quick_xml::events::Event;
use serde_json::Value;

use crate::answer::{Protocol, Refusal, Response};
use crate::call::{Call, Request};

/// How the lists of a service come in pages.
struct Style {
    service: &'static str,
    /// The parameter with the length of a page, and the one that asks for the next.
    size: &'static str,
    from: &'static str,
    /// The element that says where the next page begins.
    next: &'static str,
    /// What a page holds unless the call says otherwise, and the most that it can hold.
    usual: usize,
    most: usize,
    /// Each operation with the element its items are in.
    lists: &'static [(&'static str, &'static str)],
}

const STYLES: &[Style] = &[
    Style {
        service: "ec2",
        size: "MaxResults",
        from: "NextToken",
        next: "nextToken",
        usual: 1000,
        most: 1000,
        lists: &[
            ("DescribeImages", "imagesSet"),
            ("DescribeInstances", "reservationSet"),
            ("DescribeInstanceStatus", "instanceStatusSet"),
            ("DescribeInstanceTypeOfferings", "instanceTypeOfferingSet"),
            ("DescribeInstanceTypes", "instanceTypeSet"),
            ("DescribeLaunchTemplates", "launchTemplates"),
            ("DescribeLaunchTemplateVersions", "launchTemplateVersionSet"),
            ("DescribeNetworkInterfaces", "networkInterfaceSet"),
            ("DescribeRouteTables", "routeTableSet"),
            ("DescribeSecurityGroupRules", "securityGroupRuleSet"),
            ("DescribeSecurityGroups", "securityGroupInfo"),
            ("DescribeSubnets", "subnetSet"),
            ("DescribeTags", "tagSet"),
            ("DescribeVolumes", "volumeSet"),
            ("DescribeVpcs", "vpcSet"),
        ],
    },
    Style {
        service: "elasticloadbalancing",
        size: "PageSize",
        from: "Marker",
        next: "NextMarker",
        usual: 400,
        most: 400,
        lists: &[
            ("DescribeListeners", "Listeners"),
            ("DescribeLoadBalancers", "LoadBalancers"),
            ("DescribeRules", "Rules"),
            ("DescribeSSLPolicies", "SslPolicies"),
            ("DescribeTargetGroups", "TargetGroups"),
        ],
    },
    Style {
        service: "autoscaling",
        size: "MaxRecords",
        from: "NextToken",
        next: "NextToken",
        usual: 50,
        most: 100,
        lists: &[
            ("DescribeAutoScalingInstances", "AutoScalingInstances"),
            ("DescribeLoadBalancerTargetGroups", "LoadBalancerTargetGroups"),
            ("DescribePolicies", "ScalingPolicies"),
            ("DescribeTags", "Tags"),
            ("DescribeTrafficSources", "TrafficSources"),
        ],
    },
    Style {
        service: "iam",
        size: "MaxItems",
        from: "Marker",
        next: "Marker",
        usual: 100,
        most: 1000,
        lists: &[
            ("ListAttachedRolePolicies", "AttachedPolicies"),
            ("ListInstanceProfiles", "InstanceProfiles"),
            ("ListInstanceProfilesForRole", "InstanceProfiles"),
            ("ListInstanceProfileTags", "Tags"),
            ("ListPolicies", "Policies"),
            ("ListPolicyVersions", "Versions"),
            ("ListRolePolicies", "PolicyNames"),
            ("ListRoles", "Roles"),
            ("ListRoleTags", "Tags"),
        ],
    },
];

/// Gives of a list the page that was asked for. `short` leaves one item on each.
pub(crate) fn cut(call: &Call, request: &Request, answer: Response, short: bool) -> Response {
    let style = STYLES.iter().find(|style| style.service == call.service);
    let list = style.and_then(|style| {
        let (_, items) = style.lists.iter().find(|(operation, _)| *operation == call.operation)?;
        Some((style, *items))
    });
    match list {
        Some((style, items)) if answer.status().is_success() => {
            style.cut(items, request, answer, short).unwrap_or_else(|refusal| refusal.answer(call.protocol))
        }
        _ => answer,
    }
}

/// Takes the items out of a list that are not to be kept.
pub(crate) fn retain(answer: &mut Response, list: &str, keep: impl Fn(&str) -> bool) {
    let text = String::from_utf8_lossy(answer.body());
    let Some(found) = within(&text, list) else { return };
    let items = found.items.iter().map(|item| &text[item.clone()]).filter(|item| keep(item));
    let kept = [&text[..found.inside.start], &items.collect::<String>(), &text[found.inside.end..]].concat();
    *answer.body_mut() = Bytes::from(kept);
}

impl Style {
    fn cut(&self, items: &str, request: &Request, mut answer: Response, short: bool) -> Result<Response, Refusal> {
        let form = request.form();
        let asked = form.get(self.size).and_then(|size| size.parse().ok());
        let size = if short { 1 } else { asked.unwrap_or(self.usual).clamp(1, self.most) };
        let start = match form.get(self.from).filter(|token| !token.is_empty()) {
            None => 0,
            Some(token) => token.parse().map_err(|_| self.bad_token(token))?,
        };
        let text = String::from_utf8_lossy(answer.body());
        let Some(found) = within(&text, items) else {
            return Ok(answer);
        };
        if start == 0 && found.items.len() <= size {
            return Ok(answer);
        }
        let shown = found.items.get(start..).unwrap_or_default();
        let next = (shown.len() > size).then(|| start + size);
        let shown = &shown[..shown.len().min(size)];
        let mut cut = text[..found.inside.start].to_owned();
        shown.iter().for_each(|item| cut += &text[item.clone()]);
        let (inside, outside) = text[found.inside.end..].split_at(found.end - found.inside.end);
        cut += inside;
        if let Some(next) = next {
            cut += &format!("<{0}>{next}</{0}>", self.next);
        }
        match next {
            Some(_) => cut += &outside.replacen("<IsTruncated>false<", "<IsTruncated>true<", 1),
            None => cut += outside,
        }
        *answer.body_mut() = Bytes::from(cut);
        Ok(answer)
    }

    fn bad_token(&self, token: &str) -> Refusal {
        let code = if self.service == "ec2" { "InvalidParameterValue" } else { "ValidationError" };
        Refusal::new(400, code, format!("Value ({token}) for parameter {} is invalid.", self.from))
    }
}

/// Where a list and its items stand in a document.
struct Found {
    inside: Range<usize>,
    items: Vec<Range<usize>>,
    /// Behind the list's closing tag.
    end: usize,
}

/// The first element of this name that is not inside an item, with its children.
fn within(text: &str, list: &str) -> Option<Found> {
    let mut reader = Reader::from_str(text);
    let at = |reader: &Reader<&[u8]>| usize::try_from(reader.buffer_position()).ok();
    let mut start = None;
    let mut items = Vec::new();
    let (mut depth, mut item) = (0_usize, 0);
    loop {
        let before = at(&reader)?;
        match reader.read_event().ok()? {
            Event::Start(tag) if start.is_none() && tag.name().as_ref() == list.as_bytes() => {
                start = Some(at(&reader)?);
            }
            Event::Start(_) if start.is_some() => {
                if depth == 0 {
                    item = before;
                }
                depth += 1;
            }
            Event::Empty(_) if start.is_some() && depth == 0 => items.push(before..at(&reader)?),
            Event::End(_) if depth > 0 => {
                depth -= 1;
                if depth == 0 {
                    items.push(item..at(&reader)?);
                }
            }
            Event::End(_) if start.is_some() => {
                return Some(Found { inside: start?..before, items, end: at(&reader)? });
            }
            Event::Eof => return None,
            _ => (),
        }
    }
}

/// The same request, asking for pages of one item, of what counts its pages itself.
pub(crate) fn shorten(call: &Call, request: &Request) -> Option<Request> {
    let mut shortened = request.clone();
    match (call.service.as_str(), call.operation.as_str()) {
        (
            "autoscaling",
            "DescribeAutoScalingGroups"
            | "DescribeInstanceRefreshes"
            | "DescribeScalingActivities"
            | "DescribeScheduledActions",
        ) => {
            // Of two values the last counts.
            shortened.body = [&request.body, &b"&MaxRecords=1"[..]].concat().into();
        }
        ("dynamodb", "ExecuteStatement" | "ListStreams" | "ListTables" | "ListTagsOfResource" | "Query" | "Scan") => {
            shortened.body = with(&request.body, "Limit")?
        }
        ("logs", "DescribeLogGroups" | "DescribeLogStreams" | "FilterLogEvents" | "GetLogEvents") => {
            shortened.body = with(&request.body, "limit")?;
        }
        ("monitoring", "DescribeAlarms") if call.protocol == Protocol::Query => {
            shortened.body = [&request.body, &b"&MaxRecords=1"[..]].concat().into();
        }
        ("monitoring", "DescribeAlarms") if call.protocol != Protocol::Cbor => {
            shortened.body = with(&request.body, "MaxRecords")?;
        }
        ("lambda", "ListFunctions") => shortened.query = format!("MaxItems=1&{}", request.query),
        ("s3", "ListObjects" | "ListObjectsV2" | "ListObjectVersions") => {
            shortened.query = format!("max-keys=1&{}", request.query);
        }
        ("s3", "ListBuckets") => shortened.query = format!("max-buckets=1&{}", request.query),
        ("s3", "ListParts") => shortened.query = format!("max-parts=1&{}", request.query),
        ("s3", "ListMultipartUploads") => shortened.query = format!("max-uploads=1&{}", request.query),
        _ => return None,
    }
    Some(shortened)
}

fn with(body: &[u8], size: &str) -> Option<Bytes> {
    let mut input: Value = serde_json::from_slice(body).ok()?;
    input.as_object_mut()?.insert(size.to_owned(), 1.into());
    Some(Bytes::from(input.to_string()))
}

#[cfg(test)]
mod tests {
    use http::Method;

    use super::*;
    use crate::answer::xml;
    use crate::services::operations;

    const ROLES: &str = "<ListRolesResponse><ListRolesResult><Roles><member><RoleName>a</RoleName></member><member><Tags><member/></Tags></member><member/></Roles><IsTruncated>false</IsTruncated></ListRolesResult></ListRolesResponse>";

    fn page(body: &str, short: bool) -> (u16, String) {
        let call = Call { service: "iam".into(), operation: "ListRoles".into(), protocol: Protocol::Query };
        let request = Request {
            method: Method::POST,
            path: "/".into(),
            query: String::new(),
            headers: Default::default(),
            body: Bytes::copy_from_slice(body.as_bytes()),
            upload: None,
        };
        let answer = cut(&call, &request, xml(200, ROLES.to_owned()), short);
        let text = String::from_utf8_lossy(answer.body()).into_owned();
        let (_, document) = text.split_once('\n').unwrap_or(("", &text));
        (answer.status().as_u16(), document.replace("ListRoles", ""))
    }

    #[test]
    fn a_short_list_stays_as_it_is() {
        assert_eq!(page("", false).1, ROLES.replace("ListRoles", ""));
        assert_eq!(page("MaxItems=3", false).1, ROLES.replace("ListRoles", ""));
    }

    #[test]
    fn pages_follow_each_other_to_the_end() {
        assert_eq!(
            page("MaxItems=2", false).1,
            "<Response><Result><Roles><member><RoleName>a</RoleName></member><member><Tags><member/></Tags></member></Roles><Marker>2</Marker><IsTruncated>true</IsTruncated></Result></Response>"
        );
        assert_eq!(
            page("MaxItems=2&Marker=2", false).1,
            "<Response><Result><Roles><member/></Roles><IsTruncated>false</IsTruncated></Result></Response>"
        );
        assert_eq!(
            page("MaxItems=2&Marker=1", true).1,
            "<Response><Result><Roles><member><Tags><member/></Tags></member></Roles><Marker>2</Marker><IsTruncated>true</IsTruncated></Result></Response>"
        );
        assert!(page("Marker=18446744073709551615", false).1.contains("<Roles></Roles>"));
    }

    /// Lists that AWS answers whole, or that have one item at most.
    const WHOLE: &[(&str, &str)] = &[
        ("autoscaling", "DescribeAccountLimits"),
        ("autoscaling", "DescribeLifecycleHooks"),
        ("autoscaling", "DescribeNotificationConfigurations"),
        ("dynamodb", "DescribeContinuousBackups"),
        ("dynamodb", "DescribeEndpoints"),
        ("dynamodb", "DescribeLimits"),
        ("dynamodb", "DescribeStream"),
        ("dynamodb", "DescribeTable"),
        ("dynamodb", "DescribeTimeToLive"),
        ("ec2", "DescribeAvailabilityZones"),
        ("ec2", "DescribeInstanceAttribute"),
        ("ec2", "DescribeRegions"),
        ("ec2", "DescribeVpcAttribute"),
        ("elasticloadbalancing", "DescribeAccountLimits"),
        ("elasticloadbalancing", "DescribeCapacityReservation"),
        ("elasticloadbalancing", "DescribeListenerAttributes"),
        ("elasticloadbalancing", "DescribeLoadBalancerAttributes"),
        ("elasticloadbalancing", "DescribeTags"),
        ("elasticloadbalancing", "DescribeTargetGroupAttributes"),
        ("elasticloadbalancing", "DescribeTargetHealth"),
        ("iam", "ListAccountAliases"),
        ("lambda", "ListAliases"),
        ("lambda", "ListEventSourceMappings"),
        ("lambda", "ListFunctionEventInvokeConfigs"),
        ("lambda", "ListFunctionUrlConfigs"),
        ("lambda", "ListTags"),
        ("lambda", "ListVersionsByFunction"),
        ("logs", "DescribeMetricFilters"),
        ("logs", "DescribeSubscriptionFilters"),
        ("logs", "ListTagsForResource"),
        ("logs", "ListTagsLogGroup"),
    ];

    #[test]
    fn every_list_comes_in_pages_or_is_known_to_be_whole() {
        let mut lists = 0;
        for (service, operation) in operations() {
            if !operation.starts_with("List") && !operation.starts_with("Describe") {
                continue;
            }
            lists += 1;
            let request = Request {
                method: Method::POST,
                path: "/".into(),
                query: String::new(),
                headers: Default::default(),
                body: Bytes::from_static(b"{}"),
                upload: None,
            };
            let call = Call { service: service.into(), operation: operation.into(), protocol: Protocol::Query };
            let styled = STYLES.iter().filter(|style| style.service == service);
            let styled = styled.flat_map(|style| style.lists).any(|(name, _)| *name == operation);
            let counted = shorten(&call, &request).is_some();
            let whole = WHOLE.contains(&(service, operation));
            assert!(styled || counted || whole, "nobody says how {service} {operation} comes in pages");
        }
        assert!(lists > 50, "only {lists} lists were found");
    }

    #[test]
    fn a_page_has_the_usual_size_of_its_service() {
        let members = "<member/>".repeat(120);
        for (service, operation, list, usual) in
            [("iam", "ListRoles", "Roles", 100), ("autoscaling", "DescribeTags", "Tags", 50)]
        {
            let call = Call { service: service.into(), operation: operation.into(), protocol: Protocol::Query };
            let request = Request {
                method: Method::POST,
                path: "/".into(),
                query: String::new(),
                headers: Default::default(),
                body: Bytes::new(),
                upload: None,
            };
            let whole = xml(200, format!("<R><{list}>{members}</{list}></R>"));
            let answer = cut(&call, &request, whole, false);
            let text = String::from_utf8_lossy(answer.body()).into_owned();
            assert_eq!(text.matches("<member/>").count(), usual, "{service}");
        }
    }

    #[test]
    fn a_token_that_is_none_is_refused() {
        let (status, text) = page("Marker=x", false);
        assert_eq!(status, 400);
        assert!(text.contains("ValidationError") && text.contains("(x)"), "{text}");
    }
}
