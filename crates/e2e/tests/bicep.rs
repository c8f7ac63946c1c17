//! The template of the Function app: its syntax. What Azure makes of it only Azure can say.

use tree_sitter::Parser;

const TEMPLATE: &str = include_str!("../../../deploy/azure-function/main.bicep");

/// The lines that are no Bicep.
fn broken_lines(text: &str) -> Vec<usize> {
    let mut parser = Parser::new();
    parser.set_language(&tree_sitter_bicep::LANGUAGE.into()).expect("a grammar of this version");
    let tree = parser.parse(text, None).expect("nothing stops it");
    let (mut found, mut open) = (Vec::new(), vec![tree.root_node()]);
    while let Some(node) = open.pop() {
        if node.is_error() || node.is_missing() {
            found.push(node.start_position().row + 1);
        }
        open.extend((0..node.child_count()).filter_map(|n| node.child(n)));
    }
    found.sort_unstable();
    found
}

#[test]
fn the_template_is_bicep() {
    assert_eq!(broken_lines(TEMPLATE), [0_usize; 0]);
    let (at, line) = TEMPLATE.lines().enumerate().find(|(_, line)| line.starts_with("resource app ")).expect("the app");
    let broken = TEMPLATE.replace(line, &line.replace(" = {", " {"));
    assert!(broken_lines(&broken).iter().any(|found| found.abs_diff(at + 1) <= 1), "{:?}", broken_lines(&broken));
}
