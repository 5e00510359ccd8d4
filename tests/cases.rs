//! The cases of tests/cases/cases.json: the same answers in every language. C, Go and Python read the same file.

use std::path::Path;
use std::time::Duration;

use krundl::error::{CODES, Code};
use krundl::symbols::{Feature, Function};
use krundl::{
    Capabilities, Error, Exit, LaunchOptions, Prepared, ProbeOptions, Result, Stream, launch, prepare_json,
    probe_isolated,
};
use serde_json::{Map, Value, json};

const HELPER: &str = env!("CARGO_BIN_EXE_krundl-vmm");

/// Codes of which no case can be made with stubs, and why.
const WITHOUT_CASE: &[(Code, &str)] = &[
    (Code::GenerationUnknown, "the plan refuses such a library as a problem"),
    (Code::LibraryChanged, "the library has to change between two steps"),
    (Code::HelperFailed, "the helper has to die between two sentences"),
    (Code::Network, "a program has to fail; tests/launch/networks.rs has one"),
    (Code::ControlLost, "a guest that serves has to be gone"),
    (Code::Os, "the operating system has to refuse"),
    (Code::InvalidArgument, "it is the other languages' own"),
    (Code::Internal, "it takes a mistake in krundl"),
];

/// Everything that a case can expect, found out with krundl's Rust functions.
fn answer(case: &Value) -> Map<String, Value> {
    let mut answer = Map::new();
    if let Err(error) = steps(case, &mut answer) {
        answer.insert("error".to_owned(), told(&error));
    }
    answer
}

fn steps(case: &Value, answer: &mut Map<String, Value>) -> Result<()> {
    let options = ProbeOptions {
        library: case["library"].as_str().map(Into::into),
        helper: Some(case["helper"].as_str().unwrap_or(HELPER).into()),
        ..ProbeOptions::default()
    };
    let capabilities = probe_isolated(&options)?.capabilities;
    let Some(spec) = case["spec"].as_str() else {
        answer.insert("found".to_owned(), found(&capabilities, &case["found"]));
        return Ok(());
    };
    let prepared = prepare_json(spec, &capabilities)?;
    if case["run"] == true {
        return run(prepared, answer);
    }
    let calls: Vec<&str> = prepared.plan.calls.iter().map(|call| call.function().name()).collect();
    answer.insert("calls".to_owned(), json!(calls));
    Ok(())
}

/// Of what was found, the parts that are asked for.
fn found(capabilities: &Capabilities, asked: &Value) -> Value {
    let names =
        |of: &str| asked[of].as_object().into_iter().flatten().map(|(name, _)| name.clone()).collect::<Vec<_>>();
    let level = |name: &String| {
        let (_, level, _) = capabilities.levels.named().into_iter().find(|(of, ..)| of == name).expect("a level");
        (name.clone(), json!(level))
    };
    let function = |name: &String| Function::from_name(name).expect("a function");
    let feature = |name: &String| *Feature::ALL.iter().find(|feature| feature.name() == name).expect("a feature");
    json!({
        "generation": capabilities.generation,
        "version": capabilities.version.range.to_string(),
        "levels": names("levels").iter().map(level).collect::<Map<_, _>>(),
        "support": names("support").iter()
            .map(|name| (name.clone(), json!(capabilities.support(function(name))))).collect::<Map<_, _>>(),
        "features": names("features").iter()
            .map(|name| (name.clone(), json!(capabilities.feature(feature(name))))).collect::<Map<_, _>>(),
    })
}

fn run(prepared: Prepared, answer: &mut Map<String, Value>) -> Result<()> {
    let options = LaunchOptions {
        helper: Some(HELPER.into()),
        stdin: Stream::Null,
        stdout: Stream::Null,
        stderr: Stream::Null,
        start_timeout: Duration::from_millis(1500),
        ..LaunchOptions::default()
    };
    let vm = launch(prepared, options)?;
    if let Err(error) = vm.wait_ready(Some(Duration::from_millis(300))) {
        if matches!(error.code(), Code::TimedOut | Code::ReadinessUnknown) {
            answer.insert("ready".to_owned(), told(&error));
        }
        if error.code() == Code::TimedOut {
            vm.kill()?;
        }
    }
    let exit = vm.wait()?;
    let kind = match exit {
        Exit::Code(_) => "code",
        Exit::Signal(_) => "signal",
        Exit::NotExecuted { .. } => "not_executed",
        Exit::Stopped(_) => "stopped",
        Exit::Unproved(_) => "unproved",
        _ => "another",
    };
    answer.insert("exit".to_owned(), json!({"kind": kind, "status": exit.status()}));
    Ok(())
}

fn told(error: &Error) -> Value {
    let mut told = json!({"code": error.code() as u32, "name": error.code()});
    let mut add = |name: &str, value: Option<Value>| {
        if let Some(value) = value {
            told[name] = value;
        }
    };
    add("function", error.function().map(|function| json!(function)));
    add("errno", error.errno().map(|errno| json!(errno)));
    let problems = error.problems().iter().map(|problem| {
        let mut told = json!({"field": problem.field, "kind": problem.kind});
        if let Some(needs) = &problem.needs {
            told["function"] = json!(needs.function);
            told["since"] = json!(needs.since);
        }
        told
    });
    let attempts = error
        .attempts()
        .iter()
        .filter_map(|attempt| Some(json!({"origin": attempt.origin, "kind": attempt.error.as_ref()?.kind})));
    let list = |items: Vec<Value>| (!items.is_empty()).then_some(Value::Array(items));
    add("problems", list(problems.collect()));
    add("attempts", list(attempts.collect()));
    told
}

#[test]
fn every_case_has_the_answer_that_it_expects() {
    let cases = krundl_test_support::cases::build(&Path::new(env!("CARGO_TARGET_TMPDIR")).join("cases"));
    assert!(cases.len() >= 60, "{} cases", cases.len());
    let mut wrong = Vec::new();
    for case in &cases {
        let answer = Value::Object(answer(case));
        let expected: Map<String, Value> = ["found", "calls", "ready", "error", "exit"]
            .into_iter()
            .filter_map(|name| Some((name.to_owned(), case.get(name)?.clone())))
            .collect();
        if answer != Value::Object(expected.clone()) {
            wrong.push(format!("{}: {answer}\n  instead of {}", case["name"], Value::Object(expected)));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn every_code_has_a_case_or_a_reason_why_not() {
    let cases: Value = serde_json::from_str(include_str!("cases/cases.json")).unwrap();
    let cases = cases["cases"].as_array().unwrap();
    for info in CODES {
        let number = info.code as u32;
        let has = cases.iter().any(|case| case["error"]["code"] == number || case["ready"]["code"] == number);
        let excused = WITHOUT_CASE.iter().any(|(code, _)| *code == info.code);
        assert!(has != excused, "{}", info.name);
    }
}
