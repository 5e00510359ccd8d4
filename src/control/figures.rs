//! A guest's figures.

use serde::{Deserialize, Serialize};

/// What the guest's kernel says of the machine at one moment. A figure that it does not have is 0.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Figures {
    /// Since the guest's kernel started, in milliseconds.
    pub uptime_ms: u64,
    /// Processors that are running.
    pub cpus: u64,
    /// Their time.
    pub cpu: Cpu,
    /// Memory.
    pub memory: Memory,
    /// Processes that run or wait for a disk, on average over 1, 5 and 15 minutes.
    pub load: [f64; 3],
    /// Processes that there are.
    pub processes: u64,
}

/// Time of all processors together since the guest's kernel started, in milliseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Cpu {
    /// In programs.
    pub user_ms: u64,
    /// In the kernel.
    pub system_ms: u64,
    /// With nothing to do.
    pub idle_ms: u64,
    /// With nothing to do but to wait for a disk.
    pub wait_ms: u64,
    /// Taken away by the host, as far as it says so.
    pub stolen_ms: u64,
}

/// Memory of the guest, in bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Memory {
    /// What its kernel has to give.
    pub total: u64,
    /// In use for nothing.
    pub free: u64,
    /// What programs could still get without swapping, by the kernel's estimate.
    pub available: u64,
    /// Files kept in memory.
    pub cached: u64,
}

impl Figures {
    pub(super) fn of(figures: &[(Vec<u8>, u64)]) -> Figures {
        let of = |name: &str| figures.iter().find(|(other, _)| other == name.as_bytes()).map_or(0, |(_, value)| *value);
        Figures {
            uptime_ms: of("uptime_ms"),
            cpus: of("cpus"),
            cpu: Cpu {
                user_ms: of("cpu_user_ms"),
                system_ms: of("cpu_system_ms"),
                idle_ms: of("cpu_idle_ms"),
                wait_ms: of("cpu_wait_ms"),
                stolen_ms: of("cpu_stolen_ms"),
            },
            memory: Memory {
                total: of("memory_total"),
                free: of("memory_free"),
                available: of("memory_available"),
                cached: of("memory_cached"),
            },
            load: ["load_1_milli", "load_5_milli", "load_15_milli"].map(|name| of(name) as f64 / 1000.0),
            processes: of("processes"),
        }
    }

    /// How busy the processors were since earlier figures of the same guest: 0 to 1, of all of them together. Nothing where
    /// no time has passed.
    pub fn busy_since(&self, earlier: &Figures) -> Option<f64> {
        let passed = |cpu: &Cpu| {
            let busy = cpu.user_ms.saturating_add(cpu.system_ms).saturating_add(cpu.stolen_ms);
            (busy, busy.saturating_add(cpu.idle_ms).saturating_add(cpu.wait_ms))
        };
        let ((busy, all), (busy_before, all_before)) = (passed(&self.cpu), passed(&earlier.cpu));
        let (busy, all) = (busy.saturating_sub(busy_before), all.saturating_sub(all_before));
        (all > 0).then(|| busy as f64 / all as f64)
    }
}

/// A line for each.
impl std::fmt::Display for Figures {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let mib = |bytes: u64| bytes as f64 / f64::from(1 << 20);
        let seconds = |ms: u64| ms as f64 / 1000.0;
        let Figures { uptime_ms, cpus, cpu, memory, load: [one, five, fifteen], processes } = self;
        writeln!(f, "up         {:.2} s", seconds(*uptime_ms))?;
        writeln!(
            f,
            "memory     {:.1} of {:.1} MiB in use, {:.1} MiB of files cached",
            mib(memory.total.saturating_sub(memory.available)),
            mib(memory.total),
            mib(memory.cached)
        )?;
        writeln!(
            f,
            "cpu        {cpus}: user {:.2} s, system {:.2} s, idle {:.2} s, waiting {:.2} s, stolen {:.2} s",
            seconds(cpu.user_ms),
            seconds(cpu.system_ms),
            seconds(cpu.idle_ms),
            seconds(cpu.wait_ms),
            seconds(cpu.stolen_ms)
        )?;
        writeln!(f, "load       {one:.2} {five:.2} {fifteen:.2}")?;
        writeln!(f, "processes  {processes}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_are_told_by_their_names_and_busy_is_a_difference() {
        let named = |pairs: &[(&str, u64)]| -> Figures {
            Figures::of(&pairs.iter().map(|(name, value)| (name.as_bytes().to_vec(), *value)).collect::<Vec<_>>())
        };
        let before = named(&[("cpu_user_ms", 100), ("cpu_idle_ms", 900), ("load_1_milli", 1250), ("of_tomorrow", 1)]);
        assert_eq!((before.cpu.user_ms, before.load, before.memory.total), (100, [1.25, 0.0, 0.0], 0));
        let after = named(&[("cpu_user_ms", 160), ("cpu_system_ms", 15), ("cpu_idle_ms", 925)]);
        assert_eq!(after.busy_since(&before), Some(0.75));
        assert_eq!(after.busy_since(&after), None);
    }
}
