//! What the race ran on.

use std::path::Path;

use crate::error::Error;

/// The peak of this process's resident memory in bytes, by the kernel's account.
pub(crate) fn peak_bytes() -> Result<u64, Error> {
    let path = Path::new("/proc/self/status");
    let status = std::fs::read_to_string(path).map_err(Error::file(path))?;
    peak_of(&status).ok_or_else(|| Error::Option("the kernel does not tell the peak of memory".to_owned()))
}

fn peak_of(status: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()?.checked_mul(1024)
}

/// Features of the processor that decide which kernels run.
const FEATURES: [&str; 8] =
    ["avx2", "fma", "avx512f", "avx512bw", "avx512_vnni", "avx512_bf16", "amx_tile", "asimd"];

/// The processor's name, its number of cores, and its features.
pub(crate) fn processor() -> String {
    let information = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    describe(&information, cores)
}

fn describe(information: &str, cores: usize) -> String {
    let field = |name: &str| {
        information
            .lines()
            .find_map(|line| line.split_once(':').filter(|(key, _)| key.trim() == name))
            .map(|(_, value)| value.trim().to_owned())
    };
    let flags = field("flags").or_else(|| field("Features")).unwrap_or_default();
    let features: Vec<&str> = FEATURES
        .into_iter()
        .filter(|feature| flags.split_whitespace().any(|flag| flag == *feature))
        .collect();
    let name = field("model name").unwrap_or_else(|| std::env::consts::ARCH.to_owned());
    format!("{name}, {cores} cores, {}", features.join(" "))
}

/// The average number of busy processes over the last minute.
pub(crate) fn load() -> Option<f64> {
    std::fs::read_to_string("/proc/loadavg").ok()?.split_whitespace().next()?.parse().ok()
}

/// The version of a dependency in `Cargo.lock`.
pub(crate) fn locked_version(lock: &str, package: &str) -> Option<String> {
    let wanted = format!("name = \"{package}\"");
    let mut lines = lock.lines().skip_while(|line| *line != wanted);
    let version = lines.nth(1)?.strip_prefix("version = \"")?.strip_suffix('"')?;
    Some(version.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernels_files_are_read() {
        assert_eq!(peak_of("Name:\tx\nVmHWM:\t  2048 kB\nVmRSS:\t 1 kB\n"), Some(2 << 20));
        assert_eq!(peak_of("Name:\tx\n"), None);
        let information = "processor\t: 0\nmodel name\t: Some EPYC\nflags\t\t: fpu avx2 fma avx512fx\n";
        assert_eq!(describe(information, 2), "Some EPYC, 2 cores, avx2 fma");
    }

    #[test]
    fn the_lock_file_tells_versions() {
        let lock = "[[package]]\nname = \"ort-sys\"\nversion = \"1.0.0\"\n\n[[package]]\nname = \"ort\"\nversion = \"2.0.0\"\n";
        assert_eq!(locked_version(lock, "ort").as_deref(), Some("2.0.0"));
        assert_eq!(locked_version(lock, "rten"), None);
    }
}
