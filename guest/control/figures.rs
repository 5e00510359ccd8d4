//! What the guest's kernel says of the machine: memory, processors, time.

use std::fs;

/// What the kernel counts processor time in, on every architecture that libkrun runs on.
const MILLISECONDS_PER_TICK: u64 = 10;

/// The figures that can be had, each with its name. docs/control.md has their units.
pub fn all() -> Vec<(Vec<u8>, u64)> {
    let read = |name: &str| fs::read_to_string(format!("/proc/{name}")).unwrap_or_default();
    let mut figures = Vec::new();
    let mut put = |name: &str, value: Option<u64>| {
        figures.extend(value.map(|value| (name.as_bytes().to_vec(), value)));
    };
    put("uptime_ms", read("uptime").split(' ').next().and_then(|text| scaled(text, 3)));

    let memory = read("meminfo");
    for (name, line) in [
        ("memory_total", "MemTotal"),
        ("memory_free", "MemFree"),
        ("memory_available", "MemAvailable"),
        ("memory_cached", "Cached"),
    ] {
        put(name, kib(&memory, line));
    }

    let stat = read("stat");
    let times: Vec<u64> = ticks(&stat);
    let sum = |parts: &[usize]| parts.iter().map(|part| times.get(*part).copied()).sum::<Option<u64>>();
    for (name, parts) in [
        // user and nice; system and both kinds of interrupts; what hypervisors take away.
        ("cpu_user_ms", &[0, 1][..]),
        ("cpu_system_ms", &[2, 5, 6]),
        ("cpu_idle_ms", &[3]),
        ("cpu_wait_ms", &[4]),
        ("cpu_stolen_ms", &[7]),
    ] {
        put(name, sum(parts).map(|ticks| ticks.saturating_mul(MILLISECONDS_PER_TICK)));
    }
    put("cpus", Some(processors(&stat)));

    let load = read("loadavg");
    let mut load = load.split(' ');
    for name in ["load_1_milli", "load_5_milli", "load_15_milli"] {
        put(name, load.next().and_then(|text| scaled(text, 3)));
    }
    put("processes", processes());
    figures
}

/// `12.34` with so many digits behind the point, as a whole number.
fn scaled(text: &str, digits: u32) -> Option<u64> {
    let (whole, part) = text.split_once('.').unwrap_or((text, ""));
    let mut value: u64 = whole.parse().ok()?;
    let mut part = part.bytes();
    for _ in 0..digits {
        let digit = part.next().unwrap_or(b'0');
        value = value.checked_mul(10)?.checked_add(u64::from(digit.checked_sub(b'0').filter(|digit| *digit < 10)?))?;
    }
    Some(value)
}

/// The bytes that a line of /proc/meminfo has in KiB.
fn kib(table: &str, name: &str) -> Option<u64> {
    let line = table.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))?;
    line.trim().strip_suffix(" kB")?.parse::<u64>().ok()?.checked_mul(1024)
}

/// The columns of the line for all processors.
fn ticks(stat: &str) -> Vec<u64> {
    let line = stat.lines().find_map(|line| line.strip_prefix("cpu ")).unwrap_or_default();
    line.split_ascii_whitespace().map_while(|column| column.parse().ok()).collect()
}

fn processors(stat: &str) -> u64 {
    let is_one =
        |line: &&str| line.strip_prefix("cpu").is_some_and(|rest| rest.starts_with(|c: char| c.is_ascii_digit()));
    stat.lines().filter(is_one).count() as u64
}

fn processes() -> Option<u64> {
    let is_one = |name: &[u8]| name.iter().all(u8::is_ascii_digit);
    let entries = fs::read_dir("/proc").ok()?.flatten();
    Some(entries.filter(|entry| is_one(entry.file_name().as_encoded_bytes())).count() as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernels_tables_are_read() {
        assert_eq!((scaled("12.34", 3), scaled("0.05", 3), scaled("7", 3)), (Some(12340), Some(50), Some(7000)));
        assert_eq!(
            (scaled("1.2345", 3), scaled("", 3), scaled("1.x", 3), scaled("1./", 3)),
            (Some(1234), None, None, None)
        );
        let memory = "MemTotal:         255016 kB\nMemFree:          10 kB\nHugePages_Total:       0\n";
        assert_eq!(kib(memory, "MemTotal"), Some(255_016 * 1024));
        assert_eq!((kib(memory, "Mem"), kib(memory, "HugePages_Total"), kib(memory, "Cached")), (None, None, None));
        let stat = "cpu  1 2 3 4 5 6 7 8 9 10\ncpu0 1 2\ncpu11 1\nintr 5\ncpufreq 1\n";
        assert_eq!((ticks(stat), processors(stat)), ((1..=10).collect(), 2));
        assert_eq!(ticks("cpu  1 x 3\n"), [1]);
    }

    #[test]
    fn this_machine_has_all_of_them() {
        let figures = all();
        let names: Vec<_> = figures.iter().map(|(name, _)| String::from_utf8_lossy(name)).collect();
        assert_eq!(names.len(), 15, "{names:?}");
        let of = |name: &str| figures.iter().find(|(other, _)| other == name.as_bytes()).unwrap().1;
        assert!(of("uptime_ms") > 0 && of("cpus") > 0 && of("processes") > 0);
        assert!(of("memory_total") > of("memory_available") && of("memory_available") > 0);
    }
}
