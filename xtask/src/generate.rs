//! Files of the repository that follow from the code.

use std::fmt::Write as _;

use anyhow::{Context, Result, bail};
use krundl::symbols::{Feature, Function, Group, Symbol};

use crate::header;

/// The files: path in the repository, and what must be in it.
///
/// # Errors
/// The C ABI's sources cannot be read.
pub fn generated() -> Result<Vec<(&'static str, String)>> {
    Ok(vec![
        ("docs/symbols.md", symbols_markdown()),
        ("docs/errors.md", errors_markdown()),
        ("docs/ledger.md", ledger_markdown()),
        ("docs/spec.schema.json", spec_schema()),
        ("docs/doctor.md", krundl::doctor::markdown()),
        ("docs/doctor.schema.json", doctor_schema()),
        ("python/krundl/_spec.py", crate::python_types::spec()),
        ("python/krundl/_reports.py", crate::python_types::reports()),
        ("ffi-tests/go/spec.go", crate::go_types::spec()),
        ("include/krundl.h", header::header()?),
        ("include/krundl.exports", header::exports()?),
        ("include/krundl.map", header::version_script()?),
        ("ffi-tests/c/layout.c", header::layout()),
        ("ffi-tests/c/nulls.c", header::nulls()?),
    ])
}

/// Writes the files, or with `check` only tells which are stale.
///
/// # Errors
/// A file that cannot be written, or with `check` is stale.
pub fn generate(check: bool) -> Result<()> {
    let mut stale = Vec::new();
    for (path, text) in generated()? {
        let file = crate::project::root().join(path);
        if std::fs::read_to_string(&file).is_ok_and(|now| now == text) {
            continue;
        }
        if check {
            stale.push(path);
        } else {
            std::fs::write(&file, text).with_context(|| format!("could not write {}", file.display()))?;
            eprintln!("wrote {path}");
        }
    }
    if !stale.is_empty() {
        bail!("{} does not follow from the code any more; fix: cargo xtask generate", stale.join(", "));
    }
    Ok(())
}

/// docs/spec.schema.json.
pub fn spec_schema() -> String {
    let schema = schemars::schema_for!(krundl::VmSpec);
    format!("{:#}\n", serde_json::to_value(schema).expect("a schema is plain data"))
}

/// docs/doctor.schema.json.
pub fn doctor_schema() -> String {
    // As it is written, not as it could be read.
    let generator = schemars::generate::SchemaSettings::default().for_serialize().into_generator();
    let schema = generator.into_root_schema_for::<krundl::doctor::Report>();
    format!("{:#}\n", serde_json::to_value(schema).expect("a schema is plain data"))
}

/// docs/errors.md.
pub fn errors_markdown() -> String {
    let mut text = "<!-- Written by `cargo xtask generate` from src/error/code.rs. -->\n\
         # Errors and their codes\n\n\
         One table for Rust (`Error::code`), C (`krundl_status`), Python and JSON. Numbers are never reused.\n\n\
         | Code | Name | Cause | What mends it |\n| --- | --- | --- | --- |\n"
        .to_owned();
    for info in krundl::error::CODES {
        writeln!(text, "| {} | `{}` | {} | {} |", info.code as u32, info.name, info.meaning.trim(), info.fix).unwrap();
    }
    text
}

/// docs/ledger.md.
pub fn ledger_markdown() -> String {
    use krundl::plan::ledger::{Reach, reach};
    let count = |is: fn(&Reach) -> bool| Function::ALL.iter().filter(|function| is(&reach(**function))).count();
    let mut text = format!(
        "<!-- Written by `cargo xtask generate` from src/plan/ledger.rs. -->\n\
         # The ledger\n\n\
         Each of libkrun's {} functions with the field of a [spec](spec.md) that reaches it, or the reason why none does: \
         {} are called by plans, {} are asked for the capabilities, {} are never called. The tests fail when a function \
         is missing here, or when a plan can call one that is said to be never called.\n",
        Function::ALL.len(),
        count(|reach| reach.by_plan()),
        count(|reach| matches!(reach, Reach::Asked(_))),
        count(|reach| matches!(reach, Reach::Never(_))),
    );
    for group in Group::ALL {
        write!(text, "\n## {}\n\n| Function | Reached by |\n| --- | --- |\n", heading(*group)).unwrap();
        for function in group.functions() {
            let how = match reach(function) {
                Reach::Field(fields, "") => format!("`{}`", fields.join("`, `")),
                Reach::Field(fields, more) => format!("`{}` ({more})", fields.join("`, `")),
                Reach::Always(why) => format!("every plan: {why}"),
                Reach::Asked(why) => format!("krundl itself, {why}"),
                Reach::Never(why) => format!("**never**: {why}"),
            };
            writeln!(text, "| `{function}` | {how} |").unwrap();
        }
    }
    text
}

/// docs/symbols.md.
pub fn symbols_markdown() -> String {
    let mut text = format!(
        "<!-- Written by `cargo xtask generate` from src/symbols/table.rs. -->\n\
         # libkrun's functions\n\n\
         The {} public functions of all releases of libkrun from 0.1.1 to 1.19.7, as krundl knows them. *Since* is the \
         first release that has a function and *until* the last one, if it is gone. *Built with* says what libkrun \
         must be built with or for, and *without it* what any other build does; where nothing stands, every build has \
         the function. That a function is there does not mean that it does anything: `krun_has_feature` knows more, \
         from {} on.\n\n\
         Releases 1.19.1, 1.19.4 and 1.19.5 were not seen, so 1.19.6 stands for \"after 1.19.3, by 1.19.6\".\n",
        Function::ALL.len(),
        Function::krun_has_feature.symbol().since,
    );
    for group in Group::ALL {
        write!(text, "\n## {}\n\n", heading(*group)).unwrap();
        text.push_str("| Function | Since | Until | Built with | Without it | What it does |\n");
        text.push_str("| --- | --- | --- | --- | --- | --- |\n");
        for function in group.functions() {
            let symbol = function.symbol();
            let cells = [
                format!("`{}`", symbol.name),
                symbol.since.to_owned(),
                until(symbol),
                symbol.built_with.unwrap_or("").to_owned(),
                symbol.without_it.unwrap_or("").to_owned(),
                symbol.meaning.to_owned(),
            ];
            writeln!(text, "| {} |", cells.join(" | ").replace("|  |", "| |").replace("|  |", "| |")).unwrap();
        }
        text.push_str("\n```c\n");
        group.functions().for_each(|function| writeln!(text, "{}", declaration(function.symbol())).unwrap());
        text.push_str("```\n");
    }
    text.push_str("\n## Features of `krun_has_feature`\n\n| Number | Feature | Since |\n| --- | --- | --- |\n");
    for feature in Feature::ALL {
        writeln!(text, "| {} | `{feature}` | {} |", feature.id(), feature.since()).unwrap();
    }
    text
}

fn until(symbol: &Symbol) -> String {
    match (symbol.until, symbol.linux_until) {
        (Some(last), _) => last.to_owned(),
        (None, Some(last)) => format!("{last} on Linux"),
        (None, None) => String::new(),
    }
}

/// The function as libkrun.h declares it.
fn declaration(symbol: &Symbol) -> String {
    let (result, parameters) = symbol.signature.split_once(" (").expect("a C signature");
    let parameters = if parameters == ")" { "void)" } else { parameters };
    format!("{result} {}({parameters};", symbol.name)
}

fn heading(group: Group) -> &'static str {
    match group {
        Group::Core => "Virtual machines",
        Group::Log => "libkrun's log",
        Group::Host => "Questions about the library and the host",
        Group::Exec => "The workload",
        Group::Virtiofs => "Root and shared directories",
        Group::Overlay => "The built-in init, and files that only the guest sees",
        Group::Disk => "Disk images",
        Group::Net => "Network cards",
        Group::Vsock => "vsock and TSI",
        Group::Console => "Consoles",
        Group::Kernel => "Kernel and firmware",
        Group::Machine => "Virtual hardware",
        Group::Identity => "The user of the process",
        Group::Gpu => "Graphics card",
        Group::Display => "Displays",
        Group::Input => "Input devices",
        Group::Sound => "Sound",
        Group::Tee => "Confidential guests",
        Group::Nitro => "AWS Nitro enclaves",
        other => other.name(),
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_generated_files_follow_from_the_code() {
        super::generate(true).unwrap();
    }
}
