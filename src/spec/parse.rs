//! From JSON to a spec, with every mistake at once.
//!
//! serde stops at the first mistake. Here each one is noted with its path, put right from a template, and the text
//! is read again, until nothing is left to complain about.

use serde_json::{Value, json};

use super::model::VmSpec;
use crate::error::{Error, Problem, ProblemKind, Result};

/// Parts of a VM that people ask for and that no release of libkrun has: refused by name, never ignored.
const NOT_OFFERED: &[&str] = &["balloon", "pause", "resume", "restore", "snapshot", "vhost_user"];

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
    let mut mended: Vec<String> = Vec::new();
    // Each round removes one mistake; a text of n bytes cannot hold more than n of them.
    for _ in 0..=text.len() {
        match serde_path_to_error::deserialize::<_, VmSpec>(&value) {
            Ok(spec) => return Ok(Parsed { spec, problems }),
            Err(error) => match mend(&mut value, &error, &mut problems) {
                // A placeholder that is no better stands for its whole surroundings.
                Some(field) if mended.contains(&field) => drop_around(&mut value, &field),
                Some(field) => mended.push(field),
                None => {}
            },
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

/// Puts the template of the part that a field is in, or nothing, in that part's place.
fn drop_around(value: &mut Value, field: &str) {
    let around = field.rfind(['.', '[']).map_or("", |at| &field[..at]);
    let placeholder = template(around);
    if let Some(place) = lookup(value, around).filter(|_| !around.is_empty()) {
        *place = placeholder;
    }
}

/// Notes one mistake, unless its field has one already, and puts the template's value, or nothing, in its place.
/// Returns the field if its value was replaced.
fn mend(
    value: &mut Value,
    error: &serde_path_to_error::Error<serde_json::Error>,
    problems: &mut Vec<Problem>,
) -> Option<String> {
    let message = error.inner().to_string();
    if let Some(name) = quoted(&message, "unknown field") {
        let at = container(error, &name);
        let field = join(&at, &name);
        problems.push(if NOT_OFFERED.contains(&name.as_str()) {
            Problem::new(ProblemKind::NotOffered, field, "no release of libkrun has this, so krundl does not offer it")
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
        if problems.iter().all(|problem| problem.field != field) {
            problems.push(Problem::new(ProblemKind::Invalid, &*field, message));
        }
        let placeholder = template(&field);
        if let Some(place) = lookup(value, &field) {
            *place = placeholder;
        }
        return Some(field);
    }
    None
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

/// A value of the right kind for a field, so that reading can go on behind a mistake. Whole parts that are optional
/// are left out, because what they would hold besides is not what was asked for.
fn template(path: &str) -> Value {
    let optional = ["root", "kernel", "firmware", "exec", "tsi", "serial", "gpu", "tee", "uid", "gid", "log_file"];
    if optional.contains(&path) || path == "kernel_console" {
        return Value::Null;
    }
    let mut example = example();
    let first = normalise(path);
    lookup(&mut example, &first).cloned().unwrap_or_else(|| match first.split('.').next() {
        // Names of variables and resources are the user's own.
        Some("exec") => json!(""),
        Some("console" | "control") => json!("/placeholder"),
        Some("displays") => json!(1),
        Some("rlimits") if path.matches('.').count() == 1 => json!({"soft": 0}),
        Some("rlimits") => json!(0),
        _ => Value::Null,
    })
}

/// A spec with every field; those that may be absent and have nothing inside are null.
fn example() -> Value {
    let path = "/placeholder";
    json!({
        "vcpus": 1, "memory_mib": 512,
        "root": {
            "dir": "/", "disk": {"device": "/dev/vda", "fstype": null, "options": null},
            "read_only": false, "dax_mib": 0,
        },
        "kernel": {"path": path, "format": "auto", "initrd": null, "cmdline": null},
        "kernel_console": null,
        "firmware": null,
        "exec": {"path": "/bin/true", "args": [""], "env": {}, "workdir": "/"},
        "mounts": [{
            "host": "/", "guest": path, "tag": null, "read_only": false, "overlay": false, "dax_mib": 0, "semantics": null,
        }],
        "overlay": {
            "files": [{"path": path, "text": null, "from": null, "mode": 0}],
            "dirs": [{"path": path, "mode": 0}],
        },
        "disks": [{
            "path": path, "id": null, "format": "raw", "read_only": false, "direct_io": false, "sync": null,
        }],
        "tsi": {"inet": false, "unix": false, "ports": [{"host": 1, "guest": 1}], "only_ports": false},
        "nics": [{
            "passt": {
                "ports": [{"host": 0, "guest": 1, "address": "127.0.0.1", "protocol": "tcp"}],
                "program": null, "host_loopback": false,
            },
            "gvproxy": {
                "ports": [{"host": 0, "guest": 1, "address": "127.0.0.1", "protocol": "tcp"}],
                "program": null,
            },
            "unixstream": null, "unixgram": null, "vfkit": false, "tap": null, "mac": null, "features": ["csum"],
            "address": null, "gateway": null, "dns": ["127.0.0.1"], "dhcp": false, "optional": false,
        }],
        "vsock": {"cid": null, "ports": [{"port": 0, "path": path, "listen": false}]},
        "control": null,
        "console": "inherit",
        "serial": {"input": null, "output": path},
        "console_ports": [{"name": "placeholder", "input": null, "output": null, "tty": null}],
        "rlimits": {},
        "uid": null, "gid": null,
        "nested_virt": false, "split_irqchip": false,
        "smbios_oem_strings": [""],
        "gpu": {"virgl_flags": 0, "shm_mib": null},
        "displays": [{
            "width": 1, "height": 1, "refresh_rate": null, "dpi": null, "physical_size_mm": null, "edid": null,
        }],
        "sound": false,
        "inputs": [path],
        "tee": {"config": path},
        "log_level": "warn",
        "log_file": null,
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
    use crate::spec::model::Root;

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
        assert_eq!(spec.root, Some(Root { dir: Some("/r".into()), ..Root::default() }));
        assert_eq!(spec.exec.as_ref().unwrap().workdir, "/".into());
        assert_eq!(VmSpec::from_json(&spec.to_json()).unwrap(), spec);
    }

    #[test]
    fn every_mistake_is_named_at_once() {
        let text = r#"{"vcpus": "two", "root": {"dir": 5, "colour": 1}, "balloon": [], "exec": {"args": [1, "a"]},
                       "mounts": [{"guest": "/w"}, {"host": "/h", "read_only": "yes", "semantics": "odd"}]}"#;
        let mut found = fields(text);
        found.sort();
        let mut expected = vec![
            "vcpus",
            "memory_mib",
            "root.dir",
            "root.colour",
            "balloon",
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
        let text = MINIMAL.replacen('{', r#"{"snapshot": null, "#, 1);
        let Err(error) = VmSpec::from_json(&text) else { panic!("accepted") };
        assert_eq!(error.problems()[0].kind, ProblemKind::NotOffered);
    }

    /// Every field of the example, with everything that is null given a value.
    fn full() -> Value {
        let mut full = example();
        let text = "x";
        for (path, value) in [
            ("kernel.initrd", json!(text)),
            ("kernel.cmdline", json!(text)),
            ("kernel_console", json!("ttyS0")),
            ("firmware", json!(text)),
            ("root.disk.fstype", json!(text)),
            ("root.disk.options", json!(text)),
            ("mounts[0].tag", json!(text)),
            ("mounts[0].semantics", json!("complete")),
            ("overlay.files[0].text", json!(text)),
            ("overlay.files[0].from", json!(text)),
            ("disks[0].id", json!(text)),
            ("disks[0].sync", json!("relaxed")),
            ("nics[0].passt.program", json!(text)),
            ("nics[0].gvproxy.program", json!(text)),
            ("nics[0].unixstream", json!(text)),
            ("nics[0].unixgram", json!(text)),
            ("nics[0].tap", json!(text)),
            ("nics[0].mac", json!(text)),
            ("nics[0].address", json!(text)),
            ("nics[0].gateway", json!("127.0.0.1")),
            ("vsock.cid", json!(3)),
            ("control", json!({"socket": text})),
            ("console", json!({"file": text})),
            ("serial.input", json!(text)),
            ("console_ports[0].input", json!(text)),
            ("console_ports[0].output", json!(text)),
            ("console_ports[0].tty", json!(text)),
            ("rlimits", json!({"NOFILE": {"soft": 1, "hard": 2}})),
            ("uid", json!(1)),
            ("gid", json!(1)),
            ("gpu.shm_mib", json!(1)),
            ("displays[0].refresh_rate", json!(1)),
            ("displays[0].dpi", json!(1)),
            ("displays[0].physical_size_mm", json!([1, 1])),
            ("displays[0].edid", json!(text)),
            ("log_file", json!(text)),
        ] {
            *lookup(&mut full, path).unwrap() = value;
        }
        full
    }

    /// The paths of all values that hold no others.
    fn leaves(value: &Value, path: &str, out: &mut Vec<String>) {
        match value {
            Value::Object(fields) if !fields.is_empty() => {
                fields.iter().for_each(|(name, value)| leaves(value, &join(path, name), out));
            }
            Value::Array(items) if !items.is_empty() => leaves(&items[0], &format!("{path}[0]"), out),
            _ => out.push(path.to_owned()),
        }
    }

    #[test]
    fn the_example_knows_every_field_and_a_full_spec_survives_json() {
        let text = full().to_string();
        let spec = VmSpec::from_json(&text).unwrap();
        let again = spec.to_json();
        assert_eq!(serde_json::from_str::<Value>(&again).unwrap(), full(), "a field that the example lacks");
        assert_eq!(VmSpec::from_json(&again).unwrap(), spec);
    }

    #[test]
    fn every_field_has_its_line_in_the_docs() {
        let docs = include_str!("../../docs/spec.md");
        let mut paths = Vec::new();
        leaves(&full(), "", &mut paths);
        for path in paths {
            let shown = path.replace("[0]", "[]").replace("NOFILE", "NAME");
            let shown = shown.trim_end_matches("[]");
            let line = [shown, shown.rsplit_once('.').map_or(shown, |(whole, _)| whole)]
                .iter()
                .any(|name| docs.contains(&format!("| `{name}`")) || docs.contains(&format!(", `{name}`")));
            assert!(line, "{shown}");
        }
    }

    #[test]
    fn a_mistake_anywhere_is_one_problem_and_hides_no_other() {
        let mut paths = Vec::new();
        leaves(&full(), "", &mut paths);
        assert!(paths.len() > 70, "{}", paths.len());
        for path in &paths {
            let mut wrong = full();
            *lookup(&mut wrong, path).unwrap() = json!([[]]);
            wrong["memory_mib"] = json!("much");
            let found = fields(&wrong.to_string());
            let told = found.iter().filter(|field| path.starts_with(field.as_str()) || field.starts_with(path)).count();
            let other = usize::from(path != "memory_mib");
            assert_eq!((told, found.len()), (1, 1 + other), "{path}: {found:?}");
        }
        // And all of them at once.
        let mut wrong = full();
        paths.iter().for_each(|path| *lookup(&mut wrong, path).unwrap() = json!([[]]));
        let found = fields(&wrong.to_string());
        assert!(found.len() >= paths.len() - 2, "{} of {}: {found:?}", found.len(), paths.len());
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
