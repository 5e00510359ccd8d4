//! The C source of a stub.

use std::fmt::Write as _;

use super::table::{self, Export, Features};
use super::{Start, Stub, faults};

const RUNTIME: &str = include_str!("runtime.c");

/// The whole source. Panics if the stub speaks of a function that the library would not have.
pub(super) fn source(stub: &Stub) -> String {
    let release = table::numbers(&stub.release);
    let features = Features::new(&stub.features.iter().map(String::as_str).collect::<Vec<_>>());
    let exports = stub.functions();
    let named = stub.returns.iter().map(|(name, _)| name).chain(stub.statements.iter().map(|(name, _)| name));
    for name in named {
        let there = exports.iter().any(|export| export.name == name) || stub.extra.contains(name);
        assert!(there, "this stub of libkrun {} has no {name}", stub.release);
    }
    let mut c = RUNTIME.to_owned();
    if stub.faulty {
        c.push_str(faults::RUNTIME);
    }
    if let Some(statements) = &stub.constructor {
        write!(c, "\n__attribute__((constructor)) static void constructor(void)\n{{\n{statements}\n}}\n").unwrap();
    }
    start(stub, &mut c);
    for export in &exports {
        let parameters = if export.parameters.is_empty() { "void".to_owned() } else { export.parameters.join(", ") };
        write!(c, "\nEXPORT {} {}({parameters})\n{{\n", export.result, export.name).unwrap();
        writeln!(c, "    call_begin(\"{}\");", export.name).unwrap();
        record(export, &mut c);
        c.push_str("    call_end();\n");
        let (effect, result) = match export.refuses {
            Some(result) => (String::new(), result.to_string()),
            None => behaviour(export.name, release, &features),
        };
        end(stub, export.name, &effect, &result, &mut c);
    }
    for name in &stub.extra {
        write!(c, "\nEXPORT int32_t {name}(void)\n{{\n    call_begin(\"{name}\");\n    call_end();\n").unwrap();
        end(stub, name, "", "0", &mut c);
    }
    c
}

/// What follows after the call was written down.
fn end(stub: &Stub, name: &str, effect: &str, result: &str, c: &mut String) {
    if stub.faulty {
        c.push_str(&faults::check(name));
    }
    c.push_str(effect);
    for (_, statements) in stub.statements.iter().filter(|(function, _)| function == name) {
        writeln!(c, "    {statements}").unwrap();
    }
    if name == "krun_start_enter" {
        c.push_str("    start();\n");
    }
    match stub.returns.iter().rev().find(|(function, _)| function == name) {
        Some((_, value)) => writeln!(c, "    return {value};\n}}").unwrap(),
        None if name == "krun_start_enter" => c.push_str("    return START_RESULT;\n}\n"),
        None => writeln!(c, "    return {result};\n}}").unwrap(),
    }
}

/// Writes the arguments down. Bytes are known by their type, and their length by being the next parameter.
fn record(export: &Export, c: &mut String) {
    let name = |parameter: &'static str| {
        let name = parameter.trim_end_matches("[]");
        &name[name.rfind([' ', '*']).map_or(0, |at| at + 1)..]
    };
    for (index, parameter) in export.parameters.iter().enumerate() {
        let function = if parameter.ends_with("[]") {
            "arg_list"
        } else if parameter.contains("**") || parameter.contains("void *") || parameter.contains("size_t *") {
            "arg_pointer"
        } else if parameter.contains("char *") {
            "arg_text"
        } else if parameter.contains("uint8_t *const c_mac") {
            "arg_mac"
        } else if parameter.contains('*') {
            let length = name(export.parameters[index + 1]);
            writeln!(c, "    arg_bytes({}, {length});", name(parameter)).unwrap();
            continue;
        } else if parameter.starts_with("int") {
            "arg_signed"
        } else {
            "arg_unsigned"
        };
        writeln!(c, "    {function}({});", name(parameter)).unwrap();
    }
}

/// What a function does, and what it returns.
fn behaviour(name: &str, release: (u64, u64, u64), features: &Features) -> (String, String) {
    let mut effect = String::new();
    let mut result = "0".to_owned();
    match name {
        "krun_has_feature" => {
            effect.push_str("    static const int8_t answers[] = {");
            features.answers(release).for_each(|(_, answer)| write!(effect, " {},", i32::from(answer)).unwrap());
            effect.push_str(" };\n");
            result = "feature < sizeof answers ? answers[feature] : -22".to_owned();
        }
        "krun_get_max_vcpus" => result = "16".to_owned(),
        "krun_get_shutdown_eventfd" => result = "-22".to_owned(),
        "krun_set_mapped_volumes" if release >= (1, 8, 0) => result = "-22".to_owned(),
        "krun_get_default_init" if features.has("init-blob") => {
            effect.push_str("    static const uint8_t init[] = \"\\177ELF stub init\";\n");
            effect.push_str("    *data_out = init;\n    *len_out = sizeof init - 1;\n");
        }
        "krun_get_default_init" => result = "-95".to_owned(),
        "krun_add_vsock_port" => effect.push_str("    remember_vsock(c_filepath);\n"),
        "krun_add_vsock_port2" => {
            effect.push_str("    if (!listen)\n        remember_vsock(c_filepath);\n");
            result = "listen ? remember_listener(c_filepath) : 0".to_owned();
        }
        "krun_add_console_port_inout" => effect.push_str("    remember_console_port(name, output_fd);\n"),
        "krun_add_virtio_console_default" => {
            effect.push_str("    console_output = output_fd;\n    console_error = err_fd;\n    consoles++;\n");
        }
        "krun_add_virtio_console_multiport" => result = "consoles++".to_owned(),
        "krun_add_display" => result = "displays++".to_owned(),
        _ => {}
    }
    (effect, result)
}

/// `start()` and `START_RESULT`: what the guest does.
fn start(stub: &Stub, c: &mut String) {
    let mut result = 0;
    c.push_str("\nstatic void start(void)\n{\n");
    for (text, fd) in [(&stub.prints, "console_output"), (&stub.prints_error, "console_error")] {
        if !text.is_empty() {
            writeln!(c, "    write_all({fd}, {}, {});", literal(text), text.len()).unwrap();
        }
    }
    match &stub.start {
        Start::Return(value) => result = *value,
        Start::Exit(status) => writeln!(c, "    exit({status});").unwrap(),
        Start::Abort => c.push_str("    abort();\n"),
        Start::Segfault => c.push_str("    int *volatile nowhere = 0;\n    *nowhere = 1;\n"),
        Start::Hang => c.push_str("    for (;;)\n        pause();\n"),
        Start::Guest(text) => {
            c.push_str("    listen_all();\n");
            writeln!(c, "    guest_says({}, {});", literal(text), text.len()).unwrap();
            if stub.obeys {
                c.push_str("    guest_obeys();\n    guest_leaves();\n    _exit(143);\n");
            } else if stub.hangs {
                c.push_str("    for (;;)\n        pause();\n");
            } else {
                writeln!(c, "    guest_leaves();\n    _exit({});", stub.exit_status).unwrap();
            }
        }
    }
    write!(c, "}}\n\nenum {{ START_RESULT = {result} }};\n").unwrap();
}

/// A C string literal of any bytes.
fn literal(text: &str) -> String {
    let mut c = "\"".to_owned();
    for byte in text.bytes() {
        match byte {
            b'"' | b'\\' | b'?' => write!(c, "\\{}", byte as char).unwrap(),
            b' '..=b'~' => c.push(byte as char),
            // Always three digits, so that a digit that follows does not join in.
            _ => write!(c, "\\{byte:03o}").unwrap(),
        }
    }
    c + "\""
}
