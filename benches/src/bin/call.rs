//! Asks a question and makes a plan in Rust, as benches/call.c does through the C ABI.

use krundl::symbols::Function;
use krundl::{Capabilities, ProbeOptions, prepare_json, probe_isolated};

const QUESTIONS: usize = 1000;
const PLANS: usize = 10;

#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn measured_questions(capabilities: &Capabilities) -> usize {
    let yes = || {
        let function = Function::from_name(std::hint::black_box("krun_add_virtiofs3"));
        function.is_some_and(|function| capabilities.support(function) == krundl::capabilities::Support::Yes)
    };
    (0..QUESTIONS).filter(|_| yes()).count()
}

#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn measured_plans(capabilities: &Capabilities, spec: &String) -> usize {
    let plan = || prepare_json(spec, capabilities).unwrap_or_else(|error| panic!("{error}"));
    (0..PLANS).map(|_| plan().plan.calls.len()).sum()
}

fn main() {
    let mut arguments = std::env::args().skip(1);
    let library = arguments.next().expect("the library");
    let spec = arguments.next().expect("the spec");
    let options = ProbeOptions { library: Some(library.into()), ..ProbeOptions::default() };
    let capabilities = probe_isolated(&options).unwrap_or_else(|error| panic!("{error}")).capabilities;
    println!("{} {}", measured_questions(&capabilities), measured_plans(&capabilities, &spec));
}
