//! What a real guest has shown.

use crate::doctor::boot::Proof;
use crate::doctor::catalog::Id;
use crate::doctor::check::{By, Check, Remedy};

pub(super) fn all(proof: &Proof) -> Vec<Check> {
    let step = |id: Id, outcome: Option<bool>, proved: &str, refuted: &str| match outcome {
        Some(true) => Check::pass(id, format!("proved: {proved}")).known(By::Boot, "seen on the host"),
        Some(false) => Check::fail(id, refuted)
            .detail(proof.words.as_str().lines())
            .known(By::Boot, "seen on the host")
            .mend(Remedy::words("report it, with this report")),
        None => Check::skip(id, "not come to"),
    };
    vec![
        boot(proof),
        step(
            Id::ProofVsock,
            proof.vsock,
            "the guest said over vsock that it is up, and how it ended",
            "it said nothing",
        ),
        step(
            Id::ProofRead,
            proof.read,
            "the guest read the host's number through a mount",
            "the guest could not read it",
        ),
        step(
            Id::ProofWrite,
            proof.write,
            "the guest wrote it back through another mount",
            "what the guest wrote is not on the host",
        ),
        read_only(proof, step),
    ]
}

fn boot(proof: &Proof) -> Check {
    const ID: Id = Id::ProofBoot;
    let seconds = proof.boot_ms.map(|ms| format!("{}.{:02} s", ms / 1000, ms % 1000 / 10));
    match (&proof.error, seconds) {
        (None, Some(seconds)) => {
            Check::pass(ID, format!("proved: a guest booted in {seconds}")).known(By::Boot, "its own first word")
        }
        (error, seconds) => {
            let error = error.clone().unwrap_or_else(|| "it said nothing".to_owned());
            let mut lines = error.lines();
            let first = lines.next().unwrap_or_default();
            let first = first.trim_end_matches("; libkrun's words:");
            let summary = match seconds {
                None => format!("no guest comes up: {first}"),
                Some(seconds) => format!("a guest came up in {seconds} and did not come to its end: {first}"),
            };
            Check::fail(ID, summary)
                .detail(lines)
                .known(By::Boot, "tried")
                .mend(Remedy::words("mend what else fails above, then boot again").command("krundl doctor --boot"))
        }
    }
}

fn read_only(proof: &Proof, step: impl Fn(Id, Option<bool>, &str, &str) -> Check) -> Check {
    const ID: Id = Id::ProofReadOnly;
    if proof.read.is_some() && proof.read_only.is_none() {
        return Check::skip(ID, "this libkrun has no read-only mounts")
            .mend(Remedy::words("install libkrun 1.18.0 or later"));
    }
    step(ID, proof.read_only, "a write through a read-only mount was refused", "a read-only mount was written to")
}
