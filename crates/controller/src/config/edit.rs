//! Changes the list of members in a configuration file and leaves every comment where it is.

use ha_core::ids::{MemberId, PoolName};
use toml_edit::{Array, ArrayOfTables, DocumentMut, Item, Table, Value};

/// A change to the file.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Edit {
    /// A pool is added at the end.
    AddPool {
        /// Its members, in the order of priority.
        members: Vec<MemberId>,
    },
    /// A member is added to a pool, with the lowest priority.
    Add(MemberId),
    /// A member is taken out of a pool.
    Remove(MemberId),
    /// One member takes the place of another.
    Replace {
        /// The one that goes.
        old: MemberId,
        /// The one that comes.
        new: MemberId,
    },
}

/// Why a file cannot be changed.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum NotEdited {
    /// It is no TOML.
    #[error("it is no TOML: {0}")]
    NoToml(String),
    /// There is no such list in it.
    #[error("it has no [[pool]] named {0} with a list of members")]
    NoList(PoolName),
    /// The pool would have no member left.
    #[error("{0} is the only member of {1}: a pool without members is none")]
    LastMember(MemberId, PoolName),
}

/// The text after the change. What is as wished already stays as it is.
pub fn edit(text: &str, pool: &PoolName, edit: &Edit) -> Result<String, NotEdited> {
    let mut document: DocumentMut =
        text.parse().map_err(|e: toml_edit::TomlError| NotEdited::NoToml(e.message().to_owned()))?;
    if let Edit::AddPool { members } = edit {
        add_pool(&mut document, pool, members)?;
        return Ok(document.to_string());
    }
    let members = members(&mut document, pool).ok_or_else(|| NotEdited::NoList(pool.clone()))?;
    match edit {
        Edit::AddPool { .. } => {}
        Edit::Add(member) => add(members, member),
        Edit::Remove(member) => match place(members, member) {
            Some(_) if members.len() == 1 => return Err(NotEdited::LastMember(member.clone(), pool.clone())),
            Some(at) => remove(members, at),
            None => {}
        },
        Edit::Replace { old, new } => match (place(members, old), place(members, new)) {
            (Some(at), None) => drop(members.replace(at, new.as_str())),
            (Some(at), Some(_)) => remove(members, at),
            (None, _) => add(members, new),
        },
    }
    Ok(document.to_string())
}

/// The lines that a change takes out (`-`) and puts in (`+`).
pub fn changed_lines(before: &str, after: &str) -> Vec<String> {
    let (old, new): (Vec<_>, Vec<_>) = (before.lines().collect(), after.lines().collect());
    let head = old.iter().zip(&new).take_while(|(a, b)| a == b).count();
    let tail = old[head..].iter().rev().zip(new[head..].iter().rev()).take_while(|(a, b)| a == b).count();
    let removed = old[head..old.len() - tail].iter().map(|line| format!("- {line}"));
    let added = new[head..new.len() - tail].iter().map(|line| format!("+ {line}"));
    removed.chain(added).collect()
}

fn add_pool(document: &mut DocumentMut, pool: &PoolName, members: &[MemberId]) -> Result<(), NotEdited> {
    let pools = document.entry("pool").or_insert_with(|| Item::ArrayOfTables(ArrayOfTables::new()));
    let pools = pools.as_array_of_tables_mut().ok_or_else(|| NotEdited::NoList(pool.clone()))?;
    let mut table = Table::new();
    table.insert("name", toml_edit::value(pool.as_str()));
    let members: Array = members.iter().map(MemberId::as_str).collect();
    table.insert("members", toml_edit::value(members));
    table.decor_mut().set_prefix("\n");
    pools.push(table);
    Ok(())
}

fn members<'a>(document: &'a mut DocumentMut, pool: &PoolName) -> Option<&'a mut Array> {
    let pools = document.get_mut("pool")?.as_array_of_tables_mut()?;
    let named = |table: &&mut Table| table.get("name").and_then(Item::as_str) == Some(pool.as_str());
    pools.iter_mut().find(named)?.get_mut("members")?.as_array_mut()
}

fn place(members: &Array, member: &MemberId) -> Option<usize> {
    members.iter().position(|value| value.as_str() == Some(member.as_str()))
}

/// A list with one member on each line stays one.
fn add(members: &mut Array, member: &MemberId) {
    if place(members, member).is_some() {
        return;
    }
    let mut value = Value::from(member.as_str());
    let indent = members.get(members.len().wrapping_sub(1)).and_then(|last| last.decor().prefix()?.as_str());
    match indent.filter(|indent| indent.contains('\n')).and_then(|indent| indent.rsplit_once('\n')) {
        Some((_, indent)) => value.decor_mut().set_prefix(format!("\n{indent}")),
        None => value.decor_mut().set_prefix(if members.is_empty() { "" } else { " " }),
    }
    members.push_formatted(value);
}

fn remove(members: &mut Array, at: usize) {
    let prefix = |value: &Value| value.decor().prefix().and_then(|prefix| prefix.as_str()).unwrap_or("").to_owned();
    let gone = members.get(at).map(prefix).unwrap_or_default();
    let follows = members.get(at + 1).map(prefix);
    members.remove(at);
    // A comment behind a member stands in what precedes the next one: the one before keeps its own, the one that goes takes its own along.
    if let (Some((kept, _)), Some(follows)) = (gone.split_once('\n'), &follows) {
        let own_line = follows.split_once('\n').map_or_else(|| follows.clone(), |(_, rest)| format!("\n{rest}"));
        set_prefix(members, at, format!("{kept}{own_line}"));
    } else if let Some((kept, _)) = gone.split_once('\n') {
        let trailing = members.trailing().as_str().unwrap_or("").to_owned();
        let rest = trailing.split_once('\n').map_or_else(String::new, |(_, rest)| format!("\n{rest}"));
        members.set_trailing(format!("{kept}{rest}"));
    } else if at == 0 && follows.as_deref() == Some(" ") {
        set_prefix(members, 0, String::new());
    }
}

fn set_prefix(members: &mut Array, at: usize, prefix: String) {
    if let Some(value) = members.get_mut(at) {
        value.decor_mut().set_prefix(prefix);
    }
}

#[cfg(test)]
mod tests {
    use expect_test::{Expect, expect};

    use super::*;

    const FILE: &str = "\
# The site in Moers.
[[pool]]   # the big press
name = \"press_1\"
members = [\"edge-a\", \"edge-b\"] # the first one starts
rto_ms = 30_000

[[pool]]
name = \"oven\"
members = [
    \"edge-c\", # new in May
    \"edge-d\",
]
";

    fn check(pool: &str, change: &Edit, expected: Expect) {
        let pool = pool.parse().expect("a pool name");
        let said = match edit(FILE, &pool, change) {
            Ok(after) => {
                let twice = edit(&after, &pool, change).expect("it can be changed twice");
                if !matches!(change, Edit::AddPool { .. }) {
                    assert_eq!(twice, after, "the second time changes nothing");
                }
                changed_lines(FILE, &after).join("\n")
            }
            Err(error) => error.to_string(),
        };
        expected.assert_eq(&said);
    }

    fn id(id: &str) -> MemberId {
        MemberId::new(id)
    }

    #[test]
    fn comments_and_layout_stay() {
        check(
            "press_1",
            &Edit::Add(id("edge-x")),
            expect![[r#"
            - members = ["edge-a", "edge-b"] # the first one starts
            + members = ["edge-a", "edge-b", "edge-x"] # the first one starts"#]],
        );
        check(
            "press_1",
            &Edit::Remove(id("edge-a")),
            expect![[r#"
            - members = ["edge-a", "edge-b"] # the first one starts
            + members = ["edge-b"] # the first one starts"#]],
        );
        check(
            "press_1",
            &Edit::Replace { old: id("edge-a"), new: id("edge-x") },
            expect![[r#"
            - members = ["edge-a", "edge-b"] # the first one starts
            + members = ["edge-x", "edge-b"] # the first one starts"#]],
        );
        check(
            "oven",
            &Edit::Add(id("edge-x")),
            expect![[r#"
            +     "edge-x","#]],
        );
        check(
            "oven",
            &Edit::Remove(id("edge-d")),
            expect![[r#"
            -     "edge-d","#]],
        );
        check(
            "oven",
            &Edit::Remove(id("edge-c")),
            expect![[r#"
            -     "edge-c", # new in May"#]],
        );
    }

    #[test]
    fn what_is_as_wished_stays() {
        check("press_1", &Edit::Add(id("edge-a")), expect![""]);
        check("press_1", &Edit::Remove(id("edge-x")), expect![""]);
        check("oven", &Edit::Replace { old: id("edge-x"), new: id("edge-d") }, expect![""]);
    }

    #[test]
    fn what_cannot_be_changed_is_said() {
        check("mill", &Edit::Add(id("edge-x")), expect!["it has no [[pool]] named mill with a list of members"]);
        let one = "[[pool]]\nname = \"mill\"\nmembers = [\"edge-a\"]\n";
        let pool = "mill".parse().expect("a pool name");
        let last = edit(one, &pool, &Edit::Remove(id("edge-a"))).expect_err("refused");
        expect!["edge-a is the only member of mill: a pool without members is none"].assert_eq(&last.to_string());
        assert!(matches!(edit("=", &pool, &Edit::Add(id("edge-a"))), Err(NotEdited::NoToml(_))));
    }

    #[test]
    fn a_pool_is_added_at_the_end() {
        check(
            "mill",
            &Edit::AddPool { members: vec![id("edge-x"), id("edge-y")] },
            expect![[r#"
            + 
            + [[pool]]
            + name = "mill"
            + members = ["edge-x", "edge-y"]"#]],
        );
    }
}
