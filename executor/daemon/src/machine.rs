//! What the machine is and has.

use std::{collections::BTreeMap, fs, path::Path, thread};

use weir_wire::{
    resources::Resources,
    units::{CpuMillis, MemBytes},
};

use crate::config::Config;

/// The least that is kept back for the daemon and the system, when nothing else is configured.
const RESERVE_MIN: u64 = 256 << 20;

/// What the node offers.
pub(crate) fn capacity(config: &Config) -> Resources {
    let cpu = config.cpus.map_or_else(|| thousand(cpus()), |cpus| CpuMillis(cpus.0));
    let memory = config.memory.map_or_else(default_memory, |size| MemBytes(size.0));
    Resources { cpu, memory }
}

/// Facts about the machine, with the operator's labels over them.
pub(crate) fn attributes(config: &Config) -> Vec<(String, String)> {
    let read = |path: &str| fs::read_to_string(path).map(|text| text.trim().to_owned()).unwrap_or_default();
    let facts = [
        ("arch", std::env::consts::ARCH.to_owned()),
        ("os", std::env::consts::OS.to_owned()),
        ("cpus", cpus().to_string()),
        ("kernel", read("/proc/sys/kernel/osrelease")),
        ("hostname", read("/proc/sys/kernel/hostname")),
        ("version", env!("CARGO_PKG_VERSION").to_owned()),
    ];
    let mut attributes: BTreeMap<String, String> = facts
        .into_iter()
        .filter(|(_, value)| !value.is_empty())
        .map(|(name, value)| (name.to_owned(), value))
        .collect();
    attributes.extend(config.publish.keys().map(|name| (format!("dir.{name}"), "yes".to_owned())));
    attributes.extend(config.publish_writable.keys().map(|name| (format!("dir.{name}"), "rw".to_owned())));
    if config.scratch {
        attributes.insert("scratch".to_owned(), "yes".to_owned());
    }
    if !config.network.is_empty() {
        attributes.insert("network".to_owned(), "yes".to_owned());
    }
    attributes.extend(config.labels.clone());
    attributes.into_iter().collect()
}

/// Threads that this process may use at a time, limits of its group included.
pub(crate) fn cpus() -> usize {
    thread::available_parallelism().map_or(1, usize::from)
}

fn thousand(cpus: usize) -> CpuMillis {
    CpuMillis(u32::try_from(cpus).unwrap_or(u32::MAX).saturating_mul(1000))
}

/// What the machine has, or the smallest limit of the groups that this process is in, less a tenth for the rest.
fn default_memory() -> MemBytes {
    let total = fs::read_to_string("/proc/meminfo").ok().and_then(|text| meminfo_total(&text));
    let groups = fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
    let limit = group_limit(&groups, Path::new("/sys/fs/cgroup"));
    let all = [total, limit].into_iter().flatten().min().unwrap_or(RESERVE_MIN * 2);
    let reserve = (all / 10).max(RESERVE_MIN).min(all / 2);
    MemBytes(all - reserve)
}

fn meminfo_total(text: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix("MemTotal:"))?;
    line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()?.checked_mul(1024)
}

/// The smallest memory limit on the way from the process's group to the root, in version 2 or version 1 of the groups.
fn group_limit(groups: &str, root: &Path) -> Option<u64> {
    let limits = groups.lines().flat_map(|line| {
        let mut parts = line.splitn(3, ':').skip(1);
        let (controllers, path) = (parts.next().unwrap_or(""), parts.next().unwrap_or("/"));
        let (base, file) = if controllers.is_empty() {
            (root.to_owned(), "memory.max")
        } else if controllers.split(',').any(|name| name == "memory") {
            (root.join("memory"), "memory.limit_in_bytes")
        } else {
            return Vec::new();
        };
        let group = base.join(path.trim_start_matches('/'));
        let inside = group.ancestors().take_while(|dir| dir.starts_with(&base));
        inside.filter_map(|dir| fs::read_to_string(dir.join(file)).ok()?.trim().parse::<u64>().ok()).collect()
    });
    limits.min()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_smallest_limit_of_the_groups_counts() {
        let root = tempfile::tempdir().expect("a directory");
        let write = |name: &str, text: &str| {
            let path = root.path().join(name);
            fs::create_dir_all(path.parent().expect("a parent")).expect("made");
            fs::write(path, text).expect("written");
        };
        write("memory.max", "max\n");
        write("system.slice/memory.max", "4096\n");
        write("system.slice/weir.service/memory.max", "8192\n");
        write("memory/pod/memory.limit_in_bytes", "2048\n");
        let cases = [
            ("0::/system.slice/weir.service\n", Some(4096)),
            ("0::/\n", None),
            ("3:cpu,cpuacct:/pod\n4:memory:/pod\n", Some(2048)),
            ("0::/absent/group\n", None),
            ("", None),
            ("nonsense", None),
        ];
        for (groups, expected) in cases {
            assert_eq!(group_limit(groups, root.path()), expected, "{groups}");
        }
    }

    #[test]
    fn the_total_is_read_from_meminfo() {
        assert_eq!(meminfo_total("MemFree: 1 kB\nMemTotal:     16384 kB\n"), Some(16384 * 1024));
        assert_eq!(meminfo_total("MemTotal: many kB"), None);
    }

    #[test]
    fn labels_go_over_facts() {
        let labels = [("zone", "a"), ("os", "special")].map(|(name, value)| (name.to_owned(), value.to_owned()));
        let publish = BTreeMap::from([("corpus".to_owned(), "/srv".into())]);
        let config = Config { labels: labels.into(), publish, ..Config::default() };
        let attributes = attributes(&config);
        let value = |name: &str| attributes.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str());
        assert_eq!((value("zone"), value("os"), value("dir.corpus")), (Some("a"), Some("special"), Some("yes")));
        assert_eq!(value("arch"), Some(std::env::consts::ARCH));
        assert!(capacity(&config).memory.0 > 0 && capacity(&config).cpu.0 >= 1000);
    }
}
