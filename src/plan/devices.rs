//! How many devices fit into a VM: each takes an interrupt line.

/// Interrupt lines that libkrun has for devices. x86-64: 5 to 15, and split_irqchip does not add any.
pub(super) fn lines(architecture: &str) -> usize {
    match architecture {
        "x86_64" => 11,
        "aarch64" => 128,
        _ => 1023,
    }
}

/// Devices that every VM has: balloon, entropy, the console for the standard streams.
pub(super) const ALWAYS: usize = 3;

#[cfg(test)]
mod tests {
    #[test]
    fn as_observed_on_x86_64() {
        let shares = |others| super::lines("x86_64") - super::ALWAYS - others;
        assert_eq!(shares(1), 1 + 6, "root and six with vsock");
        assert_eq!(shares(0), 1 + 7, "root and seven without");
    }
}
