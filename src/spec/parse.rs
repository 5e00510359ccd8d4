//! From JSON to a spec, with every mistake at once.
//!
//! serde stops at the first mistake. Here each one is noted with its path, put right from a template, and the text
//! is read again, until nothing is left to complain about.

use serde_json::{Value, json};

use super::model::VmSpec;
use crate::error::{Error, Problem, ProblemKind, Result};

/// Parts of a VM that libkrun has and that a later release of krundl will offer: refused by name, never ignored.
const NOT_OFFERED: &[&str] = &[
    "disks",
    "disk",
    "firmware",
    "network",
    "networks",
    "net",
    "nics",
    "ports",
    "vsock",
    "vsock_ports",
    "consoles",
    "console",
    "rlimits",
    "uid",
    "gid",
    "nested_virt",
    "split_irqchip",
    "smbios",
    "gpu",
    "display",
    "displays",
    "sound",
    "input",
    "inputs",
    "tee",
    "overlay",
    "overlay_files",
    "overlay_dirs",
    "log_target",
];

/// A spec as far as it could be read.
#[derive(Debug)]
pub struct Parsed {
    /// The spec; fields with a problem hold placeholders.
    pub spec: VmSpec,
    /// What is wrong with the text, each with its field.
    pub problems: Vec<Problem>,
}

impl VmSpec {
    /// Reads a spec from JSON.
    ///
    /// # Errors
    /// [`Error::InvalidSpec`] with every unknown, missing or malformed field.
    pub fn from_json(text: &str) -> Result<VmSpec> {
        let Parsed { spec, problems } = parse(text)?;
        if problems.is_empty() { Ok(spec) } else { Err(Error::InvalidSpec { problems }) }
    }

    /// The spec as JSON, every field written out.
    pub fn to_json(&self) -> String {
        serde_json::to_string_pretty(self).expect("a spec has no maps with keys that JSON refuses")
    }
}

/// Reads a spec and keeps going at mistakes, so that they can be shown beside those that only the host reveals.
///
/// # Errors
/// [`Error::InvalidSpec`] when the text is no JSON object at all.
pub fn parse(text: &str) -> Result<Parsed> {
    let whole = |reason: String| Error::InvalidSpec {
        problems: vec![Problem::new(ProblemKind::Invalid, "(the whole spec)", reason)],
    };
    let mut value: Value = serde_json::from_str(text).map_err(|error| whole(format!("is not JSON: {error}")))?;
    if !value.is_object() {
        return Err(whole("must be a JSON object".to_owned()));
    }
    let mut problems = duplicates(text);
    // Each round removes one mistake; a text of n bytes cannot hold more than n of them.
    for _ in 0..=text.len() {
        match serde_path_to_error::deserialize::<_, VmSpec>(&value) {
            Ok(spec) => return Ok(Parsed { spec, problems }),
            Err(error) => mend(&mut value, &error, &mut problems),
        }
    }
    Err(whole("cannot be made sense of".to_owned()))
}

/// A field given twice: a JSON value keeps only the last one, so this is seen only in the text.
fn duplicates(text: &str) -> Vec<Problem> {
    let mut reader = serde_json::Deserializer::from_str(text);
    match serde_path_to_error::deserialize::<_, VmSpec>(&mut reader) {
        Err(error) => match quoted(&error.inner().to_string(), "duplicate field") {
            Some(name) => {
                vec![Problem::new(ProblemKind::Invalid, join(&container(&error, &name), &name), "is given twice")]
            }
            None => Vec::new(),
        },
        Ok(_) => Vec::new(),
    }
}

/// Notes one mistake and puts the template's value, or nothing, in its place.
fn mend(value: &mut Value, error: &serde_path_to_error::Error<serde_json::Error>, problems: &mut Vec<Problem>) {
    let message = error.inner().to_string();
    if let Some(name) = quoted(&message, "unknown field") {
        let at = container(error, &name);
        let field = join(&at, &name);
        problems.push(if NOT_OFFERED.contains(&name.as_str()) {
            Problem::new(ProblemKind::NotOffered, field, "krundl does not offer this yet")
        } else {
            let known = message.split(", expected ").nth(1).unwrap_or("nothing").replace('`', "");
            Problem::new(
                ProblemKind::Invalid,
                field,
                format!("unknown field; known are: {}", known.trim_start_matches("one of ")),
            )
        });
        if let Some(Value::Object(fields)) = lookup(value, &at) {
            fields.remove(&name);
        }
    } else if let Some(name) = quoted(&message, "missing field") {
        let at = container(error, "");
        let field = join(&at, &name);
        let placeholder = template(&field);
        if let Some(Value::Object(fields)) = lookup(value, &at) {
            fields.insert(name, placeholder);
        }
        problems.push(Problem::new(ProblemKind::Invalid, field, "is required"));
    } else {
        let field = error.path().to_string();
        problems.push(Problem::new(ProblemKind::Invalid, &*field, message));
        let placeholder = template(&field);
        if let Some(place) = lookup(value, &field) {
            *place = placeholder;
        }
    }
}

/// The name in "unknown field `name`, expected ...".
fn quoted(message: &str, what: &str) -> Option<String> {
    let rest = message.strip_prefix(what)?.trim_start().strip_prefix('`')?;
    Some(rest.split('`').next()?.to_owned())
}

/// The path of the object that the error is about; serde's path may or may not end with the field itself.
fn container(error: &serde_path_to_error::Error<serde_json::Error>, name: &str) -> String {
    let path = error.path().to_string();
    let path = if path == "." { String::new() } else { path };
    match path.strip_suffix(name) {
        Some(rest) if !name.is_empty() && (rest.is_empty() || rest.ends_with('.')) => {
            rest.trim_end_matches('.').to_owned()
        }
        _ => path,
    }
}

fn join(path: &str, name: &str) -> String {
    if path.is_empty() { name.to_owned() } else { format!("{path}.{name}") }
}

/// The value at `mounts[0].host` and the like.
fn lookup<'v>(value: &'v mut Value, path: &str) -> Option<&'v mut Value> {
    let mut place = value;
    for step in path.split('.').filter(|step| !step.is_empty()) {
        let (name, indices) = step.split_once('[').unwrap_or((step, ""));
        if !name.is_empty() {
            place = place.as_object_mut()?.get_mut(name)?;
        }
        for index in indices.split('[').filter(|index| !index.is_empty()) {
            place = place.as_array_mut()?.get_mut(index.trim_end_matches(']').parse::<usize>().ok()?)?;
        }
    }
    Some(place)
}

/// A value of the right kind for a field, so that reading can go on behind a mistake.
fn template(path: &str) -> Value {
    let mut example = json!({
        "vcpus": 1, "memory_mib": 512,
        "root": {"dir": "/", "read_only": false, "dax_mib": 0},
        "kernel": null,
        "exec": {"path": "/bin/true", "args": [""], "env": {}, "workdir": "/"},
        "mounts": [{"host": "/", "guest": "/placeholder", "tag": null, "read_only": false, "dax_mib": 0, "semantics": null}],
        "log_level": "warn",
    });
    let first = normalise(path);
    lookup(&mut example, &first).cloned().unwrap_or_else(|| match path.rsplit('.').next() {
        // The parts of a kernel, which the example leaves out: it is optional.
        Some("path") => json!("/placeholder"),
        Some("format") => json!("auto"),
        Some(_) if path.starts_with("exec.env") => json!(""),
        _ => Value::Null,
    })
}

/// `mounts[3].host` as `mounts[0].host`.
fn normalise(path: &str) -> String {
    let mut out = String::new();
    let mut inside = false;
    for c in path.chars() {
        match c {
            '[' => {
                inside = true;
                out.push_str("[0");
            }
            ']' => {
                inside = false;
                out.push(']');
            }
            c if !inside => out.push(c),
            _ => {}
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fields(text: &str) -> Vec<String> {
        match VmSpec::from_json(text) {
            Err(error) => error.problems().iter().map(|problem| problem.field.clone()).collect(),
            Ok(_) => Vec::new(),
        }
    }

    const MINIMAL: &str = r#"{"vcpus": 1, "memory_mib": 256, "root": {"dir": "/r"}, "exec": {"path": "/bin/sh"}}"#;

    #[test]
    fn the_rest_has_defaults() {
        let spec = VmSpec::from_json(MINIMAL).unwrap();
        assert_eq!(spec.root.dax_mib, 0);
        assert!(!spec.root.read_only);
        assert_eq!(spec.exec.workdir, "/".into());
        assert_eq!(VmSpec::from_json(&spec.to_json()).unwrap(), spec);
    }

    #[test]
    fn every_mistake_is_named_at_once() {
        let text = r#"{"vcpus": "two", "root": {"dir": 5, "colour": 1}, "disks": [], "exec": {"args": [1, "a"]},
                       "mounts": [{"guest": "/w"}, {"host": "/h", "read_only": "yes", "semantics": "odd"}]}"#;
        let mut found = fields(text);
        found.sort();
        let mut expected = vec![
            "vcpus",
            "memory_mib",
            "root.dir",
            "root.colour",
            "disks",
            "exec.path",
            "exec.args[0]",
            "mounts[0].host",
            "mounts[1].read_only",
            "mounts[1].semantics",
        ];
        expected.sort_unstable();
        assert_eq!(found, expected);
    }

    #[test]
    fn what_is_not_offered_yet_says_so() {
        let text = MINIMAL.replacen('{', r#"{"networks": [], "#, 1);
        let Err(error) = VmSpec::from_json(&text) else { panic!("accepted") };
        assert_eq!(error.problems()[0].kind, ProblemKind::NotOffered);
    }

    #[test]
    fn a_field_given_twice_is_refused() {
        assert_eq!(fields(&MINIMAL.replacen('{', r#"{"vcpus": 2, "#, 1)), ["vcpus"]);
    }

    #[test]
    fn what_is_no_object_is_one_problem() {
        for text in ["", "[]", "7", "{\"vcpus\": ", "null"] {
            assert_eq!(fields(text), ["(the whole spec)"], "{text}");
        }
    }
}
