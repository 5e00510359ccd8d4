//! The cases of tests/cases/cases.json, with the libraries and files that they speak of.
//!
//! Whoever is no Rust program gets them by `krundl-test-stubs DIR`: as `DIR/cases.json`, and as `DIR/cases.h` for C,
//! which reads no JSON of its own.

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

use serde_json::{Map, Value, json};

use crate::stubs::{Start, Stub};

const CASES: &str = include_str!("../../cases/cases.json");

/// Builds everything into `dir`, writes `dir/cases.json` and `dir/cases.h`, and returns the cases: `name`, `library`,
/// `helper` and `spec` (both null where there is none; a spec is text), `run`, and what is expected.
pub fn build(dir: &Path) -> Vec<Value> {
    fs::create_dir_all(dir).expect("a directory made");
    let dir = dir.canonicalize().expect("the path of a directory");
    let file: Value = serde_json::from_str(CASES).expect("the cases are JSON");
    files(&dir);
    let place = |name: &str| match name {
        "missing" => dir.join("missing"),
        name => dir.join("files").join(name),
    };
    let libraries = object(&file["libraries"]).iter();
    let libraries: Map<String, Value> =
        libraries.map(|(name, what)| (name.clone(), json!(library(&dir.join("libraries").join(name), what)))).collect();
    let cases: Vec<Value> = array(&file["cases"])
        .iter()
        .map(|case| {
            let mut case = object(case).clone();
            let library = case["library"].as_str().expect("a name").to_owned();
            case["library"] = libraries.get(&library).unwrap_or_else(|| panic!("{library} is not described")).clone();
            let mut helper = case.remove("helper").unwrap_or_default();
            substitute(&mut helper, &place);
            case.insert("helper".to_owned(), helper);
            let spec = spec(&mut case, &file["smallest"], &place);
            case.insert("spec".to_owned(), spec);
            case.entry("run").or_insert(json!(false));
            Value::Object(case)
        })
        .collect();
    let text = serde_json::to_string_pretty(&json!({"libraries": libraries, "cases": cases})).expect("plain data");
    fs::write(dir.join("cases.json"), text).expect("a file written");
    fs::write(dir.join("cases.h"), header(&cases)).expect("a file written");
    cases
}

/// The spec as text; null where the case has none.
fn spec(case: &mut Map<String, Value>, smallest: &Value, place: &dyn Fn(&str) -> PathBuf) -> Value {
    if let Some(text) = case.remove("text") {
        return text;
    }
    let mut spec = match (case.remove("vm"), case.remove("spec")) {
        (Some(fields), None) => {
            let mut spec = object(smallest).clone();
            spec.extend(object(&fields).clone());
            Value::Object(spec)
        }
        (None, Some(spec)) => spec,
        (None, None) => return Value::Null,
        _ => panic!("{} has two specs", case["name"]),
    };
    substitute(&mut spec, place);
    json!(spec.to_string())
}

/// Puts paths where names with an @ stand.
fn substitute(value: &mut Value, place: &dyn Fn(&str) -> PathBuf) {
    match value {
        Value::String(text) => {
            if let Some(name) = text.strip_prefix('@') {
                let (name, rest) = name.split_at(name.find('/').unwrap_or(name.len()));
                *text = format!("{}{rest}", place(name).display());
            }
        }
        Value::Array(items) => items.iter_mut().for_each(|item| substitute(item, place)),
        Value::Object(fields) => fields.values_mut().for_each(|field| substitute(field, place)),
        _ => {}
    }
}

fn files(dir: &Path) {
    let files = dir.join("files");
    for name in ["data", "empty"] {
        fs::create_dir_all(files.join(name)).expect("a directory made");
    }
    fs::write(files.join("file"), vec![0; 1 << 20]).expect("a file written");
    crate::root::fill(&files.join("root"));
    for name in ["passt", "passt-fails"] {
        crate::FakePasst::new(&files, name);
    }
    crate::FakeGvproxy::new(&files, "gvproxy");
}

/// Builds what the file describes and returns where it is.
fn library(dir: &Path, what: &Value) -> PathBuf {
    fs::create_dir_all(dir).expect("a directory made");
    let plain = dir.join("libkrun.so.1");
    if what["missing"] == true {
        return plain;
    }
    if what["directory"] == true {
        fs::create_dir_all(&plain).expect("a directory made");
        return plain;
    }
    if let Some(text) = what["text"].as_str() {
        fs::write(&plain, text).expect("a file written");
        return plain;
    }
    let mut stub = Stub::new(what["release"].as_str().expect("a release"));
    for (name, value) in object(what) {
        stub = match name.as_str() {
            "release" => stub,
            "features" => stub.features(&strings(value)),
            "file_name" => stub.file_name(string(value)),
            "soname" => stub.soname(string(value)),
            "without" => stub.without(&strings(value)),
            "only" => {
                let all = stub.exports();
                stub.without(&all.iter().map(String::as_str).collect::<Vec<_>>()).with_extra(&strings(value))
            }
            "extra" => stub.with_extra(&strings(value)),
            "constructor" => stub.constructor(string(value)),
            "needs_missing" => stub.needs_missing(string(value)),
            "returns" => object(value).iter().fold(stub, |stub, (name, value)| stub.returns(name, number(value))),
            "on" => object(value).iter().fold(stub, |stub, (name, value)| stub.on(name, string(value))),
            "start" => stub.start(start(value)),
            "exit_status" => stub.exit_status(number(value)),
            "then_hang" => stub.then_hang(),
            "then_obey" => stub.then_obey(),
            name => panic!("a library is not described by {name}"),
        };
    }
    stub.build_in(dir).path
}

fn start(value: &Value) -> Start {
    match value.as_str() {
        Some("abort") => Start::Abort,
        Some("hang") => Start::Hang,
        Some(name) => panic!("no start is named {name}"),
        None => match object(value).iter().next().expect("what it does") {
            (name, value) if name == "return" => Start::Return(number(value)),
            (name, value) if name == "exit" => Start::Exit(number(value)),
            (name, value) if name == "guest" => Start::guest(string(value)),
            (name, _) => panic!("no start is named {name}"),
        },
    }
}

/// The cases as tables of C: paths, specs and what is expected as lines of text.
fn header(cases: &[Value]) -> String {
    let mut c = "/* Written by krundl-test-stubs from tests/cases/cases.json. */\n\
        struct expected_case {\n    const char *name, *library, *helper, *spec;\n    int run;\n    const char *expected;\n};\n\
        static const struct expected_case CASES[] = {\n"
        .to_owned();
    for case in cases {
        let text = |name: &str| case[name].as_str().map_or("0".to_owned(), quoted);
        let run = i32::from(case["run"] == true);
        let [name, library, helper, spec] = ["name", "library", "helper", "spec"].map(text);
        let expected = quoted(&lines(case));
        writeln!(c, "    {{{name}, {library}, {helper}, {spec}, {run},\n     {expected}}},").expect("text grows");
    }
    c.push_str("};\n");
    c
}

/// What is expected, a fact a line, in a fixed order: whoever answers writes the same lines.
fn lines(case: &Value) -> String {
    let mut text = String::new();
    let mut line = |line: String| {
        text.push_str(&line);
        text.push('\n');
    };
    let word = |value: &Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    if let Some(found) = case["found"].as_object() {
        line(format!("generation {}", word(&found["generation"])));
        line(format!("version {}", word(&found["version"])));
        for (kind, of) in [("level", "levels"), ("support", "support"), ("feature", "features")] {
            object(&found[of]).iter().for_each(|(name, value)| line(format!("{kind} {name} {}", word(value))));
        }
    }
    for call in case["calls"].as_array().into_iter().flatten() {
        line(format!("call {}", word(call)));
    }
    for step in ["ready", "error"] {
        if let Some(error) = case[step].as_object() {
            line(format!("{step} {} {}", error["code"], word(&error["name"])));
            let optional = |name: &str| error.get(name).map(|value| format!("{name} {}", word(value)));
            optional("function").into_iter().chain(optional("errno")).for_each(&mut line);
            for problem in error.get("problems").and_then(Value::as_array).into_iter().flatten() {
                let needs = problem.get("function").map(|f| format!(" {} {}", word(f), word(&problem["since"])));
                line(format!(
                    "problem {} {}{}",
                    word(&problem["kind"]),
                    word(&problem["field"]),
                    needs.unwrap_or_default()
                ));
            }
            for attempt in error.get("attempts").and_then(Value::as_array).into_iter().flatten() {
                line(format!("attempt {} {}", word(&attempt["origin"]), word(&attempt["kind"])));
            }
        }
    }
    if let Some(exit) = case["exit"].as_object() {
        line(format!("exit {} {}", word(&exit["kind"]), exit["status"]));
    }
    text
}

/// A string literal of C. Escapes are octal, because hexadecimal ones do not end by themselves.
fn quoted(text: &str) -> String {
    let mut c = "\"".to_owned();
    for byte in text.bytes() {
        match byte {
            b'"' | b'\\' => write!(c, "\\{}", char::from(byte)).expect("text grows"),
            b'\n' => c.push_str("\\n\"\n     \""),
            b' '..=b'~' if byte != b'?' => c.push(char::from(byte)),
            _ => write!(c, "\\{byte:03o}").expect("text grows"),
        }
    }
    c.push('"');
    c
}

fn object(value: &Value) -> &Map<String, Value> {
    value.as_object().unwrap_or_else(|| panic!("{value} is no object"))
}

fn array(value: &Value) -> &[Value] {
    value.as_array().unwrap_or_else(|| panic!("{value} is no array"))
}

fn string(value: &Value) -> &str {
    value.as_str().unwrap_or_else(|| panic!("{value} is no text"))
}

fn strings(value: &Value) -> Vec<&str> {
    array(value).iter().map(string).collect()
}

fn number(value: &Value) -> i32 {
    value.as_i64().and_then(|number| number.try_into().ok()).unwrap_or_else(|| panic!("{value} is no number"))
}
