//! Who may act.

use super::*;

#[test]
fn all_is_well_so_the_holder_is_renewed() {
    check(
        "",
        expect![[r#"
        renew a 5
    "#]],
    );
}

#[test]
fn nothing_is_done_out_of_charge_or_unread() {
    check(
        "not_in_charge",
        expect![[r#"
        [not_in_charge] not in charge
    "#]],
    );
    check(
        "unread",
        expect![[r#"
        [anchor_unread] the record has not been read yet
    "#]],
    );
}

#[test]
fn a_record_of_others_is_left_alone() {
    check(
        "control other",
        expect![[r#"
            [foreign_control] the record belongs to controllers under other, not to us
        "#]],
    );
    check(
        "epoch is=4",
        expect![[r#"
        [outranked] a controller of epoch 4 has written the record; we must get a newer charge
    "#]],
    );
}

#[test]
fn the_record_is_claimed_before_anything_else() {
    check(
        "epoch is=2",
        expect![[r#"
        claim
        [claiming] the record is being claimed
    "#]],
    );
    check(
        "ttl is=9000; request pause",
        expect![[r#"
        claim
        [claiming] the record is being claimed
    "#]],
    );
    check(
        "ttl is=20000",
        expect![[r#"
        renew a 5
    "#]],
    );
}
