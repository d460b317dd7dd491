//! The receipt of `down`: the resources removed, possible remaining charges, and the cost of the stack.

use super::Session;
use crate::{
    cloud::stored_values::WINDOW_DAYS,
    cost::{
        Fleet, balancer_monthly, instance_monthly,
        prices::{dollars, prices},
        spent::{Existed, lifetime, spent},
    },
    engine::{Plan, Planned, Resource as _, Step, look},
    kinds::{auto_scaling_group::AutoScalingGroup, bucket::Bucket, secret::Secret},
    output::{counted::counted, report},
    page::{Page, names::StackNames, usual_bake_minutes},
};

/// The facts about a stack that its removal makes unreadable.
pub struct Receipt {
    removed: usize,
    /// How long its first resource has existed, in seconds.
    age_s: Option<i64>,
    existed: Vec<Existed>,
    /// Whether something with a price is not in `existed`.
    is_partial: bool,
    /// Whether a service is paused or has ended: what it cost before is unknown.
    was_off: bool,
    /// The number of secrets that are scheduled for deletion.
    secrets: usize,
    /// Whether a table keeps a backup after it is deleted.
    has_recovery: bool,
}

impl Receipt {
    /// Reads them before the removal. A creation time that cannot be read is left out.
    pub async fn of(session: &Session, page: &Page, plan: &Plan) -> Receipt {
        let account = session.site.account.clone();
        let anchor = Bucket { name: StackNames::of(&session.config, &session.site).artifacts(), account };
        let created_s = look(|| anchor.created_s(&session.aws)).await.ok().flatten();
        let now_s = report::now_s();
        let (mut existed, mut known, mut was_off) = (Vec::new(), 0, false);
        for front in &page.services {
            let Some((_, service)) = session.config.services.iter().find(|(entry, _)| entry.as_str() == front.name)
            else {
                continue;
            };
            if let Some(group) = plan.outputs().get(front.group) {
                known += 1;
                let instances = f64::from(group.min.max(0));
                let each = instance_monthly(&service.instance_type.to_string(), service.disk_gb.into());
                let age_s = now_s - group.created_s.or(created_s).unwrap_or(now_s);
                existed.extend(each.map(|each| Existed { monthly: each * instances, age_s }));
                let alarms = Fleet {
                    instances: 0,
                    has_balancer: false,
                    has_address: service.is_direct && group.min == 0,
                    ..Fleet::described(service, 0, usual_bake_minutes(&session.site))
                };
                was_off |= group.downtime.paused.is_some() || group.downtime.is_empty;
                existed.extend(alarms.monthly().map(|monthly| Existed { monthly, age_s }));
            }
            let balancer = front.balancer.filter(|_| !front.is_behind);
            if let Some(balancer) = balancer.and_then(|balancer| plan.outputs().get(balancer)) {
                let age_s = now_s - balancer.created_s.or(created_s).unwrap_or(now_s);
                let addresses = if front.is_internal { 0 } else { session.zones() };
                existed.push(Existed { monthly: balancer_monthly(addresses), age_s });
            }
        }
        let groups = plan.doomed().filter(|line| line.address.kind == AutoScalingGroup::KIND).count();
        Receipt {
            removed: plan.doomed().count(),
            age_s: created_s.map(|created_s| now_s - created_s),
            existed,
            is_partial: groups > known,
            was_off,
            secrets: plan.doomed().filter(|line| line.address.kind == Secret::KIND).count(),
            has_recovery: session.config.tables.values().any(|table| table.point_in_time_recovery),
        }
    }

    /// The lines for people. `left` was read after the removal.
    pub fn lines(&self, left: &Plan, region: &str) -> Vec<String> {
        let kept: Vec<&Planned> = left.lines.iter().filter(|line| matches!(line.step, Step::Leave(_))).collect();
        let kept: Vec<String> = kept.iter().map(|line| line.address.to_string()).collect();
        let mut lines = vec![format!("deleted: {}, confirmed absent", counted(self.removed, "resource"))];
        lines.push(match kept.is_empty() {
            true => "may still cost: nothing of this stack; it made no snapshots".to_owned(),
            false => format!("may still cost: {}", kept.join(", ")),
        });
        if self.secrets > 0 {
            let secrets = counted(self.secrets, "secret");
            lines.push(format!(
                "Secrets Manager keeps {secrets} for {WINDOW_DAYS} days, free; `secret set` restores one"
            ));
        }
        if self.has_recovery {
            lines.push("DynamoDB keeps a backup of a table with point-in-time recovery for 35 days, free".into());
        }
        let Some(age_s) = self.age_s else { return lines };
        let partial = match (self.is_partial, self.was_off) {
            (true, _) => ", without services that stack.yaml no longer has",
            (false, true) => ", without the time before services were paused or ended",
            (false, false) => "",
        };
        lines.push(format!(
            "existed for {}, at a cost of about {} without usage-based charges{partial} ({})",
            lifetime(age_s),
            dollars(spent(&self.existed)),
            prices().words(region)
        ));
        lines
    }
}
