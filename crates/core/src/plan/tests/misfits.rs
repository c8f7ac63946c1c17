//! Records that do not fit what runs.

use super::*;

#[test]
fn somebody_else_who_was_granted_the_term_is_revoked_first() {
    // The record was edited by hand: another holder.
    check(
        "holder b",
        expect![[r#"
        revoke a 5: the term was used up
        [release] a has been asked to stop: the term was used up
    "#]],
    );
    // A lower term.
    check(
        "holder a term=2",
        expect![[r#"
        revoke a 5: the term was used up
        [release] a has been asked to stop: the term was used up
    "#]],
    );
    // A holder that is no member.
    check(
        "holder x",
        expect![[r#"
        revoke a 5: the holder is no member of the pool any more
        [release] a has been asked to stop: the holder is no member of the pool any more
    "#]],
    );
}

#[test]
fn a_term_that_was_released_or_overtaken_is_followed_by_a_new_one() {
    check(
        "a refused released",
        expect![[r#"
        revoke a 5: the term was used up
        [release] a has been asked to stop: the term was used up
    "#]],
    );
    check(
        "a refused stale term=9; term_seen is=9",
        expect![[r#"
        revoke a 9: the term was used up
        [release] a has been asked to stop: the term was used up
    "#]],
    );
    check(
        "a refused released term=4",
        expect![[r#"
        renew a 5
        [holder_refuses] a refuses: terms up to 4 were released here
    "#]],
    );
    check(
        "term_seen is=9; released a term=9",
        expect![[r#"
        appoint a 10: the term was used up
    "#]],
    );
}

#[test]
fn a_holder_that_refuses_is_said_to() {
    check(
        "a refused flag; b silent; c silent",
        expect![[r#"
        renew a 5
        [holder_refuses] a refuses: the flag in the twin says inactive for term 5
    "#]],
    );
    check(
        "a refused nonce",
        expect![[r#"
        renew a 5
    "#]],
    );
}

#[test]
fn the_sentence_says_who_holds_and_why_not_more() {
    let mut view = all_well();
    apply(&mut view, &phrases("a offline").next().expect("a phrase"));
    expect!["a holds term 5; a may still run for 10.0 s: not connected to IoT Hub"]
        .assert_eq(&sentence(&view, &plan(&view)));
    view.anchor = None;
    expect!["nobody holds; the record has not been read yet"].assert_eq(&sentence(&view, &plan(&view)));
}
