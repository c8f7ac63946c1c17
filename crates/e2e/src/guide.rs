//! Guides as tests: the commands of a page are run as they stand, one after the other, in one shell.
//!
//! What is run are the lines that begin with `$ ` in `console` blocks, with their continuations (a trailing `\`) and here-documents; other
//! lines are what a reader would see and are not compared. A comment right above a block says how it differs:
//!
//! - `<!-- not run: REASON -->`: it needs what a test has not got, such as an Azure subscription;
//! - `<!-- stays: TEXT -->`: its last command goes on running; the next block begins once it has printed TEXT.

use std::fmt::Write as _;
use std::path::Path;

use crate::{Ran, Stage};

/// How a block is run.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Manner {
    /// To its end.
    Through,
    /// Left running, once it has printed this.
    Stays(String),
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Block {
    line: usize,
    manner: Manner,
    commands: Vec<String>,
}

/// Runs the guide at `page`, below `docs/`, after the shell commands of `before`; the first command that fails ends it. Programs that it leaves
/// running end with it.
pub fn run(stage: &Stage, page: &str, before: &str, variables: &[(&str, &str)]) -> Ran {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs").join(page);
    let text = std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let blocks = blocks(&text);
    assert!(!blocks.is_empty(), "{page} has no command to run");
    let mut shell = stage.bare("bash");
    shell.args(["-c", &script(page, before, &blocks)]).env("PATH", stage.programs()).envs(variables.iter().copied());
    Ran::from(shell.output().expect("bash starts"))
}

fn blocks(text: &str) -> Vec<Block> {
    let mut blocks = Vec::new();
    let (mut manner, mut skipped) = (Manner::Through, false);
    let mut lines = text.lines().enumerate();
    while let Some((at, line)) = lines.next() {
        if let Some(said) = line.trim().strip_prefix("<!--").and_then(|rest| rest.strip_suffix("-->")) {
            match said.trim().split_once(": ") {
                Some(("not run", _)) => skipped = true,
                Some(("stays", text)) => manner = Manner::Stays(text.to_owned()),
                _ => {}
            }
        } else if line.trim_start().starts_with("```") {
            let inside = lines.by_ref().map(|(_, line)| line).take_while(|line| !line.trim_start().starts_with("```"));
            let commands = commands(&inside.collect::<Vec<_>>());
            if line.trim() == "```console" && !skipped && !commands.is_empty() {
                blocks.push(Block { line: at + 1, manner: manner.clone(), commands });
            }
            (manner, skipped) = (Manner::Through, false);
        }
    }
    blocks
}

fn commands(lines: &[&str]) -> Vec<String> {
    let mut commands = Vec::new();
    let mut lines = lines.iter();
    while let Some(line) = lines.next() {
        let Some(first) = line.strip_prefix("$ ") else { continue };
        let mut command = first.to_owned();
        while command.ends_with('\\') {
            let Some(next) = lines.next() else { break };
            let _ = write!(command, "\n{next}");
        }
        if let Some(end) = here_document(&command) {
            for next in lines.by_ref() {
                let _ = write!(command, "\n{next}");
                if *next == end {
                    break;
                }
            }
        }
        commands.push(command);
    }
    commands
}

/// The word that ends the command's here-document.
fn here_document(command: &str) -> Option<String> {
    let (_, rest) = command.split_once("<<")?;
    let word: String = rest.trim_start_matches('-').trim().chars().take_while(|c| !c.is_whitespace()).collect();
    Some(word.trim_matches(['\'', '"']).to_owned())
}

fn script(page: &str, before: &str, blocks: &[Block]) -> String {
    let mut script = String::from(
        "set -euo pipefail\ntrap 'for job in $(jobs -p); do kill -- \"-$job\" 2>/dev/null || true; done; wait 2>/dev/null || true' EXIT\n\
         stays() { for _ in $(seq 1200); do grep -qF -- \"$2\" \"$1\" 2>/dev/null && return; kill -0 $! || break; sleep 0.1; done\n\
         cat \"$1\" >&2; echo \"never printed: $2\" >&2; exit 1; }\n",
    );
    let _ = writeln!(script, "{before}");
    for block in blocks {
        let last = block.commands.len() - 1;
        for (at, command) in block.commands.iter().enumerate() {
            let _ = writeln!(script, "echo {} >&2", quoted(&format!("{page}:{}: {command}", block.line)));
            let _ = match &block.manner {
                Manner::Stays(text) if at == last => {
                    let log = format!("stays-{}.log", block.line);
                    // A process group of its own, so that all that it has started ends with it.
                    let start = format!("set -m\n{{ {command}\n}} > {log} 2>&1 &\nset +m");
                    writeln!(script, "{start}\nstays {log} {}", quoted(text))
                }
                _ => writeln!(script, "{command}"),
            };
        }
    }
    script
}

fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', "'\\''"))
}

#[cfg(test)]
mod tests {
    use super::*;

    const PAGE: &str = "\
# A page

```console
$ echo one \\
    two
what it prints
$ cat > f <<'END'
$ not a command
END
$ cat f
```

<!-- not run: needs Azure -->
```console
$ az login
```

```toml
$ = 1
```

<!-- stays: ready -->
```console
$ sh -c 'echo ready; exec sleep 600'
```

```console
$ echo done
```
";

    #[test]
    fn commands_continuations_and_here_documents_are_found() {
        let blocks = blocks(PAGE);
        let lines: Vec<(usize, usize)> = blocks.iter().map(|block| (block.line, block.commands.len())).collect();
        assert_eq!(lines, [(3, 3), (23, 1), (27, 1)]);
        assert_eq!(blocks[0].commands[0], "echo one \\\n    two");
        assert_eq!(blocks[0].commands[1], "cat > f <<'END'\n$ not a command\nEND");
        assert_eq!(blocks[1].manner, Manner::Stays("ready".to_owned()));
    }

    #[test]
    fn the_script_runs_and_stops_at_the_first_failure() {
        let folder = tempfile::tempdir().unwrap();
        let bash = |script: String| {
            let mut command = std::process::Command::new("bash");
            Ran::from(command.args(["-c", &script]).current_dir(folder.path()).output().unwrap())
        };
        let ran = bash(script("p", "", &blocks(PAGE))).expect(0);
        assert_eq!(ran.stdout, "one two\n$ not a command\ndone\n");
        let broken = PAGE.replace("cat f\n", "false\n");
        let ran = bash(script("p", "", &blocks(&broken))).expect(1).says("p:3: false");
        assert!(!ran.stdout.contains("done"), "{}", ran.stdout);
    }
}
