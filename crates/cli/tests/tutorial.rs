//! `docs/tutorial.md` shows what the command prints: to the last digit on processors of one kind, while on others the
//! commands must run.

mod page;

use std::fs;

/// The processor that the page was written on: the embedded engine gives the same bits where its vectors are the same.
const WRITTEN_ON: &str = "AVX-512";

#[test]
#[ignore = "trains for half a minute, on Debian's package dataset-fashion-mnist: `.ci/run` runs it"]
fn the_tutorial_shows_what_the_command_prints() {
    let folder = tempfile::tempdir().unwrap();
    for file in ["boot.png", "labels.txt", "tune.toml"] {
        fs::copy(page::docs("tutorial").join(file), folder.path().join(file)).unwrap();
    }
    let made = page::run("tutorial.md", folder.path(), 10);
    // Last digits of what was trained differ, and with them bars, widths and the order of tables.
    if vectors() == WRITTEN_ON {
        page::holds("tutorial.md", &made);
    }
}

fn vectors() -> &'static str {
    #[cfg(target_arch = "x86_64")]
    if std::arch::is_x86_feature_detected!("avx512f") {
        return "AVX-512";
    } else if std::arch::is_x86_feature_detected!("avx2") && std::arch::is_x86_feature_detected!("fma") {
        return "AVX2";
    }
    "other"
}
