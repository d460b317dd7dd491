//! Changes of the records of a hosted zone, and their progress.

use super::changes::Outside;
use super::state::{Change, State};
use super::zone_calls::check_idle;
use super::{Answer, BUSY_S, Context, IN_SYNC_S, Route53Request, changes, invalid_input, zones};
use crate::clock::{after, shown};
use kit::answer::Refusal;
use kit::query::Xml;

/// Records a change, which is now `PENDING`, and writes it.
pub(super) fn submit(xml: &mut Xml, state: &mut State, context: &Context, comment: Option<String>) {
    let id = zones::new_id('C');
    let in_sync_ms = after(context.now_ms, context.route53.speed.takes(IN_SYNC_S));
    let change = Change { submitted_ms: context.now_ms, in_sync_ms, comment };
    write_change(xml, &id, &change, context.now_ms);
    state.note(&id, change);
}

fn write_change(xml: &mut Xml, id: &str, change: &Change, now_ms: i64) {
    xml.within("ChangeInfo", |xml| {
        xml.text("Id", format!("/change/{id}"));
        xml.text("Status", if change.in_sync_ms <= now_ms { "INSYNC" } else { "PENDING" });
        xml.text("SubmittedAt", shown(change.submitted_ms)).maybe("Comment", change.comment.as_ref());
    });
}

pub(super) fn get_change(state: &State, context: &Context, request: &Route53Request) -> Answer {
    let id = request.segment(2);
    let absent = || Refusal::new(404, "NoSuchChange", format!("Could not find resource with ID: {id}"));
    let change = state.changes.get(id).ok_or_else(absent)?;
    let mut xml = Xml::new();
    write_change(&mut xml, id, change, context.now_ms);
    Ok(xml.into())
}

pub(super) fn change_records(state: &mut State, context: &Context, request: &Route53Request) -> Answer {
    let zone = request.zone(state)?;
    let batch =
        request.body.child("ChangeBatch").ok_or_else(|| invalid_input("Invalid XML ; ChangeBatch is missing"))?;
    let has_balancer = |zone: &str, name: &str| context.route53.has_balancer(zone, name);
    let records = changes::applied(zone, batch, &Outside { has_balancer: &has_balancer })?;
    check_idle(zone, context)?;
    let speed = context.route53.speed;
    if let Some(zone) = state.zones.get_mut(request.segment(2)) {
        zone.busy_until_ms = after(context.now_ms, speed.takes(BUSY_S));
        zone.replace(records, context.now_ms, after(context.now_ms, speed.takes(IN_SYNC_S)));
    }
    let mut xml = Xml::new();
    let comment = batch.text("Comment").filter(|text| !text.is_empty()).map(str::to_owned);
    submit(&mut xml, state, context, comment);
    Ok(xml.into())
}
