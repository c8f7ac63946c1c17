use iotedge_ha_e2e::{Stage, guide};

#[test]
fn the_guide_does_what_it_says() {
    let stage = Stage::default();
    let ran = guide::run(&stage, "guides/handover.md", "", &[]).expect(0);
    for told in [
        "exit code 3",
        "done: edge-b is active in term 2",
        "term 3: from edge-b to edge-a, asked for by",
        "leaf-1  edge-a  is where it belongs",
    ] {
        assert!(ran.stdout.contains(told), "{told} is not in:\n{}\n{}", ran.stdout, ran.stderr);
    }
    stage.expect_no_processes();
}
