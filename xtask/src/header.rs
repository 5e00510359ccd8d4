//! What follows from `src/capi`: the header, the list of exports with their prototypes, the linker's version script,
//! and a C file that asserts the layout.

use std::fmt::Write as _;
use std::mem::offset_of;
use std::path::PathBuf;

use anyhow::{Context, Result};
use krundl::capi::{
    ABI_VERSION, krundl_check_status, krundl_disk, krundl_display, krundl_doctor_options, krundl_exec_options,
    krundl_exit, krundl_feature_state, krundl_figures, krundl_generation, krundl_launch_options, krundl_mount,
    krundl_nic, krundl_probe_options, krundl_status, krundl_stream, krundl_support,
};
use krundl::error::CODES;

use crate::project;

/// The files of the C ABI, in the order in which the header has them.
const SOURCES: &[&str] = &[
    "status",
    "error",
    "probe",
    "probe_abilities",
    "probe_evidence",
    "inspection",
    "inspection_lists",
    "spec",
    "spec_storage",
    "spec_devices",
    "plan",
    "launch",
    "vm",
    "control",
    "doctor",
];

const INTRODUCTION: &str = "\
/* krundl: opens libkrun at run time, tells what it can do, and runs microVMs with it in a child process.
 *
 * Written by `cargo xtask generate` from src/capi. docs/embedding-c.md begins with a program that runs; docs/abi.md says
 * what stays as it is.
 *
 * Ownership. What a function gives through `out` or `error` is the caller's, to be freed with that type's _free. Every
 * text that krundl returns belongs to the handle that it was asked of, lives as long as that, ends with NUL and is UTF-8.
 * Nothing that the caller gives is kept.
 *
 * NULL. A handle, text or pointer that must not be NULL is refused with KRUNDL_STATUS_INVALID_ARGUMENT; questions about a
 * NULL handle answer NULL, 0 or false; every _free takes NULL. `out` and `error` are written to by every call, also with
 * NULL.
 *
 * Threads. Handles that do not change (krundl_error, krundl_probe, krundl_inspection, krundl_plan, krundl_report) and
 * krundl_vm and krundl_exec may be used by any number of threads at the same time; krundl_spec by one at a time. Nothing is
 * kept by thread.
 *
 * Errors. A function that can fail returns a krundl_status, and the reason through `error`, which may be NULL. Whatever
 * goes wrong inside krundl is KRUNDL_STATUS_INTERNAL: no panic gets out. Only a lack of memory ends the process.
 *
 * Paths are C strings of any bytes, other texts UTF-8. A structure begins with its size in bytes, which the caller sets.
 */
";

/// include/krundl.h.
///
/// # Errors
/// The sources cannot be read as Rust.
pub fn header() -> Result<String> {
    let (major, minor, patch) = version();
    let macros = format!(
        "\n/* The number of the ABI, which is that of the soname: krundl_abi_version() of the library that is loaded is \
         the same. */\n\
         #define KRUNDL_ABI_VERSION {ABI_VERSION}\n\
         /* The version of krundl that this header is of; functions may be younger than the library that is loaded. */\n\
         #define KRUNDL_VERSION \"{major}.{minor}.{patch}\"\n\
         #define KRUNDL_VERSION_MAJOR {major}\n\
         #define KRUNDL_VERSION_MINOR {minor}\n\
         #define KRUNDL_VERSION_PATCH {patch}\n\
         /* To compare with, as in `#if KRUNDL_VERSION_NUMBER >= 0x000100`. */\n\
         #define KRUNDL_VERSION_NUMBER {:#08x}\n",
        major << 16 | minor << 8 | patch,
    );
    let config = cbindgen::Config {
        language: cbindgen::Language::C,
        cpp_compat: true,
        header: Some(INTRODUCTION.trim_end().to_owned()),
        include_guard: Some("KRUNDL_H".to_owned()),
        no_includes: true,
        sys_includes: ["stdbool.h", "stddef.h", "stdint.h"].map(str::to_owned).to_vec(),
        after_includes: Some(macros),
        usize_is_size_t: true,
        documentation_style: cbindgen::DocumentationStyle::Doxy,
        line_length: 120,
        braces: cbindgen::Braces::SameLine,
        tab_width: 4,
        style: cbindgen::Style::Both,
        // No function takes it by its type: what comes from C may be any number.
        export: cbindgen::ExportConfig { include: vec!["krundl_stream".to_owned()], ..Default::default() },
        enumeration: cbindgen::EnumConfig {
            rename_variants: cbindgen::RenameRule::ScreamingSnakeCase,
            prefix_with_name: true,
            ..cbindgen::EnumConfig::default()
        },
        ..cbindgen::Config::default()
    };
    let builder = SOURCES
        .iter()
        .fold(cbindgen::Builder::new().with_config(config), |builder, name| builder.with_src(source(name)));
    let mut text = Vec::new();
    builder.generate().context("src/capi cannot be read as Rust")?.write(&mut text);
    Ok(for_c(&String::from_utf8(text)?))
}

fn source(name: &str) -> PathBuf {
    project::root().join("src/capi").join(name).with_extension("rs")
}

fn version() -> (u32, u32, u32) {
    let mut parts = env!("CARGO_PKG_VERSION").split('.').map(|part| part.parse().expect("a version of three numbers"));
    let mut next = || parts.next().expect("a version of three numbers");
    (next(), next(), next())
}

/// Takes out what the comments say to Rust alone, prefixes the enums' constants in capitals, and makes links plain.
fn for_c(text: &str) -> String {
    let mut out = String::new();
    let mut skipping = false;
    for line in text.lines() {
        let comment = line.trim_start().strip_prefix('*').map(str::trim);
        match comment {
            Some("# Safety") => {
                skipping = true;
                // The line before was the blank one of the comment.
                let kept = out.trim_end().strip_suffix('*').map_or(out.len(), |text| text.trim_end().len());
                out.truncate(kept);
                out.push('\n');
                continue;
            }
            Some("/") => skipping = false,
            _ if skipping => continue,
            _ => {}
        }
        let line = line.trim_end();
        out.push_str(&constants(line));
        out.push('\n');
    }
    out
}

/// `krundl_status_OK`, as cbindgen has it, as `KRUNDL_STATUS_OK`.
fn constants(line: &str) -> String {
    let trimmed = line.trim_start();
    let is_constant = trimmed.starts_with("krundl_") && trimmed.contains(" = ");
    if is_constant { line.to_uppercase() } else { line.to_owned() }
}

/// The prototypes of all exported functions, a line each, sorted by name.
///
/// # Errors
/// As for [`header`].
pub fn prototypes() -> Result<Vec<(String, String)>> {
    let header = header()?;
    let mut code = String::new();
    let mut rest = header.as_str();
    while let Some((before, comment)) = rest.split_once("/*") {
        code.push_str(before);
        rest = comment.split_once("*/").map_or("", |(_, after)| after);
    }
    code.push_str(rest);
    let code: Vec<&str> = code.lines().filter(|line| !line.starts_with('#')).collect();
    let mut found = Vec::new();
    for statement in code.join(" ").split(';') {
        let words: Vec<&str> = statement.split_whitespace().collect();
        let statement = words.join(" ").replace("( ", "(").replace(" )", ")");
        let start = statement.rfind("extern \"C\" {").map_or(0, |at| at + "extern \"C\" {".len());
        let statement = statement[start..].trim();
        let Some((before, _)) = statement.split_once('(') else { continue };
        let name = before.rsplit([' ', '*']).next().unwrap_or_default();
        if name.starts_with("krundl_") && !statement.contains('{') {
            found.push((name.to_owned(), format!("{statement};")));
        }
    }
    found.sort();
    Ok(found)
}

/// include/krundl.exports.
///
/// # Errors
/// As for [`header`].
pub fn exports() -> Result<String> {
    let mut text = format!("# What libkrundl.so.{ABI_VERSION} exports. A line that goes or changes breaks programs.\n");
    for (_, prototype) in prototypes()? {
        writeln!(text, "{prototype}").expect("text grows");
    }
    Ok(text)
}

/// The linker's version script.
///
/// # Errors
/// As for [`header`].
pub fn version_script() -> Result<String> {
    let names: String = prototypes()?.iter().map(|(name, _)| format!("    {name};\n")).collect();
    Ok(format!("KRUNDL_{ABI_VERSION} {{\n  global:\n{names}  local:\n    *;\n}};\n"))
}

macro_rules! layout {
    ($text:ident, $($name:ident { $($field:ident),+ })+) => {$(
        assert($text, &format!("sizeof({}) == {}", stringify!($name), size_of::<$name>()));
        $(
            let (name, field, at) = (stringify!($name), stringify!($field), offset_of!($name, $field));
            assert($text, &format!("offsetof({name}, {field}) == {at}"));
        )+
    )+};
}

macro_rules! numbers {
    ($text:ident, $($name:ident { $($variant:ident),+ })+) => {$(
        assert($text, &format!("sizeof({}) == {}", stringify!($name), size_of::<$name>()));
        $(
            let constant = format!("{}_{}", stringify!($name), snake(stringify!($variant))).to_uppercase();
            assert($text, &format!("{constant} == {}", $name::$variant as i32));
        )+
    )+};
}

fn assert(text: &mut String, what: &str) {
    writeln!(text, "_Static_assert({what}, \"{what}\");").expect("text grows");
}

fn snake(name: &str) -> String {
    let mut out = String::new();
    for c in name.chars() {
        if c.is_uppercase() && !out.is_empty() {
            out.push('_');
        }
        out.push(c);
    }
    out
}

/// ffi-tests/c/layout.c: Rust's sizes, offsets and numbers, asserted by a C compiler. 64-bit machines only, which are all
/// that libkrun runs on.
pub fn layout() -> String {
    let mut text = "/* Written by `cargo xtask generate`: what Rust makes of src/capi, to be compiled as C11. */\n\
        #include \"krundl.h\"\n\n"
        .to_owned();
    let out = &mut text;
    layout! { out,
        krundl_probe_options { struct_size, library, directory, helper, timeout_ms }
        krundl_doctor_options { struct_size, probe, mounts_of, kernel, compare, only, boot }
        krundl_mount { struct_size, host, guest, tag, semantics, dax_mib, read_only, overlay }
        krundl_disk { struct_size, path, id, format, sync, read_only, direct_io }
        krundl_nic {
            struct_size, unixstream, unixgram, tap, mac, features, address, gateway, dns, passt_program, passt,
            host_loopback, vfkit, dhcp, optional, gvproxy, gvproxy_program
        }
        krundl_display { struct_size, edid, width, height, refresh_rate, dpi, width_mm, height_mm }
        krundl_launch_options {
            struct_size, helper, input, input_fd, output, output_fd, error, error_fd, log_fd, log, start_timeout_ms,
            die_with_parent, new_session
        }
        krundl_exec_options {
            struct_size, env, workdir, uid, gid, input, input_fd, output, output_fd, error, error_fd, connect_timeout_ms,
            rows, columns, terminal, clear_env
        }
        krundl_figures {
            struct_size, uptime_ms, cpus, cpu_user_ms, cpu_system_ms, cpu_idle_ms, cpu_wait_ms, cpu_stolen_ms,
            memory_total, memory_free, memory_available, memory_cached, load_1, load_5, load_15, processes
        }
    }
    numbers! { out,
        krundl_generation { Unknown, One }
        krundl_support { NoSuchFunction, Absent, Yes, Refuses, NoEffect, Unknown }
        krundl_feature_state { NoSuchFeature, Unasked, Yes, No, Unknown }
        krundl_check_status { None, Pass, Warn, Fail, Skip, Crash }
        krundl_stream { Inherit, Null, Pipe, Descriptor }
        krundl_exit { Running, Code, Signal, NotExecuted, Stopped, Unproved }
        krundl_status { Ok }
    }
    for info in CODES {
        assert(out, &format!("KRUNDL_STATUS_{} == {}", snake(info.name).to_uppercase(), info.code as u32));
    }
    assert(out, &format!("KRUNDL_ABI_VERSION == {ABI_VERSION}"));
    text
}

/// ffi-tests/c/nulls.c: every function with NULL for every pointer and 0 for everything else.
///
/// # Errors
/// As for [`header`].
pub fn nulls() -> Result<String> {
    let mut text = "/* Written by `cargo xtask generate`: every function with nothing at all. */\n\
        #include \"krundl.h\"\n\n#include \"check.h\"\n\nint main(void) {\n"
        .to_owned();
    for (name, prototype) in prototypes()? {
        let (before, parameters) = prototype.split_once('(').context("a prototype without parameters")?;
        // It gives a handle, and NULL is nothing that it takes.
        if name == "krundl_spec_new" || parameters.starts_with("void") {
            continue;
        }
        let nothing = |parameter: &str| match parameter.trim() {
            parameter if parameter.contains('*') => "NULL",
            parameter if parameter.starts_with("bool") => "false",
            _ => "0",
        };
        let arguments: Vec<&str> = parameters.trim_end_matches(");").split(',').map(nothing).collect();
        let call = format!("{name}({})", arguments.join(", "));
        let result = before.trim_end_matches(|c: char| c.is_alphanumeric() || c == '_').trim();
        let check = match (name.as_str(), result) {
            ("krundl_status_name", _) => format!("CHECK_TEXT({call}, \"ok\")"),
            ("krundl_error_status", _) => format!("CHECK({call} == KRUNDL_STATUS_OK)"),
            (_, "krundl_status") => format!("CHECK({call} == KRUNDL_STATUS_INVALID_ARGUMENT)"),
            (_, "void") => call,
            (_, "const char *") => format!("CHECK({call} == NULL)"),
            (_, "size_t" | "int64_t" | "uint16_t") => format!("CHECK({call} == 0)"),
            (_, "bool") => format!("CHECK(!{call})"),
            ("krundl_error_errno", "int32_t") => format!("CHECK({call} == 0)"),
            (_, "int32_t") => format!("CHECK({call} == -1)"),
            (_, "krundl_generation") => format!("CHECK({call} == KRUNDL_GENERATION_UNKNOWN)"),
            (_, "krundl_support") => format!("CHECK({call} == KRUNDL_SUPPORT_NO_SUCH_FUNCTION)"),
            (_, "krundl_feature_state") => format!("CHECK({call} == KRUNDL_FEATURE_STATE_NO_SUCH_FEATURE)"),
            (_, "krundl_check_status") => format!("CHECK({call} == KRUNDL_CHECK_STATUS_NONE)"),
            (name, other) => anyhow::bail!("{name} returns {other}, of which it is not known what NULL gives"),
        };
        writeln!(text, "    {check};").expect("text grows");
    }
    text.push_str("    return failures != 0;\n}\n");
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_version_macros_are_those_of_cargo() {
        let manifest = std::fs::read_to_string(project::root().join("Cargo.toml")).unwrap();
        let version = manifest.lines().find_map(|line| line.strip_prefix("version = \"")?.strip_suffix('"')).unwrap();
        let header = header().unwrap();
        assert!(header.contains(&format!("#define KRUNDL_VERSION \"{version}\"\n")), "{version}");
        let (major, minor, patch) = super::version();
        assert_eq!(format!("{major}.{minor}.{patch}"), version);
        assert!(header.contains(&format!("#define KRUNDL_VERSION_NUMBER 0x{major:02x}{minor:02x}{patch:02x}\n")));
    }

    #[test]
    fn every_functions_comment_tells_of_threads_and_failure_and_each_pointer() {
        let header = header().unwrap();
        let prototypes = prototypes().unwrap();
        assert!(prototypes.len() > 100, "{}", prototypes.len());
        for (name, prototype) in prototypes {
            let at = header.rfind(&format!("{name}(")).unwrap();
            let comment = &header[header[..at].rfind("/**").unwrap()..at];
            let comment = comment.split_whitespace().filter(|word| *word != "*").collect::<Vec<_>>().join(" ");
            assert!(comment.contains("Threads: "), "{name}: {comment}");
            assert!(
                ["Errors: ", "Cannot fail.", "may be NULL"].iter().any(|words| comment.contains(words)),
                "{name}: {comment}"
            );
            let pointers = prototype[prototype.find('(').unwrap()..].matches('*').count();
            assert!(pointers == 0 || comment.contains("NULL"), "{name}: {comment}");
            let gives = prototype.starts_with("const char") || prototype.contains("**out");
            assert!(
                !gives || comment.contains("'s own") || comment.contains("caller's") || comment.contains("as for"),
                "{name}: {comment}"
            );
        }
    }

    #[test]
    fn all_sources_are_read() {
        let mut files: Vec<String> = std::fs::read_dir(project::root().join("src/capi"))
            .unwrap()
            .map(|entry| entry.unwrap().path().file_stem().unwrap().to_str().unwrap().to_owned())
            .filter(|name| !["mod", "boundary"].contains(&name.as_str()))
            .collect();
        let mut known: Vec<String> = SOURCES.iter().map(|name| (*name).to_owned()).collect();
        files.sort();
        known.sort();
        assert_eq!(files, known);
    }
}
