//! AWS's temporary and permanent errors: each one listed in the facts about AWS is injected by the proxy between the
//! deployer and the local AWS.

mod buckets;
mod fleet;
mod lists;
mod not_yet;
mod output;
mod permanent;
mod reports;
mod tables;

use testkit::programs::root;

/// The tests of the cases of docs/aws.md §19, in its order.
const CASES: [&[fn()]; 20] = [
    /* 1 */ &[not_yet::a_role_that_lambda_cannot_assume_yet_is_waited_for],
    /* 2 */ &[permanent::an_old_role_that_lambda_cannot_assume_fails_at_once],
    /* 3 */
    &[
        not_yet::a_permission_that_s3_does_not_see_yet_is_waited_for,
        permanent::overlapping_notification_filters_fail_at_once,
    ],
    /* 4 */ &[not_yet::an_update_of_the_code_in_progress_is_waited_for],
    /* 5 */ &[not_yet::a_new_table_that_cannot_be_seen_yet_is_waited_for],
    /* 6 */ &[not_yet::backups_of_a_new_table_that_are_still_being_enabled_are_waited_for],
    /* 7 */
    &[
        permanent::a_protected_table_stays_whatever_the_error_code,
        permanent::a_protected_table_stays_although_the_error_code_means_in_use,
    ],
    /* 8: in rivals.rs */ &[],
    /* 9 */
    &[
        fleet::a_load_balancer_that_is_long_being_provisioned_is_waited_for,
        fleet::a_load_balancer_that_aws_could_not_provision_is_reported_with_the_reason,
    ],
    /* 10 */
    &[
        not_yet::a_profile_that_the_group_cannot_see_yet_is_waited_for,
        not_yet::a_group_whose_namesake_is_still_being_deleted_is_created_later,
    ],
    /* 11 */
    &[
        fleet::a_launch_that_can_never_succeed_ends_the_wait_with_its_reason,
        fleet::a_zone_without_capacity_does_not_end_the_wait,
        fleet::full_zones_end_the_wait_at_its_limit_with_the_reason,
    ],
    /* 12 */ &[fleet::a_service_that_stays_unhealthy_ends_the_wait_at_its_limit_with_the_reason],
    /* 13 */
    &[fleet::a_failed_roll_out_fails_the_run, fleet::a_roll_back_is_watched_to_its_end],
    /* 14 */
    &[
        not_yet::a_security_group_that_something_still_uses_is_deleted_later,
        not_yet::a_security_group_in_use_is_deleted_later,
    ],
    /* 15 */
    &[
        not_yet::a_target_group_that_is_still_in_use_is_deleted_later,
        not_yet::a_role_that_is_still_in_a_profile_is_deleted_later,
    ],
    /* 16 */
    &[
        buckets::an_object_that_cannot_be_deleted_is_named_and_the_bucket_stays,
        buckets::versions_markers_and_unfinished_uploads_are_deleted_with_their_bucket,
    ],
    /* 17 */
    &[
        buckets::a_bucket_name_taken_by_another_account_is_never_ours_and_never_absent,
        buckets::a_bucket_of_a_stranger_is_never_ours_and_never_absent,
    ],
    /* 18 */
    &[
        lists::every_list_is_read_to_its_last_page,
        lists::every_list_read_by_down_is_read_to_its_last_page,
        lists::an_empty_first_page_is_not_the_last,
        lists::an_empty_marker_ends_a_list,
    ],
    /* 19: in crashes.rs */ &[],
    /* 20 */ &[permanent::credentials_that_expire_during_a_wait_end_it],
];

#[test]
fn every_case_of_the_checklist_has_its_tests() {
    let facts = std::fs::read_to_string(root().join("docs/aws.md")).expect("the facts are there");
    let (_, checklist) = facts.split_once("\n## 19. ").expect("the checklist is there");
    let (checklist, _) = checklist.split_once("\n## ").expect("it is not the last section");
    let cases = (1..).take_while(|case| checklist.contains(&format!("\n{case}. "))).count();
    assert_eq!(cases, CASES.len());
    let untested = (1..).zip(CASES).filter(|(case, tests)| ![8, 19].contains(case) && tests.is_empty());
    assert_eq!(untested.count(), 0);
}
