//! The program that runs libkrun: krundl starts it, tells it what to do, and watches it.

fn main() {
    krundl::vmm_main();
    // Only a person gets here.
    if std::env::args().nth(1).as_deref() == Some("--version") {
        println!("krundl-vmm {}", env!("CARGO_PKG_VERSION"));
        return;
    }
    eprintln!(
        "krundl-vmm is started by krundl, not by hand: it is the process in which libkrun runs. See `krundl --help`."
    );
    std::process::exit(2);
}
