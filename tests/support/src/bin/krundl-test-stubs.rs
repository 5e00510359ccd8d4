//! `krundl-test-stubs DIR`: builds the libraries of tests/cases/cases.json into DIR and writes DIR/cases.json and
//! DIR/cases.h, for those who test krundl from another language.

fn main() {
    let Some(dir) = std::env::args_os().nth(1) else {
        eprintln!("usage: krundl-test-stubs DIR");
        std::process::exit(2);
    };
    let cases = krundl_test_support::cases::build(dir.as_ref());
    println!("{} cases", cases.len());
}
