//! The man pages and the shells' completions of the command line, out of its own definition.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result};
use clap::CommandFactory;
use clap_complete::Shell;
use clap_mangen::Man;
use clap_mangen::roff::{Roff, bold, roman};

/// The command line's own definition. It is not part of the library, and the default build has no generators.
#[allow(dead_code, missing_docs, reason = "only its definition is of use here")]
#[path = "../../src/cli/args.rs"]
mod args;

/// The shells, and where below `share` each looks for completions that packages bring.
const COMPLETIONS: [(Shell, &str); 3] = [
    (Shell::Bash, "bash-completion/completions/krundl"),
    (Shell::Zsh, "zsh/site-functions/_krundl"),
    (Shell::Fish, "fish/vendor_completions.d/krundl.fish"),
];

/// The variables that people set.
const ENVIRONMENT: [(&str, &str); 3] = [
    ("KRUNDL_LIBRARY", "The libkrun to use, an absolute path. It is the only one that is tried then."),
    (
        "KRUNDL_LIBRARY_DIR",
        "The directory of the libkrun to use, an absolute path; what else is installed is not tried.",
    ),
    ("KRUNDL_VMM", "The program in which libkrun runs, krundl-vmm, where it lies beside nothing of krundl's."),
];

/// Writes the man pages, one a command, and the completions below a `share` directory.
///
/// # Errors
/// What could not be written.
pub fn write(share: &Path) -> Result<()> {
    let man = share.join("man/man1");
    fs::create_dir_all(&man).with_context(|| format!("could not create {}", man.display()))?;
    for (name, page) in pages()? {
        let path = man.join(name);
        fs::write(&path, page).with_context(|| format!("could not write {}", path.display()))?;
    }
    for (shell, place) in COMPLETIONS {
        let path = share.join(place);
        let dir = path.parent().context("a completion lies nowhere")?;
        fs::create_dir_all(dir).with_context(|| format!("could not create {}", dir.display()))?;
        fs::write(&path, completion(shell)).with_context(|| format!("could not write {}", path.display()))?;
    }
    Ok(())
}

fn completion(shell: Shell) -> Vec<u8> {
    let mut text = Vec::new();
    clap_complete::generate(shell, &mut args::Cli::command(), "krundl", &mut text);
    text
}

/// The pages' names and texts, `krundl.1` first.
fn pages() -> Result<Vec<(String, Vec<u8>)>> {
    let mut command = args::Cli::command().disable_help_subcommand(true);
    command.build();
    let mut pages = Vec::new();
    add_pages(&command, &mut pages)?;
    Ok(pages)
}

fn add_pages(command: &clap::Command, pages: &mut Vec<(String, Vec<u8>)>) -> Result<()> {
    let page = Man::new(command.clone()).manual("krundl");
    let mut text = Vec::new();
    page.render(&mut text)?;
    further_sections().to_writer(&mut text)?;
    pages.push((page.get_filename(), text));
    command.get_subcommands().filter(|command| !command.is_hide_set()).try_for_each(|command| add_pages(command, pages))
}

fn further_sections() -> Roff {
    let mut roff = Roff::new();
    roff.control("SH", ["ENVIRONMENT"]);
    for (name, text) in ENVIRONMENT {
        roff.control("TP", []).text([bold(name)]).text([roman(text)]);
    }
    roff.control("PP", []).text([roman("An empty variable is as good as none, and a privileged process heeds none.")]);
    roff
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;
    use crate::command::{filter, find_program};

    fn texts() -> Vec<(String, String)> {
        pages().unwrap().into_iter().map(|(name, text)| (name, String::from_utf8(text).unwrap())).collect()
    }

    #[test]
    fn every_command_has_its_page_and_every_page_its_commands_options() {
        let command = args::Cli::command();
        let pages = texts();
        let mut expected = vec!["krundl.1".to_owned()];
        for sub in command.get_subcommands() {
            expected.push(format!("krundl-{}.1", sub.get_name()));
            expected.extend(sub.get_subcommands().map(|s| format!("krundl-{}-{}.1", sub.get_name(), s.get_name())));
        }
        assert_eq!(pages.iter().map(|(name, _)| name.clone()).collect::<Vec<_>>(), expected);
        for sub in command.get_subcommands() {
            let (_, page) = pages.iter().find(|(name, _)| *name == format!("krundl-{}.1", sub.get_name())).unwrap();
            for long in sub.get_arguments().filter_map(|argument| argument.get_long()) {
                let written = long.replace('-', "\\-");
                assert!(page.contains(&format!("\\-\\-{written}")), "{}: --{long} is missing", sub.get_name());
            }
            assert!(pages[0].1.contains(&format!("krundl\\-{}(1)", sub.get_name())), "krundl.1: {}", sub.get_name());
        }
    }

    #[test]
    fn pages_name_the_variables_that_are_read() {
        let source = concat!(include_str!("../../src/library/search.rs"), include_str!("../../src/helper/find.rs"));
        for (name, _) in ENVIRONMENT {
            assert!(source.contains(&format!("\"{name}\"")), "{name} is read nowhere");
            assert!(texts().iter().all(|(_, page)| page.contains(name)), "{name}");
        }
    }

    /// bash is where a Debian machine is; what it says of the script is what counts.
    #[test]
    fn bash_completes_commands_and_options() {
        let Some(bash) = find_program("bash") else {
            eprintln!("skipped: there is no bash");
            return;
        };
        let mut script = completion(Shell::Bash);
        script.extend(
            b"\nCOMP_WORDS=(krundl run --me); COMP_CWORD=2; _krundl krundl --me run; echo \"${COMPREPLY[@]}\"\n",
        );
        script.extend(b"COMP_WORDS=(krundl do); COMP_CWORD=1; _krundl krundl do krundl; echo \"${COMPREPLY[@]}\"\n");
        let said = filter(Command::new(bash).arg("-s"), &script).unwrap();
        assert_eq!(String::from_utf8(said).unwrap(), "--memory\ndoctor\n");
    }
}
